package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// node is one value of a file with its aliases followed, merge keys merged and ${…} expanded. An anchored
// value is shared by all its aliases, so what is wrong with it is reported where it stands.
type node struct {
	kind     kind
	pos      Position
	text     string // of a scalar
	quoted   bool   // the scalar is a text whatever it looks like
	expanded bool   // the scalar held ${…}
	secret   bool   // the scalar held ${file:…}
	broken   bool   // a problem has been reported already: take the value as not there
	items    []*node
	entries  []*entry
}

type entry struct {
	key   string
	pos   Position // of the key
	value *node
}

type kind int

const (
	null kind = iota
	scalar
	list
	section
)

func (n *node) get(key string) *entry {
	for _, e := range n.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

const (
	maxFile   = 4 << 20 // bytes of one file
	maxDepth  = 100     // sections and lists in one another
	maxCopies = 100_000 // values made by aliases and merge keys
)

// tree parses data, or returns nil after reporting what is wrong with it.
func (l *loader) tree(name, dir string, data []byte) *node {
	start := Position{name, 1, 1}
	if len(data) > maxFile {
		l.problems.add(start, "the file has more than 4 MB; split it with include")
		return nil
	}
	if at, what := unreadable(data); what != "" {
		l.problems.add(Position{name, at.Line, at.Column}, "%s", what)
		return nil
	}
	docs, err := yaml.NewLoader(bytes.NewReader(data))
	var doc, second yaml.Node
	if err == nil {
		err = docs.Load(&doc)
	}
	switch {
	case errors.Is(err, io.EOF) || err == nil && (len(doc.Content) == 0 || doc.Content[0].Tag == "!!null"):
		l.problems.add(start, "the file is empty; it needs functions: and triggers:, or include:")
		return nil
	case err != nil:
		l.syntax(name, data, err)
		return nil
	}
	switch err := docs.Load(&second); {
	case err == nil:
		l.problems.add(at(name, &second), "the file holds more than one document; remove the line --- or split the file with include")
	case !errors.Is(err, io.EOF):
		l.syntax(name, data, err)
	}
	b := &builder{loader: l, name: name, dir: dir, built: map[*yaml.Node]*node{}}
	root := b.build(doc.Content[0], 0)
	if root.kind != section {
		if !root.broken {
			l.problems.add(root.pos, "want sections such as functions: and triggers:, have %s", root.what())
		}
		return nil
	}
	return root
}

// unreadable finds the first byte that no YAML file may have.
func unreadable(data []byte) (at Position, what string) {
	at = Position{Line: 1, Column: 1}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", data[i])
		case r == '\n':
			at.Line, at.Column = at.Line+1, 0
		case r < ' ' && r != '\t' && r != '\r' || r == 0x7f:
			return at, fmt.Sprintf("control character U+%04X; in a text in double quotes write it as \\x%02x", r, r)
		}
		at.Column++
		i += size
	}
	return at, ""
}

// syntax reports an error of the YAML library in words that say how to mend it.
func (l *loader) syntax(name string, data []byte, err error) {
	pos := Position{name, 1, 1}
	msg := err.Error()
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	if errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	}
	if one != nil || errors.As(err, &one) {
		msg = strings.TrimPrefix(one.Message, "yaml: ")
		if one.Mark.Line > 0 {
			pos.Line, pos.Column = one.Mark.Line, max(1, one.Mark.Column)
		}
	}
	line, rest := lineAt(data, pos)
	switch {
	case strings.Contains(msg, "cannot start any token") && strings.HasPrefix(rest, "\t"):
		msg = "a tab can not indent; use spaces"
	case strings.Contains(msg, "cannot start any token") && rest != "":
		r, _ := utf8.DecodeRuneInString(rest)
		msg = fmt.Sprintf("a text can not begin with %q; put it in quotes", r)
	case strings.Contains(line, "${") && (strings.Contains(msg, "expected ','") || strings.Contains(msg, "expected key")):
		msg = `syntax error; between { } and [ ], put "${…}" in quotes`
	case strings.Contains(msg, "mapping values are not allowed"):
		msg = "unexpected colon; put a text that has a colon and a space in quotes, or check the indentation"
	case strings.Contains(msg, "expected key"):
		msg = "syntax error; check the indentation, and that quotes and brackets are closed"
	case strings.Contains(msg, "expected '-'"):
		msg = "syntax error; a list item, with \"- \", is expected here"
	case strings.Contains(msg, "could not find expected ':'"):
		msg = "syntax error; a colon is missing after the key"
	case strings.Contains(msg, "expected node content"):
		msg = "syntax error; a value or a closing bracket is missing"
	default:
		msg = "syntax error: " + msg
		if one != nil && one.ContextMsg != "" {
			msg += fmt.Sprintf(" %s that begins in line %d", one.ContextMsg, one.ContextMark.Line)
		}
	}
	l.problems.add(pos, "%s", msg)
}

