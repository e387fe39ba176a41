package main

import (
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/api/admin"
	"github.com/millrace/millrace/internal/clock"
)

func clockNow() time.Time { return clock.System{}.Now() }

// tell writes the story of an event for eyes.
func tell(w io.Writer, s admin.Story) {
	fmt.Fprintf(w, "%s\n%s\n\n", s.Event.ID, s.Summary)
	for _, step := range s.Steps {
		at := ""
		if !step.At.IsZero() {
			at = step.At.Local().Format("2006-01-02 15:04:05.000")
		}
		fmt.Fprintf(w, "%s\t%s\n", at, step.What)
	}
	if s.Hint != "" {
		fmt.Fprintf(w, "\n%s\n", s.Hint)
	}
}

// showEvent writes an event with its documents.
func showEvent(w io.Writer, e admin.Event) {
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("id", e.ID)
	line("function", e.ARN)
	if e.Trigger != "" {
		line("trigger", e.Trigger)
	}
	line("state", e.State)
	if e.Condition != "" {
		line("condition", e.Condition)
	}
	line("accepted", e.Accepted.Local().Format(time.RFC3339))
	if !e.Finished.IsZero() {
		line("finished", e.Finished.Local().Format(time.RFC3339))
	}
	line("trace", e.TraceID)
	for _, a := range e.Attempts {
		line(fmt.Sprintf("attempt %d", a.Number), fmt.Sprintf("%s after %s %s %s", a.Result, round(a.Duration), a.Type, oneLine(a.Message, 200)))
	}
	for _, d := range e.Deliveries {
		line("destination", fmt.Sprintf("%s: %s, tries: %d %s", d.Destination, d.State, d.Tries, oneLine(d.Error, 200)))
	}
	document := func(name string, doc []byte) {
		if len(doc) > 0 {
			fmt.Fprintf(w, "\n%s:\n%s\n", name, doc)
		}
	}
	document("payload", e.Payload)
	document("response", e.Response)
}
