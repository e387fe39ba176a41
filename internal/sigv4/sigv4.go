// Package sigv4 checks the signatures of requests that AWS clients send: Signature Version 4, in the
// Authorization header or in the query of a presigned URL
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	unsigned  = "UNSIGNED-PAYLOAD"
	basicTime = "20060102T150405Z"

	// MaxExpires is how long a presigned URL may be good for.
	MaxExpires = 7 * 24 * time.Hour
	// DefaultSkew is how far the clocks of client and hub may be apart.
	DefaultSkew = 15 * time.Minute
)

// Verifier checks signatures. Its methods may be called concurrently.
type Verifier struct {
	Keys  map[string]string // access key id -> secret access key
	Clock clock.Clock
	Skew  time.Duration // how far a header signature's date may be off, either way; 0 allows none
}

// Error is a refused signature, in the words of AWS.
type Error struct {
	Code    string // e.g. "InvalidSignatureException"
	Status  int    // of the HTTP response
	Message string
	// Members are what else S3 tells: the elements beside Code and Message. Nil for other services.
	Members map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func missing() error {
	return &Error{Code: "MissingAuthenticationTokenException", Status: http.StatusForbidden, Message: "Missing Authentication Token"}
}

func incomplete(format string, args ...any) error {
	return &Error{Code: "IncompleteSignatureException", Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &Error{Code: "InvalidSignatureException", Status: http.StatusForbidden, Message: fmt.Sprintf(format, args...)}
}

// signature is what a request says of its signature.
type signature struct {
	accessKey            string
	day, region, service string
	headers              []string // lower case, as listed
	date                 time.Time
	digest               []byte
	presigned            bool
	expires              time.Duration // presigned only
}

// Verify checks the signature of r, whose whole body is body, and returns the access key that made it. Any
// region and service are accepted. A session token is not looked into; as clients sign it, it can not be
// changed. The error is an *Error.
func (v *Verifier) Verify(r *http.Request, body []byte) (accessKey string, err error) {
	rawPath, rawQuery := target(r)
	query, err := parseQuery(rawQuery)
	if err != nil {
		return "", err
	}
	hash := func() (string, error) { return payloadHash(r, query, body) }
	// Some clients sign the path as it is sent, others without empty and dot segments.
	return v.verify(r, query, hash, escape(rawPath, true), escape(normalise(rawPath), true))
}

// verify checks the signature of a request whose path may be signed in any of the given forms.
func (v *Verifier) verify(r *http.Request, query []param, payload func() (string, error), paths ...string) (accessKey string, err error) {
	s, err := parse(r, query)
	if err != nil {
		return "", err
	}
	secret, ok := v.Keys[s.accessKey]
	if !ok {
		return "", &Error{Code: "UnrecognizedClientException", Status: http.StatusForbidden,
			Message: "The security token included in the request is invalid."}
	}
	if err := v.checkTime(s); err != nil {
		return "", err
	}
	hash, err := payload()
	if err != nil {
		return "", err
	}
	tail := canonicalTail(r, s, query, hash)
	key := signingKey(secret, s)
	for _, p := range slices.Compact(paths) {
		if hmac.Equal(s.digest, sign(key, s, r.Method+"\n"+p+"\n"+tail)) {
			return s.accessKey, nil
		}
	}
	return "", invalid("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// target is the path and query as they came over the wire: r.URL may have been rewritten since.
func target(r *http.Request) (rawPath, rawQuery string) {
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.EscapedPath() + "?" + r.URL.RawQuery
	}
	rawPath, rawQuery, _ = strings.Cut(uri, "?")
	if rawPath == "" {
		rawPath = "/"
	}
	return rawPath, rawQuery
}

func parse(r *http.Request, query []param) (signature, error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		return parseHeader(r, auth)
	}
	if get(query, "X-Amz-Signature") != "" || get(query, "X-Amz-Algorithm") != "" {
		return parsePresigned(query)
	}
	return signature{}, missing()
}

func parseHeader(r *http.Request, auth string) (signature, error) {
	name, rest, _ := strings.Cut(auth, " ")
	if name != algorithm {
		return signature{}, incomplete("'%s' is not a signature that can be checked here; the only one is %s", clip(name), algorithm)
	}
	var credential, headers, digest string
	for part := range strings.SplitSeq(rest, ",") {
		k, val, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return signature{}, incomplete("'%s' not a valid key=value pair (missing equal-sign) in Authorization header", clip(part))
		}
		switch k {
		case "Credential":
			credential = val
		case "SignedHeaders":
			headers = val
		case "Signature":
			digest = val
		}
	}
	var lacking []string
	for _, p := range [...]struct{ name, value string }{{"Credential", credential}, {"Signature", digest}, {"SignedHeaders", headers}} {
		if p.value == "" {
			lacking = append(lacking, "Authorization header requires '"+p.name+"' parameter.")
		}
	}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	if date == "" {
		lacking = append(lacking, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if lacking != nil {
		return signature{}, incomplete("%s", strings.Join(lacking, " "))
	}
	return assemble(credential, headers, digest, date)
}

func parsePresigned(query []param) (signature, error) {
	if a := get(query, "X-Amz-Algorithm"); a != algorithm {
		return signature{}, incomplete("X-Amz-Algorithm is '%s'; the only one that can be checked here is %s", clip(a), algorithm)
	}
	for _, name := range [...]string{"X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires"} {
		if get(query, name) == "" {
			return signature{}, incomplete("AWS query-string parameters must include '%s'.", name)
		}
	}
	seconds, err := strconv.ParseUint(get(query, "X-Amz-Expires"), 10, 32)
	if err != nil || time.Duration(seconds)*time.Second > MaxExpires {
		return signature{}, incomplete("X-Amz-Expires must be a number of seconds of at most one week (604800).")
	}
	s, err := assemble(get(query, "X-Amz-Credential"), get(query, "X-Amz-SignedHeaders"), get(query, "X-Amz-Signature"), get(query, "X-Amz-Date"))
	s.presigned, s.expires = true, time.Duration(seconds)*time.Second
	return s, err
}

// assemble reads the parts that both forms share.
func assemble(credential, headers, digest, date string) (signature, error) {
	scope := strings.Split(credential, "/")
	if len(scope) < 5 || scope[len(scope)-1] != "aws4_request" {
		return signature{}, incomplete("Credential must have at least 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", clip(credential))
	}
	n := len(scope) // an access key id may hold slashes; the rest may not
	s := signature{
		accessKey: strings.Join(scope[:n-4], "/"),
		day:       scope[n-4], region: scope[n-3], service: scope[n-2],
		headers: strings.Split(strings.ToLower(headers), ";"),
	}
	if !slices.Contains(s.headers, "host") && !slices.Contains(s.headers, ":authority") {
		return signature{}, invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	var err error
	if s.digest, err = hex.DecodeString(digest); err != nil || len(s.digest) != sha256.Size {
		return signature{}, incomplete("Signature must be 64 hexadecimal digits, got '%s'", clip(digest))
	}
	if s.date, err = time.Parse(basicTime, date); err != nil {
		if s.date, err = http.ParseTime(date); err != nil {
			return signature{}, incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", clip(date))
		}
		s.date = s.date.UTC()
	}
	if day := s.date.Format("20060102"); s.day != day {
		return signature{}, invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", clip(s.day), day, s.date.Format(basicTime))
	}
	return s, nil
}

func (v *Verifier) checkTime(s signature) error {
	now := v.Clock.Now().UTC()
	late, early := v.Skew, v.Skew
	if s.presigned {
		late = s.expires
	}
	show := func(t time.Time) string { return t.UTC().Format(basicTime) }
	switch age := now.Sub(s.date); {
	case age > late:
		return invalid("Signature expired: %s is now earlier than %s (%s - %s.)", show(s.date), show(now.Add(-late)), show(now), span(late))
	case -age > early:
		return invalid("Signature not yet current: %s is still later than %s (%s + %s.)", show(s.date), show(now.Add(early)), show(now), span(early))
	}
	return nil
}

func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}

// payloadHash is the last line of the canonical request. A client may leave the body out of its signature;
// that it did so is signed.
func payloadHash(r *http.Request, query []param, body []byte) (string, error) {
	declared := r.Header.Get("X-Amz-Content-Sha256")
	if declared == "" {
		declared = get(query, "X-Amz-Content-Sha256")
	}
	if declared == unsigned {
		return unsigned, nil
	}
	if strings.HasPrefix(declared, "STREAMING-") {
		return "", invalid("the payload is signed in chunks ('%s'), which can not be checked here", clip(declared))
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if declared != "" && declared != hash {
		return "", invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return hash, nil
}

// canonicalTail is the canonical request from its third line on: query, headers, names of headers, payload.
func canonicalTail(r *http.Request, s signature, query []param, hash string) string {
	var b strings.Builder
	b.Grow(512)
	for i, p := range query {
		if s.presigned && p.key == "X-Amz-Signature" {
			continue
		}
		if i > 0 && b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.key + "=" + p.value)
	}
	b.WriteByte('\n')
	for _, name := range s.headers {
		b.WriteString(name)
		b.WriteByte(':')
		switch values := r.Header[http.CanonicalHeaderKey(name)]; {
		case name == "host" || name == ":authority":
			b.WriteString(r.Host)
		case name == "content-length" && len(values) == 0 && r.ContentLength >= 0: // net/http may keep it apart
			b.WriteString(strconv.FormatInt(r.ContentLength, 10))
		default:
			for i, val := range values {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.Join(strings.FieldsFunc(val, func(c rune) bool { return c == ' ' }), " "))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(s.headers, ";"))
	b.WriteByte('\n')
	b.WriteString(hash)
	return b.String()
}

func signingKey(secret string, s signature) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range [...]string{s.day, s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	return key
}

func sign(key []byte, s signature, canonical string) []byte {
	return mac(key, stringToSign(s, canonical))
}

func stringToSign(s signature, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return algorithm + "\n" + s.date.Format(basicTime) + "\n" +
		s.day + "/" + s.region + "/" + s.service + "/aws4_request\n" + hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// param is one parameter of the query, percent-encoded in the one form that is signed.
type param struct{ key, value string }

// parseQuery returns the parameters in the order of signing.
func parseQuery(raw string) ([]param, error) {
	var ps []param
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, val, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return nil, incomplete("the query has a bad percent-encoding: '%s'", clip(part))
		}
		value, err := url.QueryUnescape(val)
		if err != nil {
			return nil, incomplete("the query has a bad percent-encoding: '%s'", clip(part))
		}
		ps = append(ps, param{escape(key, false), escape(value, false)})
	}
	slices.SortFunc(ps, func(a, b param) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	return ps, nil
}

// get is the decoded value of the first parameter of a name that needs no encoding.
func get(ps []param, name string) string {
	for _, p := range ps {
		if p.key == name {
			value, err := url.QueryUnescape(p.value)
			if err != nil {
				return ""
			}
			return value
		}
	}
	return ""
}

// escape percent-encodes all but the unreserved characters of RFC 3986, and slashes if they are to be kept.
func escape(s string, slashes bool) string {
	const digits = "0123456789ABCDEF"
	i := 0
	for i < len(s) && plain(s[i], slashes) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+16), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; plain(c, slashes) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

func plain(c byte, slashes bool) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~' || slashes && c == '/'
}

func normalise(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// clip keeps what a client sent short in a message.
func clip(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
