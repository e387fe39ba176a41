package router

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

const (
	maxDepth = 10000 // as in encoding/json

	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// view is a part of a document as a string, for calls that do not keep it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// The functions below step over JSON text and check it on the way. Each takes the position of the first byte and
// returns the position behind the last, or -1 if the text is not JSON. They do not check UTF-8: a document with bytes
// above ASCII is checked as a whole at its end.

// space steps over white space.
func space(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// specials tells which of eight bytes are no part of a string as it is: a quote, a backslash, a control character, or
// a byte above ASCII. In each of the three terms the top bit of a byte is set if that byte, or one below it, is
// special, so that zero proves eight plain bytes and the lowest bit of another number tells the first special one.
func specials(w uint64) uint64 {
	return (w | (w - ones*0x20) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & tops
}

// hasDot tells whether there is a dot among eight bytes.
func hasDot(w uint64) bool {
	w ^= ones * '.'
	return (w-ones)&^w&tops != 0
}

// plain returns the position of the first byte from i on that is special.
func plain(b []byte, i int) int {
	for i+16 <= len(b) {
		w := b[i : i+16]
		first := specials(binary.LittleEndian.Uint64(w))
		second := specials(binary.LittleEndian.Uint64(w[8:]))
		if first|second == 0 {
			i += 16
			continue
		}
		if first != 0 {
			return i + bits.TrailingZeros64(first)>>3
		}
		return i + 8 + bits.TrailingZeros64(second)>>3
	}
	for ; i+8 <= len(b); i += 8 {
		if special := specials(binary.LittleEndian.Uint64(b[i:])); special != 0 {
			return i + bits.TrailingZeros64(special)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// quoted steps over the rest of a string, whose opening quote is behind it and whose first special byte is at i, and
// tells whether the string has escapes.
func (m *matching) quoted(b []byte, i int) (end int, escaped bool) {
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c >= utf8.RuneSelf:
			m.wide = true
			for i++; i < len(b) && b[i] >= utf8.RuneSelf; i++ {
			}
		case c == '\\':
			escaped = true
			if i = escape(b, i); i < 0 {
				return -1, false
			}
		default:
			return -1, false
		}
		i = plain(b, i)
	}
	return -1, false
}

func escape(b []byte, i int) int {
	if i+1 >= len(b) {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if _, ok := hex4(b[i:]); ok {
			return i + 6
		}
	}
	return -1
}

// hex4 reads \uXXXX at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends the text of a string that was stepped over. Half a surrogate pair becomes U+FFFD.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch c = raw[i+1]; c {
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
			r, _ := hex4(raw[i:])
			i += 6
			if utf16.IsSurrogate(r) {
				low, ok := hex4(raw[i:])
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					r = pair
					i += 6
				} else {
					r = utf8.RuneError
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
		i += 2
	}
	return dst
}

func number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

func digits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// keyword steps over true, false or null, whose first byte is at i.
func keyword(b []byte, i int) int {
	word := "true"
	switch b[i] {
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	}
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

// skip steps over a value that nobody asks for.
func (m *matching) skip(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; c {
	case '"':
		if i = plain(b, i+1); i < len(b) && b[i] == '"' {
			return i + 1
		}
		i, _ = m.quoted(b, i)
		return i
	case '{', '[':
		return m.skipInside(b, i+1, c, depth+1)
	case 't', 'f', 'n':
		return keyword(b, i)
	default:
		return number(b, i)
	}
}

// skipInside steps over what follows an opening bracket.
func (m *matching) skipInside(b []byte, i int, open byte, depth int) int {
	closing := open + 2 // in ASCII both brackets are two apart
	if i = space(b, i); i >= len(b) || depth > maxDepth {
		return -1
	}
	if b[i] == closing {
		return i + 1
	}
	for {
		if open == '{' {
			if i >= len(b) || b[i] != '"' {
				return -1
			}
			if i = plain(b, i+1); i < len(b) && b[i] == '"' {
				i++
			} else if i, _ = m.quoted(b, i); i < 0 {
				return -1
			}
			if i >= len(b) || b[i] != ':' {
				if i = space(b, i); i >= len(b) || b[i] != ':' {
					return -1
				}
			}
			if i++; i < len(b) && b[i] <= ' ' {
				i = space(b, i)
			}
		}
		if i = m.skip(b, i, depth); i < 0 {
			return -1
		}
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = space(b, i)
			}
		case closing:
			return i + 1
		default:
			return -1
		}
	}
}
