package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
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
	"github.com/millrace/millrace/sources/httpapi"
)

// checker is the handler of a door whose function checks that its document is JSON, and answers as told.
type checker struct {
	http.Handler
	mu      sync.Mutex
	answer  []byte
	invalid []byte
}

func newChecker(t testing.TB, name string, config any) *checker {
	t.Helper()
	spec := kind(t, name)
	source, err := spec.Open(t.Context(), config, plugin.Deps{
		Name: "api", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: clock.System{}, Region: "us-east-1", Account: "123456789012",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{}
	ctx, cancel := context.WithCancel(context.Background())
	handlers := make(chan http.Handler, 4)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = source.Run(ctx, sources.Hub{
			Invoke: func(_ context.Context, req executor.Request) (executor.Response, error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if !json.Valid(req.Payload) {
					c.invalid = append([]byte{}, req.Payload...)
				}
				return executor.Response{Payload: c.answer}, nil
			},
			Mount: func(_ string, h http.Handler) (func(), error) { handlers <- h; return func() {}, nil },
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	c.Handler = <-handlers
	return c
}

func FuzzRequests(f *testing.F) {
	f.Add("GET /prod/a%2Fb/c?x=1&x=%zz HTTP/1.1\r\nHost: a.test:80\r\nCookie: a=b; c\r\nX-A: 1\r\nX-A: 2\r\n\r\n", []byte(`{"statusCode":200,"headers":{"a":"b"},"body":"x"}`))
	f.Add("POST //prod//x HTTP/1.0\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n\xff\x00a", []byte(`"x"`))
	f.Add("OPTIONS * HTTP/1.1\r\nHost: [::1%25lo]:1\r\nOrigin: x\r\nAccess-Control-Request-Method: y\r\n\r\n", []byte(`{"statusCode":204,"multiValueHeaders":{"connection":["x"]},"cookies":["y"]}`))
	config := httpapi.HTTPAPIDefaults()
	config.Routes = []string{"$default", "GET /prod/{a}/{b+}", "ANY /{x}"}
	config.CORS.AllowOrigins = []string{"https://*"}
	multi := httpapi.ALBDefaults()
	multi.MultiValueHeaders = true
	v1 := config
	v1.PayloadFormatVersion = "1.0"
	rest, url := httpapi.RESTAPIDefaults(), httpapi.FunctionURLDefaults()
	doors := []*checker{
		newChecker(f, "http-api", &config), newChecker(f, "http-api", &v1), newChecker(f, "rest-api", &rest), newChecker(f, "function-url", &url), newChecker(f, "alb", &multi),
	}
	f.Fuzz(func(t *testing.T, request string, answer []byte) {
		for _, d := range doors {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
			if err != nil {
				return
			}
			r.RemoteAddr = "192.0.2.1:1234"
			d.mu.Lock()
			d.answer = answer
			d.mu.Unlock()
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			d.mu.Lock()
			if d.invalid != nil {
				t.Errorf("a document is no JSON: %q", d.invalid)
				d.invalid = nil
			}
			d.mu.Unlock()
			if w.Code < 200 || w.Code > 599 {
				t.Errorf("status %d", w.Code)
			}
			for name, values := range w.Result().Header {
				if strings.ContainsAny(name+strings.Join(values, ""), "\r\n") {
					t.Errorf("header %q: %q", name, values)
				}
			}
		}
	})
}

func FuzzRoutes(f *testing.F) {
	f.Add("GET /a/{b}", "ANY /{c+}", "/a/x%2F/")
	f.Add("$default", "POST /", "//")
	f.Fuzz(func(t *testing.T, one, two, path string) {
		config := httpapi.HTTPAPIDefaults()
		config.Routes = []string{one, two}
		if config.Validate() != nil || !strings.HasPrefix(path, "/") {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return
		}
		d := newChecker(t, "http-api", &config)
		d.answer = []byte(`{"statusCode":200}`)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		open := one == "$default" || two == "$default"
		if w.Code != 200 && (w.Code != 404 || open) {
			t.Errorf("%q, %q: %s is %d", one, two, path, w.Code)
		}
		if d.invalid != nil {
			t.Errorf("a document is no JSON: %q", d.invalid)
		}
	})
}
