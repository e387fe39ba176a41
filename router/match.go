package router

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// matching is the state of one match, which a set keeps for the next one.
type matching struct {
	set   *Set
	rows  []uint64 // of the fields that have a value
	marks []uint32 // per field: the match that touched its row last
	mark  uint32

	except  []uint64 // rules whose anything-but the value does not satisfy; zero between values
	wide    bool     // whether a byte above ASCII was seen
	nested  bool     // whether an array had two elements to choose between
	scratch []byte   // text without escapes
	lowered []byte

	record *record // not nil in the second reading of a document with such arrays
	arrays record
	// patience is how many values of arrays are tried for a rule at least, before choosing by another way
	patience int
}

func (s *Set) newMatching() *matching {
	return &matching{
		set:    s,
		rows:   make([]uint64, s.words*len(s.fields)),
		marks:  make([]uint32, len(s.fields)),
		except: make([]uint64, s.words),

		patience: 1000,
	}
}

// Len is the number of patterns.
func (s *Set) Len() int { return s.size }

// Match appends to dst the index of each pattern that matches the document, in ascending order. The document must
// be JSON in UTF-8: else the error is [ErrSyntax], and nothing is appended. JSON that is no object matches nothing.
func (s *Set) Match(dst []int, doc []byte) ([]int, error) {
	m := s.pool.Get().(*matching)
	dst, err := m.match(dst, doc)
	s.pool.Put(m)
	return dst, err
}

func (m *matching) match(dst []int, doc []byte) ([]int, error) {
	m.mark++
	if m.mark == 0 { // it has come round
		clear(m.marks)
		m.mark = 1
	}
	m.wide, m.nested = false, false
	object, ok := m.document(doc)
	if !ok {
		return dst, ErrSyntax
	}
	if !object {
		return dst, nil
	}
	start := len(dst)
	s := m.set
	for w := range s.words {
		found := ^uint64(0)
		if rest := len(s.rules) - w*64; rest < 64 {
			found = 1<<rest - 1
		}
		for id, f := range s.fields {
			if m.marks[id] == m.mark {
				row := m.rows[id*s.words+w]
				if m.nested && f.absent != nil {
					row |= f.absent[w] // perhaps absent from the elements that the rest of the rule holds in
				}
				found &= row
			} else {
				found &= f.before[w]
			}
			if found == 0 {
				break
			}
		}
		if found != 0 && m.nested {
			found = m.consistent(doc, w, found)
		}
		for ; found != 0; found &= found - 1 {
			p := s.rules[w*64+bits.TrailingZeros64(found)].pattern
			if len(dst) == start || dst[len(dst)-1] != p {
				dst = append(dst, p)
			}
		}
	}
	if !s.ordered {
		slices.Sort(dst[start:])
	}
	return dst, nil
}

// document reads the whole document.
func (m *matching) document(b []byte) (object, ok bool) {
	i := space(b, 0)
	if object = i < len(b) && b[i] == '{'; object {
		i = m.object(b, i+1, &m.set.root, 1)
	} else {
		i = m.skip(b, i, 0)
	}
	if i < 0 || space(b, i) != len(b) || m.wide && !utf8.Valid(b) {
		return object, false
	}
	return object, true
}

// row is the field's row, now that there is a value.
func (m *matching) row(f *field) []uint64 {
	if m.record != nil {
		return m.record.row
	}
	words := m.set.words
	row := m.rows[f.id*words : (f.id+1)*words]
	if m.marks[f.id] != m.mark {
		m.marks[f.id] = m.mark
		copy(row, f.after)
	}
	return row
}

// object reads what follows the brace of an object whose members are the node's names.
func (m *matching) object(b []byte, i int, n *node, depth int) int {
	if i = space(b, i); i >= len(b) || depth > maxDepth {
		return -1
	}
	if b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return -1
		}
		start := i + 1
		var next *node
		if next, i = m.member(b, start, n); i < 0 {
			return -1
		}
		if i >= len(b) || b[i] != ':' {
			if i = space(b, i); i >= len(b) || b[i] != ':' {
				return -1
			}
		}
		if i++; i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if next == nil {
			i = m.skip(b, i, depth)
		} else {
			i = m.value(b, i, next, depth)
		}
		if i < 0 {
			return -1
		}
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = space(b, i)
			}
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

