package lambdaapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
)

const (
	typeSync   = "RequestResponse"
	typeEvent  = "Event"
	typeDryRun = "DryRun"

	maxLegacyAsync   = 256 << 10 // bytes that InvokeAsync takes
	maxClientContext = 3583      // bytes of its base64 form
	maxTenantID      = 256

	bodyTimeout  = time.Minute // to send a whole request body
	writeTimeout = time.Minute // to take what one write sends
	drainLimit   = 32 << 20    // of an oversize body that is read, so that the client gets to see the answer

	pooledBody = 64 << 10
	largeWrite = 64 << 10 // what surely fits no socket buffer needs a deadline
)

// bodies holds buffers of pooledBody bytes for payloads.
type buffer [pooledBody]byte

var bodies = sync.Pool{New: func() any { return new(buffer) }}

var emptyObject = []byte("{}")

// invoke serves the three operations that run a function.
func (s *server) invoke(w http.ResponseWriter, r *http.Request, op, addressText string) {
	h := r.Header
	invocationType := first(h, "X-Amz-Invocation-Type")
	switch {
	case op == opInvokeAsync:
		invocationType = typeEvent
	case invocationType == "":
		invocationType = typeSync
	}
	id := first(h, "X-Amzn-Requestid")
	badID := id != "" && (len(id) != 36 || uuid.Validate(id) != nil)
	if id == "" || badID || invocationType == typeEvent { // the id of an event is new, so that none takes the place of another
		id = uuid.NewString()
	}
	limit := executor.MaxPayload
	switch {
	case op == opInvokeAsync:
		limit = maxLegacyAsync
	case invocationType == typeEvent:
		limit = executor.MaxAsyncPayload
	}

	// An accepted event keeps its payload, so that one can not come from the pool.
	var pooled *buffer
	var space []byte
	if invocationType != typeEvent && uint64(r.ContentLength) < pooledBody { // -1, not known, is large
		pooled = bodies.Get().(*buffer)
		defer bodies.Put(pooled)
		space = pooled[:0]
	}
	payload, e := s.readBody(w, r, space, limit, invocationType)
	if e != nil {
		s.fail(w, r, op, id, e)
		return
	}
	if s.verifier != nil {
		if _, err := s.verifier.Verify(r, payload); err != nil {
			s.fail(w, r, op, id, fromSignature(err))
			return
		}
	}
	name, qualifier, req, e := s.check(r, op, addressText, invocationType, badID)
	if e == nil && len(payload) > 0 && !event.ValidJSON(payload) {
		e = badJSON(payload)
	}
	if e != nil {
		s.fail(w, r, op, id, e)
		return
	}
	if len(payload) == 0 {
		payload = emptyObject
	}
	function, info, found := s.function(name)
	if !found {
		s.fail(w, r, op, id, notFound(functionARN(s.region, s.account, name), qualifier))
		return
	}
	if e := qualified(info.ARN, qualifier); e != nil {
		s.fail(w, r, op, id, e)
		return
	}

	req.ID, req.Attempt, req.Payload, req.ARN = id, 1, payload, info.ARN
	if qualifier != "" {
		req.ARN += ":" + qualifier
	}
	if op != opInvokeAsync {
		req.TraceID = s.traceID(h)
		req.TraceParent = first(h, "Traceparent")
	}
	switch {
	case invocationType == typeDryRun:
		s.metrics.requests.WithLabelValues(op, "ok").Inc()
		w.Header()["x-amzn-RequestId"] = []string{id}
		w.WriteHeader(http.StatusNoContent)
	case invocationType == typeEvent:
		s.event(w, r, op, name, req)
	case op == opStream:
		s.stream(w, r, name, function, req)
	default:
		s.sync(w, r, name, function, req)
	}
}

// qualified refuses versions and aliases: a function of the file has none.
func qualified(arn, qualifier string) *apiError {
	switch qualifier {
	case "", latest:
		return nil
	case latest + ".PUBLISHED":
		return &apiError{code: "NoPublishedVersionException", status: 400, fault: "User", upper: true,
			message: "The function has no published version: " + arn}
	}
	return notFound(arn, qualifier)
}

