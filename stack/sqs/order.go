package sqs

// The structures that keep messages in their orders: lists that cost nothing to join or leave at any place, and heaps
// for times. All are guarded by the queue's lock.

// lane is the messages of one group. In a FIFO queue it holds all that the queue has of the group, in their order, also
// those in flight. In a standard queue it holds those that can be received; messages without a group share one.
type lane struct {
	group       string
	front, back *message

	queued     bool // it is in queue.ready
	prev, next *lane
}

func (l *lane) pushBack(m *message) {
	m.lane, m.prev, m.next = l, l.back, nil
	if l.back != nil {
		l.back.next = m
	} else {
		l.front = m
	}
	l.back = m
}

func (l *lane) pushFront(m *message) {
	m.lane, m.prev, m.next = l, nil, l.front
	if l.front != nil {
		l.front.prev = m
	} else {
		l.back = m
	}
	l.front = m
}

func (l *lane) remove(m *message) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.front = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		l.back = m.prev
	}
	m.lane, m.prev, m.next = nil, nil, nil
}

// lanes is the lanes that have something to receive, the next one first.
type lanes struct {
	front, back *lane
}

func (r *lanes) pushBack(l *lane) {
	l.queued, l.prev, l.next = true, r.back, nil
	if r.back != nil {
		r.back.next = l
	} else {
		r.front = l
	}
	r.back = l
}

func (r *lanes) remove(l *lane) {
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		r.front = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	} else {
		r.back = l.prev
	}
	l.queued, l.prev, l.next = false, nil, nil
}

// ages is messages by the time they were sent, the oldest first.
type ages struct {
	oldest, newest *message
}

func (a *ages) push(m *message) {
	m.aged, m.older, m.newer = true, a.newest, nil
	if a.newest != nil {
		a.newest.newer = m
	} else {
		a.oldest = m
	}
	a.newest = m
}

func (a *ages) remove(m *message) {
	if m.older != nil {
		m.older.newer = m.newer
	} else {
		a.oldest = m.newer
	}
	if m.newer != nil {
		m.newer.older = m.older
	} else {
		a.newest = m.older
	}
	m.aged, m.older, m.newer = false, nil, nil
}

// timed is a heap of messages by when they become visible, then by their order.
type timed []*message

func (m *message) before(o *message) bool {
	return m.due < o.due || m.due == o.due && m.order < o.order
}

func (h *timed) push(m *message) {
	*h = append(*h, m)
	m.index = len(*h) - 1
	h.up(m.index)
}

func (h *timed) remove(m *message) {
	s := *h
	i, last := m.index, len(s)-1
	if i != last {
		s[i] = s[last]
		s[i].index = i
	}
	s[last] = nil
	*h = s[:last]
	if i != last {
		h.fix(i)
	}
	m.index = -1
}

func (h *timed) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *timed) up(i int) {
	s := *h
	m := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !m.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		s[i].index = i
		i = parent
	}
	s[i] = m
	m.index = i
}

func (h *timed) down(i int) bool {
	s := *h
	m, start := s[i], i
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(m) {
			break
		}
		s[i] = s[child]
		s[i].index = i
		i = child
	}
	s[i] = m
	m.index = i
	return i > start
}

// veterans is a heap (container/heap) of messages that are older than some that came before them, by when they were
// sent: dead letters keep their age.
type veterans []*message

func (v veterans) Len() int           { return len(v) }
func (v veterans) Less(i, j int) bool { return v[i].sent < v[j].sent }
func (v veterans) Swap(i, j int) {
	v[i], v[j] = v[j], v[i]
	v[i].oldIndex, v[j].oldIndex = i, j
}

func (v *veterans) Push(x any) {
	m := x.(*message)
	m.oldIndex = len(*v)
	*v = append(*v, m)
}

func (v *veterans) Pop() any {
	s := *v
	m := s[len(s)-1]
	s[len(s)-1] = nil
	*v = s[:len(s)-1]
	return m
}
