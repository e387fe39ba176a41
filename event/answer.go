package event

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// AnswerFormat says by whose rules a function's answer becomes an HTTP response.
type AnswerFormat uint8

// The front doors.
const (
	AnswerHTTPAPI     AnswerFormat = iota // HTTP API, payload format 2.0
	AnswerFunctionURL                     // the same with another default Content-Type
	AnswerHTTPAPIv1                       // HTTP API, payload format 1.0
	AnswerRESTAPI                         // REST API with proxy integration
	AnswerALB                             // load balancer, single-valued headers
	AnswerALBMulti                        // load balancer, multi-valued headers
	AnswerPrelude                         // head of a streamed answer of a function URL, which has no body
)

// HTTPAnswer is an HTTP response that a function asked for. One may be used again and again.
type HTTPAnswer struct {
	Status  int
	Headers []Field // in the order to send; one name may occur more than once. Always has a Content-Type
	Body    []byte  // good until the next Read; may share memory with the document

	// Base64 says that Body is still base64 text: a REST API decodes it only for clients and types that its
	// binary media types name. The other doors have decoded it. See Decode.
	Base64 bool

	buf  []byte // unquoted body
	text []byte // other unquoted strings
}

// ErrMalformed is what an answer that a front door does not understand comes to.
var ErrMalformed = errors.New("malformed answer of the function")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Read takes the answer doc by the rules of f. With payload format 2.0 everything that has no statusCode is
// itself the body of a 200; the other formats demand an object of their form. Status codes below 200 end no
// response and are refused. The error is ErrMalformed.
func (a *HTTPAnswer) Read(doc []byte, f AnswerFormat) error {
	a.Status, a.Headers, a.Body, a.Base64 = 0, a.Headers[:0], nil, false
	a.text = a.text[:0]
	m, err := split(doc, f)
	if err != nil {
		return err
	}
	if m.bare {
		a.Status = 200
		a.Headers = append(a.Headers, Field{"Content-Type", "application/json"})
		a.Body = doc
		if s := (scanner{b: doc}); s.next() == '"' {
			if raw, escaped, ok := s.str(); ok && s.done() {
				a.Body = a.unquoteBody(raw, escaped)
			}
		}
		return nil
	}
	if err := a.status(m.status, f); err != nil {
		return err
	}
	if err := a.headers(&m, f); err != nil {
		return err
	}
	return a.body(&m, f)
}

// members are the texts of an answer's members; nil where there is none, or null.
type members struct {
	status, headers, multi, cookies, body, base64 []byte

	bare bool // no form at all: the document is the body
}

// split finds the members of doc.
func split(doc []byte, f AnswerFormat) (m members, err error) {
	direct := f == AnswerHTTPAPI || f == AnswerFunctionURL
	s := scanner{b: doc}
	if s.next() != '{' {
		if direct {
			return members{bare: true}, nil
		}
		return m, malformed("it is not a JSON object")
	}
	s.i++
	if s.take('}') {
		if direct || f == AnswerPrelude {
			return members{bare: direct}, nil
		}
		return m, malformed("it is an empty object")
	}
	for {
		if s.next() != '"' {
			return members{bare: direct}, s.broken(direct)
		}
		key, escaped, ok := s.str()
		if !ok || !s.take(':') {
			return members{bare: direct}, s.broken(direct)
		}
		if escaped {
			key = unquote(nil, key)
		}
		text, ok := s.value(1)
		if !ok {
			return members{bare: direct}, s.broken(direct)
		}
		if text[0] == 'n' {
			text = nil
		}
		switch string(key) {
		case "statusCode":
			m.status = text
		case "headers":
			m.headers = text
		case "multiValueHeaders":
			m.multi = text
		case "cookies":
			m.cookies = text
		case "body":
			m.body = text
		case "isBase64Encoded":
			m.base64 = text
		default:
			if f == AnswerRESTAPI {
				return m, malformed("it has a key %q; a REST API takes statusCode, headers, multiValueHeaders, body and isBase64Encoded only", key)
			}
		}
		if s.take(',') {
			continue
		}
		if !s.take('}') || !s.done() {
			return members{bare: direct}, s.broken(direct)
		}
		break
	}
	if f == AnswerRESTAPI && m.cookies != nil {
		return m, malformed(`it has a key "cookies"; a REST API takes Set-Cookie in multiValueHeaders instead`)
	}
	m.bare = direct && m.status == nil
	return m, nil
}

