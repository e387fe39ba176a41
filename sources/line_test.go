package sources_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestALineIsBoundedAndKeepsItsOrder(t *testing.T) {
	t.Parallel()
	l := sources.NewLine[int](3, 100, 1)
	for i, size := range []int{40, 40, 30, 20, 0} {
		want := i != 2 && i != 4 // too many bytes, then too many events
		if got := l.Put(i, size); got != want {
			t.Errorf("Put(%d, %d) = %v", i, size, got)
		}
	}
	l.Close()
	l.Close()
	if l.Put(9, 0) {
		t.Error("a closed line took an event")
	}
	var got []int
	l.Work(func(n int) { got = append(got, n) })
	if !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("worked on %v", got)
	}
}

func TestALineWorksOnSoManyAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := sources.NewLine[int](10, 100, 3)
		var running, most int
		for i := range 10 {
			l.Put(i, 1)
		}
		l.Close()
		begin := time.Now()
		count := make(chan int, 20)
		l.Work(func(int) {
			count <- 1
			time.Sleep(time.Second) //nolint:forbidigo // the false time of synctest
			count <- -1
		})
		for len(count) > 0 {
			running += <-count
			most = max(most, running)
		}
		if took := time.Since(begin); most != 3 || took != 4*time.Second {
			t.Errorf("%d at once, for %s", most, took)
		}
	})
}

func TestAnIntakeQueuesAsLongAsItCan(t *testing.T) {
	t.Parallel()
	full := errors.New("the store is full")
	refused := &executor.Error{Kind: executor.Refused, Function: "f", Err: errors.New("no")}
	for _, c := range []struct {
		name    string
		answers []error
		stop    time.Duration
		want    string
		tries   int
	}{
		{"is content with the first yes", []error{nil}, time.Hour, sources.Accepted, 1},
		{"tries again", []error{full, full, full, nil}, time.Hour, sources.Accepted, 4},
		{"gives up on a refusal", []error{full, refused, nil}, time.Hour, sources.Refused, 2},
		{"tries once more when stopped", []error{full, nil}, time.Millisecond, sources.Accepted, 2},
		{"ends when stopped", []error{full, full, nil}, time.Millisecond, sources.Lost, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := clock.WithTimeout(t.Context(), clock.System{}, c.stop)
			defer cancel()
			tries := 0
			var results []string
			intake := sources.Intake{
				Accept: func(ctx context.Context, _ executor.Request) error {
					tries++
					if ctx.Err() != nil {
						t.Errorf("%s: the last try was cut off", c.name)
					}
					return c.answers[tries-1]
				},
				Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Count: func(result string) { results = append(results, result) },
			}
			intake.Queue(ctx, executor.Request{}, slog.String("subject", "orders"))
			if !slices.Equal(results, []string{c.want}) || tries != c.tries {
				t.Errorf("%s: %q after %d tries, want %s after %d", c.name, results, tries, c.want, c.tries)
			}
		})
	}
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	t.Parallel()
	for attempts, least := range map[int]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 7: 6400 * time.Millisecond, 8: 10 * time.Second, 1000: 10 * time.Second} {
		if got := sources.Backoff(attempts); got < least || got > least*5/4 {
			t.Errorf("Backoff(%d) = %s", attempts, got)
		}
	}
}
