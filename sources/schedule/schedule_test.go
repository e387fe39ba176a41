package schedule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/schedule"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start of every synctest bubble.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bench holds what outlives a restart of the hub.
type bench struct {
	t       *testing.T
	config  schedule.Config
	dir     string
	clock   clock.Clock
	metrics *prometheus.Registry
	log     bytes.Buffer

	mu   sync.Mutex
	runs []run
	err  error // what Accept answers
}

type run struct {
	at  time.Time // when the hub was handed the run
	doc document
}

type document struct {
	ID        string
	Source    string
	Time      time.Time
	Resources []string
	Detail    any
}

func newBench(t *testing.T, change func(*schedule.Config)) *bench {
	c := schedule.Defaults()
	change(&c)
	return &bench{t: t, config: c, dir: t.TempDir(), clock: clock.System{}, metrics: prometheus.NewRegistry()}
}

func (b *bench) open() sources.Source {
	b.t.Helper()
	spec := schedule.Spec()
	config := spec.Config().(*schedule.Config)
	*config = b.config
	if err := config.Validate(); err != nil {
		b.t.Fatal(err)
	}
	s, err := spec.Open(b.t.Context(), config, plugin.Deps{
		Name: "nightly", Log: slog.New(slog.NewTextHandler(&b.log, nil)), Metrics: b.metrics, Clock: b.clock, Data: b.dir,
		Region: "us-east-1", Account: "123456789012",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) accept(_ context.Context, req executor.Request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	r := run{at: b.clock.Now().UTC()}
	if err := json.Unmarshal(req.Payload, &r.doc); err != nil {
		b.t.Errorf("%v: %s", err, req.Payload)
	}
	b.runs = append(b.runs, r)
	return nil
}

// upFor runs the hub for a while and returns the times in the documents of its runs.
func (b *bench) upFor(d time.Duration) []string {
	b.t.Helper()
	before := len(b.runs)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error)
	source := b.open()
	go func() { done <- source.Run(ctx, sources.Hub{Accept: b.accept}) }()
	time.Sleep(d) //nolint:forbidigo // the false time of synctest
	cancel()
	if err := <-done; err != nil {
		b.t.Errorf("Run = %v", err)
	}
	var times []string
	for _, r := range b.runs[before:] {
		times = append(times, r.doc.Time.Format("02 15:04"))
	}
	return times
}

func (b *bench) downFor(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the false time of synctest
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("runs %q, want %q", got, want)
	}
}

func TestConformance(t *testing.T) {
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		manual := clock.NewManual(start)
		var mu sync.Mutex
		times := map[string]string{}
		dir := t.TempDir()
		return sourcetest.Upstream{
			Open: func(t testing.TB) sources.Source {
				spec := schedule.Spec()
				config := spec.Config().(*schedule.Config)
				config.Expression = "rate(1 minute)"
				s, err := spec.Open(context.Background(), config, plugin.Deps{
					Name: "tick", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: manual, Data: dir,
				})
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Put: func(ctx context.Context, id string) error {
				mu.Lock()
				defer mu.Unlock()
				for manual.Timers() == 0 {
					if err := clock.Sleep(ctx, clock.System{}, time.Millisecond); err != nil {
						return fmt.Errorf("the schedule does not wait: %w", err)
					}
				}
				times[id] = manual.Now().Add(time.Minute).Format(time.RFC3339)
				manual.Advance(time.Minute)
				return nil
			},
			Has: func(document []byte, id string) bool {
				mu.Lock()
				defer mu.Unlock()
				return times[id] != "" && bytes.Contains(document, []byte(`"time":"`+times[id]+`"`))
			},
		}
	})
}

