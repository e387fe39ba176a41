// Package sourcetest proves that an implementation of sources.Source keeps the contract.
//
// A package that uses it also calls goleak.VerifyTestMain, so that a source that leaves goroutines behind
// fails too.
package sourcetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/sources"
)

// Upstream is what pushes to the source under test. The fields that are not set mean that the protocol has
// no such thing; the cases about it are skipped.
type Upstream struct {
	// Hub is the hub that the source will run with. It is needed by those whose Put goes through its
	// gateway; for the rest the suite makes one.
	Hub *Hub

	// Open makes the source. It is called once in each case.
	Open func(testing.TB) sources.Source

	// Put pushes one event that carries id, a text of letters, digits and dashes. If the upstream is told
	// what became of the event, Put waits for that and returns an error for a refusal; otherwise it returns
	// as soon as the upstream has the event. Put also fails if the source or the upstream is not there.
	// It is called concurrently.
	Put func(ctx context.Context, id string) error

	// Ready reports whether the running source would be handed an event that is put now, for upstreams
	// that drop what nobody listens to. If nil, the suite believes that Put fails until then.
	Ready func() bool

	// Has reports whether a document is that of the event id. If nil, it is when it has id as text or as
	// the base64 of exactly that.
	Has func(document []byte, id string) bool

	// Confirms says that Put tells what became of the event.
	Confirms bool

	// Redelivers says that an event that the hub refused comes again without another Put.
	Redelivers bool

	// Concurrency is how many events, at least, the source hands to the hub at once.
	Concurrency int

	// Stop takes the upstream away, breaking its connections; Start brings it back at the same address.
	Stop, Start func(testing.TB)

	// Patience bounds each wait for what must happen. It is 10 s if not set.
	Patience time.Duration
}

// grace is how long the suite watches for what must not happen. Too short a time hides a fault, and never
// makes one up.
const grace = 50 * time.Millisecond

// Run runs every case, each against an upstream of its own.
func Run(t *testing.T, upstream func(testing.TB) Upstream) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"DeliversEveryEventOnce", deliversEveryEventOnce},
		{"DocumentsAreJSON", documentsAreJSON},
		{"DeliversConcurrently", deliversConcurrently},
		{"ReturnsNilWhenDone", returnsNilWhenDone},
		{"TakesNothingAfterDone", takesNothingAfterDone},
		{"FinishesWhatItTook", finishesWhatItTook},
		{"AcknowledgesAfterTheHub", acknowledgesAfterTheHub},
		{"ReportsRefusal", reportsRefusal},
		{"SurvivesRefusal", survivesRefusal},
		{"RedeliversWhatWasRefused", redeliversWhatWasRefused},
		{"SurvivesRestartOfUpstream", survivesRestartOfUpstream},
		{"WaitsForUpstream", waitsForUpstream},
		{"StopsWithoutUpstream", stopsWithoutUpstream},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(newSuite(t, upstream(t))) })
	}
}

// suite is one case: a source, what pushes to it and the hub behind it.
type suite struct {
	testing.TB
	Upstream

	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned err
	err    error
}

func newSuite(t testing.TB, u Upstream) *suite {
	if u.Hub == nil {
		u.Hub = NewHub(t)
	}
	if u.Has == nil {
		u.Has = hasText
	}
	if u.Patience == 0 {
		u.Patience = 10 * time.Second
	}
	return &suite{TB: t, Upstream: u}
}

func hasText(document []byte, id string) bool {
	encoded := base64.StdEncoding.EncodeToString([]byte(id))
	return bytes.Contains(document, []byte(id)) || bytes.Contains(document, []byte(`"`+encoded+`"`))
}

// start opens the source and runs it until the case ends.
func (s *suite) start() {
	s.Helper()
	source := s.Open(s)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		s.err = source.Run(ctx, s.Hub.Hub())
		close(s.done)
	}()
	s.Cleanup(func() {
		s.Hub.Script(nil)
		cancel()
		s.await("the end of Run", s.done)
	})
}

// ready waits until the source takes events.
func (s *suite) ready() {
	s.Helper()
	if s.Ready != nil {
		s.until("the source to take events", s.Ready)
	}
}

// await fails the case unless c is closed in time.
func (s *suite) await(what string, c <-chan struct{}) {
	s.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, s.Patience)
	defer cancel()
	select {
	case <-c:
	case <-ctx.Done():
		s.Fatalf("waited %v for %s", s.Patience, what)
	}
}

