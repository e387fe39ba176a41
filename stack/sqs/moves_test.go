package sqs

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// pipe makes a queue with n dead letters in its dead-letter queue.
func (w *world) pipe(name string, n int) (q, dlq string) {
	w.t.Helper()
	suffix := ""
	if strings.HasSuffix(name, ".fifo") {
		suffix = ".fifo"
	}
	dlq = w.create("dead-of-" + strings.TrimSuffix(name, suffix) + suffix)
	q = w.create(name, "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":1}`)
	for i := range n {
		w.send(q, fmt.Sprintf("g:%d", i))
	}
	for range n/10 + 2 {
		w.receive(q, 10)
	}
	w.depth(q, 0, 0, 0)
	w.depth(dlq, n, 0, 0)
	return q, dlq
}

func (w *world) move(from, to string) (handle string) {
	w.t.Helper()
	in := &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(from))}
	if to != "" {
		in.DestinationArn = aws.String(w.arn(to))
	}
	out, err := w.client.StartMessageMoveTask(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.TaskHandle
}

// task returns the newest task of a queue.
func (w *world) task(q string) *moveTask {
	w.t.Helper()
	x := w.service.byName(w.arn(q))
	x.mu.Lock()
	defer x.mu.Unlock()
	t := *x.tasks[len(x.tasks)-1]
	return &t
}

func TestDeadLettersAreMovedBack(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q", "q.fifo"} {
		w := newWorld(t)
		q, dlq := w.pipe(name, 25)
		old := w.receive(dlq, 1)[0]
		if err := w.hide(dlq, old, 0); err != nil {
			t.Fatal(err)
		}
		w.advance(time.Hour)
		handle := w.move(dlq, "")
		if b, err := base64.StdEncoding.DecodeString(handle); err != nil || !strings.Contains(string(b), `"sourceArn":"`+w.arn(dlq)+`"`) {
			t.Errorf("handle %s", b)
		}
		w.kit.Stop() // waits for the task
		w.depth(dlq, 0, 0, 0)
		w.depth(q, 25, 0, 0)
		got := w.receive(q, 10)
		for _, m := range got {
			// A message that is moved back counts as a new one.
			if *m.MessageId == *old.MessageId || m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SentTimestamp"] != "1767326645000" ||
				m.Attributes["DeadLetterQueueSourceArn"] != "" {
				t.Errorf("%s moved back: %v", *m.Body, m.Attributes)
			}
		}
		if name == "q.fifo" && bodies(got) != "g:0 g:1 g:2 g:3 g:4 g:5 g:6 g:7 g:8 g:9" {
			t.Errorf("moved back as %s", bodies(got))
		}
		out, err := w.client.ListMessageMoveTasks(t.Context(), &sqs.ListMessageMoveTasksInput{SourceArn: aws.String(w.arn(dlq))})
		if err != nil || len(out.Results) != 1 {
			t.Fatalf("%v %v", out, err)
		}
		if r := out.Results[0]; *r.Status != "COMPLETED" || r.ApproximateNumberOfMessagesMoved != 25 || *r.ApproximateNumberOfMessagesToMove != 25 ||
			r.TaskHandle != nil || r.DestinationArn != nil || r.MaxNumberOfMessagesPerSecond != nil || r.StartedTimestamp != 1767326645000 {
			t.Errorf("task %+v", r)
		}
	}
}

func TestMoveTasksThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q, dlq := w.pipe("q", 2)
	w.send(dlq, "directly")
	w.move(dlq, "")
	w.kit.Stop()
	if task := w.task(dlq); task.status != taskFailed || task.failure != "CouldNotDetermineMessageSource" || task.moved != 2 {
		t.Errorf("%+v", task)
	}
	w.depth(dlq, 1, 0, 0)

	w = newWorld(t)
	q, dlq = w.pipe("q", 2)
	other := w.create("other", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":1}`)
	if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q}); err != nil {
		t.Fatal(err)
	}
	w.move(dlq, "")
	w.kit.Stop()
	if task := w.task(dlq); task.status != taskFailed || task.failure != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("%+v", task)
	}
	w.depth(dlq, 2, 0, 0)

	nowhere := aws.String("arn:aws:sqs:us-east-1:000000000000:nowhere")
	fifo := w.create("x.fifo")
	for name, c := range map[string]struct {
		in            sqs.StartMessageMoveTaskInput
		code, message string
	}{
		"no dead-letter queue": {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(other))}, "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."},
		"no source":            {sqs.StartMessageMoveTaskInput{SourceArn: nowhere}, "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist."},
		"no ARN":               {sqs.StartMessageMoveTaskInput{SourceArn: aws.String("x")}, "InvalidParameterValue", "You must use this format to specify the SourceArn: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"},
		"no destination": {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(dlq)), DestinationArn: nowhere}, "ResourceNotFoundException",
			"The resource that you specified for the DestinationArn parameter doesn't exist."},
		"type": {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(dlq)), DestinationArn: aws.String(w.arn(fifo))}, "InvalidParameterValue",
			"Source queue and destination queue must be of the same type."},
		"itself": {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(dlq)), DestinationArn: aws.String(w.arn(dlq))}, "InvalidParameterValue",
			"Source queue arn and destination queue arn cannot be the same."},
		"rate": {sqs.StartMessageMoveTaskInput{SourceArn: aws.String(w.arn(dlq)), MaxNumberOfMessagesPerSecond: aws.Int32(501)}, "InvalidParameterValue",
			"Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided."},
	} {
		t.Log(name)
		_, err := w.client.StartMessageMoveTask(t.Context(), &c.in)
		refused(t, err, c.code, c.message)
	}
	_, err := w.client.CancelMessageMoveTask(t.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: aws.String("foobared")})
	refused(t, err, "InvalidParameterValue", "Value for parameter TaskHandle is invalid.")
	handle := func(id, arn string) *string {
		return aws.String(base64.StdEncoding.EncodeToString([]byte(`{"taskId":"` + id + `","sourceArn":"` + arn + `"}`)))
	}
	_, err = w.client.CancelMessageMoveTask(t.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: handle("x", *nowhere)})
	refused(t, err, "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
	_, err = w.client.CancelMessageMoveTask(t.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: handle("x", w.arn(dlq))})
	refused(t, err, "ResourceNotFoundException", "Task does not exist.")
	if status(err) != 404 {
		t.Errorf("status %d", status(err))
	}
	_, err = w.client.CancelMessageMoveTask(t.Context(), &sqs.CancelMessageMoveTaskInput{TaskHandle: handle(w.task(dlq).id, w.arn(dlq))})
	refused(t, err, "InvalidParameterValue", "Only active tasks can be cancelled. The task is FAILED.")
}

