package router

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of patterns.
const (
	maxCombinations     = 1000 // rules that $or multiplies to
	maxPolicyKeys       = 5    // of an SNS policy, at its top
	maxPolicyComplexity = 150  // of an SNS policy
	// maxGlobComplexity is the greatest measure of the wildcards of a field. AWS does not publish its own; it
	// refuses "*:*:*:*:*:event-bus/*", whose measure is 11.
	maxGlobComplexity = 10
)

// Compile compiles the JSON text of a pattern. What the dialect does not take is refused with an *[InvalidError].
//
// The length of a pattern is not limited here: it is a limit of the API that takes it.
func Compile(pattern []byte, d Dialect) (*Pattern, error) {
	rules, err := parse(pattern, d)
	if err != nil {
		return nil, err
	}
	return newPattern(string(pattern), d, rules), nil
}

func parse(pattern []byte, d Dialect) ([]rule, error) {
	if !utf8.Valid(pattern) {
		return nil, &InvalidError{Dialect: d, Reason: "Invalid UTF-8"}
	}
	c := compiler{reader: reader{src: string(pattern)}, dialect: d, or: true}
	rules, err := c.compile()
	if e, ok := errors.AsType[*syntaxError](err); ok && e.or {
		// a $or that is no list of alternatives is a field like any other
		c = compiler{reader: reader{src: string(pattern)}, dialect: d}
		rules, err = c.compile()
	}
	if err != nil {
		e, ok := errors.AsType[*InvalidError](err)
		if !ok {
			e = &InvalidError{Dialect: d, Reason: err.Error()}
		}
		return nil, e
	}
	return rules, nil
}

const orName = "$or"

// reservedInOr are the names that no field inside $or may have.
var reservedInOr = []string{
	"exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr",
	"=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case", "date-after",
	"date-on-or-after", "date-before", "date-on-or-before", "in-date-range", "ip-address-in-range",
	"ip-address-not-in-range",
}

type compiler struct {
	reader
	dialect Dialect
	or      bool // whether $or is an alternative
	path    []string
	keys    int // at the top
}

// refusal is an error of a pattern that is well-formed, without a position.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

func (c *compiler) compile() (rules []rule, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *syntaxError:
			err = e
		case *refusal:
			err = e
		default:
			panic(e)
		}
	}()
	if c.next() != tokObject {
		c.fail("Filter is not an object")
	}
	if next, _ := c.char(); next == '}' && c.dialect.sns() {
		c.next()
		rules = []rule{nil} // a policy that was taken away: everything passes
	} else {
		rules = c.object(nil, false)
	}
	if c.next() != tokEOF {
		c.fail("Unexpected content after the pattern")
	}
	if err := c.limits(rules); err != nil {
		return nil, err
	}
	for _, r := range rules {
		slices.SortFunc(r, func(a, b condition) int { return strings.Compare(a.path, b.path) })
	}
	return rules, nil
}

func (c *compiler) limits(rules []rule) error {
	if !c.dialect.sns() {
		return nil
	}
	invalid := func(reason string) *InvalidError { return &InvalidError{Dialect: c.dialect, Reason: reason} }
	if c.keys > maxPolicyKeys {
		return invalid("Filter policy can not have more than 5 keys")
	}
	total := 0
	for _, r := range rules {
		n := 1
		for _, cond := range r {
			if c.dialect == SNSAttributes && cond.depth > 1 {
				e := invalid("Filter policy scope MessageAttributes does not support nested filter policy")
				e.policy = true
				return e
			}
			n = min(n*cond.values*cond.depth, maxPolicyComplexity+1)
		}
		if total += n; total > maxPolicyComplexity {
			return invalid("Filter policy is too complex")
		}
	}
	return nil
}

