package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/clock"
)

func TestMovableRunsAndCanBePutForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := clock.NewMovable(clock.System{})
		begin := m.Now()
		var calls []string
		at := func(name string, d time.Duration) clock.Timer {
			return m.AfterFunc(d, func() { calls = append(calls, name) })
		}
		at("second", time.Second)
		at("hour", time.Hour)
		stopped := at("stopped", time.Hour)
		again := at("again", time.Hour)
		time.Sleep(time.Second) // the clock runs by itself
		synctest.Wait()
		if len(calls) != 1 || calls[0] != "second" {
			t.Fatalf("calls %q", calls)
		}
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop reports the wrong state")
		}
		if !again.Reset(2 * time.Hour) {
			t.Error("Reset reports the wrong state")
		}
		m.Advance(time.Hour)
		synctest.Wait()
		if len(calls) != 2 || calls[1] != "hour" {
			t.Fatalf("calls after an hour %q", calls)
		}
		if d := m.Now().Sub(begin); d != time.Hour+time.Second {
			t.Errorf("the clock has moved by %s", d)
		}
		time.Sleep(time.Hour) // what is left of the two hours runs off by itself
		synctest.Wait()
		if len(calls) != 3 || calls[2] != "again" {
			t.Errorf("calls at last %q", calls)
		}
		if again.Reset(time.Minute) {
			t.Error("Reset of a call that has happened says that it was pending")
		}
		m.Advance(time.Minute)
		synctest.Wait()
		if len(calls) != 4 {
			t.Errorf("a timer that was set again has not run: %q", calls)
		}
	})
}
