// Package executortest checks that a kind of function keeps the contract of executor.Function. The kind
// brings a handler that obeys commands; the suite sends commands and looks at the answers.
//
// A command is a JSON object. The handler does what "do" says:
//
//	{"do":"echo", …}                   answer the event itself
//	{"do":"fail","message":m}          raise an error whose message is m
//	{"do":"crash"}                     end the process with exit status 1, or whatever is nearest to that
//	{"do":"hang"}                      never answer
//	{"do":"sleep","ms":n}              answer the event after n milliseconds
//	{"do":"large","size":n}            answer a JSON string of n letters x, so n+2 bytes
//	{"do":"context"}                   answer {"requestId":…,"arn":…,"traceId":…,"clientContext":…,"tenantId":…}, each
//	                                   a string and as the request has it ("clientContext" is the JSON text, compact)
//	{"do":"log","lines":[l, …]}        write each line to the log, then answer the event
//	{"do":"stream","chunks":[c, …]}    answer in pieces, one for each chunk; content type text/plain
package executortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// Subject is a kind of function to check. What it can not do by its nature is left false or empty, and the
// cases that need it are left out.
type Subject struct {
	// Open returns a new function with a handler that obeys the commands above. The suite closes it.
	Open func(t testing.TB, timeout time.Duration) executor.Function

	Exact     bool     // "echo" answers the very bytes of the event, not only the same JSON
	CrashType string   // Failure.Type of "crash"; empty if the code can not crash
	Timeout   string   // Failure.Type of an invocation over its timeout, such as "Sandbox.Timedout"
	Large     string   // Failure.Type of an answer over executor.MaxResponse
	Context   []string // keys of "context" that arrive at the handler, of those listed above
	Logs      bool     // Response.Log holds what the handler logs
	Stream    bool     // "stream" reaches Request.Stream in pieces
}

// patience is how long the suite waits for what must happen.
const patience = 30 * time.Second

// long is a timeout that no case reaches.
const long = 2 * time.Minute

const arn = "arn:aws:lambda:us-east-1:123456789012:function:suite"

// Run checks the kind that open describes. open is called once for each case.
func Run(t *testing.T, open func(testing.TB) Subject) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"answers what the handler returned", answers},
		{"a failure is an answer", failure},
		{"a crash is an answer, and the next invocation works", crash},
		{"a timeout is an answer, and the next invocation works", timeout},
		{"an answer over the limit is a failure", large},
		{"the handler sees the request", sees},
		{"the log of an invocation comes back if asked for", logs},
		{"an answer in pieces reaches the stream", stream},
		{"an answer in pieces is gathered without a stream", gather},
		{"a caller that leaves is told so at once", cancel},
		{"concurrent invocations get their own answers", concurrent},
		{"the payload is neither written nor kept", payload},
		{"Invoke after Close is Closed", closed},
		{"Close lets a running invocation end", drains},
		{"Close stops what does not end", bounded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

func start(t *testing.T, s Subject, timeout time.Duration) executor.Function {
	t.Helper()
	f := s.Open(t, timeout)
	t.Cleanup(func() {
		// A case may have left something running.
		ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, 2*time.Second)
		defer cancel()
		within(t, "the last Close", func() { _ = f.Close(ctx) })
	})
	return f
}

// within fails the test if f does not return in time.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%s does not return", what)
	}
}

func request(command string) executor.Request {
	return executor.Request{ID: uuid.NewString(), Attempt: 1, ARN: arn, Payload: []byte(command)}
}

// invoke runs a command that must be answered.
func invoke(t *testing.T, f executor.Function, req executor.Request) executor.Response {
	t.Helper()
	var res executor.Response
	var err error
	within(t, "Invoke", func() { res, err = f.Invoke(t.Context(), req) })
	if err != nil {
		t.Fatalf("Invoke(%s): %v", clip(req.Payload), err)
	}
	return res
}

func clip(b []byte) string {
	if len(b) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", b[:200], len(b))
	}
	return string(b)
}