// check reads and checks all that a request says beside its payload.
func (s *server) check(r *http.Request, op, addressText, invocationType string, badID bool) (name, qualifier string, req executor.Request, e *apiError) {
	h := r.Header
	var queryQualifier string
	if op != opInvokeAsync {
		var err error
		if queryQualifier, err = queryValue(r.URL.RawQuery, "Qualifier"); err != nil {
			return "", "", req, invalidParameter("the query has a bad percent-encoding: %v", err)
		}
	}
	name, qualifier, e = s.resolve(addressText, queryQualifier)
	if e != nil {
		return "", "", req, e
	}

	var constraints []string
	switch {
	case invocationType == typeSync || invocationType == typeDryRun || invocationType == typeEvent && op != opStream:
	case op == opStream:
		constraints = append(constraints, constraint(invocationType, "invocationType", "satisfy enum value set: [RequestResponse, DryRun]"))
	default:
		constraints = append(constraints, constraint(invocationType, "invocationType", "satisfy enum value set: [Event, RequestResponse, DryRun]"))
	}
	switch logType := first(h, "X-Amz-Log-Type"); logType {
	case "", "None":
	case "Tail":
		req.LogTail = invocationType == typeSync
	default:
		constraints = append(constraints, constraint(logType, "logType", "satisfy enum value set: [None, Tail]"))
	}
	if tenant := first(h, "X-Amz-Tenant-Id"); tenant != "" {
		if len(tenant) > maxTenantID {
			constraints = append(constraints, constraint(tenant, "tenantId", "have length less than or equal to 256"))
		} else if !all(tenant, tenantByte) {
			constraints = append(constraints, constraint(tenant, "tenantId", `satisfy regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+`))
		}
		req.TenantID = tenant
	}
	if constraints != nil {
		return "", "", req, validation(constraints)
	}

	if badID {
		return "", "", req, invalidContent("The value of the x-amzn-RequestId header is not a UUID.")
	}
	if first(h, "X-Amz-Durable-Execution-Name") != "" {
		return "", "", req, invalidParameter("The header X-Amz-Durable-Execution-Name is refused: millrace runs no durable executions.")
	}
	if encoded := first(h, "X-Amz-Client-Context"); encoded != "" {
		if len(encoded) > maxClientContext {
			return "", "", req, invalidContent("Client context must be no more than %d bytes of base64; this one has %d.", maxClientContext, len(encoded))
		}
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !json.Valid(text) || !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
			return "", "", req, invalidContent("Client context must be a valid Base64-encoded JSON object.")
		}
		if invocationType == typeSync { // Lambda drops it for events
			req.ClientContext = string(text)
		}
	}
	return name, qualifier, req, nil
}

func tenantByte(c byte) bool {
	return nameByte(c) || c == ':' || c == '/' || c == '=' || c == '+' || c == '@' || c == ' '
}

func fromSignature(err error) *apiError {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return &apiError{code: "AccessDeniedException", status: 403, upper: true, message: err.Error()}
	}
	return &apiError{code: e.Code, status: e.Status, message: e.Message}
}

