package dynamodb

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of DynamoDB Streams.
const (
	maxRecords   = 1000
	maxBytes     = 1 << 20 // of records in one answer
	maxListed    = 100
	iteratorLife = 15 * time.Minute
)

type listStreamsInput struct {
	TableName               *string
	Limit                   *int64
	ExclusiveStartStreamArn *string
}

type streamSummary struct {
	StreamArn   string
	StreamLabel string
	TableName   string
}

type listStreamsOutput struct {
	Streams                []streamSummary
	LastEvaluatedStreamArn string `json:",omitzero"`
}

type shardFilter struct {
	Type    string
	ShardID string `json:"ShardId"`
}

type describeStreamInput struct {
	StreamArn             string
	Limit                 *int64
	ExclusiveStartShardID *string `json:"ExclusiveStartShardId"`
	ShardFilter           *shardFilter
}

type sequenceRange struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitzero"`
}

type shardDescription struct {
	ParentShardID       string `json:"ParentShardId,omitzero"`
	SequenceNumberRange sequenceRange
	ShardID             string `json:"ShardId"`
}

type streamDescription struct {
	CreationRequestDateTime wire.Time
	KeySchema               []keyElement
	LastEvaluatedShardID    string `json:"LastEvaluatedShardId,omitzero"`
	Shards                  []shardDescription
	StreamArn               string
	StreamLabel             string
	StreamStatus            string
	StreamViewType          string
	TableName               string
}

type describeStreamOutput struct{ StreamDescription streamDescription }

type getShardIteratorInput struct {
	StreamArn         string
	ShardID           string `json:"ShardId"`
	ShardIteratorType string
	SequenceNumber    *string
	Timestamp         *wire.Time
}

type getShardIteratorOutput struct{ ShardIterator string }

type getRecordsInput struct {
	ShardIterator string
	Limit         *int64
}

type identity struct {
	PrincipalID string `json:"PrincipalId"`
	Type        string
}

type streamRecord struct {
	ApproximateCreationDateTime wire.Time
	Keys                        attr.Item
	NewImage                    attr.Item `json:",omitzero"`
	OldImage                    attr.Item `json:",omitzero"`
	SequenceNumber              string
	SizeBytes                   int
	StreamViewType              string
}

type recordOutput struct {
	AwsRegion    string       `json:"awsRegion"`
	Dynamodb     streamRecord `json:"dynamodb"`
	EventID      string       `json:"eventID"`
	EventName    string       `json:"eventName"`
	EventSource  string       `json:"eventSource"`
	EventVersion string       `json:"eventVersion"`
	UserIdentity *identity    `json:"userIdentity,omitzero"`
}

type getRecordsOutput struct {
	NextShardIterator string `json:",omitzero"`
	Records           []recordOutput
}

