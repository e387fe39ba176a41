package router

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync"
)

// A Set is a list of patterns that are matched at once. It is safe for concurrent use.
//
// Every rule of every pattern is one bit of a row of words. For each path that some pattern asks for there is a
// field, which has a row: a bit is set if the rule is content with the values of the field so far, or does not ask
// for it. A value adds the bits that it satisfies. The document is read once; then the rules whose bits are set in the rows of all
// fields match.
type Set struct {
	size    int
	rules   []bound
	words   int
	root    node
	fields  []*field // those that most rules ask for first
	ordered bool     // whether the bits are in the order of the patterns
	pool    sync.Pool
}

// bound is a rule of the pattern with the index.
type bound struct {
	pattern int
	rule    rule
	fields  []*field // of the rule's conditions
	absence bool     // whether it asks for the absence of a field
}

// node is a name, or a part of a name between dots, on the way to fields.
type node struct {
	field *field
	names names
	deep  bool // whether a name below has names below
}

// field is a path with all that is asked of it.
type field struct {
	id     int
	before []uint64 // the row as long as there is no value: rules that do not ask, and those that ask for absence
	after  []uint64 // the row when there is one: rules that do not ask
	absent []uint64 // rules that ask for absence, nil if none

	any      mask // any value
	text     mask // any string
	not      mask // any value, unless an except of the value takes it out
	keywords [3]hit
	numbers  []numberHit // by value
	decimals table[hit]  // numbers by text
	ranges   []rangeHit
	strings  table[hit]
	folded   table[hit] // by lower-case text
	starts   affixes
	ends     affixes
	blocks   []blockHit
	blocks4  []block4Hit
	globs    []globHit
	tests    []testHit // what none of the above can tell

	numeric   bool // whether the value of a number matters
	addresses bool // whether the value of an address matters
}

// mask is a sparse row.
type mask []maskWord

type maskWord struct {
	index int
	bits  uint64
}

func (m mask) with(bit int) mask {
	i, ok := slices.BinarySearchFunc(m, bit/64, func(w maskWord, i int) int { return cmp.Compare(w.index, i) })
	if !ok {
		m = slices.Insert(m, i, maskWord{index: bit / 64})
	}
	m[i].bits |= 1 << (bit % 64)
	return m
}

func (m mask) addTo(row []uint64) {
	for _, w := range m {
		row[w.index] |= w.bits
	}
}

// hit is what a value has when it passes a test: the rules that are satisfied, and those whose anything-but is not.
type hit struct{ holds, except mask }

func (h *hit) add(bit int, negative bool) {
	if negative {
		h.except = h.except.with(bit)
	} else {
		h.holds = h.holds.with(bit)
	}
}

type numberHit struct {
	value float64
	hit   hit
}

type rangeHit struct {
	span  span
	holds mask
}

type blockHit struct {
	block block
	holds mask
}

type block4Hit struct {
	low, high uint32
	holds     mask
}

type globHit struct {
	glob glob
	hit  hit
}

type testHit struct {
	op  *operator
	hit hit
}

// affixes are texts that values begin (or end) with, in groups by their first (or last) byte.
type affixes struct {
	end    bool
	groups [][]affix // the first is empty
	byByte []uint16  // per byte: the group
}

// group is the affixes that a value with this first (or last) byte may have.
func (a *affixes) group(c byte) []affix {
	if a.byByte == nil {
		return nil
	}
	return a.groups[a.byByte[c]]
}

type affix struct {
	text string
	fold *fold // instead of the text
	glob *glob // the value must be of this form besides
	hit  hit
}

func (a *affixes) add(x affix, bit int, negative bool) {
	if a.byByte == nil {
		a.byByte = make([]uint16, 256)
		a.groups = make([][]affix, 1)
	}
	text := x.text
	if x.fold != nil {
		text = x.fold.text
	}
	c := text[0]
	if a.end {
		c = text[len(text)-1]
	}
	into := func(c byte) {
		if a.byByte[c] == 0 {
			a.byByte[c] = uint16(len(a.groups))
			a.groups = append(a.groups, nil)
		}
		group := &a.groups[a.byByte[c]]
		for i := range *group {
			if y := &(*group)[i]; x.glob == nil && y.glob == nil && (x.fold == nil) == (y.fold == nil) &&
				x.text == y.text && (x.fold == nil || *x.fold == *y.fold) {
				y.hit.add(bit, negative)
				return
			}
		}
		y := x
		y.hit.add(bit, negative)
		*group = append(*group, y)
	}
	into(c)
	if x.fold != nil && 'a' <= c && c <= 'z' {
		into(c - 0x20)
	}
}