func TestDocumentIsThatOfTheForm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rule := newBench(t, func(c *schedule.Config) { c.Expression = "rate(1 hour)" })
		want(t, rule.upFor(2*time.Hour+time.Minute), "01 01:00", "01 02:00")
		d := rule.runs[0].doc
		if d.Source != "aws.events" || fmt.Sprint(d.Resources) != "[arn:aws:events:us-east-1:123456789012:rule/nightly]" || fmt.Sprint(d.Detail) != "map[]" {
			t.Errorf("document %+v", d)
		}
		if d.ID == rule.runs[1].doc.ID || len(d.ID) != 36 {
			t.Errorf("ids %q and %q", d.ID, rule.runs[1].doc.ID)
		}

		scheduler := newBench(t, func(c *schedule.Config) { c.Expression, c.Form = "rate(1 hour)", "scheduler" })
		want(t, scheduler.upFor(61*time.Minute), "01 02:01", "01 03:01") // at once, then each hour
		d = scheduler.runs[0].doc
		if d.Source != "aws.scheduler" || fmt.Sprint(d.Resources) != "[arn:aws:scheduler:us-east-1:123456789012:schedule/default/nightly]" || d.Detail != "{}" {
			t.Errorf("document %+v", d)
		}
	})
}

func TestInputReplacesTheDocument(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression, c.Input = "rate(1 minute)", `{"ID":"mine"}` })
		b.upFor(90 * time.Second)
		if len(b.runs) != 1 || b.runs[0].doc.ID != "mine" || b.runs[0].doc.Source != "" {
			t.Errorf("runs %+v", b.runs)
		}
	})
}

// By the clocks of Zurich, the run at 02:30 is left out on 26 March 2000 and comes once on 29 October.
func TestDaylightSaving(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from time.Time
		want []string
	}{
		{time.Date(2000, 3, 24, 0, 0, 0, 0, time.UTC), []string{"24 01:30", "25 01:30", "27 00:30", "28 00:30"}},
		{time.Date(2000, 10, 27, 12, 0, 0, 0, time.UTC), []string{"28 00:30", "29 00:30", "30 01:30", "31 01:30"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(c *schedule.Config) { c.Expression, c.Timezone = "cron(30 2 * * ? *)", "Europe/Zurich" })
			b.clock = &jumping{off: c.from.Sub(start)}
			want(t, b.upFor(5*24*time.Hour-13*time.Hour), c.want...)
			for _, r := range b.runs {
				if !r.at.Equal(r.doc.Time) {
					t.Errorf("the run of %s came at %s", r.doc.Time, r.at)
				}
			}
		})
	}
}

func TestMissedRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, missed string
		down         time.Duration
		want         []string
		dropped      float64
	}{
		{"are dropped", "skip", 5*time.Hour + 20*time.Minute, []string{"01 07:00"}, 5},
		{"are made up by the newest", "last", 5*time.Hour + 20*time.Minute, []string{"01 06:00", "01 07:00"}, 4},
		{"are made up in order", "all", 5*time.Hour + 20*time.Minute, []string{"01 02:00", "01 03:00", "01 04:00", "01 05:00", "01 06:00", "01 07:00"}, 0},
		{"less than a minute ago are on time", "skip", 4*time.Hour + 30*time.Minute + 30*time.Second, []string{"01 06:00"}, 4},
		{"too old are dropped, and counted as one", "all", 1000 * time.Hour,
			[]string{"11 12:00", "11 13:00", "11 14:00", "11 15:00", "11 16:00", "11 17:00", "11 18:00"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(s *schedule.Config) {
					s.Expression, s.Missed, s.MaximumEventAge = "rate(1 hour)", c.missed, 6*time.Hour
				})
				want(t, b.upFor(90*time.Minute), "01 01:00")
				b.downFor(c.down)
				want(t, b.upFor(45*time.Minute), c.want...)
				n := testutil.ToFloat64(counter(t, b, "dropped"))
				if n != c.dropped {
					t.Errorf("%v dropped runs counted, want %v", n, c.dropped)
				}
			})
		})
	}
}

// counter finds the metric again by registering it as the source does.
func counter(t *testing.T, b *bench, result string) prometheus.Counter {
	t.Helper()
	return plugin.Register(b.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_schedule_runs_total",
		Help: "Runs of schedules: accepted by the hub, refused for good, or missed and dropped.",
	}, []string{"trigger", "result"})).WithLabelValues("nightly", result)
}

