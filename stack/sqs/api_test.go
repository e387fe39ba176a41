package sqs

import (
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
