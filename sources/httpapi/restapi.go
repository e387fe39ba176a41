package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// RESTAPI configures an API Gateway REST API with Lambda proxy integration.
type RESTAPI struct {
	Mount `yaml:",inline"`
	// APIID is the id of the API in documents and ARNs. Empty derives one from the trigger's name.
	APIID string `yaml:"apiId"`
	// Stage is the name of the stage, which is the first segment of every path.
	Stage string `yaml:"stage"`
	// StageVariables are names and values that the document hands to the function.
	StageVariables map[string]string `yaml:"stageVariables"`
	// Routes are the methods of the API's resources: a method or ANY and the path of a resource, whose
	// segments may be parameters, the last one a greedy one. The most particular wins, as on AWS.
	Routes []string `yaml:"routes"`
	// BinaryMediaTypes are the types of binary bodies, such as "image/png", "image/*" or "*/*". A request
	// of such a Content-Type reaches the function as base64, and an answer in base64 is decoded for a client
	// whose first Accept type, or lacking that whose Content-Type, is among them. A binary body of another
	// type is taken as text and damaged, as on AWS.
	BinaryMediaTypes []string `yaml:"binaryMediaTypes"`
	// CORS makes the API answer OPTIONS for all its resources that have no route for OPTIONS itself.
	CORS RESTCORS `yaml:"cors"`
	// Authorizers are the functions that may decide who may use a method, by name.
	Authorizers map[string]RESTAuthorizer `yaml:"authorizers"`
	// DefaultAuthorizer is the name of the authorizer of all routes that authorization does not name. Empty
	// leaves them open.
	DefaultAuthorizer string `yaml:"defaultAuthorizer"`
	// Authorization names the authorizer of single routes, by route as in routes; NONE leaves it open.
	Authorization map[string]string `yaml:"authorization"`
}

// RESTCORS is what a REST API answers to preflight requests. The function itself adds
// Access-Control-Allow-Origin to its own answers, as on AWS.
type RESTCORS struct {
	// AllowOrigin is the value of Access-Control-Allow-Origin: one origin, or "*". Empty leaves OPTIONS to
	// the routes.
	AllowOrigin string `yaml:"allowOrigin"`
	// AllowHeaders is the value of Access-Control-Allow-Headers.
	AllowHeaders string `yaml:"allowHeaders"`
	// AllowMethods is the value of Access-Control-Allow-Methods.
	AllowMethods string `yaml:"allowMethods"`
	// AllowCredentials sends Access-Control-Allow-Credentials: true. It can not be combined with "*".
	AllowCredentials bool `yaml:"allowCredentials"`
	// MaxAge is how long a browser may keep the answer, in whole seconds up to 24 hours; 0 sends no header.
	MaxAge time.Duration `yaml:"maxAge"`
}

// RESTAuthorizer decides who may use a method of a REST API.
type RESTAuthorizer struct {
	// Type is TOKEN, which hands the function one header, or REQUEST, which hands it the request.
	Type string `yaml:"type"`
	// Function is the name of the function, which answers with an IAM policy.
	Function string `yaml:"function"`
	// IdentitySource is where a client identifies itself: method.request.header.NAME, and for REQUEST also
	// method.request.querystring.NAME, context.NAME and stageVariables.NAME. A request without one of them
	// is refused with 401. Empty is method.request.header.Authorization for TOKEN, and nothing for REQUEST.
	IdentitySource []string `yaml:"identitySource"`
	// AuthorizerResultTTL is how long the function's policy for the same identity is used again, up to one
	// hour. 0, the default here, asks for every request; AWS's default is 5 minutes. It needs an identity source.
	AuthorizerResultTTL time.Duration `yaml:"authorizerResultTtl"`
}

// RESTAPIDefaults is the configuration of a REST API whose section is empty.
func RESTAPIDefaults() RESTAPI {
	return RESTAPI{
		Mount: mountDefaults(10*plugin.MB, 29*time.Second), Stage: "prod", Routes: []string{"ANY /", "ANY /{proxy+}"},
		CORS: RESTCORS{
			AllowHeaders: "Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token",
			AllowMethods: "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT",
		},
	}
}

