package executor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Failure types that the platform reports, not the user's code.
const (
	TypeTimeout  = "Sandbox.Timedout"
	TypeExit     = "Runtime.ExitError"
	TypeTooLarge = "Function.ResponseSizeTooLarge"
)

// TimedOut is the answer for a function that ran longer than its configured timeout.
func TimedOut(requestID string, timeout time.Duration) Response {
	return Failed(TypeTimeout, fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", requestID, timeout.Seconds()))
}

// Exited is the answer for a function whose runtime ended before it answered. reason is e.g.
// "exit status 1" or "signal: killed"; "" is an exit with status 0.
func Exited(requestID, reason string) Response {
	if reason == "" {
		return Failed(TypeExit, fmt.Sprintf("RequestId: %s Error: Runtime exited without providing a reason", requestID))
	}
	return Failed(TypeExit, fmt.Sprintf("RequestId: %s Error: Runtime exited with error: %s", requestID, reason))
}

// ResponseTooLarge is the answer for a function that answered more than MaxResponse bytes.
func ResponseTooLarge() Response {
	const message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
	return Response{
		Payload: []byte(`{"errorMessage":"` + message + `","errorType":"` + TypeTooLarge + `"}`),
		Failure: &Failure{Type: TypeTooLarge, Message: message},
	}
}

// Failed is the answer for a failure that left no error document of its own.
func Failed(errorType, message string) Response {
	var doc bytes.Buffer
	e := json.NewEncoder(&doc)
	e.SetEscapeHTML(false)
	if err := e.Encode(errorDocument{errorType, message}); err != nil {
		panic(err) // strings are always written
	}
	doc.Truncate(doc.Len() - 1) // the line break that Encode adds
	return Response{Payload: doc.Bytes(), Failure: &Failure{Type: errorType, Message: message}}
}

// ParseFailure reads an error document as functions write it. Its Type is "" if doc has none or is none.
func ParseFailure(doc []byte) *Failure {
	var d errorDocument
	_ = json.Unmarshal(doc, &d) // the document is handed on whatever it is
	return &Failure{Type: d.Type, Message: d.Message}
}

type errorDocument struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}
