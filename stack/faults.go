package stack

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/wire"
)

// Fault makes operations go wrong on purpose. A request meets the faults that fit it in the order of their making;
// the first that answers it ends that.
type Fault struct {
	ID int `json:"id"`

	// Service and Operation say which requests it concerns, by the names of AWS's API: "sqs", "ReceiveMessage". Empty
	// is any.
	Service   string `json:"service,omitzero"`
	Operation string `json:"operation,omitzero"`

	// Kind is one of:
	//
	//	throttle   the error with which the service throttles
	//	error      Code, Message and Status; by default 500 InternalFailure
	//	delay      the request waits for Delay by the stack's clock, then goes on
	//	reset      the connection is reset
	//	duplicate  what the operation delivers is delivered twice
	Kind string `json:"kind"`

	Code    string   `json:"code,omitzero"`
	Message string   `json:"message,omitzero"`
	Status  int      `json:"status,omitzero"`
	Delay   Duration `json:"delay,omitzero"`

	// After carries the operation out before it goes wrong, as if the answer were lost: for throttle, error and reset.
	After bool `json:"after,omitzero"`
	// Every makes only each n-th request that fits go wrong; 0 and 1 are all of them.
	Every int `json:"every,omitzero"`
	// Times ends the fault after so many requests that went wrong; 0 is never.
	Times int `json:"times,omitzero"`

	// Hits is how many requests went wrong so far.
	Hits int `json:"hits"`
}

// Duration is a time.Duration that reads and writes itself as "1m30s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// faults are those in force.
type faults struct {
	clock clock.Clock
	known map[string]map[string]bool // service -> operation -> whether it can deliver twice

	mu   sync.Mutex
	list []*fault
	last int
}

type fault struct {
	Fault
	seen int // requests that fit
}

func newFaults(c clock.Clock, services []wire.Service) *faults {
	f := &faults{clock: c, known: map[string]map[string]bool{}}
	for _, s := range services {
		if f.known[s.Name] == nil {
			f.known[s.Name] = map[string]bool{}
		}
		for _, o := range s.Operations {
			f.known[s.Name][o.Name] = o.Duplicates
		}
	}
	return f
}

// check says what is wrong with a fault.
func (f *faults) check(x Fault) error {
	operations, ok := f.known[x.Service]
	if x.Service != "" && !ok {
		return fmt.Errorf("there is no service %q", x.Service)
	}
	var twice bool
	if x.Operation != "" {
		var found bool
		for name, ops := range f.known {
			if t, ok := ops[x.Operation]; ok && (x.Service == "" || x.Service == name) {
				found, twice = true, twice || t
			}
		}
		if !found {
			return fmt.Errorf("the stack has no operation %q of %s", x.Operation, cmp.Or(x.Service, "any service"))
		}
	} else {
		for _, t := range operations {
			twice = twice || t
		}
		twice = twice || x.Service == ""
	}
	switch x.Kind {
	case "throttle", "reset":
	case "error":
		if x.Status != 0 && (x.Status < 400 || x.Status > 599) {
			return fmt.Errorf("the status %d is no error's; 400 to 599 are", x.Status)
		}
	case "delay":
		if x.Delay <= 0 {
			return fmt.Errorf("a delay needs how long, such as \"delay\": \"200ms\"")
		}
	case "duplicate":
		if !twice {
			return fmt.Errorf("%s has nothing that it could deliver twice", cmp.Or(x.Operation, x.Service))
		}
	default:
		return fmt.Errorf("the kind %q does not exist; throttle, error, delay, reset and duplicate do", x.Kind)
	}
	switch {
	case x.Kind != "error" && (x.Code != "" || x.Message != "" || x.Status != 0):
		return fmt.Errorf("code, message and status belong to the kind error, not to %s", x.Kind)
	case x.Kind != "delay" && x.Delay != 0:
		return fmt.Errorf("delay belongs to the kind delay, not to %s", x.Kind)
	case x.After && (x.Kind == "delay" || x.Kind == "duplicate"):
		return fmt.Errorf("after does not go with %s", x.Kind)
	case x.Every < 0 || x.Times < 0:
		return fmt.Errorf("every and times are not negative")
	}
	return nil
}

func (f *faults) add(x Fault) (Fault, error) {
	if err := f.check(x); err != nil {
		return Fault{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	x.ID, x.Hits = f.last, 0
	f.list = append(f.list, &fault{Fault: x})
	return x, nil
}

// remove ends a fault, all of them if id is 0, and reports whether there was one.
func (f *faults) remove(id int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.list)
	f.list = slices.DeleteFunc(f.list, func(x *fault) bool { return id == 0 || x.ID == id })
	return len(f.list) < n
}

func (f *faults) all() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Fault{}
	for _, x := range f.list {
		list = append(list, x.Fault)
	}
	return list
}

// meet returns copies of the faults that a request meets, and counts them.
func (f *faults) meet(r *wire.Request) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		return nil
	}
	var met []Fault
	for _, x := range f.list {
		if x.Service != "" && x.Service != r.Service || x.Operation != "" && x.Operation != r.Operation {
			continue
		}
		if x.Kind == "duplicate" && !f.known[r.Service][r.Operation] {
			continue
		}
		if x.seen++; x.Every > 1 && x.seen%x.Every != 0 {
			continue
		}
		x.Hits++
		met = append(met, x.Fault)
		if x.Kind != "delay" && x.Kind != "duplicate" {
			break
		}
	}
	f.list = slices.DeleteFunc(f.list, func(x *fault) bool { return x.Times > 0 && x.Hits >= x.Times })
	return met
}

// before is wire.Before.
func (f *faults) before(ctx context.Context, r *wire.Request, throttled wire.Error) (after func() error, err error) {
	for _, x := range f.meet(r) {
		var answer error
		switch x.Kind {
		case "delay":
			if err := clock.Sleep(ctx, f.clock, time.Duration(x.Delay)); err != nil {
				return nil, err
			}
			continue
		case "duplicate":
			r.Duplicate = true
			continue
		case "throttle":
			answer = &throttled
		case "error":
			answer = &wire.Error{Code: cmp.Or(x.Code, "InternalFailure"), Message: cmp.Or(x.Message, "A fault that a test has ordered."),
				Status: cmp.Or(x.Status, http.StatusInternalServerError)}
		default:
			answer = wire.ErrReset
		}
		if x.After {
			return func() error { return answer }, nil
		}
		return nil, answer
	}
	return nil, nil
}
