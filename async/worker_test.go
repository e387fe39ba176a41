package async_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/asynctest"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// call is one attempt or one delivery, and when it was made since the rig began.
type call struct {
	At   time.Duration
	Name string // id of the event, or "destination id"
}

// rig is a worker with its surroundings. It lives in a synctest bubble.
type rig struct {
	t     *testing.T
	store async.Store
	reg   *prometheus.Registry
	w     *async.Worker
	stop  func() error
	began time.Time

	mu      sync.Mutex
	targets map[string]async.Target
	invoked []call
	sent    []call
	records map[string]destinations.Record // by "destination id"

	answer func(ctx context.Context, req executor.Request) (executor.Response, error)
	send   func(ctx context.Context, destination string, rec destinations.Record) error
}

// ok answers like a function that works.
func ok(context.Context, executor.Request) (executor.Response, error) {
	return executor.Response{Payload: []byte(`"done"`), Version: "$LATEST"}, nil
}

// broken answers like one that raises an error.
func broken(context.Context, executor.Request) (executor.Response, error) {
	return executor.Response{
		Payload: []byte(`{"errorType":"E"}`), Version: "$LATEST", Failure: &executor.Failure{Type: "E", Message: "m"},
	}, nil
}

func refuse(kind executor.Kind) func(context.Context, executor.Request) (executor.Response, error) {
	return func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{}, &executor.Error{Kind: kind, Function: "f", Err: errors.New("no")}
	}
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, began: time.Now(), targets: map[string]async.Target{}, records: map[string]destinations.Record{}, answer: ok}
	r.store = asynctest.NewMemory(clock.System{})
	r.send = func(context.Context, string, destinations.Record) error { return nil }
	r.target("f", func(*async.Target) {})
	return r
}

// answers and sends change what functions and destinations do from now on.
func (r *rig) answers(f func(context.Context, executor.Request) (executor.Response, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *rig) sends(f func(context.Context, string, destinations.Record) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send = f
}

// target sets a function: AWS's defaults, one attempt at a time, destinations good and bad.
func (r *rig) target(name string, change func(*async.Target)) {
	t := async.Target{
		Concurrency: 1, Reserved: executor.Unreserved, MaximumRetryAttempts: 2, MaximumEventAge: 6 * time.Hour,
		OnSuccess: []string{"good"}, OnFailure: []string{"bad"},
		Invoke: func(ctx context.Context, req executor.Request) (executor.Response, error) {
			r.mu.Lock()
			r.invoked = append(r.invoked, call{time.Since(r.began), req.ID})
			answer := r.answer
			r.mu.Unlock()
			return answer(ctx, req)
		},
	}
	change(&t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets[name] = t
}

func (r *rig) options() async.Options {
	r.reg = prometheus.NewRegistry()
	o := async.Defaults()
	o.Store, o.Clock, o.Log, o.Metrics = r.store, clock.System{}, slog.New(slog.DiscardHandler), r.reg
	o.Function = func(name string) (async.Target, bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		t, ok := r.targets[name]
		return t, ok
	}
	o.Send = func(ctx context.Context, name string, rec destinations.Record) error {
		r.mu.Lock()
		r.sent = append(r.sent, call{time.Since(r.began), name + " " + rec.ID})
		r.records[name+" "+rec.ID] = rec
		send := r.send
		r.mu.Unlock()
		return send(ctx, name, rec)
	}
	return o
}

// start makes a worker and runs it; it ends with the test.
func (r *rig) start(change ...func(*async.Options)) {
	r.t.Helper()
	o := r.options()
	for _, c := range change {
		c(&o)
	}
	w, err := async.NewWorker(r.t.Context(), o)
	if err != nil {
		r.t.Fatalf("NewWorker: %v", err)
	}
	r.w = w
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	synctest.Wait()
	r.t.Cleanup(func() { cancel() })
}

func (r *rig) accept(id string, change ...func(*async.Event)) {
	r.t.Helper()
	ev := async.Event{ID: id, Function: "f", ARN: "arn:aws:lambda:us-east-1:123456789012:function:f", Payload: []byte(`{"a":1}`)}
	for _, c := range change {
		c(&ev)
	}
	if err := r.w.Accept(r.t.Context(), ev); err != nil {
		r.t.Fatalf("Accept: %v", err)
	}
	synctest.Wait()
}

// wait moves time on.
func (r *rig) wait(d time.Duration) { time.Sleep(d); synctest.Wait() } //nolint:forbidigo // time in the bubble

func (r *rig) entry(id string) async.Entry {
	r.t.Helper()
	e, err := r.w.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatalf("Get %s: %v", id, err)
	}
	return e
}

// expect checks what was invoked so far; times at most slack early count as the same, because waits are jittered.
func (r *rig) expect(what string, got *[]call, slack float64, want ...call) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	same := slices.EqualFunc(*got, want, func(a, b call) bool {
		return a.Name == b.Name && a.At <= b.At && float64(a.At) >= float64(b.At)*(1-slack)
	})
	if !same {
		r.t.Errorf("%s: %v, want %v", what, *got, want)
	}
}

