package expr

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// function is what is known of one of the language's functions.
type function struct {
	operands  int
	update    bool // it belongs in update expressions
	condition bool // it is a condition, not an operand
}

func functionNamed(name string) (f function, ok bool) {
	switch name {
	case "attribute_exists", "attribute_not_exists":
		return function{operands: 1, condition: true}, true
	case "attribute_type", "begins_with", "contains":
		return function{operands: 2, condition: true}, true
	case "size":
		return function{operands: 1}, true
	case "if_not_exists", "list_append":
		return function{operands: 2, update: true}, true
	}
	return function{}, false
}

// place is where in an expression a node stands.
type place uint8

const (
	asCondition place = iota
	asOperand         // in a condition
	inUpdate
	inAppend // an operand of a function of an update
)

// checkWords is the first pass over an expression, in the order it is written: reserved words and the names, places and
// numbers of operands of functions. It counts the operators.
func checkWords(n *node, where place, operators *int) {
	inner := where
	switch n.kind {
	case nodePath:
		for _, s := range n.path {
			if !s.IsIndex && isReserved(s.Name) {
				panic(refusal("Attribute name is a reserved keyword; reserved keyword: " + s.Name))
			}
		}
		return
	case nodeValue:
		return
	case nodeCall:
		checkFunction(n, where)
		switch where {
		case asCondition:
			inner = asOperand
		case inUpdate:
			inner = inAppend
		case asOperand, inAppend:
		}
	case nodeCompare, nodeBetween, nodeIn:
		inner = asOperand
	case nodeOr, nodeAnd, nodeNot, nodeSum:
	}
	*operators++
	if *operators > maxOperators {
		panic(refusal(fmt.Sprintf("The expression contains too many operators; operator count: %d", *operators)))
	}
	for _, a := range n.args {
		checkWords(a, inner, operators)
	}
}

func checkFunction(n *node, where place) {
	f, ok := functionNamed(n.op)
	switch {
	case !ok:
		panic(refusal("Invalid function name; function: " + n.op))
	case f.update && (where == asCondition || where == asOperand):
		panic(refusal("The function is not allowed in a condition expression; function: " + n.op))
	case !f.update && (where == inUpdate || where == inAppend):
		panic(refusal("The function is not allowed in an update expression; function: " + n.op))
	case f.condition && where == asOperand, !f.condition && where == asCondition, n.op == "list_append" && where == inAppend:
		panic(refusal("The function is not allowed to be used this way in an expression; function: " + n.op))
	case f.operands != len(n.args):
		panic(refusal(fmt.Sprintf("Incorrect number of operands for operator or function; "+
			"operator or function: %s, number of operands: %d", n.op, len(n.args))))
	}
}

// checkOperands is the second pass: it puts names and values in the places of placeholders, and checks the types of
// values that are known before there is an item.
func checkOperands(n *node, s *Scope) {
	for _, a := range n.args {
		checkOperands(a, s)
	}
	switch n.kind {
	case nodePath:
		s.resolve(n.path)
	case nodeValue:
		n.value = s.lookUp(n.name)
	case nodeCompare:
		checkDistinct(n)
		if n.op != "=" && n.op != "<>" {
			checkOrdered(n)
		}
	case nodeBetween:
		checkDistinct(n)
		checkOrdered(n)
		checkBounds(n.args[1], n.args[2])
	case nodeIn:
		if many := len(n.args) - 1; many > maxOperands {
			panic(refusal(fmt.Sprintf("The IN operator is provided with too many operands; number of operands: %d", many)))
		}
		checkDistinct(n)
	case nodeCall:
		checkCall(n)
	case nodeSum:
		for _, a := range n.args {
			if t := a.typeOf(); t != attr.Invalid && t != attr.N {
				wrongType(n.op, t)
			}
		}
	case nodeOr, nodeAnd, nodeNot:
	}
}

func checkCall(n *node) {
	switch n.op {
	case "attribute_exists", "attribute_not_exists", "if_not_exists":
		if n.args[0].kind != nodePath {
			panic(refusal("Operator or function requires a document path; operator or function: " + n.op))
		}
	case "begins_with":
		checkDistinct(n)
		for _, a := range n.args {
			if t := a.typeOf(); t != attr.Invalid && t != attr.S && t != attr.B {
				wrongType(n.op, t)
			}
		}
	case "contains":
		checkDistinct(n)
	case "attribute_type":
		switch t := n.args[1].typeOf(); t {
		case attr.S:
		case attr.Invalid:
			panic(refusal("Incorrect operand type for operator or function; " +
				"operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}"))
		default:
			wrongType(n.op, t)
		}
		if name := n.args[1].value.Text(); n.args[1].kind == nodeValue {
			if _, ok := attr.ParseType(name); !ok {
				panic(refusal("Invalid attribute type name found; type: " + name + ", valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"))
			}
		}
	case "size":
		if t := n.args[0].typeOf(); t == attr.N || t == attr.BOOL || t == attr.NULL {
			wrongType(n.op, t)
		}
	case "list_append":
		for _, a := range n.args {
			if t := a.typeOf(); t != attr.Invalid && t != attr.L {
				wrongType(n.op, t)
			}
		}
	}
}

func wrongType(operator string, t attr.Type) {
	panic(refusal("Incorrect operand type for operator or function; operator or function: " + operator + ", operand type: " + t.String()))
}

// typeOf is the type of an operand that has the same type for every item, else Invalid.
func (n *node) typeOf() attr.Type {
	switch {
	case n.kind == nodeValue:
		return n.value.Type()
	case n.kind == nodeSum, n.kind == nodeCall && n.op == "size":
		return attr.N
	case n.kind == nodeCall && n.op == "list_append":
		return attr.L
	default:
		return attr.Invalid
	}
}

func checkDistinct(n *node) {
	first := n.args[0]
	if first.kind != nodePath {
		return
	}
	for _, a := range n.args[1:] {
		if a.kind == nodePath && slices.Equal(a.path, first.path) {
			panic(refusal("The first operand must be distinct from the remaining operands for this operator or function; operator: " +
				n.op + ", first operand: " + first.path.String()))
		}
	}
}

func checkOrdered(n *node) {
	for _, a := range n.args {
		if t := a.typeOf(); t > attr.B {
			wrongType(n.op, t)
		}
	}
}

func checkBounds(low, high *node) {
	if low.kind != nodeValue || high.kind != nodeValue {
		return
	}
	var rule string
	if order, ok := low.value.Compare(high.value); !ok {
		rule = "same data type for lower and upper bounds"
	} else if order > 0 {
		rule = "upper bound to be greater than or equal to lower bound"
	} else {
		return
	}
	panic(refusal("The BETWEEN operator requires " + rule + "; lower bound operand: " + show(low.value) +
		", upper bound operand: " + show(high.value)))
}

func show(v attr.Value) string {
	text := v.Text()
	if v.Type() == attr.B {
		text = fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", len(text), len(text))
	}
	return "AttributeValue: {" + v.Type().String() + ":" + text + "}"
}

// checkOverlap demands that no path is part of another, and that none has an index where another has a name.
func checkOverlap(paths []Path) {
	for i, b := range paths {
		for _, a := range paths[:i] {
			n := 0
			for n < len(a) && n < len(b) && a[n] == b[n] {
				n++
			}
			var how string
			switch {
			case n == len(a) || n == len(b):
				how = "overlap"
			case a[n].IsIndex != b[n].IsIndex:
				how = "conflict"
			default:
				continue
			}
			panic(refusal("Two document paths " + how + " with each other; must remove or rewrite one of these paths; path one: " +
				a.String() + ", path two: " + b.String()))
		}
	}
}
