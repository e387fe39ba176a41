package events

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/outbox"
)

// arm sets the next run of a rule's schedule after a time. The caller holds the lock.
func (s *Service) arm(r *rule, after time.Time) {
	if r.expression != nil && r.on() {
		if next, ok := r.expression.Next(after, r.Since, time.UTC); ok {
			r.next = next
			s.alarm.Set(r.id(), next)
			return
		}
	}
	r.next = time.Time{}
	s.alarm.Stop(r.id())
}

// maxLate is how many runs of a rule are made up after a jump of the clock: a week of minutes.
const maxLate = 7 * 24 * 60

// ring runs a rule whose time has come. Runs that a stopped stack has missed are not made up, as on AWS; those that
// the clock of a running one has jumped over are, up to maxLate.
func (s *Service) ring(ctx context.Context, key ruleKey, at time.Time) {
	s.mu.Lock()
	r := s.scheduled(key)
	if r == nil || !r.next.Equal(at) { // deleted, or put anew, in the meantime
		s.mu.Unlock()
		return
	}
	now := s.env.Clock.Now()
	s.arm(r, at)
	switch late := !r.next.IsZero() && !r.next.After(now); {
	case !late:
		r.late = 0
	case r.late < maxLate:
		r.late++
	default:
		s.env.Log.Warn("runs of a rule that the clock has jumped over are left out", slog.String("rule", r.arn()), slog.Time("from", r.next), slog.Time("to", now))
		r.late = 0
		s.arm(r, now)
	}
	v := r.view()
	s.mu.Unlock()

	e := &inflight{id: uuid.NewString(), at: at, ingested: now, source: "aws.events", detailType: "Scheduled Event"}
	x := event.ScheduledEvent(e.id, v.arn, v.account, v.region, at)
	e.doc = event.AppendEventBridge(nil, &x)
	items := make([]*outbox.Item, len(v.targets))
	for i, t := range v.targets {
		items[i] = t.item(e, v, now)
	}
	if err := s.send(ctx, items); err != nil {
		s.env.Log.Error("a run of a scheduled rule could not be kept", slog.String("rule", v.arn), slog.Time("run", at), slog.Any("error", err))
	}
}

func (s *Service) scheduled(key ruleKey) *rule {
	if c := s.places[key.place]; c != nil {
		if b := c.buses[key.bus]; b != nil {
			return b.rules[key.rule]
		}
	}
	return nil
}
