package sns

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

func TestPublishRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic, fifo := w.topic("topic"), w.topic("topic.fifo")
	inJSON := aws.String("json")
	for _, c := range []struct {
		in            awssns.PublishInput
		code, message string
	}{
		{awssns.PublishInput{Message: aws.String("x")}, "InvalidParameter", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, TargetArn: &topic}, "InvalidParameter",
			"Invalid parameter: TopicArn, TargetArn and PhoneNumber Reason: only one of them can be given"},
		{awssns.PublishInput{Message: aws.String("x"), PhoneNumber: aws.String("+15551234567")}, "InvalidParameter",
			"Invalid parameter: PhoneNumber Reason: millrace's local stack does not send text messages"},
		{awssns.PublishInput{Message: aws.String("x"), TargetArn: aws.String("arn:aws:sns:us-east-1:000000000000:endpoint/APNS/abcdef/0f7d5971")}, "InvalidParameter",
			"Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"},
		{awssns.PublishInput{Message: aws.String("x"), TargetArn: aws.String("topic")}, "InvalidParameter",
			"Invalid parameter: TargetArn Reason: An ARN must have at least 6 elements, not 1"},
		{awssns.PublishInput{Message: aws.String(""), TopicArn: &topic}, "InvalidParameter", "Invalid parameter: Empty message"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, Subject: aws.String("")}, "InvalidParameter", "Invalid parameter: Subject"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, Subject: aws.String(strings.Repeat("é", 101))}, "InvalidParameter", "Invalid parameter: Subject"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, Subject: aws.String("two\nlines")}, "InvalidParameter", "Invalid parameter: Subject"},
		{awssns.PublishInput{Message: aws.String(strings.Repeat("é", maxMessage/2) + "x"), TopicArn: &topic}, "InvalidParameter", "Invalid parameter: Message too long"},
		{awssns.PublishInput{Message: aws.String(strings.Repeat("x", maxMessage-len("attr1Number1")+1)), TopicArn: &topic, MessageAttributes: attributes{"attr1": number("1")}},
			"InvalidParameter", "Invalid parameter: Message too long"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, MessageStructure: aws.String("xml")}, "InvalidParameter", "Invalid parameter: MessageStructure"},
		{awssns.PublishInput{Message: aws.String(`{"sqs":"x"}`), TopicArn: &topic, MessageStructure: inJSON}, "InvalidParameter",
			"Invalid parameter: Message Structure - No default entry in JSON message body"},
		{awssns.PublishInput{Message: aws.String(`{"default":{"x":1}}`), TopicArn: &topic, MessageStructure: inJSON}, "InvalidParameter",
			"Invalid parameter: Message Structure - No default entry in JSON message body"},
		{awssns.PublishInput{Message: aws.String(`{"default":"x"} }`), TopicArn: &topic, MessageStructure: inJSON}, "InvalidParameter",
			"Invalid parameter: Message Structure - JSON message body failed to parse"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, MessageAttributes: attributes{"n": number("many")}}, "ParameterValueInvalid",
			"Could not cast message attribute 'n' value to number."},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &topic, MessageAttributes: attributes{"l": {DataType: aws.String("String.Array"), StringValue: aws.String(`{"a":1}`)}}},
			"ParameterValueInvalid", "The message attribute 'l' with type 'String.Array' must be a JSON array."},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &fifo, MessageGroupId: aws.String("a b"), MessageDeduplicationId: aws.String("d")}, "InvalidParameter",
			"Invalid parameter: MessageGroupId Reason: It can include only alphanumeric and punctuation characters, 1 to 128"},
		{awssns.PublishInput{Message: aws.String("x"), TopicArn: &fifo, MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String(strings.Repeat("d", 129))}, "InvalidParameter",
			"Invalid parameter: MessageDeduplicationId Reason: It can include only alphanumeric and punctuation characters, 1 to 128"},
	} {
		_, err := w.client.Publish(t.Context(), &c.in)
		refused(t, err, c.code, c.message)
	}
	w.expect(0)
}

func TestPublishTakesWhatItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	w.subscribe(topic, "sqs", queue("q"), "RawMessageDelivery", "true")
	for _, in := range []awssns.PublishInput{
		{Message: aws.String(strings.Repeat("x", maxMessage-len("attr1Number1"))), MessageAttributes: attributes{"attr1": number("1")}},
		{Message: aws.String("x"), Subject: aws.String(strings.Repeat("é", 100))},
		{Message: aws.String("\u00a0\U0001f600 \u0000")},
		{Message: aws.String(`{"default":"x","default":"y","sms":5}`), MessageStructure: aws.String("json")},
		{Message: aws.String("x"), MessageAttributes: attributes{
			"list": {DataType: aws.String("String.Array"), StringValue: aws.String(`["a",1,true,null]`)}, "n": {DataType: aws.String("Number.cents"), StringValue: aws.String("-1.5e3")},
			"A-_.9": {DataType: aws.String("Binary.png"), BinaryValue: []byte{0}}}},
	} {
		in.TopicArn = &topic
		if _, err := w.client.Publish(t.Context(), &in); err != nil {
			t.Errorf("%.60s: %v", *in.Message, err)
		}
	}
	w.expect(5)
}

func TestPublishBatchRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic, fifo := w.topic("topic"), w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q"))
	entry := func(id, text string) types.PublishBatchRequestEntry {
		return types.PublishBatchRequestEntry{Id: &id, Message: &text}
	}
	var eleven []types.PublishBatchRequestEntry
	for i := range 11 {
		eleven = append(eleven, entry(fmt.Sprint("Id_", i), "x"))
	}
	long, most := strings.Repeat("a", 81), strings.Repeat("a", maxMessage/2)
	structured := entry("1", `{"sqs": "test sqs"}`)
	structured.MessageStructure = aws.String("json")
	grouped := entry("1", "x")
	grouped.MessageGroupId = aws.String("msg1")
	for _, c := range []struct {
		topic         string
		entries       []types.PublishBatchRequestEntry
		code, message string
	}{
		{topic, []types.PublishBatchRequestEntry{}, "EmptyBatchRequest", "The batch request doesn't contain any entries."},
		{topic, eleven, "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible."},
		{topic, []types.PublishBatchRequestEntry{entry("a", "x"), entry("a", "x")}, "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id."},
		{topic, []types.PublishBatchRequestEntry{entry("message.id", "x")}, "InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: message.id"},
		{topic, []types.PublishBatchRequestEntry{entry(long, "x")}, "InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: " + long},
		{topic, []types.PublishBatchRequestEntry{entry("1", most), entry("2", most+"b")}, "BatchRequestTooLong", "The length of all the messages put together is more than the limit."},
		{topic, []types.PublishBatchRequestEntry{entry("1", "good"), entry("2", "")}, "InvalidParameter", "Invalid parameter: Empty message"},
		{fifo, []types.PublishBatchRequestEntry{entry("1", "x")}, "InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"},
		{fifo, []types.PublishBatchRequestEntry{grouped}, "InvalidParameter",
			"Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		{fifo, []types.PublishBatchRequestEntry{structured}, "InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body"},
	} {
		_, err := w.client.PublishBatch(t.Context(), &awssns.PublishBatchInput{TopicArn: &c.topic, PublishBatchRequestEntries: c.entries})
		refused(t, err, c.code, c.message)
	}
	w.expect(0)
	out := must[*awssns.PublishBatchOutput](t)(w.client.PublishBatch(t.Context(), &awssns.PublishBatchInput{TopicArn: &topic,
		PublishBatchRequestEntries: []types.PublishBatchRequestEntry{entry("1", most), entry("2", most)}}))
	if len(out.Successful) != 2 || len(out.Failed) != 0 || *out.Successful[1].Id != "2" || *out.Successful[0].MessageId == *out.Successful[1].MessageId {
		t.Errorf("%+v", out)
	}
	w.expect(2)
}

