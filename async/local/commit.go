package local

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// group is what becomes durable with one write to disk. Whoever needs it on disk and finds nobody writing
// writes it, for everybody who has joined; what is recorded meanwhile joins the next group. What need not be
// on disk at once travels with the group, or is written without waiting for the disk after a moment.
type group struct {
	// What is written goes to memory in the order of these, so that neighbours in the order of keys come
	// one after the other: events, ends of events, and the rest.
	batch, ends, rest *pebble.Batch

	ids     []indexed // entries of the index by id, likewise
	changed []*function
	sync    bool          // it must be on disk
	urgent  bool          // somebody waits for it
	waiters int           // how many do
	done    chan struct{} // closed once it is written
	err     error         // valid then
}

type indexed struct {
	id  string
	seq uint64
}

const (
	groupSize   = 128 << 10             // bytes that a group has room for at first
	laterAfter  = 10 * time.Millisecond // how long what need not be on disk waits for company
	laterSize   = 1 << 20               // bytes at which it waits no longer
	groupAtMost = 8 << 20               // bytes at which recording waits for the disk
	gatherFor   = 20 * time.Microsecond // how long an idle disk waits for company
	lookAfter   = time.Millisecond      // how long what was known of free space holds
)

// group returns the group that takes what is recorded now. The caller holds s.mu.
func (s *Store) group() *group {
	if s.next == nil {
		s.next = &group{
			batch: s.db.NewBatchWithSize(groupSize), ends: s.db.NewBatch(), rest: s.db.NewBatch(), done: make(chan struct{}),
		}
	}
	return s.next
}

// size is roughly how many bytes the group writes.
func (g *group) size() int { return g.batch.Len() + g.ends.Len() + g.rest.Len() + 48*len(g.ids) }

// join puts everything into one batch.
func (g *group) join() {
	slices.SortFunc(g.ids, func(a, b indexed) int { return strings.Compare(a.id, b.id) })
	for _, x := range g.ids {
		op := g.batch.SetDeferred(1+len(x.id), 8)
		op.Key[0] = keyID
		copy(op.Key[1:], x.id)
		binary.BigEndian.PutUint64(op.Value, x.seq)
		g.check(op.Finish())
	}
	for _, b := range []*pebble.Batch{g.ends, g.rest} {
		if !b.Empty() {
			g.check(g.batch.Apply(b, nil))
		}
		g.check(b.Close())
	}
}

// touch notes that a function's counts have changed.
func (g *group) touch(f *function) {
	if !f.changed {
		f.changed = true
		g.changed = append(g.changed, f)
	}
}

func (g *group) check(err error) {
	if g.err == nil {
		g.err = err
	}
}

// syncLocked returns once g, the next group, is on disk. The caller holds s.mu, which is released.
func (s *Store) syncLocked(g *group) error {
	g.sync = true
	return s.nowLocked(g)
}

// nowLocked returns once g, the next group, is written. The caller holds s.mu, which is released.
func (s *Store) nowLocked(g *group) error {
	g.urgent = true
	g.waiters++
	if s.busy() {
		s.mu.Unlock()
	} else {
		s.commit()
	}
	<-g.done
	return g.err
}

// busy says that whoever writes now will see to the next group. Besides the group that is being written two may
// be on their way to the disk: one that it is busy with, and one that it can begin with at once. The caller
// holds s.mu.
func (s *Store) busy() bool { return s.writing || s.flying == 2 }

// laterLocked lets g, the next group, be written by and by. The caller holds s.mu, which is released.
func (s *Store) laterLocked(g *group) error {
	n := g.size()
	switch {
	case n > groupAtMost:
		return s.nowLocked(g)
	case n > laterSize && !s.busy():
		s.commit()
	default:
		g.urgent = g.urgent || n > laterSize
		s.arm()
		s.mu.Unlock()
	}
	return nil
}

