package kinesis

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/store"
)

// What is on the disk: the key of the tokens, and below each stream's id its settings, shards, consumers and records.
const (
	root        = "kinesis/"
	tokenKey    = root + "token"
	streamsRoot = root + "stream/"
	shardsRoot  = root + "shard/"
	readersRoot = root + "consumer/"
	recordsRoot = root + "record/"
)

func hex8(n uint32) string { return fmt.Sprintf("%08x", n) }

func shardKey(stream string, index uint32) string { return shardsRoot + stream + "/" + hex8(index) }

func consumerKey(stream, name string) string { return readersRoot + stream + "/" + name }

func recordPrefix(stream string, shard uint32) string {
	return recordsRoot + stream + "/" + hex8(shard) + "/"
}

func recordKey(stream string, shard uint32, index uint64) string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(recordsRoot)+len(stream)+1+8+1+16)
	b = append(b, recordsRoot...)
	b = append(b, stream...)
	b = append(b, '/')
	for i := 28; i >= 0; i -= 4 {
		b = append(b, hex[shard>>i&15])
	}
	b = append(b, '/')
	for i := 60; i >= 0; i -= 4 {
		b = append(b, hex[index>>i&15])
	}
	return string(b)
}

// erase removes a stream from the disk.
func (s *stream) erase(b *store.Batch) {
	b.Delete(streamsRoot + s.id)
	for _, p := range []string{shardsRoot, readersRoot, recordsRoot} {
		b.DeletePrefix(p + s.id + "/")
	}
}

type storedStream struct {
	Account, Region, Name string
	Created               int64
	NextShard             uint32
	Settings              settings
}

// save puts the settings in a batch. The caller holds mu for writing.
func (s *stream) save(b *store.Batch) {
	b.Set(streamsRoot+s.id, encode(storedStream{s.account, s.region, s.name, s.created, s.nextShard, s.settings}))
}

// saveAll puts all but the records in a batch. The caller holds mu for writing.
func (s *stream) saveAll(b *store.Batch) {
	s.save(b)
	for _, h := range s.all {
		b.Set(shardKey(s.id, h.index), h.encode())
	}
	for _, c := range s.consumers {
		b.Set(consumerKey(s.id, c.name), c.encode())
	}
}

type storedShard struct {
	From, To                string
	Parents                 []uint32
	Created, Opened, Closed int64
	Next                    uint64
}

// encode is for the disk. The caller holds the stream's mu; the number of the next record may be out of date unless
// it holds the shard's too, and then only says less than the records do.
func (s *shard) encode() []byte {
	return encode(storedShard{s.from.String(), s.to.String(), s.parents, s.created, s.opened, s.closed, s.next})
}

func (s *shard) decode(v []byte) error {
	var d storedShard
	if err := json.Unmarshal(v, &d); err != nil {
		return err
	}
	var ok1, ok2 bool
	s.from, ok1 = parseHashKey(d.From)
	s.to, ok2 = parseHashKey(d.To)
	if !ok1 || !ok2 {
		return fmt.Errorf("the range %q to %q is none", d.From, d.To)
	}
	s.parents, s.created, s.opened, s.closed = d.Parents, d.Created, d.Opened, d.Closed
	s.next = max(s.next, d.Next)
	s.sealed = s.closed != 0
	return nil
}

type storedConsumer struct {
	Name           string
	Created, Until int64
	Deleting       bool
	Tags           map[string]string
	Policy         string
}

func (c *consumer) encode() []byte {
	return encode(storedConsumer{c.name, c.created, c.until, c.deleting, c.tags, c.policy})
}

// encode cannot fail: the types have no values that JSON lacks.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// encode is for the disk: flags, time of arrival, length of the partition key, the key, the data.
func (r *record) encode() []byte {
	b := make([]byte, 0, 1+2*binary.MaxVarintLen64+r.size())
	flags := byte(0)
	if r.kms {
		flags = 1
	}
	b = append(b, flags)
	b = binary.AppendVarint(b, r.arrival)
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = append(b, r.key...)
	return append(b, r.data...)
}

