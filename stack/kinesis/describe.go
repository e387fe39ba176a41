package kinesis

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/wire"
)

// The sizes of pages that nobody has asked for, which are also the largest.
const (
	describedShards = 100
	listedStreams   = 100
	listedConsumers = 100
	listedShards    = 1000
)

// Shard is a shard as clients see it.
type Shard struct {
	ShardID               string              `json:"ShardId"`
	ParentShardID         string              `json:"ParentShardId,omitzero"`
	AdjacentParentShardID string              `json:"AdjacentParentShardId,omitzero"`
	HashKeyRange          HashKeyRange        `json:"HashKeyRange"`
	SequenceNumberRange   SequenceNumberRange `json:"SequenceNumberRange"`
}

// HashKeyRange is a range of hash keys, both ends inclusive.
type HashKeyRange struct {
	StartingHashKey string `json:"StartingHashKey"`
	EndingHashKey   string `json:"EndingHashKey"`
}

// SequenceNumberRange bounds the sequence numbers of a shard. An open one has no end.
type SequenceNumberRange struct {
	StartingSequenceNumber string `json:"StartingSequenceNumber"`
	EndingSequenceNumber   string `json:"EndingSequenceNumber,omitzero"`
}

func (s *shard) shown() Shard {
	out := Shard{
		ShardID: s.id, HashKeyRange: HashKeyRange{s.from.String(), s.to.String()},
		SequenceNumberRange: SequenceNumberRange{StartingSequenceNumber: s.start().String()},
	}
	if len(s.parents) > 0 {
		out.ParentShardID = shardName(s.parents[0])
	}
	if len(s.parents) > 1 {
		out.AdjacentParentShardID = shardName(s.parents[1])
	}
	if s.closed != 0 {
		out.SequenceNumberRange.EndingSequenceNumber = s.end().String()
	}
	return out
}

// EnhancedMetrics are metrics that are measured for each shard.
type EnhancedMetrics struct {
	ShardLevelMetrics []string `json:"ShardLevelMetrics"`
}

// StreamDescription is a stream as DescribeStream shows it.
type StreamDescription struct {
	StreamName              string            `json:"StreamName"`
	StreamARN               string            `json:"StreamARN"`
	StreamStatus            string            `json:"StreamStatus"`
	StreamModeDetails       StreamModeDetails `json:"StreamModeDetails"`
	Shards                  []Shard           `json:"Shards"`
	HasMoreShards           bool              `json:"HasMoreShards"`
	RetentionPeriodHours    int64             `json:"RetentionPeriodHours"`
	StreamCreationTimestamp wire.Time         `json:"StreamCreationTimestamp"`
	EnhancedMonitoring      []EnhancedMetrics `json:"EnhancedMonitoring"`
	EncryptionType          string            `json:"EncryptionType"`
	KeyID                   string            `json:"KeyId,omitzero"`
}

// StreamDescriptionSummary is a stream as DescribeStreamSummary shows it.
type StreamDescriptionSummary struct {
	StreamName              string            `json:"StreamName"`
	StreamARN               string            `json:"StreamARN"`
	StreamStatus            string            `json:"StreamStatus"`
	StreamModeDetails       StreamModeDetails `json:"StreamModeDetails"`
	RetentionPeriodHours    int64             `json:"RetentionPeriodHours"`
	StreamCreationTimestamp wire.Time         `json:"StreamCreationTimestamp"`
	EnhancedMonitoring      []EnhancedMetrics `json:"EnhancedMonitoring"`
	EncryptionType          string            `json:"EncryptionType"`
	KeyID                   string            `json:"KeyId,omitzero"`
	OpenShardCount          int               `json:"OpenShardCount"`
	ConsumerCount           int               `json:"ConsumerCount"`
	MaxRecordSizeInKiB      int64             `json:"MaxRecordSizeInKiB"`

	RecordDistributionStrategy string `json:"RecordDistributionStrategy,omitzero"` // of on-demand streams
}

func (s *stream) encryption() string {
	if s.KeyID != "" {
		return kms
	}
	return unencrypted
}

func (s *stream) madeAt() wire.Time { return wire.Time{Time: time.UnixMilli(s.created)} }

func (s *stream) monitoring() []EnhancedMetrics {
	return []EnhancedMetrics{{ShardLevelMetrics: append([]string{}, s.Metrics...)}}
}

