package router

import (
	"encoding/binary"
	"math/bits"
)

// names are the members of an object that somebody asks for. Names of at most eight bytes, which most are, are
// compared as one word.
type names struct {
	build map[string]*node
	sizes uint64 // a bit for each length
	shift uint8
	short []shortName
	long  table[*node]
}

type shortName struct {
	word uint64 // the bytes, the first in the lowest
	size int    // -1 if the slot is empty
	node *node
}

// entry is the node of a name while the names are built.
func (n *names) entry(name string) *node {
	next := n.build[name]
	if next == nil {
		if n.build == nil {
			n.build = map[string]*node{}
		}
		next = &node{}
		n.build[name] = next
	}
	return next
}

func (n *names) finish() {
	short := 0
	for name, next := range n.build {
		n.sizes |= 1 << min(len(name), 63)
		if len(name) > 8 {
			*n.long.entry(name) = next
		} else {
			short++
		}
	}
	n.long.finish()
	if short > 0 {
		size := 1 << bits.Len(uint(2*short-1))
		n.shift = uint8(64 - bits.TrailingZeros(uint(size)))
		n.short = make([]shortName, size)
		for i := range n.short {
			n.short[i].size = -1
		}
		for name, next := range n.build {
			if len(name) > 8 {
				continue
			}
			w := word([]byte(name))
			i := int(w * multiplier >> n.shift)
			for n.short[i].size >= 0 {
				i = (i + 1) & (size - 1)
			}
			n.short[i] = shortName{w, len(name), next}
		}
	}
	n.build = nil
}

func (n *names) any() bool { return n.sizes != 0 }

// find returns the node of a name, or nil.
func (n *names) find(name []byte) *node {
	if len(name) <= 8 {
		return n.findShort(word(name), len(name))
	}
	if n.sizes>>min(len(name), 63)&1 == 0 {
		return nil
	}
	if next := n.long.find(name); next != nil {
		return *next
	}
	return nil
}

func (n *names) findShort(w uint64, size int) *node {
	if n.sizes>>size&1 == 0 {
		return nil
	}
	for i := int(w * multiplier >> n.shift); ; i = (i + 1) & (len(n.short) - 1) {
		s := &n.short[i]
		if s.word == w && s.size == size {
			return s.node
		}
		if s.size < 0 {
			return nil
		}
	}
}

// word is a text of at most eight bytes as a number.
func word(b []byte) uint64 {
	var w uint64
	for i, c := range b {
		w |= uint64(c) << (8 * i)
	}
	return w
}

const multiplier = 0x9e3779b97f4a7c15

// table is a map from texts to values, with keys compared as bytes and a lookup that costs a few loads.
type table[V any] struct {
	build map[string]*V
	slots []slot[V]
	shift uint8
	sizes uint64 // a bit for each length, the last one for all longer keys
}

type slot[V any] struct {
	key   string
	value V
	used  bool
}

// entry is the value of the key while the table is built.
func (t *table[V]) entry(key string) *V {
	v := t.build[key]
	if v == nil {
		if t.build == nil {
			t.build = map[string]*V{}
		}
		v = new(V)
		t.build[key] = v
	}
	return v
}

func (t *table[V]) finish() {
	if len(t.build) == 0 {
		return
	}
	size := 1 << bits.Len(uint(2*len(t.build)-1))
	t.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	t.slots = make([]slot[V], size)
	for key, v := range t.build {
		t.sizes |= 1 << min(len(key), 63)
		i := int(hash([]byte(key)) >> t.shift)
		for t.slots[i].used {
			i = (i + 1) & (size - 1)
		}
		t.slots[i] = slot[V]{key, *v, true}
	}
	t.build = nil
}

// has tells whether there are keys of the length.
func (t *table[V]) has(size int) bool { return t.sizes>>min(size, 63)&1 != 0 }

// find returns the value of the key, or nil.
func (t *table[V]) find(key []byte) *V {
	if !t.has(len(key)) {
		return nil
	}
	for i := int(hash(key) >> t.shift); ; i = (i + 1) & (len(t.slots) - 1) {
		s := &t.slots[i]
		if s.key == string(key) && s.used {
			return &s.value
		}
		if !s.used {
			return nil
		}
	}
}

// hash reads eight bytes at a time.
func hash(b []byte) uint64 {
	const k = multiplier
	h := uint64(len(b)) * k
	for len(b) > 8 {
		h = (bits.RotateLeft64(h, 23) ^ binary.LittleEndian.Uint64(b)) * k
		b = b[8:]
	}
	var w uint64
	switch n := len(b); {
	case n == 8:
		w = binary.LittleEndian.Uint64(b)
	case n >= 4:
		w = uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	case n > 0:
		w = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	h = (bits.RotateLeft64(h, 23) ^ w) * k
	return (h ^ h>>32) * k
}
