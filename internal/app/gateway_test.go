package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(text + " " + r.URL.EscapedPath())) })
}

func TestGatewayPrefersHostThenLongestPath(t *testing.T) {
	t.Parallel()
	g := newGateway()
	for _, pattern := range []string{"/", "/a/", "/a/b", "api.test/", "api.test/a/"} {
		if _, err := g.Mount(pattern, answer(pattern)); err != nil {
			t.Fatal(err)
		}
	}
	for url, want := range map[string]string{
		"http://x.test/":             "/ /",
		"http://x.test/a":            "/ /a",
		"http://x.test/a/":           "/a/ /a/",
		"http://x.test/a/b":          "/a/b /a/b",
		"http://x.test/a/b/c":        "/a/ /a/b/c",
		"http://x.test//a/../b%2Fc":  "/ //a/../b%2Fc",
		"http://API.test:8080/a/b":   "api.test/a/ /a/b",
		"http://api.test/other":      "api.test/ /other",
		"http://x.test/a%2Fb":        "/ /a%2Fb",
		"http://x.test/a/%2e%2e/b/?": "/a/ /a/%2e%2e/b/",
	} {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("GET %s = %q, want %q", url, got, want)
		}
	}
	if _, err := g.Mount("/a/", answer("twice")); err == nil {
		t.Error("a pattern was mounted twice")
	}
	if _, err := g.Mount("GET /a/", answer("")); err == nil {
		t.Error("a pattern with a method was mounted")
	}
}

func TestUnmountWaitsForRequestsUnderWay(t *testing.T) {
	t.Parallel()
	g := newGateway()
	entered, leave := make(chan struct{}), make(chan struct{})
	unmount, err := g.Mount("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	}))
	if err != nil {
		t.Fatal(err)
	}
	request := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w
	}
	go request()
	<-entered
	done := make(chan struct{})
	go func() { unmount(); close(done) }()
	for len((*g.routes.Load())[""]) > 0 {
		select {
		case <-done:
			t.Fatal("unmount did not wait")
		default:
		}
	}
	if w := request(); w.Code != http.StatusNotFound {
		t.Errorf("a request after unmount got %d", w.Code)
	}
	select {
	case <-done:
		t.Fatal("unmount did not wait")
	default:
	}
	close(leave)
	<-done
}

func TestRequestsWaitForATriggerThatIsBeingReplaced(t *testing.T) {
	t.Parallel()
	g := newGateway()
	unmount, err := g.Mount("/", answer("old"))
	if err != nil {
		t.Fatal(err)
	}
	end := g.change()
	unmount()
	got := make(chan string)
	go func() {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
		got <- w.Body.String()
	}()
	select {
	case text := <-got:
		t.Fatalf("answered %q while nothing was mounted", text)
	default:
	}
	if _, err := g.Mount("/", answer("new")); err != nil {
		t.Fatal(err)
	}
	end()
	if text := <-got; text != "new /x" {
		t.Errorf("got %q", text)
	}
}
