package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// The Runtime API is spoken by one process over a few connections on the loopback interface, and each
// invocation passes through it twice. So this is a server for exactly that: HTTP/1.1 with kept connections,
// bodies with a length or in chunks, trailers and 100-continue, read into one buffer for each connection.

const (
	maxHead  = 128 << 10 // bytes of a request line and its headers; the X-Ray cause alone may have 64 KB
	maxDrain = 64 << 20  // bytes of a refused body that are read so that the peer sees the answer
)

// refusal is a request that is answered with an error.
type refusal struct {
	status  int
	kind    string // errorType
	message string
	hangup  bool // the connection can not go on: where the next request begins is not known
}

func (r *refusal) Error() string { return r.kind + ": " + r.message }

func malformed(format string, args ...any) error {
	return &refusal{400, "BadRequest", fmt.Sprintf(format, args...), true}
}

var errTruncated = &refusal{400, "TruncatedHTTPRequest", "The request ended before its body was complete.", true}

// errTooLarge is a body over the limit of its reader.
var errTooLarge = errors.New("body is too large")

// head is what the Runtime API needs to know of a request's line and headers.
type head struct {
	method, path string
	length       int64 // of the body; -1: in chunks
	last         bool  // the peer closes after this request
	waits        bool  // for 100 Continue

	contentType string
	mode        string // Lambda-Runtime-Function-Response-Mode
	errorType   string // Lambda-Runtime-Function-Error-Type
}

// stream is the receiving half of a connection.
type stream struct {
	net.Conn
	buf  []byte
	r, w int // buf[r:w] is read from the connection and not yet used
}

// fill reads more into the buffer, which may move.
func (s *stream) fill() error {
	if s.r == s.w {
		s.r, s.w = 0, 0
	}
	if s.w == len(s.buf) {
		switch {
		case s.r > 0:
			s.w = copy(s.buf, s.buf[s.r:s.w])
			s.r = 0
		case len(s.buf) >= maxHead:
			return &refusal{431, "RequestHeaderFieldsTooLarge", "The request's headers are too large.", true}
		default:
			buf := make([]byte, max(4<<10, 2*len(s.buf)))
			s.w = copy(buf, s.buf[s.r:s.w])
			s.buf = buf
		}
	}
	n, err := s.Read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// line returns the next line without its end. It is valid until the next call.
func (s *stream) line() ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(s.buf[s.r+seen:s.w], '\n'); i >= 0 {
			line := s.buf[s.r : s.r+seen+i]
			s.r += seen + i + 1
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		seen = s.w - s.r
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// head reads a request up to its body. The error is io.EOF if the peer closed between two requests.
func (s *stream) head() (head, error) {
	var h head
	line, err := s.line()
	if len(line) == 0 && err == nil { // one empty line before a request is to be ignored (RFC 9112, 2.2)
		line, err = s.line()
	}
	if err != nil {
		if errors.Is(err, io.EOF) && s.r < s.w {
			err = errTruncated
		}
		return h, err
	}
	method, rest, _ := bytes.Cut(line, []byte{' '})
	path, version, _ := bytes.Cut(rest, []byte{' '})
	if len(path) == 0 || path[0] != '/' {
		return h, malformed("The request line is not that of an HTTP request.")
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.last = true
	default:
		return h, &refusal{505, "HTTPVersionNotSupported", "Only HTTP/1.1 is spoken here.", true}
	}
	h.method, h.path = string(method), string(path)

	sized, size := false, len(line)
	for {
		line, err := s.line()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errTruncated
			}
			return h, err
		}
		if len(line) == 0 {
			return h, nil
		}
		if size += len(line) + 2; size > maxHead {
			return h, &refusal{431, "RequestHeaderFieldsTooLarge", "The request's headers are too large.", true}
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			return h, malformed("A header has no name or no colon.")
		}
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			n, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil || n < 0 || value[0] == '+' || sized && n != h.length {
				return h, malformed("The Content-Length is not one number, or stands beside chunks.")
			}
			h.length, sized = n, true
		case is(name, "transfer-encoding"):
			if !is(value, "chunked") || sized {
				return h, malformed("The Transfer-Encoding is not chunked, or stands beside a length.")
			}
			h.length, sized = -1, true
		case is(name, "connection"):
			h.last = h.last && !is(value, "keep-alive") || is(value, "close")
		case is(name, "expect"):
			h.waits = is(value, "100-continue")
		case is(name, "content-type"):
			h.contentType = string(value)
		case is(name, "lambda-runtime-function-response-mode"):
			h.mode = string(value)
		case is(name, "lambda-runtime-function-error-type"):
			h.errorType = string(value)
		}
	}
}