// readBody reads a body of at most limit bytes, into space if that is not nil.
func (s *server) readBody(w http.ResponseWriter, r *http.Request, space []byte, limit int, invocationType string) ([]byte, *apiError) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	// A deadline would be set by the time of day; this timer keeps to the hub's clock.
	conn := http.NewResponseController(w)
	late := s.clock.AfterFunc(bodyTimeout, func() { conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a connection without deadlines has no slow client
	defer late.Stop()

	size := r.ContentLength
	if size > int64(limit) {
		if first(r.Header, "Expect") == "" {
			io.CopyN(io.Discard, r.Body, drainLimit) //nolint:errcheck // the request is refused in any case
		}
		return nil, tooLarge(size, invocationType, limit)
	}
	var err error
	if size > 0 {
		if space == nil {
			space = make([]byte, 0, size)
		}
		space = space[:size]
		_, err = io.ReadFull(r.Body, space)
	} else {
		space, err = io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
		if err == nil && len(space) > limit {
			rest, _ := io.CopyN(io.Discard, r.Body, drainLimit)
			return nil, tooLarge(int64(len(space))+rest, invocationType, limit)
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &apiError{code: "RequestTimeoutException", status: 408, message: "The request body did not arrive within a minute."}
	case err != nil:
		return nil, invalidContent("Could not read the request body: %v", err)
	}
	return space, nil
}

// run calls the function. If a reload has closed it meanwhile, its successor is asked.
func (s *server) run(ctx context.Context, name string, function executor.Function, req executor.Request) (executor.Response, error) {
	for range 3 {
		response, err := function.Invoke(ctx, req)
		var e *executor.Error
		if err == nil || !errors.As(err, &e) || e.Kind != executor.Closed {
			return response, err
		}
		next, _, ok := s.function(name)
		if !ok {
			return response, err
		}
		function = next
	}
	return executor.Response{}, &executor.Error{Kind: executor.Closed, Function: name, Err: errors.New("closed again and again")}
}

// sync runs a function and answers with what it answered. As with AWS, a function outlives a caller that has
// hung up.
func (s *server) sync(w http.ResponseWriter, r *http.Request, name string, function executor.Function, req executor.Request) {
	response, err := s.run(context.WithoutCancel(r.Context()), name, function, req)
	if err != nil {
		s.fail(w, r, opInvoke, req.ID, fromExecutor(err, typeSync, len(req.Payload)))
		return
	}
	version := response.Version
	if version == "" {
		version = latest
	}
	h := w.Header()
	values := [5]string{req.ID, version, req.TraceID, "application/json", strconv.Itoa(len(response.Payload))}
	h["x-amzn-RequestId"] = values[0:1:1]
	h["X-Amz-Executed-Version"] = values[1:2:2]
	h["X-Amzn-Trace-Id"] = values[2:3:3]
	h["Content-Type"] = values[3:4:4]
	h["Content-Length"] = values[4:5:5]
	if response.Failure != nil {
		h["X-Amz-Function-Error"] = []string{"Unhandled"}
		s.metrics.requests.WithLabelValues(opInvoke, "function_error").Inc()
	} else {
		s.metrics.invoked.Inc()
	}
	if req.LogTail {
		h["X-Amz-Log-Result"] = []string{logResult(response.Log)}
	}
	if len(response.Payload) < largeWrite {
		w.Write(response.Payload)
		return
	}
	s.writeInTime(w, response.Payload) //nolint:errcheck // the caller has gone
}

// event queues an event and answers once it is durable.
func (s *server) event(w http.ResponseWriter, r *http.Request, op, name string, req executor.Request) {
	if len(req.Payload) > executor.MaxAsyncPayload {
		s.fail(w, r, op, req.ID, tooLarge(int64(len(req.Payload)), typeEvent, executor.MaxAsyncPayload))
		return
	}
	if err := s.accept(r.Context(), name, req); err != nil {
		s.fail(w, r, op, req.ID, fromAccept(err, len(req.Payload)))
		return
	}
	h := w.Header()
	h["x-amzn-RequestId"] = []string{req.ID}
	if req.TraceID != "" {
		h["X-Amzn-Trace-Id"] = []string{req.TraceID}
	}
	if op == opInvokeAsync {
		s.metrics.requests.WithLabelValues(op, "accepted").Inc()
		h["Content-Type"] = []string{"application/json"}
		w.WriteHeader(http.StatusAccepted)
		io.WriteString(w, `{"Status":202}`)
		return
	}
	s.metrics.accepted.Inc()
	h["Content-Length"] = []string{"0"}
	w.WriteHeader(http.StatusAccepted)
}

// logResult is the last LogTail bytes of a log, in base64.
func logResult(log []byte) string {
	if n := len(log); n > executor.LogTail {
		log = log[n-executor.LogTail:]
	}
	return base64.StdEncoding.EncodeToString(log)
}

// writeInTime writes p, and gives up on a client that does not take it.
func (s *server) writeInTime(w http.ResponseWriter, p []byte) error {
	conn := http.NewResponseController(w)
	for len(p) > 0 {
		part := p[:min(len(p), 1<<20)]
		if err := writeWithin(s.clock, conn, w, part); err != nil {
			return err
		}
		p = p[len(part):]
	}
	return nil
}

func writeWithin(c clock.Clock, conn *http.ResponseController, w io.Writer, p []byte) error {
	late := c.AfterFunc(writeTimeout, func() { conn.SetWriteDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a connection without deadlines has no slow client
	defer late.Stop()
	_, err := w.Write(p)
	return err
}
