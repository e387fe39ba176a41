package wasm

import (
	"bytes"
	"io"

	"github.com/millrace/millrace/executor"
)

// maxLine is the longest line that is kept together, in bytes.
const maxLine = 64 << 10

// log is what one invocation writes: whole lines go to out as they come, the last bytes are kept if they are
// asked for. It is used by one goroutine at a time.
type log struct {
	out     io.Writer // nil if nobody reads it
	keep    bool
	pending []byte // lines not yet written, then the line begun
	tail    []byte
}

// begin starts the log of an invocation.
func (l *log) begin(out io.Writer, req *executor.Request) {
	l.out, l.keep = out, req.LogTail
	l.pending, l.tail = l.pending[:0], l.tail[:0]
	if l.out != nil || l.keep {
		// It goes out with the first line or with the report: one write for a function that logs nothing.
		l.pending = executor.AppendStart(l.pending, req.ID, version)
	}
}

// Write takes what the code writes to stdout or stderr.
func (l *log) Write(p []byte) (int, error) {
	n := len(p)
	if l.out == nil && !l.keep {
		return n, nil
	}
	for len(p) > 0 {
		part := p[:min(len(p), maxLine)]
		p = p[len(part):]
		l.pending = append(l.pending, part...)
		if i := bytes.LastIndexByte(l.pending, '\n'); i >= 0 {
			l.flush(i + 1)
		}
		if len(l.pending) >= maxLine {
			l.pending = append(l.pending, '\n')
			l.flush(len(l.pending))
		}
	}
	return n, nil
}

// line writes one line with a level.
func (l *log) line(level, message string) {
	if l.out == nil && !l.keep {
		return
	}
	l.endLine()
	l.pending = append(l.pending, level...)
	l.pending = append(l.pending, ' ')
	l.pending = append(l.pending, message...)
	l.endLine()
	l.flush(len(l.pending))
}

// end completes the log with the report of an invocation, and returns the tail.
func (l *log) end(req *executor.Request, memory int64, resp *executor.Response) []byte {
	if l.out == nil && !l.keep {
		return nil
	}
	l.endLine()
	l.pending = executor.AppendReport(l.pending, req.ID, memory, resp)
	l.flush(len(l.pending))
	if !l.keep {
		return nil
	}
	return bytes.Clone(l.tail)
}

func (l *log) endLine() {
	if n := len(l.pending); n > 0 && l.pending[n-1] != '\n' {
		l.pending = append(l.pending, '\n')
	}
}

// flush hands on the first n bytes that are pending.
func (l *log) flush(n int) {
	lines := l.pending[:n]
	if l.out != nil {
		_, _ = l.out.Write(lines) // a log that can not be written must not stop the function
	}
	if l.keep {
		l.tail = append(l.tail, lines...)
		if over := len(l.tail) - executor.LogTail; over > 0 {
			l.tail = l.tail[:copy(l.tail, l.tail[over:])]
		}
	}
	l.pending = l.pending[:copy(l.pending, l.pending[n:])]
}
