package asynctest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
)

// Memory is an async.Store for tests: it keeps everything, and only in memory. Close leaves it as it is, so
// that a test can open it again.
type Memory struct {
	clock clock.Clock

	mu     sync.Mutex
	seq    uint64
	events map[uint64]*memoryEvent
	counts map[string]async.Counts
}

type memoryEvent struct {
	async.Stored
	entry   *async.Entry // once it is over
	rec     *destinations.Record
	parcels map[int]async.PendingDelivery
}

// NewMemory returns an empty store.
func NewMemory(c clock.Clock) *Memory {
	return &Memory{clock: c, events: map[uint64]*memoryEvent{}, counts: map[string]async.Counts{}}
}

var errOver = errors.New("the event is over already")

// places are those of all events that f selects, in order.
func (m *Memory) places(f func(*memoryEvent) bool) []uint64 {
	var ps []uint64
	for _, p := range slices.Sorted(maps.Keys(m.events)) {
		if f(m.events[p]) {
			ps = append(ps, p)
		}
	}
	return ps
}

func waits(e *memoryEvent) bool { return e.entry == nil }

// Recover implements async.Store.
func (m *Memory) Recover(_ context.Context, event func(async.Pending), delivery func(async.PendingDelivery)) error {
	m.mu.Lock()
	var events []async.Pending
	var deliveries []async.PendingDelivery
	for _, p := range m.places(func(*memoryEvent) bool { return true }) {
		e := m.events[p]
		if waits(e) {
			events = append(events, async.Pending{Seq: p, Function: e.Function, Accepted: e.Accepted, Next: e.Next})
		}
		for _, i := range slices.Sorted(maps.Keys(e.parcels)) {
			deliveries = append(deliveries, e.parcels[i])
		}
	}
	m.mu.Unlock()
	for _, e := range events {
		event(e)
	}
	for _, d := range deliveries {
		delivery(d)
	}
	return nil
}

// Counts implements async.Store.
func (m *Memory) Counts() map[string]async.Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

func (m *Memory) count(function string, f func(*async.Counts)) {
	c := m.counts[function]
	f(&c)
	m.counts[function] = c
}

// Accept implements async.Store.
func (m *Memory) Accept(_ context.Context, ev *async.Event) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	m.events[m.seq] = &memoryEvent{Stored: async.Stored{Seq: m.seq, Event: *ev}}
	m.count(ev.Function, func(c *async.Counts) { c.Accepted++ })
	return m.seq, nil
}

// Load implements async.Store.
func (m *Memory) Load(_ context.Context, seqs []uint64, most int) ([]async.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []async.Stored
	for _, p := range seqs {
		e := m.events[p]
		if e == nil || !waits(e) {
			continue
		}
		if most -= len(e.Payload); most < 0 && len(found) > 0 {
			break
		}
		s := e.Stored
		s.Attempts = slices.Clone(s.Attempts)
		found = append(found, s)
	}
	return found, nil
}

// Retry implements async.Store.
func (m *Memory) Retry(seq uint64, p *async.Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.events[seq]
	if e == nil || !waits(e) {
		return errOver
	}
	e.Progress = *p
	e.Attempts = slices.Clone(p.Attempts)
	return nil
}

// Finish implements async.Store.
func (m *Memory) Finish(seq uint64, entry *async.Entry, rec *destinations.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.events[seq]
	if e == nil || !waits(e) {
		return errOver
	}
	c := *entry
	c.HasPayload = true
	c.Deliveries = slices.Clone(entry.Deliveries)
	e.entry, e.rec, e.parcels = &c, rec, map[int]async.PendingDelivery{}
	for i, d := range entry.Deliveries {
		if d.State == async.DeliveryPending {
			e.parcels[i] = async.PendingDelivery{Seq: seq, Index: i, Destination: d.Destination, Since: entry.Finished}
		}
	}
	m.count(entry.Function, func(c *async.Counts) {
		switch entry.State { //nolint:exhaustive // an event ends in no other state
		case async.Succeeded:
			c.Succeeded++
		case async.Failed:
			c.Failed++
		case async.Discarded:
			c.Discarded++
		}
	})
	return nil
}

// Record implements async.Store.
func (m *Memory) Record(_ context.Context, seq uint64) (*destinations.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.events[seq]; e != nil && e.rec != nil {
		return e.rec, nil
	}
	return nil, async.ErrNotFound
}

