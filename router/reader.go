package router

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// reader reads the JSON text of a pattern token by token, in the order and with the look-ahead of the parser that
// AWS uses, since its error messages end in the position that this parser had reached: a string is stepped over
// only when its text is wanted or the next token is, and the value behind a field's name is begun together with
// the name.
type reader struct {
	src   string
	pos   int
	tok   token
	field string // name of tokField
	text  string // of tokNumber and keywords; of tokString once str was called

	pending token // the value that was begun together with the field's name
	open    bool  // the string's text has not been read yet
	scopes  []scope
}

type scope struct {
	array bool
	start int // position behind the bracket
	count int // values read so far
}

type token uint8

const (
	tokEOF token = iota
	tokObject
	tokObjectEnd
	tokArray
	tokArrayEnd
	tokField
	tokString
	tokNumber
	tokTrue
	tokFalse
	tokNull
)

const (
	maxNesting = 1000 // of patterns; AWS's are limited by their length long before
	escapeEOF  = "Unexpected end-of-input in character escape sequence"
	jsonValues = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
)

// syntaxError is a refusal with a position.
type syntaxError struct {
	text string
	or   bool // whether it is of the form of a $or
}

func (e *syntaxError) Error() string { return e.text }

// fail refuses the pattern at the position that the reader has reached.
func (r *reader) fail(reason string) { r.failAt(reason, r.pos) }

func (r *reader) failAt(reason string, pos int) {
	panic(&syntaxError{text: reason + "\n at " + r.location(pos)})
}

// location is a position in the parser's form. Columns count UTF-16 code units from 1, and sources are cut at 500.
func (r *reader) location(pos int) string {
	line, start := 1, 0
	for i := 0; i < pos; i++ {
		switch r.src[i] {
		case '\r':
			if i+1 < pos && r.src[i+1] == '\n' {
				i++
			}
			fallthrough
		case '\n':
			line, start = line+1, i+1
		}
	}
	column := units(r.src[start:pos]) + 1
	source, rest := r.src, ""
	if n := units(source); n > 500 {
		source = string(utf16.Decode(utf16.Encode([]rune(source))[:500]))
		rest = fmt.Sprintf("[truncated %d chars]", n-500)
	}
	return fmt.Sprintf("[Source: (String)\"%s\"%s; line: %d, column: %d]", source, rest, line, column)
}

func units(s string) int {
	n := 0
	for _, c := range s {
		n++
		if c > 0xffff {
			n++
		}
	}
	return n
}

// next steps to the next token and returns its kind.
func (r *reader) next() token {
	if r.tok == tokField {
		return r.begin(r.pending)
	}
	if r.open {
		r.str()
	}
	c, ok := r.char()
	if !ok {
		if len(r.scopes) > 0 {
			r.failEOF()
		}
		r.tok = tokEOF
		return r.tok
	}
	if c == ']' || c == '}' {
		return r.close(c)
	}
	object := false
	if n := len(r.scopes); n > 0 {
		s := &r.scopes[n-1]
		object = !s.array
		if s.count > 0 {
			if c != ',' {
				r.failChar("was expecting comma to separate " + s.kind() + " entries")
			}
			r.pos++
			if c, ok = r.char(); !ok {
				r.fail("Unexpected end-of-input within/between " + s.kind() + " entries")
			}
		}
		s.count++
	}
	if object {
		r.name(c)
		if c, ok = r.char(); !ok {
			r.fail("Unexpected end-of-input within/between Object entries")
		}
	}
	t := r.value(c)
	if object {
		r.pending, r.tok = t, tokField
		return r.tok
	}
	return r.begin(t)
}

// begin makes t the token.
func (r *reader) begin(t token) token {
	if t == tokObject || t == tokArray {
		if len(r.scopes) == maxNesting {
			r.fail(fmt.Sprintf("Document nesting depth (%d) exceeds the maximum allowed (%d)", maxNesting+1, maxNesting))
		}
		r.scopes = append(r.scopes, scope{array: t == tokArray, start: r.pos - 1})
	}
	r.tok = t
	return t
}

