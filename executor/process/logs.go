package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

const (
	maxLine    = 256 << 10   // bytes of one log line; a longer one is cut into several
	maxPending = 1 << 20     // bytes of log that wait to be written
	maxStall   = time.Second // how long a full log holds up a function that prints
)

// output writes log lines of all environments of a function to the hub's log, in a goroutine of its own: a
// slow or stuck log slows a function that prints down, but never stops it, nor the hub.
type output struct {
	w     io.Writer
	clock clock.Clock

	mu      sync.Mutex
	buf     []byte
	dropped int
	stuck   bool // it had no room for so long that nobody waits for it
	closed  bool
	wake    chan struct{} // something to write, or closed
	room    chan struct{} // closed and replaced when buf has been taken
	done    chan struct{}
}

func newOutput(w io.Writer, c clock.Clock) *output {
	if w == nil || w == io.Discard {
		return nil
	}
	o := &output{w: w, clock: c, wake: make(chan struct{}, 1), room: make(chan struct{}), done: make(chan struct{})}
	go o.run()
	return o
}

func (o *output) run() {
	defer close(o.done)
	var buf []byte
	for range o.wake {
		for {
			o.mu.Lock()
			buf, o.buf = o.buf, buf[:0]
			if o.dropped > 0 {
				buf = fmt.Appendf(buf, "[millrace: %d lines of log dropped, the log does not keep up]\n", o.dropped)
				o.dropped = 0
			}
			closed := o.closed
			o.stuck = false
			close(o.room)
			o.room = make(chan struct{})
			o.mu.Unlock()
			if len(buf) == 0 {
				if closed {
					return
				}
				break
			}
			// A log that can not be written is not a reason to stop the function.
			_, _ = o.w.Write(buf)
			if cap(buf) > 2*maxPending {
				buf = nil
			}
		}
	}
}

// write takes whole lines. It does not block.
func (o *output) write(lines []byte) {
	if o == nil || len(lines) == 0 {
		return
	}
	o.mu.Lock()
	if o.closed || len(o.buf) > maxPending {
		o.dropped += bytes.Count(lines, []byte{'\n'})
	} else {
		o.buf = append(o.buf, lines...)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// wait blocks while the log is full, for a second at most.
func (o *output) wait(stop <-chan struct{}) {
	if o == nil {
		return
	}
	o.mu.Lock()
	full, room := len(o.buf) > maxPending/2 && !o.stuck, o.room
	o.mu.Unlock()
	if !full {
		return
	}
	enough := make(chan struct{})
	t := o.clock.AfterFunc(maxStall, func() { close(enough) })
	defer t.Stop()
	select {
	case <-room:
	case <-stop:
	case <-enough:
		o.mu.Lock()
		o.stuck = o.room == room
		o.mu.Unlock()
	}
}

// close writes what is left, waiting for it until stop is closed.
func (o *output) close(stop <-chan struct{}) {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	select {
	case <-o.done:
	case <-stop:
	}
}

// journal is the log of one environment: what its process prints, and the lines of the platform around each
// invocation. What has been printed before an answer was posted belongs to that invocation.
type journal struct {
	out   *output
	clock clock.Clock
	json  bool
	stop  chan struct{} // closed when nobody waits for more

	mu      sync.Mutex
	pipe    *os.File
	raw     syscall.RawConn
	buf     []byte
	partial []byte // a line whose end has not been seen
	tail    []byte // last lines of the invocation
	fresh   bool   // no invocation has ended yet: the tail begins with the start-up
	scratch []byte
}

func newJournal(out *output, c clock.Clock, json bool) *journal {
	return &journal{out: out, clock: c, json: json, stop: make(chan struct{}), fresh: true}
}

// open makes the file that the process must get as stdout and stderr.
func (j *journal) open() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	raw, err := r.SyscallConn()
	if err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// Reading happens under the mutex, from two goroutines, so that a byte is never between the two.
	j.pipe, j.raw, j.buf = r, raw, make([]byte, 16<<10)
	return w, nil
}

// follow copies what the process prints until the pipe is closed.
func (j *journal) follow() {
	for {
		j.out.wait(j.stop)
		end := false
		err := j.raw.Read(func(fd uintptr) bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			n, again := j.read(fd)
			end = n == 0 && !again
			return !again
		})
		if err != nil || end {
			return
		}
	}
}

// read takes one buffer from the pipe; j.mu is held. again means that there is nothing yet.
func (j *journal) read(fd uintptr) (n int, again bool) {
	for {
		n, err := unix.Read(int(fd), j.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, true
		case err != nil || n <= 0:
			return 0, false
		}
		j.take(j.buf[:n])
		return n, false
	}
}

// drain takes what the process has printed so far; j.mu is held. A process that never stops printing does
// not keep it.
func (j *journal) drain() {
	if j.raw == nil {
		return
	}
	_ = j.raw.Control(func(fd uintptr) { // an error means that the pipe is closed, and so drained
		for range 64 {
			if n, _ := j.read(fd); n < len(j.buf) {
				return
			}
		}
	})
}

