// Package destinationtest checks that a kind of destination keeps the contract of destinations.Destination.
package destinationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
)

// Subject is a destination to check, and its target. What the target can not be made to do is left nil, and
// the cases that need it are left out.
type Subject struct {
	// Destination is what is checked. The suite closes it.
	Destination destinations.Destination
	// Received returns the bodies that the target has for good, in any order.
	Received func() [][]byte
	// Compact says that the target keeps the JSON and not the white space around it.
	Compact bool
	// Break makes the target fail until mend is called.
	Break func() (mend func())
	// Refuse makes the target refuse every record for what it is.
	Refuse func()
	// Hang makes the target take what it is sent and not answer until release is called. taken gets a value
	// when the target has been sent something.
	Hang func() (taken <-chan struct{}, release func())
}

// patience is how long the suite waits for what must happen.
const patience = 20 * time.Second

// Run checks the destination that open returns. open is called once for each case.
func Run(t *testing.T, open func(testing.TB) Subject) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"what was sent is there, to the byte", exact},
		{"the record is not written", untouched},
		{"the same record may be sent again", again},
		{"concurrent records all arrive", concurrent},
		{"a failing target is worth another try", transient},
		{"a refusal is permanent", permanent},
		{"a caller that has left is told so", left},
		{"a caller that leaves is told so at once", leaves},
		{"Close lets a Send under way end", drains},
		{"Close does not wait for a target that hangs", bounded},
		{"Send after Close is an error, and not a permanent one", closed},
		{"what Close cuts off is not called sent", cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			t.Cleanup(func() {
				within(t, "the last Close", func() {
					if err := s.Destination.Close(context.Background()); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			})
			c.run(t, s)
		})
	}
}

// within fails the test if f does not return in time.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s does not return", what)
	}
}

// record makes a record with a payload of its own.
func record(payload string) destinations.Record {
	id := uuid.NewString()
	body := `{"version":"1.0","requestContext":{"requestId":"` + id + `","condition":"RetriesExhausted"},"requestPayload":` + payload + `}`
	return destinations.Record{
		ID: id, Function: "orders", ARN: "arn:aws:lambda:us-east-1:123456789012:function:orders:$LATEST", Body: []byte(body),
		TraceID: "Root=1-5759e988-bd862e3fe1be46a994272793", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Depth: 1,
	}
}

func send(t *testing.T, s Subject, rec destinations.Record) {
	t.Helper()
	within(t, "Send", func() {
		if err := s.Destination.Send(t.Context(), rec); err != nil {
			t.Errorf("Send: %v", err)
		}
	})
}

// held counts the bodies that the target has.
func (s Subject) held(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, body := range s.Received() {
		all[s.key(t, body)]++
	}
	return all
}

// count is how often the target has a body.
func (s Subject) count(t *testing.T, body []byte) int {
	t.Helper()
	return s.held(t)[s.key(t, body)]
}

func (s Subject) key(t *testing.T, body []byte) string {
	t.Helper()
	if s.Compact {
		body = compact(t, body)
	}
	return string(body)
}

func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatalf("the target has what is not JSON: %v", err)
	}
	return out.Bytes()
}

func exact(t *testing.T, s Subject) {
	for _, payload := range []string{
		`{}`, `"é \u00e9 \ud83d\ude00 <&>"`, "{\n  \"a\" : 1.0e2,\r\n\t\"a\" : [ ]\n}", `"` + strings.Repeat("x", 300<<10) + `"`, "12345678901234567890",
	} {
		rec := record(payload)
		send(t, s, rec)
		if n := s.count(t, rec.Body); n != 1 {
			t.Errorf("the target has %d records of %.40s", n, payload)
		}
	}
}

func untouched(t *testing.T, s Subject) {
	rec := record("{ \"a\": 1 }")
	before := bytes.Clone(rec.Body)
	send(t, s, rec)
	if !bytes.Equal(rec.Body, before) {
		t.Errorf("Send wrote to the record: %s", rec.Body)
	}
}

func again(t *testing.T, s Subject) {
	rec := record("1")
	send(t, s, rec)
	send(t, s, rec)
	if s.count(t, rec.Body) == 0 {
		t.Error("the target has no record")
	}
}

