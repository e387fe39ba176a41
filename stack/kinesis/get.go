package kinesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// The most that one GetRecords returns.
const (
	largestGet  = 10 << 20 // bytes of data and partition keys
	mostRecords = 10000
)

const (
	atSequence    = "AT_SEQUENCE_NUMBER"
	afterSequence = "AFTER_SEQUENCE_NUMBER"
	trimHorizon   = "TRIM_HORIZON"
	latest        = "LATEST"
	atTimestamp   = "AT_TIMESTAMP"
)

var positions = []string{afterSequence, latest, atTimestamp, atSequence, trimHorizon}

// GetShardIteratorInput is the input of GetShardIterator.
type GetShardIteratorInput struct {
	StreamRef
	ShardID                *string    `json:"ShardId"`
	ShardIteratorType      *string    `json:"ShardIteratorType"`
	StartingSequenceNumber *string    `json:"StartingSequenceNumber"`
	Timestamp              *wire.Time `json:"Timestamp"`
	DryRun                 bool       `json:"DryRun"`
}

// GetShardIteratorOutput is the output of GetShardIterator.
type GetShardIteratorOutput struct {
	ShardIterator string `json:"ShardIterator"`
}

func (s *Service) getShardIterator(_ context.Context, r *wire.Request, in *GetShardIteratorInput) (*GetShardIteratorOutput, error) {
	var c wire.Check
	c.Required("shardId", in.ShardID != nil)
	checkName(&c, "shardId", in.ShardID)
	if c.Required("shardIteratorType", in.ShardIteratorType != nil); in.ShardIteratorType != nil {
		c.Enum("shardIteratorType", *in.ShardIteratorType, positions...)
	}
	checkSequence(&c, "startingSequenceNumber", in.StartingSequenceNumber)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	index, ok := parseShard(*in.ShardID)
	if !ok {
		return nil, k.noSuchShard(*in.ShardID)
	}
	now := s.now()
	st, err := s.lookup(k, now)
	if err != nil {
		return nil, k.noShard(index)
	}
	defer st.mu.RUnlock()
	h := st.shard(index, now)
	if h == nil || st.state(now) == creating {
		return nil, k.noShard(index)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.limits && !h.meter.iterate(now) {
		return nil, st.rateExceeded(h)
	}
	start := startingPosition{*in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp, "GetShardIterator"}
	position, err := start.in(st, h, now)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, dryRun()
	}
	return &GetShardIteratorOutput{s.sealer.Load().iterator(iterator{now, k, st.id, h.index, position})}, nil
}

// startingPosition is where a reader asks to begin.
type startingPosition struct {
	kind      string
	sequence  *string
	time      *wire.Time
	operation string // that it was asked for, for messages
}

