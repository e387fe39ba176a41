package router

import (
	"errors"
	"sync"
)

// ErrSyntax says that a document is not JSON in UTF-8, so that nothing can be said of a match.
var ErrSyntax = errors.New("document is not valid JSON")

// A Pattern is a compiled pattern. It is safe for concurrent use.
type Pattern struct {
	source  string
	dialect Dialect
	rules   []rule
	alone   func() *Set // the set of this pattern, made when it is first needed
}

func newPattern(source string, d Dialect, rules []rule) *Pattern {
	p := &Pattern{source: source, dialect: d, rules: rules}
	p.alone = sync.OnceValue(func() *Set { return NewSet(p) })
	return p
}

// String is the text that the pattern was compiled from.
func (p *Pattern) String() string { return p.source }

// Dialect is the dialect that the pattern was compiled by.
func (p *Pattern) Dialect() Dialect { return p.dialect }

// Match tells whether the pattern matches a document, which must be JSON in UTF-8: else the error is [ErrSyntax].
// JSON that is no object matches nothing.
func (p *Pattern) Match(doc []byte) (bool, error) {
	var found [1]int
	matches, err := p.alone().Match(found[:0], doc)
	return len(matches) > 0, err
}
