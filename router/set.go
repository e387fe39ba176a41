package router

import (
	"slices"
	"strings"
	"sync"
)

// A Set is a list of patterns that are matched at once. It is safe for concurrent use.
//
// Every rule of every pattern is one bit of a row of words. For each path that some pattern asks for there is a
// field, which has a row: a bit is set if the rule is content with the values of the field so far, or does not ask
// for it. A value adds the bits that it satisfies. The document is read once; then the rules whose bits are set in
// the rows of all fields match.
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
