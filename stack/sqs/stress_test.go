package sqs

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// TestManyClientsAtOnce has producers and consumers of one queue, some of which fail, and a consumer of its dead-letter
// queue. In the end each message has been seen, and in a FIFO queue those of a group in order.
func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit := stacktest.New(t)
			s, err := New(kit.Env)
			if err != nil {
				t.Fatal(err)
			}
			stress(t, s, name)
		})
	}
}

func stress(t *testing.T, s *Service, name string) {
	const producers, each, consumers = 4, 500, 4
	fifo := name == "q.fifo"
	r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
	create := func(name string, attributes map[string]string) {
		t.Helper()
		if fifo {
			attributes["FifoQueue"] = "true"
		}
		if _, err := s.createQueue(t.Context(), r, &createQueueInput{QueueName: name, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	dead := "dead-" + name
	create(dead, map[string]string{})
	create(name, map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + r.ARN("sqs", dead) + `","maxReceiveCount":2}`})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	seen := map[string]int{} // by body
	last := map[string]int{} // by group: the highest number that was deleted from the queue
	var left atomic.Int64
	left.Store(producers * each)
	done := func(body string, ordered bool) {
		mu.Lock()
		defer mu.Unlock()
		if seen[body]++; seen[body] > 1 {
			t.Errorf("%s was delivered and deleted twice", body)
		}
		var group, n int
		if _, err := fmt.Sscanf(body, "%d:%d", &group, &n); err != nil {
			t.Error(err)
		}
		key := fmt.Sprint(group)
		if ordered && fifo && n <= last[key] {
			t.Errorf("%s was delivered after %d", body, last[key])
		}
		if ordered {
			last[key] = n
		}
		if left.Add(-1) == 0 {
			stop()
		}
	}
	consume := func(queue string, fails func(body string, number int) bool) {
		ten, wait := int32(10), int32(20)
		for number := 0; ctx.Err() == nil; number++ {
			out, err := s.receiveMessage(ctx, r, &receiveInput{QueueURL: queue, MaxNumberOfMessages: &ten, WaitTimeSeconds: &wait})
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			failing := false // after a failure the rest goes back too, so that the order can stay
			for _, m := range out.Messages {
				failing = failing || fails(m.Body, number)
				if failing {
					continue
				}
				if fifo || queue == dead { // recorded before others can receive what follows
					done(m.Body, queue != dead)
				}
				if _, err := s.deleteMessage(ctx, r, &deleteMessageInput{QueueURL: queue, ReceiptHandle: m.ReceiptHandle}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				if !fifo && queue != dead {
					done(m.Body, true)
				}
			}
			if !failing {
				continue
			}
			for i := len(out.Messages) - 1; i >= 0; i-- { // the last first, so that none overtakes
				zero := int32(0)
				in := &changeVisibilityInput{QueueURL: queue, ReceiptHandle: out.Messages[i].ReceiptHandle, VisibilityTimeout: &zero}
				s.changeVisibility(ctx, r, in) // those that are deleted refuse
			}
		}
	}
	var work sync.WaitGroup
	for p := range producers {
		work.Go(func() {
			for i := range each {
				body := fmt.Sprintf("%d:%d", p*3+i%3, i+1)
				in := &sendMessageInput{QueueURL: name, Body: body}
				if fifo {
					group := fmt.Sprint(p*3 + i%3)
					in.GroupID, in.DeduplicationID = &group, &body
				}
				if _, err := s.sendMessage(ctx, r, in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for c := range consumers {
		work.Go(func() { consume(name, func(_ string, number int) bool { return number%7 == c }) })
	}
	work.Go(func() { consume(dead, func(string, int) bool { return false }) })
	work.Wait()
	if len(seen) != producers*each {
		t.Errorf("%d messages have been seen of %d", len(seen), producers*each)
	}
	for _, queue := range []string{name, dead} {
		if v, n, d, _ := s.Depth(r.ARN("sqs", queue)); v+n+d > 1 { // the last one's deletion may have been cut off
			t.Errorf("%s: %d visible, %d in flight, %d delayed are left", queue, v, n, d)
		}
	}
}