// A crash after the hub has accepted a run and before it is remembered is a restart with the older mark.
func TestACrashRepeatsARunAndNeverSkipsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression, c.Missed = "rate(1 hour)", "all" })
		want(t, b.upFor(90*time.Minute), "01 01:00")
		file := filepath.Join(b.dir, "schedule.json")
		old, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want(t, b.upFor(time.Hour), "01 02:00")
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, b.upFor(time.Hour), "01 02:00", "01 03:00")
		if b.runs[1].doc.ID != b.runs[2].doc.ID {
			t.Error("the repeated run has another id")
		}
	})
}

func TestARefusedRunIsTriedAgain(t *testing.T) {
	t.Parallel()
	for missed, runs := range map[string][]string{
		"all":  {"01 01:00", "01 02:00", "01 03:00"},
		"last": {"01 03:00"},
		"skip": {},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(c *schedule.Config) { c.Expression, c.Missed = "rate(1 hour)", missed })
			b.err = errors.New("the store is full")
			time.AfterFunc(3*time.Hour+10*time.Minute, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.err = nil
			})
			want(t, b.upFor(3*time.Hour+30*time.Minute), runs...)
			if n := strings.Count(b.log.String(), "did not accept"); n < 1 || n > 3 {
				t.Errorf("%d complaints:\n%s", n, b.log.String())
			}
		})
	}
}

func TestARunThatCanNeverBeTakenIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression, c.Missed = "rate(1 hour)", "all" })
		b.err = &executor.Error{Kind: executor.Refused, Function: "f", Err: errors.New("no")}
		time.AfterFunc(90*time.Minute, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.err = nil
		})
		want(t, b.upFor(150*time.Minute), "01 02:00")
		if n := testutil.ToFloat64(counter(t, b, "refused")); n != 1 {
			t.Errorf("%v refused runs counted", n)
		}
	})
}

func TestOnceIsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression = "at(2000-01-01T03:00:00)" })
		want(t, b.upFor(time.Hour))
		b.downFor(5 * time.Hour)
		want(t, b.upFor(time.Hour), "01 03:00") // it was missed
		want(t, b.upFor(24*time.Hour))
		if !strings.Contains(b.log.String(), "no further run") {
			t.Errorf("log %s", b.log.String())
		}
	})
}

func TestARateKeepsItsBeatOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression = "rate(1 hour)" })
		want(t, b.upFor(90*time.Minute), "01 01:00")
		want(t, b.upFor(15*time.Minute))
		want(t, b.upFor(20*time.Minute), "01 02:00")
		b.config.Expression = "rate(30 minutes)" // another schedule: it begins now, at 02:05
		want(t, b.upFor(65*time.Minute), "01 02:35", "01 03:05")
	})
}

func TestDatesBoundTheRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) {
			c.Expression, c.Timezone, c.StartDate, c.EndDate = "rate(1 hour)", "Europe/Zurich", "2000-01-01T03:30:00", "2000-01-01T05:30:00+01:00"
		})
		want(t, b.upFor(24*time.Hour), "01 02:30", "01 03:30")
	})
}

func TestAFlexibleRunStaysInItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression, c.FlexibleTimeWindow = "rate(10 minutes)", 30*time.Minute })
		b.upFor(20 * time.Hour)
		if len(b.runs) < 117 {
			t.Fatalf("%d runs", len(b.runs))
		}
		var least, most time.Duration
		for i, r := range b.runs {
			if want := start.Add(time.Duration(i+1) * 10 * time.Minute); !r.doc.Time.Equal(want) {
				t.Fatalf("run %d is that of %s, want %s", i, r.doc.Time, want)
			}
			delay := r.at.Sub(r.doc.Time)
			least, most = min(least, delay), max(most, delay)
		}
		if least < 0 || most > 30*time.Minute || most < 20*time.Minute {
			t.Errorf("delays from %s to %s", least, most)
		}
	})
}

// jumping is a clock that someone sets.
type jumping struct {
	clock.System
	mu  sync.Mutex
	off time.Duration
}

func (j *jumping) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.System.Now().Add(j.off)
}

func (j *jumping) jump(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.off += d
}

