package kinesis

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// streamKey is what names a stream.
type streamKey struct{ account, region, name string }

func (k streamKey) arn() string {
	return "arn:aws:kinesis:" + k.region + ":" + k.account + ":stream/" + k.name
}

const (
	creating = "CREATING"
	active   = "ACTIVE"
	updating = "UPDATING"
	deleting = "DELETING"

	provisioned = "PROVISIONED"
	onDemand    = "ON_DEMAND"
)

// stream is a stream with its shards, past and present.
type stream struct {
	streamKey
	id      string // tells it from a later stream of that name
	created int64  // milliseconds

	// mu is held for reading by what puts and gets records, so that the shards do not change meanwhile, and for
	// writing by what changes the stream. It comes before a shard's mu.
	mu sync.RWMutex
	settings
	gone      bool // deleted
	all       []*shard
	open      []*shard // by from
	nextShard uint32
	consumers map[string]*consumer // by name
	former    map[string]int64     // seconds in which consumers were made that are gone, by name

	turn atomic.Uint64 // of the shards, if Auto

	// unsaved counts the times that what the stream is like could not be written. Unless it is 0 all of that must be
	// written before anything else is.
	unsaved atomic.Int64
}

// settings is what is kept of a stream besides its shards and consumers.
type settings struct {
	State string // not ACTIVE until a time, if that has not passed
	Until int64

	Mode      string
	Auto      bool  // records are spread over the shards whatever their keys
	Retention int64 // hours
	MaxRecord int64 // KiB
	Metrics   []string
	KeyID     string // "" if the stream is not encrypted
	Tags      map[string]string
	Policy    string

	Rescaled []int64 // when UpdateShardCount was called, in the last day
	Switched []int64 // when the mode was changed, in the last day
}

func newStream(k streamKey, id string, now int64) *stream {
	return &stream{
		streamKey: k, id: id, created: now, consumers: map[string]*consumer{}, former: map[string]int64{},
		settings: settings{State: active, Mode: provisioned, Retention: 24, MaxRecord: 1024, Tags: map[string]string{}},
	}
}

// await waits for a change of the stream to be on the disk. If all of the stream was in it, unsaved is what the count
// was then.
func (s *stream) await(c store.Commit, unsaved int64) error {
	err := c.Wait()
	if err != nil {
		s.unsaved.Add(1)
	} else if unsaved > 0 {
		s.unsaved.CompareAndSwap(unsaved, 0)
	}
	return err
}

// state is what the stream is doing. The caller holds mu.
func (s *stream) state(now int64) string {
	if now >= s.Until && s.State != deleting {
		return active
	}
	return s.State
}

// isGone reports whether the stream does not exist any more. The caller holds mu.
func (s *stream) isGone(now int64) bool { return s.gone || s.State == deleting && now >= s.Until }

// horizon is the time at or before which records are gone. The caller holds mu.
func (s *stream) horizon(now int64) int64 { return now - s.Retention*time.Hour.Milliseconds() }

// route returns the open shard whose range has k. The caller holds mu.
func (s *stream) route(k hashKey) *shard {
	i := sort.Search(len(s.open), func(i int) bool { return s.open[i].from.compare(k) > 0 })
	return s.open[i-1]
}

// listed are the shards that have not expired, by index. The caller holds mu.
func (s *stream) listed(now int64) []*shard {
	horizon := s.horizon(now)
	if !slices.ContainsFunc(s.all, func(h *shard) bool { return h.expired(horizon) }) {
		return s.all
	}
	return slices.DeleteFunc(slices.Clone(s.all), func(h *shard) bool { return h.expired(horizon) })
}

// shard returns a shard that has not expired, by its index; nil if there is none. The caller holds mu.
func (s *stream) shard(index uint32, now int64) *shard {
	if h := s.find(index); h != nil && !h.expired(s.horizon(now)) {
		return h
	}
	return nil
}

func (s *stream) find(index uint32) *shard {
	i, ok := slices.BinarySearchFunc(s.all, index, func(h *shard, index uint32) int { return cmp.Compare(h.index, index) })
	if !ok {
		return nil
	}
	return s.all[i]
}

// insert puts an open shard in its places.
func (s *stream) insert(h *shard) {
	s.all = append(s.all, h)
	i := sort.Search(len(s.open), func(i int) bool { return s.open[i].from.compare(h.from) > 0 })
	s.open = slices.Insert(s.open, i, h)
}