func (r *record) decode(b []byte) error {
	if len(b) > 0 {
		r.kms, b = b[0] == 1, b[1:]
		if arrival, n := binary.Varint(b); n > 0 {
			b = b[n:]
			if size, n := binary.Uvarint(b); n > 0 && size <= uint64(len(b)-n) {
				b = b[n:]
				r.arrival, r.key, r.data = arrival, string(b[:size]), append([]byte(nil), b[size:]...)
				return nil
			}
		}
	}
	return fmt.Errorf("a record of %d bytes is cut short", len(b))
}

// load reads what is on the disk, and returns the key of the tokens. It runs before anything else.
func (s *Service) load() ([]byte, error) {
	key := newKey()
	byID := map[string]*stream{}
	loads := []struct {
		prefix string
		each   func(path []string, value []byte) error
	}{
		{tokenKey, func(_ []string, v []byte) error {
			key = slices.Clone(v)
			return nil
		}},
		{streamsRoot, func(path []string, v []byte) error {
			var d storedStream
			if err := json.Unmarshal(v, &d); err != nil {
				return err
			}
			st := newStream(streamKey{d.Account, d.Region, d.Name}, path[0], d.Created)
			st.settings, st.nextShard = d.Settings, d.NextShard
			byID[st.id] = st
			s.streams[st.streamKey] = st
			return nil
		}},
		{shardsRoot, func(path []string, v []byte) error {
			st, index, err := within(byID, path, 2)
			if err != nil {
				return err
			}
			h := newShard(index, hashKey{}, hashKey{}, 0, 0)
			if err := h.decode(v); err != nil {
				return err
			}
			if h.closed == 0 {
				st.insert(h)
			} else {
				st.all = append(st.all, h)
			}
			for _, p := range h.parents {
				if p := st.find(p); p != nil {
					p.children = append(p.children, h)
				}
			}
			h.visible = h.next
			return nil
		}},
		{readersRoot, func(path []string, v []byte) error {
			var d storedConsumer
			if err := json.Unmarshal(v, &d); err != nil {
				return err
			}
			if st := byID[path[0]]; st != nil {
				st.consumers[d.Name] = &consumer{
					stream: st.streamKey, name: d.Name, created: d.Created, until: d.Until, deleting: d.Deleting,
					tags: d.Tags, policy: d.Policy, subscriptions: map[uint32]*subscription{},
				}
			}
			return nil
		}},
		{recordsRoot, func(path []string, v []byte) error {
			st, index, err := within(byID, path, 3)
			if err != nil {
				return err
			}
			h := st.find(index)
			if h == nil {
				return fmt.Errorf("it belongs to no shard")
			}
			var r record
			if err := r.decode(v); err != nil {
				return err
			}
			if r.index, err = strconv.ParseUint(path[2], 16, 64); err != nil {
				return err
			}
			h.records = append(h.records, r)
			h.next = max(h.next, r.index+1)
			h.visible, h.arrival = h.next, r.arrival
			return nil
		}},
	}
	for _, l := range loads {
		err := s.env.Store.Load(l.prefix, func(key string, value []byte) error {
			if err := l.each(strings.Split(strings.TrimPrefix(key, l.prefix), "/"), value); err != nil {
				return fmt.Errorf("reading %s: %w", key, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return key, nil
}

// within finds the stream of a key with that many parts, the second of which is the index of a shard.
func within(byID map[string]*stream, path []string, parts int) (*stream, uint32, error) {
	if len(path) != parts || byID[path[0]] == nil {
		return nil, 0, fmt.Errorf("it belongs to no stream")
	}
	index, err := strconv.ParseUint(path[1], 16, 32)
	return byID[path[0]], uint32(index), err //nolint:gosec // ParseUint has seen to it
}
