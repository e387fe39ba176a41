package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/plugin"
)

// decoder fills Go values from nodes and reports what does not fit in words of the file, not of Go.
type decoder struct {
	*loader
	kinds  Kinds
	root   *node
	visits map[*node]bool // values seen before: another visit is by an alias

	// bad holds the paths whose value was reported, or which an unknown field was probably meant to be:
	// what Validate says of them is not news.
	bad map[string]bool
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSecret   = reflect.TypeFor[plugin.Secret]()
	typeNames    = reflect.TypeFor[Names]()
)

func (d *decoder) problem(n *node, path, format string, args ...any) {
	d.bad[path] = true
	d.problems.add(n.pos, format, args...)
}

// value fills v from n. path is where n stands, from the top of the file. What is null or broken leaves v as
// it is.
func (d *decoder) value(n *node, v reflect.Value, path string, depth int) {
	if d.visits[n] && !d.grow(1, n) || d.copies > maxCopies {
		return // an alias too many
	}
	d.visits[n] = true
	if n.broken {
		d.bad[path] = true
		return
	}
	if depth > 2*maxDepth {
		d.problem(n, path, "aliases nest sections and lists more than %d deep", 2*maxDepth)
		return
	}
	t := v.Type()
	if n.kind == null {
		return
	}
	if t.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		d.value(n, v.Elem(), path, depth+1)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if n.kind != scalar {
			d.problem(n, path, "want a single value, have %s", n.what())
		} else if err := u.UnmarshalText([]byte(n.text)); err != nil {
			msg := err.Error()
			if n.secret {
				msg = n.hide(msg)
			}
			d.problem(n, path, "%s", msg)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.kind != section {
			d.problem(n, path, "want a section with fields, have %s", n.what())
			return
		}
		d.fields(n, v, path, depth)
	case reflect.Map:
		d.mapping(n, v, path, depth)
	case reflect.Slice:
		d.list(n, v, path, depth)
	case reflect.Interface:
		d.any(n, v, path, depth)
	default:
		d.scalar(n, v, path)
	}
}

// fields fills a struct.
func (d *decoder) fields(n *node, v reflect.Value, path string, depth int) {
	opened := d.open(n, v, path)
	fields := map[string]reflect.Value{}
	complete := eachField(v, func(name string, f reflect.Value) {
		if _, ok := fields[name]; ok {
			panic(fmt.Sprintf("config: %s has two fields %s", path, name)) // a fault of the program
		}
		fields[name] = f
	})
	for _, e := range n.entries {
		at := join(path, e.key)
		f, ok := fields[e.key]
		switch {
		case ok && !opened && e.key == "with": // of a kind that is not known
		case ok:
			d.value(e.value, f, at, depth+1)
		case complete:
			known := slices.Collect(maps.Keys(fields))
			if near := nearest(e.key, known); near != "" {
				d.bad[join(path, near)] = true
			}
			msg := unknown("field", e.key, known)
			if with, ok := fields["with"]; ok && opened && with.Kind() == reflect.Interface {
				eachField(with.Elem().Elem(), func(name string, _ reflect.Value) {
					if name == e.key {
						msg = fmt.Sprintf("unknown field %q; it belongs under with:", e.key)
					}
				})
			}
			d.bad[at] = true
			d.problems.add(e.pos, "%s", msg)
		}
	}
	d.finish(n, v, path)
}

// eachField calls f with the name and value of each field that the file may set in v, a struct; inlined structs
// count as v's own. It is false if v inlines a nil interface, whose fields are not known.
func eachField(v reflect.Value, f func(name string, field reflect.Value)) bool {
	complete := true
	for field, value := range v.Fields() {
		name, opts, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !field.IsExported() && !field.Anonymous:
		case opts == "inline" && value.Kind() == reflect.Interface && value.IsNil():
			complete = false
		case opts == "inline" && value.Kind() == reflect.Interface:
			complete = eachField(value.Elem().Elem(), f) && complete
		case opts == "inline":
			complete = eachField(value, f) && complete
		case name != "":
			f(name, value)
		}
	}
	return complete
}

func (d *decoder) mapping(n *node, v reflect.Value, path string, depth int) {
	t := v.Type()
	if n.kind != section {
		d.problem(n, path, "want a section of names and values, have %s", n.what())
		return
	}
	m := reflect.MakeMapWithSize(t, len(n.entries))
	for _, e := range n.entries {
		at := join(path, e.key)
		key := reflect.New(t.Key()).Elem()
		if u, ok := key.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(e.key)); err != nil {
				d.bad[at] = true
				d.problems.add(e.pos, "%v", err)
				continue
			}
		} else {
			key.SetString(e.key)
		}
		value := reflect.New(t.Elem()).Elem()
		d.defaults(value)
		n := e.value
		if n.kind == null && !n.broken && t.Elem().Kind() == reflect.Struct { // it may need more than nothing
			n = &node{kind: section, pos: e.pos}
		}
		d.value(n, value, at, depth+1)
		m.SetMapIndex(key, value)
	}
	v.Set(m)
}

