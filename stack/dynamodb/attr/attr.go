// Package attr has DynamoDB's attribute values and items: how they are read and written as JSON, compared, sized, and
// put into keys (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html).
// Values and items do not change once made; what changes an item makes a new one, which may share parts with it.
package attr

import (
	"slices"
	"strings"
)

// Type is the type of a value.
type Type uint8

// The types that DynamoDB has. Invalid is that of the zero Value and of one that no item may have.
const (
	Invalid Type = iota
	S
	N
	B
	BOOL
	NULL
	L
	M
	SS
	NS
	BS
)

var names = [...]string{"", "S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"}

// String is the name of the type in requests: "SS".
func (t Type) String() string { return names[t] }

// ParseType reads the name of a type.
func ParseType(s string) (Type, bool) {
	i := slices.Index(names[:], s)
	if i <= 0 {
		return Invalid, false
	}
	return Type(i), true
}

// IsSet reports whether it is one of the three types of sets.
func (t Type) IsSet() bool { return t >= SS }

// Element is the type of a set's elements.
func (t Type) Element() Type {
	switch t {
	case SS:
		return S
	case NS:
		return N
	case BS:
		return B
	default:
		return Invalid
	}
}

// Value is an attribute's value. The zero Value is none at all.
type Value struct {
	typ  Type
	text string // S; N in canonical form; the bytes of B; "true" or "false" for BOOL; why the value is Invalid
	sub  *sub
}

// sub holds what a compound value contains.
type sub struct {
	list  []Value // of a list or a set
	attrs Item    // of a map
}

// String makes a value of type S.
func String(s string) Value { return Value{typ: S, text: s} }

// Number makes a value of type N, and reports whether s is a number that DynamoDB takes.
func Number(s string) (Value, bool) {
	n, problem := canonical(s)
	return Value{typ: N, text: n}, problem == ""
}

// Binary makes a value of type B.
func Binary(b []byte) Value { return Value{typ: B, text: string(b)} }

// List makes a value of type L. It keeps the slice.
func List(l []Value) Value { return Value{typ: L, sub: &sub{list: l}} }

// Map makes a value of type M.
func Map(i Item) Value { return Value{typ: M, sub: &sub{attrs: i}} }

// set makes a set; it keeps the slice.
func set(t Type, l []Value) Value { return Value{typ: t, sub: &sub{list: l}} }

func invalid(message string) Value { return Value{typ: Invalid, text: message} }

// Type is the value's type.
func (v Value) Type() Type { return v.typ }

// IsZero reports whether it is no value at all.
func (v Value) IsZero() bool { return v.typ == Invalid && v.text == "" }

// Text is a string, the digits of a number, the bytes of a binary value, or "true" or "false"; "" for other types.
func (v Value) Text() string { return v.text }

// List is the elements of a list or a set. The caller must not change it.
func (v Value) List() []Value {
	if v.sub == nil {
		return nil
	}
	return v.sub.list
}

// Map is the attributes of a map. The caller must not change it.
func (v Value) Map() Item {
	if v.sub == nil {
		return nil
	}
	return v.sub.attrs
}

// Problem is DynamoDB's message about a value that no item may have, such as an empty set; "" if all is well.
func (v Value) Problem() string {
	switch v.typ {
	case Invalid:
		return v.text
	case L:
		for _, e := range v.sub.list {
			if p := e.Problem(); p != "" {
				return p
			}
		}
	case M:
		return v.sub.attrs.Problem()
	default:
	}
	return ""
}

// Equal reports whether two values are the same. The order of a set's elements does not matter.
func (v Value) Equal(w Value) bool {
	if v.typ != w.typ || v.text != w.text {
		return false
	}
	switch v.typ {
	case L:
		return slices.EqualFunc(v.sub.list, w.sub.list, Value.Equal)
	case M:
		return v.sub.attrs.Equal(w.sub.attrs)
	case SS, NS, BS:
		return len(v.sub.list) == len(w.sub.list) && len(minus(v.sub.list, w.sub.list)) == 0
	default:
		return true
	}
}

// Compare orders two values of the same scalar type S, N or B: it is negative if v is before w. ok is false for
// values that have no order.
func (v Value) Compare(w Value) (order int, ok bool) {
	if v.typ != w.typ {
		return 0, false
	}
	switch v.typ {
	case S, B:
		return strings.Compare(v.text, w.text), true
	case N:
		return compareNumbers(v.text, w.text), true
	default:
		return 0, false
	}
}

// Contains is DynamoDB's function contains: whether w is part of a string or binary value, or an element of a list or set.
func (v Value) Contains(w Value) bool {
	switch v.typ {
	case S, B:
		return v.typ == w.typ && strings.Contains(v.text, w.text)
	case L, SS, NS, BS:
		return slices.ContainsFunc(v.sub.list, w.Equal)
	default:
		return false
	}
}

// HasPrefix is DynamoDB's function begins_with.
func (v Value) HasPrefix(w Value) bool {
	return v.typ == w.typ && (v.typ == S || v.typ == B) && strings.HasPrefix(v.text, w.text)
}

// Length is DynamoDB's function size: of a string in UTF-16 units, of a binary value in bytes, of the others in
// elements. ok is false for types that have none.
func (v Value) Length() (n int, ok bool) {
	switch v.typ {
	case S:
		for _, r := range v.text {
			if n++; r > 0xffff {
				n++
			}
		}
		return n, true
	case B:
		return len(v.text), true
	case L, SS, NS, BS:
		return len(v.sub.list), true
	case M:
		return len(v.sub.attrs), true
	default:
		return 0, false
	}
}

