package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/cron"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is the section of a schedule.
type Config struct {
	// Expression is rate(value unit), cron(minutes hours day-of-month month day-of-week year) or
	// at(yyyy-mm-ddThh:mm:ss), as EventBridge reads them.
	Expression string `yaml:"expression"`

	// Timezone is the IANA name of the time zone whose clocks cron and at mean, such as Europe/Zurich. Where
	// clocks are put forward, a run whose time does not exist is left out; where they are put back, a run
	// whose time comes twice happens once.
	Timezone string `yaml:"timezone"`

	// StartDate is the moment before which there is no run, in RFC 3339 or, without an offset, by the clocks
	// of timezone. A rate counts from it. If empty, a rate counts from the first start of the trigger.
	StartDate string `yaml:"startDate"`

	// EndDate is the moment from which on there is no run, written as startDate. If empty, there is none.
	EndDate string `yaml:"endDate"`

	// Form is whose document the function receives: "rule" for that of a scheduled EventBridge rule, "scheduler"
	// for that of EventBridge Scheduler. With "rule" a rate must agree with its unit, as in rate(1 minute) and
	// rate(5 minutes), and counts its first interval before the first run; with "scheduler" it runs at once.
	Form string `yaml:"form"`

	// Input is a JSON text of at most 1 MB that replaces the document.
	Input string `yaml:"input"`

	// FlexibleTimeWindow delays each run by a part of this time, from 0s to 24h, that is the same whenever the
	// run is reckoned but differs from trigger to trigger. 0s runs on time.
	FlexibleTimeWindow time.Duration `yaml:"flexibleTimeWindow"`

	// Missed says what becomes of runs that are more than a minute late, because the hub was down or could not
	// store them: "skip" drops them, "last" makes up the newest of those due together, "all" makes up each.
	Missed string `yaml:"missed"`

	// MaximumEventAge is how late a run may be made up, from 1m to 744h. Older ones are dropped. The default is
	// that of EventBridge Scheduler.
	MaximumEventAge time.Duration `yaml:"maximumEventAge"`
}

// Forms of the document, and what to do with missed runs.
const (
	formRule      = "rule"
	formScheduler = "scheduler"
	missedSkip    = "skip"
	missedLast    = "last"
	missedAll     = "all"
)

// Defaults is the configuration of an empty section.
func Defaults() Config {
	return Config{Timezone: "UTC", Form: formRule, Missed: missedLast, MaximumEventAge: 24 * time.Hour}
}

// Validate reports every bad setting.
func (c *Config) Validate() error {
	_, err := c.timetable()
	return err
}

// timetable is what a valid configuration means.
type timetable struct {
	expression cron.Expression
	loc        *time.Location
	start, end time.Time // zero if there is none
}

func (c *Config) timetable() (timetable, error) {
	var tt timetable
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, plugin.Invalid(path, format, args...))
	}
	if c.Form != formRule && c.Form != formScheduler {
		bad("form", "%q is neither rule nor scheduler", c.Form)
	}
	var err error
	dialect := cron.Scheduler
	if c.Form == formRule {
		dialect = cron.Rule
	}
	if tt.expression, err = cron.Parse(c.Expression, dialect); err != nil {
		bad("expression", "%s", err)
	}
	if tt.loc, err = cron.Zone(c.Timezone); err != nil {
		bad("timezone", "%s", err)
		tt.loc = time.UTC
	}
	for _, d := range []struct {
		path, text string
		to         *time.Time
	}{{"startDate", c.StartDate, &tt.start}, {"endDate", c.EndDate, &tt.end}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = moment(d.text, tt.loc); err != nil {
			bad(d.path, "%s", err)
		}
	}
	if !tt.start.IsZero() && !tt.end.IsZero() && !tt.start.Before(tt.end) {
		bad("endDate", "%s is not after startDate", c.EndDate)
	}
	if cron.IsOnce(tt.expression) {
		if _, exists := tt.expression.Next(time.Time{}, time.Time{}, tt.loc); !exists {
			bad("expression", "this time does not exist in %s: the clocks are put forward over it", c.Timezone)
		}
		if c.StartDate != "" || c.EndDate != "" {
			bad("expression", "at runs once, so it takes neither startDate nor endDate; remove them")
		}
	}
	if c.Input != "" && !json.Valid([]byte(c.Input)) {
		bad("input", "this is not a JSON text; a string needs its own quotes, as in '\"hello\"'")
	}
	if len(c.Input) > executor.MaxAsyncPayload {
		bad("input", "%d bytes are more than an event may have: %d", len(c.Input), executor.MaxAsyncPayload)
	}
	if c.FlexibleTimeWindow < 0 || c.FlexibleTimeWindow > 24*time.Hour {
		bad("flexibleTimeWindow", "%s is not between 0s and 24h", c.FlexibleTimeWindow)
	}
	if c.Missed != missedSkip && c.Missed != missedLast && c.Missed != missedAll {
		bad("missed", "%q is none of skip, last and all", c.Missed)
	}
	if c.MaximumEventAge < time.Minute || c.MaximumEventAge > 744*time.Hour {
		bad("maximumEventAge", "%s is not between 1m and 744h", c.MaximumEventAge)
	}
	return tt, errors.Join(errs...)
}

func moment(text string, loc *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(cron.AtLayout, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time; write 2026-12-01T00:00:00Z, with another offset, or without one for the time zone's own clocks", text)
	}
	run, ok := cron.Instant(t, loc)
	if !ok {
		return time.Time{}, fmt.Errorf("%s does not exist in %s: the clocks are put forward over it", text, loc)
	}
	return run, nil
}

// begin is the moment from which a rate counts, for a trigger that was first started at first.
func (tt timetable) begin(first time.Time) time.Time {
	if tt.start.IsZero() {
		return first
	}
	return tt.start
}

// next returns the first run after t that the dates permit.
func (tt timetable) next(t, first time.Time) (time.Time, bool) {
	if t.Before(tt.start) {
		t = tt.start.Add(-1)
	}
	run, ok := tt.expression.Next(t, tt.begin(first), tt.loc)
	return run, ok && (tt.end.IsZero() || run.Before(tt.end))
}
