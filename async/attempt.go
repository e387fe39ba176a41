package async

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
)

// Reading ahead: how many events, and about how many bytes of payload, one runner takes from the store at once.
const (
	readEvents = 64
	readBytes  = 1 << 20
)

// success is the Result of an attempt that ran without error.
const success = "success"

// try makes one attempt at an event and decides what comes next.
func (w *Worker) try(ctx context.Context, q *queue, e waiting) fate[waiting] {
	s, err := w.load(ctx, q, e)
	if err != nil {
		if ctx.Err() != nil {
			return fate[waiting]{again: true, item: e}
		}
		w.opts.Log.Error("an event could not be read and is tried again", "function", q.name, "error", err)
		return fate[waiting]{again: true, item: e, at: w.opts.Clock.Now().Add(time.Second)}
	}
	if s == nil {
		// Only a purge of the store's directory behind its back could do this; there is nothing left to run.
		w.opts.Log.Error("a queued event is not in the store", "function", q.name, "seq", e.seq)
		return fate[waiting]{}
	}
	e.ev = nil
	q.mu.Lock()
	target, gone := q.target, q.gone
	q.running[e.seq] = &s.Event
	q.mu.Unlock()
	f := w.step(ctx, q, s, target, gone)
	note := f.note
	f.note = func() {
		delete(q.running, e.seq)
		if note != nil {
			note()
		}
	}
	f.item = waiting{seq: e.seq, accepted: e.accepted}
	return f
}

// step runs an event once, or finds that it must not run, and records which.
func (w *Worker) step(ctx context.Context, q *queue, s *Stored, target Target, gone bool) fate[waiting] {
	now := w.opts.Clock.Now()
	deadline := s.Accepted.Add(target.MaximumEventAge)
	switch {
	case gone:
		return w.finish(q, s, Failed, FunctionNotFound, nil)
	case target.Reserved == 0:
		return w.finish(q, s, Failed, ZeroConcurrency, target.OnFailure)
	case !now.Before(deadline):
		return w.finish(q, s, Failed, AgeExceeded, target.OnFailure)
	}
	if len(s.Attempts) == 0 {
		q.metrics.age.Observe(now.Sub(s.Accepted).Seconds())
	}
	resp, err := target.Invoke(ctx, executor.Request{
		ID: s.ID, Attempt: s.Invokes + 1, ARN: s.ARN, Payload: s.Payload,
		TraceID: s.TraceID, TraceParent: s.TraceParent, TenantID: s.TenantID,
	})
	end := w.opts.Clock.Now()
	a := Attempt{Number: s.Invokes + 1, Started: now.UTC(), Duration: end.Sub(now)}

	if err == nil {
		s.Invokes++
		s.Delays = 0
		s.Last = &Response{Payload: resp.Payload, Version: resp.Version, Failed: resp.Failure != nil}
		f := w.answered(q, s, target, resp, a, end)
		return f.also(q.answers)
	}
	if ctx.Err() != nil {
		return fate[waiting]{again: true} // cut off by the shutdown: not a try
	}

	var e *executor.Error
	if !errors.As(err, &e) {
		e = &executor.Error{Kind: executor.Internal, Function: q.name, Err: err}
	}
	switch e.Kind {
	case executor.TooLarge, executor.Refused:
		w.note(q, s, a, e.Kind.String(), "", e.Error())
		return w.finish(q, s, Failed, RetriesExhausted, target.OnFailure)
	case executor.Canceled, executor.Closed:
		// Not a try: the function is being replaced, and its successor may take the event.
	case executor.Internal, executor.Unready, executor.Throttled:
		w.note(q, s, a, e.Kind.String(), e.Reason, e.Error())
	}
	wait := max(backOff(s.Delays), e.RetryAfter)
	s.Delays++
	return w.retry(q, s, target, end, wait).also(func() { q.silent(end, e.RetryAfter) })
}

// answered decides about an event whose function ran.
func (w *Worker) answered(q *queue, s *Stored, target Target, resp executor.Response, a Attempt, end time.Time) fate[waiting] {
	fail := resp.Failure
	if fail == nil {
		w.note(q, s, a, success, "", "")
		return w.finish(q, s, Succeeded, Success, target.OnSuccess)
	}
	w.note(q, s, a, "error", fail.Type, fail.Message)
	if fail.Permanent || s.Invokes > target.MaximumRetryAttempts {
		return w.finish(q, s, Failed, RetriesExhausted, target.OnFailure)
	}
	waits := target.RetryDelays
	if len(waits) == 0 {
		waits = retryDelays[:]
	}
	return w.retry(q, s, target, end, waits[min(s.Invokes, len(waits))-1])
}

// retry sends an event back to wait, or gives it up if it would be too old by then.
func (w *Worker) retry(q *queue, s *Stored, target Target, now time.Time, wait time.Duration) fate[waiting] {
	s.Next = now.Add(wait)
	if !s.Next.Before(s.Accepted.Add(target.MaximumEventAge)) {
		return w.finish(q, s, Failed, AgeExceeded, target.OnFailure)
	}
	if err := w.opts.Store.Retry(s.Seq, &s.Progress); err != nil {
		w.opts.Log.Error("an attempt could not be recorded", "function", q.name, "id", s.ID, "error", err)
	}
	return fate[waiting]{again: true, at: s.Next}
}

