package sqs

import "container/heap"

// How messages that have been received too often leave for another queue.

// outgoing is a message that leaves for its dead-letter queue.
type outgoing struct {
	m  *message
	to *queue
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
