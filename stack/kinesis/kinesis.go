// Package kinesis is Kinesis Data Streams for the local stack: streams whose shards split, merge, close and end as
// AWS's do, with records, iterators, retention, enhanced fan-out, and sequence numbers of AWS's form.
//
// The judge of what it does is https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html. It differs in this:
//
//   - A change of a stream is done when the call returns, unless Delay says otherwise.
//   - Throughput is not limited, unless Limits is set; the rates of calls that change or describe streams never are.
//   - Encryption, metrics and resource policies are kept and reported. Nothing is encrypted, measured or authorised.
//   - An on-demand stream keeps its shards however much is written to it.
//   - Warm throughput and account settings, which stand for a commitment to pay, are refused.
package kinesis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Service is the service. Its methods may be called concurrently.
type Service struct {
	env    env.Env
	limits bool
	delay  int64 // milliseconds

	mu      sync.RWMutex
	streams map[streamKey]*stream

	sealer atomic.Pointer[sealer]
}

// Option changes what New makes.
type Option func(*Service)

// Limits enforces the throughput of shards: 1 MiB and 1,000 records a second to write, 2 MiB and 5 calls a second
// to read, by the stack's clock. What is pushed to subscribers is not limited.
func Limits(s *Service) { s.limits = true }

// Delay makes streams and consumers take so long to be created, changed and deleted, so that those who wait for them
// have something to wait for.
func Delay(d time.Duration) Option { return func(s *Service) { s.delay = d.Milliseconds() } }

// New returns the service with what is in the store.
func New(e env.Env, options ...Option) (*Service, error) {
	s := &Service{env: e, streams: map[streamKey]*stream{}}
	for _, o := range options {
		o(s)
	}
	key, err := s.load()
	if err != nil {
		return nil, err
	}
	var b store.Batch
	if err := s.useKey(&b, key); err != nil {
		return nil, err
	}
	c := e.Store.Commit(&b)
	return s, c.Wait()
}

// useKey takes a key for tokens into use, and puts it in a batch: iterators outlive the process.
func (s *Service) useKey(b *store.Batch, key []byte) error {
	sealer, err := newSealer(key)
	if err != nil {
		return err
	}
	s.sealer.Store(sealer)
	b.Set(tokenKey, key)
	return nil
}

// Reset forgets all streams. Iterators of before are invalid.
func (s *Service) Reset() {
	var b store.Batch
	b.DeletePrefix(root)
	s.mu.Lock()
	for _, st := range s.streams {
		st.mu.Lock()
		st.gone = true
		st.endSubscriptions(st.notFound())
		st.mu.Unlock()
	}
	s.streams = map[streamKey]*stream{}
	err := s.useKey(&b, newKey())
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err = errors.Join(err, c.Wait()); err != nil {
		s.env.Log.Error("the removal of the streams could not be kept", "error", err)
	}
}

// API lists the operations.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "kinesis", Target: "Kinesis_20131202", JSONVersion: "1.1",
		Throttled: wire.Error{Code: "ProvisionedThroughputExceededException", Message: "Rate exceeded for the stream."},
		Operations: []wire.Operation{
			wire.Op("AddTagsToStream", s.addTagsToStream),
			wire.Op("CreateStream", s.createStream),
			wire.Op("DecreaseStreamRetentionPeriod", s.decreaseRetention),
			wire.Op("DeleteResourcePolicy", s.deleteResourcePolicy),
			wire.Op("DeleteStream", s.deleteStream),
			wire.Op("DeregisterStreamConsumer", s.deregisterStreamConsumer),
			wire.Op("DescribeLimits", s.describeLimits),
			wire.Op("DescribeStream", s.describeStream),
			wire.Op("DescribeStreamConsumer", s.describeStreamConsumer),
			wire.Op("DescribeStreamSummary", s.describeStreamSummary),
			wire.Op("DisableEnhancedMonitoring", s.disableEnhancedMonitoring),
			wire.Op("EnableEnhancedMonitoring", s.enableEnhancedMonitoring),
			wire.Op("GetRecords", s.getRecords).Twice(),
			wire.Op("GetResourcePolicy", s.getResourcePolicy),
			wire.Op("GetShardIterator", s.getShardIterator),
			wire.Op("IncreaseStreamRetentionPeriod", s.increaseRetention),
			wire.Op("ListShards", s.listShards),
			wire.Op("ListStreamConsumers", s.listStreamConsumers),
			wire.Op("ListStreams", s.listStreams),
			wire.Op("ListTagsForResource", s.listTagsForResource),
			wire.Op("ListTagsForStream", s.listTagsForStream),
			wire.Op("MergeShards", s.mergeShards),
			wire.Op("PutRecord", s.putRecord),
			wire.Op("PutRecords", s.putRecords),
			wire.Op("PutResourcePolicy", s.putResourcePolicy),
			wire.Op("RegisterStreamConsumer", s.registerStreamConsumer),
			wire.Op("RemoveTagsFromStream", s.removeTagsFromStream),
			wire.Op("SplitShard", s.splitShard),
			wire.Op("StartStreamEncryption", s.startStreamEncryption),
			wire.Op("StopStreamEncryption", s.stopStreamEncryption),
			wire.Op("SubscribeToShard", s.subscribeToShard),
			wire.Op("TagResource", s.tagResource),
			wire.Op("UntagResource", s.untagResource),
			wire.Op("UpdateMaxRecordSize", s.updateMaxRecordSize),
			wire.Op("UpdateShardCount", s.updateShardCount),
			wire.Op("UpdateStreamMode", s.updateStreamMode),
			wire.Op("UpdateStreamRecordDistributionStrategy", s.updateStrategy),
		},
	}}
}

