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

// record is what a second reading of the document notes, for the rules of one word.
type record struct {
	word   int
	rules  uint64         // those that are looked at
	wanted []bool         // per field
	values [][]occurrence // per field, in the order of places after sort
	row    []uint64

	// A place is an element of an array that values are in, or the document itself, which is place 0. Places are
	// numbered as they begin, so that what is inside a place has the numbers up to the place's end.
	places []place
	ends   []int32 // per array: the number of the place after its last
	at     int32   // the place that is being read
	arrays []int32 // those that are open

	chosen []int32 // of attempt
}

type place struct{ parent, array int32 }

type occurrence struct {
	place int32
	holds uint64 // the rules whose condition the value satisfies
}

func (r *record) reset(s *Set, word int) {
	if r.values == nil {
		r.wanted = make([]bool, len(s.fields))
		r.values = make([][]occurrence, len(s.fields))
		r.row = make([]uint64, s.words)
	}
	clear(r.wanted)
	for i := range r.values {
		r.values[i] = r.values[i][:0]
	}
	r.word, r.rules, r.at = word, 0, 0
	r.places = append(r.places[:0], place{array: -1})
	r.ends, r.arrays = r.ends[:0], r.arrays[:0]
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

// note notes a value of the field, whose rules are in the row.
func (r *record) note(f *field) {
	if r.wanted[f.id] {
		r.values[f.id] = append(r.values[f.id], occurrence{r.at, r.row[r.word] & r.rules})
	}
	clear(r.row)
}

// consistent returns those of the rules of a word for which values can be chosen.
func (m *matching) consistent(doc []byte, word int, found uint64) uint64 {
	s, r := m.set, &m.arrays
	r.reset(s, word)
	for rest := found; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros64(rest)
		if b := &s.rules[word*64+bit]; len(b.fields) > 1 || b.absence {
			r.rules |= 1 << bit
			for _, f := range b.fields {
				r.wanted[f.id] = true
			}
		}
	}
	if r.rules == 0 {
		return found
	}
	m.record = r
	m.document(doc)
	m.record = nil
	count := 0
	for _, values := range r.values {
		count += len(values)
		byPlace := func(a, b occurrence) int { return int(a.place) - int(b.place) }
		if !slices.IsSortedFunc(values, byPlace) {
			slices.SortStableFunc(values, byPlace)
		}
	}
	for rest := r.rules; rest != 0; rest &= rest - 1 {
		b := &s.rules[word*64+bits.TrailingZeros64(rest)]
		rule := rest & -rest
		// Trying one value after the other ends soon for nearly every document, and never for some.
		steps := m.patience + 16*count
		r.chosen = r.chosen[:0]
		holds := r.attempt(b, rule, 0, &steps)
		if steps <= 0 {
			holds = r.choose(b, rule)
		}
		if !holds {
			found &^= rule
		}
	}
	return found
}

// next returns the index of the first value from i on that may be chosen beside the chosen places, or len(values).
func (r *record) next(chosen []int32, values []occurrence, i int) int {
	for i < len(values) {
		jump, ok := r.conflict(chosen, values[i].place)
		if !ok {
			break
		}
		i += sort.Search(len(values)-i, func(j int) bool { return values[i+j].place >= jump })
	}
	return i
}

// conflict tells whether a place is in another element of an array than a chosen one, and if so the first place
// after it that may not be.
func (r *record) conflict(chosen []int32, p int32) (jump int32, ok bool) {
	for ; p != 0; p = r.places[p].parent {
		array := r.places[p].array
		for _, q := range chosen {
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

// attempt tells whether values can be chosen for the fields of the rule from the k-th on, which come in the order of
// their paths. It gives up when no steps are left.
func (r *record) attempt(b *bound, rule uint64, k int, steps *int) bool {
	if k == len(b.fields) {
		return true
	}
	values := r.values[b.fields[k].id]
	before := len(r.chosen)
	present := false
	for i := r.next(r.chosen, values, 0); i < len(values) && *steps > 0; i = r.next(r.chosen, values, i+1) {
		*steps--
		present = true
		if values[i].holds&rule == 0 {
			continue
		}
		for p := values[i].place; p != 0; p = r.places[p].parent {
			if !slices.Contains(r.chosen[:before], p) {
				r.chosen = append(r.chosen, p)
			}
		}
		if r.attempt(b, rule, k+1, steps) {
			return true
		}
		r.chosen = r.chosen[:before]
	}
	return !present && b.absent(k) && r.attempt(b, rule, k+1, steps)
}

// absent tells whether the rule takes the absence of its k-th field.
func (b *bound) absent(k int) bool {
	return b.absence && slices.ContainsFunc(b.rule[k].ops, func(op operator) bool { return op.kind == opAbsent })
}

// choose is attempt for documents that have too many choices to try. It keeps all that can be chosen for the fields so
// far: sets of elements, in ascending order, one of each array at most. An element matters only while values of fields
// to come are in its array, and sets that differ in none that matters are one: there are at most about as many as
// the document has elements.
func (r *record) choose(b *bound, rule uint64) bool {
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
	choices := [][]int32{nil}
	for k, f := range b.fields {
		seen := map[string]bool{}
		var following [][]int32
		keep := func(chosen []int32, p int32) {
			var next []int32
			matters := func(q int32) bool { return last[r.places[q].array] > k }
			for ; p != 0; p = r.places[p].parent {
				if matters(p) && !slices.Contains(chosen, p) {
					next = append(next, p)
				}
			}
			for _, q := range chosen {
				if matters(q) {
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
				following = append(following, next)
			}
		}
		values := r.values[f.id]
		for _, chosen := range choices {
			present := false
			for i := r.next(chosen, values, 0); i < len(values); i = r.next(chosen, values, i+1) {
				present = true
				if values[i].holds&rule != 0 {
					keep(chosen, values[i].place)
				}
			}
			if !present && b.absent(k) {
				keep(chosen, 0)
			}
		}
		if choices = following; len(choices) == 0 {
			return false
		}
	}
	return true
}