// same tells whether two JSON documents mean the same.
func same(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// works fails the test unless f answers an echo.
func works(t *testing.T, f executor.Function) {
	t.Helper()
	req := request(`{"do":"echo","after":true}`)
	if res := invoke(t, f, req); res.Failure != nil || !same(res.Payload, req.Payload) {
		t.Fatalf("echo answers %s, failure %+v", clip(res.Payload), res.Failure)
	}
}

func isKind(t *testing.T, err error, kind executor.Kind) {
	t.Helper()
	var e *executor.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("error is %v, want one of kind %q", err, kind)
	}
}

func answers(t *testing.T, s Subject) {
	f := start(t, s, long)
	for _, p := range []string{
		`{"do":"echo"}`,
		`{"do":"echo","text":"naïve, 雪, \u0000, \"quoted\" and a slash \\","n":[1,-2.5,1e3,null,true]}`,
		`{"do":"echo","long":"` + strings.Repeat("0123456789", 200_000) + `"}`,
	} {
		res := invoke(t, f, request(p))
		if res.Failure != nil {
			t.Errorf("echo of %s fails: %+v", clip([]byte(p)), res.Failure)
		}
		if s.Exact && string(res.Payload) != p || !same(res.Payload, []byte(p)) {
			t.Errorf("echo of %s answers %s", clip([]byte(p)), clip(res.Payload))
		}
		if res.Streamed {
			t.Error("an answer in one piece is called streamed")
		}
	}
}

func failure(t *testing.T, s Subject) {
	f := start(t, s, long)
	res := invoke(t, f, request(`{"do":"fail","message":"out of cheese"}`))
	if res.Failure == nil {
		t.Fatalf("no failure; the answer is %s", clip(res.Payload))
	}
	if res.Failure.Type == "" || !strings.Contains(res.Failure.Message, "out of cheese") {
		t.Errorf("failure is %+v", res.Failure)
	}
	document(t, res, "out of cheese")
	works(t, f)
}

// document checks the error document of a failure: type and message are there and agree with Failure.
func document(t *testing.T, res executor.Response, text string) {
	t.Helper()
	var doc struct {
		Message *string `json:"errorMessage"`
		Type    string  `json:"errorType"`
	}
	if err := json.Unmarshal(res.Payload, &doc); err != nil {
		t.Errorf("the error document %s: %v", clip(res.Payload), err)
		return
	}
	if doc.Message == nil || !strings.Contains(*doc.Message, text) || doc.Type != res.Failure.Type {
		t.Errorf("error document %s of failure %+v, want message %q", clip(res.Payload), res.Failure, text)
	}
}

func crash(t *testing.T, s Subject) {
	if s.CrashType == "" {
		t.Skip("the code of this kind can not crash by itself")
	}
	f := start(t, s, long)
	works(t, f)
	res := invoke(t, f, request(`{"do":"crash"}`))
	if res.Failure == nil || res.Failure.Type != s.CrashType {
		t.Fatalf("failure is %+v, want type %s", res.Failure, s.CrashType)
	}
	document(t, res, "")
	works(t, f)
}

func timeout(t *testing.T, s Subject) {
	if s.Timeout == "" {
		t.Skip("functions of this kind have no timeout")
	}
	f := start(t, s, time.Second)
	req := request(`{"do":"hang"}`)
	res := invoke(t, f, req)
	if res.Failure == nil || res.Failure.Type != s.Timeout {
		t.Fatalf("failure is %+v, want type %s", res.Failure, s.Timeout)
	}
	document(t, res, "RequestId: "+req.ID+" Error: Task timed out after 1.00 seconds")
	if res.Duration < time.Second {
		t.Errorf("duration is %s", res.Duration)
	}
	works(t, f)
}

func large(t *testing.T, s Subject) {
	f := start(t, s, long)
	res := invoke(t, f, request(fmt.Sprintf(`{"do":"large","size":%d}`, executor.MaxResponse-2)))
	if res.Failure != nil || len(res.Payload) != executor.MaxResponse {
		t.Errorf("an answer at the limit: %d bytes, failure %+v", len(res.Payload), res.Failure)
	}
	if s.Large == "" {
		return
	}
	res = invoke(t, f, request(fmt.Sprintf(`{"do":"large","size":%d}`, executor.MaxResponse-1)))
	if res.Failure == nil || res.Failure.Type != s.Large {
		t.Fatalf("an answer over the limit: %d bytes, failure %+v, want type %s", len(res.Payload), res.Failure, s.Large)
	}
	document(t, res, "6291556 bytes")
	works(t, f)
}

