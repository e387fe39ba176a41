// Package asynctest is the suite that every async.Store passes, and a store in memory for tests of what uses one.
package asynctest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
)

// Run runs the suite. create makes one new empty store, and returns what opens it: open is called again after
// Close, as a hub does that is started again. The store must keep the payloads of events that failed.
func Run(t *testing.T, create func(testing.TB) (open func(testing.TB) async.Store)) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, create(t))
		})
	}
}

// Cases names the cases of the suite.
func Cases() []string {
	var names []string
	for _, c := range cases() {
		names = append(names, c.name)
	}
	return names
}

type suiteCase struct {
	name string
	test func(*testing.T, func(testing.TB) async.Store)
}

func cases() []suiteCase {
	return []suiteCase{
		{"AcceptedEventsComeBack", acceptedComeBack},
		{"PlacesGrow", placesGrow},
		{"LoadIsBounded", loadIsBounded},
		{"ProgressComesBack", progressComesBack},
		{"AnEventEndsOnce", endsOnce},
		{"CountsAddUp", countsAddUp},
		{"DeliveriesComeBack", deliveriesComeBack},
		{"ListPages", listPages},
		{"ListSelects", listSelects},
		{"GetFindsByID", getFinds},
		{"RedriveQueuesAnew", redriveQueues},
		{"RedriveSelects", redriveSelects},
		{"PurgeDiscards", purgeDiscards},
	}
}

// base is when the first event of Event was accepted.
var base = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// Event makes the n-th event of a function, with everything set.
func Event(function string, n int) async.Event {
	return async.Event{
		ID:       fmt.Sprintf("00000000-0000-4000-8000-%012d", n),
		Function: function, ARN: "arn:aws:lambda:us-east-1:123456789012:function:" + function, Trigger: "uploads",
		Accepted: base.Add(time.Duration(n) * time.Second), Payload: fmt.Appendf(nil, `{"n":%d}`, n), TenantID: "tenant",
		TraceID: "Root=1-5759e988-bd862e3fe1be46a994272793", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Depth: 3,
	}
}

func accept(t testing.TB, s async.Store, ev async.Event) uint64 {
	t.Helper()
	seq, err := s.Accept(t.Context(), &ev)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return seq
}

func finish(t testing.TB, s async.Store, seq uint64, ev async.Event, state async.State, rec *destinations.Record, ds ...async.Delivery) async.Entry {
	t.Helper()
	e := async.Entry{
		Event: ev, State: state, Condition: async.RetriesExhausted, Invokes: 1, Finished: ev.Accepted.Add(time.Minute),
		Attempts: []async.Attempt{{Number: 1, Started: ev.Accepted.Add(time.Second), Duration: time.Second, Result: "error", Type: "E", Message: "m"}},
		Size:     len(ev.Payload), Response: []byte(`{"errorType":"E"}`), Deliveries: ds,
	}
	if err := s.Finish(seq, &e, rec); err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return e
}

func reopen(t testing.TB, s async.Store, open func(testing.TB) async.Store) async.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return open(t)
}

// recovered opens what is unfinished; the first of a test finds nothing.
func recovered(t testing.TB, s async.Store) (events []async.Pending, deliveries []async.PendingDelivery) {
	t.Helper()
	err := s.Recover(t.Context(), func(p async.Pending) { events = append(events, p) },
		func(d async.PendingDelivery) { deliveries = append(deliveries, d) })
	if err != nil {
		t.Fatalf("Recover: %v", err)
	}
	return events, deliveries
}

func begin(t testing.TB, open func(testing.TB) async.Store) async.Store {
	t.Helper()
	s := open(t)
	if es, ds := recovered(t, s); len(es)+len(ds) > 0 {
		t.Fatalf("a new store has unfinished events: %v, %v", es, ds)
	}
	return s
}

func load(t testing.TB, s async.Store, seqs ...uint64) []async.Stored {
	t.Helper()
	found, err := s.Load(t.Context(), seqs, 1<<30)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return found
}

