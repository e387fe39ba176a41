package sourcetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hook is a good source of the mounted sort, unless a fault is set.
type hook struct{ fault string }

func (h hook) Run(ctx context.Context, hub sources.Hub) error {
	unmount, err := hub.Mount("/hook/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		doc := fmt.Appendf(nil, `{"id":%q}`, body)
		work := context.WithoutCancel(r.Context())
		switch h.fault {
		case "garbage":
			doc = doc[1:]
		case "cut":
			work = ctx
		case "eager":
			go func() { _ = hub.Accept(work, executor.Request{Payload: doc}) }()
			return
		case "twice":
			_ = hub.Accept(work, executor.Request{Payload: doc})
		}
		if err := hub.Accept(work, executor.Request{Payload: doc}); err != nil && h.fault != "sweet" {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	switch h.fault {
	case "mounted":
		return nil
	case "hasty":
		go unmount()
		return nil
	case "sour":
		unmount()
		return ctx.Err()
	case "deaf":
		unmount()
		select {}
	}
	unmount()
	return nil
}

func hookUpstream(t testing.TB, fault string) sourcetest.Upstream {
	hub := sourcetest.NewHub(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return sourcetest.Upstream{
		Hub:  hub,
		Open: func(testing.TB) sources.Source { return hook{fault} },
		Put: func(ctx context.Context, id string) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, hub.URL()+"/hook/", bytes.NewBufferString(id))
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			return nil
		},
		Confirms:    true,
		Concurrency: 8,
		Patience:    5 * time.Second,
	}
}

// broker is an upstream that can go away: it drops what nobody listens to.
type broker struct {
	mu      sync.Mutex
	up      bool
	changed chan struct{} // closed and made anew when up changes
	events  chan string
	waiting bool // a subscriber is there
}

func newBroker() *broker {
	return &broker{up: true, changed: make(chan struct{}), events: make(chan string)}
}

func (b *broker) set(up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up, b.waiting = up, false
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *broker) put(ctx context.Context, id string) error {
	b.mu.Lock()
	waiting, changed := b.waiting, b.changed
	b.mu.Unlock()
	if !waiting {
		return nil
	}
	select {
	case b.events <- id:
		return nil
	case <-changed:
		return errors.New("gone")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// subscriber is a good source with a connection, unless a fault is set.
type subscriber struct {
	b     *broker
	fault string
}

func (s subscriber) Run(ctx context.Context, hub sources.Hub) error {
	var busy sync.WaitGroup
	defer busy.Wait()
	for {
		s.b.mu.Lock()
		up, changed := s.b.up, s.b.changed
		s.b.waiting = up
		s.b.mu.Unlock()
		events := s.b.events
		if !up {
			events = nil
			if s.fault == "fragile" {
				return errors.New("connection lost")
			}
			if s.fault == "stuck" {
				<-changed
				continue
			}
		}
		select {
		case <-ctx.Done():
			s.b.set(up)
			return nil
		case <-changed:
			if s.fault == "forgetful" { // it never subscribes again
				<-ctx.Done()
				return nil
			}
		case id := <-events:
			deliver := func() {
				doc := fmt.Appendf(nil, `{"id":%q}`, id)
				for {
					err := hub.Accept(context.WithoutCancel(ctx), executor.Request{Payload: doc})
					if err == nil || s.fault == "careless" {
						return
					}
					if s.fault == "dead" {
						<-ctx.Done()
						return
					}
				}
			}
			if s.fault == "serial" || s.fault == "dead" {
				deliver()
			} else {
				busy.Go(deliver)
			}
		}
	}
}

func brokerUpstream(t testing.TB, fault string) sourcetest.Upstream {
	b := newBroker()
	return sourcetest.Upstream{
		Open: func(testing.TB) sources.Source { return subscriber{b, fault} },
		Put:  b.put,
		Ready: func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.waiting
		},
		Redelivers:  true,
		Concurrency: 8,
		Stop:        func(testing.TB) { b.set(false) },
		Start:       func(testing.TB) { b.set(true) },
		Patience:    5 * time.Second,
	}
}

func TestSuitePassesGoodSources(t *testing.T) {
	t.Parallel()
	t.Run("mounted", func(t *testing.T) {
		t.Parallel()
		sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream { return hookUpstream(t, "") })
	})
	t.Run("connected", func(t *testing.T) {
		t.Parallel()
		sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream { return brokerUpstream(t, "") })
	})
}

func TestHubMountsAsTheGatewayDoes(t *testing.T) {
	t.Parallel()
	hub := sourcetest.NewHub(t)
	for _, pattern := range []string{"/a/", "/a/b/", "/c", "other.test/", "127.0.0.1/d"} {
		unmount, err := hub.Hub().Mount(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, pattern+" "+r.URL.EscapedPath())
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer unmount()
	}
	for _, pattern := range []string{"/a/", "none", "/{x}", "GET /x"} {
		if _, err := hub.Hub().Mount(pattern, http.NotFoundHandler()); err == nil {
			t.Errorf("%q was mounted", pattern)
		}
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]string{
		"/a/x//y%2fz/..": "/a/ /a/x//y%2fz/..", "/a/b/c": "/a/b/ /a/b/c", "/c": "/c /c", "/d": "127.0.0.1/d /d",
		"/a": "404 page not found\n", "/c/": "404 page not found\n", "/": "404 page not found\n",
	} {
		resp, err := client.Get(hub.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%s: %q, %v; want %q", path, body, err, want)
		}
	}
}
