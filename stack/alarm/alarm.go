// Package alarm wakes a service at the times that it has set, with one timer for all of them.
package alarm

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

// nap bounds the wait for a timer, so that a change of the machine's clock, or a suspended machine, delays a call by
// no more than that.
const nap = time.Minute

// Alarm calls ring for each key once its time has come: one call at a time, earliest first, in a goroutine that
// runs only while there is something to call. Its methods may be called concurrently, by ring too.
type Alarm[K comparable] struct {
	clock clock.Clock
	run   func(func(context.Context))
	ring  func(ctx context.Context, key K, at time.Time)

	mu      sync.Mutex
	queue   queue[K]
	entries map[K]*entry[K]
	timer   clock.Timer
	ringing bool
}

type entry[K comparable] struct {
	key   K
	at    time.Time
	index int
}

// New makes an Alarm with nothing set. run starts the goroutine, as env.Env's Go does; ring is told the time that
// was set, which may be long past if the clock has jumped.
func New[K comparable](c clock.Clock, run func(func(context.Context)), ring func(ctx context.Context, key K, at time.Time)) *Alarm[K] {
	return &Alarm[K]{clock: c, run: run, ring: ring, entries: map[K]*entry[K]{}}
}

// Set makes ring be called for key at a time, instead of any time that was set before.
func (a *Alarm[K]) Set(key K, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.entries[key]; e != nil {
		e.at = at
		heap.Fix(&a.queue, e.index)
	} else {
		e = &entry[K]{key: key, at: at}
		a.entries[key] = e
		heap.Push(&a.queue, e)
	}
	a.arm()
}

// Stop prevents the call for key. One that has begun goes on.
func (a *Alarm[K]) Stop(key K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.entries[key]; e != nil {
		heap.Remove(&a.queue, e.index)
		delete(a.entries, key)
		a.arm()
	}
}

// Clear prevents all calls.
func (a *Alarm[K]) Clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = nil
	a.entries = map[K]*entry[K]{}
	a.arm()
}

// arm sets the timer for the earliest entry, unless the ringing goroutine is about to look for it anyway.
func (a *Alarm[K]) arm() {
	if a.ringing {
		return
	}
	if len(a.queue) == 0 {
		if a.timer != nil {
			a.timer.Stop()
		}
		return
	}
	for {
		now := a.clock.Now()
		d := min(max(a.queue[0].at.Sub(now), 0), nap)
		if a.timer == nil {
			a.timer = a.clock.AfterFunc(d, a.wake)
		} else {
			a.timer.Reset(d)
		}
		if a.clock.Now().Sub(now) < time.Second { // else a test has moved the clock in between
			return
		}
	}
}

func (a *Alarm[K]) wake() {
	a.mu.Lock()
	busy := a.ringing
	a.ringing = true
	a.mu.Unlock()
	if !busy {
		a.run(a.loop)
	}
}

func (a *Alarm[K]) loop(ctx context.Context) {
	for {
		a.mu.Lock()
		if ctx.Err() != nil || len(a.queue) == 0 || a.queue[0].at.After(a.clock.Now()) {
			a.ringing = false
			if ctx.Err() == nil {
				a.arm()
			}
			a.mu.Unlock()
			return
		}
		e := heap.Pop(&a.queue).(*entry[K])
		delete(a.entries, e.key)
		a.mu.Unlock()
		a.ring(ctx, e.key, e.at)
	}
}

// queue is a heap by time.
type queue[K comparable] []*entry[K]

func (q queue[K]) Len() int           { return len(q) }
func (q queue[K]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K]) Push(x any) {
	e := x.(*entry[K])
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue[K]) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
