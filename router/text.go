package router

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// glob is the text of a wildcard: literals with "*" between them.
type glob struct {
	parts []string // one more than there are "*"
}

// parseGlob reads a wildcard. "\*" and "\\" stand for themselves. The position in a refusal counts bytes from the
// quote before the text.
func parseGlob(text string) (g glob, refusal string) {
	var part []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '*':
			if i+1 < len(text) && text[i+1] == '*' {
				return g, "Consecutive wildcard characters at pos " + strconv.Itoa(i+1)
			}
			g.parts = append(g.parts, string(part))
			part = part[:0]
		case '\\':
			if i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\' {
				return g, "Invalid escape character at pos " + strconv.Itoa(i+1)
			}
			i++
			part = append(part, text[i])
		default:
			part = append(part, c)
		}
	}
	g.parts = append(g.parts, string(part))
	return g, ""
}

// match tells whether the whole of s is of the wildcard's form. Taking the first place where each part fits is
// enough, so that the time is at most the product of the lengths.
func (g glob) match(s []byte) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return string(s) == first
	}
	if len(s) < len(first)+len(last) || string(s[:len(first)]) != first || string(s[len(s)-len(last):]) != last {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range g.parts[1 : len(g.parts)-1] {
		i := bytes.Index(s, []byte(part))
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// complexity is the greatest number of the wildcard's beginnings that one text can match at once: what an
// automaton that runs it has to keep in mind. It stops counting at limit.
func (g glob) complexity(limit int) int {
	var steps []int // a byte, or star
	const star = 256
	for i, part := range g.parts {
		if i > 0 {
			steps = append(steps, star)
		}
		for j := range len(part) {
			steps = append(steps, int(part[j]))
		}
	}
	steps = append(steps, '"')
	// A beginning that ends in a star stays matched for ever. What can be matched besides is found by walking
	// through all sets of beginnings; only bytes of the wildcard itself can add to them.
	type set string
	key := func(in []bool) set {
		b := make([]byte, len(in))
		for i, x := range in {
			if x {
				b[i] = 1
			}
		}
		return set(b)
	}
	alphabet := map[int]bool{}
	for _, s := range steps {
		if s != star {
			alphabet[s] = true
		}
	}
	count := func(in []bool) int {
		n := 0
		for i := 1; i < len(in); i++ {
			if in[i] {
				n++
			}
		}
		return n
	}
	close := func(in []bool) {
		for i, s := range steps {
			if in[i] && s == star {
				in[i+1] = true
			}
		}
	}
	start := make([]bool, len(steps)+1)
	start[0] = true
	close(start)
	worst := count(start)
	seen := map[set]bool{key(start): true}
	for todo := [][]bool{start}; len(todo) > 0 && len(seen) < 10000; {
		in := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for c := range alphabet {
			next := make([]bool, len(in))
			for i, s := range steps {
				if in[i] && s == c {
					next[i+1] = true
				}
				if in[i+1] && s == star {
					next[i+1] = true
				}
			}
			close(next)
			if n := count(next); n > worst {
				if worst = n; worst >= limit {
					return worst
				}
			}
			if k := key(next); !seen[k] {
				seen[k] = true
				todo = append(todo, next)
			}
		}
	}
	return worst
}

// fold is a text compared without regard to case: each character in its lower and its upper case, by Unicode's
// one-to-one mappings.
type fold struct {
	text  string
	ascii bool
}

func newFold(text string) fold {
	f := fold{text, true}
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			f.ascii = false
		}
	}
	if f.ascii {
		f.text = string(bytes.ToLower([]byte(text)))
	}
	return f
}

// equal tells whether s is the text in any case.
func (f fold) equal(s []byte) bool {
	n, ok := f.prefix(s)
	return ok && n == len(s)
}

// prefix tells whether s begins with the text, and with how many bytes.
func (f fold) prefix(s []byte) (int, bool) {
	if f.ascii {
		if len(s) < len(f.text) {
			return 0, false
		}
		for i := range len(f.text) {
			if lower(s[i]) != f.text[i] {
				return 0, false
			}
		}
		return len(f.text), true
	}
	n := 0
	for _, want := range f.text {
		c, size := utf8.DecodeRune(s[n:])
		if size == 0 || !sameFold(c, want) {
			return 0, false
		}
		n += size
	}
	return n, true
}

// suffix tells whether s ends in the text.
func (f fold) suffix(s []byte) bool {
	if f.ascii {
		if len(s) < len(f.text) {
			return false
		}
		return f.equal(s[len(s)-len(f.text):])
	}
	text := []byte(f.text)
	for len(text) > 0 {
		want, m := utf8.DecodeLastRune(text)
		c, n := utf8.DecodeLastRune(s)
		if n == 0 || !sameFold(c, want) {
			return false
		}
		text, s = text[:len(text)-m], s[:len(s)-n]
	}
	return true
}

// sameFold tells whether c is the pattern's character want in lower or upper case. It is not symmetric: the
// pattern "ſ" takes "S", the pattern "s" takes no "ſ".
func sameFold(c, want rune) bool { return c == unicode.ToLower(want) || c == unicode.ToUpper(want) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}
