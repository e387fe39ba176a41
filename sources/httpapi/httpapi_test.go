package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is a gateway with one function behind it. Unlike http.ServeMux it leaves paths as they are.
type hub struct {
	t      testing.TB
	server *httptest.Server
	log    *logBuffer
	clock  *clock.Manual
	stop   context.CancelFunc
	done   chan error

	mu        sync.Mutex
	mounts    map[string]http.Handler
	invoke    func(context.Context, executor.Request) (executor.Response, error)
	accept    func(context.Context, executor.Request) error
	functions map[string]function
	last      executor.Request
	calls     int
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// function is an authorizer's function.
type function func(doc []byte) (executor.Response, error)

func (f function) Invoke(_ context.Context, req executor.Request) (executor.Response, error) {
	return f(req.Payload)
}

func (f function) Close(context.Context) error { return nil }

func kind(t testing.TB, name string) plugin.Spec[sources.Source] {
	t.Helper()
	for _, s := range httpapi.Specs() {
		if s.Kind == name {
			return s
		}
	}
	t.Fatalf("no kind %q", name)
	return plugin.Spec[sources.Source]{}
}

var began = time.Date(2025, 4, 14, 22, 11, 1, 115e6, time.UTC)

func (h *hub) deps(dir string) plugin.Deps {
	return plugin.Deps{
		Name: "api", Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: prometheus.NewRegistry(), Clock: h.clock, Dir: dir, Region: "us-east-1", Account: "123456789012",
	}
}

// newHub opens a door, runs it behind a server and answers {"statusCode":200} until told otherwise.
func newHub[C any](t testing.TB, kindName string, configure func(*C), functions map[string]function) *hub {
	t.Helper()
	h := &hub{t: t, log: &logBuffer{}, clock: clock.NewManual(began), done: make(chan error, 1), mounts: map[string]http.Handler{}, functions: functions}
	h.answer(`{"statusCode":200}`)
	h.accept = func(context.Context, executor.Request) error { return nil }
	spec := kind(t, kindName)
	config := spec.Config()
	if configure != nil {
		configure(config.(*C))
	}
	source, err := spec.Open(t.Context(), config, h.deps(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	mounted := make(chan struct{})
	want := len(config.(sources.Mounter).Patterns())
	go func() {
		h.done <- source.Run(ctx, sources.Hub{
			Invoke: h.doInvoke, Accept: h.doAccept, Function: h.function,
			Mount: func(pattern string, handler http.Handler) (func(), error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.mounts[pattern] = handler
				if len(h.mounts) == want {
					close(mounted)
				}
				return func() {
					h.mu.Lock()
					defer h.mu.Unlock()
					delete(h.mounts, pattern)
				}, nil
			},
		})
	}()
	h.server = httptest.NewServer(h)
	t.Cleanup(func() {
		h.server.Close()
		cancel()
		if err := <-h.done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-mounted:
	case err := <-h.done:
		t.Fatalf("Run: %v", err)
	}
	return h
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	host, _, _ := net.SplitHostPort(r.Host)
	var best http.Handler
	length := -1
	for p, handler := range h.mounts {
		i := strings.IndexByte(p, '/')
		name, path := p[:i], p[i:]
		if (name == "" || name == host) && (r.URL.Path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(r.URL.Path, path)) && len(p) > length {
			best, length = handler, len(p)
		}
	}
	h.mu.Unlock()
	if best == nil {
		http.Error(w, "nothing is mounted there", http.StatusTeapot)
		return
	}
	best.ServeHTTP(w, r)
}

func (h *hub) answer(doc string) {
	h.script(func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{Payload: []byte(doc)}, nil
	})
}

func (h *hub) script(f func(context.Context, executor.Request) (executor.Response, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.invoke = f
}

func (h *hub) record(req executor.Request) {
	h.last = req
	h.last.Payload = bytes.Clone(req.Payload)
	h.calls++
}

func (h *hub) doInvoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	h.mu.Lock()
	h.record(req)
	f := h.invoke
	h.mu.Unlock()
	return f(ctx, req)
}

func (h *hub) doAccept(ctx context.Context, req executor.Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record(req)
	return h.accept(ctx, req)
}

func (h *hub) function(name string) (executor.Function, error) {
	if f, ok := h.functions[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("there is no function %q", name)
}

// document is what the function was handed last.
func (h *hub) document() doc {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	return decode(h.t, h.last.Payload)
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

type doc map[string]any

func decode(t testing.TB, b []byte) doc {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v doc
	if err := d.Decode(&v); err != nil {
		t.Fatalf("document %q: %v", b, err)
	}
	return v
}

// at walks into a document.
func (d doc) at(path ...string) any {
	var v any = map[string]any(d)
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// response is an HTTP response, read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// send makes a request: method and target, headers as "Name: value" lines.
func (h *hub) send(method, target, body string, headers ...string) response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+target, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	return h.do(req)
}

func (h *hub) do(req *http.Request) response {
	h.t.Helper()
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(b)}
}

// raw sends bytes and returns all that comes back until the server closes the connection.
func (h *hub) raw(text string) string {
	h.t.Helper()
	c := h.dial()
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		h.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *hub) dial() net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.server.URL, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil { // only a broken door reaches it
		h.t.Fatal(err)
	}
	return c
}

func (r response) is(t testing.TB, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("got %d %s, want %d %s", r.status, r.body, status, body)
	}
}

func (r response) has(t testing.TB, name, want string) {
	t.Helper()
	if got := strings.Join(r.header.Values(name), " | "); got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

var kinds = []string{"function-url", "http-api", "rest-api", "alb"}

// open opens a door whose settings do not matter.
func open(t testing.TB, kind string, configure func(*httpapi.Mount)) *hub {
	t.Helper()
	if configure == nil {
		configure = func(*httpapi.Mount) {}
	}
	switch kind {
	case "function-url":
		return newHub(t, kind, func(c *httpapi.FunctionURL) { configure(&c.Mount) }, nil)
	case "http-api":
		return newHub(t, kind, func(c *httpapi.HTTPAPI) { configure(&c.Mount) }, nil)
	case "rest-api":
		return newHub(t, kind, func(c *httpapi.RESTAPI) { configure(&c.Mount) }, nil)
	default:
		return newHub(t, kind, func(c *httpapi.ALB) { configure(&c.Mount) }, nil)
	}
}

// each runs a test against every door. REST APIs have their stage in the path.
func each(t *testing.T, configure func(*httpapi.Mount), test func(t *testing.T, kind string, h *hub, root string)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k, func(t *testing.T) {
			t.Parallel()
			root := "/"
			if k == "rest-api" {
				root = "/prod/"
			}
			h := open(t, k, configure)
			h.t = t
			test(t, k, h, root)
		})
	}
}

func TestFailuresOfTheFunctionAreAnsweredAsOnAWS(t *testing.T) {
	t.Parallel()
	failed := map[string]string{
		"function-url": "502 Internal Server Error", "http-api": `500 {"message":"Internal Server Error"}`,
		"rest-api": `502 {"message": "Internal server error"}`, "alb": "502 " + albPage("502 Bad Gateway"),
	}
	kindOf := func(k executor.Kind) error {
		return &executor.Error{Kind: k, Function: "f", RetryAfter: 1500 * time.Millisecond, Err: errors.New("because")}
	}
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		for _, c := range []struct {
			name  string
			resp  executor.Response
			err   error
			want  map[string]string
			retry string
		}{
			{name: "error", resp: executor.Response{Payload: []byte(`{"statusCode":200}`), Failure: &executor.Failure{Type: "E"}}, want: failed},
			{name: "malformed", resp: executor.Response{Payload: []byte(`{"statusCode":0}`)}, want: failed},
			{name: "refused", err: kindOf(executor.Refused), want: failed},
			{name: "throttled", err: kindOf(executor.Throttled), retry: "2", want: map[string]string{
				"function-url": `429 {"Message":"Too Many Requests"}`, "http-api": `429 {"message":"Too Many Requests"}`,
				"rest-api": `429 {"message":"Too Many Requests"}`, "alb": "429 " + albPage("429 Too Many Requests"),
			}},
			{name: "too large", err: kindOf(executor.TooLarge), want: map[string]string{
				"function-url": `413 {"Message":"Request Entity Too Large"}`, "http-api": `413 {"message":"Request Entity Too Large"}`,
				"rest-api": `413 {"message": "Request Too Long"}`, "alb": "413 " + albPage("413 Request Entity Too Large"),
			}},
			{name: "unready", err: kindOf(executor.Unready), retry: "2", want: map[string]string{
				"function-url": `503 {"Message":"Service Unavailable"}`, "http-api": `503 {"message":"Service Unavailable"}`,
				"rest-api": `503 {"message":"Service Unavailable"}`, "alb": "503 " + albPage("503 Service Unavailable"),
			}},
			{name: "no error of the executor", err: errors.New("oops"), want: map[string]string{
				"function-url": "502 Internal Server Error", "http-api": `500 {"message":"Internal Server Error"}`,
				"rest-api": `500 {"message": "Internal server error"}`, "alb": "500 " + albPage("500 Internal Server Error"),
			}},
		} {
			h.script(func(context.Context, executor.Request) (executor.Response, error) { return c.resp, c.err })
			got := h.send("GET", root, "")
			if text := fmt.Sprintf("%d %s", got.status, got.body); text != c.want[kind] {
				t.Errorf("%s: got %s, want %s", c.name, text, c.want[kind])
			}
			got.has(t, "Retry-After", c.retry)
		}
	})
}

