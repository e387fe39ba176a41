// Package executor defines what it is to run a function once. It imports the standard library only: every
// family that runs functions shares these words, and the kinds below this folder implement them.
package executor

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Limits of AWS Lambda that hold for every kind of function
// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	MaxPayload      = 6 << 20          // bytes of a synchronous request
	MaxAsyncPayload = 1 << 20          // bytes of an Event request
	MaxResponse     = 6<<20 + 100      // bytes of a buffered response: 6,291,556
	MaxStream       = 200 << 20        // bytes of a streamed response
	LogTail         = 4 << 10          // bytes of log that Response.Log may hold
	MaxTimeout      = 15 * time.Minute // longest a function may run
)

// Function runs user code on one payload. All methods may be called concurrently.
type Function interface {
	// Invoke runs the function once and waits for it. Code that ran and failed (an exception, a timeout, a
	// crash, an answer over the limit) is an answer: a nil error and a Response with Failure set. A non-nil
	// error is an *Error and means that there is no answer; its Kind says what to do next. When ctx is done
	// Invoke abandons the run and returns an Error of kind Canceled. The function's own timeout is kept by
	// the Function, not by ctx.
	Invoke(ctx context.Context, req Request) (Response, error)

	// Close lets running invocations end until ctx is done, then stops them with an Error of kind Canceled, and
	// frees everything that the function held. Invoke after Close is an Error of kind Closed. Close may be
	// called twice.
	Close(ctx context.Context) error
}

// Request is one invocation.
type Request struct {
	ID            string // UUID; stays the same when the hub tries again
	Attempt       int    // 1 for the first try
	ARN           string // as invoked: it carries a qualifier only if the caller gave one
	Payload       []byte // one JSON document; neither written nor kept after Invoke returns
	TraceID       string // X-Amzn-Trace-Id, e.g. "Root=1-…;Parent=…;Sampled=1"; may be empty
	TraceParent   string // W3C traceparent; may be empty
	ClientContext string // JSON text; may be empty
	TenantID      string // may be empty
	LogTail       bool   // fill in Response.Log

	// Stream, if set, may be called once, when the function starts to answer in pieces; contentType is what
	// the function declared, or "". The function's bytes are then written to what it returns and
	// Response.Streamed is set. A failed write means that the client has gone: the function still runs to
	// its end. If Stream is nil the pieces are gathered into Response.Payload.
	Stream func(contentType string) io.Writer
}

// Response is what the function answered.
type Response struct {
	Payload  []byte   // exactly the bytes of the function, or the error document when Failure is set
	Failure  *Failure // non-nil: the code reported an error or did not survive
	Streamed bool     // the answer went to Request.Stream, and Payload is empty
	Version  string   // version that ran, "$LATEST" where there are none
	Log      []byte   // last bytes of this invocation's log, if asked for

	Duration  time.Duration // time in the function, without Init
	Init      time.Duration // time of the cold start that this invocation waited for, 0 if it was warm
	MaxMemory int64         // peak resident bytes of the environment, 0 if not known
}

// Failure is an error that the user's code raised or died of.
type Failure struct {
	Type    string // e.g. "ValueError", "Runtime.ExitError", "Sandbox.Timedout"
	Message string

	// Permanent says that the same payload will fail again, so an asynchronous event is not retried.
	Permanent bool
}

// Kind says why there is no answer, and so what to do next.
type Kind uint8

// The zero Kind is Internal, so that an unclassified error is loud.
const (
	Internal  Kind = iota // a fault of the hub or its machine: try again, without counting the try
	Unready               // not running yet, connection refused, 5xx of the platform: try again, uncounted
	Throttled             // over its concurrency or rate: try again later, uncounted
	TooLarge              // payload over the limit: never again
	Refused               // the function can not take this request at all: never again
	Canceled              // the caller gave up or the hub is stopping: not a try
	Closed                // the function has been closed; a successor may take the request
)

func (k Kind) String() string {
	return [...]string{"internal", "unready", "throttled", "too large", "refused", "canceled", "closed"}[k]
}

// Reasons of a Throttled error: the values of Lambda's TooManyRequestsException.
const (
	ReasonConcurrency = "ConcurrentInvocationLimitExceeded"
	ReasonReserved    = "ReservedFunctionConcurrentInvocationLimitExceeded"
	ReasonRate        = "CallerRateLimitExceeded"
)

// Error is an invocation with no answer.
type Error struct {
	Kind       Kind
	Function   string        // name
	Reason     string        // when Throttled: one of the Reason constants
	RetryAfter time.Duration // when Throttled or Unready: earliest next try; 0 is not known
	Err        error
}

func (e *Error) Error() string {
	return fmt.Sprintf("invoking %s: %s: %v", e.Function, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
