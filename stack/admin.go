package stack

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// adminPath is where the stack's own interface lives. No bucket can have that name.
const adminPath = "/_millrace/"

// admin serves what a test does to the stack.
//
//	GET    /_millrace/health        the services
//	GET    /_millrace/clock         the time
//	POST   /_millrace/clock         {"advance": "1h30m"} or {"to": "2026-01-02T03:04:05Z"}
//	GET    /_millrace/faults        the faults in force
//	POST   /_millrace/faults        a Fault; answers it with its id
//	DELETE /_millrace/faults        ends all faults
//	DELETE /_millrace/faults/{id}   ends one
//	POST   /_millrace/shards        {"rotate": "arn:aws:dynamodb:…/stream/…"}: closes the open shards of a table's stream
//	POST   /_millrace/reset         forgets everything but the time
func (s *Stack) admin() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := f(r)
			var status *statusError
			switch {
			case errors.As(err, &status):
				answer(w, status.status, map[string]string{"error": err.Error()})
			case err != nil:
				answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			default:
				answer(w, http.StatusOK, out)
			}
		})
	}
	handle("GET "+adminPath+"health", func(*http.Request) (any, error) {
		services := []string{}
		for _, x := range s.services {
			services = append(services, x.Name)
		}
		return map[string]any{"services": services, "durable": s.store.Durable(), "time": s.Now()}, nil
	})
	handle("GET "+adminPath+"clock", func(*http.Request) (any, error) {
		return map[string]any{"time": s.Now()}, nil
	})
	handle("POST "+adminPath+"clock", func(r *http.Request) (any, error) {
		var in struct {
			Advance *Duration  `json:"advance"`
			To      *time.Time `json:"to"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		if (in.Advance == nil) == (in.To == nil) {
			return nil, errors.New(`say either {"advance": "1h30m"} or {"to": "2026-01-02T03:04:05Z"}`)
		}
		var d time.Duration
		if in.Advance != nil {
			d = time.Duration(*in.Advance)
		} else {
			d = in.To.Sub(s.Now())
		}
		if d < 0 {
			return nil, fmt.Errorf("the clock cannot go back: it is %s", s.Now().Format(time.RFC3339))
		}
		if d > latest.Sub(s.Now()) {
			return nil, fmt.Errorf("the clock goes to %s at most: it is %s", latest.Format(time.RFC3339), s.Now().Format(time.RFC3339))
		}
		s.Advance(d)
		return map[string]any{"time": s.Now()}, nil
	})
	handle("GET "+adminPath+"faults", func(*http.Request) (any, error) {
		return map[string]any{"faults": s.faults.all()}, nil
	})
	handle("POST "+adminPath+"faults", func(r *http.Request) (any, error) {
		var x Fault
		if err := read(r, &x); err != nil {
			return nil, err
		}
		return s.faults.add(x)
	})
	handle("DELETE "+adminPath+"faults", func(*http.Request) (any, error) {
		s.faults.remove(0)
		return map[string]any{"faults": s.faults.all()}, nil
	})
	handle("DELETE "+adminPath+"faults/{id}", func(r *http.Request) (any, error) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || id <= 0 || !s.faults.remove(id) {
			return nil, &statusError{http.StatusNotFound, fmt.Sprintf("there is no fault %s", r.PathValue("id"))}
		}
		return map[string]any{"faults": s.faults.all()}, nil
	})
	handle("POST "+adminPath+"shards", func(r *http.Request) (any, error) {
		var in struct {
			Rotate string `json:"rotate"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		if err := s.RotateShards(in.Rotate); err != nil {
			return nil, err
		}
		return map[string]any{}, nil
	})
	handle("POST "+adminPath+"reset", func(*http.Request) (any, error) {
		s.Reset()
		return map[string]any{}, nil
	})
	return mux
}

type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func read(r *http.Request, into any) error {
	err := json.UnmarshalRead(http.MaxBytesReader(nil, r.Body, 1<<20), into, json.RejectUnknownMembers(true))
	if err != nil {
		return fmt.Errorf("reading the request: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.MarshalWrite(w, v, json.Deterministic(true)) //nolint:errcheck // the client has gone
}