// record checks the condition and the parts of a record that was sent.
func (r *rig) record(name, condition string, count int, response bool) map[string]any {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.records[name]
	if !ok {
		r.t.Fatalf("no record %q was sent; there are %v", name, r.sent)
	}
	var doc map[string]any
	if err := json.Unmarshal(rec.Body, &doc); err != nil {
		r.t.Fatalf("%v in %s", err, rec.Body)
	}
	c := doc["requestContext"].(map[string]any)
	_, hasContext := doc["responseContext"]
	_, hasPayload := doc["responsePayload"]
	if c["condition"] != condition || c["approximateInvokeCount"] != float64(count) || hasContext != response || hasPayload != response {
		r.t.Errorf("record %s; want condition %s, count %d, response %v", rec.Body, condition, count, response)
	}
	return doc
}

// unaccounted checks the metric that must always be 0, and that it is there.
func (r *rig) unaccounted() {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	seen := false
	for _, f := range families {
		if f.GetName() != "millrace_async_unaccounted" {
			continue
		}
		for _, m := range f.GetMetric() {
			seen = true
			if v := m.GetGauge().GetValue(); v != 0 {
				r.t.Errorf("%v events are unaccounted for", v)
			}
		}
	}
	if !seen {
		r.t.Error("there is no metric millrace_async_unaccounted")
	}
}

