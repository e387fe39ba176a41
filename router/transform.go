package router

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/event"
)

// ErrNotJSON says that a JSON template did not become JSON with the values of an event: an object or a list of
// strings inside quotes does that. EventBridge delivers nothing then.
var ErrNotJSON = errors.New("the template does not become JSON")

// An InputError says why a target's InputPath or InputTransformer is refused.
type InputError struct{ format, detail string }

// Error is the message without the target's id.
func (e *InputError) Error() string { return e.For("?") }

// For is the message of the ValidationException for the target with the id.
func (e *InputError) For(target string) string {
	if e.detail == "" {
		return fmt.Sprintf(e.format, target)
	}
	return fmt.Sprintf(e.format, target, e.detail)
}

// A Transformer is a compiled InputTransformer. It is safe for concurrent use.
//
// A template that begins with a brace is JSON: a variable outside quotes becomes the JSON text of its value, a
// string with its quotes; inside quotes a string is inserted as it is, and so is anything else. Any other template is
// text, one or more strings in quotes, usually one on each line, which are delivered with their quotes; there the
// values of variables lose theirs inside quotes, at every level: {"a":["b"]} becomes {a:[b]}. A variable
// whose path leads nowhere is the empty string.
type Transformer struct {
	paths []*Path
	parts []part
	json  bool
}

// part is text of the template with the variable behind it.
type part struct {
	text     string
	variable int // index of a path, or one of the constants below
	quoted   bool
}

const (
	noVariable = -1 - iota
	variableEvent
	variableEventJSON
	variableRuleARN
	variableRuleName
	variableIngestionTime
)

// Source is what a transformer takes its values from.
type Source struct {
	Event     []byte // the whole event, as JSON
	RuleARN   string
	RuleName  string
	Ingestion time.Time // when the event was accepted
}

// NewTransformer compiles an InputPathsMap and an InputTemplate. The error is an *[InputError]. How many
// variables there may be, and how they may be named, is for the API to check.
func NewTransformer(paths map[string]string, template string) (*Transformer, error) {
	t := &Transformer{json: strings.HasPrefix(strings.TrimSpace(template), "{")}
	index := map[string]int{}
	for name, text := range paths {
		p, err := ParsePath(text)
		if err != nil {
			return nil, err
		}
		index[name] = len(t.paths)
		t.paths = append(t.paths, p)
	}
	if err := t.parse(template, index); err != nil {
		return nil, err
	}
	return t, t.check()
}

// parse cuts the template at its variables.
func (t *Transformer) parse(template string, index map[string]int) error {
	predefined := map[string]int{
		"aws.events.event":                variableEvent,
		"aws.events.event.json":           variableEventJSON,
		"aws.events.rule-arn":             variableRuleARN,
		"aws.events.rule-name":            variableRuleName,
		"aws.events.event.ingestion-time": variableIngestionTime,
	}
	quoted := false
	start := 0
	for i := 0; i < len(template); i++ {
		switch template[i] {
		case '\\':
			i++
		case '"':
			quoted = !quoted
		case '<':
			name := variableName(template[i+1:])
			if name == "" {
				continue
			}
			v, ok := predefined[name]
			if !ok {
				v, ok = index[name]
			}
			if !ok {
				return &InputError{format: "InputTemplate for target %s contains invalid placeholder %s.", detail: name}
			}
			if (v == variableEvent || v == variableEventJSON) && !t.json {
				return &InputError{
					format: "InputTemplate for target %s contains placeholder %s valid only for JSON template.", detail: name,
				}
			}
			t.parts = append(t.parts, part{template[start:i], v, quoted})
			i += len(name) + 1
			start = i + 1
		}
	}
	t.parts = append(t.parts, part{template[start:], noVariable, quoted})
	return nil
}

// variableName is the name at the start of the text, if ">" follows it.
func variableName(s string) string {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '>':
			return s[:i]
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return ""
		}
	}
	return ""
}

