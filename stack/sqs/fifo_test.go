package sqs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func TestFIFOHandsOutAGroupInOrderAndAsMuchOfItAsFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	w.send(q, "a:1", "b:1", "a:2", "a:3", "c:1", "b:2", "a:4")
	w.want(q, 10, "a:1 a:2 a:3 a:4 b:1 b:2 c:1")
	w.depth(q, 0, 7, 0)
	w.want(q, 10, "")
}

func TestFIFOHoldsAGroupBackWhileItsFirstMessagesAreInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	w.send(q, "a:1", "a:2", "a:3", "a:4", "b:1", "c:1")
	first := w.want(q, 2, "a:1 a:2")
	w.want(q, 1, "b:1")
	w.want(q, 10, "c:1")
	w.delete(q, first[0])
	w.want(q, 10, "") // a:2 is in flight still
	w.delete(q, first[1])
	w.want(q, 10, "a:3 a:4")
}

func TestFIFOKeepsOrderAfterVisibilityRunsOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	for i := range 6 {
		w.send(q, fmt.Sprintf("a:%d", i))
	}
	w.want(q, 2, "a:0 a:1")
	w.advance(30 * time.Second)
	got := w.want(q, 4, "a:0 a:1 a:2 a:3")
	w.delete(q, got[0], got[2]) // out of order
	w.advance(30 * time.Second)
	w.want(q, 10, "a:1 a:3 a:4 a:5")
}

// What AWS was recorded to do in July 2023 and November 2025: a message is held back by those of its group before it,
// not by those behind it.
func TestFIFOMessagesThatBecomeVisibleEarlyCanBeReceived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		extended int
		want     string
	}{{0, ""}, {1, "g:foo"}, {2, "g:foo g:bar"}} {
		w := newWorld(t)
		q := w.create("q.fifo", "VisibilityTimeout", "1")
		w.send(q, "g:foo", "g:bar", "g:baz")
		got := w.want(q, 5, "g:foo g:bar g:baz")
		if err := w.hide(q, got[c.extended], 4); err != nil {
			t.Fatal(err)
		}
		w.advance(2500 * time.Millisecond)
		w.want(q, 5, c.want)
	}
	w := newWorld(t)
	q := w.create("q.fifo")
	w.send(q, "a:1", "a:2", "b:1")
	got := w.want(q, 2, "a:1 a:2")
	if err := w.hide(q, got[0], 0); err != nil {
		t.Fatal(err)
	}
	w.want(q, 3, "b:1 a:1")
}

func TestFIFOGroupsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo", "VisibilityTimeout", "0")
	w.send(q, "1:a", "2:a", "2:b", "3:a", "1:b")
	w.want(q, 3, "1:a 1:b 2:a")
	w.want(q, 10, "3:a 1:a 1:b 2:a 2:b")
}

func TestFIFORefusesHandlesThatHaveExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo", "VisibilityTimeout", "1")
	w.send(q, "a:1")
	old := w.want(q, 1, "a:1")[0]
	w.advance(time.Second)
	expired := func() {
		t.Helper()
		_, err := w.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q, ReceiptHandle: old.ReceiptHandle})
		refused(t, err, "InvalidParameterValue", "Value "+*old.ReceiptHandle+" for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
		refused(t, w.hide(q, old, 5), "InvalidParameterValue", "Value "+*old.ReceiptHandle+
			" for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.")
	}
	expired()
	m := w.want(q, 1, "a:1")[0]
	expired()
	if err := w.hide(q, m, 60); err != nil {
		t.Fatal(err)
	}
	w.advance(50 * time.Second)
	w.delete(q, m)
	w.delete(q, old) // what is gone can be deleted with any handle
	w.depth(q, 0, 0, 0)
}

func TestFIFODeduplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	send := func(q, group, id, body string) *sqs.SendMessageOutput {
		t.Helper()
		in := &sqs.SendMessageInput{QueueUrl: &q, MessageBody: &body, MessageGroupId: &group}
		if id != "" {
			in.MessageDeduplicationId = &id
		}
		out, err := w.client.SendMessage(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	same := func(a, b *sqs.SendMessageOutput, want bool) {
		t.Helper()
		if got := *a.MessageId == *b.MessageId && *a.SequenceNumber == *b.SequenceNumber; got != want {
			t.Fatalf("same message: %v, want %v (%s %s, %s %s)", got, want, *a.MessageId, *a.SequenceNumber, *b.MessageId, *b.SequenceNumber)
		}
	}

	q := w.create("by-id.fifo")
	first := send(q, "g", "id", "one")
	same(first, send(q, "g", "id", "two"), true)
	same(first, send(q, "h", "id", "three"), true)
	w.delete(q, w.want(q, 10, "one")...)
	w.advance(5*time.Minute - time.Second)
	same(first, send(q, "g", "id", "one"), true) // also when it is deleted
	w.want(q, 10, "")
	w.advance(time.Second)
	second := send(q, "g", "id", "four")
	same(first, second, false)
	if len(*second.SequenceNumber) != 20 || *second.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("sequence numbers %s, %s", *first.SequenceNumber, *second.SequenceNumber)
	}
	w.want(q, 10, "four")

	q = w.create("by-content.fifo", "ContentBasedDeduplication", "true")
	first = send(q, "g", "", "one")
	same(first, send(q, "g", "", "one"), true)
	same(first, send(q, "g", "", "two"), false)
	same(first, send(q, "g", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "three"), true) // the SHA-256 of "one"
	same(first, send(q, "g", "another", "one"), false)

	q = w.create("by-group.fifo", "DeduplicationScope", "messageGroup", "FifoThroughputLimit", "perMessageGroupId")
	first = send(q, "g", "id", "one")
	same(first, send(q, "h", "id", "two"), false)
	same(first, send(q, "g", "id", "three"), true)

	// Ids taken for the whole queue stay taken when the scope becomes the group; recorded on AWS.
	q = w.create("changed.fifo")
	first = send(q, "g", "id", "one")
	if err := w.set(q, "DeduplicationScope", "messageGroup", "FifoThroughputLimit", "perMessageGroupId"); err != nil {
		t.Fatal(err)
	}
	same(first, send(q, "h", "id", "two"), true)
}

func TestFIFOReceiveCanBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	w.send(q, "a:1", "a:2", "b:1")
	first := w.want(q, 2, "a:1 a:2", attemptID("x"))
	w.advance(20 * time.Second)
	again := w.want(q, 2, "a:1 a:2", attemptID("x"))
	for i := range first {
		if *first[i].ReceiptHandle != *again[i].ReceiptHandle || again[i].Attributes["ApproximateReceiveCount"] != "1" {
			t.Errorf("message %d is not the same receipt: %v", i, again[i])
		}
	}
	w.advance(20 * time.Second) // the repetition has set the visibility timeout anew
	w.want(q, 2, "b:1", attemptID("y"))
	w.delete(q, first[0]) // now it is another receive
	w.want(q, 2, "", attemptID("x"))
	w.advance(10 * time.Second)
	w.want(q, 2, "a:2", attemptID("x"))

	standard := w.create("standard")
	_, err := w.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &standard, ReceiveRequestAttemptId: aws.String("x")})
	refused(t, err, "InvalidParameterValue",
		"Value x for parameter ReceiveRequestAttemptId is invalid. Reason: The request include parameter that is not valid for this queue type.")
}

func TestFIFODelayIsTheQueuesAndRetroactive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo", "DelaySeconds", "10")
	_, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"), DelaySeconds: 2,
	})
	refused(t, err, "InvalidParameterValue", "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.")
	w.send(q, "g:1", "g:2")
	w.depth(q, 0, 0, 2)
	w.advance(5 * time.Second)
	if err := w.set(q, "DelaySeconds", "7"); err != nil {
		t.Fatal(err)
	}
	w.advance(2 * time.Second)
	w.depth(q, 2, 0, 0)
	if err := w.set(q, "DelaySeconds", "100"); err != nil {
		t.Fatal(err)
	}
	w.depth(q, 0, 0, 2)
	if err := w.set(q, "DelaySeconds", "0"); err != nil {
		t.Fatal(err)
	}
	w.want(q, 10, "g:1 g:2")
}

