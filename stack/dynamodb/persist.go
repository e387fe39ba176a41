package dynamodb

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/store"
)

// What is on the disk: the tables, below each table's id its items, the streams, and below each stream's id its
// shards and records.
const (
	root        = "dynamodb/"
	tablesRoot  = root + "table/"
	itemsRoot   = root + "item/"
	streamsRoot = root + "stream/"
	shardsRoot  = root + "shard/"
	recordsRoot = root + "record/"
	tokensRoot  = root + "token/"
)

func itemKey(table, key string) string     { return itemsRoot + table + "/" + key }
func shardKey(stream, shard string) string { return shardsRoot + stream + "/" + shard }

func recordKey(stream string, sequence uint64) string {
	return recordsRoot + stream + "/" + formatSequence(sequence)
}

type storedTable struct {
	Account, Region string
	Definition      definition
}

type storedStream struct {
	Account, Region string
	Definition      streamDefinition
}

type storedRecord struct {
	Shard    string
	Sequence uint64
	Time     int64
	Event    eventName
	Old      attr.Item `json:",omitzero"`
	New      attr.Item `json:",omitzero"`
	Keys     attr.Item `json:",omitzero"`
	Expired  bool      `json:",omitzero"`
}

// encode turns what the service keeps into a value. It cannot fail for the types above.
func encode(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("dynamodb: %T has no JSON: %v", v, err))
	}
	return b
}

func (t *table) keep(b *store.Batch) {
	b.Set(tablesRoot+t.ID, encode(storedTable{t.account, t.region, t.definition}))
}

func (t *table) erase(b *store.Batch) {
	b.Delete(tablesRoot + t.ID)
	b.DeletePrefix(itemsRoot + t.ID + "/")
}

func (s *stream) keep() {
	if s.batch != nil {
		s.batch.Set(streamsRoot+s.ID, encode(storedStream{Account: s.account, Region: s.region, Definition: s.streamDefinition}))
	}
}

func (s *stream) keepShard(h *shard) {
	if s.batch != nil {
		s.batch.Set(shardKey(s.ID, h.ID), encode(h.shardDefinition))
	}
}

func (s *stream) keepRecord(r *record, h *shard) {
	if s.batch != nil {
		s.batch.Set(recordKey(s.ID, r.Sequence),
			encode(storedRecord{h.ID, r.Sequence, r.Time, r.Event, r.Old, r.New, r.Keys, r.Expired}))
	}
}

func (s *stream) forget(key string) {
	if s.batch != nil {
		s.batch.Delete(key)
	}
}

func (s *stream) erase(b *store.Batch) {
	b.Delete(streamsRoot + s.ID)
	b.DeletePrefix(shardsRoot + s.ID + "/")
	b.DeletePrefix(recordsRoot + s.ID + "/")
}

// load reads what is kept.
func (s *Service) load() error {
	tables := map[string]*table{}
	streams := map[string]*stream{}
	for _, part := range []struct {
		root string
		read func(key string, value []byte) error
	}{
		{tablesRoot, func(_ string, value []byte) error {
			var d storedTable
			if err := json.Unmarshal(value, &d); err != nil {
				return err
			}
			t := newTable(place{d.Account, d.Region}, d.Definition)
			tables[t.ID] = t
			s.tables[tableKey{t.place, t.Name}] = t
			return nil
		}},
		{itemsRoot, func(key string, value []byte) error {
			id, place, _ := strings.Cut(key, "/")
			item, err := attr.Parse(value)
			if t := tables[id]; t != nil && err == nil {
				t.set(place, nil, item)
			}
			return err
		}},
		{streamsRoot, func(_ string, value []byte) error {
			var d storedStream
			if err := json.Unmarshal(value, &d); err != nil {
				return err
			}
			st := s.newStream(place{d.Account, d.Region}, d.Definition)
			streams[st.ID] = st
			s.streams[st.arn] = st
			return nil
		}},
		{shardsRoot, func(key string, value []byte) error {
			id, _, _ := strings.Cut(key, "/")
			h := &shard{}
			if err := json.Unmarshal(value, &h.shardDefinition); err != nil {
				return err
			}
			if st := streams[id]; st != nil {
				st.restoreShard(h)
			}
			return nil
		}},
		{recordsRoot, func(key string, value []byte) error {
			id, _, _ := strings.Cut(key, "/")
			var d storedRecord
			if err := json.Unmarshal(value, &d); err != nil {
				return err
			}
			st := streams[id]
			if st == nil || st.shard(d.Shard) == nil {
				return nil
			}
			st.restoreRecord(st.shard(d.Shard), &record{Sequence: d.Sequence, Time: d.Time, Event: d.Event, Old: d.Old, New: d.New,
				Keys: d.Keys, Expired: d.Expired})
			return nil
		}},
		{tokensRoot, s.tokens.load},
	} {
		err := s.env.Store.Load(part.root, func(key string, value []byte) error {
			if err := part.read(key[len(part.root):], value); err != nil {
				return fmt.Errorf("reading %q: %w", key, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, t := range tables {
		t.stream = streams[t.StreamID]
		s.watch(t)
	}
	for _, st := range streams {
		st.synced(st.sequence)
		if !st.Disabled.IsZero() {
			s.ends.Set(st, st.Disabled.Add(retention))
		}
	}
	return nil
}

func (s *stream) restoreShard(h *shard) {
	s.sequence = max(s.sequence, h.Start, h.End, h.Trimmed)
	var ms int64
	if _, err := fmt.Sscanf(h.ID, "shardId-%d-", &ms); err == nil {
		s.lastID = max(s.lastID, ms)
	}
	s.shards = append(s.shards, h)
}

func (s *stream) restoreRecord(h *shard, r *record) {
	either := r.Keys
	if r.Old != nil {
		either = r.Old
	}
	if r.New != nil {
		either = r.New
	}
	r.Size = s.keysOf(either).Size() + r.Old.Size() + r.New.Size()
	h.records = append(h.records, r)
	s.sequence = max(s.sequence, r.Sequence)
}
