package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

const noticePrefix = prefix + "notice/"

// How a target that fails for a while is tried again.
const (
	firstWait   = time.Second
	longestWait = time.Minute
	giveUp      = 24 * time.Hour // after the event
)

// patience is how long a request waits for its notifications to arrive. Usually they arrive at once, and a test that
// has put an object finds the notification; a slow target must not hold up the client.
const patience = time.Second

// notice is a notification on its way. Those about one key to one target go in order, the next after the one before
// has arrived. The store has it from the same batch as the change that it tells of.
type notice struct {
	Order   uint64
	Lane    laneKey
	Message env.Message
	Twice   bool `json:",omitempty"`
	Born    time.Time

	state state
	done  chan struct{} // closed once nobody need wait any more
}

// laneKey names those notices that keep an order.
type laneKey struct{ Account, Bucket, Key, Target string }

type state uint8

const (
	pending state = iota // the change is on its way to the disk
	ready
)

// notices are all that are on their way. The methods may be called concurrently.
type notices struct {
	env env.Env

	mu     sync.Mutex
	closed bool
	lanes  map[laneKey]*lane
}

// lane is a queue with at most one goroutine that empties it.
type lane struct {
	key     laneKey
	waiting []*notice
	busy    bool // there is such a goroutine
	slow    bool // the target fails: no request waits for it
}

func newNotices(e env.Env) *notices {
	return &notices{env: e, lanes: map[laneKey]*lane{}}
}

// close forgets what is on its way.
func (ns *notices) close() {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.closed = true
	for key, l := range ns.lanes {
		for _, n := range l.waiting {
			n.finish()
		}
		l.waiting = nil
		delete(ns.lanes, key)
	}
}

func (n *notice) finish() {
	select {
	case <-n.done:
	default:
		close(n.done)
	}
}

// add puts notices in line, and into the batch of the change that causes them. The caller holds the lock that orders
// changes, and calls deliver once the batch is committed.
func (ns *notices) add(batch *store.Batch, list []*notice) {
	if len(list) == 0 {
		return
	}
	if ns.env.Store.Durable() {
		for _, n := range list {
			batch.Set(noticePrefix+hex16(n.Order), encode(n))
		}
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, n := range list {
		n.done = make(chan struct{})
		if ns.closed {
			n.finish()
			continue
		}
		l := ns.lanes[n.Lane]
		if l == nil {
			l = &lane{key: n.Lane}
			ns.lanes[n.Lane] = l
		}
		l.waiting = append(l.waiting, n)
	}
}

// deliver sends notices whose change is on the disk, or stands in memory since it could not get there yet. It returns
// when they have arrived, or it is no use waiting.
func (ns *notices) deliver(ctx context.Context, list []*notice) {
	if len(list) == 0 {
		return
	}
	var mine, others []*notice
	ns.mu.Lock()
	for _, n := range list {
		n.state = ready
		switch l := ns.lanes[n.Lane]; {
		case l == nil: // forgotten
		case !l.busy: // this goroutine is as good as any
			l.busy = true
			mine = append(mine, n)
		case !l.slow:
			others = append(others, n)
		}
	}
	ns.mu.Unlock()

	ctx, cancel := clock.WithTimeout(context.WithoutCancel(ctx), ns.env.Clock, patience)
	defer cancel()
	for _, n := range mine {
		ns.mu.Lock()
		l := ns.lanes[n.Lane]
		ns.mu.Unlock()
		if l != nil && !ns.run(ctx, l, n) {
			ns.env.Go(func(ctx context.Context) { ns.empty(ctx, l) })
		}
	}
	for _, n := range others {
		select {
		case <-n.done:
		case <-ctx.Done():
			return
		}
	}
}

// run sends what is first in a lane, until that is done or the lane has nothing to send. It returns false if
// somebody has to go on with the lane.
func (ns *notices) run(ctx context.Context, l *lane, until *notice) bool {
	for {
		n := ns.first(l)
		if n == nil {
			return true
		}
		if err := ns.send(ctx, n); err != nil && ns.again(n, err) {
			ns.hold(l)
			return false
		}
		ns.arrived(l, n)
		if n == until {
			return ns.first(l) == nil
		}
	}
}

// empty sends what is in a lane, and waits ever longer before it tries a target again that fails.
func (ns *notices) empty(ctx context.Context, l *lane) {
	wait := firstWait
	for {
		ns.mu.Lock()
		slow := l.slow
		ns.mu.Unlock()
		if slow {
			if clock.Sleep(ctx, ns.env.Clock, wait) != nil {
				return // the stack closes; a durable one goes on where it was
			}
			wait = min(2*wait, longestWait)
		} else {
			wait = firstWait
		}
		if ns.run(ctx, l, nil) || ctx.Err() != nil {
			return
		}
	}
}

// first returns what is to be sent next, nil if there is nothing. Then nobody works on the lane any more.
func (ns *notices) first(l *lane) *notice {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if len(l.waiting) > 0 && l.waiting[0].state != pending {
		return l.waiting[0]
	}
	l.busy = false
	if len(l.waiting) == 0 && ns.lanes[l.key] == l {
		delete(ns.lanes, l.key)
	}
	return nil
}

// again tells whether a delivery that failed is to be tried again, and complains if not.
func (ns *notices) again(n *notice, err error) bool {
	if passing(err) && !ns.env.Clock.Now().After(n.Born.Add(giveUp)) {
		return true
	}
	ns.env.Log.Warn("a notification of a bucket could not be delivered",
		"bucket", n.Lane.Bucket, "key", n.Lane.Key, "target", n.Lane.Target, "error", err)
	return false
}

// hold marks a lane whose target fails, and lets go whoever waits for it.
func (ns *notices) hold(l *lane) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	l.slow = true
	for _, n := range l.waiting {
		n.finish()
	}
}

