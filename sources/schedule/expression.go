package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// expression says when a schedule runs. next returns the first run after t, by the clocks of loc; begin is
// the moment from which a rate counts.
type expression interface {
	next(t, begin time.Time, loc *time.Location) (time.Time, bool)
}

// parse reads rate(…), cron(…) or at(…). Scheduled rules are stricter than EventBridge Scheduler: agree says
// that the unit of a rate must be singular after 1 and plural otherwise.
func parse(text string, agree bool) (expression, error) {
	kind, rest, ok := strings.Cut(text, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return nil, errors.New("write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00), with nothing before or after")
	}
	switch kind {
	case "rate":
		return parseRate(inner, agree)
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

func parseRate(text string, agree bool) (expression, error) {
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

func (r rate) next(t, begin time.Time, _ *time.Location) (time.Time, bool) {
	if t.Before(begin) {
		return begin, true
	}
	done := t.Sub(begin) / time.Duration(r)
	return begin.Add((done + 1) * time.Duration(r)), true
}

// once is one moment.
type once struct {
	date
	hour, minute, second int
}

const atLayout = "2006-01-02T15:04:05"

func parseAt(text string) (expression, error) {
	t, err := time.Parse(atLayout, text)
	if err != nil || len(text) != len(atLayout) {
		return nil, fmt.Errorf("at %q: write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own", text)
	}
	return once{date{t.Year(), t.Month(), t.Day()}, t.Hour(), t.Minute(), t.Second()}, nil
}

func (o once) next(t, _ time.Time, loc *time.Location) (time.Time, bool) {
	run, ok := instant(o.date, o.hour, o.minute, o.second, loc)
	return run, ok && run.After(t)
}
