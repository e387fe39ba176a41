// Package nats takes the messages of core NATS subjects. A message with a reply subject is a request, which
// the function answers; any other is queued durably.
//
// Core NATS delivers at most once. The hub does not lose a message that it was able to queue, but one that is
// published while the hub is not connected, that comes above the limits of what may wait, or that waits in
// memory while the process is killed, is gone. Those that the hub knows of are counted in
// millrace_nats_messages_total, as dropped or lost.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

const (
	drain = 5 * time.Second // for the server to hand over what it has sent already
	flush = 2 * time.Second // for the last answers to leave
)

// Spec describes the kind "nats".
func Spec() plugin.Spec[sources.Source] {
	return plugin.Define("nats", "Takes the messages of NATS subjects, and answers requests.", Defaults(), open)
}

// source is the configured source.
type source struct {
	config  Config
	deps    plugin.Deps
	arn     string
	options []client.Option

	messages    *prometheus.CounterVec
	connected   *prometheus.GaugeVec
	disconnects prometheus.Counter
}

// Results of a message, in the metric.
const (
	accepted = "accepted" // queued
	answered = "answered" // a request that the function has answered, be it with a failure
	failed   = "failed"   // a request that has no answer, which the requester was told
	refused  = "refused"  // the function can never take it
	dropped  = "dropped"  // above the limits of what may wait
	lost     = "lost"     // the hub stopped before it could queue or answer it
)

func open(_ context.Context, c Config, d plugin.Deps) (sources.Source, error) {
	opts, err := c.options(d.Dir)
	if err != nil {
		return nil, err
	}
	s := &source{
		config: c, deps: d, options: opts,
		arn: fmt.Sprintf("arn:millrace:nats:%s:%s:%s", d.Region, d.Account, d.Name),
		messages: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_nats_messages_total",
			Help: "Messages of NATS by result: accepted, answered, failed, refused, dropped or lost.",
		}, []string{"trigger", "result"})),
		connected: plugin.Register(d.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_nats_connected",
			Help: "1 while the trigger is connected to a NATS server.",
		}, []string{"trigger"})),
		disconnects: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_nats_disconnects_total",
			Help: "Lost connections to NATS; messages published until the next one were missed.",
		}, []string{"trigger"})).WithLabelValues(d.Name),
	}
	for _, result := range []string{accepted, answered, failed, refused, dropped, lost} {
		s.count(result, 0)
	}
	return s, nil
}

func (s *source) count(result string, n int) {
	s.messages.WithLabelValues(s.deps.Name, result).Add(float64(n))
}

// message is one that waits for its turn, or has it.
type message struct {
	*client.Msg
	received time.Time
}

// run is one call of Run.
type run struct {
	*source
	hub  sources.Hub
	line *sources.Line[message]
	down chan struct{} // receives when a connection is lost

	warned   atomic.Int64 // Unix seconds when we last said that messages are dropped
	refusing atomic.Bool  // the hub does not queue, and we said so
}

func (s *source) Run(ctx context.Context, hub sources.Hub) error {
	r := &run{
		source: s, hub: hub, down: make(chan struct{}, 1),
		line: sources.NewLine[message](s.config.PendingMessages, int64(s.config.PendingBytes), s.config.MaximumConcurrency),
	}
	defer s.connected.DeleteLabelValues(s.deps.Name)
	worked := make(chan struct{})
	go func() {
		r.line.Work(func(m message) { r.handle(ctx, m) })
		close(worked)
	}()
	for {
		nc, err := r.session(ctx)
		if err == nil && ctx.Err() == nil {
			continue // the server has thrown us out for good, which the client does not mend
		}
		r.line.Close()
		<-worked
		if nc != nil && nc.IsConnected() {
			if err := nc.FlushTimeout(flush); err != nil {
				s.deps.Log.Warn("the last answers may not have left", slog.Any("error", err))
			}
		}
		if nc != nil {
			nc.Close()
		}
		return err
	}
}

// session subscribes and takes messages until ctx is done or the connection is closed for good. The
// connection that it returns is there for answers until it is closed; it may be nil.
func (r *run) session(ctx context.Context) (*client.Conn, error) {
	closed := make(chan struct{})
	nc := r.connect(ctx, closed)
	if nc == nil {
		return nil, nil
	}
	subs, err := r.subscribe(nc)
	if err != nil {
		return nc, err
	}
	select {
	case <-ctx.Done():
		r.drain(nc, subs)
	case <-closed:
	}
	return nc, nil
}