// until polls.
func (s *suite) until(what string, ok func() bool) {
	s.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, s.Patience)
	defer cancel()
	for !ok() {
		if clock.Sleep(ctx, clock.System{}, 2*time.Millisecond) != nil {
			s.Fatalf("waited %v for %s", s.Patience, what)
		}
	}
}

// never watches c for a short while.
func (s *suite) never(what string, c <-chan struct{}) {
	s.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, grace)
	defer cancel()
	select {
	case <-c:
		s.Error(what)
	case <-ctx.Done():
	}
}

// put pushes one event and fails the case if that is refused.
func (s *suite) put(id string) {
	s.Helper()
	if err := s.tryPut(id); err != nil {
		s.Fatalf("putting %s: %v", id, err)
	}
}

// tryPut pushes one event, in bounded time.
func (s *suite) tryPut(id string) error {
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, s.Patience)
	defer cancel()
	return s.Put(ctx, id)
}

// arrive waits until the running source has delivered one event: the start of most cases.
func (s *suite) arrive(prefix string) {
	s.Helper()
	s.ready()
	n := 0
	s.until("an event to arrive", func() bool {
		n++
		id := fmt.Sprintf("%s-%d", prefix, n)
		if s.tryPut(id) != nil {
			return false
		}
		ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, s.Patience/10)
		defer cancel()
		for ctx.Err() == nil {
			if s.count(id) > 0 {
				return true
			}
			_ = clock.Sleep(ctx, clock.System{}, 2*time.Millisecond)
		}
		return false
	})
}

// count is how often the hub has taken the event id.
func (s *suite) count(id string) int {
	n := 0
	for _, c := range s.Hub.Calls() {
		if s.Has(c.Payload, id) {
			n++
		}
	}
	return n
}

// hold makes the hub keep every call until release. held receives the context of each call kept.
func (s *suite) hold() (held <-chan context.Context, release func()) {
	calls, gate := make(chan context.Context, 64), make(chan struct{})
	s.Hub.Script(func(ctx context.Context, _ Call) (executor.Response, error) {
		calls <- ctx
		<-gate
		return executor.Response{Payload: []byte("null")}, nil
	})
	release = sync.OnceFunc(func() { s.Hub.Script(nil); close(gate) })
	s.Cleanup(release)
	return calls, release
}

// background puts an event; the channel it returns is closed when Put has returned, and err then holds.
func (s *suite) background(id string) (done <-chan struct{}, err *error) {
	c := make(chan struct{})
	err = new(error)
	go func() {
		defer close(c)
		*err = s.tryPut(id)
	}()
	return c, err
}

// take waits for n calls that the hub holds and returns the context of the last.
func (s *suite) take(held <-chan context.Context, n int) context.Context {
	s.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, s.Patience)
	defer cancel()
	var last context.Context
	for i := range n {
		select {
		case last = <-held:
		case <-ctx.Done():
			s.Fatalf("the hub holds %d calls after %v, want %d", i, s.Patience, n)
		}
	}
	return last
}

func (s *suite) stopped() {
	s.Helper()
	s.await("Run to return", s.done)
	if s.err != nil {
		s.Errorf("Run returned an error when its context was done: %v", s.err)
	}
	if m := s.Hub.Mounted(); len(m) > 0 {
		s.Errorf("still mounted after Run returned: %v", m)
	}
}

func deliversEveryEventOnce(s *suite) {
	s.start()
	s.arrive("first")
	const n = 20
	for i := range n {
		s.put(fmt.Sprintf("event-%02d", i))
	}
	for i := range n {
		id := fmt.Sprintf("event-%02d", i)
		s.until(id, func() bool { return s.count(id) > 0 })
	}
	s.cancel()
	s.stopped()
	for i := range n {
		if id := fmt.Sprintf("event-%02d", i); s.count(id) != 1 {
			s.Errorf("%s was delivered %d times", id, s.count(id))
		}
	}
}

func documentsAreJSON(s *suite) {
	s.start()
	s.arrive("document")
	for _, c := range s.Hub.Calls() {
		if !json.Valid(c.Payload) {
			s.Errorf("not a JSON document: %q", c.Payload)
		}
		if len(c.Payload) > executor.MaxPayload {
			s.Errorf("a document of %d bytes", len(c.Payload))
		}
	}
}

func deliversConcurrently(s *suite) {
	if s.Concurrency < 2 {
		s.Skip("the source hands over one event at a time")
	}
	s.start()
	s.arrive("first")
	held, release := s.hold()
	var puts []<-chan struct{}
	for i := range s.Concurrency {
		done, _ := s.background(fmt.Sprintf("event-%02d", i))
		puts = append(puts, done)
	}
	s.take(held, s.Concurrency)
	release()
	for _, done := range puts {
		s.await("Put to return", done)
	}
}

