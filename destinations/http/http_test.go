package http_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	kind "github.com/millrace/millrace/destinations/http"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, d plugin.Deps, change func(*kind.Config)) (destinations.Destination, error) {
	t.Helper()
	spec := kind.Spec()
	config := spec.Config().(*kind.Config)
	change(config)
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
	dest, err := spec.Open(t.Context(), config, d)
	if err == nil {
		t.Cleanup(func() { dest.Close(context.Background()) })
	}
	return dest, err
}

func mustOpen(t testing.TB, change func(*kind.Config)) destinations.Destination {
	t.Helper()
	d, err := open(t, plugin.Deps{}, change)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// endpoint is a server that keeps what it is sent.
type endpoint struct {
	mu     sync.Mutex
	bodies [][]byte
	status int
	hang   chan struct{}
	taken  chan struct{}
}

func (e *endpoint) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	status, hang := e.status, e.hang
	e.mu.Unlock()
	if hang != nil {
		e.taken <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	if status/100 == 2 {
		e.set(func() { e.bodies = append(e.bodies, body) })
	}
	w.WriteHeader(status)
}

func TestDestination(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, func(t testing.TB) destinationtest.Subject {
		e := &endpoint{status: 204, taken: make(chan struct{}, 1)}
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		return destinationtest.Subject{
			Destination: mustOpen(t, func(c *kind.Config) { c.URL = server.URL + "/failures"; c.Timeout = time.Minute }),
			Received: func() (all [][]byte) {
				e.set(func() { all = slices.Clone(e.bodies) })
				return all
			},
			Break:  func() func() { e.set(func() { e.status = 503 }); return func() { e.set(func() { e.status = 200 }) } },
			Refuse: func() { e.set(func() { e.status = 422 }) },
			Hang: func() (<-chan struct{}, func()) {
				hang := make(chan struct{})
				e.set(func() { e.hang = hang })
				return e.taken, sync.OnceFunc(func() { close(hang) })
			},
		}
	})
}

func TestTheRequestSaysWhatItIs(t *testing.T) {
	t.Parallel()
	var got http.Header
	var body []byte
	var host, method, path string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, host, method, path = r.Header, r.Host, r.Method, r.URL.RequestURI()
		body, _ = io.ReadAll(r.Body)
	}))
	t.Cleanup(server.Close)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	secrets := []plugin.Secret{"the new secret of this endpoint", "the old secret of this endpoint"}
	d, err := open(t, plugin.Deps{Clock: clock.NewManual(now)}, func(c *kind.Config) {
		c.URL = server.URL + "/a%20b?c=d"
		c.Headers = map[string]plugin.Secret{"authorization": "Bearer hush", "Host": "records.example.test"}
		c.Signing.Secrets = secrets
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := destinations.Record{ID: "id-1", Body: []byte(`{"version":"1.0"}`), TraceID: "Root=1-2-3", TraceParent: "00-ab"}
	if err := d.Send(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	want := http.Header{}
	sign.Headers(want, secrets, "id-1", now, rec.Body)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "millrace", "Authorization": "Bearer hush", "Idempotency-Key": "id-1",
		"X-Amzn-Trace-Id": "Root=1-2-3", "Traceparent": "00-ab", "Webhook-Id": "id-1", "Webhook-Timestamp": want.Get("Webhook-Timestamp"),
		"Webhook-Signature": want.Get("Webhook-Signature"), "Content-Length": "17",
	} {
		if got.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.Get(name), value)
		}
	}
	if host != "records.example.test" || method != "POST" || path != "/a%20b?c=d" || string(body) != string(rec.Body) {
		t.Errorf("%s %s at %s: %s", method, path, host, body)
	}
}

