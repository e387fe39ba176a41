// Package redis takes the messages of Redis channels. Each is queued durably.
//
// Redis delivers to subscribers at most once. The hub does not lose a message that it was able to queue, but
// one that is published while the hub is not subscribed, that comes above the limits of what may wait, or that
// waits in memory while the process is killed, is gone. Those that the hub knows of are counted in
// millrace_redis_messages_total, as dropped or lost.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	client "github.com/redis/go-redis/v9"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

const (
	pingEvery = 15 * time.Second // a connection that is silent for two of these is given up
	drain     = 2 * time.Second  // for the server to hand over what it has sent already
)

// Spec describes the kind "redis".
func Spec() plugin.Spec[sources.Source] {
	return plugin.Define("redis", "Takes the messages of Redis channels and patterns.", Defaults(), open)
}

// source is the configured source.
type source struct {
	config  Config
	deps    plugin.Deps
	arn     string
	options *client.UniversalOptions

	messages    *prometheus.CounterVec
	connections *prometheus.GaugeVec
	disconnects prometheus.Counter
}

// silence keeps the client from writing to standard error on its own: it has one logger for all the program.
// What is worth saying, listen says.
var silence = sync.OnceFunc(func() { client.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func open(_ context.Context, c Config, d plugin.Deps) (sources.Source, error) {
	silence()
	opts, err := c.options(d.Dir, d.Name)
	if err != nil {
		return nil, err
	}
	s := &source{
		config: c, deps: d, options: opts,
		arn: fmt.Sprintf("arn:millrace:redis:%s:%s:%s", d.Region, d.Account, d.Name),
		messages: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_redis_messages_total",
			Help: "Messages of Redis channels by result: accepted, refused, dropped or lost.",
		}, []string{"trigger", "result"})),
		connections: plugin.Register(d.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_redis_connections",
			Help: "Connections on which the trigger is subscribed: one, and one for each sharded channel.",
		}, []string{"trigger"})),
		disconnects: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_redis_disconnects_total",
			Help: "Lost subscriptions to Redis; messages published until the next one were missed.",
		}, []string{"trigger"})).WithLabelValues(d.Name),
	}
	for _, result := range []string{sources.Accepted, sources.Refused, sources.Dropped, sources.Lost} {
		s.messages.WithLabelValues(d.Name, result) // there from the start, as 0
	}
	return s, nil
}

func (s *source) count(result string) { s.messages.WithLabelValues(s.deps.Name, result).Inc() }

// message is one that waits for its turn, or has it.
type message struct {
	*client.Message
	received time.Time
}

// run is one call of Run.
type run struct {
	*source
	client client.UniversalClient
	line   *sources.Line[message]
	intake sources.Intake
}

func (s *source) Run(ctx context.Context, hub sources.Hub) error {
	r := &run{
		source: s, client: s.config.dial(s.options),
		intake: sources.Intake{Accept: hub.Accept, Clock: s.deps.Clock, Log: s.deps.Log, Count: s.count},
		line:   sources.NewLine[message](s.config.PendingMessages, int64(s.config.PendingBytes), s.config.MaximumConcurrency),
	}
	defer r.client.Close() //nolint:errcheck // nothing is to be saved
	defer s.connections.DeleteLabelValues(s.deps.Name)
	s.connections.WithLabelValues(s.deps.Name).Set(0)
	worked := make(chan struct{})
	go func() {
		r.line.Work(func(m message) { r.handle(ctx, m) })
		close(worked)
	}()
	var busy sync.WaitGroup
	for _, sub := range s.config.subscriptions() {
		busy.Go(func() { r.listen(ctx, sub) })
	}
	busy.Wait()
	r.line.Close()
	<-worked
	return nil
}

// subscription is what one connection is subscribed to.
type subscription struct{ channels, patterns, sharded []string }

// subscriptions puts each sharded channel on a connection of its own, since they may live on different nodes.
func (c *Config) subscriptions() []subscription {
	var subs []subscription
	if len(c.Channels)+len(c.Patterns) > 0 {
		subs = append(subs, subscription{channels: c.Channels, patterns: c.Patterns})
	}
	for _, channel := range c.ShardedChannels {
		subs = append(subs, subscription{sharded: []string{channel}})
	}
	return subs
}

func (s subscription) size() int { return len(s.channels) + len(s.patterns) + len(s.sharded) }

