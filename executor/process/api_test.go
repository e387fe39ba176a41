package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/process"
)

const requestID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

// script makes the code of a bootstrap that is a shell script.
func script(t testing.TB, text string) process.Config {
	t.Helper()
	c := process.Defaults("provided")
	c.Code = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Code, "bootstrap"), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(end) {
			t.Fatalf("%s: it does not happen", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

type answer struct {
	res executor.Response
	err error
}

func run(t testing.TB, f executor.Function, req executor.Request) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		res, err := f.Invoke(t.Context(), req)
		done <- answer{res, err}
	}()
	return done
}

func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing comes", what)
		panic("unreachable")
	}
}

// puppet is an environment whose process only waits; the test speaks for it.
type puppet struct {
	t    testing.TB
	f    executor.Function
	addr string
	done <-chan answer // of an invocation that waits for the start
	logs *lines
}

func newPuppet(t testing.TB, change func(*process.Config)) *puppet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "address")
	c := script(t, `echo "$AWS_LAMBDA_RUNTIME_API" > "$ADDRESS.new"; mv "$ADDRESS.new" "$ADDRESS"; exec sleep 1000`)
	c.Environment = map[string]string{"ADDRESS": file}
	if change != nil {
		change(&c)
	}
	p := &puppet{t: t, logs: new(lines)}
	p.f = open(t, c, deps(t, p.logs))
	p.done = run(t, p.f, executor.Request{ID: requestID, ARN: "arn:f", Payload: []byte(`{"a":1}`), TraceID: "Root=1-2", ClientContext: "{\n\"k\":1}"})
	eventually(t, "the environment starts", func() bool {
		b, err := os.ReadFile(file)
		p.addr = strings.TrimSpace(string(b))
		return err == nil
	})
	return p
}

type wire struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (p *puppet) dial() *wire {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return &wire{c, p.t, bufio.NewReader(c)}
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, strings.ReplaceAll(format, "\n", "\r\n"), args...); err != nil {
		w.t.Fatal(err)
	}
}

