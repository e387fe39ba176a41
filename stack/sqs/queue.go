package sqs

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/store"
)

// maxInFlight is how many messages of a queue may be in flight, of either type. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const maxInFlight = 120_000

// maxScan is how many messages of a FIFO queue, from the oldest on, AWS looks through for groups that are available:
// a backlog of one group holds up groups that come behind it. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/avoid-backlog-with-the-same-message-group-id.html.
const maxScan = 120_000

// dedupWindow is for how long a deduplication id, and the id of a receive attempt, is remembered.
const dedupWindow = 5 * time.Minute

// place is where a queue is: a name in an account and region.
type place struct{ account, region, name string }

func (p place) arn() string {
	return "arn:aws:sqs:" + p.region + ":" + p.account + ":" + p.name
}

// queue is one queue with its messages. Time in it is nanoseconds since 1970.
//
// Every operation takes the lock, lets time pass (advance), changes what it has to, commits the changes, and leaves,
// which hands what has become available to those who wait and moves dead letters. Nothing waits or allocates for
// each message that the queue holds.
type queue struct {
	place
	id       queueID
	fifo     bool
	created  int64
	settings atomic.Pointer[settings] // replaced with the lock held
	clock    clock.Clock
	store    *store.Store
	// find returns the queue that an ARN names, nil if there is none. It may be called with the lock held.
	find func(arn string) *queue
	// limit is maxInFlight and scan maxScan, unless a test lowers them.
	limit, scan int

	mu       sync.Mutex
	dead     bool // the queue has been deleted
	modified int64
	tags     map[string]string
	purged   int64 // when it was last purged, 0 if never
	tasks    []*moveTask

	last     uint64 // order of the newest message
	reserved uint64 // on disk: no order beyond it has been given
	ready    lanes
	lanes    map[string]*lane // by group
	plain    lane             // of messages without a group
	ages     ages
	old      veterans
	edge     *message // of a FIFO queue: the newest that is scanned
	scanned  int      // how many of ages are, up to edge
	timed    timed
	received map[uint64]*message // by order: all that have been received, or that were loaded
	count    [inFlight + 1]int   // of messages by state
	dedup    dedup
	attempts map[string]*attempt
	waiters  waiters
	timer    clock.Timer
	timerAt  int64 // when timer calls, 0 if it does not

	changes  store.Batch
	outgoing []outgoing // dead letters on their way, in order
	moving   bool       // somebody is moving outgoing
}

// delivery is a message as one receive hands it out.
type delivery struct {
	*message
	received int   // in all queues, up to now
	first    int64 // when it was first received
	receipt  receipt
}

// outgoing is a message that leaves for its dead-letter queue.
type outgoing struct {
	m  *message
	to *queue
}

func newQueue(p place, id queueID, now int64) *queue {
	return &queue{
		place: p, id: id, created: now, modified: now, limit: maxInFlight, scan: maxScan,
		tags: map[string]string{}, lanes: map[string]*lane{}, received: map[uint64]*message{},
	}
}

func (q *queue) now() int64 { return q.clock.Now().UnixNano() }

// errDeleted is what becomes of operations on a queue that is deleted at the same time.
var errDeleted = errors.New("the queue has been deleted")

// enter takes the lock and lets time pass. It fails with errDeleted, without the lock, if the queue has been deleted.
func (q *queue) enter() (now int64, err error) {
	q.mu.Lock()
	if q.dead {
		q.mu.Unlock()
		return 0, errDeleted
	}
	now = q.now()
	q.advance(now)
	return now, nil
}

// commit puts the changes that have been made in line for the disk.
func (q *queue) commit() store.Commit {
	if !q.store.Durable() {
		return store.Commit{}
	}
	c := q.store.Commit(&q.changes)
	q.changes = store.Batch{}
	return c
}

// leave serves those who wait, gives the lock up, and moves dead letters if there are any.
func (q *queue) leave(now int64) {
	if q.waiters.first != nil {
		q.serve(now)
		q.arm(now)
	}
	if len(q.outgoing) == 0 || q.moving {
		q.mu.Unlock()
		return
	}
	q.moving = true // what others add is moved here as well, so that the order stays
	for len(q.outgoing) > 0 {
		list := q.outgoing
		q.outgoing = nil
		q.mu.Unlock()
		lost := deliverDead(q, list)
		q.mu.Lock()
		for i := len(lost) - 1; i >= 0; i-- { // their queue has just been deleted
			q.restore(lost[i].m)
		}
	}
	q.moving = false
	q.mu.Unlock()
}

