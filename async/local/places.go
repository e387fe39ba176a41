package local

// places is a set of events, by place. Places grow, so that the members lie close together: a bit for each in
// blocks that are freed when they empty.
type places map[uint64]*span

type span struct {
	bits [64]uint64
	n    int
}

func (p places) has(seq uint64) bool {
	b := p[seq>>12]
	return b != nil && b.bits[seq>>6&63]&(1<<(seq&63)) != 0
}

func (p places) add(seq uint64) {
	if p.has(seq) {
		return
	}
	b := p[seq>>12]
	if b == nil {
		b = &span{}
		p[seq>>12] = b
	}
	b.bits[seq>>6&63] |= 1 << (seq & 63)
	b.n++
}

// remove reports whether seq was a member.
func (p places) remove(seq uint64) bool {
	if !p.has(seq) {
		return false
	}
	b := p[seq>>12]
	b.bits[seq>>6&63] &^= 1 << (seq & 63)
	if b.n--; b.n == 0 {
		delete(p, seq>>12)
	}
	return true
}
