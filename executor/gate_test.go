package executor_test

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGateLetsRunningInvocationsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g executor.Gate
		one, _ := g.Enter(func() { t.Error("stopped in spite of patience") })
		two, _ := g.Enter(func() { t.Error("stopped in spite of patience") })
		closed := false
		go func() {
			if !g.Close(t.Context()) {
				t.Error("this was the first Close")
			}
			closed = true
		}()
		synctest.Wait()
		if _, ok := g.Enter(func() {}); ok {
			t.Error("a closed gate lets somebody in")
		}
		g.Leave(one)
		synctest.Wait()
		if closed {
			t.Error("Close did not wait for the second invocation")
		}
		g.Leave(two)
		synctest.Wait()
		if !closed {
			t.Error("Close waits although nothing runs")
		}
		if g.Close(t.Context()) {
			t.Error("this was the second Close")
		}
	})
}

func TestGateStopsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g executor.Gate
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stop := make(chan struct{})
		id, _ := g.Enter(func() { close(stop) })
		go func() { <-stop; g.Leave(id) }()
		done := make(chan bool)
		go func() { done <- g.Close(ctx) }()
		synctest.Wait()
		select {
		case <-stop:
			t.Error("stopped before the time is up")
		default:
		}
		cancel()
		<-done
	})
}