func diff(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func acceptedComeBack(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	var want []async.Pending
	var seqs []uint64
	var stored []async.Stored
	for n := range 20 {
		ev := Event([]string{"f", "g"}[n%2], n)
		seq := accept(t, s, ev)
		stored = append(stored, async.Stored{Seq: seq, Event: ev})
		want, seqs = append(want, async.Pending{Seq: seq, Function: ev.Function, Accepted: ev.Accepted}), append(seqs, seq)
	}
	diff(t, "events before a restart", load(t, s, seqs...), stored)
	s = reopen(t, s, open)
	defer s.Close()
	got, _ := recovered(t, s)
	diff(t, "unfinished events after a restart", got, want)
	diff(t, "events after a restart", load(t, s, seqs...), stored)
}

func placesGrow(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			last := uint64(0)
			for n := range 25 {
				seq := accept(t, s, Event("f", 100*g+n))
				mu.Lock()
				if seen[seq] || seq <= last {
					t.Errorf("place %d after %d, given before: %v", seq, last, seen[seq])
				}
				seen[seq], last = true, seq
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s = reopen(t, s, open)
	defer s.Close()
	es, _ := recovered(t, s)
	if len(es) != 200 || !slices.IsSortedFunc(es, func(a, b async.Pending) int { return int(a.Seq) - int(b.Seq) }) {
		t.Errorf("%d events come back, want 200 in order", len(es))
	}
	if seq := accept(t, s, Event("f", 999)); seen[seq] || seq < es[len(es)-1].Seq {
		t.Errorf("after a restart place %d is given again", seq)
	}
}

func loadIsBounded(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	defer s.Close()
	var seqs []uint64
	for n := range 10 {
		ev := Event("f", n)
		ev.Payload = fmt.Appendf(nil, `"%01000d"`, n)
		seqs = append(seqs, accept(t, s, ev))
	}
	if got, err := s.Load(t.Context(), seqs, 3500); err != nil || len(got) == 0 || len(got) > 3 || got[0].Seq != seqs[0] {
		t.Errorf("with room for 3 events: %d, %v", len(got), err)
	}
	if got, err := s.Load(t.Context(), seqs[4:], 1); err != nil || len(got) != 1 || got[0].Seq != seqs[4] {
		t.Errorf("with room for none: %d, %v; want the first alone", len(got), err)
	}
	if got := load(t, s, 1<<40, seqs[2]); len(got) != 1 || got[0].Seq != seqs[2] {
		t.Errorf("an unknown place is not left out: %v", got)
	}
}

func progressComesBack(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	ev := Event("f", 1)
	seq := accept(t, s, ev)
	p := async.Progress{
		Attempts: []async.Attempt{{Number: 1, Started: base, Duration: time.Second, Result: "error", Type: "E", Message: "m"}},
		Invokes:  1, Delays: 2, Next: base.Add(time.Hour), Last: &async.Response{Payload: []byte(`1`), Version: "7", Failed: true},
	}
	for range 2 { // it may be recorded again
		p.Delays++
		if err := s.Retry(seq, &p); err != nil {
			t.Fatalf("Retry: %v", err)
		}
		diff(t, "event before a restart", load(t, s, seq), []async.Stored{{Seq: seq, Event: ev, Progress: p}})
	}
	s = reopen(t, s, open)
	defer s.Close()
	es, _ := recovered(t, s)
	diff(t, "pending event", es, []async.Pending{{Seq: seq, Function: "f", Accepted: ev.Accepted, Next: p.Next}})
	diff(t, "event after a restart", load(t, s, seq), []async.Stored{{Seq: seq, Event: ev, Progress: p}})
	e, err := s.Get(t.Context(), ev.ID)
	if err != nil || e.State != async.Queued || e.Invokes != 1 || !e.Next.Equal(p.Next) || len(e.Attempts) != 1 {
		t.Errorf("entry %+v, %v", e, err)
	}
	finish(t, s, seq, ev, async.Succeeded, nil)
	if err := s.Retry(seq, &p); err == nil {
		t.Error("an event that is over takes progress")
	}
}

func endsOnce(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	ev := Event("f", 1)
	seq := accept(t, s, ev)
	e := finish(t, s, seq, ev, async.Succeeded, nil)
	if err := s.Finish(seq, &e, nil); err == nil {
		t.Error("an event ended twice")
	}
	if err := s.Finish(seq+1, &e, nil); err == nil {
		t.Error("an event ended that never was")
	}
	if got := load(t, s, seq); len(got) != 0 {
		t.Errorf("an event that is over waits: %v", got)
	}
	s = reopen(t, s, open)
	defer s.Close()
	if es, _ := recovered(t, s); len(es) != 0 {
		t.Errorf("an event that is over comes back: %v", es)
	}
	if err := s.Finish(seq, &e, nil); err == nil {
		t.Error("an event ended again after a restart")
	}
	diff(t, "counts", s.Counts(), map[string]async.Counts{"f": {Accepted: 1, Succeeded: 1}})
}

func countsAddUp(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	for n, state := range []async.State{async.Succeeded, async.Failed, async.Discarded, "", async.Succeeded, async.Failed, ""} {
		ev := Event("f", n)
		seq := accept(t, s, ev)
		if state != "" {
			finish(t, s, seq, ev, state, nil)
		}
	}
	accept(t, s, Event("g", 100))
	want := map[string]async.Counts{"f": {Accepted: 7, Succeeded: 2, Failed: 2, Discarded: 1}, "g": {Accepted: 1}}
	diff(t, "counts", s.Counts(), want)
	s = reopen(t, s, open)
	defer s.Close()
	diff(t, "counts after a restart", s.Counts(), want)
	if es, _ := recovered(t, s); len(es) != 3 {
		t.Errorf("%d unfinished events, want 3", len(es))
	}
}

func deliveriesComeBack(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	ev := Event("f", 1)
	seq := accept(t, s, ev)
	rec := &destinations.Record{
		ID: ev.ID, Function: "f", ARN: ev.ARN + ":$LATEST", Success: true, Body: []byte(`{"version":"1.0"}`),
		TraceID: ev.TraceID, TraceParent: ev.TraceParent, Depth: 3,
	}
	e := finish(t, s, seq, ev, async.Succeeded, rec, async.Delivery{Destination: "a", State: async.DeliveryPending},
		async.Delivery{Destination: "b", State: async.DeliveryPending}, async.Delivery{Destination: "c", State: async.DeliveryGivenUp, Error: "no"})
	s = reopen(t, s, open)
	_, ds := recovered(t, s)
	pending := func(i, tries int, name string) async.PendingDelivery {
		return async.PendingDelivery{Seq: seq, Index: i, Destination: name, Tries: tries, Since: e.Finished}
	}
	diff(t, "deliveries after a restart", ds, []async.PendingDelivery{pending(0, 0, "a"), pending(1, 0, "b")})
	record := func() *destinations.Record {
		t.Helper()
		r, err := s.Record(t.Context(), seq)
		if err != nil {
			t.Fatalf("Record: %v", err)
		}
		return r
	}
	diff(t, "record", record(), rec)
	tell := func(i int, d async.Delivery) {
		t.Helper()
		if err := s.Delivered(seq, i, d); err != nil {
			t.Fatalf("Delivered: %v", err)
		}
	}
	first := async.Delivery{Destination: "a", State: async.DeliveryPending, Tries: 2, Last: base, Error: "busy"}
	second := async.Delivery{Destination: "b", State: async.DeliveryDone, Tries: 1, Last: base}
	tell(0, first)
	tell(1, second)
	s = reopen(t, s, open)
	defer s.Close()
	_, ds = recovered(t, s)
	diff(t, "deliveries after another restart", ds, []async.PendingDelivery{pending(0, 2, "a")})
	diff(t, "record", record(), rec)
	got, err := s.Get(t.Context(), ev.ID)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "deliveries in the ledger", got.Deliveries, []async.Delivery{first, second, e.Deliveries[2]})
	first.State, first.Tries, first.Error = async.DeliveryDone, 3, ""
	tell(0, first)
	if r, err := s.Record(t.Context(), seq); !errors.Is(err, async.ErrNotFound) {
		t.Errorf("the record is kept after its last delivery: %v, %v", r, err)
	}
	if err := s.Delivered(seq, 0, first); err == nil {
		t.Error("a record was delivered twice")
	}
}

// mixed fills a store with events 0 to n-1 of f and g, by turns: every third waits, succeeded or failed.
func mixed(t testing.TB, s async.Store, n int) {
	for i := range n {
		ev := Event([]string{"f", "g"}[i%2], i)
		seq := accept(t, s, ev)
		switch i % 3 {
		case 1:
			finish(t, s, seq, ev, async.Succeeded, nil)
		case 2:
			finish(t, s, seq, ev, async.Failed, nil)
		}
	}
}

func list(t testing.TB, s async.Store, q async.Query) (ns []int) {
	t.Helper()
	for {
		es, after, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if len(es) > q.Limit {
			t.Errorf("a page of %d, want at most %d", len(es), q.Limit)
		}
		for _, e := range es {
			var n int
			if _, err := fmt.Sscanf(e.ID[len(e.ID)-12:], "%d", &n); err != nil {
				t.Fatal(err)
			}
			ns = append(ns, n)
			if e.Payload != nil || e.Response != nil {
				t.Errorf("event %d is listed with payload or response", n)
			}
		}
		if q.After = after; after == "" {
			return ns
		}
	}
}

func descending(from, step int) (ns []int) {
	for ; from >= 0; from -= step {
		ns = append(ns, from)
	}
	return ns
}

func listPages(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	defer s.Close()
	mixed(t, s, 50)
	for _, limit := range []int{1, 7, 50, 100} {
		diff(t, fmt.Sprintf("pages of %d", limit), list(t, s, async.Query{Limit: limit}), descending(49, 1))
	}
	if _, _, err := s.List(t.Context(), async.Query{After: "!"}); err == nil {
		t.Error("a cursor that List never returned is taken")
	}
}

func listSelects(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	defer s.Close()
	mixed(t, s, 50)
	for _, c := range []struct {
		name string
		q    async.Query
		want []int
	}{
		{"failed ones", async.Query{States: []async.State{async.Failed}}, descending(47, 3)},
		{"waiting ones", async.Query{States: []async.State{async.Queued}}, descending(48, 3)},
		{"of a function", async.Query{Function: "g"}, descending(49, 2)[:25]},
		{"since a moment", async.Query{Since: base.Add(48 * time.Second)}, []int{49, 48}},
		{"until a moment", async.Query{Until: base.Add(2 * time.Second)}, []int{1, 0}},
		{"by id", async.Query{ID: Event("g", 7).ID}, []int{7}},
		{"by an id of another function", async.Query{ID: Event("g", 7).ID, Function: "f"}, nil},
		{"by state and function", async.Query{States: []async.State{async.Failed, async.Succeeded}, Function: "f", Until: base.Add(9 * time.Second)}, []int{8, 4, 2}},
	} {
		c.q.Limit = 9
		diff(t, c.name, list(t, s, c.q), c.want)
	}
}

func getFinds(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	defer s.Close()
	ev := Event("f", 1)
	seq := accept(t, s, ev)
	want := async.Entry{Event: ev, State: async.Queued, Size: len(ev.Payload), HasPayload: true}
	get := func() async.Entry {
		t.Helper()
		e, err := s.Get(t.Context(), ev.ID)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		return e
	}
	diff(t, "waiting event", get(), want)
	want = finish(t, s, seq, ev, async.Failed, nil)
	want.HasPayload = true
	diff(t, "failed event", get(), want)
	if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, async.ErrNotFound) {
		t.Errorf("Get of an unknown id = %v", err)
	}
}