// TestEnvelope has the form of AWS's to the letter.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	sub := w.subscribe(topic, "sqs", queue("q"))
	out := w.publish(topic, "a \"message\"\n<é>", with(attributes{"b": binary(1, 2), "a": str("x")}), func(in *awssns.PublishInput) { in.Subject = aws.String("Subject") })
	body := w.Delivered()[0].Message.Body
	path := must[string](t)(w.service.CertificatePath())
	want := `{
  "Type" : "Notification",
  "MessageId" : "` + *out.MessageId + `",
  "TopicArn" : "arn:aws:sns:us-east-1:000000000000:topic",
  "Subject" : "Subject",
  "Message" : "a \"message\"\n<é>",
  "Timestamp" : "2026-01-02T03:04:05.000Z",
  "SignatureVersion" : "1",
  "Signature" : "` + member(t, body, "Signature") + `",
  "SigningCertURL" : "` + w.url + path + `",
  "UnsubscribeURL" : "` + w.url + `/?Action=Unsubscribe&SubscriptionArn=` + sub + `",
  "MessageAttributes" : {
    "a" : {"Type":"String","Value":"x"},
    "b" : {"Type":"Binary","Value":"AQI="}
  }
}`
	if body != want {
		t.Errorf("got\n%s\nwant\n%s", body, want)
	}
}

func TestMessageStructureGivesEachProtocolItsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic)
	w.subscribe(topic, "sqs", queue("q"), "FilterPolicyScope", "MessageBody", "FilterPolicy", `{"for":["queues"]}`)
	w.subscribe(topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", "FilterPolicyScope", "MessageBody", "FilterPolicy", `{"for":["queues"]}`)
	w.publish(topic, `{"default":"plain","sqs":"{\"for\":\"queues\"}","http":"for http","https":"for https"}`,
		func(in *awssns.PublishInput) { in.MessageStructure = aws.String("json") })
	if got := member(t, e.await(2)[1].body, "Message"); got != "for http" {
		t.Errorf("posted %s", got)
	}
	got := w.Delivered()
	if len(got) != 1 || member(t, got[0].Message.Body, "Message") != `{"for":"queues"}` { // the function's text does not match
		t.Errorf("delivered %+v", got)
	}
}

func TestRawDeliveryOfMoreThanTenAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	w.subscribe(topic, "sqs", queue("raw"), "RawMessageDelivery", "true")
	w.subscribe(topic, "sqs", queue("enveloped"))
	attrs := attributes{}
	for i := range 10 {
		attrs[fmt.Sprint("a", i)] = str("x")
	}
	w.publish(topic, "ten", with(attrs))
	w.expect(2)
	attrs["more"] = str("x")
	w.publish(topic, "eleven", with(attrs))
	got := w.Delivered()
	if len(got) != 3 || got[2].Target != queue("enveloped") {
		t.Errorf("delivered %d, the last to %s", len(got), got[len(got)-1].Target)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic)
	w.subscribe(topic, "sqs", queue("q"))
	w.duplicate.Store(true)
	w.publish(topic, "twice")
	w.expect(2)
	posts := e.await(3)
	if posts[1].body != posts[2].body {
		t.Errorf("posted %s and %s", posts[1].body, posts[2].body)
	}
}

func TestFunctionsGetTheEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	function := "arn:aws:lambda:us-east-1:000000000000:function:f:live"
	sub := w.subscribe(topic, "lambda", function)
	w.publish(topic, "text", with(attributes{"n": number("5")}))
	d := w.Delivered()[0]
	var doc struct {
		Records []struct {
			EventSource, EventVersion, EventSubscriptionArn string
			Sns                                             map[string]any
		}
	}
	if err := json.Unmarshal([]byte(d.Message.Body), &doc); err != nil {
		t.Fatal(err)
	}
	r := doc.Records[0]
	if d.Target != function || r.EventSource != "aws:sns" || r.EventVersion != "1.0" || r.EventSubscriptionArn != sub || r.Sns["Message"] != "text" ||
		r.Sns["Subject"] != nil || r.Sns["MessageAttributes"].(map[string]any)["n"] == nil {
		t.Errorf("delivered %+v", d)
	}
}