// read returns the next answer: its status, headers and body.
func (w *wire) read() (int, http.Header, string) {
	w.t.Helper()
	if err := w.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatalf("reading an answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func (w *wire) want(status int, text string) {
	w.t.Helper()
	if got, _, body := w.read(); got != status || !strings.Contains(body, text) {
		w.t.Errorf("answer is %d %s, want %d with %s", got, body, status, text)
	}
}

const (
	next  = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\nHost: x\n\n"
	post  = "POST /2018-06-01/runtime/invocation/" + requestID + "/response HTTP/1.1\nHost: x\n"
	hello = "Content-Length: 5\n\nhello"
)

func TestAnEventCarriesItsHeaders(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	status, h, body := w.read()
	if status != 200 || body != `{"a":1}` {
		t.Errorf("event is %d %s", status, body)
	}
	for name, want := range map[string]string{
		"Lambda-Runtime-Aws-Request-Id": requestID, "Lambda-Runtime-Invoked-Function-Arn": "arn:f",
		"Lambda-Runtime-Trace-Id": "Root=1-2", "Lambda-Runtime-Client-Context": "{ \"k\":1}", "Content-Type": "application/json",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, there := h["Lambda-Runtime-Aws-Tenant-Id"]; there {
		t.Error("there is a header without a value")
	}
	w.send(post + hello)
	w.want(202, `{"status":"OK"}`)
	if a := receive(t, "the answer", p.done); a.err != nil || string(a.res.Payload) != "hello" || a.res.Failure != nil || a.res.Init <= 0 {
		t.Errorf("Invoke = %+v, %v", a.res, a.err)
	}
}

func TestRuntimeAPIRefuses(t *testing.T) {
	t.Parallel()
	post := func(path string) string { return "POST /2018-06-01/runtime/" + path + " HTTP/1.1\n" + hello }
	for name, c := range map[string]struct {
		before string // sent first, and answered with 200 or 202
		send   string
		status int
		text   string
	}{
		"an answer before the first event": {"", post("invocation/x/response"), 403, "InvalidStateTransition"},
		"an error before the first event":  {"", post("invocation/x/error"), 403, "InvalidStateTransition"},
		"an answer to another request":     {next, post("invocation/x/response"), 400, `{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`},
		"an init error after the start":    {next, post("init/error"), 403, "InvalidStateTransition"},
		"a second event":                   {next, next, 403, "InvalidStateTransition"},
		"a restore":                        {"", "GET /2018-06-01/runtime/restore/next HTTP/1.1\n\n", 403, "InvalidStateTransition"},
		"a restore error":                  {"", post("restore/error"), 403, "InvalidStateTransition"},
		"an unknown path":                  {"", "GET /2018-06-01/other HTTP/1.1\n\n", 404, "errorType"},
		"a path of another version":        {"", "GET /2019-01-01/runtime/invocation/next HTTP/1.1\n\n", 404, "errorType"},
		"a wrong method":                   {"", post("invocation/next"), 405, "GET"},
		"an extension":                     {"", "POST /2020-01-01/extension/register HTTP/1.1\n" + hello, 404, "Extension.NotSupported"},
		"a telemetry subscription, gently": {"", "PUT /2022-07-01/telemetry HTTP/1.1\n" + hello, 202, "Telemetry.NotSupported"},
		"a response mode that is none":     {next, strings.Replace(post("invocation/"+requestID+"/response"), "\n", "\nLambda-Runtime-Function-Response-Mode: bits\n", 1), 400, "InvalidFunctionResponseMode"},
		"a body over the limit":            {next, "POST /2018-06-01/runtime/invocation/" + requestID + "/response HTTP/1.1\nContent-Length: 6291557\n\n" + strings.Repeat("x", 6291557), 413, `{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}`},
		"two lengths":                      {"", "POST /ping HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n\nhello", 400, "BadRequest"},
		"a length and chunks":              {"", "POST /ping HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n", 400, "BadRequest"},
		"a negative length":                {"", "POST /ping HTTP/1.1\nContent-Length: -5\n\n", 400, "BadRequest"},
		"a chunk without a size":           {"", "POST /ping HTTP/1.1\nTransfer-Encoding: chunked\n\nzz\nhello\n0\n\n", 400, "BadRequest"},
		"a chunk longer than it says":      {"", "POST /ping HTTP/1.1\nTransfer-Encoding: chunked\n\n4\nhello\n0\n\n", 400, "BadRequest"},
		"what is not HTTP":                 {"", "hello\n\n", 400, "BadRequest"},
		"another HTTP":                     {"", "GET /ping HTTP/2.0\n\n", 505, "HTTPVersionNotSupported"},
		"a header without a colon":         {"", "GET /ping HTTP/1.1\nhello\n\n", 400, "BadRequest"},
		"headers without end":              {"", "GET /ping HTTP/1.1\nA: " + strings.Repeat("x", 200<<10), 431, "errorType"},
		"many headers":                     {"", "GET /ping HTTP/1.1\n" + strings.Repeat("A: xxxxxxxxxxxxxxxxxxxxxxxxxx\n", 6<<10), 431, "errorType"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, nil)
			w := p.dial()
			if c.before != "" {
				w.send(c.before)
				w.want(200, "")
			}
			go w.Write([]byte(strings.ReplaceAll(c.send, "\n", "\r\n"))) // the answer may come before all is sent
			w.want(c.status, c.text)
		})
	}
}

func TestAnAnswerIsTakenOnce(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	w.want(200, "")
	w.send(post + hello + post + "Content-Length: 3\n\nbye")
	w.want(202, "")
	w.want(403, "InvalidStateTransition")
	if a := receive(t, "the answer", p.done); string(a.res.Payload) != "hello" {
		t.Errorf("answer is %s", a.res.Payload)
	}
	w.send(next)
	done := run(t, p.f, executor.Request{ID: "two", Payload: []byte("{}")})
	w.want(200, "")
	w.send("POST /2018-06-01/runtime/invocation/two/error HTTP/1.1\nLambda-Runtime-Function-Error-Type: Runtime.Odd\n" + hello)
	w.want(202, "")
	if a := receive(t, "the failure", done); a.res.Failure == nil || a.res.Failure.Type != "Runtime.Odd" || string(a.res.Payload) != "hello" || a.res.Init != 0 {
		t.Errorf("failure is %+v with %s", a.res.Failure, a.res.Payload)
	}
}

