package sources

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/executor"
)

// Line is where events of an upstream that cannot be slowed down wait for their turn, in order. It is bounded:
// what comes above its limits does not get in. All methods may be called concurrently.
type Line[T any] struct {
	places chan struct{}

	mu      sync.Mutex
	waiting chan entry[T]
	bytes   int64 // of those waiting
	limit   int64
	closed  bool
}

type entry[T any] struct {
	event T
	size  int64
}

// NewLine makes a line in which so many events of so many bytes may wait while concurrency of them are worked
// on.
func NewLine[T any](events int, bytes int64, concurrency int) *Line[T] {
	return &Line[T]{places: make(chan struct{}, concurrency), waiting: make(chan entry[T], events), limit: bytes}
}

// Put adds an event of size bytes. It never blocks; it returns false if the line is full or closed.
func (l *Line[T]) Put(event T, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) == cap(l.waiting) || l.bytes+int64(size) > l.limit {
		return false
	}
	l.bytes += int64(size)
	l.waiting <- entry[T]{event, int64(size)} // there is room: nobody else adds while mu is held
	return true
}

// Work calls handle for each event, at most concurrency at once. It returns when the line has been closed, is
// empty, and every call has ended.
func (l *Line[T]) Work(handle func(T)) {
	var busy sync.WaitGroup
	defer busy.Wait()
	for e := range l.waiting {
		l.places <- struct{}{}
		l.mu.Lock()
		l.bytes -= e.size
		l.mu.Unlock()
		busy.Go(func() {
			handle(e.event)
			<-l.places
		})
	}
}

// Close lets nothing more in. It may be called twice.
func (l *Line[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.waiting)
	}
}

// Backoff is the wait after a number of failed attempts, from 100 ms to 10 s. It doubles, and has up to a
// quarter of jitter, so that those who wait for the same thing do not all come at once.
func Backoff(attempts int) time.Duration {
	wait := min(10*time.Second, 100*time.Millisecond<<min(max(attempts, 1)-1, 10))
	return wait + rand.N(wait/4)
}

// Permanent reports whether the hub's error means that it will never take the request.
func Permanent(err error) bool {
	var e *executor.Error
	return errors.As(err, &e) && (e.Kind == executor.Refused || e.Kind == executor.TooLarge)
}
