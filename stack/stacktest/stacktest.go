// Package stacktest is what tests of the local stack's services share: an environment whose time and deliveries a
// test holds in its hand, and a server around a service for real clients.
package stacktest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Account and Region are those of requests without their own.
const (
	Account = "000000000000"
	Region  = "us-east-1"
)

// Kit is the world of one service under test. It ends with the test.
type Kit struct {
	Env   env.Env
	Clock *clock.Manual

	t    testing.TB
	work sync.WaitGroup
	stop context.CancelFunc

	mu        sync.Mutex
	delivered []Delivery
	arrived   chan struct{}
	refuse    func(target string, m env.Message) error
}

// Delivery is a message that the service under test has sent.
type Delivery struct {
	Target  string
	Message env.Message
}

// New returns a world in memory, whose clock stands at 2026-01-02 03:04:05 UTC.
func New(t testing.TB) *Kit { return On(t, store.Memory()) }

// On is New with a store, which the kit does not close.
func On(t testing.TB, s *store.Store) *Kit {
	ctx, stop := context.WithCancel(t.Context())
	k := &Kit{t: t, stop: stop, Clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), arrived: make(chan struct{})}
	k.Env = env.Env{Clock: k.Clock, Store: s, Log: slog.New(slog.DiscardHandler), Deliver: k.deliver, Go: func(f func(context.Context)) {
		if ctx.Err() == nil {
			k.work.Go(func() { f(ctx) })
		}
	}}
	t.Cleanup(k.Stop)
	return k
}

// Stop ends the background work and waits for it.
func (k *Kit) Stop() {
	k.stop()
	k.work.Wait()
}

func (k *Kit) deliver(_ context.Context, target string, m env.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		if err := k.refuse(target, m); err != nil {
			return err
		}
	}
	k.delivered = append(k.delivered, Delivery{target, m})
	close(k.arrived)
	k.arrived = make(chan struct{})
	return nil
}

// Refuse makes deliveries fail with what f returns, if it is not nil.
func (k *Kit) Refuse(f func(target string, m env.Message) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = f
}

// Delivered returns what has been delivered so far, in order.
func (k *Kit) Delivered() []Delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Delivery(nil), k.delivered...)
}

// Await waits until n messages have been delivered since the start and returns them.
func (k *Kit) Await(n int) []Delivery {
	k.t.Helper()
	for {
		k.mu.Lock()
		got, more := append([]Delivery(nil), k.delivered...), k.arrived
		k.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-k.t.Context().Done():
			k.t.Fatalf("%d messages delivered, want %d", len(got), n)
		}
	}
}

// Serve serves services over HTTP until the test ends, and returns the endpoint.
func (k *Kit) Serve(services ...wire.Service) string {
	s := httptest.NewServer(wire.NewDispatcher(wire.Config{
		Services: services, Region: Region, Account: Account, Log: k.Env.Log,
	}))
	k.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// Config returns the settings of an AWS client of an endpoint. It does not try again.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: aws.String(endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:  &http.Client{Transport: whole{http.DefaultTransport.(*http.Transport).Clone()}},
	}
}

// whole sends bodies that are in memory. The SDK, as of version 1.48, closes a request's body as soon as it has the
// answer's header; if net/http then still looks whether the body has more, it takes that for a failure and closes the
// connection under the hands of who reads the answer.
type whole struct{ *http.Transport }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.Transport.RoundTrip(r)
}
