package attr

import (
	"encoding/base64"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep lists and maps may be nested in one another.
const maxDepth = 32

// Messages of values that DynamoDB does not take.
const (
	parameters  = "One or more parameter values were invalid: "
	noType      = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
	manyTypes   = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
	falseNull   = parameters + "Null attribute value types must have the value of true"
	emptySS     = parameters + "An string set  may not be empty"
	emptyNS     = parameters + "An number set  may not be empty"
	emptyBS     = parameters + "Binary sets should not be empty"
	duplicateNS = "Input collection contains duplicates"
	tooDeep     = "Nesting Levels have exceeded supported limits"
)

// UnmarshalJSONFrom reads a value such as {"S":"text"}. An error means that the JSON has the wrong form. A value that
// has the right form but that no item may have is read as Invalid; its Problem tells why.
func (v *Value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	w, err := readValue(d, 0)
	if err != nil {
		return err
	}
	*v = w
	return nil
}

// UnmarshalJSONFrom reads an item such as {"id":{"S":"text"}}, as Value's method does.
func (i *Item) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == 'n' {
		*i = nil
		return d.SkipValue()
	}
	w, err := readItem(d, 0)
	if err != nil {
		return err
	}
	*i = w
	return nil
}

func wrong(d *jsontext.Decoder, kind jsontext.Kind, t reflect.Type) error {
	return &json.SemanticError{ByteOffset: d.InputOffset(), JSONPointer: d.StackPointer(), JSONKind: kind, GoType: t}
}

// open reads the beginning of an object or array.
func open(d *jsontext.Decoder, kind jsontext.Kind, t reflect.Type) error {
	if k := d.PeekKind(); k != kind && k != jsontext.KindInvalid {
		return wrong(d, k, t)
	}
	_, err := d.ReadToken()
	return err
}

func readItem(d *jsontext.Decoder, depth int) (Item, error) {
	if err := open(d, '{', reflect.TypeFor[map[string]Value]()); err != nil {
		return nil, err
	}
	attrs := make([]Attr, 0, 4)
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		a := Attr{Name: name.String()}
		if a.Value, err = readValue(d, depth); err != nil {
			return nil, err
		}
		attrs = append(attrs, a)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	return NewItem(attrs), nil
}

func readValue(d *jsontext.Decoder, depth int) (Value, error) {
	if d.PeekKind() == 'n' {
		return invalid(noType), d.SkipValue()
	}
	if err := open(d, '{', reflect.TypeFor[map[string]Value]()); err != nil {
		return Value{}, err
	}
	v, n := invalid(noType), 0
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return Value{}, err
		}
		typ, known := ParseType(name.String())
		if !known || d.PeekKind() == 'n' { // members that are unknown or null are as if they were not there
			if err := d.SkipValue(); err != nil {
				return Value{}, err
			}
			continue
		}
		w, err := readTyped(d, typ, depth)
		if err != nil {
			return Value{}, err
		}
		if n++; n == 1 || v.typ != Invalid && w.typ == Invalid {
			v = w // what is wrong with one value is told before that there are several
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return Value{}, err
	}
	if n > 1 && v.typ != Invalid {
		v = invalid(manyTypes)
	}
	return v, nil
}

func readTyped(d *jsontext.Decoder, typ Type, depth int) (Value, error) {
	switch typ {
	case S, N, B:
		return readScalar(d, typ)
	case BOOL, NULL:
		k := d.PeekKind()
		if k != 't' && k != 'f' {
			if k != jsontext.KindInvalid {
				return Value{}, wrong(d, k, reflect.TypeFor[bool]())
			}
		}
		t, err := d.ReadToken()
		if err != nil {
			return Value{}, err
		}
		switch {
		case typ == NULL && !t.Bool():
			return invalid(falseNull), nil
		case typ == NULL:
			return Value{typ: NULL}, nil
		case t.Bool():
			return Value{typ: BOOL, text: "true"}, nil
		default:
			return Value{typ: BOOL, text: "false"}, nil
		}
	case M:
		if depth+1 >= maxDepth {
			return invalid(tooDeep), d.SkipValue()
		}
		attrs, err := readItem(d, depth+1)
		return Map(attrs), err
	case L:
		if depth+1 >= maxDepth {
			return invalid(tooDeep), d.SkipValue()
		}
		list, err := readList(d, func() (Value, error) { return readValue(d, depth+1) })
		return List(list), err
	default:
		list, err := readList(d, func() (Value, error) { return readScalar(d, typ.Element()) })
		if err != nil {
			return Value{}, err
		}
		return newSet(typ, list), nil
	}
}

