package local_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/asynctest"
	"github.com/millrace/millrace/async/local"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// keeper is a store whose events n 0, 1, 2 … were accepted at the clock's time.
type keeper struct {
	t *testing.T
	*local.Store
	clock *clock.Manual
	n     int
}

func newKeeper(t *testing.T, change func(*local.Config)) *keeper {
	c := config(t.TempDir())
	change(&c)
	m := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return &keeper{t: t, Store: open(t, c, m), clock: m}
}

// add accepts an event and ends it in a state, or leaves it waiting.
func (k *keeper) add(state async.State, payload string, rec *destinations.Record) string {
	k.t.Helper()
	ev := asynctest.Event("f", k.n)
	ev.Accepted, ev.Payload = k.clock.Now(), []byte(payload)
	k.n++
	seq, err := k.Accept(k.t.Context(), &ev)
	if err != nil {
		k.t.Fatal(err)
	}
	if state != "" {
		e := async.Entry{Event: ev, State: state, Finished: k.clock.Now(), Size: len(ev.Payload), Response: []byte(`{"token":"t","ok":1}`)}
		if rec != nil {
			e.Deliveries = []async.Delivery{{Destination: "d", State: async.DeliveryPending}}
		}
		if err := k.Finish(seq, &e, rec); err != nil {
			k.t.Fatal(err)
		}
	}
	return ev.ID
}

func (k *keeper) has(id string) bool {
	k.t.Helper()
	_, err := k.Get(k.t.Context(), id)
	if err != nil && !errors.Is(err, async.ErrNotFound) {
		k.t.Fatal(err)
	}
	return err == nil
}

// until moves time on, a little more than a look of the retention at a time, until gone are gone.
func (k *keeper) until(gone ...string) {
	k.t.Helper()
	eventually(k.t, fmt.Sprint(gone, " are dropped"), func() bool {
		k.clock.Advance(50 * time.Millisecond)
		for _, id := range gone {
			if k.has(id) {
				return false
			}
		}
		return true
	})
}

func TestRetentionByAge(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, func(c *local.Config) { c.Retention.Age = time.Hour })
	rec := &destinations.Record{Body: []byte(`{}`)}
	old := []string{k.add(async.Succeeded, `1`, nil), k.add(async.Failed, `2`, nil), k.add(async.Discarded, `3`, nil), k.add(async.Succeeded, `4`, rec)}
	waits := k.add("", `5`, nil)
	slow := asynctest.Event("f", 900) // ends late
	slow.Accepted = k.clock.Now()
	seq, err := k.Accept(t.Context(), &slow)
	if err != nil {
		t.Fatal(err)
	}
	k.clock.Advance(30 * time.Minute)
	if err := k.Finish(seq, &async.Entry{Event: slow, State: async.Failed, Finished: k.clock.Now()}, nil); err != nil {
		t.Fatal(err)
	}
	young := []string{k.add(async.Succeeded, `6`, nil), k.add(async.Failed, `7`, nil)}
	k.clock.Advance(31 * time.Minute)
	k.until(old...)
	for _, id := range append(young, waits, slow.ID) {
		if !k.has(id) {
			t.Errorf("event %s is dropped", id)
		}
	}
	deliveries := 0
	err = k.Recover(t.Context(), func(async.Pending) {}, func(p async.PendingDelivery) {
		deliveries++
		if r, err := k.Record(t.Context(), p.Seq); err != nil || string(r.Body) != `{}` {
			t.Errorf("the record of a pending delivery is dropped: %v", err)
		}
	})
	if err != nil || deliveries != 1 {
		t.Errorf("%d pending deliveries, %v", deliveries, err)
	}
	if c := k.Counts()["f"]; c.Accepted != 8 || c.Succeeded != 3 || c.Failed != 3 || c.Discarded != 1 {
		t.Errorf("retention changes the counts: %+v", c)
	}
}

func TestRetentionBySizeDropsDeadLettersLast(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, func(c *local.Config) { c.Retention.Size, c.Retention.Mode = 64*plugin.KB, "full" })
	payload := fmt.Sprintf(`"%010000d"`, 1)
	dead := k.add(async.Failed, payload, nil)
	var ids []string
	for range 10 {
		ids = append(ids, k.add(async.Succeeded, payload, nil))
	}
	k.clock.Advance(30 * time.Second)
	k.until(ids[:5]...)
	for _, id := range append(ids[5:], dead) {
		if !k.has(id) {
			t.Errorf("event %s is dropped", id)
		}
	}
}

