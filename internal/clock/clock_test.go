package clock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestManualRunsTimersInOrderAtTheirTime(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(start)
	type call struct {
		name string
		at   time.Time
	}
	calls := make(chan call)
	set := func(name string, d time.Duration) clock.Timer {
		return m.AfterFunc(d, func() { calls <- call{name, m.Now()} })
	}
	set("late", 2*time.Minute)
	stopped := set("stopped", time.Second)
	set("early", time.Minute)
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop reports the wrong state")
	}
	m.Advance(time.Minute)
	if c := <-calls; c.name != "early" || !c.at.Equal(start.Add(time.Minute)) {
		t.Errorf("first call %+v", c)
	}
	if n := m.Timers(); n != 1 {
		t.Errorf("%d timers pending, want 1", n)
	}
	m.Advance(time.Minute)
	if c := <-calls; c.name != "late" {
		t.Errorf("second call %+v", c)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(start)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := clock.Sleep(ctx, m, time.Hour); !errors.Is(err, why) {
		t.Errorf("Sleep = %v", err)
	}
	if m.Timers() != 0 {
		t.Error("a timer is left behind")
	}
}

func TestWithTimeoutTellsTimeoutFromCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := clock.WithTimeout(t.Context(), clock.System{}, time.Second)
		defer cancel()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		ctx, cancel = clock.WithTimeout(t.Context(), clock.System{}, time.Second)
		cancel()
		time.Sleep(2 * time.Second)
		if !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
	})
}
