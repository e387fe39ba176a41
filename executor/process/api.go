package process

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
)

const (
	version  = "/2018-06-01/"
	maxExtra = 16       // connections of an environment besides one for each ask
	small    = 64 << 10 // bytes of an event that is copied to go out with its headers, and does not block
	maxError = 1 << 20  // bytes of the document of an init error
)

// conn is a connection of the process to its Runtime API.
type conn struct {
	stream
	env *environment
	out answers

	// Guarded by the mutex of the function.
	asking bool // it waits for an event
	last   bool // it is closed after that
}

// accept serves the connections of the environment's process.
func (e *environment) accept() {
	for {
		nc, err := e.api.Accept()
		if err != nil {
			return // closed, since the process has ended
		}
		c := &conn{stream: stream{Conn: nc}, env: e}
		e.f.mu.Lock()
		full := len(e.conns) >= e.f.config.MaxConcurrency+maxExtra
		if !full {
			e.conns[c] = true
		}
		e.f.mu.Unlock()
		if full {
			nc.Close()
			continue
		}
		e.traffic.Go(c.serve)
	}
}

func (c *conn) serve() {
	defer c.leave()
	for {
		h, err := c.head()
		if r := (*refusal)(nil); c.interrupt() && (err == nil || errors.As(err, &r)) {
			c.refuse(&refusal{400, "BadRequest", "A request was sent before the last one was answered.", true})
			return
		}
		if err == nil {
			err = c.handle(h)
		}
		if r := (*refusal)(nil); errors.As(err, &r) {
			c.refuse(r)
			if r.hangup {
				return
			}
		} else if err != nil {
			return
		}
		if h.last && !c.lasts() {
			return
		}
	}
}

// interrupt takes back the ask of a connection that sends or ends while it should wait for an event.
func (c *conn) interrupt() bool {
	f, e := c.env.f, c.env
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.asking {
		return false
	}
	f.drop(c)
	f.expect(e, 1)
	return true
}

// drop takes a connection out of those that ask; f.mu is held.
func (f *Function) drop(c *conn) {
	c.asking = false
	c.env.asks--
	for i, r := range f.ready {
		if r == c {
			f.ready = append(f.ready[:i], f.ready[i+1:]...)
			return
		}
	}
}

// lasts reports whether the connection waits for an event, after which it is closed.
func (c *conn) lasts() bool {
	c.env.f.mu.Lock()
	defer c.env.f.mu.Unlock()
	c.last = true
	return c.asking
}

func (c *conn) leave() {
	c.Close()
	f := c.env.f
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(c.env.conns, c)
}

// handle answers one request. The body has been read to its end when it returns nil or a refusal that does
// not hang up.
func (c *conn) handle(h head) error {
	if h.path == version+"runtime/invocation/next" && h.method == "GET" {
		if h.length != 0 {
			return malformed("A request for an event has no body.")
		}
		return c.ask(h.last)
	}
	b, err := c.body(h)
	if err != nil {
		return err
	}
	err = c.route(h, b)
	if r := (*refusal)(nil); errors.As(err, &r) && !r.hangup && !b.done {
		r.hangup = h.waits || b.drain() != nil
	}
	return err
}

func (c *conn) route(h head, b *body) error {
	path, ok := strings.CutPrefix(h.path, version)
	if !ok {
		switch {
		case h.path == "/ping":
			return c.ping(b)
		case strings.HasPrefix(h.path, "/2022-07-01/telemetry"), strings.HasPrefix(h.path, "/2020-08-15/logs"):
			return &refusal{202, "Telemetry.NotSupported", "The Telemetry API is not there; nothing will be sent.", false}
		case strings.HasPrefix(h.path, "/2020-01-01/extension/"):
			return &refusal{404, "Extension.NotSupported", "The Extensions API is not there.", false}
		}
		return notFound(h.path)
	}
	want := "POST"
	serve := func() error { return notFound(h.path) }
	switch id, verb, invocation := cutID(path); {
	case invocation && verb == "response":
		serve = func() error { return c.response(h, b, id) }
	case invocation && verb == "error":
		serve = func() error { return c.failure(h, b, id) }
	case path == "runtime/init/error":
		serve = func() error { return c.initError(h, b) }
	case path == "runtime/restore/error":
		serve = func() error { return misplaced("This environment was not restored from a snapshot.") }
	case path == "runtime/restore/next":
		want, serve = "GET", func() error { return misplaced("This environment was not restored from a snapshot.") }
	case path == "runtime/invocation/next":
		want = "GET"
	case path == "ping":
		want, serve = "GET", func() error { return c.ping(b) }
	default:
		return notFound(h.path)
	}
	if h.method != want {
		return &refusal{405, "MethodNotAllowed", h.path + " is for " + want + ".", false}
	}
	return serve()
}

