package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/api/admin"
	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ledger is a Ledger of a few entries that remembers what it was asked.
type ledger struct {
	entries []async.Entry
	query   async.Query
	called  string
	err     error
}

func (l *ledger) List(_ context.Context, q async.Query) ([]async.Entry, string, error) {
	l.query = q
	var out []async.Entry
	for _, e := range l.entries {
		if len(q.States) == 0 || slices.Contains(q.States, e.State) {
			e.Payload, e.Response = nil, nil
			out = append(out, e)
		}
	}
	next := ""
	if q.Limit == 1 {
		next = "cursor&=1"
	}
	return out, next, l.err
}

func (l *ledger) Get(_ context.Context, id string) (async.Entry, error) {
	if l.err != nil {
		return async.Entry{}, l.err
	}
	for _, e := range l.entries {
		if e.ID == id {
			return e, nil
		}
	}
	return async.Entry{}, async.ErrNotFound
}

func (l *ledger) Redrive(_ context.Context, q async.Query) (int, error) {
	l.query, l.called = q, "redrive"
	return 3, l.err
}

func (l *ledger) Purge(_ context.Context, q async.Query) (int, error) {
	l.query, l.called = q, "purge"
	return 4, l.err
}

func (l *ledger) Stats(context.Context) ([]async.Stat, error) {
	return []async.Stat{{Function: "orders", Accepted: 5, Succeeded: 3, Failed: 1, Queued: 1, Oldest: now}}, l.err
}

func entries() []async.Entry {
	return []async.Entry{{
		Event: async.Event{ID: "id-1", Function: "orders", ARN: "arn:orders", Trigger: "uploads", Accepted: now.Add(-time.Hour), Payload: []byte(`{"a":"<&>"}`)},
		State: async.Failed, Condition: async.RetriesExhausted, Invokes: 2, Finished: now.Add(-time.Minute), Size: 11, HasPayload: true,
		Response: []byte("no JSON"),
		Attempts: []async.Attempt{
			{Number: 1, Started: now.Add(-time.Hour), Duration: 12 * time.Millisecond, Result: "error", Type: "ValueError", Message: "no <b>"},
			{Number: 2, Started: now.Add(-time.Minute), Duration: time.Second, Result: "error", Type: "ValueError", Message: "no <b>"},
		},
		Deliveries: []async.Delivery{{Destination: "failures", State: async.DeliveryDone, Tries: 1, Last: now}},
	}, {
		Event: async.Event{ID: "id-2", Function: "orders", Accepted: now, Payload: []byte("1")},
		State: async.Queued, Size: 1, HasPayload: true,
	}}
}

func status() admin.Status {
	one := 1
	return admin.Status{
		Version: "v1", File: "hub.yaml", Started: now.Add(-time.Hour), Loaded: now.Add(-time.Minute), Gateway: "http://127.0.0.1:8080",
		Triggers: []admin.Trigger{
			{Name: "uploads", Kind: "s3", Function: "orders", State: "running", Example: "curl -d '{}' http://127.0.0.1:8080/uploads"},
			{Name: "ticks", Kind: "schedule", Function: "orders", State: "restarting", Error: "<script>alert(1)</script>"},
		},
		Functions: []admin.Function{{Name: "orders", Runtime: "python3", ARN: "arn:orders", Reserved: &one, Example: "millrace invoke orders"}},
	}
}

type setup struct {
	ledger  *ledger
	token   plugin.Secret
	parts   []admin.Part
	reload  error
	reloads int
}

func newSetup() *setup {
	return &setup{ledger: &ledger{entries: entries()}, parts: []admin.Part{{Name: "store", State: "open", Ready: true}, {Name: "trigger ticks", State: "restarting", Ready: true}}}
}