func redrive(t testing.TB, s async.Store, q async.Query, may func(string) bool) (ps []async.Pending) {
	t.Helper()
	if may == nil {
		may = func(string) bool { return true }
	}
	if err := s.Redrive(t.Context(), q, may, func(p []async.Pending) { ps = append(ps, p...) }); err != nil {
		t.Fatalf("Redrive: %v", err)
	}
	return ps
}

func redriveQueues(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	ev := Event("f", 1)
	seq := accept(t, s, ev)
	e := finish(t, s, seq, ev, async.Failed, nil)
	ps := redrive(t, s, async.Query{}, nil)
	if len(ps) != 1 || ps[0].Seq <= seq || ps[0].Function != "f" || !ps[0].Next.IsZero() {
		t.Fatalf("redriven: %+v", ps)
	}
	again := ev
	again.Accepted = ps[0].Accepted
	if !again.Accepted.After(ev.Accepted) {
		t.Error("a redriven event is as old as it was")
	}
	want := []async.Stored{{Seq: ps[0].Seq, Event: again, Progress: async.Progress{Attempts: e.Attempts}}}
	diff(t, "redriven event", load(t, s, ps[0].Seq), want)
	s = reopen(t, s, open)
	defer s.Close()
	es, _ := recovered(t, s)
	diff(t, "unfinished events after a restart", es, ps)
	diff(t, "redriven event after a restart", load(t, s, ps[0].Seq), want)
	diff(t, "counts", s.Counts(), map[string]async.Counts{"f": {Accepted: 1}})
	if got, err := s.Get(t.Context(), ev.ID); err != nil || got.State != async.Queued || got.Invokes != 0 {
		t.Errorf("entry %+v, %v", got, err)
	}
	if es, _, err := s.List(t.Context(), async.Query{}); err != nil || len(es) != 1 {
		t.Errorf("the event is listed %d times, %v", len(es), err)
	}
	finish(t, s, ps[0].Seq, again, async.Succeeded, nil)
	diff(t, "counts at the end", s.Counts(), map[string]async.Counts{"f": {Accepted: 1, Succeeded: 1}})
}

