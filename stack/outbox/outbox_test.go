package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	target = "arn:aws:sqs:us-east-1:000000000000:target"
	dead   = "arn:aws:sqs:us-east-1:000000000000:dead"
)

var options = outbox.Options{Prefix: "test/outbox/", Letter: func(it *outbox.Item) env.Message {
	f := it.Failure
	return env.Message{Body: it.Message.Body, Subject: fmt.Sprintf("%s|%s|%s|%d", f.Code, f.Message, f.Exhausted, it.Attempts)}
}}

func item() *outbox.Item {
	return &outbox.Item{Target: target, Message: env.Message{Body: "m"}, MaxRetries: outbox.MaxRetries, DeadLetter: dead}
}

// attempts tells a test of each attempt at the target, and refuses it with what answer returns.
func attempts(k *stacktest.Kit, answer func(n int) error) <-chan int {
	seen := make(chan int, 1000)
	n := 0
	k.Refuse(func(to string, _ env.Message) error {
		if to != target {
			return nil
		}
		n++
		err := answer(n)
		seen <- n
		return err
	})
	return seen
}

func unavailable(int) error {
	return &wire.Error{Code: "ServiceUnavailable", Message: "come back later", Status: 503}
}

func newOutbox(t *testing.T, k *stacktest.Kit, o outbox.Options) *outbox.Outbox {
	t.Helper()
	b, err := outbox.New(k.Env, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func send(t *testing.T, b *outbox.Outbox, it *outbox.Item) {
	t.Helper()
	if err := b.Send(t.Context(), it); err != nil {
		t.Fatal(err)
	}
}

// settle moves the clock until attempt n has been made.
func settle(k *stacktest.Kit, seen <-chan int, n int) {
	for got := range seen {
		synctest.Wait()
		if got == n {
			return
		}
		k.Clock.Advance(12 * time.Minute) // past the longest wait
	}
}

func TestADeliveryThatSucceedsKeepsNothing(t *testing.T) {
	t.Parallel()
	k := stacktest.New(t)
	b := newOutbox(t, k, options)
	send(t, b, item())
	if d := k.Delivered(); len(d) != 1 || d[0].Target != target || b.Pending() != 0 {
		t.Errorf("delivered %v, %d pending", d, b.Pending())
	}
}

func TestAPermanentErrorIsADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	k := stacktest.New(t)
	attempts(k, func(int) error { return wire.Errorf("QueueDoesNotExist", "no such queue") })
	b := newOutbox(t, k, options)
	send(t, b, item())
	if d := k.Delivered(); len(d) != 1 || d[0].Target != dead || d[0].Message.Subject != "QueueDoesNotExist|no such queue||1" || b.Pending() != 0 {
		t.Errorf("delivered %v, %d pending", d, b.Pending())
	}
}

func TestAPassingErrorIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(int) error{
		"unavailable": unavailable,
		"throttled":   func(int) error { return wire.Errorf("ProvisionedThroughputExceededException", "slow down") },
		"unknown":     func(int) error { return errors.New("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := stacktest.New(t)
				seen := attempts(k, func(n int) error {
					if n < 4 {
						return refuse(n)
					}
					return nil
				})
				b := newOutbox(t, k, options)
				send(t, b, item())
				if b.Pending() != 1 {
					t.Fatalf("%d pending", b.Pending())
				}
				settle(k, seen, 4)
				if d := k.Await(1); d[0].Target != target {
					t.Errorf("delivered to %s", d[0].Target)
				}
			})
		})
	}
}

