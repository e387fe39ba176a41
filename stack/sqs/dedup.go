package sqs

// dedup knows which messages a FIFO queue has taken within the last five minutes, also those that are deleted.
type dedup struct {
	byID map[dedupID]*sentBefore
	// fifo is in the order in which they lapse, from head on.
	fifo []*sentBefore
	head int
}

// dedupID is a deduplication id, within a group if the queue's DeduplicationScope is messageGroup.
type dedupID struct{ group, id string }

// sentBefore is what the answer to a repeated send says.
type sentBefore struct {
	key     dedupID
	message string
	order   uint64
	expires int64
}

// find returns the earlier message that a send repeats, or nil. Ids that were taken while the scope was the queue
// stay so until they lapse.
func (d *dedup) find(key dedupID) *sentBefore {
	if e := d.byID[key]; e != nil {
		return e
	}
	if key.group != "" {
		return d.byID[dedupID{id: key.id}]
	}
	return nil
}

func (d *dedup) add(e *sentBefore) {
	if d.byID == nil {
		d.byID = map[dedupID]*sentBefore{}
	}
	d.byID[e.key] = e
	d.fifo = append(d.fifo, e)
}

// lapsed removes and returns the next entry that has lapsed, nil if there is none.
func (d *dedup) lapsed(now int64) *sentBefore {
	if d.head == len(d.fifo) || d.fifo[d.head].expires > now {
		return nil
	}
	e := d.fifo[d.head]
	d.fifo[d.head] = nil
	d.head++
	if d.head > len(d.fifo)/2 && d.head > 64 {
		d.fifo = append(d.fifo[:0], d.fifo[d.head:]...)
		d.head = 0
	}
	if d.byID[e.key] == e {
		delete(d.byID, e.key)
	}
	return e
}

// forget drops what has lapsed.
func (q *queue) forget(now int64) {
	for e := q.dedup.lapsed(now); e != nil; e = q.dedup.lapsed(now) {
		q.eraseSent(e)
	}
}