// cutID takes the request id and the verb out of a path.
func cutID(path string) (id, verb string, ok bool) {
	rest, ok := strings.CutPrefix(path, "runtime/invocation/")
	if !ok {
		return "", "", false
	}
	id, verb, ok = strings.Cut(rest, "/")
	return id, verb, ok
}

func notFound(path string) error {
	return &refusal{404, "NotFound", "There is no " + path + " in the Runtime API.", false}
}

func misplaced(why string) error { return &refusal{403, "InvalidStateTransition", why, false} }

func (c *conn) ping(b *body) error {
	if err := b.drain(); err != nil {
		return err
	}
	return c.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\npong")
}

func (c *conn) write(text string) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	_, err := io.WriteString(c, text)
	return err
}

func (c *conn) ok() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	_, err := c.Write(accepted)
	return err
}

// refuse answers with an error. A connection that does not take the answer will show that when it is read.
func (c *conn) refuse(r *refusal) {
	doc := append([]byte{}, `{"errorMessage":`...)
	doc = event.AppendString(doc, r.message)
	doc = append(doc, `,"errorType":`...)
	doc = event.AppendString(doc, r.kind)
	doc = append(doc, "}\n"...)
	end := ""
	if r.hangup {
		end = "Connection: close\r\n"
	}
	_ = c.write(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		r.status, http.StatusText(r.status), end, len(doc), doc))
}

// ask gives the environment an event, now or when there is one.
func (c *conn) ask(last bool) error {
	f, e := c.env.f, c.env
	f.mu.Lock()
	if max := f.config.MaxConcurrency; max > 1 && e.asks+len(e.running) >= max {
		f.mu.Unlock()
		return misplaced(fmt.Sprintf("The runtime asks for more than %d events at once.", max))
	}
	if f.config.MaxConcurrency == 1 {
		if len(e.running) > 0 {
			f.mu.Unlock()
			return misplaced("The invocation has not been answered.")
		}
		for old := range e.conns { // a runtime that gave up waiting and asks anew
			if old.asking {
				f.drop(old)
				old.Close()
			}
		}
	}
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.guard = time.Time{}
	now := f.clock.Now()
	first := !e.asked
	if first {
		e.asked = true
		e.init = now.Sub(e.began)
		f.starting--
		if e.provisioned {
			f.failures = 0
		}
		f.expect(e, f.config.MaxConcurrency-1)
	} else {
		f.expect(e, -1)
	}
	c.last = last
	if e.ending {
		f.mu.Unlock()
		return nil // there will be no more
	}
	inv := e.bound
	if e.bound = nil; inv == nil || inv.claimed {
		inv = f.next(e)
	}
	if inv == nil {
		c.asking = true
		e.asks++
		e.idle = now
		f.ready = append(f.ready, c)
		f.rest()
		f.mu.Unlock()
		return nil
	}
	if first && !e.provisioned && inv.began.IsZero() {
		inv.init = e.init
	}
	f.assign(inv, c)
	f.mu.Unlock()
	f.transmit(inv, c)
	return nil
}

// send hands an event to an environment that has asked. It does not block for long.
func (f *Function) send(inv *invocation, c *conn) {
	if len(inv.req.Payload) > small {
		f.life.Go(func() { f.transmit(inv, c) })
		return
	}
	f.transmit(inv, c)
}

