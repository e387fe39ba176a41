// Package admin serves what an operator of a hub needs: the ledger of events, health, metrics, a page that
// shows what runs, and the client that the command line uses to reach all of it.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// Options are what the API stands on. Its functions may be called concurrently.
type Options struct {
	Ledger  async.Ledger
	Health  func() []Part                   // the parts of the hub, in a fixed order
	Status  func() Status                   // what runs now
	Reload  func(ctx context.Context) error // reads the file again; nil once the difference is applied
	Metrics http.Handler                    // in Prometheus's format

	// Token, unless empty, is asked of every request but those of /healthz and /readyz, as a bearer token
	// or as the password of basic authentication. Without one, only requests to localhost or to an IP address
	// are answered, so that no web page can reach the hub through a name of its own.
	Token plugin.Secret

	Clock clock.Clock
	Log   *slog.Logger
}

// Part is one part of the hub as probes see it.
type Part struct {
	Name  string `json:"name"`  // such as "store" or "trigger orders"
	State string `json:"state"` // one or two words, such as "running" or "restarting"; why is in the log
	Ready bool   `json:"ready"` // the hub is ready when all its parts are
}

// Status is what runs.
type Status struct {
	Version   string     `json:"version"`
	File      string     `json:"file"`      // path of the configuration
	Started   time.Time  `json:"started"`   //
	Loaded    time.Time  `json:"loaded"`    // when the configuration that runs was read
	LoadError string     `json:"loadError"` // why the newest configuration does not run; "" if it does
	Gateway   string     `json:"gateway"`   // URL; "" is off
	AWS       string     `json:"aws"`       // URL; "" is off
	Triggers  []Trigger  `json:"triggers"`
	Functions []Function `json:"functions"`
}

// Trigger is the state of one trigger.
type Trigger struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Function string `json:"function"`          // name
	State    string `json:"state"`             // such as "running", "restarting" or "stopped"
	Error    string `json:"error,omitempty"`   // what made it stop last, if it is not running
	Example  string `json:"example,omitempty"` // a command to copy that makes it take an event
}

// Function is the state of one function.
type Function struct {
	Name     string `json:"name"`
	Runtime  string `json:"runtime"`
	ARN      string `json:"arn"`
	Reserved *int   `json:"reserved,omitempty"` // reserved concurrency
	Example  string `json:"example,omitempty"`  // a command to copy that invokes it
}

// Event is an entry of the ledger with its documents.
type Event struct {
	async.Entry
	Payload  json.RawMessage `json:"payload,omitempty"`
	Response json.RawMessage `json:"response,omitempty"` // a JSON string if the function did not answer JSON
}