func TestTheStatusDecides(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		200: "sent", 201: "sent", 202: "sent", 204: "sent", 299: "sent",
		301: "given up", 302: "given up", 307: "given up", 400: "given up", 405: "given up", 409: "given up", 410: "given up", 413: "given up", 422: "given up",
		401: "another try", 403: "another try", 404: "another try", 407: "another try", 408: "another try", 425: "another try", 429: "another try",
		500: "another try", 501: "another try", 502: "another try", 503: "another try", 504: "another try", 599: "another try",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				if status != 204 {
					io.WriteString(w, "the   reason\n"+strings.Repeat("x", 100<<10))
				}
			}))
			t.Cleanup(server.Close)
			err := mustOpen(t, func(c *kind.Config) { c.URL = server.URL }).Send(t.Context(), destinations.Record{ID: "1", Body: []byte("{}")})
			got := "another try"
			if err == nil {
				got = "sent"
			} else if errors.Is(err, destinations.ErrPermanent) {
				got = "given up"
			}
			if got != want {
				t.Errorf("%s, want %s: %v", got, want, err)
			}
			switch {
			case err == nil:
			case status/100 == 3 && !strings.Contains(err.Error(), "a redirect to /elsewhere"),
				status/100 != 3 && !strings.Contains(err.Error(), fmt.Sprintf("answered %d %s: the reason", status, http.StatusText(status))),
				len(err.Error()) > 500:
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAnEndpointThatIsNotThereIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	err := mustOpen(t, func(c *kind.Config) { c.URL = url }).Send(t.Context(), destinations.Record{Body: []byte("{}")})
	if err == nil || errors.Is(err, destinations.ErrPermanent) {
		t.Errorf("%v", err)
	}
}

func TestATryEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-hang }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	manual := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	d, err := open(t, plugin.Deps{Clock: manual}, func(c *kind.Config) { c.URL = server.URL; c.Timeout = 5 * time.Second })
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- d.Send(t.Context(), destinations.Record{Body: []byte("{}")}) }()
	deadline := time.Now().Add(10 * time.Second)
	for manual.Timers() == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) //nolint:forbidigo // polls what no channel tells of
	}
	manual.Advance(5 * time.Second)
	if err := <-result; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, destinations.ErrPermanent) {
		t.Errorf("%v", err)
	}
}

func TestTrustsTheCAOfTheFile(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600)
	os.WriteFile(filepath.Join(dir, "no.pem"), []byte("nothing"), 0o600)
	send := func(change func(*kind.Config)) error {
		d, err := open(t, plugin.Deps{Dir: dir}, func(c *kind.Config) { c.URL = server.URL; change(c) })
		if err != nil {
			return err
		}
		return d.Send(t.Context(), destinations.Record{Body: []byte("{}")})
	}
	if err := send(func(c *kind.Config) { c.TLS.CA = "ca.pem" }); err != nil {
		t.Errorf("with the CA: %v", err)
	}
	if err := send(func(c *kind.Config) { c.TLS.Insecure = true }); err != nil {
		t.Errorf("with insecure: %v", err)
	}
	if err := send(func(*kind.Config) {}); err == nil || errors.Is(err, destinations.ErrPermanent) {
		t.Errorf("without trust: %v", err)
	}
	if err := send(func(c *kind.Config) { c.TLS.CA = "no.pem" }); err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
		t.Errorf("with a CA that is none: %v", err)
	}
}

func TestWrongSettingsAreAllReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*kind.Config)
		want   []string
	}{
		"nothing":        {func(*kind.Config) {}, []string{"url: is missing"}},
		"no scheme":      {func(c *kind.Config) { c.URL = "example.com" }, []string{"url: must begin"}},
		"another scheme": {func(c *kind.Config) { c.URL = "ftp://example.com" }, []string{"url: must begin"}},
		"no host":        {func(c *kind.Config) { c.URL = "http:///x" }, []string{"url: has no host"}},
		"a password":     {func(c *kind.Config) { c.URL = "http://u:p@example.com" }, []string{"url: must not hold"}},
		"many things": {func(c *kind.Config) {
			c.URL = "http://example.com/#top"
			c.Headers = map[string]plugin.Secret{"a b": "", "X": "a\r\nb", "Webhook-Id": "1"}
			c.Timeout = 2 * time.Minute
			c.Signing.Secrets = []plugin.Secret{"long enough, this secret", "short"}
			c.TLS = plugin.TLS{CA: "x", Insecure: true}
		}, []string{"url: must not have a fragment (#top)", "headers.a b: is not", "headers.X: has a value", "headers.Webhook-Id: is set by the hub",
			"timeout: 2m0s is outside", "signing.secrets[1]: a signing secret", "tls.insecure: would make ca useless"}},
		"TLS on http": {func(c *kind.Config) { c.URL = "http://example.com"; c.TLS.Insecure = true }, []string{"tls: has no effect"}},
	} {
		_, err := open(t, plugin.Deps{}, c.change)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}
