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

// Results of a request, in the metric, beside those of sources.
const (
	answered = "answered" // a request that the function has answered, be it with a failure
	failed   = "failed"   // a request that has no answer, which the requester was told
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
	for _, result := range []string{sources.Accepted, answered, failed, sources.Refused, sources.Dropped, sources.Lost} {
		s.messages.WithLabelValues(d.Name, result) // there from the start, as 0
	}
	return s, nil
}

func (s *source) count(result string) { s.messages.WithLabelValues(s.deps.Name, result).Inc() }

// message is one that waits for its turn, or has it.
type message struct {
	*client.Msg
	received time.Time
}

// run is one call of Run.
type run struct {
	*source
	hub    sources.Hub
	intake sources.Intake
	line   *sources.Line[message]
	down   chan struct{} // receives when a connection is lost
}

func (s *source) Run(ctx context.Context, hub sources.Hub) error {
	r := &run{
		source: s, hub: hub, down: make(chan struct{}, 1),
		intake: sources.Intake{Accept: hub.Accept, Clock: s.deps.Clock, Log: s.deps.Log, Count: s.count},
		line:   sources.NewLine[message](s.config.PendingMessages, int64(s.config.PendingBytes), s.config.MaximumConcurrency),
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
	if !r.line.Put(message{msg, r.deps.Clock.Now()}, msg.Size()) {
		r.intake.Drop()
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
		r.intake.Queue(ctx, req, slog.String("subject", m.Subject))
	}
}

// either reads a header whose name publishers write in two ways; names are case-sensitive in NATS.
func either(h client.Header, name, other string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	return h.Get(other)
}
