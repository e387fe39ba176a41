package httpapi

import (
	"cmp"
	"slices"
	"strings"

	"github.com/millrace/millrace/event"
)

// defaultRoute takes what no other route of an HTTP API takes.
const defaultRoute = "$default"

// route is one route of an HTTP API, or one method of a resource of a REST API.
type route struct {
	key      string // as written: "GET /orders/{id}"
	method   string // "" is ANY
	path     string // "/orders/{id}"; "$default" for the default route
	segments []segment
	id       string // of the resource

	auth   *authorizer // nil lets everybody in
	scopes []string
}

type segment struct {
	text   string // literal, or name of the parameter
	param  bool
	greedy bool
}

// parseRoute reads "GET /orders/{id}". The text of the error says how to mend it.
func parseRoute(key string) (*route, string) {
	if key == defaultRoute {
		return &route{key: key, path: key}, ""
	}
	method, path, ok := strings.Cut(key, " ")
	if !ok {
		return nil, `write a method and a path, such as "GET /orders/{id}"`
	}
	r := &route{key: key, method: method, path: path}
	switch method {
	case "ANY":
		r.method = ""
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return nil, "the method must be one of ANY, GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS"
	}
	if !strings.HasPrefix(path, "/") {
		return nil, "the path must begin with a slash"
	}
	if path == "/" {
		return r, ""
	}
	for text := range strings.SplitSeq(path[1:], "/") {
		var s segment
		s.text = text
		if name, ok := strings.CutPrefix(text, "{"); ok {
			if name, ok = strings.CutSuffix(name, "}"); !ok {
				return nil, "a parameter is a whole segment, such as {id}"
			}
			s.text, s.greedy = strings.CutSuffix(name, "+")
			s.param = true
			if !isToken(s.text) {
				return nil, "a parameter needs a name of letters and digits, such as {id}"
			}
		}
		switch {
		case s.text == "":
			return nil, "the path has an empty segment"
		case strings.ContainsAny(s.text, "{}?# \t"):
			return nil, "a parameter is a whole segment, such as {id}; blanks, braces, ? and # are no part of a path"
		case len(r.segments) > 0 && r.segments[len(r.segments)-1].greedy:
			return nil, "a greedy parameter such as {proxy+} must be the last segment"
		}
		for _, o := range r.segments {
			if o.param && s.param && o.text == s.text {
				return nil, "the parameter {" + s.text + "} occurs twice"
			}
		}
		r.segments = append(r.segments, s)
	}
	return r, ""
}

// shape is the same for routes that match the same requests.
func (r *route) shape() string {
	s := r.method
	for _, g := range r.segments {
		s += "/" + g.text
		if g.param {
			s = s[:len(s)-len(g.text)] + "{}"
		}
		if g.greedy {
			s += "+"
		}
	}
	if r.path == defaultRoute {
		s = defaultRoute
	}
	return s
}

// rank is how particular a segment is, the most particular first.
func (s segment) rank() int {
	switch {
	case s.greedy:
		return 2
	case s.param:
		return 1
	}
	return 0
}

// precedence orders routes so that the first that matches is the one that API Gateway selects: segment by
// segment a literal wins over a parameter and that over a greedy one; then a method over ANY; $default is last
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html).
func precedence(a, b *route) int {
	switch last := b.path == defaultRoute; {
	case (a.path == defaultRoute) == last:
	case last:
		return -1
	default:
		return 1
	}
	for i := range min(len(a.segments), len(b.segments)) {
		if c := cmp.Compare(a.segments[i].rank(), b.segments[i].rank()); c != 0 {
			return c
		}
	}
	if c := cmp.Compare(len(b.segments), len(a.segments)); c != 0 {
		return c
	}
	switch {
	case a.method != "" && b.method == "":
		return -1
	case a.method == "" && b.method != "":
		return 1
	}
	return strings.Compare(a.key, b.key)
}

// router finds the route of a request.
type router struct {
	routes []*route // by precedence

	// rest is the manner of a REST API: parameters keep their escapes, and a slash at the end of the path
	// is not looked at.
	rest bool
}

func newRouter(routes []*route, rest bool) *router {
	slices.SortStableFunc(routes, precedence)
	return &router{routes: routes, rest: rest}
}

// match returns the route for a method and an escaped path, and appends its parameters to params; nil if
// there is none. known tells whether another method has one.
func (t *router) match(method, path string, params []event.Field) (r *route, found []event.Field, known bool) {
	for _, r := range t.routes {
		p, ok := t.try(r, path, params)
		if !ok {
			continue
		}
		if r.method == "" || r.method == method {
			return r, p, true
		}
		known = true
	}
	return nil, params, known
}

func (t *router) try(r *route, path string, params []event.Field) ([]event.Field, bool) {
	if r.path == defaultRoute {
		return params, true
	}
	rest := path[1:]
	if t.rest {
		rest = strings.TrimSuffix(rest, "/")
	}
	for i, s := range r.segments {
		if s.greedy {
			if rest == "" {
				return params, false
			}
			return append(params, event.Field{Name: s.text, Value: t.value(rest)}), true
		}
		part, tail, more := strings.Cut(rest, "/")
		switch {
		case more == (i == len(r.segments)-1):
			return params, false
		case s.param && part != "":
			params = append(params, event.Field{Name: s.text, Value: t.value(part)})
		case s.param || part != s.text && (strings.IndexByte(part, '%') < 0 || unescape(part, false) != s.text):
			return params, false
		}
		rest = tail
	}
	return params, len(r.segments) > 0 || rest == ""
}

func (t *router) value(escaped string) string {
	if t.rest {
		return escaped
	}
	return unescapePath(escaped)
}