// Validate reports every setting that can not be kept.
func (c *RESTAPI) Validate() error {
	errs := c.validate()
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	validStage(c.Stage, bad)
	routes := validRoutes(c.Routes, false, bad)
	for i, t := range c.BinaryMediaTypes {
		if kind, sub, ok := strings.Cut(t, "/"); !ok || kind == "" || sub == "" || strings.ContainsAny(t, "; ,") || kind == "*" && sub != "*" {
			bad(indexed("binaryMediaTypes", i), `%q is not a media type; write one such as "image/png", "image/*" or "*/*"`, t)
		}
	}
	k := c.CORS
	if k.AllowOrigin == "" && (k.AllowCredentials || k.MaxAge != 0) {
		bad("cors", "allowCredentials and maxAge have no effect without allowOrigin")
	}
	if k.AllowOrigin == "*" && k.AllowCredentials {
		bad("cors.allowOrigin", `"*" can not be combined with allowCredentials, which browsers would refuse; name the origin`)
	}
	if k.MaxAge < 0 || k.MaxAge > 24*time.Hour || k.MaxAge%time.Second != 0 {
		bad("cors.maxAge", "%s is out of range; write whole seconds up to 24h", k.MaxAge)
	}
	for path, v := range map[string]string{"cors.allowOrigin": k.AllowOrigin, "cors.allowHeaders": k.AllowHeaders, "cors.allowMethods": k.AllowMethods} {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			bad(path, "%q can not be the value of a header", v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Authorizers)) {
		a := c.Authorizers[name]
		a.validate("authorizers."+name, bad)
		if name == none {
			bad("authorizers."+name, "NONE stands for no authorizer; choose another name")
		}
	}
	known := func(path, name string) {
		if _, ok := c.Authorizers[name]; !ok && name != "" && name != none {
			bad(path, "there is no authorizer %q; known: %s", name, names(c.Authorizers))
		}
	}
	known("defaultAuthorizer", c.DefaultAuthorizer)
	for _, key := range slices.Sorted(maps.Keys(c.Authorization)) {
		path := "authorization." + key
		if !slices.ContainsFunc(routes, func(r *route) bool { return r.key == key }) {
			bad(path, "there is no route %q; write it as in routes", key)
		}
		known(path, c.Authorization[key])
	}
	return errors.Join(errs...)
}

func (a *RESTAuthorizer) validate(path string, bad func(path, format string, args ...any)) {
	if a.Type != "TOKEN" && a.Type != "REQUEST" {
		bad(path+".type", "%q is not known; write TOKEN or REQUEST", a.Type)
		return
	}
	if a.Function == "" {
		bad(path+".function", "an authorizer needs a function")
	}
	if a.Type == "TOKEN" && len(a.IdentitySource) > 1 {
		bad(path+".identitySource", "a TOKEN authorizer has one identity source")
	}
	for i, s := range a.IdentitySource {
		if p, ok := parseIdentity(s, "method.request.", ""); !ok || a.Type == "TOKEN" && p.place != "header" {
			bad(indexed(path+".identitySource", i), "%q is not an identity source of a %s authorizer; write one such as method.request.header.Authorization", s, a.Type)
		}
	}
	identities := len(a.IdentitySource)
	if a.Type == "TOKEN" {
		identities = 1
	}
	validTTL(path, a.AuthorizerResultTTL, identities, bad)
}

// Example is a request to the first route.
func (c *RESTAPI) Example() string { return c.example("/" + c.Stage + firstPath(c.Routes)) }

// Functions lists the functions of the authorizers.
func (c *RESTAPI) Functions() []string {
	var fs []string
	for _, name := range slices.Sorted(maps.Keys(c.Authorizers)) {
		fs = append(fs, c.Authorizers[name].Function)
	}
	return fs
}

