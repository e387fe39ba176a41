package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/plugin"
)

const head = "<!-- Written by internal/docgen from the source. Do not edit. -->\n\n"

// kindPage is the reference page of one kind.
func kindPage(f family, k kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s# %s: %s\n\n%s\n\n", head, strings.TrimSuffix(f.title, "s"), k.name, k.summary)
	switch {
	case f.flat:
		fmt.Fprintf(&b, "`%s: %s` in an entry of `%s`. These settings stand beside `%s`; [file.md](../file.md) has those that every one has.\n\n", f.key, k.name, f.section, f.key)
	case f.fallback != "":
		fmt.Fprintf(&b, "`%s: %s` in `%s`. These settings stand under `with`.\n\n", f.key, k.name, f.section)
	default:
		fmt.Fprintf(&b, "`%s: %s` in an entry of `%s`. These settings stand under `with`.\n\n", f.key, k.name, f.section)
	}
	if len(k.settings) == 0 {
		b.WriteString("It has no settings.\n")
		return b.String()
	}
	table(&b, k.settings, required(k.defaults, k.settings))
	return b.String()
}

// filePage is the reference page of the frame.
func filePage(frame []setting, families []family) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString(`# The file

One YAML file says what the hub does. A field that it does not know, a value of the wrong type or out of range, and
a name that is not there are all reported at once, with file, line and column, by ` + "`millrace check FILE`" + ` and before
` + "`millrace serve FILE`" + ` starts anything. A section or field that is left out or empty keeps its default.

## Values

| type | written as |
|---|---|
| text | with or without quotes; ` + "`8080`" + ` and ` + "`true`" + ` are texts where a text is wanted |
| true or false | only these two words |
| whole number, number | decimal, without quotes |
| duration | number and unit: ` + "`500ms`, `5s`, `2m`, `6h`, `1h30m`" + ` |
| size | bytes, or with a unit of 1,024: ` + "`512`, `64KB`, `256MB`, `1GB`" + ` |
| secret | a text that the hub never prints |

In any value, but not in a name before a colon:

| | |
|---|---|
| ` + "`${NAME}`" + ` | the environment variable NAME, which must be set |
| ` + "`${NAME:-default}`" + ` | the same, or the default if it is not set or empty |
| ` + "`${file:path}`" + ` | the content of a file, without the line ends after it; the path is relative to the folder of the file. Like a secret it is never printed |
| ` + "`$${`" + ` | the two characters ` + "`${`" + ` |

A value takes the type of its field after that. Between ` + "`{ }` and `[ ]`" + ` put it in quotes: ` + "`[\"${NAME}\"]`" + `.
Anchors, aliases and ` + "`<<`" + ` work as in YAML 1.1.

## Settings

`)
	must := map[string]bool{}
	for _, f := range families {
		for _, name := range f.required {
			must[f.section+".NAME."+name] = true
		}
	}
	table(&b, frame, must)
	for _, f := range families {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", f.title, f.intro)
		list(&b, f)
	}
	return b.String()
}

// indexPage lists all pages.
func indexPage(families []family) string {
	var b strings.Builder
	b.WriteString(head + "# Reference\n\n- [The file](file.md): its frame, and how values are written\n" +
		"- [The local stack and other emulators](emulators.md), case by case\n")
	for _, f := range families {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", f.title, f.intro)
		list(&b, f)
	}
	b.WriteString("\nEditors that know JSON Schema check the file while you type it: begin it with\n" +
		"`# yaml-language-server: $schema=…/configs/millrace.schema.json`.\n")
	return b.String()
}

func list(b *strings.Builder, f family) {
	for _, k := range f.kinds {
		fmt.Fprintf(b, "- [`%s`](%s/%s.md): %s\n", k.name, f.dir, k.name, k.summary)
	}
}

func table(b *strings.Builder, settings []setting, required map[string]bool) {
	b.WriteString("| setting | type | default | |\n|---|---|---|---|\n")
	rows(b, "", settings, required)
}

func rows(b *strings.Builder, prefix string, settings []setting, required map[string]bool) {
	for _, s := range settings {
		path := prefix + s.name
		def := defaultText(s.value)
		if required[path] {
			def = "required"
		}
		typ := typeText(s.value.Type())
		if s.name == "with" && typ == "any" {
			typ = "section of its kind"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, typ, def, strings.ReplaceAll(s.text, "|", `\|`))
		rows(b, path+inner(s.value.Type()), s.fields, required)
	}
}

// inner joins the path of a section to those of its fields.
func inner(t reflect.Type) string {
	switch t = indirect(t); t.Kind() {
	case reflect.Slice:
		return "[]" + inner(t.Elem())
	case reflect.Map:
		return ".NAME" + inner(t.Elem())
	default:
		return "."
	}
}

func typeText(t reflect.Type) string {
	t = indirect(t)
	switch {
	case t == typeDuration:
		return "duration"
	case t == typeSize:
		return "size"
	case t == typeSecret:
		return "secret"
	case t == typeNames:
		return "text or list of text"
	case isText(t) || t.Kind() == reflect.String:
		return "text"
	}
	switch {
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.Zero(t).CanInt() || reflect.Zero(t).CanUint():
		return "whole number"
	case reflect.Zero(t).CanFloat():
		return "number"
	case t.Kind() == reflect.Slice:
		return "list of " + plural(typeText(t.Elem()))
	case t.Kind() == reflect.Map:
		return "names with " + plural(typeText(t.Elem()))
	case t.Kind() == reflect.Struct:
		return "section"
	}
	return "any"
}

func plural(s string) string {
	switch s {
	case "text", "any", "true or false", "text or list of text":
		return s
	}
	if strings.HasPrefix(s, "list") || strings.HasPrefix(s, "names") {
		return s
	}
	return s + "s"
}

// defaultText is a default as it would be written in the file, in code.
func defaultText(v reflect.Value) string {
	if v = zeroed(v); v.Kind() == reflect.Struct && !isText(v.Type()) || v.Kind() == reflect.Interface {
		return ""
	}
	if t := plain(v); t != "" {
		return "`" + t + "`"
	}
	return "none"
}

func plain(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x)
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			return ""
		}
		return string(b)
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() == 0 {
			return ""
		}
		all := make([]string, v.Len())
		for i := range all {
			all[i] = plain(v.Index(i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case reflect.Map:
		if v.Len() == 0 {
			return ""
		}
		var all []string
		for it := v.MapRange(); it.Next(); {
			all = append(all, fmt.Sprintf("%v: %s", it.Key(), plain(it.Value())))
		}
		return "{" + strings.Join(sorted(all), ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}

// required finds the settings that a file can not leave out: those that Validate misses in the defaults. One
// that another setting can stand in for is not among them: the message then names that, or the comment says
// "unless".
func required(defaults any, settings []setting) map[string]bool {
	v, ok := defaults.(interface{ Validate() error })
	if !ok {
		return nil
	}
	missing := map[string]bool{}
	for _, err := range all(v.Validate()) {
		var fe *plugin.FieldError
		if !errors.As(err, &fe) || fe.Path == "" {
			continue
		}
		missing[fe.Path] = true
		for _, s := range settings {
			if s.name != fe.Path && words(fe.Msg)[s.name] || s.name == fe.Path && words(s.text)["unless"] {
				missing[fe.Path] = false
			}
		}
	}
	return missing
}

func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }) {
		set[w] = true
	}
	return set
}

func all(err error) (errs []error) {
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			errs = append(errs, all(e)...)
		}
	default:
		errs = append(errs, err)
	}
	return errs
}