func concurrent(t *testing.T, s Subject) {
	const workers, each = 16, 8
	recs := make([]destinations.Record, workers*each)
	for i := range recs {
		recs[i] = record(fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", i*37)))
	}
	within(t, "Send", func() {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := range each {
					if err := s.Destination.Send(t.Context(), recs[w*each+i]); err != nil {
						t.Errorf("Send: %v", err)
					}
				}
			})
		}
		all.Wait()
	})
	held := s.held(t)
	for _, rec := range recs {
		if n := held[s.key(t, rec.Body)]; n != 1 {
			t.Errorf("the target has %d records %s", n, rec.ID)
		}
	}
}

func transient(t *testing.T, s Subject) {
	if s.Break == nil {
		t.Skip("this target does not fail")
	}
	rec := record("1")
	mend := s.Break()
	within(t, "Send", func() {
		err := s.Destination.Send(t.Context(), rec)
		if err == nil || errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send to a failing target: %v", err)
		}
	})
	mend()
	send(t, s, rec)
	if s.count(t, rec.Body) == 0 {
		t.Error("the target has no record")
	}
}

func permanent(t *testing.T, s Subject) {
	if s.Refuse == nil {
		t.Skip("this target refuses nothing")
	}
	s.Refuse()
	within(t, "Send", func() {
		if err := s.Destination.Send(t.Context(), record("1")); !errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send of what is refused: %v", err)
		}
	})
}

var errLeft = errors.New("the caller has left")

func left(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errLeft)
	within(t, "Send", func() {
		if err := s.Destination.Send(ctx, record("1")); !errors.Is(err, errLeft) || errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send = %v", err)
		}
	})
}

func leaves(t *testing.T, s Subject) {
	if s.Hang == nil {
		t.Skip("this target does not hang")
	}
	taken, release := s.Hang()
	defer release()
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.Destination.Send(ctx, record("1")) }()
	within(t, "the target", func() { <-taken })
	cancel(errLeft)
	within(t, "Send", func() {
		if err := <-result; err == nil || errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send = %v", err)
		}
	})
}

func drains(t *testing.T, s Subject) {
	if s.Hang == nil {
		t.Skip("this target does not hang")
	}
	taken, release := s.Hang()
	rec := record("1")
	result := make(chan error, 1)
	go func() { result <- s.Destination.Send(t.Context(), rec) }()
	within(t, "the target", func() { <-taken })
	closing := make(chan struct{})
	go func() {
		defer close(closing)
		if err := s.Destination.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
		if s.count(t, rec.Body) == 0 {
			t.Error("Close returns before the target has the record")
		}
	}()
	for range 1000 { // a Close that does not wait gets its chance
		runtime.Gosched()
	}
	release()
	within(t, "Send", func() {
		if err := <-result; err != nil {
			t.Errorf("Send: %v", err)
		}
	})
	within(t, "Close", func() { <-closing })
}

func bounded(t *testing.T, s Subject) {
	if s.Hang == nil {
		t.Skip("this target does not hang")
	}
	taken, release := s.Hang()
	defer release()
	result := make(chan error, 1)
	go func() { result <- s.Destination.Send(t.Context(), record("1")) }()
	within(t, "the target", func() { <-taken })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, "Close", func() {
		if err := s.Destination.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	within(t, "Send", func() {
		if err := <-result; err == nil || errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send that Close cut off = %v", err)
		}
	})
}

func closed(t *testing.T, s Subject) {
	within(t, "Close", func() {
		for range 2 {
			if err := s.Destination.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	within(t, "Send", func() {
		if err := s.Destination.Send(t.Context(), record("1")); err == nil || errors.Is(err, destinations.ErrPermanent) {
			t.Errorf("Send after Close = %v", err)
		}
	})
}

func cut(t *testing.T, s Subject) {
	const workers = 8
	var mu sync.Mutex
	var sent []destinations.Record
	var all sync.WaitGroup
	begun := make(chan struct{}, workers)
	for range workers {
		all.Go(func() {
			for {
				rec := record("1")
				if err := s.Destination.Send(t.Context(), rec); err != nil {
					if errors.Is(err, destinations.ErrPermanent) {
						t.Errorf("Send during Close = %v", err)
					}
					return
				}
				mu.Lock()
				sent = append(sent, rec)
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	within(t, "Send", func() {
		for range workers {
			<-begun
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, "Close", func() {
		if err := s.Destination.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	within(t, "Send", all.Wait)
	held := s.held(t)
	for _, rec := range sent {
		if held[s.key(t, rec.Body)] == 0 {
			t.Errorf("record %s is called sent and is not there", rec.ID)
		}
	}
}
