package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/xray"
	"github.com/millrace/millrace/sources"
)

// door is what the handlers of all front doors share.
type door struct {
	plugin.Deps
	mount  Mount
	prefix string
	hub    sources.Hub
	format event.AnswerFormat
	style  style

	maxHeaders int                   // bytes of request line and headers; 0 is no limit but the server's
	maxAnswer  int                   // bytes of the function's answer; 0 is no limit but Lambda's
	requests   [6]prometheus.Counter // by the hundreds of the status, from 2 on
	pool       sync.Pool             // *exchange
}

// style is how a door words what the function did not answer itself.
type style interface {
	// fail answers with an error of the door's own.
	fail(x *exchange, f fault)
	// decorate adds the headers that the door adds to every response, before the status is written.
	decorate(x *exchange, h http.Header)
}

// fault is a reason for which a door answers in the function's place.
type fault uint8

const (
	badRequest fault = iota
	bodyTimeout
	tooLarge
	headersTooLarge
	upgradeRefused
	noRoute
	unauthorized
	forbidden
	explicitlyForbidden
	throttled
	functionFailed
	malformedAnswer
	unavailable
	internal
	timedOut
	authorizerFailed
)

func newDoor(d plugin.Deps, m Mount, hub sources.Hub, format event.AnswerFormat, s style) *door {
	v := plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_http_requests_total", Help: "Requests that an HTTP front door answered, by class of status.",
	}, []string{"trigger", "status"}))
	h := &door{Deps: d, mount: m, prefix: m.prefix(), hub: hub, format: format, style: s}
	for i, class := range []string{"2xx", "3xx", "4xx", "5xx"} {
		h.requests[i+2] = v.WithLabelValues(d.Name, class)
	}
	h.pool.New = func() any { return &exchange{door: h} }
	return h
}

// exchange is one request and its answer. It is used again for other requests, but only once nobody can
// touch the old one any more.
type exchange struct {
	*door
	w http.ResponseWriter
	r *http.Request

	id          string
	traceID     string
	traceParent string
	path        string // below the door's prefix, escaped

	req     event.HTTPRequest
	answer  event.HTTPAnswer
	body    []byte
	doc     []byte
	headers []event.Field
	query   []event.Field
	params  []event.Field
	values  []string // backing of the response's headers
	cors    *cors    // of the API, if it has any

	mu       sync.Mutex // held by who answers
	answered bool
	consumed bool   // the body has been read to its end
	broken   bool   // the body came too late, or broke off
	turn     uint64 // number of the request that this exchange serves
	status   int
}

const keepBuffer = 1 << 20 // bytes; a larger buffer goes to the garbage collector

func (d *door) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := d.pool.Get().(*exchange)
	x.w, x.r = w, r
	x.id = uuid.NewString()
	x.traceParent = first(r.Header, "Traceparent")
	x.traceID = first(r.Header, "X-Amzn-Trace-Id")
	now := d.Clock.Now()
	if x.traceID == "" {
		x.traceID = xray.Header(x.traceParent, now)
	}
	host, port := splitHost(r.Host)
	x.req = event.HTTPRequest{
		Method: r.Method, RawQuery: r.URL.RawQuery, Protocol: r.Proto, SourceIP: sourceIP(r.RemoteAddr),
		UserAgent: first(r.Header, "User-Agent"), AccountID: d.Account, DomainName: host, DomainPrefix: label(host),
		RequestID: x.id, Time: now,
	}
	x.path = x.below()
	x.collect(port)
	x.split()
	return x
}

// end gives x back. The lock is for the door's timer, which may be on its way to x.
func (d *door) end(x *exchange) {
	if c := x.status / 100; c >= 2 && c < len(d.requests) { // 0 if the client's connection was broken off
		d.requests[c].Inc()
	}
	x.discard()
	x.mu.Lock()
	x.turn++
	x.w, x.r, x.answered, x.consumed, x.broken, x.status, x.cors = nil, nil, false, false, false, 0, nil
	x.id, x.traceID, x.traceParent, x.path = "", "", "", ""
	x.req = event.HTTPRequest{}
	clear(x.headers)
	clear(x.query)
	clear(x.params)
	clear(x.values)
	x.headers, x.query, x.params, x.values = x.headers[:0], x.query[:0], x.params[:0], x.values[:0]
	large := max(cap(x.body), cap(x.doc)) > keepBuffer
	x.mu.Unlock()
	if !large {
		d.pool.Put(x)
	}
}

// claim takes the right to answer; whoever gets it holds x.mu until release.
func (x *exchange) claim() bool {
	x.mu.Lock()
	if x.answered {
		x.mu.Unlock()
		return false
	}
	x.answered = true
	return true
}

// fail answers with an error of the door, if nobody has answered.
func (x *exchange) fail(f fault) {
	if x.claim() {
		defer x.mu.Unlock()
		x.style.fail(x, f)
	}
}