func (d *decoder) list(n *node, v reflect.Value, path string, depth int) {
	t := v.Type()
	if t == typeNames && n.kind == scalar {
		v.Set(reflect.ValueOf(Names{n.text}))
		return
	}
	if n.kind != list {
		hint := ""
		if k := t.Elem().Kind(); n.kind == scalar && !n.secret && k != reflect.Struct && k != reflect.Map {
			hint = fmt.Sprintf("; write [%s]", clip(n.text))
		}
		d.problem(n, path, "want a list, have %s%s", n.what(), hint)
		return
	}
	s := reflect.MakeSlice(t, len(n.items), len(n.items))
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.kind == null && !item.broken {
			d.problem(item, at, "the list has an empty item; remove it, or write \"\" for an empty text")
			continue
		}
		d.value(item, s.Index(i), at, depth+1)
	}
	v.Set(s)
}

// any fills what a pointer in v points to, or sets v to what n looks like.
func (d *decoder) any(n *node, v reflect.Value, path string, depth int) {
	if !v.IsNil() && v.Elem().Kind() == reflect.Pointer {
		d.value(n, v.Elem().Elem(), path, depth+1)
		return
	}
	if v.NumMethod() > 0 {
		panic(fmt.Sprintf("config: %s has type %v, which no file can hold", path, v.Type())) // a fault of the program
	}
	switch n.kind {
	case null:
	case section:
		m := map[string]any{}
		for _, e := range n.entries {
			var x any
			d.value(e.value, reflect.ValueOf(&x).Elem(), join(path, e.key), depth+1)
			m[e.key] = x
		}
		v.Set(reflect.ValueOf(m))
	case list:
		s := make([]any, len(n.items))
		for i, item := range n.items {
			d.value(item, reflect.ValueOf(&s[i]).Elem(), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		v.Set(reflect.ValueOf(s))
	case scalar:
		v.Set(reflect.ValueOf(n.guess()))
	}
}

// guess is the value of a scalar whose type nobody said: a bool, int64, float64 or string.
func (n *node) guess() any {
	if n.quoted {
		return n.text
	}
	switch n.text {
	case "true":
		return true
	case "false":
		return false
	}
	if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
		return i
	}
	if f, ok := number(n.text); ok {
		return f
	}
	return n.text
}

// number reads a decimal fraction: neither hexadecimal, nor infinite, nor with underscores.
func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && !strings.ContainsAny(s, "xXpP_")
}

func (d *decoder) scalar(n *node, v reflect.Value, path string) {
	var want, hint string
	t := v.Type()
	quotes := n.quoted && !n.expanded // the reader of the file sees a text
	if t == typeSecret && n.kind == scalar {
		d.secrets = append(d.secrets, n.text)
		n.secret = true
	}
	switch {
	case t.Kind() == reflect.String:
		if n.kind == scalar {
			v.SetString(n.text)
			return
		}
		want = "a text"
	case t == typeDuration:
		want = "a duration such as 5s"
		if n.kind == scalar {
			x, err := time.ParseDuration(n.text)
			if err == nil {
				v.SetInt(int64(x))
				return
			}
			hint = durationHint(n)
		}
	case t.Kind() == reflect.Bool:
		want = "true or false"
		if n.kind == scalar && !quotes && (n.text == "true" || n.text == "false") {
			v.SetBool(n.text == "true")
			return
		}
	case v.CanInt():
		want = "a whole number"
		if n.kind == scalar && !quotes {
			x, err := strconv.ParseInt(n.text, 10, 64)
			if err == nil && !v.OverflowInt(x) {
				v.SetInt(x)
				return
			}
			if err == nil || errors.Is(err, strconv.ErrRange) {
				size := t.Bits() - 1
				want += fmt.Sprintf(" from %d to %d", -1<<size, 1<<size-1)
			}
		}
	case v.CanUint():
		want = "a whole number that is not negative"
		if n.kind == scalar && !quotes {
			x, err := strconv.ParseUint(n.text, 10, 64)
			if err == nil && !v.OverflowUint(x) {
				v.SetUint(x)
				return
			}
		}
	case v.CanFloat():
		want = "a number"
		if n.kind == scalar && !quotes {
			if x, ok := number(n.text); ok && !v.OverflowFloat(x) {
				v.SetFloat(x)
				return
			}
		}
	default:
		panic(fmt.Sprintf("config: %s has type %v, which no file can hold", path, t)) // a fault of the program
	}
	if n.kind == scalar && quotes && t != typeDuration {
		hint = "; remove the quotes"
	}
	d.problem(n, path, "want %s, have %s%s", want, n.what(), hint)
}

// durationHint guesses what was meant by n, which is not a duration.
func durationHint(n *node) string {
	if n.secret {
		return ""
	}
	if x, err := strconv.ParseInt(n.text, 10, 64); err == nil {
		return fmt.Sprintf("; for %d seconds write %ds", x, x)
	}
	if days, ok := strings.CutSuffix(n.text, "d"); ok {
		if x, err := strconv.ParseInt(days, 10, 32); err == nil {
			return fmt.Sprintf("; for %d days write %dh", x, 24*x)
		}
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