func TestMoveTasksKeepTheirRateAndCanBeCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		s, err := New(env.Env{Clock: clock.System{}, Store: store.Memory(), Go: func(f func(context.Context)) {
			go func() {
				defer close(done)
				f(ctx)
			}()
		}})
		if err != nil {
			t.Fatal(err)
		}
		r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
		arn := func(name string) string { return r.ARN("sqs", name) }
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(s.createQueue(ctx, r, &createQueueInput{QueueName: "dead"}))
		must(s.createQueue(ctx, r, &createQueueInput{QueueName: "q", Attributes: map[string]string{
			"RedrivePolicy": `{"deadLetterTargetArn":"` + arn("dead") + `","maxReceiveCount":1}`,
		}}))
		for range 10 {
			must(s.sendMessage(ctx, r, &sendMessageInput{QueueURL: "dead", Body: "x"}))
		}
		rate := int32(2)
		start := &startMoveInput{SourceARN: arn("dead"), DestinationARN: arn("q"), PerSecond: &rate}
		out, err := s.startMove(ctx, r, start)
		must(out, err)
		_, err = s.startMove(ctx, r, start)
		if err == nil || !strings.HasSuffix(err.Error(), "There is already a task running. Only one active task is allowed for a source queue arn at a given time.") {
			t.Errorf("second task: %v", err)
		}
		moved := func() int {
			v, _, _, _ := s.Depth(arn("q"))
			return v
		}
		for i := range 3 {
			synctest.Wait()
			if moved() != 1+2*i {
				t.Errorf("%d moved after %d s", moved(), i)
			}
			must(nil, clock.Sleep(ctx, clock.System{}, time.Second))
		}
		list, err := s.listMoves(ctx, r, &listMovesInput{SourceARN: arn("dead")})
		if err != nil || list.Results[0].Status != "RUNNING" || list.Results[0].TaskHandle != out.TaskHandle || list.Results[0].PerSecond != 2 {
			t.Errorf("%+v %v", list, err)
		}
		synctest.Wait()
		cancelled, err := s.cancelMove(ctx, r, &cancelMoveInput{out.TaskHandle})
		if err != nil || cancelled.Moved != 7 {
			t.Errorf("%+v %v", cancelled, err)
		}
		<-done
		list, err = s.listMoves(ctx, r, &listMovesInput{SourceARN: arn("dead")})
		if err != nil || list.Results[0].Status != "CANCELLED" || list.Results[0].TaskHandle != "" || moved() != 7 {
			t.Errorf("%+v %v", list, err)
		}
		stop()
	})
}

func TestADurableTaskGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	w, killed := durable(t)
	q, dlq := w.pipe("q", 5)
	rate := int32(1)
	if _, err := w.client.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{
		SourceArn: aws.String(w.arn(dlq)), MaxNumberOfMessagesPerSecond: &rate,
	}); err != nil {
		t.Fatal(err)
	}
	w.kit.Stop()
	next := killed()
	next.advance(0)
	seen := map[string]bool{}
	for len(seen) < 5 { // each second one more
		for _, m := range next.receive(q, 10) {
			seen[*m.Body] = true
		}
		if next.kit.Clock.Timers() > 0 {
			next.advance(time.Second)
		}
	}
}

func TestSendsOfOtherServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q, fifo := w.create("q"), w.create("q.fifo", "ContentBasedDeduplication", "true")
	if err := w.service.Send(t.Context(), w.arn(q), env.Message{
		From: "arn:aws:sns:us-east-1:000000000000:t", Principal: "sns.amazonaws.com", Body: "raw", TraceHeader: "Root=1-5759e988-bd862e3fe1be46a994272793",
		Attributes: map[string]env.Attribute{"s": {DataType: "String", String: "x"}, "b": {DataType: "Binary", Binary: []byte{1}}},
		GroupID:    "tenant", DeduplicationID: "ignored by a standard queue, as SNS does not send it there",
	}); err != nil {
		t.Fatal(err)
	}
	m := w.want(q, 1, "raw")[0]
	if m.Attributes["AWSTraceHeader"] == "" || m.Attributes["SenderId"] != "sns.amazonaws.com" || m.Attributes["MessageGroupId"] != "tenant" ||
		*m.MessageAttributes["s"].StringValue != "x" || string(m.MessageAttributes["b"].BinaryValue) != "\x01" {
		t.Errorf("%v %v", m.Attributes, m.MessageAttributes)
	}
	for range 2 {
		if err := w.service.Send(t.Context(), w.arn(fifo), env.Message{Body: "x", GroupID: "g"}); err != nil {
			t.Fatal(err)
		}
	}
	w.want(fifo, 10, "x")
	for arn, m := range map[string]env.Message{
		w.arn("none"): {Body: "x"}, w.arn(fifo): {Body: "x"}, "arn:aws:sns:us-east-1:000000000000:t": {Body: "x"}, w.arn(q): {Body: ""},
	} {
		if err := w.service.Send(t.Context(), arn, m); err == nil {
			t.Errorf("%s has taken %v", arn, m)
		}
	}
}