func (s *scope) kind() string {
	if s.array {
		return "Array"
	}
	return "Object"
}

func (r *reader) close(c byte) token {
	n := len(r.scopes)
	if n == 0 {
		r.failChar("expected a value")
	}
	s := r.scopes[n-1]
	want, t := byte('}'), tokObjectEnd
	if s.array {
		want, t = ']', tokArrayEnd
	}
	if c != want {
		r.failAt(fmt.Sprintf("Unexpected close marker '%c': expected '%c' (for %s starting at %s)",
			c, want, s.kind(), r.location(s.start)), r.pos+1)
	}
	r.pos++
	r.scopes = r.scopes[:n-1]
	r.tok = t
	return t
}

func (r *reader) failEOF() {
	s := r.scopes[len(r.scopes)-1]
	r.fail(fmt.Sprintf("Unexpected end-of-input: expected close marker for %s (start marker at %s)",
		s.kind(), r.location(s.start)))
}

// failChar refuses the character that comes next.
func (r *reader) failChar(comment string) {
	r.failAt("Unexpected character ("+r.describe()+"): "+comment, r.pos)
}

func (r *reader) describe() string {
	c, _ := utf8.DecodeRuneInString(r.src[r.pos:])
	switch {
	case c < 0x20 || 0x7f <= c && c < 0xa0:
		return fmt.Sprintf("(CTRL-CHAR, code %d)", c)
	case c > 255:
		return fmt.Sprintf("'%c' (code %d / 0x%x)", c, c, c)
	}
	return fmt.Sprintf("'%c' (code %d)", c, c)
}

// char skips space and returns the byte that follows, without stepping over it.
func (r *reader) char() (byte, bool) {
	for ; r.pos < len(r.src); r.pos++ {
		switch c := r.src[r.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, true
		}
	}
	return 0, false
}

// name reads a field's name and the colon.
func (r *reader) name(c byte) {
	if c != '"' {
		r.failChar("was expecting double-quote to start field name")
	}
	r.pos++
	r.field = r.quoted("name", " in field name")
	c, ok := r.char()
	if !ok {
		r.fail("Unexpected end-of-input within/between Object entries")
	}
	if c != ':' {
		r.failChar("was expecting a colon to separate field name and value")
	}
	r.pos++
}

// value begins a value: brackets and the quote of a string are stepped over, all else is read.
func (r *reader) value(c byte) token {
	switch {
	case c == '"':
		r.pos++
		r.open = true
		return tokString
	case c == '{':
		r.pos++
		return tokObject
	case c == '[':
		r.pos++
		return tokArray
	case c == '}':
		r.failChar("expected a value")
	case c == '-' || '0' <= c && c <= '9':
		r.number()
		return tokNumber
	case c == 't':
		r.keyword("true")
		return tokTrue
	case c == 'f':
		r.keyword("false")
		return tokFalse
	case c == 'n':
		r.keyword("null")
		return tokNull
	}
	if ch, _ := utf8.DecodeRuneInString(r.src[r.pos:]); !identStart(ch) {
		r.failChar("expected a valid value " + jsonValues)
	}
	r.failToken(r.pos)
	return tokEOF
}

func (r *reader) keyword(word string) {
	start := r.pos
	for i := range len(word) {
		if r.pos >= len(r.src) || r.src[r.pos] != word[i] {
			r.failToken(start)
		}
		r.pos++
	}
	if r.pos < len(r.src) {
		if c, _ := utf8.DecodeRuneInString(r.src[r.pos:]); identPart(c) {
			r.failToken(start)
		}
	}
	r.text = word
}

// failToken refuses the word that begins at start.
func (r *reader) failToken(start int) {
	for r.pos < len(r.src) && r.pos-start < 256 {
		c, size := utf8.DecodeRuneInString(r.src[r.pos:])
		if !identPart(c) {
			break
		}
		r.pos += size
	}
	r.fail("Unrecognized token '" + r.src[start:r.pos] + "': was expecting " + jsonValues)
}

