package dynamodb

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/store"
)

const (
	retention   = 24 * time.Hour // of records, and of streams that are disabled
	shardLife   = 4 * time.Hour  // after which a shard is closed and another goes on
	labelLayout = "2006-01-02T15:04:05.000"
)

// viewType is what of an item's change is in a record.
type viewType string

const (
	keysOnly     viewType = "KEYS_ONLY"
	newImage     viewType = "NEW_IMAGE"
	oldImage     viewType = "OLD_IMAGE"
	newAndOld    viewType = "NEW_AND_OLD_IMAGES"
	allViewTypes          = "NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES, KEYS_ONLY"
)

// eventName is what a record tells of.
type eventName string

const (
	insert eventName = "INSERT"
	modify eventName = "MODIFY"
	remove eventName = "REMOVE"
)

// stream is a change stream. It outlives its table, and being disabled, by a day.
type stream struct {
	place
	arn     string
	durable bool

	// mu orders the records. A table's mu may be held when it is locked.
	mu sync.Mutex
	streamDefinition
	gone     bool
	sequence uint64       // the last that was given
	lastID   int64        // the time in the last shard's id
	shards   []*shard     // in the order of their ids: parents before children
	batch    *store.Batch // takes what is to be kept on the disk; nil in memory

	onDisk atomic.Uint64 // the last sequence number of which it is known that it survives a crash
}

// streamDefinition is what is kept of a stream on the disk besides shards and records.
type streamDefinition struct {
	ID, Label, Table string
	View             viewType
	Keys             []keyElement
	Created          time.Time
	Disabled         time.Time // zero while it is enabled
}

// shard is a part of a stream: it takes the changes of the items whose keys hash to a range, until it is closed.
type shard struct {
	shardDefinition
	records []*record // in the order of their sequence numbers
}

type shardDefinition struct {
	ID, Parent string
	Low, High  uint64 // the range of hashes, both included
	Start, End uint64 // sequence numbers that no record has: before the first and, if closed, after the last
	Trimmed    uint64 // of the last record that is no longer there; Start if all are
	Opened     time.Time
	Closed     time.Time // zero while it is open
}

// synced notes that what has sequence numbers up to one is on the disk.
func (s *stream) synced(sequence uint64) {
	for {
		old := s.onDisk.Load()
		if old >= sequence || s.onDisk.CompareAndSwap(old, sequence) {
			return
		}
	}
}

func (h *shard) open() bool { return h.Closed.IsZero() }

// record is a change of an item. It does not change.
type record struct {
	Sequence uint64
	Time     int64 // seconds
	Event    eventName
	Old, New attr.Item // those that the view type shows
	Keys     attr.Item // if there is neither
	Size     int
	Expired  bool // deleted because its time had come
}

// formatSequence writes a sequence number as AWS does: 21 digits, so that their order as texts is that as numbers.
func formatSequence(n uint64) string {
	b := make([]byte, 0, 21)
	b = append(b, '1')
	digits := strconv.AppendUint(make([]byte, 0, 20), n, 10)
	for range 20 - len(digits) {
		b = append(b, '0')
	}
	return string(append(b, digits...))
}

func parseSequence(s string) (uint64, bool) {
	if len(s) != 21 || s[0] != '1' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 64)
	return n, err == nil
}

// openShards opens the first n shards of a new stream.
func (s *stream) openShards(n int, now time.Time) {
	width := math.MaxUint64/uint64(n) + 1 // 0 for one shard
	for i := range n {
		low := uint64(i) * width
		high := low + width - 1
		if i == n-1 {
			high = math.MaxUint64
		}
		s.openShard(shardDefinition{Low: low, High: high, Opened: now})
	}
}

func (s *stream) openShard(d shardDefinition) {
	s.lastID = max(s.lastID+1, d.Opened.UnixMilli())
	s.sequence++
	d.Start = s.sequence
	d.ID = fmt.Sprintf("shardId-%020d-%08x", s.lastID, uint32(xxhash.Sum64String(s.arn+strconv.FormatInt(s.lastID, 10))))
	d.Trimmed = d.Start
	h := &shard{shardDefinition: d}
	s.shards = append(s.shards, h)
	s.keepShard(h)
}

// closeShard closes a shard and opens those that go on with its range, divided in n.
func (s *stream) closeShard(h *shard, n int, now time.Time) {
	s.sequence++
	h.End, h.Closed = s.sequence, now
	s.keepShard(h)
	if n == 2 && h.Low < h.High {
		middle := h.Low + (h.High-h.Low)/2
		s.openShard(shardDefinition{Parent: h.ID, Low: h.Low, High: middle, Opened: now})
		s.openShard(shardDefinition{Parent: h.ID, Low: middle + 1, High: h.High, Opened: now})
	} else if n > 0 {
		s.openShard(shardDefinition{Parent: h.ID, Low: h.Low, High: h.High, Opened: now})
	}
}