func (s *Service) now() int64 { return s.env.Clock.Now().UnixMilli() }

// lookup returns a stream and leaves its mu held for reading.
func (s *Service) lookup(k streamKey, now int64) (*stream, error) {
	s.mu.RLock()
	st := s.streams[k]
	s.mu.RUnlock()
	if st == nil {
		return nil, k.notFound()
	}
	st.mu.RLock()
	if st.isGone(now) {
		st.mu.RUnlock()
		return nil, k.notFound()
	}
	return st, nil
}

// view calls f with a stream, which f may read.
func (s *Service) view(k streamKey, f func(st *stream, now int64) error) error {
	now := s.now()
	st, err := s.lookup(k, now)
	if err != nil {
		return err
	}
	defer st.mu.RUnlock()
	return f(st, now)
}

// edit calls f with a stream, which f may change. Once f has returned nil the stream's settings, and what f has put in
// the batch, are on their way to the disk; edit returns when they have arrived.
func (s *Service) edit(k streamKey, f func(st *stream, b *store.Batch, now int64) error) error {
	s.mu.RLock()
	st := s.streams[k]
	s.mu.RUnlock()
	if st == nil {
		return k.notFound()
	}
	now := s.now()
	st.mu.Lock()
	if st.isGone(now) {
		st.mu.Unlock()
		return k.notFound()
	}
	var b store.Batch
	st.sweep(&b, now)
	if err := f(st, &b, now); err != nil {
		st.mu.Unlock()
		return err
	}
	st.save(&b)
	unsaved := st.unsaved.Load()
	if unsaved > 0 {
		st.saveAll(&b)
	}
	c := s.env.Store.Commit(&b)
	st.mu.Unlock()
	if err := st.await(c, unsaved); err != nil {
		return err
	}
	st.seal()
	return nil
}

// change is edit for a stream that must be ACTIVE.
func (s *Service) change(k streamKey, f func(st *stream, b *store.Batch, now int64) error) error {
	return s.edit(k, func(st *stream, b *store.Batch, now int64) error {
		if state := st.state(now); state != active {
			return st.notActive(state)
		}
		return f(st, b, now)
	})
}

// busy puts a stream in a state for as long as changes take.
func (s *Service) busy(st *stream, state string, now int64) {
	if s.delay > 0 {
		st.State, st.Until = state, now+s.delay
	}
}

// reap drops the streams whose deletion is over. The caller holds mu for writing.
func (s *Service) reap(b *store.Batch, now int64) {
	for k, st := range s.streams {
		st.mu.Lock()
		if st.isGone(now) {
			s.drop(b, k, st)
		}
		st.mu.Unlock()
	}
}

// drop removes a stream. The caller holds both mus for writing.
func (s *Service) drop(b *store.Batch, k streamKey, st *stream) {
	st.gone = true
	st.endSubscriptions(k.notFound())
	st.erase(b)
	delete(s.streams, k)
}

// CreateStreamInput is the input of CreateStream.
type CreateStreamInput struct {
	StreamName          *string            `json:"StreamName"`
	ShardCount          *int64             `json:"ShardCount"`
	StreamModeDetails   *StreamModeDetails `json:"StreamModeDetails"`
	Tags                map[string]string  `json:"Tags"`
	WarmThroughputMiBps *int64             `json:"WarmThroughputMiBps"`
	MaxRecordSizeInKiB  *int64             `json:"MaxRecordSizeInKiB"`

	RecordDistributionStrategy *string `json:"RecordDistributionStrategy"`
}