func identStart(c rune) bool { return unicode.IsLetter(c) || c == '_' || c == '$' }
func identPart(c rune) bool  { return identStart(c) || unicode.IsDigit(c) }

func (r *reader) number() {
	start := r.pos
	digits := func(what string) {
		from := r.pos
		for r.pos < len(r.src) && '0' <= r.src[r.pos] && r.src[r.pos] <= '9' {
			r.pos++
		}
		if r.pos > from {
			return
		}
		if r.pos == len(r.src) {
			r.fail("Unexpected end-of-input in a Number value")
		}
		r.failAt("Unexpected character ("+r.describe()+") in numeric value: "+what, r.pos)
	}
	if r.src[r.pos] == '-' {
		r.pos++
	}
	from := r.pos
	digits("expected digit (0-9) to follow minus sign, for valid numeric value")
	if r.src[from] == '0' && r.pos > from+1 {
		r.failAt("Invalid numeric value: Leading zeroes not allowed", from+1)
	}
	if r.pos < len(r.src) && r.src[r.pos] == '.' {
		r.pos++
		digits("Decimal point not followed by a digit")
	}
	if r.pos < len(r.src) && r.src[r.pos]|0x20 == 'e' {
		r.pos++
		if r.pos < len(r.src) && (r.src[r.pos] == '+' || r.src[r.pos] == '-') {
			r.pos++
		}
		digits("Exponent indicator not followed by a digit")
	}
	r.text = r.src[start:r.pos]
}

// str returns the text of the string that is the token.
func (r *reader) str() string {
	if r.open {
		r.open = false
		r.text = r.quoted("string value", ": was expecting closing quote for a string value")
	}
	return r.text
}

// lexeme is the text of any token, as error messages show it.
func (r *reader) lexeme() string {
	switch r.tok {
	case tokObject:
		return "{"
	case tokObjectEnd:
		return "}"
	case tokArray:
		return "["
	case tokArrayEnd:
		return "]"
	case tokString:
		return r.str()
	case tokField:
		return r.field
	case tokNumber:
		return r.text
	case tokTrue:
		return "true"
	case tokFalse:
		return "false"
	case tokNull:
		return "null"
	case tokEOF:
	}
	return ""
}

// quoted reads up to the closing quote and returns the text without its escapes.
func (r *reader) quoted(what, eof string) string {
	start := r.pos
	var unescaped strings.Builder
	for r.pos < len(r.src) {
		switch c := r.src[r.pos]; {
		case c == '"':
			text := r.src[start:r.pos]
			r.pos++
			if unescaped.Len() > 0 {
				unescaped.WriteString(text)
				return unescaped.String()
			}
			return text
		case c == '\\':
			unescaped.WriteString(r.src[start:r.pos])
			unescaped.WriteRune(r.escape())
			start = r.pos
		case c < 0x20:
			r.failAt("Illegal unquoted character ("+r.describe()+
				"): has to be escaped using backslash to be included in "+what, r.pos+1)
		default:
			r.pos++
		}
	}
	r.fail("Unexpected end-of-input" + eof)
	return ""
}

func (r *reader) escape() rune {
	r.pos++
	if r.pos == len(r.src) {
		r.fail(escapeEOF)
	}
	c := r.src[r.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r.pos++
		high := r.hex()
		if !utf16.IsSurrogate(high) {
			return high
		}
		if strings.HasPrefix(r.src[r.pos:], `\u`) {
			back := r.pos
			r.pos += 2
			if pair := utf16.DecodeRune(high, r.hex()); pair != utf8.RuneError {
				return pair
			}
			r.pos = back
		}
		return utf8.RuneError
	default:
		r.failAt("Unrecognized character escape "+r.describe(), r.pos+1)
	}
	r.pos++
	return rune(c)
}

func (r *reader) hex() rune {
	var v rune
	for range 4 {
		if r.pos == len(r.src) {
			r.fail(escapeEOF)
		}
		c := r.src[r.pos]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			r.failAt("Unexpected character ("+r.describe()+"): expected a hex-digit for character escape sequence", r.pos)
		}
		v = v<<4 | rune(c)
		r.pos++
	}
	return v
}