func test(t *testing.T, name string, f func(*rig)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			f(r)
			if r.stop == nil {
				return
			}
			r.unaccounted()
			if err := r.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
			r.unaccounted()
		})
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	const sec, min = time.Second, time.Minute

	test(t, "a function that works runs once", func(r *rig) {
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
		r.expect("records", &r.sent, 0, call{0, "good 1"})
		doc := r.record("good 1", async.Success, 1, true)
		if d := cmp.Diff(map[string]any{"statusCode": 200.0, "executedVersion": "$LATEST"}, doc["responseContext"]); d != "" {
			t.Error(d)
		}
		if e := r.entry("1"); e.State != async.Succeeded || e.Invokes != 1 || len(e.Attempts) != 1 || e.Attempts[0].Result != "success" {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "errors of the function are tried again after one minute and after two more", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{min, "1"}, call{3 * min, "1"})
		r.expect("records", &r.sent, 0, call{3 * min, "bad 1"})
		doc := r.record("bad 1", async.RetriesExhausted, 3, true)
		if doc["responseContext"].(map[string]any)["functionError"] != "Unhandled" {
			t.Errorf("record %v", doc)
		}
		e := r.entry("1")
		if e.State != async.Failed || e.Condition != async.RetriesExhausted || len(e.Attempts) != 3 || e.Attempts[2].Number != 3 || e.Attempts[2].Type != "E" {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "the last of the configured waits repeats", func(r *rig) {
		r.answers(broken)
		r.target("f", func(t *async.Target) {
			t.MaximumRetryAttempts, t.RetryDelays = 3, []time.Duration{sec, 5 * sec}
		})
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{sec, "1"}, call{6 * sec, "1"}, call{11 * sec, "1"})
	})
	test(t, "a retry that would come too late is not waited for", func(r *rig) {
		r.answers(broken)
		r.target("f", func(t *async.Target) { t.MaximumEventAge = min })
		r.start()
		r.accept("1")
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
		r.record("bad 1", async.AgeExceeded, 1, true)
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
	})
	test(t, "a longer age allows one retry", func(r *rig) {
		r.answers(broken)
		r.target("f", func(t *async.Target) { t.MaximumEventAge = 150 * sec })
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{min, "1"})
		r.expect("records", &r.sent, 0, call{min, "bad 1"})
		r.record("bad 1", async.AgeExceeded, 2, true)
	})
	test(t, "reserved concurrency zero fails at once without a run", func(r *rig) {
		r.target("f", func(t *async.Target) { t.Reserved = 0 })
		r.start()
		r.accept("1")
		r.expect("attempts", &r.invoked, 0)
		r.record("bad 1", async.ZeroConcurrency, 0, false)
	})
	test(t, "a throttled event waits longer each time and its tries do not count", func(r *rig) {
		r.answers(refuse(executor.Throttled))
		r.start()
		r.accept("1")
		r.wait(3500 * time.Millisecond)
		r.expect("attempts", &r.invoked, .25, call{0, "1"}, call{sec, "1"}, call{3 * sec, "1"})
		r.answers(broken)
		r.wait(time.Hour)
		r.mu.Lock()
		n := len(r.invoked)
		r.mu.Unlock()
		if n != 6 {
			t.Errorf("%d attempts, want 3 throttled and 3 that ran", n)
		}
		r.record("bad 1", async.RetriesExhausted, 3, true)
		if e := r.entry("1"); e.Attempts[0].Result != "throttled" || e.Attempts[0].Number != 1 || e.Attempts[3].Number != 1 || e.Attempts[5].Number != 3 {
			t.Errorf("attempts %+v", e.Attempts)
		}
	})
	for _, kind := range []executor.Kind{executor.Throttled, executor.Unready, executor.Internal} {
		test(t, kind.String()+" until the event is too old", func(r *rig) {
			r.answers(refuse(kind))
			r.target("f", func(t *async.Target) { t.MaximumRetryAttempts = 0 })
			r.start()
			r.accept("1")
			r.wait(7 * time.Hour)
			r.record("bad 1", async.AgeExceeded, 0, false)
			r.mu.Lock()
			defer r.mu.Unlock()
			var longest time.Duration
			for i := 1; i < len(r.invoked); i++ {
				longest = max(longest, r.invoked[i].At-r.invoked[i-1].At)
			}
			if longest < 225*sec || longest > 5*min {
				t.Errorf("longest wait %v, want five minutes less jitter", longest)
			}
		})
	}
	test(t, "a function that says when to come back is not asked before", func(r *rig) {
		r.answer = func(context.Context, executor.Request) (executor.Response, error) {
			return executor.Response{}, &executor.Error{Kind: executor.Throttled, RetryAfter: 10 * min, Err: errors.New("no")}
		}
		r.start()
		r.accept("1")
		r.wait(11 * min)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{10 * min, "1"})
	})
	for _, kind := range []executor.Kind{executor.TooLarge, executor.Refused} {
		test(t, kind.String()+" is never tried again", func(r *rig) {
			r.answers(refuse(kind))
			r.start()
			r.accept("1")
			r.wait(time.Hour)
			r.expect("attempts", &r.invoked, 0, call{0, "1"})
			r.record("bad 1", async.RetriesExhausted, 0, false)
		})
	}
	test(t, "a permanent failure is never tried again", func(r *rig) {
		r.answer = func(context.Context, executor.Request) (executor.Response, error) {
			return executor.Response{Payload: []byte(`{}`), Failure: &executor.Failure{Permanent: true}}, nil
		}
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
		r.record("bad 1", async.RetriesExhausted, 1, true)
	})
	test(t, "the successor of a closed function takes the event", func(r *rig) {
		r.answers(refuse(executor.Closed))
		r.start()
		r.accept("1")
		r.answers(ok)
		r.wait(sec)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{sec, "1"})
		if e := r.entry("1"); len(e.Attempts) != 1 {
			t.Errorf("a closed function counts as an attempt: %+v", e.Attempts)
		}
	})
	test(t, "an error that is not an executor.Error is tried again", func(r *rig) {
		r.answer = func(context.Context, executor.Request) (executor.Response, error) {
			return executor.Response{}, errors.New("loose")
		}
		r.start()
		r.accept("1")
		r.answers(ok)
		r.wait(sec)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{sec, "1"})
	})
}

