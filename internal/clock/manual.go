package clock

import (
	"slices"
	"sync"
	"time"
)

// Manual is a Clock that stands still until it is moved.
type Manual struct {
	mu     sync.Mutex
	now    time.Time
	timers []*manualTimer // by time, then by order of setting
}

// NewManual returns a clock that shows t.
func NewManual(t time.Time) *Manual { return &Manual{now: t} }

func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *Manual) AfterFunc(d time.Duration, f func()) Timer {
	t := &manualTimer{clock: m, f: f}
	t.Reset(d)
	return t
}

// Advance moves the clock by d and starts each call that falls due, earliest first, showing the time at
// which it was due. Calls run in goroutines of their own; Advance does not wait for them.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := m.now.Add(d)
	for len(m.timers) > 0 && !m.timers[0].at.After(end) {
		t := m.timers[0]
		m.timers = m.timers[1:]
		if t.at.After(m.now) {
			m.now = t.at
		}
		go t.f()
	}
	m.now = end
}

// Timers is the number of pending calls: a test waits for it to change before it moves the clock.
func (m *Manual) Timers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.timers)
}

type manualTimer struct {
	clock *Manual
	f     func()
	at    time.Time
}

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.remove()
}

func (t *manualTimer) Reset(d time.Duration) bool {
	m := t.clock
	m.mu.Lock()
	defer m.mu.Unlock()
	pending := t.remove()
	t.at = m.now.Add(d)
	if d <= 0 {
		go t.f()
		return pending
	}
	i := len(m.timers)
	for i > 0 && m.timers[i-1].at.After(t.at) {
		i--
	}
	m.timers = slices.Insert(m.timers, i, t)
	return pending
}

func (t *manualTimer) remove() bool {
	m := t.clock
	if i := slices.Index(m.timers, t); i >= 0 {
		m.timers = slices.Delete(m.timers, i, i+1)
		return true
	}
	return false
}
