package router

import (
	"strconv"
	"strings"

	"github.com/millrace/millrace/event"
)

// A Path is a JSON path of a target's InputPath or InputPathsMap, of the part of the syntax that EventBridge takes:
// "$", members after dots ("$.detail.instance-id"), elements by index, which counts from the end if negative
// ("$.resources[0]"), and "*" for all of either ("$.resources[*]").
type Path struct {
	steps    []step
	wildcard bool
}

type step struct {
	name  string
	index int
	kind  stepKind
}

type stepKind uint8

const (
	stepName stepKind = iota
	stepIndex
	stepAll
)

// ParsePath compiles a path. What EventBridge does not take, quoted names in brackets among it, is refused with an
// *[InputError].
func ParsePath(text string) (*Path, error) {
	invalid := &InputError{format: "InputPath for target %s is invalid."}
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, invalid
	}
	p := &Path{}
	for rest != "" {
		s := step{}
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, invalid
			}
			inside := strings.TrimSpace(rest[1:end])
			rest = rest[end+1:]
			if s.kind = stepAll; inside != "*" {
				n, err := strconv.Atoi(inside)
				if err != nil {
					return nil, invalid
				}
				s.kind, s.index = stepIndex, n
			}
		} else {
			if rest[0] != '.' {
				return nil, invalid
			}
			rest = rest[1:]
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			s.name, rest = rest[:end], rest[end:]
			if s.name == "" || strings.ContainsAny(s.name, "]()'\"?@ \t\r\n,") {
				return nil, invalid
			}
			if s.name == "*" {
				s.kind = stepAll
			}
		}
		p.wildcard = p.wildcard || s.kind == stepAll
		p.steps = append(p.steps, s)
	}
	return p, nil
}

// Append appends the JSON text of what the path leads to, without white space, and tells whether it leads to
// anything. A path with "*" leads to the array of all that it finds, which may be empty. Of members of the same
// name the last counts. The error is [ErrSyntax] if the document is not JSON.
func (p *Path) Append(dst, doc []byte) (_ []byte, found bool, err error) {
	if !event.ValidJSON(doc) {
		return dst, false, ErrSyntax
	}
	dst, found = p.append(dst, doc)
	return dst, found, nil
}

// append is Append for what is known to be JSON.
func (p *Path) append(dst, doc []byte) (_ []byte, found bool) {
	start := len(dst)
	if p.wildcard {
		dst = append(dst, '[')
	}
	dst, found = p.follow(dst, doc, space(doc, 0), p.steps)
	if p.wildcard {
		if dst[len(dst)-1] == ',' {
			dst = dst[:len(dst)-1]
		}
		return append(dst, ']'), true
	}
	if !found {
		dst = dst[:start]
	}
	return dst, found
}

// follow takes the steps from the value at i.
func (p *Path) follow(dst, b []byte, i int, steps []step) ([]byte, bool) {
	if len(steps) == 0 {
		dst = appendCompact(dst, b[i:after(b, i)], false)
		if p.wildcard {
			dst = append(dst, ',')
		}
		return dst, true
	}
	s := steps[0]
	at := -1
	var all []int
	switch {
	case b[i] == '{' && s.kind != stepIndex:
		members(b, i, func(name []byte, value int) {
			if s.kind == stepAll {
				all = append(all, value)
			} else if string(name) == s.name {
				at = value
			}
		})
	case b[i] == '[' && s.kind != stepName:
		elements(b, i, func(value int) { all = append(all, value) })
		if s.kind == stepIndex {
			n := s.index
			if n < 0 {
				n += len(all)
			}
			if n >= 0 && n < len(all) {
				at = all[n]
			}
			all = nil
		}
	}
	if at >= 0 {
		return p.follow(dst, b, at, steps[1:])
	}
	found := false
	for _, i := range all {
		var ok bool
		dst, ok = p.follow(dst, b, i, steps[1:])
		found = found || ok
	}
	return dst, found
}

// The functions below read documents that are known to be JSON.

// after returns the position behind the value at i.
func after(b []byte, i int) int {
	var m matching
	return m.skip(b, i, 0)
}

// members calls yield with the name of each member of the object at i and the position of its value.
func members(b []byte, i int, yield func(name []byte, value int)) {
	var m matching
	for i = space(b, i+1); b[i] != '}'; {
		start := i + 1
		end, escaped := m.quoted(b, plain(b, start))
		name := b[start : end-1]
		if escaped {
			name = unescape(nil, name)
		}
		i = space(b, space(b, end)+1)
		yield(name, i)
		if i = space(b, m.skip(b, i, 0)); b[i] == ',' {
			i = space(b, i+1)
		}
	}
}

// elements calls yield with the position of each element of the array at i.
func elements(b []byte, i int, yield func(value int)) {
	var m matching
	for i = space(b, i+1); b[i] != ']'; {
		yield(i)
		if i = space(b, m.skip(b, i, 0)); b[i] == ',' {
			i = space(b, i+1)
		}
	}
}

// appendCompact appends JSON text without the white space between its tokens, and without quotes if bare.
func appendCompact(dst, text []byte, bare bool) []byte {
	var m matching
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			end, _ := m.quoted(text, plain(text, i+1))
			if bare {
				dst = append(dst, text[i+1:end-1]...)
			} else {
				dst = append(dst, text[i:end]...)
			}
			i = end
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
