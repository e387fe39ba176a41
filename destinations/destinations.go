// Package destinations defines where the record of a finished or failed invocation goes.
package destinations

import "context"

// Destination delivers records. All methods may be called concurrently.
type Destination interface {
	// Send delivers rec at least once: it returns nil when the target has it for good. An error that wraps
	// ErrPermanent will happen again with the same record; any other is worth another try. Send does not
	// retry by itself.
	Send(ctx context.Context, rec Record) error

	// Close frees what the destination holds, after calls of Send under way have ended or ctx is done.
	Close(ctx context.Context) error
}

// Record is one outcome.
type Record struct {
	ID       string // of the invocation
	Function string // name
	ARN      string // with qualifier
	Success  bool
	Body     []byte // JSON document, as AWS Lambda writes it; must not be written

	TraceID     string
	TraceParent string
	Depth       int // how many destinations this chain of events has passed, the present one not counted
}

// ErrPermanent marks a failure that another try will not mend.
var ErrPermanent = permanent{}

type permanent struct{}

func (permanent) Error() string { return "will fail again" }