func grouped(group, id string) func(*awssns.PublishInput) {
	return func(in *awssns.PublishInput) {
		in.MessageGroupId = &group
		if id != "" {
			in.MessageDeduplicationId = &id
		}
	}
}

func TestFifoDeduplication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, scope string
		want        int // after the same id in two groups
	}{{"topic", "", 1}, {"topic, said so", "Topic", 1}, {"group", "MessageGroup", 2}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			attrs := []string{"ContentBasedDeduplication", "true"}
			if c.scope != "" {
				attrs = append(attrs, "FifoThroughputScope", c.scope)
			}
			topic := w.topic("topic.fifo", attrs...)
			w.subscribe(topic, "sqs", queue("q.fifo"))
			first := w.publish(topic, "same", grouped("one", ""))
			second := w.publish(topic, "same", grouped("two", ""))
			w.expect(c.want)
			if same := *first.MessageId == *second.MessageId && *first.SequenceNumber == *second.SequenceNumber; same != (c.want == 1) {
				t.Errorf("%s %s, then %s %s", *first.MessageId, *first.SequenceNumber, *second.MessageId, *second.SequenceNumber)
			}
			third := w.publish(topic, "same", grouped("one", contentID("same"))) // what the content would give
			if *third.MessageId != *first.MessageId {
				t.Errorf("%s, want %s", *third.MessageId, *first.MessageId)
			}
			w.publish(topic, "same", grouped("one", "another"))
			w.expect(c.want + 1)
			w.Clock.Advance(deduplication - time.Second)
			w.publish(topic, "same", grouped("one", ""))
			w.expect(c.want + 1)
			w.Clock.Advance(time.Second)
			w.publish(topic, "same", grouped("one", ""))
			w.expect(c.want + 2)
		})
	}
}

func TestFifoScopesDoNotMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic.fifo", "FifoThroughputScope", "MessageGroup")
	w.subscribe(topic, "sqs", queue("q.fifo"))
	w.publish(topic, "x", grouped("c", "a/b"))
	w.publish(topic, "x", grouped("b/c", "a"))
	w.expect(2)
}

func TestFifoSequenceNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic.fifo")
	last := ""
	for i := range 20 {
		n := *w.publish(topic, "x", grouped(fmt.Sprint(i%3), fmt.Sprint(i))).SequenceNumber
		if len(n) != 20 || n <= last {
			t.Fatalf("%s after %s", n, last)
		}
		last = n
	}
}

// TestFifoKeepsGroupsInOrder publishes from many clients, to subscribers of which one fails now and then.
func TestFifoKeepsGroupsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("good.fifo"), "RawMessageDelivery", "true")
	w.subscribe(topic, "sqs", queue("bad.fifo"), "RawMessageDelivery", "true")
	var mu sync.Mutex
	tries := 0
	w.Refuse(func(target string, _ env.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if tries++; target == queue("bad.fifo") && tries%5 == 0 {
			return &wire.Error{Code: "ServiceUnavailable", Status: 503}
		}
		return nil
	})
	const clients, each = 8, 25
	sequence := sync.Map{} // text -> sequence number
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				text := fmt.Sprint(c, "-", i)
				in := &awssns.PublishInput{TopicArn: &topic, Message: &text, MessageDeduplicationId: &text, MessageGroupId: aws.String(fmt.Sprint(i % 3))}
				out, err := w.client.Publish(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				sequence.Store(text, *out.SequenceNumber)
			}
		})
	}
	all.Wait()
	got := w.Await(2 * clients * each)
	last := map[string]string{}
	for _, d := range got {
		n, _ := sequence.Load(d.Message.Body)
		lane := d.Target + d.Message.GroupID
		if n.(string) <= last[lane] {
			t.Fatalf("%s of %s comes after %s", n, lane, last[lane])
		}
		last[lane] = n.(string)
	}
	if len(last) != 6 {
		t.Errorf("%d lanes", len(last))
	}
}