// object reads the members of an object and returns the rules with their conditions added. No rules are one rule
// without conditions.
func (c *compiler) object(rules []rule, inOr bool) []rule {
	empty := true
	for c.next() != tokObjectEnd {
		empty = false
		name := c.field
		if len(c.scopes) == 1 {
			c.keys++
		}
		if c.or && name == orName {
			rules = c.alternatives(rules)
			continue
		}
		if inOr && slices.Contains(reservedInOr, name) {
			c.failOr(name + " is Ruler reserved fieldName which cannot be used inside " + orName + ".")
		}
		c.path = append(c.path, name)
		switch c.next() {
		case tokObject:
			rules = c.object(rules, inOr)
		case tokArray:
			cond := condition{path: joined(c.path), depth: len(c.path)}
			cond.ops, cond.values = c.operators()
			if len(rules) == 0 {
				rules = []rule{nil}
			}
			for i := range rules {
				rules[i] = rules[i].with(cond)
			}
		default:
			c.fail(`"` + name + `" must be an object or an array`)
		}
		c.path = c.path[:len(c.path)-1]
	}
	if empty {
		c.fail("Empty objects are not allowed")
	}
	return rules
}

// joined is the path of a field. AWS puts no dot behind an empty name at the top of a pattern, though it does in
// events.
func joined(names []string) string {
	if len(names) == 2 && names[0] == "" {
		return names[1]
	}
	return strings.Join(names, ".")
}

// with returns the rule with the condition added, or put in the place of one of the same path: the last wins.
func (r rule) with(cond condition) rule {
	for i := range r {
		if r[i].path == cond.path {
			r = slices.Clone(r)
			r[i] = cond
			return r
		}
	}
	return append(r[:len(r):len(r)], cond)
}

// alternatives multiplies the rules with the objects of a $or.
func (c *compiler) alternatives(rules []rule) []rule {
	if c.next() != tokArray {
		c.failOr("It must be an Array followed with " + orName + ".")
	}
	var all []rule
	n := 0
	for ; c.next() != tokArrayEnd; n++ {
		if c.tok != tokObject {
			c.failOr("Only JSON object is allowed in array of " + orName + " relationship.")
		}
		all = append(all, c.object(slices.Clone(rules), true)...)
		if len(all) > maxCombinations {
			if c.dialect.sns() {
				panic(&refusal{"Filter policy is too complex"})
			}
			panic(&refusal{"Rule is too complex - over 1000 rule combinations of " + orName})
		}
	}
	if n < 2 {
		c.failOr("There must have at least 2 Objects in " + orName + " relationship.")
	}
	return all
}

// operators reads the array of a field.
func (c *compiler) operators() (ops []operator, values int) {
	for c.next() != tokArrayEnd {
		values++
		switch c.tok {
		case tokObject:
			ops = append(ops, c.expression())
		case tokString:
			op := operator{kind: opString, text: c.str()}
			if a, ok, _ := parseAddress(op.text); ok {
				op.kind, op.block = opAddress, block{a, a}
			}
			ops = append(ops, op)
		case tokNumber:
			ops = append(ops, operator{kind: opNumber, text: c.text, num: parseNumber([]byte(c.text))})
		case tokTrue, tokFalse, tokNull:
			ops = append(ops, operator{kind: opKeyword, text: c.lexeme()})
		default:
			c.fail("Match value must be String, number, true, false, or null")
		}
	}
	if values == 0 {
		c.fail("Empty arrays are not allowed")
	}
	if complexity(ops, maxGlobComplexity+1) > maxGlobComplexity {
		panic(&refusal{"Rule is too complex - try using fewer wildcard characters or " +
			"fewer repeating character sequences after a wildcard character"})
	}
	return ops, values
}

// failOr refuses a $or for what it is.
func (c *compiler) failOr(reason string) {
	panic(&syntaxError{text: reason + "\n at " + c.location(c.pos), or: true})
}

const oneKey = "Only one key allowed in match expression"

