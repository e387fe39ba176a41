package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/api/lambdaapi"
	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
)

// functions are those of the file, by name. All methods may be called concurrently.
type functions struct {
	arnPrefix string // "arn:aws:lambda:<region>:<account>:function:"
	total     int    // the account's concurrency
	account   *executor.Concurrency
	tracing   *tracing

	invocations *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	init        *prometheus.HistogramVec
	running     *prometheus.GaugeVec

	mu     sync.RWMutex
	byName map[string]*function
}

type function struct {
	name     string
	target   async.Target   // as the queue's worker sees it
	info     lambdaapi.Info // as the Lambda API tells of it
	settings executor.Settings
	runs     executor.Function

	// of the metric vectors, looked up once
	success, failed, throttled, refused prometheus.Counter
	duration, init                      prometheus.Observer
	running                             prometheus.Gauge
}

func newFunctions(c *config.Config, metrics prometheus.Registerer, t *tracing) *functions {
	return &functions{
		arnPrefix: fmt.Sprintf("arn:aws:lambda:%s:%s:function:", c.AWS.Region, c.AWS.Account),
		total:     c.Concurrency,
		account:   executor.NewConcurrency(c.Concurrency),
		tracing:   t,
		byName:    map[string]*function{},
		invocations: plugin.Register(metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_invocations_total",
			Help: "Invocations by what came of them: success, error (the code failed), throttled, or refused (no answer for another reason).",
		}, []string{"function", "result"})),
		duration: plugin.Register(metrics, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "millrace_invocation_duration_seconds",
			Help:    "Time in the function, without its cold start.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 12),
		}, []string{"function"})),
		init: plugin.Register(metrics, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "millrace_cold_start_seconds",
			Help:    "Time of the cold starts that an invocation waited for.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
		}, []string{"function"})),
		running: plugin.Register(metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_concurrent_invocations",
			Help: "Invocations under way.",
		}, []string{"function"})),
	}
}

// settings returns what a runtime's configuration says of every function.
func settings(with any) executor.Settings {
	return with.(interface{ Settings() executor.Settings }).Settings()
}

// prepare opens a function without making it known.
func (fs *functions) prepare(ctx context.Context, name string, c config.Function, spec plugin.Spec[executor.Function], d plugin.Deps) (*function, error) {
	runs, err := spec.Open(ctx, c.With, d)
	if err != nil {
		return nil, err
	}
	s := settings(c.With)
	most := min(c.Async.MaximumConcurrency, fs.total)
	if s.Reserved != executor.Unreserved {
		most = min(most, s.Reserved)
	}
	return &function{
		name: name, settings: s, runs: fs.account.Limit(name, runs),
		target: async.Target{
			Invoke: func(ctx context.Context, req executor.Request) (executor.Response, error) {
				return fs.invoke(ctx, name, req)
			},
			Concurrency: most, Reserved: s.Reserved, MaximumRetryAttempts: c.Async.MaximumRetryAttempts,
			MaximumEventAge: c.Async.MaximumEventAge, RetryDelays: c.Async.RetryDelays,
			OnSuccess: c.Async.OnSuccess, OnFailure: c.Async.OnFailure,
		},
		info: lambdaapi.Info{
			ARN: fs.arnPrefix + name, Runtime: c.Runtime, Timeout: s.Timeout, Reserved: s.Reserved,
			Handler: s.Handler, Memory: plugin.Size(s.Memory), Modified: d.Clock.Now(),
		},
		success:   fs.invocations.WithLabelValues(name, "success"),
		failed:    fs.invocations.WithLabelValues(name, "error"),
		throttled: fs.invocations.WithLabelValues(name, "throttled"),
		refused:   fs.invocations.WithLabelValues(name, "refused"),
		duration:  fs.duration.WithLabelValues(name),
		init:      fs.init.WithLabelValues(name),
		running:   fs.running.WithLabelValues(name),
	}, nil
}

// set makes f the function of its name, and returns the one that it replaces, or nil.
func (fs *functions) set(f *function) (old *function) {
	fs.account.Reserve(f.name, f.settings.Reserved)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	old = fs.byName[f.name]
	fs.byName[f.name] = f
	return old
}

// remove takes a function away, and returns it.
func (fs *functions) remove(name string) (old *function) {
	fs.mu.Lock()
	old = fs.byName[name]
	delete(fs.byName, name)
	fs.mu.Unlock()
	fs.account.Reserve(name, executor.Unreserved)
	for _, result := range []string{"success", "error", "throttled", "refused"} {
		fs.invocations.DeleteLabelValues(name, result)
	}
	fs.duration.DeleteLabelValues(name)
	fs.init.DeleteLabelValues(name)
	fs.running.DeleteLabelValues(name)
	return old
}

func (fs *functions) get(name string) (*function, bool) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	f, ok := fs.byName[name]
	return f, ok
}

// all returns the functions in no order.
func (fs *functions) all() []*function {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	list := make([]*function, 0, len(fs.byName))
	for _, f := range fs.byName {
		list = append(list, f)
	}
	return list
}

var errUnknown = errors.New("no such function in the file")

// complete gives req what every invocation has.
func (fs *functions) complete(name string, req *executor.Request) {
	if req.ID == "" {
		req.ID = uuid.NewString()
	}
	if req.Attempt == 0 {
		req.Attempt = 1
	}
	if req.ARN == "" {
		req.ARN = fs.arnPrefix + name
	}
}

// invoke runs the function of that name. One that is replaced meanwhile is followed by its successor.
func (fs *functions) invoke(ctx context.Context, name string, req executor.Request) (executor.Response, error) {
	fs.complete(name, &req)
	for {
		f, ok := fs.get(name)
		if !ok {
			return executor.Response{}, &executor.Error{Kind: executor.Refused, Function: name, Err: errUnknown}
		}
		resp, err := f.invoke(ctx, fs.tracing, req)
		var e *executor.Error
		if errors.As(err, &e) && e.Kind == executor.Closed {
			if next, ok := fs.get(name); ok && next != f {
				continue
			}
		}
		return resp, err
	}
}

func (f *function) invoke(ctx context.Context, t *tracing, req executor.Request) (executor.Response, error) {
	ctx, span := t.start(ctx, trace.SpanKindServer, f.name, &req)
	f.running.Inc()
	resp, err := f.runs.Invoke(ctx, req)
	f.running.Dec()
	end(span, resp, err)
	var e *executor.Error
	switch {
	case errors.As(err, &e) && e.Kind == executor.Throttled:
		f.throttled.Inc()
		return resp, err
	case errors.As(err, &e) && e.Kind == executor.Closed:
		return resp, err // its successor may take it, and counts it then
	case err != nil:
		f.refused.Inc()
		return resp, err
	case resp.Failure != nil:
		f.failed.Inc()
	default:
		f.success.Inc()
	}
	f.duration.Observe(resp.Duration.Seconds())
	if resp.Init > 0 {
		f.init.Observe(resp.Init.Seconds())
	}
	return resp, err
}

// named is one function as a source sees it: by name, so that it survives a reload.
type named struct {
	name string
	fs   *functions
}

func (n named) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	return n.fs.invoke(ctx, n.name, req)
}

// Close does nothing: the function belongs to the hub.
func (named) Close(context.Context) error { return nil }

// lookup is sources.Hub.Function.
func (fs *functions) lookup(name string) (executor.Function, error) {
	if _, ok := fs.get(name); !ok {
		return nil, &executor.Error{Kind: executor.Refused, Function: name, Err: errUnknown}
	}
	return named{name, fs}, nil
}
