package sources_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/sources"
)

func TestAPatternIsAPathOrAHostAndAPath(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"/hooks/": true, "/a/b": true, "api.example.test/": true, "/": true,
		"": false, "hooks": false, "POST /x": false, "http://x/y": false, "/{id}": false, "/x?y": false, "/x#y": false,
	} {
		if got := sources.IsPattern(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestAPostIsReadWithinItsLimit(t *testing.T) {
	t.Parallel()
	manual := clock.NewManual(time.Unix(1e9, 0))
	for _, c := range []struct {
		method, body string
		status       int // 0 if it is read
	}{
		{http.MethodPost, "12345", 0},
		{http.MethodPost, "", 0},
		{http.MethodPost, "123456", http.StatusRequestEntityTooLarge},
		{http.MethodGet, "", http.StatusMethodNotAllowed},
	} {
		w := httptest.NewRecorder()
		body, ok := sources.ReadPost(w, httptest.NewRequestWithContext(t.Context(), c.method, "/", strings.NewReader(c.body)), manual, 5)
		if ok != (c.status == 0) || ok && string(body) != c.body || !ok && w.Code != c.status {
			t.Errorf("%+v: %q, %v, %d", c, body, ok, w.Code)
		}
	}
	if n := manual.Timers(); n != 0 {
		t.Errorf("%d timers are left", n)
	}
}
