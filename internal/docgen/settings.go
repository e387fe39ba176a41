package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
)

// setting is one field of a configuration.
type setting struct {
	name   string // as in the file
	text   string
	value  reflect.Value // the default; in a list or map, the zero value
	fields []setting     // of a section, or of the sections in a list or map
}

// settings lists the fields of v, a struct or a pointer to one.
func (c *comments) settings(v reflect.Value) ([]setting, error) {
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return c.fields(v, v.Type().PkgPath(), v.Type().Name(), 0)
}

func (c *comments) fields(v reflect.Value, pkg, under string, depth int) ([]setting, error) {
	if depth > 16 {
		return nil, fmt.Errorf("%s.%s holds itself", pkg, under)
	}
	var all []setting
	var errs []error
	for f, value := range v.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case opts == "inline":
			if t := indirect(f.Type); t.Kind() == reflect.Struct {
				more, err := c.fields(zeroed(value), t.PkgPath(), t.Name(), depth+1)
				all, errs = append(all, more...), append(errs, err)
			}
			continue
		case name == "":
			errs = append(errs, fmt.Errorf("%s: %s.%s has no yaml tag, so no file can set it; write yaml:\"-\" if that is meant", pkg, under, f.Name))
			continue
		}
		text, err := c.field(pkg, under, f.Name)
		errs = append(errs, err)
		if rest, ok := strings.CutPrefix(text, f.Name+" "); ok {
			text = "`" + name + "` " + rest
		}
		s := setting{name: name, text: text, value: value}
		if inner, ok := section(value); ok {
			p, u := origin(inner.Type(), pkg, under, f.Name)
			s.fields, err = c.fields(inner, p, u, depth+1)
			errs = append(errs, err)
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// zeroed is what v points to, or a zero value if that is nothing.
func zeroed(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return reflect.Zero(indirect(v.Type()))
		}
		v = v.Elem()
	}
	return v
}

// section is the struct whose fields v holds, directly or in a list or map.
func section(v reflect.Value) (reflect.Value, bool) {
	switch v = zeroed(v); {
	case isText(v.Type()):
	case v.Kind() == reflect.Struct:
		return v, true
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map:
		return section(named(v.Type().Elem()))
	}
	return reflect.Value{}, false
}

// named is a section of type t in which nothing is set.
func named(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[config.Function]():
		return reflect.ValueOf(config.FunctionDefaults())
	case reflect.TypeFor[config.Trigger]():
		return reflect.ValueOf(config.TriggerDefaults())
	}
	return reflect.Zero(t)
}

// isText says whether the file holds a value of t as a single text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSize     = reflect.TypeFor[plugin.Size]()
	typeSecret   = reflect.TypeFor[plugin.Secret]()
	typeNames    = reflect.TypeFor[config.Names]()
)
