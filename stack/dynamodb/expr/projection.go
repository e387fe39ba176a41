package expr

import (
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// Projection is a choice of parts of items. It may be used by several goroutines.
type Projection struct {
	paths []Path
	root  branch
}

// branch is what the paths of a projection have below one place in an item.
type branch struct {
	whole bool // a path ends here
	next  []fork
}

type fork struct {
	Step
	branch
}

// ParseProjection reads a ProjectionExpression.
func ParseProjection(text string, s *Scope) (*Projection, error) {
	return parse("ProjectionExpression", text, func(p *parser) *Projection {
		nodes := p.projection()
		p.expect(tokenEnd)
		for _, n := range nodes {
			checkWords(n, asOperand, new(int))
		}
		paths := make([]Path, len(nodes))
		for i, n := range nodes {
			s.resolve(n.path)
			paths[i] = n.path
		}
		checkOverlap(paths)
		return NewProjection(paths)
	})
}

// NewProjection chooses what paths lead to.
func NewProjection(paths []Path) *Projection {
	p := &Projection{paths: paths}
	for _, path := range paths {
		p.root.add(path)
	}
	return p
}

// Attributes chooses whole attributes.
func Attributes(names ...string) *Projection {
	paths := make([]Path, len(names))
	for i, n := range names {
		paths[i] = Path{{Name: n}}
	}
	return NewProjection(paths)
}

// Paths are what is chosen. The caller must not change them.
func (p *Projection) Paths() []Path { return p.paths }

func (b *branch) add(path Path) {
	if len(path) == 0 {
		b.whole = true
		return
	}
	i := slices.IndexFunc(b.next, func(f fork) bool { return f.Step == path[0] })
	if i < 0 {
		b.next = append(b.next, fork{Step: path[0]})
		slices.SortFunc(b.next, func(f, g fork) int { return f.Index - g.Index })
		i = slices.IndexFunc(b.next, func(f fork) bool { return f.Step == path[0] })
	}
	b.next[i].add(path[1:])
}

// Apply returns the chosen parts of an item. Elements of lists close up. It is never nil.
func (p *Projection) Apply(item attr.Item) attr.Item { return p.root.attributes(item) }

func (b *branch) attributes(item attr.Item) attr.Item {
	out := make([]attr.Attr, 0, len(b.next))
	for _, f := range b.next {
		if v, ok := item.Get(f.Name); ok && !f.IsIndex {
			if v, ok = f.value(v); ok {
				out = append(out, attr.Attr{Name: f.Name, Value: v})
			}
		}
	}
	return attr.NewItem(out)
}

func (b *branch) value(v attr.Value) (attr.Value, bool) {
	if b.whole {
		return v, true
	}
	switch v.Type() {
	case attr.M:
		if m := b.attributes(v.Map()); len(m) > 0 {
			return attr.Map(m), true
		}
	case attr.L:
		var list []attr.Value
		for _, f := range b.next {
			if e, ok := f.in(v); ok && f.IsIndex {
				if e, ok = f.value(e); ok {
					list = append(list, e)
				}
			}
		}
		return attr.List(list), list != nil
	default:
	}
	return attr.Value{}, false
}