type restAPI struct {
	*door
	id         string
	stage      string
	deployment string
	variables  []event.Field
	binary     []string
	cors       RESTCORS
	router     *router
	arn        string // of the stage, up to the method
}

func openRESTAPI(_ context.Context, c RESTAPI, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &source{patterns: c.Patterns(), handler: func(hub sources.Hub) (http.Handler, error) {
		h := &restAPI{
			id: c.APIID, stage: c.Stage, deployment: identifier("deployment of "+d.Name, 6),
			variables: sortedFields(c.StageVariables), binary: c.BinaryMediaTypes, cors: c.CORS,
		}
		if h.id == "" {
			h.id = identifier(d.Name, 10)
		}
		h.arn = arnOf(d, h.id, h.stage)
		authorizers := map[string]*authorizer{}
		for name, a := range c.Authorizers {
			z, err := newRESTAuthorizer(a, d, hub)
			if err != nil {
				return nil, err
			}
			authorizers[name] = z
		}
		var routes []*route
		for _, key := range c.Routes {
			r, _ := parseRoute(key) // Validate has
			r.id = identifier(r.path, 6)
			name := c.Authorization[key]
			if name == "" {
				name = c.DefaultAuthorizer
			}
			r.auth = authorizers[name]
			routes = append(routes, r)
		}
		h.router = newRouter(routes, true)
		h.door = newDoor(d, c.Mount, hub, event.AnswerRESTAPI, h)
		h.maxHeaders = maxAPIHeaders
		return h, nil
	}}, nil
}

func newRESTAuthorizer(c RESTAuthorizer, d plugin.Deps, hub sources.Hub) (*authorizer, error) {
	a := &authorizer{Deps: d, ttl: c.AuthorizerResultTTL, patience: 29 * time.Second, v1: true, cache: map[string]decision{}, context: flatContext}
	for _, s := range c.IdentitySource {
		p, _ := parseIdentity(s, "method.request.", "") // Validate has
		a.identities = append(a.identities, p)
	}
	a.document = func(dst []byte, x *exchange, arn string, _ []string) []byte {
		return event.AppendRESTAuthorizer(dst, &x.req, arn)
	}
	if c.Type == "TOKEN" {
		if len(a.identities) == 0 {
			a.identities = []identity{{"header", "Authorization"}}
		}
		a.document = func(dst []byte, _ *exchange, arn string, values []string) []byte {
			return event.AppendTokenAuthorizer(dst, arn, values[0])
		}
	}
	return a, a.find(hub, c.Function)
}

// collapse makes one slash of several at the start of a path.
func collapse(path string) string {
	for strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	return path
}

func (h *restAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(w, r)
	defer h.end(x)
	if !x.admit() {
		return
	}
	full := collapse(x.path)
	path, ok := cutStage(full, h.stage)
	if !ok {
		x.fail(noRoute)
		return
	}
	path = collapse(path)
	var rt *route
	var known bool
	rt, x.params, known = h.router.match(r.Method, path, x.params)
	if h.cors.AllowOrigin != "" && r.Method == http.MethodOptions && (rt != nil && rt.method == "" || rt == nil && known) {
		h.preflight(x)
		return
	}
	if rt == nil {
		x.fail(noRoute)
		return
	}
	slices.SortFunc(x.params, byName)
	x.req.PathParameters, x.req.StageVariables = x.params, h.variables
	x.req.APIID, x.req.Stage, x.req.DeploymentID = h.id, h.stage, h.deployment
	x.req.RouteKey, x.req.ResourceID, x.req.Resource = rt.key, rt.id, rt.path
	x.req.Path, x.req.ContextPath = path, full
	if rt.auth != nil && !rt.auth.admit(x, rt, h.arn+r.Method+path) {
		return
	}
	if !x.read() {
		return
	}
	x.req.Base64 = mediaMatch(h.binary, first(r.Header, "Content-Type"))
	x.doc = event.AppendRESTAPI(x.doc[:0], &x.req)
	x.invoke()
}