// finish ends an event and hands its record to its destinations.
func (w *Worker) finish(q *queue, s *Stored, state State, condition string, to []string) fate[waiting] {
	now := w.opts.Clock.Now().UTC()
	e := Entry{
		Event: s.Event, State: state, Condition: condition, Attempts: s.Attempts, Invokes: s.Invokes,
		Finished: now, Size: len(s.Payload),
	}
	if s.Last != nil {
		e.Response = s.Last.Payload
	}
	var rec *destinations.Record
	for _, name := range to {
		if s.Depth >= MaxDepth {
			e.Deliveries = append(e.Deliveries, Delivery{Destination: name, State: DeliveryGivenUp, Error: errDepth})
			w.metrics.deliveries.WithLabelValues(name, DeliveryGivenUp).Inc()
			w.opts.Log.Warn("a record is not sent: the chain of destinations is too long", "function", q.name, "id", s.ID, "destination", name)
			continue
		}
		e.Deliveries = append(e.Deliveries, Delivery{Destination: name, State: DeliveryPending})
		if rec == nil {
			rec = &destinations.Record{
				ID: s.ID, Function: s.Function, ARN: qualified(s.ARN), Success: state == Succeeded,
				TraceID: s.TraceID, TraceParent: s.TraceParent, Depth: s.Depth,
				Body: appendRecord(nil, outcome{&s.Event, condition, s.Invokes, s.Last, now}),
			}
		}
	}
	if err := w.opts.Store.Finish(s.Seq, &e, rec); err != nil {
		w.opts.Log.Error("an outcome could not be recorded, so the event runs again", "function", q.name, "id", s.ID, "error", err)
		return fate[waiting]{again: true, at: now.Add(time.Second)}
	}
	for i, d := range e.Deliveries {
		if d.State == DeliveryPending {
			w.mail(d.Destination, parcel{seq: s.Seq, index: i, since: now, rec: rec})
		}
	}
	w.report(q, &e)
	return fate[waiting]{note: func() {
		switch state { //nolint:exhaustive // an event ends in no other state
		case Succeeded:
			q.counts.Succeeded++
		case Failed:
			q.counts.Failed++
		case Discarded:
			q.counts.Discarded++
		}
	}}
}

// also adds something to do in the moment in which the item stops running.
func (f fate[T]) also(do func()) fate[T] {
	first := f.note
	f.note = func() {
		if first != nil {
			first()
		}
		do()
	}
	return f
}

// note records an attempt.
func (w *Worker) note(q *queue, s *Stored, a Attempt, result, kind, message string) {
	a.Result, a.Type, a.Message = result, kind, message
	if len(a.Message) > 1<<10 {
		a.Message = a.Message[:1<<10]
	}
	s.add(a)
	level := slog.LevelDebug
	if result == success {
		q.metrics.success.Inc()
	} else {
		w.metrics.attempts.WithLabelValues(s.Function, result).Inc()
		level = slog.LevelInfo
	}
	if w.opts.Log.Enabled(context.Background(), level) {
		w.opts.Log.Log(context.Background(), level, "attempt of an event", "function", s.Function, "id", s.ID,
			"trigger", s.Trigger, "attempt", a.Number, "result", result, "type", kind, "message", a.Message, "duration", a.Duration)
	}
}

// report logs and counts the end of an event.
func (w *Worker) report(q *queue, e *Entry) {
	level := slog.LevelDebug
	switch e.State { //nolint:exhaustive // an event ends in no other state
	case Succeeded:
		q.metrics.succeeded.Inc()
	case Failed:
		q.metrics.failed.Inc()
		level = slog.LevelWarn
	case Discarded:
		q.metrics.discarded.Inc()
		level = slog.LevelInfo
	}
	if w.opts.Log.Enabled(context.Background(), level) {
		w.opts.Log.Log(context.Background(), level, "event is over", "function", e.Function, "id", e.ID, "trigger", e.Trigger,
			"state", string(e.State), "condition", e.Condition, "invokes", e.Invokes, "age", e.Finished.Sub(e.Accepted))
	}
}

// load returns the event of a place in the queue, from memory or from the store, where it reads ahead for the
// places that follow. It returns nil for an event that the store does not have.
func (w *Worker) load(ctx context.Context, q *queue, e waiting) (*Stored, error) {
	if e.ev != nil {
		w.mem.Add(-int64(len(e.ev.Payload)))
		return e.ev, nil
	}
	seqs, ahead := []uint64{e.seq}, []waiting(nil)
	q.mu.Lock()
	for len(seqs) < readEvents && q.ready.len() > 0 && q.ready.at(0).ev == nil {
		next := q.ready.pop()
		seqs, ahead = append(seqs, next.seq), append(ahead, next)
	}
	q.taken += len(ahead)
	q.mu.Unlock()

	found, err := w.opts.Store.Load(ctx, seqs, readBytes)

	var first *Stored
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range found {
		s := &found[i]
		if s.Seq == e.seq {
			first = s
			continue
		}
		for j := range ahead {
			if ahead[j].seq == s.Seq {
				ahead[j].ev = s
				w.mem.Add(int64(len(s.Payload)))
				break
			}
		}
	}
	for i := len(ahead) - 1; i >= 0; i-- {
		q.ready.unpop(ahead[i])
	}
	q.taken -= len(ahead)
	if len(ahead) > 0 {
		q.kick() // other runners may have found nothing to do meanwhile
	}
	return first, err
}
