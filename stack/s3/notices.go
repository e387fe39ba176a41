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
	pending state = iota // the change is not on the disk yet
	ready
	void // the change was refused by the disk
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
	waiting []*notice
	busy    bool
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
			l = new(lane)
			ns.lanes[n.Lane] = l
		}
		l.waiting = append(l.waiting, n)
	}
}

// deliver sends notices whose change is on the disk, or forgets them if it could not get there. It returns when they
// have arrived, or it is no use waiting.
func (ns *notices) deliver(ctx context.Context, list []*notice, committed bool) {
	if len(list) == 0 {
		return
	}
	ns.mu.Lock()
	wait := make([]*notice, 0, len(list))
	for _, n := range list {
		n.state = ready
		if !committed {
			n.state = void
		}
		if l := ns.lanes[n.Lane]; l != nil {
			ns.start(n.Lane, l)
			if !l.slow {
				wait = append(wait, n)
			}
		}
	}
	ns.mu.Unlock()
	if len(wait) == 0 {
		return
	}
	late := make(chan struct{})
	timer := ns.env.Clock.AfterFunc(patience, func() { close(late) })
	defer timer.Stop()
	for _, n := range wait {
		select {
		case <-n.done:
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

// start empties a lane in the background unless that goes on already. The caller holds the lock.
func (ns *notices) start(key laneKey, l *lane) {
	if l.busy {
		return
	}
	l.busy = true
	ns.env.Go(func(ctx context.Context) { ns.run(ctx, key, l) })
}

// run empties a lane, until its first notice must wait for its change.
func (ns *notices) run(ctx context.Context, key laneKey, l *lane) {
	wait := time.Duration(0)
	for {
		ns.mu.Lock()
		if len(l.waiting) == 0 {
			if ns.lanes[key] == l {
				delete(ns.lanes, key)
			}
			ns.mu.Unlock()
			return
		}
		n := l.waiting[0]
		if n.state == pending {
			l.busy = false
			ns.mu.Unlock()
			return
		}
		ns.mu.Unlock()

		if n.state == ready {
			err := ns.send(ctx, n)
			if err != nil && ctx.Err() != nil {
				return // the stack closes; a durable one goes on where it was
			}
			if err != nil && !ns.env.Clock.Now().After(n.Born.Add(giveUp)) && passing(err) {
				ns.hold(l)
				if wait = min(max(2*wait, firstWait), longestWait); clock.Sleep(ctx, ns.env.Clock, wait) != nil {
					return
				}
				continue
			}
			if err != nil {
				ns.env.Log.Warn("a notification of a bucket could not be delivered",
					"bucket", key.Bucket, "key", key.Key, "target", key.Target, "error", err)
			}
		}
		wait = 0
		ns.arrived(l, n)
	}
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
	if n.state == ready && ns.env.Store.Durable() {
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
			l = &lane{busy: true, slow: true}
			ns.lanes[n.Lane] = l
		}
		l.waiting = append(l.waiting, n)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for key, l := range ns.lanes {
		ns.env.Go(func(ctx context.Context) {
			if clock.Sleep(ctx, ns.env.Clock, firstWait) == nil {
				ns.run(ctx, key, l)
			}
		})
	}
	return last, nil
}