// Add is the sum of two numbers, or with subtract their difference. The message is DynamoDB's if the result is no
// number that it can store.
func (v Value) Add(w Value, subtract bool) (sum Value, problem string) {
	n, problem := addNumbers(v.text, w.text, subtract)
	return Value{typ: N, text: n}, problem
}

// Union is the set of all elements of two sets of one type.
func (v Value) Union(w Value) Value {
	return set(v.typ, slices.Concat(v.sub.list, minus(w.sub.list, v.sub.list)))
}

// Minus is the set of a set's elements that are not in another of its type. It may be empty, which no item may have.
func (v Value) Minus(w Value) Value { return set(v.typ, minus(v.sub.list, w.sub.list)) }

// minus returns the elements of a that are not in b; both hold scalars of one type.
func minus(a, b []Value) []Value {
	var out []Value
	if len(a)*len(b) <= 64 {
		for _, e := range a {
			if !slices.ContainsFunc(b, func(x Value) bool { return x.text == e.text }) {
				out = append(out, e)
			}
		}
		return out
	}
	in := make(map[string]bool, len(b))
	for _, e := range b {
		in[e.text] = true
	}
	for _, e := range a {
		if !in[e.text] {
			out = append(out, e)
		}
	}
	return out
}

// Size is what the value takes of an item's size, in bytes.
func (v Value) Size() int {
	switch v.typ {
	case S, B:
		return len(v.text)
	case N:
		return numberSize(v.text)
	case L:
		n := 3 + len(v.sub.list)
		for _, e := range v.sub.list {
			n += e.Size()
		}
		return n
	case M:
		return 3 + len(v.sub.attrs) + v.sub.attrs.Size()
	case SS, NS, BS:
		n := 0
		for _, e := range v.sub.list {
			n += e.Size()
		}
		return n
	default:
		return 1
	}
}

// AppendKey appends a value of type S, N or B so that the order of the bytes is the order of the values, whatever
// follows.
func (v Value) AppendKey(dst []byte) []byte {
	if v.typ == N {
		return appendNumberKey(dst, v.text)
	}
	return append(v.AppendKeyPrefix(dst), 0, 1)
}

// AppendKeyPrefix appends what the keys of all values that begin with a value of type S or B begin with.
func (v Value) AppendKeyPrefix(dst []byte) []byte {
	s := v.text
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
}

// Attr is a named value.
type Attr struct {
	Name  string
	Value Value
}

// Item is a set of attributes, in the order of their names.
type Item []Attr

// NewItem makes an item of attributes in any order. It keeps the slice. Of two with one name the last counts.
func NewItem(attrs []Attr) Item {
	sorted := true
	for i := 1; i < len(attrs); i++ {
		if attrs[i-1].Name >= attrs[i].Name {
			sorted = false
			break
		}
	}
	if sorted {
		return attrs
	}
	slices.SortStableFunc(attrs, func(a, b Attr) int { return strings.Compare(a.Name, b.Name) })
	out := attrs[:0]
	for i, a := range attrs {
		if i+1 < len(attrs) && attrs[i+1].Name == a.Name {
			continue
		}
		out = append(out, a)
	}
	return out
}

func (i Item) find(name string) (int, bool) {
	if len(i) <= 8 {
		for n := range i {
			if i[n].Name >= name {
				return n, i[n].Name == name
			}
		}
		return len(i), false
	}
	return slices.BinarySearchFunc(i, name, func(a Attr, name string) int { return strings.Compare(a.Name, name) })
}

// Get returns the value of an attribute, and whether there is one.
func (i Item) Get(name string) (Value, bool) {
	if n, ok := i.find(name); ok {
		return i[n].Value, true
	}
	return Value{}, false
}

// Index is the place of an attribute in the item, -1 if there is none.
func (i Item) Index(name string) int {
	if n, ok := i.find(name); ok {
		return n
	}
	return -1
}

// With is the item with an attribute set.
func (i Item) With(name string, v Value) Item {
	n, ok := i.find(name)
	if ok {
		out := slices.Clone(i)
		out[n].Value = v
		return out
	}
	out := make(Item, 0, len(i)+1)
	out = append(append(out, i[:n]...), Attr{Name: name, Value: v})
	return append(out, i[n:]...)
}

// Without is the item without an attribute.
func (i Item) Without(name string) Item {
	n, ok := i.find(name)
	if !ok {
		return i
	}
	return slices.Concat(i[:n], i[n+1:])
}

// Only is what the item has of some attributes.
func (i Item) Only(names ...string) Item {
	out := make(Item, 0, len(names))
	for _, name := range names {
		if v, ok := i.Get(name); ok {
			out = append(out, Attr{Name: name, Value: v})
		}
	}
	return NewItem(out)
}

// Equal reports whether two items have the same attributes with the same values.
func (i Item) Equal(j Item) bool {
	return slices.EqualFunc(i, j, func(a, b Attr) bool { return a.Name == b.Name && a.Value.Equal(b.Value) })
}

// Size is the size of the item, names included, in bytes.
func (i Item) Size() int {
	n := 0
	for _, a := range i {
		n += len(a.Name) + a.Value.Size()
	}
	return n
}

// Problem is DynamoDB's message about the first value that no item may have; "" if all is well.
func (i Item) Problem() string {
	for _, a := range i {
		if len(a.Name) > maxName {
			return "One or more parameter values were invalid: Attribute name is too large, must be less than 65536 bytes"
		}
		if p := a.Value.Problem(); p != "" {
			return p
		}
	}
	return ""
}

const maxName = 1<<16 - 1
