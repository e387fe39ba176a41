package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// patience is how long an invocation waits for an environment that has answered but not yet asked for more,
// before it wants one of its own.
const patience = 100 * time.Millisecond

// maxClose is how long Close waits for what it has killed.
const maxClose = 5 * time.Second

var (
	errClosed = errors.New("the function is closed")
	errLeft   = errors.New("the hub is stopping")
	errBusy   = errors.New("every environment is busy")
	errStuck  = errors.New("the client of a streamed answer neither reads nor leaves")
	errRate   = errors.New("Rate Exceeded.") // AWS's words
)

// Function is a function and its pool of environments.
type Function struct {
	name     string
	arn      string
	region   string
	config   Config
	log      *slog.Logger
	clock    clock.Clock
	code     *builder
	language language
	dir      string // folder of this run
	out      *output
	stats    stats

	ctx    context.Context //nolint:containedctx // ends with the function; starting environments runs under it
	cancel context.CancelCauseFunc
	life   sync.WaitGroup // of goroutines
	closed chan struct{}  // closed when everything has ended

	// The mutex guards all below and the state of environments and invocations. Nothing is read or written
	// while it is held.
	mu       sync.Mutex
	envs     map[*environment]bool
	starting int           // environments that have not asked for an event
	settling int           // asks that are to come from environments that have answered
	ready    []*conn       // asks for an event, most recent last: that environment is the warmest
	queue    []*invocation // invocations without an environment, oldest first
	active   int           // invocations without an outcome
	closing  bool
	drained  chan struct{} // made by Close, closed when active is 0
	scratch  []string      // folders left by environments that were reset: their /tmp survives
	reaper   clock.Timer
	timer    clock.Timer // calls tick
	due      time.Time   // when; zero if it does not
	watching bool
	failures int // provisioned environments that could not start, in a row
}

type stats struct {
	environments prometheus.Gauge
	colds        prometheus.Counter
	ends         *prometheus.CounterVec
}

// invocation is one run of the function on one payload.
type invocation struct {
	req  executor.Request
	done chan outcome // takes one

	// payload is held by who writes the request to an environment; Invoke returns when it is free.
	payload sync.Mutex
	sink    sink

	// Guarded by the mutex of the function.
	env       *environment
	claimed   bool      // somebody has the outcome, or will in a moment
	answering bool      // the runtime is sending its answer
	late      bool      // it has waited for longer than patience
	delivered bool      // the runtime has the event
	queued    time.Time // since when it has been in line
	began     time.Time // when its timeout began, zero before
	init      time.Duration
}

type outcome struct {
	res executor.Response
	err error
}

// sink is where an answer in pieces goes, as long as somebody waits for it.
type sink struct {
	mu     sync.Mutex
	open   func(contentType string) io.Writer
	w      io.Writer
	closed bool
}

// begin reports whether the answer is wanted in pieces.
func (s *sink) begin(contentType string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.open == nil {
		return false
	}
	s.w = s.open(contentType)
	return true
}

// Write never fails: the function runs to its end whether its client is there or not.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil && !s.closed {
		if _, err := s.w.Write(p); err != nil {
			s.w = nil
		}
	}
	return len(p), nil
}

func (s *sink) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

func (f *Function) fault(k executor.Kind, err error) error {
	return &executor.Error{Kind: k, Function: f.name, Err: err}
}

func (f *Function) throttled(reason string, err error) error {
	return &executor.Error{Kind: executor.Throttled, Function: f.name, Reason: reason, Err: err}
}

// Invoke runs the function once. If the caller leaves, the run goes on to its end without it.
func (f *Function) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	if ctx.Err() != nil {
		return executor.Response{}, f.fault(executor.Canceled, context.Cause(ctx))
	}
	if len(req.Payload) > executor.MaxPayload {
		return executor.Response{}, f.fault(executor.TooLarge, fmt.Errorf("the payload has %d bytes; %d are permitted", len(req.Payload), executor.MaxPayload))
	}
	if req.ID == "" {
		req.ID = uuid.NewString()
	}
	if req.ARN == "" {
		req.ARN = f.arn
	}
	if err := headerSafe(req); err != nil {
		return executor.Response{}, f.fault(executor.Refused, err)
	}
	inv := &invocation{req: req, done: make(chan outcome, 1), sink: sink{open: req.Stream}}
	if err := f.submit(inv); err != nil {
		return executor.Response{}, err
	}
	var o outcome
	select {
	case o = <-inv.done:
	case <-ctx.Done():
		f.abandon(inv)
		o.err = f.fault(executor.Canceled, context.Cause(ctx))
	}
	inv.sink.close()
	inv.payload.Lock() // the caller may change the payload once this returns
	inv.req.Payload = nil
	inv.payload.Unlock()
	return o.res, o.err
}

