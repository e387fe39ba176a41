// Package httpfn runs a function that is an HTTP endpoint: it sends the document and takes the body of the
// response as the answer.
//
// What comes back decides what happens to an event:
//
//	2xx                              the answer; with X-Amz-Function-Error set, a failure
//	3xx, 4xx but those below         a permanent failure: the same document would get the same answer
//	408, 425, 502, 503, 504          not ready: tried again later, uncounted; Retry-After is kept
//	429                              throttled: tried again later, uncounted; Retry-After is kept
//	other 5xx                        a failure of the code, tried again as often as the function allows
//	no connection, bad certificate   not ready: the event is not at fault, and an operator can mend it
//	connection lost while waiting    a failure like a crash: the document may be what caused it
package httpfn

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

// Failure types of this kind.
const (
	typeStatus    = "Function.HTTPStatus"
	typeTruncated = "Runtime.TruncatedResponse"
)

const version = "$LATEST"

// Spec is the kind "http".
func Spec() plugin.Spec[executor.Function] {
	return plugin.Define("http", "Sends the document to an HTTP endpoint.", Defaults(), Open)
}

type function struct {
	config    Config
	name      string
	clock     clock.Clock
	header    http.Header // what every request has
	host      string
	transport *http.Transport
	gate      executor.Gate
}

// Open reads the certificates; it does not connect.
func Open(_ context.Context, c Config, d plugin.Deps) (executor.Function, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	f := &function{
		config: c, name: d.Name, clock: d.Clock,
		header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"millrace"}},
	}
	for name, value := range c.Headers {
		if strings.EqualFold(name, "Host") {
			f.host = string(value)
			continue
		}
		f.header.Set(name, string(value))
	}
	trust, err := c.TLS.Load(d.Dir)
	if err != nil {
		return nil, err
	}
	f.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     trust,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // the answer is handed on as it is
		MaxIdleConnsPerHost: 512,  // a burst must not open a connection for each request
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      16 << 10,
		WriteBufferSize:     16 << 10,
	}
	if c.Socket != "" {
		path := plugin.Resolve(d.Dir, c.Socket)
		f.transport.Proxy = nil
		f.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	return f, nil
}

// Close waits for the requests under way.
func (f *function) Close(ctx context.Context) error {
	f.gate.Close(ctx)
	f.transport.CloseIdleConnections()
	return nil
}

func (f *function) Invoke(parent context.Context, req executor.Request) (executor.Response, error) {
	if len(req.Payload) > executor.MaxPayload {
		return executor.Response{}, f.fail(executor.TooLarge, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(req.Payload), executor.MaxPayload))
	}
	ctx, cancel := clock.WithTimeout(parent, f.clock, f.config.Timeout)
	defer cancel()
	id, ok := f.gate.Enter(cancel)
	if !ok {
		return executor.Response{}, f.fail(executor.Closed, errors.New("the function has been closed"))
	}
	defer f.gate.Leave(id)
	if parent.Err() != nil {
		return executor.Response{}, f.fail(executor.Canceled, context.Cause(parent))
	}

	start := f.clock.Now()
	resp, err := f.send(ctx, req, start)
	if err != nil && ctx.Err() != nil {
		if parent.Err() == nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			streamed := resp.Streamed
			resp, err = executor.TimedOut(req.ID, f.config.Timeout), nil
			resp.Streamed = streamed
		} else {
			err = f.fail(executor.Canceled, context.Cause(ctx))
		}
	}
	if err != nil {
		return executor.Response{}, err
	}
	resp.Version = version
	resp.Duration = f.clock.Now().Sub(start)
	return resp, nil
}