func (s subscription) subscribe(ctx context.Context, ps *client.PubSub) error {
	var errs []error
	if len(s.channels) > 0 {
		errs = append(errs, ps.Subscribe(ctx, s.channels...))
	}
	if len(s.patterns) > 0 {
		errs = append(errs, ps.PSubscribe(ctx, s.patterns...))
	}
	if len(s.sharded) > 0 {
		errs = append(errs, ps.SSubscribe(ctx, s.sharded...))
	}
	return errors.Join(errs...)
}

func (s subscription) unsubscribe(ctx context.Context, ps *client.PubSub) error {
	var errs []error
	if len(s.channels) > 0 {
		errs = append(errs, ps.Unsubscribe(ctx, s.channels...))
	}
	if len(s.patterns) > 0 {
		errs = append(errs, ps.PUnsubscribe(ctx, s.patterns...))
	}
	if len(s.sharded) > 0 {
		errs = append(errs, ps.SUnsubscribe(ctx, s.sharded...))
	}
	return errors.Join(errs...)
}

// listen keeps one subscription up until ctx is done.
func (r *run) listen(ctx context.Context, sub subscription) {
	told := false // that there is no connection
	for attempt := 1; ; attempt++ {
		err := r.session(ctx, sub, func() {
			attempt = 0
			if told {
				r.deps.Log.Warn("subscribed to Redis again; messages of the meantime were missed")
			}
			told = false
		})
		if ctx.Err() != nil {
			return
		}
		if attempt == 0 {
			r.disconnects.Inc()
		}
		if !told {
			r.deps.Log.Warn("not subscribed to Redis; trying again", slog.Any("error", err))
		}
		told = true
		if clock.Sleep(ctx, r.deps.Clock, sources.Backoff(attempt)) != nil {
			return
		}
	}
}

// session connects, subscribes and takes messages until the connection is lost or, once ctx is done, the server
// has confirmed the end of the subscription: by then all that it had sent is in line. It calls up when it is
// subscribed.
func (r *run) session(ctx context.Context, sub subscription, up func()) error {
	ps := r.client.Subscribe(ctx) // to nothing yet
	defer ps.Close()              //nolint:errcheck // likewise
	if err := sub.subscribe(ctx, ps); err != nil {
		return err
	}
	heard := &atomic.Bool{}
	watch, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	go r.watch(watch, ps, heard)
	stop := context.AfterFunc(ctx, func() { r.leave(watch, sub, ps) })
	defer stop()

	confirmed := 0
	for {
		got, err := ps.Receive(watch)
		if err != nil {
			return err
		}
		heard.Store(true)
		switch got := got.(type) {
		case *client.Message:
			r.take(got)
		case *client.Subscription:
			switch got.Kind {
			case "subscribe", "psubscribe", "ssubscribe":
				confirmed++
				if confirmed == sub.size() {
					r.connections.WithLabelValues(r.deps.Name).Inc()
					defer r.connections.WithLabelValues(r.deps.Name).Dec()
					up()
				}
			default:
				if ctx.Err() == nil {
					return fmt.Errorf("the server ended the subscription to %s", got.Channel) // its slot has moved
				}
				if confirmed--; confirmed == 0 {
					return nil
				}
			}
		}
	}
}

// watch closes a connection from which nothing comes, not even an answer to a ping.
func (r *run) watch(ctx context.Context, ps *client.PubSub, heard *atomic.Bool) {
	for clock.Sleep(ctx, r.deps.Clock, pingEvery) == nil {
		silent := !heard.Swap(false)
		if err := ps.Ping(ctx); err != nil || silent {
			_ = ps.Close() // Receive reports it
			return
		}
	}
}

// leave ends a subscription in bounded time. Receive sees the confirmations, or an error.
func (r *run) leave(ctx context.Context, sub subscription, ps *client.PubSub) {
	ctx, cancel := clock.WithTimeout(ctx, r.deps.Clock, drain)
	defer cancel()
	if sub.unsubscribe(ctx, ps) == nil {
		<-ctx.Done() // the end of the session, or the timeout
	}
	_ = ps.Close()
}

// take puts a message in line, or drops it if the line is full.
func (r *run) take(msg *client.Message) {
	if !r.line.Put(message{msg, r.deps.Clock.Now()}, len(msg.Payload)+len(msg.Channel)) {
		r.intake.Drop()
	}
}

func (r *run) handle(ctx context.Context, m message) {
	r.intake.Queue(ctx, executor.Request{Payload: event.AppendRedis(nil, []event.RedisMessage{{
		ARN: r.arn, Region: r.deps.Region, Channel: m.Channel, Pattern: m.Pattern, Time: m.received, Data: []byte(m.Payload),
	}})}, slog.String("channel", m.Channel))
}
