package lambdaapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
)

// apiError is an answer of the service, not of a function, in the words and the spelling of AWS.
type apiError struct {
	code       string
	status     int
	fault      string // "User", "Service", or "" where AWS says nothing
	message    string
	upper      bool   // the member is "Message": AWS is not consistent, and clients depend on it
	reason     string // of a throttled request
	retryAfter time.Duration
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func invalidParameter(format string, args ...any) *apiError {
	return &apiError{code: "InvalidParameterValueException", status: 400, fault: "User", message: fmt.Sprintf(format, args...)}
}

func invalidContent(format string, args ...any) *apiError {
	return &apiError{code: "InvalidRequestContentException", status: 400, fault: "User", message: fmt.Sprintf(format, args...)}
}

// constraint words one broken constraint of the API model; rule completes "Member must".
func constraint(value, member, rule string) string {
	if len(value) > 300 {
		value = strings.ToValidUTF8(value[:300], "\ufffd") + "…"
	}
	return "Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must " + rule
}

func validation(constraints []string) *apiError {
	noun := "errors"
	if len(constraints) == 1 {
		noun = "error"
	}
	return &apiError{code: "ValidationException", status: 400,
		message: fmt.Sprintf("%d validation %s detected: %s", len(constraints), noun, strings.Join(constraints, "; "))}
}

func notFound(arn, qualifier string) *apiError {
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return &apiError{code: "ResourceNotFoundException", status: 404, fault: "User", upper: true, message: "Function not found: " + arn}
}

func tooLarge(size int64, invocationType string, limit int) *apiError {
	return &apiError{code: "RequestTooLargeException", status: 413, fault: "User",
		message: fmt.Sprintf("%d byte payload is too large for the %s invocation type (limit %d bytes)", size, invocationType, limit)}
}

// badJSON says where a payload stops being JSON, after AWS's own beginning.
func badJSON(payload []byte) *apiError {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	problem, at := "", len(payload)+1
	if err := json.Unmarshal(payload, &raw); errors.As(err, &syntax) {
		problem, at = syntax.Error(), int(syntax.Offset)
	}
	if i := invalidUTF8(payload); i >= 0 && i < at {
		problem, at = fmt.Sprintf("Invalid UTF-8 start byte 0x%02x", payload[i]), i+1
	}
	before := payload[:at]
	line := 1 + strings.Count(string(before), "\n")
	column := at - strings.LastIndexByte(string(before), '\n')
	return invalidContent("Could not parse request body into json: Could not parse payload into json: %s\n"+
		" at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: %d, column: %d]", problem, line, column)
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

// fromExecutor is the answer where a function gave none.
func fromExecutor(err error, invocationType string, size int) *apiError {
	var e *executor.Error
	if !errors.As(err, &e) {
		e = &executor.Error{Err: err}
	}
	text := "no reason given"
	if e.Err != nil {
		text = e.Err.Error()
	}
	switch e.Kind {
	case executor.Throttled:
		reason := e.Reason
		if reason == "" {
			reason = executor.ReasonConcurrency
		}
		return &apiError{code: "TooManyRequestsException", status: 429, fault: "User", message: "Rate Exceeded.", reason: reason, retryAfter: e.RetryAfter}
	case executor.TooLarge:
		return &apiError{code: "RequestTooLargeException", status: 413, fault: "User",
			message: fmt.Sprintf("%d byte payload is too large for the %s invocation type: %s", size, invocationType, text)}
	case executor.Refused:
		return invalidParameter("The function refuses this request: %s", text)
	case executor.Unready:
		return &apiError{code: "ResourceNotReadyException", status: 502, fault: "Service", message: text, retryAfter: e.RetryAfter}
	case executor.Closed:
		return &apiError{code: "ResourceConflictException", status: 409, fault: "User", message: "The function is being updated; try again."}
	case executor.Canceled:
		return &apiError{code: "ServiceUnavailableException", status: 503, fault: "Service", message: "The hub is stopping: " + text}
	default:
		return &apiError{code: "ServiceException", status: 500, fault: "Service", upper: true, message: text}
	}
}

// fromAccept is the answer where an event was not accepted.
func fromAccept(err error, size int) *apiError {
	if errors.Is(err, async.ErrFull) {
		return &apiError{code: "ServiceUnavailableException", status: 503, fault: "Service",
			message: "The event was not accepted: " + async.ErrFull.Error() + "; free disk space or raise the store's size limit, then send it again."}
	}
	return fromExecutor(err, typeEvent, size)
}

// fail writes e.
func (s *server) fail(w http.ResponseWriter, r *http.Request, op, id string, e *apiError) {
	s.metrics.requests.WithLabelValues(op, e.code).Inc()
	if e.status >= 500 && e.code != "ServiceUnavailableException" {
		s.log.ErrorContext(context.WithoutCancel(r.Context()), "request failed",
			"operation", op, "path", r.URL.Path, "requestId", id, "code", e.code, "error", e.message)
	}
	body := append(make([]byte, 0, 128+len(e.message)), '{')
	if e.reason != "" {
		body = append(body, `"Reason":`...)
		body = append(event.AppendString(body, e.reason), ',')
	}
	if e.fault != "" {
		body = append(body, `"Type":`...)
		body = append(event.AppendString(body, e.fault), ',')
	}
	if e.upper {
		body = append(body, `"Message":`...)
	} else {
		body = append(body, `"message":`...)
	}
	body = append(event.AppendString(body, e.message), '}')
	h := w.Header()
	h["x-amzn-RequestId"] = []string{id}
	h["x-amzn-ErrorType"] = []string{e.code}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if e.retryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((e.retryAfter+time.Second-1)/time.Second), 10)}
	}
	w.WriteHeader(e.status)
	w.Write(body)
}
