package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/event"
)

func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// below is the escaped path without the prefix at which the door is mounted.
func (x *exchange) below() string {
	path := x.r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return "/"
	}
	if x.prefix == "" {
		return path
	}
	rest, ok := strings.CutPrefix(path, x.prefix)
	if !ok { // the client spelled the prefix with escapes
		u := *x.r.URL
		u.Path, u.RawPath = strings.TrimPrefix(u.Path, x.prefix), ""
		rest = u.EscapedPath()
	}
	if rest == "" {
		return "/"
	}
	return rest
}

// hopByHop tells whether a header, in its canonical form, is about this connection only (RFC 9110, 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// collect gathers the headers, with those that a gateway adds, sorted by name.
func (x *exchange) collect(port string) {
	hs := x.headers[:0]
	for name, values := range x.r.Header {
		switch {
		case hopByHop(name):
			if name != "Connection" || x.format < event.AnswerALB {
				continue
			}
		case name == "X-Forwarded-For" || name == "X-Forwarded-Port" || name == "X-Forwarded-Proto" || name == "X-Amzn-Trace-Id":
			continue
		case name == "Content-Length" && x.format == event.AnswerRESTAPI:
			continue
		}
		for _, v := range values {
			hs = append(hs, event.Field{Name: name, Value: v})
		}
	}
	proto := "http"
	if x.r.TLS != nil {
		proto = "https"
	}
	if port == "" {
		port = "80"
		if x.r.TLS != nil {
			port = "443"
		}
	}
	forwarded := x.req.SourceIP
	if before := x.r.Header["X-Forwarded-For"]; len(before) > 0 {
		forwarded = strings.Join(before, ", ") + ", " + forwarded
	}
	hs = append(hs,
		event.Field{Name: "Host", Value: x.r.Host},
		event.Field{Name: "X-Amzn-Trace-Id", Value: x.traceID},
		event.Field{Name: "X-Forwarded-For", Value: forwarded},
		event.Field{Name: "X-Forwarded-Port", Value: port},
		event.Field{Name: "X-Forwarded-Proto", Value: proto})
	slices.SortStableFunc(hs, byName)
	x.headers = hs
	x.req.Headers = hs
}

func byName(a, b event.Field) int { return strings.Compare(a.Name, b.Name) }

// split takes the query apart. A load balancer hands it on undecoded.
func (x *exchange) split() {
	q := x.query[:0]
	for rest := x.req.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if x.format < event.AnswerALB {
			name, value = unescape(name, true), unescape(value, true)
		}
		q = append(q, event.Field{Name: name, Value: value})
	}
	slices.SortStableFunc(q, byName)
	x.query = q
	x.req.Query = q
}

// unescape decodes %XX, and + to a blank if form is set. What is no valid escape stays as it is.
func unescape(s string, form bool) string {
	if strings.IndexByte(s, '%') < 0 && (!form || strings.IndexByte(s, '+') < 0) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && form:
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// unescapePath decodes a path, unless what comes out is no UTF-8 and would not survive in JSON.
func unescapePath(s string) string {
	if d := unescape(s, false); utf8.ValidString(d) {
		return d
	}
	return s
}

// sourceIP is the address without port, brackets and zone.
func sourceIP(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		addr = addr[:i]
	}
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
	addr, _, _ = strings.Cut(addr, "%")
	return addr
}

// splitHost splits a Host header into host and port, which may be empty.
func splitHost(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		return host[:i], host[i+1:]
	}
	return host, ""
}

// label is the first label of a host name; an address has none and stays whole.
func label(host string) string {
	if n := len(host); n == 0 || host[0] == '[' || '0' <= host[n-1] && host[n-1] <= '9' {
		return host
	}
	l, _, _ := strings.Cut(host, ".")
	return l
}

// admit refuses what no door takes: too many headers, and a change of protocol. It reports whether the
// request may go on.
func (x *exchange) admit() bool {
	if up := first(x.r.Header, "Upgrade"); up != "" && strings.EqualFold(up, "websocket") {
		x.fail(upgradeRefused)
		return false
	}
	if x.maxHeaders > 0 {
		n := len(x.r.Method) + len(x.r.RequestURI) + len(x.r.Proto) + 2
		for name, values := range x.r.Header {
			for _, v := range values {
				n += len(name) + len(v) + 4
			}
		}
		if n > x.maxHeaders {
			x.fail(headersTooLarge)
			return false
		}
	}
	return true
}