func albPage(line string) string {
	return "<html>\r\n<head><title>" + line + "</title></head>\r\n<body>\r\n<center><h1>" + line + "</h1></center>\r\n</body>\r\n</html>\r\n"
}

func TestEventsAreAcceptedBeforeTheyAreAnswered(t *testing.T) {
	t.Parallel()
	each(t, func(m *httpapi.Mount) { m.InvocationType = "Event" }, func(t *testing.T, _ string, h *hub, root string) {
		got := h.send("POST", root, "x")
		got.is(t, http.StatusAccepted, "")
		if h.count() != 1 || h.document() == nil {
			t.Errorf("%d events accepted", h.count())
		}
		for err, status := range map[error]int{
			&executor.Error{Kind: executor.TooLarge, Err: errors.New("x")}: http.StatusRequestEntityTooLarge,
			errors.New("the store is full"):                                http.StatusServiceUnavailable,
		} {
			h.mu.Lock()
			h.accept = func(context.Context, executor.Request) error { return err }
			h.mu.Unlock()
			if got := h.send("POST", root, "x"); got.status != status || status == 503 && got.header.Get("Retry-After") == "" {
				t.Errorf("%v: got %d %v, want %d", err, got.status, got.header, status)
			}
		}
	})
}

func TestRequestIDsAreThoseOfTheInvocation(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		got := h.send("GET", root, "")
		id := map[string]string{"function-url": "X-Amzn-Requestid", "http-api": "Apigw-Requestid", "rest-api": "X-Amzn-Requestid"}[kind]
		if id == "" {
			return
		}
		got.has(t, id, h.last.ID)
		if h.last.ID == "" || h.document().at("requestContext", "requestId") != h.last.ID {
			t.Errorf("request id %q, document %v", h.last.ID, h.document())
		}
	})
}

