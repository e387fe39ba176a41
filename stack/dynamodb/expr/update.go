package expr

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// Messages of updates that do not fit an item.
const (
	wrongOperand = "An operand in the update expression has an incorrect data type"
	noAttribute  = "The provided expression refers to an attribute that does not exist in the item"
	noPlace      = "The document path provided in the update expression is invalid for update"
)

// Update is a checked update expression. It may be used by several goroutines.
type Update struct {
	actions []action
	// appends lets ADD append to a list, which AttributeUpdates may and UpdateExpression may not.
	appends bool
	// mismatch is the message about an operand that does not fit the attribute's type.
	mismatch string
}

// ParseUpdate reads an UpdateExpression.
func ParseUpdate(text string, s *Scope) (*Update, error) {
	return parse("UpdateExpression", text, func(p *parser) *Update {
		sections := p.update()
		u := &Update{mismatch: wrongOperand}
		operators := 0
		for i, x := range sections {
			for _, a := range x.actions {
				checkWords(a.path, inUpdate, &operators)
				if a.value != nil {
					checkWords(a.value, inUpdate, &operators)
				}
				operators++
			}
			if slices.ContainsFunc(sections[:i], func(y section) bool { return y.kind == x.kind }) {
				panic(refusal(`The "` + x.name + `" section can only be used once in an update expression;`))
			}
			u.actions = append(u.actions, x.actions...)
		}
		for _, a := range u.actions {
			s.resolve(a.path.path)
		}
		checkOverlap(u.Paths())
		for _, a := range u.actions {
			if a.value == nil {
				continue
			}
			checkOperands(a.value, s)
			switch t := a.value.typeOf(); {
			case a.section == tokenAdd && t != attr.N && !t.IsSet():
				panic(refusal("Incorrect operand type for operator or function; operator: ADD, operand type: " + longName(t) +
					", typeSet: ALLOWED_FOR_ADD_OPERAND"))
			case a.section == tokenDelete && !t.IsSet():
				panic(refusal("Incorrect operand type for operator or function; operator: DELETE, operand type: " + longName(t) +
					", typeSet: ALLOWED_FOR_DELETE_OPERAND"))
			}
		}
		return u
	})
}

// longName is what messages about ADD and DELETE call a type that is neither a set nor allowed.
func longName(t attr.Type) string {
	switch t {
	case attr.S:
		return "STRING"
	case attr.N:
		return "NUMBER"
	case attr.B:
		return "BINARY"
	case attr.BOOL:
		return "BOOLEAN"
	case attr.L:
		return "LIST"
	case attr.M:
		return "MAP"
	default:
		return t.String()
	}
}

// Paths are what the update changes.
func (u *Update) Paths() []Path {
	paths := make([]Path, len(u.actions))
	for i, a := range u.actions {
		paths[i] = a.path.path
	}
	return paths
}

// OnlyRemoves reports whether the update does nothing but remove: such a one makes no item that is not there.
func (u *Update) OnlyRemoves() bool {
	return !slices.ContainsFunc(u.actions, func(a action) bool { return a.section == tokenSet || a.section == tokenAdd })
}

// Attributes calls f for each path that the update reads or changes.
func (u *Update) Attributes(f func(Path)) {
	for _, a := range u.actions {
		f(a.path.path)
		if a.value != nil {
			a.value.paths(f)
		}
	}
}

// Types calls f for each attribute that the update sets as a whole to a value of a type that is known beforehand.
func (u *Update) Types(f func(attribute string, t attr.Type)) {
	for _, a := range u.actions {
		if len(a.path.path) == 1 && a.value != nil && a.section != tokenDelete {
			if t := a.value.typeOf(); t != attr.Invalid {
				f(a.path.path[0].Name, t)
			}
		}
	}
}

// write is a change that is worked out: v is the new value, zero to remove the old.
type write struct {
	path Path
	v    attr.Value
}

// Apply returns the item as the update leaves it. Every value is worked out from the item as it was; indexes count
// its elements. The error is an *Error.
func (u *Update) Apply(item attr.Item) (attr.Item, error) {
	writes := make([]write, 0, len(u.actions))
	for _, a := range u.actions {
		if !a.path.path.fits(item) {
			return nil, &Error{Message: noPlace}
		}
		w, ok, err := u.work(a, item)
		if err != nil {
			return nil, err
		}
		if ok {
			writes = append(writes, w)
		}
	}
	return apply(item, writes), nil
}

