package sqs

import (
	"container/heap"
	"errors"
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

// delete deletes the message that a handle names. In a standard queue handles of earlier receipts do so too, which AWS
// does not promise but does; a FIFO queue refuses a handle once its message is visible again.
func (q *queue) delete(handle string, r receipt) error {
	m := q.received[r.order]
	switch {
	case m == nil: // deleted already, which may still be on its way to the disk
		if q.store.Durable() {
			q.changes.Delete(q.messageKey(keyMessage, r.order))
		}
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