// DescribeStreamInput is the input of DescribeStream.
type DescribeStreamInput struct {
	StreamRef
	Limit                 *int64  `json:"Limit"`
	ExclusiveStartShardID *string `json:"ExclusiveStartShardId"`
}

// DescribeStreamOutput is the output of DescribeStream.
type DescribeStreamOutput struct {
	StreamDescription StreamDescription `json:"StreamDescription"`
}

func (s *Service) describeStream(_ context.Context, r *wire.Request, in *DescribeStreamInput) (*DescribeStreamOutput, error) {
	var c wire.Check
	checkRange(&c, "limit", in.Limit, 1, 10000)
	checkName(&c, "exclusiveStartShardId", in.ExclusiveStartShardID)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	out := &DescribeStreamOutput{}
	return out, s.view(k, func(st *stream, now int64) error {
		d := &out.StreamDescription
		*d = StreamDescription{
			StreamName: k.name, StreamARN: k.arn(), StreamStatus: st.state(now), StreamModeDetails: StreamModeDetails{st.Mode},
			RetentionPeriodHours: st.Retention, StreamCreationTimestamp: st.madeAt(), EnhancedMonitoring: st.monitoring(),
			EncryptionType: st.encryption(), KeyID: st.KeyID, Shards: []Shard{},
		}
		if d.StreamStatus == creating {
			return nil
		}
		list := st.listed(now)
		if in.ExclusiveStartShardID != nil {
			list = following(list, *in.ExclusiveStartShardID)
		}
		list, d.HasMoreShards = firstPage(list, in.Limit, describedShards)
		for _, h := range list {
			d.Shards = append(d.Shards, h.shown())
		}
		return nil
	})
}

// following are the shards whose ids come after one.
func following(list []*shard, id string) []*shard {
	i, found := slices.BinarySearchFunc(list, id, func(h *shard, id string) int { return strings.Compare(h.id, id) })
	if found {
		i++
	}
	return list[i:]
}

// firstPage cuts a list to a page, and reports whether there is more.
func firstPage[T any](list []T, asked *int64, largest int) ([]T, bool) {
	n := largest
	if asked != nil {
		n = int(min(*asked, int64(largest)))
	}
	if len(list) <= n {
		return list, false
	}
	return list[:n], true
}

// DescribeStreamSummaryOutput is the output of DescribeStreamSummary.
type DescribeStreamSummaryOutput struct {
	StreamDescriptionSummary StreamDescriptionSummary `json:"StreamDescriptionSummary"`
}

func (s *Service) describeStreamSummary(_ context.Context, r *wire.Request, in *StreamRef) (*DescribeStreamSummaryOutput, error) {
	k, err := in.key(r, &wire.Check{})
	if err != nil {
		return nil, err
	}
	out := &DescribeStreamSummaryOutput{}
	return out, s.view(k, func(st *stream, now int64) error {
		out.StreamDescriptionSummary = StreamDescriptionSummary{
			StreamName: k.name, StreamARN: k.arn(), StreamStatus: st.state(now), StreamModeDetails: StreamModeDetails{st.Mode},
			RetentionPeriodHours: st.Retention, StreamCreationTimestamp: st.madeAt(), EnhancedMonitoring: st.monitoring(),
			EncryptionType: st.encryption(), KeyID: st.KeyID, OpenShardCount: len(st.open), ConsumerCount: len(st.living(now)),
			MaxRecordSizeInKiB: st.MaxRecord,
		}
		if st.Mode == onDemand {
			out.StreamDescriptionSummary.RecordDistributionStrategy = byKey
			if st.Auto {
				out.StreamDescriptionSummary.RecordDistributionStrategy = auto
			}
		}
		if out.StreamDescriptionSummary.StreamStatus == creating {
			out.StreamDescriptionSummary.OpenShardCount = 0
		}
		return nil
	})
}

// DescribeLimitsOutput is the output of DescribeLimits.
type DescribeLimitsOutput struct {
	ShardLimit               int64 `json:"ShardLimit"`
	OpenShardCount           int64 `json:"OpenShardCount"`
	OnDemandStreamCount      int64 `json:"OnDemandStreamCount"`
	OnDemandStreamCountLimit int64 `json:"OnDemandStreamCountLimit"`
}

func (s *Service) describeLimits(_ context.Context, r *wire.Request, _ *struct{}) (*DescribeLimitsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := s.usage(r.Account, r.Region, s.now())
	return &DescribeLimitsOutput{shardLimit, u.shards, u.onDemand, onDemandLimit}, nil
}

