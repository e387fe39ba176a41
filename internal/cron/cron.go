package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cron is a cron expression of EventBridge
// (https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based).
type cron struct {
	minutes, hours, months, years set
	day                           func(date) bool
}

// date is a day of the calendar.
type date struct {
	year  int
	month time.Month
	day   int
}

func (d date) weekday() int { // 1 is Sunday, as in the expressions
	return int(time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC).Weekday()) + 1
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// set is a set of small numbers; a year is counted from firstYear.
type set [4]uint64

const (
	firstYear = 1970
	lastYear  = 2199
)

func (s *set) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s *set) has(n int) bool { return s[n/64]>>(n%64)&1 == 1 }

// from returns the least member that is at least n.
func (s *set) from(n int) (int, bool) {
	for w := n / 64; w < len(s); w++ {
		word := s[w]
		if w == n/64 {
			word &= ^uint64(0) << (n % 64)
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word), true
		}
	}
	return 0, false
}

// field is one of the six.
type field struct {
	name     string
	min, max int
	names    []string // of min and what follows
	step     bool     // increments are allowed
	special  string   // the further wildcards that it knows, for messages
}

var fields = [6]field{
	{name: "minutes", max: 59, step: true},
	{name: "hours", max: 23, step: true},
	{name: "day-of-month", min: 1, max: 31, step: true, special: "?, L or W"},
	{name: "month", min: 1, max: 12, step: true, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{name: "day-of-week", min: 1, max: 7, special: "?, L or #", names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
	{name: "year", min: firstYear, max: lastYear, step: true},
}

const (
	minutesField = iota
	hoursField
	dayOfMonthField
	monthField
	dayOfWeekField
	yearField
)

// parseCron reads what stands between the parentheses of cron(…).
func parseCron(text string) (*cron, error) {
	texts := strings.Fields(text)
	if len(texts) != len(fields) {
		return nil, fmt.Errorf("cron has %d fields; write six: minutes hours day-of-month month day-of-week year", len(texts))
	}
	dom, dow := texts[dayOfMonthField], texts[dayOfWeekField]
	switch {
	case dom == "?" && dow == "?":
		return nil, fmt.Errorf("both day-of-month and day-of-week are ?; write * in one of them")
	case dom != "?" && dow != "?":
		return nil, fmt.Errorf("day-of-month is %q and day-of-week is %q; one of the two must be ?", dom, dow)
	}
	c := &cron{}
	for i, dst := range map[int]*set{minutesField: &c.minutes, hoursField: &c.hours, monthField: &c.months, yearField: &c.years} {
		s, err := fields[i].parse(texts[i])
		if err != nil {
			return nil, err
		}
		*dst = s
	}
	var err error
	if dow == "?" {
		c.day, err = parseDayOfMonth(dom)
	} else {
		c.day, err = parseDayOfWeek(dow)
	}
	return c, err
}

func parseDayOfMonth(text string) (func(date) bool, error) {
	f := &fields[dayOfMonthField]
	if text == "L" {
		return func(d date) bool { return d.day == daysIn(d.year, d.month) }, nil
	}
	if n, ok := strings.CutSuffix(text, "W"); ok {
		day, err := f.number(n)
		if err != nil {
			return nil, err
		}
		return func(d date) bool { return d.day == nearestWeekday(d.year, d.month, day) }, nil
	}
	s, err := f.parse(text)
	return func(d date) bool { return s.has(d.day) }, err
}

// nearestWeekday is the day from Monday to Friday that is nearest to day in the same month, or 0 if the
// month has no such day.
func nearestWeekday(year int, month time.Month, day int) int {
	last := daysIn(year, month)
	if day > last {
		return 0
	}
	switch (date{year, month, day}).weekday() {
	case 7:
		if day == 1 {
			return 3
		}
		return day - 1
	case 1:
		if day == last {
			return day - 2
		}
		return day + 1
	}
	return day
}

func parseDayOfWeek(text string) (func(date) bool, error) {
	f := &fields[dayOfWeekField]
	if text == "L" {
		text = "7" // the last day of the week
	}
	if n, ok := strings.CutSuffix(text, "L"); ok {
		weekday, err := f.number(n)
		if err != nil {
			return nil, err
		}
		return func(d date) bool { return d.weekday() == weekday && d.day+7 > daysIn(d.year, d.month) }, nil
	}
	if n, nth, ok := strings.Cut(text, "#"); ok {
		weekday, err := f.number(n)
		if err != nil {
			return nil, err
		}
		week, err := strconv.Atoi(nth)
		if err != nil || len(nth) != 1 || week < 1 || week > 5 {
			return nil, fmt.Errorf("day-of-week %q: what follows # is a week of the month, 1 to 5, and no other day may follow", text)
		}
		return func(d date) bool { return d.weekday() == weekday && (d.day+6)/7 == week }, nil
	}
	s, err := f.parse(text)
	return func(d date) bool { return s.has(d.weekday()) }, err
}

// parse reads a list of numbers, ranges and increments.
func (f *field) parse(text string) (set, error) {
	var s set
	for part := range strings.SplitSeq(text, ",") {
		low, high, step, err := f.part(part)
		if err != nil {
			return set{}, err
		}
		for n := low; n <= high; n += step {
			if f.name == "year" {
				s.add(n - firstYear)
			} else {
				s.add(n)
			}
		}
	}
	return s, nil
}

func (f *field) part(text string) (low, high, step int, err error) {
	span, inc, stepped := strings.Cut(text, "/")
	step = 1
	if stepped {
		if !f.step {
			return 0, 0, 0, fmt.Errorf("%s %q: this field has no increments; list the days", f.name, text)
		}
		step, err = strconv.Atoi(inc)
		if err != nil || step < 1 || step > f.max-f.min+1 || inc[0] == '+' {
			return 0, 0, 0, fmt.Errorf("%s %q: what follows / is a whole number from 1 to %d", f.name, text, f.max-f.min+1)
		}
	}
	if span == "*" {
		return f.min, f.max, step, nil
	}
	first, last, ranged := strings.Cut(span, "-")
	if low, err = f.number(first); err != nil {
		return 0, 0, 0, err
	}
	high = low
	switch {
	case ranged:
		if high, err = f.number(last); err != nil {
			return 0, 0, 0, err
		}
		if high < low {
			return 0, 0, 0, fmt.Errorf("%s %q: the range ends before it starts; write it as two, joined by a comma", f.name, text)
		}
	case stepped:
		high = f.max
	}
	return low, high, step, nil
}

func (f *field) number(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err == nil && n >= f.min && n <= f.max && text[0] != '+' && text[0] != '-' {
		return n, nil
	}
	want := fmt.Sprintf("%d to %d", f.min, f.max)
	if f.names != nil {
		want += fmt.Sprintf(" or %s to %s", f.names[0], f.names[len(f.names)-1])
	}
	if f.special != "" {
		want += ", or " + f.special + " by itself"
	}
	return 0, fmt.Errorf("%s: %q is none of %s", f.name, text, want)
}

// Next returns the first run after t. A run whose time of day does not exist, because the clocks are put
// forward, is left out; one whose time comes twice happens the first time only. That is how EventBridge
// Scheduler treats daylight saving time.
func (c *cron) Next(t, _ time.Time, loc *time.Location) (time.Time, bool) {
	wall := t.In(loc)
	today := date{wall.Year(), wall.Month(), wall.Day()}
	after := wall.Hour()*60 + wall.Minute() // only later times of day count today
	year := max(today.year, firstYear)
	for ; year <= lastYear; year++ {
		y, ok := c.years.from(year - firstYear)
		if !ok {
			break
		}
		year = y + firstYear
		month := 1
		if year == today.year {
			month = int(today.month)
		}
		for ; month <= 12; month++ {
			if !c.months.has(month) {
				continue
			}
			d := date{year, time.Month(month), 1}
			if d.year == today.year && d.month == today.month {
				d.day = today.day
			}
			for last := daysIn(year, d.month); d.day <= last; d.day++ {
				if !c.day(d) {
					continue
				}
				from := 0
				if d == today {
					from = after + 1
				}
				for ; from < 24*60; from++ {
					if from, ok = c.timeOfDay(from); !ok {
						break
					}
					if run, ok := instant(d, from/60, from%60, 0, loc); ok && run.After(t) {
						return run, true
					}
				}
			}
		}
	}
	return time.Time{}, false
}

// timeOfDay returns the first time of day, in minutes, that is at least from.
func (c *cron) timeOfDay(from int) (int, bool) {
	hour, ok := c.hours.from(from / 60)
	if !ok {
		return 0, false
	}
	minute := 0
	if hour == from/60 {
		minute = from % 60
	}
	if m, ok := c.minutes.from(minute); ok {
		return hour*60 + m, true
	}
	if hour, ok = c.hours.from(hour + 1); !ok {
		return 0, false
	}
	m, _ := c.minutes.from(0)
	return hour*60 + m, true
}

// instant returns the first moment at which the clocks of loc show a time; there is none if they skip it.
func instant(d date, hour, minute, second int, loc *time.Location) (time.Time, bool) {
	guess := time.Date(d.year, d.month, d.day, hour, minute, second, 0, loc)
	shown := time.Date(d.year, d.month, d.day, hour, minute, second, 0, time.UTC)
	// The guess may be the second of two such moments, and lies near a transition then: try the offsets of
	// both of its sides.
	before, after := guess.ZoneBounds()
	var first time.Time
	for _, near := range []time.Time{guess, before.Add(-1), after} {
		_, offset := near.In(loc).Zone()
		t := shown.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, is := t.Zone(); is == offset && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first, !first.IsZero()
}
