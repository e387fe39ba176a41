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
	return failed(TypeTimeout, fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", requestID, timeout.Seconds()))
}

// Exited is the answer for a function whose runtime ended before it answered. reason is e.g.
// "exit status 1" or "signal: killed"; "" is an exit with status 0.
func Exited(requestID, reason string) Response {
	if reason == "" {
		return failed(TypeExit, fmt.Sprintf("RequestId: %s Error: Runtime exited without providing a reason", requestID))
	}
	return failed(TypeExit, fmt.Sprintf("RequestId: %s Error: Runtime exited with error: %s", requestID, reason))
}

// ResponseTooLarge is the answer for a function that answered more than MaxResponse bytes.
func ResponseTooLarge() Response {
	const message = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
	return Response{
		Payload: []byte(`{"errorMessage":"` + message + `","errorType":"` + TypeTooLarge + `"}`),
		Failure: &Failure{Type: TypeTooLarge, Message: message},
	}
}

// failed makes an error document.
func failed(errorType, message string) Response {
	var doc bytes.Buffer
	doc.WriteString(`{"errorType":"` + errorType + `","errorMessage":`)
	e := json.NewEncoder(&doc)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		panic(err) // a string is always written
	}
	doc.Bytes()[doc.Len()-1] = '}' // over the line break that Encode adds
	return Response{Payload: doc.Bytes(), Failure: &Failure{Type: errorType, Message: message}}
}