// Delivered implements async.Store.
func (m *Memory) Delivered(seq uint64, index int, d async.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.events[seq]
	if e == nil {
		return errOver
	}
	p, ok := e.parcels[index]
	if !ok {
		return errOver
	}
	e.entry.Deliveries[index] = d
	if p.Tries = d.Tries; d.State == async.DeliveryPending {
		e.parcels[index] = p
		return nil
	}
	if delete(e.parcels, index); len(e.parcels) == 0 {
		e.rec = nil
	}
	return nil
}

func (e *memoryEvent) view() async.Entry {
	if e.entry != nil {
		c := *e.entry
		c.Deliveries = slices.Clone(c.Deliveries)
		return c
	}
	v := async.Entry{
		Event: e.Event, State: async.Queued, Attempts: slices.Clone(e.Attempts), Invokes: e.Invokes, Next: e.Next,
		Size: len(e.Payload), HasPayload: true,
	}
	if e.Last != nil {
		v.Response = e.Last.Payload
	}
	return v
}

func selects(q *async.Query, e *async.Entry) bool {
	return (q.Function == "" || q.Function == e.Function) && (q.ID == "" || q.ID == e.ID) &&
		(q.Since.IsZero() || !e.Accepted.Before(q.Since)) && (q.Until.IsZero() || e.Accepted.Before(q.Until))
}

// List implements async.Store.
func (m *Memory) List(_ context.Context, q async.Query) ([]async.Entry, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	below := m.seq + 1
	if q.After != "" {
		n, err := strconv.ParseUint(q.After, 10, 64)
		if err != nil {
			return nil, "", err
		}
		below = n
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	var found []async.Entry
	ps := m.places(func(*memoryEvent) bool { return true })
	slices.Reverse(ps)
	for _, p := range ps {
		v := m.events[p].view()
		if p >= below || !selects(&q, &v) || len(q.States) > 0 && !slices.Contains(q.States, v.State) {
			continue
		}
		v.Payload, v.Response = nil, nil
		if found = append(found, v); len(found) == q.Limit {
			return found, strconv.FormatUint(p, 10), nil
		}
	}
	return found, "", nil
}

// Get implements async.Store.
func (m *Memory) Get(_ context.Context, id string) (async.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.ID == id {
			return e.view(), nil
		}
	}
	return async.Entry{}, async.ErrNotFound
}

func (m *Memory) failed(q async.Query) []uint64 {
	ps := m.places(func(e *memoryEvent) bool {
		return e.entry != nil && e.entry.State == async.Failed && selects(&q, e.entry)
	})
	if q.Limit > 0 && len(ps) > q.Limit {
		ps = ps[:q.Limit]
	}
	return ps
}

// Redrive implements async.Store.
func (m *Memory) Redrive(_ context.Context, q async.Query, may func(string) bool, queued func([]async.Pending)) error {
	m.mu.Lock()
	var ps []async.Pending
	for _, p := range m.failed(q) {
		old := m.events[p]
		if !may(old.Function) {
			continue
		}
		m.seq++
		e := async.Stored{Seq: m.seq, Event: old.Event, Progress: async.Progress{Attempts: old.entry.Attempts}}
		e.Accepted = m.clock.Now().UTC()
		m.events[m.seq] = &memoryEvent{Stored: e, rec: nil}
		if len(old.parcels) > 0 {
			m.events[p] = &memoryEvent{entry: &async.Entry{Deliveries: old.entry.Deliveries}, rec: old.rec, parcels: old.parcels}
		} else {
			delete(m.events, p)
		}
		m.count(e.Function, func(c *async.Counts) { c.Failed-- })
		ps = append(ps, async.Pending{Seq: e.Seq, Function: e.Function, Accepted: e.Accepted})
	}
	m.mu.Unlock()
	queued(ps)
	return nil
}

// Purge implements async.Store.
func (m *Memory) Purge(_ context.Context, q async.Query) (map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[string]int{}
	for _, p := range m.failed(q) {
		e := m.events[p].entry
		e.State, e.HasPayload, e.Payload, e.Response = async.Discarded, false, nil, nil
		n[e.Function]++
		m.count(e.Function, func(c *async.Counts) { c.Failed--; c.Discarded++ })
	}
	return n, nil
}

// Flush implements async.Store.
func (m *Memory) Flush(context.Context) error { return nil }

// Close implements async.Store.
func (m *Memory) Close() error { return nil }