// ListStreamsInput is the input of ListStreams.
type ListStreamsInput struct {
	Limit                    *int64  `json:"Limit"`
	ExclusiveStartStreamName *string `json:"ExclusiveStartStreamName"`
	NextToken                *string `json:"NextToken"`
}

// ListStreamsOutput is the output of ListStreams.
type ListStreamsOutput struct {
	StreamNames     []string        `json:"StreamNames"`
	HasMoreStreams  bool            `json:"HasMoreStreams"`
	NextToken       string          `json:"NextToken,omitzero"`
	StreamSummaries []StreamSummary `json:"StreamSummaries"`
}

// StreamSummary is a stream as ListStreams shows it.
type StreamSummary struct {
	StreamName              string            `json:"StreamName"`
	StreamARN               string            `json:"StreamARN"`
	StreamStatus            string            `json:"StreamStatus"`
	StreamModeDetails       StreamModeDetails `json:"StreamModeDetails"`
	StreamCreationTimestamp wire.Time         `json:"StreamCreationTimestamp"`
}

func (s *Service) listStreams(_ context.Context, r *wire.Request, in *ListStreamsInput) (*ListStreamsOutput, error) {
	var c wire.Check
	checkRange(&c, "limit", in.Limit, 1, 10000)
	checkName(&c, "exclusiveStartStreamName", in.ExclusiveStartStreamName)
	if in.NextToken != nil {
		c.Length("nextToken", *in.NextToken, 1, 1<<20)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	now := s.now()
	after := ""
	switch {
	case in.NextToken != nil && in.ExclusiveStartStreamName != nil:
		return nil, together("ExclusiveStartStreamName")
	case in.NextToken != nil:
		content, err := s.openPage(streamsToken, *in.NextToken, now)
		if err != nil {
			return nil, err
		}
		after = string(content)
	case in.ExclusiveStartStreamName != nil:
		after = *in.ExclusiveStartStreamName
	}
	out := &ListStreamsOutput{StreamNames: []string{}, StreamSummaries: []StreamSummary{}}
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := slices.DeleteFunc(s.sortedStreams(r.Account, r.Region), func(st *stream) bool {
		st.mu.RLock()
		defer st.mu.RUnlock()
		return st.name <= after || st.isGone(now)
	})
	list, out.HasMoreStreams = firstPage(list, in.Limit, listedStreams)
	for _, st := range list {
		st.mu.RLock()
		out.StreamNames = append(out.StreamNames, st.name)
		out.StreamSummaries = append(out.StreamSummaries, StreamSummary{
			st.name, st.arn(), st.state(now), StreamModeDetails{st.Mode}, st.madeAt(),
		})
		st.mu.RUnlock()
	}
	if out.HasMoreStreams {
		out.NextToken = s.sealer.Load().seal(streamsToken, now, []byte(out.StreamNames[len(out.StreamNames)-1]))
	}
	return out, nil
}

// openPage returns what a page token holds.
func (s *Service) openPage(kind byte, token string, now int64) ([]byte, error) {
	made, content, ok := s.sealer.Load().open(kind, token)
	if !ok {
		return nil, wire.Errorf("InvalidArgumentException", "Invalid NextToken.")
	}
	if now-made > lifetime.Milliseconds() {
		return nil, wire.Errorf("ExpiredNextTokenException", "NextToken expired. The token was created at time %s while right now it is %s, "+
			"which is further in the future than the tolerated delay of %d milliseconds.", javaTime(made), javaTime(now), lifetime.Milliseconds())
	}
	return content, nil
}

func together(member string) error {
	return wire.Errorf("InvalidArgumentException", "NextToken and %s cannot be provided together.", member)
}

// ShardFilter says which shards ListShards shows.
type ShardFilter struct {
	Type      *string    `json:"Type"`
	ShardID   *string    `json:"ShardId"`
	Timestamp *wire.Time `json:"Timestamp"`
}

const (
	afterShardID    = "AFTER_SHARD_ID"
	atTrimHorizon   = "AT_TRIM_HORIZON"
	fromTrimHorizon = "FROM_TRIM_HORIZON"
	atLatest        = "AT_LATEST"
	fromTimestamp   = "FROM_TIMESTAMP"
)

func (f *ShardFilter) check(c *wire.Check) {
	if f == nil {
		return
	}
	if c.Required("shardFilter.type", f.Type != nil); f.Type != nil {
		c.Enum("shardFilter.type", *f.Type, afterShardID, atTrimHorizon, fromTrimHorizon, atLatest, atTimestamp, fromTimestamp)
	}
	checkName(c, "shardFilter.shardId", f.ShardID)
}

// checkUse demands the members that the type needs, and no others.
func (f *ShardFilter) checkUse() error {
	byID, byTime := *f.Type == afterShardID, *f.Type == atTimestamp || *f.Type == fromTimestamp
	switch {
	case byID && f.ShardID == nil:
		return wire.Errorf("InvalidArgumentException", "ShardId must be provided in ShardFilter if its Type is %s.", *f.Type)
	case !byID && f.ShardID != nil:
		return wire.Errorf("InvalidArgumentException", "ShardId cannot be provided in ShardFilter if its Type is %s.", *f.Type)
	case byTime && f.Timestamp == nil:
		return wire.Errorf("InvalidArgumentException", "Timestamp must be provided in ShardFilter if its Type is %s.", *f.Type)
	case !byTime && f.Timestamp != nil:
		return wire.Errorf("InvalidArgumentException", "Timestamp cannot be provided in ShardFilter if its Type is %s.", *f.Type)
	}
	return nil
}

// ListShardsInput is the input of ListShards.
type ListShardsInput struct {
	StreamRef
	NextToken               *string      `json:"NextToken"`
	ExclusiveStartShardID   *string      `json:"ExclusiveStartShardId"`
	MaxResults              *int64       `json:"MaxResults"`
	StreamCreationTimestamp *wire.Time   `json:"StreamCreationTimestamp"`
	ShardFilter             *ShardFilter `json:"ShardFilter"`
}

// ListShardsOutput is the output of ListShards.
type ListShardsOutput struct {
	Shards    []Shard `json:"Shards"`
	NextToken string  `json:"NextToken,omitzero"`
}

// shardsPage is what the token of ListShards remembers.
type shardsPage struct {
	Account, Region, Name, ID string
	After                     string
	Filter                    string
	Timestamp                 int64
}

func (s *Service) listShards(_ context.Context, r *wire.Request, in *ListShardsInput) (*ListShardsOutput, error) {
	var c wire.Check
	checkRange(&c, "maxResults", in.MaxResults, 1, 10000)
	checkName(&c, "exclusiveStartShardId", in.ExclusiveStartShardID)
	if in.NextToken != nil {
		c.Length("nextToken", *in.NextToken, 1, 1<<20)
	}
	in.ShardFilter.check(&c)
	page, err := s.shardsPage(r, in, &c)
	if err != nil {
		return nil, err
	}
	k := streamKey{page.Account, page.Region, page.Name}
	out := &ListShardsOutput{Shards: []Shard{}}
	return out, s.view(k, func(st *stream, now int64) error {
		if page.ID != "" && page.ID != st.id || !madeThen(in.StreamCreationTimestamp, st) {
			return k.notFound()
		}
		if state := st.state(now); state == creating || state == deleting {
			return k.notActive(state)
		}
		page.ID = st.id
		list := following(st.filtered(page, now), page.After)
		list, more := firstPage(list, in.MaxResults, listedShards)
		for _, h := range list {
			out.Shards = append(out.Shards, h.shown())
		}
		if more {
			page.After = list[len(list)-1].id
			out.NextToken = s.sealer.Load().seal(shardsToken, now, encode(page))
		}
		return nil
	})
}

// shardsPage says what is asked for, by the members or by a token.
func (s *Service) shardsPage(r *wire.Request, in *ListShardsInput, c *wire.Check) (*shardsPage, error) {
	page := &shardsPage{}
	if in.NextToken == nil {
		if in.StreamName == nil && in.StreamARN == nil && c.Err() == nil {
			return nil, wire.Errorf("InvalidArgumentException", "Either NextToken or StreamName should be provided.")
		}
		k, err := in.key(r, c)
		if err != nil {
			return nil, err
		}
		page.Account, page.Region, page.Name = k.account, k.region, k.name
		if in.ExclusiveStartShardID != nil {
			page.After = *in.ExclusiveStartShardID
		}
		if f := in.ShardFilter; f != nil {
			if err := f.checkUse(); err != nil {
				return nil, err
			}
			page.Filter = *f.Type
			if f.Timestamp != nil {
				page.Timestamp = f.Timestamp.UnixMilli()
			}
			if f.ShardID != nil {
				page.After = max(page.After, *f.ShardID)
			}
		}
		return page, nil
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name  string
		given bool
	}{
		{"StreamName", in.StreamName != nil},
		{"StreamARN", in.StreamARN != nil},
		{"StreamId", in.StreamID != nil},
		{"ExclusiveStartShardId", in.ExclusiveStartShardID != nil},
		{"StreamCreationTimestamp", in.StreamCreationTimestamp != nil},
		{"ShardFilter", in.ShardFilter != nil},
	} {
		if m.given {
			return nil, together(m.name)
		}
	}
	content, err := s.openPage(shardsToken, *in.NextToken, s.now())
	if err != nil {
		return nil, err
	}
	return page, json.Unmarshal(content, page)
}

// madeThen reports whether a stream is the one that was made at a time, if one is given. Clients know the seconds.
func madeThen(t *wire.Time, st *stream) bool {
	return t == nil || t.Unix() == st.created/1000
}

// filtered are the shards that a filter lets through. The caller holds mu.
func (s *stream) filtered(p *shardsPage, now int64) []*shard {
	var keep func(h *shard) bool
	list := s.listed(now)
	switch p.Filter {
	case atLatest:
		keep = func(h *shard) bool { return h.closed == 0 }
	case atTrimHorizon: // the oldest shards from which all others descend
		keep = func(h *shard) bool {
			return !slices.ContainsFunc(h.parents, func(i uint32) bool { return s.shard(i, now) != nil })
		}
	case atTimestamp:
		keep = func(h *shard) bool {
			return h.opened <= p.Timestamp && (h.closed == 0 || h.closed >= p.Timestamp)
		}
	case fromTimestamp:
		keep = func(h *shard) bool { return h.closed == 0 || h.closed >= p.Timestamp }
	default: // AFTER_SHARD_ID is in After, and FROM_TRIM_HORIZON is all there is
		return list
	}
	var out []*shard
	for _, h := range list {
		if keep(h) {
			out = append(out, h)
		}
	}
	return out
}

// ListStreamConsumersInput is the input of ListStreamConsumers.
type ListStreamConsumersInput struct {
	StreamARN               *string    `json:"StreamARN"`
	StreamID                *string    `json:"StreamId"`
	NextToken               *string    `json:"NextToken"`
	MaxResults              *int64     `json:"MaxResults"`
	StreamCreationTimestamp *wire.Time `json:"StreamCreationTimestamp"`
}

// ListStreamConsumersOutput is the output of ListStreamConsumers.
type ListStreamConsumersOutput struct {
	Consumers []Consumer `json:"Consumers"`
	NextToken string     `json:"NextToken,omitzero"`
}

func (s *Service) listStreamConsumers(_ context.Context, r *wire.Request, in *ListStreamConsumersInput) (*ListStreamConsumersOutput, error) {
	var c wire.Check
	c.Required("streamARN", in.StreamARN != nil)
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	checkRange(&c, "maxResults", in.MaxResults, 1, 10000)
	if in.NextToken != nil {
		c.Length("nextToken", *in.NextToken, 1, 1<<20)
	}
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	k, err := streamOf(r, *in.StreamARN)
	if err != nil {
		return nil, err
	}
	after, id := "", ""
	if in.NextToken != nil {
		if in.StreamCreationTimestamp != nil {
			return nil, together("StreamCreationTimestamp")
		}
		content, err := s.openPage(consumersToken, *in.NextToken, s.now())
		if err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint16(content))
		id, after = string(content[2:2+n]), string(content[2+n:])
	}
	out := &ListStreamConsumersOutput{Consumers: []Consumer{}}
	return out, s.view(k, func(st *stream, now int64) error {
		if id != "" && id != st.id || !madeThen(in.StreamCreationTimestamp, st) {
			return k.notFound()
		}
		list := slices.DeleteFunc(st.living(now), func(c *consumer) bool { return c.name <= after })
		list, more := firstPage(list, in.MaxResults, listedConsumers)
		for _, c := range list {
			out.Consumers = append(out.Consumers, c.shown(now))
		}
		if more {
			content := binary.BigEndian.AppendUint16(nil, uint16(len(st.id))) //nolint:gosec // it is short
			content = append(append(content, st.id...), list[len(list)-1].name...)
			out.NextToken = s.sealer.Load().seal(consumersToken, now, content)
		}
		return nil
	})
}
