package expr

import (
	"strconv"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// nodeKind is what a node of a parsed expression is.
type nodeKind uint8

const (
	nodeOr nodeKind = iota
	nodeAnd
	nodeNot
	nodeCompare // op is the comparator
	nodeBetween // args are the operand and its two bounds
	nodeIn      // args are the operand and the list
	nodeCall    // op is the function
	nodeSum     // op is "+" or "-"
	nodePath
	nodeValue
)

type node struct {
	kind  nodeKind
	op    string
	args  []*node
	paren bool // it stood in parentheses

	path  Path       // of nodePath; aliases are resolved when the expression is checked
	name  string     // of nodeValue: ":value"
	value attr.Value // of nodeValue, once the expression is checked
}

// Step is one step of a document path: into a map by name, or into a list by index.
type Step struct {
	Name    string
	Index   int
	IsIndex bool
}

// Path is a document path such as a.b[3].
type Path []Step

// String is the path as DynamoDB shows it in messages.
func (p Path) String() string {
	b := []byte{'['}
	for i, s := range p {
		if i > 0 {
			b = append(b, ", "...)
		}
		if s.IsIndex {
			b = strconv.AppendInt(append(b, '['), int64(s.Index), 10)
			b = append(b, ']')
		} else {
			b = append(b, s.Name...)
		}
	}
	return string(append(b, ']'))
}

// refusal is thrown by the parser and the checks, and caught by what this package exports. Expressions are parsed by
// recursive descent, where handing an error up through every level would hide the grammar.
type refusal string

type parser struct {
	text   string
	tokens []token
	at     int

	closing []int // by the place of an opening parenthesis, that of the one that closes it; nil until it is needed
}

func newParser(text string) *parser { return &parser{text: text, tokens: lex(text)} }

func (p *parser) peek() tokenKind { return p.tokens[p.at].kind }

func (p *parser) next() string {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return p.text[t.start:t.end]
}

// syntax is thrown where reading cannot go on.
type syntax struct{ at int }

func (p *parser) fail() { panic(syntax{p.at}) }

func (p *parser) expect(k tokenKind) string {
	if p.peek() != k {
		p.fail()
	}
	return p.next()
}

// skip reads a token if it is next.
func (p *parser) skip(k tokenKind) bool {
	if p.peek() != k {
		return false
	}
	p.next()
	return true
}

func (p *parser) condition() *node {
	left := p.conjunction()
	for p.skip(tokenOr) {
		left = &node{kind: nodeOr, args: []*node{left, p.conjunction()}}
	}
	return left
}

func (p *parser) conjunction() *node {
	left := p.negation()
	for p.skip(tokenAnd) {
		left = &node{kind: nodeAnd, args: []*node{left, p.negation()}}
	}
	return left
}

func (p *parser) negation() *node {
	if p.skip(tokenNot) {
		return &node{kind: nodeNot, args: []*node{p.negation()}}
	}
	// A parenthesis opens a condition, or the first operand of a comparison.
	if p.peek() != tokenOpen || isOperator(p.afterClosing()) {
		return p.comparison()
	}
	p.next()
	return p.parenthesis(p.condition())
}

// isOperator reports whether what stands before a token is an operand.
func isOperator(k tokenKind) bool {
	switch k {
	case tokenEqual, tokenNotEqual, tokenLess, tokenLessEqual, tokenGreater, tokenGreaterEqual, tokenBetween, tokenIn,
		tokenDot, tokenOpenIndex:
		return true
	default:
		return false
	}
}

// afterClosing is the token after the parenthesis that closes the one that is next, tokenEnd if none does.
func (p *parser) afterClosing() tokenKind {
	if p.closing == nil {
		p.closing = make([]int, len(p.tokens))
		var open []int
		for i, t := range p.tokens {
			switch {
			case t.kind == tokenOpen:
				open = append(open, i)
			case t.kind == tokenClose && len(open) > 0:
				p.closing[open[len(open)-1]] = i
				open = open[:len(open)-1]
			}
		}
	}
	i := p.closing[p.at]
	if i == 0 {
		return tokenEnd
	}
	return p.tokens[i+1].kind
}

// parenthesis closes a parenthesis around n.
func (p *parser) parenthesis(n *node) *node {
	p.expect(tokenClose)
	if n.paren {
		panic(refusal("The expression has redundant parentheses;"))
	}
	n.paren = true
	return n
}

func (p *parser) comparison() *node {
	left := p.operand()
	switch k := p.peek(); k {
	case tokenEqual, tokenNotEqual, tokenLess, tokenLessEqual, tokenGreater, tokenGreaterEqual:
		op := p.next()
		return &node{kind: nodeCompare, op: op, args: []*node{left, p.operand()}}
	case tokenBetween:
		p.next()
		low := p.operand()
		p.expect(tokenAnd)
		return &node{kind: nodeBetween, op: "BETWEEN", args: []*node{left, low, p.operand()}}
	case tokenIn:
		p.next()
		p.expect(tokenOpen)
		return &node{kind: nodeIn, op: "IN", args: append([]*node{left}, p.operands()...)}
	default:
		if left.kind != nodeCall || left.paren {
			p.fail()
		}
		return left
	}
}

// operands reads a list up to and with its closing parenthesis.
func (p *parser) operands() []*node {
	list := []*node{p.operand()}
	for p.skip(tokenComma) {
		list = append(list, p.operand())
	}
	p.expect(tokenClose)
	return list
}

func (p *parser) operand() *node {
	switch p.peek() {
	case tokenValue:
		return p.value()
	case tokenOpen:
		p.next()
		n := p.parenthesis(p.operand())
		if n.kind == nodePath {
			n.path = p.steps(n.path)
		}
		return n
	case tokenName:
		if p.tokens[p.at+1].kind == tokenOpen {
			n := &node{kind: nodeCall, op: p.next()}
			p.next()
			n.args = p.operands()
			return n
		}
		return p.document()
	case tokenAlias:
		return p.document()
	default:
		p.fail()
		return nil
	}
}

func (p *parser) value() *node {
	return &node{kind: nodeValue, name: p.expect(tokenValue)}
}

// document reads a document path.
func (p *parser) document() *node {
	return &node{kind: nodePath, path: p.steps(append(make(Path, 0, 1), Step{Name: p.name()}))}
}

func (p *parser) name() string {
	if p.peek() == tokenAlias {
		return p.next()
	}
	return p.expect(tokenName)
}

func (p *parser) steps(path Path) Path {
	for {
		switch p.peek() {
		case tokenDot:
			p.next()
			path = append(path, Step{Name: p.name()})
		case tokenOpenIndex:
			p.next()
			text := p.expect(tokenIndex)
			p.expect(tokenCloseIndex)
			i, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				panic(refusal("List index is not within the allowable range; index: [" + text + "]"))
			}
			path = append(path, Step{Index: int(i), IsIndex: true})
		default:
			return path
		}
	}
}

