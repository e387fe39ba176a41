package async

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var _ Ledger = (*Worker)(nil)

// List implements Ledger.
func (w *Worker) List(ctx context.Context, q Query) ([]Entry, string, error) {
	if len(q.States) == 0 || !slices.Contains(q.States, Running) && !slices.Contains(q.States, Queued) {
		es, after, err := w.opts.Store.List(ctx, q)
		w.markRunning(es)
		return es, after, err
	}
	// The store does not know which of the unfinished events run, so it is asked for both.
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	ask := q
	ask.States = append(slices.Clone(q.States), Queued)
	var all []Entry
	for {
		ask.Limit = limit - len(all)
		es, after, err := w.opts.Store.List(ctx, ask)
		if err != nil {
			return nil, "", err
		}
		w.markRunning(es)
		for _, e := range es {
			if slices.Contains(q.States, e.State) {
				all = append(all, e)
			}
		}
		if after == "" || len(all) >= limit {
			return all, after, nil
		}
		ask.After = after
	}
}

// Get implements Ledger.
func (w *Worker) Get(ctx context.Context, id string) (Entry, error) {
	e, err := w.opts.Store.Get(ctx, id)
	if err != nil {
		return Entry{}, err
	}
	es := []Entry{e}
	w.markRunning(es)
	return es[0], nil
}

// markRunning sets the state of queued events that are running now.
func (w *Worker) markRunning(es []Entry) {
	ids := map[string]map[string]bool{}
	for i := range es {
		e := &es[i]
		if e.State != Queued {
			continue
		}
		if ids[e.Function] == nil {
			ids[e.Function] = w.runningIDs(e.Function)
		}
		if ids[e.Function][e.ID] {
			e.State = Running
		}
	}
}

func (w *Worker) runningIDs(function string) map[string]bool {
	q := w.queue(function)
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := make(map[string]bool, len(q.running))
	for _, ev := range q.running {
		ids[ev.ID] = true
	}
	return ids
}

// Redrive implements Ledger.
func (w *Worker) Redrive(ctx context.Context, q Query) (int, error) {
	n := 0
	err := w.opts.Store.Redrive(ctx, q, func(function string) bool {
		q := w.queue(function)
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.gone
	}, func(ps []Pending) {
		n += len(ps)
		for _, p := range ps {
			q := w.queue(p.Function)
			q.mu.Lock()
			q.counts.Failed--
			q.take(p)
			q.mu.Unlock()
		}
	})
	if err != nil {
		return n, fmt.Errorf("redriving events: %w", err)
	}
	return n, nil
}

// Purge implements Ledger.
func (w *Worker) Purge(ctx context.Context, q Query) (int, error) {
	byFunction, err := w.opts.Store.Purge(ctx, q)
	n := 0
	for name, k := range byFunction {
		n += k
		q := w.queue(name)
		q.mu.Lock()
		q.counts.Failed -= uint64(k)
		q.counts.Discarded += uint64(k)
		q.mu.Unlock()
		q.metrics.discarded.Add(float64(k))
	}
	if err != nil {
		return n, fmt.Errorf("purging events: %w", err)
	}
	return n, nil
}

// Stats implements Ledger.
func (w *Worker) Stats(context.Context) ([]Stat, error) { return w.stats(), nil }

func (w *Worker) stats() []Stat {
	w.mu.RLock()
	queues := slices.Collect(maps.Values(w.queues))
	w.mu.RUnlock()
	stats := make([]Stat, 0, len(queues))
	for _, q := range queues {
		stats = append(stats, q.stat())
	}
	slices.SortFunc(stats, func(a, b Stat) int { return strings.Compare(a.Function, b.Function) })
	return stats
}

// stat counts what the queue really holds, beside what was counted as it came and went.
func (q *queue) stat() Stat {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stat{
		Function: q.name, Accepted: q.counts.Accepted, Succeeded: q.counts.Succeeded, Failed: q.counts.Failed,
		Discarded: q.counts.Discarded, Queued: q.waiting(), Running: q.inHand,
	}
	oldest := func(t time.Time) {
		if s.Oldest.IsZero() || t.Before(s.Oldest) {
			s.Oldest = t.UTC()
		}
	}
	if q.ready.len() > 0 {
		oldest(time.Unix(0, q.ready.at(0).accepted))
	}
	for _, d := range q.delayed {
		oldest(time.Unix(0, d.item.accepted))
	}
	for _, ev := range q.running {
		oldest(ev.Accepted)
	}
	return s
}
