package expr

import "github.com/millrace/millrace/stack/dynamodb/attr"

// Operator is how a condition compares an attribute with values, as the parameters from before expressions name it: "EQ".
type Operator string

// The operators of key conditions are the first seven.
const (
	EQ          Operator = "EQ"
	LT          Operator = "LT"
	LE          Operator = "LE"
	GT          Operator = "GT"
	GE          Operator = "GE"
	Between     Operator = "BETWEEN"
	BeginsWith  Operator = "BEGINS_WITH"
	NE          Operator = "NE"
	In          Operator = "IN"
	Contains    Operator = "CONTAINS"
	NotContains Operator = "NOT_CONTAINS"
	Null        Operator = "NULL"
	NotNull     Operator = "NOT_NULL"
)

// Comparison compares one attribute with values.
type Comparison struct {
	Attribute string
	Operator  Operator
	Values    []attr.Value
}

// ParseKeyCondition reads a KeyConditionExpression: a list of comparisons that all must hold, of different attributes.
func ParseKeyCondition(text string, s *Scope) ([]Comparison, error) {
	root, err := parse("KeyConditionExpression", text, func(p *parser) *node { return p.checkedCondition(s) })
	if err != nil {
		return nil, err
	}
	return root.comparisons(nil)
}

func (n *node) comparisons(list []Comparison) ([]Comparison, error) {
	switch n.kind {
	case nodeAnd:
		list, err := n.args[0].comparisons(list)
		if err != nil {
			return nil, err
		}
		return n.args[1].comparisons(list)
	case nodeOr:
		return nil, errorf("Invalid operator used in KeyConditionExpression: OR")
	case nodeNot:
		return nil, errorf("Invalid operator used in KeyConditionExpression: NOT")
	default:
	}
	if n.kind == nodeIn || n.op == "<>" || n.kind == nodeCall && n.op != "begins_with" {
		return nil, errorf("Invalid operator used in KeyConditionExpression: %s", n.op)
	}
	for _, a := range n.args {
		if a.kind == nodeCall {
			return nil, errorf("KeyConditionExpressions cannot contain nested operations")
		}
	}
	c, err := n.comparison()
	if err != nil {
		return nil, err
	}
	for _, other := range list {
		if other.Attribute == c.Attribute {
			return nil, errorf("KeyConditionExpressions must only contain one condition per key")
		}
	}
	return append(list, c), nil
}

func (n *node) comparison() (Comparison, error) {
	c := Comparison{Operator: comparators[n.op]}
	if n.kind != nodeCompare && n.args[0].kind != nodePath {
		return c, errorf("Invalid condition in KeyConditionExpression: %s operator must have the key attribute as its first operand", n.op)
	}
	for i, a := range n.args {
		if a.kind == nodeValue {
			c.Values = append(c.Values, a.value)
			continue
		}
		switch {
		case c.Attribute != "":
			return c, errorf("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
		case len(a.path) > 1:
			return c, errorf("KeyConditionExpressions cannot have conditions on nested attributes")
		}
		c.Attribute = a.path[0].Name
		if i == 1 {
			c.Operator = mirrored[c.Operator]
		}
	}
	if c.Attribute == "" {
		return c, errorf("Invalid condition in KeyConditionExpression: No key attribute specified")
	}
	return c, nil
}

var comparators = map[string]Operator{
	"=": EQ, "<": LT, "<=": LE, ">": GT, ">=": GE, "BETWEEN": Between, "begins_with": BeginsWith,
}

// mirrored is the operator when its operands change places.
var mirrored = map[Operator]Operator{EQ: EQ, LT: GT, LE: GE, GT: LT, GE: LE}

// NewCondition joins comparisons as Expected, QueryFilter and ScanFilter do: by AND, or else by OR.
func NewCondition(list []Comparison, or bool) *Condition {
	join := nodeAnd
	if or {
		join = nodeOr
	}
	if len(list) == 1 {
		return &Condition{root: list[0].node()}
	}
	root := &node{kind: join}
	for _, c := range list {
		root.args = append(root.args, c.node())
	}
	return &Condition{root: root}
}

func (c Comparison) node() *node {
	args := []*node{{kind: nodePath, path: Path{{Name: c.Attribute}}}}
	for _, v := range c.Values {
		args = append(args, &node{kind: nodeValue, value: v})
	}
	call := func(function string) *node { return &node{kind: nodeCall, op: function, args: args} }
	switch c.Operator {
	case EQ:
		return &node{kind: nodeCompare, op: "=", args: args}
	case NE:
		return &node{kind: nodeCompare, op: "<>", args: args}
	case LT:
		return &node{kind: nodeCompare, op: "<", args: args}
	case LE:
		return &node{kind: nodeCompare, op: "<=", args: args}
	case GT:
		return &node{kind: nodeCompare, op: ">", args: args}
	case GE:
		return &node{kind: nodeCompare, op: ">=", args: args}
	case Between:
		return &node{kind: nodeBetween, args: args}
	case In:
		return &node{kind: nodeIn, args: args}
	case BeginsWith:
		return call("begins_with")
	case Contains:
		return call("contains")
	case NotContains: // a missing attribute neither contains nor lacks anything
		return &node{kind: nodeAnd, args: []*node{call("attribute_exists"), {kind: nodeNot, args: []*node{call("contains")}}}}
	case Null:
		return call("attribute_not_exists")
	default:
		return call("attribute_exists")
	}
}

// AttributeUpdate is one of the AttributeUpdates of UpdateItem.
type AttributeUpdate struct {
	Attribute string
	Action    string     // "PUT", "ADD" or "DELETE"
	Value     attr.Value // zero if it has none
}

// NewUpdate is the update that AttributeUpdates describe.
func NewUpdate(list []AttributeUpdate) *Update {
	u := &Update{appends: true, mismatch: "Type mismatch for attribute to update"}
	for _, x := range list {
		a := action{section: tokenSet, path: &node{kind: nodePath, path: Path{{Name: x.Attribute}}}}
		switch {
		case x.Action == "ADD":
			a.section = tokenAdd
		case x.Action == "DELETE" && x.Value.IsZero():
			a.section = tokenRemove
		case x.Action == "DELETE":
			a.section = tokenDelete
		}
		if a.section != tokenRemove {
			a.value = &node{kind: nodeValue, value: x.Value}
		}
		u.actions = append(u.actions, a)
	}
	return u
}
