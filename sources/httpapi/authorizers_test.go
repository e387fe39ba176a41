package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/sources/httpapi"
)

// issuer signs tokens and serves its keys.
type issuer struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	broken atomic.Bool
	asked  atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		switch {
		case i.broken.Load():
			http.Error(w, "no", http.StatusServiceUnavailable)
		case r.URL.Path == "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL})
		case r.URL.Path == "/keys":
			_ = json.NewEncoder(w).Encode(i.set())
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) set() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}}
}

// token signs claims over a valid set; a nil value takes a claim away.
func (i *issuer) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	return sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k1"}}, i.URL, claims)
}

func sign(t *testing.T, key jose.SigningKey, issuer string, claims map[string]any) string {
	t.Helper()
	all := map[string]any{
		"iss": issuer, "sub": "me", "aud": []string{"x", "shop"}, "exp": began.Add(time.Hour).Unix(), "iat": began.Unix(), "nbf": began.Unix(),
		"scope": "orders:read orders:write", "email_verified": true, "groups": []any{"a", 1},
	}
	for k, v := range claims {
		all[k] = v
		if v == nil {
			delete(all, k)
		}
	}
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func jwtAPI(t *testing.T, i *issuer, configure func(*httpapi.HTTPAPI)) *hub {
	return newHub(t, "http-api", func(c *httpapi.HTTPAPI) {
		c.Routes = []string{"GET /open", "GET /read", "GET /admin"}
		c.Authorizers = map[string]httpapi.Authorizer{"jwt": {Type: "JWT", Issuer: i.URL, Audience: []string{"shop"}}}
		c.DefaultAuthorizer = "jwt"
		c.Authorization = map[string]httpapi.RouteAuthorization{
			"GET /open": {Authorizer: "NONE"}, "GET /admin": {AuthorizationScopes: []string{"orders:write", "root"}},
		}
		if configure != nil {
			configure(c)
		}
	}, nil)
}

func TestJWTAuthorizer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	h := jwtAPI(t, i, nil)
	forged := newIssuer(t)
	const unauthorized, forbidden = `401 {"message":"Unauthorized"}`, `403 {"message":"Forbidden"}`
	for _, c := range []struct {
		name, path, header, want string
	}{
		{"an open route needs no token", "/open", "", "200 "},
		{"no token", "/read", "", unauthorized},
		{"a valid token", "/read", "Bearer " + i.token(t, nil), "200 "},
		{"without Bearer", "/read", i.token(t, nil), "200 "},
		{"no token at all", "/read", "Bearer x.y.z", unauthorized},
		{"expired", "/read", "Bearer " + i.token(t, map[string]any{"exp": began.Add(-time.Second).Unix()}), unauthorized},
		{"not yet valid", "/read", "Bearer " + i.token(t, map[string]any{"nbf": began.Add(time.Hour).Unix()}), unauthorized},
		{"issued in the future", "/read", "Bearer " + i.token(t, map[string]any{"iat": began.Add(time.Hour).Unix()}), unauthorized},
		{"another audience", "/read", "Bearer " + i.token(t, map[string]any{"aud": "other", "client_id": "shop"}), unauthorized},
		{"a client id in its place", "/read", "Bearer " + i.token(t, map[string]any{"aud": nil, "client_id": "shop"}), "200 "},
		{"another issuer", "/read", "Bearer " + i.token(t, map[string]any{"iss": "https://other.test"}), unauthorized},
		{"another key", "/read", "Bearer " + sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: forged.key}, i.URL, nil), unauthorized},
		{"a shared secret", "/read", "Bearer " + sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: make([]byte, 32)}, i.URL, nil), unauthorized},
		{"one of the scopes", "/admin", "Bearer " + i.token(t, nil), "200 "},
		{"none of the scopes", "/admin", "Bearer " + i.token(t, map[string]any{"scope": "orders:read"}), forbidden},
		{"scopes as a list", "/admin", "Bearer " + i.token(t, map[string]any{"scope": nil, "scp": []string{"root"}}), "200 "},
		{"no scopes", "/admin", "Bearer " + i.token(t, map[string]any{"scope": nil}), forbidden},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Authorization: " + c.header}
		}
		got := h.send("GET", c.path, "", headers...)
		if text := fmt.Sprintf("%d %s", got.status, got.body); text != c.want {
			t.Errorf("%s: got %s, want %s", c.name, text, c.want)
		}
		if got.status != 200 && !strings.HasPrefix(got.header.Get("Www-Authenticate"), "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q", c.name, got.header.Get("Www-Authenticate"))
		}
	}
	h.send("GET", "/admin", "", "Authorization: "+i.token(t, nil))
	jwt, ok := h.document().at("requestContext", "authorizer", "jwt").(map[string]any)
	if !ok {
		t.Fatalf("%v", h.document())
	}
	claims := doc(jwt["claims"].(map[string]any))
	if claims["aud"] != "[x shop]" || claims["email_verified"] != "true" || claims["exp"] != fmt.Sprint(began.Add(time.Hour).Unix()) || claims["groups"] != "[a 1]" || claims["sub"] != "me" {
		t.Errorf("claims %v", claims)
	}
	if fmt.Sprint(jwt["scopes"]) != "[orders:read orders:write]" {
		t.Errorf("scopes %v", jwt["scopes"])
	}
	h.send("GET", "/read", "", "Authorization: "+i.token(t, nil))
	if jwt := h.document().at("requestContext", "authorizer", "jwt").(map[string]any); jwt["scopes"] != nil {
		t.Errorf("scopes %v", jwt["scopes"])
	}
}