// fits reports whether what a path ends in exists in the item and is of the kind that its last step needs.
func (p Path) fits(item attr.Item) bool {
	if len(p) == 1 {
		return true
	}
	parent := p[:len(p)-1].in(item)
	if p[len(p)-1].IsIndex {
		return parent.Type() == attr.L
	}
	return parent.Type() == attr.M
}

func (u *Update) work(a action, item attr.Item) (w write, ok bool, err error) {
	w.path = a.path.path
	if a.section == tokenRemove {
		return w, true, nil
	}
	if a.section == tokenSet {
		w.v, err = a.value.result(item)
		return w, true, err
	}
	old, v := w.path.in(item), a.value.value
	if old.IsZero() {
		w.v = v
		return w, a.section == tokenAdd, nil
	}
	if old.Type() != v.Type() {
		return w, false, &Error{Message: u.mismatch}
	}
	switch {
	case a.section == tokenDelete:
		if w.v = old.Minus(v); len(w.v.List()) == 0 {
			w.v = attr.Value{}
		}
	case v.Type() == attr.N:
		sum, problem := old.Add(v, false)
		if problem != "" {
			return w, false, &Error{Message: problem}
		}
		w.v = sum
	case v.Type() == attr.L && u.appends:
		w.v = attr.List(slices.Concat(old.List(), v.List()))
	default:
		w.v = old.Union(v)
	}
	return w, true, nil
}

// result is the value that a SET assigns.
func (n *node) result(item attr.Item) (attr.Value, error) {
	switch n.kind {
	case nodeSum:
		a, b, err := n.operandsOf(item, attr.N)
		if err != nil {
			return attr.Value{}, err
		}
		sum, problem := a.Add(b, n.op == "-")
		if problem != "" {
			return attr.Value{}, &Error{Message: problem}
		}
		return sum, nil
	case nodeCall:
		if n.op == "if_not_exists" {
			if v := n.args[0].path.in(item); !v.IsZero() {
				return v, nil
			}
			return n.args[1].result(item)
		}
		a, b, err := n.operandsOf(item, attr.L)
		if err != nil {
			return attr.Value{}, err
		}
		return attr.List(slices.Concat(a.List(), b.List())), nil
	default:
		v := n.eval(item)
		if v.IsZero() {
			return v, &Error{Message: noAttribute}
		}
		return v, nil
	}
}

func (n *node) operandsOf(item attr.Item, t attr.Type) (a, b attr.Value, err error) {
	if a, err = n.args[0].result(item); err != nil {
		return a, b, err
	}
	if b, err = n.args[1].result(item); err != nil {
		return a, b, err
	}
	if a.Type() != t || b.Type() != t {
		err = &Error{Message: wrongOperand}
	}
	return a, b, err
}

// apply makes the changes, which do not overlap.
func apply(item attr.Item, writes []write) attr.Item {
	// Changes below one attribute are made together, so that indexes into one list all count the old elements.
	nested := map[string][]write{}
	for _, w := range writes {
		switch {
		case len(w.path) > 1:
			nested[w.path[0].Name] = append(nested[w.path[0].Name], write{path: w.path[1:], v: w.v})
		case w.v.IsZero():
			item = item.Without(w.path[0].Name)
		default:
			item = item.With(w.path[0].Name, w.v)
		}
	}
	for name, below := range nested {
		v, _ := item.Get(name)
		item = item.With(name, applyBelow(v, below))
	}
	return item
}

func applyBelow(v attr.Value, writes []write) attr.Value {
	if v.Type() == attr.M {
		return attr.Map(apply(v.Map(), writes))
	}
	old := v.List()
	list := slices.Clone(old)
	byIndex := map[int][]write{}
	var beyond []write
	for _, w := range writes {
		switch i := w.path[0].Index; {
		case len(w.path) > 1:
			byIndex[i] = append(byIndex[i], write{path: w.path[1:], v: w.v})
		case i < len(old):
			list[i] = w.v // zero for now if it is removed
		case !w.v.IsZero():
			beyond = append(beyond, w)
		}
	}
	for i, below := range byIndex {
		list[i] = applyBelow(list[i], below)
	}
	list = slices.DeleteFunc(list, attr.Value.IsZero)
	slices.SortFunc(beyond, func(a, b write) int { return cmp.Compare(a.path[0].Index, b.path[0].Index) })
	for _, w := range beyond {
		list = append(list, w.v)
	}
	return attr.List(list)
}