// NewSet returns the set of the patterns. They may be of different dialects.
func NewSet(patterns ...*Pattern) *Set {
	s := &Set{size: len(patterns), ordered: true}
	order := make([]int, len(patterns))
	rules := 0
	for i, p := range patterns {
		order[i] = i
		rules += len(p.rules)
	}
	if rules > 256 {
		s.sort(order, patterns)
	}
	s.words = (rules + 63) / 64
	byPath := map[string]*field{}
	asked := map[*field]int{}
	for _, i := range order {
		for _, r := range patterns[i].rules {
			b := bound{pattern: i, rule: r}
			for k := range r {
				f := byPath[r[k].path]
				if f == nil {
					f = &field{before: s.row(), after: s.row()}
					f.ends.end = true
					byPath[r[k].path] = f
					s.fields = append(s.fields, f)
					s.root.insert(r[k].path, f)
				}
				asked[f]++
				b.fields = append(b.fields, f)
				f.add(&r[k], len(s.rules))
				b.absence = b.absence || slices.ContainsFunc(r[k].ops, func(op operator) bool { return op.kind == opAbsent })
			}
			s.rules = append(s.rules, b)
		}
	}
	slices.SortStableFunc(s.fields, func(a, b *field) int { return asked[b] - asked[a] })
	for id, f := range s.fields {
		f.id = id
		f.finish(s.rules)
	}
	s.root.finish()
	s.pool.New = func() any { return s.newMatching() }
	return s
}

func (s *Set) row() []uint64 { return make([]uint64, s.words) }