func redriveSelects(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	defer s.Close()
	mixed(t, s, 60) // 2, 5, 8 … failed: 10 of f, 10 of g
	if ps := redrive(t, s, async.Query{Limit: 3}, nil); len(ps) != 3 {
		t.Errorf("%d redriven, want 3", len(ps))
	}
	if ps := redrive(t, s, async.Query{ID: Event("g", 59).ID}, nil); len(ps) != 1 {
		t.Errorf("%d redriven by id, want 1", len(ps))
	}
	if ps := redrive(t, s, async.Query{ID: Event("g", 58).ID}, nil); len(ps) != 0 {
		t.Errorf("an event that succeeded is redriven: %v", ps)
	}
	if ps := redrive(t, s, async.Query{Function: "f"}, func(f string) bool { return f != "f" }); len(ps) != 0 {
		t.Errorf("events of a function that may not are redriven: %v", ps)
	}
	if ps := redrive(t, s, async.Query{Function: "f"}, nil); len(ps) != 8 {
		t.Errorf("%d of f redriven, want the 8 that are left", len(ps))
	}
	if ps := redrive(t, s, async.Query{}, nil); len(ps) != 8 {
		t.Errorf("%d redriven, want the 8 of g that are left", len(ps))
	}
	if c := s.Counts()["g"]; c.Failed != 0 {
		t.Errorf("counts of g: %+v", c)
	}
}