// respond writes a whole response of the door's own. The caller has claimed x.
func (x *exchange) respond(status int, contentType, body string) {
	h := x.w.Header()
	h["Content-Type"] = []string{contentType}
	if h["Content-Length"] == nil {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.head(status)
	_, _ = io.WriteString(x.w, body) // a client that has gone needs no answer
}

// head writes status and headers. The caller has claimed x.
func (x *exchange) head(status int) {
	h := x.w.Header()
	x.style.decorate(x, h)
	if x.cors != nil {
		x.cors.apply(x.r, h)
	}
	x.status = status
	x.w.WriteHeader(status)
}

// invoke runs the function, or queues the event, and answers.
func (x *exchange) invoke() {
	req := executor.Request{ID: x.id, Payload: x.doc, TraceID: x.traceID, TraceParent: x.traceParent}
	// The function runs to its end even if the client goes away, as on AWS.
	ctx := context.WithoutCancel(x.r.Context())
	if x.mount.InvocationType == asEvent {
		if err := x.hub.Accept(ctx, req); err != nil {
			x.refuse(err, true)
			return
		}
		if x.claim() {
			defer x.mu.Unlock()
			x.w.Header()["Content-Length"] = []string{"0"}
			x.set("x-amzn-RequestId", x.id) // of any door: it is how the event is found again
			x.head(http.StatusAccepted)
		}
		return
	}
	var out *stream
	if u, ok := x.style.(*functionURL); ok && u.stream {
		out = &stream{x: x}
		req.Stream = out.begin
	}
	resp, err := x.await(ctx, req)
	switch {
	case err != nil:
		if out != nil && out.broken(x) {
			panic(http.ErrAbortHandler)
		}
		x.refuse(err, false)
	case resp.Streamed && out != nil:
		out.end(resp.Failure != nil)
	case resp.Failure != nil:
		x.fail(functionFailed)
	default:
		if x.maxAnswer > 0 && len(resp.Payload) > x.maxAnswer {
			x.malformed(fmt.Errorf("the answer has %d bytes, over the limit of %d", len(resp.Payload), x.maxAnswer))
			return
		}
		if err := x.answer.Read(resp.Payload, x.format); err != nil {
			x.malformed(err)
			return
		}
		if h, ok := x.style.(*restAPI); ok && h.decodes(x) {
			if err := x.answer.Decode(); err != nil {
				x.malformed(err)
				return
			}
		}
		x.write()
	}
}

// await invokes the function; if that takes longer than the door waits, the door answers meanwhile.
func (x *exchange) await(ctx context.Context, req executor.Request) (executor.Response, error) {
	turn := x.turn
	timer := x.Clock.AfterFunc(x.mount.Timeout, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.turn != turn || x.answered { // this exchange may serve another request by now
			return
		}
		x.answered = true
		x.w.Header().Set("Connection", "close") // it is busy until the function ends
		x.style.fail(x, timedOut)
		_ = http.NewResponseController(x.w).Flush()
	})
	defer timer.Stop()
	return x.hub.Invoke(ctx, req)
}

func (x *exchange) malformed(err error) {
	x.Log.Warn("function's answer refused", "error", err, "request", x.id)
	x.fail(malformedAnswer)
}

// refuse answers for a function that gave no answer, or an event that was not accepted.
func (x *exchange) refuse(err error, accepting bool) {
	f, retry := internal, time.Duration(0)
	var e *executor.Error
	if errors.As(err, &e) {
		retry = e.RetryAfter
		switch e.Kind {
		case executor.Throttled:
			f = throttled
		case executor.TooLarge:
			f = tooLarge
		case executor.Unready, executor.Canceled, executor.Closed:
			f = unavailable
		case executor.Refused:
			f = functionFailed
		case executor.Internal:
		}
	} else if accepting {
		f = unavailable // the store could not take it; it may later
	}
	if f == internal || f == unavailable || f == functionFailed {
		x.Log.Warn("no answer for a request", "error", err, "request", x.id)
	}
	if f == throttled || f == unavailable {
		seconds := max(1, int((retry+time.Second-1)/time.Second))
		if x.claim() {
			defer x.mu.Unlock()
			x.w.Header()["Retry-After"] = []string{strconv.Itoa(seconds)}
			x.style.fail(x, f)
		}
		return
	}
	x.fail(f)
}

// write sends the function's answer.
func (x *exchange) write() {
	if !x.claim() {
		return
	}
	defer x.mu.Unlock()
	a := &x.answer
	x.setHeaders()
	bodiless := a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	const buffered = 2048 // the server itself counts what fits its buffer
	if !bodiless && (len(a.Body) > buffered || x.r.Method == http.MethodHead) {
		x.set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	x.head(a.Status)
	if bodiless {
		return
	}
	if len(a.Body) > buffered {
		defer x.within(http.NewResponseController(x.w).SetWriteDeadline)()
	}
	_, _ = x.w.Write(a.Body) // a client that has gone needs no answer
}

// setHeaders moves the answer's headers into the response.
func (x *exchange) setHeaders() {
	rest := x.format == event.AnswerRESTAPI
	h := x.w.Header()
	for _, f := range x.answer.Headers {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		switch {
		case rest && remapped(name):
			name = "x-amzn-Remapped-" + name
		case hopByHop(name) || name == "Content-Length":
			continue
		case rest && name != "Content-Type" && name != "Set-Cookie":
			name = f.Name // a REST API keeps the function's spelling
		}
		if old := h[name]; old != nil {
			if name != "Content-Type" {
				h[name] = append(old, f.Value)
			}
			continue
		}
		x.set(name, f.Value)
	}
}

// set sets one header without an allocation of its own.
func (x *exchange) set(name, value string) {
	n := len(x.values)
	x.values = append(x.values, value)
	x.w.Header()[name] = x.values[n : n+1 : n+1]
}

// remapped tells whether a REST API renames a header of the function's
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html).
func remapped(name string) bool {
	switch name {
	case "Authorization", "Connection", "Content-Length", "Content-Md5", "Date", "Host", "Server", "Www-Authenticate":
		return true
	}
	return false
}

// message is the JSON body of an error.
func message(text string) string {
	return fmt.Sprintf(`{"message":%s}`, event.AppendString(nil, text))
}