// submit gives an invocation to an environment, or puts it in line for one.
func (f *Function) submit(inv *invocation) error {
	f.mu.Lock()
	switch {
	case f.closing:
		f.mu.Unlock()
		return f.fault(executor.Closed, errClosed)
	case f.config.Concurrency.Reserved >= 0 && f.active >= f.config.Concurrency.Reserved:
		f.mu.Unlock()
		return f.throttled(executor.ReasonReserved, errRate)
	}
	f.active++
	if c := f.take(inv.req.ID); c != nil {
		f.assign(inv, c)
		f.mu.Unlock()
		f.send(inv, c)
		return nil
	}
	f.queue = append(f.queue, inv)
	inv.queued = f.clock.Now()
	f.alarm(inv.queued.Add(patience), inv.queued)
	f.grow()
	f.mu.Unlock()
	return nil
}

// take returns the ask of the environment that was used last, if any asks. One that still runs the same
// request, because a caller left and tried again, is passed over.
func (f *Function) take(id string) *conn {
	for i := len(f.ready) - 1; i >= 0; i-- {
		if c := f.ready[i]; c.env.running[id] == nil {
			f.drop(c)
			return c
		}
	}
	return nil
}

// grow starts the environments that the line needs; f.mu is held.
func (f *Function) grow() {
	if f.closing {
		return
	}
	late := 0
	for _, inv := range f.queue {
		if inv.late {
			late++
		}
	}
	each := f.config.MaxConcurrency
	coming := f.starting * each
	need := (max(len(f.queue)-coming-f.settling, late-coming) + each - 1) / each
	for range min(need, f.most()-len(f.envs)) {
		f.start(&environment{provisioned: f.failures == 0 && f.lacks()})
	}
}

// most is the number of environments that there may be.
func (f *Function) most() int {
	n := f.config.Concurrency.Environments
	if r := f.config.Concurrency.Reserved; r >= 0 {
		n = min(n, (r+f.config.MaxConcurrency-1)/f.config.MaxConcurrency)
	}
	return n
}

// alarm has tick called at a time; f.mu is held. There is one timer for all invocations of a function, which
// is seldom set: most of them end long before their time, and setting a timer costs more than they do.
func (f *Function) alarm(at, now time.Time) {
	if !f.due.IsZero() && !at.Before(f.due) {
		return
	}
	f.due = at
	if f.timer == nil {
		f.timer = f.clock.AfterFunc(at.Sub(now), f.tick)
	} else {
		f.timer.Reset(at.Sub(now))
	}
}

// time starts the timeout of an invocation; f.mu is held.
func (f *Function) time(inv *invocation) {
	inv.began = f.clock.Now()
	f.alarm(inv.began.Add(f.config.Timeout), inv.began)
}

