package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// HTTPAPI configures an API Gateway HTTP API.
type HTTPAPI struct {
	Mount `yaml:",inline"`
	// APIID is the id of the API in documents and ARNs. Empty derives one from the trigger's name.
	APIID string `yaml:"apiId"`
	// Stage is the name of the stage: "$default", or a name that is then the first segment of every path.
	Stage string `yaml:"stage"`
	// StageVariables are names and values that the document hands to the function.
	StageVariables map[string]string `yaml:"stageVariables"`
	// Routes are the requests that the API takes: a method or ANY and a path, whose segments may be
	// parameters, the last one a greedy one, or "$default" for all others. The most particular wins, as on AWS.
	Routes []string `yaml:"routes"`
	// PayloadFormatVersion is the form of the document and of the answer: "2.0" or "1.0".
	PayloadFormatVersion string `yaml:"payloadFormatVersion"`
	// CORS is the cross-origin configuration; without origins it is left to the function.
	CORS CORS `yaml:"cors"`
	// Authorizers are what may decide who may use a route, by name.
	Authorizers map[string]Authorizer `yaml:"authorizers"`
	// DefaultAuthorizer is the name of the authorizer of all routes that authorization does not name. Empty
	// leaves them open.
	DefaultAuthorizer string `yaml:"defaultAuthorizer"`
	// Authorization is the authorization of single routes, by route as in routes.
	Authorization map[string]RouteAuthorization `yaml:"authorization"`
}

// Authorizer decides who may use a route of an HTTP API.
type Authorizer struct {
	// Type is JWT, which checks a token, or REQUEST, which asks a function.
	Type string `yaml:"type"`
	// IdentitySource is where a client identifies itself: $request.header.NAME, $request.querystring.NAME,
	// and for REQUEST also $context.NAME and $stageVariables.NAME. A request without one of them is refused
	// with 401. Empty is $request.header.Authorization for JWT, and nothing for REQUEST.
	IdentitySource []string `yaml:"identitySource"`
	// Issuer is the iss claim of a JWT, an URL whose /.well-known/openid-configuration leads to the keys.
	Issuer string `yaml:"issuer"`
	// Audience are the values of which a JWT must have one as aud claim, or as client_id if it has no aud.
	Audience []string `yaml:"audience"`
	// JWKS is a file, or an http or https URL, with the keys of the issuer as JSON Web Key Set. Empty asks
	// the issuer.
	JWKS string `yaml:"jwks"`
	// Function is the name of the function that a REQUEST authorizer asks.
	Function string `yaml:"function"`
	// AuthorizerPayloadFormatVersion is the form of the function's document: "2.0", which is also meant by
	// an empty text, or "1.0".
	AuthorizerPayloadFormatVersion string `yaml:"authorizerPayloadFormatVersion"`
	// EnableSimpleResponses makes the function answer {"isAuthorized": true} instead of an IAM policy. Only
	// with format 2.0.
	EnableSimpleResponses bool `yaml:"enableSimpleResponses"`
	// AuthorizerResultTTL is how long the function's answer for the same identity is used again, up to one
	// hour. 0, as on AWS the default, asks for every request. It needs an identity source.
	AuthorizerResultTTL time.Duration `yaml:"authorizerResultTtl"`
}

// RouteAuthorization is who may use one route.
type RouteAuthorization struct {
	// Authorizer is the name of the route's authorizer, or NONE to leave it open. Empty is defaultAuthorizer.
	Authorizer string `yaml:"authorizer"`
	// AuthorizationScopes are the scopes of which a JWT must have one. Empty demands none.
	AuthorizationScopes []string `yaml:"authorizationScopes"`
}

// HTTPAPIDefaults is the configuration of an HTTP API whose section is empty.
func HTTPAPIDefaults() HTTPAPI {
	return HTTPAPI{
		Mount: mountDefaults(10*plugin.MB, 30*time.Second), Stage: "$default", Routes: []string{defaultRoute},
		PayloadFormatVersion: "2.0",
	}
}

const none = "NONE" // authorizer of an open route