// expression reads an operator, whose brace has been read.
func (c *compiler) expression() operator {
	if c.next() != tokField {
		c.fail("Match expression name not found")
	}
	switch name := c.field; {
	case name == "exactly":
		return c.one(operator{kind: opString, text: c.operand("exact match pattern must be a string")})
	case name == "prefix":
		return c.affix(name, opPrefix, opPrefixFold)
	case name == "suffix":
		return c.affix(name, opSuffix, opSuffixFold)
	case name == "equals-ignore-case":
		text := c.operand("equals-ignore-case match pattern must be a string")
		return c.one(operator{kind: opFold, text: text, fold: []fold{newFold(text)}})
	case name == "numeric":
		return c.numeric()
	case name == "anything-but":
		return c.anythingBut()
	case name == "exists":
		op := operator{kind: opExists}
		switch c.next() {
		case tokTrue:
		case tokFalse:
			op.kind = opAbsent
		default:
			c.fail("exists match pattern must be either true or false.")
		}
		return c.one(op)
	case name == "cidr":
		b, reason := parseBlock(c.operand("prefix match pattern must be a string"))
		if reason != "" {
			panic(&refusal{reason})
		}
		return c.one(operator{kind: opCIDR, block: b})
	case name == "wildcard" && c.dialect == EventBridge:
		return c.one(operator{kind: opWildcard, glob: []glob{c.glob(c.operand("wildcard match pattern must be a string"))}})
	default:
		c.fail("Unrecognized match type " + name)
		return operator{}
	}
}

// operand reads a value that must be a string.
func (c *compiler) operand(otherwise string) string {
	if c.next() != tokString {
		c.fail(otherwise)
	}
	return c.str()
}

// one reads the brace behind an operator.
func (c *compiler) one(op operator) operator {
	if c.next() != tokObjectEnd {
		c.fail(oneKey)
	}
	return op
}

// affix reads the value of prefix or suffix.
func (c *compiler) affix(name string, kind, folded operatorKind) operator {
	switch c.next() {
	case tokString:
		return c.one(operator{kind: kind, text: c.str()})
	case tokObject:
		if c.dialect.sns() {
			break
		}
		if c.next() != tokField {
			c.fail(strings.ToUpper(name[:1]) + name[1:] + " expression name not found")
		}
		if c.field != "equals-ignore-case" {
			c.fail("Unsupported " + name + " pattern: " + c.field)
		}
		text := c.operand("equals-ignore-case match pattern must be a string")
		return c.one(c.one(operator{kind: folded, text: text, fold: []fold{newFold(text)}}))
	default:
	}
	c.fail(name + " match pattern must be a string")
	return operator{}
}

func (c *compiler) glob(text string) glob {
	g, reason := parseGlob(text)
	if reason != "" {
		c.fail(reason)
	}
	return g
}

// anythingBut reads the value of anything-but.
func (c *compiler) anythingBut() operator {
	op := operator{kind: opNotString}
	c.next()
	if c.tok == tokObject {
		c.negated(&op)
	}
	switch c.tok {
	case tokArray, tokString, tokNumber:
	default:
		c.fail("Value of anything-but must be an array or single string/number value.")
	}
	nested := op.kind != opNotString
	if c.tok == tokArray {
		c.repeating(func() {
			for c.next() != tokArrayEnd {
				c.exception(&op, nested)
			}
		})
		if !nested && (len(op.texts) > 0) == (len(op.nums) > 0) {
			c.fail("Inside anything but list, either all values are number or string, mixed type is not supported")
		}
	} else {
		c.exception(&op, nested)
	}
	if len(op.nums) > 0 {
		op.kind = opNotNumber
	}
	for _, text := range op.texts {
		if op.kind == opNotFold {
			op.fold = append(op.fold, newFold(text))
		}
		if op.kind == opNotWildcard {
			op.glob = append(op.glob, c.glob(text))
		}
	}
	closing := 1
	if nested {
		closing = 2
	}
	for range closing {
		if c.next() != tokObjectEnd {
			c.fail("Too many elements in numeric expression")
		}
	}
	return op
}

