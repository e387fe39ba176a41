package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS is the cross-origin configuration of a function URL or an HTTP API. Once origins are set the door
// answers preflight requests itself, and replaces the CORS headers of the function.
type CORS struct {
	// AllowCredentials lets browsers send cookies and other credentials. It can not be combined with the
	// origin "*".
	AllowCredentials bool `yaml:"allowCredentials"`
	// AllowHeaders are the request headers that a browser may send; "*" allows all. At most 100.
	AllowHeaders []string `yaml:"allowHeaders"`
	// AllowMethods are the HTTP methods that a browser may use; "*" allows all.
	AllowMethods []string `yaml:"allowMethods"`
	// AllowOrigins are the origins that may use the door, such as "https://www.example.test"; "*" allows
	// all, "https://*" and "http://*" all of that scheme. At most 100. Empty leaves CORS to the function.
	AllowOrigins []string `yaml:"allowOrigins"`
	// ExposeHeaders are the response headers that scripts may read. At most 100.
	ExposeHeaders []string `yaml:"exposeHeaders"`
	// MaxAge is how long a browser may keep the answer to a preflight request, in whole seconds up to 24
	// hours. 0 sends no header, and leaves it to the browser.
	MaxAge time.Duration `yaml:"maxAge"`
}

func (c *CORS) validate(bad func(path, format string, args ...any)) {
	for path, list := range map[string][]string{
		"cors.allowHeaders": c.AllowHeaders, "cors.allowMethods": c.AllowMethods, "cors.allowOrigins": c.AllowOrigins, "cors.exposeHeaders": c.ExposeHeaders,
	} {
		if len(list) > 100 {
			bad(path, "has %d entries; at most 100 are allowed", len(list))
		}
		if len(c.AllowOrigins) == 0 && len(list) > 0 {
			bad(path, "has no effect without cors.allowOrigins")
		}
	}
	if len(c.AllowOrigins) == 0 && (c.AllowCredentials || c.MaxAge != 0) {
		bad("cors", "allowCredentials and maxAge have no effect without allowOrigins")
	}
	for _, o := range c.AllowOrigins {
		if o == "*" && c.AllowCredentials {
			bad("cors.allowOrigins", `"*" can not be combined with allowCredentials, which browsers would refuse; name the origins`)
		}
		scheme, host, ok := strings.Cut(o, "://")
		if o != "*" && (!ok || scheme == "" || host == "" || host != "*" && strings.ContainsAny(host, "*/ ")) {
			bad("cors.allowOrigins", `%q is not an origin; write "*", "https://*", or one such as "https://www.example.test" without a path`, o)
		}
	}
	for _, m := range c.AllowMethods {
		if m != "*" && !isToken(m) {
			bad("cors.allowMethods", "%q is not an HTTP method", m)
		}
	}
	for path, list := range map[string][]string{"cors.allowHeaders": c.AllowHeaders, "cors.exposeHeaders": c.ExposeHeaders} {
		for _, h := range list {
			if !isToken(h) {
				bad(path, "%q is not the name of a header", h)
			}
		}
	}
	if c.MaxAge < 0 || c.MaxAge > 24*time.Hour || c.MaxAge%time.Second != 0 {
		bad("cors.maxAge", "%s is out of range; write whole seconds up to 24h", c.MaxAge)
	}
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// cors is a CORS put into the texts of its headers.
type cors struct {
	CORS
	any                      bool
	headers, methods, expose []string // header values; nil for none
	maxAge                   []string
	preflightStatus          int
}

// newCORS returns nil if c allows no origin.
func newCORS(c CORS, preflightStatus int) *cors {
	if len(c.AllowOrigins) == 0 {
		return nil
	}
	list := func(l []string, sep string) []string {
		if len(l) == 0 {
			return nil
		}
		return []string{strings.Join(l, sep)}
	}
	k := &cors{
		CORS: c, any: slices.Contains(c.AllowOrigins, "*"), preflightStatus: preflightStatus,
		headers: list(c.AllowHeaders, ","), methods: list(c.AllowMethods, ","), expose: list(c.ExposeHeaders, ","),
	}
	if c.MaxAge > 0 {
		k.maxAge = []string{strconv.Itoa(int(c.MaxAge / time.Second))}
	}
	return k
}

func (c *cors) allows(origin string) bool {
	if c.any {
		return true
	}
	for _, o := range c.AllowOrigins {
		if strings.EqualFold(o, origin) {
			return true
		}
		if scheme, ok := strings.CutSuffix(o, "*"); ok && len(origin) > len(scheme) && strings.EqualFold(origin[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// preflight tells whether r asks only what it may ask.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && first(r.Header, "Origin") != "" && first(r.Header, "Access-Control-Request-Method") != ""
}

// apply makes the CORS headers of a response those of the configuration.
func (c *cors) apply(r *http.Request, h http.Header) {
	for _, name := range []string{
		"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
		"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age",
	} {
		delete(h, name)
	}
	if !c.any {
		h["Vary"] = append(h["Vary"], "Origin")
	}
	origin := first(r.Header, "Origin")
	if origin == "" || !c.allows(origin) {
		return
	}
	if c.any {
		origin = "*"
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	if c.AllowCredentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	if !preflight(r) {
		if c.expose != nil {
			h["Access-Control-Expose-Headers"] = c.expose
		}
		return
	}
	c.list(h, "Access-Control-Allow-Methods", c.methods, r.Header["Access-Control-Request-Method"])
	c.list(h, "Access-Control-Allow-Headers", c.headers, r.Header["Access-Control-Request-Headers"])
	if c.maxAge != nil {
		h["Access-Control-Max-Age"] = c.maxAge
	}
}

// list sets a header to what is allowed. With credentials browsers take a "*" literally, and so get what they
// asked for instead.
func (c *cors) list(h http.Header, name string, allowed, asked []string) {
	if c.AllowCredentials && len(allowed) > 0 && slices.Contains(strings.Split(allowed[0], ","), "*") {
		allowed = asked
	}
	if len(allowed) > 0 {
		h[name] = allowed
	}
}

// answerPreflight answers a preflight request if CORS is configured.
func (x *exchange) answerPreflight() bool {
	if x.cors == nil || !preflight(x.r) {
		return false
	}
	if x.claim() {
		defer x.mu.Unlock()
		x.head(x.cors.preflightStatus)
	}
	return true
}
