package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// member is how a field of a struct is named in the Query protocol.
type member struct {
	index      int
	name       string
	flat       bool
	omit       bool   // absent in XML if zero
	key, value string // of a map's entries
}

// layouts caches members by type.
var layouts sync.Map // reflect.Type -> []member

func layout(t reflect.Type) []member {
	if l, ok := layouts.Load(t); ok {
		return l.([]member)
	}
	var list []member
	for i := range t.NumField() {
		f := t.Field(i)
		m := member{index: i, key: "key", value: "value"}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		m.name = name
		m.omit = strings.Contains(options, "omit")
		if tag := f.Tag.Get("query"); tag != "" {
			parts := strings.Split(tag, ",")
			if parts[0] != "" {
				m.name = parts[0]
			}
			m.flat = len(parts) > 1 && parts[1] == "flat"
			if len(parts) > 3 {
				m.key, m.value = parts[2], parts[3]
			}
		}
		if m.name == "" {
			m.name = f.Name
		}
		list = append(list, m)
	}
	layouts.Store(t, list)
	return list
}

// form is a Query's parameters as a tree: "Entry.1.Id" is a path of three.
type form struct {
	value    string
	set      bool
	children map[string]*form
}

// maxNames bounds what one request may make us allocate beyond its own size.
const maxNames = 10

func parseForm(values url.Values) (*form, error) {
	root := &form{}
	for name, v := range values {
		f := root
		parts := strings.Split(name, ".")
		if len(parts) > maxNames {
			return nil, Errorf("MalformedQueryString", "The parameter %q is nested too deeply.", name[:min(len(name), 100)])
		}
		for _, p := range parts {
			if f.children == nil {
				f.children = map[string]*form{}
			}
			next := f.children[p]
			if next == nil {
				next = &form{}
				f.children[p] = next
			}
			f = next
		}
		f.value, f.set = v[0], true
	}
	return root, nil
}

func decodeQuery(values url.Values, in any) error {
	f, err := parseForm(values)
	if err != nil {
		return err
	}
	return f.into(reflect.ValueOf(in).Elem(), member{}, "")
}

// into sets v from what is below f.
func (f *form) into(v reflect.Value, m member, path string) error {
	switch t := v.Type(); {
	case t == reflect.TypeFor[Time]():
		at, err := time.Parse(time.RFC3339Nano, f.value)
		if err != nil {
			return Errorf("MalformedInput", "%s: %q is not an ISO 8601 timestamp", path, f.value)
		}
		v.Set(reflect.ValueOf(Time{at.UTC()}))
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return f.into(v.Elem(), m, path)
	case t.Kind() == reflect.Struct:
		for _, m := range layout(t) {
			if c := f.children[m.name]; c != nil {
				p := m.name
				if path != "" {
					p = path + "." + m.name
				}
				if err := c.into(v.Field(m.index), m, p); err != nil {
					return err
				}
			}
		}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		b, err := base64.StdEncoding.DecodeString(f.value)
		if err != nil {
			return Errorf("MalformedInput", "%s: the value is not base64: %v", path, err)
		}
		v.SetBytes(b)
	case t.Kind() == reflect.Slice:
		list := f
		if !m.flat {
			list = f.children["member"]
		}
		return list.elements(path, func(c *form, p string) error {
			e := reflect.New(t.Elem()).Elem()
			if err := c.into(e, member{}, p); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
			return nil
		})
	case t.Kind() == reflect.Map:
		list := f
		if !m.flat {
			list = f.children["entry"]
		}
		v.Set(reflect.MakeMap(t))
		return list.elements(path, func(c *form, p string) error {
			k, e := c.children[m.key], reflect.New(t.Elem()).Elem()
			if k == nil {
				return Errorf("MalformedInput", "%s.%s is missing", p, m.key)
			}
			if x := c.children[m.value]; x != nil {
				if err := x.into(e, member{}, p+"."+m.value); err != nil {
					return err
				}
			}
			v.SetMapIndex(reflect.ValueOf(k.value).Convert(t.Key()), e)
			return nil
		})
	default:
		return setText(v, path, f.value)
	}
	return nil
}

