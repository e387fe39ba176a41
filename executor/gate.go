package executor

import (
	"context"
	"sync"
)

// Gate counts the invocations under way in a Function, so that its Close can let them end. The zero Gate is
// open. All methods may be called concurrently.
type Gate struct {
	mu      sync.Mutex
	closed  bool
	last    uint64
	running map[uint64]func()
	idle    chan struct{} // made by Close; closed when nothing runs any more
}

// Enter notes that an invocation begins, or reports false if the gate is closed. stop makes the invocation
// end soon; it may be called at any time before Leave.
func (g *Gate) Enter(stop func()) (id uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, false
	}
	if g.running == nil {
		g.running = map[uint64]func(){}
	}
	g.last++
	g.running[g.last] = stop
	return g.last, true
}

// Leave notes that the invocation with this id has ended.
func (g *Gate) Leave(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, id)
	if g.idle != nil && len(g.running) == 0 {
		close(g.idle)
		g.idle = nil
	}
}

// Close lets nobody in any more, waits until the running invocations have left, and stops them when ctx is
// done. It reports whether it is the first Close: only that one may free what the function holds.
func (g *Gate) Close(ctx context.Context) (first bool) {
	g.mu.Lock()
	first = !g.closed
	g.closed = true
	if len(g.running) == 0 {
		g.mu.Unlock()
		return first
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()

	select {
	case <-idle:
		return first
	case <-ctx.Done():
	}
	g.mu.Lock()
	for _, stop := range g.running {
		stop()
	}
	g.mu.Unlock()
	<-idle
	return first
}
