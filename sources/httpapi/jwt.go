package httpapi

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
)

// algorithms that a token may be signed with: asymmetric ones only.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// discoveryPause is how long a failed discovery stands before the next request tries again.
const discoveryPause = 10 * time.Second

// jwtVerifier checks tokens of one issuer.
type jwtVerifier struct {
	plugin.Deps
	issuer   string
	audience []string
	ctx      context.Context //nolint:containedctx // carries the HTTP client of key sets, which outlive requests

	mu     sync.Mutex
	keys   oidc.KeySet // nil until the issuer has told where they are
	failed time.Time
	err    error
}

func newJWTVerifier(a Authorizer, d plugin.Deps) (*jwtVerifier, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	v := &jwtVerifier{Deps: d, issuer: a.Issuer, audience: a.Audience, ctx: oidc.ClientContext(context.Background(), client)}
	switch {
	case a.JWKS == "":
	case strings.HasPrefix(a.JWKS, "https://") || strings.HasPrefix(a.JWKS, "http://"):
		v.keys = oidc.NewRemoteKeySet(v.ctx, a.JWKS)
	default:
		file := a.JWKS
		if !filepath.IsAbs(file) {
			file = filepath.Join(d.Dir, file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(text, &set); err != nil {
			return nil, fmt.Errorf("reading the keys in %s: %w", file, err)
		}
		static := &oidc.StaticKeySet{}
		for _, k := range set.Keys {
			if !k.Valid() || !k.IsPublic() {
				return nil, fmt.Errorf("reading the keys in %s: the key %q is not a public key", file, k.KeyID)
			}
			static.PublicKeys = append(static.PublicKeys, crypto.PublicKey(k.Key))
		}
		if len(static.PublicKeys) == 0 {
			return nil, fmt.Errorf("reading the keys in %s: there are none", file)
		}
		v.keys = static
	}
	return v, nil
}

// keySet returns the keys, after asking the issuer where they are if need be.
func (v *jwtVerifier) keySet() (oidc.KeySet, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys != nil {
		return v.keys, nil
	}
	if v.err != nil && v.Clock.Now().Sub(v.failed) < discoveryPause {
		return nil, v.err
	}
	provider, err := oidc.NewProvider(v.ctx, v.issuer)
	var metadata struct {
		JWKS string `json:"jwks_uri"`
	}
	if err == nil {
		err = provider.Claims(&metadata)
	}
	if err == nil && metadata.JWKS == "" {
		err = errors.New("the issuer's configuration has no jwks_uri")
	}
	if err != nil {
		v.err, v.failed = fmt.Errorf("discovering the keys of %s: %w", v.issuer, err), v.Clock.Now()
		v.Log.Warn("no keys to check tokens with", "error", v.err)
		return nil, v.err
	}
	v.keys = oidc.NewRemoteKeySet(v.ctx, metadata.JWKS)
	return v.keys, nil
}

// claims are those of a token by name.
type claims map[string]json.RawMessage

// verify returns the claims of a valid token: signature, issuer, audience and times.
func (v *jwtVerifier) verify(ctx context.Context, token string) (claims, error) {
	keys, err := v.keySet()
	if err != nil {
		return nil, err
	}
	t, err := oidc.NewVerifier(v.issuer, keys, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: algorithms, Now: v.Clock.Now}).Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return nil, err
	}
	if t.IssuedAt.After(v.Clock.Now()) {
		return nil, errors.New("the token was issued in the future")
	}
	audience := t.Audience
	if len(audience) == 0 {
		if id := c.text("client_id"); id != "" {
			audience = []string{id}
		}
	}
	for _, a := range audience {
		if slices.Contains(v.audience, a) {
			return c, nil
		}
	}
	return nil, errors.New("the token has another audience")
}

// text is a claim as AWS hands it to the function: always a string, a list as "[a b]".
func (c claims) text(name string) string {
	raw := c[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(raw) > 0 && raw[0] == '[' {
		texts := make([]string, len(list))
		for i, e := range list {
			texts[i] = claims{"": e}.text("")
		}
		return "[" + strings.Join(texts, " ") + "]"
	}
	return string(raw)
}

// scopes are the scopes of a token: a list, or a text with blanks, in scope or scp.
func (c claims) scopes() []string {
	for _, name := range []string{"scope", "scp"} {
		raw, ok := c[name]
		if !ok {
			continue
		}
		var list []string
		if json.Unmarshal(raw, &list) == nil && raw[0] == '[' {
			return list
		}
		return strings.Fields(c.text(name))
	}
	return nil
}

func (a *authorizer) admitJWT(x *exchange, r *route, token string) bool {
	if len(token) > 7 && strings.EqualFold(token[:7], "Bearer ") {
		token = strings.TrimSpace(token[7:])
	}
	c, err := a.jwt.verify(context.WithoutCancel(x.r.Context()), token)
	if err != nil {
		a.Log.Debug("token refused", "error", err, "request", x.id)
		x.set("Www-Authenticate", `Bearer error="invalid_token"`)
		x.fail(unauthorized)
		return false
	}
	var granted []string
	if len(r.scopes) > 0 {
		granted = c.scopes()
		if !slices.ContainsFunc(granted, func(s string) bool { return slices.Contains(r.scopes, s) }) {
			x.set("Www-Authenticate", `Bearer error="insufficient_scope"`)
			x.fail(forbidden)
			return false
		}
	}
	b := []byte(`{"jwt":{"claims":{`)
	if a.v1 {
		b = []byte(`{"claims":{`)
	}
	for i, name := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = event.AppendString(b, name)
		b = append(b, ':')
		b = event.AppendString(b, c.text(name))
	}
	b = append(b, `},"scopes":`...)
	if granted == nil {
		b = append(b, "null"...)
	} else {
		for i, s := range granted {
			b = append(b, "[,"[min(i, 1)])
			b = event.AppendString(b, s)
		}
		b = append(b, ']')
	}
	b = append(b, '}')
	if !a.v1 {
		b = append(b, '}')
	}
	x.req.Authorizer = b
	return true
}
