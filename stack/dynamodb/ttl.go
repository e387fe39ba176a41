package dynamodb

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// tooOld is how long ago an item must not have expired to be deleted.
const tooOld = 5 * 365 * 24 * time.Hour

// farthest is a second beyond any that the clock comes to. A time.Time does not hold all that an item may name.
const farthest = 1 << 40

// expiry is the second in which an item expires, and whether it does.
func (t *table) expiry(item attr.Item) (int64, bool) {
	v, ok := item.Get(t.TTL)
	if !ok || v.Type() != attr.N {
		return 0, false
	}
	whole, _, _ := strings.Cut(v.Text(), ".")
	at, err := strconv.ParseInt(whole, 10, 64)
	return at, err == nil && at > 0
}

// expiryKey is an item's place in the order of expiry.
func expiryKey(at int64, key string) string {
	return string(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(key)), uint64(at))) + key
}

func (t *table) setExpiry(key string, e *entry, before, after attr.Item) {
	from, was := t.expiry(before)
	to, is := t.expiry(after)
	if was && (!is || from != to) {
		t.expiring.Delete(expiryKey(from, key))
	}
	if is && (!was || from != to) {
		t.expiring.Set(expiryKey(to, key), e)
	}
}

// setTTL makes items expire by an attribute, or by none.
func (t *table) setTTL(attribute string) {
	t.TTL = attribute
	t.expiring = btree.Map[string, *entry]{}
	if attribute != "" {
		t.items.Scan(func(key string, e *entry) bool {
			t.setExpiry(key, e, nil, e.item)
			return true
		})
	}
}

// firstExpiry is when the next item expires that is still to be deleted.
func (t *table) firstExpiry(now time.Time) (at time.Time, ok bool) {
	t.expiring.Ascend(expiryKey(now.Add(-tooOld).Unix(), ""), func(key string, _ *entry) bool {
		at, ok = time.Unix(min(int64(binary.BigEndian.Uint64([]byte(key[:8]))), farthest), 0), true
		return false
	})
	return at, ok
}

// watch sees that items are deleted when they expire. The caller holds t.mu.
func (s *Service) watch(t *table) {
	if t.TTL == "" || t.gone {
		return
	}
	now := s.env.Clock.Now()
	at, ok := t.firstExpiry(now)
	if !ok {
		return
	}
	// An item expires once its second is over. One that is overdue is visible for a moment, as on AWS for much longer.
	at = at.Add(time.Second)
	if soon := now.Add(time.Second); at.Before(soon) {
		at = soon
	}
	if t.watched.IsZero() || at.Before(t.watched) {
		t.watched = at
		s.expiries.Set(t, at)
	}
}

// sweepBatch is how many expired items are deleted at once.
const sweepBatch = 1000

// sweep deletes the items of a table that have expired.
func (s *Service) sweep(_ context.Context, t *table, _ time.Time) {
	now := s.env.Clock.Now()
	t.mu.Lock()
	t.watched = time.Time{}
	x := s.begin(now, t)
	var due []string
	t.expiring.Ascend(expiryKey(now.Add(-tooOld).Unix(), ""), func(key string, _ *entry) bool {
		if int64(binary.BigEndian.Uint64([]byte(key[:8]))) >= now.Unix() || len(due) == sweepBatch {
			return false
		}
		due = append(due, key[8:])
		return true
	})
	if !t.gone {
		for _, key := range due {
			old, _ := t.items.Get(key)
			x.write(t, key, old, nil, true)
		}
	}
	x.end()
	t.mu.Unlock()
	if err := x.wait(); err != nil {
		s.env.Log.Error("after a restart expired items may be there again", "table", t.arn, "error", err)
	}
}