func (j *journal) take(b []byte) {
	end := bytes.LastIndexByte(b, '\n') + 1
	if end > 0 {
		if len(j.partial) > 0 {
			j.partial = append(j.partial, b[:end]...)
			j.add(j.partial)
			j.partial = j.partial[:0]
		} else {
			j.add(b[:end])
		}
	}
	j.partial = append(j.partial, b[end:]...)
	if len(j.partial) >= maxLine {
		j.flush()
	}
}

// flush ends a line that its writer has not ended.
func (j *journal) flush() {
	if len(j.partial) > 0 {
		j.add(append(j.partial, '\n'))
		j.partial = j.partial[:0]
	}
}

func (j *journal) add(lines []byte) {
	j.out.write(lines)
	if len(lines) >= executor.LogTail {
		j.tail = append(j.tail[:0], lines[len(lines)-executor.LogTail:]...)
		return
	}
	if len(j.tail)+len(lines) > 4*executor.LogTail {
		j.tail = append(j.tail[:0], j.tail[len(j.tail)-executor.LogTail:]...)
	}
	j.tail = append(j.tail, lines...)
}

// start opens an invocation's part of the log. alone is false if others are running in the environment.
func (j *journal) start(id string, alone bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fresh { // what the start-up printed comes first
		j.drain()
	} else if alone {
		j.tail = j.tail[:0]
	}
	b := j.scratch[:0]
	if j.json {
		b = append(b, `{"time":`...)
		b = event.AppendTime(b, j.clock.Now())
		b = append(b, `,"type":"platform.start","record":{"requestId":`...)
		b = event.AppendString(b, id)
		b = append(b, `,"version":"$LATEST"}}`+"\n"...)
	} else {
		b = executor.AppendStart(b, id, "$LATEST")
	}
	j.scratch = b
	j.add(b)
}

// end closes an invocation's part of the log, and returns its tail if asked to. memory is the most that it may
// have, in bytes.
func (j *journal) end(req *executor.Request, memory int64, res *executor.Response) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drain()
	j.flush()
	j.fresh = false
	if j.out == nil && !req.LogTail {
		return nil
	}
	b := j.scratch[:0]
	if j.json {
		b = appendJSONReport(b, j.clock.Now(), req.ID, memory, res)
	} else {
		b = executor.AppendReport(b, req.ID, memory, res)
		if root, parent, ok := sampled(req.TraceID); ok {
			b = append(b, "XRAY TraceId: "+root+"\tSegmentId: "+parent+"\tSampled: true\t\n"...)
		}
	}
	j.scratch = b
	j.add(b)
	if !req.LogTail {
		return nil
	}
	return bytes.Clone(j.tail[max(0, len(j.tail)-executor.LogTail):])
}

// appendJSONReport appends the report in the form of https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html.
func appendJSONReport(b []byte, now time.Time, id string, memory int64, r *executor.Response) []byte {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b = append(b, `{"time":`...)
	b = event.AppendTime(b, now)
	b = append(b, `,"type":"platform.report","record":{"requestId":`...)
	b = event.AppendString(b, id)
	b = fmt.Appendf(b, `,"metrics":{"durationMs":%.3f,"billedDurationMs":%d,"memorySizeMB":%d,"maxMemoryUsedMB":%d`,
		ms(r.Duration), (r.Duration+r.Init+time.Millisecond-1)/time.Millisecond, memory>>20, (r.MaxMemory+1<<20-1)>>20)
	if r.Init > 0 {
		b = fmt.Appendf(b, `,"initDurationMs":%.3f`, ms(r.Init))
	}
	switch {
	case r.Failure == nil:
		b = append(b, `},"status":"success"`...)
	case r.Failure.Type == executor.TypeTimeout:
		b = append(b, `},"status":"timeout"`...)
	default:
		b = append(b, `},"status":"error","errorType":`...)
		b = event.AppendString(b, r.Failure.Type)
	}
	return append(b, "}}\n"...)
}

// sampled reads an X-Ray trace header.
func sampled(header string) (root, parent string, ok bool) {
	for field := range strings.SplitSeq(header, ";") {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "Root":
			root = value
		case "Parent":
			parent = value
		case "Sampled":
			ok = value == "1"
		}
	}
	return root, parent, ok && root != ""
}

// note adds a line of the platform's.
func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drain()
	j.flush()
	j.add([]byte(line + "\n"))
}

// close takes what is left in the pipe and closes it. A process that outlived its group and still holds the
// other end is not waited for.
func (j *journal) close() {
	close(j.stop)
	j.mu.Lock()
	j.drain()
	j.flush()
	pipe := j.pipe
	j.mu.Unlock()
	if pipe != nil {
		pipe.Close() // waits for follow, which may want the mutex
	}
}