func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		retries    int
		age        time.Duration
		wait       time.Duration // that passes between attempts
		exhausted  string
		maxAttempt int
	}{
		{"by number", 3, outbox.MaxAge, 12 * time.Minute, "MaximumRetryAttempts", 4},
		{"at once", 0, outbox.MaxAge, 12 * time.Minute, "MaximumRetryAttempts", 1},
		{"by age", outbox.MaxRetries, time.Minute, time.Minute, "MaximumEventAgeInSeconds", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := stacktest.New(t)
				seen := attempts(k, unavailable)
				b := newOutbox(t, k, options)
				it := item()
				it.MaxRetries, it.Deadline = c.retries, k.Clock.Now().Add(c.age)
				send(t, b, it)
				settle(k, seen, c.maxAttempt)
				if c.exhausted == "MaximumEventAgeInSeconds" {
					k.Clock.Advance(c.wait)
				}
				d := k.Await(1)
				want := "ServiceUnavailable|come back later|" + c.exhausted + "|" + strconv.Itoa(c.maxAttempt)
				if d[0].Target != dead || d[0].Message.Subject != want {
					t.Errorf("delivered %+v, want %s", d[0], want)
				}
			})
		})
	}
}

func TestADeadLetterIsTriedAgainToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := stacktest.New(t)
		seen := make(chan int, 10)
		n := 0
		k.Refuse(func(to string, _ env.Message) error {
			if to == target {
				return wire.Errorf("QueueDoesNotExist", "no such queue")
			}
			n++
			seen <- n
			if n < 3 {
				return unavailable(n)
			}
			return nil
		})
		b := newOutbox(t, k, options)
		send(t, b, item())
		settle(k, seen, 3)
		if d := k.Await(1); d[0].Target != dead {
			t.Errorf("delivered to %s", d[0].Target)
		}
	})
}

func TestEachAttemptHasItsMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := stacktest.New(t)
		o := options
		o.Message = func(it *outbox.Item) env.Message {
			return env.Message{Body: it.About["x"] + strconv.Itoa(it.Attempts+1)}
		}
		seen := attempts(k, func(n int) error {
			if n < 3 {
				return unavailable(n)
			}
			return nil
		})
		b := newOutbox(t, k, o)
		it := item()
		it.About = map[string]string{"x": "attempt "}
		send(t, b, it)
		settle(k, seen, 3)
		if d := k.Await(1); d[0].Message.Body != "attempt 3" {
			t.Errorf("body %q", d[0].Message.Body)
		}
	})
}

func TestResetForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := stacktest.New(t)
		attempts(k, unavailable)
		b := newOutbox(t, k, options)
		send(t, b, item())
		b.Reset()
		if b.Pending() != 0 || k.Clock.Timers() != 0 {
			t.Errorf("%d pending, %d timers", b.Pending(), k.Clock.Timers())
		}
	})
}

// What Send has kept survives a crash, with the count of its attempts.
func TestPendingSurvivesACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := stacktest.On(t, s)
	attempts(k, unavailable)
	b := newOutbox(t, k, options)
	it := item()
	it.Message.Attributes = map[string]env.Attribute{"a": {DataType: "Binary", Binary: []byte{0, 255}}}
	send(t, b, it)
	k.Stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k = stacktest.On(t, s)
	b = newOutbox(t, k, options)
	if d := k.Await(1); d[0].Target != target || d[0].Message.Body != "m" || string(d[0].Message.Attributes["a"].Binary) != "\x00\xff" {
		t.Errorf("delivered %+v", d[0])
	}
	k.Stop()
	if b.Pending() != 0 {
		t.Errorf("%d pending", b.Pending())
	}
	if err := s.Load(options.Prefix, func(key string, _ []byte) error { return fmt.Errorf("%s is left", key) }); err != nil {
		t.Error(err)
	}
}

func TestAnAttemptThatTheStackCutsOffIsNone(t *testing.T) {
	t.Parallel()
	k := stacktest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	e := k.Env
	inside := make(chan struct{})
	first := true
	e.Deliver = func(ctx context.Context, _ string, _ env.Message) error {
		if first {
			first = false
			return unavailable(1)
		}
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	done := make(chan struct{})
	e.Go = func(f func(context.Context)) {
		go func() {
			f(ctx)
			if ctx.Err() != nil {
				close(done)
			}
		}()
	}
	b, err := outbox.New(e, options)
	if err != nil {
		t.Fatal(err)
	}
	send(t, b, item())
	k.Clock.Advance(time.Minute)
	<-inside
	cancel()
	<-done
	if b.Pending() != 1 {
		t.Errorf("%d pending", b.Pending())
	}
}