// Validate reports every setting that can not be kept.
func (c *HTTPAPI) Validate() error {
	errs := c.validate()
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	if c.Stage != "$default" {
		validStage(c.Stage, bad)
	}
	if c.PayloadFormatVersion != "2.0" && c.PayloadFormatVersion != "1.0" {
		bad("payloadFormatVersion", `%q is not known; write "2.0" or "1.0"`, c.PayloadFormatVersion)
	}
	c.CORS.validate(bad)
	for _, name := range slices.Sorted(maps.Keys(c.Authorizers)) {
		a := c.Authorizers[name]
		a.validate("authorizers."+name, bad)
		if name == none {
			bad("authorizers."+name, "NONE stands for no authorizer; choose another name")
		}
	}
	routes := validRoutes(c.Routes, true, bad)
	known := func(path, name string, scopes int) {
		a, ok := c.Authorizers[name]
		switch {
		case name == "" || name == none:
			if scopes > 0 {
				bad(path, "authorizationScopes need a JWT authorizer")
			}
		case !ok:
			bad(path, "there is no authorizer %q; known: %s", name, names(c.Authorizers))
		case scopes > 0 && a.Type != "JWT":
			bad(path, "authorizationScopes need a JWT authorizer, and %q is a %s authorizer", name, a.Type)
		}
	}
	known("defaultAuthorizer", c.DefaultAuthorizer, 0)
	for _, key := range slices.Sorted(maps.Keys(c.Authorization)) {
		a := c.Authorization[key]
		path := "authorization." + key
		if !slices.ContainsFunc(routes, func(r *route) bool { return r.key == key }) {
			bad(path, "there is no route %q; write it as in routes", key)
		}
		name := a.Authorizer
		if name == "" {
			name = c.DefaultAuthorizer
		}
		known(path, name, len(a.AuthorizationScopes))
	}
	return errors.Join(errs...)
}

func names[V any](m map[string]V) string {
	if len(m) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func validStage(stage string, bad func(path, format string, args ...any)) {
	ok := stage != "" && len(stage) <= 128
	for i := range len(stage) {
		c := stage[i]
		ok = ok && (c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		bad("stage", "%q is not the name of a stage; write up to 128 letters, digits, hyphens and underscores", stage)
	}
}

// validRoutes parses routes, which must differ in what they match.
func validRoutes(keys []string, fallback bool, bad func(path, format string, args ...any)) []*route {
	if len(keys) == 0 {
		bad("routes", "at least one route is needed")
	}
	var routes []*route
	seen := map[string]string{}
	for i, key := range keys {
		path := indexed("routes", i)
		r, why := parseRoute(key)
		switch {
		case why != "":
			bad(path, "%q is not a route: %s", key, why)
			continue
		case r.path == defaultRoute && !fallback:
			bad(path, `a REST API has no "$default"; write "ANY /{proxy+}"`)
			continue
		case seen[r.shape()] != "":
			bad(path, "%q matches the same requests as %q", key, seen[r.shape()])
			continue
		}
		seen[r.shape()] = key
		routes = append(routes, r)
	}
	return routes
}

// Example is a request to the first route.
func (c *HTTPAPI) Example() string {
	below := ""
	if c.Stage != defaultRoute {
		below = "/" + c.Stage
	}
	return c.example(below + firstPath(c.Routes))
}

// firstPath is the path of the first route, with something in the place of each parameter.
func firstPath(routes []string) string {
	if len(routes) == 0 {
		return "/"
	}
	_, path, ok := strings.Cut(routes[0], " ")
	if !ok {
		return "/"
	}
	return strings.NewReplacer("{", "", "+}", "", "}", "").Replace(path)
}

// Functions lists the functions of the authorizers.
func (c *HTTPAPI) Functions() []string {
	var fs []string
	for _, name := range slices.Sorted(maps.Keys(c.Authorizers)) {
		if f := c.Authorizers[name].Function; f != "" {
			fs = append(fs, f)
		}
	}
	return fs
}

type httpAPI struct {
	*door
	id        string
	stage     string
	variables []event.Field
	v1        bool
	cors      *cors
	router    *router
	arn       string // of the stage, up to the method
}

// maxAPIHeaders is the quota of API Gateway for request line and headers, in bytes.
const maxAPIHeaders = 10240

func openHTTPAPI(_ context.Context, c HTTPAPI, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	keySets := map[string]*jwtVerifier{}
	for name, a := range c.Authorizers {
		if a.Type == "JWT" {
			v, err := newJWTVerifier(a, d)
			if err != nil {
				return nil, plugin.Invalid("authorizers."+name+".jwks", "%v", err)
			}
			keySets[name] = v
		}
	}
	return &source{patterns: c.Patterns(), handler: func(hub sources.Hub) (http.Handler, error) {
		h := &httpAPI{id: c.APIID, stage: c.Stage, variables: sortedFields(c.StageVariables), v1: c.PayloadFormatVersion == "1.0", cors: newCORS(c.CORS, http.StatusNoContent)}
		if h.id == "" {
			h.id = identifier(d.Name, 10)
		}
		h.arn = arnOf(d, h.id, h.stage)
		authorizers := map[string]*authorizer{}
		for name, a := range c.Authorizers {
			z, err := newAuthorizer(a, keySets[name], h.v1, d, hub)
			if err != nil {
				return nil, err
			}
			authorizers[name] = z
		}
		var routes []*route
		for _, key := range c.Routes {
			r, _ := parseRoute(key) // Validate has
			r.id = key
			name := c.DefaultAuthorizer
			if a, ok := c.Authorization[key]; ok {
				if a.Authorizer != "" {
					name = a.Authorizer
				}
				r.scopes = a.AuthorizationScopes
			}
			r.auth = authorizers[name]
			routes = append(routes, r)
		}
		h.router = newRouter(routes, false)
		format := event.AnswerHTTPAPI
		if h.v1 {
			format = event.AnswerHTTPAPIv1
		}
		h.door = newDoor(d, c.Mount, hub, format, h)
		h.maxHeaders = maxAPIHeaders
		return h, nil
	}}, nil
}

func sortedFields(m map[string]string) []event.Field {
	var fs []event.Field
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fs = append(fs, event.Field{Name: k, Value: m[k]})
	}
	return fs
}

// cutStage takes the stage off the front of a path.
func cutStage(path, stage string) (string, bool) {
	rest, ok := strings.CutPrefix(path[1:], stage)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return "", false
	case rest == "":
		return "/", true
	}
	return rest, true
}

