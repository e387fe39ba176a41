package sqs

import (
	"context"
	"math"
	"time"
)

// How messages are received: at once, or by waiting for them.

// delivery is a message as one receive hands it out.
type delivery struct {
	*message
	received int   // in all queues, up to now
	first    int64 // when it was first received
	receipt  receipt
}

// take receives up to n messages, and hides them for as long as timeout. What has been received too often goes to
// the dead-letter queue instead. twice leaves the messages visible, and makes their handles delete nothing.
func (q *queue) take(now int64, n int, timeout time.Duration, twice bool) []delivery {
	var got []delivery
	n = min(n, q.limit-q.count[inFlight])
	for len(got) < n && q.ready.front != nil {
		l := q.ready.front
		if q.fifo {
			got = q.takeGroup(got, l, now, n, timeout, twice)
			continue
		}
		m := l.front
		if to := q.exceeded(m); to != nil {
			q.bury(m, to)
			continue
		}
		// Groups take turns, so that one tenant's backlog does not hold up the others.
		l.remove(m)
		if q.settle(l); l.queued && l.next != nil {
			q.ready.remove(l)
			q.ready.pushBack(l)
		}
		if got == nil {
			got = make([]delivery, 0, min(n, q.count[ready]))
		}
		got = append(got, q.give(m, now))
		q.hide(m, inFlight, now+int64(timeout))
		if twice {
			m.stray = m.handle
		}
	}
	if timeout <= 0 || twice {
		for i := range got {
			if m := got[i].message; m.state == inFlight {
				q.show(m)
			}
		}
	}
	return got
}

// takeGroup receives messages from the front of a group, up to the first that is not ready. That one and all behind
// it wait until it is deleted or visible again.
func (q *queue) takeGroup(got []delivery, l *lane, now int64, n int, timeout time.Duration, twice bool) []delivery {
	q.ready.remove(l)
	for m := l.front; m != nil && m.state == ready && len(got) < n; {
		next := m.next
		if to := q.exceeded(m); to != nil {
			q.bury(m, to)
		} else {
			if got == nil {
				got = make([]delivery, 0, min(n, q.count[ready]))
			}
			got = append(got, q.give(m, now))
			q.hide(m, inFlight, now+int64(timeout))
			if twice {
				m.stray = m.handle
			}
		}
		m = next
	}
	q.settle(l)
	return got
}

// give counts a receipt of a message.
func (q *queue) give(m *message, now int64) delivery {
	m.received++
	m.total++
	m.handle++
	m.last = now
	if m.first == 0 {
		m.first = now
	}
	q.received[m.order] = m
	q.saveReceipt(m)
	return delivery{message: m, received: m.total, first: m.first, receipt: receipt{queue: q.id, order: m.order, number: m.handle}}
}

// waiter is a receive that waits for messages.
type waiter struct {
	n        int
	timeout  time.Duration
	twice    bool
	attempt  string
	deadline int64
	got      chan []delivery // has room for one; closed when the queue is deleted

	waiting    bool
	prev, next *waiter
}

// waiters are those who wait, the one who has waited longest first.
type waiters struct {
	first, last *waiter
	soonest     int64 // no deadline is before it
}

func (l *waiters) push(w *waiter) {
	if l.first == nil || w.deadline < l.soonest {
		l.soonest = w.deadline
	}
	w.waiting, w.prev = true, l.last
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *waiters) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.waiting, w.prev, w.next = false, nil, nil
}

// expire ends the waits that have lasted long enough.
func (l *waiters) expire(now int64) {
	l.soonest = math.MaxInt64
	for w := l.first; w != nil; {
		next := w.next
		if w.deadline <= now {
			l.remove(w)
			w.got <- nil
		} else {
			l.soonest = min(l.soonest, w.deadline)
		}
		w = next
	}
}

// serve hands what is available to those who wait, in the order in which they came.
func (q *queue) serve(now int64) {
	for q.waiters.first != nil && q.ready.front != nil {
		w := q.waiters.first
		got := q.take(now, w.n, w.timeout, w.twice)
		if len(got) == 0 {
			break
		}
		q.remember(w.attempt, got, w.timeout, now)
		q.waiters.remove(w)
		w.got <- got
	}
	q.commit()
}

