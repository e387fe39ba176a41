package httpfn_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/httpfn"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now     = time.Date(2026, 3, 4, 5, 6, 7, 891e6, time.UTC)
	request = executor.Request{
		ID: "8f0e3b7c-6a52-4a3e-9a35-3c1a6c1f2b11", Attempt: 2,
		ARN:     "arn:aws:lambda:us-east-1:000000000000:function:billing",
		Payload: []byte(`{"n":1}`), TraceID: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
		TraceParent:   "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
		ClientContext: `{"a":"ü"}`, TenantID: "blue",
	}
)

// open makes a function of the configuration that change leaves, on a clock of its own.
func open(t testing.TB, url string, change func(*httpfn.Config)) (executor.Function, *clock.Manual) {
	t.Helper()
	spec := httpfn.Spec()
	c := spec.Config().(*httpfn.Config)
	c.URL = url
	if change != nil {
		change(c)
	}
	m := clock.NewManual(now)
	f, err := spec.Open(t.Context(), c, plugin.Deps{Name: "billing", Log: slog.New(slog.DiscardHandler), Clock: m, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background()) })
	return f, m
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestTheRequestCarriesTheInvocation(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"ok":true}`))
	})
	secret := plugin.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f, _ := open(t, s.URL+"/in?x=1", func(c *httpfn.Config) {
		c.Method = http.MethodPut
		c.Headers = map[string]plugin.Secret{"authorization": "Bearer abc", "host": "billing.internal"}
		c.CloudEvents = true
		c.Signing.Secrets = []plugin.Secret{secret}
	})
	resp, err := f.Invoke(t.Context(), request)
	if err != nil || string(resp.Payload) != `{"ok":true}` || resp.Failure != nil || resp.Version != "$LATEST" {
		t.Fatalf("Invoke = %+v, %v", resp, err)
	}
	if got.Method != http.MethodPut || got.RequestURI != "/in?x=1" || got.Host != "billing.internal" || string(body) != `{"n":1}` || got.ContentLength != 7 {
		t.Errorf("%s %s to %s with %q", got.Method, got.RequestURI, got.Host, body)
	}
	signed := http.Header{}
	sign.Headers(signed, []plugin.Secret{secret}, request.ID, now, request.Payload)
	for name, want := range map[string]string{
		"Content-Type":                        "application/json",
		"Authorization":                       "Bearer abc",
		"Lambda-Runtime-Aws-Request-Id":       request.ID,
		"Lambda-Runtime-Deadline-Ms":          fmt.Sprint(now.Add(3 * time.Second).UnixMilli()),
		"Lambda-Runtime-Invoked-Function-Arn": request.ARN,
		"Lambda-Runtime-Trace-Id":             request.TraceID,
		"Lambda-Runtime-Aws-Tenant-Id":        "blue",
		"X-Amzn-Trace-Id":                     request.TraceID,
		"Traceparent":                         request.TraceParent,
		"X-Amz-Client-Context":                base64.StdEncoding.EncodeToString([]byte(request.ClientContext)),
		"Idempotency-Key":                     request.ID,
		"Millrace-Attempt":                    "2",
		"Ce-Specversion":                      "1.0",
		"Ce-Id":                               request.ID,
		"Ce-Source":                           request.ARN,
		"Ce-Type":                             "millrace.invocation",
		"Ce-Time":                             "2026-03-04T05:06:07.891Z",
		"Ce-Traceparent":                      request.TraceParent,
		"Webhook-Id":                          request.ID,
		"Webhook-Timestamp":                   fmt.Sprint(now.Unix()),
		"Webhook-Signature":                   signed.Get("Webhook-Signature"),
		"Accept-Encoding":                     "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
}

func TestTheStatusDecidesWhatHappens(t *testing.T) {
	t.Parallel()
	const own = `{"errorType":"OutOfStock","errorMessage":"none left","stackTrace":[]}`
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var c struct {
			Status int
			Header map[string]string
			Body   []byte
		}
		_ = json.NewDecoder(r.Body).Decode(&c)
		for name, value := range c.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(c.Status)
		_, _ = w.Write(c.Body)
	})
	f, _ := open(t, s.URL, nil)
	type header = map[string]string
	for _, tc := range []struct {
		name    string
		status  int
		header  header
		body    string
		payload string           // of the answer
		failure executor.Failure // Type "" is none
		kind    executor.Kind    // of the error, if the payload is ""
		after   time.Duration
	}{
		{name: "200 is an answer", status: 200, body: `[1]`, payload: `[1]`},
		{name: "an empty answer is null", status: 200, payload: `null`},
		{name: "204 is null", status: 204, payload: `null`},
		{name: "202 is an answer", status: 202, body: `"later"`, payload: `"later"`},
		{name: "a function error as Lambda marks it", status: 200, header: header{"X-Amz-Function-Error": "Unhandled"}, body: own, payload: own, failure: executor.Failure{Type: "OutOfStock", Message: "none left"}},
		{name: "400 is permanent", status: 400, body: "no such order\n", payload: `{"errorType":"Function.HTTPStatus","errorMessage":"the endpoint answered 400 Bad Request: no such order"}`, failure: executor.Failure{Type: "Function.HTTPStatus", Message: "the endpoint answered 400 Bad Request: no such order", Permanent: true}},
		{name: "400 with an error document of its own", status: 422, body: own, payload: own, failure: executor.Failure{Type: "OutOfStock", Message: "none left", Permanent: true}},
		{name: "404 without a body", status: 404, payload: `{"errorType":"Function.HTTPStatus","errorMessage":"the endpoint answered 404 Not Found"}`, failure: executor.Failure{Type: "Function.HTTPStatus", Message: "the endpoint answered 404 Not Found", Permanent: true}},
		{name: "a redirect is not followed", status: 302, header: header{"Location": "/elsewhere"}, payload: `{"errorType":"Function.HTTPStatus","errorMessage":"the endpoint answered 302 Found, a redirect to /elsewhere; redirects are not followed, set url to it"}`, failure: executor.Failure{Type: "Function.HTTPStatus", Message: "the endpoint answered 302 Found, a redirect to /elsewhere; redirects are not followed, set url to it", Permanent: true}},
		{name: "500 is tried again and counted", status: 500, body: own, payload: own, failure: executor.Failure{Type: "OutOfStock", Message: "none left"}},
		{name: "501 is tried again and counted", status: 501, payload: `{"errorType":"Function.HTTPStatus","errorMessage":"the endpoint answered 501 Not Implemented"}`, failure: executor.Failure{Type: "Function.HTTPStatus", Message: "the endpoint answered 501 Not Implemented"}},
		{name: "binary bodies are not quoted", status: 500, body: "\xff\xfe\x00", payload: `{"errorType":"Function.HTTPStatus","errorMessage":"the endpoint answered 500 Internal Server Error"}`, failure: executor.Failure{Type: "Function.HTTPStatus", Message: "the endpoint answered 500 Internal Server Error"}},
		{name: "408 is not ready", status: 408, kind: executor.Unready},
		{name: "425 is not ready", status: 425, kind: executor.Unready},
		{name: "502 is not ready", status: 502, kind: executor.Unready},
		{name: "503 with seconds to wait", status: 503, header: header{"Retry-After": "7"}, kind: executor.Unready, after: 7 * time.Second},
		{name: "503 with a date to wait for", status: 503, header: header{"Retry-After": now.Add(time.Minute).Format(http.TimeFormat)}, kind: executor.Unready, after: time.Minute - 891*time.Millisecond},
		{name: "503 with a date gone by", status: 503, header: header{"Retry-After": now.Add(-time.Hour).Format(http.TimeFormat)}, kind: executor.Unready},
		{name: "503 with nonsense to wait for", status: 503, header: header{"Retry-After": "soon"}, kind: executor.Unready},
		{name: "504 is not ready", status: 504, kind: executor.Unready},
		{name: "429 is throttled", status: 429, header: header{"Retry-After": "2"}, kind: executor.Throttled, after: 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			req := request
			req.Payload, _ = json.Marshal(tcWire{tc.status, tc.header, []byte(tc.body)})
			resp, err := f.Invoke(t.Context(), req)
			if tc.payload == "" {
				var e *executor.Error
				if !errors.As(err, &e) || e.Kind != tc.kind || e.RetryAfter != tc.after {
					t.Fatalf("error %#v, want kind %v after %v", err, tc.kind, tc.after)
				}
				if e.Kind == executor.Throttled && e.Reason != executor.ReasonRate {
					t.Errorf("reason %q", e.Reason)
				}
				return
			}
			if err != nil || string(resp.Payload) != tc.payload {
				t.Fatalf("payload %s, %v\nwant    %s", resp.Payload, err, tc.payload)
			}
			switch {
			case tc.failure.Type == "" && resp.Failure != nil:
				t.Errorf("failure %+v", resp.Failure)
			case tc.failure.Type != "" && (resp.Failure == nil || *resp.Failure != tc.failure):
				t.Errorf("failure %+v, want %+v", resp.Failure, tc.failure)
			}
		})
	}
}

type tcWire struct {
	Status int
	Header map[string]string
	Body   []byte
}

func kindOf(t *testing.T, err error) executor.Kind {
	t.Helper()
	var e *executor.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is not an *executor.Error", err)
	}
	if e.Function != "billing" {
		t.Errorf("the error names function %q", e.Function)
	}
	return e.Kind
}

func TestNoConnectionIsNotReady(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	for name, f := range map[string]func() (executor.Function, *clock.Manual){
		"connection refused": func() (executor.Function, *clock.Manual) { return open(t, url, nil) },
		"missing socket": func() (executor.Function, *clock.Manual) {
			return open(t, url, func(c *httpfn.Config) { c.Socket = "none.sock" })
		},
		"unknown host": func() (executor.Function, *clock.Manual) { return open(t, "http://nowhere.invalid/", nil) },
		"no TLS there": func() (executor.Function, *clock.Manual) {
			return open(t, strings.Replace(plain.URL, "http:", "https:", 1), nil)
		},
	} {
		fn, _ := f()
		_, err := fn.Invoke(t.Context(), request)
		if k := kindOf(t, err); k != executor.Unready {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("1")) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		tls   plugin.TLS
		works bool
	}{
		{"unknown authority", plugin.TLS{}, false},
		{"named authority", plugin.TLS{CA: ca}, true},
		{"named authority, other name", plugin.TLS{CA: ca, ServerName: "other.test"}, false},
		{"insecure", plugin.TLS{Insecure: true}, true},
	} {
		f, _ := open(t, s.URL, func(c *httpfn.Config) { c.TLS = tc.tls })
		_, err := f.Invoke(t.Context(), request)
		if tc.works && err != nil || !tc.works && (err == nil || kindOf(t, err) != executor.Unready) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Host+r.URL.Path) }))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	f, _ := open(t, "http://app/events", func(c *httpfn.Config) { c.Socket = path })
	resp, err := f.Invoke(t.Context(), request)
	if err != nil || string(resp.Payload) != `"app/events"` {
		t.Errorf("%s, %v", resp.Payload, err)
	}
}

func TestALostConnectionIsAFailure(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/middle" {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	for path, want := range map[string]string{"/before": executor.TypeExit, "/middle": "Runtime.TruncatedResponse"} {
		f, _ := open(t, s.URL+path, nil)
		resp, err := f.Invoke(t.Context(), request)
		if err != nil || resp.Failure == nil || resp.Failure.Type != want || resp.Failure.Permanent || !json.Valid(resp.Payload) {
			t.Errorf("%s: %s, %v", path, resp.Payload, err)
		}
	}
}

// A server may close an idle connection at the moment when the next request is sent on it.
func TestAConnectionThatTheServerHasClosedIsReplaced(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var served atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// One answer a connection, then a reset, although keep-alive was promised.
			buf := make([]byte, 64<<10)
			if _, err := c.Read(buf); err == nil {
				served.Add(1)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
				_, _ = c.Read(buf)
			}
			_ = c.Close()
		}
	}()
	f, _ := open(t, "http://"+l.Addr().String(), nil)
	for i := range 5 {
		if resp, err := f.Invoke(t.Context(), request); err != nil || resp.Failure != nil {
			t.Fatalf("call %d: %+v, %v", i, resp.Failure, err)
		}
	}
	if served.Load() != 5 {
		t.Errorf("%d answers given", served.Load())
	}
}

func TestTheLimitOfAnAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		size := executor.MaxResponse
		if strings.Contains(r.URL.Path, "over") {
			size++
		}
		if strings.Contains(r.URL.Path, "sized") {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = w.Write(bytes.Repeat([]byte("7"), size))
	})
	for path, over := range map[string]bool{"/sized": false, "/chunked": false, "/sized-over": true, "/chunked-over": true} {
		f, _ := open(t, s.URL+path, nil)
		resp, err := f.Invoke(t.Context(), request)
		if err != nil || over != (resp.Failure != nil) || over && resp.Failure.Type != executor.TypeTooLarge {
			t.Errorf("%s: %+v, %v", path, resp.Failure, err)
		}
		if !over && len(resp.Payload) != executor.MaxResponse {
			t.Errorf("%s: %d bytes", path, len(resp.Payload))
		}
	}
	f, _ := open(t, s.URL, nil)
	req := request
	req.Payload = make([]byte, executor.MaxPayload+1)
	if _, err := f.Invoke(t.Context(), req); kindOf(t, err) != executor.TooLarge {
		t.Errorf("a payload over the limit: %v", err)
	}
}

// hang is a server whose handler tells when it has been reached and then waits for its client to leave.
func hang(t *testing.T) (url string, reached chan struct{}) {
	reached = make(chan struct{}, 1)
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-r.Context().Done()
	})
	return s.URL, reached
}

func TestTimeoutIsLambdas(t *testing.T) {
	t.Parallel()
	url, reached := hang(t)
	f, m := open(t, url, func(c *httpfn.Config) { c.Timeout = 1500 * time.Millisecond })
	go func() { <-reached; m.Advance(1500 * time.Millisecond) }()
	resp, err := f.Invoke(t.Context(), request)
	want := executor.TimedOut(request.ID, 1500*time.Millisecond)
	if err != nil || resp.Failure == nil || string(resp.Payload) != string(want.Payload) || resp.Duration != 1500*time.Millisecond {
		t.Errorf("%s after %v, %v", resp.Payload, resp.Duration, err)
	}
}

func TestCancelIsNoAnswer(t *testing.T) {
	t.Parallel()
	url, reached := hang(t)
	f, _ := open(t, url, nil)
	why := errors.New("the caller has left")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-reached; cancel(why) }()
	if _, err := f.Invoke(ctx, request); kindOf(t, err) != executor.Canceled || !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

func TestCloseWaitsThenStops(t *testing.T) {
	t.Parallel()
	url, reached := hang(t)
	f, _ := open(t, url, nil)
	result := make(chan error)
	go func() { _, err := f.Invoke(t.Context(), request); result <- err }()
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- f.Close(ctx) }()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for { // until Close has begun
		if _, err := f.Invoke(gone, request); kindOf(t, err) == executor.Closed {
			break
		}
		runtime.Gosched()
	}
	cancel()
	if err := <-result; kindOf(t, err) != executor.Canceled {
		t.Errorf("the running invocation: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

type brokenWriter struct{ n int }

func (w *brokenWriter) Write(p []byte) (int, error) { w.n += len(p); return 0, io.ErrClosedPipe }

func TestStreaming(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	ended := make(chan struct{}, 8)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "one,")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/wait" {
			<-next
		}
		_, _ = io.WriteString(w, "two")
		ended <- struct{}{}
	})

	t.Run("pieces come as they are written", func(t *testing.T) {
		t.Parallel()
		f, _ := open(t, s.URL+"/wait", nil)
		var got bytes.Buffer
		var kind string
		req := request
		req.Stream = func(contentType string) io.Writer {
			kind = contentType
			return writerFunc(func(p []byte) (int, error) {
				if got.Len() == 0 {
					close(next) // the rest is not written before the beginning has come through
				}
				return got.Write(p)
			})
		}
		resp, err := f.Invoke(t.Context(), req)
		if err != nil || !resp.Streamed || resp.Payload != nil || got.String() != "one,two" || kind != "text/event-stream" {
			t.Errorf("%+v, %v, %q of %q", resp, err, got.String(), kind)
		}
	})
	t.Run("a client that has gone does not stop the function", func(t *testing.T) {
		t.Parallel()
		f, _ := open(t, s.URL+"/gone", nil)
		w := &brokenWriter{}
		req := request
		req.Stream = func(string) io.Writer { return w }
		resp, err := f.Invoke(t.Context(), req)
		if err != nil || !resp.Streamed || resp.Failure != nil || w.n == 0 {
			t.Errorf("%+v, %v", resp, err)
		}
		<-ended
	})
	t.Run("a response that breaks off is a failure", func(t *testing.T) {
		t.Parallel()
		f, _ := open(t, s.URL+"/cut", nil)
		req := request
		req.Stream = func(string) io.Writer { return io.Discard }
		resp, err := f.Invoke(t.Context(), req)
		if err != nil || !resp.Streamed || resp.Failure == nil || resp.Failure.Type != "Runtime.TruncatedResponse" {
			t.Errorf("%+v, %v", resp, err)
		}
	})
	t.Run("an error status is not streamed", func(t *testing.T) {
		t.Parallel()
		f, _ := open(t, s.URL+"/fail", nil)
		req := request
		req.Stream = func(string) io.Writer { t.Error("streamed"); return io.Discard }
		resp, err := f.Invoke(t.Context(), req)
		if err != nil || resp.Streamed || resp.Failure == nil {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// The server answers before it has read the request; the transport goes on reading the body meanwhile.
func TestThePayloadIsNotReadAfterInvokeHasReturned(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("1"))
	})
	f, _ := open(t, s.URL, nil)
	for range 50 {
		req := request
		req.Payload = bytes.Repeat([]byte("x"), 1<<20)
		_, _ = f.Invoke(t.Context(), req) // an answer or a lost connection
		clear(req.Payload)                // the race detector sees a read that comes now
	}
}

func TestValidateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*httpfn.Config)
		want   string // "" is valid
	}{
		{"a url is enough", func(*httpfn.Config) {}, ""},
		{"no url", func(c *httpfn.Config) { c.URL = "" }, "url: is missing"},
		{"other scheme", func(c *httpfn.Config) { c.URL = "ftp://x/" }, "url: must begin with http:// or https://"},
		{"no host", func(c *httpfn.Config) { c.URL = "http:///x" }, "url: has no host"},
		{"password in the url", func(c *httpfn.Config) { c.URL = "http://a:b@x/" }, "url: must not hold a user name"},
		{"fragment", func(c *httpfn.Config) { c.URL = "http://x/#a" }, "url: must not have a fragment"},
		{"not a url", func(c *httpfn.Config) { c.URL = "http://[::1" }, "url: is not a URL"},
		{"GET", func(c *httpfn.Config) { c.Method = "GET" }, `method: "GET" is not POST, PUT or PATCH`},
		{"own content type", func(c *httpfn.Config) {
			c.Headers = map[string]plugin.Secret{"Content-Type": "application/cloudevents+json"}
		}, ""},
		{"bad header name", func(c *httpfn.Config) { c.Headers = map[string]plugin.Secret{"a b": "x"} }, "headers.a b: is not a header name"},
		{"header with a line break", func(c *httpfn.Config) { c.Headers = map[string]plugin.Secret{"A": "x\r\nB: y"} }, "headers.A: has a value with a line break"},
		{"header of the hub", func(c *httpfn.Config) { c.Headers = map[string]plugin.Secret{"Webhook-Id": "x"} }, "headers.Webhook-Id: is set by the hub"},
		{"timeout too short", func(c *httpfn.Config) { c.Timeout = time.Millisecond }, "timeout: 1ms is outside 1s to 15m0s"},
		{"timeout too long", func(c *httpfn.Config) { c.Timeout = time.Hour }, "timeout: 1h0m0s is outside"},
		{"weak secret", func(c *httpfn.Config) { c.Signing.Secrets = []plugin.Secret{"x"} }, "signing.secrets[0]: "},
		{"certificate without key", func(c *httpfn.Config) { c.URL, c.TLS.Certificate = "https://x/", "a" }, "tls: certificate and key go together"},
		{"TLS without https", func(c *httpfn.Config) { c.TLS.Insecure = true }, "tls: has no effect on an http:// url"},
		{"insecure and ca", func(c *httpfn.Config) { c.URL, c.TLS = "https://x/", plugin.TLS{Insecure: true, CA: "a"} }, "tls.insecure: would make ca useless"},
		{"negative concurrency", func(c *httpfn.Config) { c.Concurrency.Reserved = -2 }, "concurrency.reserved: -2"},
	} {
		c := httpfn.Defaults()
		c.URL = "http://localhost:8080/events"
		tc.change(&c)
		err := c.Validate()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestOpenReadsTheCertificates(t *testing.T) {
	t.Parallel()
	spec := httpfn.Spec()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "junk.pem"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[string]string{"none.pem": "reading tls.ca", "junk.pem": "holds no PEM certificate"} {
		c := httpfn.Defaults()
		c.URL, c.TLS.CA = "https://x/", ca
		if _, err := spec.Open(t.Context(), &c, plugin.Deps{Name: "billing", Dir: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ca, err)
		}
	}
}

func BenchmarkInvoke(b *testing.B) {
	s := serve(b, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	run := func(b *testing.B, call func() error) {
		b.ReportAllocs()
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	req := request
	req.Payload = bytes.Repeat([]byte(`"0123456789012345"`), 57)
	b.Run("httpfn", func(b *testing.B) {
		f, _ := open(b, s.URL, nil)
		run(b, func() error { _, err := f.Invoke(b.Context(), req); return err })
	})
	b.Run("net/http", func(b *testing.B) { // the floor
		tr := &http.Transport{MaxIdleConnsPerHost: 512}
		b.Cleanup(tr.CloseIdleConnections)
		run(b, func() error {
			r, err := http.NewRequest(http.MethodPost, s.URL, bytes.NewReader(req.Payload))
			if err != nil {
				return err
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			return err
		})
	})
}