func readList(d *jsontext.Decoder, element func() (Value, error)) ([]Value, error) {
	if err := open(d, '[', reflect.TypeFor[[]Value]()); err != nil {
		return nil, err
	}
	list := []Value{}
	for d.PeekKind() != ']' {
		v, err := element()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.ReadToken()
	return list, err
}

func readScalar(d *jsontext.Decoder, typ Type) (Value, error) {
	if k := d.PeekKind(); k != '"' {
		if k != jsontext.KindInvalid {
			if typ == B {
				return Value{}, wrong(d, k, reflect.TypeFor[[]byte]())
			}
			return Value{}, wrong(d, k, reflect.TypeFor[string]())
		}
	}
	t, err := d.ReadToken()
	if err != nil {
		return Value{}, err
	}
	s := t.String()
	switch typ {
	case N:
		n, problem := canonical(s)
		if problem != "" {
			return invalid(problem), nil
		}
		return Value{typ: N, text: n}, nil
	case B:
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil {
			return Value{}, wrong(d, '"', reflect.TypeFor[[]byte]())
		}
		return Binary(b), nil
	default:
		return String(s), nil
	}
}

// newSet makes a set of elements that may be empty, invalid, or twice in the list, which makes the set invalid.
func newSet(typ Type, list []Value) Value {
	if len(list) == 0 {
		return invalid(map[Type]string{SS: emptySS, NS: emptyNS, BS: emptyBS}[typ])
	}
	seen := make(map[string]bool, len(list))
	twice := false
	for _, e := range list {
		if e.typ == Invalid {
			return e
		}
		twice = twice || seen[e.text]
		seen[e.text] = true
	}
	if !twice {
		return set(typ, list)
	}
	if typ == NS {
		return invalid(duplicateNS)
	}
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = e.text
		if typ == BS {
			texts[i] = base64.StdEncoding.EncodeToString([]byte(e.text))
		}
	}
	collection := parameters + "Input collection [" + strings.Join(texts, ", ") + "]"
	if typ == BS {
		return invalid(collection + "of type BS contains duplicates.")
	}
	return invalid(collection + " contains duplicates.")
}

// MarshalJSONTo writes the value as {"S":"text"}.
func (v Value) MarshalJSONTo(e *jsontext.Encoder) error { return e.WriteValue(v.AppendJSON(nil)) }

// MarshalJSONTo writes the item as {"id":{"S":"text"}}.
func (i Item) MarshalJSONTo(e *jsontext.Encoder) error { return e.WriteValue(i.AppendJSON(nil)) }

// AppendJSON appends the value as MarshalJSONTo writes it.
func (v Value) AppendJSON(dst []byte) []byte {
	dst = append(append(append(dst, `{"`...), v.typ.String()...), `":`...)
	switch v.typ {
	case S, N, B:
		dst = v.appendScalar(dst)
	case BOOL:
		dst = append(dst, v.text...)
	case L:
		dst = append(dst, '[')
		for n, x := range v.sub.list {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = x.AppendJSON(dst)
		}
		dst = append(dst, ']')
	case M:
		dst = v.sub.attrs.AppendJSON(dst)
	case SS, NS, BS:
		dst = append(dst, '[')
		for n, x := range v.sub.list {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = x.appendScalar(dst)
		}
		dst = append(dst, ']')
	default:
		dst = append(dst, "true"...)
	}
	return append(dst, '}')
}

func (v Value) appendScalar(dst []byte) []byte {
	switch v.typ {
	case N:
		return append(append(append(dst, '"'), v.text...), '"')
	case B:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, []byte(v.text))
		return append(dst, '"')
	default:
		return appendString(dst, v.text)
	}
}

// AppendJSON appends the item as MarshalJSONTo writes it.
func (i Item) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for n, a := range i {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, a.Name), ':')
		dst = a.Value.AppendJSON(dst)
	}
	return append(dst, '}')
}

func appendString(dst []byte, s string) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		return dst // it has written a replacement for what is not UTF-8
	}
	return dst
}

// Parse reads an item that AppendJSON has written.
func Parse(text []byte) (Item, error) {
	var i Item
	if err := json.Unmarshal(text, &i); err != nil {
		return nil, err
	}
	return i, nil
}
