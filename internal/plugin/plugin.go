// Package plugin describes kinds of component: what each is called, how it is configured and how it is
// opened. There is no global list; whoever wants one builds it.
package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/clock"
)

// Deps is what every component may use besides its own configuration.
type Deps struct {
	Name    string                // as written in the file, e.g. "orders"
	Log     *slog.Logger          // already carries the component's family, name and kind
	Metrics prometheus.Registerer // shared by all components; create vectors once, labelled by name
	Clock   clock.Clock
	Dir     string // folder of the file; relative paths of a configuration start here
	Data    string // folder of the component's own, for what must outlive the process; made by who needs it
	Region  string // AWS region of ARNs and documents, e.g. "us-east-1"
	Account string // AWS account of ARNs and documents, twelve digits

	// Check says that the file is only being checked: open looks, but starts and writes nothing, since another
	// hub may be running on the same file. What it returns is closed at once.
	Check bool

	// Output takes what user code writes to its log: one or more whole lines a Write, safe for concurrent use.
	Output io.Writer
}

// Spec is one kind of component of a family T, such as sources.Source.
type Spec[T any] struct {
	Kind    string // as written in the file, e.g. "s3"
	Summary string // one sentence

	config func() any
	open   func(context.Context, any, Deps) (T, error)
}

// Define makes a Spec. defaults is the configuration of a component whose section is empty; a configured
// one starts from a copy of it. open checks what can be checked on this machine but does not connect:
// connecting, and trying again, is the component's work once it runs.
func Define[C, T any](kind, summary string, defaults C, open func(context.Context, C, Deps) (T, error)) Spec[T] {
	return Spec[T]{
		Kind:    kind,
		Summary: summary,
		config:  func() any { c := clone(defaults); return &c },
		open: func(ctx context.Context, c any, d Deps) (T, error) {
			return open(ctx, *c.(*C), d)
		},
	}
}

// clone copies the slices and maps at the top level of a configuration, so that a decoder filling one copy
// does not write to the next.
func clone[C any](c C) C {
	v := reflect.ValueOf(&c).Elem()
	if v.Kind() != reflect.Struct {
		return c
	}
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() || (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.IsNil() {
			continue
		}
		switch f.Kind() { //nolint:exhaustive // every other kind is copied by value
		case reflect.Slice:
			s := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
			reflect.Copy(s, f)
			f.Set(s)
		case reflect.Map:
			m := reflect.MakeMapWithSize(f.Type(), f.Len())
			for it := f.MapRange(); it.Next(); {
				m.SetMapIndex(it.Key(), it.Value())
			}
			f.Set(m)
		}
	}
	return c
}

// Config returns a pointer to a fresh copy of the defaults.
func (s Spec[T]) Config() any { return s.config() }

// Open opens a component with what Config returned and a decoder filled in.
func (s Spec[T]) Open(ctx context.Context, config any, d Deps) (T, error) {
	v, err := s.open(ctx, config, d)
	switch {
	case err != nil && d.Name == "":
		return v, fmt.Errorf("opening %s: %w", s.Kind, err)
	case err != nil:
		return v, fmt.Errorf("opening %s %q: %w", s.Kind, d.Name, err)
	}
	return v, nil
}

// Catalog is a set of kinds.
type Catalog[T any] struct{ specs map[string]Spec[T] }

// NewCatalog returns a catalog of specs, or an error if two share a kind.
func NewCatalog[T any](specs ...Spec[T]) (Catalog[T], error) {
	c := Catalog[T]{specs: make(map[string]Spec[T], len(specs))}
	for _, s := range specs {
		if _, ok := c.specs[s.Kind]; ok {
			return Catalog[T]{}, fmt.Errorf("kind %q is defined twice", s.Kind)
		}
		c.specs[s.Kind] = s
	}
	return c, nil
}

// Lookup finds a kind.
func (c Catalog[T]) Lookup(kind string) (Spec[T], bool) {
	s, ok := c.specs[kind]
	return s, ok
}

// Kinds lists every kind, sorted.
func (c Catalog[T]) Kinds() []string { return slices.Sorted(maps.Keys(c.specs)) }
