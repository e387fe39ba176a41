// Package e2e runs the built program against real clients and servers.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/hub"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "millrace-e2e-")
	if err != nil {
		panic(err)
	}
	if binary = os.Getenv("MILLRACE_BINARY"); binary == "" {
		if binary, err = hub.Build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// start runs a hub for the length of a test.
func start(t *testing.T, yaml string, env ...string) *hub.Hub {
	t.Helper()
	return startIn(t, t.TempDir(), yaml, env...)
}

func startIn(t *testing.T, dir, yaml string, env ...string) *hub.Hub {
	t.Helper()
	h, err := hub.Start(binary, dir, yaml, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the hub:\n%s", h.Log())
		}
		h.Kill()
	})
	return h
}

// eventually waits for f, which says what is still missing, or "".
func eventually(t *testing.T, what string, f func() string) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := f()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: %s", what, missing)
		}
	}
}

// call is one invocation that a sink saw.
type call struct {
	id       string
	document map[string]any
}

// sink is an HTTP function that remembers its calls.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

func newSink(t *testing.T) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var doc map[string]any
		json.Unmarshal(body, &doc)
		s.mu.Lock()
		s.calls = append(s.calls, call{r.Header.Get("Lambda-Runtime-Aws-Request-Id"), doc})
		s.mu.Unlock()
		io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) all() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]call(nil), s.calls...)
}

// send makes one request and returns its answer.
func send(t *testing.T, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a hub that does not answer fails the test
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(got)
}

// freePort finds a port that nothing listens on, for hubs that must come back at the same address.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// unaccounted reads from the hub's metrics how many accepted events are in no state, summed over functions.
func unaccounted(t *testing.T, h *hub.Hub) float64 {
	t.Helper()
	_, _, text := send(t, http.MethodGet, h.Admin+"/metrics", "")
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		if name, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "millrace_async_unaccounted{") {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum, found = sum+math.Abs(n), true
		}
	}
	if !found {
		t.Fatal("the hub has no metric millrace_async_unaccounted")
	}
	return sum
}

// goHandler builds the quick start's handler, an ordinary aws-lambda-go program, and returns its folder.
func goHandler(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := hub.Go("build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "github.com/millrace/millrace/test/e2e/handlers/gohandler"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func handler(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("handlers", name))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b.String()
}