// arrived takes a notice out of its lane and the store.
func (ns *notices) arrived(l *lane, n *notice) {
	var batch store.Batch
	if ns.env.Store.Durable() {
		batch.Delete(noticePrefix + hex16(n.Order))
	}
	ns.mu.Lock()
	l.slow = false
	n.finish()                                   // before the store has forgotten it: after a crash the notice may come again
	if len(l.waiting) > 0 && l.waiting[0] == n { // else forgotten meanwhile
		l.waiting = l.waiting[1:]
	}
	commit := ns.env.Store.Commit(&batch)
	ns.mu.Unlock()
	if err := commit.Wait(); err != nil {
		ns.env.Log.Warn("after a restart a notification of a bucket may come again", "target", n.Lane.Target, "error", err)
	}
}

func (ns *notices) send(ctx context.Context, n *notice) error {
	err := ns.env.Deliver(ctx, n.Lane.Target, n.Message)
	if err == nil && n.Twice {
		err = ns.env.Deliver(ctx, n.Lane.Target, n.Message)
	}
	return err
}

// passing reports whether a delivery that failed may succeed later.
func passing(err error) bool {
	var e *wire.Error
	return !errors.As(err, &e) || e.Status >= http.StatusInternalServerError
}

// load goes on with what is in the store. The first attempt is made a while after the start, so that the targets are
// there again.
func (ns *notices) load() (last uint64, err error) {
	err = ns.env.Store.Load(noticePrefix, func(key string, value []byte) error {
		n := &notice{state: ready, done: make(chan struct{})}
		if err := json.Unmarshal(value, n); err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		last = max(last, n.Order)
		l := ns.lanes[n.Lane]
		if l == nil {
			l = &lane{key: n.Lane, busy: true, slow: true}
			ns.lanes[n.Lane] = l
		}
		l.waiting = append(l.waiting, n)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, l := range ns.lanes {
		ns.env.Go(func(ctx context.Context) { ns.empty(ctx, l) })
	}
	return last, nil
}
