package stack

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// post sends an operation of a JSON service, and returns "" if the connection broke.
func post(t *testing.T, s *Stack, target, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", target)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// writer is a service whose one operation writes when its client has gone.
type writer struct {
	store     *store.Store
	began     chan struct{}
	committed atomic.Bool
}

func (*writer) Reset() {}

func (x *writer) API() []wire.Service {
	return []wire.Service{{Name: "writer", Target: "Writer", JSONVersion: "1.0", Operations: []wire.Operation{
		wire.Op("Write", func(ctx context.Context, _ *wire.Request, _ *struct{}) (*wire.None, error) {
			close(x.began)
			<-ctx.Done()
			var b store.Batch
			b.Set("k", []byte("v"))
			c := x.store.Commit(&b)
			err := c.Wait()
			x.committed.Store(err == nil)
			return new(wire.None), err
		}),
	}}}
}

// Close ends requests under way, and waits for them before it closes what they write to.
func TestCloseWaitsForRequests(t *testing.T) {
	t.Parallel()
	for range 20 {
		x := &writer{began: make(chan struct{})}
		s, err := build(Options{Dir: t.TempDir()}, func(s *Stack, v env.Env) error {
			x.store, s.parts = v.Store, []service{x}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.listen(); err != nil {
			t.Fatal(err)
		}
		var client sync.WaitGroup
		client.Go(func() { post(t, s, "Writer.Write", "") })
		<-x.began
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !x.committed.Load() {
			t.Error("Close has not waited")
		}
		client.Wait()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestCloseUnderLoad(t *testing.T) {
	t.Parallel()
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	var sent sync.Map
	for range 3 {
		s, err := Start(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"q", "empty"} {
			if status, answer := post(t, s, "AmazonSQS.CreateQueue", `{"QueueName":"`+name+`"}`); status != 200 {
				t.Fatal(answer)
			}
		}
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() { post(t, s, "AmazonSQS.ReceiveMessage", `{"QueueUrl":"empty","WaitTimeSeconds":20}`) })
		}
		begun := make(chan struct{}, 8)
		for range 8 {
			clients.Go(func() {
				for i := 0; ; i++ {
					status, answer := post(t, s, "AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`)
					if status != 200 {
						if status != 0 && status != http.StatusServiceUnavailable {
							t.Errorf("%d %s", status, answer)
						}
						return
					}
					sent.Store(answer, true)
					if i == 3 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range cap(begun) {
			<-begun
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		clients.Wait()
		// What comes later is refused, by a handler too.
		if status, _ := post(t, s, "AmazonSQS.ListQueues", `{}`); status != 0 {
			t.Errorf("a closed stack answers %d", status)
		}
	}
	s, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := 0
	sent.Range(func(any, any) bool { want++; return true })
	visible := 0
	for {
		_, answer := post(t, s, "AmazonSQS.ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":10,"VisibilityTimeout":40000}`)
		n := strings.Count(answer, `"MessageId"`)
		if n == 0 {
			break
		}
		visible += n
	}
	if visible < want {
		t.Errorf("%d messages are there, %d were acknowledged", visible, want)
	}
}

func TestTheClockGoesToTheYear2200(t *testing.T) {
	t.Parallel()
	defer http.DefaultClient.CloseIdleConnections()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	post(t, s, "AmazonSQS.CreateQueue", `{"QueueName":"q"}`)
	for range 3 {
		s.Advance(290 * 365 * 24 * time.Hour)
	}
	if now := s.Now(); now.Before(latest) || now.After(latest.Add(time.Hour)) {
		t.Errorf("it is %s", now)
	}
	if status, answer := post(t, s, "AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`); status != 200 {
		t.Error(answer)
	}
	if _, answer := post(t, s, "AmazonSQS.ReceiveMessage", `{"QueueUrl":"q"}`); !strings.Contains(answer, `"Body":"x"`) {
		t.Error(answer)
	}
	resp, err := http.Post(s.URL()+"/_millrace/clock", "application/json", strings.NewReader(`{"to":"2201-01-01T00:00:00Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a clock that would go too far answers %s", resp.Status)
	}
}
