package sigv4

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// VerifyS3 checks the signature of a request to S3, which signs otherwise than other services: the path is escaped once
// and never normalised, the payload may be left out or signed in chunks, and URLs may be signed
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html).
//
// It does not read the body of a request that is signed for S3, but puts a reader in its place that checks it: what
// that returns is not to be trusted before io.EOF. The error, also the reader's, is an *Error in S3's words.
func (v *Verifier) VerifyS3(r *http.Request) error {
	rawPath, rawQuery := target(r)
	query, err := parseQuery(rawQuery)
	if err != nil {
		return refused(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	auth := r.Header.Get("Authorization")
	switch {
	case strings.HasPrefix(auth, algorithm+" "):
		s, err := parseHeader(r, auth)
		if err != nil {
			return refused(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+message(err))
		}
		return v.checkS3(r, s, rawPath, query)
	case strings.HasPrefix(auth, "AWS "):
		return v.checkOldHeader(r, auth[len("AWS "):], rawPath, query)
	case auth != "":
		return refused(http.StatusBadRequest, "InvalidRequest",
			"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case has(query, "X-Amz-Algorithm") || has(query, "X-Amz-Signature") || has(query, "X-Amz-Credential"):
		s, err := parseS3URL(query)
		if err != nil {
			return err
		}
		return v.checkS3(r, s, rawPath, query)
	case has(query, "Signature") || has(query, "AWSAccessKeyId"):
		return v.checkOldURL(r, rawPath, query)
	}
	return refused(http.StatusForbidden, "AccessDenied", "Access Denied")
}

// VerifyS3Form is VerifyS3, but lets pass a request that may be a browser's form, whose signature is in the body. Whoever
// takes it must ask FormCheck, and refuse what is no form.
func (v *Verifier) VerifyS3Form(r *http.Request) error {
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "" || r.URL.RawQuery != "" {
		return v.VerifyS3(r)
	}
	*r = *r.WithContext(context.WithValue(r.Context(), formKey{}, v.checkForm))
	return nil
}

func refused(status int, code, message string) *Error {
	return &Error{Code: code, Status: status, Message: message}
}

func message(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

func has(query []param, name string) bool {
	return slices.ContainsFunc(query, func(p param) bool { return p.key == name })
}

// parseS3URL reads the signature in a URL.
func parseS3URL(query []param) (signature, error) {
	bad := func(message string) (signature, error) {
		return signature{}, refused(http.StatusBadRequest, "AuthorizationQueryParametersError", message)
	}
	for _, name := range [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"} {
		if get(query, name) == "" {
			return bad("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, " +
				"X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	if get(query, "X-Amz-Algorithm") != algorithm {
		return bad(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256" and "AWS4-ECDSA-P256-SHA256"`)
	}
	seconds, err := strconv.ParseInt(get(query, "X-Amz-Expires"), 10, 64)
	switch {
	case err != nil:
		return bad("X-Amz-Expires should be a number")
	case seconds < 0:
		return bad("X-Amz-Expires must be non-negative")
	case seconds > int64(MaxExpires/time.Second):
		return bad("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	credential := get(query, "X-Amz-Credential")
	if parts := strings.Split(credential, "/"); len(parts) < 5 || parts[len(parts)-1] != "aws4_request" {
		return bad(`Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	if _, err := time.Parse(basicTime, get(query, "X-Amz-Date")); err != nil {
		return bad(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	s, err := assemble(credential, get(query, "X-Amz-SignedHeaders"), get(query, "X-Amz-Signature"), get(query, "X-Amz-Date"))
	if err != nil {
		return bad(message(err))
	}
	s.presigned, s.expires = true, time.Duration(seconds)*time.Second
	return s, nil
}

// checkS3 checks a signature that is whole.
func (v *Verifier) checkS3(r *http.Request, s signature, rawPath string, query []param) error {
	secret, ok := v.Keys[s.accessKey]
	if !ok {
		return unknownKey(s.accessKey)
	}
	if err := v.checkS3Time(s, query); err != nil {
		return err
	}
	if err := allSigned(r.Header, s); err != nil {
		return err
	}
	path, err := url.PathUnescape(rawPath)
	if err != nil {
		return refused(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if s.presigned {
		if !slices.Contains(s.headers, "x-amz-content-sha256") {
			payload = get(query, "X-Amz-Content-Sha256")
		}
		if payload == "" {
			payload = unsigned
		}
	}
	if payload == "" && s.service == "s3" {
		return refused(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	if payload == "" {
		if payload, err = bodyHash(r); err != nil {
			return err
		}
	}
	key := signingKey(secret, s)
	canonical := r.Method + "\n" + escape(path, true) + "\n" + canonicalTail(r, s, query, payload)
	if !hmac.Equal(s.digest, sign(key, s, canonical)) {
		e := mismatch(s.accessKey, stringToSign(s, canonical), hex.EncodeToString(s.digest))
		e.Members["CanonicalRequest"], e.Members["CanonicalRequestBytes"] = canonical, spaced(canonical)
		return e
	}
	return checkPayload(r, payload, func() *chunkSigner { return newChunkSigner(key, s) })
}

// checkPayload puts a reader in the place of the body that checks it by what is signed of it.
func checkPayload(r *http.Request, payload string, signer func() *chunkSigner) error {
	switch {
	case payload == unsigned:
		return nil
	case IsChunked(payload):
		c, err := NewChunked(r.Body, payload)
		if err != nil {
			return err
		}
		if c.signed {
			c.check = signer()
		}
		r.Body = c
		return nil
	}
	sum, err := hex.DecodeString(payload)
	if err != nil || len(sum) != sha256.Size {
		return invalidPayload()
	}
	r.Body = &Hashed{body: r.Body, want: strings.ToLower(payload), sum: sha256.New()}
	return nil
}

// bodyHash reads a body that is signed although its checksum is not told, as all services but S3 have it.
func bodyHash(r *http.Request) (string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", fmt.Errorf("reading the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

func invalidPayload() *Error {
	return refused(http.StatusBadRequest, "InvalidRequest", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "+
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
}

// Hashed is a body whose checksum is signed. It is for one goroutine.
type Hashed struct {
	body io.ReadCloser
	want string
	sum  hash.Hash
}

// Read reads the body. If its checksum is not what was signed the last read returns an *Error instead of io.EOF.
func (h *Hashed) Read(p []byte) (int, error) {
	n, err := h.body.Read(p)
	h.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(h.sum.Sum(nil)); got != h.want {
			e := refused(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
			e.Members = map[string]any{"ClientComputedContentSHA256": h.want, "S3ComputedContentSHA256": got}
			err = e
		}
	}
	return n, err
}

// Close closes the body below.
func (h *Hashed) Close() error { return h.body.Close() }

// spaced shows the bytes of a text.
func spaced(text string) string { return fmt.Sprintf("% x", text) }

// allSigned demands that S3's headers are signed.
func allSigned(header http.Header, s signature) error {
	var left []string
	for name := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(s.headers, name) &&
			(!s.presigned || name != "x-amz-content-sha256") { // which is not minded then
			left = append(left, name)
		}
	}
	if left == nil {
		return nil
	}
	slices.Sort(left)
	e := refused(http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed")
	e.Members = map[string]any{"HeadersNotSigned": strings.Join(left, ", ")}
	return e
}

const stampForm = "2006-01-02T15:04:05Z"

func (v *Verifier) checkS3Time(s signature, query []param) error {
	now := v.Clock.Now().UTC()
	age := now.Sub(s.date)
	if !s.presigned {
		if age <= v.Skew && -age <= v.Skew {
			return nil
		}
		e := refused(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
		e.Members = map[string]any{
			"RequestTime": s.date.Format(basicTime), "ServerTime": now.Format(stampForm),
			"MaxAllowedSkewMilliseconds": strconv.FormatInt(v.Skew.Milliseconds(), 10),
		}
		return e
	}
	if -age > v.Skew {
		return refused(http.StatusForbidden, "AccessDenied", "Request is not valid yet")
	}
	if age <= s.expires {
		return nil
	}
	e := hasExpired(s.date.Add(s.expires), now)
	e.Members["X-Amz-Expires"] = get(query, "X-Amz-Expires")
	return e
}

func hasExpired(end, now time.Time) *Error {
	e := refused(http.StatusForbidden, "AccessDenied", "Request has expired")
	e.Members = map[string]any{"Expires": end.UTC().Format(stampForm), "ServerTime": now.Format(stampForm)}
	return e
}

// oldParameters are the parameters that the second version of signatures signs.
var oldParameters = []string{
	"accelerate", "acl", "analytics", "cors", "delete", "inventory", "lifecycle", "location", "logging", "metrics", "notification",
	"object-lock", "partNumber", "policy", "replication", "requestPayment", "response-cache-control", "response-content-disposition",
	"response-content-encoding", "response-content-language", "response-content-type", "response-expires", "restore", "select", "select-type",
	"storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// checkOldURL checks a URL that is signed by the second version, as boto3 does if it is not told otherwise
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html).
func (v *Verifier) checkOldURL(r *http.Request, rawPath string, query []param) error {
	key, expires, given := get(query, "AWSAccessKeyId"), get(query, "Expires"), get(query, "Signature")
	if key == "" || expires == "" || given == "" {
		return refused(http.StatusForbidden, "AccessDenied",
			"Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil {
		return refused(http.StatusForbidden, "AccessDenied", "Invalid date (should be seconds since epoch): "+clip(expires))
	}
	if now := v.Clock.Now().UTC(); now.After(time.Unix(seconds, 0)) {
		return hasExpired(time.Unix(seconds, 0), now)
	}
	return v.checkOld(r, key, given, expires, rawPath, query)
}

// checkOldHeader is checkOldURL for a request whose Authorization has a key and a signature.
func (v *Verifier) checkOldHeader(r *http.Request, credential, rawPath string, query []param) error {
	key, given, ok := strings.Cut(credential, ":")
	if !ok {
		return refused(http.StatusBadRequest, "InvalidArgument", "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature")
	}
	text := r.Header.Get("X-Amz-Date")
	date := "" // the line is empty if the other header has it
	if text == "" {
		text = r.Header.Get("Date")
		date = text
	}
	at, err := http.ParseTime(text)
	if err != nil {
		if at, err = time.Parse(time.RFC1123Z, text); err != nil {
			return refused(http.StatusForbidden, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
		}
	}
	if err := v.checkS3Time(signature{date: at.UTC()}, query); err != nil {
		return err
	}
	return v.checkOld(r, key, given, date, rawPath, query)
}

// checkOld checks a signature of the second version, in which date is the date of the request or the end of the URL.
func (v *Verifier) checkOld(r *http.Request, key, given, date, rawPath string, query []param) error {
	secret, ok := v.Keys[key]
	if !ok {
		return unknownKey(key)
	}
	header := func(name string) string { // which may be in the URL instead
		if value := r.Header.Get(name); value != "" {
			return value
		}
		for _, p := range query {
			if strings.EqualFold(p.key, name) {
				return get(query, p.key)
			}
		}
		return ""
	}
	var names []string
	for name := range r.Header {
		names = append(names, strings.ToLower(name))
	}
	for _, p := range query {
		names = append(names, strings.ToLower(p.key))
	}
	slices.Sort(names)
	var head, tail strings.Builder
	head.WriteString(r.Method + "\n" + header("Content-MD5") + "\n" + header("Content-Type") + "\n" + date + "\n")
	for _, name := range slices.Compact(names) {
		if strings.HasPrefix(name, "x-amz-") {
			head.WriteString(name + ":" + header(name) + "\n")
		}
	}
	separator := byte('?')
	for _, p := range query {
		if _, signed := slices.BinarySearch(oldParameters, p.key); !signed {
			continue
		}
		tail.WriteByte(separator)
		separator = '&'
		tail.WriteString(p.key)
		if value := get(query, p.key); value != "" {
			tail.WriteString("=" + value)
		}
	}
	// The bucket is in the path, or it is one of the beginnings of the host.
	err := compareOld(secret, key, head.String()+rawPath+tail.String(), given)
	for i := range len(r.Host) {
		if err != nil && r.Host[i] == '.' && compareOld(secret, key, head.String()+"/"+r.Host[:i]+rawPath+tail.String(), given) == nil {
			return nil
		}
	}
	return err
}
