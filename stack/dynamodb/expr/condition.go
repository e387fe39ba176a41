// Package expr has DynamoDB's expressions: conditions and filters, key conditions, projections and updates, with the
// checks and messages that DynamoDB has for them
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html). It also has what the parameters
// from before expressions (Expected, AttributeUpdates, KeyConditions…) mean, in the same terms.
package expr

import (
	"slices"
	"strconv"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// Condition is a checked condition. It may be used by several goroutines.
type Condition struct{ root *node }

// ParseCondition reads a ConditionExpression or a FilterExpression; parameter is which, for messages.
func ParseCondition(parameter, text string, s *Scope) (*Condition, error) {
	return parse(parameter, text, func(p *parser) *Condition { return &Condition{root: p.checkedCondition(s)} })
}

func (p *parser) checkedCondition(s *Scope) *node {
	n := p.condition()
	p.expect(tokenEnd)
	checkWords(n, asCondition, new(int))
	checkOperands(n, s)
	return n
}

// Match reports whether an item fulfils the condition. An item that does not exist is nil.
func (c *Condition) Match(item attr.Item) bool { return c.root.holds(item) }

// Attributes calls f for each path in the condition.
func (c *Condition) Attributes(f func(Path)) { c.root.paths(f) }

func (n *node) paths(f func(Path)) {
	if n.kind == nodePath {
		f(n.path)
	}
	for _, a := range n.args {
		a.paths(f)
	}
}

func (n *node) holds(item attr.Item) bool {
	switch n.kind {
	case nodeOr:
		return slices.ContainsFunc(n.args, func(a *node) bool { return a.holds(item) })
	case nodeAnd:
		return !slices.ContainsFunc(n.args, func(a *node) bool { return !a.holds(item) })
	case nodeNot:
		return !n.args[0].holds(item)
	case nodeCompare:
		return compare(n.op, n.args[0].eval(item), n.args[1].eval(item))
	case nodeBetween:
		v := n.args[0].eval(item)
		return compare(">=", v, n.args[1].eval(item)) && compare("<=", v, n.args[2].eval(item))
	case nodeIn:
		v := n.args[0].eval(item)
		return slices.ContainsFunc(n.args[1:], func(a *node) bool { return compare("=", v, a.eval(item)) })
	case nodeCall:
		return n.test(item)
	case nodeSum, nodePath, nodeValue:
	}
	return false
}

// compare compares two operands. One that is missing is equal to nothing, and before and after nothing.
func compare(op string, v, w attr.Value) bool {
	switch op {
	case "=":
		return !v.IsZero() && v.Equal(w)
	case "<>":
		return v.IsZero() || !v.Equal(w)
	}
	order, ok := v.Compare(w)
	switch op {
	case "<":
		return ok && order < 0
	case "<=":
		return ok && order <= 0
	case ">":
		return ok && order > 0
	default:
		return ok && order >= 0
	}
}

func (n *node) test(item attr.Item) bool {
	v := n.args[0].eval(item)
	switch n.op {
	case "attribute_exists":
		return !v.IsZero()
	case "attribute_not_exists":
		return v.IsZero()
	case "attribute_type":
		return !v.IsZero() && v.Type().String() == n.args[1].eval(item).Text()
	case "begins_with":
		return v.HasPrefix(n.args[1].eval(item))
	default: // contains
		return v.Contains(n.args[1].eval(item))
	}
}

// eval is the value of an operand of a condition, the zero Value if it is missing.
func (n *node) eval(item attr.Item) attr.Value {
	switch n.kind {
	case nodeValue:
		return n.value
	case nodePath:
		return n.path.in(item)
	case nodeCall: // size
		if length, ok := n.args[0].eval(item).Length(); ok {
			v, _ := attr.Number(strconv.Itoa(length))
			return v
		}
	default:
	}
	return attr.Value{}
}

// in is what a path leads to in an item, the zero Value if nothing.
func (p Path) in(item attr.Item) attr.Value {
	v, ok := item.Get(p[0].Name)
	for _, s := range p[1:] {
		if !ok {
			break
		}
		v, ok = s.in(v)
	}
	if !ok {
		return attr.Value{}
	}
	return v
}

func (s Step) in(v attr.Value) (attr.Value, bool) {
	if !s.IsIndex {
		return v.Map().Get(s.Name)
	}
	if l := v.List(); v.Type() == attr.L && s.Index < len(l) {
		return l[s.Index], true
	}
	return attr.Value{}, false
}
