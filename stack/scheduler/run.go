package scheduler

import (
	"context"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/cron"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/store"
)

// following returns the first run after a time.
func (x *schedule) following(t time.Time) (time.Time, bool) {
	if cron.IsOnce(x.expression) { // the dates do not concern it
		return x.expression.Next(t, t, x.zone)
	}
	begin := x.Begin
	if !x.Start.IsZero() {
		begin = x.Start
		if t.Before(x.Start) {
			t = x.Start.Add(-1)
		}
	}
	run, ok := x.expression.Next(t, begin, x.zone)
	return run, ok && (x.End.IsZero() || run.Before(x.End))
}

// plan is when a run is to happen: in its flexible window, at a place that depends on the schedule and the run alone.
func (x *schedule) plan(run time.Time) time.Time {
	if x.Window == 0 {
		return run
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", x.arn(), run.Unix())
	return run.Add(time.Duration(h.Sum64() % uint64(x.Window*int64(time.Minute))))
}

// maximumAge is how long after its time a run may still be made.
func (x *schedule) maximumAge() time.Duration {
	return time.Duration(*x.Target.RetryPolicy.MaximumEventAgeInSeconds) * time.Second
}

// arm sets the next run of a schedule, and reports whether there is one. The caller holds the lock.
func (s *Service) arm(x *schedule) bool {
	run, ok := x.following(x.Last)
	if !ok || x.State == disabled {
		x.run, x.planned = time.Time{}, time.Time{}
		s.alarm.Stop(x.id())
		return ok
	}
	x.run, x.planned = run, x.plan(run)
	s.alarm.Set(x.id(), x.planned)
	return true
}

// skip leaves out the runs that are too old to be made.
func (x *schedule) skip(now time.Time) {
	if oldest := now.Add(-x.maximumAge() - time.Duration(x.Window)*time.Minute); x.Last.Before(oldest) {
		x.Last = oldest
	}
}

// resume goes on with the schedules after a restart. Runs that have become too old are left out. A clock that a test
// has put forward is back then.
func (s *Service) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, groups := range s.places {
		for _, g := range groups {
			for _, x := range g.schedules {
				now := s.env.Clock.Now()
				if x.skip(now); x.Last.After(now) {
					x.Last = now
				}
				if x.Begin.After(now) {
					x.Begin = now
				}
				s.arm(x)
			}
		}
	}
}

// ring makes a run whose time has come, and remembers it once the run is delivered or kept: a crash between the two
// repeats it.
func (s *Service) ring(ctx context.Context, key scheduleKey, at time.Time) {
	s.mu.Lock()
	x := s.lookup(key)
	if x == nil || !x.planned.Equal(at) { // deleted, or put anew, in the meantime
		s.mu.Unlock()
		return
	}
	run := x.run
	s.mu.Unlock()

	if s.env.Clock.Now().Sub(at) < x.maximumAge() {
		for _, it := range x.items(run, at) {
			if err := s.outbox.Send(ctx, it); err != nil {
				s.env.Log.Error("a run of a schedule could not be kept", slog.String("schedule", x.arn()), slog.Time("run", run), slog.Any("error", err))
			}
		}
	} else {
		s.env.Log.Warn("a run of a schedule is too old to be made, as are those up to its maximum event age",
			slog.String("schedule", x.arn()), slog.Time("run", run))
	}

	var b store.Batch
	s.mu.Lock()
	if s.lookup(key) != x { // deleted, or put anew, in the meantime
		s.mu.Unlock()
		return
	}
	x.Last = run
	x.skip(s.env.Clock.Now()) // else a jump of years would take hours
	var err error
	if !s.arm(x) && x.Action == remove {
		delete(s.at(x.place)[x.Group].schedules, x.Name)
		b.Delete(x.key())
	} else {
		err = s.env.Store.SetJSON(&b, x.key(), x)
	}
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err == nil {
		err = commit.Wait()
	}
	if err != nil {
		s.env.Log.Error("after a restart a run may be repeated", slog.String("schedule", x.arn()), slog.Time("run", run), slog.Any("error", err))
	}
}

func (s *Service) lookup(key scheduleKey) *schedule {
	if g := s.places[key.place][key.group]; g != nil {
		return g.schedules[key.name]
	}
	return nil
}

// Keys of what an item needs to make its message.
const (
	aboutSchedule   = "schedule" // ARN
	aboutTime       = "time"     // of the run
	aboutExecution  = "execution"
	aboutInput      = "input"
	aboutKind       = "kind"
	aboutTarget     = "target" // ARN that the schedule names
	aboutSource     = "source" // of an event
	aboutDetailType = "detail-type"
)

const timeLayout = "2006-01-02T15:04:05Z"