// member reads the name at i, whose quote is behind it, and finds its node.
func (m *matching) member(b []byte, i int, n *node) (*node, int) {
	start := i
	if i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		special := specials(w)
		if special == 0 {
			i += 8
		} else if size := bits.TrailingZeros64(special) >> 3; b[i+size] == '"' {
			w &= 1<<(8*size) - 1
			next := n.names.findShort(w, size)
			if next == nil && n.deep && hasDot(w) {
				next = n.dotted(b[i : i+size])
			}
			return next, i + size + 1
		}
	}
	if i = plain(b, i); i < len(b) && b[i] == '"' {
		name := b[start:i]
		next := n.names.find(name)
		if next == nil && n.deep {
			next = n.dotted(name)
		}
		return next, i + 1
	}
	i, escaped := m.quoted(b, i)
	if i < 0 {
		return nil, -1
	}
	name := b[start : i-1]
	if escaped {
		m.scratch = unescape(m.scratch[:0], name)
		name = m.scratch
	}
	next := n.names.find(name)
	if next == nil && n.deep {
		next = n.dotted(name)
	}
	return next, i
}

// dotted finds the node of a name with dots, which is as many names.
func (n *node) dotted(name []byte) *node {
	for {
		dot := bytes.IndexByte(name, '.')
		if dot < 0 {
			return n.names.find(name)
		}
		if n = n.names.find(name[:dot]); n == nil {
			return nil
		}
		name = name[dot+1:]
	}
}

// value reads a value that is asked for.
func (m *matching) value(b []byte, i int, n *node, depth int) int {
	if i >= len(b) {
		return -1
	}
	start := i
	switch c := b[i]; c {
	case '"':
		escaped := false
		start++
		if i = plain(b, start); i < len(b) && b[i] == '"' {
			i++
		} else if i, escaped = m.quoted(b, i); i < 0 {
			return -1
		}
		if n.field != nil {
			text := b[start : i-1]
			if escaped {
				m.scratch = unescape(m.scratch[:0], text)
				text = m.scratch
			}
			m.holdsText(n.field, text)
		}
		return i
	case '{':
		if !n.names.any() {
			return m.skipInside(b, i+1, '{', depth+1)
		}
		return m.object(b, i+1, n, depth+1)
	case '[':
		return m.array(b, i+1, n, depth+1)
	case 't', 'f', 'n':
		if i = keyword(b, i); i >= 0 && n.field != nil {
			m.holdsWord(n.field, c)
		}
		return i
	default:
		if i = number(b, i); i >= 0 && n.field != nil {
			m.holdsNumber(n.field, b[start:i])
		}
		return i
	}
}

// array reads what follows the bracket of an array. Its elements are values of the field that it is.
func (m *matching) array(b []byte, i int, n *node, depth int) int {
	if i = space(b, i); i >= len(b) || depth > maxDepth {
		return -1
	}
	if b[i] == ']' {
		return i + 1
	}
	elements := 0 // that values can be in
	if m.record != nil {
		m.record.open()
	}
	for {
		inside := i < len(b) && (b[i] == '{' && n.names.any() || b[i] == '[')
		if inside {
			elements++
			if m.record != nil {
				m.record.enter()
			}
		}
		if i = m.value(b, i, n, depth); i < 0 {
			return -1
		}
		if inside && m.record != nil {
			m.record.leave()
		}
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = space(b, i)
			}
		case ']':
			m.nested = m.nested || elements > 1
			if m.record != nil {
				m.record.close()
			}
			return i + 1
		default:
			return -1
		}
	}
}

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
		// the string is not kept
		if a, ok, _ := parseAddress(unsafe.String(unsafe.SliceData(s), len(s))); ok {
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
		return !slices.Contains(op.texts, string(s))
	case opNotPrefix:
		return !slices.ContainsFunc(op.texts, func(t string) bool { return bytes.HasPrefix(s, []byte(t)) })
	case opNotSuffix:
		return !slices.ContainsFunc(op.texts, func(t string) bool { return bytes.HasSuffix(s, []byte(t)) })
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
