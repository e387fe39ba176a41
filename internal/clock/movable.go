package clock

import (
	"sync"
	"time"
)

// Movable is a Clock that runs as another does, and can be put forward.
type Movable struct {
	base Clock

	mu     sync.Mutex
	offset time.Duration
	timers map[*movableTimer]struct{} // pending
}

// NewMovable returns a clock that shows what base shows.
func NewMovable(base Clock) *Movable {
	return &Movable{base: base, timers: map[*movableTimer]struct{}{}}
}

func (m *Movable) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now()
}

func (m *Movable) now() time.Time { return m.base.Now().Add(m.offset) }

// Advance puts the clock forward by d, which is not negative. Calls that fall due are started, in goroutines of
// their own; Advance does not wait for them.
func (m *Movable) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset += max(d, 0)
	now := m.now()
	for t := range m.timers {
		t.real.Reset(max(t.due.Sub(now), 0))
	}
}

func (m *Movable) AfterFunc(d time.Duration, f func()) Timer {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &movableTimer{clock: m, due: m.now().Add(d)}
	m.timers[t] = struct{}{}
	// The call waits for the lock, so that it sees whether it was stopped or put off in the meantime.
	t.real = m.base.AfterFunc(d, func() {
		m.mu.Lock()
		_, pending := m.timers[t]
		due := pending && !m.now().Before(t.due)
		if due {
			delete(m.timers, t)
		}
		m.mu.Unlock()
		if due {
			f()
		}
	})
	return t
}

type movableTimer struct {
	clock *Movable
	due   time.Time
	real  Timer
}

func (t *movableTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, pending := t.clock.timers[t]
	delete(t.clock.timers, t)
	t.real.Stop()
	return pending
}

func (t *movableTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, pending := t.clock.timers[t]
	t.clock.timers[t] = struct{}{}
	t.due = t.clock.now().Add(d)
	t.real.Reset(d)
	return pending
}