// child makes a shard that takes over a range from its parents, which are closed.
func (s *stream) child(b *store.Batch, now int64, from, to hashKey, parents ...*shard) *shard {
	created := now / 1000
	for _, p := range parents {
		created = max(created, p.created+1)
	}
	h := newShard(s.nextShard, from, to, created, now)
	s.nextShard++
	for _, p := range parents {
		h.parents = append(h.parents, p.index)
		p.children = append(p.children, h)
		if p.closed == 0 {
			p.closed = now
			s.open = slices.DeleteFunc(s.open, func(o *shard) bool { return o == p })
		}
		b.Set(shardKey(s.id, p.index), p.encode())
	}
	s.insert(h)
	b.Set(shardKey(s.id, h.index), h.encode())
	return h
}

// split replaces a shard by two, the second of which begins at a key. The caller holds mu for writing.
func (s *stream) split(b *store.Batch, now int64, h *shard, at hashKey) {
	s.child(b, now, h.from, at.previous(), h)
	s.child(b, now, at, h.to, h)
}

// merge replaces two shards with adjacent ranges by one. The caller holds mu for writing.
func (s *stream) merge(b *store.Batch, now int64, h, adjacent *shard) {
	from, to := h.from, adjacent.to
	if adjacent.from.compare(h.from) < 0 {
		from, to = adjacent.from, h.to
	}
	s.child(b, now, from, to, h, adjacent)
}

// rescale splits and merges shards until there are n of the same size. As AWS's, it may make shards on the way that
// are closed at once. The caller holds mu for writing.
func (s *stream) rescale(b *store.Batch, now int64, n int) {
	starts := evenly(n)
	for _, at := range starts {
		if h := s.route(at); h.from != at {
			s.split(b, now, h, at)
		}
	}
	for i := 0; i+1 < len(s.open); {
		_, keep := slices.BinarySearchFunc(starts, s.open[i+1].from, hashKey.compare)
		if keep {
			i++
			continue
		}
		s.merge(b, now, s.open[i], s.open[i+1]) // takes the place of the first
	}
}

// seal lets readers see that shards are closed, once that is on the disk.
func (s *stream) seal() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, h := range s.all {
		if h.closed == 0 {
			continue
		}
		h.mu.Lock()
		if !h.sealed {
			h.sealed = true
			h.rouse()
		}
		h.mu.Unlock()
	}
}

// sweep drops the shards that have expired. The caller holds mu for writing.
func (s *stream) sweep(b *store.Batch, now int64) {
	horizon := s.horizon(now)
	s.all = slices.DeleteFunc(s.all, func(h *shard) bool {
		if !h.expired(horizon) {
			return false
		}
		b.Delete(shardKey(s.id, h.index))
		b.DeletePrefix(recordPrefix(s.id, h.index))
		return true
	})
}

// trim drops the records that are too old, so that a longer retention does not bring them back. The caller holds mu
// for writing.
func (s *stream) trim(b *store.Batch, now int64) {
	s.sweep(b, now)
	horizon := s.horizon(now)
	for _, h := range s.all {
		h.mu.Lock()
		if old := h.trim(horizon); len(old) > 0 {
			h.trimmed(b, s.id, old)
		}
		h.mu.Unlock()
	}
}

// notFound is the error of a stream that is not there.
func (k streamKey) notFound() *wire.Error {
	return wire.Errorf("ResourceNotFoundException", "Stream %s under account %s not found.", k.name, k.account)
}

// notActive is the error of a stream that cannot be changed now.
func (k streamKey) notActive(state string) *wire.Error {
	return wire.Errorf("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", k.name, k.account, state)
}

func (k streamKey) noShard(index uint32) *wire.Error {
	return wire.Errorf("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", shardName(index), k.name, k.account)
}

// noSuchShard is the error of a text that names no shard.
func (k streamKey) noSuchShard(id string) *wire.Error {
	return wire.Errorf("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", id, k.name, k.account)
}

// lastDay returns the times that are less than a day ago.
func lastDay(times []int64, now int64) []int64 {
	return slices.DeleteFunc(slices.Clone(times), func(t int64) bool { return now-t >= 24*time.Hour.Milliseconds() })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
