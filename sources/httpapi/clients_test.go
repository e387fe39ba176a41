package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources/httpapi"
)

func status(t testing.TB, answer string) string {
	t.Helper()
	line, _, _ := strings.Cut(answer, "\r\n")
	_, code, _ := strings.Cut(line, " ")
	code, _, _ = strings.Cut(code, " ")
	return code
}

// timers waits until the door waits for so many timers.
func (h *hub) timers(n int) {
	h.t.Helper()
	stop := time.Now().Add(10 * time.Second)
	for h.clock.Timers() != n {
		if time.Now().After(stop) {
			h.t.Fatalf("%d timers, want %d", h.clock.Timers(), n)
		}
		runtime.Gosched()
	}
}

func TestBodiesOverTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	each(t, func(m *httpapi.Mount) { m.MaximumBody = 10 }, func(t *testing.T, _ string, h *hub, root string) {
		if got := h.send("POST", root, "0123456789"); got.status != 200 {
			t.Errorf("at the limit: %d %s", got.status, got.body)
		}
		if got := h.send("POST", root, "0123456789x"); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("over the limit: %d %s", got.status, got.body)
		}
		for chunks, want := range map[string]string{"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n": "200", "5\r\n01234\r\n6\r\n56789x\r\n0\r\n\r\n": "413"} {
			if got := h.raw("POST " + root + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks); status(t, got) != want {
				t.Errorf("in chunks: %s, want %s", got, want)
			}
		}
		if h.count() != 2 {
			t.Errorf("the function ran %d times", h.count())
		}
	})
}

func TestAnOversizeBodyIsNotAskedFor(t *testing.T) {
	t.Parallel()
	h := open(t, "http-api", func(m *httpapi.Mount) { m.MaximumBody = 10 })
	if got := h.raw("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"); status(t, got) != "413" {
		t.Errorf("got %s", got)
	}
	c := h.dial()
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprintf(c, "ok")
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "200 OK") {
		t.Errorf("%q, %v", rest, err)
	}
	if got := h.raw("POST / HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"); status(t, got) != "417" {
		t.Errorf("got %s", got)
	}
}

func TestABodyThatComesTooSlowlyIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(m *httpapi.Mount) { m.ClientTimeout = time.Second }, func(t *testing.T, _ string, h *hub, root string) {
		c := h.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this", root)
		h.timers(1)
		h.clock.Advance(time.Second)
		got, err := io.ReadAll(c)
		if err != nil || status(t, string(got)) != "408" {
			t.Errorf("%q, %v", got, err)
		}
		if h.count() != 0 {
			t.Error("the function ran")
		}
	})
}

func TestABodyThatBreaksOffRunsNoFunction(t *testing.T) {
	t.Parallel()
	h := open(t, "function-url", nil)
	c := h.dial().(*net.TCPConn)
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || status(t, string(got)) != "400" || h.count() != 0 {
		t.Errorf("%q, %v; %d runs", got, err, h.count())
	}
}

func TestATimerOfOneRequestDoesNotHitTheNext(t *testing.T) {
	t.Parallel()
	h := open(t, "http-api", func(m *httpapi.Mount) { m.ClientTimeout = time.Second })
	c := h.dial()
	defer c.Close()
	r := bufio.NewReader(c)
	for range 3 {
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		h.clock.Advance(time.Hour)
	}
	if n := h.clock.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}

