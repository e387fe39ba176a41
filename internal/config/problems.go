package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Position is a place in a file. Line and column count from 1.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is one thing that is wrong with a file, and where.
type Problem struct {
	Position
	Msg string
}

func (p Problem) String() string { return p.Position.String() + ": " + p.Msg }

// Problems is everything that is wrong, each thing once, by file, line and column.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps *Problems) add(at Position, format string, args ...any) {
	*ps = append(*ps, Problem{at, fmt.Sprintf(format, args...)})
}

// sorted is ps as an error, nil if there are none, with every text of secrets made unreadable.
func (ps Problems) sorted(secrets []string) error {
	if len(ps) == 0 {
		return nil
	}
	for i := range ps {
		for _, s := range secrets {
			ps[i].Msg = hide(ps[i].Msg, s)
		}
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(ps)
}

const hidden = "***"

// hide replaces secret in msg, as it is or quoted. A short text may be a word of the message: replacing it would
// only tell that it is the secret.
func hide(msg, secret string) string {
	if len(secret) < 8 {
		return msg
	}
	q := strconv.Quote(secret)
	msg = strings.ReplaceAll(msg, q[1:len(q)-1], hidden)
	return strings.ReplaceAll(msg, secret, hidden)
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)

// hide replaces in msg, which is about the secret n, every word that is the secret and all that is quoted, which
// may be a part of it.
func (n *node) hide(msg string) string {
	msg = quoted.ReplaceAllLiteralString(msg, `"`+hidden+`"`)
	word := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(n.text) + `(\W|$)`)
	return word.ReplaceAllString(msg, "${1}"+hidden+"${2}")
}

// unknown says that there is no such name among known, and which may have been meant.
func unknown(what, name string, known []string) string {
	msg := fmt.Sprintf("unknown %s %q", what, name)
	known = slices.Sorted(slices.Values(known))
	if near := nearest(name, known); near != "" {
		return msg + fmt.Sprintf("; did you mean %q?", near)
	}
	switch {
	case len(known) == 0:
		return msg + "; there is none"
	case len(known) <= 24:
		return msg + "; known: " + strings.Join(known, ", ")
	}
	return msg
}

// nearest is the name that s was probably meant to be: the one with the fewest edits to it, letter case not
// counted, if they are at most two and less than half of it; or "".
func nearest(s string, names []string) string {
	near, best := "", 3
	for _, n := range names {
		if d := edits(strings.ToLower(s), strings.ToLower(n)); d < best && 2*d < len(n) {
			best, near = d, n
		}
	}
	return near
}

// edits counts the insertions, deletions, replacements and swaps of neighbours that turn a into b. Texts too
// long to be names count as far apart.
func edits(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	var before []int
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