// selection is the body of a bulk operation on dead letters.
type selection struct {
	All      bool      `json:"all,omitempty"` // must be said if nothing else is
	ID       string    `json:"id,omitempty"`
	Function string    `json:"function,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Limit    int       `json:"limit,omitempty"`
}

// The bodies of answers.
type (
	queueAnswer struct {
		Functions []async.Stat `json:"functions"`
	}
	eventsAnswer struct {
		Events []async.Entry `json:"events"`
		Next   string        `json:"next,omitempty"` // the value of after that continues the list
	}
	countAnswer struct {
		Events int `json:"events"`
	}
	healthAnswer struct {
		Ready bool   `json:"ready"`
		Parts []Part `json:"parts"`
	}
	triggersAnswer struct {
		Triggers []Trigger `json:"triggers"`
	}
	functionsAnswer struct {
		Functions []Function `json:"functions"`
	}
)

// Error is a request that the hub did not do.
type Error struct {
	Status  int    `json:"-"` // of the HTTP response
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"` // what to do about it
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

const (
	maxListed   = 1000 // entries of one page
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
)

type server struct {
	Options
	page *template.Template
}

// New makes the handler of the whole API.
func New(o Options) http.Handler {
	s := &server{Options: o, page: parsePage()}
	mux := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, f) })
	}
	post := func(path string, f func(*http.Request) (any, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				s.fail(w, r, &Error{Status: http.StatusUnsupportedMediaType, Message: "the body must be declared as JSON", Hint: "Send Content-Type: application/json."})
				return
			}
			conn := http.NewResponseController(w)
			late := s.Clock.AfterFunc(bodyTimeout, func() { conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a connection without deadlines has no slow client
			defer late.Stop()
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			s.answer(w, r, f)
		})
	}
	get("/v1/queue", s.queue)
	get("/v1/events", s.events)
	get("/v1/events/{id}", s.event)
	get("/v1/why/{id}", s.why)
	get("/v1/status", func(*http.Request) (any, error) { return s.Status(), nil })
	get("/v1/triggers", func(*http.Request) (any, error) { return triggersAnswer{s.Status().Triggers}, nil })
	get("/v1/functions", func(*http.Request) (any, error) { return functionsAnswer{s.Status().Functions}, nil })
	post("/v1/dlq/redrive", s.bulk(o.Ledger.Redrive))
	post("/v1/dlq/purge", s.bulk(o.Ledger.Purge))
	post("/v1/reload", s.reload)
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /style.css", serveStyle)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &Error{Status: http.StatusNotFound, Message: "nothing is served at " + r.Method + " " + clip(r.URL.Path), Hint: "GET / links to what is; POST takes /v1/dlq/redrive, /v1/dlq/purge and /v1/reload."})
	})

	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &Error{Status: http.StatusForbidden, Message: "requests of another web page are refused"})
	}))
	guarded := s.guard(crossOrigin.Handler(mux))

	// Probes send no token and use whatever name they have for the hub.
	all := http.NewServeMux()
	all.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	all.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		a := s.health()
		status := http.StatusOK
		if !a.Ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, a)
	})
	all.Handle("/", guarded)
	return all
}

// guard lets through who may use the API.
func (s *server) guard(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.Token == "" && !ownHost(r.Host):
			s.fail(w, r, &Error{Status: http.StatusMisdirectedRequest, Message: "this hub is not called " + clip(r.Host),
				Hint: "Without a token only requests to localhost or to an IP address are answered. Set security.token to use a name."})
		case s.Token != "" && !carries(r, want):
			w.Header().Add("WWW-Authenticate", `Bearer realm="millrace"`)
			w.Header().Add("WWW-Authenticate", `Basic realm="millrace", charset="UTF-8"`)
			s.fail(w, r, &Error{Status: http.StatusUnauthorized, Message: "this hub asks for a token",
				Hint: "Give --token or set MILLRACE_TOKEN; it is security.token in the hub's file."})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ownHost says that a Host header holds no name that somebody else could have pointed at this machine.
func ownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func carries(r *http.Request, want [sha256.Size]byte) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, token, ok = r.BasicAuth()
	}
	have := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(have[:], want[:]) == 1 && ok
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, async.ErrNotFound):
		e = &Error{Status: http.StatusNotFound, Message: err.Error(), Hint: "Its retention may be over; see store in the hub's file."}
	case errors.Is(err, async.ErrFull):
		e = &Error{Status: http.StatusServiceUnavailable, Message: err.Error(), Hint: "Free disk space or raise the store's size limit."}
	case r.Context().Err() != nil:
		return // nobody is there to read
	default:
		e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
		s.Log.ErrorContext(context.WithoutCancel(r.Context()), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeJSON(w, e.Status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) //nolint:errcheck // the caller has gone
}

func (s *server) health() healthAnswer {
	a := healthAnswer{Ready: true, Parts: s.Health()}
	for _, p := range a.Parts {
		a.Ready = a.Ready && p.Ready
	}
	return a
}

func (s *server) queue(r *http.Request) (any, error) {
	stats, err := s.Ledger.Stats(r.Context())
	if err != nil {
		return nil, fmt.Errorf("counting events: %w", err)
	}
	if stats == nil {
		stats = []async.Stat{}
	}
	return queueAnswer{stats}, nil
}

