package asynctest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/asynctest"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brokenStore names the promise that the store of TestBroken breaks.
const brokenStore = "MILLRACE_ASYNCTEST_BROKEN"

// broken is a good store that breaks one promise.
type broken struct {
	*asynctest.Memory
	how string
}

func (b *broken) Accept(ctx context.Context, ev *async.Event) (uint64, error) {
	seq, err := b.Memory.Accept(ctx, ev)
	switch {
	case b.how == "places shrink":
		return 1<<40 - seq, err
	case b.how == "counts twice" && ev.ID == asynctest.Event("f", 3).ID:
		_, err = b.Memory.Accept(ctx, ev)
	}
	return seq, err
}

func (b *broken) Recover(ctx context.Context, event func(async.Pending), delivery func(async.PendingDelivery)) error {
	n := 0
	return b.Memory.Recover(ctx, func(p async.Pending) {
		if n++; b.how == "forgets an event" && n == 7 {
			return
		}
		if b.how == "forgets the time" {
			p.Next = p.Accepted
		}
		event(p)
	}, func(p async.PendingDelivery) {
		if b.how != "forgets deliveries" {
			delivery(p)
		}
	})
}

func (b *broken) Load(ctx context.Context, seqs []uint64, most int) ([]async.Stored, error) {
	if b.how == "loads without bound" {
		most = 1 << 40
	}
	return b.Memory.Load(ctx, seqs, most)
}

func (b *broken) Finish(seq uint64, e *async.Entry, rec *destinations.Record) error {
	err := b.Memory.Finish(seq, e, rec)
	if b.how == "ends twice" {
		return nil
	}
	return err
}

func (b *broken) List(ctx context.Context, q async.Query) ([]async.Entry, string, error) {
	switch b.how {
	case "ignores states":
		q.States = nil
	case "overlapping pages":
		es, after, err := b.Memory.List(ctx, q)
		if after != "" && len(es) > 1 {
			_, after, err = b.Memory.List(ctx, async.Query{States: q.States, Function: q.Function, After: q.After, Limit: len(es) - 1})
		}
		return es, after, err
	}
	return b.Memory.List(ctx, q)
}

func (b *broken) Get(ctx context.Context, id string) (async.Entry, error) {
	e, err := b.Memory.Get(ctx, id)
	if b.how == "drops payloads" {
		e.Payload = nil
	}
	return e, err
}

func (b *broken) Redrive(ctx context.Context, q async.Query, may func(string) bool, queued func([]async.Pending)) error {
	switch b.how {
	case "redrives everything":
		q.Limit = 0
	case "redrives in silence":
		queued = func([]async.Pending) {}
	}
	return b.Memory.Redrive(ctx, q, may, queued)
}

func (b *broken) Purge(ctx context.Context, q async.Query) (map[string]int, error) {
	if b.how == "purges nothing" {
		return map[string]int{}, nil
	}
	return b.Memory.Purge(ctx, q)
}

func TestBroken(t *testing.T) {
	how := os.Getenv(brokenStore)
	if how == "" {
		t.Skip("only as a child of TestTheSuiteFindsBrokenStores")
	}
	asynctest.Run(t, func(testing.TB) func(testing.TB) async.Store {
		b := &broken{asynctest.NewMemory(clock.System{}), how}
		return func(testing.TB) async.Store { return b }
	})
}

// TestTheSuiteFindsBrokenStores runs the suite in a child on a store that breaks one promise at a time, and expects
// the case for that promise to fail.
func TestTheSuiteFindsBrokenStores(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for how, want := range map[string]string{
		"forgets an event":    "AcceptedEventsComeBack",
		"places shrink":       "PlacesGrow",
		"loads without bound": "LoadIsBounded",
		"forgets the time":    "ProgressComesBack",
		"ends twice":          "AnEventEndsOnce",
		"counts twice":        "CountsAddUp",
		"forgets deliveries":  "DeliveriesComeBack",
		"overlapping pages":   "ListPages",
		"ignores states":      "ListSelects",
		"drops payloads":      "GetFindsByID",
		"redrives in silence": "RedriveQueuesAnew",
		"redrives everything": "RedriveSelects",
		"purges nothing":      "PurgeDiscards",
	} {
		found[want] = true
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$")
		cmd.Env = append(os.Environ(), brokenStore+"="+how)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+want+" ") {
			t.Errorf("a store that %s does not fail %s:\n%s", how, want, out)
		}
	}
	for _, c := range asynctest.Cases() {
		if !found[c] {
			t.Errorf("nothing shows that case %s can fail", c)
		}
	}
}
