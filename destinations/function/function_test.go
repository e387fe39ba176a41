package function_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/destinations/function"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, accept function.Accept) destinations.Destination {
	t.Helper()
	spec := function.Spec(accept)
	config := spec.Config().(*function.Config)
	config.Function = "cleanup"
	d, err := spec.Open(t.Context(), config, plugin.Deps{Name: "failures"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// queue is an asynchronous queue, as far as the destination sees one.
type queue struct {
	mu     sync.Mutex
	bodies [][]byte
	err    error
	hang   chan struct{}
	taken  chan struct{}
}

func (q *queue) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func (q *queue) accept(ctx context.Context, _ string, req executor.Request, _ int) error {
	q.mu.Lock()
	err, hang := q.err, q.hang
	q.mu.Unlock()
	if err != nil {
		return err
	}
	if hang != nil {
		q.taken <- struct{}{}
		select {
		case <-hang:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	q.set(func() { q.bodies = append(q.bodies, bytes.Clone(req.Payload)) })
	return nil
}

func TestDestination(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, func(t testing.TB) destinationtest.Subject {
		q := &queue{taken: make(chan struct{}, 1)}
		return destinationtest.Subject{
			Destination: open(t, q.accept),
			Received: func() (all [][]byte) {
				q.set(func() { all = slices.Clone(q.bodies) })
				return all
			},
			Break: func() func() {
				q.set(func() { q.err = errors.New("the store is full") })
				return func() { q.set(func() { q.err = nil }) }
			},
			Refuse: func() {
				q.set(func() {
					q.err = fmt.Errorf("accepting: %w", &executor.Error{Kind: executor.Refused, Err: errors.New("no such function")})
				})
			},
			Hang: func() (<-chan struct{}, func()) {
				hang := make(chan struct{})
				q.set(func() { q.hang = hang })
				return q.taken, sync.OnceFunc(func() { close(hang) })
			},
		}
	})
}

func TestTheRecordBecomesANewEventOfTheFunction(t *testing.T) {
	t.Parallel()
	var got executor.Request
	var name string
	var depth int
	d := open(t, func(_ context.Context, function string, req executor.Request, n int) error {
		got, name, depth = req, function, n
		return nil
	})
	rec := destinations.Record{ID: uuid.NewString(), Body: []byte(`{"version":"1.0"}`), TraceID: "Root=1", TraceParent: "00-1", Depth: 3}
	if err := d.Send(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if name != "cleanup" || depth != 4 || string(got.Payload) != `{"version":"1.0"}` || got.TraceID != "Root=1" || got.TraceParent != "00-1" || got.Attempt != 1 {
		t.Errorf("%s got %+v at depth %d", name, got, depth)
	}
	if uuid.Validate(got.ID) != nil || got.ID == rec.ID {
		t.Errorf("id %q: a new event has a new id", got.ID)
	}
}

func TestARecordOverTheLimitIsGivenUp(t *testing.T) {
	t.Parallel()
	d := open(t, func(context.Context, string, executor.Request, int) error {
		return &executor.Error{Kind: executor.TooLarge, Function: "cleanup", Err: errors.New("2000000 bytes are over 1048576")}
	})
	err := d.Send(t.Context(), destinations.Record{})
	if !errors.Is(err, destinations.ErrPermanent) || !strings.Contains(err.Error(), "cleanup") || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("%v", err)
	}
}

func TestTheFunctionMustBeNamed(t *testing.T) {
	t.Parallel()
	spec := function.Spec(nil)
	config := spec.Config().(*function.Config)
	var bad *plugin.FieldError
	if err := config.Validate(); !errors.As(err, &bad) || bad.Path != "function" {
		t.Errorf("%v", err)
	}
	if _, err := spec.Open(t.Context(), config, plugin.Deps{}); err == nil {
		t.Error("opened without a function")
	}
	config.Function = "cleanup"
	if got := config.Functions(); !slices.Equal(got, []string{"cleanup"}) {
		t.Errorf("calls %v", got)
	}
}
