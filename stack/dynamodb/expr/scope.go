package expr

import (
	"fmt"
	"sort"
	"strings"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// Error is DynamoDB's message about an expression or what belongs to it: a ValidationException.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func errorf(format string, args ...any) error { return &Error{Message: fmt.Sprintf(format, args...)} }

// maxExpression is the longest expression, and maxPlaceholder the longest placeholder, in bytes.
const (
	maxExpression  = 4096
	maxPlaceholder = 255
	maxOperators   = 300
	maxOperands    = 100 // of IN
	maxLevels      = 32
)

// Scope is the placeholders that the expressions of one request share. It notes which are used. It is for one
// goroutine at a time.
type Scope struct {
	names      map[string]string
	values     attr.Item
	usedNames  map[string]bool
	usedValues []bool
}

// NewScope checks ExpressionAttributeNames and ExpressionAttributeValues. Both may be nil if the request has none.
func NewScope(names map[string]string, values attr.Item) (*Scope, error) {
	if names != nil && len(names) == 0 {
		return nil, errorf("ExpressionAttributeNames must not be empty")
	}
	keys := sortedKeys(names)
	for _, k := range keys {
		if len(k) > maxPlaceholder {
			return nil, errorf("ExpressionAttributeNames contains invalid key: "+
				"The expression attribute map contains a key that is too long; size of key: %d", len(k))
		}
		if !isPlaceholder(k, '#') {
			return nil, errorf(`ExpressionAttributeNames contains invalid key: Syntax error; key: "%s"`, k)
		}
		if names[k] == "" {
			return nil, errorf("ExpressionAttributeNames contains invalid value: Empty attribute name for key %s", k)
		}
		if len(names[k]) >= 1<<16 {
			return nil, errorf("ExpressionAttributeNames contains invalid value: "+
				"Attribute name is too large, must be less than 65536 bytes for key %s", k)
		}
	}
	if values != nil && len(values) == 0 {
		return nil, errorf("ExpressionAttributeValues must not be empty")
	}
	for _, v := range values {
		if len(v.Name) > maxPlaceholder {
			return nil, errorf("ExpressionAttributeValues contains invalid key: " +
				"The expression attribute map contains a key that is too long;")
		}
		if !isPlaceholder(v.Name, ':') {
			return nil, errorf(`ExpressionAttributeValues contains invalid key: Syntax error; key: "%s"`, v.Name)
		}
	}
	for _, v := range values {
		if p := v.Value.Problem(); p != "" {
			return nil, errorf("ExpressionAttributeValues contains invalid value: %s for key %s", p, v.Name)
		}
	}
	return &Scope{names: names, values: values, usedValues: make([]bool, len(values))}, nil
}

func isPlaceholder(s string, sign byte) bool {
	if len(s) < 2 || s[0] != sign {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isWord(s[i]) {
			return false
		}
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Unused is the error if a placeholder is in none of the expressions that were parsed.
func (s *Scope) Unused() error {
	if len(s.usedNames) < len(s.names) {
		var unused []string
		for _, k := range sortedKeys(s.names) {
			if !s.usedNames[k] {
				unused = append(unused, k)
			}
		}
		return errorf("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", strings.Join(unused, ", "))
	}
	var unused []string
	for i, used := range s.usedValues {
		if !used {
			unused = append(unused, s.values[i].Name)
		}
	}
	if unused != nil {
		return errorf("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", strings.Join(unused, ", "))
	}
	return nil
}

// resolve puts the names of aliases into a path.
func (s *Scope) resolve(p Path) {
	for i := range p {
		if alias := p[i].Name; strings.HasPrefix(alias, "#") {
			name, ok := s.names[alias]
			if !ok {
				panic(refusal("An expression attribute name used in the document path is not defined; attribute name: " + alias))
			}
			if s.usedNames == nil {
				s.usedNames = make(map[string]bool, len(s.names))
			}
			s.usedNames[alias] = true
			p[i].Name = name
		}
	}
	if len(p) > maxLevels {
		panic(refusal(fmt.Sprintf("The document path has too many nesting levels; nesting levels: %d", len(p))))
	}
}

func (s *Scope) lookUp(placeholder string) attr.Value {
	i := s.values.Index(placeholder)
	if i < 0 {
		panic(refusal("An expression attribute value used in expression is not defined; attribute value: " + placeholder))
	}
	s.usedValues[i] = true
	return s.values[i].Value
}

// parse reads an expression and turns what is thrown into an error that names the parameter.
func parse[T any](parameter, text string, read func(p *parser) T) (out T, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refusal:
			err = errorf("Invalid %s: %s", parameter, string(r))
		default:
			panic(r)
		}
	}()
	if text == "" {
		panic(refusal("The expression can not be empty;"))
	}
	if len(text) > maxExpression {
		panic(refusal(fmt.Sprintf("Expression size has exceeded the maximum allowed size; expression size: %d", len(text))))
	}
	p := newParser(text)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case syntax:
			panic(refusal(syntaxError(text, p.tokens, r.at)))
		default:
			panic(r)
		}
	}()
	return read(p), nil
}
