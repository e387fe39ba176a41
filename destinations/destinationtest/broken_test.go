package destinationtest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/executor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// good keeps every promise, in memory.
type good struct {
	gate executor.Gate

	mu              sync.Mutex
	bodies          [][]byte
	failing, refuse bool
	hang            chan struct{}
	taken           chan struct{}
}

func (g *good) Send(ctx context.Context, rec destinations.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	id, ok := g.gate.Enter(cancel)
	if !ok {
		return errors.New("closed")
	}
	defer g.gate.Leave(id)
	g.mu.Lock()
	failing, refuse, hang := g.failing, g.refuse, g.hang
	g.mu.Unlock()
	switch {
	case failing:
		return errors.New("out of order")
	case refuse:
		return destinations.ErrPermanent
	case hang != nil:
		g.taken <- struct{}{}
		select {
		case <-hang:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.put(rec.Body)
	return nil
}

func (g *good) put(body []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bodies = append(g.bodies, bytes.Clone(body))
}

func (g *good) Close(ctx context.Context) error {
	g.gate.Close(ctx)
	return nil
}

// broken changes what a good destination does.
type broken struct {
	*good
	send  func(g *good, ctx context.Context, rec destinations.Record) error
	close func(g *good, ctx context.Context) error
}

func (b *broken) Send(ctx context.Context, rec destinations.Record) error {
	if b.send == nil {
		return b.good.Send(ctx, rec)
	}
	return b.send(b.good, ctx, rec)
}

func (b *broken) Close(ctx context.Context) error {
	if b.close == nil {
		return b.good.Close(ctx)
	}
	return b.close(b.good, ctx)
}

func subject(b *broken) destinationtest.Subject {
	g := &good{taken: make(chan struct{}, 1)}
	set := func(change func()) {
		g.mu.Lock()
		defer g.mu.Unlock()
		change()
	}
	b.good = g
	return destinationtest.Subject{
		Destination: b,
		Received: func() [][]byte {
			g.mu.Lock()
			defer g.mu.Unlock()
			return slices.Clone(g.bodies)
		},
		Break:  func() func() { set(func() { g.failing = true }); return func() { set(func() { g.failing = false }) } },
		Refuse: func() { set(func() { g.refuse = true }) },
		Hang: func() (<-chan struct{}, func()) {
			hang := make(chan struct{})
			set(func() { g.hang = hang })
			return g.taken, sync.OnceFunc(func() { close(hang) })
		},
	}
}

func TestAGoodDestinationPasses(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, func(testing.TB) destinationtest.Subject { return subject(&broken{}) })
}

// defects are destinations that break one promise each, with the case that must notice.
func defects() map[string]struct {
	b    broken
	want string
} {
	type send = func(*good, context.Context, destinations.Record) error
	var mu sync.Mutex
	count := 0
	every := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		count++
		return count%n == 0
	}
	return map[string]struct {
		b    broken
		want string
	}{
		"trims": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			rec.Body = bytes.TrimSpace(bytes.ReplaceAll(rec.Body, []byte("\r"), nil))
			return g.Send(ctx, rec)
		}}, "what_was_sent"},
		"scribbles": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			err := g.Send(ctx, rec)
			rec.Body[1] = ' '
			return err
		}}, "the_record_is_not_written"},
		"drops repeats with an error": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			g.mu.Lock()
			for _, b := range g.bodies {
				if bytes.Equal(b, rec.Body) {
					g.mu.Unlock()
					return errors.New("have it")
				}
			}
			g.mu.Unlock()
			return g.Send(ctx, rec)
		}}, "the_same_record"},
		"loses some": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			if every(50) {
				return nil
			}
			return g.Send(ctx, rec)
		}}, "concurrent_records"},
		"gives up": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			err := g.Send(ctx, rec)
			if err != nil {
				return errors.Join(err, destinations.ErrPermanent)
			}
			return nil
		}}, "a_failing_target"},
		"hopes": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			if err := g.Send(ctx, rec); err != nil {
				return errors.New("try again")
			}
			return nil
		}}, "a_refusal"},
		"starts for nobody": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			return g.Send(context.WithoutCancel(ctx), rec)
		}}, "a_caller_that_has_left"},
		"deaf": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			g.Send(ctx, rec)
			return nil
		}}, "a_caller_that_leaves"},
		"hasty": {broken{close: func(g *good, ctx context.Context) error {
			go g.Close(ctx)
			return nil
		}}, "Close_lets"},
		"patient": {broken{send: func(g *good, ctx context.Context, rec destinations.Record) error {
			if err := g.Send(ctx, rec); err != nil && ctx.Err() == nil {
				return nil
			}
			return nil
		}}, "Close_does_not_wait"},
		"open for ever": {broken{close: func(*good, context.Context) error { return nil }}, "Send_after_Close"},
		"tells lies": {broken{send: func() send {
			return func(g *good, ctx context.Context, rec destinations.Record) error {
				id, ok := g.gate.Enter(func() {})
				if !ok {
					if every(8) {
						return errors.New("closed")
					}
					return nil
				}
				defer g.gate.Leave(id)
				g.put(rec.Body)
				return nil
			}
		}()}, "what_Close_cuts_off"},
	}
}

// TestEachDefectIsNoticed runs this test binary again with a destination that breaks a promise, and looks
// for the name of the case that must fail.
func TestEachDefectIsNoticed(t *testing.T) {
	t.Parallel()
	if os.Getenv("DESTINATIONTEST_DEFECT") != "" {
		t.Skip("this is the inner run")
	}
	for name, d := range defects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDefect$/^"+d.want, "-test.v")
			cmd.Env = append(os.Environ(), "DESTINATIONTEST_DEFECT="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("the suite passes")
			}
			if !regexp.MustCompile(`--- FAIL: TestDefect/` + d.want).Match(out) {
				t.Errorf("case %s does not fail:\n%s", d.want, out)
			}
		})
	}
}

func TestDefect(t *testing.T) {
	name := os.Getenv("DESTINATIONTEST_DEFECT")
	if name == "" {
		t.Skip("run by TestEachDefectIsNoticed")
	}
	destinationtest.Run(t, func(testing.TB) destinationtest.Subject {
		b := defects()[name].b
		return subject(&b)
	})
}