// transmit writes an event to a connection that assign has given it.
func (f *Function) transmit(inv *invocation, c *conn) {
	e := c.env
	e.log.start(inv.req.ID, f.config.MaxConcurrency == 1)
	b := appendEvent(c.out.buf[:0], inv, f.config.Timeout)
	var err error
	if len(inv.req.Payload) <= small {
		b = append(b, inv.req.Payload...)
		_, err = c.Write(b)
	} else {
		parts := net.Buffers{b, inv.req.Payload}
		_, err = parts.WriteTo(c.Conn)
	}
	c.out.buf = b[:0]
	f.mu.Lock()
	if err == nil {
		inv.delivered = true
	} else if delete(e.running, inv.req.ID); !inv.claimed && !f.closing {
		// The code has not seen it, so another environment can have it.
		inv.env, inv.began, inv.init, inv.late = nil, time.Time{}, 0, false
		inv.queued = f.clock.Now()
		f.alarm(inv.queued.Add(patience), inv.queued)
		f.queue = append([]*invocation{inv}, f.queue...)
		f.grow()
	} else {
		f.conclude(inv, outcome{err: f.fault(executor.Closed, errClosed)})
	}
	last := c.last
	f.mu.Unlock()
	c.out.mu.Unlock()
	inv.payload.Unlock()
	if err != nil || last {
		c.Close()
	}
}