func TestTurns(t *testing.T) {
	t.Parallel()
	test(t, "a function that does not answer is asked by one event at a time", func(r *rig) {
		r.target("f", func(t *async.Target) { t.Concurrency = 8 })
		r.answers(refuse(executor.Unready))
		r.start()
		for n := range 20 {
			r.accept(fmt.Sprint(n))
		}
		r.wait(500 * time.Millisecond)
		r.expect("attempts", &r.invoked, 0, call{0, "0"})
		r.wait(9 * time.Second) // probes at 1 s, 3 s and 7 s, or a little earlier
		if n := len(r.invoked); n != 4 {
			t.Errorf("%d attempts within 10 s, want 4: %v", n, r.invoked)
		}
		r.answers(ok)
		r.wait(7 * time.Second)
		if s, err := r.w.Stats(t.Context()); err != nil || s[0].Succeeded != 20 {
			t.Errorf("once it answered: %+v, %v", s, err)
		}
	})
	test(t, "events of one function start in order and do not hold up another", func(r *rig) {
		block := make(chan struct{})
		r.target("g", func(t *async.Target) {
			t.Concurrency = 3
			t.Invoke = func(context.Context, executor.Request) (executor.Response, error) {
				<-block
				return executor.Response{}, nil
			}
		})
		r.start()
		for n := range 10 {
			r.accept(fmt.Sprint("g", n), func(e *async.Event) { e.Function = "g" })
		}
		var want []call
		for n := range 10 {
			r.accept(fmt.Sprint("f", n))
			want = append(want, call{0, fmt.Sprint("f", n)})
		}
		r.expect("attempts", &r.invoked, 0, want...)
		stats, err := r.w.Stats(r.t.Context())
		if err != nil || len(stats) != 2 || stats[1].Running != 3 || stats[1].Queued != 7 || stats[0].Succeeded != 10 {
			t.Errorf("stats %+v, %v", stats, err)
		}
		es, _, err := r.w.List(r.t.Context(), async.Query{States: []async.State{async.Running}, Limit: 2})
		if err != nil || len(es) != 2 || es[0].ID != "g2" || es[0].State != async.Running {
			t.Errorf("running: %+v, %v", es, err)
		}
		es, _, err = r.w.List(r.t.Context(), async.Query{States: []async.State{async.Queued}})
		if err != nil || len(es) != 7 {
			t.Errorf("queued: %d, %v", len(es), err)
		}
		r.unaccounted()
		close(block)
		synctest.Wait()
	})
	test(t, "a backlog larger than memory is read back in order", func(r *rig) {
		block := make(chan struct{})
		r.answer = func(ctx context.Context, req executor.Request) (executor.Response, error) {
			<-block
			if string(req.Payload) != fmt.Sprintf(`"%s"`, req.ID) {
				t.Errorf("event %s has payload %s", req.ID, req.Payload)
			}
			return ok(ctx, req)
		}
		r.start(func(o *async.Options) { o.Memory = 100 })
		var want []call
		for n := range 500 {
			id := fmt.Sprint(n)
			r.accept(id, func(e *async.Event) { e.Payload = fmt.Appendf(nil, `"%s"`, id) })
			want = append(want, call{0, id})
		}
		close(block)
		synctest.Wait()
		r.expect("attempts", &r.invoked, 0, want...)
	})
	test(t, "events of a function that is gone become dead letters", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1") // waits for its retry
		block := make(chan struct{})
		r.answers(func(ctx context.Context, req executor.Request) (executor.Response, error) {
			<-block
			return ok(ctx, req)
		})
		r.accept("2") // runs
		r.accept("3") // waits its turn
		r.mu.Lock()
		delete(r.targets, "f")
		r.mu.Unlock()
		r.w.Changed()
		close(block)
		synctest.Wait()
		for id, want := range map[string]async.State{"1": async.Failed, "2": async.Succeeded, "3": async.Failed} {
			if e := r.entry(id); e.State != want {
				t.Errorf("event %s is %s, want %s", id, e.State, want)
			} else if want == async.Failed && (e.Condition != async.FunctionNotFound || !e.HasPayload) {
				t.Errorf("event %s: condition %s, payload kept %v", id, e.Condition, e.HasPayload)
			}
		}
		var e *executor.Error
		if err := r.w.Accept(r.t.Context(), async.Event{ID: "4", Function: "f"}); !errors.As(err, &e) || e.Kind != executor.Refused {
			t.Errorf("Accept for a function that is gone = %v", err)
		}
		if err := r.w.Accept(r.t.Context(), async.Event{ID: "4", Function: "never"}); !errors.As(err, &e) || e.Kind != executor.Refused {
			t.Errorf("Accept for a function that never was = %v", err)
		}
	})
	test(t, "new settings hold for waiting events", func(r *rig) {
		r.target("f", func(t *async.Target) { t.Concurrency = 1 })
		block := make(chan struct{})
		r.answers(func(ctx context.Context, req executor.Request) (executor.Response, error) {
			<-block
			return ok(ctx, req)
		})
		r.start()
		for n := range 5 {
			r.accept(fmt.Sprint(n))
		}
		r.target("f", func(t *async.Target) { t.Concurrency = 4 })
		r.w.Changed()
		synctest.Wait()
		if s, _ := r.w.Stats(r.t.Context()); s[0].Running != 4 {
			t.Errorf("%d run, want 4", s[0].Running)
		}
		close(block)
		synctest.Wait()
	})
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	slow := func(d time.Duration) func(context.Context, executor.Request) (executor.Response, error) {
		return func(ctx context.Context, req executor.Request) (executor.Response, error) {
			if clock.Sleep(ctx, clock.System{}, d) != nil {
				return executor.Response{}, &executor.Error{Kind: executor.Canceled, Err: context.Cause(ctx)}
			}
			return ok(ctx, req)
		}
	}
	test(t, "it waits for the attempt under way and starts no other", func(r *rig) {
		r.answers(slow(20 * time.Second))
		r.start()
		r.accept("1")
		r.accept("2")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(r.began); d != 20*time.Second {
			t.Errorf("it took %v", d)
		}
		if a, b := r.entry("1"), r.entry("2"); a.State != async.Succeeded || b.State != async.Queued {
			t.Errorf("states %s, %s", a.State, b.State)
		}
		if err := r.w.Accept(r.t.Context(), async.Event{ID: "3", Function: "f"}); !errors.Is(err, async.ErrStopped) {
			t.Errorf("Accept = %v", err)
		}
	})
	test(t, "what it cuts off runs again at the next start and is no attempt", func(r *rig) {
		r.answers(slow(time.Hour))
		r.start()
		r.accept("1")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(r.began); d != 30*time.Second {
			t.Errorf("it took %v", d)
		}
		if e := r.entry("1"); e.State != async.Queued || len(e.Attempts) != 0 {
			t.Errorf("entry %+v", e)
		}
		r.answers(ok)
		r.start()
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{30 * time.Second, "1"})
		if e := r.entry("1"); e.State != async.Succeeded || e.Invokes != 1 {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "a function that does not let go does not hold the hub", func(r *rig) {
		free := make(chan struct{})
		r.answers(func(ctx context.Context, req executor.Request) (executor.Response, error) {
			<-free
			return ok(ctx, req)
		})
		r.start()
		r.accept("1")
		if err := r.stop(); err == nil {
			t.Error("no error")
		}
		if d := time.Since(r.began); d != 35*time.Second {
			t.Errorf("it took %v", d)
		}
		close(free)
		r.wait(0)
		r.stop = nil
	})
	test(t, "attempts, age and the time of the next attempt survive a restart", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(10 * time.Second)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.start()
		r.wait(time.Hour)
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{time.Minute, "1"}, call{3 * time.Minute, "1"})
		if e := r.entry("1"); e.State != async.Failed || len(e.Attempts) != 3 {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "events of a function that has left the file are dead letters after the next start", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		delete(r.targets, "f")
		r.start()
		if e := r.entry("1"); e.State != async.Failed || e.Condition != async.FunctionNotFound || !e.HasPayload {
			t.Errorf("entry %+v", e)
		}
		r.target("f", func(*async.Target) {})
		r.w.Changed()
		r.answers(ok)
		if n, err := r.w.Redrive(r.t.Context(), async.Query{}); n != 1 || err != nil {
			t.Fatalf("Redrive = %d, %v", n, err)
		}
		synctest.Wait()
		if e := r.entry("1"); e.State != async.Succeeded {
			t.Errorf("after the function came back: %+v", e)
		}
	})
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	test(t, "a failing destination is tried again and the function is not", func(r *rig) {
		r.send = func(context.Context, string, destinations.Record) error {
			if time.Since(r.began) < 5*time.Second {
				return errors.New("busy")
			}
			return nil
		}
		r.start()
		r.accept("1")
		if e := r.entry("1"); e.State != async.Succeeded || e.Deliveries[0].State != async.DeliveryPending || e.Deliveries[0].Error != "busy" {
			t.Errorf("entry %+v", e)
		}
		r.wait(time.Minute)
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
		r.expect("records", &r.sent, .25, call{0, "good 1"}, call{time.Second, "good 1"}, call{3 * time.Second, "good 1"}, call{7 * time.Second, "good 1"})
		if e := r.entry("1"); e.Deliveries[0].State != async.DeliveryDone || e.Deliveries[0].Tries != 4 || e.Deliveries[0].Error != "" {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "a permanent error is not tried again", func(r *rig) {
		r.send = func(context.Context, string, destinations.Record) error {
			return fmt.Errorf("bad address: %w", destinations.ErrPermanent)
		}
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.expect("records", &r.sent, 0, call{0, "good 1"})
		if e := r.entry("1"); e.Deliveries[0].State != async.DeliveryGivenUp || !strings.Contains(e.Deliveries[0].Error, "bad address") {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "a record is given up at its age", func(r *rig) {
		r.send = func(context.Context, string, destinations.Record) error { return errors.New("busy") }
		r.start(func(o *async.Options) { o.DeliveryAge = 5 * time.Second })
		r.accept("1")
		r.wait(time.Hour)
		r.expect("records", &r.sent, .25, call{0, "good 1"}, call{time.Second, "good 1"}, call{3 * time.Second, "good 1"})
		if e := r.entry("1"); e.Deliveries[0].State != async.DeliveryGivenUp {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "a destination that hangs is left after a minute", func(r *rig) {
		r.send = func(ctx context.Context, _ string, _ destinations.Record) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		r.start()
		r.accept("1")
		r.wait(62 * time.Second)
		r.expect("records", &r.sent, 0, call{0, "good 1"}, call{61 * time.Second, "good 1"})
	})
	test(t, "every destination gets the record", func(r *rig) {
		r.target("f", func(t *async.Target) { t.OnFailure = []string{"a", "b"}; t.MaximumRetryAttempts = 0 })
		r.answers(broken)
		r.start()
		r.accept("1")
		r.record("a 1", async.RetriesExhausted, 1, true)
		r.record("b 1", async.RetriesExhausted, 1, true)
		if rec := r.records["a 1"]; rec.Success || !strings.HasSuffix(rec.ARN, ":$LATEST") {
			t.Errorf("record %+v", rec)
		}
	})
	test(t, "pending deliveries survive a restart", func(r *rig) {
		r.send = func(context.Context, string, destinations.Record) error { return errors.New("busy") }
		r.start()
		r.accept("1")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.sends(func(context.Context, string, destinations.Record) error { return nil })
		r.start()
		r.record("good 1", async.Success, 1, true)
		if e := r.entry("1"); e.Deliveries[0].State != async.DeliveryDone || e.Deliveries[0].Tries != 2 {
			t.Errorf("entry %+v", e)
		}
		r.expect("attempts", &r.invoked, 0, call{0, "1"})
	})
	test(t, "a delivery that the shutdown cuts off is no try", func(r *rig) {
		r.send = func(ctx context.Context, _ string, _ destinations.Record) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		r.start(func(o *async.Options) { o.Drain = time.Second })
		r.accept("1")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if e := r.entry("1"); e.Deliveries[0].State != async.DeliveryPending || e.Deliveries[0].Tries != 0 {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "a chain of sixteen destinations goes no further", func(r *rig) {
		r.start()
		r.accept("15", func(e *async.Event) { e.Depth = 15 })
		r.accept("16", func(e *async.Event) { e.Depth = 16 })
		r.expect("records", &r.sent, 0, call{0, "good 15"})
		if r.records["good 15"].Depth != 15 {
			t.Error("the record does not carry its depth")
		}
		if e := r.entry("16"); e.State != async.Succeeded || e.Deliveries[0].State != async.DeliveryGivenUp || !strings.Contains(e.Deliveries[0].Error, "16") {
			t.Errorf("entry %+v", e)
		}
	})
}

func TestLedger(t *testing.T) {
	t.Parallel()
	test(t, "a redriven event runs as a new one", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		r.answers(ok)
		if n, err := r.w.Redrive(r.t.Context(), async.Query{}); n != 1 || err != nil {
			t.Errorf("Redrive = %d, %v", n, err)
		}
		synctest.Wait()
		r.record("good 1", async.Success, 1, true)
		if e := r.entry("1"); e.State != async.Succeeded || e.Invokes != 1 || len(e.Attempts) != 4 || e.Attempts[3].Number != 1 {
			t.Errorf("entry %+v", e)
		}
		if s, _ := r.w.Stats(r.t.Context()); s[0].Accepted != 1 || s[0].Failed != 0 || s[0].Succeeded != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	test(t, "a redriven event has its full retries again", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		if n, err := r.w.Redrive(r.t.Context(), async.Query{ID: "1"}); n != 1 || err != nil {
			t.Errorf("Redrive = %d, %v", n, err)
		}
		r.wait(2 * time.Hour)
		const h = time.Hour
		r.expect("attempts", &r.invoked, 0, call{0, "1"}, call{time.Minute, "1"}, call{3 * time.Minute, "1"},
			call{h, "1"}, call{h + time.Minute, "1"}, call{h + 3*time.Minute, "1"})
	})
	test(t, "purged events are discarded", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		if n, err := r.w.Purge(r.t.Context(), async.Query{Function: "f"}); n != 1 || err != nil {
			t.Errorf("Purge = %d, %v", n, err)
		}
		if e := r.entry("1"); e.State != async.Discarded || e.HasPayload {
			t.Errorf("entry %+v", e)
		}
		if n, err := r.w.Redrive(r.t.Context(), async.Query{}); n != 0 || err != nil {
			t.Errorf("Redrive = %d, %v", n, err)
		}
	})
	test(t, "a function that is gone is not redriven", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(time.Hour)
		delete(r.targets, "f")
		r.w.Changed()
		if n, err := r.w.Redrive(r.t.Context(), async.Query{}); n != 0 || err != nil {
			t.Errorf("Redrive = %d, %v", n, err)
		}
		if e := r.entry("1"); e.State != async.Failed {
			t.Errorf("entry %+v", e)
		}
	})
	test(t, "the oldest event is told", func(r *rig) {
		r.answers(broken)
		r.start()
		r.accept("1")
		r.wait(10 * time.Second)
		r.accept("2")
		s, _ := r.w.Stats(r.t.Context())
		if !s[0].Oldest.Equal(r.began) || s[0].Queued != 2 {
			t.Errorf("stats %+v", s)
		}
		want := strings.NewReader("# HELP millrace_async_oldest_age_seconds Age of the oldest event that is not over.\n" +
			"# TYPE millrace_async_oldest_age_seconds gauge\nmillrace_async_oldest_age_seconds{function=\"f\"} 10\n")
		if err := testutil.GatherAndCompare(r.reg, want, "millrace_async_oldest_age_seconds"); err != nil {
			t.Error(err)
		}
	})
}

func TestAnIdleWorkerSetsNoTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := clock.NewManual(time.Now())
		r.start(func(o *async.Options) { o.Clock = m })
		for n := range 10 {
			r.accept(fmt.Sprint(n))
		}
		if n := m.Timers(); n != 0 {
			t.Errorf("%d timers are set while nothing waits", n)
		}
		r.answers(broken)
		for n := range 10 {
			r.accept(fmt.Sprint("bad", n))
		}
		if n := m.Timers(); n != 1 {
			t.Errorf("%d timers are set for ten events that wait, want one", n)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestEveryEventIsAccountedForAtAnyMoment scrapes while events come, fail, wait, succeed and are redriven.
func TestEveryEventIsAccountedForAtAnyMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.target("f", func(t *async.Target) { t.Concurrency = 4 })
		r.answer = func(ctx context.Context, req executor.Request) (executor.Response, error) {
			switch req.ID[len(req.ID)-1] % 4 {
			case 0:
				return broken(ctx, req)
			case 1:
				return refuse(executor.Throttled)(ctx, req)
			default:
				return ok(ctx, req)
			}
		}
		r.start(func(o *async.Options) { o.Memory = 1 << 10 })
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for n := range 200 {
					if err := r.w.Accept(t.Context(), async.Event{ID: fmt.Sprint(g, "-", n), Function: "f", Payload: []byte(`{"some":"payload"}`)}); err != nil {
						t.Error(err)
					}
					if n%50 == 0 {
						if _, err := r.w.Redrive(t.Context(), async.Query{}); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Minute) //nolint:forbidigo // time in the bubble
					}
				}
			})
		}
		synctest.Wait()
		for range 100 {
			r.unaccounted()
			time.Sleep(3 * time.Second) //nolint:forbidigo // time in the bubble
		}
		wg.Wait()
		r.wait(7 * time.Hour)
		r.unaccounted()
		s, err := r.w.Stats(t.Context())
		if err != nil || s[0].Accepted != 800 || s[0].Queued+s[0].Running != 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}
