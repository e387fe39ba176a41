// Package app puts the hub together: it lists the kinds that this binary has, opens what the file names, joins
// sources, queue, functions and destinations, and starts, reloads and stops them in order. It is the only
// package that knows them all.
package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/stack"
)

// hub is everything that runs.
type hub struct {
	version string
	file    string
	check   bool // the file is only being checked
	log     *slog.Logger
	output  io.Writer
	clock   clock.Clock
	kinds   Catalogs

	metrics   *prometheus.Registry
	starts    *prometheus.CounterVec
	events    *prometheus.CounterVec
	tracing   *tracing
	gateway   *gateway
	functions *functions
	targets   *targets
	store     async.Store
	worker    *async.Worker
	stack     *stack.Stack // nil without
	ready     atomic.Bool
	started   time.Time

	ending context.Context //nolint:containedctx // the hub's own life: done when shutdown begins to close functions
	end    context.CancelFunc

	mu        sync.Mutex // held by who changes what follows: open, reload and stop
	config    *config.Config
	triggers  map[string]*trigger
	running   bool // triggers have been started
	loaded    time.Time
	loadError string         // why the newest file is not in force
	closing   sync.WaitGroup // replaced components that are still ending
}

// newHub makes a hub that has nothing open.
func newHub(ctx context.Context, c *config.Config, o Options) (*hub, error) {
	h := &hub{
		version: o.Version, file: o.File, log: o.Log, output: o.Output, clock: o.Clock,
		metrics: prometheus.NewRegistry(), gateway: newGateway(),
		targets: &targets{byName: map[string]destinations.Destination{}},
		config:  c, triggers: map[string]*trigger{},
	}
	h.started = o.Clock.Now()
	h.loaded = h.started
	h.ending, h.end = context.WithCancel(context.Background())
	var err error
	if h.kinds, err = NewCatalogs(func(ctx context.Context, name string, req executor.Request, depth int) error {
		return h.accept(ctx, "", name, req, depth)
	}); err != nil {
		return nil, err
	}
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	plugin.Register(h.metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_info", Help: "The version that runs; always 1.",
	}, []string{"version"})).WithLabelValues(o.Version).Set(1)
	h.starts = plugin.Register(h.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_trigger_starts_total",
		Help: "How often a trigger was started: more than once means that it gave up and was tried again.",
	}, []string{"trigger"}))
	h.events = plugin.Register(h.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_trigger_events_total",
		Help: "Events that a trigger handed on: answered (RequestResponse), accepted (Event, durable), or refused.",
	}, []string{"trigger", "result"}))
	if h.tracing, err = newTracing(ctx, c.Tracing, o.Version, o.Clock); err != nil {
		return nil, err
	}
	h.functions = newFunctions(c, h.metrics, h.tracing)
	return h, nil
}

// open opens everything that c names. Nothing is taken from outside yet.
func open(ctx context.Context, c *config.Config, o Options) (*hub, error) {
	h, err := newHub(ctx, c, o)
	if err != nil {
		return nil, err
	}
	if err := h.openAll(ctx); err != nil {
		h.abandon()
		return nil, err
	}
	return h, nil
}

func (h *hub) openAll(ctx context.Context) error {
	c := h.config
	spec, _ := h.kinds.Stores.Lookup(c.Store.Kind)
	store, err := spec.Open(ctx, c.Store.With, h.deps(c, "store", "events", c.Store.Kind))
	if err != nil {
		return err
	}
	h.store = store
	ch, err := h.prepare(ctx, c, &config.Config{})
	if err != nil {
		return err
	}
	h.commit(ctx, ch)

	o := async.Defaults()
	o.Store, o.Function, o.Send = store, h.target, h.targets.send
	o.Drain, o.Clock, o.Log, o.Metrics = c.Shutdown.Timeout, h.clock, h.log.With("part", "async"), h.metrics
	if h.worker, err = async.NewWorker(ctx, o); err != nil {
		return err
	}
	return h.openStack()
}

// abandon frees what a hub holds that could not be opened whole.
func (h *hub) abandon() {
	ctx, cancel := clock.WithTimeout(context.Background(), h.clock, h.config.Shutdown.Timeout)
	defer cancel()
	if err := h.closeAll(ctx); err != nil {
		h.log.Warn("what had been opened did not close cleanly", "error", err)
	}
}