func TestFIFOSendsAreRefusedWithoutGroupOrID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q, standard := w.create("q.fifo"), w.create("q")
	x := aws.String("x")
	long := strings.Repeat("a", 129)
	const idRule = "can only include alphanumeric and punctuation characters. 1 to 128 in length."
	for name, c := range map[string]struct {
		in            sqs.SendMessageInput
		code, message string
	}{
		"no group": {sqs.SendMessageInput{QueueUrl: &q, MessageDeduplicationId: x}, "MissingParameter", "The request must contain the parameter MessageGroupId."},
		"no id": {sqs.SendMessageInput{QueueUrl: &q, MessageGroupId: x}, "InvalidParameterValue",
			"The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		"long id": {sqs.SendMessageInput{QueueUrl: &q, MessageGroupId: x, MessageDeduplicationId: &long}, "InvalidParameterValue",
			"Value " + long + " for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId " + idRule},
		"spaces": {sqs.SendMessageInput{QueueUrl: &q, MessageGroupId: aws.String("group 123"), MessageDeduplicationId: x}, "InvalidParameterValue",
			"Value group 123 for parameter MessageGroupId is invalid. Reason: MessageGroupId " + idRule},
		"empty group of a standard queue": {sqs.SendMessageInput{QueueUrl: &standard, MessageGroupId: aws.String("")}, "InvalidParameterValue",
			"Value  for parameter MessageGroupId is invalid. Reason: MessageGroupId " + idRule},
		"id of a standard queue": {sqs.SendMessageInput{QueueUrl: &standard, MessageDeduplicationId: x}, "InvalidParameterValue",
			"Value x for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type."},
	} {
		c.in.MessageBody = x
		_, err := w.client.SendMessage(t.Context(), &c.in)
		t.Log(name)
		refused(t, err, c.code, c.message)
	}
}

func TestFIFODeadLettersKeepTheirOrderAndBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dlq := w.create("dead.fifo")
	q := w.create("q.fifo", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":2}`, "VisibilityTimeout", "1")
	w.send(q, "a:1", "a:2", "b:1")
	for range 2 {
		w.want(q, 10, "a:1 a:2 b:1")
		w.advance(time.Second)
	}
	w.send(q, "a:3")
	w.want(q, 10, "a:3") // behind the dead ones
	w.depth(q, 0, 1, 0)
	w.depth(dlq, 3, 0, 0)
	got := w.want(dlq, 10, "a:1 a:2 b:1")
	for _, m := range got {
		if m.Attributes["DeadLetterQueueSourceArn"] != w.arn(q) || m.Attributes["ApproximateReceiveCount"] != "3" {
			t.Errorf("dead letter %v", m.Attributes)
		}
		if m.Attributes["SentTimestamp"] == "1767323045000" {
			t.Error("a FIFO queue's dead letter keeps its age")
		}
	}
}

func TestFIFOPurgeForgetsIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	w.send(q, "a:1", "a:2")
	w.want(q, 1, "a:1")
	if _, err := w.client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: &q}); err != nil {
		t.Fatal(err)
	}
	w.depth(q, 0, 0, 0)
	w.send(q, "a:1")
	w.want(q, 10, "a:1")
	_, err := w.client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: &q})
	refused(t, err, "AWS.SimpleQueueService.PurgeQueueInProgress", "Only one PurgeQueue operation on q.fifo is allowed every 60 seconds.")
	if status(err) != 403 {
		t.Errorf("status %d", status(err))
	}
	w.advance(time.Minute)
	if _, err := w.client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: &q}); err != nil {
		t.Fatal(err)
	}
}

func TestFIFOBacklogOfOneGroupHoldsUpTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q.fifo")
	w.service.byName(w.arn(q)).scan = 3
	w.send(q, "a:1", "a:2", "a:3", "b:1", "c:1")
	got := w.want(q, 1, "a:1")
	w.want(q, 10, "")
	w.delete(q, got...)
	got = w.want(q, 10, "a:2 a:3 b:1")
	w.want(q, 10, "")
	w.delete(q, got[2])
	w.want(q, 10, "c:1")
}