// StreamModeDetails is a capacity mode.
type StreamModeDetails struct {
	StreamMode string `json:"StreamMode"`
}

func (m *StreamModeDetails) check(c *wire.Check) {
	if m == nil {
		return
	}
	if c.Required("streamModeDetails.streamMode", m.StreamMode != ""); m.StreamMode != "" {
		c.Enum("streamModeDetails.streamMode", m.StreamMode, provisioned, onDemand)
	}
}

// The default quotas, of the regions that have most.
const (
	shardLimit       = 20000
	onDemandLimit    = 50
	onDemandShards   = 4
	creatingLimit    = 5
	smallestMaxKiB   = 1024
	largestMaxKiB    = 10240
	rescalesADay     = 10
	switchesADay     = 2
	largestStream    = 10000 // shards
	shortestHours    = 24
	longestHours     = 8760
	largestTags      = 50
	consumersAStream = 20
)

func (s *Service) createStream(_ context.Context, r *wire.Request, in *CreateStreamInput) (*wire.None, error) {
	var c wire.Check
	c.Required("streamName", in.StreamName != nil)
	checkName(&c, "streamName", in.StreamName)
	checkRange(&c, "shardCount", in.ShardCount, 1, 0)
	checkRange(&c, "maxRecordSizeInKiB", in.MaxRecordSizeInKiB, smallestMaxKiB, largestMaxKiB)
	checkRange(&c, "warmThroughputMiBps", in.WarmThroughputMiBps, 0, 0)
	in.StreamModeDetails.check(&c)
	checkStrategy(&c, in.RecordDistributionStrategy)
	checkTags(&c, in.Tags, 200)
	if err := c.Err(); err != nil {
		return nil, err
	}
	k := streamKey{r.Account, r.Region, *in.StreamName}
	mode, count := provisioned, int64(onDemandShards)
	if in.StreamModeDetails != nil {
		mode = in.StreamModeDetails.StreamMode
	}
	switch {
	case mode == onDemand && in.ShardCount != nil:
		return nil, wire.Errorf("ValidationException", "Requests to create a stream in On-Demand mode must not have a ShardCount.")
	case mode == provisioned && in.ShardCount == nil:
		return nil, wire.Errorf("ValidationException", "ShardCount is required for a stream in Provisioned mode.")
	case mode == provisioned:
		count = *in.ShardCount
	}
	if in.WarmThroughputMiBps != nil {
		return nil, noWarmThroughput()
	}
	if in.RecordDistributionStrategy != nil && mode != onDemand {
		return nil, noStrategy(k)
	}
	if err := checkTagText(in.Tags); err != nil {
		return nil, err
	}
	if len(in.Tags) > largestTags {
		return nil, tooManyTags(k)
	}

	now := s.now()
	var b store.Batch
	s.mu.Lock()
	s.reap(&b, now)
	if s.streams[k] != nil {
		s.mu.Unlock()
		return nil, wire.Errorf("ResourceInUseException", "Stream %s under account %s already exists.", k.name, k.account)
	}
	if err := s.quotas(k, mode, count, now); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	st := newStream(k, strings.ReplaceAll(uuid.NewString(), "-", ""), now)
	st.Mode = mode
	st.Auto = in.RecordDistributionStrategy != nil && *in.RecordDistributionStrategy == auto
	if in.MaxRecordSizeInKiB != nil {
		st.MaxRecord = *in.MaxRecordSizeInKiB
	}
	for key, v := range in.Tags {
		st.Tags[key] = v
	}
	starts := evenly(int(count))
	for i, from := range starts {
		to := lastHashKey
		if i+1 < len(starts) {
			to = starts[i+1].previous()
		}
		st.insert(newShard(st.nextShard, from, to, now/1000, now))
		st.nextShard++
	}
	s.busy(st, creating, now)
	st.saveAll(&b)
	s.streams[k] = st
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return &wire.None{}, st.await(commit, 0)
}

// quotas refuses a stream for which an account has no room. The caller holds mu.
func (s *Service) quotas(k streamKey, mode string, shards, now int64) error {
	u := s.usage(k.account, k.region, now)
	switch {
	case u.creating >= creatingLimit:
		return wire.Errorf("LimitExceededException", "The account %s has %d streams in the state CREATING; it may have no more than %d at a time.",
			k.account, u.creating, creatingLimit)
	case mode == onDemand && u.onDemand >= onDemandLimit:
		return wire.Errorf("LimitExceededException", "This request would exceed the limit of %d on-demand streams for the account %s in %s.",
			onDemandLimit, k.account, k.region)
	}
	return u.room(k, shards)
}

