package kinesis

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// largestPut is the most that one PutRecords may bring, with the partition keys.
const (
	largestPut   = 10 << 20
	recordsInPut = 500

	unencrypted = "NONE"
	kms         = "KMS"
)

// PutRecordInput is the input of PutRecord.
type PutRecordInput struct {
	StreamRef
	Data                      *[]byte `json:"Data"`
	PartitionKey              *string `json:"PartitionKey"`
	ExplicitHashKey           *string `json:"ExplicitHashKey"`
	SequenceNumberForOrdering *string `json:"SequenceNumberForOrdering"`
}

// PutRecordOutput is the output of PutRecord.
type PutRecordOutput struct {
	ShardID        string `json:"ShardId"`
	SequenceNumber string `json:"SequenceNumber"`
	EncryptionType string `json:"EncryptionType,omitzero"`
}

// PutRecordsInput is the input of PutRecords.
type PutRecordsInput struct {
	StreamRef
	Records []PutRecordsEntry `json:"Records"`
}

// PutRecordsEntry is one record of PutRecords.
type PutRecordsEntry struct {
	Data            *[]byte `json:"Data"`
	PartitionKey    *string `json:"PartitionKey"`
	ExplicitHashKey *string `json:"ExplicitHashKey"`
}

// PutRecordsOutput is the output of PutRecords. Its records are in the order of the input's.
type PutRecordsOutput struct {
	FailedRecordCount int               `json:"FailedRecordCount"`
	Records           []PutRecordResult `json:"Records"`
	EncryptionType    string            `json:"EncryptionType,omitzero"`
}

// PutRecordResult says what became of one record.
type PutRecordResult struct {
	SequenceNumber string `json:"SequenceNumber,omitzero"`
	ShardID        string `json:"ShardId,omitzero"`
	ErrorCode      string `json:"ErrorCode,omitzero"`
	ErrorMessage   string `json:"ErrorMessage,omitzero"`
}

func (s *Service) putRecord(_ context.Context, r *wire.Request, in *PutRecordInput) (*PutRecordOutput, error) {
	var c wire.Check
	checkRecord(&c, "", in.Data, in.PartitionKey, in.ExplicitHashKey)
	checkSequence(&c, "sequenceNumberForOrdering", in.SequenceNumberForOrdering)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	e := PutRecordsEntry{in.Data, in.PartitionKey, in.ExplicitHashKey}
	out, err := s.put(k, []PutRecordsEntry{e}, in.SequenceNumberForOrdering, func(int) string { return "data" })
	if err != nil {
		return nil, err
	}
	if one := out.Records[0]; one.ErrorCode != "" {
		return nil, wire.Errorf(one.ErrorCode, "%s", one.ErrorMessage)
	}
	return &PutRecordOutput{out.Records[0].ShardID, out.Records[0].SequenceNumber, out.EncryptionType}, nil
}

