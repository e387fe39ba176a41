package async

import (
	"context"
	"time"

	"github.com/millrace/millrace/destinations"
)

// Store keeps events durably for one Worker; kinds of store live below this folder. All methods may be
// called concurrently. A method that records something without a context (Retry, Finish, Delivered) may
// return before it is durable, but what was recorded becomes durable in the order of the calls: after a
// crash the store is as it was at some moment not before the last Accept, Redrive, Purge or Flush that
// returned. So a crash repeats work and never loses an event.
type Store interface {
	// Recover reports what is unfinished, oldest first: events, then deliveries. The worker calls it once,
	// before anything else.
	Recover(ctx context.Context, event func(Pending), delivery func(PendingDelivery)) error

	// Counts returns what the store has counted, durably, of each function.
	Counts() map[string]Counts

	// Accept stores ev as queued and returns its place, which grows with each event, once it is durable. An
	// error means that nothing was stored; it wraps ErrFull for want of space. ctx is not looked at once
	// writing has begun, because then nobody could say whether the event is stored.
	Accept(ctx context.Context, ev *Event) (seq uint64, err error)

	// Load reads unfinished events back in the order of seqs: all, or the first few (at least one) if they
	// come to more than max bytes of payload. Those that are no longer there are left out.
	Load(ctx context.Context, seqs []uint64, max int) ([]Stored, error)

	// Retry records how far an unfinished event has come.
	Retry(seq uint64, p *Progress) error

	// Finish ends an event: e is its entry, which goes to the ledger as far as retention permits, and rec the
	// record for those of e.Deliveries that are pending. Everything of one call becomes durable at once, so
	// that no outcome is ever without its deliveries. An event is finished once: another call is an error.
	Finish(seq uint64, e *Entry, rec *destinations.Record) error

	// Record returns the record of an event with pending deliveries.
	Record(ctx context.Context, seq uint64) (*destinations.Record, error)

	// Delivered records the state of the delivery with this index of an event that is over, and drops the
	// record with the last that is pending.
	Delivered(seq uint64, index int, d Delivery) error

	// List and Get are those of Ledger; events that run count as queued.
	List(ctx context.Context, q Query) ([]Entry, string, error)
	Get(ctx context.Context, id string) (Entry, error)

	// Redrive queues failed events again, as new events with new places, and calls queued for some at a time,
	// once these are durable. It leaves those for which may is false, and those whose payload is gone or was
	// redacted.
	Redrive(ctx context.Context, q Query, may func(function string) bool, queued func([]Pending)) error

	// Purge turns failed events into discarded ones without payload, durably, and returns how many by function.
	Purge(ctx context.Context, q Query) (map[string]int, error)

	// Flush returns once everything recorded so far is durable.
	Flush(ctx context.Context) error

	// Close flushes and frees the store. No other method may be called after it.
	Close() error
}

// Pending is an event that waits.
type Pending struct {
	Seq      uint64
	Function string
	Accepted time.Time
	Next     time.Time // earliest next attempt; zero is at once
}

// PendingDelivery is a record that waits for one destination.
type PendingDelivery struct {
	Seq         uint64
	Index       int // in Entry.Deliveries
	Destination string
	Tries       int
	Since       time.Time // when the event ended
}

// Counts are totals of one function since the store was made. Failed falls again when events are redriven
// or purged.
type Counts struct{ Accepted, Succeeded, Failed, Discarded uint64 }

// Stored is an unfinished event and how far it has come.
type Stored struct {
	Seq uint64
	Event
	Progress
}

// Progress is how far an unfinished event has come.
type Progress struct {
	Attempts []Attempt // oldest first; at most the newest MaxAttempts
	Invokes  int       // attempts in which the function ran, since the event was accepted or redriven
	Delays   int       // tries that did not count, since the function last ran
	Next     time.Time // earliest next attempt
	Last     *Response // of the latest attempt in which the function ran
}

// Response is the function's answer, as the invocation record tells it.
type Response struct {
	Payload []byte
	Version string
	Failed  bool
}

// MaxAttempts is how many attempts of one event a store keeps.
const MaxAttempts = 100

// add notes an attempt.
func (p *Progress) add(a Attempt) {
	if n := len(p.Attempts) - MaxAttempts + 1; n > 0 {
		p.Attempts = append(p.Attempts[:0], p.Attempts[n:]...)
	}
	p.Attempts = append(p.Attempts, a)
}