// tick looks for invocations that have had their time, or have been in line for too long.
func (f *Function) tick() {
	f.mu.Lock()
	f.due = time.Time{}
	now := f.clock.Now()
	var next time.Time
	// past reports whether a time has come; if not, tick is called again then.
	past := func(at time.Time) bool {
		if !now.Before(at) {
			return true
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return false
	}
	var out []*invocation
	for e := range f.envs {
		for _, inv := range e.running {
			if !inv.claimed && past(inv.began.Add(f.config.Timeout)) {
				out = append(out, inv)
			}
		}
		if b := e.bound; b != nil && !b.claimed && past(b.began.Add(f.config.Timeout)) {
			out = append(out, b)
		}
		if !e.guard.IsZero() && past(e.guard) {
			f.kill(e, endTimeout) // it has answered, but does not come back for more
		}
	}
	for _, inv := range out {
		inv.claimed = true
		f.retire(inv.env, endTimeout)
		inv.env.killIfIdle()
	}
	for _, inv := range slices.Clone(f.queue) {
		switch patient := inv.queued.Add(patience); {
		case !past(patient):
		case !inv.late:
			inv.late = true
			past(patient.Add(f.config.Timeout))
		case f.starting > 0: // it waits for that, which has a limit of its own
			past(now.Add(f.config.Timeout))
		case past(patient.Add(f.config.Timeout)):
			f.unqueue(inv)
			f.conclude(inv, outcome{err: f.throttled(executor.ReasonConcurrency, errBusy)})
		}
	}
	f.grow()
	if !next.IsZero() {
		f.alarm(next, now)
	}
	f.mu.Unlock()
	for _, inv := range out {
		f.finish(inv.env, inv, executor.TimedOut(inv.req.ID, f.config.Timeout))
	}
}

func (f *Function) unqueue(inv *invocation) {
	f.queue = slices.DeleteFunc(f.queue, func(q *invocation) bool { return q == inv })
}

// next returns the invocation that an environment should run, nil if none waits; f.mu is held.
func (f *Function) next(e *environment) *invocation {
	for i, inv := range f.queue {
		if e == nil || e.running[inv.req.ID] == nil {
			f.queue = slices.Delete(f.queue, i, i+1)
			return inv
		}
	}
	return nil
}

// assign binds an invocation to an environment that asks for one; f.mu is held. send must follow.
func (f *Function) assign(inv *invocation, c *conn) {
	c.env.running[inv.req.ID] = inv
	inv.env = c.env
	if inv.began.IsZero() {
		f.time(inv)
	}
	f.watch()
	inv.payload.Lock()
	c.out.mu.Lock()
}

// conclude hands an outcome to the caller; f.mu is held. It reports false if there was one already.
func (f *Function) conclude(inv *invocation, o outcome) bool {
	if inv.claimed {
		return false
	}
	inv.claimed = true
	f.settle(inv, o)
	return true
}

// settle hands over the outcome of an invocation that the caller of this has claimed; f.mu is held.
func (f *Function) settle(inv *invocation, o outcome) {
	inv.done <- o
	f.active--
	if f.active == 0 && f.drained != nil {
		close(f.drained)
		f.drained = nil
	}
}

// abandon is called when the caller has left. What has begun goes on.
func (f *Function) abandon(inv *invocation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.queue, inv) {
		f.unqueue(inv)
		f.conclude(inv, outcome{})
		return
	}
	if inv.env != nil && !inv.delivered && !inv.claimed {
		// Its payload is on the way, which is the caller's again now.
		f.conclude(inv, outcome{})
		f.kill(inv.env, endStopped)
	}
}

// Close ends the function.
func (f *Function) Close(ctx context.Context) error {
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		select {
		case <-f.closed:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	f.closing = true
	for _, inv := range f.queue {
		f.conclude(inv, outcome{err: f.fault(executor.Closed, errClosed)})
	}
	f.queue = nil
	if f.reaper != nil {
		f.reaper.Stop()
	}
	for e := range f.envs {
		if len(e.running) == 0 && e.bound == nil {
			f.stop(e)
		}
	}
	drained := make(chan struct{})
	if f.active == 0 {
		close(drained)
	} else {
		f.drained = drained
	}
	f.mu.Unlock()

	select {
	case <-drained:
	case <-ctx.Done():
	}
	f.cancel(errLeft)
	f.mu.Lock()
	for e := range f.envs {
		for _, inv := range e.running {
			f.conclude(inv, outcome{err: f.fault(executor.Canceled, errLeft)})
		}
		if e.bound != nil {
			f.conclude(e.bound, outcome{err: f.fault(executor.Canceled, errLeft)})
		}
		if ctx.Err() != nil {
			f.kill(e, endStopped)
		} else {
			f.stop(e)
		}
	}
	f.mu.Unlock()

	defer close(f.closed)
	gone := make(chan struct{})
	go func() { defer close(gone); f.life.Wait() }()
	late, cancel := clock.WithTimeout(context.WithoutCancel(ctx), f.clock, maxClose)
	defer cancel()
	select {
	case <-gone:
	case <-late.Done():
		return errStuck
	}
	f.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.out.close(ctx.Done())
	return os.RemoveAll(f.dir)
}
