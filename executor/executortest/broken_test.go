package executortest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/executortest"
	"github.com/millrace/millrace/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// good keeps every promise, in memory.
type good struct {
	timeout time.Duration
	mu      sync.Mutex
	running sync.WaitGroup
	closed  bool
	stop    chan struct{} // closed when running invocations must end
}

func newGood(timeout time.Duration) *good {
	return &good{timeout: timeout, stop: make(chan struct{})}
}

func (g *good) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	fault := func(k executor.Kind, err error) (executor.Response, error) {
		return executor.Response{}, &executor.Error{Kind: k, Function: "good", Err: err}
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return fault(executor.Closed, errors.New("it is closed"))
	}
	g.running.Add(1)
	g.mu.Unlock()
	defer g.running.Done()
	if ctx.Err() != nil {
		return fault(executor.Canceled, context.Cause(ctx))
	}
	over := make(chan struct{})
	timer := clock.System{}.AfterFunc(g.timeout, func() { close(over) })
	defer timer.Stop()

	var c struct {
		Do, Message   string
		Ms, Size      int
		Lines, Chunks []string
	}
	if err := json.Unmarshal(req.Payload, &c); err != nil {
		return fault(executor.Internal, err)
	}
	failed := func(kind, message string) (executor.Response, error) {
		doc, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
		return executor.Response{Payload: doc, Failure: &executor.Failure{Type: kind, Message: message}, Duration: g.timeout}, err
	}
	res := executor.Response{Payload: bytes.Clone(req.Payload)}
	wait := make(chan struct{})
	switch c.Do {
	case "fail":
		return failed("Error", c.Message)
	case "crash":
		return failed("Runtime.ExitError", "gone")
	case "sleep":
		t := clock.System{}.AfterFunc(time.Duration(c.Ms)*time.Millisecond, func() { close(wait) })
		defer t.Stop()
	case "hang":
	default:
		close(wait)
	}
	select {
	case <-wait:
	case <-ctx.Done():
		return fault(executor.Canceled, context.Cause(ctx))
	case <-over:
		return failed("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", req.ID, g.timeout.Seconds()))
	case <-g.stop:
		return fault(executor.Canceled, errors.New("it is closing"))
	}
	switch c.Do {
	case "large":
		if c.Size+2 > executor.MaxResponse {
			return failed("Function.ResponseSizeTooLarge", "over 6291556 bytes")
		}
		res.Payload = []byte(`"` + strings.Repeat("x", c.Size) + `"`)
	case "context":
		doc, err := json.Marshal(map[string]string{
			"requestId": req.ID, "arn": req.ARN, "traceId": req.TraceID, "clientContext": req.ClientContext, "tenantId": req.TenantID,
		})
		if err != nil {
			return fault(executor.Internal, err)
		}
		res.Payload = doc
	case "log":
		if text := strings.Join(c.Lines, "\n"); req.LogTail {
			res.Log = []byte(text[max(0, len(text)-executor.LogTail):])
		}
	case "stream":
		if req.Stream == nil {
			res.Payload = []byte(strings.Join(c.Chunks, ""))
			break
		}
		res.Payload, res.Streamed = nil, true
		w := req.Stream("text/plain")
		for _, chunk := range c.Chunks {
			if _, err := io.WriteString(w, chunk); err != nil {
				break
			}
		}
	}
	return res, nil
}

func (g *good) Close(ctx context.Context) error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	if !first {
		return nil
	}
	done := make(chan struct{})
	go func() { g.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		close(g.stop)
		<-done
	}
	return nil
}

// broken changes what a good function does on its way out.
type broken struct {
	*good
	invoke func(g *good, ctx context.Context, req executor.Request) (executor.Response, error)
	close  func(g *good, ctx context.Context) error
}

func (b *broken) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	if b.invoke == nil {
		return b.good.Invoke(ctx, req)
	}
	return b.invoke(b.good, ctx, req)
}

func (b *broken) Close(ctx context.Context) error {
	if b.close == nil {
		return b.good.Close(ctx)
	}
	return b.close(b.good, ctx)
}

func subject(open func(time.Duration) executor.Function) executortest.Subject {
	return executortest.Subject{
		Open:  func(_ testing.TB, timeout time.Duration) executor.Function { return open(timeout) },
		Exact: true, CrashType: "Runtime.ExitError", Timeout: "Sandbox.Timedout", Large: "Function.ResponseSizeTooLarge",
		Context: []string{"requestId", "arn", "traceId", "clientContext", "tenantId"},
		Logs:    true, Stream: true,
	}
}

func TestAGoodFunctionPasses(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(testing.TB) executortest.Subject {
		return subject(func(d time.Duration) executor.Function { return newGood(d) })
	})
}

// after makes a broken Invoke that changes the answer to one command.
func after(do string, change func(*executor.Request, *executor.Response, *error)) *broken {
	return &broken{invoke: func(g *good, ctx context.Context, req executor.Request) (executor.Response, error) {
		res, err := g.Invoke(ctx, req)
		if bytes.Contains(req.Payload, []byte(`"do":"`+do+`"`)) {
			change(&req, &res, &err)
		}
		return res, err
	}}
}

