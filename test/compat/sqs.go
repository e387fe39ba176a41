package main

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	sqsAPI   = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_"
	sqsGuide = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"
)

// attrs are attributes of queues, topics and subscriptions.
type attrs = map[string]string

// queue makes a queue and returns its URL.
func (t *T) queue(what string, a attrs) string {
	return text(ok(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: ptr(t.name(what)), Attributes: a})).QueueUrl)
}

// queueARN returns the ARN of a queue.
func (t *T) queueARN(url string) string { return t.queueAttributes(url)["QueueArn"] }

func (t *T) queueAttributes(url string) attrs {
	return ok(t.SQS.GetQueueAttributes(t.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{"All"}})).Attributes
}

func (t *T) send(url, body string) *sqs.SendMessageOutput {
	return ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}))
}

// receive takes what there is, up to ten messages, with all their attributes.
func (t *T) receive(url string, wait int32) []types.Message { return t.receiveUpTo(url, 10, wait) }

func (t *T) receiveUpTo(url string, most, wait int32) []types.Message {
	return ok(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: most, WaitTimeSeconds: wait,
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})).Messages
}

// receiveOne takes one message, which must come.
func (t *T) receiveOne(url string) types.Message {
	for range 6 {
		if m := t.receiveUpTo(url, 1, 1); len(m) > 0 {
			return m[0]
		}
	}
	t.wrong("no message comes")
	panic("unreachable")
}

// receiveAll receives and deletes until it has n messages, and returns them as they came. More within the moment after is wrong too.
func (t *T) receiveAll(url string, n int) (all []types.Message) {
	for range 6 {
		for _, m := range t.receive(url, 1) {
			all = append(all, m)
			t.remove(url, m)
		}
		if len(all) >= n {
			break
		}
	}
	all = append(all, t.receive(url, 0)...)
	if len(all) != n {
		t.wrong("%d messages come, not %d", len(all), n)
	}
	return all
}

func (t *T) remove(url string, m types.Message) {
	ok(t.SQS.DeleteMessage(t.ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}))
}