func sees(t *testing.T, s Subject) {
	if len(s.Context) == 0 {
		t.Skip("the handler sees nothing but its event")
	}
	f := start(t, s, long)
	req := request(`{"do":"context"}`)
	req.TraceID = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
	req.ClientContext = `{"custom":{"k":"v"}}`
	req.TenantID = "tenant-7"
	res := invoke(t, f, req)
	var got map[string]any
	if err := json.Unmarshal(res.Payload, &got); err != nil || res.Failure != nil {
		t.Fatalf("context answers %s, failure %+v", clip(res.Payload), res.Failure)
	}
	want := map[string]string{
		"requestId": req.ID, "arn": req.ARN, "traceId": req.TraceID,
		"clientContext": req.ClientContext, "tenantId": req.TenantID,
	}
	for _, key := range s.Context {
		if got[key] != want[key] {
			t.Errorf("%s is %v, want %s", key, got[key], want[key])
		}
	}
}

func logs(t *testing.T, s Subject) {
	if !s.Logs {
		t.Skip("there is no log to read")
	}
	f := start(t, s, long)
	works(t, f)
	for i := range 3 {
		req := request(fmt.Sprintf(`{"do":"log","lines":["first of %d","second of %[1]d"]}`, i))
		req.LogTail = true
		res := invoke(t, f, req)
		one, two := bytes.Index(res.Log, fmt.Appendf(nil, "first of %d", i)), bytes.Index(res.Log, fmt.Appendf(nil, "second of %d", i))
		if one < 0 || two < one {
			t.Errorf("log of invocation %d is %q", i, res.Log)
		}
		if i > 0 && bytes.Contains(res.Log, fmt.Appendf(nil, "first of %d", i-1)) {
			t.Errorf("log of invocation %d has lines of the one before: %q", i, res.Log)
		}
	}
	long := request(`{"do":"log","lines":["` + strings.Repeat("y", 3*executor.LogTail) + `","the end"]}`)
	long.LogTail = true
	if res := invoke(t, f, long); len(res.Log) > executor.LogTail || !bytes.Contains(res.Log, []byte("the end")) {
		t.Errorf("the tail of a long log has %d bytes: %s", len(res.Log), clip(res.Log))
	}
	if res := invoke(t, f, request(`{"do":"log","lines":["unasked"]}`)); res.Log != nil {
		t.Errorf("a log that nobody asked for: %q", res.Log)
	}
}

func stream(t *testing.T, s Subject) {
	if !s.Stream {
		t.Skip("this kind does not answer in pieces")
	}
	f := start(t, s, long)
	var got bytes.Buffer
	types := []string{}
	req := request(`{"do":"stream","chunks":["one ","two ","three"]}`)
	req.Stream = func(contentType string) io.Writer {
		types = append(types, contentType)
		return &got
	}
	res := invoke(t, f, req)
	if res.Failure != nil || !res.Streamed || len(res.Payload) != 0 {
		t.Errorf("streamed is %v, payload %s, failure %+v", res.Streamed, clip(res.Payload), res.Failure)
	}
	if got.String() != "one two three" || len(types) != 1 || !strings.HasPrefix(types[0], "text/plain") {
		t.Errorf("the stream got %q, content types %q", got.String(), types)
	}

	gone := request(`{"do":"stream","chunks":["one ","two ","three"]}`)
	gone.Stream = func(string) io.Writer { return deaf{} }
	if res := invoke(t, f, gone); res.Failure != nil || !res.Streamed {
		t.Errorf("after the client left: streamed is %v, failure %+v", res.Streamed, res.Failure)
	}
	works(t, f)
}

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func gather(t *testing.T, s Subject) {
	if !s.Stream {
		t.Skip("this kind does not answer in pieces")
	}
	f := start(t, s, long)
	res := invoke(t, f, request(`{"do":"stream","chunks":["one ","two ","three"]}`))
	if res.Failure != nil || res.Streamed || string(res.Payload) != "one two three" {
		t.Errorf("payload is %q, streamed %v, failure %+v", res.Payload, res.Streamed, res.Failure)
	}
}