// broken is the error for a text that is no JSON. Payload format 2.0 passes such a text on as it is.
func (s *scanner) broken(direct bool) error {
	if direct {
		return nil
	}
	return malformed("it is not JSON at byte %d", s.i)
}

func (a *HTTPAnswer) status(text []byte, f AnswerFormat) error {
	if text == nil {
		if f != AnswerRESTAPI && f != AnswerPrelude {
			return malformed("statusCode is missing")
		}
		a.Status = 200
		return nil
	}
	digits := text
	if text[0] == '"' {
		digits = text[1 : len(text)-1]
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' || n > 999 {
			return malformed("statusCode is %.40s, not a whole number from 200 to 599", text)
		}
		n = 10*n + int(c-'0')
	}
	if n < 200 || n > 599 {
		return malformed("statusCode is %.40s, not a whole number from 200 to 599", text)
	}
	a.Status = n
	return nil
}

func (a *HTTPAnswer) headers(m *members, f AnswerFormat) error {
	single, multi := m.headers, m.multi
	switch f {
	case AnswerHTTPAPI, AnswerFunctionURL, AnswerALB, AnswerPrelude:
		multi = nil
	case AnswerALBMulti:
		single = nil
	case AnswerHTTPAPIv1, AnswerRESTAPI:
	}
	if f == AnswerRESTAPI {
		// The lists come first, and a single value joins the list of its name unless it is in it.
		if err := a.multi(multi); err != nil {
			return err
		}
	}
	if err := a.single(single, len(a.Headers)); err != nil {
		return err
	}
	if f != AnswerRESTAPI {
		if err := a.multi(multi); err != nil {
			return err
		}
	}
	if m.cookies != nil && (f == AnswerHTTPAPI || f == AnswerFunctionURL || f == AnswerPrelude) {
		if err := a.list(m.cookies, "cookies", "Set-Cookie"); err != nil {
			return err
		}
	}
	for _, h := range a.Headers {
		if len(h.Name) == len("Content-Type") && strings.EqualFold(h.Name, "Content-Type") {
			return nil
		}
	}
	kind := "application/json"
	switch f {
	case AnswerHTTPAPI, AnswerHTTPAPIv1:
		kind = "text/plain; charset=utf-8"
	case AnswerALB, AnswerALBMulti, AnswerPrelude:
		kind = "application/octet-stream"
	case AnswerFunctionURL, AnswerRESTAPI:
	}
	a.Headers = append(a.Headers, Field{"Content-Type", kind})
	return nil
}

// single adds the values of headers. The first lists of a.Headers came from multiValueHeaders.
func (a *HTTPAnswer) single(text []byte, lists int) error {
	s, err := object(text, "headers")
	if err != nil {
		return err
	}
next:
	for {
		name, more, err := a.member(&s)
		if err != nil || !more {
			return err
		}
		value, err := a.scalar(&s, "headers", name)
		if err != nil {
			return err
		}
		for _, h := range a.Headers[:lists] {
			if strings.EqualFold(h.Name, name) {
				if h.Value == value {
					continue next
				}
				name = h.Name
			}
		}
		a.Headers = append(a.Headers, Field{name, value})
	}
}

// multi adds the lists of multiValueHeaders.
func (a *HTTPAnswer) multi(text []byte) error {
	s, err := object(text, "multiValueHeaders")
	if err != nil {
		return err
	}
	for {
		name, more, err := a.member(&s)
		if err != nil || !more {
			return err
		}
		list, _ := s.value(0)
		if err := a.list(list, "multiValueHeaders", name); err != nil {
			return err
		}
	}
}

