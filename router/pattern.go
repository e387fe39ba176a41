package router

import (
	"errors"
)

// ErrSyntax says that a document is not JSON in UTF-8, so that nothing can be said of a match.
var ErrSyntax = errors.New("document is not valid JSON")

// A Pattern is a compiled pattern. It is safe for concurrent use.
type Pattern struct {
	source  string
	dialect Dialect
	rules   []rule
}

func newPattern(source string, d Dialect, rules []rule) *Pattern {
	return &Pattern{source: source, dialect: d, rules: rules}
}

// String is the text that the pattern was compiled from.
func (p *Pattern) String() string { return p.source }

// Dialect is the dialect that the pattern was compiled by.
func (p *Pattern) Dialect() Dialect { return p.dialect }

// Match tells whether the pattern matches a document, which must be JSON: else the error is [ErrSyntax]. JSON that
// is no object matches nothing.
func (p *Pattern) Match(doc []byte) (bool, error) {
	match, ok := refMatch(p.rules, doc)
	if !ok {
		return false, ErrSyntax
	}
	return match, nil
}

// A Set is a list of patterns that are matched at once. It is safe for concurrent use.
type Set struct{ patterns []*Pattern }

// NewSet returns the set of the patterns. They may be of different dialects.
func NewSet(patterns ...*Pattern) *Set { return &Set{patterns} }

// Len is the number of patterns.
func (s *Set) Len() int { return len(s.patterns) }

// Match appends to dst the index of each pattern that matches the document, in ascending order. The document must
// be JSON: else the error is [ErrSyntax], and nothing is appended.
func (s *Set) Match(dst []int, doc []byte) ([]int, error) {
	for i, p := range s.patterns {
		match, err := p.Match(doc)
		if err != nil {
			return dst, err
		}
		if match {
			dst = append(dst, i)
		}
	}
	return dst, nil
}