func cancel(t *testing.T, s Subject) {
	f := start(t, s, long)
	works(t, f)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	within(t, "Invoke under a context that is done", func() {
		_, err := f.Invoke(ctx, request(`{"do":"echo"}`))
		isKind(t, err, executor.Canceled)
	})

	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	clock.System{}.AfterFunc(100*time.Millisecond, stop)
	within(t, "Invoke whose context ends", func() {
		_, err := f.Invoke(ctx, request(`{"do":"hang"}`))
		isKind(t, err, executor.Canceled)
	})
	works(t, f)
}

func concurrent(t *testing.T, s Subject) {
	f := start(t, s, long)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := range 10 {
				req := request(fmt.Sprintf(`{"do":"echo","worker":%d,"n":%d}`, worker, n))
				res, err := f.Invoke(t.Context(), req)
				if err != nil || res.Failure != nil || !same(res.Payload, req.Payload) {
					t.Errorf("echo of %s answers %s, failure %+v, error %v", req.Payload, clip(res.Payload), res.Failure, err)
					return
				}
			}
		})
	}
	within(t, "one of 8 concurrent callers", wg.Wait)
}

func payload(t *testing.T, s Subject) {
	f := start(t, s, long)
	const first = `{"do":"echo","n":1}`
	req := request(first)
	res := invoke(t, f, req)
	if string(req.Payload) != first {
		t.Errorf("the payload was changed to %s", clip(req.Payload))
	}
	copy(req.Payload, `{"do":"echo","n":2}`) // under -race, this finds one who still reads it
	if !same(res.Payload, []byte(first)) {
		t.Errorf("the answer changed with the payload: %s", clip(res.Payload))
	}
	again := invoke(t, f, request(`{"do":"echo","n":3}`))
	if !same(res.Payload, []byte(first)) || !same(again.Payload, []byte(`{"do":"echo","n":3}`)) {
		t.Errorf("the answer changed with the next invocation: %s", clip(res.Payload))
	}
}

func closed(t *testing.T, s Subject) {
	f := start(t, s, long)
	works(t, f)
	for range 2 {
		within(t, "Close", func() {
			if err := f.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	within(t, "Invoke after Close", func() {
		_, err := f.Invoke(t.Context(), request(`{"do":"echo"}`))
		isKind(t, err, executor.Closed)
	})
}

// drains lets a running invocation end.
func drains(t *testing.T, s Subject) {
	const command = `{"do":"sleep","ms":1000}`
	res, err := cut(t, s, command, func(f executor.Function) {
		if err := f.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err != nil || res.Failure != nil || !same(res.Payload, []byte(command)) {
		t.Errorf("the running invocation answers %s, failure %+v, error %v", clip(res.Payload), res.Failure, err)
	}
}

// bounded closes under an invocation that does not end. Whether Close reports that is the kind's choice.
func bounded(t *testing.T, s Subject) {
	_, err := cut(t, s, `{"do":"hang"}`, func(f executor.Function) {
		ctx, cancel := clock.WithTimeout(t.Context(), clock.System{}, 300*time.Millisecond)
		defer cancel()
		_ = f.Close(ctx)
	})
	isKind(t, err, executor.Canceled)
}

// cut closes a function while it runs a command, and returns how that ended. Nothing shows from outside that
// code runs, so it waits a little before it closes, and longer in the next round if the close came first.
func cut(t *testing.T, s Subject, command string, shut func(executor.Function)) (executor.Response, error) {
	t.Helper()
	for head := 100 * time.Millisecond; head < 5*time.Second; head *= 2 {
		f := start(t, s, long)
		works(t, f)
		var res executor.Response
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, err = f.Invoke(context.WithoutCancel(t.Context()), request(command))
		}()
		if err := clock.Sleep(t.Context(), clock.System{}, head); err != nil {
			t.Fatal(err)
		}
		within(t, "Close", func() { shut(f) })
		within(t, "the running invocation", func() { <-done })
		var e *executor.Error
		if errors.As(err, &e) && e.Kind == executor.Closed {
			continue // it had not begun
		}
		return res, err
	}
	t.Fatal("an invocation does not begin within seconds")
	return executor.Response{}, nil
}
