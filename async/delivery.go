package async

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
)

// outbox is the records for one destination.
type outbox struct {
	*line[parcel]
	name string
}

// parcel is a record on its way to one destination. rec is nil if it has to be read from the store.
type parcel struct {
	seq   uint64
	index int
	tries int
	since time.Time // when the event ended
	rec   *destinations.Record
}

// deliveryTimeout bounds one try, so that a destination that hangs does not keep its places for ever.
const deliveryTimeout = time.Minute

const errDepth = "the chain of destinations is too long: the record has passed 16 already"

// mail hands a record to the outbox of its destination.
func (w *Worker) mail(destination string, p parcel) {
	w.mu.Lock()
	o := w.outboxes[destination]
	if o == nil {
		o = &outbox{line: newLine[parcel](w.opts.Clock), name: destination}
		o.limit = func() int { return o.most(w.opts.Deliveries) }
		o.run = func(p parcel) fate[parcel] { return w.deliver(o, p) }
		o.stopped = !w.running
		w.outboxes[destination] = o
	}
	w.mu.Unlock()
	if p.rec != nil {
		if size := int64(len(p.rec.Body)); w.mem.Add(size) > w.opts.Memory {
			w.mem.Add(-size)
			p.rec = nil
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.push(p, time.Time{})
}

// send tries a record once and records what came of it.
func (w *Worker) send(ctx context.Context, o *outbox, p parcel) fate[parcel] {
	rec := p.rec
	p.rec = nil
	if rec != nil {
		w.mem.Add(-int64(len(rec.Body)))
	} else {
		var err error
		if rec, err = w.opts.Store.Record(ctx, p.seq); err != nil {
			if ctx.Err() == nil {
				w.opts.Log.Error("a record could not be read and is tried again", "destination", o.name, "error", err)
			}
			return fate[parcel]{again: true, item: p, at: w.opts.Clock.Now().Add(time.Second)}
		}
	}
	try, cancel := clock.WithTimeout(ctx, w.opts.Clock, deliveryTimeout)
	err := w.opts.Send(try, o.name, *rec)
	cancel()
	if err != nil && ctx.Err() != nil {
		return fate[parcel]{again: true, item: p} // cut off by the shutdown: not a try
	}
	now := w.opts.Clock.Now().UTC()
	p.tries++
	d := Delivery{Destination: o.name, State: DeliveryDone, Tries: p.tries, Last: now}
	f := fate[parcel]{note: o.answers}
	if err != nil {
		d.Error = err.Error()
		next := now.Add(backOff(p.tries - 1))
		switch {
		case errors.Is(err, destinations.ErrPermanent):
			d.State = DeliveryGivenUp
		case !next.Before(p.since.Add(w.opts.DeliveryAge)):
			d.State = DeliveryGivenUp
			f.note = func() { o.silent(now, 0) }
		default:
			d.State = DeliveryPending
			f = fate[parcel]{again: true, item: p, at: next, note: func() { o.silent(now, 0) }}
		}
	}
	w.metrics.deliveries.WithLabelValues(o.name, d.State).Inc()
	if d.State == DeliveryGivenUp {
		w.opts.Log.Warn("a record is kept as undelivered", "destination", o.name, "function", rec.Function, "id", rec.ID, "tries", p.tries, "error", err)
	}
	if err := w.opts.Store.Delivered(p.seq, p.index, d); err != nil {
		w.opts.Log.Error("a delivery could not be recorded", "destination", o.name, "id", rec.ID, "error", err)
	}
	return f
}