// list adds one header for each value of a list.
func (a *HTTPAnswer) list(text []byte, member, name string) error {
	if text[0] == 'n' {
		return nil
	}
	if text[0] != '[' {
		return malformed("%s must have lists of strings: %q is none", member, name)
	}
	s := scanner{b: text, i: 1}
	for !s.take(']') {
		value, err := a.scalar(&s, member, name)
		if err != nil {
			return err
		}
		a.Headers = append(a.Headers, Field{name, value})
		s.take(',')
	}
	return nil
}

// object returns a scanner before the first member of an object that has been checked. A nil text has none.
func object(text []byte, member string) (scanner, error) {
	if text == nil {
		return scanner{}, nil
	}
	if text[0] != '{' {
		return scanner{}, malformed("%s must be an object", member)
	}
	return scanner{b: text, i: 1}, nil
}

// member steps to the value of the next member that is not null and returns its name, that of a header.
func (a *HTTPAnswer) member(s *scanner) (name string, more bool, err error) {
	for {
		s.take(',')
		if s.next() != '"' {
			return "", false, nil // the end
		}
		raw, escaped, _ := s.str()
		name = a.name(raw, escaped)
		s.take(':')
		if s.next() == 'n' {
			s.literal("null")
			continue
		}
		if !token(name) {
			return "", false, malformed("%q can not be the name of a header", name)
		}
		return name, true, nil
	}
}

// name makes a string of a header's name, without allocation for the most frequent one.
func (a *HTTPAnswer) name(raw []byte, escaped bool) string {
	switch string(raw) {
	case "Content-Type":
		return "Content-Type"
	case "content-type":
		return "content-type"
	}
	return a.string(raw, escaped)
}

func (a *HTTPAnswer) string(raw []byte, escaped bool) string {
	if escaped {
		a.text = unquote(a.text[:0], raw)
		raw = a.text
	}
	return string(raw)
}

// scalar reads a value that must be text: a string, or a number or boolean, whose JSON text it then is.
func (a *HTTPAnswer) scalar(s *scanner, member, name string) (string, error) {
	var value string
	switch s.next() {
	case '"':
		raw, escaped, _ := s.str()
		if string(raw) == "application/json" {
			return "application/json", nil
		}
		value = a.string(raw, escaped)
	case '{', '[':
		return "", malformed("%s: the value of %q is neither string, number nor boolean", member, name)
	default:
		text, _ := s.value(0)
		value = string(text)
	}
	for i := range len(value) {
		if c := value[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return "", malformed("%s: the value of %q has a control character", member, name)
		}
	}
	return value, nil
}

// token tells whether s is a token of RFC 9110, as the name of a header must be.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
			continue
		}
		if strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func (a *HTTPAnswer) body(m *members, f AnswerFormat) error {
	encoded := false
	switch string(m.base64) {
	case "", "false", `"false"`:
	case "true", `"true"`:
		encoded = true
	default:
		return malformed("isBase64Encoded is %.40s, neither true nor false", m.base64)
	}
	if m.body == nil {
		return nil
	}
	switch m.body[0] {
	case '"':
		s := scanner{b: m.body}
		raw, escaped, _ := s.str()
		a.Body = a.unquoteBody(raw, escaped)
	case '{', '[':
		return malformed("body must be a string; encode it as JSON text")
	default:
		a.Body = m.body
	}
	a.Base64 = encoded
	if !encoded || f == AnswerRESTAPI {
		return nil
	}
	return a.Decode()
}

// Decode turns the base64 text of Body into bytes. It does nothing if Base64 is not set.
func (a *HTTPAnswer) Decode() error {
	if !a.Base64 {
		return nil
	}
	text := bytes.TrimRight(a.Body, "=")
	// Decoding never overtakes its input, so it may run in place, but not in the function's document.
	out := append(a.buf[:0], text...)
	n, err := base64.RawStdEncoding.Decode(out, out)
	if err != nil {
		return malformed("body is not base64: %s", strconv.Quote(err.Error()))
	}
	a.buf, a.Body, a.Base64 = out, out[:n], false
	return nil
}

func (a *HTTPAnswer) unquoteBody(raw []byte, escaped bool) []byte {
	if !escaped {
		return raw
	}
	a.buf = unquote(a.buf[:0], raw)
	return a.buf
}