// mediaMatch tells whether a Content-Type or the first type of an Accept header is among types.
func mediaMatch(types []string, header string) bool {
	if len(types) == 0 {
		return false
	}
	if i := strings.IndexAny(header, ",;"); i >= 0 {
		header = header[:i]
	}
	header = strings.TrimSpace(header)
	for _, t := range types {
		if t == "*/*" || header != "" && strings.EqualFold(t, header) {
			return true
		}
		if kind, ok := strings.CutSuffix(t, "*"); ok && len(header) > len(kind) && strings.EqualFold(header[:len(kind)], kind) {
			return true
		}
	}
	return false
}

// decodes tells whether the base64 body of an answer is binary to the client.
func (h *restAPI) decodes(x *exchange) bool {
	if accept := first(x.r.Header, "Accept"); accept != "" {
		return mediaMatch(h.binary, accept)
	}
	for _, f := range x.answer.Headers {
		if strings.EqualFold(f.Name, "Content-Type") {
			return mediaMatch(h.binary, f.Value)
		}
	}
	return false
}

// preflight answers OPTIONS as the mock integration that AWS's console sets up.
func (h *restAPI) preflight(x *exchange) {
	if !x.claim() {
		return
	}
	defer x.mu.Unlock()
	x.set("Access-Control-Allow-Origin", h.cors.AllowOrigin)
	x.set("Access-Control-Allow-Headers", h.cors.AllowHeaders)
	x.set("Access-Control-Allow-Methods", h.cors.AllowMethods)
	if h.cors.AllowCredentials {
		x.set("Access-Control-Allow-Credentials", "true")
	}
	if h.cors.MaxAge > 0 {
		x.set("Access-Control-Max-Age", strconv.Itoa(int(h.cors.MaxAge/time.Second)))
	}
	x.respond(http.StatusOK, "application/json", "")
}

func (h *restAPI) decorate(x *exchange, _ http.Header) {
	x.set("x-amzn-RequestId", x.id)
	x.set("x-amz-apigw-id", x.id)
	x.set("X-Amzn-Trace-Id", x.traceID)
}

func (h *restAPI) fail(x *exchange, f fault) {
	status, kind, body := 502, "InternalServerErrorException", `{"message": "Internal server error"}`
	switch f {
	case badRequest:
		status, kind, body = 400, "BadRequestException", `{"message": "Bad Request"}`
	case bodyTimeout:
		status, kind, body = 408, "RequestTimeoutException", `{"message": "Request Timeout"}`
	case tooLarge:
		status, kind, body = 413, "RequestTooLargeException", `{"message": "Request Too Long"}`
	case headersTooLarge:
		status, kind, body = 431, "RequestHeaderFieldsTooLargeException", `{"message": "Request Header Fields Too Large"}`
	case upgradeRefused:
		status, kind, body = 501, "NotImplementedException", `{"message": "Not Implemented"}`
	case noRoute:
		status, kind, body = 403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`
	case unauthorized:
		status, kind, body = 401, "UnauthorizedException", `{"message":"Unauthorized"}`
	case forbidden:
		status, kind, body = 403, "AccessDeniedException", `{"Message":"User is not authorized to access this resource"}`
	case explicitlyForbidden:
		status, kind, body = 403, "AccessDeniedException", `{"Message":"User is not authorized to access this resource with an explicit deny"}`
	case throttled:
		status, kind, body = 429, "TooManyRequestsException", `{"message":"Too Many Requests"}`
	case unavailable:
		status, kind, body = 503, "ServiceUnavailableException", `{"message":"Service Unavailable"}`
	case internal:
		status = 500
	case timedOut:
		status, body = 504, `{"message": "Endpoint request timed out"}`
	case authorizerFailed:
		status, kind, body = 500, "AuthorizerConfigurationException", `{"message":null}`
	default: // what the function did wrong
	}
	x.set("x-amzn-ErrorType", kind)
	x.respond(status, "application/json", body)
}