func (s *stream) openOnes() []*shard {
	var list []*shard
	for _, h := range s.shards {
		if h.open() {
			list = append(list, h)
		}
	}
	return list
}

// rotate closes every open shard and opens its successor.
func (s *stream) rotate(now time.Time) {
	for _, h := range s.openOnes() {
		s.closeShard(h, 1, now)
	}
}

// grow divides shards until there are at least n open ones.
func (s *stream) grow(n int, now time.Time) {
	for {
		open := s.openOnes()
		if len(open) >= n {
			return
		}
		for _, h := range open {
			s.closeShard(h, 2, now)
		}
	}
}

// disable closes the stream's shards. What is in them can still be read.
func (s *stream) disable(now time.Time) {
	s.advance(now)
	for _, h := range s.openOnes() {
		s.closeShard(h, 0, now)
	}
	s.Disabled = now
	s.keep()
}

// ended reports whether nothing is left of a stream that was disabled.
func (s *stream) ended(now time.Time) bool {
	return s.gone || !s.Disabled.IsZero() && now.Sub(s.Disabled) >= retention
}

// advance brings the shards up to date: those whose time has come are closed and succeeded, and what is a day old is
// dropped. However long nobody looked, the lineage is that of a stream that was looked at all the time.
func (s *stream) advance(now time.Time) {
	if s.Disabled.IsZero() {
		for {
			var due []*shard
			for _, h := range s.shards {
				if h.open() && now.Sub(h.Opened) >= shardLife {
					due = append(due, h)
				}
			}
			if due == nil {
				break
			}
			for _, h := range due {
				at := h.Opened.Add(shardLife)
				// Generations that would already be gone are left out.
				if gone := now.Add(-retention - shardLife); at.Before(gone) {
					at = at.Add(gone.Sub(at).Truncate(shardLife))
				}
				s.closeShard(h, 1, at)
			}
		}
	}
	s.trim(now)
}

func (s *stream) trim(now time.Time) {
	horizon := now.Add(-retention)
	kept := s.shards[:0:0]
	for _, h := range s.shards {
		n := 0
		for n < len(h.records) && !time.Unix(h.records[n].Time, 0).After(horizon) {
			h.Trimmed = h.records[n].Sequence
			s.forget(recordKey(s.ID, h.Trimmed))
			n++
		}
		clear(h.records[:n])
		h.records = h.records[n:]
		switch {
		case !h.open() && !h.Closed.After(horizon):
			s.forget(shardKey(s.ID, h.ID))
			continue
		case n > 0:
			s.keepShard(h)
		}
		kept = append(kept, h)
	}
	s.shards = kept
}

// write adds a record of a change. key is the item's place in the table.
func (s *stream) write(key string, old, new attr.Item, expired bool, now time.Time) {
	hash := hashOf(key)
	h := s.shardOf(hash)
	if now.Sub(h.Opened) >= shardLife || len(h.records) > 0 && now.Unix()-h.records[0].Time >= int64(retention/time.Second) {
		s.advance(now)
		h = s.shardOf(hash)
	}
	r := &record{Time: now.Unix(), Event: modify, Expired: expired}
	switch {
	case old == nil:
		r.Event = insert
	case new == nil:
		r.Event = remove
	}
	if s.View == newImage || s.View == newAndOld {
		r.New = new
	}
	if s.View == oldImage || s.View == newAndOld {
		r.Old = old
	}
	either := new
	if either == nil {
		either = old
	}
	keys := s.keysOf(either)
	r.Size = keys.Size() + r.Old.Size() + r.New.Size()
	if r.Old == nil && r.New == nil {
		r.Keys = keys
	}
	s.sequence++
	r.Sequence = s.sequence
	h.records = append(h.records, r)
	s.keepRecord(r, h)
}

func (s *stream) shardOf(hash uint64) *shard {
	for i := len(s.shards) - 1; i >= 0; i-- {
		if h := s.shards[i]; h.open() && h.Low <= hash && hash <= h.High {
			return h
		}
	}
	panic("dynamodb: a stream's open shards do not cover all keys")
}

func (s *stream) keysOf(item attr.Item) attr.Item {
	if len(s.Keys) == 1 {
		return item.Only(s.Keys[0].AttributeName)
	}
	return item.Only(s.Keys[0].AttributeName, s.Keys[1].AttributeName)
}

func (s *stream) shard(id string) *shard {
	i, ok := slices.BinarySearchFunc(s.shards, id, func(h *shard, id string) int { return strings.Compare(h.ID, id) })
	if !ok {
		return nil
	}
	return s.shards[i]
}

// after returns the records whose sequence numbers are above one. The slice is good while the stream is locked.
func (h *shard) after(sequence uint64) []*record {
	return h.records[sort.Search(len(h.records), func(i int) bool { return h.records[i].Sequence > sequence }):]
}

// before is how many records are older than a time.
func (h *shard) before(t time.Time) int {
	return sort.Search(len(h.records), func(i int) bool { return !time.Unix(h.records[i].Time, 0).Before(t) })
}
