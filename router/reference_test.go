package router

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// field is a scalar of a document.
type refField struct {
	path    string
	value   any // string, json.Number, bool, nil
	members map[int]int
}

// refFields lists the scalars of a document, with the element of each array that they are in. Only elements that
// are objects or arrays count: the values of a list are alternatives.
func refFields(doc []byte) (fields []refField, object, ok bool) {
	if !json.Valid(doc) || !utf8.Valid(doc) {
		return nil, false, false
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	arrays := 0
	var walk func(path []string, members map[int]int)
	walk = func(path []string, members map[int]int) {
		token, err := dec.Token()
		if err != nil {
			panic(err)
		}
		switch token {
		case json.Delim('{'):
			for dec.More() {
				name, err := dec.Token()
				if err != nil {
					panic(err)
				}
				walk(append(path, name.(string)), members)
			}
			if _, err := dec.Token(); err != nil {
				panic(err)
			}
		case json.Delim('['):
			id := arrays
			arrays++
			for i := 0; dec.More(); i++ {
				rest := bytes.TrimLeft(doc[dec.InputOffset():], " \t\r\n,")
				inner := members
				if rest[0] == '{' || rest[0] == '[' {
					inner = map[int]int{id: i}
					for a, j := range members {
						inner[a] = j
					}
				}
				walk(path, inner)
			}
			if _, err := dec.Token(); err != nil {
				panic(err)
			}
		default:
			fields = append(fields, refField{strings.Join(path, "."), token, members})
		}
	}
	object = bytes.TrimLeft(doc, " \t\r\n")[0] == '{'
	if object {
		walk(nil, nil)
	}
	return fields, object, true
}

func refMatch(rules []rule, doc []byte) (match, ok bool) {
	fields, object, ok := refFields(doc)
	if !ok || !object {
		return false, ok
	}
	for _, r := range rules {
		if refRule(r, fields, nil) {
			return true, true
		}
	}
	return false, true
}

// refRule tries the values of the first condition's field one after the other, and the rest of the rule with each.
// An absent field is one that has no value in the elements chosen so far.
func refRule(r rule, fields []refField, members map[int]int) bool {
	if len(r) == 0 {
		return true
	}
	absent := true
	for _, f := range fields {
		if f.path != r[0].path {
			continue
		}
		joined := map[int]int{}
		for a, i := range members {
			joined[a] = i
		}
		consistent := true
		for a, i := range f.members {
			if j, ok := joined[a]; ok && j != i {
				consistent = false
			}
			joined[a] = i
		}
		if !consistent {
			continue
		}
		absent = false
		holds := func(op operator) bool { return refHolds(op, f.value) }
		if slices.ContainsFunc(r[0].ops, holds) && refRule(r[1:], fields, joined) {
			return true
		}
	}
	isAbsent := func(op operator) bool { return op.kind == opAbsent }
	return absent && slices.ContainsFunc(r[0].ops, isAbsent) && refRule(r[1:], fields, members)
}

func refHolds(op operator, value any) bool {
	text, isString := value.(string)
	number, isNumber := value.(json.Number)
	none := func(holds func(text string) bool) bool { return !isString || !slices.ContainsFunc(op.texts, holds) }
	switch op.kind {
	case opString:
		return isString && text == op.text
	case opAddress, opCIDR:
		a, ok, _ := parseAddress(text)
		return isString && ok && op.block.holds(a)
	case opNumber:
		if !isNumber {
			return false
		}
		if n := parseNumber([]byte(number)); n.ok && op.num.ok {
			return n.value == op.num.value
		}
		return op.text == string(number)
	case opKeyword:
		switch v := value.(type) {
		case bool:
			return op.text == strconv.FormatBool(v)
		case nil:
			return op.text == "null"
		}
		return false
	case opPrefix:
		return isString && strings.HasPrefix(text, op.text)
	case opSuffix:
		return isString && strings.HasSuffix(text, op.text)
	case opPrefixFold:
		return isString && refFold(op.text, text, false) >= 0
	case opSuffixFold:
		return isString && refFold(refReverse(op.text), refReverse(text), false) >= 0
	case opFold:
		return isString && refFold(op.text, text, true) >= 0
	case opWildcard:
		return isString && refGlob(op.glob[0].parts, text)
	case opRange:
		n := parseNumber([]byte(number))
		return isNumber && n.ok && op.span.holds(n.value)
	case opExists:
		return true
	case opAbsent:
		return false
	case opNotString:
		return none(func(t string) bool { return t == text })
	case opNotNumber:
		n := parseNumber([]byte(number))
		return !isNumber || !n.ok || !slices.Contains(op.nums, n.value)
	case opNotPrefix:
		return none(func(t string) bool { return strings.HasPrefix(text, t) })
	case opNotSuffix:
		return none(func(t string) bool { return strings.HasSuffix(text, t) })
	case opNotFold:
		return none(func(t string) bool { return refFold(t, text, true) >= 0 })
	case opNotWildcard:
		for _, g := range op.glob {
			if isString && refGlob(g.parts, text) {
				return false
			}
		}
		return true
	}
	panic("unknown operator")
}

// refFold is the number of characters of text after the pattern, or -1.
func refFold(pattern, text string, whole bool) int {
	p, t := []rune(pattern), []rune(text)
	if len(t) < len(p) || whole && len(t) != len(p) {
		return -1
	}
	for i := range p {
		if !sameFold(t[i], p[i]) {
			return -1
		}
	}
	return len(t) - len(p)
}

func refReverse(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

// refGlob tries every length of every star.
func refGlob(parts []string, text string) bool {
	if len(parts) == 1 {
		return text == parts[0]
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for i := range len(text) + 1 {
		if refGlob(parts[1:], text[i:]) {
			return true
		}
	}
	return false
}
