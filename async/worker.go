package async

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// Options of a Worker. Store, Function, Send, Clock, Log and Metrics are needed.
type Options struct {
	Store Store

	// Function finds a function of the file. False means that it is gone: its waiting events become dead
	// letters. It is asked when the worker is made, when an event of an unknown function arrives and after
	// Changed, not at each attempt.
	Function func(name string) (Target, bool)

	// Send delivers a record once. An error that wraps destinations.ErrPermanent is final; others are tried
	// again.
	Send func(ctx context.Context, destination string, rec destinations.Record) error

	Clock   clock.Clock
	Log     *slog.Logger
	Metrics prometheus.Registerer

	Drain       time.Duration // how long attempts under way may take to end when Run is to return
	Memory      int64         // most bytes of waiting payloads to keep in memory; the rest is read back from the store
	Deliveries  int           // most records to send at once to one destination
	DeliveryAge time.Duration // how long a record is tried before it is kept as undelivered
}

// Defaults returns the options that have a usual value.
func Defaults() Options {
	return Options{Drain: 30 * time.Second, Memory: 64 << 20, Deliveries: 16, DeliveryAge: 6 * time.Hour}
}

// Target is a function as the worker runs it, with the settings of its asynchronous invocation.
type Target struct {
	Invoke               func(context.Context, executor.Request) (executor.Response, error)
	Concurrency          int             // most attempts at once
	Reserved             int             // executor.Unreserved, or 0 to fail every event at once
	MaximumRetryAttempts int             // after the first attempt, for errors of the function
	MaximumEventAge      time.Duration   // from acceptance
	RetryDelays          []time.Duration // before attempts 2, 3, …; the last repeats; empty means AWS's
	OnSuccess            []string        // destinations, at most 64
	OnFailure            []string        // likewise
}

// RetryDelays are AWS Lambda's waits before the second and the third attempt
// (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
var retryDelays = [...]time.Duration{time.Minute, 2 * time.Minute}

// MaxDepth is how many destinations a chain of events may pass. A record beyond it is not sent, and kept as
// undelivered: AWS stops loops of functions after about as many.
const MaxDepth = 16

// ErrStopped refuses an event because the worker is shutting down.
var ErrStopped = errors.New("the hub is shutting down")

// Worker runs accepted events until they have succeeded or are given up, and sends their records. All
// methods may be called concurrently.
type Worker struct {
	opts    Options
	metrics *metrics
	mem     atomic.Int64 // bytes of payload that waiting events hold

	mu       sync.RWMutex
	queues   map[string]*queue
	outboxes map[string]*outbox
	stopping bool

	running bool // Run has been called
	attempt func(*queue, waiting) fate[waiting]
	deliver func(*outbox, parcel) fate[parcel]
}

// queue is the events of one function.
type queue struct {
	*line[waiting]
	name    string
	target  Target
	gone    bool
	counts  Counts
	running map[uint64]*Event
	metrics counters
}

// waiting is an event in a queue. A long backlog keeps only its places: ev is nil, and the rest is in the store.
type waiting struct {
	seq      uint64
	accepted int64 // UnixNano
	ev       *Stored
}

// NewWorker makes a Worker and takes up what the store has that is unfinished; nothing runs before Run.
func NewWorker(ctx context.Context, o Options) (*Worker, error) {
	w := &Worker{opts: o, queues: map[string]*queue{}, outboxes: map[string]*outbox{}}
	w.metrics = newMetrics(o.Metrics)
	for name, c := range o.Store.Counts() {
		w.queue(name).counts = c
	}
	err := o.Store.Recover(ctx, func(p Pending) {
		q := w.queue(p.Function)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.take(p)
	}, func(p PendingDelivery) {
		w.mail(p.Destination, parcel{seq: p.Seq, index: p.Index, tries: p.Tries, since: p.Since})
	})
	if err != nil {
		return nil, fmt.Errorf("taking up unfinished events: %w", err)
	}
	o.Metrics.MustRegister(collector{w})
	return w, nil
}

