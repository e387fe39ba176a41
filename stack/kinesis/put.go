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
	DryRun                    bool    `json:"DryRun"`
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
	DryRun  bool              `json:"DryRun"`
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
	p := put{
		key: k, entries: []PutRecordsEntry{{in.Data, in.PartitionKey, in.ExplicitHashKey}}, after: in.SequenceNumberForOrdering, dryRun: in.DryRun,
		path: func(int) string { return "" },
	}
	out, err := s.put(&p)
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
			checkRecord(&c, pathOf(i), e.Data, e.PartitionKey, e.ExplicitHashKey)
		}
		total += e.size()
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	if total > largestPut {
		return nil, wire.Errorf("InvalidArgumentException", "Records size exceeds %d MB limit", largestPut>>20)
	}
	return s.put(&put{key: k, entries: in.Records, dryRun: in.DryRun, path: pathOf})
}

func pathOf(i int) string { return fmt.Sprintf("records.%d.member.", i+1) }

func (e *PutRecordsEntry) size() (n int) {
	if e.Data != nil {
		n = len(*e.Data)
	}
	if e.PartitionKey != nil {
		n += len(*e.PartitionKey)
	}
	return n
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
	out, err := s.put(&put{key: k, entries: []PutRecordsEntry{{Data: &data, PartitionKey: &key}}, path: func(int) string { return "" }})
	if err != nil {
		return err
	}
	if one := out.Records[0]; one.ErrorCode != "" {
		return wire.Errorf(one.ErrorCode, "%s", one.ErrorMessage)
	}
	return nil
}

// put is what a request puts into a stream.
type put struct {
	key     streamKey
	entries []PutRecordsEntry
	after   *string // the sequence number that the first must be above
	dryRun  bool
	path    func(i int) string // how messages name an entry

	out    PutRecordsOutput
	writes []write
}

// put puts records into the shards of their keys, those of one shard in order.
func (s *Service) put(p *put) (*PutRecordsOutput, error) {
	p.out.Records = make([]PutRecordResult, len(p.entries))
	if err := s.place(p, s.now()); err != nil {
		return nil, err
	}
	var failed error
	for i := range p.writes {
		if err := p.writes[i].finish(); err != nil {
			failed = errors.Join(failed, err)
			p.fail(p.writes[i].shard)
		}
	}
	if failed != nil && p.out.FailedRecordCount == len(p.entries) {
		return nil, failed
	}
	return &p.out, nil
}

// fail marks the records of a shard that could not be written.
func (p *put) fail(h *shard) {
	for i := range p.out.Records {
		if one := &p.out.Records[i]; one.ShardID == h.id {
			*one = PutRecordResult{ErrorCode: "InternalFailure", ErrorMessage: "Internal service failure."}
			p.out.FailedRecordCount++
		}
	}
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
func (s *Service) place(p *put, now int64) error {
	k := p.key
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
		p.out.EncryptionType = kms
	}
	var few [16]*shard
	shards := few[:0]
	var c wire.Check
	for i := range p.entries {
		e := &p.entries[i]
		if most := int(st.MaxRecord) << 10; len(*e.Data) > most {
			c.Count(p.path(i)+"data", blob(len(*e.Data)), len(*e.Data), 0, most)
		} else if e.size() > most {
			return wire.Errorf("InvalidArgumentException", "The size of the record at %sdata, with its partition key, is %d bytes; "+
				"it must not exceed the stream's maximum record size of %d KiB.", p.path(i), e.size(), st.MaxRecord)
		}
		var hash hashKey
		switch {
		case st.Auto:
			shards = append(shards, st.open[(st.turn.Add(1)-1)%uint64(len(st.open))])
			continue
		case e.PartitionKey == nil:
			c.Required(p.path(i)+"partitionKey", false)
			continue
		case e.ExplicitHashKey == nil:
			hash = hashOf(*e.PartitionKey)
		default:
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
	if p.after != nil && !st.precedes(*p.after, shards[0], now) {
		return wire.Errorf("InvalidArgumentException", "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
			*p.after, k.name, k.account)
	}
	if p.dryRun {
		return dryRun()
	}
	for i, h := range shards {
		if h != nil {
			p.writes = append(p.writes, s.fill(st, h, now, shards[i:], p, i))
		}
	}
	return nil
}

// dryRun is the answer to a request that would have succeeded, and only wants to know.
func dryRun() error {
	return wire.Errorf("DryRunOperationException", "The request was rejected because the DryRun parameter was specified.")
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

// fill puts into one shard those of the entries from first on that go there, and sets their shards to nil.
func (s *Service) fill(st *stream, h *shard, now int64, shards []*shard, p *put, first int) write {
	results, entries := p.out.Records[first:], p.entries[first:]
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
		r := record{data: *entries[i].Data, kms: st.KeyID != ""}
		if key := entries[i].PartitionKey; key != nil {
			r.key = *key
		}
		if s.limits && !h.meter.write(now, r.size()) {
			e := st.rateExceeded(h)
			results[i].ErrorCode, results[i].ErrorMessage = e.Code, e.Message
			p.out.FailedRecordCount++
			continue
		}
		placed := h.add(r, now)
		results[i].ShardID, results[i].SequenceNumber = h.id, h.sequenceOf(placed).String()
		if durable {
			b.Set(recordKey(st.id, h.index, placed.index), placed.encode())
		}
	}
	w.below = h.next
	b.Revocable = true // finish forgets the records
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
