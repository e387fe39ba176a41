package sqs

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestAMessageGoesThroughItsLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("orders")
	if want := w.url + "/000000000000/orders"; q != want {
		t.Fatalf("URL %s, want %s", q, want)
	}
	sent, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("hello"),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"a": {DataType: aws.String("String"), StringValue: aws.String("x")},
			"b": {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
			"c": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}},
		},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793")},
		},
	})
	if err != nil { // the client has checked the MD5s
		t.Fatal(err)
	}
	w.depth(q, 1, 0, 0)
	got := w.want(q, 10, "hello")[0]
	w.depth(q, 0, 1, 0)
	if *got.MessageId != *sent.MessageId || *got.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes || len(got.MessageAttributes) != 3 {
		t.Fatalf("received %+v", got)
	}
	for name, want := range map[string]string{
		"SenderId": "test", "SentTimestamp": "1767323045000", "ApproximateReceiveCount": "1",
		"ApproximateFirstReceiveTimestamp": "1767323045000", "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793",
	} {
		if got.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Attributes[name], want)
		}
	}
	w.want(q, 10, "")
	w.advance(29 * time.Second)
	w.want(q, 10, "")
	w.advance(time.Second)
	again := w.want(q, 10, "hello")[0]
	if again.Attributes["ApproximateReceiveCount"] != "2" || *again.ReceiptHandle == *got.ReceiptHandle {
		t.Fatalf("received again %+v", again)
	}
	w.delete(q, again)
	w.depth(q, 0, 0, 0)
	w.delete(q, again)
}

func TestCreateQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(name string, attributes ...string) error {
		_, err := w.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: pairs(attributes)})
		return err
	}
	const nameRule = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
	dlq := w.create("dead")
	fifoDLQ := w.create("dead.fifo")
	closed := w.create("closed", "RedriveAllowPolicy", `{"redrivePermission":"denyAll"}`)
	some := w.create("some", "RedriveAllowPolicy", `{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:us-east-1:000000000000:allowed"]}`)
	redrive := func(q, count string) string {
		return `{"deadLetterTargetArn":"` + w.arn(q) + `","maxReceiveCount":` + count + `}`
	}
	bad := func(policy, reason string) string {
		return "Value " + policy + " for parameter RedrivePolicy is invalid. Reason: " + reason
	}
	for name, c := range map[string]struct {
		queue         string
		attributes    []string
		code, message string
	}{
		"slash":       {"a/b", nil, "InvalidParameterValue", nameRule},
		"long":        {strings.Repeat("a", 81), nil, "InvalidParameterValue", nameRule},
		"fifo suffix": {"a.fifo", nil, "InvalidParameterValue", nameRule},
		"no suffix": {"a", []string{"FifoQueue", "true"}, "InvalidParameterValue",
			"The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."},
		"fifo false":      {"a", []string{"FifoQueue", "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."},
		"content dedup":   {"a", []string{"ContentBasedDeduplication", "false"}, "InvalidAttributeName", "Unknown Attribute ContentBasedDeduplication."},
		"scope":           {"a", []string{"DeduplicationScope", "queue"}, "InvalidAttributeName", "You can specify the DeduplicationScope only when FifoQueue is set to true."},
		"limit":           {"a", []string{"FifoThroughputLimit", "perQueue"}, "InvalidAttributeName", "You can specify the FifoThroughputLimit only when FifoQueue is set to true."},
		"unknown":         {"a", []string{"Foo", "1"}, "InvalidAttributeName", "Unknown Attribute Foo."},
		"read only":       {"a", []string{"QueueArn", "1"}, "InvalidAttributeName", "Unknown Attribute QueueArn."},
		"visibility":      {"a", []string{"VisibilityTimeout", "43201"}, "InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout."},
		"delay":           {"a", []string{"DelaySeconds", "901"}, "InvalidAttributeValue", "Invalid value for the parameter DelaySeconds."},
		"retention":       {"a", []string{"MessageRetentionPeriod", "59"}, "InvalidAttributeValue", "Invalid value for the parameter MessageRetentionPeriod."},
		"size":            {"a", []string{"MaximumMessageSize", "1048577"}, "InvalidAttributeValue", "Invalid value for the parameter MaximumMessageSize."},
		"wait":            {"a", []string{"ReceiveMessageWaitTimeSeconds", "x"}, "InvalidAttributeValue", "Invalid value for the parameter ReceiveMessageWaitTimeSeconds."},
		"policy":          {"a", []string{"Policy", "{}"}, "InvalidAttributeValue", "Invalid value for the parameter Policy."},
		"policy of SNS":   {"a", []string{"Policy", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:Publish"}]}`}, "InvalidAttributeValue", "Invalid value for the parameter Policy."},
		"two encryptions": {"a", []string{"KmsMasterKeyId", "k", "SqsManagedSseEnabled", "true"}, "InvalidAttributeName", "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."},
		"redrive no map":  {"a", []string{"RedrivePolicy", "1"}, "InvalidParameterValue", bad("1", "Redrive policy is not a valid JSON map.")},
		"redrive no count": {"a", []string{"RedrivePolicy", `{"deadLetterTargetArn":"x"}`}, "InvalidParameterValue",
			bad(`{"deadLetterTargetArn":"x"}`, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")},
		"redrive no target": {"a", []string{"RedrivePolicy", `{"maxReceiveCount":1}`}, "InvalidParameterValue",
			bad(`{"maxReceiveCount":1}`, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")},
		"redrive count": {"a", []string{"RedrivePolicy", redrive(dlq, "1001")}, "InvalidParameterValue",
			bad(redrive(dlq, "1001"), "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.")},
		"redrive arn": {"a", []string{"RedrivePolicy", `{"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}`}, "InvalidParameterValue",
			bad(`{"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}`, "Invalid value for deadLetterTargetArn.")},
		"redrive to nothing": {"a", []string{"RedrivePolicy", redrive("none", "1")}, "InvalidParameterValue",
			bad(redrive("none", "1"), "Dead letter target does not exist.")},
		"redrive type": {"a", []string{"RedrivePolicy", redrive(fifoDLQ, "1")}, "InvalidParameterValue",
			bad(redrive(fifoDLQ, "1"), "Dead-letter queue must be same type of queue as the source.")},
		"redrive denied": {"a", []string{"RedrivePolicy", redrive(closed, "1")}, "InvalidParameterValue",
			bad(redrive(closed, "1"), "The redrive allow policy of the dead-letter queue does not permit this source queue.")},
		"redrive not listed": {"a", []string{"RedrivePolicy", redrive(some, "1")}, "InvalidParameterValue",
			bad(redrive(some, "1"), "The redrive allow policy of the dead-letter queue does not permit this source queue.")},
		"allow without sources": {"a", []string{"RedriveAllowPolicy", `{"redrivePermission":"byQueue"}`}, "InvalidParameterValue",
			`Value {"redrivePermission":"byQueue"} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create the redrive allow policy. ` +
				`When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.`},
		"per group without scope": {"a.fifo", []string{"FifoQueue", "true", "FifoThroughputLimit", "perMessageGroupId"}, "InvalidAttributeValue",
			"Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."},
	} {
		t.Log(name)
		refused(t, create(c.queue, c.attributes...), c.code, c.message)
	}
	for _, c := range [][]string{
		{"allowed", "RedrivePolicy", redrive(some, `"3"`)},
		{"allowed", "RedrivePolicy", redrive(some, "3")}, // the same
		{"idempotent", "DelaySeconds", "1", "VisibilityTimeout", "5"},
		{"idempotent", "DelaySeconds", "1"},
		{"idempotent"},
		{"policy", "Policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}`},
		{"upper.fifo", "FifoQueue", "True"},
		{"upper.fifo", "FifoQueue", "true", "ContentBasedDeduplication", "False"},
	} {
		if err := create(c[0], c[1:]...); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	refused(t, create("idempotent", "DelaySeconds", "2"), "QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute DelaySeconds")
	refused(t, create("allowed", "RedrivePolicy", redrive(some, "4")), "QueueAlreadyExists",
		"A queue already exists with the same name and a different value for attribute RedrivePolicy")
}

func TestADeletedQueuesNameIsTakenForAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	w.send(q, "x")
	if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q}); err != nil {
		t.Fatal(err)
	}
	_, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q})
	refused(t, err, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	w.advance(59 * time.Second)
	_, err = w.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	refused(t, err, "AWS.SimpleQueueService.QueueDeletedRecently",
		"You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	w.advance(time.Second)
	w.want(w.create("q"), 10, "")
}

func TestQueuesAreFoundByURLNameAndOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(w.create("q"), "x")
	for _, u := range []string{
		"q", "http://localhost:9324/000000000000/q", "https://sqs.us-east-1.amazonaws.com/000000000000/q",
		"https://queue.amazonaws.com/000000000000/q", "http://us-west-2.queue.localhost:4566/000000000000/q",
		"http://localhost:4566/queue/us-east-1/000000000000/q", "http://localhost:9324/queue/q", "/000000000000/q",
	} {
		out, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &u, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessages"},
		})
		if err != nil || out.Attributes["ApproximateNumberOfMessages"] != "1" || len(out.Attributes) != 1 {
			t.Errorf("%s: %v %v", u, out, err)
		}
	}
	for _, u := range []string{"http://localhost:4566/111111111111/q", "http://localhost:4566/queue/us-west-2/000000000000/q", "nothing"} {
		_, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &u})
		refused(t, err, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
	}
	for _, u := range []string{"http://localhost:4566", "http://localhost:4566/", "http://localhost:4566/some/q"} {
		_, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &u})
		refused(t, err, "InvalidAddress", "The address "+u+" is not valid for this endpoint.")
		if status(err) != 404 {
			t.Errorf("status %d", status(err))
		}
	}
	_, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String("")})
	refused(t, err, "MissingParameter", "The request must contain the parameter QueueUrl.")

	out, err := w.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q"), QueueOwnerAWSAccountId: aws.String("000000000000")})
	if err != nil || *out.QueueUrl != w.url+"/000000000000/q" {
		t.Errorf("%v %v", out, err)
	}
	_, err = w.client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q"), QueueOwnerAWSAccountId: aws.String("111111111111")})
	refused(t, err, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

func TestListQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"b-1", "a-2", "a-1", "a-3", "c"} {
		w.create(name)
	}
	out, err := w.client.ListQueues(t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: aws.String("a-")})
	if err != nil || len(out.QueueUrls) != 3 || out.NextToken != nil || out.QueueUrls[0] != w.url+"/000000000000/a-1" {
		t.Fatalf("%v %v", out, err)
	}
	var names []string
	in := &sqs.ListQueuesInput{MaxResults: aws.Int32(2)}
	pages := sqs.NewListQueuesPaginator(w.client, in)
	n := 0
	for ; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.QueueUrls {
			names = append(names, u[len(w.url+"/000000000000/"):])
		}
	}
	if strings.Join(names, " ") != "a-1 a-2 a-3 b-1 c" || n != 3 {
		t.Errorf("%d pages of %v", n, names)
	}
	for _, bad := range []*sqs.ListQueuesInput{{MaxResults: aws.Int32(1001)}, {MaxResults: aws.Int32(0)}, {MaxResults: aws.Int32(1), NextToken: aws.String("%")}} {
		if _, err := w.client.ListQueues(t.Context(), bad); status(err) != 400 {
			t.Errorf("%v", err)
		}
	}
}

func TestQueueAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	all := func(q string) map[string]string {
		t.Helper()
		out, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q, AttributeNames: []types.QueueAttributeName{"All"}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes
	}
	check := func(q string, want map[string]string) {
		t.Helper()
		if got := all(q); !maps.Equal(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
	}
	want := map[string]string{
		"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0", "ApproximateNumberOfMessagesNotVisible": "0",
		"CreatedTimestamp": "1767323045", "LastModifiedTimestamp": "1767323045", "DelaySeconds": "0", "MaximumMessageSize": "1048576",
		"MessageRetentionPeriod": "345600", "QueueArn": w.arn(q), "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
		"VisibilityTimeout": "30",
	}
	check(q, want)
	w.advance(time.Minute)
	if err := w.set(q, "KmsMasterKeyId", "testKeyId", "KmsDataKeyReusePeriodSeconds", "6000", "DelaySeconds", "5"); err != nil {
		t.Fatal(err)
	}
	want["LastModifiedTimestamp"], want["DelaySeconds"] = "1767323105", "5"
	want["KmsMasterKeyId"], want["KmsDataKeyReusePeriodSeconds"], want["SqsManagedSseEnabled"] = "testKeyId", "6000", "false"
	check(q, want)
	if err := w.set(q, "KmsMasterKeyId", "", "KmsDataKeyReusePeriodSeconds", "300"); err != nil {
		t.Fatal(err)
	}
	delete(want, "KmsMasterKeyId")
	delete(want, "KmsDataKeyReusePeriodSeconds")
	check(q, want)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}]}`
	if err := w.set(q, "Policy", policy, "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(w.create("dead"))+`","maxReceiveCount":"42"}`); err != nil {
		t.Fatal(err)
	}
	if got := all(q); got["Policy"] != policy || !strings.Contains(got["RedrivePolicy"], "42") {
		t.Errorf("%v", got)
	}
	if w.service.Policy(w.arn(q)) != policy || w.service.Policy("arn:aws:sqs:us-east-1:000000000000:none") != "" {
		t.Error("Policy returns something else")
	}
	if err := w.set(q, "Policy", "", "RedrivePolicy", ""); err != nil {
		t.Fatal(err)
	}
	check(q, want)

	fifo := all(w.create("q.fifo"))
	for name, v := range map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"} {
		if fifo[name] != v {
			t.Errorf("%s is %q", name, fifo[name])
		}
	}
	if err := w.set("q.fifo", "FifoQueue", "true"); err != nil {
		t.Error(err)
	}
	refused(t, w.set("q.fifo", "FifoQueue", "false"), "InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")
	refused(t, w.set(q, "FifoQueue", "true"), "InvalidAttributeName", "Unknown Attribute FifoQueue.")
	_, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q, AttributeNames: []types.QueueAttributeName{"Foobar"}})
	refused(t, err, "InvalidAttributeName", "Unknown Attribute Foobar.")
	out, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q})
	if err != nil || out.Attributes != nil {
		t.Errorf("%v %v", out, err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, err := w.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q"), Tags: map[string]string{"tag1": "value1"}})
	if err != nil {
		t.Fatal(err)
	}
	q := out.QueueUrl
	check := func(want map[string]string) {
		t.Helper()
		out, err := w.client.ListQueueTags(t.Context(), &sqs.ListQueueTagsInput{QueueUrl: q})
		if err != nil || !maps.Equal(out.Tags, want) {
			t.Errorf("%v %v, want %v", out.Tags, err, want)
		}
	}
	check(map[string]string{"tag1": "value1"})
	if _, err := w.client.TagQueue(t.Context(), &sqs.TagQueueInput{QueueUrl: q, Tags: map[string]string{"tag1": "new", "Tag1": "", "x": "y"}}); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"tag1": "new", "Tag1": "", "x": "y"})
	if _, err := w.client.UntagQueue(t.Context(), &sqs.UntagQueueInput{QueueUrl: q, TagKeys: []string{"tag1", "x", "none"}}); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"Tag1": ""})
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	for name, tags := range map[string]map[string]string{"reserved": {"aws:x": "y"}, "long": {strings.Repeat("k", 129): ""}, "too many": many} {
		if _, err := w.client.TagQueue(t.Context(), &sqs.TagQueueInput{QueueUrl: q, Tags: tags}); status(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(map[string]string{"Tag1": ""})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	add := func(label string, accounts, actions []string) error {
		_, err := w.client.AddPermission(t.Context(), &sqs.AddPermissionInput{QueueUrl: &q, Label: &label, AWSAccountIds: accounts, Actions: actions})
		return err
	}
	remove := func(label string) error {
		_, err := w.client.RemovePermission(t.Context(), &sqs.RemovePermissionInput{QueueUrl: &q, Label: &label})
		return err
	}
	check := func(statements string) {
		t.Helper()
		want := ""
		if statements != "" {
			want = `{"Version":"2008-10-17","Id":"` + w.arn(q) + `/SQSDefaultPolicy","Statement":[` + statements + `]}`
		}
		if got := w.service.Policy(w.arn(q)); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	one, two := []string{"111111111111"}, []string{"668614515564", "111111111111"}
	receive := []string{"ReceiveMessage"}
	statement := func(label, principal, action string) string {
		return `{"Sid":"` + label + `","Effect":"Allow","Principal":{"AWS":` + principal + `},"Action":` + action + `,"Resource":"` + w.arn(q) + `"}`
	}
	if err := add("a", two, receive); err != nil {
		t.Fatal(err)
	}
	check(statement("a", `["arn:aws:iam::668614515564:root","arn:aws:iam::111111111111:root"]`, `"SQS:ReceiveMessage"`))
	refused(t, add("a", one, receive), "InvalidParameterValue", "Value a for parameter Label is invalid. Reason: Already exists.")
	if err := add("b", one, []string{"SendMessage", "GetQueueUrl"}); err != nil {
		t.Fatal(err)
	}
	if err := remove("a"); err != nil {
		t.Fatal(err)
	}
	check(statement("b", `"arn:aws:iam::111111111111:root"`, `["SQS:SendMessage","SQS:GetQueueUrl"]`))
	refused(t, remove("a"), "InvalidParameterValue", "Value a for parameter Label is invalid. Reason: can't find label.")
	if err := remove("b"); err != nil {
		t.Fatal(err)
	}
	check("")
	refused(t, remove("b"), "InvalidParameterValue", "Value b for parameter Label is invalid. Reason: can't find label.")
	refused(t, add("a", one, []string{"CreateQueue"}), "InvalidParameterValue",
		"Value SQS:CreateQueue for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list of valid actions. ")
	for name, err := range map[string]error{
		"label": add("a b", one, receive), "account": add("a", []string{"x"}, receive), "no account": add("a", []string{}, receive),
		"too many": add("a", one, []string{"*", "*", "*", "*", "*", "*", "*", "*"}),
	} {
		if want := map[bool]int{true: 403, false: 400}[name == "too many"]; status(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
