package router

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// hit adds what a value that passed a test satisfies.
func (m *matching) hit(row []uint64, h *hit) {
	h.holds.addTo(row)
	h.except.addTo(m.except)
}

// end adds the rules whose anything-but is satisfied, after all tests that could tell that it is not.
func (m *matching) end(f *field, row []uint64) {
	for _, w := range f.not {
		row[w.index] |= w.bits &^ m.except[w.index]
		m.except[w.index] = 0
	}
	if m.record != nil {
		m.record.note(f)
	}
}

// holdsText adds what a string satisfies.
func (m *matching) holdsText(f *field, s []byte) {
	row := m.row(f)
	f.any.addTo(row)
	f.text.addTo(row)
	if h := f.strings.find(s); h != nil {
		m.hit(row, h)
	}
	if len(s) > 0 {
		m.affixes(row, f.starts.group(s[0]), s, false)
		m.affixes(row, f.ends.group(s[len(s)-1]), s, true)
	}
	if f.folded.has(len(s)) {
		m.lowered = append(m.lowered[:0], s...)
		for i, c := range m.lowered {
			m.lowered[i] = lower(c)
		}
		if h := f.folded.find(m.lowered); h != nil {
			m.hit(row, h)
		}
	}
	for i := range f.globs {
		if g := &f.globs[i]; g.glob.match(s) {
			m.hit(row, &g.hit)
		}
	}
	if f.addresses && len(s) > 0 {
		if a, ok, _ := parseAddress(view(s)); ok {
			f.holdsAddress(row, a)
		}
	}
	for i := range f.tests {
		if t := &f.tests[i]; t.op.holdsText(s) {
			m.hit(row, &t.hit)
		}
	}
	m.end(f, row)
}

// holdsAddress adds the blocks that an address is in.
func (f *field) holdsAddress(row []uint64, a netip.Addr) {
	if !a.Is4() {
		for i := range f.blocks {
			if x := &f.blocks[i]; x.block.holds(a) {
				x.holds.addTo(row)
			}
		}
		return
	}
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:])
	for i := range f.blocks4 {
		if x := &f.blocks4[i]; x.low <= n && n <= x.high {
			x.holds.addTo(row)
		}
	}
}

func (m *matching) affixes(row []uint64, list []affix, s []byte, end bool) {
	for i := range list {
		x := &list[i]
		switch {
		case x.fold != nil && end:
			if !x.fold.suffix(s) {
				continue
			}
		case x.fold != nil:
			if _, ok := x.fold.prefix(s); !ok {
				continue
			}
		case len(s) < len(x.text):
			continue
		case end:
			if string(s[len(s)-len(x.text):]) != x.text {
				continue
			}
		case string(s[:len(x.text)]) != x.text:
			continue
		}
		if x.glob == nil || x.glob.match(s) {
			m.hit(row, &x.hit)
		}
	}
}

func (m *matching) holdsNumber(f *field, s []byte) {
	row := m.row(f)
	f.any.addTo(row)
	var n numeric
	if f.numeric {
		n = parseNumber(s)
	}
	if n.ok {
		for i := range f.ranges {
			if x := &f.ranges[i]; x.span.holds(n.value) {
				x.holds.addTo(row)
			}
		}
		low, high := 0, len(f.numbers)
		for low < high {
			if mid := (low + high) / 2; f.numbers[mid].value < n.value {
				low = mid + 1
			} else {
				high = mid
			}
		}
		if low < len(f.numbers) && f.numbers[low].value == n.value {
			m.hit(row, &f.numbers[low].hit)
		}
	}
	if h := f.decimals.find(s); h != nil {
		m.hit(row, h)
	}
	for i := range f.tests {
		if t := &f.tests[i]; t.op.holdsNumber(n) {
			m.hit(row, &t.hit)
		}
	}
	m.end(f, row)
}

func (m *matching) holdsWord(f *field, c byte) {
	row := m.row(f)
	f.any.addTo(row)
	m.hit(row, &f.keywords[keywordIndex(c)])
	for i := range f.tests {
		if t := &f.tests[i]; t.op.kind.negative() {
			m.hit(row, &t.hit)
		}
	}
	m.end(f, row)
}

// holdsText tells whether a string satisfies the operator, one of those that a field tests one by one.
func (op *operator) holdsText(s []byte) bool {
	switch op.kind {
	case opFold:
		return op.fold[0].equal(s)
	case opPrefixFold:
		_, ok := op.fold[0].prefix(s)
		return ok
	case opSuffixFold:
		return op.fold[0].suffix(s)
	case opNotString:
		return !slices.Contains(op.texts, view(s))
	case opNotPrefix:
		return !slices.ContainsFunc(op.texts, func(t string) bool { return strings.HasPrefix(view(s), t) })
	case opNotSuffix:
		return !slices.ContainsFunc(op.texts, func(t string) bool { return strings.HasSuffix(view(s), t) })
	case opNotFold:
		return !slices.ContainsFunc(op.fold, func(f fold) bool { return f.equal(s) })
	case opNotWildcard:
		return !slices.ContainsFunc(op.glob, func(g glob) bool { return g.match(s) })
	case opNotNumber:
		return true
	default:
		return false
	}
}

// holdsNumber is holdsText for a number.
func (op *operator) holdsNumber(n numeric) bool {
	if op.kind == opNotNumber {
		return !n.ok || !slices.Contains(op.nums, n.value)
	}
	return op.kind.negative()
}