// arm sees to it that the next group is written even if nobody else comes. The caller holds s.mu.
func (s *Store) arm() {
	if s.armed || s.busy() {
		return // proceed arms it
	}
	s.armed = true
	if s.timer != nil {
		s.timer.Reset(laterAfter)
		return
	}
	s.timer = s.clock.AfterFunc(laterAfter, func() {
		s.mu.Lock()
		s.armed = false
		switch {
		case s.next == nil:
			s.mu.Unlock()
		case s.busy():
			s.next.urgent = true
			s.mu.Unlock()
		default:
			s.commit()
		}
	})
}

// settle writes what has been recorded, without waiting for the disk, so that reads see it.
func (s *Store) settle() error {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return errClosed
	case s.next != nil:
		return s.nowLocked(s.next)
	case s.current != nil:
		c := s.current
		s.mu.Unlock()
		<-c.done
		return c.err
	}
	s.mu.Unlock()
	return nil
}

// commit writes the next group, and sees to those that are urgent by then. It returns once the group that it
// wrote is as durable as it has to be. The caller holds s.mu, which is released, and knows that s is not busy.
func (s *Store) commit() {
	s.writing = true
	s.gather()
	g := s.next
	s.next, s.current = nil, g
	s.seal(g)
	s.mu.Unlock()

	g.join()
	if g.err == nil {
		// Both apply the group to memory, in the order of the calls; neither waits for the disk.
		var err error
		if g.sync {
			err = s.db.ApplyNoSyncWait(g.batch, pebble.Sync)
		} else {
			err = g.batch.Commit(pebble.NoSync)
		}
		if err != nil {
			g.err = fmt.Errorf("writing the store: %w", err)
		}
	}
	s.mu.Lock()
	s.current = nil
	s.writing = false
	s.flying++
	s.proceed()
	s.mu.Unlock()

	if g.sync && g.err == nil {
		if err := g.batch.SyncWait(); err != nil {
			g.err = fmt.Errorf("writing the store: %w", err)
		}
	}
	g.batch.Close() //nolint:errcheck // it only gives memory back
	close(g.done)

	s.mu.Lock()
	s.flying--
	s.proceed()
	s.mu.Unlock()
}

// proceed has the next group written if it is urgent. The caller holds s.mu.
func (s *Store) proceed() {
	switch {
	case s.next == nil || s.busy():
	case s.next.urgent:
		s.writing = true // until commit takes over
		go func() {
			s.mu.Lock()
			s.commit()
		}()
	default:
		s.arm()
	}
}

// gather lets those join the next group whom an earlier one has just set free: without it the first of them
// would be written alone. It waits for half of those who were about lately, so that the other half is on its way
// to the disk meanwhile. While the disk has nothing to do it waits only a moment, since they may be busy with
// something else. The caller holds s.mu, and nobody else writes.
func (s *Store) gather() {
	if s.next.waiters > 0 {
		began := s.clock.Now()
		for n := 0; n < 64 && 2*s.next.waiters < s.company; n++ {
			if s.flying == 0 && s.clock.Now().Sub(began) > gatherFor {
				break
			}
			s.mu.Unlock()
			runtime.Gosched()
			s.mu.Lock()
		}
		s.company = s.next.waiters + s.aboard
		s.aboard = s.next.waiters
	}
}

// seal adds the counts, as they are after everything in the group. The caller holds s.mu.
func (s *Store) seal(g *group) {
	var buf [64]byte
	for _, f := range g.changed {
		f.changed = false
		if !f.named {
			f.named = true
			g.check(g.rest.Set(numberKey(keyFunction, f.number), []byte(f.name), nil))
		}
		g.check(g.rest.Set(numberKey(keyCounts, f.number), appendCounts(buf[:0], &f.counts), nil))
	}
	v := binary.AppendUvarint(binary.AppendUvarint(buf[:0], s.seq), uint64(s.kept))
	g.check(g.rest.Set([]byte{keyTotals}, v, nil))
}

// change records what f puts into a group, and returns once it is on disk if sync is set.
func (s *Store) change(sync bool, f func(*group)) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	g := s.group()
	f(g)
	if sync {
		return s.syncLocked(g)
	}
	return s.laterLocked(g)
}