// advance lets time pass: delays and visibility timeouts end, and what is too old goes.
func (q *queue) advance(now int64) {
	for len(q.timed) > 0 && q.timed[0].due <= now {
		q.show(q.timed[0])
	}
	born := now - int64(q.settings.Load().retention)
	for q.ages.oldest != nil && q.ages.oldest.sent <= born {
		q.drop(q.ages.oldest)
	}
	for len(q.old) > 0 && q.old[0].sent <= born {
		q.drop(q.old[0])
	}
	q.forget(now)
}

// put takes in a message that is not in a queue, and gives it its order.
func (q *queue) put(m *message, now, visible int64) {
	q.last++
	m.order = q.last
	q.reserve()
	q.insert(m, now, visible)
	q.saveMessage(m, visible)
}

// insert takes in a message that has its order.
func (q *queue) insert(m *message, now, visible int64) {
	if q.ages.newest == nil || q.ages.newest.sent <= m.sent {
		q.ages.push(m)
		if q.fifo && q.scanned < q.scan {
			q.edge = m
			q.scanned++
		}
	} else {
		heap.Push(&q.old, m)
	}
	if q.fifo {
		q.lane(m).pushBack(m)
	}
	if visible > now {
		q.hide(m, delayed, visible)
		return
	}
	q.enterState(m, ready)
	q.offer(m)
}

func (q *queue) enterState(m *message, s state) {
	if m.state != gone {
		q.count[m.state]--
	}
	m.state = s
	q.count[s]++
}

// lane returns the lane of a message's group, and makes it if there is none.
func (q *queue) lane(m *message) *lane {
	if !m.grouped {
		return &q.plain
	}
	l := q.lanes[m.group]
	if l == nil {
		l = &lane{group: m.group}
		q.lanes[m.group] = l
	}
	return l
}

// offer makes a message that has become ready available.
func (q *queue) offer(m *message) {
	l := m.lane
	if !q.fifo {
		l = q.lane(m)
		l.pushBack(m)
	} else if l.front != m || !q.scans(m) {
		return
	}
	if !l.queued {
		q.ready.pushBack(l)
	}
}

// hide makes a message invisible until due. It is in no list of ready ones, or in one of a FIFO queue.
func (q *queue) hide(m *message, s state, due int64) {
	q.enterState(m, s)
	m.due = due
	q.timed.push(m)
}

// show makes a message visible that is delayed or in flight.
func (q *queue) show(m *message) {
	q.timed.remove(m)
	m.due = 0
	q.enterState(m, ready)
	q.offer(m)
}

// leaveLane takes a message out of its lane, and sees to it that the lane is offered, or not, by what is left of it.
func (q *queue) leaveLane(m *message) {
	l := m.lane
	if l == nil {
		return
	}
	l.remove(m)
	q.settle(l)
}

func (q *queue) settle(l *lane) {
	switch available := l.front != nil && l.front.state == ready && q.scans(l.front); {
	case available && !l.queued:
		q.ready.pushBack(l)
	case !available && l.queued:
		q.ready.remove(l)
	}
	if l.front == nil && l != &q.plain {
		delete(q.lanes, l.group)
	}
}

// remove takes a message out of the queue. It stays on disk.
func (q *queue) remove(m *message) {
	if m.state == delayed || m.state == inFlight {
		q.timed.remove(m)
	}
	q.count[m.state]--
	m.state = gone
	q.leaveLane(m)
	if m.aged {
		q.leaveScan(m)
		q.ages.remove(m)
	} else {
		heap.Remove(&q.old, m.oldIndex)
	}
	delete(q.received, m.order)
}

// scans reports whether a message is among the oldest, whose groups can be available. One that is not aged is, as it
// has come back.
func (q *queue) scans(m *message) bool {
	return !q.fifo || !m.aged || q.edge != nil && m.order <= q.edge.order
}

// leaveScan lets the next message be scanned in the place of one that leaves.
func (q *queue) leaveScan(m *message) {
	if !q.fifo || q.edge == nil || m.order > q.edge.order {
		return
	}
	next := q.edge.newer
	if next == nil {
		q.scanned--
		if m == q.edge {
			q.edge = m.older
		}
		return
	}
	q.edge = next
	q.settle(next.lane)
}

// drop deletes a message.
func (q *queue) drop(m *message) {
	q.remove(m)
	q.eraseMessage(m)
}

