package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/sources"
)

// trigger runs one source and starts it again, with back-off, when it gives up: a broken part does not take
// the others with it.
type trigger struct {
	name   string
	config config.Trigger
	source sources.Source
	hub    sources.Hub
	clock  clock.Clock
	log    *slog.Logger
	starts prometheus.Counter

	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	state string // "running", "failing" or "stopped"
	err   error  // the last one, while failing
}

// A source that ran this long before it failed is tried again at once.
const steady = time.Minute

func (t *trigger) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.done = make(chan struct{})
	t.set("running", nil)
	go t.run(ctx)
}

func (t *trigger) run(ctx context.Context) {
	defer close(t.done)
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(time.Minute),
		backoff.WithMaxElapsedTime(0))
	for {
		began := t.clock.Now()
		t.starts.Inc()
		err := t.source.Run(ctx, t.hub)
		if ctx.Err() != nil {
			if err != nil {
				t.log.Warn("trigger stopped with an error", "error", err)
			}
			t.set("stopped", nil)
			return
		}
		if t.clock.Now().Sub(began) > steady {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		t.log.Error("trigger gave up; starting it again", "error", err, "pause", pause)
		t.set("failing", err)
		if clock.Sleep(ctx, t.clock, pause) != nil {
			t.set("stopped", nil)
			return
		}
		t.set("running", nil)
	}
}

// stop lets the source end what it has taken, and reports false if ctx was done before that.
func (t *trigger) stop(ctx context.Context) bool {
	t.cancel()
	select {
	case <-t.done:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *trigger) set(state string, err error) {
	t.mu.Lock()
	t.state, t.err = state, err
	t.mu.Unlock()
}

func (t *trigger) status() (state string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.err
}
