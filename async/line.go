package async

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

// line is a queue of items that wait their turn or their time, and the goroutines that work them off: no
// more than its limit, a few that sleep while there is nothing to do, and one timer for the earliest item.
type line[T any] struct {
	clock clock.Clock
	run   func(T) fate[T] // works on one item; called without the lock
	limit func() int      // most items to work on at once; called with the lock

	mu      sync.Mutex
	ready   ring[T]
	delayed delays[T]
	taken   int         // items that a runner took from ready to read ahead
	busy    int         // runners that work
	asleep  int         // runners that sleep
	called  int         // of those that are busy, woken and not yet up
	call    *sync.Cond  // on mu; wakes a runner
	inHand  int         // items being worked on
	faults  int         // runs in a row that got no answer
	hold    time.Time   // nothing starts before
	timer   clock.Timer // nil until it is first needed
	wake    time.Time   // when timer is set for; zero if it is not
	stopped bool
	idle    *sync.Cond // on mu; signalled when busy falls to zero
}

// fate is what becomes of an item after a run.
type fate[T any] struct {
	again bool // it goes back, until at
	item  T
	at    time.Time
	note  func() // called with the lock held, in the moment in which the item stops running
}

func newLine[T any](c clock.Clock) *line[T] {
	l := &line[T]{clock: c}
	l.idle, l.call = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	return l
}

// waiting is the number of items that are not being worked on. The caller holds the lock.
func (l *line[T]) waiting() int { return l.ready.len() + len(l.delayed) + l.taken }

// push adds an item that is ready, or one that becomes so at a time. The caller holds the lock.
func (l *line[T]) push(item T, at time.Time) {
	if at.IsZero() {
		l.ready.push(item)
	} else {
		heap.Push(&l.delayed, delay[T]{at, item})
	}
	l.kick()
}

// kick starts what may start and sets the timer for what may not yet. The caller holds the lock.
func (l *line[T]) kick() {
	if l.stopped {
		return
	}
	now := l.clock.Now()
	l.due(now)
	if n := l.limit(); n > l.busy && !now.Before(l.hold) {
		for range min(n-l.busy, l.ready.len()) {
			l.busy++
			if l.asleep > 0 {
				l.asleep--
				l.called++
				l.call.Signal()
			} else {
				go l.work()
			}
		}
	}
	l.arm(now)
}

// most is n, or 1 to probe while whatever the items need does not answer.
func (l *line[T]) most(n int) int {
	if l.faults > 0 {
		return 1
	}
	return n
}

// silent holds all items back because one got no answer, longer each time. The caller holds the lock.
func (l *line[T]) silent(now time.Time, atLeast time.Duration) {
	if l.hold.After(now) {
		return // several ran at once when it fell silent
	}
	l.hold = now.Add(max(backOff(l.faults), atLeast))
	l.faults++
}

// answers lets items start again. The caller holds the lock.
func (l *line[T]) answers() {
	if l.faults > 0 {
		l.faults, l.hold = 0, time.Time{}
		l.kick()
	}
}

// backOff is the wait after n tries without an answer: 1 s, doubled up to 5 min, and from the second on up
// to a quarter less, so that events do not come back in step.
func backOff(n int) time.Duration {
	d := 5 * time.Minute
	if n < 9 {
		d = min(d, time.Second<<n)
	}
	if d == time.Second {
		return d
	}
	return d - rand.N(d/4)
}

// due moves items whose time has come to the ready ones.
func (l *line[T]) due(now time.Time) {
	for len(l.delayed) > 0 && !l.delayed[0].at.After(now) {
		l.ready.push(heap.Pop(&l.delayed).(delay[T]).item)
	}
}

func (l *line[T]) arm(now time.Time) {
	var next time.Time
	if len(l.delayed) > 0 {
		next = l.delayed[0].at
	}
	if l.hold.After(now) && l.ready.len() > 0 && (next.IsZero() || l.hold.Before(next)) {
		next = l.hold
	}
	if next.IsZero() || next.Equal(l.wake) {
		return
	}
	l.wake = next
	if l.timer == nil {
		l.timer = l.clock.AfterFunc(next.Sub(now), l.fire)
		return
	}
	l.timer.Reset(next.Sub(now))
}

func (l *line[T]) fire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake = time.Time{}
	l.kick()
}

// sleepers is how many runners of one line may sleep. It saves a busy line from making a goroutine, and growing
// its stack, for each item.
const sleepers = 8

// work is one runner: it takes items until there is none that may start, and sleeps until there is.
func (l *line[T]) work() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.take()
		l.busy--
		if l.busy == 0 {
			l.idle.Broadcast()
		}
		if l.stopped {
			return
		}
		l.arm(l.clock.Now())
		if l.asleep >= sleepers {
			return
		}
		l.asleep++
		for l.called == 0 {
			if l.stopped {
				return
			}
			l.call.Wait()
		}
		l.called--
	}
}

// take works on items until there is none that may start.
func (l *line[T]) take() {
	for {
		now := l.clock.Now()
		l.due(now)
		if l.stopped || l.ready.len() == 0 || l.busy > l.limit() || now.Before(l.hold) {
			return
		}
		item := l.ready.pop()
		l.inHand++
		l.mu.Unlock()
		f := l.run(item)
		l.mu.Lock()
		l.inHand--
		if f.note != nil {
			f.note()
		}
		switch {
		case f.again && f.at.IsZero():
			l.ready.push(f.item)
		case f.again:
			heap.Push(&l.delayed, delay[T]{f.at, f.item})
		}
	}
}

// stop lets no more items start.
func (l *line[T]) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.call.Broadcast()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// wait returns once no item is being worked on; after stop.
func (l *line[T]) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy > 0 {
		l.idle.Wait()
	}
}

// ring is a first-in, first-out queue that gives its memory back when it has emptied.
type ring[T any] struct {
	items []T
	head  int
	n     int
}

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) at(i int) *T { return &r.items[(r.head+i)&(len(r.items)-1)] }

func (r *ring[T]) resize(size int) {
	items := make([]T, size)
	for i := range r.n {
		items[i] = *r.at(i)
	}
	r.items, r.head = items, 0
}

func (r *ring[T]) push(v T) {
	if r.n == len(r.items) {
		r.resize(max(16, 2*r.n))
	}
	r.n++
	*r.at(r.n - 1) = v
}

// unpop puts an item back at the front.
func (r *ring[T]) unpop(v T) {
	if r.n == len(r.items) {
		r.resize(max(16, 2*r.n))
	}
	r.head = (r.head - 1) & (len(r.items) - 1)
	r.n++
	r.items[r.head] = v
}

func (r *ring[T]) pop() T {
	p := r.at(0)
	v := *p
	var zero T
	*p = zero
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	if len(r.items) > 1024 && r.n < len(r.items)/8 {
		r.resize(len(r.items) / 4)
	}
	return v
}

// delays is a heap of items by time.
type delays[T any] []delay[T]

type delay[T any] struct {
	at   time.Time
	item T
}

func (d delays[T]) Len() int           { return len(d) }
func (d delays[T]) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d delays[T]) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *delays[T]) Push(x any)        { *d = append(*d, x.(delay[T])) }
func (d *delays[T]) Pop() any {
	old := *d
	v := old[len(old)-1]
	old[len(old)-1] = delay[T]{}
	*d = old[:len(old)-1]
	return v
}

// start lets items start.
func (l *line[T]) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = false
	l.kick()
}
