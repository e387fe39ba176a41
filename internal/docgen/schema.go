package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"
)

type object = map[string]any

// schema is the JSON Schema (draft 2020-12) of the file, for editors. It is a little wider than the hub: what a
// value must be beyond its type only Validate knows.
func schema(frame []setting, families []family) ([]byte, error) {
	var errs []error
	defs := object{
		"expansion": object{"type": "string", "pattern": `\$\{`, "description": "${NAME}, ${NAME:-default} or ${file:path}"},
		"text":      object{"type": []string{"string", "number", "boolean", "null"}},
		"boolean":   either(object{"type": "boolean"}),
		"integer":   either(object{"type": "integer"}),
		"number":    either(object{"type": "number"}),
		"duration":  either(object{"type": "string", "pattern": `^[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`}, object{"const": 0}),
		"size":      either(object{"type": "string", "pattern": `^[0-9]+ *(B|KB|MB|GB|KiB|MiB|GiB)?$`}, object{"type": "integer", "minimum": 0}),
		"names":     object{"anyOf": []any{ref("text"), object{"type": "array", "items": ref("text")}}},
	}
	root := properties(frame, &errs)
	for _, f := range families {
		names := make([]string, len(f.kinds))
		choices := make([]any, len(f.kinds))
		// Where it stands decides what else a section may hold: the settings of a runtime stand beside it.
		outer := find(root, f.path...)
		if len(f.required) > 0 {
			outer["required"] = f.required
		}
		props := outer["properties"].(object)
		if f.flat { // each runtime has them: once is enough
			for name, p := range props {
				if name != f.key {
					defs[f.section+"."+name] = p
					props[name] = ref(f.section + "." + name)
				}
			}
		}
		for i, k := range f.kinds {
			names[i] = k.name
			inner := properties(k.settings, &errs)
			inner["description"] = k.summary
			then := object{"properties": object{"with": ref(f.dir + "." + k.name)}}
			if f.flat {
				maps.Copy(inner["properties"].(object), props)
				then = ref(f.dir + "." + k.name)
			}
			defs[f.dir+"."+k.name] = inner
			is := object{"properties": object{f.key: object{"const": k.name}}}
			if k.name != f.fallback {
				is["required"] = []string{f.key}
			}
			choices[i] = object{"if": is, "then": then}
		}
		which := props[f.key].(object)
		delete(which, "$ref")
		which["anyOf"] = []any{object{"enum": names}, ref("expansion")}
		outer["allOf"] = choices
		if f.flat {
			delete(outer, "additionalProperties") // the choice among the runtimes has it
		}
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "millrace"
	root["type"] = "object"
	root["$defs"] = defs
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	errs = append(errs, enc.Encode(root))
	return b.Bytes(), errors.Join(errs...)
}

// either is a value of one of the forms, or one that is made when the file is read, or nothing.
func either(forms ...any) object {
	return object{"anyOf": append(forms, ref("expansion"), object{"type": "null"})}
}

func ref(def string) object { return object{"$ref": "#/$defs/" + def} }

// find is the schema of a section in s; "*" is any name in a map.
func find(s object, path ...string) object {
	for _, p := range path {
		if p == "*" {
			s = s["additionalProperties"].(object)
		} else {
			s = s["properties"].(object)[p].(object)
		}
	}
	return s
}

// properties is the schema of a section.
func properties(settings []setting, errs *[]error) object {
	props := object{}
	for _, s := range settings {
		p, err := shape(s.value.Type(), s.fields, errs)
		if err != nil {
			*errs = append(*errs, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		p["description"] = strings.ReplaceAll(s.text, "`", "")
		if d, ok := defaultJSON(s.value); ok {
			p["default"] = d
		}
		props[s.name] = p
	}
	return object{"type": []string{"object", "null"}, "properties": props, "additionalProperties": false}
}

// shape is the schema of a type, whose sections have the given fields.
func shape(t reflect.Type, fields []setting, errs *[]error) (object, error) {
	t = indirect(t)
	switch {
	case t == typeDuration:
		return ref("duration"), nil
	case t == typeSize:
		return ref("size"), nil
	case t == typeNames:
		return ref("names"), nil
	case isText(t) || t.Kind() == reflect.String:
		return ref("text"), nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return ref("boolean"), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ref("integer"), nil
	case reflect.Float32, reflect.Float64:
		return ref("number"), nil
	case reflect.Interface:
		return object{}, nil
	case reflect.Struct:
		return properties(fields, errs), nil
	case reflect.Slice:
		items, err := shape(t.Elem(), fields, errs)
		return object{"type": []string{"array", "null"}, "items": items}, err
	case reflect.Map:
		values, err := shape(t.Elem(), fields, errs)
		return object{"type": []string{"object", "null"}, "additionalProperties": values}, err
	default:
		return nil, fmt.Errorf("no file can hold a %v", t)
	}
}

// defaultJSON is a default in the form that the file has, if there is one to show.
func defaultJSON(v reflect.Value) (any, bool) {
	v = zeroed(v)
	if v.Type() == typeSecret {
		return nil, false
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return short(x), true
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return string(b), err == nil && len(b) > 0
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Interface, reflect.Map:
		return nil, false
	case reflect.Slice:
		all := make([]any, v.Len())
		for i := range all {
			d, ok := defaultJSON(v.Index(i))
			if !ok {
				return nil, false
			}
			all[i] = d
		}
		return all, len(all) > 0
	case reflect.String:
		return v.String(), v.Len() > 0
	default:
		return v.Interface(), true
	}
}

// short is the text of a duration without the parts that are zero.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