// appendEvent appends the answer to an ask, up to its body.
func appendEvent(b []byte, inv *invocation, timeout time.Duration) []byte {
	header := func(name, value string) {
		if value != "" {
			b = append(b, name...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"...)
	header("Lambda-Runtime-Aws-Request-Id: ", inv.req.ID)
	b = append(b, "Lambda-Runtime-Deadline-Ms: "...)
	b = strconv.AppendInt(b, inv.began.Add(timeout).UnixMilli(), 10)
	b = append(b, "\r\n"...)
	header("Lambda-Runtime-Invoked-Function-Arn: ", inv.req.ARN)
	header("Lambda-Runtime-Trace-Id: ", inv.req.TraceID)
	header("Traceparent: ", inv.req.TraceParent)
	header("Lambda-Runtime-Client-Context: ", oneLine.Replace(inv.req.ClientContext))
	header("Lambda-Runtime-Aws-Tenant-Id: ", inv.req.TenantID)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(inv.req.Payload)), 10)
	return append(b, "\r\n\r\n"...)
}

// oneLine makes JSON text fit for a header: outside of its strings a line break is a space, inside there is none.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

// find finds the invocation that a runtime answers.
func (c *conn) find(id string) (*invocation, error) {
	f, e := c.env.f, c.env
	f.mu.Lock()
	defer f.mu.Unlock()
	inv := e.running[id]
	switch {
	case inv == nil && (id == e.last || !e.asked):
		return nil, misplaced("There is no invocation to answer, or it has been answered.")
	case inv == nil:
		return nil, &refusal{400, "InvalidRequestID", "Invalid request ID", false}
	case inv.answering:
		return nil, misplaced("The invocation is being answered.")
	}
	inv.answering = true
	return inv, nil
}

// again lets a runtime answer once more, after a request that can not be used.
func (c *conn) again(inv *invocation) {
	c.env.f.mu.Lock()
	inv.answering = false
	c.env.f.mu.Unlock()
}

// response takes the answer of the code.
func (c *conn) response(h head, b *body, id string) error {
	inv, err := c.find(id)
	if err != nil {
		return err
	}
	streaming := strings.EqualFold(h.mode, "streaming")
	if !streaming && h.mode != "" && !strings.EqualFold(h.mode, "buffered") {
		c.again(inv)
		return &refusal{400, "InvalidFunctionResponseMode", "The response mode is neither streaming nor buffered.", false}
	}
	// The Go runtime does not tell its streams from its buffers but by their type.
	streaming = streaming || b.chunked && h.contentType != "application/json"
	var res executor.Response
	if streaming && inv.sink.begin(h.contentType) {
		res.Streamed = true
		err = relay(&inv.sink, b)
	} else {
		res.Payload, err = b.all(executor.MaxResponse)
	}
	switch {
	case errors.Is(err, errTooLarge):
		limit := executor.MaxResponse
		if res.Streamed {
			limit = executor.MaxStream
		}
		size := strconv.Itoa(limit) + " bytes"
		over := executor.ResponseTooLarge()
		if res.Streamed {
			over = executor.Failed(executor.TypeTooLarge, "Response payload size exceeded maximum allowed payload size ("+size+").")
		}
		res.Payload, res.Failure = over.Payload, over.Failure
		c.complete(inv, res)
		return &refusal{413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (" + size + ").", false}
	case err != nil && res.Streamed:
		res.Failure = executor.Failed("Runtime.TruncatedResponse", "The response ended before it was complete.").Failure
		c.complete(inv, res)
		return err
	case err != nil:
		c.again(inv)
		return err
	case b.errorType != "":
		doc, err := base64.StdEncoding.DecodeString(b.errorBody)
		if err != nil {
			doc = nil
		}
		res.Failure, res.Payload = described(doc, b.errorType), doc
	}
	if res.Streamed {
		res.Payload = nil
	}
	c.complete(inv, res)
	return c.ok()
}

// relay copies a streamed answer to whoever waits for it.
func relay(w io.Writer, b *body) error {
	buf := make([]byte, 32<<10)
	for total := 0; ; {
		n, err := b.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if total += n; total > executor.MaxStream {
			return errTooLarge
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// described reads a failure out of the document that tells of it.
func described(doc []byte, kind string) *executor.Failure {
	failure := executor.ParseFailure(doc)
	if failure.Type == "" {
		failure.Type = kind
	}
	if failure.Type == "" {
		failure.Type = "Function.Unknown"
	}
	return failure
}

// failure takes the error of the code.
func (c *conn) failure(h head, b *body, id string) error {
	inv, err := c.find(id)
	if err != nil {
		return err
	}
	doc, err := b.all(executor.MaxResponse)
	switch {
	case errors.Is(err, errTooLarge):
		c.again(inv)
		return tooLarge(executor.MaxResponse)
	case err != nil:
		c.again(inv)
		return err
	}
	c.complete(inv, executor.Response{Payload: doc, Failure: described(doc, h.errorType)})
	return c.ok()
}

func tooLarge(limit int) error {
	return &refusal{413, "RequestEntityTooLarge", fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", limit), false}
}

// complete hands over the answer of the code, unless it is too late.
func (c *conn) complete(inv *invocation, res executor.Response) {
	f, e := c.env.f, c.env
	f.mu.Lock()
	late := inv.claimed
	inv.claimed = true
	f.mu.Unlock()
	if !late {
		res = f.account(e, inv, res)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !late {
		defer f.settle(inv, outcome{res: res})
	}
	delete(e.running, inv.req.ID)
	e.last = inv.req.ID
	f.expect(e, 1)
	switch {
	case e.ending:
		e.killIfIdle()
	case f.config.MaxConcurrency == 1:
		e.guard = inv.began.Add(f.config.Timeout) // it must ask again in what is left of the time
	}
}

// initError takes the error of a runtime that can not start.
func (c *conn) initError(h head, b *body) error {
	f, e := c.env.f, c.env
	doc, err := b.all(maxError)
	if errors.Is(err, errTooLarge) {
		return tooLarge(maxError)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	if e.asked || e.failure != nil {
		f.mu.Unlock()
		return misplaced("The environment has started.")
	}
	e.failure = &executor.Response{Payload: doc, Failure: described(doc, h.errorType)}
	if e.timer != nil {
		e.timer.Stop()
	}
	// The process should end now, and may say a last word.
	e.timer = f.clock.AfterFunc(grace, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kill(e, endExit)
	})
	f.mu.Unlock()
	return c.ok()
}
