package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

// output writes the lines of the hub and of functions to standard error, whole and in order. Lines that arrive
// within a moment go out together, so that a busy hub does not pay a system call for each. A Write waits while
// maxBehind bytes are waiting: a slow reader slows the hub, and no line is lost.
type output struct {
	w    io.Writer
	done chan struct{}

	mu      sync.Mutex
	cond    *sync.Cond
	waiting []byte
	closed  bool
}

const (
	maxBehind = 1 << 20
	moment    = 2 * time.Millisecond
)

func newOutput(w io.Writer) *output {
	o := &output{w: w, done: make(chan struct{})}
	o.cond = sync.NewCond(&o.mu)
	go o.run()
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > maxBehind && !o.closed {
		o.cond.Wait()
	}
	if o.closed {
		return o.w.Write(p)
	}
	if len(o.waiting) == 0 {
		o.cond.Broadcast()
	}
	o.waiting = append(o.waiting, p...)
	return len(p), nil
}

func (o *output) run() {
	defer close(o.done)
	var spare []byte
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for len(o.waiting) == 0 {
			if o.closed {
				return
			}
			o.cond.Wait()
		}
		if !o.closed {
			o.mu.Unlock()
			_ = clock.Sleep(context.Background(), clock.System{}, moment) // it is never cut short
			o.mu.Lock()
		}
		lines := o.waiting
		o.waiting = spare[:0]
		o.mu.Unlock()
		o.w.Write(lines) //nolint:errcheck // there is nowhere to say that standard error is gone
		spare = lines
		o.mu.Lock()
		o.cond.Broadcast()
	}
}

// close writes what is left. Later lines are written at once.
func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	o.cond.Broadcast()
	o.mu.Unlock()
	<-o.done
}