// negated reads the operator inside anything-but, up to the first token of its value.
func (c *compiler) negated(op *operator) {
	if c.next() != tokField {
		c.fail("Anything-But expression name not found")
	}
	name := c.field
	kinds := map[string]operatorKind{
		"prefix": opNotPrefix, "suffix": opNotSuffix, "equals-ignore-case": opNotFold, "wildcard": opNotWildcard,
	}
	kind, ok := kinds[name]
	if !ok || c.dialect == Lambda || c.dialect.sns() && kind != opNotPrefix {
		c.fail("Unsupported anything-but pattern: " + name)
	}
	op.kind = kind
	if c.next(); c.dialect.sns() && c.tok != tokString {
		c.fail("prefix match pattern must be a string")
	}
}

// exception reads one value that anything-but takes out.
func (c *compiler) exception(op *operator, nested bool) {
	switch {
	case c.tok == tokString:
		text := c.str()
		if text == "" && (op.kind == opNotPrefix || op.kind == opNotSuffix) {
			if c.dialect.sns() {
				c.fail("Null prefix not allowed")
			}
			c.fail("Null prefix/suffix not allowed")
		}
		op.texts = append(op.texts, text)
	case c.tok == tokNumber && !nested:
		op.nums = append(op.nums, c.comparable())
	case op.kind == opNotFold:
		c.fail("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.")
	case op.kind == opNotWildcard:
		c.fail("wildcard match pattern must be a string")
	case nested:
		c.fail("prefix/suffix match pattern must be a string")
	default:
		c.fail("Inside anything but list, start|null|boolean is not supported.")
	}
}

// repeating runs read and refuses with the position twice, as AWS does of values inside lists of anything-but.
func (c *compiler) repeating(read func()) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *syntaxError:
			c.fail(e.text)
		default:
			panic(e)
		}
	}()
	read()
}

// comparable is the value of the number that was read.
func (c *compiler) comparable() float64 {
	n := parseNumber([]byte(c.text))
	if !n.ok {
		c.fail("Cannot compare number : " + c.text)
	}
	return n.value
}

// numeric reads the value of numeric: one comparison, or a lower and an upper bound in this order.
func (c *compiler) numeric() operator {
	if c.next() != tokArray {
		c.fail("Value of numeric must be an array.")
	}
	if c.next() != tokString {
		c.fail("Invalid member in numeric match: " + c.lexeme())
	}
	sign := c.str()
	c.next()
	s := span{low: negInf, high: posInf}
	number := func(what string) float64 {
		if c.tok != tokNumber {
			c.fail("Value of " + what + " must be numeric")
		}
		return c.comparable()
	}
	const tooMany = "Too many elements in numeric expression"
	switch sign {
	case "=":
		s.low = number("equals")
		s.high = s.low
	case "<", "<=":
		s.high, s.openHigh = number(sign), sign == "<"
	case ">", ">=":
		s.low, s.openLow = number(sign), sign == ">"
		if c.next() == tokArrayEnd {
			break
		}
		if c.tok != tokString {
			c.fail("Bad value in numeric range: " + c.lexeme())
		}
		if sign = c.str(); sign != "<" && sign != "<=" {
			c.fail("Bad numeric range operator: " + sign)
		}
		c.next()
		s.high, s.openHigh = number(sign), sign == "<"
		if c.next() != tokArrayEnd {
			c.fail("Too many terms in numeric range expression")
		}
		if s.low >= s.high {
			c.fail("Bottom must be less than top")
		}
	default:
		c.fail("Unrecognized numeric range operator: " + sign)
	}
	if c.tok != tokArrayEnd && c.next() != tokArrayEnd {
		c.fail(tooMany)
	}
	if c.next() != tokObjectEnd {
		c.fail(tooMany)
	}
	return operator{kind: opRange, span: s}
}
