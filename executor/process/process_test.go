package process_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/executortest"
	"github.com/millrace/millrace/executor/process"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(golangDir())
		os.Exit(code)
	}))
}

func golangDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("millrace-golang-%d", os.Getpid()))
}

// golang builds the Go handler, once for the tests of a run.
var golang = sync.OnceValues(func() (string, error) {
	dir := golangDir()
	out, err := exec.CommandContext(context.Background(), "go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "./testdata/golang").CombinedOutput()
	if err != nil {
		return "", &buildError{string(out)}
	}
	return dir, nil
})

type buildError struct{ out string }

func (e *buildError) Error() string { return e.out }

// config is the configuration of a kind with the handler of the suite.
func config(t testing.TB, kind string) process.Config {
	t.Helper()
	c := process.Defaults(kind)
	var err error
	switch kind {
	case "provided":
		if c.Code, err = golang(); err != nil {
			t.Fatal(err)
		}
	case "python3":
		c.Code, c.Handler = "testdata/python", "app.handler"
	case "nodejs":
		c.Code, c.Handler = "testdata/nodejs", "index.handler"
	}
	if c.Code, err = filepath.Abs(c.Code); err != nil {
		t.Fatal(err)
	}
	if c.Interpreter != "" {
		services.Need(t, c.Interpreter)
	}
	return c
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func deps(t testing.TB, out *lines) plugin.Deps {
	if out == nil {
		out = new(lines)
	}
	return plugin.Deps{
		Name: "orders", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry(),
		Clock: clock.System{}, Dir: t.TempDir(), Data: t.TempDir(), Region: "us-east-1", Account: "123456789012", Output: out,
	}
}

// open opens a function and closes it when the test ends.
func open(t testing.TB, c process.Config, d plugin.Deps) executor.Function {
	t.Helper()
	f, err := process.Open(t.Context(), c, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

func TestKindsKeepTheContract(t *testing.T) {
	t.Parallel()
	for kind, s := range map[string]executortest.Subject{
		"provided": {Exact: true, Stream: true},
		"python3":  {},
		"nodejs":   {},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			executortest.Run(t, func(testing.TB) executortest.Subject {
				s := s
				s.CrashType, s.Timeout, s.Large, s.Logs = "Runtime.ExitError", "Sandbox.Timedout", "Function.ResponseSizeTooLarge", true
				s.Context = []string{"requestId", "arn", "traceId", "clientContext", "tenantId"}
				s.Open = func(t testing.TB, timeout time.Duration) executor.Function {
					c := config(t, kind)
					c.Timeout = timeout
					return open(t, c, deps(t, nil))
				}
				return s
			})
		})
	}
}