// queue returns the queue of a function, making it if need be.
func (w *Worker) queue(name string) *queue {
	w.mu.RLock()
	q := w.queues[name]
	w.mu.RUnlock()
	if q != nil {
		return q
	}
	target, ok := w.opts.Function(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.queues[name]; q != nil {
		return q
	}
	q = &queue{
		line: newLine[waiting](w.opts.Clock), name: name, target: target, gone: !ok,
		running: map[uint64]*Event{}, metrics: w.metrics.of(name),
	}
	q.limit = func() int {
		if q.gone || q.target.Reserved == 0 {
			return 1 // events are only failed
		}
		return q.most(q.target.Concurrency)
	}
	q.run = func(e waiting) fate[waiting] { return w.attempt(q, e) }
	q.stopped = !w.running || w.stopping
	w.queues[name] = q
	return q
}

// Accept stores an event and returns once it is durable; its function then runs at least once, unless the
// event grows too old or its function is gone. It sets ev.Accepted. The payload must not be written afterwards.
// Errors are ErrStopped, an *executor.Error of kind Refused for a function that is not there, and the
// store's, such as ErrFull; with any error nothing is stored.
func (w *Worker) Accept(ctx context.Context, ev Event) error {
	w.mu.RLock()
	q, stopping := w.queues[ev.Function], w.stopping
	w.mu.RUnlock()
	if stopping {
		return ErrStopped
	}
	if q == nil {
		if _, ok := w.opts.Function(ev.Function); !ok {
			return &executor.Error{Kind: executor.Refused, Function: ev.Function, Err: errNoFunction}
		}
		q = w.queue(ev.Function)
	}
	q.mu.Lock()
	gone := q.gone
	q.mu.Unlock()
	if gone {
		return &executor.Error{Kind: executor.Refused, Function: ev.Function, Err: errNoFunction}
	}
	ev.Accepted = w.opts.Clock.Now().UTC()
	seq, err := w.opts.Store.Accept(ctx, &ev)
	if err != nil {
		return fmt.Errorf("accepting event %s: %w", ev.ID, err)
	}
	q.metrics.accepted.Inc()
	item := waiting{seq: seq, accepted: ev.Accepted.UnixNano()}
	if size := int64(len(ev.Payload)); w.mem.Add(size) <= w.opts.Memory {
		item.ev = &Stored{Seq: seq, Event: ev}
	} else {
		w.mem.Add(-size)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.Accepted++
	q.push(item, time.Time{})
	return nil
}

var errNoFunction = errors.New("the file has no such function")

// take queues an event that the store has. The caller holds the lock.
func (q *queue) take(p Pending) {
	at := p.Next
	if q.gone {
		at = time.Time{} // it is failed, for which there is nothing to wait
	}
	q.push(waiting{seq: p.Seq, accepted: p.Accepted.UnixNano()}, at)
}

// Changed takes note that functions were added, changed or removed: their events run with the new settings,
// and those of functions that are gone are failed.
func (w *Worker) Changed() {
	w.mu.RLock()
	queues := slices.Collect(maps.Values(w.queues))
	w.mu.RUnlock()
	for _, q := range queues {
		target, ok := w.opts.Function(q.name)
		q.mu.Lock()
		q.target, q.gone = target, !ok
		q.faults, q.hold = 0, time.Time{}
		if q.gone {
			for _, d := range q.delayed {
				q.ready.push(d.item)
			}
			q.delayed = nil
		}
		q.kick()
		q.mu.Unlock()
	}
}

// Run works until ctx is done. Then it takes nothing new, lets attempts and deliveries under way end for at
// most Options.Drain, and cuts off the rest, which is tried again at the next start and does not count as an
// attempt. It returns once everything is on disk, or says why it is not. Run is called once.
func (w *Worker) Run(ctx context.Context) error {
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	w.mu.Lock()
	w.running = true
	w.attempt = func(q *queue, e waiting) fate[waiting] { return w.try(hard, q, e) }
	w.deliver = func(o *outbox, p parcel) fate[parcel] { return w.send(hard, o, p) }
	for _, q := range w.queues {
		q.start()
	}
	for _, o := range w.outboxes {
		o.start()
	}
	w.mu.Unlock()

	<-ctx.Done()
	w.mu.Lock()
	w.stopping = true
	queues := slices.Collect(maps.Values(w.queues))
	w.mu.Unlock()
	for _, q := range queues {
		q.stop()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, q := range queues {
			q.wait()
		}
		// Attempts that have just ended may have made deliveries, so these are stopped last.
		w.mu.Lock()
		outboxes := slices.Collect(maps.Values(w.outboxes))
		w.mu.Unlock()
		for _, o := range outboxes {
			o.stop()
		}
		for _, o := range outboxes {
			o.wait()
		}
	}()
	err := w.drain(ended, cut)
	flush, cancel := clock.WithTimeout(context.WithoutCancel(ctx), w.opts.Clock, grace)
	defer cancel()
	return errors.Join(err, w.opts.Store.Flush(flush))
}

// grace is how long an attempt may take to notice that it has been cut off, and how long the store may take
// to write the last of what happened: what is not written then is found out again after the next start.
const grace = 5 * time.Second

func (w *Worker) drain(ended <-chan struct{}, cut func()) error {
	over := func(d time.Duration) bool {
		late := make(chan struct{})
		t := w.opts.Clock.AfterFunc(d, func() { close(late) })
		defer t.Stop()
		select {
		case <-ended:
			return true
		case <-late:
			return false
		}
	}
	if over(w.opts.Drain) {
		return nil
	}
	cut()
	if over(grace) {
		return nil
	}
	return errors.New("attempts are still under way after they were cut off")
}
