// Package stack is the local stack: AWS-compatible endpoints for queues, topics, streams, tables, buckets, event buses
// and schedules on one address, for tests of event-driven applications and for this repository's own.
//
//	s, err := stack.Start(stack.Options{})
//	defer s.Close()
//	// AWS_ENDPOINT_URL=s.URL()
//
// A stack holds all its state itself, so a process may have many at once. What it does not have it refuses with the
// service's own unknown-operation error.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Options say what a stack is like. The zero value is one in memory, in us-east-1, that checks no signature.
type Options struct {
	// Dir keeps the state there: what was acknowledged survives the process. If it is empty the state is in memory.
	Dir string

	// Region and Account are those of requests that do not say. By default us-east-1 and 000000000000. A request's
	// region is that of its signature, and its account the access key id if that has 12 digits.
	Region, Account string

	// Keys are access key ids and their secrets. If there are any, every request must be signed with one.
	Keys map[string]string

	// Policies says what the policies of queues and topics do to services that deliver there.
	Policies Policies

	// StreamLimits enforces the throughput of Kinesis shards.
	StreamLimits bool
	// StreamDelay is how long Kinesis streams and consumers take to be created, changed and deleted.
	StreamDelay time.Duration

	// Invoke takes an event for the function that an ARN names, durably if that is promised, and does not wait for the
	// function. If it is nil there are no functions.
	Invoke func(ctx context.Context, functionARN string, payload []byte) error

	// Lambda answers requests to Lambda's API. If it is nil there is none.
	Lambda http.Handler

	// Clock is what the stack's own clock follows; nil is the system's.
	Clock clock.Clock
	// Log takes what the operator should know; nil is none.
	Log *slog.Logger
}

// Policies says how resource policies are treated.
type Policies string

const (
	// Warn delivers, and logs what AWS would have refused. It is the default.
	Warn Policies = "warn"
	// Enforce refuses what AWS refuses.
	Enforce Policies = "enforce"
	// Ignore delivers.
	Ignore Policies = "ignore"
)

// service is one of the stack's services.
type service interface {
	API() []wire.Service
	Reset()
}

// Stack is a running stack and its HTTP handler. Its methods may be called concurrently.
type Stack struct {
	options     Options
	clock       *clock.Movable
	store       *store.Store
	services    []wire.Service
	parts       []service
	dispatcher  *wire.Dispatcher
	verifier    *sigv4.Verifier
	faults      *faults
	own         http.Handler
	certificate http.Handler // of the messages that topics sign; nil if there are no topics
	crossOrigin http.CrossOriginProtection
	targets     targets
	rotate      func(streamARN string) error
	warned      sync.Map // "source target" of which a policy would have refused a delivery
	log         *slog.Logger

	stop    context.CancelFunc
	closing sync.RWMutex // held for writing once nothing may start any more
	closed  bool
	work    sync.WaitGroup                     // in the background, and requests
	base    func(net.Listener) context.Context // of what ends when the stack closes

	server *http.Server // of Start
	url    string
}

// New returns a stack that does not listen: use it as a handler. Close it in the end.
func New(o Options) (*Stack, error) { return build(o, (*Stack).assemble) }

func build(o Options, assemble func(*Stack, env.Env) error) (*Stack, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Account == "" {
		o.Account = "000000000000"
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch o.Policies {
	case "":
		o.Policies = Warn
	case Warn, Enforce, Ignore:
	default:
		return nil, fmt.Errorf("policies are %q; warn, enforce and ignore exist", o.Policies)
	}
	s := &Stack{options: o, clock: clock.NewMovable(o.Clock), store: store.Memory(), log: o.Log}
	if o.Dir != "" {
		var err error
		if s.store, err = store.Open(o.Dir); err != nil {
			return nil, err
		}
	}
	var background context.Context
	background, s.stop = context.WithCancel(context.Background())
	s.base = func(net.Listener) context.Context { return background }
	assembled := make(chan struct{}) // what services find to do at their start waits until all are there to be sent to
	err := assemble(s, env.Env{Clock: s.clock, Store: s.store, Log: o.Log, Deliver: s.deliver, Go: func(f func(context.Context)) {
		if !s.begin() {
			return
		}
		go func() {
			defer s.work.Done()
			select {
			case <-assembled:
				f(background)
			case <-background.Done():
			}
		}()
	}})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	close(assembled)
	for _, p := range s.parts {
		s.services = append(s.services, p.API()...)
	}
	if len(o.Keys) > 0 {
		s.verifier = &sigv4.Verifier{Keys: o.Keys, Clock: o.Clock, Skew: sigv4.DefaultSkew}
	}
	s.faults = newFaults(s.clock, s.services)
	s.dispatcher = wire.NewDispatcher(wire.Config{
		Services: s.services, Region: o.Region, Account: o.Account, Verifier: s.verifier, Before: s.faults.before, Log: o.Log,
	})
	s.own = s.admin()
	return s, nil
}

// Start returns a stack that listens on a free port of the loopback address.
func Start(o Options) (*Stack, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// listen serves a free port of the loopback address until the stack closes.
func (s *Stack) listen() error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.url = "http://" + l.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, Protocols: Protocols(), BaseContext: s.base}
	s.work.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the local stack's listener failed", "error", err)
		}
	})
	return nil
}

