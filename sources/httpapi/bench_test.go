package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// mounted opens a door without a network around it.
func mounted(b testing.TB, name string, answer []byte) http.Handler {
	b.Helper()
	spec := kind(b, name)
	source, err := spec.Open(b.Context(), spec.Config(), plugin.Deps{
		Name: "api", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: clock.System{}, Region: "us-east-1", Account: "123456789012",
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	handlers := make(chan http.Handler, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = source.Run(ctx, sources.Hub{
			Invoke: func(context.Context, executor.Request) (executor.Response, error) {
				return executor.Response{Payload: answer}, nil
			},
			Mount: func(_ string, h http.Handler) (func(), error) { handlers <- h; return func() {}, nil },
		})
	}()
	b.Cleanup(func() { cancel(); <-done })
	return <-handlers
}

const kilobyte = 1024

// BenchmarkEcho compares each door, with a function that answers at once, with the least net/http server that
// does the same: both read a body of 1 KB and answer with one of 1 KB. 8 clients.
func BenchmarkEcho(b *testing.B) {
	text := strings.Repeat("0123456789abcdef", kilobyte/16)
	answer := []byte(`{"statusCode":200,"headers":{"Content-Type":"text/plain"},"body":"` + text + `"}`)
	for _, s := range []struct {
		name    string
		path    string
		handler func(*testing.B) http.Handler
	}{
		{"net-http", "/", func(*testing.B) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
				w.Header().Set("Content-Type", "text/plain")
				_, _ = w.Write(body)
			})
		}},
		{"function-url", "/", func(b *testing.B) http.Handler { return mounted(b, "function-url", answer) }},
		{"http-api", "/orders/42?a=1", func(b *testing.B) http.Handler { return mounted(b, "http-api", answer) }},
		{"rest-api", "/prod/orders/42?a=1", func(b *testing.B) http.Handler { return mounted(b, "rest-api", answer) }},
		{"alb", "/", func(b *testing.B) http.Handler { return mounted(b, "alb", answer) }},
	} {
		b.Run(s.name, func(b *testing.B) {
			server := httptest.NewServer(s.handler(b))
			defer server.Close()
			transport := &http.Transport{MaxIdleConnsPerHost: 64}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			body := []byte(text)
			b.ReportAllocs()
			b.SetParallelism(4) // of 2 processors: 8 clients
			var once sync.Once
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					resp, err := client.Post(server.URL+s.path, "text/plain", bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != 200 || len(got) != kilobyte {
						once.Do(func() { b.Errorf("%d %s %v", resp.StatusCode, got, err) })
						return
					}
				}
			})
		})
	}
}

// BenchmarkHandler is the work of the door alone, without a network.
func BenchmarkHandler(b *testing.B) {
	text := strings.Repeat("0123456789abcdef", kilobyte/16)
	answer := []byte(`{"statusCode":200,"headers":{"Content-Type":"text/plain"},"body":"` + text + `"}`)
	for _, name := range kinds {
		b.Run(name, func(b *testing.B) {
			h := mounted(b, name, answer)
			r := httptest.NewRequest("POST", "/prod/orders", nil)
			r.Header.Set("Content-Type", "text/plain")
			r.Header.Set("User-Agent", "test")
			r.ContentLength = kilobyte
			body := strings.NewReader(text)
			r.Body = io.NopCloser(body)
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(text)
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.status != 200 {
				b.Errorf("status %d", w.status)
			}
		})
	}
}

type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }
