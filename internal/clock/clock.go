// Package clock is the one place where the hub reads the time and waits. Whatever waits or stamps takes a
// Clock, so that tests and the local stack can move time by hand.
package clock

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock tells the time and starts timers. All methods may be called concurrently.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own once d has passed. Stop on the Timer it returns reports
	// whether the call was prevented; it does not wait for a call under way.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending call of AfterFunc.
type Timer interface {
	Stop() bool
	// Reset makes the call happen d from now, and reports whether it was still pending.
	Reset(d time.Duration) bool
}

// System is the clock of the operating system. Under testing/synctest it is the bubble's clock.
type System struct{}

func (System) Now() time.Time { return time.Now() }

func (System) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// Sleep waits until d has passed or ctx is done, and returns the cause of the latter.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	done := make(chan struct{})
	t := c.AfterFunc(d, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		t.Stop()
		return context.Cause(ctx)
	}
}

// WithTimeout is context.WithTimeout on c: the context's cause is context.DeadlineExceeded once d has passed.
// Its Deadline method reports nothing, because libraries would measure that with a clock of their own.
func WithTimeout(ctx context.Context, c Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var ended atomic.Bool
	t := c.AfterFunc(d, func() {
		if ended.CompareAndSwap(false, true) {
			cancel(context.DeadlineExceeded)
		}
	})
	return ctx, func() {
		ended.Store(true)
		t.Stop()
		cancel(context.Canceled)
	}
}