func bodies(messages []types.Message) (all []string) {
	for _, m := range messages {
		all = append(all, text(m.Body))
	}
	return all
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// none demands that nothing is received just now.
func (t *T) none(url, when string) {
	if m := t.receive(url, 0); len(m) > 0 {
		t.wrong("%s, %d messages are received", when, len(m))
	}
}

func digest(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// attributesDigest follows the developer guide's "Calculating the MD5 message digest for message attributes".
func attributesDigest(a map[string]types.MessageAttributeValue) string {
	h := md5.New()
	write := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		h.Write(b)
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		write([]byte(name))
		write([]byte(*a[name].DataType))
		if a[name].BinaryValue != nil {
			h.Write([]byte{2})
			write(a[name].BinaryValue)
		} else {
			h.Write([]byte{1})
			write([]byte(*a[name].StringValue))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func stringAttribute(v string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: ptr("String"), StringValue: &v}
}

func sqsCases() []Case {
	return []Case{
		{
			ID: "sqs-md5", URL: sqsAPI + "SendMessage.html",
			Says: "An MD5 digest of the non-URL-encoded message body string.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				out := t.send(q, "grüße <&>\n")
				t.want("MD5OfMessageBody", out.MD5OfMessageBody, digest("grüße <&>\n"))
				m := t.receiveOne(q)
				t.want("the body", m.Body, "grüße <&>\n")
				t.want("MD5OfBody", m.MD5OfBody, digest("grüße <&>\n"))
				t.want("MessageId", m.MessageId, text(out.MessageId))
			},
		},
		{
			ID: "sqs-md5-attributes", URL: sqsGuide + "sqs-message-metadata.html",
			Says: "Sort all message attributes by name in ascending order.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				a := map[string]types.MessageAttributeValue{
					"b.2": {DataType: ptr("Binary"), BinaryValue: []byte{0, 1, 255}},
					"a":   stringAttribute("ä"),
					"n":   {DataType: ptr("Number.int"), StringValue: ptr("42")},
				}
				out := ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x"), MessageAttributes: a}))
				t.want("MD5OfMessageAttributes when sent", out.MD5OfMessageAttributes, attributesDigest(a))
				m := t.receiveOne(q)
				t.want("MD5OfMessageAttributes when received", m.MD5OfMessageAttributes, attributesDigest(a))
				t.want("the binary attribute", m.MessageAttributes["b.2"].BinaryValue, []byte{0, 1, 255})
				t.want("the number's type", m.MessageAttributes["n"].DataType, "Number.int")
			},
		},
		{
			ID: "sqs-create-again", URL: sqsAPI + "CreateQueue.html",
			Says: "If you specify the name of an existing queue and provide the exact same names and values for all its attributes, the CreateQueue action will return the URL of the existing queue instead of creating a new one.",
			Run: func(t *T) {
				a := attrs{"VisibilityTimeout": "17", "DelaySeconds": "3"}
				first := t.queue("q", a)
				t.want("the URL the second time", t.queue("q", a), first)
			},
		},
		{
			ID: "sqs-create-otherwise", URL: sqsAPI + "CreateQueue.html",
			Says: "If you attempt to create a queue with a name that already exists but with different attribute names or values, the CreateQueue action will return an error.",
			Run: func(t *T) {
				t.queue("q", attrs{"VisibilityTimeout": "17"})
				t.refused("another VisibilityTimeout", errOf(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{
					QueueName: ptr(t.name("q")), Attributes: attrs{"VisibilityTimeout": "18"},
				})), "QueueAlreadyExists|QueueNameExists")
			},
		},
		{
			ID: "sqs-no-queue", URL: sqsAPI + "GetQueueUrl.html",
			Says: "Ensure that the QueueUrl is correct and that the queue has not been deleted.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				const code = "NonExistentQueue|QueueDoesNotExist"
				t.refused("the URL of a queue that never was", errOf(t.SQS.GetQueueUrl(t.ctx, &sqs.GetQueueUrlInput{QueueName: ptr(t.name("gone"))})), code)
				ok(t.SQS.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: &q}))
				t.refused("sending to a deleted queue", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x")})), code)
				t.refused("receiving from a deleted queue", errOf(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q})), code)
			},
		},
		{
			ID: "sqs-visibility", URL: sqsAPI + "ReceiveMessage.html",
			Says: "The duration (in seconds) that the received messages are hidden from subsequent retrieve requests after being retrieved by a ReceiveMessage request.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"VisibilityTimeout": "2"})
				t.send(q, "x")
				first := t.receiveOne(q)
				t.want("the receive count", first.Attributes["ApproximateReceiveCount"], "1")
				t.none(q, "while the message is in flight")
				second := t.receiveOne(q)
				t.want("the receive count after the timeout", second.Attributes["ApproximateReceiveCount"], "2")
				t.want("the first receive's time", second.Attributes["ApproximateFirstReceiveTimestamp"], first.Attributes["ApproximateFirstReceiveTimestamp"])
				t.that(text(second.ReceiptHandle) != text(first.ReceiptHandle), "the receipt handle is that of the first receive")
			},
		},
		{
			ID: "sqs-visibility-of-call", URL: sqsAPI + "ReceiveMessage.html",
			Says: "If not specified, the default visibility timeout for the queue is used, which is 30 seconds.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.send(q, "x")
				m := ok(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q, VisibilityTimeout: 1})).Messages
				t.want("the number of messages", len(m), 1)
				t.want("the body", t.receiveOne(q).Body, "x")
				t.none(q, "under the queue's own timeout")
				t.want("VisibilityTimeout", t.queueAttributes(q)["VisibilityTimeout"], "30")
			},
		},
		{
			ID: "sqs-visibility-zero", URL: sqsGuide + "sqs-visibility-timeout.html",
			Says: "This makes the message immediately visible to other components in the system and available for processing.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.send(q, "x")
				m := t.receiveOne(q)
				ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle}))
				if again := t.receive(q, 0); len(again) != 1 || again[0].Attributes["ApproximateReceiveCount"] != "2" {
					t.wrong("the message is not received at once")
				}
			},
		},
		{
			ID: "sqs-visibility-extended", URL: sqsAPI + "ChangeMessageVisibility.html",
			Says: "Unlike with a queue, when you change the visibility timeout for a specific message the timeout value is applied immediately but isn't saved in memory for that message.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"VisibilityTimeout": "1"})
				t.send(q, "x")
				m := t.receiveOne(q)
				ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 3}))
				t.wait(1500 * time.Millisecond)
				t.none(q, "while the extended timeout runs")
				t.receiveOne(q)
				began := time.Now()
				t.receiveOne(q)
				t.that(time.Since(began) < 2500*time.Millisecond, "the next receive has the extended timeout too")
			},
		},
		{
			ID: "sqs-bad-handle", URL: sqsAPI + "DeleteMessage.html",
			Says: "The specified receipt handle isn't valid.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a made-up receipt handle", errOf(t.SQS.DeleteMessage(t.ctx, &sqs.DeleteMessageInput{
					QueueUrl: &q, ReceiptHandle: ptr("made-up"),
				})), "ReceiptHandleIsInvalid")
			},
		},
		{
			ID: "sqs-delete", URL: sqsAPI + "DeleteMessage.html",
			Says: "Deletes the specified message from the specified queue.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"VisibilityTimeout": "1"})
				t.send(q, "x")
				m := t.receiveOne(q)
				t.remove(q, m)
				t.remove(q, m) // again, as at-least-once consumers do
				t.wait(1200 * time.Millisecond)
				t.none(q, "after the deletion")
			},
		},
		{
			ID: "sqs-delay-message", URL: sqsAPI + "SendMessage.html",
			Says: "Messages with a positive DelaySeconds value become available for processing after the delay period is finished.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("late"), DelaySeconds: 2}))
				t.send(q, "now")
				t.want("what is there at once", bodies(t.receive(q, 1)), []string{"now"})
				t.want("ApproximateNumberOfMessagesDelayed", t.queueAttributes(q)["ApproximateNumberOfMessagesDelayed"], "1")
				t.want("what is there later", text(t.receiveOne(q).Body), "late")
			},
		},
		{
			ID: "sqs-delay-queue", URL: sqsAPI + "CreateQueue.html",
			Says: "DelaySeconds – The length of time, in seconds, for which the delivery of all messages in the queue is delayed.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"DelaySeconds": "2"})
				t.send(q, "x")
				t.none(q, "during the queue's delay")
				t.receiveOne(q)
			},
		},
		{
			ID: "sqs-long-poll-wakes", URL: sqsAPI + "ReceiveMessage.html",
			Says: "If a message is available, the call returns sooner than WaitTimeSeconds.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				sent := make(chan error, 1)
				go func() {
					<-time.After(500 * time.Millisecond) // the receive waits by then
					_, err := t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x")})
					sent <- err
				}()
				began := time.Now()
				n := len(t.receive(q, 10))
				took := time.Since(began)
				if err := <-sent; err != nil {
					fail(err)
				}
				t.want("the number of messages", n, 1)
				t.that(took < 5*time.Second, "the receive returns after %v only", took.Round(time.Second))
			},
		},
		{
			ID: "sqs-long-poll-waits", URL: sqsAPI + "ReceiveMessage.html",
			Says: "The duration (in seconds) for which the call waits for a message to arrive in the queue before returning.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"ReceiveMessageWaitTimeSeconds": "1"})
				began := time.Now()
				n := len(ok(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q})).Messages)
				t.want("the number of messages", n, 0)
				t.that(time.Since(began) > 900*time.Millisecond, "the queue's wait time is not kept")
			},
		},
		{
			ID: "sqs-dlq", URL: sqsAPI + "CreateQueue.html",
			Says: "When the ReceiveCount for a message exceeds the maxReceiveCount for a queue, Amazon SQS moves the message to the dead-letter-queue.",
			Run: func(t *T) {
				dead := t.queue("dead", nil)
				q := t.queue("q", attrs{"RedrivePolicy": redrive(t.queueARN(dead), 2)})
				sent := t.send(q, "x")
				for range 2 {
					m := t.receiveOne(q)
					ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle}))
				}
				t.none(q, "after two receives")
				m := t.receiveOne(dead)
				t.want("the message's id", m.MessageId, text(sent.MessageId))
				t.want("DeadLetterQueueSourceArn", m.Attributes["DeadLetterQueueSourceArn"], t.queueARN(q))
			},
		},
		{
			ID: "sqs-dlq-sources", URL: sqsAPI + "ListDeadLetterSourceQueues.html",
			Says: "Returns a list of your queues that have the RedrivePolicy queue attribute configured with a dead-letter queue.",
			Run: func(t *T) {
				dead := t.queue("dead", nil)
				q := t.queue("q", attrs{"RedrivePolicy": redrive(t.queueARN(dead), 2)})
				t.want("the sources", ok(t.SQS.ListDeadLetterSourceQueues(t.ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &dead})).QueueUrls, []string{q})
			},
		},
		{
			ID: "sqs-dlq-same-kind", URL: sqsAPI + "CreateQueue.html",
			Says: "The dead-letter queue of a FIFO queue must also be a FIFO queue.",
			Run: func(t *T) {
				dead := t.queue("dead", nil)
				t.refused("a standard dead-letter queue of a FIFO queue", errOf(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{
					QueueName: ptr(t.name("q.fifo")), Attributes: attrs{"FifoQueue": "true", "RedrivePolicy": redrive(t.queueARN(dead), 2)},
				})), "InvalidParameterValue|InvalidAttributeValue")
			},
		},
		{
			ID: "sqs-dlq-denied", URL: sqsAPI + "CreateQueue.html",
			Says: "denyAll – No source queues can specify this queue as the dead-letter queue.",
			Run: func(t *T) {
				dead := t.queue("dead", attrs{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
				t.refused("a dead-letter queue that denies it", errOf(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{
					QueueName: ptr(t.name("q")), Attributes: attrs{"RedrivePolicy": redrive(t.queueARN(dead), 2)},
				})), "InvalidParameterValue|InvalidAttributeValue")
			},
		},
		{
			ID: "sqs-move-task", URL: sqsAPI + "StartMessageMoveTask.html",
			Says: "If this field is left blank, the messages will be redriven back to their respective original source queues.",
			Run: func(t *T) {
				dead := t.queue("dead", nil)
				q := t.queue("q", attrs{"RedrivePolicy": redrive(t.queueARN(dead), 1)})
				t.send(q, "x")
				m := t.receiveOne(q)
				ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m.ReceiptHandle}))
				t.none(q, "after the one receive")
				ok(t.SQS.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: ptr(t.queueARN(dead))}))
				t.want("the message that is back", t.receiveOne(q).Body, "x")
				t.eventually("the task's completion", 5*time.Second, func() bool {
					tasks := ok(t.SQS.ListMessageMoveTasks(t.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: ptr(t.queueARN(dead))})).Results
					return len(tasks) == 1 && text(tasks[0].Status) == "COMPLETED" && tasks[0].ApproximateNumberOfMessagesMoved == 1
				})
			},
		},
		{
			ID: "sqs-move-from-dlq-only", URL: sqsAPI + "StartMessageMoveTask.html",
			Says: "Currently, only ARNs of dead-letter queues (DLQs) whose sources are other Amazon SQS queues are accepted.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a move from a queue that is no dead-letter queue", errOf(t.SQS.StartMessageMoveTask(t.ctx, &sqs.StartMessageMoveTaskInput{
					SourceArn: ptr(t.queueARN(q)),
				})), "InvalidParameterValue|UnsupportedOperation")
			},
		},
		{
			ID: "sqs-batch-partial", URL: sqsAPI + "DeleteMessageBatch.html",
			Says: "Because the batch request can result in a combination of successful and unsuccessful actions, you should check for batch errors even when the call returns an HTTP status code of 200.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.send(q, "x")
				m := t.receiveOne(q)
				out := ok(t.SQS.DeleteMessageBatch(t.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q, Entries: []types.DeleteMessageBatchRequestEntry{
					{Id: ptr("good"), ReceiptHandle: m.ReceiptHandle}, {Id: ptr("bad"), ReceiptHandle: ptr("made-up")},
				}}))
				t.that(len(out.Successful) == 1 && len(out.Failed) == 1, "%d entries succeed and %d fail, not one each", len(out.Successful), len(out.Failed))
				t.want("the failed entry", out.Failed[0].Id, "bad")
				t.want("its code", out.Failed[0].Code, "ReceiptHandleIsInvalid")
				t.want("its SenderFault", out.Failed[0].SenderFault, true)
			},
		},
		{
			ID: "sqs-batch-empty", URL: sqsAPI + "SendMessageBatch.html",
			Says: "The batch request doesn't contain any entries.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("an empty batch", errOf(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{
					QueueUrl: &q, Entries: []types.SendMessageBatchRequestEntry{},
				})), "EmptyBatchRequest")
			},
		},
		{
			ID: "sqs-batch-eleven", URL: sqsAPI + "SendMessageBatch.html",
			Says: "The batch request contains more entries than permissible.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a batch of eleven", errOf(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{QueueUrl: &q, Entries: entries(11, "x")})),
					"TooManyEntriesInBatchRequest")
				t.none(q, "after the refusal")
			},
		},
		{
			ID: "sqs-batch-ids", URL: sqsAPI + "SendMessageBatch.html",
			Says: "Two or more batch entries in the request have the same Id.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				e := entries(2, "x")
				e[1].Id = e[0].Id
				t.refused("a batch with an id twice", errOf(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{QueueUrl: &q, Entries: e})),
					"BatchEntryIdsNotDistinct")
			},
		},
		{
			ID: "sqs-batch-size", URL: sqsAPI + "SendMessageBatch.html",
			Says: "The maximum allowed individual message size and the maximum total payload size (the sum of the individual lengths of all of the batched messages) are both 1 MiB 1,048,576 bytes.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a batch of more than 1 MiB", errOf(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{
					QueueUrl: &q, Entries: entries(3, strings.Repeat("x", 400<<10)),
				})), "BatchRequestTooLong")
			},
		},
		{
			ID: "sqs-largest", URL: sqsAPI + "SendMessage.html",
			Says: "The maximum size is 1 MiB or 1,048,576 bytes",
			Run: func(t *T) {
				q := t.queue("q", nil)
				body := strings.Repeat("x", 1<<20)
				t.send(q, body)
				t.that(text(t.receiveOne(q).Body) == body, "a message of 1 MiB does not come back whole")
				t.refused("a message of a byte more", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr(body + "x")})), "InvalidParameterValue")
			},
		},
		{
			ID: "sqs-characters", URL: sqsAPI + "SendMessage.html",
			Says: "If a message contains characters outside the allowed set, Amazon SQS rejects the message and returns an InvalidMessageContents error.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a message with U+0007", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("a\a")})), "InvalidMessageContents")
				t.refused("a message with U+FFFF", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("a\uffff")})), "InvalidMessageContents")
				t.send(q, "\t\n\r 😀")
			},
		},
		{
			ID: "sqs-empty-body", URL: sqsAPI + "SendMessage.html",
			Says: "The minimum size is one character.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("an empty message", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("")})), "MissingParameter")
			},
		},
		{
			ID: "sqs-attribute-names", URL: sqsAPI + "ReceiveMessage.html",
			Says: "You can also use all message attributes starting with a prefix, for example bar.*.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"VisibilityTimeout": "0"})
				ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x"), MessageAttributes: map[string]types.MessageAttributeValue{
					"bar.a": stringAttribute("1"), "bar.b": stringAttribute("2"), "foo": stringAttribute("3"),
				}}))
				for asked, want := range map[string][]string{"bar.*": {"bar.a", "bar.b"}, "foo": {"foo"}, "All": {"bar.a", "bar.b", "foo"}, ".*": {"bar.a", "bar.b", "foo"}, "fo": nil} {
					m := ok(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q, MessageAttributeNames: []string{asked}})).Messages
					t.want("the number of messages", len(m), 1)
					t.want("the attributes for "+asked, slices.Sorted(maps.Keys(m[0].MessageAttributes)), want)
					t.want("the system attributes, not asked for", len(m[0].Attributes), 0)
				}
			},
		},
		{
			ID: "sqs-system-attributes", URL: sqsAPI + "ReceiveMessage.html",
			Says: "SentTimestamp – Returns the time the message was sent to the queue (epoch time in milliseconds).",
			Run: func(t *T) {
				q := t.queue("q", nil)
				const trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
				ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x"), MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
					"AWSTraceHeader": {DataType: ptr("String"), StringValue: ptr(trace)},
				}}))
				a := t.receiveOne(q).Attributes
				t.want("AWSTraceHeader", a["AWSTraceHeader"], trace)
				for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
					ms, err := strconv.ParseInt(a[name], 10, 64)
					t.that(err == nil && time.Since(time.UnixMilli(ms)).Abs() < time.Minute, "%s is %q", name, a[name])
				}
				t.that(a["SenderId"] != "", "there is no SenderId")
			},
		},
		{
			ID: "sqs-depth", URL: sqsAPI + "GetQueueAttributes.html",
			Says: "ApproximateNumberOfMessagesNotVisible – Returns the approximate number of messages that are in flight.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				ok(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{QueueUrl: &q, Entries: entries(3, "x")}))
				ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("late"), DelaySeconds: 60}))
				t.receiveUpTo(q, 1, 0)
				a := t.queueAttributes(q)
				for name, want := range (attrs{"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1", "ApproximateNumberOfMessagesDelayed": "1"}) {
					t.want(name, a[name], want)
				}
			},
		},
		{
			ID: "sqs-purge", URL: sqsAPI + "PurgeQueue.html",
			Says: "Indicates that the specified queue previously received a PurgeQueue request within the last 60 seconds (the time it can take to delete the messages in the queue).",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.send(q, "x")
				ok(t.SQS.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: &q}))
				t.none(q, "after the purge")
				t.refused("a second purge", errOf(t.SQS.PurgeQueue(t.ctx, &sqs.PurgeQueueInput{QueueUrl: &q})), "PurgeQueueInProgress")
			},
		},
		{
			ID: "sqs-tags", URL: sqsAPI + "TagQueue.html",
			Says: "A new tag with a key identical to that of an existing tag overwrites the existing tag.",
			Run: func(t *T) {
				q := text(ok(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{QueueName: ptr(t.name("q")), Tags: attrs{"a": "1", "b": "2"}})).QueueUrl)
				ok(t.SQS.TagQueue(t.ctx, &sqs.TagQueueInput{QueueUrl: &q, Tags: attrs{"b": "3"}}))
				ok(t.SQS.UntagQueue(t.ctx, &sqs.UntagQueueInput{QueueUrl: &q, TagKeys: []string{"a"}}))
				t.want("the tags", ok(t.SQS.ListQueueTags(t.ctx, &sqs.ListQueueTagsInput{QueueUrl: &q})).Tags, attrs{"b": "3"})
			},
		},
		{
			ID: "sqs-list", URL: sqsAPI + "ListQueues.html",
			Says: "Only those queues whose name begins with the specified string are returned.",
			Run: func(t *T) {
				urls := []string{t.queue("l-a", nil), t.queue("l-b", nil), t.queue("l-c", nil)}
				t.queue("m", nil)
				var got []string
				in := &sqs.ListQueuesInput{QueueNamePrefix: ptr(t.name("l-")), MaxResults: ptr[int32](2)}
				for {
					out := ok(t.SQS.ListQueues(t.ctx, in))
					t.that(len(out.QueueUrls) <= 2, "a page has %d queues, not 2", len(out.QueueUrls))
					got = append(got, out.QueueUrls...)
					if in.NextToken = out.NextToken; in.NextToken == nil {
						break
					}
				}
				t.want("the queues", sorted(got), sorted(urls))
			},
		},
		{
			ID: "sqs-receive-eleven", URL: sqsAPI + "ReceiveMessage.html",
			Says: "Valid values: 1 to 10.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("a receive of eleven", errOf(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q, MaxNumberOfMessages: 11})), "InvalidParameterValue|ReadCountOutOfRange")
				t.refused("a wait of 21 seconds", errOf(t.SQS.ReceiveMessage(t.ctx, &sqs.ReceiveMessageInput{QueueUrl: &q, WaitTimeSeconds: 21})), "InvalidParameterValue")
			},
		},
		{
			ID: "sqs-attribute-limits", URL: sqsAPI + "SetQueueAttributes.html",
			Says: "VisibilityTimeout – The visibility timeout for the queue, in seconds.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				for name, v := range (attrs{"VisibilityTimeout": "43201", "DelaySeconds": "901", "MessageRetentionPeriod": "59", "MaximumMessageSize": "1023", "ReceiveMessageWaitTimeSeconds": "x"}) {
					t.refused(name+" "+v, errOf(t.SQS.SetQueueAttributes(t.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &q, Attributes: attrs{name: v}})), "InvalidAttributeValue|InvalidParameterValue")
				}
				t.refused("an unknown attribute", errOf(t.SQS.SetQueueAttributes(t.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &q, Attributes: attrs{"Colour": "1"}})), "InvalidAttributeName")
			},
		},
		{
			ID: "sqs-largest-of-queue", URL: sqsAPI + "CreateQueue.html",
			Says: "MaximumMessageSize – The limit of how many bytes a message can contain before Amazon SQS rejects it.",
			Run: func(t *T) {
				q := t.queue("q", attrs{"MaximumMessageSize": "1024"})
				t.send(q, strings.Repeat("x", 1024))
				t.refused("a message beyond the queue's maximum", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{
					QueueUrl: &q, MessageBody: ptr(strings.Repeat("x", 1024)), MessageAttributes: map[string]types.MessageAttributeValue{"a": stringAttribute("1")},
				})), "InvalidParameterValue")
			},
		},
		{
			ID: "sqs-reserved-attribute", URL: sqsAPI + "ReceiveMessage.html",
			Says: "The name must not start with AWS-reserved prefixes such as AWS. or Amazon. (or any casing variants).",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.refused("an attribute called AWS.x", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{
					QueueUrl: &q, MessageBody: ptr("x"), MessageAttributes: map[string]types.MessageAttributeValue{"AWS.x": stringAttribute("1")},
				})), "InvalidParameterValue")
			},
		},

		// FIFO
		{
			ID: "sqs-fifo-name", URL: sqsAPI + "CreateQueue.html",
			Says: "A FIFO queue name must end with the .fifo suffix.",
			Run: func(t *T) {
				t.refused("a FIFO queue without the suffix", errOf(t.SQS.CreateQueue(t.ctx, &sqs.CreateQueueInput{
					QueueName: ptr(t.name("q")), Attributes: attrs{"FifoQueue": "true"},
				})), "InvalidParameterValue|InvalidAttributeValue")
			},
		},
		{
			ID: "sqs-fifo-group-needed", URL: sqsAPI + "CreateQueue.html",
			Says: "When you set this attribute, you must also provide the MessageGroupId for your messages explicitly.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.refused("a message without a group", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("x")})), "MissingParameter")
			},
		},
		{
			ID: "sqs-fifo-deduplication-needed", URL: sqsAPI + "SendMessage.html",
			Says: "If you don't provide a MessageDeduplicationId and the queue doesn't have ContentBasedDeduplication set, the action fails with an error.",
			Run: func(t *T) {
				q := t.fifo("q", attrs{"ContentBasedDeduplication": "false"})
				t.refused("a message without a deduplication id", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{
					QueueUrl: &q, MessageBody: ptr("x"), MessageGroupId: ptr("g"),
				})), "InvalidParameterValue")
			},
		},
		{
			ID: "sqs-fifo-several", URL: sqsGuide + "FIFO-queues-understanding-logic.html",
			Says: "It is possible to receive up to 10 messages in a single call using the MaxNumberOfMessages request parameter of the ReceiveMessage action.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "1", "2", "3", "4", "5")
				t.want("one receive", bodies(t.receive(q, 1)), []string{"1", "2", "3", "4", "5"})
			},
		},
		{
			ID: "sqs-fifo-blocked", URL: sqsAPI + "ReceiveMessage.html",
			Says: "While messages with a particular MessageGroupId are invisible, no more messages belonging to the same MessageGroupId are returned until the visibility timeout expires.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "1", "2", "3")
				first := t.receiveUpTo(q, 2, 1)
				t.want("the first receive", bodies(first), []string{"1", "2"})
				t.none(q, "while messages of the group are in flight")
				t.sendGroup(q, "h", "other")
				t.want("what is free", bodies(t.receive(q, 1)), []string{"other"})
				t.remove(q, first[0])
				t.none(q, "while one message of the group is in flight")
				t.remove(q, first[1])
				t.want("what follows", bodies(t.receive(q, 1)), []string{"3"})
			},
		},
		{
			ID: "sqs-fifo-order-kept", URL: sqsAPI + "SendMessage.html",
			Says: "Messages that belong to the same message group are processed in a FIFO manner (however, messages in different message groups might be processed out of order).",
			Run: func(t *T) {
				q := t.fifo("q", attrs{"VisibilityTimeout": "1"})
				t.sendGroup(q, "g", "1", "2", "3", "4")
				t.want("the first receive", bodies(t.receiveUpTo(q, 3, 1)), []string{"1", "2", "3"})
				t.wait(1300 * time.Millisecond)
				second := t.receiveUpTo(q, 10, 1)
				t.want("the receive after the timeout", bodies(second), []string{"1", "2", "3", "4"})
			},
		},
		{
			ID: "sqs-fifo-released-in-order", URL: sqsAPI + "SendMessage.html",
			Says: "Messages that belong to the same message group are processed in a FIFO manner (however, messages in different message groups might be processed out of order).",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "1", "2", "3")
				first := t.receiveUpTo(q, 2, 1)
				t.want("the first receive", bodies(first), []string{"1", "2"})
				t.remove(q, first[0])
				ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: first[1].ReceiptHandle}))
				t.want("the receive after the release", bodies(t.receive(q, 1)), []string{"2", "3"})
			},
		},
		{
			ID: "sqs-fifo-deduplication", URL: sqsAPI + "SendMessage.html",
			Says: "If a message with a particular MessageDeduplicationId is sent successfully, any messages sent with the same MessageDeduplicationId are accepted successfully but aren't delivered during the 5-minute deduplication interval.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				send := func(group, id string) *sqs.SendMessageOutput {
					return ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr(group + id), MessageGroupId: &group, MessageDeduplicationId: &id}))
				}
				first := send("g", "1")
				second := send("h", "1") // the scope is the queue
				t.want("the MessageId of a duplicate", second.MessageId, text(first.MessageId))
				t.want("the SequenceNumber of a duplicate", second.SequenceNumber, text(first.SequenceNumber))
				t.want("what is delivered", bodies(t.receive(q, 1)), []string{"g1"})
			},
		},
		{
			ID: "sqs-fifo-deduplication-lasts", URL: sqsAPI + "SendMessage.html",
			Says: "Amazon SQS continues to keep track of the message deduplication ID even after the message is received and deleted.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "x")
				t.remove(q, t.receiveOne(q))
				t.sendGroup(q, "g", "x") // content-based
				t.none(q, "after a duplicate of a deleted message")
			},
		},
		{
			ID: "sqs-fifo-content", URL: sqsAPI + "SendMessage.html",
			Says: "If the queue has ContentBasedDeduplication set, your MessageDeduplicationId overrides the generated one.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "same", "same")
				ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: ptr("same"), MessageGroupId: ptr("g"), MessageDeduplicationId: ptr("own")}))
				m := t.receive(q, 1)
				t.want("what is delivered", bodies(m), []string{"same", "same"})
				t.want("the second's MessageDeduplicationId", m[1].Attributes["MessageDeduplicationId"], "own")
				t.want("the first's MessageDeduplicationId", m[0].Attributes["MessageDeduplicationId"], sha256Hex("same"))
			},
		},
		{
			ID: "sqs-fifo-group-scope", URL: sqsAPI + "CreateQueue.html",
			Says: "DeduplicationScope – Specifies whether message deduplication occurs at the message group or queue level.",
			Run: func(t *T) {
				q := t.fifo("q", attrs{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
				t.sendGroup(q, "g", "same")
				t.sendGroup(q, "h", "same")
				t.sendGroup(q, "h", "same")
				t.want("the number of messages", len(t.receive(q, 1)), 2)
			},
		},
		{
			ID: "sqs-fifo-sequence", URL: sqsAPI + "SendMessage.html",
			Says: "SequenceNumber continues to increase for a particular MessageGroupId.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				var sent []string
				for _, body := range []string{"1", "2", "3"} {
					n := text(ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &q, MessageBody: &body, MessageGroupId: ptr("g")})).SequenceNumber)
					t.that(len(n) == 20, "a SequenceNumber has %d digits, not 20", len(n))
					sent = append(sent, n)
				}
				t.that(slices.IsSorted(sent) && sent[0] != sent[2], "sequence numbers do not increase")
				for i, m := range t.receive(q, 1) {
					t.want("the SequenceNumber received", m.Attributes["SequenceNumber"], sent[i])
					t.want("MessageGroupId", m.Attributes["MessageGroupId"], "g")
				}
			},
		},
		{
			ID: "sqs-fifo-no-delay", URL: sqsAPI + "SendMessage.html",
			Says: "When you set FifoQueue, you can't set DelaySeconds per message.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.refused("a delayed message", errOf(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{
					QueueUrl: &q, MessageBody: ptr("x"), MessageGroupId: ptr("g"), DelaySeconds: 1,
				})), "InvalidParameterValue")
			},
		},
		{
			ID: "sqs-fifo-dlq", URL: sqsGuide + "sqs-dead-letter-queues.html",
			Says: "Don't use a dead-letter queue with a FIFO queue if you don't want to break the exact order of messages or operations.",
			Run: func(t *T) {
				dead := t.fifo("dead", nil)
				q := t.fifo("q", attrs{"RedrivePolicy": redrive(t.queueARN(dead), 1)})
				t.sendGroup(q, "g", "1", "2")
				m := t.receiveUpTo(q, 1, 1)
				t.want("the first receive", bodies(m), []string{"1"})
				ok(t.SQS.ChangeMessageVisibility(t.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q, ReceiptHandle: m[0].ReceiptHandle}))
				t.want("what the group goes on with", bodies(t.receiveUpTo(q, 1, 1)), []string{"2"})
				d := t.receiveOne(dead)
				t.want("the dead message", d.Body, "1")
				t.want("its group", d.Attributes["MessageGroupId"], "g")
			},
		},
		{
			ID: "sqs-fifo-attempt", URL: sqsAPI + "ReceiveMessage.html",
			Says: "If a networking issue occurs after a ReceiveMessage action, and instead of a response you receive a generic error, it is possible to retry the same action with an identical ReceiveRequestAttemptId to retrieve the same set of messages, even if their visibility timeout has not yet expired.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				t.sendGroup(q, "g", "1", "2")
				in := &sqs.ReceiveMessageInput{QueueUrl: &q, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, ReceiveRequestAttemptId: ptr(t.name("attempt"))}
				t.want("the first attempt", bodies(ok(t.SQS.ReceiveMessage(t.ctx, in)).Messages), []string{"1", "2"})
				t.want("the second attempt", bodies(ok(t.SQS.ReceiveMessage(t.ctx, in)).Messages), []string{"1", "2"})
			},
		},
		{
			ID: "sqs-fifo-batch", URL: sqsAPI + "SendMessageBatch.html",
			Says: "For a FIFO queue, multiple messages within a single batch are enqueued in the order they are sent.",
			Run: func(t *T) {
				q := t.fifo("q", nil)
				var e []types.SendMessageBatchRequestEntry
				var want []string
				for i := range 10 {
					body := strconv.Itoa(i)
					want = append(want, body)
					e = append(e, types.SendMessageBatchRequestEntry{Id: ptr("m" + body), MessageBody: ptr(body), MessageGroupId: ptr("g")})
				}
				t.want("the failures", len(ok(t.SQS.SendMessageBatch(t.ctx, &sqs.SendMessageBatchInput{QueueUrl: &q, Entries: e})).Failed), 0)
				t.want("one receive", bodies(t.receive(q, 1)), want)
			},
		},
	}
}

// fifo makes a FIFO queue that deduplicates by content, unless told otherwise.
func (t *T) fifo(what string, a attrs) string {
	all := attrs{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	maps.Copy(all, a)
	return t.queue(what+".fifo", all)
}

// sendGroup sends messages of one group, in order.
func (t *T) sendGroup(url, group string, bodies ...string) {
	for _, body := range bodies {
		ok(t.SQS.SendMessage(t.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageGroupId: &group}))
	}
}

func redrive(arn string, most int) string {
	return fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, arn, most)
}

func entries(n int, body string) (all []types.SendMessageBatchRequestEntry) {
	for i := range n {
		all = append(all, types.SendMessageBatchRequestEntry{Id: ptr(fmt.Sprint("e", i)), MessageBody: &body})
	}
	return all
}