// is tells whether b is the lower-case ASCII text s in any case.
func is(b []byte, s string) bool {
	return len(b) == len(s) && strings.EqualFold(string(b), s)
}

// body reads the body of one request. It must be read to its end before the next head.
type body struct {
	s       *stream
	left    int64 // bytes to come, of the chunk if in chunks
	chunked bool
	inside  bool // a chunk whose end has not been read
	done    bool

	errorType, errorBody string // trailers
}

func (s *stream) body(h head) (*body, error) {
	if h.waits && s.r == s.w && h.length != 0 {
		if _, err := io.WriteString(s, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, err
		}
	}
	return &body{s: s, left: max(0, h.length), chunked: h.length < 0, done: h.length == 0}, nil
}

// advance makes left the number of bytes that may be read now, or done true. Any end of the connection
// before the end of the body is errTruncated.
func (b *body) advance() error {
	if b.done || b.left > 0 {
		return nil
	}
	if !b.chunked {
		b.done = true
		return nil
	}
	if b.inside {
		if line, err := b.s.line(); err != nil {
			return truncated(err)
		} else if len(line) != 0 {
			return malformed("A chunk is longer than it says.")
		}
		b.inside = false
	}
	line, err := b.s.line()
	if err != nil {
		return truncated(err)
	}
	size, _, _ := bytes.Cut(line, []byte{';'})
	size = bytes.TrimRight(size, " \t")
	n, err := strconv.ParseUint(string(size), 16, 62)
	if err != nil || size[0] == '+' {
		return malformed("A chunk does not begin with its size.")
	}
	if n > 0 {
		b.left, b.inside = int64(n), true
		return nil
	}
	for total := 0; ; {
		line, err := b.s.line()
		if err != nil {
			return truncated(err)
		}
		if len(line) == 0 {
			b.done = true
			return nil
		}
		if total += len(line); total > maxHead {
			return &refusal{431, "RequestHeaderFieldsTooLarge", "The request's trailers are too large.", true}
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case is(name, "lambda-runtime-function-error-type"):
			b.errorType = string(bytes.TrimSpace(value))
		case is(name, "lambda-runtime-function-error-body"):
			b.errorBody = string(bytes.TrimSpace(value))
		}
	}
}

// truncated turns any fault of the connection into errTruncated.
func truncated(err error) error {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return err
	}
	return errTruncated
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.advance(); err != nil {
		return 0, err
	}
	if b.done {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.left)]
	if b.s.r < b.s.w {
		n := copy(p, b.s.buf[b.s.r:b.s.w])
		b.s.r += n
		b.left -= int64(n)
		return n, nil
	}
	n, err := b.s.Read(p)
	b.left -= int64(n)
	if n > 0 || err == nil {
		return n, nil
	}
	return 0, truncated(err)
}

// all reads the rest of the body, up to limit bytes. Over that the error is errTooLarge and the rest is
// still to be read.
func (b *body) all(limit int) ([]byte, error) {
	var out []byte
	for {
		if err := b.advance(); err != nil || b.done {
			return out, err
		}
		if b.left > int64(limit-len(out)) {
			return nil, errTooLarge
		}
		// Memory is given as bytes arrive, not as they are announced, past what is usual.
		n := int(min(b.left, 1<<20))
		if cap(out)-len(out) < n {
			grown := make([]byte, len(out), min(max(2*cap(out), len(out)+n), limit))
			copy(grown, out)
			out = grown
		}
		n, err := b.Read(out[len(out) : len(out)+n])
		out = out[:len(out)+n]
		if err != nil {
			return nil, err
		}
	}
}

// drain reads what is left of the body, so that the peer can finish sending and see the answer.
func (b *body) drain() error {
	_, err := io.CopyN(io.Discard, b, maxDrain)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errTooLarge
}

// answers writes whole answers to a connection, one at a time.
type answers struct {
	mu  sync.Mutex
	buf []byte
}

// accepted is the answer to everything that a runtime delivers.
var accepted = []byte("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n")