func TestTracesAreHandedOn(t *testing.T) {
	t.Parallel()
	h := open(t, "http-api", nil)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.send("GET", "/", "", "traceparent: "+parent)
	if want := "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1"; h.last.TraceID != want || h.last.TraceParent != parent {
		t.Errorf("trace %q, parent %q", h.last.TraceID, h.last.TraceParent)
	}
	if got := h.document().at("headers", "x-amzn-trace-id"); got != h.last.TraceID {
		t.Errorf("header %v", got)
	}
	h.send("GET", "/", "", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793")
	if h.last.TraceID != "Root=1-5759e988-bd862e3fe1be46a994272793" {
		t.Errorf("trace %q", h.last.TraceID)
	}
	for _, bad := range []string{"", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7"} {
		h.send("GET", "/", "", "traceparent: "+bad)
		if len(h.last.TraceID) != 40 || !strings.HasPrefix(h.last.TraceID, "Root=1-67fd87f5-") {
			t.Errorf("trace %q", h.last.TraceID)
		}
	}
}

func TestDoorsAreMountedBelowAPathAndAHost(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k, func(t *testing.T) {
			t.Parallel()
			h := open(t, k, func(m *httpapi.Mount) { m.Path, m.Host = "/a/b", "127.0.0.1" })
			stage := ""
			if k == "rest-api" {
				stage = "/prod"
			}
			for target, path := range map[string]string{
				"/a/b" + stage: "/", "/a/b" + stage + "/": "/", "/a/b" + stage + "/c%2Fd": "/c%2Fd", "/%61/b" + stage + "/c": "/c",
			} {
				got := h.send("GET", target, "")
				if got.status != 200 {
					t.Errorf("%s: %d %s", target, got.status, got.body)
					continue
				}
				key := map[string]string{"function-url": "rawPath", "http-api": "rawPath", "rest-api": "path", "alb": "path"}[k]
				want := path
				switch k {
				case "function-url", "http-api":
					want = strings.ReplaceAll(path, "%2F", "/")
				case "alb":
					want = target
				}
				if p := h.document().at(key); p != want {
					t.Errorf("%s: path %v, want %s", target, p, want)
				}
			}
			if got := h.send("GET", "/a/bc", ""); got.status != http.StatusTeapot {
				t.Errorf("/a/bc: %d", got.status)
			}
			if got := h.send("GET", "/a/b/", "", "Host: other.test:80"); got.status != http.StatusTeapot {
				t.Errorf("other host: %d", got.status)
			}
		})
	}
}

func TestRunUnmountsWhenItEnds(t *testing.T) {
	t.Parallel()
	h := open(t, "alb", func(m *httpapi.Mount) { m.Path = "/x" })
	h.stop()
	err := <-h.done
	h.done <- err
	if err != nil || len(h.mounts) != 0 {
		t.Errorf("%v, %v", err, h.mounts)
	}
}