// read takes the body. It reports false, and has answered, if the body is too large, late or broken off.
func (x *exchange) read() bool {
	x.body = x.body[:0]
	if x.r.ContentLength == 0 || x.r.Body == nil || x.r.Body == http.NoBody {
		return true
	}
	if f, ok := x.fill(); !ok {
		x.broken = f != tooLarge
		x.w.Header().Set("Connection", "close")
		x.fail(f)
		return false
	}
	x.consumed = true
	x.req.Body = x.body
	return true
}

func (x *exchange) fill() (f fault, ok bool) {
	limit := int(x.mount.MaximumBody)
	length := x.r.ContentLength
	if length > int64(limit) {
		return tooLarge, false
	}
	defer x.within(http.NewResponseController(x.w).SetReadDeadline)()
	want := limit + 1
	if length > 0 {
		want = int(length)
	}
	// The buffer grows with what has come, not with what was announced.
	for len(x.body) < want {
		if len(x.body) == cap(x.body) {
			x.body = slices.Grow(x.body, min(want-len(x.body), max(4096, len(x.body))))
		}
		n, err := x.r.Body.Read(x.body[len(x.body):min(cap(x.body), want)])
		x.body = x.body[:len(x.body)+n]
		switch {
		case errors.Is(err, io.EOF) && (length < 0 || len(x.body) == want):
			return tooLarge, len(x.body) <= limit
		case errors.Is(err, os.ErrDeadlineExceeded):
			return bodyTimeout, false
		case err != nil:
			return badRequest, false
		}
	}
	return tooLarge, len(x.body) <= limit
}

// discard sees to a body that the door did not want. The server itself would wait for it without an end. A
// client that waits to be asked for its body, or sends too much, loses its connection.
func (x *exchange) discard() {
	if x.consumed || x.r.ContentLength == 0 || x.r.Body == nil || x.r.Body == http.NoBody {
		return
	}
	rc := http.NewResponseController(x.w)
	_ = rc.Flush() // the client may wait for the answer
	done := false
	if !x.broken && x.r.Header["Expect"] == nil {
		const polite = 256 << 10
		lift := x.within(rc.SetReadDeadline)
		n, err := io.CopyN(io.Discard, x.r.Body, polite)
		lift()
		done = errors.Is(err, io.EOF) && n < polite
	}
	if !done {
		_ = rc.SetReadDeadline(time.Unix(1, 0)) // a recorder in a test has none
	}
}

// within gives the client ClientTimeout for reading or writing, until lift is called: set is the connection's
// SetReadDeadline or SetWriteDeadline. The deadline itself is only ever in the past or lifted, because the time
// is that of the hub's clock.
func (x *exchange) within(set func(time.Time) error) (lift func()) {
	var mu sync.Mutex
	lifted := false
	timer := x.Clock.AfterFunc(x.mount.ClientTimeout, func() {
		mu.Lock()
		defer mu.Unlock()
		if !lifted { // otherwise it would hit the next request on the connection
			_ = set(time.Unix(1, 0)) // a recorder in a test has no deadline
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		lifted = true
		if !timer.Stop() {
			_ = set(time.Time{}) // as above
		}
	}
}

// textBody tells whether AWS passes a body of this type on as text. Load balancers document the list
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#receive-event-from-load-balancer);
// HTTP APIs and function URLs behave alike. What is no UTF-8 can only be base64.
func (x *exchange) textBody() bool {
	if first(x.r.Header, "Content-Encoding") != "" {
		return false
	}
	kind, _, _ := strings.Cut(first(x.r.Header, "Content-Type"), ";")
	kind = strings.TrimSpace(kind)
	ok := len(kind) > 5 && strings.EqualFold(kind[:5], "text/")
	for _, k := range []string{"application/json", "application/javascript", "application/xml"} {
		ok = ok || strings.EqualFold(kind, k)
	}
	return ok && utf8.Valid(x.body)
}