// lineAt is the line of a position, and what of it comes at and after the column.
func lineAt(data []byte, pos Position) (line, rest string) {
	for range pos.Line - 1 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	b, _, _ := bytes.Cut(data, []byte("\n"))
	runes := []rune(string(b))
	return string(b), string(runes[min(len(runes), pos.Column-1):])
}

func at(name string, n *yaml.Node) Position { return Position{name, max(1, n.Line), max(1, n.Column)} }

// builder makes the tree of one file.
type builder struct {
	*loader
	name, dir string
	built     map[*yaml.Node]*node // nil while the node is being built
}

func (b *builder) build(y *yaml.Node, depth int) *node {
	if y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	if n, ok := b.built[y]; ok {
		if n == nil {
			b.problems.add(at(b.name, y), "&%s holds an alias of itself", y.Anchor)
			return &node{pos: at(b.name, y), broken: true}
		}
		return n
	}
	b.built[y] = nil
	n := &node{pos: at(b.name, y)}
	if depth > maxDepth {
		b.problems.add(n.pos, "sections and lists are nested more than %d deep", maxDepth)
		n.broken = true
	} else {
		b.fill(n, y, depth)
	}
	b.built[y] = n
	return n
}

func (b *builder) fill(n *node, y *yaml.Node, depth int) {
	if y.Style&yaml.TaggedStyle != 0 && y.Tag != "!!str" {
		b.problems.add(n.pos, "the tag %s is not supported; remove it", y.Tag)
		n.broken = true
		return
	}
	switch y.Kind {
	case yaml.ScalarNode:
		if y.Tag == "!!null" {
			return
		}
		n.kind, n.text = scalar, y.Value
		n.quoted = y.Style != 0
		b.expand(n)
	case yaml.SequenceNode:
		n.kind = list
		for _, c := range y.Content {
			n.items = append(n.items, b.build(c, depth+1))
		}
	case yaml.MappingNode:
		n.kind = section
		b.mapping(n, y, depth)
	default: // aliases have been followed, and a document is not a value
	}
}

func (b *builder) mapping(n *node, y *yaml.Node, depth int) {
	have := map[string]*entry{}
	var merges []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, pos := y.Content[i], at(b.name, y.Content[i])
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			b.problems.add(pos, "a key must be a text; if this was to be ${…}, put it in quotes")
		case k.Tag == "!!merge":
			merges = append(merges, b.build(y.Content[i+1], depth+1))
		case have[k.Value] != nil:
			b.problems.add(pos, "%q is set already in line %d", k.Value, have[k.Value].pos.Line)
		default:
			e := &entry{key: k.Value, pos: pos, value: b.build(y.Content[i+1], depth+1)}
			have[e.key] = e
			n.entries = append(n.entries, e)
		}
	}
	// What stands in the section itself comes first, then the earlier of the merged sections.
	for _, m := range merges {
		from := []*node{m}
		if m.kind == list {
			from = m.items
		}
		for _, m := range from {
			switch {
			case m.broken:
			case m.kind != section:
				b.problems.add(m.pos, "<< merges sections, such as *name; have %s", m.what())
			case b.grow(len(m.entries), n):
				for _, e := range m.entries {
					if have[e.key] == nil {
						have[e.key] = e
						n.entries = append(n.entries, e)
					}
				}
			}
		}
	}
}

// grow counts values that exist only by << and aliases. A small file can make as many as it likes; from maxCopies
// on it is refused, once.
func (l *loader) grow(by int, n *node) bool {
	if l.copies > maxCopies {
		return false
	}
	l.copies += by
	if l.copies > maxCopies {
		l.problems.add(n.pos, "aliases and << make more than %d values", maxCopies)
		return false
	}
	return true
}

// what describes a value to people, without the text of a secret.
func (n *node) what() string {
	switch n.kind {
	case list:
		return "a list"
	case section:
		return "a section"
	case null:
		return "nothing"
	case scalar:
	}
	switch {
	case n.secret:
		return "another text"
	case n.quoted:
		return fmt.Sprintf("the text %q", clip(n.text))
	}
	return fmt.Sprintf("%q", clip(n.text))
}

func clip(s string) string {
	if len(s) <= 60 {
		return s
	}
	return strings.ToValidUTF8(s[:60], "") + "…"
}
