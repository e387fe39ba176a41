package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/httpapi"
)

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	for _, s := range httpapi.Specs() {
		c := s.Config()
		if err := c.(interface{ Validate() error }).Validate(); err != nil {
			t.Errorf("%s: %v", s.Kind, err)
		}
		if p := c.(sources.Mounter).Patterns(); len(p) != 1 || p[0] != "/" {
			t.Errorf("%s: patterns %q", s.Kind, p)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	t.Parallel()
	httpAPI := func(change func(*httpapi.HTTPAPI)) interface{ Validate() error } {
		c := httpapi.HTTPAPIDefaults()
		change(&c)
		return &c
	}
	restAPI := func(change func(*httpapi.RESTAPI)) interface{ Validate() error } {
		c := httpapi.RESTAPIDefaults()
		change(&c)
		return &c
	}
	url := func(change func(*httpapi.FunctionURL)) interface{ Validate() error } {
		c := httpapi.FunctionURLDefaults()
		change(&c)
		return &c
	}
	alb := func(change func(*httpapi.ALB)) interface{ Validate() error } {
		c := httpapi.ALBDefaults()
		change(&c)
		return &c
	}
	authorizer := func(a httpapi.Authorizer) interface{ Validate() error } {
		return httpAPI(func(c *httpapi.HTTPAPI) { c.Authorizers = map[string]httpapi.Authorizer{"a": a} })
	}
	jwt := httpapi.Authorizer{Type: "JWT", Issuer: "https://i.test", Audience: []string{"x"}}
	for _, c := range []struct {
		config interface{ Validate() error }
		want   string
	}{
		{url(func(c *httpapi.FunctionURL) { c.Host = "a.test:80" }), "host: "},
		{url(func(c *httpapi.FunctionURL) { c.Path = "a" }), "path: "},
		{url(func(c *httpapi.FunctionURL) { c.Path = "/a/../b" }), "path: "},
		{url(func(c *httpapi.FunctionURL) { c.Path = "/{x}" }), "path: "},
		{url(func(c *httpapi.FunctionURL) { c.MaximumBody = -1 }), "maximumBody: "},
		{url(func(c *httpapi.FunctionURL) { c.Timeout = 0 }), "timeout: "},
		{url(func(c *httpapi.FunctionURL) { c.Timeout = time.Hour }), "timeout: "},
		{url(func(c *httpapi.FunctionURL) { c.ClientTimeout = 0 }), "clientTimeout: "},
		{url(func(c *httpapi.FunctionURL) { c.InvocationType = "DryRun" }), "invocationType: "},
		{url(func(c *httpapi.FunctionURL) { c.AuthType = "IAM" }), "authType: "},
		{url(func(c *httpapi.FunctionURL) { c.AuthType = "AWS_IAM" }), "keys: "},
		{url(func(c *httpapi.FunctionURL) { c.Keys = map[string]plugin.Secret{"a": "b"} }), "keys: "},
		{url(func(c *httpapi.FunctionURL) { c.AuthType, c.Keys = "AWS_IAM", map[string]plugin.Secret{"a": ""} }), "keys: "},
		{url(func(c *httpapi.FunctionURL) { c.InvokeMode = "x" }), "invokeMode: "},
		{url(func(c *httpapi.FunctionURL) { c.InvokeMode, c.InvocationType = "RESPONSE_STREAM", "Event" }), "invokeMode: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowMethods = []string{"GET"} }), "cors.allowMethods: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowCredentials = true }), "cors: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowOrigins, c.CORS.AllowCredentials = []string{"*"}, true }), "cors.allowOrigins: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowOrigins = []string{"a.test"} }), "cors.allowOrigins: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowOrigins = []string{"https://*.a.test"} }), "cors.allowOrigins: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowOrigins, c.CORS.MaxAge = []string{"*"}, 25*time.Hour }), "cors.maxAge: "},
		{url(func(c *httpapi.FunctionURL) {
			c.CORS.AllowOrigins, c.CORS.AllowHeaders = []string{"*"}, []string{"a b"}
		}), "cors.allowHeaders: "},
		{url(func(c *httpapi.FunctionURL) { c.CORS.AllowOrigins = make([]string, 101) }), "cors.allowOrigins: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Stage = "a/b" }), "stage: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.PayloadFormatVersion = "3.0" }), "payloadFormatVersion: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = nil }), "routes: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /a", "/b"} }), "routes[1]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"get /a"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET a"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /a//b"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /{a"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /{}"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /x{a}"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /{a+}/b"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /{a}/{a}"} }), "routes[0]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /{a}", "GET /{b}"} }), "routes[1]: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.DefaultAuthorizer = "x" }), "defaultAuthorizer: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Authorization = map[string]httpapi.RouteAuthorization{"GET /x": {}} }), "authorization.GET /x: "},
		{httpAPI(func(c *httpapi.HTTPAPI) {
			c.Authorization = map[string]httpapi.RouteAuthorization{"$default": {AuthorizationScopes: []string{"s"}}}
		}), "authorization.$default: "},
		{httpAPI(func(c *httpapi.HTTPAPI) { c.Authorizers = map[string]httpapi.Authorizer{"NONE": jwt} }), "authorizers.NONE: "},
		{authorizer(httpapi.Authorizer{Type: "x"}), "authorizers.a.type: "},
		{authorizer(httpapi.Authorizer{Type: "JWT", Issuer: "x", Audience: []string{"x"}}), "authorizers.a.issuer: "},
		{authorizer(httpapi.Authorizer{Type: "JWT", Issuer: "https://i.test"}), "authorizers.a.audience: "},
		{authorizer(func() httpapi.Authorizer { a := jwt; a.Function = "f"; return a }()), "authorizers.a: "},
		{authorizer(func() httpapi.Authorizer { a := jwt; a.IdentitySource = []string{"$context.stage"}; return a }()), "authorizers.a.identitySource[0]: "},
		{authorizer(httpapi.Authorizer{Type: "REQUEST"}), "authorizers.a.function: "},
		{authorizer(httpapi.Authorizer{Type: "REQUEST", Function: "f", AuthorizerResultTTL: time.Minute}), "authorizers.a.authorizerResultTtl: "},
		{authorizer(httpapi.Authorizer{Type: "REQUEST", Function: "f", AuthorizerResultTTL: 2 * time.Hour}), "authorizers.a.authorizerResultTtl: "},
		{authorizer(httpapi.Authorizer{Type: "REQUEST", Function: "f", IdentitySource: []string{"$context.nope"}}), "authorizers.a.identitySource[0]: "},
		{authorizer(httpapi.Authorizer{Type: "REQUEST", Function: "f", AuthorizerPayloadFormatVersion: "1.0", EnableSimpleResponses: true}), "authorizers.a.enableSimpleResponses: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.Stage = "$default" }), "stage: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.Routes = []string{"$default"} }), "routes[0]: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.BinaryMediaTypes = []string{"png"} }), "binaryMediaTypes[0]: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.CORS.AllowCredentials = true }), "cors: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.CORS.AllowOrigin = "a\nb" }), "cors.allowOrigin: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.DefaultAuthorizer = "x" }), "defaultAuthorizer: "},
		{restAPI(func(c *httpapi.RESTAPI) {
			c.Authorizers = map[string]httpapi.RESTAuthorizer{"a": {Type: "TOKEN", Function: "f", IdentitySource: []string{"method.request.querystring.x"}}}
		}), "authorizers.a.identitySource[0]: "},
		{restAPI(func(c *httpapi.RESTAPI) { c.Authorization = map[string]string{"ANY /": "x"} }), "authorization.ANY /: "},
		{alb(func(c *httpapi.ALB) { c.HealthCheck.Path = "x" }), "healthCheck.path: "},
		{alb(func(c *httpapi.ALB) { c.HealthCheck.Interval = time.Second }), "healthCheck.interval: "},
		{alb(func(c *httpapi.ALB) { c.HealthCheck.Timeout = time.Minute }), "healthCheck.timeout: "},
		{alb(func(c *httpapi.ALB) { c.HealthCheck.HealthyThresholdCount = 1 }), "healthCheck.healthyThresholdCount: "},
		{alb(func(c *httpapi.ALB) { c.HealthCheck.Matcher = "200,600" }), "healthCheck.matcher: "},
	} {
		if err := c.config.Validate(); err == nil || !strings.Contains("\n"+err.Error(), "\n"+c.want) {
			t.Errorf("want an error at %s got %v", c.want, err)
		}
	}
}

func TestPatternsAndFunctions(t *testing.T) {
	t.Parallel()
	c := httpapi.HTTPAPIDefaults()
	c.Host, c.Path = "a.test", "/x/"
	c.Authorizers = map[string]httpapi.Authorizer{"b": {Function: "g"}, "a": {Function: "f"}, "c": {Type: "JWT"}}
	if p := strings.Join(c.Patterns(), " "); p != "a.test/x a.test/x/" {
		t.Errorf("patterns %s", p)
	}
	if f := strings.Join(c.Functions(), " "); f != "f g" {
		t.Errorf("functions %s", f)
	}
}