func (s *setup) handler() http.Handler {
	return admin.New(admin.Options{
		Ledger: s.ledger, Health: func() []admin.Part { return s.parts }, Status: status,
		Reload:  func(context.Context) error { s.reloads++; return s.reload },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "millrace_up 1\n") }),
		Token:   s.token, Clock: clock.NewManual(now), Log: slog.New(slog.DiscardHandler),
	})
}

// do sends one request; header lines are "Name: value".
func do(t testing.TB, h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:9000"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const asJSON = "Content-Type: application/json"

func connect(t testing.TB, s *setup) *admin.Client {
	t.Helper()
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	c, err := admin.NewClient(server.URL, s.token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientReadsTheLedger(t *testing.T) {
	t.Parallel()
	s := newSetup()
	s.token = "the token"
	c := connect(t, s)
	stats, err := c.Queue(t.Context())
	want, _ := s.ledger.Stats(t.Context())
	if err != nil || !reflect.DeepEqual(stats, want) {
		t.Errorf("Queue = %+v, %v", stats, err)
	}

	q := async.Query{States: []async.State{async.Failed, async.Queued}, Function: "a&b", ID: "x", Since: now, Until: now.Add(time.Nanosecond), Limit: 1, After: "c="}
	got, next, err := c.Events(t.Context(), q)
	if err != nil || next != "cursor&=1" || len(got) != 2 {
		t.Errorf("Events = %+v, %q, %v", got, next, err)
	}
	if diff := cmp.Diff(q, s.ledger.query); diff != "" {
		t.Errorf("the ledger was asked for something else: %s", diff)
	}
	one := entries()[0]
	one.Payload, one.Response = nil, nil
	if diff := cmp.Diff(one, got[0]); diff != "" {
		t.Errorf("the entry came over changed: %s", diff)
	}

	e, err := c.Event(t.Context(), "id-1")
	if err != nil || string(e.Payload) != `{"a":"<&>"}` || string(e.Response) != `"no JSON"` || e.Trigger != "uploads" {
		t.Errorf("Event = %+v %s %s, %v", e, e.Payload, e.Response, err)
	}
	story, err := c.Why(t.Context(), "id-1")
	if err != nil || !strings.HasPrefix(story.Summary, "The event was given up") || len(story.Steps) != 5 || story.Event.ID != "id-1" {
		t.Errorf("Why = %+v, %v", story, err)
	}
	st, err := c.Status(t.Context())
	if diff := cmp.Diff(status(), st); err != nil || diff != "" {
		t.Errorf("Status: %v %s", err, diff)
	}
}

func TestClientChangesDeadLetters(t *testing.T) {
	t.Parallel()
	s := newSetup()
	c := connect(t, s)
	q := async.Query{ID: "id-1", Function: "orders", Since: now, Until: now.Add(time.Hour), Limit: 7}
	n, err := c.Redrive(t.Context(), q)
	q.States = []async.State{async.Failed}
	if diff := cmp.Diff(q, s.ledger.query); err != nil || n != 3 || s.ledger.called != "redrive" || diff != "" {
		t.Errorf("Redrive = %d, %v (%s) %s", n, err, s.ledger.called, diff)
	}
	if n, err = c.Purge(t.Context(), async.Query{}); err != nil || n != 4 || s.ledger.called != "purge" || !cmp.Equal(s.ledger.query, async.Query{States: q.States}) {
		t.Errorf("Purge = %d, %v: %+v", n, err, s.ledger.query)
	}
	if err := c.Reload(t.Context()); err != nil || s.reloads != 1 {
		t.Errorf("Reload = %v after %d", err, s.reloads)
	}
	s.reload = errors.New("hub.yaml:3:1: unknown field")
	if err := c.Reload(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "hub.yaml:3:1: unknown field\nWhat ran before runs on.") {
		t.Errorf("Reload = %v", err)
	}
}

func TestClientTellsWhatIsWrongWithTheWay(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "ftp://x", "http://", "::"} {
		if _, err := admin.NewClient(bad, ""); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:9000") {
			t.Errorf("NewClient(%q) = %v", bad, err)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	c, _ := admin.NewClient(strings.TrimPrefix(gone.URL, "http://"), "")
	if _, err := c.Queue(t.Context()); err == nil || err.Error() != "no hub answers at "+gone.URL+": is `millrace serve` running?" {
		t.Errorf("nobody there: %v", err)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"a page":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"another JSON": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); io.WriteString(w, `{"message":"x"}`) },
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		c, _ := admin.NewClient(server.URL+"/", "")
		if _, err := c.Queue(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the admin address of a hub (") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newSetup()
	s.token = "the token"
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	c, _ = admin.NewClient(server.URL, "another")
	var e *admin.Error
	if _, err := c.Queue(t.Context()); !errors.As(err, &e) || e.Status != 401 || !strings.Contains(e.Hint, "MILLRACE_TOKEN") {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestTokenIsAskedForEverywhereButByProbes(t *testing.T) {
	t.Parallel()
	s := newSetup()
	s.token = "the token"
	h := s.handler()
	for _, path := range []string{"/", "/style.css", "/metrics", "/v1/queue", "/v1/events", "/v1/events/id-1", "/v1/why/id-1", "/v1/status", "/v1/triggers", "/v1/functions", "/nothing"} {
		if w := do(t, h, "GET", path, ""); w.Code != 401 || len(w.Header()["Www-Authenticate"]) != 2 {
			t.Errorf("%s without: %d %s", path, w.Code, w.Body)
		}
		want := 200
		if path == "/nothing" {
			want = 404
		}
		// A name is good with a token.
		for _, auth := range []string{"Authorization: Bearer the token", "Authorization: Basic dTp0aGUgdG9rZW4="} {
			if w := do(t, h, "GET", path, "", auth, "Host: hub.example.test"); w.Code != want {
				t.Errorf("%s with: %d %s", path, w.Code, w.Body)
			}
		}
		for _, auth := range []string{"Authorization: Bearer ", "Authorization: the token", "Authorization: Bearer the token ", "Authorization: Basic dTo="} {
			if w := do(t, h, "GET", path, "", auth); w.Code != 401 {
				t.Errorf("%s with %q: %d", path, auth, w.Code)
			}
		}
	}
	for _, path := range []string{"/v1/dlq/redrive", "/v1/dlq/purge", "/v1/reload"} {
		if w := do(t, h, "POST", path, `{"all":true}`, asJSON); w.Code != 401 || s.ledger.called != "" || s.reloads != 0 {
			t.Errorf("%s without: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := do(t, h, "GET", path, "", "Host: pod-1.internal"); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestWithoutATokenNoNameOfSomebodyElseIsAnswered(t *testing.T) {
	t.Parallel()
	h := newSetup().handler()
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9000": 200, "127.0.0.1:9000": 200, "[::1]:9000": 200, "::1": 200, "10.0.0.1": 200,
		"evil.example": 421, "localhost.evil.example:9000": 421, "127.0.0.1.nip.io": 421, "": 421,
	} {
		if w := do(t, h, "GET", "/v1/queue", "", "Host: "+host); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestAnotherPageCanNotChangeAnything(t *testing.T) {
	t.Parallel()
	s := newSetup()
	h := s.handler()
	for name, header := range map[string][]string{
		"a form":                {"Content-Type: text/plain"},
		"no type":               nil,
		"another origin":        {asJSON, "Origin: http://evil.example"},
		"another site":          {asJSON, "Sec-Fetch-Site: cross-site"},
		"another port, as JSON": {asJSON, "Origin: http://127.0.0.1:8080", "Sec-Fetch-Site: same-site"},
	} {
		for _, path := range []string{"/v1/dlq/redrive", "/v1/dlq/purge", "/v1/reload"} {
			if w := do(t, h, "POST", path, `{"all":true}`, header...); w.Code != 403 && w.Code != 415 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %s: %d %s", name, path, w.Code, w.Body)
			}
		}
	}
	if s.ledger.called != "" || s.reloads != 0 {
		t.Error("something was changed")
	}
}

func TestWrongRequestsSayHowToMendThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/events?state=lost", "", 400, `"state: \"lost\" is not queued, running, succeeded, failed or discarded"`},
		{"GET", "/v1/events?limit=1001", "", 400, `"limit: \"1001\" is not a number from 1 to 1000"`},
		{"GET", "/v1/events?limit=x", "", 400, `"limit: \"x\" is not a number`},
		{"GET", "/v1/events?since=yesterday", "", 400, `"since: \"yesterday\" is not a time such as 2006-01-02T15:04:05Z"`},
		{"GET", "/v1/events?status=failed", "", 400, `"there is no parameter \"status\""`},
		{"GET", "/v1/events/none", "", 404, `"reading event none: no such event in the ledger"`},
		{"GET", "/v1/why/none", "", 404, `no such event`},
		{"GET", "/v2", "", 404, `"nothing is served at GET /v2"`},
		{"POST", "/v1/queue", "{}", 404, `"nothing is served at POST /v1/queue"`},
		{"POST", "/v1/dlq/redrive", "", 400, `"nothing is selected"`},
		{"POST", "/v1/dlq/purge", "{}", 400, `"nothing is selected"`},
		{"POST", "/v1/dlq/purge", `{"limit":5}`, 400, `"nothing is selected"`},
		{"POST", "/v1/dlq/purge", `{"all":true,"id":"1"}`, 400, `"all does not go with`},
		{"POST", "/v1/dlq/purge", `{"all":true,"limit":-1}`, 400, `"limit: -1`},
		{"POST", "/v1/dlq/purge", `{"fuction":"orders"}`, 400, `unknown field \"fuction\"`},
		{"POST", "/v1/dlq/purge", `{"id":"` + strings.Repeat("x", 70<<10) + `"}`, 400, `too large`},
		{"POST", "/v1/dlq/purge", `[`, 400, `"the body can not be read`},
	} {
		s := newSetup()
		w := do(t, s.handler(), c.method, c.target, c.body, asJSON)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %.50s: %d %s, want %d %s", c.method, c.target, c.body, w.Code, w.Body, c.status, c.want)
		}
		if s.ledger.called != "" {
			t.Errorf("%s %s %.50s: the ledger was changed", c.method, c.target, c.body)
		}
	}
}

func TestTroubleOfTheLedgerIsTold(t *testing.T) {
	t.Parallel()
	s := newSetup()
	for err, want := range map[error]int{errors.New("disk on fire"): 500, fmt.Errorf("queueing: %w", async.ErrFull): 503} {
		s.ledger.err = err
		for _, path := range []string{"/v1/queue", "/v1/events", "/v1/events/id-1"} {
			if w := do(t, s.handler(), "GET", path, ""); w.Code != want || !strings.Contains(w.Body.String(), err.Error()) {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		if w := do(t, s.handler(), "GET", "/", ""); w.Code != 200 || !strings.Contains(w.Body.String(), err.Error()) {
			t.Errorf("the page: %d %s", w.Code, w.Body)
		}
	}
}

func TestReadinessIsThatOfAllParts(t *testing.T) {
	t.Parallel()
	s := newSetup()
	c := connect(t, s)
	if ready, parts, err := c.Ready(t.Context()); err != nil || !ready || len(parts) != 2 {
		t.Errorf("Ready = %v, %v, %v", ready, parts, err)
	}
	s.parts[1].Ready = false
	if w := do(t, s.handler(), "GET", "/readyz", ""); w.Code != 503 || strings.TrimSpace(w.Body.String()) !=
		`{"ready":false,"parts":[{"name":"store","state":"open","ready":true},{"name":"trigger ticks","state":"restarting","ready":false}]}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if ready, parts, err := c.Ready(t.Context()); err != nil || ready || len(parts) != 2 {
		t.Errorf("Ready = %v, %v, %v", ready, parts, err)
	}
	if w := do(t, s.handler(), "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := do(t, s.handler(), "GET", "/metrics", ""); w.Code != 200 || w.Body.String() != "millrace_up 1\n" {
		t.Errorf("metrics: %d %s", w.Code, w.Body)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	w := do(t, newSetup().handler(), "GET", "/", "")
	if csp := w.Header().Get("Content-Security-Policy"); w.Code != 200 || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("%d, policy %q", w.Code, csp)
	}
	if strings.Contains(w.Body.String(), "<script") {
		t.Error("a text of a trigger became a script")
	}
	golden(t, "page.html", w.Body.Bytes())
	if w := do(t, newSetup().handler(), "GET", "/style.css", ""); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %v", w.Code, w.Header())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (run the test with -update if that is right): %s", name, diff)
	}
}

func TestStories(t *testing.T) {
	t.Parallel()
	base := func(change func(*async.Entry)) async.Entry {
		e := async.Entry{Event: async.Event{ID: "id", Function: "orders", Accepted: now}, State: async.Queued, Size: 1, HasPayload: true}
		change(&e)
		return e
	}
	stories := map[string]async.Entry{
		"1 retries exhausted": entries()[0],
		"2 fresh":             entries()[1],
		"3 waiting": base(func(e *async.Entry) {
			e.Depth, e.Next = 2, now.Add(time.Minute)
			e.Attempts = []async.Attempt{{Number: 2, Started: now, Duration: 5 * time.Millisecond, Result: "throttled", Message: "Rate Exceeded."}, {Number: 2, Started: now, Result: "unready"}}
		}),
		"4 running": base(func(e *async.Entry) { e.State = async.Running }),
		"5 succeeded": base(func(e *async.Entry) {
			e.State, e.Condition, e.Invokes, e.Finished = async.Succeeded, async.Success, 1, now.Add(time.Second)
			e.Attempts = []async.Attempt{{Number: 1, Started: now, Duration: time.Second, Result: "success"}}
			e.Deliveries = []async.Delivery{{Destination: "a", State: async.DeliveryPending}, {Destination: "b", State: async.DeliveryPending, Tries: 2, Last: now, Error: "503"},
				{Destination: "c", State: async.DeliveryGivenUp, Tries: 1, Last: now, Error: "422"}}
		}),
		"6 too old": base(func(e *async.Entry) {
			e.State, e.Condition, e.HasPayload, e.Finished = async.Failed, async.AgeExceeded, false, now
		}),
		"7 zero concurrency": base(func(e *async.Entry) {
			e.State, e.Condition, e.Redacted, e.Finished = async.Failed, async.ZeroConcurrency, true, now
		}),
		"9 refused": base(func(e *async.Entry) {
			e.State, e.Condition, e.Finished = async.Failed, async.RetriesExhausted, now
			e.Attempts = []async.Attempt{{Number: 1, Started: now, Duration: time.Millisecond, Result: "too large", Message: "7000000 bytes are over the limit"}}
		}),
		"8 discarded": base(func(e *async.Entry) { e.State, e.Finished = async.Discarded, now }),
	}
	var b strings.Builder
	names := make([]string, 0, len(stories))
	for name := range stories {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := newSetup()
		s.ledger.entries = []async.Entry{stories[name]}
		story, err := connect(t, s).Why(t.Context(), stories[name].ID)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n  %s\n", name, story.Summary)
		for _, step := range story.Steps {
			at := "        "
			if !step.At.IsZero() {
				at = step.At.Format("15:04:05")
			}
			fmt.Fprintf(&b, "  %s %s\n", at, step.What)
		}
		fmt.Fprintf(&b, "  %s\n", story.Hint)
	}
	golden(t, "stories.txt", []byte(b.String()))
}