func (s *Service) putRecords(_ context.Context, r *wire.Request, in *PutRecordsInput) (*PutRecordsOutput, error) {
	var c wire.Check
	if c.Required("records", in.Records != nil); in.Records != nil && (len(in.Records) == 0 || len(in.Records) > recordsInPut) {
		c.Count("records", "[…]", len(in.Records), 1, recordsInPut)
	}
	total := 0
	for i, e := range in.Records {
		if e.Data == nil || e.PartitionKey == nil || *e.PartitionKey == "" || len(*e.PartitionKey) > 256 || len(*e.Data) > largestPut || e.ExplicitHashKey != nil {
			checkRecord(&c, fmt.Sprintf("records.%d.member.", i+1), e.Data, e.PartitionKey, e.ExplicitHashKey)
		}
		if e.Data != nil && e.PartitionKey != nil {
			total += len(*e.Data) + len(*e.PartitionKey)
		}
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	if total > largestPut {
		return nil, wire.Errorf("InvalidArgumentException", "Records size exceeds %d MB limit", largestPut>>20)
	}
	return s.put(k, in.Records, nil, func(i int) string { return fmt.Sprintf("records.%d.member.data", i+1) })
}

// Put puts the body of a message into the stream that an ARN names, for other services. It returns once the record
// is accepted, as durably as the stack is. An error is a *wire.Error if the stream refuses.
func (s *Service) Put(_ context.Context, streamARN string, m env.Message) error {
	k, ok := keyOf(streamARN)
	if !ok || k.arn() != streamARN {
		return wire.Errorf("InvalidArgumentException", "%s is not the ARN of a stream.", streamARN)
	}
	key := m.PartitionKey
	if key == "" {
		key = uuid.NewString()
	}
	var c wire.Check
	data := []byte(m.Body)
	checkRecord(&c, "", &data, &key, nil)
	if err := c.Err(); err != nil {
		return err
	}
	out, err := s.put(k, []PutRecordsEntry{{Data: &data, PartitionKey: &key}}, nil, func(int) string { return "data" })
	if err != nil {
		return err
	}
	if one := out.Records[0]; one.ErrorCode != "" {
		return wire.Errorf(one.ErrorCode, "%s", one.ErrorMessage)
	}
	return nil
}

// put puts records into the shards of their keys, those of one shard in order. member names the data of one.
func (s *Service) put(k streamKey, entries []PutRecordsEntry, after *string, member func(i int) string) (*PutRecordsOutput, error) {
	now := s.now()
	out := &PutRecordsOutput{Records: make([]PutRecordResult, len(entries))}
	writes := make([]write, 0, 4)
	if err := s.place(k, now, entries, after, member, out, &writes); err != nil {
		return nil, err
	}
	var failed error
	for i := range writes {
		if err := writes[i].finish(); err != nil {
			failed = errors.Join(failed, err)
			for j := range out.Records {
				if one := &out.Records[j]; one.ShardID == writes[i].shard.id {
					*one = PutRecordResult{ErrorCode: "InternalFailure", ErrorMessage: "Internal service failure."}
					out.FailedRecordCount++
				}
			}
		}
	}
	if failed != nil && (out.FailedRecordCount == len(entries) || !s.env.Store.Durable()) {
		return nil, failed
	}
	return out, nil
}

// write is what was put into one shard and is on its way to the disk.
type write struct {
	shard       *shard
	from, below uint64
	commit      store.Commit
}

// finish waits for the disk, and then shows the records.
func (w *write) finish() error {
	err := w.commit.Wait()
	if w.from == w.below {
		return nil // if old records were not removed they will be next time
	}
	w.shard.mu.Lock()
	defer w.shard.mu.Unlock()
	if err != nil {
		w.shard.forget(w.from, w.below)
		return err
	}
	w.shard.show(w.below)
	return nil
}

// place gives the records their places and numbers. In memory they can be read at once, else after write.finish.
func (s *Service) place(k streamKey, now int64, entries []PutRecordsEntry, after *string, member func(int) string,
	out *PutRecordsOutput, writes *[]write,
) error {
	st, err := s.lookup(k, now)
	if err != nil {
		return err
	}
	if st.unsaved.Load() > 0 { // else the records would be on the disk, and what they belong to not
		st.mu.RUnlock()
		if err := s.edit(k, func(*stream, *store.Batch, int64) error { return nil }); err != nil {
			return err
		}
		if st, err = s.lookup(k, now); err != nil {
			return err
		}
	}
	defer st.mu.RUnlock()
	if state := st.state(now); state == creating || state == deleting {
		return k.notFound()
	}
	if st.KeyID != "" {
		out.EncryptionType = kms
	}
	var few [16]*shard
	shards := few[:0]
	var c wire.Check
	for i, e := range entries {
		if most := int(st.MaxRecord) << 10; len(*e.Data) > most {
			c.Count(member(i), blob(len(*e.Data)), len(*e.Data), 0, most)
		} else if n := len(*e.Data) + len(*e.PartitionKey); n > most {
			return wire.Errorf("InvalidArgumentException", "The size of the record at %s, with its partition key, is %d bytes; "+
				"it must not exceed the stream's maximum record size of %d KiB.", member(i), n, st.MaxRecord)
		}
		var hash hashKey
		if e.ExplicitHashKey == nil {
			hash = hashOf(*e.PartitionKey)
		} else {
			var ok bool
			if hash, ok = parseHashKey(*e.ExplicitHashKey); !ok {
				return wire.Errorf("InvalidArgumentException", "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "+
					"Specified value was %s", *e.ExplicitHashKey)
			}
		}
		shards = append(shards, st.route(hash))
	}
	if err := c.Err(); err != nil {
		return err
	}
	if after != nil && !st.precedes(*after, shards[0], now) {
		return wire.Errorf("InvalidArgumentException", "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
			*after, k.name, k.account)
	}
	for i, h := range shards {
		if h != nil {
			*writes = append(*writes, s.fill(st, h, now, shards[i:], entries[i:], out.Records[i:], out))
		}
	}
	return nil
}

// precedes reports whether a sequence number can have been given to a record before the next one of a shard.
func (s *stream) precedes(number string, h *shard, now int64) bool {
	q, ok := parseSequence(number)
	if !ok || q.second > max(now/1000, q.created) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return q.shard != h.index || q.created == h.created && q.index < h.next
}

// fill puts into one shard those of the entries that go there, and sets their shards to nil.
func (s *Service) fill(st *stream, h *shard, now int64, shards []*shard, entries []PutRecordsEntry, results []PutRecordResult, out *PutRecordsOutput) write {
	var b store.Batch
	durable := s.env.Store.Durable()
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.trim(st.horizon(now)); len(old) > 0 && durable {
		h.trimmed(&b, st.id, old)
	}
	w := write{shard: h, from: h.next}
	for i := range shards {
		if shards[i] != h {
			continue
		}
		shards[i] = nil
		r := record{key: *entries[i].PartitionKey, data: *entries[i].Data, kms: st.KeyID != ""}
		if s.limits && !h.meter.write(now, r.size()) {
			e := st.rateExceeded(h)
			results[i].ErrorCode, results[i].ErrorMessage = e.Code, e.Message
			out.FailedRecordCount++
			continue
		}
		placed := h.add(r, now)
		results[i].ShardID, results[i].SequenceNumber = h.id, h.sequenceOf(placed).String()
		if durable {
			b.Set(recordKey(st.id, h.index, placed.index), placed.encode())
		}
	}
	w.below = h.next
	w.commit = s.env.Store.Commit(&b)
	if !durable {
		h.show(w.below)
		w.from = w.below // nothing to wait for
	}
	return w
}

func (k streamKey) rateExceeded(h *shard) *wire.Error {
	return wire.Errorf("ProvisionedThroughputExceededException", "Rate exceeded for shard %s in stream %s under account %s.", h.id, k.name, k.account)
}