// check tries the template with null for every variable.
func (t *Transformer) check() error {
	invalid := &InputError{format: "Invalid InputTemplate for target %s : [%s]"}
	var b []byte
	for _, p := range t.parts {
		b = append(b, p.text...)
		if p.variable != noVariable {
			b = append(b, "null"...)
		}
	}
	if t.json && !event.ValidJSON(b) || !t.json && !values(b) {
		invalid.detail = "it is not JSON, or not text in quotes, with values for its placeholders"
		return invalid
	}
	if t.json && t.variableInName() {
		invalid.detail = "a placeholder cannot be used as an object key"
		return invalid
	}
	return nil
}

// values tells whether text is JSON values with white space between them.
func values(b []byte) bool {
	i := space(b, 0)
	for i < len(b) {
		end := after(b, i)
		if end < 0 || !event.ValidJSON(b[i:end]) {
			return false
		}
		if i = space(b, end); i == end && i < len(b) {
			return false
		}
	}
	return len(b) > 0
}

// variableInName tells whether a variable is inside quotes with a colon behind them.
func (t *Transformer) variableInName() bool {
	inside := false
	for i, p := range t.parts {
		text := p.text
		if i > 0 && t.parts[i-1].quoted {
			inside = true
			end := plain([]byte(text), 0)
			for end < len(text) && text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end = plain([]byte(text), min(end+1, len(text)))
			}
			if end == len(text) {
				continue // the string goes on
			}
			text = text[end+1:]
		}
		if inside && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), ":") {
			return true
		}
		inside = false
	}
	return false
}

// Append appends the template with its variables replaced. The error is [ErrSyntax] if the event is not JSON,
// and [ErrNotJSON] if a JSON template does not become JSON.
func (t *Transformer) Append(dst []byte, s Source) ([]byte, error) {
	if !event.ValidJSON(s.Event) {
		return dst, ErrSyntax
	}
	start := len(dst)
	var value []byte
	for _, p := range t.parts {
		dst = append(dst, p.text...)
		if p.variable != noVariable {
			value = t.value(value[:0], p.variable, &s)
			dst = t.insert(dst, value, p.quoted)
		}
	}
	if t.json && !event.ValidJSON(dst[start:]) {
		return dst[:start], ErrNotJSON
	}
	return dst, nil
}

func (t *Transformer) insert(dst, value []byte, quoted bool) []byte {
	switch {
	case !quoted:
		return append(dst, value...)
	case value[0] == '"':
		return append(dst, value[1:len(value)-1]...)
	case t.json:
		return append(dst, value...)
	default:
		return appendCompact(dst, value, true)
	}
}

// value appends the JSON text of a variable.
func (t *Transformer) value(dst []byte, variable int, s *Source) []byte {
	switch variable {
	case variableEvent:
		return appendEnvelope(dst, s.Event)
	case variableEventJSON:
		return appendCompact(dst, s.Event, false)
	case variableRuleARN:
		return event.AppendString(dst, s.RuleARN)
	case variableRuleName:
		return event.AppendString(dst, s.RuleName)
	case variableIngestionTime:
		return event.AppendString(dst, s.Ingestion.UTC().Format("2006-01-02T15:04:05Z"))
	}
	dst, found := t.paths[variable].append(dst, s.Event)
	if !found {
		dst = append(dst, `""`...)
	}
	return dst
}

// appendEnvelope appends <aws.events.event>: the event without its detail, with the names and in the order of the
// recordings, in which detail-type is detailType.
func appendEnvelope(dst, doc []byte) []byte {
	i := space(doc, 0)
	if doc[i] != '{' {
		return appendCompact(dst, doc, false)
	}
	dst = append(dst, '{')
	add := func(name string, value int) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = event.AppendString(dst, name)
		dst = append(dst, ':')
		dst = appendCompact(dst, doc[value:after(doc, value)], false)
	}
	order := []string{"id", "account", "detail-type", "time", "source", "region", "resources", "version"}
	for _, name := range order {
		at := -1
		members(doc, i, func(n []byte, value int) {
			if string(n) == name {
				at = value
			}
		})
		if at < 0 {
			continue
		}
		if name == "detail-type" {
			name = "detailType"
		}
		add(name, at)
	}
	members(doc, i, func(n []byte, value int) {
		for _, name := range append(order, "detail") {
			if string(n) == name {
				return
			}
		}
		add(string(n), value)
	})
	return append(dst, '}')
}