func TestRetentionModes(t *testing.T) {
	t.Parallel()
	for mode, kept := range map[string][2]bool{"full": {true, true}, "failed": {false, true}, "metadata": {false, false}} {
		k := newKeeper(t, func(c *local.Config) { c.Retention.Mode = mode })
		for i, state := range []async.State{async.Succeeded, async.Failed} {
			e, err := k.Get(t.Context(), k.add(state, `{"a":1}`, nil))
			if err != nil || e.HasPayload != kept[i] || (string(e.Payload) == `{"a":1}`) != kept[i] || (e.Response != nil) != kept[i] || e.Size != 7 {
				t.Errorf("%s keeps of an event that %s: %+v, %v", mode, state, e, err)
			}
		}
		n := 0
		err := k.Redrive(t.Context(), async.Query{}, func(string) bool { return true }, func(p []async.Pending) { n += len(p) })
		if err != nil || (n == 1) != kept[1] {
			t.Errorf("%s: %d redriven, %v", mode, n, err)
		}
	}
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, func(c *local.Config) { c.Redact = []string{"token", "$.user.card"} })
	secret := `{"user":{"card":"4711"},"deep":[{"token":{"a":[1]}}]}`
	id := k.add(async.Failed, secret, nil)
	e, err := k.Get(t.Context(), id)
	if err != nil || string(e.Payload) != `{"user":{"card":"[redacted]"},"deep":[{"token":"[redacted]"}]}` ||
		string(e.Response) != `{"token":"[redacted]","ok":1}` || !e.Redacted {
		t.Errorf("entry %+v, %v: %s %s", e, err, e.Payload, e.Response)
	}
	plain := k.add(async.Failed, `{"user":{"name":"x"}}`, nil)
	var redriven []async.Pending
	err = k.Redrive(t.Context(), async.Query{}, func(string) bool { return true }, func(p []async.Pending) { redriven = append(redriven, p...) })
	if err != nil || len(redriven) != 1 {
		t.Fatalf("%d redriven, %v; want the one that lost nothing", len(redriven), err)
	}
	if e, err := k.Get(t.Context(), plain); err != nil || e.State != async.Queued {
		t.Errorf("entry %+v, %v", e, err)
	}
	waits := k.add("", secret, nil)
	if e, err := k.Get(t.Context(), waits); err != nil || string(e.Payload) != secret {
		t.Errorf("a waiting event is redacted: %s, %v", e.Payload, err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*local.Config)
		want   string
	}{
		{"the defaults are good", func(*local.Config) {}, ""},
		{"a small store", func(c *local.Config) { c.MaxSize, c.Retention.Size = 1, 0 }, "maxSize: 1 is less than 1MB, the largest payload"},
		{"a short age", func(c *local.Config) { c.Retention.Age = 0 }, "retention.age: 0s is less than 1m"},
		{"no room for new events", func(c *local.Config) { c.Retention.Size = 20 * plugin.GB }, "retention.size: 20GB is more than maxSize, 10GB: events that are over would leave no room for new ones"},
		{"an unknown mode", func(c *local.Config) { c.Retention.Mode = "all" }, `retention.mode: "all" is not a mode; use full, failed or metadata`},
		{"a pattern to redact", func(c *local.Config) { c.Redact = []string{"ok", "a.*"} }, `redact[1]: "a.*" is neither a name, such as password, nor a path, such as $.user.password`},
		{"an empty path to redact", func(c *local.Config) { c.Redact = []string{"$.a..b"} }, `redact[0]: "$.a..b" is not a path of names, such as $.user.password`},
		{"two faults", func(c *local.Config) { c.Retention.Age, c.Retention.Mode = time.Second, "" }, "retention.age: 1s is less than 1m\n" + `retention.mode: "" is not a mode; use full, failed or metadata`},
	} {
		conf := local.Defaults()
		c.change(&conf)
		got := ""
		if err := conf.Validate(); err != nil {
			got = err.Error()
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