func returnsNilWhenDone(s *suite) {
	s.start()
	s.arrive("first")
	s.cancel()
	s.stopped()
}

func takesNothingAfterDone(s *suite) {
	s.start()
	s.arrive("first")
	s.cancel()
	s.await("Run to return", s.done)
	before := len(s.Hub.Calls())
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, grace)
	defer cancel()
	err := s.Put(ctx, "late")
	if s.Confirms && err == nil {
		s.Error("an event put after Run had returned was acknowledged")
	}
	<-ctx.Done()
	if after := len(s.Hub.Calls()); after != before {
		s.Errorf("the hub was handed %d events after Run had returned", after-before)
	}
}

func finishesWhatItTook(s *suite) {
	s.start()
	s.arrive("first")
	held, release := s.hold()
	put, err := s.background("slow")
	ctx := s.take(held, 1)
	s.cancel()
	s.never("Run returned while the hub still held an event", s.done)
	if e := ctx.Err(); e != nil {
		s.Errorf("stopping cut off an event under way: %v", e)
	}
	release()
	s.await("Put to return", put)
	if *err != nil {
		s.Errorf("an event taken before the stop was not acknowledged: %v", *err)
	}
	s.stopped()
	if n := s.count("slow"); n != 1 {
		s.Errorf("an event taken before the stop was delivered %d times", n)
	}
}

func acknowledgesAfterTheHub(s *suite) {
	if !s.Confirms {
		s.Skip("the upstream is not told what becomes of an event")
	}
	s.start()
	s.arrive("first")
	held, release := s.hold()
	put, err := s.background("slow")
	s.take(held, 1)
	s.never("the event was acknowledged before the hub had answered", put)
	release()
	s.await("Put to return", put)
	if *err != nil {
		s.Errorf("an accepted event was refused: %v", *err)
	}
}

var errRefused = &executor.Error{Kind: executor.Internal, Function: "test", Err: errors.New("as the test wishes")}

func (s *suite) refuse() {
	s.Hub.Script(func(context.Context, Call) (executor.Response, error) { return executor.Response{}, errRefused })
}

func reportsRefusal(s *suite) {
	if !s.Confirms {
		s.Skip("the upstream is not told what becomes of an event")
	}
	s.start()
	s.arrive("first")
	s.refuse()
	if err := s.tryPut("refused"); err == nil {
		s.Error("the upstream was told that an event was taken that the hub had refused")
	}
	s.Hub.Script(nil)
	s.put("next")
}

func survivesRefusal(s *suite) {
	s.start()
	s.arrive("first")
	refused := make(chan struct{})
	var once sync.Once
	s.Hub.Script(func(context.Context, Call) (executor.Response, error) {
		once.Do(func() { close(refused) })
		return executor.Response{}, errRefused
	})
	put, _ := s.background("refused")
	s.await("the event to be refused", refused)
	s.Hub.Script(nil)
	s.await("Put to return", put)
	s.put("next")
	s.until("the event after a refused one", func() bool { return s.count("next") > 0 })
}

func redeliversWhatWasRefused(s *suite) {
	if !s.Redelivers {
		s.Skip("the upstream forgets what was refused")
	}
	s.start()
	s.arrive("first")
	refused := make(chan struct{})
	var once sync.Once
	s.Hub.Script(func(context.Context, Call) (executor.Response, error) {
		once.Do(func() { close(refused) })
		return executor.Response{}, errRefused
	})
	s.background("again")
	s.await("the event to be refused", refused)
	s.Hub.Script(nil)
	s.until("the event to come again", func() bool { return s.count("again") > 0 })
}

func (s *suite) needsOutage() {
	if s.Stop == nil || s.Start == nil {
		s.Skip("the source has no connection to lose")
	}
}

func survivesRestartOfUpstream(s *suite) {
	s.needsOutage()
	s.start()
	s.arrive("before")
	s.Stop(s)
	s.never("Run returned when the upstream went away", s.done)
	s.Start(s)
	s.arrive("after")
}

func waitsForUpstream(s *suite) {
	s.needsOutage()
	s.Stop(s)
	s.start()
	s.never("Run returned because the upstream was not there", s.done)
	s.Start(s)
	s.arrive("first")
}

func stopsWithoutUpstream(s *suite) {
	s.needsOutage()
	s.start()
	s.arrive("first")
	s.Stop(s)
	s.cancel()
	s.stopped()
	s.Start(s)
}