var streamARNPattern = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{3,255}/stream/[0-9T:.-]+$`)

func checkStreamARN(c *wire.Check, member, arn string) {
	if arn == "" {
		c.Required(member, false)
		return
	}
	c.Length(member, arn, 37, 1024)
}

// stream finds a stream whose ARN is of the right form.
func (s *Service) stream(arn string) (*stream, error) {
	if !streamARNPattern.MatchString(arn) {
		return nil, invalid("Invalid StreamArn: " + arn)
	}
	s.mu.RLock()
	st := s.streams[arn]
	s.mu.RUnlock()
	if st == nil {
		return nil, streamNotFound(arn)
	}
	return st, nil
}

func streamNotFound(arn string) error {
	return wire.Errorf("ResourceNotFoundException", "Requested resource not found: Stream: %s not found", arn)
}

func shardNotFound(arn, shard string) error {
	return wire.Errorf("ResourceNotFoundException", "Requested resource not found: Shard: %s in Stream: %s not found", shard, arn)
}

// with calls f with a stream that is locked and up to date, and waits until what has changed is durable.
func (s *Service) with(st *stream, f func(now time.Time) error) error {
	now := s.env.Clock.Now()
	var b store.Batch
	st.mu.Lock()
	if st.ended(now) {
		st.mu.Unlock()
		return streamNotFound(st.arn)
	}
	if st.durable {
		st.batch = &b
	}
	st.advance(now)
	err := f(now)
	st.batch = nil
	commit := s.env.Store.Commit(&b)
	st.mu.Unlock()
	if e := commit.Wait(); err == nil {
		err = e
	}
	return err
}

func (s *Service) listStreams(_ context.Context, r *wire.Request, in *listStreamsInput) (*listStreamsOutput, error) {
	var c wire.Check
	limit := maxListed
	if in.Limit != nil {
		c.Range("limit", *in.Limit, 1, maxListed)
		limit = int(*in.Limit)
	}
	if in.TableName != nil {
		checkTable(&c, "tableName", *in.TableName)
	}
	after := ""
	if in.ExclusiveStartStreamArn != nil {
		after = *in.ExclusiveStartStreamArn
		checkStreamARN(&c, "exclusiveStartStreamArn", after)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if after != "" && !streamARNPattern.MatchString(after) {
		return nil, invalid("Invalid StreamArn: " + after)
	}
	out := &listStreamsOutput{Streams: []streamSummary{}}
	now := s.env.Clock.Now()
	s.mu.RLock()
	for arn, st := range s.streams {
		st.mu.Lock()
		ended := st.ended(now)
		st.mu.Unlock()
		if ended || st.place != (place{r.Account, r.Region}) || arn <= after ||
			in.TableName != nil && st.Table != locate(r, *in.TableName).name {
			continue
		}
		out.Streams = append(out.Streams, streamSummary{arn, st.Label, st.Table})
	}
	s.mu.RUnlock()
	slices.SortFunc(out.Streams, func(a, b streamSummary) int { return strings.Compare(a.StreamArn, b.StreamArn) })
	if len(out.Streams) > limit {
		out.Streams = out.Streams[:limit]
		out.LastEvaluatedStreamArn = out.Streams[limit-1].StreamArn
	}
	return out, nil
}

func (s *Service) describeStream(_ context.Context, _ *wire.Request, in *describeStreamInput) (*describeStreamOutput, error) {
	var c wire.Check
	checkStreamARN(&c, "streamArn", in.StreamArn)
	limit := maxListed
	if in.Limit != nil {
		c.Range("limit", *in.Limit, 1, maxListed)
		limit = int(*in.Limit)
	}
	after := ""
	if in.ExclusiveStartShardID != nil {
		after = *in.ExclusiveStartShardID
		c.Length("exclusiveStartShardId", after, 28, 65)
	}
	parent := ""
	if f := in.ShardFilter; f != nil {
		checkEnum(&c, "shardFilter.type", f.Type, []string{"CHILD_SHARDS"})
		if f.ShardID != "" {
			c.Length("shardFilter.shardId", f.ShardID, 28, 65)
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if f := in.ShardFilter; f != nil {
		if f.Type == "" || f.ShardID == "" {
			return nil, invalid(parametersInvalid + "ShardFilter must have both a Type and a ShardId")
		}
		parent = f.ShardID
	}
	st, err := s.stream(in.StreamArn)
	if err != nil {
		return nil, err
	}
	out := &describeStreamOutput{}
	err = s.with(st, func(time.Time) error {
		d := &out.StreamDescription
		*d = streamDescription{CreationRequestDateTime: wire.Time{Time: st.Created}, KeySchema: st.Keys, Shards: []shardDescription{},
			StreamArn: st.arn, StreamLabel: st.Label, StreamStatus: "ENABLED", StreamViewType: string(st.View), TableName: st.Table}
		if !st.Disabled.IsZero() {
			d.StreamStatus = "DISABLED"
		}
		for _, h := range st.shards {
			if h.ID <= after || parent != "" && h.Parent != parent {
				continue
			}
			if len(d.Shards) == limit {
				d.LastEvaluatedShardID = d.Shards[limit-1].ShardID
				break
			}
			d.Shards = append(d.Shards, h.describe())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *shard) describe() shardDescription {
	d := shardDescription{ParentShardID: h.Parent, ShardID: h.ID}
	d.SequenceNumberRange.StartingSequenceNumber = formatSequence(h.Start)
	if !h.open() {
		d.SequenceNumberRange.EndingSequenceNumber = formatSequence(h.End)
	}
	return d
}

// iterator is a place in a shard: after the record with a sequence number.
type iterator struct {
	arn, shard string
	after      uint64
	horizon    bool // it is wherever the oldest record is
	issued     time.Time
}

// String is the iterator as clients see it. Its form is AWS's: the stream's ARN, and what is nobody's business.
func (i iterator) String() string {
	b := make([]byte, 0, 64)
	if i.horizon {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint64(b, i.after)
	b = binary.BigEndian.AppendUint64(b, uint64(i.issued.UnixMilli()))
	b = append(b, i.shard...)
	b = binary.BigEndian.AppendUint64(b, xxhash.Sum64(append(slices.Clone(b), i.arn...)))
	return i.arn + "|1|" + base64.StdEncoding.EncodeToString(b)
}

func parseIterator(s string) (i iterator, ok bool) {
	arn, rest, ok := strings.Cut(s, "|1|")
	if !ok {
		return i, false
	}
	b, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || len(b) < 25 {
		return i, false
	}
	n := len(b) - 8
	if binary.BigEndian.Uint64(b[n:]) != xxhash.Sum64(append(slices.Clone(b[:n]), arn...)) {
		return i, false
	}
	return iterator{
		arn: arn, shard: string(b[17:n]), after: binary.BigEndian.Uint64(b[1:]), horizon: b[0] == 1,
		issued: time.UnixMilli(int64(binary.BigEndian.Uint64(b[9:]))).UTC(),
	}, true
}

var iteratorTypes = []string{"AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON", "AT_TIMESTAMP"}

func (s *Service) getShardIterator(_ context.Context, _ *wire.Request, in *getShardIteratorInput) (*getShardIteratorOutput, error) {
	var c wire.Check
	checkStreamARN(&c, "streamArn", in.StreamArn)
	c.Required("shardId", in.ShardID != "")
	if in.ShardID != "" {
		c.Length("shardId", in.ShardID, 28, 65)
	}
	c.Required("shardIteratorType", in.ShardIteratorType != "")
	checkEnum(&c, "shardIteratorType", in.ShardIteratorType, iteratorTypes)
	if in.SequenceNumber != nil {
		c.Length("sequenceNumber", *in.SequenceNumber, 21, 40)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		name         string
		there, wants bool
	}{
		{"SequenceNumber", in.SequenceNumber != nil, strings.HasSuffix(in.ShardIteratorType, "_SEQUENCE_NUMBER")},
		{"Timestamp", in.Timestamp != nil, in.ShardIteratorType == "AT_TIMESTAMP"},
	} {
		switch {
		case p.wants && !p.there:
			return nil, invalid(parametersInvalid + p.name + " must be specified when ShardIteratorType is " + in.ShardIteratorType)
		case !p.wants && p.there:
			return nil, invalid(parametersInvalid + p.name + " must not be specified when ShardIteratorType is " + in.ShardIteratorType)
		}
	}
	st, err := s.stream(in.StreamArn)
	if err != nil {
		return nil, err
	}
	i := iterator{arn: st.arn, shard: in.ShardID}
	err = s.with(st, func(now time.Time) error {
		i.issued = now
		h := st.shard(in.ShardID)
		if h == nil {
			return shardNotFound(st.arn, in.ShardID)
		}
		switch in.ShardIteratorType {
		case "TRIM_HORIZON":
			i.horizon = true
			return nil
		case "LATEST":
			i.after = st.sequence
			return nil
		case "AT_TIMESTAMP":
			if in.Timestamp.After(now) {
				return invalid(parametersInvalid + "Timestamp must not be in the future")
			}
			i.after = st.sequence
			if older := h.before(in.Timestamp.Time); older == 0 {
				i.horizon = true
			} else if older < len(h.records) {
				i.after = h.records[older-1].Sequence
			}
			return nil
		}
		n, ok := parseSequence(*in.SequenceNumber)
		if !ok || n < h.Start || !h.open() && n > h.End || n > st.sequence {
			return invalidf("Invalid SequenceNumber: %s is not a sequence number of shard %s", *in.SequenceNumber, h.ID)
		}
		i.after = n
		if in.ShardIteratorType == "AT_SEQUENCE_NUMBER" && n > h.Start {
			i.after = n - 1
		}
		return h.trimmedError(i)
	})
	if err != nil {
		return nil, err
	}
	return &getShardIteratorOutput{i.String()}, nil
}

// trimmedError refuses places whose next record is gone.
func (h *shard) trimmedError(i iterator) error {
	if !i.horizon && i.after < h.Trimmed && h.Trimmed > h.Start {
		return wire.Errorf("TrimmedDataAccessException", "The data you are trying to access has been trimmed.")
	}
	return nil
}

func (s *Service) getRecords(_ context.Context, r *wire.Request, in *getRecordsInput) (*getRecordsOutput, error) {
	var c wire.Check
	c.Required("shardIterator", in.ShardIterator != "")
	if in.ShardIterator != "" {
		c.Length("shardIterator", in.ShardIterator, 1, 2048)
	}
	limit := maxRecords
	if in.Limit != nil {
		c.Range("limit", *in.Limit, 1, maxRecords)
		limit = int(*in.Limit)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	i, ok := parseIterator(in.ShardIterator)
	if !ok {
		return nil, invalid("Invalid ShardIterator")
	}
	st, err := s.stream(i.arn)
	if err != nil {
		return nil, err
	}
	var records []*record
	more := true
	var last uint64
	err = s.with(st, func(now time.Time) error {
		if age := now.Sub(i.issued); age > iteratorLife {
			return wire.Errorf("ExpiredIteratorException", "Iterator expired. The iterator was created at time %s while right now it is %s "+
				"which is further in the future than the tolerated delay of %d milliseconds.",
				i.issued.Format(javaTime), now.UTC().Format(javaTime), iteratorLife.Milliseconds())
		}
		h := st.shard(i.shard)
		if h == nil { // a closed shard whose records are all gone
			return wire.Errorf("TrimmedDataAccessException", "The data you are trying to access has been trimmed.")
		}
		if err := h.trimmedError(i); err != nil {
			return err
		}
		if i.horizon {
			i.after = h.Trimmed
		}
		all := h.after(i.after)
		records = slices.Clone(all[:fitting(all, limit)])
		if n := len(records); n > 0 {
			last = records[n-1].Sequence
			i.after = last
			if st.onDisk.Load() < last {
				// Batches reach the disk in their order: once this one has, so have the records. If they were handed out
				// before, a crash could take them back, and give their sequence numbers to others.
				st.keep()
			}
		} else if h.open() {
			i.after = max(i.after, h.Start)
		}
		// At the horizon of a shard without records one stays there, so as not to fall behind it.
		i.horizon = i.horizon && len(records) == 0
		i.issued = now
		more = h.open() || len(records) < len(all)
		return nil
	})
	if err != nil {
		return nil, err
	}
	st.synced(last)
	out := &getRecordsOutput{Records: make([]recordOutput, 0, len(records))}
	if more {
		out.NextShardIterator = i.String()
	}
	for _, x := range records {
		out.Records = append(out.Records, st.output(x))
	}
	if r.Duplicate {
		out.Records = slices.Concat(out.Records, out.Records)
	}
	return out, nil
}

const javaTime = "Mon Jan 02 15:04:05 MST 2006"

// fitting is how many of the records fit into an answer: at least one.
func fitting(records []*record, limit int) int {
	size := 0
	for n, r := range records {
		if size += r.Size; n == limit || n > 0 && size > maxBytes {
			return n
		}
	}
	return len(records)
}

// output is a record as clients see it. A stream's ARN, view and keys never change.
func (s *stream) output(r *record) recordOutput {
	keys := r.Keys
	switch {
	case r.New != nil:
		keys = s.keysOf(r.New)
	case r.Old != nil:
		keys = s.keysOf(r.Old)
	}
	sequence := formatSequence(r.Sequence)
	out := recordOutput{
		AwsRegion: s.region, EventID: eventID(s.ID, sequence), EventName: string(r.Event), EventSource: "aws:dynamodb", EventVersion: "1.1",
		Dynamodb: streamRecord{ApproximateCreationDateTime: wire.Time{Time: time.Unix(r.Time, 0)}, Keys: keys, NewImage: r.New, OldImage: r.Old,
			SequenceNumber: sequence, SizeBytes: r.Size, StreamViewType: string(s.View)},
	}
	if r.Expired {
		out.UserIdentity = &identity{PrincipalID: "dynamodb.amazonaws.com", Type: "Service"}
	}
	return out
}

// eventID is 32 digits that are always the same for a record.
func eventID(stream, sequence string) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], xxhash.Sum64String(stream+sequence))
	binary.BigEndian.PutUint64(b[8:], xxhash.Sum64String(sequence+stream))
	return hex.EncodeToString(b[:])
}

// RotateShards closes the open shards of a stream, each succeeded by another, as happens every four hours.
func (s *Service) RotateShards(streamARN string) error {
	st, err := s.stream(streamARN)
	if err != nil {
		return err
	}
	return s.with(st, func(now time.Time) error {
		st.rotate(now)
		return nil
	})
}

// SplitShard closes a shard of a stream, succeeded by two, as happens when a table grows.
func (s *Service) SplitShard(streamARN, shardID string) error {
	st, err := s.stream(streamARN)
	if err != nil {
		return err
	}
	return s.with(st, func(now time.Time) error {
		h := st.shard(shardID)
		if h == nil || !h.open() {
			return shardNotFound(st.arn, shardID)
		}
		st.closeShard(h, 2, now)
		return nil
	})
}