func (h *httpAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer h.end(x)
	x.cors = h.cors
	if !x.admit() || x.answerPreflight() {
		return
	}
	path := x.path
	if h.stage != "$default" {
		var ok bool
		if path, ok = cutStage(path, h.stage); !ok {
			x.fail(noRoute)
			return
		}
	}
	var rt *route
	rt, x.params, _ = h.router.match(r.Method, path, x.params)
	if rt == nil {
		x.fail(noRoute)
		return
	}
	slices.SortFunc(x.params, byName)
	x.req.PathParameters, x.req.StageVariables = x.params, h.variables
	x.req.APIID, x.req.Stage = h.id, h.stage
	x.req.RouteKey, x.req.ResourceID, x.req.Resource = rt.key, rt.key, rt.path
	x.req.ContextPath = unescapePath(x.path)
	x.req.Path = x.path
	if !h.v1 {
		x.req.Path = x.req.ContextPath
	}
	if rt.auth != nil && !rt.auth.admit(x, rt, h.arn+r.Method+path) {
		return
	}
	if !x.read() {
		return
	}
	x.req.Base64 = !x.textBody()
	if h.v1 {
		x.doc = event.AppendHTTPAPIv1(x.doc[:0], &x.req)
	} else {
		x.doc = event.AppendHTTPAPI(x.doc[:0], &x.req)
	}
	x.invoke()
}

func (h *httpAPI) decorate(x *exchange, _ http.Header) { x.set("Apigw-Requestid", x.id) }

func (h *httpAPI) fail(x *exchange, f fault) {
	status, text := http.StatusInternalServerError, "Internal Server Error"
	switch f {
	case badRequest:
		status, text = 400, "Bad Request"
	case bodyTimeout:
		status, text = 408, "Request Timeout"
	case tooLarge:
		status, text = 413, "Request Entity Too Large"
	case headersTooLarge:
		status, text = 431, "Request Header Fields Too Large"
	case upgradeRefused:
		status, text = 501, "Not Implemented"
	case noRoute:
		status, text = 404, "Not Found"
	case unauthorized:
		status, text = 401, "Unauthorized"
	case forbidden, explicitlyForbidden:
		status, text = 403, "Forbidden"
	case throttled:
		status, text = 429, "Too Many Requests"
	case unavailable, timedOut:
		status, text = 503, "Service Unavailable"
	default: // the function's failures, and those of authorizers
	}
	x.respond(status, "application/json", `{"message":"`+text+`"}`)
}