// usage is what an account has in a region.
type usage struct{ shards, onDemand, creating int64 }

// usage counts. The caller holds mu.
func (s *Service) usage(account, region string, now int64) usage {
	var u usage
	for k, st := range s.streams {
		if k.account != account || k.region != region {
			continue
		}
		st.mu.RLock()
		if !st.isGone(now) {
			u.shards += int64(len(st.open))
			if st.Mode == onDemand {
				u.onDemand++
			}
			if st.state(now) == creating {
				u.creating++
			}
		}
		st.mu.RUnlock()
	}
	return u
}

// room refuses more shards than an account may have.
func (u usage) room(k streamKey, more int64) error {
	if u.shards+more <= shardLimit {
		return nil
	}
	return wire.Errorf("LimitExceededException", "This request would exceed the shard limit for the account %s in %s. "+
		"Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d. "+
		"Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) "+
		"for current limits and how to request higher limits.", k.account, k.region, u.shards, shardLimit, more)
}

// DeleteStreamInput is the input of DeleteStream.
type DeleteStreamInput struct {
	StreamRef
	EnforceConsumerDeletion bool `json:"EnforceConsumerDeletion"`
}

func (s *Service) deleteStream(_ context.Context, r *wire.Request, in *DeleteStreamInput) (*wire.None, error) {
	k, err := in.key(r, &wire.Check{})
	if err != nil {
		return nil, err
	}
	now := s.now()
	var b store.Batch
	s.mu.Lock()
	st := s.streams[k]
	if st == nil {
		s.mu.Unlock()
		return nil, k.notFound()
	}
	st.mu.Lock()
	err = func() error {
		if st.isGone(now) {
			return k.notFound()
		}
		if state := st.state(now); state == creating || state == deleting {
			return st.notActive(state)
		}
		if len(st.living(now)) > 0 && !in.EnforceConsumerDeletion {
			return wire.Errorf("ResourceInUseException", "DeleteStream can't delete %s:%s because there are consumers associated with this data stream. "+
				"To delete %s anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are associated with it.",
				k.account, k.name, k.name)
		}
		if s.delay > 0 {
			s.busy(st, deleting, now)
			st.save(&b)
		} else {
			s.drop(&b, k, st)
		}
		return nil
	}()
	st.mu.Unlock()
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return &wire.None{}, c.Wait()
}

// StreamRef is how an input names a stream.
type StreamRef struct {
	StreamName *string `json:"StreamName"`
	StreamARN  *string `json:"StreamARN"`
	StreamID   *string `json:"StreamId"`
}

// key checks the members, what c has found before, and what they name.
func (n *StreamRef) key(r *wire.Request, c *wire.Check) (streamKey, error) {
	checkName(c, "streamName", n.StreamName)
	checkARN(c, "streamARN", n.StreamARN, streamARN, streamARNPattern)
	if err := checkStreamID(c, n.StreamID); err != nil {
		return streamKey{}, err
	}
	switch {
	case n.StreamARN == nil && n.StreamName == nil:
		return streamKey{}, wire.Errorf("InvalidArgumentException", "Either StreamName or StreamARN should be provided.")
	case n.StreamARN == nil:
		return streamKey{r.Account, r.Region, *n.StreamName}, nil
	}
	k, _ := keyOf(*n.StreamARN)
	if n.StreamName != nil && *n.StreamName != k.name {
		return streamKey{}, wire.Errorf("InvalidArgumentException", "StreamName %s and StreamARN %s name different streams.", *n.StreamName, *n.StreamARN)
	}
	if k.region != r.Region {
		return streamKey{}, k.notFound()
	}
	return k, nil
}

// keyOf reads a stream's ARN, or a consumer's for its stream.
func keyOf(arn string) (streamKey, bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "kinesis" {
		return streamKey{}, false
	}
	name, ok := strings.CutPrefix(p[5], "stream/")
	name, _, _ = strings.Cut(name, "/")
	return streamKey{p[4], p[3], name}, ok && name != ""
}

// sortedStreams returns the streams of an account in a region by name. The caller holds mu.
func (s *Service) sortedStreams(account, region string) []*stream {
	var list []*stream
	for k, st := range s.streams {
		if k.account == account && k.region == region {
			list = append(list, st)
		}
	}
	slices.SortFunc(list, func(a, b *stream) int { return strings.Compare(a.name, b.name) })
	return list
}
