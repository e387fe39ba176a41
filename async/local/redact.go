package local

import (
	"encoding/json"
	"slices"
)

const redacted = `"[redacted]"`

// redact returns doc with the values that the rules name replaced, and whether there were any. A doc that is
// not JSON is replaced as a whole, because nobody can tell what is in it.
func redact(doc []byte, rules []rule) ([]byte, bool) {
	if len(doc) == 0 {
		return doc, false
	}
	if !json.Valid(doc) {
		return []byte(redacted), true
	}
	r := redactor{in: doc, rules: rules}
	r.value(nil, true)
	if !r.changed {
		return doc, false
	}
	return append(r.out, doc[r.copied:]...), true
}

// redactor walks a valid JSON document. Everything but replaced values is copied as it is.
type redactor struct {
	in      []byte
	i       int
	out     []byte
	copied  int // in is in out up to here
	rules   []rule
	changed bool
}

func (r *redactor) space() {
	for r.i < len(r.in) {
		switch r.in[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return
		}
	}
}

// value passes one value; look is false inside one that is replaced.
func (r *redactor) value(path []string, look bool) {
	r.space()
	switch r.in[r.i] {
	case '{':
		r.list('}', func() {
			name := r.name()
			r.space()
			r.i++ // the colon
			path := append(slices.Clip(path), name)
			if !look || !r.named(path) {
				r.value(path, look)
				return
			}
			r.space()
			r.out = append(append(r.out, r.in[r.copied:r.i]...), redacted...)
			r.value(path, false)
			r.copied, r.changed = r.i, true
		})
	case '[':
		r.list(']', func() { r.value(path, look) })
	case '"':
		r.text()
	default:
		for r.i < len(r.in) && !isEnd(r.in[r.i]) {
			r.i++
		}
	}
}

func isEnd(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// list passes an object or array, calling element at each element.
func (r *redactor) list(end byte, element func()) {
	r.i++
	for r.space(); r.in[r.i] != end; r.space() {
		element()
		r.space()
		if r.in[r.i] == ',' {
			r.i++
		}
	}
	r.i++
}

func (r *redactor) text() {
	for r.i++; r.in[r.i] != '"'; r.i++ {
		if r.in[r.i] == '\\' {
			r.i++
		}
	}
	r.i++
}

// name passes the name of a member and returns it.
func (r *redactor) name() string {
	r.space()
	from := r.i
	r.text()
	var s string
	if err := json.Unmarshal(r.in[from:r.i], &s); err != nil {
		return string(r.in[from:r.i]) // not reached: the document is valid
	}
	return s
}

func (r *redactor) named(path []string) bool {
	return slices.ContainsFunc(r.rules, func(x rule) bool {
		if x.path == nil {
			return path[len(path)-1] == x.anywhere
		}
		return slices.Equal(path, x.path)
	})
}
