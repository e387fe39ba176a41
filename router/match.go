package router

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
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