func purgeDiscards(t *testing.T, open func(testing.TB) async.Store) {
	s := begin(t, open)
	mixed(t, s, 60)
	purge := func(q async.Query, want map[string]int) {
		t.Helper()
		n, err := s.Purge(t.Context(), q)
		if err != nil {
			t.Fatalf("Purge: %v", err)
		}
		diff(t, "purged", n, want)
	}
	purge(async.Query{Function: "f", Limit: 4}, map[string]int{"f": 4})
	purge(async.Query{}, map[string]int{"f": 6, "g": 10})
	purge(async.Query{}, map[string]int{})
	if ps := redrive(t, s, async.Query{}, nil); len(ps) != 0 {
		t.Errorf("purged events are redriven: %v", ps)
	}
	e, err := s.Get(t.Context(), Event("g", 5).ID)
	if err != nil || e.State != async.Discarded || e.HasPayload || e.Payload != nil {
		t.Errorf("entry %+v, %v", e, err)
	}
	s = reopen(t, s, open)
	defer s.Close()
	if es, _ := recovered(t, s); len(es) != 20 {
		t.Errorf("%d events wait, want 20", len(es))
	}
	diff(t, "counts", s.Counts(), map[string]async.Counts{
		"f": {Accepted: 30, Succeeded: 10, Discarded: 10}, "g": {Accepted: 30, Succeeded: 10, Discarded: 10},
	})
}
