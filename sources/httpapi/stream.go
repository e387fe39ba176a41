package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/millrace/millrace/event"
)

// preludeType is what a function declares if its stream begins with status and headers as JSON, followed by
// eight NUL bytes (https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html).
const preludeType = "application/vnd.awslambda.http-integration-response"

const maxPrelude = 64 << 10 // bytes before the NULs

var preludeEnd = make([]byte, 8)

var (
	errAnswered = errors.New("the gateway has already answered")
	errPrelude  = errors.New("the stream has no valid prelude")
)

// stream passes a function's answer on as it comes.
type stream struct {
	x       *exchange
	kind    string
	prelude []byte // gathered until it is complete; nil once the head is written
	started bool   // status and headers are written
	err     error
}

// begin is executor.Request.Stream.
func (s *stream) begin(contentType string) io.Writer {
	s.kind = contentType
	return s
}

func (s *stream) Write(p []byte) (int, error) {
	n := len(p)
	if s.err != nil {
		return 0, s.err
	}
	if !s.started && s.kind == preludeType {
		s.prelude = append(s.prelude, p...)
		end := bytes.Index(s.prelude, preludeEnd)
		if end < 0 && len(s.prelude) <= maxPrelude {
			return n, nil
		}
		if end < 0 || end > maxPrelude {
			s.x.malformed(errPrelude)
			s.err = errPrelude
			return 0, s.err
		}
		if err := s.x.answer.Read(s.prelude[:end], event.AnswerPrelude); err != nil {
			s.x.malformed(err)
			s.err = err
			return 0, s.err
		}
		p = s.prelude[end+len(preludeEnd):]
	}
	if !s.started {
		if s.err = s.start(); s.err != nil {
			return 0, s.err
		}
	}
	if len(p) == 0 {
		return n, nil
	}
	rc := http.NewResponseController(s.x.w)
	defer s.x.within(rc.SetWriteDeadline)()
	if _, s.err = s.x.w.Write(p); s.err != nil {
		return 0, s.err
	}
	if s.err = rc.Flush(); s.err != nil {
		return 0, s.err
	}
	return n, nil
}

// start writes the head: that of the prelude, or a plain 200.
func (s *stream) start() error {
	if !s.x.claim() {
		return errAnswered
	}
	defer s.x.mu.Unlock()
	s.started = true
	status := http.StatusOK
	if s.kind == preludeType {
		status = s.x.answer.Status
		s.x.setHeaders()
	} else {
		kind := s.kind
		if kind == "" {
			kind = "application/octet-stream"
		}
		s.x.set("Content-Type", kind)
	}
	s.prelude = nil
	s.x.head(status)
	return http.NewResponseController(s.x.w).Flush()
}

// end finishes the answer. What broke off after its head can only be told by breaking the connection.
func (s *stream) end(failed bool) {
	switch {
	case failed && s.started:
		panic(http.ErrAbortHandler)
	case failed:
		s.x.fail(functionFailed)
	case !s.started && s.err == nil && s.kind == preludeType:
		s.x.malformed(errPrelude)
	case !s.started && s.err == nil:
		_ = s.start() // an empty answer
	}
}

// broken tells whether the head has gone out although there is no answer.
func (s *stream) broken(*exchange) bool { return s.started }
