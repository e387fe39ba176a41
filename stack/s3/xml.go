package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// namespace is that of all documents of S3.
const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// document is an XML text being written.
type document struct{ bytes.Buffer }

func newDocument() *document {
	d := new(document)
	d.WriteString(xml.Header)
	return d
}

// root opens the outermost element.
func (d *document) root(name string) {
	d.WriteString("<" + name + ` xmlns="` + namespace + `">`)
}

func (d *document) open(name string) {
	d.WriteByte('<')
	d.WriteString(name)
	d.WriteByte('>')
}

func (d *document) close(name string) {
	d.WriteString("</")
	d.WriteString(name)
	d.WriteByte('>')
}

// text writes an element that holds a text.
func (d *document) text(name, value string) {
	d.open(name)
	d.escape(value)
	d.close(name)
}

// given writes an element unless the text is empty.
func (d *document) given(name, value string) {
	if value != "" {
		d.text(name, value)
	}
}

func (d *document) number(name string, value int64) { d.text(name, strconv.FormatInt(value, 10)) }

func (d *document) boolean(name string, value bool) { d.text(name, strconv.FormatBool(value)) }

func (d *document) time(name string, t time.Time) { d.text(name, stamp(t)) }

// stamp is how S3 writes times in documents: in whole seconds, although it shows milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") + ".000Z" }

// escape writes a text so that a parser gives it back. Characters that XML 1.0 cannot hold are written as
// references, as S3 does: clients ask for encoding-type=url to be spared them.
func (d *document) escape(s string) {
	start := 0
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		escaped := ""
		switch {
		case c == '&':
			escaped = "&amp;"
		case c == '<':
			escaped = "&lt;"
		case c == '>':
			escaped = "&gt;"
		case c == '"':
			escaped = "&quot;"
		case c < ' ' && c != '\n' && c != '\t' || c == 0xFFFE || c == 0xFFFF:
			escaped = "&#x" + strconv.FormatInt(int64(c), 16) + ";"
		case c == utf8.RuneError && size == 1:
			escaped = "\uFFFD"
		}
		if escaped != "" {
			d.WriteString(s[start:i])
			d.WriteString(escaped)
			start = i + size
		}
		i += size
	}
	d.WriteString(s[start:])
}

// node is an element of a document that a client sent.
type node struct {
	name     string
	attr     []xml.Attr
	text     string
	children []*node
}

// most levels and elements of a document; what S3 takes has far fewer.
const (
	maxDepth    = 12
	maxElements = 100_000
)

var errXML = errors.New("not well-formed")

// parseXML reads a document. Namespaces are not minded, as S3 does not mind them.
func parseXML(text []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	var stack []*node
	var root *node
	count := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errXML
		}
		switch t := token.(type) {
		case xml.StartElement:
			count++
			if len(stack) == maxDepth || count > maxElements || len(stack) == 0 && root != nil {
				return nil, errXML
			}
			n := &node{name: t.Name.Local, attr: t.Attr}
			if len(stack) == 0 {
				root = n
			} else {
				p := stack[len(stack)-1]
				p.children = append(p.children, n)
			}
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXML
			}
		case xml.Directive:
			return nil, errXML // no document of S3 has a DTD
		}
	}
	if root == nil || len(stack) > 0 {
		return nil, errXML
	}
	return root, nil
}

// children calls the function of each child's name, in order. Any other child is refused.
func (n *node) each(by map[string]func(*node) error) error {
	for _, c := range n.children {
		f := by[c.name]
		if f == nil {
			return malformedXML()
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// leaf is the text of an element that must hold nothing else.
func (n *node) leaf(into *string) error {
	if len(n.children) > 0 {
		return malformedXML()
	}
	*into = n.text
	return nil
}

// word is leaf without the white space around it.
func (n *node) word(into *string) error {
	err := n.leaf(into)
	*into = strings.TrimSpace(*into)
	return err
}

// into makes a function for each that stores a leaf, once.
func into(s *string) func(*node) error {
	seen := false
	return func(n *node) error {
		if seen {
			return malformedXML()
		}
		seen = true
		return n.leaf(s)
	}
}

// once is into for a value without white space around it.
func once(s *string) func(*node) error {
	f := into(s)
	return func(n *node) error {
		err := f(n)
		*s = strings.TrimSpace(*s)
		return err
	}
}
