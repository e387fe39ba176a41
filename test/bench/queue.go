package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/local"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

const eventSize = 1000

func payload() []byte {
	b := make([]byte, eventSize)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	b[0], b[eventSize-1] = '"', '"'
	return b
}

// openQueue opens a queue of its own, whose function does nothing but count.
func (b *bench) openQueue() (w *async.Worker, runs *atomic.Int64, close func(), err error) {
	dir, err := os.MkdirTemp(b.dir, "queue-")
	if err != nil {
		return nil, nil, nil, err
	}
	metrics := prometheus.NewRegistry()
	spec := local.Spec()
	config := spec.Config().(*local.Config)
	config.Dir = dir
	store, err := spec.Open(b.ctx, config, plugin.Deps{
		Name: "bench", Log: slog.New(slog.DiscardHandler), Metrics: metrics, Clock: clock.System{}, Dir: dir, Data: dir,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	runs = new(atomic.Int64)
	target := async.Target{
		Invoke: func(context.Context, executor.Request) (executor.Response, error) {
			runs.Add(1)
			return executor.Response{Payload: []byte("null"), Version: "$LATEST"}, nil
		},
		Concurrency: 64, Reserved: executor.Unreserved, MaximumRetryAttempts: 2, MaximumEventAge: 6 * time.Hour,
	}
	o := async.Defaults()
	o.Store, o.Clock, o.Log, o.Metrics = store, clock.System{}, slog.New(slog.DiscardHandler), metrics
	o.Function = func(string) (async.Target, bool) { return target, true }
	o.Send = func(context.Context, string, destinations.Record) error { return nil }
	if w, err = async.NewWorker(b.ctx, o); err != nil {
		return nil, nil, nil, err
	}
	return w, runs, func() { store.Close(); os.RemoveAll(dir) }, nil
}

// queue compares the queue alone with the least durable log on the same disk.
func (b *bench) queue() error {
	rec := payload()
	log := func(n int, latency *time.Duration) side {
		return func() (float64, error) {
			l, err := newGroupLog(filepath.Join(b.dir, "log"), 64<<20)
			if err != nil {
				return 0, err
			}
			defer l.close()
			rate, p50, err := producers(n, b.length, func(int) error { return l.write(rec) })
			*latency = p50
			return rate, err
		}
	}
	accept := func(n int, latency *time.Duration) side {
		return func() (float64, error) {
			w, _, done, err := b.openQueue()
			if err != nil {
				return 0, err
			}
			defer done()
			rate, p50, err := producers(n, b.length, func(int) error {
				return w.Accept(b.ctx, async.Event{ID: uuid.NewString(), Function: "f", ARN: "arn", Payload: rec})
			})
			*latency = p50
			return rate, err
		}
	}
	// A cycle is over when its function has run; producers are held back to what is finished, so that the rate is
	// of whole cycles.
	cycle := func(n int) side {
		return func() (float64, error) {
			w, runs, done, err := b.openQueue()
			if err != nil {
				return 0, err
			}
			defer done()
			ctx, stop := context.WithCancel(b.ctx)
			var wg sync.WaitGroup
			var runErr error
			wg.Go(func() { runErr = w.Run(ctx) })
			var accepted atomic.Int64
			began := time.Now()
			_, _, err = producers(n, b.length, func(int) error {
				if err := w.Accept(b.ctx, async.Event{ID: uuid.NewString(), Function: "f", ARN: "arn", Payload: rec}); err != nil {
					return err
				}
				accepted.Add(1)
				return nil
			})
			for runs.Load() < accepted.Load() && b.ctx.Err() == nil {
				time.Sleep(100 * time.Microsecond)
			}
			took := time.Since(began)
			stop()
			wg.Wait() // every completion is written by then
			if err == nil {
				err = runErr
			}
			return float64(runs.Load()) / took.Seconds(), err
		}
	}
	var one []float64
	for _, n := range []int{1, 8, 64} {
		var lf, la time.Duration
		floor, acc := log(n, &lf), accept(n, &la)
		m, err := b.turns(floor, func() (float64, error) {
			v, err := acc()
			if n == 1 {
				one = append(one, float64(la))
			}
			return v, err
		}, cycle(n))
		if err != nil {
			return err
		}
		least, leastCycle := 0.0, 0.0
		if n == 64 {
			least, leastCycle = 0.6, 0.5
		}
		b.atLeast("queue", fmt.Sprintf("durable acceptance, %d producers", n), "events/s", m[0], m[1], least, "")
		b.atLeast("queue", fmt.Sprintf("full cycle, %d producers", n), "events/s", m[0], m[2], leastCycle, "")
	}
	sync, err := b.turns(func() (float64, error) { return fdatasyncMedian(filepath.Join(b.dir, "sync")) })
	if err != nil {
		return err
	}
	b.atMost("queue", "acceptance, 1 producer, median", "us", sync[0]/1e3, median(one)/1e3, 1.5, "floor: one write of 1 KB and fdatasync into a file filled beforehand")
	return nil
}

// fdatasyncMedian is the median time of one write and fdatasync within a file that was filled beforehand.
func fdatasyncMedian(path string) (float64, error) {
	l, err := newGroupLog(path, 16<<20)
	if err != nil {
		return 0, err
	}
	defer l.close()
	rec := payload()
	var lat []float64
	for i := range int64(2000) {
		at := time.Now()
		if _, err := l.file.WriteAt(rec, i*eventSize); err != nil {
			return 0, err
		}
		if err := fdatasync(l.file); err != nil {
			return 0, err
		}
		lat = append(lat, float64(time.Since(at)))
	}
	return median(lat), nil
}