// connect returns a connection that keeps itself up from now on, or nil when ctx is done. It closes the
// channel if the client gives the connection up nevertheless.
func (r *run) connect(ctx context.Context, closed chan<- struct{}) *client.Conn {
	var told atomic.Bool // that there is no connection
	fail := func(err error) {
		if !told.Swap(true) {
			r.deps.Log.Warn("NATS can not be reached; trying again", slog.Any("error", err))
		}
	}
	up := func(nc *client.Conn) {
		r.connected.WithLabelValues(r.deps.Name).Set(1)
		if told.Swap(false) {
			r.deps.Log.Warn("connected to NATS again; messages of the meantime were missed", slog.String("server", nc.ConnectedUrlRedacted()))
		}
	}
	r.connected.WithLabelValues(r.deps.Name).Set(0)
	opts := append([]client.Option{
		client.Name("millrace " + r.deps.Name),
		client.RetryOnFailedConnect(true),
		client.MaxReconnects(-1),
		client.IgnoreAuthErrorAbort(), // credentials are mended while the hub runs
		client.CustomReconnectDelay(sources.Backoff),
		client.NoCallbacksAfterClientClose(),
		client.ClosedHandler(func(*client.Conn) { close(closed) }),
		client.ConnectHandler(up),
		client.ReconnectHandler(up),
		client.ReconnectErrHandler(func(_ *client.Conn, err error) { fail(err) }),
		client.DisconnectErrHandler(func(_ *client.Conn, err error) {
			r.connected.WithLabelValues(r.deps.Name).Set(0)
			r.disconnects.Inc()
			if err == nil {
				err = errors.New("the server closed the connection")
			}
			fail(err)
			select {
			case r.down <- struct{}{}:
			default:
			}
		}),
		client.ErrorHandler(func(_ *client.Conn, sub *client.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			r.deps.Log.Error("NATS reports an error", slog.String("subject", subject), slog.Any("error", err))
		}),
	}, r.options...)
	for attempt := 1; ; attempt++ {
		nc, err := client.Connect(strings.Join(r.config.URLs, ","), opts...)
		if err == nil {
			return nc
		}
		fail(err)
		if clock.Sleep(ctx, r.deps.Clock, sources.Backoff(attempt)) != nil {
			return nil
		}
	}
}

func (r *run) subscribe(nc *client.Conn) ([]*client.Subscription, error) {
	var subs []*client.Subscription
	for _, subject := range r.config.Subjects {
		sub, err := nc.QueueSubscribe(subject, r.config.QueueGroup, r.take)
		if err != nil {
			return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
		// What waits, waits in one place, where it is bounded and counted: take never blocks.
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return nil, fmt.Errorf("subscribing to %s: %w", subject, err)
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// take puts a message in line, or drops it if the line is full.
func (r *run) take(msg *client.Msg) {
	now := r.deps.Clock.Now()
	if r.line.Put(message{msg, now}, msg.Size()) {
		return
	}
	r.count(dropped, 1)
	if last := r.warned.Load(); now.Unix() >= last+60 && r.warned.CompareAndSwap(last, now.Unix()) {
		r.deps.Log.Warn("messages come faster than the hub takes them; dropping what is above pendingMessages or pendingBytes")
	}
}

// drain stops the subscriptions and waits until every message that the server had sent by then is in line.
// Without a server it waits for nothing.
func (r *run) drain(nc *client.Conn, subs []*client.Subscription) {
	select {
	case <-r.down: // of an earlier time
	default:
	}
	ctx, cancel := clock.WithTimeout(context.Background(), r.deps.Clock, drain)
	defer cancel()
	if nc.IsConnected() {
		closed := make(chan struct{}, len(subs))
		for _, sub := range subs {
			sub.SetClosedHandler(func(string) { closed <- struct{}{} })
			if err := sub.Drain(); err != nil {
				closed <- struct{}{} // it is closed already
			}
		}
		for range subs {
			select {
			case <-closed:
			case <-r.down:
				cancel()
			case <-ctx.Done():
			}
		}
	}
	for _, sub := range subs {
		for {
			n, _, err := sub.Pending()
			if err != nil || n == 0 || clock.Sleep(ctx, r.deps.Clock, time.Millisecond) != nil {
				break
			}
		}
	}
}

func (r *run) handle(ctx context.Context, m message) {
	request := m.Reply != "" && r.config.AnswerRequests
	req := executor.Request{
		Payload: event.AppendNATS(nil, []event.NATSMessage{{
			ARN: r.arn, Region: r.deps.Region, Subject: m.Subject, Reply: m.Reply, QueueGroup: r.config.QueueGroup,
			Time: m.received, Headers: m.Header, Data: m.Data,
		}}),
		TraceParent: either(m.Header, "traceparent", "Traceparent"),
		TraceID:     either(m.Header, "X-Amzn-Trace-Id", "x-amzn-trace-id"),
	}
	if request {
		r.answer(context.WithoutCancel(ctx), m, req)
	} else {
		r.accept(ctx, m, req)
	}
}

// either reads a header whose name publishers write in two ways; names are case-sensitive in NATS.
func either(h client.Header, name, other string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	return h.Get(other)
}

// accept queues a message. While the hub cannot, the message keeps its place, so that the line fills up.
func (r *run) accept(ctx context.Context, m message, req executor.Request) {
	err := sources.Insist(ctx, r.deps.Clock, r.hub.Accept, req, func(err error) {
		if !r.refusing.Swap(true) {
			r.deps.Log.Error("messages can not be queued; trying again", slog.Any("error", err))
		}
	})
	switch {
	case err == nil:
		r.refusing.Store(false)
		r.count(accepted, 1)
	case sources.Permanent(err):
		r.count(refused, 1)
		r.deps.Log.Error("the function can not take a message", slog.String("subject", m.Subject), slog.Any("error", err))
	default:
		r.count(lost, 1)
		r.deps.Log.Error("stopping; a message that could not be queued is lost", slog.String("subject", m.Subject), slog.Any("error", err))
	}
}