func TestWhatIsNoPlainHTTPRequestIsRefused(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		long := "X-Long: " + strings.Repeat("x", 70000) + "\r\n"
		overlong := map[string]string{"function-url": "200", "http-api": "431", "rest-api": "431", "alb": "400"}[kind]
		for _, c := range []struct{ name, request, want string }{
			{"WebSocket", "GET " + root + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n", "501"},
			{"HTTP/1.0", "GET " + root + " HTTP/1.0\r\n", "200"},
			{"an offer of HTTP/2", "GET " + root + " HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n", "200"},
			{"an invalid escape in the path", "GET " + root + "%zz HTTP/1.1\r\nHost: x\r\n", "400"},
			{"an invalid escape in the query", "GET " + root + "?a=%zz HTTP/1.1\r\nHost: x\r\n", "200"},
			{"two lengths", "POST " + root + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"},
			{"length and chunks", "POST " + root + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "200"},
			{"no host", "GET " + root + " HTTP/1.1\r\n", "400"},
			{"long headers", "GET " + root + " HTTP/1.1\r\nHost: x\r\n" + long, overlong},
			{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n", map[string]string{}[kind]},
			{"absolute form", "GET http://example.test" + root + " HTTP/1.1\r\nHost: y\r\n", "200"},
		} {
			request := c.request + "Connection: close\r\n\r\n"
			if c.name == "WebSocket" {
				request = c.request + "\r\n"
				conn := h.dial()
				fmt.Fprint(conn, request)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				conn.Close()
				if err != nil || resp.StatusCode != 501 {
					t.Errorf("%s: %v, %v", c.name, resp, err)
				}
				continue
			}
			if got := h.raw(request); c.want != "" && status(t, got) != c.want {
				t.Errorf("%s: %.200s, want %s", c.name, got, c.want)
			}
		}
	})
}

func TestRepeatedHeadersAndCookiesAreKept(t *testing.T) {
	t.Parallel()
	h := open(t, "http-api", nil)
	h.raw("GET / HTTP/1.1\r\nHost: x\r\nconnection: close\r\nx-a: 1\r\nX-A: 2, 3\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n\r\n")
	d := h.document()
	if d.at("headers", "x-a") != "1,2, 3" || fmt.Sprint(d["cookies"]) != "[a=1 b=2 c=3]" || d.at("headers", "cookie") != nil || d.at("headers", "connection") != nil {
		t.Errorf("%v", d)
	}
}

func TestTheDoorAnswersWhenTheFunctionTakesTooLong(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"function-url": `504 {"Message":"Gateway Timeout"}`, "http-api": `503 {"message":"Service Unavailable"}`,
		"rest-api": `504 {"message": "Endpoint request timed out"}`, "alb": "504 " + albPage("504 Gateway Timeout"),
	}
	each(t, func(m *httpapi.Mount) { m.Timeout = 3 * time.Second }, func(t *testing.T, kind string, h *hub, root string) {
		running, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		h.script(func(ctx context.Context, _ executor.Request) (executor.Response, error) {
			close(running)
			<-release
			ended <- ctx.Err()
			return executor.Response{Payload: []byte(`{"statusCode":200,"body":"too late"}`)}, nil
		})
		answer := make(chan response)
		go func() { answer <- h.send("GET", root, "") }()
		<-running
		h.clock.Advance(3 * time.Second)
		got := <-answer
		if text := fmt.Sprintf("%d %s", got.status, got.body); text != want[kind] {
			t.Errorf("got %s, want %s", text, want[kind])
		}
		close(release)
		if err := <-ended; err != nil {
			t.Errorf("the function was stopped: %v", err)
		}
		// What served the slow request serves others now.
		h.answer(`{"statusCode":201,"body":"x"}`)
		for range 5 {
			if got := h.send("GET", root, ""); got.status != 201 || got.body != "x" {
				t.Errorf("then: %d %s", got.status, got.body)
			}
		}
	})
}

func TestTheFunctionRunsToItsEndWithoutItsClient(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, _ string, h *hub, root string) {
		running, gone, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		h.script(func(ctx context.Context, _ executor.Request) (executor.Response, error) {
			close(running)
			<-gone
			ended <- ctx.Err()
			return executor.Response{Payload: []byte(`{"statusCode":200}`)}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", h.server.URL+root, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
				t.Error("an answer")
			}
		}()
		<-running
		cancel()
		<-failed
		close(gone)
		if err := <-ended; err != nil {
			t.Errorf("the function was stopped: %v", err)
		}
	})
}

func TestAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		h.answer(`{"statusCode":204,"headers":{"Content-Length":"7"},"body":"ignored"}`)
		h.send("GET", root, "").is(t, 204, "")
		h.answer(`{"statusCode":304,"body":"ignored"}`)
		h.send("GET", root, "").is(t, 304, "")
		h.answer(`{"statusCode":200,"body":"12345"}`)
		got := h.send("HEAD", root, "")
		got.is(t, 200, "")
		got.has(t, "Content-Length", "5")
		big := strings.Repeat("x", 100000)
		h.answer(`{"statusCode":200,"body":"` + big + `"}`)
		got = h.send("GET", root, "")
		got.is(t, 200, big)
		got.has(t, "Content-Length", "100000")
	})
}

func TestHopByHopHeadersOfTheFunctionAreDropped(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		fields := `"connection":"x","keep-alive":"y","transfer-encoding":"chunked","upgrade":"z","content-length":"1","x-own":"kept","CONTENT-TYPE":"text/html"`
		h.answer(`{"statusCode":200,"headers":{` + fields + `},"body":"12345"}`)
		got := h.send("GET", root, "")
		got.is(t, 200, "12345")
		got.has(t, "X-Own", "kept")
		got.has(t, "Content-Type", "text/html")
		for _, name := range []string{"Keep-Alive", "Upgrade", "Transfer-Encoding"} {
			got.has(t, name, "")
		}
		if kind == "rest-api" {
			got.has(t, "X-Amzn-Remapped-Connection", "x")
			got.has(t, "X-Amzn-Remapped-Content-Length", "1")
		}
	})
}

func TestALoadBalancerRefusesLargeAnswers(t *testing.T) {
	t.Parallel()
	h := open(t, "alb", nil)
	h.answer(`{"statusCode":200,"body":"` + strings.Repeat("x", int(plugin.MB)) + `"}`)
	if got := h.send("GET", "/", ""); got.status != http.StatusBadGateway {
		t.Errorf("got %d", got.status)
	}
	if !strings.Contains(h.log.String(), "over the limit") {
		t.Errorf("log: %s", h.log)
	}
}
