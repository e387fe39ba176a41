package router

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
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
		i := strings.Index(view(s), part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

const star = 256 // a step that takes any bytes

// steps are the bytes and stars of the wildcard, with the quote that ends a string.
func (g glob) steps() []int {
	var steps []int
	for i, part := range g.parts {
		if i > 0 {
			steps = append(steps, star)
		}
		for j := range len(part) {
			steps = append(steps, int(part[j]))
		}
	}
	return append(steps, '"')
}

// complexity is the greatest number of beginnings of wildcards that one text can match at once: what an automaton
// that runs them has to keep in mind. Wildcards of one operator have what is before their first stars in common,
// and their ends. It stops counting at limit, and where it has looked at so much that the rest could take seconds.
func complexity(ops []operator, limit int) int {
	// A state is what has been matched: a flag per place, of which a wildcard has one before each step and one at
	// its end. Only bytes of the wildcards can add to a state, so that walking over those finds all states.
	const end = -1
	var steps []int // of all wildcards; end marks the places behind their last steps
	var same []int  // per place: the first place that is one with it
	first := []byte{}
	alphabet := map[int]bool{}
	for i := range ops {
		common := map[string]int{}
		for _, g := range ops[i].glob {
			shared := true
			name := ""
			for k, s := range append(g.steps(), end) {
				place := len(steps)
				same = append(same, place)
				first = append(first, 0)
				if k == 0 {
					first[place] = 1
				}
				if shared || s == end {
					if s == end {
						name = "end"
					}
					if at, ok := common[name]; ok {
						same[place] = at
					} else {
						common[name] = place
					}
				}
				steps = append(steps, s)
				name += strconv.Itoa(s) + " "
				if k > 0 && steps[place-1] == star {
					shared = false
				}
				if s != star && s != end {
					alphabet[s] = true
				}
			}
		}
	}
	starts := slices.Clone(first)
	counted := make([]int, len(steps)) // per place: the count that counted it last
	counts := 0
	count := func(state []byte) int {
		counts++
		n := 0
		for i, in := range state {
			if in == 1 && starts[i] == 0 && counted[same[i]] != counts {
				counted[same[i]] = counts
				n++
			}
		}
		return n
	}
	skipStars := func(state []byte) {
		for i, s := range steps {
			if s == star && state[i] == 1 {
				state[i+1] = 1
			}
		}
	}
	skipStars(first)
	worst := count(first)
	seen := map[string]bool{string(first): true}
	work := 0
	for todo := [][]byte{first}; len(todo) > 0 && worst < limit && work < 2e7; {
		work += len(steps) * len(alphabet)
		state := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for c := range alphabet {
			next := make([]byte, len(state))
			for i, s := range steps {
				if state[i] == 1 && s == c || s == star && state[i+1] == 1 {
					next[i+1] = 1
				}
			}
			skipStars(next)
			worst = max(worst, count(next))
			if !seen[string(next)] {
				seen[string(next)] = true
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