// elements calls each for the children 1, 2, … in order, up to the first number that is not there.
func (f *form) elements(path string, each func(c *form, path string) error) error {
	for i := 1; f != nil && f.children[strconv.Itoa(i)] != nil; i++ {
		if err := each(f.children[strconv.Itoa(i)], path+"."+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// encodeQuery writes an answer's XML.
func encodeQuery(b *bytes.Buffer, x *exchange, out any) error {
	fmt.Fprintf(b, `<?xml version="1.0"?><%sResponse xmlns="%s">`, x.Operation, x.service.QueryNamespace)
	if _, none := out.(*None); !none {
		v := reflect.ValueOf(out).Elem()
		fmt.Fprintf(b, "<%sResult>", x.Operation)
		if err := appendXML(b, v, member{}, ""); err != nil {
			return err
		}
		fmt.Fprintf(b, "</%sResult>", x.Operation)
	}
	fmt.Fprintf(b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", x.ID, x.Operation)
	return nil
}

func encodeQueryError(b *bytes.Buffer, x *exchange, e *Error) {
	space := ""
	if x.service != nil {
		space = x.service.QueryNamespace
	}
	code, fault := e.QueryCode, "Sender"
	if code == "" {
		code = e.Code
	}
	if e.status() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	fmt.Fprintf(b, `<?xml version="1.0"?><ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>`, space, fault)
	escape(b, code)
	b.WriteString("</Code><Message>")
	escape(b, e.Message)
	b.WriteString("</Message>")
	if x.service != nil && x.service.QueryDetail {
		b.WriteString("<Detail/>")
	}
	fmt.Fprintf(b, "</Error><RequestId>%s</RequestId></ErrorResponse>", x.ID)
}

func escape(b *bytes.Buffer, s string) {
	xml.EscapeText(b, []byte(s)) //nolint:errcheck // a bytes.Buffer does not fail
}

// appendXML writes a value in an element of that name; the members of a struct stand by themselves if name is empty.
func appendXML(b *bytes.Buffer, v reflect.Value, m member, name string) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	open := func(name string) {
		if name != "" {
			b.WriteByte('<')
			b.WriteString(name)
			b.WriteByte('>')
		}
	}
	closing := func(name string) {
		if name != "" {
			b.WriteString("</")
			b.WriteString(name)
			b.WriteByte('>')
		}
	}
	switch t := v.Type(); {
	case t == reflect.TypeFor[Time]():
		open(name)
		b.WriteString(v.Interface().(Time).UTC().Format("2006-01-02T15:04:05.000Z"))
		closing(name)
	case t.Kind() == reflect.Struct:
		open(name)
		for _, m := range layout(t) {
			f := v.Field(m.index)
			if m.omit && f.IsZero() {
				continue
			}
			if err := appendXML(b, f, m, m.name); err != nil {
				return err
			}
		}
		closing(name)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		open(name)
		b.WriteString(base64.StdEncoding.EncodeToString(v.Bytes()))
		closing(name)
	case t.Kind() == reflect.Slice:
		element := "member"
		if m.flat {
			element = name
		} else {
			open(name)
		}
		for i := range v.Len() {
			if err := appendXML(b, v.Index(i), member{}, element); err != nil {
				return err
			}
		}
		if !m.flat {
			closing(name)
		}
	case t.Kind() == reflect.Map:
		entry := "entry"
		if m.flat {
			entry = name
		} else {
			open(name)
		}
		for _, k := range sortedKeys(v) {
			open(entry)
			open(m.key)
			escape(b, k.String())
			closing(m.key)
			if err := appendXML(b, v.MapIndex(k), member{}, m.value); err != nil {
				return err
			}
			closing(entry)
		}
		if !m.flat {
			closing(name)
		}
	default:
		open(name)
		switch t.Kind() {
		case reflect.String:
			escape(b, v.String())
		case reflect.Bool:
			b.WriteString(strconv.FormatBool(v.Bool()))
		case reflect.Int, reflect.Int32, reflect.Int64:
			b.WriteString(strconv.FormatInt(v.Int(), 10))
		case reflect.Float64:
			b.WriteString(strconv.FormatFloat(v.Float(), 'f', -1, 64))
		default:
			return fmt.Errorf("the type %s has no form in XML", t)
		}
		closing(name)
	}
	return nil
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	for i := 1; i < len(keys); i++ { // few keys
		for j := i; j > 0 && keys[j].String() < keys[j-1].String(); j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}
