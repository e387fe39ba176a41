package alarm_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/alarm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type call struct {
	key string
	at  time.Duration
}

// fixture is an alarm whose calls can be awaited.
func fixture(t *testing.T, ring func(a *alarm.Alarm[string], c call)) (*alarm.Alarm[string], *clock.Manual, chan call) {
	t.Helper()
	m := clock.NewManual(start)
	calls := make(chan call, 1000)
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var a *alarm.Alarm[string]
	a = alarm.New(m, func(f func(context.Context)) { work.Go(func() { f(ctx) }) }, func(_ context.Context, key string, at time.Time) {
		c := call{key, at.Sub(start)}
		if ring != nil {
			ring(a, c)
		}
		calls <- c
	})
	t.Cleanup(func() {
		stop()
		work.Wait()
	})
	return a, m, calls
}

func TestCallsComeAtTheirTimesInOrder(t *testing.T) {
	t.Parallel()
	a, m, calls := fixture(t, nil)
	a.Set("b", start.Add(2*time.Hour))
	a.Set("a", start.Add(time.Hour))
	a.Set("moved", start.Add(time.Hour))
	a.Set("moved", start.Add(3*time.Hour))
	a.Set("stopped", start.Add(time.Minute))
	a.Stop("stopped")
	a.Stop("never set")
	m.Advance(time.Hour - 1)
	m.Advance(1)
	if c := <-calls; c != (call{"a", time.Hour}) {
		t.Fatalf("first call %v", c)
	}
	m.Advance(5 * time.Hour)
	for _, want := range []call{{"b", 2 * time.Hour}, {"moved", 3 * time.Hour}} {
		if c := <-calls; c != want {
			t.Fatalf("call %v, want %v", c, want)
		}
	}
}

func TestWhatIsPastIsCalledAtOnce(t *testing.T) {
	t.Parallel()
	a, _, calls := fixture(t, nil)
	a.Set("late", start.Add(-time.Hour))
	if c := <-calls; c.at != -time.Hour {
		t.Errorf("call %v", c)
	}
}

func TestACallMaySetTheNext(t *testing.T) {
	t.Parallel()
	a, m, calls := fixture(t, func(a *alarm.Alarm[string], c call) { a.Set(c.key, start.Add(c.at+time.Minute)) })
	a.Set("x", start.Add(time.Minute))
	m.Advance(10 * time.Minute) // one jump over ten calls
	for i := range 10 {
		if c := <-calls; c.at != time.Duration(i+1)*time.Minute {
			t.Fatalf("call %d at %s", i, c.at)
		}
	}
	m.Advance(time.Minute)
	if c := <-calls; c.at != 11*time.Minute {
		t.Errorf("call at %s", c.at)
	}
}

func TestClearPreventsAllCalls(t *testing.T) {
	t.Parallel()
	a, m, calls := fixture(t, nil)
	a.Set("a", start.Add(time.Minute))
	a.Set("b", start.Add(time.Minute))
	a.Clear()
	if n := m.Timers(); n != 0 {
		t.Errorf("%d timers pending", n)
	}
	a.Set("c", start.Add(time.Hour))
	m.Advance(time.Hour)
	if c := <-calls; c.key != "c" {
		t.Errorf("call %v", c)
	}
}

func TestManyKeysAreCalledInOrder(t *testing.T) {
	t.Parallel()
	a, m, calls := fixture(t, nil)
	const n = 500
	for i := range n {
		a.Set(strings.Repeat("x", i+1), start.Add(time.Duration((i*7919)%n)*time.Second))
	}
	m.Advance(time.Hour)
	var at []time.Duration
	for range n {
		at = append(at, (<-calls).at)
	}
	if !slices.IsSorted(at) || at[0] != 0 || at[n-1] != (n-1)*time.Second {
		t.Errorf("order of calls %v", at)
	}
}
