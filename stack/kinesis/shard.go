package kinesis

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/millrace/millrace/stack/store"
)

// record is a record in its shard. It does not change.
type record struct {
	index   uint64 // rises in a shard, by one if nothing failed
	arrival int64  // milliseconds; does not fall in a shard
	key     string
	data    []byte
	kms     bool // the stream was encrypted when it came
}

func (r *record) size() int { return len(r.data) + len(r.key) }

// shard is one range of a stream's hash keys, for as long as it was open. What is not below mu is the stream's to
// guard.
type shard struct {
	index    uint32
	id       string
	from, to hashKey  // inclusive
	parents  []uint32 // none, the one that was split, or the two that were merged
	children []*shard
	created  int64 // second, as its sequence numbers have it
	opened   int64 // milliseconds
	closed   int64 // milliseconds; 0 while it is open

	mu      sync.Mutex
	records []record // those that are not trimmed. What is in it does not change, so that readers share it
	waste   int      // how many trimmed records the memory of records still holds
	next    uint64   // index of the next record
	visible uint64   // index below which records can be read: on disk, if the stack is durable
	arrival int64    // of the last record
	sealed  bool     // closed, and that too is on disk
	wake    chan struct{}
	meter   meter
}

func newShard(index uint32, from, to hashKey, created, opened int64) *shard {
	return &shard{index: index, id: shardName(index), from: from, to: to, created: created, opened: opened, next: 1, visible: 1}
}

func shardName(index uint32) string { return fmt.Sprintf("shardId-%012d", index) }

// parseShard reads a shard's id. As AWS does it takes the zeros, and what is before the dash, for decoration.
func parseShard(id string) (uint32, bool) {
	if before, after, ok := strings.Cut(id, "-"); ok && after != "" {
		id = after
	} else if ok {
		id = before
	}
	n, err := strconv.ParseUint(id, 10, 31)
	return uint32(n), err == nil //nolint:gosec // ParseUint has seen to it
}

func (s *shard) sequence(index uint64, ms int64) sequence {
	return sequence{created: s.created, shard: s.index, index: index, second: max(ms/1000, s.created)}
}

func (s *shard) sequenceOf(r *record) sequence { return s.sequence(r.index, r.arrival) }

func (s *shard) start() sequence { return s.sequence(0, s.created*1000) }

func (s *shard) end() sequence { return s.sequence(endIndex, s.closed) }

// expired reports whether a closed shard is of no more use to anybody: nothing in it can be read.
func (s *shard) expired(horizon int64) bool { return s.closed != 0 && s.closed <= horizon }

// add gives a record its place. The caller holds mu.
func (s *shard) add(r record, now int64) *record {
	s.arrival = max(s.arrival, now)
	r.index, r.arrival = s.next, s.arrival
	s.next++
	s.records = append(s.records, r)
	return &s.records[len(s.records)-1]
}

// show lets readers see the records below an index. The caller holds mu.
func (s *shard) show(below uint64) {
	s.visible = max(s.visible, below)
	s.rouse()
}

// rouse wakes those who wait for a change. The caller holds mu.
func (s *shard) rouse() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// forget takes out records that could not be written. Their numbers are not used again, and do not hold up what
// comes after them. The caller holds mu.
func (s *shard) forget(from, below uint64) {
	kept := make([]record, 0, len(s.records))
	for _, r := range s.records {
		if r.index < from || r.index >= below {
			kept = append(kept, r)
		}
	}
	s.records, s.waste = kept, 0
	s.show(below)
}

// trim drops the records that have come at the horizon or before, and returns them. The caller holds mu.
func (s *shard) trim(horizon int64) []record {
	n := s.firstAfter(horizon)
	if n == 0 {
		return nil
	}
	old := s.records[:n]
	s.records = s.records[n:]
	if s.waste += n; s.waste >= len(s.records) {
		s.records, s.waste = append([]record(nil), s.records...), 0
	}
	return old
}

// firstAfter returns the place of the first record that came after a time.
func (s *shard) firstAfter(ms int64) int {
	if len(s.records) == 0 || s.records[0].arrival > ms {
		return 0
	}
	return sort.Search(len(s.records), func(i int) bool { return s.records[i].arrival > ms })
}

// position returns the index of the first record at or after a time.
func (s *shard) position(ms int64) uint64 {
	if i := s.firstAfter(ms - 1); i < len(s.records) && s.records[i].index < s.visible {
		return s.records[i].index
	}
	return s.visible
}

// page is what one read of a shard found.
type page struct {
	records []record
	bytes   int
	next    uint64 // position after them
	ended   bool   // the shard is closed and has no more
	behind  int64  // milliseconds from the tip; not 0 if there is more
	wake    chan struct{}
}

// read returns records from a position on: at most limit, and most bytes, but one if there is one. If there are none
// and wait is set, page.wake is closed at the next change. The caller holds mu.
func (s *shard) read(position uint64, limit, most int, now int64, wait bool) page {
	first := 0
	if n := len(s.records); n > 0 && s.records[0].index < position {
		first = sort.Search(n, func(i int) bool { return s.records[i].index >= position })
	}
	p := page{next: position}
	i := first
	for ; i < len(s.records) && i-first < limit && s.records[i].index < s.visible; i++ {
		if p.bytes += s.records[i].size(); p.bytes > most && i > first {
			p.bytes -= s.records[i].size()
			break
		}
		p.next = s.records[i].index + 1
	}
	p.records = s.records[first:i:i]
	switch {
	case i < len(s.records) && s.records[i].index < s.visible:
		p.behind = max(1, now-s.records[i].arrival)
	case s.sealed && s.visible >= s.next:
		p.ended = true
	case wait && i == first:
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		p.wake = s.wake
	}
	return p
}

// trimmed is what a batch must hold for records to be gone from the disk. The caller holds mu.
func (s *shard) trimmed(b *store.Batch, stream string, old []record) {
	if len(s.records) == 0 {
		b.DeletePrefix(recordPrefix(stream, s.index))
		b.Set(shardKey(stream, s.index), s.encode()) // which keeps the number of the next record
		return
	}
	for i := range old {
		b.Delete(recordKey(stream, s.index, old[i].index))
	}
}
