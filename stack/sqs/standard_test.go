package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func TestStandardHandlesOfEarlierReceipts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q", "VisibilityTimeout", "1")
	w.send(q, "x")
	first := w.want(q, 1, "x")[0]
	w.advance(time.Second)
	if err := w.hide(q, first, 2); err != nil { // visible again, but received by nobody else; recorded on AWS
		t.Fatal(err)
	}
	w.depth(q, 0, 1, 0)
	w.advance(2 * time.Second)
	w.want(q, 1, "x")
	if err := w.hide(q, first, 5); err != nil { // what follows others have found AWS to do, beyond its documentation
		t.Fatal(err)
	}
	w.advance(4 * time.Second)
	w.depth(q, 0, 1, 0)
	w.delete(q, first)
	w.depth(q, 0, 0, 0)
	refused(t, w.hide(q, first, 5), "InvalidParameterValue", "Value "+*first.ReceiptHandle+
		" for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.")

	_, err := w.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q, ReceiptHandle: aws.String("garbage")})
	refused(t, err, "ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`)
	other := w.create("other")
	_, err = w.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &other, ReceiptHandle: first.ReceiptHandle})
	refused(t, err, "ReceiptHandleIsInvalid", `The receipt handle "`+*first.ReceiptHandle+`" is not valid for this queue.`)
	if status(err) != 404 {
		t.Errorf("status %d", status(err))
	}
}

func TestVisibilityCannotExceedTwelveHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	w.send(q, "x")
	m := w.want(q, 1, "x")[0]
	if err := w.hide(q, m, 43200); err != nil {
		t.Fatal(err)
	}
	w.advance(time.Hour)
	refused(t, w.hide(q, m, 43200), "InvalidParameterValue",
		"Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	if err := w.hide(q, m, 11*3600); err != nil {
		t.Fatal(err)
	}
	refused(t, w.hide(q, m, -1), "InvalidParameterValue", "Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.")
	if err := w.hide(q, m, 0); err != nil {
		t.Fatal(err)
	}
	w.want(q, 1, "x")
}

func TestDelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q", "DelaySeconds", "10")
	w.send(q, "late")
	if _, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: aws.String("soon"), DelaySeconds: 3}); err != nil {
		t.Fatal(err)
	}
	if err := w.set(q, "DelaySeconds", "0"); err != nil { // not for those that are there
		t.Fatal(err)
	}
	w.depth(q, 0, 0, 2)
	w.want(q, 10, "")
	w.advance(3 * time.Second)
	w.want(q, 10, "soon")
	w.advance(7 * time.Second)
	w.depth(q, 1, 1, 0)
	w.want(q, 10, "late")
	for _, n := range []int32{-1, 901} {
		_, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: aws.String("x"), DelaySeconds: n})
		refused(t, err, "InvalidParameterValue", fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", n))
	}
}

func TestRetentionCountsFromTheSend(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q", "q.fifo"} {
		w := newWorld(t)
		q := w.create(name, "MessageRetentionPeriod", "60", "VisibilityTimeout", "30")
		w.send(q, "a:received", "b:in-flight", "c:untouched")
		w.advance(20 * time.Second)
		w.want(q, 1, "a:received")
		w.advance(30 * time.Second)
		m := w.want(q, 1, "b:in-flight")
		w.send(q, "d:young")
		w.advance(10*time.Second - time.Nanosecond)
		w.depth(q, 3, 1, 0)
		w.advance(time.Nanosecond)
		w.depth(q, 1, 0, 0)
		w.delete(q, m...) // its handle is good although it is gone
		if err := w.set(q, "MessageRetentionPeriod", "100"); err != nil {
			t.Fatal(err)
		}
		w.advance(60 * time.Second)
		w.depth(q, 1, 0, 0)
		if err := w.set(q, "MessageRetentionPeriod", "60"); err != nil { // also for those that are there
			t.Fatal(err)
		}
		w.depth(q, 0, 0, 0)
	}
}

func TestDeadLettersKeepTheirAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dlq := w.create("dead", "MessageRetentionPeriod", "100", "VisibilityTimeout", "0")
	q := w.create("q", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":1}`)
	w.send(q, "old", "older")
	w.advance(50 * time.Second)
	w.send(dlq, "young")
	w.want(q, 10, "old older")
	w.want(q, 10, "") // moves them
	w.depth(q, 0, 0, 0)
	got := w.want(dlq, 10, "young old older")
	if a := got[1].Attributes; a["SentTimestamp"] != "1767323045000" || a["ApproximateReceiveCount"] != "2" || a["DeadLetterQueueSourceArn"] != w.arn(q) {
		t.Errorf("dead letter %v", a)
	}
	if got[0].Attributes["DeadLetterQueueSourceArn"] != "" {
		t.Error("a message that was sent has a source")
	}
	w.advance(50 * time.Second)
	w.want(dlq, 10, "young")
	out, err := w.client.ListDeadLetterSourceQueues(t.Context(), &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &dlq})
	if err != nil || !slices.Equal(out.QueueUrls, []string{q}) {
		t.Errorf("%v %v", out, err)
	}
	out, err = w.client.ListDeadLetterSourceQueues(t.Context(), &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &q})
	if err != nil || out.QueueUrls == nil || len(out.QueueUrls) != 0 {
		t.Errorf("%v %v", out, err)
	}
}

func TestMessagesStayIfTheirDeadLetterQueueIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dlq := w.create("dead")
	q := w.create("q", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":1}`)
	w.send(q, "x")
	if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &dlq}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.want(q, 10, "x")
	}
}

func TestChainsAndCirclesOfDeadLetterQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.create("a", "VisibilityTimeout", "0"), w.create("b", "VisibilityTimeout", "0")
	for q, to := range map[string]string{a: b, b: a} {
		if err := w.set(q, "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(to)+`","maxReceiveCount":1}`); err != nil {
			t.Fatal(err)
		}
	}
	w.send(a, "x")
	for i := range 4 {
		w.want(a, 1, "x")
		w.want(a, 1, "")
		got := w.want(b, 1, "x")
		w.want(b, 1, "")
		if n := got[0].Attributes["ApproximateReceiveCount"]; n != fmt.Sprint(2*i+2) {
			t.Errorf("received %s times", n)
		}
	}
}

func TestTenantsOfAStandardQueueTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	send := func(group, body string) {
		t.Helper()
		if _, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: &body, MessageGroupId: &group}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		send("noisy", fmt.Sprintf("n%d", i))
	}
	send("quiet", "q0")
	w.send(q, "alone")
	got := w.want(q, 5, "n0 q0 alone n1 n2")
	if got[0].Attributes["MessageGroupId"] != "noisy" || got[0].Attributes["SequenceNumber"] != "" {
		t.Errorf("%v", got[0].Attributes)
	}
	w.want(q, 10, "n3 n4") // messages of a group are handed out while others are in flight
}

func TestAttributesOfAReceive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q", "VisibilityTimeout", "0")
	attribute := func(v string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
	}
	if _, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("msg"),
		MessageAttributes: map[string]types.MessageAttributeValue{"Help.Me": attribute("Me"), "Hello": attribute("There"), "General": attribute("Kenobi")},
	}); err != nil {
		t.Fatal(err)
	}
	all := "General Hello Help.Me"
	for _, c := range []struct{ names, want, md5 string }{
		{"", "", ""}, {"All", all, "4c360f3fdafd970e05fae2f149d997f5"}, {"*", all, "4c360f3fdafd970e05fae2f149d997f5"},
		{".*", all, "4c360f3fdafd970e05fae2f149d997f5"}, {"Foo,Help", "", ""}, {"Hello,General", "General Hello", "fca026605781cb4126a1e9044df24232"},
		{"Foo,Hello", "Hello", "a311262e065454b75da111d535b8dacd"}, {"Hel.*", "Hello Help.Me", "83fee93c1bcd8b9a5a923ffacdc636c7"},
		{"AWS.", "", ""}, {"..foo", "", ""},
	} {
		in := &sqs.ReceiveMessageInput{QueueUrl: &q}
		if c.names != "" {
			in.MessageAttributeNames = strings.Split(c.names, ",")
		}
		out, err := w.client.ReceiveMessage(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		m := out.Messages[0]
		if got := strings.Join(slices.Sorted(maps.Keys(m.MessageAttributes)), " "); got != c.want || aws.ToString(m.MD5OfMessageAttributes) != c.md5 {
			t.Errorf("%s: %s %s, want %s %s", c.names, got, aws.ToString(m.MD5OfMessageAttributes), c.want, c.md5)
		}
	}
	for _, c := range []struct{ old, system, want string }{
		{"", "", ""}, {"", "SenderId,SequenceNumber", "SenderId"}, {"SenderId", "All", "ApproximateFirstReceiveTimestamp ApproximateReceiveCount SenderId SentTimestamp"},
	} {
		in := &sqs.ReceiveMessageInput{QueueUrl: &q}
		if c.old != "" {
			in.AttributeNames = []types.QueueAttributeName{types.QueueAttributeName(c.old)} //nolint:staticcheck // older clients send it
		}
		for n := range strings.SplitSeq(c.system, ",") {
			if n != "" {
				in.MessageSystemAttributeNames = append(in.MessageSystemAttributeNames, types.MessageSystemAttributeName(n))
			}
		}
		out, err := w.client.ReceiveMessage(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(out.Messages[0].Attributes)), " "); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
	_, err := w.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"Foo"}})
	refused(t, err, "InvalidAttributeName", "Unknown Attribute Foo.")
}

func TestReceiveRefusesWhatIsOutOfRange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	for _, c := range []struct {
		in      sqs.ReceiveMessageInput
		message string
	}{
		{sqs.ReceiveMessageInput{MaxNumberOfMessages: 11}, "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{sqs.ReceiveMessageInput{MaxNumberOfMessages: -1}, "Value -1 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{sqs.ReceiveMessageInput{WaitTimeSeconds: 21}, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."},
		{sqs.ReceiveMessageInput{WaitTimeSeconds: -1}, "Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."},
		{sqs.ReceiveMessageInput{VisibilityTimeout: 43201}, "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."},
	} {
		c.in.QueueUrl = &q
		_, err := w.client.ReceiveMessage(t.Context(), &c.in)
		refused(t, err, "InvalidParameterValue", c.message)
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q", "MaximumMessageSize", "1024")
	value := func(kind, v string) map[string]types.MessageAttributeValue {
		return map[string]types.MessageAttributeValue{"a": {DataType: &kind, StringValue: &v}}
	}
	named := func(name string) map[string]types.MessageAttributeValue {
		return map[string]types.MessageAttributeValue{name: {DataType: aws.String("String"), StringValue: aws.String("x")}}
	}
	many := map[string]types.MessageAttributeValue{}
	for i := range 11 {
		many[fmt.Sprint(i)] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("x")}
	}
	const reserved = "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use. " +
		"Additionally, they cannot start or end with '.'."
	const letters = "Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. "
	for name, c := range map[string]struct {
		body          string
		attributes    map[string]types.MessageAttributeValue
		code, message string
	}{
		"empty":     {"", nil, "MissingParameter", "The request must contain the parameter MessageBody."},
		"large":     {strings.Repeat("a", 1025), nil, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		"large all": {strings.Repeat("a", 1024-7), value("String", "x"), "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		"character": {"a\x01", nil, "InvalidMessageContents", "Invalid binary character '#x1' was found in the message body, the set of allowed characters is " + allowedCharacters + "."},
		"ffff":      {"\uffff", nil, "InvalidMessageContents", "Invalid binary character '#xFFFF' was found in the message body, the set of allowed characters is " + allowedCharacters + "."},
		"empty attribute": {"x", value("String", ""), "InvalidParameterValue",
			"Message (user) attribute 'a' must contain a non-empty value of type 'String'."},
		"type":       {"x", value("Invalid", "x"), "InvalidParameterValue", "The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: Binary, Number, String."},
		"number":     {"x", value("Number", "x"), "InvalidParameterValue", "Can't cast the value of message (user) attribute 'a' to a number."},
		"big number": {"x", value("Number", "1e127"), "InvalidParameterValue", "Can't cast the value of message (user) attribute 'a' to a number."},
		"binary":     {"x", value("Binary", "x"), "InvalidParameterValue", "Message (user) attribute 'a' must contain a non-empty value of type 'Binary'."},
		"long type":  {"x", value("Number."+strings.Repeat("L", 256), "1"), "InvalidParameterValue", "Message (user) attribute types must be shorter than 256 Bytes"},
		"long name":  {"x", named(strings.Repeat("L", 257)), "InvalidParameterValue", "Message (user) attribute names must be shorter than 256 Bytes"},
		"aws":        {"x", named("aWs.x"), "InvalidParameterValue", reserved},
		"amazon":     {"x", named("AMAZON.x"), "InvalidParameterValue", reserved},
		"dot":        {"x", named("x."), "InvalidParameterValue", reserved},
		"dots":       {"x", named("x..y"), "InvalidParameterValue", "Message (user) attribute name 'x..y' must not contain successive periods."},
		"letter":     {"x", named("x!"), "InvalidParameterValue", letters},
		"too many":   {"x", many, "InvalidParameterValue", "Number of message attributes [11] exceeds the allowed maximum [10]."},
	} {
		_, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: &c.body, MessageAttributes: c.attributes})
		t.Log(name)
		refused(t, err, c.code, c.message)
	}
	w.depth(q, 0, 0, 0)
	for _, body := range []string{strings.Repeat("a", 1024), "a\r\n\t\u00e9\U0001F600\ufffd"} {
		w.send(q, body)
		w.want(q, 1, body)
	}
	if _, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q, MessageBody: aws.String("x"), MessageAttributes: named("attr.1øßä")}); err != nil {
		t.Error(err)
	}
	_, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("x"),
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{"Foo": {DataType: aws.String("String"), StringValue: aws.String("x")}},
	})
	refused(t, err, "InvalidParameterValue", "Message system attribute name 'Foo' is invalid.")
	_, err = w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("x"),
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("Number"), StringValue: aws.String("1")}},
	})
	refused(t, err, "InvalidParameterValue", "Message (system) attribute 'AWSTraceHeader' must be of type 'String'.")
}

func TestBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	send := func(q string, list ...types.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
		return w.client.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q, Entries: list})
	}
	out, err := send(q, entry("1", "one"), entry("2", "\x01"), entry("3", "three"))
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 {
		t.Fatalf("%v %v", out, err)
	}
	if f := out.Failed[0]; *f.Id != "2" || *f.Code != "InvalidMessageContents" || !f.SenderFault {
		t.Errorf("failed %+v", f)
	}
	got := w.want(q, 10, "one three")
	deleted, err := w.client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &q, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: aws.String("nonsense")},
	}})
	if err != nil || len(deleted.Successful) != 1 || len(deleted.Failed) != 1 || *deleted.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("%+v %v", deleted, err)
	}
	changed, err := w.client.ChangeMessageVisibilityBatch(t.Context(), &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 1}, {Id: aws.String("b"), ReceiptHandle: got[1].ReceiptHandle, VisibilityTimeout: 100},
	}})
	if err != nil || len(changed.Successful) != 1 || len(changed.Failed) != 1 || *changed.Failed[0].Code != "InvalidParameterValue" {
		t.Errorf("%+v %v", changed, err)
	}
	w.advance(99 * time.Second)
	w.depth(q, 0, 1, 0)

	tooMany := make([]types.SendMessageBatchRequestEntry, 20)
	for i := range tooMany {
		tooMany[i] = entry(fmt.Sprint(i), "x")
	}
	fifo := w.create("q.fifo")
	group := types.SendMessageBatchRequestEntry{Id: aws.String("2"), MessageBody: aws.String("x"), MessageGroupId: aws.String("g")}
	whole := group
	whole.MessageDeduplicationId = aws.String("d")
	whole.Id = aws.String("1")
	const idRule = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
	for name, c := range map[string]struct {
		queue         string
		list          []types.SendMessageBatchRequestEntry
		code, message string
	}{
		"empty":    {q, []types.SendMessageBatchRequestEntry{}, "AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."},
		"many":     {q, tooMany, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 20."},
		"ids":      {q, []types.SendMessageBatchRequestEntry{entry("a", "x"), entry("b", "x"), entry("a", "x")}, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id a repeated."},
		"bad id":   {q, []types.SendMessageBatchRequestEntry{entry("invalid:id", "x")}, "AWS.SimpleQueueService.InvalidBatchEntryId", idRule},
		"long id":  {q, []types.SendMessageBatchRequestEntry{entry(strings.Repeat("a", 81), "x")}, "AWS.SimpleQueueService.InvalidBatchEntryId", idRule},
		"no id":    {q, []types.SendMessageBatchRequestEntry{entry("", "x")}, "AWS.SimpleQueueService.InvalidBatchEntryId", idRule},
		"too long": {q, []types.SendMessageBatchRequestEntry{entry("a", strings.Repeat("x", 1<<20)), entry("b", "x")}, "AWS.SimpleQueueService.BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."},
		"no group": {fifo, []types.SendMessageBatchRequestEntry{whole, entry("2", "x")}, "InvalidParameterValue", "The request must contain the parameter MessageGroupId."},
		"no dedup": {fifo, []types.SendMessageBatchRequestEntry{whole, group}, "InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
	} {
		t.Log(name)
		_, err := send(c.queue, c.list...)
		refused(t, err, c.code, c.message)
	}
	if err := w.set(q, "MaximumMessageSize", "1024"); err != nil {
		t.Fatal(err)
	}
	out, err = send(q, entry("1", strings.Repeat("x", 1025)), entry("2", strings.Repeat("x", 1024)))
	if err != nil || len(out.Failed) != 1 || *out.Failed[0].Code != "InvalidParameterValue" || !strings.HasSuffix(*out.Failed[0].Message, "Message must be shorter than 1024 bytes.") {
		t.Errorf("%v %v", out, err)
	}
	same := whole
	same.Id, same.MessageBody = aws.String("2"), aws.String("y")
	out, err = send(fifo, whole, same)
	if err != nil || len(out.Successful) != 2 || *out.Successful[0].MessageId != *out.Successful[1].MessageId || *out.Successful[0].SequenceNumber != *out.Successful[1].SequenceNumber {
		t.Errorf("%v %v", out, err)
	}
	w.want(fifo, 10, "x")
}

func TestTooManyInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	standard, fifo := w.create("q"), w.create("q.fifo")
	for _, q := range []string{standard, fifo} {
		w.service.byName(w.arn(q)).limit = 3
	}
	w.send(standard, "1", "2", "3", "4")
	got := w.want(standard, 10, "1 2 3")
	_, err := w.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &standard})
	refused(t, err, "OverLimit", "Too many messages are in flight in the queue: 3. Delete some of them first.")
	if status(err) != 403 {
		t.Errorf("status %d", status(err))
	}
	w.delete(standard, got[0])
	w.want(standard, 10, "4")

	w.send(fifo, "a:1", "a:2", "b:1", "b:2", "c:1")
	got = w.want(fifo, 10, "a:1 a:2 b:1")
	w.want(fifo, 10, "") // no error
	w.delete(fifo, got[0], got[1])
	w.want(fifo, 10, "c:1")
}

func TestDuplicateDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	receive := func(q string) (handle string) {
		t.Helper()
		r := &wire.Request{Region: "us-east-1", Account: "000000000000", Duplicate: true}
		out, err := w.service.receiveMessage(t.Context(), r, &receiveInput{QueueURL: q})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("%v %v", out, err)
		}
		return out.Messages[0].ReceiptHandle
	}
	q := w.create("q")
	w.send(q, "x")
	h := receive(q)
	w.delete(q, types.Message{ReceiptHandle: &h}) // as when one of SQS's servers could not be reached: the copy stays
	w.delete(q, w.want(q, 1, "x")...)
	w.depth(q, 0, 0, 0)

	q = w.create("q.fifo")
	w.send(q, "a:1", "a:2")
	h = receive(q)
	_, err := w.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q, ReceiptHandle: &h})
	refused(t, err, "InvalidParameterValue", "Value "+h+" for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
	w.want(q, 10, "a:1 a:2")
}

// bubble runs a test with a service whose time is the bubble's.
func bubble(t *testing.T, f func(t *testing.T, s *Service, receive func(ctx context.Context, wait int32) ([]string, error), send func(body string, delay int32))) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(env.Env{Clock: clock.System{}, Store: store.Memory(), Log: slog.New(slog.DiscardHandler), Go: func(func(context.Context)) {}})
		if err != nil {
			t.Fatal(err)
		}
		r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
		if _, err := s.createQueue(t.Context(), r, &createQueueInput{QueueName: "q"}); err != nil {
			t.Fatal(err)
		}
		f(t, s, func(ctx context.Context, wait int32) (list []string, err error) {
			out, err := s.receiveMessage(ctx, r, &receiveInput{QueueURL: "q", WaitTimeSeconds: &wait})
			if err == nil {
				for _, m := range out.Messages {
					list = append(list, m.Body)
				}
			}
			return list, err
		}, func(body string, delay int32) {
			if _, err := s.sendMessage(t.Context(), r, &sendMessageInput{QueueURL: "q", Body: body, DelaySeconds: &delay}); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestLongPolling(t *testing.T) {
	t.Parallel()
	t.Run("ends after the wait", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, _ *Service, receive func(context.Context, int32) ([]string, error), _ func(string, int32)) {
			start := time.Now()
			got, err := receive(t.Context(), 7)
			if err != nil || len(got) != 0 || time.Since(start) != 7*time.Second {
				t.Errorf("%v %v after %v", got, err, time.Since(start))
			}
		})
	})
	t.Run("wakes at once, first come first served", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, _ *Service, receive func(context.Context, int32) ([]string, error), send func(string, int32)) {
			start := time.Now()
			results := make(chan string)
			for i := range 3 {
				go func() {
					got, err := receive(t.Context(), 20)
					results <- fmt.Sprint(i, got, err, time.Since(start))
				}()
				synctest.Wait()
			}
			if err := clock.Sleep(t.Context(), clock.System{}, time.Second); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				send(fmt.Sprint("m", i), 0)
				if got, want := <-results, fmt.Sprintf("%d [m%d] <nil> 1s", i, i); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
		})
	})
	t.Run("wakes when a delay or a visibility timeout ends", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, _ *Service, receive func(context.Context, int32) ([]string, error), send func(string, int32)) {
			start := time.Now()
			send("late", 5)
			if got, err := receive(t.Context(), 20); err != nil || !slices.Equal(got, []string{"late"}) || time.Since(start) != 5*time.Second {
				t.Errorf("%v %v after %v", got, err, time.Since(start))
			}
			if got, err := receive(t.Context(), 20); err != nil || len(got) != 0 {
				t.Errorf("%v %v", got, err)
			}
			if got, err := receive(t.Context(), 20); err != nil || !slices.Equal(got, []string{"late"}) || time.Since(start) != 35*time.Second {
				t.Errorf("%v %v after %v", got, err, time.Since(start))
			}
		})
	})
	t.Run("of a client that goes takes no message", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, s *Service, receive func(context.Context, int32) ([]string, error), send func(string, int32)) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				_, err := receive(ctx, 20)
				done <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			send("x", 0)
			if v, _, _, _ := s.Depth("arn:aws:sqs:us-east-1:000000000000:q"); v != 1 {
				t.Errorf("%d visible", v)
			}
		})
	})
	t.Run("ends when the queue is deleted", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, s *Service, receive func(context.Context, int32) ([]string, error), _ func(string, int32)) {
			done := make(chan error)
			go func() {
				_, err := receive(t.Context(), 20)
				done <- err
			}()
			synctest.Wait()
			s.Reset()
			if err := <-done; !errors.Is(err, errDeleted) {
				t.Error(err)
			}
		})
	})
}

func TestAMessageHandedToAClientThatHasGoneGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.service.byName(w.arn(w.create("q")))
	wait := &waiter{n: 1, timeout: time.Minute, deadline: q.now() + int64(time.Minute), got: make(chan []delivery, 1)}
	now, err := q.enter()
	if err != nil {
		t.Fatal(err)
	}
	q.waiters.push(wait)
	q.leave(now)
	w.send("q", "x")
	w.depth("q", 0, 1, 0)
	q.abandon(wait)
	w.depth("q", 1, 0, 0)
	if m := w.want("q", 1, "x")[0]; m.Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("%v", m.Attributes)
	}
}

func TestDeadLettersWhoseQueueGoesWhileTheyMoveComeBackInOrder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q", "q.fifo"} {
		w := newWorld(t)
		w.send(w.create(name), "g:1", "g:2", "g:3")
		q, dead := w.service.byName(w.arn(name)), w.service.byName(w.arn(w.create("dead-"+name)))
		now, err := q.enter()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			q.bury(q.ready.front.front, dead)
		}
		dead.mu.Lock()
		dead.close()
		dead.mu.Unlock()
		q.leave(now)
		w.depth(name, 3, 0, 0)
		w.want(name, 10, "g:1 g:2 g:3")
		w.advance(4 * 24 * time.Hour)
		w.depth(name, 0, 0, 0) // they keep their age
	}
}

func TestAMessageWhoseDestinationGoesWhileItMovesComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(w.create("q"), "1", "2")
	q, to := w.service.byName(w.arn("q")), w.service.byName(w.arn(w.create("to")))
	to.mu.Lock()
	to.close()
	to.mu.Unlock()
	if !q.moveOne(&moveTask{status: taskRunning, destination: to.arn(), started: q.now(), toMove: 2}) {
		t.Error("the task has ended before it saw that its destination does not exist")
	}
	w.want("q", 10, "1 2")
}