func (h *hub) deps(c *config.Config, family, name, kind string) plugin.Deps {
	return plugin.Deps{
		Name:    name,
		Log:     h.log.With(family, name, "kind", kind),
		Metrics: h.metrics,
		Clock:   h.clock,
		Dir:     c.Dir,
		Data:    filepath.Join(c.Data, family, name),
		Region:  c.AWS.Region,
		Account: c.AWS.Account,
		Check:   h.check,
		Output:  h.output,
	}
}

// accept puts an event in the queue; on return it is durable.
func (h *hub) accept(ctx context.Context, triggerName, name string, req executor.Request, depth int) error {
	if _, ok := h.functions.get(name); !ok {
		return &executor.Error{Kind: executor.Refused, Function: name, Err: errUnknown}
	}
	h.functions.complete(name, &req)
	ctx, span := h.tracing.start(ctx, trace.SpanKindProducer, "accept "+name, &req)
	err := h.worker.Accept(ctx, async.Event{
		ID: req.ID, Function: name, ARN: req.ARN, Trigger: triggerName, Payload: req.Payload,
		TenantID: req.TenantID, TraceID: req.TraceID, TraceParent: req.TraceParent, Depth: depth,
	})
	end(span, executor.Response{}, err)
	return err
}

// target is what the worker must know of a function at the moment of an attempt.
func (h *hub) target(name string) (async.Target, bool) {
	f, ok := h.functions.get(name)
	if !ok {
		return async.Target{}, false
	}
	return f.target, true
}

// sourceHub is what one trigger's source may ask of the hub.
func (h *hub) sourceHub(name string, t config.Trigger) sources.Hub {
	answered := h.events.WithLabelValues(name, "answered")
	accepted := h.events.WithLabelValues(name, "accepted")
	refused := h.events.WithLabelValues(name, "refused")
	return sources.Hub{
		Invoke: func(ctx context.Context, req executor.Request) (executor.Response, error) {
			resp, err := h.functions.invoke(ctx, t.Function, req)
			if err != nil {
				refused.Inc()
			} else {
				answered.Inc()
			}
			return resp, err
		},
		Accept: func(ctx context.Context, req executor.Request) error {
			req.Payload = bytes.Clone(req.Payload) // a source reuses its buffers, and the queue keeps the event
			err := h.accept(ctx, name, t.Function, req, 0)
			if err != nil {
				refused.Inc()
			} else {
				accepted.Inc()
			}
			return err
		},
		Mount:    h.gateway.Mount,
		Function: h.functions.lookup,
	}
}

// startTriggers lets the sources run. The gateway is listening by then.
func (h *hub) startTriggers(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running = true
	for _, name := range slices.Sorted(maps.Keys(h.triggers)) {
		h.triggers[name].start(ctx)
	}
}

// stopTriggers takes nothing new from any source and waits for what they have taken.
func (h *hub) stopTriggers(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var wg sync.WaitGroup
	var late atomic.Int32
	for _, t := range h.triggers {
		wg.Go(func() {
			if !t.stop(ctx) {
				late.Add(1)
				h.log.Warn("trigger did not stop in time; what it has not acknowledged will come again", "trigger", t.name)
			}
		})
	}
	wg.Wait()
	if n := late.Load(); n > 0 {
		return fmt.Errorf("%d triggers did not stop in time", n)
	}
	return nil
}

// closeFunctions ends the environments of every function.
func (h *hub) closeFunctions(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, f := range h.functions.all() {
		wg.Go(func() {
			if err := f.runs.Close(ctx); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("closing function %s: %w", f.name, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	h.end()
	h.closing.Wait()
	return errors.Join(errs...)
}

func (h *hub) closeDestinations(ctx context.Context) error {
	var errs []error
	for name := range h.config.Destinations {
		if d := h.targets.set(name, nil); d != nil {
			if err := d.Close(ctx); err != nil {
				errs = append(errs, fmt.Errorf("closing destination %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// closeAll frees everything, in the order of shutdown.
func (h *hub) closeAll(ctx context.Context) error {
	errs := []error{h.closeStack(ctx), h.closeDestinations(ctx), h.closeFunctions(ctx)}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	errs = append(errs, h.tracing.close(ctx))
	return errors.Join(errs...)
}