// restore takes a message back that could not be moved. It becomes the first of its group.
func (q *queue) restore(m *message) {
	if q.dead {
		return
	}
	heap.Push(&q.old, m)
	l := q.lane(m)
	l.pushFront(m)
	if m.handle > 0 {
		q.received[m.order] = m
	}
	q.enterState(m, ready)
	q.settle(l)
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

// exceeded returns the dead-letter queue that a message must go to instead of being received again, or nil.
func (q *queue) exceeded(m *message) *queue {
	p := q.settings.Load().redrive
	if p == nil || m.received < p.maxReceiveCount {
		return nil
	}
	to := q.find(p.target)
	if to == nil || to == q || to.fifo != q.fifo {
		return nil
	}
	return to
}

// bury takes a message out for its dead-letter queue. It stays on disk until it is there.
func (q *queue) bury(m *message, to *queue) {
	q.remove(m)
	q.outgoing = append(q.outgoing, outgoing{m, to})
}

// deliverDead puts dead letters into their queues, in order, and returns those whose queue is gone. No lock is held.
func deliverDead(from *queue, list []outgoing) (lost []outgoing) {
	for len(list) > 0 {
		to, n := list[0].to, 1
		for n < len(list) && list[n].to == to {
			n++
		}
		now, err := to.enter()
		if err != nil {
			lost = append(lost, list[:n]...)
			list = list[n:]
			continue
		}
		for _, o := range list[:n] {
			m := o.m.copy()
			m.source = from.arn()
			m.received = 0
			if to.fifo {
				m.sent = now // a standard queue's dead letters keep their age
			}
			from.eraseFor(to, o.m)
			to.put(m, now, 0)
		}
		to.commit()
		to.leave(now)
		list = list[n:]
	}
	return lost
}

// copy returns the message for another queue, in no queue yet.
func (m *message) copy() *message {
	return &message{
		id: m.id, body: m.body, md5: m.md5, attributes: m.attributes, attributesMD5: m.attributesMD5,
		trace: m.trace, group: m.group, dedup: m.dedup, grouped: m.grouped, sender: m.sender, source: m.source,
		sent: m.sent, received: m.received, total: m.total, first: m.first,
	}
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

// delete deletes the message that a handle names. In a standard queue handles of earlier receipts do so too, which AWS
// does not promise but does; a FIFO queue refuses a handle once its message is visible again.
func (q *queue) delete(handle string, r receipt) error {
	m := q.received[r.order]
	switch {
	case m == nil: // it is deleted already
	case q.fifo && (m.state != inFlight || r.number < m.handle):
		return expiredHandle(handle)
	case r.number == m.stray: // the copy stays
	default:
		q.drop(m)
	}
	return nil
}

// change sets when a message becomes visible. The rules for handles are those of delete.
func (q *queue) change(handle string, r receipt, now int64, timeout time.Duration) error {
	m := q.received[r.order]
	if m == nil || q.fifo && (m.state != inFlight || r.number < m.handle) {
		return unavailableHandle(handle)
	}
	if time.Duration(now-m.last)+timeout > maxVisibility {
		return invalidValue("VisibilityTimeout", int64(timeout/time.Second),
			"Total VisibilityTimeout for the message is beyond the limit [%d seconds]", int64(maxVisibility/time.Second))
	}
	switch {
	case m.state == inFlight && timeout <= 0:
		q.show(m)
	case m.state == inFlight:
		q.setDue(m, now+int64(timeout))
	case timeout > 0: // visible again: recordings show that it can be hidden
		q.leaveLane(m)
		q.hide(m, inFlight, now+int64(timeout))
	}
	return nil
}

// purge deletes all messages, and forgets which have been sent.
func (q *queue) purge() {
	for q.ages.oldest != nil {
		q.remove(q.ages.oldest)
	}
	for len(q.old) > 0 {
		q.remove(q.old[0])
	}
	q.dedup = dedup{}
	q.attempts = nil
	q.eraseAll()
}

// close ends the queue: those who wait are told that it does not exist.
func (q *queue) close() {
	q.dead = true
	if q.timer != nil {
		q.timer.Stop()
	}
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		q.waiters.remove(w)
		close(w.got)
	}
	for _, t := range q.tasks {
		if t.status == taskRunning {
			t.status, t.failure = taskFailed, nonExistentQueue
		}
	}
}

// redelay gives the messages of a FIFO queue that nobody has received another delay, counted from when they were sent.
func (q *queue) redelay(now int64, delay time.Duration) {
	for m := q.ages.oldest; m != nil; m = m.newer {
		due := m.sent + int64(delay)
		switch {
		case m.state == delayed && due <= now:
			q.show(m)
		case m.state == delayed:
			q.setDue(m, due)
		case m.state == ready && m.handle == 0 && due > now:
			q.hide(m, delayed, due)
			q.settle(m.lane)
		default:
			continue
		}
		q.saveMessage(m, due)
	}
}

// depth is how many messages are visible, in flight, and delayed.
func (q *queue) depth() (visible, notVisible, waiting int) {
	return q.count[ready], q.count[inFlight], q.count[delayed]
}