func TestAJumpOfTheClockDelaysARunByAMinuteAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clk := &jumping{}
		b := newBench(t, func(c *schedule.Config) { c.Expression = "cron(0 12 * * ? *)" })
		b.clock = clk
		time.AfterFunc(time.Hour+10*time.Second, func() { clk.jump(11 * time.Hour) }) // 12:00:10
		time.AfterFunc(2*time.Hour, func() { clk.jump(-6 * time.Hour) })              // back from 13:00 to 07:00
		want(t, b.upFor(8*time.Hour), "01 12:00")                                     // and not again at noon
		if late := b.runs[0].at.Sub(b.runs[0].doc.Time); late > time.Minute+10*time.Second {
			t.Errorf("the run came %s late", late)
		}
	})
}

func TestABrokenMarkIsAnErrorThatSaysHowToMend(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *schedule.Config) { c.Expression = "rate(1 hour)" })
	file := filepath.Join(b.dir, "schedule.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"last":`), 0o600); err != nil {
		t.Fatal(err)
	}
	err := b.open().Run(t.Context(), sources.Hub{Accept: b.accept})
	if err == nil || !strings.Contains(err.Error(), "remove the file to count from now") || !strings.Contains(err.Error(), file) {
		t.Errorf("Run = %v", err)
	}
}

func TestADataFolderThatIsAFileIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *schedule.Config) { c.Expression = "rate(1 hour)" })
		b.dir = filepath.Join(b.dir, "file")
		if err := os.WriteFile(b.dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := b.open().Run(ctx, sources.Hub{Accept: b.accept}); err == nil {
			t.Error("a file in the place of the folder was no error")
		}
	})
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*schedule.Config)
		want   string
	}{
		"no expression":           {func(c *schedule.Config) { c.Expression = "" }, "expression: write rate(5 minutes)"},
		"a rule is strict":        {func(c *schedule.Config) { c.Expression = "rate(1 minutes)" }, "expression: rate of"},
		"a scheduler is not":      {func(c *schedule.Config) { c.Expression, c.Form = "rate(1 minutes)", "scheduler" }, ""},
		"a form":                  {func(c *schedule.Config) { c.Form = "bus" }, `form: "bus" is neither`},
		"a zone":                  {func(c *schedule.Config) { c.Timezone = "Europe/Zuerich" }, `timezone: "Europe/Zuerich" is not`},
		"the machine's zone":      {func(c *schedule.Config) { c.Timezone = "Local" }, `timezone: "Local" is not`},
		"a date":                  {func(c *schedule.Config) { c.StartDate = "tomorrow" }, `startDate: "tomorrow" is not a time`},
		"a date that is skipped":  {func(c *schedule.Config) { c.EndDate, c.Timezone = "2026-03-29T02:30:00", "Europe/Zurich" }, "endDate: 2026-03-29T02:30:00 does not exist in Europe/Zurich"},
		"dates the wrong way":     {func(c *schedule.Config) { c.StartDate, c.EndDate = "2026-02-01T00:00:00", "2026-01-01T00:00:00Z" }, "endDate: 2026-01-01T00:00:00Z is not after startDate"},
		"once, at a skipped time": {func(c *schedule.Config) { c.Expression, c.Timezone = "at(2026-03-29T02:30:00)", "Europe/Zurich" }, "expression: this time does not exist in Europe/Zurich"},
		"once, with a date":       {func(c *schedule.Config) { c.Expression, c.EndDate = "at(2026-03-29T02:30:00)", "2027-01-01T00:00:00Z" }, "neither startDate nor endDate"},
		"input":                   {func(c *schedule.Config) { c.Input = "hello" }, "input: this is not a JSON text"},
		"large input":             {func(c *schedule.Config) { c.Input = `"` + strings.Repeat("x", 1<<20) + `"` }, "input: 1048578 bytes are more"},
		"a negative window":       {func(c *schedule.Config) { c.FlexibleTimeWindow = -1 }, "flexibleTimeWindow: -1ns is not between"},
		"missed":                  {func(c *schedule.Config) { c.Missed = "never" }, `missed: "never" is none of`},
		"age":                     {func(c *schedule.Config) { c.MaximumEventAge = time.Second }, "maximumEventAge: 1s is not between"},
	} {
		config := schedule.Defaults()
		config.Expression = "cron(0 12 * * ? *)"
		c.change(&config)
		err := config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		var field *plugin.FieldError
		if err != nil && !errors.As(err, &field) {
			t.Errorf("%s: %T has no path", name, err)
		}
	}
}
