// Package cron reads the schedule expressions of EventBridge and finds the times that they name: rate(5 minutes),
// cron(0 12 * * ? *) and at(2026-12-01T00:00:00), in any time zone.
package cron

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // schedules work on machines that have no time zones installed
)

// Expression says when a schedule runs. It does not change.
type Expression interface {
	// Next returns the first run after t, by the clocks of loc, or false if there is none. A rate counts from begin,
	// which is its first run.
	Next(t, begin time.Time, loc *time.Location) (time.Time, bool)
}

// Dialect is how strictly an expression is read.
type Dialect uint8

const (
	// Rule is for the scheduled rules of a bus: the unit of a rate is singular after 1 and plural otherwise.
	Rule Dialect = iota
	// Scheduler is for EventBridge Scheduler, which takes any unit after any number.
	Scheduler
)

// Parse reads rate(…), cron(…) or at(…). An error says what is wrong, and what to write instead. Rules have no at(…)
// on AWS; the caller that minds asks IsOnce.
func Parse(text string, d Dialect) (Expression, error) {
	kind, rest, ok := strings.Cut(text, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return nil, errors.New("write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00), with nothing before or after")
	}
	switch kind {
	case "rate":
		return parseRate(inner, d == Rule)
	case "cron":
		return parseCron(inner)
	case "at":
		return parseAt(inner)
	}
	return nil, fmt.Errorf("there is no %q; write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00)", kind)
}

// rate is a fixed interval. A day is 24 hours, whatever the clocks do.
type rate time.Duration

// maxRate keeps the arithmetic of intervals far from its end.
const maxRate = rate(100 * 366 * 24 * time.Hour)

func parseRate(text string, agree bool) (Expression, error) {
	const hint = "write a whole number, one blank and minutes, hours or days, such as rate(5 minutes)"
	number, unit, ok := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || number[0] == '+' {
		return nil, fmt.Errorf("rate of %q: %s", text, hint)
	}
	singular := strings.TrimSuffix(unit, "s")
	size, ok := map[string]rate{"minute": rate(time.Minute), "hour": rate(time.Hour), "day": rate(24 * time.Hour)}[singular]
	switch {
	case !ok || unit != singular && unit != singular+"s":
		return nil, fmt.Errorf("rate of %q: %s", text, hint)
	case agree && (n == 1) != (unit == singular):
		return nil, fmt.Errorf("rate of %q: the unit is singular after 1 and plural otherwise, as in rate(1 %s) and rate(5 %ss)", text, singular, singular)
	case rate(n) > maxRate/size:
		return nil, fmt.Errorf("rate of %q: the longest is 36600 days", text)
	}
	return rate(n) * size, nil
}

// Next implements Expression.
func (r rate) Next(t, begin time.Time, _ *time.Location) (time.Time, bool) {
	if t.Before(begin) {
		return begin, true
	}
	done := t.Sub(begin) / time.Duration(r)
	return begin.Add((done + 1) * time.Duration(r)), true
}

// IsOnce reports whether an expression is one time, at(…).
func IsOnce(e Expression) bool {
	_, ok := e.(once)
	return ok
}

// IsRate reports whether an expression is an interval, rate(…).
func IsRate(e Expression) bool {
	_, ok := e.(rate)
	return ok
}

// once is one moment.
type once struct {
	date
	hour, minute, second int
}

// AtLayout is the form of the time in at(…).
const AtLayout = "2006-01-02T15:04:05"

func parseAt(text string) (Expression, error) {
	t, err := time.Parse(AtLayout, text)
	if err != nil || len(text) != len(AtLayout) {
		return nil, fmt.Errorf("at %q: write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own", text)
	}
	return once{date{t.Year(), t.Month(), t.Day()}, t.Hour(), t.Minute(), t.Second()}, nil
}

// Next implements Expression.
func (o once) Next(t, _ time.Time, loc *time.Location) (time.Time, bool) {
	run, ok := instant(o.date, o.hour, o.minute, o.second, loc)
	return run, ok && run.After(t)
}

// Zone is the time zone of an IANA name, such as Europe/Zurich. The machine's own zone has no such name.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not the IANA name of a time zone, such as UTC or Europe/Zurich", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not the IANA name of a time zone, such as UTC or Europe/Zurich", name)
	}
	return loc, nil
}

// Instant returns the first moment at which the clocks of loc show the date and time of day that t does, in t's own
// zone. There is none if the clocks are put forward over it.
func Instant(t time.Time, loc *time.Location) (time.Time, bool) {
	return instant(date{t.Year(), t.Month(), t.Day()}, t.Hour(), t.Minute(), t.Second(), loc)
}
