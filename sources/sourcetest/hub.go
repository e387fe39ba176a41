package sourcetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/sources"
)

// Hub is a hub that records what a source hands it, and answers as a test tells it to. All methods may be
// called concurrently.
type Hub struct {
	server *httptest.Server

	mu     sync.RWMutex
	script Script
	calls  []Call
	mounts map[string]*mount // by pattern
}

// Call is one request that a source handed to the hub. Its payload is a copy.
type Call struct {
	executor.Request
	Invoked bool // by Hub.Invoke; otherwise by Hub.Accept
}

// Script answers for the hub. It runs in the goroutine of the source's call and may block, which makes the
// hub slow. The response is ignored if the call was to Accept.
type Script func(context.Context, Call) (executor.Response, error)

type mount struct {
	handler http.Handler
	busy    sync.WaitGroup // requests under way; Add only under mu, while the pattern is there
}

// NewHub starts a hub, with a gateway on a loopback port, that lives as long as the test. It answers every
// call at once, an Invoke with the JSON text null.
func NewHub(t testing.TB) *Hub {
	h := &Hub{mounts: map[string]*mount{}}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

// Hub is what to hand to Source.Run.
func (h *Hub) Hub() sources.Hub {
	return sources.Hub{
		Invoke: func(ctx context.Context, req executor.Request) (executor.Response, error) {
			return h.call(ctx, req, true)
		},
		Accept: func(ctx context.Context, req executor.Request) error {
			_, err := h.call(ctx, req, false)
			return err
		},
		Mount:    h.mount,
		Function: noFunction,
	}
}

// URL is the address of the gateway, without a slash at its end.
func (h *Hub) URL() string { return h.server.URL }

// Script makes s answer every call from now on; nil restores the first behaviour.
func (h *Hub) Script(s Script) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = s
}

// Calls returns the requests that the hub has answered without error, in the order of the answers.
func (h *Hub) Calls() []Call {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.calls)
}

// Mounted lists the patterns mounted now.
func (h *Hub) Mounted() []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var patterns []string
	for p := range h.mounts {
		patterns = append(patterns, p)
	}
	slices.Sort(patterns)
	return patterns
}

func (h *Hub) call(ctx context.Context, req executor.Request, invoked bool) (executor.Response, error) {
	h.mu.RLock()
	script := h.script
	h.mu.RUnlock()
	call := Call{Request: req, Invoked: invoked}
	call.Payload = bytes.Clone(req.Payload)
	resp := executor.Response{Payload: []byte("null")}
	if script != nil {
		var err error
		if resp, err = script(ctx, call); err != nil {
			return executor.Response{}, err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return executor.Response{}, &executor.Error{Kind: executor.Canceled, Function: "test", Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call)
	return resp, nil
}

func noFunction(name string) (executor.Function, error) {
	return nil, fmt.Errorf("there is no function %q", name)
}

func (h *Hub) mount(pattern string, handler http.Handler) (func(), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !strings.Contains(pattern, "/") || strings.ContainsAny(pattern, " {}") {
		return nil, fmt.Errorf("mounting %q: a pattern is a path, or a host and a path", pattern)
	}
	if h.mounts[pattern] != nil {
		return nil, fmt.Errorf("mounting %q: the pattern is taken", pattern)
	}
	m := &mount{handler: handler}
	h.mounts[pattern] = m
	return sync.OnceFunc(func() {
		h.mu.Lock()
		delete(h.mounts, pattern)
		h.mu.Unlock()
		m.busy.Wait()
	}), nil
}

// enter finds the handler of a request and counts the request as under way. A host of its own wins over any
// host, then the longest path wins.
func (h *Hub) enter(r *http.Request) *mount {
	h.mu.RLock()
	defer h.mu.RUnlock()
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	for _, prefix := range []string{strings.ToLower(host), ""} {
		var found *mount
		longest := 0
		for pattern, m := range h.mounts {
			path, ok := strings.CutPrefix(pattern, prefix)
			if !ok || path[0] != '/' || len(path) < longest {
				continue
			}
			asked := r.URL.EscapedPath()
			if asked == path || strings.HasSuffix(path, "/") && strings.HasPrefix(asked, path) {
				found, longest = m, len(path)
			}
		}
		if found != nil {
			found.busy.Add(1)
			return found
		}
	}
	return nil
}

// ServeHTTP is the gateway.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := h.enter(r)
	if m == nil {
		http.NotFound(w, r)
		return
	}
	defer m.busy.Done()
	m.handler.ServeHTTP(w, r)
}
