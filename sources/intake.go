package sources

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// What becomes of an event, as metrics call it.
const (
	Accepted = "accepted" // queued
	Refused  = "refused"  // the function can never take it
	Dropped  = "dropped"  // above the limits of what may wait
	Lost     = "lost"     // the hub stopped before it could queue it
)

// Intake queues events that no upstream would deliver again, and tells what becomes of them. All methods may
// be called concurrently.
type Intake struct {
	Accept func(context.Context, executor.Request) error // Hub.Accept
	Clock  clock.Clock
	Log    *slog.Logger
	Count  func(result string) // counts one event

	warned   atomic.Int64 // Unix seconds when Drop last wrote to the log
	refusing atomic.Bool  // the hub does not queue, and the log says so
}

// Queue hands req to the hub until it is taken: while the hub can not, the event keeps its place, so that the
// line fills up. Once ctx is done it tries one last time. from says in the log where the event came from.
func (i *Intake) Queue(ctx context.Context, req executor.Request, from slog.Attr) {
	for attempt := 1; ; attempt++ {
		last := ctx.Err() != nil
		err := i.Accept(context.WithoutCancel(ctx), req)
		switch {
		case err == nil:
			i.refusing.Store(false)
			i.Count(Accepted)
			return
		case Permanent(err):
			i.Count(Refused)
			i.Log.Error("the function can not take a message", from, slog.Any("error", err))
			return
		case last:
			i.Count(Lost)
			i.Log.Error("stopping; a message that could not be queued is lost", from, slog.Any("error", err))
			return
		}
		if !i.refusing.Swap(true) {
			i.Log.Error("messages can not be queued; trying again", slog.Any("error", err))
		}
		_ = clock.Sleep(ctx, i.Clock, Backoff(attempt)) // ends early for the last try
	}
}

// Drop counts an event that finds no place, and says so in the log once a minute.
func (i *Intake) Drop() {
	i.Count(Dropped)
	now := i.Clock.Now().Unix()
	if last := i.warned.Load(); now >= last+int64(time.Minute/time.Second) && i.warned.CompareAndSwap(last, now) {
		i.Log.Warn("messages come faster than the hub takes them; dropping what is above pendingMessages or pendingBytes")
	}
}
