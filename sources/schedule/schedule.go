// Package schedule runs a function at fixed times: the rate, cron and one-time expressions of EventBridge,
// with time zones, and with runs made up for that a stopped hub has missed.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

const (
	// late is how much later than planned a run may be and still count as on time: EventBridge promises no
	// more than this.
	late = time.Minute

	// nap bounds a sleep, so that a change of the clock, or a machine that was suspended, delays a run by no
	// more than that.
	nap = time.Minute

	// retry is the wait after the first refusal of the hub; it doubles up to maxRetry.
	retry    = time.Second
	maxRetry = time.Minute
)

// Spec describes the kind "schedule".
func Spec() plugin.Spec[sources.Source] {
	return plugin.Define("schedule", "Runs a function at a rate, at the times of a cron expression, or once.", Defaults(), open)
}

// schedule is the source.
type schedule struct {
	config Config
	table  timetable
	deps   plugin.Deps
	file   string // of the mark
	key    string // the settings that make a schedule another one

	runs *prometheus.CounterVec
}

func open(_ context.Context, c Config, d plugin.Deps) (sources.Source, error) {
	table, err := c.timetable()
	if err != nil {
		return nil, err
	}
	if d.Data == "" {
		return nil, errors.New("there is no data folder to remember the last run in")
	}
	return &schedule{
		config: c, table: table, deps: d,
		file: filepath.Join(d.Data, "schedule.json"),
		key:  strings.Join([]string{c.Expression, c.Timezone, c.StartDate, c.Form}, "|"),
		runs: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_schedule_runs_total",
			Help: "Runs of schedules: accepted by the hub, refused for good, or missed and dropped.",
		}, []string{"trigger", "result"})),
	}, nil
}

// Run hands the runs to hub.Accept, in order. A run is remembered only after the hub has accepted it: a crash
// between the two repeats it, with the same id in its document, and never skips it.
func (s *schedule) Run(ctx context.Context, hub sources.Hub) error {
	m, err := s.remember()
	if err != nil {
		return err
	}
	wait := retry
	for ctx.Err() == nil {
		due, dropped := s.plan(&m)
		if dropped > 0 {
			s.count("dropped", dropped)
			s.deps.Log.Warn("missed runs were dropped", slog.Int("runs", dropped), slog.Time("until", m.Last))
			s.save(m)
		}
		if due.IsZero() {
			next, ok := s.table.next(m.Last, m.First)
			if !ok {
				s.deps.Log.Warn("the schedule has no further run")
				<-ctx.Done()
				return nil
			}
			s.sleep(ctx, min(nap, s.planned(next).Sub(s.now())))
			continue
		}
		if err := s.run(ctx, hub, due); err != nil {
			if wait == retry { // once for each outage
				s.deps.Log.Error("the hub did not accept a run; trying again", slog.Time("run", due), slog.Any("error", err))
			}
			s.sleep(ctx, wait)
			wait = min(2*wait, maxRetry)
			continue // what is due is reckoned anew: the run may have become too old
		}
		wait = retry
		m.Last = due
		s.save(m)
	}
	return nil
}

// remember reads the mark, or begins a new one for a schedule that is new or another.
func (s *schedule) remember() (mark, error) {
	m, ok, err := load(s.file)
	if err != nil || ok && m.Schedule == s.key {
		return m, err
	}
	now := s.now().UTC()
	m = mark{Schedule: s.key, First: now, Last: now}
	if s.config.Form == formScheduler {
		m.Last = now.Add(-1) // a rate runs at once
	}
	s.save(m)
	return m, nil
}

func (s *schedule) save(m mark) {
	if err := m.save(s.file); err != nil {
		s.deps.Log.Error("after a restart a run may be repeated", slog.Time("run", m.Last), slog.Any("error", err))
	}
}

// plan returns the next run that is due now, or zero. Missed runs that are not to be made up it counts, and
// moves the mark past them.
func (s *schedule) plan(m *mark) (due time.Time, dropped int) {
	now := s.now()
	for {
		run, ok := s.table.next(m.Last, m.First)
		if !ok || s.planned(run).After(now) {
			return time.Time{}, dropped
		}
		age := now.Sub(run.Add(s.config.FlexibleTimeWindow)) // anywhere in the window is on time
		drop := false
		switch {
		case age > s.config.MaximumEventAge:
			drop = true
			// The hub may have been down for years: one stands for all that are as old.
			run = latest(run, now.Add(-s.config.MaximumEventAge-s.config.FlexibleTimeWindow-1))
		case age <= late || s.config.Missed == missedAll:
		case s.config.Missed == missedSkip:
			drop = true
		case s.config.Missed == missedLast:
			newer, ok := s.table.next(run, m.First)
			drop = ok && !s.planned(newer).After(now)
		}
		if !drop {
			return run, dropped
		}
		m.Last = run
		dropped++
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// planned is when a run is to happen: in its flexible window, at a place that depends on the trigger's name
// and the run alone.
func (s *schedule) planned(run time.Time) time.Time {
	if s.config.FlexibleTimeWindow == 0 {
		return run
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", s.deps.Name, run.Unix())
	return run.Add(time.Duration(h.Sum64() % uint64(s.config.FlexibleTimeWindow)))
}

// run returns nil when the hub has the run for good, or never will.
func (s *schedule) run(ctx context.Context, hub sources.Hub, run time.Time) error {
	err := hub.Accept(context.WithoutCancel(ctx), executor.Request{Payload: s.document(run)})
	switch {
	case err == nil:
		s.count(sources.Accepted, 1)
	case sources.Permanent(err):
		s.count(sources.Refused, 1)
		s.deps.Log.Error("the function can not take a run", slog.Time("run", run), slog.Any("error", err))
	default:
		return err
	}
	return nil
}

// document is what the function receives. Its id is the same if the run is repeated.
func (s *schedule) document(run time.Time) []byte {
	if s.config.Input != "" {
		return []byte(s.config.Input)
	}
	build, arn := event.ScheduledEvent, "arn:aws:events:%s:%s:rule/%s"
	if s.config.Form == formScheduler {
		build, arn = event.SchedulerEvent, "arn:aws:scheduler:%s:%s:schedule/default/%s"
	}
	arn = fmt.Sprintf(arn, s.deps.Region, s.deps.Account, s.deps.Name)
	id := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s %d", arn, run.Unix()))
	e := build(id.String(), arn, s.deps.Account, s.deps.Region, run)
	return event.AppendEventBridge(nil, &e)
}

func (s *schedule) now() time.Time { return s.deps.Clock.Now() }

// sleep ends early when ctx is done, which the caller looks at.
func (s *schedule) sleep(ctx context.Context, d time.Duration) { _ = clock.Sleep(ctx, s.deps.Clock, d) }

func (s *schedule) count(result string, n int) {
	s.runs.WithLabelValues(s.deps.Name, result).Add(float64(n))
}
