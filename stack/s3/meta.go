package s3

import (
	"encoding/base64"
	"mime"
	"strings"
	"unicode/utf8"
)

// Headers are bytes, and S3 reads them as Latin 1. User metadata may be any Unicode: what is not ASCII comes and goes
// in the form of RFC 2047 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).

// fromLatin1 is the text of a header.
func fromLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// toLatin1 makes a header of a text. What it cannot show becomes a space.
func toLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			r = ' '
		}
		b = append(b, byte(r)) //nolint:gosec // it fits
	}
	return string(b)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// metaText reads a value of user metadata.
func metaText(s string) string {
	if !utf8.ValidString(s) {
		s = fromLatin1(s)
	}
	if !strings.Contains(s, "=?") {
		return s
	}
	if text, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return text
	}
	return s
}

// metaHeader shows a value of user metadata: as it is if that is ASCII, else in one word of RFC 2047, which is readable
// if more of it is ASCII than not.
func metaHeader(s string) string {
	ascii, other := 0, 0
	for _, r := range s {
		if r >= 0x7f || r < ' ' && r != '\r' && r != '\n' && r != '\t' {
			other++
		} else {
			ascii++
		}
	}
	if other == 0 {
		return s
	}
	if ascii <= other {
		return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("=?UTF-8?Q?")
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case c > ' ' && c < 0x7f && c != '=' && c != '?' && c != '_':
			b.WriteByte(c)
		default:
			b.WriteByte('=')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	b.WriteString("?=")
	return b.String()
}