// send makes one request. Its error may be due to the end of ctx.
func (f *function) send(ctx context.Context, req executor.Request, now time.Time) (executor.Response, error) {
	body := &payload{data: req.Payload}
	defer body.cut()
	r, err := http.NewRequestWithContext(ctx, f.config.Method, f.config.URL, body.reader())
	if err != nil {
		return executor.Response{}, f.fail(executor.Refused, err)
	}
	r.ContentLength = int64(len(req.Payload))
	r.GetBody = func() (io.ReadCloser, error) { return body.reader(), nil }
	r.Host = f.host
	f.setHeaders(r.Header, req, now)

	resp, err := f.transport.RoundTrip(r) // a client would follow redirects
	if err != nil && ctx.Err() != nil {
		return executor.Response{}, err
	}
	if err != nil {
		return f.classify(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 && resp.Header.Get("X-Amz-Function-Error") == "" && req.Stream != nil {
		return f.stream(resp, req)
	}
	answer, err := readAll(resp)
	switch {
	case errors.Is(err, errTooLarge):
		return executor.ResponseTooLarge(), nil
	case err != nil && ctx.Err() != nil:
		return executor.Response{}, err
	case err != nil:
		return truncated(err), nil
	}
	return f.answer(resp, answer)
}

func (f *function) setHeaders(h http.Header, req executor.Request, now time.Time) {
	for name, values := range f.header {
		h[name] = values
	}
	set := func(name, value string) {
		if value != "" && httpguts.ValidHeaderFieldValue(value) {
			h.Set(name, value)
		}
	}
	// The names of the Runtime API, so that code which knows one of them knows all.
	set("Lambda-Runtime-Aws-Request-Id", req.ID)
	set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(now.Add(f.config.Timeout).UnixMilli(), 10))
	set("Lambda-Runtime-Invoked-Function-Arn", req.ARN)
	set("Lambda-Runtime-Trace-Id", req.TraceID)
	set("Lambda-Runtime-Aws-Tenant-Id", req.TenantID)
	set("X-Amzn-Trace-Id", req.TraceID)
	set("Traceparent", req.TraceParent)
	set("Millrace-Attempt", strconv.Itoa(max(req.Attempt, 1)))
	// With this key the transport may send again, by itself, what it sent on an idle connection that the
	// server was just closing.
	set("Idempotency-Key", req.ID)
	if req.ClientContext != "" {
		set("X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(req.ClientContext)))
	}
	if f.config.CloudEvents {
		source := req.ARN
		if source == "" {
			source = f.name
		}
		set("Ce-Specversion", "1.0")
		set("Ce-Id", req.ID)
		set("Ce-Source", source)
		set("Ce-Type", "millrace.invocation")
		set("Ce-Time", now.UTC().Format(time.RFC3339Nano))
		set("Ce-Traceparent", req.TraceParent)
	}
	if secrets := f.config.Signing.Secrets; len(secrets) > 0 {
		sign.Headers(h, secrets, req.ID, now, req.Payload)
	}
}

// answer maps a response whose body has been read.
func (f *function) answer(resp *http.Response, body []byte) (executor.Response, error) {
	status := resp.StatusCode
	switch {
	case status/100 == 2:
		if len(body) == 0 {
			body = []byte("null") // as a handler that returns nothing
		}
		if resp.Header.Get("X-Amz-Function-Error") != "" {
			return executor.Response{Payload: body, Failure: executor.ParseFailure(body)}, nil
		}
		return executor.Response{Payload: body}, nil
	case status == http.StatusTooManyRequests:
		e := f.fail(executor.Throttled, statusError(resp))
		e.Reason, e.RetryAfter = executor.ReasonRate, f.retryAfter(resp.Header)
		return executor.Response{}, e
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly ||
		status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout:
		e := f.fail(executor.Unready, statusError(resp))
		e.RetryAfter = f.retryAfter(resp.Header)
		return executor.Response{}, e
	}
	permanent := status < 500
	if fail := executor.ParseFailure(body); fail.Type != "" {
		fail.Permanent = permanent
		return executor.Response{Payload: body, Failure: fail}, nil
	}
	message := statusError(resp).Error()
	if location := resp.Header.Get("Location"); status/100 == 3 && location != "" {
		message += ", a redirect to " + location + "; redirects are not followed, set url to it"
	} else if text := excerpt(body); text != "" {
		message += ": " + text
	}
	failed := executor.Failed(typeStatus, message)
	failed.Failure.Permanent = permanent
	return failed, nil
}

// stream hands the body on as it comes. What the client can not take is read and dropped, so that the
// function runs to its end.
func (f *function) stream(resp *http.Response, req executor.Request) (executor.Response, error) {
	w := req.Stream(resp.Header.Get("Content-Type"))
	buf := make([]byte, 32<<10)
	gone := false
	for size := 0; ; {
		n, err := resp.Body.Read(buf)
		if size += n; size > executor.MaxStream {
			r := executor.ResponseTooLarge()
			r.Streamed = true
			return r, nil
		}
		if n > 0 && !gone {
			_, lost := w.Write(buf[:n])
			gone = lost != nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return executor.Response{Streamed: true}, nil
		case err != nil && resp.Request.Context().Err() != nil:
			return executor.Response{Streamed: true}, err
		case err != nil:
			r := truncated(err)
			r.Streamed = true
			return r, nil
		}
	}
}

// classify tells the two ways of getting no response apart: no connection, or one that was lost.
func (f *function) classify(err error) (executor.Response, error) {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") || isTLS(err) {
		return executor.Response{}, f.fail(executor.Unready, err)
	}
	return executor.Failed(executor.TypeExit, "The connection was lost before a response came: "+err.Error()), nil
}

// isTLS reports whether the two sides could not agree on a safe connection.
func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch)
}

func (f *function) fail(k executor.Kind, err error) *executor.Error {
	return &executor.Error{Kind: k, Function: f.name, Err: err}
}

// retryAfter reads Retry-After, in seconds or as a date; 0 is not known.
func (f *function) retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(f.clock.Now()))
	}
	return 0
}

func statusError(resp *http.Response) error {
	return fmt.Errorf("the endpoint answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

func truncated(err error) executor.Response {
	return executor.Failed(typeTruncated, "The connection was lost in the middle of the response: "+err.Error())
}

// excerpt is the beginning of a body, if it is text.
func excerpt(body []byte) string {
	if !utf8.Valid(body) {
		return ""
	}
	body = bytes.TrimSpace(body)
	return strings.ToValidUTF8(string(body[:min(len(body), 256)]), "")
}

var errTooLarge = errors.New("response too large")

func readAll(resp *http.Response) ([]byte, error) {
	if resp.ContentLength > executor.MaxResponse {
		return nil, errTooLarge
	}
	if n := resp.ContentLength; n >= 0 {
		body := make([]byte, n)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, executor.MaxResponse+1))
	if len(body) > executor.MaxResponse {
		return nil, errTooLarge
	}
	return body, err
}

// payload is a request body that ends when its owner says so: a transport may read on after RoundTrip has
// returned, but the caller's bytes are ours only until Invoke returns.
type payload struct {
	mu   sync.Mutex
	data []byte
	over bool
}

func (p *payload) cut() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
}

func (p *payload) reader() io.ReadCloser { return &payloadReader{p: p} }

type payloadReader struct {
	p   *payload
	off int
}

func (r *payloadReader) Read(b []byte) (int, error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	switch {
	case r.p.over:
		return 0, errors.New("the invocation has ended")
	case r.off == len(r.p.data):
		return 0, io.EOF
	}
	n := copy(b, r.p.data[r.off:])
	r.off += n
	return n, nil
}

func (r *payloadReader) Close() error { return nil }
