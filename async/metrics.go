package async

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/plugin"
)

type metrics struct {
	accepted, succeeded, failed, discarded *prometheus.CounterVec
	attempts, deliveries                   *prometheus.CounterVec
	age                                    *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return plugin.Register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_async_" + name, Help: help}, labels))
	}
	return &metrics{
		accepted:   counter("accepted_total", "Events accepted durably since the hub started.", "function"),
		succeeded:  counter("succeeded_total", "Events whose function ran without error since the hub started.", "function"),
		failed:     counter("failed_total", "Events given up since the hub started.", "function"),
		discarded:  counter("discarded_total", "Events purged since the hub started.", "function"),
		attempts:   counter("attempts_total", "Attempts to run an event, by what came of them.", "function", "result"),
		deliveries: counter("deliveries_total", "Tries to deliver a record, by the state that followed.", "destination", "state"),
		age: plugin.Register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_async_event_age_seconds", Help: "Time from acceptance to the first attempt.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 300, 1800, 10800, 21600},
		}, []string{"function"})),
	}
}

// counters are those of one function, looked up once.
type counters struct {
	accepted, succeeded, failed, discarded, success prometheus.Counter
	age                                             prometheus.Observer
}

func (m *metrics) of(function string) counters {
	return counters{
		accepted: m.accepted.WithLabelValues(function), succeeded: m.succeeded.WithLabelValues(function),
		failed: m.failed.WithLabelValues(function), discarded: m.discarded.WithLabelValues(function),
		success: m.attempts.WithLabelValues(function, success), age: m.age.WithLabelValues(function),
	}
}

// collector reads gauges off the queues at each scrape.
type collector struct{ w *Worker }

var (
	queuedDesc      = desc("queued", "Events that wait for an attempt.", "function")
	runningDesc     = desc("running", "Events whose attempt is under way.", "function")
	oldestDesc      = desc("oldest_age_seconds", "Age of the oldest event that is not over.", "function")
	unaccountedDesc = desc("unaccounted", "Accepted events that are in no state: succeeded, failed, discarded, queued or running. Always 0.", "function")
	undeliveredDesc = desc("deliveries_pending", "Records that wait for their destination.", "destination")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_async_"+name, help, labels, nil)
}

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queuedDesc, runningDesc, oldestDesc, unaccountedDesc, undeliveredDesc} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	now := c.w.opts.Clock.Now()
	for _, s := range c.w.stats() {
		gauge(queuedDesc, float64(s.Queued), s.Function)
		gauge(runningDesc, float64(s.Running), s.Function)
		age := 0.0
		if !s.Oldest.IsZero() {
			age = now.Sub(s.Oldest).Seconds()
		}
		gauge(oldestDesc, age, s.Function)
		gauge(unaccountedDesc, float64(s.Unaccounted()), s.Function)
	}
	c.w.mu.RLock()
	defer c.w.mu.RUnlock()
	for name, o := range c.w.outboxes {
		o.mu.Lock()
		n := o.waiting() + o.inHand
		o.mu.Unlock()
		gauge(undeliveredDesc, float64(n), name)
	}
}
