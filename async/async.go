// Package async keeps accepted events until their function has run: the queue, its retries and ages, the
// destinations of outcomes, and the ledger of everything that happened. Storage is a kind below this folder.
package async

import (
	"context"
	"errors"
	"time"
)

// Event is one accepted invocation.
type Event struct {
	ID       string    `json:"id"`                 // request id, a UUID; the same in every attempt
	Function string    `json:"function"`           // name
	ARN      string    `json:"arn"`                // as invoked
	Trigger  string    `json:"trigger,omitempty"`  // name of the trigger that accepted it; "" for the Invoke API
	Accepted time.Time `json:"accepted"`           // UTC
	Payload  []byte    `json:"-"`                  // one JSON document of at most executor.MaxAsyncPayload bytes
	TenantID string    `json:"tenantId,omitempty"` //

	TraceID     string `json:"traceId,omitempty"`     // X-Amzn-Trace-Id
	TraceParent string `json:"traceParent,omitempty"` // W3C traceparent
	Depth       int    `json:"depth,omitempty"`       // destinations that the chain has passed before this event
}

// State is where an event stands.
type State string

// An accepted event is in exactly one of these states, so that
// accepted = succeeded + failed + discarded + queued + running holds at any moment.
const (
	Queued    State = "queued"    // waiting for its first or next attempt
	Running   State = "running"   // an attempt is under way
	Succeeded State = "succeeded" // its function ran without error
	Failed    State = "failed"    // given up: a dead letter, until it is redriven or purged
	Discarded State = "discarded" // dropped on purpose: purged by an operator
)

// Conditions of an outcome, in the words of AWS's invocation record.
const (
	Success          = "Success"
	RetriesExhausted = "RetriesExhausted"
	AgeExceeded      = "EventAgeExceeded"
	ZeroConcurrency  = "ZeroReservedConcurrency"

	// FunctionNotFound is ours: the function left the file while the event waited. AWS drops such events; here a
	// renamed function would be enough to lose them, so they become dead letters, which can be redriven once the
	// function is back.
	FunctionNotFound = "FunctionNotFound"
)

// Entry is what the ledger knows of one event.
type Entry struct {
	Event
	State      State      `json:"state"`
	Condition  string     `json:"condition,omitempty"` // once it is over
	Attempts   []Attempt  `json:"attempts,omitempty"`  // oldest first; at most the newest 100 are kept
	Invokes    int        `json:"invokes"`             // attempts in which the function ran
	Next       time.Time  `json:"next,omitzero"`       // when queued: earliest next attempt
	Finished   time.Time  `json:"finished,omitzero"`   // once it is over
	Size       int        `json:"size"`                // bytes of the payload
	HasPayload bool       `json:"hasPayload"`          // false once retention has dropped it
	Redacted   bool       `json:"redacted,omitempty"`  // something of the payload was replaced, so it can not be redriven
	Response   []byte     `json:"-"`                   // last answer of the function, if kept
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Attempt is one try to run the function.
type Attempt struct {
	Number   int           `json:"number"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Result   string        `json:"result"`   // "success", "error", or an executor.Kind such as "throttled"
	Type     string        `json:"type,omitempty"`
	Message  string        `json:"message,omitempty"` // first 1 KB
}

// Delivery is what became of the record for one destination.
type Delivery struct {
	Destination string    `json:"destination"` // name
	State       string    `json:"state"`       // DeliveryPending, DeliveryDone or DeliveryGivenUp
	Tries       int       `json:"tries"`
	Last        time.Time `json:"last,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// States of a delivery.
const (
	DeliveryPending = "pending"
	DeliveryDone    = "delivered"
	DeliveryGivenUp = "undelivered"
)

// Query selects entries.
type Query struct {
	States   []State   // empty means all
	Function string    // empty means all
	ID       string    // exactly this one
	Since    time.Time // accepted at or after
	Until    time.Time // accepted before
	Limit    int       // at most so many; 0 means 100 for List, and all for Redrive and Purge
	After    string    // cursor that List returned
}

// Ledger is what an operator may see and do. All methods may be called concurrently with the worker.
type Ledger interface {
	// List returns entries without payload and response, newest first, and the cursor of the next page, or "".
	List(ctx context.Context, q Query) ([]Entry, string, error)

	// Get returns one entry with its payload and response, or ErrNotFound.
	Get(ctx context.Context, id string) (Entry, error)

	// Redrive queues failed events again, as new: first attempt, full age, the same ID. It skips those whose
	// payload is gone or redacted and those whose function is gone, and returns how many were queued. The
	// change is durable on return.
	Redrive(ctx context.Context, q Query) (int, error)

	// Purge discards failed events for good, and returns how many. Its entries stay as Discarded.
	Purge(ctx context.Context, q Query) (int, error)

	// Stats counts events by function.
	Stats(ctx context.Context) ([]Stat, error)
}

// Stat is the state of one function's queue.
type Stat struct {
	Function  string    `json:"function"`
	Accepted  uint64    `json:"accepted"` // since the store was made
	Succeeded uint64    `json:"succeeded"`
	Failed    uint64    `json:"failed"`
	Discarded uint64    `json:"discarded"`
	Queued    int       `json:"queued"`
	Running   int       `json:"running"`
	Oldest    time.Time `json:"oldest,omitzero"` // acceptance of the oldest event that is queued or running
}

// Unaccounted is how many accepted events are in no state. It is 0 at any moment, or the hub has lost sight of
// events.
func (s Stat) Unaccounted() int {
	return int(s.Accepted-s.Succeeded-s.Failed-s.Discarded) - s.Queued - s.Running
}

// ErrNotFound says that the ledger has no such event: it never had, or retention has dropped it.
var ErrNotFound = errors.New("no such event in the ledger")

// ErrFull says that the store cannot take the event durably, for want of disk space or by its size limit.
// Nothing was stored; the caller may try again later.
var ErrFull = errors.New("the store is full")