func TestARequestInsteadOfWaitingIsRefused(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	w.want(200, "")
	w.send(post + hello)
	w.want(202, "")
	receive(t, "the answer", p.done)
	w.send(next + "GET /ping HTTP/1.1\n\n")
	w.want(400, "before the last one was answered")
	again := p.dial() // and the environment goes on
	again.send(next)
	done := run(t, p.f, executor.Request{ID: "two", Payload: []byte("{}")})
	again.want(200, "{}")
	again.send("POST /2018-06-01/runtime/invocation/two/response HTTP/1.1\n" + hello)
	again.want(202, "")
	if a := receive(t, "the answer", done); a.err != nil {
		t.Error(a.err)
	}
}

func TestBodiesComeInEveryForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ send, want string }{
		"chunks with extensions and trailers": {"Transfer-Encoding: chunked\nContent-Type: application/json\n\n3;a=b\nhel\n2\nlo\n0\nX: y\n\n", "hello"},
		"an empty body":                       {"Content-Length: 0\n\n", ""},
		"no length at all":                    {"\n", ""},
		"lines that end in LF alone":          {hello, "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPuppet(t, nil)
			w := p.dial()
			w.send(next)
			w.want(200, "")
			text := strings.ReplaceAll(post+c.send, "\n", "\r\n")
			if strings.Contains(name, "LF") {
				text = post + c.send
			}
			for i := range len(text) { // one byte at a time
				if _, err := w.Write([]byte{text[i]}); err != nil {
					t.Fatal(err)
				}
			}
			w.want(202, "")
			if a := receive(t, "the answer", p.done); a.err != nil || string(a.res.Payload) != c.want {
				t.Errorf("answer is %q, %v", a.res.Payload, a.err)
			}
		})
	}
}

func TestAClientThatWaitsForContinueIsToldTo(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	w.want(200, "")
	w.send(post + "Expect: 100-continue\nContent-Length: 5\n\n")
	w.want(100, "")
	w.send("hello")
	w.want(202, "")
	if a := receive(t, "the answer", p.done); string(a.res.Payload) != "hello" {
		t.Errorf("answer is %q", a.res.Payload)
	}
}

func TestATruncatedAnswerMayBeGivenAgain(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	w.want(200, "")
	w.send(post + "Content-Length: 500\n\nhello")
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	w.want(400, "TruncatedHTTPRequest")
	again := p.dial()
	again.send(post + hello)
	again.want(202, "")
	if a := receive(t, "the answer", p.done); string(a.res.Payload) != "hello" {
		t.Errorf("answer is %q", a.res.Payload)
	}
}

func TestAStreamEndsWithTheErrorOfItsTrailers(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	w.send(next)
	w.want(200, "")
	w.send(post + hello)
	w.want(202, "")
	receive(t, "the answer", p.done)
	w.send(next)
	var got lines
	done := run(t, p.f, executor.Request{ID: "two", Payload: []byte("{}"), Stream: func(string) io.Writer { return &got }})
	w.want(200, "")
	w.send("POST /2018-06-01/runtime/invocation/two/response HTTP/1.1\nContent-Type: text/plain\n" +
		"Lambda-Runtime-Function-Response-Mode: streaming\nTransfer-Encoding: chunked\n\n5\nhello\n")
	eventually(t, "the first piece comes before the end", func() bool { return got.String() == "hello" })
	w.send("0\nLambda-Runtime-Function-Error-Type: Boom\nLambda-Runtime-Function-Error-Body: eyJlcnJvck1lc3NhZ2UiOiJtIiwiZXJyb3JUeXBlIjoiQm9vbSJ9\n\n")
	w.want(202, "")
	a := receive(t, "the failure", done)
	if !a.res.Streamed || a.res.Failure == nil || a.res.Failure.Type != "Boom" || a.res.Failure.Message != "m" || len(a.res.Payload) != 0 {
		t.Errorf("Invoke = %+v, failure %+v", a.res, a.res.Failure)
	}
}

func TestAnInitErrorIsTheAnswer(t *testing.T) {
	t.Parallel()
	p := newPuppet(t, nil)
	w := p.dial()
	const doc = `{"errorMessage":"no","errorType":"Runtime.ImportModuleError","requestId":""}`
	w.send("POST /2018-06-01/runtime/init/error HTTP/1.1\nContent-Length: %d\n\n%s", len(doc), doc)
	w.want(202, "")
	a := receive(t, "the failure", p.done)
	if a.res.Failure == nil || a.res.Failure.Type != "Runtime.ImportModuleError" || string(a.res.Payload) != doc {
		t.Errorf("Invoke = %s, failure %+v, %v", a.res.Payload, a.res.Failure, a.err)
	}
}
