package lambdaapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/api/lambdaapi"
	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region  = "us-east-1"
	account = "123456789012"
	uuidRE  = `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
)

func arn(name string) string { return "arn:aws:lambda:" + region + ":" + account + ":function:" + name }

// invoke is a Function of one func.
type invoke func(context.Context, executor.Request) (executor.Response, error)

func (f invoke) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	return f(ctx, req)
}
func (invoke) Close(context.Context) error { return nil }

func echo(_ context.Context, req executor.Request) (executor.Response, error) {
	return executor.Response{Payload: bytes.Clone(req.Payload), Version: "$LATEST", Log: []byte("START\nlog line\nEND\n")}, nil
}

// hub is what the handler under test stands on.
type hub struct {
	functions map[string]executor.Function
	acceptErr error
	keys      map[string]string

	mu       sync.Mutex
	seen     []executor.Request // invoked or accepted
	accepted int
}

func (h *hub) handler(t testing.TB) http.Handler { return h.handlerOn(t, clock.System{}) }

func (h *hub) handlerOn(t testing.TB, c clock.Clock) http.Handler {
	t.Helper()
	return lambdaapi.New(lambdaapi.Options{
		Function: func(name string) (executor.Function, lambdaapi.Info, bool) {
			f, ok := h.functions[name]
			return invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
					h.see(req)
					return f.Invoke(ctx, req)
				}), lambdaapi.Info{
					ARN: arn(name), Description: "does " + name, Runtime: "python3", Handler: "app.handler", Timeout: 2500 * time.Millisecond,
					Memory: 256 * plugin.MB, Reserved: map[string]int{"reserved": 7}[name] - map[bool]int{true: 0, false: 1}[name == "reserved"],
					CodeSize: 1000, Modified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
				}, ok
		},
		Names: func() []string { return []string{"broken", "echo", "reserved"} },
		Accept: func(_ context.Context, name string, req executor.Request) error {
			if h.acceptErr != nil {
				return h.acceptErr
			}
			h.see(req)
			h.mu.Lock()
			h.accepted++
			h.mu.Unlock()
			return nil
		},
		Region: region, Account: account, Concurrency: 1000, Keys: h.keys,
		Clock: c, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
}

// quiet is the handler alone, without the recording of requests.
func (h *hub) quiet(t testing.TB) http.Handler {
	t.Helper()
	info := lambdaapi.Info{ARN: arn("echo")}
	return lambdaapi.New(lambdaapi.Options{
		Function: func(name string) (executor.Function, lambdaapi.Info, bool) {
			f, ok := h.functions[name]
			return f, info, ok
		},
		Accept:  func(context.Context, string, executor.Request) error { return nil },
		Region:  region,
		Account: account,
		Clock:   clock.System{}, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
}

func newManual() *clock.Manual { return clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) }

// waitFor polls a condition that no channel tells of.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: it does not happen", what)
		}
		runtime.Gosched()
	}
}

func (h *hub) see(req executor.Request) {
	req.Payload = bytes.Clone(req.Payload)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, req)
}

func (h *hub) last(t testing.TB) executor.Request {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) == 0 {
		t.Fatal("no function was invoked and no event accepted")
	}
	return h.seen[len(h.seen)-1]
}

func (h *hub) invocations() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seen)
}

func newHub() *hub {
	return &hub{functions: map[string]executor.Function{
		"echo":     invoke(echo),
		"reserved": invoke(echo),
		"broken": invoke(func(context.Context, executor.Request) (executor.Response, error) {
			return executor.Response{
				Payload: []byte(`{"errorMessage":"no","errorType":"ValueError"}`), Version: "$LATEST",
				Failure: &executor.Failure{Type: "ValueError", Message: "no"},
			}, nil
		}),
	}}
}

// do sends one request; header lines are "Name: value".
func do(t testing.TB, h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// raw is a header as it was written, whatever its case.
func raw(w *httptest.ResponseRecorder, name string) string {
	for k, v := range w.Header() {
		if k == name {
			return v[0]
		}
	}
	return ""
}

const invocations = "/2015-03-31/functions/echo/invocations"

func TestInvokeAnswersWithTheBytesOfTheFunction(t *testing.T) {
	t.Parallel()
	h := newHub()
	w := do(t, h.handler(t), "POST", invocations, `{"a" : 1}`)
	if w.Code != 200 || w.Body.String() != `{"a" : 1}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	req := h.last(t)
	if id := raw(w, "x-amzn-RequestId"); id != req.ID || !regexp.MustCompile(uuidRE).MatchString(id) {
		t.Errorf("request id %q, the function saw %q", id, req.ID)
	}
	for name, want := range map[string]string{
		"X-Amz-Executed-Version": "$LATEST", "Content-Type": "application/json", "Content-Length": "9",
		"X-Amz-Function-Error": "", "X-Amz-Log-Result": "", "X-Amzn-Trace-Id": req.TraceID,
	} {
		if got := raw(w, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$`).MatchString(req.TraceID) {
		t.Errorf("trace id %q", req.TraceID)
	}
	if req.ARN != arn("echo") || req.Attempt != 1 || req.LogTail || req.Stream != nil {
		t.Errorf("request %+v", req)
	}
}

func TestInvokeHandsOnWhatTheCallerSays(t *testing.T) {
	t.Parallel()
	h := newHub()
	w := do(t, h.handler(t), "POST", invocations+"?Qualifier=%24LATEST", "[]",
		"X-Amz-Log-Type: Tail", "X-Amz-Tenant-Id: tenant one", "X-Amz-Client-Context: "+base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`)),
		"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"X-Amzn-RequestId: 0D5BFB9C-8B4C-4F5A-9E0B-9B8F4C0E5A11")
	req := h.last(t)
	if req.ARN != arn("echo")+":$LATEST" || req.TenantID != "tenant one" || req.ClientContext != `{"custom":{"k":"v"}}` || !req.LogTail ||
		req.TraceID != "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1" || !strings.HasPrefix(req.TraceParent, "00-4bf9") ||
		req.ID != "0D5BFB9C-8B4C-4F5A-9E0B-9B8F4C0E5A11" {
		t.Errorf("request %+v", req)
	}
	if raw(w, "X-Amzn-Trace-Id") != req.TraceID || raw(w, "x-amzn-RequestId") != req.ID {
		t.Errorf("headers %v", w.Header())
	}
	if tail, err := base64.StdEncoding.DecodeString(raw(w, "X-Amz-Log-Result")); err != nil || string(tail) != "START\nlog line\nEND\n" {
		t.Errorf("log %q, %v", tail, err)
	}
}