func (s *server) events(r *http.Request) (any, error) {
	q, err := query(r)
	if err != nil {
		return nil, err
	}
	entries, next, err := s.Ledger.List(r.Context(), q)
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	if entries == nil {
		entries = []async.Entry{}
	}
	return eventsAnswer{entries, next}, nil
}

// query reads the parameters of a list.
func query(r *http.Request) (async.Query, error) {
	bad := func(name, value, want string) error {
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%s: %q is not %s", name, clip(value), want)}
	}
	var q async.Query
	for name, values := range r.URL.Query() {
		value := values[len(values)-1]
		var err error
		switch name {
		case "state":
			for _, v := range values {
				switch state := async.State(v); state {
				case async.Queued, async.Running, async.Succeeded, async.Failed, async.Discarded:
					q.States = append(q.States, state)
				default:
					return q, bad(name, v, "queued, running, succeeded, failed or discarded")
				}
			}
		case "function":
			q.Function = value
		case "id":
			q.ID = value
		case "after":
			q.After = value
		case "since":
			q.Since, err = time.Parse(time.RFC3339, value)
		case "until":
			q.Until, err = time.Parse(time.RFC3339, value)
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err != nil || q.Limit < 1 || q.Limit > maxListed {
				return q, bad(name, value, "a number from 1 to 1000")
			}
		default:
			return q, &Error{Status: http.StatusBadRequest, Message: "there is no parameter " + strconv.Quote(clip(name)),
				Hint: "There are state, function, id, since, until, limit and after."}
		}
		if err != nil {
			return q, bad(name, value, "a time such as 2006-01-02T15:04:05Z")
		}
	}
	return q, nil
}

func (s *server) event(r *http.Request) (any, error) {
	e, err := s.Ledger.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", clip(r.PathValue("id")), err)
	}
	return eventOf(e), nil
}

func eventOf(e async.Entry) Event {
	return Event{Entry: e, Payload: document(e.Payload), Response: document(e.Response)}
}

// document embeds bytes in JSON: as they are if they are JSON, else as a string.
func document(b []byte) json.RawMessage {
	if len(b) == 0 || json.Valid(b) {
		return b
	}
	text, err := json.Marshal(string(b))
	if err != nil {
		return nil
	}
	return text
}

func (s *server) why(r *http.Request) (any, error) {
	e, err := s.Ledger.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", clip(r.PathValue("id")), err)
	}
	return tell(e), nil
}

// bulk does what it is given to the dead letters that the body selects.
func (s *server) bulk(do func(context.Context, async.Query) (int, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var body selection
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
			return nil, &Error{Status: http.StatusBadRequest, Message: "the body can not be read: " + err.Error(),
				Hint: `Send JSON such as {"function":"orders"}; there are all, id, function, since, until and limit.`}
		}
		switch selects := body.ID != "" || body.Function != "" || !body.Since.IsZero() || !body.Until.IsZero(); {
		case body.Limit < 0:
			return nil, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("limit: %d is not a number of events", body.Limit)}
		case !selects && !body.All:
			return nil, &Error{Status: http.StatusBadRequest, Message: "nothing is selected",
				Hint: `Say which by id, function, since or until; {"all":true} means every dead letter.`}
		case selects && body.All:
			return nil, &Error{Status: http.StatusBadRequest, Message: "all does not go with id, function, since or until"}
		}
		n, err := do(r.Context(), async.Query{
			States: []async.State{async.Failed}, ID: body.ID, Function: body.Function, Since: body.Since, Until: body.Until, Limit: body.Limit,
		})
		if err != nil {
			return nil, fmt.Errorf("changing dead letters (%d are done): %w", n, err)
		}
		return countAnswer{n}, nil
	}
}

func (s *server) reload(r *http.Request) (any, error) {
	if err := s.Reload(r.Context()); err != nil {
		return nil, &Error{Status: http.StatusUnprocessableEntity, Message: err.Error(), Hint: "What ran before runs on. Check the file with: millrace check"}
	}
	return struct{}{}, nil
}

// clip keeps what a client sent short in a message.
func clip(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