// Protocols are what a server should speak whose handler is a stack: beside HTTP/1.1 also HTTP/2, and that without
// TLS, since the AWS SDK for JavaScript speaks nothing else to Kinesis.
func Protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// URL is where a stack made by Start listens.
func (s *Stack) URL() string { return s.url }

// begin counts what Close waits for, until work.Done. It reports false once the stack has begun to close.
func (s *Stack) begin() bool {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if !s.closed {
		s.work.Add(1)
	}
	return !s.closed
}

// Close stops the stack: requests under way are cut off, those and background work are waited for. What was
// acknowledged is kept if the stack is durable. A server that has a stack of New as its handler is to be closed first,
// else Close waits for receives that wait for messages.
func (s *Stack) Close() error {
	s.closing.Lock()
	first := !s.closed
	s.closed = true
	s.closing.Unlock()
	if !first {
		return nil
	}
	s.stop()
	if s.server != nil {
		s.server.Close() //nolint:errcheck // the listener's error is of no use
	}
	s.work.Wait()
	return s.store.Close()
}

// Now is the stack's time.
func (s *Stack) Now() time.Time { return s.clock.Now().UTC() }

// latest is how far the clock goes: times in nanoseconds end in 2262, and deadlines need room before that.
var latest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Advance puts the stack's clock forward, but not beyond the year 2200: delays, timeouts, schedules and retention that
// end by then do. It does not wait for what they start. Signatures are checked by the real time.
func (s *Stack) Advance(d time.Duration) { s.clock.Advance(min(d, latest.Sub(s.Now()))) }

// Fault makes operations go wrong until end is called.
func (s *Stack) Fault(f Fault) (end func(), err error) {
	f, err = s.faults.add(f)
	if err != nil {
		return nil, err
	}
	return func() { s.faults.remove(f.ID) }, nil
}

// RotateShards closes the open shards of a table's stream and begins children of them, as DynamoDB does by itself every
// four hours.
func (s *Stack) RotateShards(streamARN string) error { return s.rotate(streamARN) }

// Reset forgets all resources and faults. The clock stays where it is.
func (s *Stack) Reset() {
	s.faults.remove(0)
	for _, p := range s.parts {
		p.Reset()
	}
}

// lambdaPath is how the paths of Lambda's API begin.
var lambdaPath = regexp.MustCompile(`^/20\d\d-\d\d-\d\d/`)

// ServeHTTP answers AWS clients, and refuses the web pages of other sites: a page must not reach a stack on the machine
// of who looks at it.
func (s *Stack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "the stack is closed"})
		return
	}
	defer s.work.Done()
	if err := s.crossOrigin.Check(r); err != nil {
		answer(w, http.StatusForbidden, map[string]string{"error": err.Error()})
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, adminPath):
		s.serveOwn(w, r)
	case s.options.Lambda != nil && lambdaPath.MatchString(r.URL.Path) && !strings.Contains(r.Header.Get("Authorization"), "/s3/aws4_request"):
		s.options.Lambda.ServeHTTP(w, r)
	default:
		s.dispatcher.ServeHTTP(w, r)
	}
}

// serveOwn answers requests to the stack's own paths. Where keys are needed they are needed here too, but for the
// certificate, which subscribers of topics fetch.
func (s *Stack) serveOwn(w http.ResponseWriter, r *http.Request) {
	if s.certificate != nil && strings.HasPrefix(r.URL.Path, adminPath+"sns/") {
		s.certificate.ServeHTTP(w, r)
		return
	}
	if s.verifier != nil {
		if err := s.verifier.VerifyS3(r); err != nil {
			answer(w, http.StatusForbidden, map[string]string{"error": err.Error()})
			return
		}
	}
	s.own.ServeHTTP(w, r)
}
