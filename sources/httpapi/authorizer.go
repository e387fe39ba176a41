package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

func indexed(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (a *Authorizer) validate(path string, bad func(path, format string, args ...any)) {
	var places []string
	switch a.Type {
	case "JWT":
		places = []string{"header", "querystring"}
		if u, err := url.Parse(a.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			bad(path+".issuer", "%q is not the URL of an issuer", a.Issuer)
		}
		if len(a.Audience) == 0 {
			bad(path+".audience", "a JWT authorizer needs at least one audience")
		}
		if len(a.IdentitySource) > 1 {
			bad(path+".identitySource", "a JWT authorizer has one identity source")
		}
		if a.Function != "" || a.AuthorizerPayloadFormatVersion != "" || a.EnableSimpleResponses || a.AuthorizerResultTTL != 0 {
			bad(path, "function, authorizerPayloadFormatVersion, enableSimpleResponses and authorizerResultTtl have no effect on a JWT authorizer")
		}
	case "REQUEST":
		places = []string{"header", "querystring", "context", "stageVariables"}
		if a.Function == "" {
			bad(path+".function", "a REQUEST authorizer needs a function")
		}
		if a.Issuer != "" || len(a.Audience) > 0 || a.JWKS != "" {
			bad(path, "issuer, audience and jwks have no effect on a REQUEST authorizer")
		}
		switch a.AuthorizerPayloadFormatVersion {
		case "", "2.0":
		case "1.0":
			if a.EnableSimpleResponses {
				bad(path+".enableSimpleResponses", `simple responses need authorizerPayloadFormatVersion "2.0"`)
			}
		default:
			bad(path+".authorizerPayloadFormatVersion", `%q is not known; write "2.0" or "1.0"`, a.AuthorizerPayloadFormatVersion)
		}
		validTTL(path, a.AuthorizerResultTTL, len(a.IdentitySource), bad)
	default:
		bad(path+".type", "%q is not known; write JWT or REQUEST", a.Type)
		return
	}
	for i, s := range a.IdentitySource {
		if p, ok := parseIdentity(s, "$request.", "$"); !ok || !slices.Contains(places, p.place) {
			bad(indexed(path+".identitySource", i), "%q is not an identity source of a %s authorizer; write one such as $request.header.Authorization", s, a.Type)
		}
	}
}

func validTTL(path string, ttl time.Duration, identities int, bad func(path, format string, args ...any)) {
	if ttl < 0 || ttl > time.Hour {
		bad(path+".authorizerResultTtl", "%s is out of range; write a duration up to 1h", ttl)
	}
	if ttl > 0 && identities == 0 {
		bad(path+".authorizerResultTtl", "answers can only be kept by identity: set identitySource, or 0s")
	}
}

// identity is one place where a client identifies itself.
type identity struct{ place, name string }

// parseIdentity reads $request.header.NAME, in the spelling of HTTP APIs, or method.request.header.NAME in
// that of REST APIs: request and other are what stands before the place.
func parseIdentity(s, request, other string) (identity, bool) {
	rest, ok := strings.CutPrefix(s, request)
	places := []string{"header", "querystring"}
	if !ok {
		rest, ok = strings.CutPrefix(s, other)
		places = []string{"context", "stageVariables"}
	}
	place, name, found := strings.Cut(rest, ".")
	p := identity{place, name}
	if !ok || !found || name == "" || !slices.Contains(places, place) {
		return p, false
	}
	if place == "context" {
		_, ok = p.value(&exchange{})
	}
	return p, ok || place != "context"
}

// value finds the identity in a request; it is empty if it is not there. known is false for a name that the
// request context does not have.
func (p identity) value(x *exchange) (v string, known bool) {
	switch p.place {
	case "header":
		return fieldOf(x.headers, p.name, true), true
	case "querystring":
		return fieldOf(x.query, p.name, false), true
	case "stageVariables":
		return fieldOf(x.req.StageVariables, p.name, false), true
	}
	switch p.name {
	case "accountId":
		return x.req.AccountID, true
	case "apiId":
		return x.req.APIID, true
	case "domainName":
		return x.req.DomainName, true
	case "httpMethod":
		return x.req.Method, true
	case "identity.sourceIp":
		return x.req.SourceIP, true
	case "identity.userAgent":
		return x.req.UserAgent, true
	case "path":
		return x.path, true
	case "protocol":
		return x.req.Protocol, true
	case "resourcePath":
		return x.req.Resource, true
	case "routeKey":
		return x.req.RouteKey, true
	case "stage":
		return x.req.Stage, true
	}
	return "", false
}

func fieldOf(fs []event.Field, name string, fold bool) string {
	for _, f := range fs {
		if f.Name == name || fold && strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// authorizer decides who may use a route.
type authorizer struct {
	plugin.Deps
	identities []identity
	jwt        *jwtVerifier // or a function:

	function executor.Function
	arn      string
	document func(dst []byte, x *exchange, methodARN string, values []string) []byte
	simple   bool
	ttl      time.Duration
	patience time.Duration

	// context makes requestContext.authorizer of the route's document.
	context func(a *event.Authorization, took time.Duration) []byte
	v1      bool

	mu    sync.Mutex
	cache map[string]decision // by identities
}

type decision struct {
	*event.Authorization
	until time.Time
}

const maxDecisions = 10000 // in the cache of one authorizer

func newAuthorizer(c Authorizer, jwt *jwtVerifier, v1 bool, d plugin.Deps, hub sources.Hub) (*authorizer, error) {
	a := &authorizer{Deps: d, jwt: jwt, simple: c.EnableSimpleResponses, ttl: c.AuthorizerResultTTL, patience: 10 * time.Second, v1: v1, cache: map[string]decision{}}
	for _, s := range c.IdentitySource {
		p, _ := parseIdentity(s, "$request.", "$") // Validate has
		a.identities = append(a.identities, p)
	}
	if jwt != nil {
		if len(a.identities) == 0 {
			a.identities = []identity{{"header", "Authorization"}}
		}
		return a, nil
	}
	if err := a.find(hub, c.Function); err != nil {
		return nil, err
	}
	a.document = func(dst []byte, x *exchange, arn string, values []string) []byte {
		return event.AppendHTTPAPIAuthorizer(dst, &x.req, arn, values)
	}
	if c.AuthorizerPayloadFormatVersion == "1.0" {
		a.document = func(dst []byte, x *exchange, arn string, values []string) []byte {
			return event.AppendHTTPAPIv1Authorizer(dst, &x.req, arn, values)
		}
	}
	a.context = func(z *event.Authorization, _ time.Duration) []byte {
		if v1 {
			return flatContext(z, -1)
		}
		b := []byte(`{"lambda":`)
		if z.Context == nil {
			b = append(b, "null"...)
		} else {
			b = append(appendContext(append(b, '{'), z, true), '}')
		}
		return append(b, '}')
	}
	return a, nil
}

func (a *authorizer) find(hub sources.Hub, name string) (err error) {
	if a.function, err = hub.Function(name); err != nil {
		return fmt.Errorf("finding the authorizer's function: %w", err)
	}
	a.arn = fmt.Sprintf("arn:%s:lambda:%s:%s:function:%s", partition(a.Region), a.Region, a.Account, name)
	return nil
}

// flatContext is the authorizer of payload 1.0: the context with principalId and, for REST APIs, the time
// that the authorizer took.
func flatContext(z *event.Authorization, took time.Duration) []byte {
	b := []byte(`{`)
	b = appendContext(b, z, true)
	if z.PrincipalID != "" {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, `"principalId":`...)
		b = event.AppendString(b, z.PrincipalID)
	}
	if took >= 0 {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, `"integrationLatency":`...)
		b = event.AppendInt(b, took.Milliseconds())
	}
	return append(b, '}')
}

func appendContext(b []byte, z *event.Authorization, first bool) []byte {
	for _, k := range slices.Sorted(maps.Keys(z.Context)) {
		if k == "principalId" && z.PrincipalID != "" || k == "integrationLatency" {
			continue // the gateway's own
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = event.AppendString(b, k)
		b = append(b, ':')
		b = append(b, z.Context[k]...)
	}
	return b
}

// admit reports whether a request may go on; otherwise it has been answered. methodARN stands for the request
// in policies.
func (a *authorizer) admit(x *exchange, r *route, methodARN string) bool {
	values := make([]string, len(a.identities))
	for i, p := range a.identities {
		if values[i], _ = p.value(x); values[i] == "" {
			if a.jwt != nil {
				x.set("Www-Authenticate", "Bearer")
			}
			x.fail(unauthorized)
			return false
		}
	}
	if a.jwt != nil {
		return a.admitJWT(x, r, values[0])
	}
	z, took, f := a.ask(x, methodARN, values)
	if z == nil {
		x.fail(f)
		return false
	}
	switch z.Decide(methodARN) {
	case event.Allow:
		x.req.Authorizer = a.context(z, took)
		return true
	case event.ExplicitDeny:
		x.fail(explicitlyForbidden)
	case event.ImplicitDeny:
		x.fail(forbidden)
	}
	return false
}

// ask gets the answer of the authorizer's function, from the cache if it may.
func (a *authorizer) ask(x *exchange, methodARN string, values []string) (*event.Authorization, time.Duration, fault) {
	key := strings.Join(values, "\x00")
	now := a.Clock.Now()
	if a.ttl > 0 {
		a.mu.Lock()
		d, ok := a.cache[key]
		a.mu.Unlock()
		if ok && now.Before(d.until) {
			return d.Authorization, 0, 0
		}
	}
	ctx, cancel := clock.WithTimeout(context.WithoutCancel(x.r.Context()), a.Clock, a.patience)
	defer cancel()
	resp, err := a.function.Invoke(ctx, executor.Request{
		ID: uuid.NewString(), Attempt: 1, ARN: a.arn, Payload: a.document(nil, x, methodARN, values), TraceID: x.traceID, TraceParent: x.traceParent,
	})
	if err == nil && resp.Failure != nil {
		if resp.Failure.Message == "Unauthorized" { // how a function says so
			return nil, 0, unauthorized
		}
		err = fmt.Errorf("the authorizer failed: %s: %s", resp.Failure.Type, resp.Failure.Message)
	}
	var z *event.Authorization
	if err == nil {
		z, err = event.ReadAuthorization(resp.Payload, a.simple)
	}
	if err != nil {
		a.Log.Warn("no decision of the authorizer", "error", err, "request", x.id)
		return nil, 0, authorizerFailed
	}
	if a.ttl > 0 {
		a.keep(key, decision{z, now.Add(a.ttl)}, now)
	}
	return z, a.Clock.Now().Sub(now), 0
}

func (a *authorizer) keep(key string, d decision, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cache) >= maxDecisions {
		maps.DeleteFunc(a.cache, func(_ string, d decision) bool { return !now.Before(d.until) })
	}
	for k := range a.cache {
		if len(a.cache) < maxDecisions {
			break
		}
		delete(a.cache, k)
	}
	a.cache[key] = d
}