func TestJWTClaimsInPayload1(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	h := jwtAPI(t, i, func(c *httpapi.HTTPAPI) { c.PayloadFormatVersion = "1.0" })
	h.send("GET", "/read", "", "Authorization: "+i.token(t, nil))
	if sub := h.document().at("requestContext", "authorizer", "claims", "sub"); sub != "me" {
		t.Errorf("%v", h.document())
	}
}

func TestJWTKeysFromAFileAndAURL(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	token := i.token(t, nil)
	text, err := json.Marshal(i.set())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{file, i.URL + "/keys"} {
		h := jwtAPI(t, i, func(c *httpapi.HTTPAPI) {
			a := c.Authorizers["jwt"]
			a.JWKS = keys
			c.Authorizers["jwt"] = a
		})
		h.send("GET", "/read", "", "Authorization: "+token).is(t, 200, "")
	}
	for name, content := range map[string]string{"empty": `{"keys":[]}`, "none": ``, "secret": `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		spec := kind(t, "http-api")
		c := spec.Config().(*httpapi.HTTPAPI)
		c.Authorizers = map[string]httpapi.Authorizer{"jwt": {Type: "JWT", Issuer: i.URL, Audience: []string{"shop"}, JWKS: file}}
		if _, err := spec.Open(t.Context(), c, (&hub{log: &logBuffer{}}).deps("")); err == nil || !strings.Contains(err.Error(), "authorizers.jwt.jwks") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnIssuerThatIsDownIsAskedAgainAfterAPause(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.broken.Store(true)
	h := jwtAPI(t, i, nil)
	header := "Authorization: " + i.token(t, nil)
	h.send("GET", "/read", "", header).is(t, 401, `{"message":"Unauthorized"}`)
	asked := i.asked.Load()
	h.send("GET", "/read", "", header).is(t, 401, `{"message":"Unauthorized"}`)
	if n := i.asked.Load(); n != asked {
		t.Errorf("asked %d times at once", n)
	}
	i.broken.Store(false)
	h.clock.Advance(10 * time.Second)
	h.send("GET", "/read", "", header).is(t, 200, "")
	if !strings.Contains(h.log.String(), "no keys to check tokens with") {
		t.Errorf("log: %s", h.log)
	}
}

// guard is an authorizer's function that records what it is asked.
type guard struct {
	asked   atomic.Int32
	last    atomic.Pointer[doc]
	answer  string
	failure *executor.Failure
	err     error
}

func (g *guard) function(t *testing.T) function {
	return func(payload []byte) (executor.Response, error) {
		g.asked.Add(1)
		d := decode(t, payload)
		g.last.Store(&d)
		return executor.Response{Payload: []byte(g.answer), Failure: g.failure}, g.err
	}
}

func policy(effect, resource, context string) string {
	return fmt.Sprintf(`{"principalId":"me","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":%q,"Resource":%q}]},"context":{%s}}`, effect, resource, context)
}

func TestLambdaAuthorizerOfAnHTTPAPI(t *testing.T) {
	t.Parallel()
	const (
		unauthorized, forbidden = `401 {"message":"Unauthorized"}`, `403 {"message":"Forbidden"}`
		failed                  = `500 {"message":"Internal Server Error"}`
	)
	for _, c := range []struct {
		name   string
		simple bool
		guard  *guard
		want   string
	}{
		{"a simple yes", true, &guard{answer: `{"isAuthorized":true,"context":{"user":"u","n":1}}`}, "200 "},
		{"a simple no", true, &guard{answer: `{"isAuthorized":false}`}, forbidden},
		{"a policy", false, &guard{answer: policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/orders/*", `"user":"u","n":1`)}, "200 "},
		{"a policy for others", false, &guard{answer: policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:abc/$default/POST/*", ``)}, forbidden},
		{"a policy that denies", false, &guard{answer: policy("Deny", "*", ``)}, forbidden},
		{"a policy where yes or no is expected", true, &guard{answer: policy("Allow", "*", ``)}, failed},
		{"an error", false, &guard{failure: &executor.Failure{Type: "Error", Message: "boom"}}, failed},
		{"the error that says no", false, &guard{failure: &executor.Failure{Type: "Error", Message: "Unauthorized"}}, unauthorized},
		{"no answer", false, &guard{err: &executor.Error{Kind: executor.Unready, Err: http.ErrServerClosed}}, failed},
		{"no JSON", false, &guard{answer: `<html>`}, failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, "http-api", func(a *httpapi.HTTPAPI) {
				a.APIID, a.Routes, a.DefaultAuthorizer = "abc", []string{"GET /orders/{id}"}, "guard"
				a.StageVariables = map[string]string{"v": "1"}
				a.Authorizers = map[string]httpapi.Authorizer{"guard": {
					Type: "REQUEST", Function: "guard", EnableSimpleResponses: c.simple,
					IdentitySource: []string{"$request.header.X-Key", "$request.querystring.q", "$context.identity.sourceIp", "$stageVariables.v"},
				}}
			}, map[string]function{"guard": c.guard.function(t)})
			h.send("GET", "/orders/1?q=1", "").is(t, 401, `{"message":"Unauthorized"}`)
			h.send("GET", "/orders/1", "", "X-Key: k").is(t, 401, `{"message":"Unauthorized"}`)
			if c.guard.asked.Load() != 0 {
				t.Error("asked without an identity")
			}
			got := h.send("GET", "/orders/a%2Fb?q=1", "", "X-Key: k")
			if text := fmt.Sprintf("%d %s", got.status, got.body); text != c.want {
				t.Fatalf("got %s, want %s", text, c.want)
			}
			d := *c.guard.last.Load()
			if d["type"] != "REQUEST" || d["routeArn"] != "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/orders/a%2Fb" ||
				fmt.Sprint(d["identitySource"]) != "[k 1 127.0.0.1 1]" || d.at("pathParameters", "id") != "a/b" {
				t.Errorf("asked %v", d)
			}
			if got.status == 200 {
				if a := fmt.Sprint(h.document().at("requestContext", "authorizer")); a != "map[lambda:map[n:1 user:u]]" {
					t.Errorf("authorizer %s", a)
				}
			}
		})
	}
}

func TestAnswersOfAuthorizersAreKeptByIdentity(t *testing.T) {
	t.Parallel()
	g := &guard{answer: `{"isAuthorized":true}`}
	h := newHub(t, "http-api", func(a *httpapi.HTTPAPI) {
		a.DefaultAuthorizer = "guard"
		a.Authorizers = map[string]httpapi.Authorizer{"guard": {
			Type: "REQUEST", Function: "guard", EnableSimpleResponses: true, IdentitySource: []string{"$request.header.X-Key"}, AuthorizerResultTTL: time.Minute,
		}}
	}, map[string]function{"guard": g.function(t)})
	for _, step := range []struct {
		key     string
		advance time.Duration
		asked   int32
	}{{"a", 0, 1}, {"a", 59 * time.Second, 1}, {"b", 0, 2}, {"a", time.Second, 3}, {"b", 0, 3}} {
		h.clock.Advance(step.advance)
		h.send("GET", "/", "", "X-Key: "+step.key).is(t, 200, "")
		if n := g.asked.Load(); n != step.asked {
			t.Errorf("%+v: asked %d times", step, n)
		}
	}
}

func TestLambdaAuthorizersOfARESTAPI(t *testing.T) {
	t.Parallel()
	const root = "arn:aws:execute-api:us-east-1:123456789012:abc/prod/"
	for _, c := range []struct {
		name, kind string
		guard      *guard
		want       string
	}{
		{"allowed", "TOKEN", &guard{answer: policy("Allow", root+"GET/*", `"user":"u","n":1,"ok":true`)}, "200 "},
		{"allowed by request", "REQUEST", &guard{answer: policy("Allow", root+"GET/*", `"user":"u","n":1,"ok":true`)}, "200 "},
		{"not allowed", "TOKEN", &guard{answer: policy("Allow", root+"POST/*", ``)}, `403 {"Message":"User is not authorized to access this resource"}`},
		{"denied", "TOKEN", &guard{answer: policy("Deny", "*", ``)}, `403 {"Message":"User is not authorized to access this resource with an explicit deny"}`},
		{"unauthorized", "TOKEN", &guard{failure: &executor.Failure{Message: "Unauthorized"}}, `401 {"message":"Unauthorized"}`},
		{"failed", "TOKEN", &guard{failure: &executor.Failure{Message: "boom"}}, `500 {"message":null}`},
		{"a simple yes is none", "REQUEST", &guard{answer: `{"isAuthorized":true}`}, `500 {"message":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, "rest-api", func(a *httpapi.RESTAPI) {
				a.APIID, a.Routes = "abc", []string{"GET /orders/{id}", "GET /open"}
				z := httpapi.RESTAuthorizer{Type: c.kind, Function: "guard"}
				if c.kind == "REQUEST" {
					z.IdentitySource = []string{"method.request.header.Authorization", "context.httpMethod"}
				}
				a.Authorizers = map[string]httpapi.RESTAuthorizer{"guard": z}
				a.Authorization = map[string]string{"GET /orders/{id}": "guard"}
			}, map[string]function{"guard": c.guard.function(t)})
			h.send("GET", "/prod/open", "").is(t, 200, "")
			h.send("GET", "/prod/orders/1", "").is(t, 401, `{"message":"Unauthorized"}`)
			got := h.send("GET", "/prod/orders/1", "", "Authorization: tok")
			if text := fmt.Sprintf("%d %s", got.status, got.body); text != c.want {
				t.Fatalf("got %s, want %s", text, c.want)
			}
			d := *c.guard.last.Load()
			if d["type"] != c.kind || d["methodArn"] != root+"GET/orders/1" || c.kind == "TOKEN" && d["authorizationToken"] != "tok" || c.kind == "REQUEST" && d.at("headers", "Authorization") != "tok" {
				t.Errorf("asked %v", d)
			}
			if got.status == 200 {
				if a := fmt.Sprint(h.document().at("requestContext", "authorizer")); a != "map[integrationLatency:0 n:1 ok:true principalId:me user:u]" {
					t.Errorf("authorizer %s", a)
				}
			}
		})
	}
}
