package cron

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/fixtures"
)

// Every expression that AWS was seen to accept or refuse is accepted or refused.
func TestRecordedExpressions(t *testing.T) {
	t.Parallel()
	key := regexp.MustCompile(`\[((?:cron|rate|at)\(.*\))\]$`)
	seen := map[bool]int{}
	for _, c := range []struct {
		file    string
		dialect Dialect
	}{{"test_scheduler", Scheduler}, {"test_events_schedule", Rule}} {
		var snapshot map[string]json.RawMessage
		if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/"+c.file+".snapshot.json"), &snapshot); err != nil {
			t.Fatal(err)
		}
		for name := range snapshot {
			m := key.FindStringSubmatch(name)
			if m == nil {
				continue
			}
			valid := !strings.Contains(name, "invalid")
			seen[valid]++
			if _, err := Parse(m[1], c.dialect); (err == nil) != valid {
				t.Errorf("%s: %s: Parse = %v", c.file, m[1], err)
			}
		}
	}
	if seen[true] < 12 || seen[false] < 17 {
		t.Errorf("%d accepted and %d refused expressions found", seen[true], seen[false])
	}
}

func TestARefusalSaysWhereAndHowToMend(t *testing.T) {
	t.Parallel()
	const hint = `: write a whole number, one blank and minutes, hours or days, such as rate(5 minutes)`
	for text, want := range map[string]string{
		"":                          "write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00), with nothing before or after",
		" rate(5 minutes)":          `there is no " rate"; write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00)`,
		"rate(5 minutes) ":          "write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00), with nothing before or after",
		"every(5 minutes)":          `there is no "every"; write rate(5 minutes), cron(0 12 * * ? *) or at(2026-12-01T00:00:00)`,
		"rate(0 minutes)":           `rate of "0 minutes"` + hint,
		"rate(10 seconds)":          `rate of "10 seconds"` + hint,
		"rate(10 MINUTES)":          `rate of "10 MINUTES"` + hint,
		"rate(+5 minutes)":          `rate of "+5 minutes"` + hint,
		"rate(5  minutes)":          `rate of "5  minutes"` + hint,
		"rate(1 minutes)":           `rate of "1 minutes": the unit is singular after 1 and plural otherwise, as in rate(1 minute) and rate(5 minutes)`,
		"rate(10 minute)":           `rate of "10 minute": the unit is singular after 1 and plural otherwise, as in rate(1 minute) and rate(5 minutes)`,
		"rate(36601 days)":          `rate of "36601 days": the longest is 36600 days`,
		"rate(9999999999 minutes)":  `rate of "9999999999 minutes": the longest is 36600 days`,
		"cron(0 12 * * ?)":          "cron has 5 fields; write six: minutes hours day-of-month month day-of-week year",
		"cron(0 1 * * * *)":         `day-of-month is "*" and day-of-week is "*"; one of the two must be ?`,
		"cron(0 1 ? * ? *)":         "both day-of-month and day-of-week are ?; write * in one of them",
		"cron(60 1 * * ? *)":        `minutes: "60" is none of 0 to 59`,
		"cron(0 1-x * * ? *)":       `hours: "x" is none of 0 to 23`,
		"cron(0 22-2 * * ? *)":      `hours "22-2": the range ends before it starts; write it as two, joined by a comma`,
		"cron(0/0 1 * * ? *)":       `minutes "0/0": what follows / is a whole number from 1 to 60`,
		"cron(0 1 32W * ? *)":       `day-of-month: "32" is none of 1 to 31, or ?, L or W by itself`,
		"cron(0 1 L-3 * ? *)":       `day-of-month: "L" is none of 1 to 31, or ?, L or W by itself`,
		"cron(0 1 1,L * ? *)":       `day-of-month: "L" is none of 1 to 31, or ?, L or W by itself`,
		"cron(7 20 * * NOT *)":      `day-of-month is "*" and day-of-week is "NOT"; one of the two must be ?`,
		"cron(7 20 ? * NOT *)":      `day-of-week: "NOT" is none of 1 to 7 or SUN to SAT, or ?, L or # by itself`,
		"cron(7 20 ? * 0 *)":        `day-of-week: "0" is none of 1 to 7 or SUN to SAT, or ?, L or # by itself`,
		"cron(7 20 ? * 3#6 *)":      `day-of-week "3#6": what follows # is a week of the month, 1 to 5, and no other day may follow`,
		"cron(7 20 ? * 3#1,6#3 *)":  `day-of-week "3#1,6#3": what follows # is a week of the month, 1 to 5, and no other day may follow`,
		"cron(7 20 ? * 2/2 *)":      `day-of-week "2/2": this field has no increments; list the days`,
		"cron(7 20 1 13 ? *)":       `month: "13" is none of 1 to 12 or JAN to DEC`,
		"cron(7 20 1 , ? *)":        `month: "" is none of 1 to 12 or JAN to DEC`,
		"cron(7 20 1 1 ? 1969)":     `year: "1969" is none of 1970 to 2199`,
		"at(2026-12-01)":            `at "2026-12-01": write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own`,
		"at(2026-12-01T00:00:00Z)":  `at "2026-12-01T00:00:00Z": write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own`,
		"at(2026-02-30T00:00:00)":   `at "2026-02-30T00:00:00": write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own`,
		"at(2026-12-01T00:00:00.5)": `at "2026-12-01T00:00:00.5": write yyyy-mm-ddThh:mm:ss, such as at(2026-12-01T00:00:00); the time zone is a setting of its own`,
	} {
		_, err := Parse(text, Rule)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestRunsOfAnExpression(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, zone, after string
		want                    []string
	}{
		{"noon of every day", "cron(0 12 * * ? *)", "UTC", "2026-11-24T12:00:00Z", []string{"2026-11-25T12:00:00Z", "2026-11-26T12:00:00Z"}},
		{"seconds do not repeat a run", "cron(0 12 * * ? *)", "UTC", "2026-11-24T12:00:01Z", []string{"2026-11-25T12:00:00Z"}},
		{"weekdays by name", "cron(0 18 ? * MON-FRI *)", "UTC", "2026-11-27T18:00:00Z", []string{"2026-11-30T18:00:00Z", "2026-12-01T18:00:00Z"}},
		{"day 1 of the week is Sunday", "cron(0 0 ? * 1 *)", "UTC", "2026-11-24T00:00:00Z", []string{"2026-11-29T00:00:00Z"}},
		{"L of the week is Saturday", "cron(0 0 ? * L *)", "UTC", "2026-11-24T00:00:00Z", []string{"2026-11-28T00:00:00Z"}},
		{"last Friday of the month", "cron(15 10 ? * 6L *)", "UTC", "2026-11-01T00:00:00Z", []string{"2026-11-27T10:15:00Z", "2026-12-25T10:15:00Z"}},
		{"third Saturday", "cron(0 2 ? * SAT#3 *)", "UTC", "2026-11-01T00:00:00Z", []string{"2026-11-21T02:00:00Z", "2026-12-19T02:00:00Z"}},
		{"fifth Monday is not in every month", "cron(0 2 ? * 2#5 *)", "UTC", "2026-11-01T00:00:00Z", []string{"2026-11-30T02:00:00Z", "2027-03-29T02:00:00Z"}},
		{"last day of the month", "cron(0 5 L * ? *)", "UTC", "2028-01-31T05:00:00Z", []string{"2028-02-29T05:00:00Z", "2028-03-31T05:00:00Z"}},
		{"weekday nearest to the 1st, a Saturday", "cron(0 0 1W * ? *)", "UTC", "2026-07-31T12:00:00Z", []string{"2026-08-03T00:00:00Z"}},
		{"weekday nearest to the 15th, a Saturday", "cron(0 0 15W * ? *)", "UTC", "2026-08-04T00:00:00Z", []string{"2026-08-14T00:00:00Z"}},
		{"weekday nearest to the 31st, a Sunday", "cron(0 0 31W * ? *)", "UTC", "2026-05-01T00:00:00Z", []string{"2026-05-29T00:00:00Z", "2026-07-31T00:00:00Z"}},
		{"a leap day", "cron(0 0 29 2 ? *)", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"no century is a leap year", "cron(0 0 29 FEB ? 2100)", "UTC", "2026-01-01T00:00:00Z", []string{"never"}},
		{"increments from a start", "cron(5/20 0-23/12 1 JAN ? 2027)", "UTC", "2026-01-01T00:00:00Z",
			[]string{"2027-01-01T00:05:00Z", "2027-01-01T00:25:00Z", "2027-01-01T00:45:00Z", "2027-01-01T12:05:00Z", "2027-01-01T12:25:00Z", "2027-01-01T12:45:00Z", "never"}},
		{"years that are past", "cron(15 10 ? * 6L 2002-2005)", "UTC", "2026-01-01T00:00:00Z", []string{"never"}},
		{"lists and lower case", "cron(0 6,18 ? dec mon,wed 2026,2030)", "UTC", "2026-12-28T07:00:00Z", []string{"2026-12-28T18:00:00Z", "2026-12-30T06:00:00Z", "2026-12-30T18:00:00Z", "2030-12-02T06:00:00Z"}},

		// Clocks go from 02:00 to 03:00 on 29 March 2026 in Zurich, and from 03:00 back to 02:00 on 25 October.
		{"a time that is skipped does not run", "cron(30 2 * * ? *)", "Europe/Zurich", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"a time that comes twice runs once", "cron(30 2 * * ? *)", "Europe/Zurich", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"begun in the second of two hours", "cron(30 2 * * ? *)", "Europe/Zurich", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"each time of day runs once", "cron(0/30 1-3 * * ? *)", "Europe/Zurich", "2026-10-24T23:00:00Z",
			[]string{"2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"}},
		{"half an hour of summer time", "cron(15/30 1-2 * * ? *)", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
			[]string{"2026-04-04T14:15:00Z", "2026-04-04T14:45:00Z", "2026-04-04T15:45:00Z", "2026-04-04T16:15:00Z"}},
		{"a day that the calendar left out", "cron(0 12 30 12 ? 2011)", "Pacific/Apia", "2011-01-01T00:00:00Z", []string{"never"}},

		{"once", "at(2026-03-29T12:00:30)", "Europe/Zurich", "2026-01-01T00:00:00Z", []string{"2026-03-29T10:00:30Z", "never"}},
		{"a rate counts from its beginning", "rate(7 hours)", "Europe/Zurich", "2026-01-01T06:59:59Z", []string{"2026-01-01T07:00:00Z", "2026-01-01T14:00:00Z"}},
		{"a rate begins at its beginning", "rate(1 hour)", "UTC", "2025-01-01T00:00:00Z", []string{"2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"}},
		{"a day of a rate has 24 hours", "rate(1 day)", "Europe/Zurich", "2026-03-28T00:00:00Z", []string{"2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"}},
	} {
		e, err := Parse(c.text, Rule)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		now := parseTime(t, c.after)
		for i, want := range c.want {
			next, ok := e.Next(now, parseTime(t, "2026-01-01T00:00:00Z"), location(t, c.zone))
			got := next.UTC().Format(time.RFC3339)
			if !ok {
				got = "never"
			}
			if got != want {
				t.Errorf("%s: run %d of %s is %s, want %s", c.name, i, c.text, got, want)
			}
			now = next
		}
	}
}

func parseTime(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestCronAgreesWithBruteForce walks through the minutes, and asks of each, by another way of reading the
// expression, whether it is a run.
func TestCronAgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	zones := []string{"UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Pacific/Apia"}
	turns := []string{"2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z", "2026-03-08T00:00:00Z", "2026-11-01T00:00:00Z", "2026-04-04T10:00:00Z", "2026-12-31T20:00:00Z", "2028-02-28T20:00:00Z"}
	for range 25 {
		text := randomCron(r)
		c, err := parseCron(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		loc := location(t, zones[r.IntN(len(zones))])
		start := parseTime(t, turns[r.IntN(len(turns))]).Add(time.Duration(r.IntN(86400)) * time.Second)
		end := start.Add(3 * 24 * time.Hour)
		var want, got []time.Time
		for m := start.Truncate(time.Minute).Add(time.Minute); m.Before(end) && len(want) < 200; m = m.Add(time.Minute) {
			if bruteMatch(t, text, m.In(loc)) && !shownBefore(m, loc) {
				want = append(want, m)
			}
		}
		for at, ok := c.Next(start, time.Time{}, loc); ok && at.Before(end) && len(got) < 200; at, ok = c.Next(at, time.Time{}, loc) {
			got = append(got, at)
		}
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || !want[i].Equal(got[i]) {
				t.Fatalf("cron(%s) in %s after %s:\n got %v\nwant %v", text, loc, start, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
			}
		}
	}
}

func randomCron(r *rand.Rand) string {
	span := func(min, max int) string {
		a := min + r.IntN(max-min+1)
		b := a + r.IntN(max-a+1)
		return []string{"*", fmt.Sprint(a), fmt.Sprintf("%d-%d", a, b), fmt.Sprintf("%d,%d", b, a), fmt.Sprintf("%d/%d", a, 1+r.IntN(max-min)),
			fmt.Sprintf("*/%d", 1+r.IntN(max-min)), fmt.Sprintf("%d-%d/2,%d", a, b, min)}[r.IntN(7)]
	}
	dom, dow := "?", "?"
	if r.IntN(2) == 0 {
		dom = []string{"*", "*", span(1, 31), "L", fmt.Sprintf("%dW", 1+r.IntN(31))}[r.IntN(5)]
	} else {
		a := 1 + r.IntN(7)
		dow = []string{"*", fmt.Sprint(a), fmt.Sprintf("1-%d", a), "L", fmt.Sprintf("%dL", a), fmt.Sprintf("%d#%d", a, 1+r.IntN(5)), "MON,SUN"}[r.IntN(7)]
	}
	month := "*"
	if r.IntN(3) == 0 {
		month = span(1, 12)
	}
	return strings.Join([]string{span(0, 59), span(0, 23), dom, month, dow, []string{"*", "2026", "2026-2028", "*/2"}[r.IntN(4)]}, " ")
}

func bruteMatch(t *testing.T, text string, at time.Time) bool {
	f := strings.Fields(text)
	month := time.Date(at.Year(), at.Month(), 1, 12, 0, 0, 0, time.UTC)
	var days []time.Time // of this month
	for d := month; d.Month() == month.Month(); d = d.AddDate(0, 0, 1) {
		days = append(days, d)
	}
	today := days[at.Day()-1]
	return bruteField(t, f[0], at.Minute(), 0, 59) && bruteField(t, f[1], at.Hour(), 0, 23) && bruteField(t, f[3], int(at.Month()), 1, 12) &&
		bruteField(t, f[5], at.Year(), 1970, 2199) && bruteDay(t, f[2], f[4], today, days)
}

func bruteDay(t *testing.T, dom, dow string, today time.Time, days []time.Time) bool {
	weekday := int(today.Weekday()) + 1
	var n, nth int
	switch {
	case dom == "L":
		return today.Equal(days[len(days)-1])
	case strings.HasSuffix(dom, "W"):
		fmt.Sscanf(dom, "%dW", &n)
		if n > len(days) {
			return false
		}
		var best time.Time
		for _, d := range days { // the nearest; there is never a tie, for a weekend has two days
			far := func(d time.Time) time.Duration { return d.Sub(days[n-1]).Abs() }
			if d.Weekday() != time.Saturday && d.Weekday() != time.Sunday && (best.IsZero() || far(d) < far(best)) {
				best = d
			}
		}
		return today.Equal(best)
	case dom != "?":
		return bruteField(t, dom, today.Day(), 1, 31)
	case dow == "L":
		return weekday == 7
	case strings.HasSuffix(dow, "L"):
		fmt.Sscanf(dow, "%dL", &n)
		return weekday == n && today.AddDate(0, 0, 7).Month() != today.Month()
	case strings.Contains(dow, "#"):
		fmt.Sscanf(dow, "%d#%d", &n, &nth)
		for _, d := range days {
			if int(d.Weekday())+1 == n {
				if nth--; nth == 0 {
					return today.Equal(d)
				}
			}
		}
		return false
	}
	return bruteField(t, strings.NewReplacer("SUN", "1", "MON", "2").Replace(dow), weekday, 1, 7)
}

func bruteField(t *testing.T, text string, n, min, max int) bool {
	for _, part := range strings.Split(text, ",") {
		span, inc, stepped := strings.Cut(part, "/")
		low, high, step := min, max, 1
		if stepped {
			fmt.Sscan(inc, &step)
		}
		if a, b, ranged := strings.Cut(span, "-"); ranged {
			fmt.Sscan(a, &low)
			fmt.Sscan(b, &high)
		} else if span != "*" {
			fmt.Sscan(span, &low)
			if !stepped {
				high = low
			}
		}
		if n >= low && n <= high && (n-low)%step == 0 {
			return true
		}
	}
	return false
}

// shownBefore reports whether the clocks have shown the same time already.
func shownBefore(at time.Time, loc *time.Location) bool {
	const minute = "2006-01-02 15:04"
	for d := time.Minute; d <= 3*time.Hour; d += time.Minute {
		if at.Add(-d).In(loc).Format(minute) == at.In(loc).Format(minute) {
			return true
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"rate(5 minutes)", "rate(1 day)", "cron(0 12 * * ? *)", "cron(0/15 8-17 ? JAN,DEC MON-FRI 2026-2030)", "cron(0 0 15W * ? *)",
		"cron(0 0 L * ? *)", "cron(0 0 ? * 6#3 *)", "cron(0 0 ? * FRIL *)", "at(2026-12-01T00:00:00)", "cron()", "rate(", "cron(* * * * * *)", "cron(0 0 0W * ? *)", "cron(1/ , - # ? *)"} {
		f.Add(text)
	}
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		f.Fatal(err)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text, Scheduler)
		if err != nil {
			if err.Error() == "" {
				t.Error("an empty error")
			}
			return
		}
		for at, n := begin, 0; n < 3; n++ {
			next, ok := e.Next(at, begin, zone)
			if !ok {
				return
			}
			if !next.After(at) {
				t.Fatalf("%s: the run after %s is %s", text, at, next)
			}
			at = next
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, text := range []string{"cron(0/5 * * * ? *)", "cron(0 2 ? * SAT#3 *)", "cron(0 0 30 2 ? *)"} {
		b.Run(text, func(b *testing.B) {
			e, err := Parse(text, Rule)
			if err != nil {
				b.Fatal(err)
			}
			loc := location(b, "Europe/Zurich")
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				e.Next(at, at, loc)
			}
		})
	}
}