// sort puts patterns next to each other that ask for the same text of the same field, so that the rows of large
// sets have few words that are not zero.
func (s *Set) sort(order []int, patterns []*Pattern) {
	s.ordered = false
	asked := map[string]int{}
	for _, p := range patterns {
		for _, r := range p.rules {
			for _, c := range r {
				if c.ops[0].kind == opString {
					asked[c.path]++
				}
			}
		}
	}
	keys := make([]string, len(patterns))
	for i, p := range patterns {
		if len(p.rules) == 0 {
			continue
		}
		conditions := slices.Clone(p.rules[0])
		slices.SortStableFunc(conditions, func(a, b condition) int { return asked[b.path] - asked[a.path] })
		for _, c := range conditions {
			if c.ops[0].kind == opString {
				keys[i] += c.path + "\x00" + c.ops[0].text + "\x00"
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(keys[a], keys[b]) })
}

func (n *node) insert(path string, f *field) {
	for name := range strings.SplitSeq(path, ".") {
		n = n.names.entry(name)
	}
	n.field = f
}

func (n *node) finish() {
	for _, next := range n.names.build {
		next.finish()
		n.deep = n.deep || next.names.any()
	}
	n.names.finish()
}

// add adds a condition of the rule with the bit.
func (f *field) add(c *condition, bit int) {
	word, flag := bit/64, uint64(1)<<(bit%64)
	f.after[word] |= flag // inverted by finish
	negatives := 0
	for i := range c.ops {
		if c.ops[i].kind.negative() {
			negatives++
		}
	}
	for i := range c.ops {
		op := &c.ops[i]
		if op.kind.negative() && negatives > 1 {
			f.test(op, bit) // each of them holds by itself
			continue
		}
		f.operator(op, bit)
	}
}

func (f *field) test(op *operator, bit int) {
	t := testHit{op: op}
	t.hit.add(bit, false)
	f.tests = append(f.tests, t)
	f.numeric = f.numeric || op.kind == opNotNumber
}

func (f *field) operator(op *operator, bit int) {
	switch op.kind {
	case opString:
		f.strings.entry(op.text).add(bit, false)
	case opKeyword:
		f.keywords[keywordIndex(op.text[0])].add(bit, false)
	case opNumber:
		f.number(op, bit)
	case opAddress, opCIDR:
		f.addresses = true
		if op.block.low.Is4() {
			low, high := op.block.low.As4(), op.block.high.As4()
			f.blocks4 = append(f.blocks4, block4Hit{
				binary.BigEndian.Uint32(low[:]), binary.BigEndian.Uint32(high[:]), mask{}.with(bit),
			})
			break
		}
		f.blocks = append(f.blocks, blockHit{op.block, mask{}.with(bit)})
	case opRange:
		f.numeric = true
		f.ranges = append(f.ranges, rangeHit{op.span, mask{}.with(bit)})
	case opExists:
		f.any = f.any.with(bit)
	case opAbsent:
		if f.absent == nil {
			f.absent = make([]uint64, len(f.after))
		}
		f.absent[bit/64] |= 1 << (bit % 64)
	case opPrefix, opSuffix:
		f.affix(op.text, op.kind == opSuffix, bit, false)
	case opPrefixFold, opSuffixFold:
		switch {
		case op.text == "":
			f.text = f.text.with(bit)
		case op.fold[0].ascii:
			f.side(op.kind == opSuffixFold).add(affix{fold: &op.fold[0]}, bit, false)
		default:
			f.test(op, bit)
		}
	case opFold:
		if !op.fold[0].ascii {
			f.test(op, bit)
			break
		}
		f.folded.entry(op.fold[0].text).add(bit, false)
	case opWildcard:
		f.glob(op.glob[0], bit, false)
	case opNotString, opNotNumber, opNotPrefix, opNotSuffix, opNotFold, opNotWildcard:
		f.negative(op, bit)
	}
}

func (f *field) number(op *operator, bit int) {
	if !op.num.ok {
		f.decimals.entry(op.text).add(bit, false)
		return
	}
	f.numeric = true
	f.numberHit(op.num.value).add(bit, false)
}

func (f *field) numberHit(v float64) *hit {
	i, ok := slices.BinarySearchFunc(f.numbers, v, func(h numberHit, v float64) int { return cmp.Compare(h.value, v) })
	if !ok {
		f.numbers = slices.Insert(f.numbers, i, numberHit{value: v})
	}
	return &f.numbers[i].hit
}

// negative adds the only anything-but of a rule.
func (f *field) negative(op *operator, bit int) {
	for _, c := range op.fold {
		if !c.ascii {
			f.test(op, bit)
			return
		}
	}
	f.not = f.not.with(bit)
	for _, text := range op.texts {
		if op.kind == opNotString {
			f.strings.entry(text).add(bit, true)
		}
		if op.kind == opNotPrefix || op.kind == opNotSuffix {
			f.affix(text, op.kind == opNotSuffix, bit, true)
		}
	}
	for _, v := range op.nums {
		f.numeric = true
		f.numberHit(v).add(bit, true)
	}
	for _, c := range op.fold {
		f.folded.entry(c.text).add(bit, true)
	}
	for _, g := range op.glob {
		f.glob(g, bit, true)
	}
}

func (f *field) side(end bool) *affixes {
	if end {
		return &f.ends
	}
	return &f.starts
}

func (f *field) affix(text string, end bool, bit int, negative bool) {
	if text == "" {
		f.text = f.text.with(bit) // never negative
		return
	}
	f.side(end).add(affix{text: text}, bit, negative)
}

func (f *field) glob(g glob, bit int, negative bool) {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	switch {
	case len(g.parts) == 1:
		f.strings.entry(first).add(bit, negative)
	case first != "":
		f.starts.add(affix{text: first, glob: &g}, bit, negative)
	case last != "":
		f.ends.add(affix{text: last, glob: &g}, bit, negative)
	default:
		h := globHit{glob: g}
		h.hit.add(bit, negative)
		f.globs = append(f.globs, h)
	}
}

func (f *field) finish(rules []bound) {
	for i := range f.after {
		valid := ^uint64(0)
		if rest := len(rules) - i*64; rest < 64 {
			valid = 1<<rest - 1
		}
		f.after[i] = valid &^ f.after[i]
		f.before[i] = f.after[i]
		if f.absent != nil {
			f.before[i] |= f.absent[i]
		}
	}
	f.strings.finish()
	f.decimals.finish()
	f.folded.finish()
}

func keywordIndex(c byte) int {
	switch c {
	case 't':
		return 0
	case 'f':
		return 1
	}
	return 2
}

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
