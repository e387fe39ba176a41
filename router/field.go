package router

import (
	"cmp"
	"encoding/binary"
	"slices"
)

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