func TestATraceparentIsHandedOnInXRaysFormToo(t *testing.T) {
	t.Parallel()
	h := newHub()
	w := do(t, h.handler(t), "POST", invocations, "{}", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	const want = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1"
	if req := h.last(t); req.TraceID != want || raw(w, "X-Amzn-Trace-Id") != want {
		t.Errorf("the function saw %q, the caller %v", req.TraceID, w.Header())
	}
}

func TestInvokeTellsAFunctionErrorFromAnErrorOfTheService(t *testing.T) {
	t.Parallel()
	w := do(t, newHub().handler(t), "POST", "/2015-03-31/functions/broken/invocations", "{}")
	if w.Code != 200 || raw(w, "X-Amz-Function-Error") != "Unhandled" || w.Body.String() != `{"errorMessage":"no","errorType":"ValueError"}` {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestLogResultIsTheLast4KB(t *testing.T) {
	t.Parallel()
	h := newHub()
	h.functions["echo"] = invoke(func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{Log: []byte(strings.Repeat("a", 100) + strings.Repeat("b", 4096))}, nil
	})
	w := do(t, h.handler(t), "POST", invocations, "", "X-Amz-Log-Type: Tail")
	if tail, _ := base64.StdEncoding.DecodeString(raw(w, "X-Amz-Log-Result")); string(tail) != strings.Repeat("b", 4096) {
		t.Errorf("log of %d bytes, %.10q…", len(tail), tail)
	}
}

func TestEveryFormOfAddressFindsTheFunction(t *testing.T) {
	t.Parallel()
	h := newHub()
	handler := h.handler(t)
	for address, qualifier := range map[string]string{
		"echo":                                  "",
		"echo:$LATEST":                          ":$LATEST",
		"function:echo":                         "",
		account + ":function:echo":              "",
		account + ":function:echo:$LATEST":      ":$LATEST",
		account + ":echo":                       "",
		region + ":" + account + ":echo":        "",
		arn("echo"):                             "",
		arn("echo") + ":$LATEST":                ":$LATEST",
		"arn:aws-cn:lambda:" + region + ":echo": "",
	} {
		for _, path := range []string{url.PathEscape(address), strings.ReplaceAll(url.PathEscape(address), ":", "%3A"), strings.ReplaceAll(address, "$", "%24"), address} {
			w := do(t, handler, "POST", "/2015-03-31/functions/"+path+"/invocations", "{}")
			if w.Code != 200 {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			} else if got := h.last(t).ARN; got != arn("echo")+qualifier {
				t.Errorf("%s: ARN %s", path, got)
			}
		}
	}
	do(t, handler, "POST", "/2015-03-31/functions/echo:$LATEST/invocations?Qualifier=%24LATEST", "{}")
	if got := h.last(t).ARN; got != arn("echo")+":$LATEST" {
		t.Errorf("the same qualifier twice: ARN %s", got)
	}
}

func TestEmptyBodyIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	h := newHub()
	for _, header := range []string{"X-Amz-Invocation-Type: RequestResponse", "X-Amz-Invocation-Type: Event"} {
		do(t, h.handler(t), "POST", invocations, "", header)
		if got := string(h.last(t).Payload); got != "{}" {
			t.Errorf("%s: payload %q", header, got)
		}
	}
}

func TestEventIsAnsweredOnceItIsAccepted(t *testing.T) {
	t.Parallel()
	h := newHub()
	const given = "0d5bfb9c-8b4c-4f5a-9e0b-9b8f4c0e5a11"
	w := do(t, h.handler(t), "POST", invocations, `{"n":1}`, "X-Amz-Invocation-Type: Event", "X-Amz-Log-Type: Tail",
		"X-Amz-Client-Context: e30=", "X-Amz-Tenant-Id: t", "X-Amzn-RequestId: "+given)
	req := h.last(t)
	if w.Code != 202 || w.Body.Len() != 0 || h.accepted != 1 {
		t.Errorf("%d %q, accepted %d", w.Code, w.Body, h.accepted)
	}
	if raw(w, "x-amzn-RequestId") != req.ID || req.ID == given {
		t.Errorf("ids %q and %q: an event has a new one", raw(w, "x-amzn-RequestId"), req.ID)
	}
	if raw(w, "X-Amz-Executed-Version") != "" {
		t.Error("an event names the version that ran")
	}
	if req.ClientContext != "" || req.LogTail || req.TenantID != "t" || req.TraceID == "" || string(req.Payload) != `{"n":1}` {
		t.Errorf("request %+v", req)
	}
}

func TestDryRunRunsNothing(t *testing.T) {
	t.Parallel()
	h := newHub()
	w := do(t, h.handler(t), "POST", invocations, "{}", "X-Amz-Invocation-Type: DryRun")
	if w.Code != 204 || w.Body.Len() != 0 || raw(w, "X-Amz-Executed-Version") != "" || h.invocations() != 0 {
		t.Errorf("%d %v %q, %d invocations", w.Code, w.Header(), w.Body, h.invocations())
	}
	if w := do(t, h.handler(t), "POST", "/2015-03-31/functions/none/invocations", "{}", "X-Amz-Invocation-Type: DryRun"); w.Code != 404 {
		t.Errorf("a dry run of no function: %d", w.Code)
	}
}

func TestInvokeAsync(t *testing.T) {
	t.Parallel()
	h := newHub()
	for _, path := range []string{"/2014-11-13/functions/echo/invoke-async/", "/2014-11-13/functions/echo/invoke-async"} {
		w := do(t, h.handler(t), "POST", path, `{"n":1}`, "X-Amz-Invocation-Type: RequestResponse", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793")
		if w.Code != 202 || w.Body.String() != `{"Status":202}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if req := h.last(t); req.TraceID != "" {
			t.Errorf("hands on trace %q", req.TraceID)
		}
	}
	if h.accepted != 2 {
		t.Errorf("accepted %d", h.accepted)
	}
	w := do(t, h.handler(t), "POST", "/2014-11-13/functions/echo/invoke-async/", `"`+strings.Repeat("x", 256<<10-1)+`"`)
	wantError(t, w, 413, "RequestTooLargeException", `{"Type":"User","message":"262145 byte payload is too large for the Event invocation type (limit 262144 bytes)"}`)
}

func wantError(t *testing.T, w *httptest.ResponseRecorder, status int, code, body string) {
	t.Helper()
	if w.Code != status || raw(w, "x-amzn-ErrorType") != code {
		t.Errorf("%d %s %s, want %d %s", w.Code, raw(w, "x-amzn-ErrorType"), w.Body, status, code)
	}
	if got := w.Body.String(); got != body {
		t.Errorf("body\n%s, want\n%s", got, body)
	}
	if !json.Valid(w.Body.Bytes()) || raw(w, "Content-Type") != "application/json" || !regexp.MustCompile(uuidRE).MatchString(raw(w, "x-amzn-RequestId")) {
		t.Errorf("headers %v, body %s", w.Header(), w.Body)
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	const (
		pattern   = `(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`
		functions = "/2015-03-31/functions/"
		badJSON   = `{"Type":"User","message":"Could not parse request body into json: Could not parse payload into json: %s\n at [Source: REDACTED (` + "`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION`" + ` disabled); line: %d, column: %d]"}`
	)
	long := strings.Repeat("x", 257)
	for name, c := range map[string]struct {
		path, body string
		header     []string
		status     int
		code, want string
	}{
		"no such function": {path: functions + "none/invocations", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Function not found: arn:aws:lambda:us-east-1:123456789012:function:none"}`},
		"no such function, with a qualifier": {path: functions + "none:prod/invocations", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Function not found: arn:aws:lambda:us-east-1:123456789012:function:none:prod"}`},
		"no such alias": {path: functions + "echo:prod/invocations", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Function not found: arn:aws:lambda:us-east-1:123456789012:function:echo:prod"}`},
		"no such version": {path: invocations + "?Qualifier=3", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Function not found: arn:aws:lambda:us-east-1:123456789012:function:echo:3"}`},
		"latest published": {path: invocations + "?Qualifier=%24LATEST.PUBLISHED", status: 400, code: "NoPublishedVersionException",
			want: `{"Type":"User","Message":"The function has no published version: arn:aws:lambda:us-east-1:123456789012:function:echo"}`},
		"two qualifiers": {path: functions + "echo:prod/invocations?Qualifier=%24LATEST", status: 400, code: "InvalidParameterValueException",
			want: `{"Type":"User","message":"The derived qualifier from the function name does not match the specified qualifier."}`},
		"another account": {path: functions + "arn:aws:lambda:us-east-1:999999999999:function:echo/invocations", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Function not found: arn:aws:lambda:us-east-1:999999999999:function:echo"}`},
		"another region": {path: functions + "arn:aws:lambda:eu-west-1:123456789012:function:echo/invocations", status: 404, code: "ResourceNotFoundException",
			want: `{"Type":"User","Message":"Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"}`},
		"a name that is none": {path: functions + "e%21/invocations", status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value 'e!' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: ` + pattern + `"}`},
		"a name too long": {path: functions + long + "/invocations", status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value '` + long + `' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 256"}`},
		"an empty name": {path: functions + "/invocations", status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value '' at 'functionName' failed to satisfy constraint: Member must have length greater than or equal to 1"}`},
		"an invocation type that is none": {path: invocations, header: []string{"X-Amz-Invocation-Type: Later", "X-Amz-Log-Type: Head"}, status: 400, code: "ValidationException",
			want: `{"message":"2 validation errors detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]; Value 'Head' at 'logType' failed to satisfy constraint: Member must satisfy enum value set: [None, Tail]"}`},
		"an event to be streamed": {path: "/2021-11-15/functions/echo/response-streaming-invocations", header: []string{"X-Amz-Invocation-Type: Event"}, status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value 'Event' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [RequestResponse, DryRun]"}`},
		"a request id that is no UUID": {path: invocations, header: []string{"X-Amzn-RequestId: 7"}, status: 400, code: "InvalidRequestContentException",
			want: `{"Type":"User","message":"The value of the x-amzn-RequestId header is not a UUID."}`},
		"a client context that is no JSON": {path: invocations, header: []string{"X-Amz-Client-Context: " + base64.StdEncoding.EncodeToString([]byte("{"))}, status: 400, code: "InvalidRequestContentException",
			want: `{"Type":"User","message":"Client context must be a valid Base64-encoded JSON object."}`},
		"a client context that is no object": {path: invocations, header: []string{"X-Amz-Client-Context: " + base64.StdEncoding.EncodeToString([]byte("1"))}, status: 400, code: "InvalidRequestContentException",
			want: `{"Type":"User","message":"Client context must be a valid Base64-encoded JSON object."}`},
		"a client context that is no base64": {path: invocations, header: []string{"X-Amz-Client-Context: {}"}, status: 400, code: "InvalidRequestContentException",
			want: `{"Type":"User","message":"Client context must be a valid Base64-encoded JSON object."}`},
		"a client context too long": {path: invocations, header: []string{"X-Amz-Client-Context: " + strings.Repeat("e", 3584)}, status: 400, code: "InvalidRequestContentException",
			want: `{"Type":"User","message":"Client context must be no more than 3583 bytes of base64; this one has 3584."}`},
		"a tenant too long": {path: invocations, header: []string{"X-Amz-Tenant-Id: " + long}, status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value '` + long + `' at 'tenantId' failed to satisfy constraint: Member must have length less than or equal to 256"}`},
		"a tenant of other characters": {path: invocations, header: []string{"X-Amz-Tenant-Id: a!"}, status: 400, code: "ValidationException",
			want: `{"message":"1 validation error detected: Value 'a!' at 'tenantId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9\\._:\\/=+\\-@ ]+"}`},
		"a durable execution": {path: invocations, header: []string{"X-Amz-Durable-Execution-Name: d"}, status: 400, code: "InvalidParameterValueException",
			want: `{"Type":"User","message":"The header X-Amz-Durable-Execution-Name is refused: millrace runs no durable executions."}`},
		"JSON that ends early":     {path: invocations, body: `{"a":`, status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "unexpected end of JSON input", 1, 6)},
		"JSON with a wrong letter": {path: invocations, body: "{\n  \"a\": x}", status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "invalid character 'x' looking for beginning of value", 2, 9)},
		"JSON that goes on":        {path: invocations, body: "{} {}", status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "invalid character '{' after top-level value", 1, 5)},
		"only white space":         {path: invocations, body: " ", status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "unexpected end of JSON input", 1, 2)},
		"text that is not UTF-8":   {path: invocations, body: "[\"\x87\"]", status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "Invalid UTF-8 start byte 0x87", 1, 4)},
		"an event that is no JSON": {path: invocations, body: "x", header: []string{"X-Amz-Invocation-Type: Event"}, status: 400, code: "InvalidRequestContentException", want: fmt.Sprintf(badJSON, "invalid character 'x' looking for beginning of value", 1, 2)},
		"a payload over 6 MB": {path: invocations, body: `"` + strings.Repeat("x", 6<<20) + `"`, status: 413, code: "RequestTooLargeException",
			want: `{"Type":"User","message":"6291458 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"}`},
		"an event over 1 MB": {path: invocations, body: `"` + strings.Repeat("x", 1<<20) + `"`, header: []string{"X-Amz-Invocation-Type: Event"}, status: 413, code: "RequestTooLargeException",
			want: `{"Type":"User","message":"1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)"}`},
		"an operation that is not served": {path: "/2015-03-31/functions", body: "{}", status: 404, code: "UnknownOperationException",
			want: `{"message":"millrace does not serve POST /2015-03-31/functions: functions are defined in its file. It serves Invoke, InvokeAsync, InvokeWithResponseStream, ListFunctions, GetFunction, GetFunctionConfiguration, GetFunctionConcurrency and GetAccountSettings."}`},
		"a request of a web page": {path: invocations, header: []string{"Origin: http://evil.example"}, status: 403, code: "AccessDeniedException",
			want: `{"Message":"Requests of web pages are refused, because no keys are configured for this endpoint and so any page could call it."}`},
		"a form of another site": {path: invocations, header: []string{"Sec-Fetch-Site: cross-site"}, status: 403, code: "AccessDeniedException",
			want: `{"Message":"Requests of web pages are refused, because no keys are configured for this endpoint and so any page could call it."}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub()
			wantError(t, do(t, h.handler(t), "POST", c.path, c.body, c.header...), c.status, c.code, c.want)
			if h.invocations() != 0 {
				t.Error("the function was invoked")
			}
		})
	}
}

func TestPayloadsAtTheLimitPass(t *testing.T) {
	t.Parallel()
	h := newHub()
	for header, size := range map[string]int{"X-Amz-Invocation-Type: RequestResponse": 6 << 20, "X-Amz-Invocation-Type: Event": 1 << 20} {
		w := do(t, h.handler(t), "POST", invocations, `"`+strings.Repeat("x", size-2)+`"`, header)
		if w.Code > 299 || len(h.last(t).Payload) != size {
			t.Errorf("%s: %d", header, w.Code)
		}
	}
}

func TestBodyOfUnknownLengthIsLimitedToo(t *testing.T) {
	t.Parallel()
	h := newHub()
	for size, want := range map[int]int{100: 202, 1 << 20: 202, 1<<20 + 1: 413} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", invocations, io.MultiReader(strings.NewReader(`"`+strings.Repeat("x", size-2)+`"`)))
		r.Header.Set("X-Amz-Invocation-Type", "Event")
		r.ContentLength = -1
		w := httptest.NewRecorder()
		h.handler(t).ServeHTTP(w, r)
		if w.Code != want || want == 413 && !strings.Contains(w.Body.String(), "1048577 byte payload") {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
	}
}

func TestEveryKindOfExecutorErrorHasItsAnswer(t *testing.T) {
	t.Parallel()
	reason := errors.New("the reason")
	for name, c := range map[string]struct {
		err        error
		status     int
		code, want string
		retryAfter string
	}{
		"throttled": {&executor.Error{Kind: executor.Throttled, Reason: executor.ReasonReserved, RetryAfter: 1500 * time.Millisecond, Err: reason}, 429, "TooManyRequestsException",
			`{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`, "2"},
		"throttled without a reason": {&executor.Error{Kind: executor.Throttled, Err: reason}, 429, "TooManyRequestsException",
			`{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`, ""},
		"too large": {&executor.Error{Kind: executor.TooLarge, Err: reason}, 413, "RequestTooLargeException",
			`{"Type":"User","message":"2 byte payload is too large for the RequestResponse invocation type: the reason"}`, ""},
		"refused":   {&executor.Error{Kind: executor.Refused, Err: reason}, 400, "InvalidParameterValueException", `{"Type":"User","message":"The function refuses this request: the reason"}`, ""},
		"unready":   {&executor.Error{Kind: executor.Unready, RetryAfter: time.Second, Err: reason}, 502, "ResourceNotReadyException", `{"Type":"Service","message":"the reason"}`, "1"},
		"internal":  {&executor.Error{Kind: executor.Internal, Err: reason}, 500, "ServiceException", `{"Type":"Service","Message":"the reason"}`, ""},
		"canceled":  {&executor.Error{Kind: executor.Canceled, Err: reason}, 503, "ServiceUnavailableException", `{"Type":"Service","message":"The hub is stopping: the reason"}`, ""},
		"closed":    {&executor.Error{Kind: executor.Closed, Err: reason}, 409, "ResourceConflictException", `{"Type":"User","message":"The function is being updated; try again."}`, ""},
		"no reason": {&executor.Error{}, 500, "ServiceException", `{"Type":"Service","Message":"no reason given"}`, ""},
		"another":   {reason, 500, "ServiceException", `{"Type":"Service","Message":"the reason"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub()
			h.functions["echo"] = invoke(func(context.Context, executor.Request) (executor.Response, error) {
				return executor.Response{}, c.err
			})
			for _, path := range []string{invocations, "/2021-11-15/functions/echo/response-streaming-invocations"} {
				w := do(t, h.handler(t), "POST", path, "{}")
				wantError(t, w, c.status, c.code, c.want)
				if got := raw(w, "Retry-After"); got != c.retryAfter {
					t.Errorf("Retry-After %q, want %q", got, c.retryAfter)
				}
			}
		})
	}
}

func TestAFunctionThatAReloadHasClosedIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	h := newHub()
	calls := 0
	h.functions["echo"] = invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
		if calls++; calls == 1 {
			return executor.Response{}, &executor.Error{Kind: executor.Closed, Err: errors.New("closed")}
		}
		return echo(ctx, req)
	})
	if w := do(t, h.handler(t), "POST", invocations, "{}"); w.Code != 200 || calls != 2 {
		t.Errorf("%d after %d calls", w.Code, calls)
	}
}

func TestEventThatIsNotAccepted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err        error
		status     int
		code, want string
	}{
		"a full store": {fmt.Errorf("accepting: %w", async.ErrFull), 503, "ServiceUnavailableException",
			`{"Type":"Service","message":"The event was not accepted: the store is full; free disk space or raise the store's size limit, then send it again."}`},
		"a broken store": {errors.New("disk on fire"), 500, "ServiceException", `{"Type":"Service","Message":"disk on fire"}`},
		"refused": {&executor.Error{Kind: executor.Refused, Err: errors.New("never")}, 400, "InvalidParameterValueException",
			`{"Type":"User","message":"The function refuses this request: never"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub()
			h.acceptErr = c.err
			wantError(t, do(t, h.handler(t), "POST", invocations, "{}", "X-Amz-Invocation-Type: Event"), c.status, c.code, c.want)
			wantError(t, do(t, h.handler(t), "POST", "/2014-11-13/functions/echo/invoke-async/", "{}"), c.status, c.code, c.want)
		})
	}
}

func TestConcurrentRequestsKeepTheirPayloads(t *testing.T) {
	t.Parallel()
	const callers = 16
	h := newHub()
	var together sync.WaitGroup
	together.Add(callers)
	h.functions["echo"] = invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
		together.Done()
		together.Wait() // all payloads have been read
		return echo(ctx, req)
	})
	handler := h.handler(t)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			want := fmt.Sprintf(`{"caller":%d}`, i)
			if w := do(t, handler, "POST", invocations, want); w.Body.String() != want {
				t.Errorf("%s came back as %s", want, w.Body)
			}
		})
	}
	all.Wait()
}

func TestWithoutNamesNothingIsListed(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/2015-03-31/functions/", "/2016-08-19/account-settings"} {
		if w := do(t, newHub().quiet(t), "GET", path, ""); w.Code != 404 || raw(w, "x-amzn-ErrorType") != "UnknownOperationException" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestACallerThatHangsUpDoesNotStopTheFunction(t *testing.T) {
	t.Parallel()
	h := newHub()
	started, hungUp, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	h.functions["echo"] = invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
		close(started)
		<-hungUp
		result <- ctx.Err()
		return executor.Response{Payload: []byte("1")}, nil
	})
	server := httptest.NewServer(h.handler(t))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, _ := http.NewRequestWithContext(ctx, "POST", server.URL+invocations, strings.NewReader("{}"))
		if response, err := server.Client().Do(r); err == nil {
			response.Body.Close()
		}
	}()
	<-started
	cancel()
	<-done
	close(hungUp)
	if err := <-result; err != nil {
		t.Errorf("the function's context: %v", err)
	}
}