// items are what a run sends, planned for a time.
func (x *schedule) items(run, planned time.Time) []*outbox.Item {
	id := uuid.New()
	execution := hex.EncodeToString(id[:8])
	t := &x.Target
	calls := []call{{kind: x.kind, target: *t.Arn}}
	switch {
	case x.kind == universal:
		var err error
		if calls, err = t.calls(); err != nil { // it was read when the schedule was put
			return nil
		}
	case t.Input != nil:
		calls[0].input = *t.Input
	default:
		e := event.SchedulerEvent(id.String(), x.arn(), x.account, x.region, run)
		calls[0].input = string(event.AppendEventBridge(nil, &e))
	}
	if p := t.EventBridgeParameters; p != nil {
		calls[0].source, calls[0].detailType = *p.Source, *p.DetailType
	}
	var items []*outbox.Item
	for _, c := range calls {
		it := &outbox.Item{
			Target: x.complete(c), MaxRetries: int(*t.RetryPolicy.MaximumRetryAttempts), Deadline: planned.Add(x.maximumAge()),
			Message: env.Message{From: x.arn(), Subject: c.subject, GroupID: c.groupID, DeduplicationID: c.deduplicationID},
			About: map[string]string{aboutSchedule: x.arn(), aboutTime: run.UTC().Format(timeLayout), aboutExecution: execution, aboutInput: c.input,
				aboutKind: string(c.kind), aboutTarget: *t.Arn},
		}
		if c.kind == bus {
			it.About[aboutSource], it.About[aboutDetailType] = c.source, c.detailType
		}
		if d := t.DeadLetterConfig; d != nil && d.Arn != nil {
			it.DeadLetter = *d.Arn
		}
		if t.SqsParameters != nil && t.SqsParameters.MessageGroupID != nil {
			it.Message.GroupID = *t.SqsParameters.MessageGroupID
		}
		if t.KinesisParameters != nil {
			it.Message.PartitionKey = *t.KinesisParameters.PartitionKey
		}
		for name, a := range c.attributes {
			if it.Message.Attributes == nil {
				it.Message.Attributes = map[string]env.Attribute{}
			}
			it.Message.Attributes[name] = env.Attribute{DataType: a.DataType, String: a.StringValue, Binary: a.BinaryValue}
		}
		items = append(items, it)
	}
	return items
}

// complete returns the ARN of what a call is for: a bus may be named, and a queue's URL may lack the region.
func (x *schedule) complete(c call) string {
	switch {
	case c.kind == bus && !strings.HasPrefix(c.target, "arn:"):
		name := c.target
		if name == "" {
			name = "default"
		}
		return "arn:aws:events:" + x.region + ":" + x.account + ":event-bus/" + name
	case c.kind == queue && strings.HasPrefix(c.target, "arn:aws:sqs::"):
		return "arn:aws:sqs:" + x.region + strings.TrimPrefix(c.target, "arn:aws:sqs:")
	}
	return c.target
}

// attempt makes the message of an item's next attempt: its input with the context attributes replaced
// (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
func attempt(it *outbox.Item) env.Message {
	m := it.Message
	m.Body = input(it, it.Attempts+1)
	if kind(it.About[aboutKind]) == bus {
		from := strings.SplitN(it.About[aboutSchedule], ":", 6)
		at, err := time.Parse(timeLayout, it.About[aboutTime])
		if err != nil {
			at = time.Time{}
		}
		id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(it.About[aboutSchedule]+it.About[aboutExecution]+it.About[aboutInput]))
		m.Body = string(event.AppendEventBridge(nil, &event.EventBridge{ID: id.String(), Source: it.About[aboutSource], DetailType: it.About[aboutDetailType],
			Account: from[4], Region: from[3], Time: at, Detail: []byte(m.Body)}))
	}
	return m
}

// input is an item's input as an attempt has it.
func input(it *outbox.Item, attempt int) string {
	return strings.NewReplacer(
		"<aws.scheduler.schedule-arn>", it.About[aboutSchedule],
		"<aws.scheduler.scheduled-time>", it.About[aboutTime],
		"<aws.scheduler.execution-id>", it.About[aboutExecution],
		"<aws.scheduler.attempt-number>", strconv.Itoa(attempt),
	).Replace(it.About[aboutInput])
}

// letter is what a dead-letter queue receives
// (https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html).
func letter(it *outbox.Item) env.Message {
	text := func(s string) env.Attribute { return env.Attribute{DataType: "String", String: s} }
	attributes := map[string]env.Attribute{
		"ERROR_CODE": text(it.Failure.Code), "EXECUTION_ID": text(it.About[aboutExecution]), "IS_PAYLOAD_TRUNCATED": text("false"),
		"RETRY_ATTEMPTS": text(strconv.Itoa(max(it.Attempts-1, 0))), "SCHEDULED_TIME": text(it.About[aboutTime]),
		"SCHEDULE_ARN": text(it.About[aboutSchedule]), "TARGET_ARN": text(it.About[aboutTarget]),
	}
	if it.Failure.Message != "" {
		attributes["ERROR_MESSAGE"] = text(it.Failure.Message)
	}
	if it.Failure.Exhausted != "" {
		attributes["EXHAUSTED_RETRY_CONDITION"] = text(it.Failure.Exhausted)
	}
	return env.Message{From: it.About[aboutSchedule], Body: input(it, max(it.Attempts, 1)), Attributes: attributes}
}