// in finds the position in a shard. The caller holds the stream's and the shard's mu.
func (p startingPosition) in(st *stream, h *shard, now int64) (uint64, error) {
	bySequence := p.kind == atSequence || p.kind == afterSequence
	if bySequence != (p.sequence != nil) && (p.kind != atTimestamp || p.sequence != nil) {
		also := "no StartingSequenceNumber"
		if p.sequence != nil {
			also = "also a StartingSequenceNumber"
		}
		return 0, wire.Errorf("InvalidArgumentException", "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "+
			"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified %s and %s.", p.kind, also)
	}
	if p.time != nil && p.kind != atTimestamp {
		return 0, wire.Errorf("InvalidArgumentException", "Cannot specify timestampInMillis parameter for iterator of type %s.", p.kind)
	}
	switch p.kind {
	case trimHorizon:
		return 1, nil // whatever is older than the oldest record is the oldest record
	case latest:
		return h.visible, nil
	case atTimestamp:
		if p.time == nil {
			return 0, wire.Errorf("InvalidArgumentException",
				"Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
		}
		ms := p.time.UnixMilli()
		if ms > now {
			return 0, wire.Errorf("InvalidArgumentException", "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
				"timestampInMillis: %d, currentTimestampInMillis: %d", ms, now)
		}
		return h.position(ms), nil
	}
	q, ok := parseSequence(*p.sequence)
	switch {
	case !ok:
		return 0, wire.Errorf("InvalidArgumentException", "StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid.",
			*p.sequence, p.operation, h.id, st.name, st.account)
	case q.shard != h.index:
		return 0, wire.Errorf("InvalidArgumentException", "Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
			shardName(q.shard), h.id)
	case q.created != h.created || q.index >= h.next && q.index != endIndex || q.index == endIndex && h.closed == 0:
		return 0, wire.Errorf("InvalidArgumentException", "StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid "+
			"because it did not come from this stream.", *p.sequence, p.operation, h.id, st.name, st.account)
	case p.kind == atSequence:
		return max(1, q.index), nil
	case q.index == endIndex:
		return 0, wire.Errorf("InvalidArgumentException", "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, "+
			"SequenceNumber has reached max possible value for the shard.")
	}
	return q.index + 1, nil
}

// GetRecordsInput is the input of GetRecords.
type GetRecordsInput struct {
	StreamARN     *string `json:"StreamARN"`
	StreamID      *string `json:"StreamId"`
	ShardIterator *string `json:"ShardIterator"`
	Limit         *int64  `json:"Limit"`
	DryRun        bool    `json:"DryRun"`
}

// GetRecordsOutput is the output of GetRecords.
type GetRecordsOutput struct {
	batch
	next string
}

// batch is what a read of a shard gives to a reader.
type batch struct {
	shard    *shard
	records  []record
	behind   int64
	children []*shard // of a shard that has no more
}

func (s *Service) getRecords(_ context.Context, r *wire.Request, in *GetRecordsInput) (*GetRecordsOutput, error) {
	var c wire.Check
	if c.Required("shardIterator", in.ShardIterator != nil); in.ShardIterator != nil {
		c.Length("shardIterator", *in.ShardIterator, 1, 512)
	}
	checkRange(&c, "limit", in.Limit, 1, mostRecords)
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	it, ok := s.sealer.Load().openIterator(*in.ShardIterator)
	if !ok {
		return nil, wire.Errorf("InvalidArgumentException", "Invalid ShardIterator.")
	}
	if in.StreamARN != nil && *in.StreamARN != it.stream.arn() {
		return nil, wire.Errorf("InvalidArgumentException", "ShardIterator belongs to the stream %s, not to %s.", it.stream.arn(), *in.StreamARN)
	}
	now := s.now()
	if err := it.checkAge(now); err != nil {
		return nil, err
	}
	limit := mostRecords
	if in.Limit != nil {
		limit = int(*in.Limit)
	}

	st, err := s.lookup(it.stream, now)
	if err != nil {
		return nil, it.stream.noShard(it.shard)
	}
	if in.DryRun {
		defer st.mu.RUnlock()
		if st.id != it.id || st.shard(it.shard, now) == nil {
			return nil, it.stream.noShard(it.shard)
		}
		return nil, dryRun()
	}
	out, commit, err := s.read(st, it, limit, now, r.Duplicate)
	st.mu.RUnlock()
	if e := commit.Wait(); err == nil {
		err = e
	}
	return out, err
}

// read reads at an iterator; again asks that the next read returns the same. The caller holds the stream's mu.
func (s *Service) read(st *stream, it iterator, limit int, now int64, again bool) (*GetRecordsOutput, store.Commit, error) {
	h := st.shard(it.shard, now)
	if h == nil || st.id != it.id { // expired, or of a stream of the same name that is gone
		return nil, store.Commit{}, st.noShard(it.shard)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.limits && !h.meter.startRead(now) {
		return nil, store.Commit{}, st.rateExceeded(h)
	}
	var b store.Batch
	if old := h.trim(st.horizon(now)); len(old) > 0 && s.env.Store.Durable() {
		h.trimmed(&b, st.id, old)
	}
	p := h.read(it.position, limit, largestGet, now, false)
	if s.limits {
		h.meter.finishRead(p.bytes)
	}
	out := &GetRecordsOutput{batch: batch{shard: h, records: p.records, behind: p.behind}}
	switch again = again && len(p.records) > 0; {
	case again:
		out.behind = max(1, now-p.records[0].arrival)
	case p.ended:
		out.children = h.children
	default:
		it.position = p.next
	}
	if again || !p.ended {
		it.made = now
		out.next = s.sealer.Load().iterator(it)
	}
	return out, s.env.Store.Commit(&b), nil
}

// WriteJSON writes the answer.
func (o *GetRecordsOutput) WriteJSON(b *bytes.Buffer) {
	b.Grow(o.jsonSize() + len(o.next))
	dst := append(b.AvailableBuffer(), '{')
	dst = o.appendRecords(dst)
	if o.next != "" {
		dst = append(dst, `,"NextShardIterator":"`...)
		dst = append(dst, o.next...)
		dst = append(dst, '"')
	}
	b.Write(append(dst, '}'))
}

// appendSeconds appends a time as a number of seconds with milliseconds.
func appendSeconds(dst []byte, ms int64) []byte {
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return dst
}

// appendString appends a JSON string. What is not UTF-8 in it is replaced.
func appendString(dst []byte, s string) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		dst, _ = jsontext.AppendQuote(dst, strings.ToValidUTF8(s, "\ufffd"))
	}
	return dst
}

// jsonSize is about how long the JSON will be.
func (b *batch) jsonSize() int {
	n := 512 + 256*len(b.children)
	for i := range b.records {
		n += 256 + len(b.records[i].key) + base64.StdEncoding.EncodedLen(len(b.records[i].data))
	}
	return n
}

// appendRecords appends the members Records, MillisBehindLatest and ChildShards of an answer, without braces.
func (b *batch) appendRecords(dst []byte) []byte {
	dst = append(dst, `"Records":[`...)
	for i := range b.records {
		r := &b.records[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"SequenceNumber":"`...)
		dst = b.shard.sequenceOf(r).append(dst)
		dst = append(dst, `","ApproximateArrivalTimestamp":`...)
		dst = appendSeconds(dst, r.arrival)
		dst = append(dst, `,"Data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, r.data)
		dst = append(dst, '"')
		if r.key != "" { // a stream of the strategy AUTO does without
			dst = append(dst, `,"PartitionKey":`...)
			dst = appendString(dst, r.key)
		}
		if r.kms {
			dst = append(dst, `,"EncryptionType":"KMS"`...)
		}
		dst = append(dst, '}')
	}
	dst = append(dst, `],"MillisBehindLatest":`...)
	dst = strconv.AppendInt(dst, b.behind, 10)
	for i, h := range b.children {
		if i == 0 {
			dst = append(dst, `,"ChildShards":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"ShardId":"`...)
		dst = append(dst, h.id...)
		dst = append(dst, `","ParentShards":[`...)
		for j, p := range h.parents {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = append(dst, shardName(p)...)
			dst = append(dst, '"')
		}
		dst = append(dst, `],"HashKeyRange":{"StartingHashKey":"`...)
		dst = append(dst, h.from.String()...)
		dst = append(dst, `","EndingHashKey":"`...)
		dst = append(dst, h.to.String()...)
		dst = append(dst, `"}}`...)
	}
	if len(b.children) > 0 {
		dst = append(dst, ']')
	}
	return dst
}