// arm sets the timer for the next thing that concerns those who wait.
func (q *queue) arm(now int64) {
	if q.waiters.first == nil {
		if q.timerAt != 0 {
			q.timer.Stop()
			q.timerAt = 0
		}
		return
	}
	at := q.waiters.soonest
	if len(q.timed) > 0 {
		at = min(at, q.timed[0].due)
	}
	if q.timerAt != 0 && q.timerAt <= at {
		return // it calls early enough, and sets itself anew
	}
	q.timerAt = at
	if d := time.Duration(at - now); q.timer == nil {
		q.timer = q.clock.AfterFunc(d, q.tick)
	} else {
		q.timer.Reset(d)
	}
}

// tick is the timer's call.
func (q *queue) tick() {
	q.mu.Lock()
	q.timerAt = 0
	if q.dead {
		q.mu.Unlock()
		return
	}
	now := q.now()
	q.advance(now)
	q.serve(now)
	q.waiters.expire(now)
	q.commit()
	q.leave(now)
}

// request is a receive.
type request struct {
	n       int
	timeout time.Duration // visibility
	wait    time.Duration
	attempt string
	twice   bool // leave what is received visible
}

// receive returns up to r.n messages. If there are none it waits as long as r.wait, or until ctx is done.
func (q *queue) receive(ctx context.Context, r request) ([]delivery, error) {
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	if got := q.again(r.attempt, now, r.timeout); got != nil {
		q.leave(now)
		return got, nil
	}
	got := q.take(now, r.n, r.timeout, r.twice)
	q.remember(r.attempt, got, r.timeout, now)
	q.commit()
	if len(got) == 0 && r.wait <= 0 && !q.fifo && q.count[inFlight] >= q.limit {
		q.leave(now)
		return nil, overLimit("Too many messages are in flight in the queue: %d. Delete some of them first.", q.limit)
	}
	if len(got) > 0 || r.wait <= 0 {
		q.leave(now)
		return got, nil
	}
	w := &waiter{
		n: r.n, timeout: r.timeout, twice: r.twice, attempt: r.attempt, deadline: now + int64(r.wait),
		got: make(chan []delivery, 1),
	}
	q.waiters.push(w)
	q.leave(now)
	select {
	case got, ok := <-w.got:
		if !ok {
			return nil, errDeleted
		}
		return got, nil
	case <-ctx.Done():
		q.abandon(w)
		return nil, context.Cause(ctx)
	}
}

// abandon ends a wait whose client has gone. What has been handed to it in the meantime goes back, as if it had not
// been received.
func (q *queue) abandon(w *waiter) {
	now, err := q.enter()
	if err != nil {
		return
	}
	if w.waiting {
		q.waiters.remove(w)
		q.arm(now)
	} else {
		for _, d := range <-w.got {
			if m := d.message; m.state == inFlight && m.handle == d.receipt.number {
				m.received--
				if m.total--; m.total == 0 {
					m.first = 0
				}
				q.saveReceipt(m)
				q.show(m)
			}
		}
		q.commit()
	}
	q.leave(now)
}

// attempt is a receive from a FIFO queue that may be repeated.
type attempt struct {
	got     []delivery
	due     int64 // when the messages become visible
	expires int64
}

func (q *queue) remember(id string, got []delivery, timeout time.Duration, now int64) {
	if id == "" || len(got) == 0 {
		return
	}
	if q.attempts == nil {
		q.attempts = map[string]*attempt{}
	}
	for k, a := range q.attempts {
		if a.expires <= now {
			delete(q.attempts, k)
		}
	}
	q.attempts[id] = &attempt{got: got, due: now + int64(timeout), expires: now + int64(dedupWindow)}
}

// again returns what an attempt has received before if all of it is as it was, and hides it anew.
func (q *queue) again(id string, now int64, timeout time.Duration) []delivery {
	a := q.attempts[id]
	if a == nil || a.expires <= now {
		return nil
	}
	for _, d := range a.got {
		if m := d.message; m.state != inFlight || m.handle != d.receipt.number || m.due != a.due {
			return nil
		}
	}
	a.due = now + int64(timeout)
	for _, d := range a.got {
		q.setDue(d.message, a.due)
	}
	if timeout <= 0 {
		for _, d := range a.got {
			q.show(d.message)
		}
	}
	return a.got
}

func (q *queue) setDue(m *message, due int64) {
	m.due = due
	q.timed.fix(m.index)
}
