package router

import (
	"math/bits"
	"slices"
	"sort"
)

// A rule holds in a document with arrays if values can be chosen for its fields so that no two of them are in
// different elements of one array. Where no array has two elements with values in them there is nothing to
// choose, and the rows of the fields tell all. Else the rules that the rows leave are looked at again, with the
// place of each value.

// record is what a second reading of the document notes.
type record struct {
	wanted []bool         // per field
	rules  []int          // the rules that are looked at, at most 64
	values [][]occurrence // per field, in the order of places after sort
	row    []uint64

	// A place is an element of an array that values are in, or the document itself, which is place 0. Places are
	// numbered as they begin, so that what is inside a place has the numbers up to the place's end.
	places []place
	ends   []int32 // per array: the number of the place after its last
	at     int32   // the place that is being read
	arrays []int32 // those that are open
}

type place struct{ parent, array int32 }

type occurrence struct {
	place int32
	holds uint64 // the rules, by their index in record.rules, whose condition the value satisfies
}

// open begins an array.
func (r *record) open() {
	r.arrays = append(r.arrays, int32(len(r.ends)))
	r.ends = append(r.ends, 0)
}

func (r *record) close() {
	last := len(r.arrays) - 1
	r.ends[r.arrays[last]] = int32(len(r.places))
	r.arrays = r.arrays[:last]
}

// enter begins an element of the array that was opened last.
func (r *record) enter() {
	r.places = append(r.places, place{parent: r.at, array: r.arrays[len(r.arrays)-1]})
	r.at = int32(len(r.places) - 1)
}

func (r *record) leave() { r.at = r.places[r.at].parent }

// value notes a value, which holds adds to a row.
func (r *record) value(m *matching, f *field, holds func(row []uint64)) {
	if !r.wanted[f.id] {
		return
	}
	clear(r.row)
	holds(r.row)
	o := occurrence{place: r.at}
	for i, bit := range r.rules {
		o.holds |= r.row[bit/64] >> (bit % 64) & 1 << i
	}
	r.values[f.id] = append(r.values[f.id], o)
}

// consistent returns those of the rules of a word for which values can be chosen.
func (m *matching) consistent(doc []byte, word int, found uint64) uint64 {
	s := m.set
	r := &record{
		wanted: make([]bool, len(s.fields)),
		values: make([][]occurrence, len(s.fields)),
		row:    make([]uint64, s.words),
		places: []place{{array: -1}},
	}
	for rest := found; rest != 0; rest &= rest - 1 {
		bit := word*64 + bits.TrailingZeros64(rest)
		if b := &s.rules[bit]; len(b.fields) > 1 || b.absence {
			r.rules = append(r.rules, bit)
			for _, f := range b.fields {
				r.wanted[f.id] = true
			}
		}
	}
	if len(r.rules) == 0 {
		return found
	}
	m.record = r
	m.document(doc)
	m.record = nil
	for _, values := range r.values {
		slices.SortStableFunc(values, func(a, b occurrence) int { return int(a.place) - int(b.place) })
	}
	for i, bit := range r.rules {
		if !r.choose(&s.rules[bit], i) {
			found &^= 1 << (bit % 64)
		}
	}
	return found
}

// choice is the elements chosen so far, one of each array at most, in ascending order.
type choice []int32

// choose tells whether values can be chosen for the rule with the index. Fields are taken in the order of their
// paths. An element matters only while values of fields to come are in its array: choices that differ in no
// element that matters are one, so that there are at most as many as the document has elements.
func (r *record) choose(b *bound, index int) bool {
	inside := 0
	for _, f := range b.fields {
		if slices.ContainsFunc(r.values[f.id], func(o occurrence) bool { return o.place != 0 }) {
			inside++
		}
	}
	if inside < 2 && !b.absence {
		return true
	}
	last := make([]int, len(r.ends)) // per array: the index of the last field that has values in it
	for i := range last {
		last[i] = -1
	}
	for k, f := range b.fields {
		for _, o := range r.values[f.id] {
			for p := o.place; p != 0; p = r.places[p].parent {
				last[r.places[p].array] = k
			}
		}
	}
	choices := []choice{nil}
	var next choice
	for k, f := range b.fields {
		absence := slices.ContainsFunc(b.rule[k].ops, func(op operator) bool { return op.kind == opAbsent })
		seen := map[string]bool{}
		var following []choice
		keep := func(c choice, p int32) {
			next = next[:0]
			for ; p != 0; p = r.places[p].parent {
				if last[r.places[p].array] > k && !slices.Contains(c, p) {
					next = append(next, p)
				}
			}
			for _, q := range c {
				if last[r.places[q].array] > k {
					next = append(next, q)
				}
			}
			slices.Sort(next)
			key := make([]byte, 0, 4*len(next))
			for _, q := range next {
				key = append(key, byte(q), byte(q>>8), byte(q>>16), byte(q>>24))
			}
			if !seen[string(key)] {
				seen[string(key)] = true
				following = append(following, slices.Clone(next))
			}
		}
		for _, c := range choices {
			present := false
			values := r.values[f.id]
			for i := 0; i < len(values); {
				if jump, ok := r.conflict(c, values[i].place); ok {
					i += sort.Search(len(values)-i, func(j int) bool { return values[i+j].place >= jump })
					continue
				}
				present = true
				if values[i].holds>>index&1 != 0 {
					keep(c, values[i].place)
				}
				i++
			}
			if absence && !present {
				keep(c, 0)
			}
		}
		if choices = following; len(choices) == 0 {
			return false
		}
	}
	return true
}

// conflict tells whether a place is in another element of an array than the chosen one, and if so the first place
// after it that may not be.
func (r *record) conflict(c choice, p int32) (jump int32, ok bool) {
	for ; p != 0; p = r.places[p].parent {
		array := r.places[p].array
		for _, q := range c {
			if r.places[q].array == array && p != q {
				ok = true
				if jump = r.ends[array]; p < q {
					jump = q
				}
			}
		}
	}
	return jump, ok
}