// TestFifoRetriesHoldUpTheirGroupOnly fails one message for good while.
func TestFifoRetriesHoldUpTheirGroupOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q.fifo"), "RawMessageDelivery", "true")
	var mu sync.Mutex
	down, tries := true, make(chan struct{}, 100)
	w.Refuse(func(_ string, m env.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if down && m.GroupID == "stuck" {
			tries <- struct{}{}
			return &wire.Error{Code: "ServiceUnavailable", Status: 503}
		}
		return nil
	})
	w.publish(topic, "stuck-1", grouped("stuck", "1"))
	w.publish(topic, "free-1", grouped("free", "2"))
	w.publish(topic, "stuck-2", grouped("stuck", "3"))
	w.publish(topic, "free-2", grouped("free", "4"))
	texts := func() (list []string) {
		for _, d := range w.Delivered() {
			list = append(list, d.Message.Body)
		}
		return list
	}
	if got := texts(); !slices.Equal(got, []string{"free-1", "free-2"}) {
		t.Fatalf("delivered %v", got)
	}
	for range 4 { // at once: the first try and three more
		<-tries
	}
	w.parked(2)
	mu.Lock()
	down = false
	mu.Unlock()
	w.Clock.Advance(time.Second)
	w.Await(4)
	if got := texts()[2:]; !slices.Equal(got, []string{"stuck-1", "stuck-2"}) {
		t.Errorf("then delivered %v", got)
	}
}

func TestQueuesAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	w.subscribe(topic, "sqs", queue("q"), "RedrivePolicy", redriveTo(queue("dlq")))
	tries := make(chan struct{}, 100)
	w.Refuse(func(target string, _ env.Message) error {
		if target == queue("q") {
			tries <- struct{}{}
			return &wire.Error{Code: "InternalError", Status: 500}
		}
		return nil
	})
	w.publish(topic, "x")
	for range 4 {
		<-tries
	}
	for _, wait := range []time.Duration{time.Second, time.Second, time.Second} {
		w.parked(1)
		w.Clock.Advance(wait)
		<-tries
	}
	w.parked(1)
	w.Refuse(nil)
	w.Clock.Advance(20 * time.Second)
	if d := w.Await(1)[0]; d.Target != queue("q") {
		t.Errorf("delivered to %s", d.Target)
	}
}

func TestDeadLettersAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	w.subscribe(topic, "sqs", queue("q"), "RedrivePolicy", redriveTo(queue("dlq")))
	tries := make(chan string, 100)
	w.Refuse(func(target string, _ env.Message) error {
		tries <- target
		if target == queue("dlq") {
			return &wire.Error{Code: "InternalError", Status: 500}
		}
		return wire.Errorf("QueueDoesNotExist", "gone")
	})
	w.publish(topic, "x")
	var got []string
	for range 5 {
		got = append(got, <-tries)
	}
	if want := []string{queue("q"), queue("dlq"), queue("dlq"), queue("dlq"), queue("dlq")}; !slices.Equal(got, want) {
		t.Errorf("tried %v", got)
	}
	w.parked(1)
	w.Refuse(nil)
	w.Clock.Advance(time.Second)
	if d := w.Await(1)[0]; d.Target != queue("dlq") {
		t.Errorf("delivered to %s", d.Target)
	}
}

// TestAStoppedClientStopsNoDelivery publishes for a client that has hung up: what has begun goes to all.
func TestAStoppedClientStopsNoDelivery(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"topic", "topic.fifo"} {
		w := newWorld(t)
		topic := w.topic(name)
		var queues []string
		for i := range 3 {
			queues = append(queues, queue(strings.Replace(name, "topic", fmt.Sprint("q", i), 1)))
			w.subscribe(topic, "sqs", queues[i])
		}
		deliver := w.service.env.Deliver
		w.service.env.Deliver = func(ctx context.Context, target string, m env.Message) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return deliver(ctx, target, m)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		m := env.Message{Body: "x"}
		if name != "topic" {
			m.GroupID, m.DeduplicationID = "g", "d"
		}
		if err := w.service.Publish(ctx, topic, m); err != nil {
			t.Error(err)
		}
		w.expect(3)
	}
}