// defects are functions that break one promise each, with the case that must notice.
func defects() map[string]struct {
	b    *broken
	want string
} {
	type defect = struct {
		b    *broken
		want string
	}
	var mu sync.Mutex
	var last []byte
	var mixed int
	return map[string]defect{
		"trims": {after("echo", func(_ *executor.Request, r *executor.Response, _ *error) {
			r.Payload = append(r.Payload, ' ')
		}), "answers_what_the_handler_returned"},
		"errs": {after("fail", func(_ *executor.Request, r *executor.Response, err *error) {
			*err = &executor.Error{Kind: executor.Internal, Err: errors.New(r.Failure.Message)}
		}), "a_failure_is_an_answer"},
		"crashes for good": {&broken{invoke: func(g *good, ctx context.Context, req executor.Request) (executor.Response, error) {
			res, err := g.Invoke(ctx, req)
			if bytes.Contains(req.Payload, []byte("crash")) {
				g.mu.Lock()
				g.closed = true
				g.mu.Unlock()
			}
			return res, err
		}}, "a_crash_is_an_answer"},
		"forgets the id": {after("hang", func(req *executor.Request, r *executor.Response, _ *error) {
			r.Payload = bytes.ReplaceAll(r.Payload, []byte(req.ID), nil)
		}), "a_timeout_is_an_answer"},
		"has no limit": {after("large", func(_ *executor.Request, r *executor.Response, _ *error) {
			r.Failure = nil
		}), "an_answer_over_the_limit"},
		"hides the trace": {after("context", func(req *executor.Request, r *executor.Response, _ *error) {
			r.Payload = bytes.ReplaceAll(r.Payload, []byte(req.TraceID), nil)
		}), "the_handler_sees_the_request"},
		"logs too much": {after("log", func(_ *executor.Request, r *executor.Response, _ *error) {
			if r.Log != nil {
				r.Log = append(bytes.Repeat([]byte("first of 0\n"), 2), r.Log...)
			}
		}), "the_log_of_an_invocation"},
		"buffers": {&broken{invoke: func(g *good, ctx context.Context, req executor.Request) (executor.Response, error) {
			req.Stream = nil
			return g.Invoke(ctx, req)
		}}, "an_answer_in_pieces_reaches"},
		"loses a piece": {after("stream", func(req *executor.Request, r *executor.Response, _ *error) {
			r.Payload = bytes.TrimSuffix(r.Payload, []byte("three"))
		}), "an_answer_in_pieces_is_gathered"},
		"deaf": {&broken{invoke: func(g *good, ctx context.Context, req executor.Request) (executor.Response, error) {
			res, err := g.Invoke(ctx, req)
			var e *executor.Error
			if errors.As(err, &e) && e.Kind == executor.Canceled {
				e.Kind = executor.Internal
			}
			return res, err
		}}, "a_caller_that_leaves"},
		"mixes": {after("echo", func(_ *executor.Request, r *executor.Response, _ *error) {
			mu.Lock()
			defer mu.Unlock()
			if mixed++; mixed > 20 && bytes.Contains(r.Payload, []byte("worker")) {
				r.Payload, last = last, r.Payload
			}
		}), "concurrent_invocations"},
		"writes": {after("echo", func(req *executor.Request, _ *executor.Response, _ *error) {
			if bytes.Contains(req.Payload, []byte(`"n":1}`)) {
				copy(req.Payload, `{"DO"`)
			}
		}), "the_payload_is_neither"},
		"aliases": {after("echo", func(req *executor.Request, r *executor.Response, _ *error) {
			r.Payload = req.Payload
		}), "the_payload_is_neither"},
		"open for ever": {&broken{close: func(*good, context.Context) error { return nil }}, "Invoke_after_Close"},
		"hasty": {&broken{close: func(g *good, ctx context.Context) error {
			ctx, stop := context.WithCancel(ctx)
			stop()
			return g.Close(ctx)
		}}, "Close_lets"},
		"tells lies": {&broken{invoke: func(g *good, ctx context.Context, req executor.Request) (executor.Response, error) {
			res, err := g.Invoke(ctx, req)
			var e *executor.Error
			if errors.As(err, &e) && strings.Contains(e.Err.Error(), "closing") {
				return executor.Response{Payload: []byte("null")}, nil
			}
			return res, err
		}}, "Close_stops"},
	}
}

// TestEachDefectIsNoticed runs this test binary again with a function that breaks a promise, and looks for
// the name of the case that must fail.
func TestEachDefectIsNoticed(t *testing.T) {
	t.Parallel()
	if os.Getenv("EXECUTORTEST_DEFECT") != "" {
		t.Skip("this is the inner run")
	}
	for name, d := range defects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDefect$/^"+d.want, "-test.v")
			cmd.Env = append(os.Environ(), "EXECUTORTEST_DEFECT="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("the suite passes")
			}
			if !regexp.MustCompile(`--- FAIL: TestDefect/` + d.want).Match(out) {
				t.Errorf("case %s does not fail:\n%s", d.want, out)
			}
		})
	}
}

func TestDefect(t *testing.T) {
	name := os.Getenv("EXECUTORTEST_DEFECT")
	if name == "" {
		t.Skip("run by TestEachDefectIsNoticed")
	}
	executortest.Run(t, func(testing.TB) executortest.Subject {
		return subject(func(timeout time.Duration) executor.Function {
			b := *defects()[name].b
			b.good = newGood(timeout)
			return &b
		})
	})
}
