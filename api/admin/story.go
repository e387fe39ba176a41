package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/executor"
)

// Story is what became of an event, and why, for people.
type Story struct {
	Summary string `json:"summary"`        // one sentence: where the event stands
	Steps   []Step `json:"steps"`          // oldest first
	Hint    string `json:"hint,omitempty"` // what can be done now
	Event   Event  `json:"event"`
}

// Step is one thing that happened, or will.
type Step struct {
	At   time.Time `json:"at,omitzero"`
	What string    `json:"what"`
}

// maxAttempts is how many attempts the ledger keeps of one event.
const maxAttempts = 100

// tell makes the story of e.
func tell(e async.Entry) Story {
	s := Story{Event: eventOf(e)}
	step := func(at time.Time, format string, args ...any) {
		s.Steps = append(s.Steps, Step{at, fmt.Sprintf(format, args...)})
	}

	from := "by the Invoke API"
	switch {
	case e.Trigger != "":
		from = "by trigger " + e.Trigger
	case e.Depth > 0:
		from = "from a destination of another invocation"
	}
	step(e.Accepted, "accepted %s for function %s, %s", from, e.Function, amount(e.Size, "byte"))
	if e.Depth > 0 {
		step(e.Accepted, "its chain of events had passed %s before", amount(e.Depth, "destination"))
	}
	if n := len(e.Attempts); n > 0 && (e.Attempts[0].Number > 1 || n >= maxAttempts) {
		step(time.Time{}, "older attempts are not kept")
	}
	for _, a := range e.Attempts {
		step(a.Started, "attempt %d %s", a.Number, attempt(a))
	}

	switch e.State {
	case async.Queued:
		s.Summary = "The event waits for its first attempt."
		if n := len(e.Attempts); n > 0 {
			s.Summary = "The event waits to be tried again."
		}
		if !e.Next.IsZero() {
			step(e.Next, "next attempt, at the earliest")
		}
	case async.Running:
		s.Summary = "The function runs on the event now."
	case async.Succeeded:
		s.Summary = "The function succeeded."
		step(e.Finished, "done")
	case async.Failed:
		why := given(e)
		s.Summary = "The event was given up: " + why + "."
		step(e.Finished, "given up: %s", why)
		switch {
		case e.Redacted:
			s.Hint = "It can not run again: parts of its payload were redacted."
		case !e.HasPayload:
			s.Hint = "It can not run again: its payload is no longer kept."
		case e.Condition == async.FunctionNotFound:
			s.Hint = "Once the file has the function again, run it with: millrace dlq redrive " + e.ID
		default:
			s.Hint = "Run it again with: millrace dlq redrive " + e.ID
		}
	case async.Discarded:
		s.Summary = "The event was discarded on purpose."
		step(e.Finished, "discarded: purged by an operator")
	default:
		s.Summary = "The event is " + string(e.State) + "."
	}
	for _, d := range e.Deliveries {
		step(d.Last, "%s", delivery(d))
	}
	return s
}

func attempt(a async.Attempt) string {
	took := a.Duration.Round(time.Microsecond).String()
	detail := strings.TrimSpace(strings.TrimPrefix(a.Type+": "+a.Message, ": "))
	detail = strings.TrimSuffix(detail, ":")
	switch a.Result {
	case "success":
		return "succeeded in " + took
	case "error":
		return "failed after " + took + ": " + detail
	}
	text := "got no answer (" + a.Result + "), which does not count"
	if refused(a) {
		text = "was refused for good (" + a.Result + ")"
	}
	if detail != "" {
		text += ": " + detail
	}
	return text
}

// refused says that the function can never take the event.
func refused(a async.Attempt) bool {
	return a.Result == executor.Refused.String() || a.Result == executor.TooLarge.String()
}

func given(e async.Entry) string {
	switch e.Condition {
	case async.RetriesExhausted:
		if n := len(e.Attempts); n > 0 && refused(e.Attempts[n-1]) {
			return "the function can not take it"
		}
		return fmt.Sprintf("the function failed %s and is not tried again", times(e.Invokes))
	case async.AgeExceeded:
		return "it would have become older than its maximum age before the next attempt"
	case async.ZeroConcurrency:
		return "the function's reserved concurrency is 0"
	case async.FunctionNotFound:
		return "its function is no longer in the file"
	case "":
		return "no reason is recorded"
	}
	return e.Condition
}

func delivery(d async.Delivery) string {
	switch d.State {
	case async.DeliveryDone:
		return fmt.Sprintf("record delivered to destination %s, at try %d", d.Destination, d.Tries)
	case async.DeliveryGivenUp:
		return fmt.Sprintf("record not delivered to destination %s, given up after %s: %s", d.Destination, tries(d.Tries), d.Error)
	}
	if d.Error != "" {
		return fmt.Sprintf("record waits for destination %s after %s: %s", d.Destination, tries(d.Tries), d.Error)
	}
	return "record waits for destination " + d.Destination
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

func amount(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
