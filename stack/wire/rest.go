package wire

import (
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// route is a method and a path whose {Name} parts are variables. {Name+} takes the rest of the path.
type route struct {
	method string
	parts  []string
	names  []string
	op     *operation
}

func newRoute(text string, op *operation) route {
	method, path, _ := strings.Cut(text, " ")
	r := route{method: method, parts: strings.Split(strings.Trim(path, "/"), "/"), op: op}
	for _, p := range r.parts {
		if strings.HasPrefix(p, "{") {
			r.names = append(r.names, strings.Trim(p, "{+}"))
		}
	}
	return r
}

// match returns the values of the variables, decoded.
func (r *route) match(method, path string) ([]string, bool) {
	if method != r.method {
		return nil, false
	}
	got := strings.Split(strings.Trim(path, "/"), "/")
	var values []string
	for i, p := range r.parts {
		if i >= len(got) {
			return nil, false
		}
		switch {
		case strings.HasSuffix(p, "+}"):
			got[i] = strings.Join(got[i:], "/")
			got = got[:i+1]
			fallthrough
		case strings.HasPrefix(p, "{"):
			v, err := url.PathUnescape(got[i])
			if err != nil || v == "" {
				return nil, false
			}
			values = append(values, v)
		case p != got[i]:
			return nil, false
		}
	}
	return values, len(got) == len(r.parts)
}

// decodeREST reads the body, then the members that are in the path and the query string.
func decodeREST(x *exchange, in any) error {
	if err := decodeJSON(x.body, in); err != nil {
		return err
	}
	v := reflect.ValueOf(in).Elem()
	query := x.http.URL.Query()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name, ok := f.Tag.Lookup("path"); ok {
			for j, n := range x.route.names {
				if n == name {
					if err := setText(v.Field(i), name, x.path[j]); err != nil {
						return err
					}
				}
			}
		}
		if name, ok := f.Tag.Lookup("uri"); ok && query.Has(name) {
			if v.Field(i).Kind() == reflect.Slice {
				v.Field(i).Set(reflect.ValueOf(query[name]))
			} else if err := setText(v.Field(i), name, query.Get(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setText gives a scalar the value that a text stands for.
func setText(v reflect.Value, name, text string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	bad := func(what string) error {
		return Errorf("MalformedInput", "%s: %q is not %s", name, text, what)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return bad("true or false")
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return bad("a whole number")
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad("a number")
		}
		v.SetFloat(f)
	default:
		panic("wire: " + name + " has a type that the protocol cannot carry: " + v.Type().String())
	}
	return nil
}