// action is one change that an update expression makes.
type action struct {
	section tokenKind // tokenSet, tokenRemove, tokenAdd or tokenDelete
	path    *node
	value   *node // nil for REMOVE
}

// section is one of an update expression's lists of actions.
type section struct {
	kind    tokenKind
	name    string
	actions []action
}

func (p *parser) update() []section {
	var list []section
	for {
		s := section{kind: p.peek()}
		switch s.kind {
		case tokenSet:
			s.name = "SET"
		case tokenRemove:
			s.name = "REMOVE"
		case tokenAdd:
			s.name = "ADD"
		case tokenDelete:
			s.name = "DELETE"
		default:
			p.fail()
		}
		p.next()
		s.actions = append(s.actions, p.action(s.kind))
		for p.skip(tokenComma) {
			s.actions = append(s.actions, p.action(s.kind))
		}
		list = append(list, s)
		if p.peek() == tokenEnd {
			return list
		}
	}
}

func (p *parser) action(kind tokenKind) action {
	a := action{section: kind, path: p.document()}
	switch kind {
	case tokenSet:
		p.expect(tokenEqual)
		a.value = p.setValue()
	case tokenAdd, tokenDelete:
		a.value = p.value()
	default:
	}
	return a
}

func (p *parser) setValue() *node {
	if p.peek() == tokenOpen { // around a sum, or around its first operand
		if k := p.afterClosing(); k != tokenPlus && k != tokenMinus && k != tokenDot && k != tokenOpenIndex {
			p.next()
			return p.parenthesis(p.sum())
		}
	}
	return p.sum()
}

func (p *parser) sum() *node {
	left := p.operand()
	if k := p.peek(); k != tokenPlus && k != tokenMinus {
		return left
	}
	op := p.next()
	return &node{kind: nodeSum, op: op, args: []*node{left, p.operand()}}
}

func (p *parser) projection() []*node {
	list := []*node{p.document()}
	for p.skip(tokenComma) {
		list = append(list, p.document())
	}
	return list
}
