package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// gateway is the HTTP server's handler for triggers. It is no ServeMux: patterns come and go, and a path
// reaches its trigger exactly as the client wrote it, with no redirect to a cleaned one.
type gateway struct {
	routes atomic.Pointer[map[string][]*mount] // by host, "" for any; longest path first

	stopped atomic.Bool

	mu   sync.Mutex
	hold chan struct{} // closed when the change under way is over; nil if there is none
}

type mount struct {
	host, path string // path covers all that is below it if it ends in a slash
	handler    http.Handler

	mu      sync.Mutex
	running int
	idle    chan struct{} // set once unmounted: closed when nothing runs any more
}

func newGateway() *gateway {
	g := &gateway{}
	g.routes.Store(&map[string][]*mount{})
	return g
}

// Mount is sources.Hub.Mount.
func (g *gateway) Mount(pattern string, h http.Handler) (unmount func(), err error) {
	i := strings.IndexByte(pattern, '/')
	if i < 0 || strings.ContainsAny(pattern, " {}") {
		return nil, fmt.Errorf("mounting %q: a pattern is a path, such as /hooks/, or a host and a path", pattern)
	}
	m := &mount{host: strings.ToLower(pattern[:i]), path: pattern[i:], handler: h}
	g.mu.Lock()
	defer g.mu.Unlock()
	routes := maps.Clone(*g.routes.Load())
	for _, other := range routes[m.host] {
		if other.path == m.path {
			return nil, fmt.Errorf("mounting %s: another trigger is there", pattern)
		}
	}
	list := append(slices.Clone(routes[m.host]), m)
	slices.SortFunc(list, func(a, b *mount) int { return cmp.Compare(len(b.path), len(a.path)) })
	routes[m.host] = list
	g.routes.Store(&routes)
	return sync.OnceFunc(func() { g.unmount(m) }), nil
}

func (g *gateway) unmount(m *mount) {
	g.mu.Lock()
	routes := maps.Clone(*g.routes.Load())
	routes[m.host] = slices.DeleteFunc(slices.Clone(routes[m.host]), func(o *mount) bool { return o == m })
	g.routes.Store(&routes)
	g.mu.Unlock()
	<-m.drained()
}

// match finds the trigger of a request: a host of its own wins over any host, then the longest path wins.
func (g *gateway) match(r *http.Request) *mount {
	routes, path := *g.routes.Load(), r.URL.EscapedPath()
	if len(routes) > 1 || routes[""] == nil {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if m := longest(routes[strings.ToLower(host)], path); m != nil {
			return m
		}
	}
	return longest(routes[""], path)
}

func longest(list []*mount, path string) *mount {
	for _, m := range list {
		if path == m.path || strings.HasSuffix(m.path, "/") && strings.HasPrefix(path, m.path) {
			return m
		}
	}
	return nil
}

// change makes requests that no trigger takes wait until end is called, so that a trigger that is being
// replaced refuses none.
func (g *gateway) change() (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	hold := make(chan struct{})
	g.hold = hold
	return sync.OnceFunc(func() {
		g.mu.Lock()
		g.hold = nil
		g.mu.Unlock()
		close(hold)
	})
}

// stop makes requests that no trigger takes any more be answered with 503.
func (g *gateway) stop() { g.stopped.Store(true) }

func (g *gateway) wait(ctx context.Context) {
	g.mu.Lock()
	hold := g.hold
	g.mu.Unlock()
	if hold == nil {
		return
	}
	select {
	case <-hold:
	case <-ctx.Done():
	}
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m := g.match(r); m != nil && m.serve(w, r) {
		return
	}
	g.wait(r.Context())
	if m := g.match(r); m != nil && m.serve(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if g.stopped.Load() {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, `{"message":"Service Unavailable"}`)
		return
	}
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintln(w, `{"message":"Not Found"}`)
}

// serve reports false, having done nothing, if m has been unmounted.
func (m *mount) serve(w http.ResponseWriter, r *http.Request) bool {
	m.mu.Lock()
	if m.idle != nil {
		m.mu.Unlock()
		return false
	}
	m.running++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running--
		if m.running == 0 && m.idle != nil {
			close(m.idle)
		}
		m.mu.Unlock()
	}()
	m.handler.ServeHTTP(w, r)
	return true
}

// drained refuses new requests and returns a channel that is closed when those under way have ended.
func (m *mount) drained() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = make(chan struct{})
	if m.running == 0 {
		close(m.idle)
	}
	return m.idle
}
