package lambdaapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
)

// maxChunk is the most payload that one frame carries.
const maxChunk = 256 << 10

// stream runs a function and sends its answer on as it comes. The status line goes out with the first bytes,
// so whatever fails later is told in the last frame.
func (s *server) stream(w http.ResponseWriter, r *http.Request, name string, function executor.Function, req executor.Request) {
	out := &frames{server: s, w: w, conn: http.NewResponseController(w), encoder: eventstream.NewEncoder(), id: req.ID, traceID: req.TraceID}
	req.Stream = func(string) io.Writer {
		out.begin(latest)
		return out
	}
	response, err := s.run(context.WithoutCancel(r.Context()), name, function, req)
	if err != nil {
		e := fromExecutor(err, typeSync, len(req.Payload))
		if !out.begun {
			s.fail(w, r, opStream, req.ID, e)
			return
		}
		s.metrics.requests.WithLabelValues(opStream, e.code).Inc()
		out.complete(e.code, []byte(e.message), nil, req.LogTail)
		return
	}
	version := response.Version
	if version == "" {
		version = latest
	}
	out.begin(version)
	if failure := response.Failure; failure != nil {
		s.metrics.requests.WithLabelValues(opStream, "function_error").Inc()
		details := response.Payload
		if len(details) == 0 {
			details = executor.Failed(failure.Type, failure.Message).Payload
		}
		out.complete("Unhandled", details, response.Log, req.LogTail)
		return
	}
	s.metrics.requests.WithLabelValues(opStream, "ok").Inc()
	out.Write(response.Payload) //nolint:errcheck // the caller has gone
	out.complete("", nil, response.Log, req.LogTail)
}

// frames writes an event stream. It is used by one goroutine at a time.
type frames struct {
	server      *server
	w           http.ResponseWriter
	conn        *http.ResponseController
	encoder     *eventstream.Encoder
	buf         bytes.Buffer
	id, traceID string
	begun       bool
	gone        error // why the client can not be written to any more
}

func (f *frames) begin(version string) {
	if f.begun {
		return
	}
	f.begun = true
	h := f.w.Header()
	h["x-amzn-RequestId"] = []string{f.id}
	h["X-Amz-Executed-Version"] = []string{version}
	h["X-Amzn-Trace-Id"] = []string{f.traceID}
	h["Content-Type"] = []string{"application/vnd.amazon.eventstream"}
	f.w.WriteHeader(http.StatusOK)
	f.gone = f.flush()
}

// Write sends p as PayloadChunk frames.
func (f *frames) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		part := p[sent:min(len(p), sent+maxChunk)]
		if f.frame("PayloadChunk", "application/octet-stream", part); f.gone != nil {
			return sent, f.gone
		}
		sent += len(part)
	}
	return sent, nil
}

func (f *frames) complete(code string, details, log []byte, tail bool) {
	body := []byte{'{'}
	member := func(name string, value []byte) {
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, `"`+name+`":`...)
		body = event.AppendBytes(body, value)
	}
	if code != "" {
		member("ErrorCode", []byte(code))
		member("ErrorDetails", details)
	}
	if tail {
		member("LogResult", []byte(logResult(log)))
	}
	f.frame("InvokeComplete", "application/json", append(body, '}'))
}

func (f *frames) frame(eventType, contentType string, payload []byte) {
	if f.gone != nil {
		return
	}
	f.buf.Reset()
	f.gone = f.encoder.Encode(&f.buf, eventstream.Message{
		Headers: eventstream.Headers{
			{Name: ":event-type", Value: eventstream.StringValue(eventType)},
			{Name: ":content-type", Value: eventstream.StringValue(contentType)},
			{Name: ":message-type", Value: eventstream.StringValue("event")},
		},
		Payload: payload,
	})
	if f.gone == nil {
		f.gone = writeWithin(f.server.clock, f.conn, flushed{f}, f.buf.Bytes())
	}
}

func (f *frames) flush() error {
	if err := f.conn.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// flushed writes through to the network.
type flushed struct{ f *frames }

func (w flushed) Write(p []byte) (int, error) {
	n, err := w.f.w.Write(p)
	if err == nil {
		err = w.f.flush()
	}
	return n, err
}
