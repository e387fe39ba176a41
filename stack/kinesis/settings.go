package kinesis

import (
	"context"
	"maps"
	"slices"

	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// RetentionInput is the input of IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod.
type RetentionInput struct {
	StreamRef
	RetentionPeriodHours *int64 `json:"RetentionPeriodHours"`
}

func (s *Service) increaseRetention(_ context.Context, r *wire.Request, in *RetentionInput) (*wire.None, error) {
	return s.retain(r, in, func(k streamKey, was, want int64) error {
		if want >= was {
			return nil
		}
		return wire.Errorf("InvalidArgumentException", "Requested retention period (%d hours) for stream %s can not be shorter than "+
			"existing retention period (%d hours). Use DecreaseRetentionPeriod API.", want, k.name, was)
	})
}

func (s *Service) decreaseRetention(_ context.Context, r *wire.Request, in *RetentionInput) (*wire.None, error) {
	return s.retain(r, in, func(k streamKey, was, want int64) error {
		if want <= was {
			return nil
		}
		return wire.Errorf("InvalidArgumentException", "Requested retention period (%d hours) for stream %s can not be longer than "+
			"existing retention period (%d hours). Use IncreaseRetentionPeriod API.", want, k.name, was)
	})
}

func (s *Service) retain(r *wire.Request, in *RetentionInput, allowed func(k streamKey, was, want int64) error) (*wire.None, error) {
	var c wire.Check
	c.Required("retentionPeriodHours", in.RetentionPeriodHours != nil)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	want := *in.RetentionPeriodHours
	return &wire.None{}, s.change(k, func(st *stream, b *store.Batch, now int64) error {
		if want < shortestHours {
			return wire.Errorf("InvalidArgumentException",
				"Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", shortestHours, want)
		}
		if want > longestHours {
			return wire.Errorf("InvalidArgumentException",
				"Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", longestHours, want)
		}
		if err := allowed(k, st.Retention, want); err != nil {
			return err
		}
		st.trim(b, now) // by the old period: a longer one does not bring records back
		st.Retention = want
		st.trim(b, now)
		s.busy(st, updating, now)
		return nil
	})
}

// allMetrics are the metrics that a shard can have, in the order of the service's model.
var allMetrics = []string{
	"IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
	"WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds",
}

// MonitoringInput is the input of EnableEnhancedMonitoring and DisableEnhancedMonitoring.
type MonitoringInput struct {
	StreamRef
	ShardLevelMetrics []string `json:"ShardLevelMetrics"`
}

// MonitoringOutput is their output: the metrics before and after.
type MonitoringOutput struct {
	StreamName               string   `json:"StreamName"`
	StreamARN                string   `json:"StreamARN"`
	CurrentShardLevelMetrics []string `json:"CurrentShardLevelMetrics"`
	DesiredShardLevelMetrics []string `json:"DesiredShardLevelMetrics"`
}

func (s *Service) enableEnhancedMonitoring(_ context.Context, r *wire.Request, in *MonitoringInput) (*MonitoringOutput, error) {
	return s.monitor(r, in, func(has, named bool) bool { return has || named })
}

func (s *Service) disableEnhancedMonitoring(_ context.Context, r *wire.Request, in *MonitoringInput) (*MonitoringOutput, error) {
	return s.monitor(r, in, func(has, named bool) bool { return has && !named })
}

func (s *Service) monitor(r *wire.Request, in *MonitoringInput, keep func(has, named bool) bool) (*MonitoringOutput, error) {
	var c wire.Check
	if c.Required("shardLevelMetrics", in.ShardLevelMetrics != nil); in.ShardLevelMetrics != nil {
		c.Count("shardLevelMetrics", "[…]", len(in.ShardLevelMetrics), 1, len(allMetrics))
	}
	for _, m := range in.ShardLevelMetrics {
		c.Enum("shardLevelMetrics", m, append(slices.Clone(allMetrics), "ALL")...)
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	all := slices.Contains(in.ShardLevelMetrics, "ALL")
	out := &MonitoringOutput{StreamName: k.name, StreamARN: k.arn(), DesiredShardLevelMetrics: []string{}}
	return out, s.change(k, func(st *stream, _ *store.Batch, now int64) error {
		out.CurrentShardLevelMetrics = append([]string{}, st.Metrics...)
		for _, m := range allMetrics {
			if keep(slices.Contains(st.Metrics, m), all || slices.Contains(in.ShardLevelMetrics, m)) {
				out.DesiredShardLevelMetrics = append(out.DesiredShardLevelMetrics, m)
			}
		}
		st.Metrics = out.DesiredShardLevelMetrics
		s.busy(st, updating, now)
		return nil
	})
}

// EncryptionInput is the input of StartStreamEncryption and StopStreamEncryption.
type EncryptionInput struct {
	StreamRef
	EncryptionType *string `json:"EncryptionType"`
	KeyID          *string `json:"KeyId"`
}

func (s *Service) startStreamEncryption(_ context.Context, r *wire.Request, in *EncryptionInput) (*wire.None, error) {
	return s.encrypt(r, in, func(st *stream) error {
		st.KeyID = *in.KeyID
		return nil
	})
}

func (s *Service) stopStreamEncryption(_ context.Context, r *wire.Request, in *EncryptionInput) (*wire.None, error) {
	return s.encrypt(r, in, func(st *stream) error {
		if st.KeyID != "" && st.KeyID != *in.KeyID {
			return wire.Errorf("InvalidArgumentException", "KeyId %s is not the key %s that encrypts stream %s under account %s.",
				*in.KeyID, st.KeyID, st.name, st.account)
		}
		st.KeyID = ""
		return nil
	})
}

func (s *Service) encrypt(r *wire.Request, in *EncryptionInput, f func(st *stream) error) (*wire.None, error) {
	var c wire.Check
	if c.Required("encryptionType", in.EncryptionType != nil); in.EncryptionType != nil {
		c.Enum("encryptionType", *in.EncryptionType, unencrypted, kms)
	}
	if c.Required("keyId", in.KeyID != nil); in.KeyID != nil {
		c.Length("keyId", *in.KeyID, 1, 2048)
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	if *in.EncryptionType != kms {
		return nil, wire.Errorf("InvalidArgumentException", "EncryptionType %s is not supported; the only valid value is %s.", *in.EncryptionType, kms)
	}
	return &wire.None{}, s.change(k, func(st *stream, _ *store.Batch, now int64) error {
		if err := f(st); err != nil {
			return err
		}
		s.busy(st, updating, now)
		return nil
	})
}

// UpdateStreamModeInput is the input of UpdateStreamMode.
type UpdateStreamModeInput struct {
	StreamARN           *string            `json:"StreamARN"`
	StreamID            *string            `json:"StreamId"`
	StreamModeDetails   *StreamModeDetails `json:"StreamModeDetails"`
	WarmThroughputMiBps *int64             `json:"WarmThroughputMiBps"`
}

func noWarmThroughput() error {
	return wire.Errorf("ValidationException", "WarmThroughputMiBps needs MinimumThroughputBillingCommitment to be enabled for the account, which millrace's local stack does not have.")
}

func (s *Service) updateStreamMode(_ context.Context, r *wire.Request, in *UpdateStreamModeInput) (*wire.None, error) {
	var c wire.Check
	c.Required("streamARN", in.StreamARN != nil)
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	c.Required("streamModeDetails", in.StreamModeDetails != nil)
	in.StreamModeDetails.check(&c)
	checkRange(&c, "warmThroughputMiBps", in.WarmThroughputMiBps, 0, 0)
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	if in.WarmThroughputMiBps != nil {
		return nil, noWarmThroughput()
	}
	k, err := streamOf(r, *in.StreamARN)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	u := s.usage(k.account, k.region, s.now())
	s.mu.RUnlock()
	return &wire.None{}, s.change(k, func(st *stream, _ *store.Batch, now int64) error {
		mode := in.StreamModeDetails.StreamMode
		if st.Mode == mode {
			return nil
		}
		recent := lastDay(st.Switched, now)
		switch {
		case len(recent) >= switchesADay:
			return wire.Errorf("LimitExceededException", "The mode of stream %s under account %s can be changed no more than %d times in a rolling 24-hour period.",
				k.name, k.account, switchesADay)
		case mode == onDemand && u.onDemand >= onDemandLimit:
			return wire.Errorf("LimitExceededException", "This request would exceed the limit of %d on-demand streams for the account %s in %s.",
				onDemandLimit, k.account, k.region)
		}
		if st.Auto {
			return wire.Errorf("InvalidArgumentException", "Stream %s under account %s has the RecordDistributionStrategy %s, "+
				"which is supported in On-Demand mode only.", k.name, k.account, auto)
		}
		st.Switched = append(recent, now)
		st.Mode = mode
		s.busy(st, updating, now)
		return nil
	})
}

// The strategies by which records are given to shards.
const (
	auto  = "AUTO"
	byKey = "USER_PARTITION_KEY"
)

func checkStrategy(c *wire.Check, v *string) {
	if v != nil {
		c.Enum("recordDistributionStrategy", *v, auto, byKey)
	}
}

func noStrategy(k streamKey) error {
	return wire.Errorf("InvalidArgumentException", "RecordDistributionStrategy is supported for streams in On-Demand mode only; stream %s under account %s is not.",
		k.name, k.account)
}

// UpdateStrategyInput is the input of UpdateStreamRecordDistributionStrategy.
type UpdateStrategyInput struct {
	StreamARN                  *string `json:"StreamARN"`
	StreamID                   *string `json:"StreamId"`
	RecordDistributionStrategy *string `json:"RecordDistributionStrategy"`
}

func (s *Service) updateStrategy(_ context.Context, r *wire.Request, in *UpdateStrategyInput) (*wire.None, error) {
	var c wire.Check
	c.Required("streamARN", in.StreamARN != nil)
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	c.Required("recordDistributionStrategy", in.RecordDistributionStrategy != nil)
	checkStrategy(&c, in.RecordDistributionStrategy)
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	k, err := streamOf(r, *in.StreamARN)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(k, func(st *stream, _ *store.Batch, now int64) error {
		if st.Mode != onDemand {
			return noStrategy(k)
		}
		st.Auto = *in.RecordDistributionStrategy == auto
		s.busy(st, updating, now)
		return nil
	})
}

// UpdateMaxRecordSizeInput is the input of UpdateMaxRecordSize.
type UpdateMaxRecordSizeInput struct {
	StreamARN          *string `json:"StreamARN"`
	StreamID           *string `json:"StreamId"`
	MaxRecordSizeInKiB *int64  `json:"MaxRecordSizeInKiB"`
}

func (s *Service) updateMaxRecordSize(_ context.Context, r *wire.Request, in *UpdateMaxRecordSizeInput) (*wire.None, error) {
	var c wire.Check
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	c.Required("maxRecordSizeInKiB", in.MaxRecordSizeInKiB != nil)
	checkRange(&c, "maxRecordSizeInKiB", in.MaxRecordSizeInKiB, smallestMaxKiB, largestMaxKiB)
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	if in.StreamARN == nil {
		return nil, wire.Errorf("InvalidArgumentException", "StreamARN should be provided.")
	}
	k, err := streamOf(r, *in.StreamARN)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(k, func(st *stream, _ *store.Batch, now int64) error {
		st.MaxRecord = *in.MaxRecordSizeInKiB
		s.busy(st, updating, now)
		return nil
	})
}

// Tag is a tag.
type Tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

func tagList(tags map[string]string) []Tag {
	list := []Tag{}
	for _, k := range sortedKeys(tags) {
		list = append(list, Tag{k, tags[k]})
	}
	return list
}

// AddTagsToStreamInput is the input of AddTagsToStream.
type AddTagsToStreamInput struct {
	StreamRef
	Tags map[string]string `json:"Tags"`
}

func (s *Service) addTagsToStream(_ context.Context, r *wire.Request, in *AddTagsToStreamInput) (*wire.None, error) {
	var c wire.Check
	c.Required("tags", in.Tags != nil)
	checkTags(&c, in.Tags, 200)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	if err := checkTagText(in.Tags); err != nil {
		return nil, err
	}
	return &wire.None{}, s.edit(k, func(st *stream, _ *store.Batch, now int64) error {
		if state := st.state(now); state == creating || state == deleting {
			return st.notActive(state)
		}
		return addTags(k, st.Tags, in.Tags)
	})
}

func addTags(k streamKey, to, tags map[string]string) error {
	all := maps.Clone(to)
	maps.Copy(all, tags)
	if len(all) > largestTags {
		return tooManyTags(k)
	}
	maps.Copy(to, tags)
	return nil
}

// RemoveTagsFromStreamInput is the input of RemoveTagsFromStream.
type RemoveTagsFromStreamInput struct {
	StreamRef
	TagKeys []string `json:"TagKeys"`
}

func (s *Service) removeTagsFromStream(_ context.Context, r *wire.Request, in *RemoveTagsFromStreamInput) (*wire.None, error) {
	var c wire.Check
	checkTagKeys(&c, in.TagKeys)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.edit(k, func(st *stream, _ *store.Batch, now int64) error {
		if state := st.state(now); state == creating || state == deleting {
			return st.notActive(state)
		}
		for _, key := range in.TagKeys {
			delete(st.Tags, key)
		}
		return nil
	})
}

// ListTagsForStreamInput is the input of ListTagsForStream.
type ListTagsForStreamInput struct {
	StreamRef
	ExclusiveStartTagKey *string `json:"ExclusiveStartTagKey"`
	Limit                *int64  `json:"Limit"`
}

// ListTagsForStreamOutput is the output of ListTagsForStream.
type ListTagsForStreamOutput struct {
	Tags        []Tag `json:"Tags"`
	HasMoreTags bool  `json:"HasMoreTags"`
}

func (s *Service) listTagsForStream(_ context.Context, r *wire.Request, in *ListTagsForStreamInput) (*ListTagsForStreamOutput, error) {
	var c wire.Check
	if in.ExclusiveStartTagKey != nil {
		c.Length("exclusiveStartTagKey", *in.ExclusiveStartTagKey, 1, 128)
	}
	checkRange(&c, "limit", in.Limit, 1, largestTags)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	out := &ListTagsForStreamOutput{}
	return out, s.view(k, func(st *stream, _ int64) error {
		list := tagList(st.Tags)
		if in.ExclusiveStartTagKey != nil {
			list = slices.DeleteFunc(list, func(t Tag) bool { return t.Key <= *in.ExclusiveStartTagKey })
		}
		out.Tags, out.HasMoreTags = firstPage(list, in.Limit, largestTags)
		return nil
	})
}

// ResourceRef is how an input names a stream or a consumer.
type ResourceRef struct {
	ResourceARN *string `json:"ResourceARN"`
	StreamID    *string `json:"StreamId"`
}

// resource is what a ResourceRef names: a stream, or its consumer if there is one.
type resource struct {
	key      streamKey
	consumer *ConsumerRef
}

func (n *ResourceRef) resource(r *wire.Request, c *wire.Check) (resource, error) {
	c.Required("resourceARN", n.ResourceARN != nil)
	checkARN(c, "resourceARN", n.ResourceARN, resourceARN, resourceARNPattern)
	if err := checkStreamID(c, n.StreamID); err != nil {
		return resource{}, err
	}
	k, err := streamOf(r, *n.ResourceARN)
	out := resource{key: k}
	if *n.ResourceARN != k.arn() {
		out.consumer = &ConsumerRef{ConsumerARN: n.ResourceARN}
	}
	return out, err
}

// tagsAndPolicy returns where the resource keeps its tags and its policy. The caller holds the stream's mu.
func (n resource) tagsAndPolicy(st *stream, now int64) (tags map[string]string, policy *string, err error) {
	if n.consumer == nil {
		return st.Tags, &st.Policy, nil
	}
	c, err := n.consumer.find(st, now)
	if err != nil {
		return nil, nil, err
	}
	return c.tags, &c.policy, nil
}

// editResource calls f with the tags and the policy of a resource, which f may change.
func (s *Service) editResource(n resource, f func(tags map[string]string, policy *string) error) error {
	return s.edit(n.key, func(st *stream, b *store.Batch, now int64) error {
		if state := st.state(now); state == creating || state == deleting {
			return st.notActive(state)
		}
		tags, document, err := n.tagsAndPolicy(st, now)
		if err != nil {
			return err
		}
		if err := f(tags, document); err != nil {
			return err
		}
		if n.consumer != nil {
			c, err := n.consumer.find(st, now)
			if err != nil {
				return err
			}
			b.Set(consumerKey(st.id, c.name), c.encode())
		}
		return nil
	})
}

// TagResourceInput is the input of TagResource.
type TagResourceInput struct {
	ResourceRef
	Tags map[string]string `json:"Tags"`
}

func (s *Service) tagResource(_ context.Context, r *wire.Request, in *TagResourceInput) (*wire.None, error) {
	var c wire.Check
	c.Required("tags", in.Tags != nil)
	checkTags(&c, in.Tags, 200)
	n, err := in.resource(r, &c)
	if err != nil {
		return nil, err
	}
	if err := checkTagText(in.Tags); err != nil {
		return nil, err
	}
	return &wire.None{}, s.editResource(n, func(tags map[string]string, _ *string) error { return addTags(n.key, tags, in.Tags) })
}

// UntagResourceInput is the input of UntagResource.
type UntagResourceInput struct {
	ResourceRef
	TagKeys []string `json:"TagKeys"`
}

func (s *Service) untagResource(_ context.Context, r *wire.Request, in *UntagResourceInput) (*wire.None, error) {
	var c wire.Check
	checkTagKeys(&c, in.TagKeys)
	n, err := in.resource(r, &c)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.editResource(n, func(tags map[string]string, _ *string) error {
		for _, key := range in.TagKeys {
			delete(tags, key)
		}
		return nil
	})
}

// ListTagsForResourceOutput is the output of ListTagsForResource.
type ListTagsForResourceOutput struct {
	Tags []Tag `json:"Tags"`
}

func (s *Service) listTagsForResource(_ context.Context, r *wire.Request, in *ResourceRef) (*ListTagsForResourceOutput, error) {
	n, err := in.resource(r, &wire.Check{})
	if err != nil {
		return nil, err
	}
	out := &ListTagsForResourceOutput{}
	return out, s.view(n.key, func(st *stream, now int64) error {
		tags, _, err := n.tagsAndPolicy(st, now)
		out.Tags = tagList(tags)
		return err
	})
}

// PutResourcePolicyInput is the input of PutResourcePolicy.
type PutResourcePolicyInput struct {
	ResourceRef
	Policy *string `json:"Policy"`
}

func (s *Service) putResourcePolicy(_ context.Context, r *wire.Request, in *PutResourcePolicyInput) (*wire.None, error) {
	var c wire.Check
	c.Required("policy", in.Policy != nil)
	n, err := in.resource(r, &c)
	if err != nil {
		return nil, err
	}
	if _, err := policy.Parse([]byte(*in.Policy)); err != nil {
		return nil, wire.Errorf("InvalidArgumentException", "Invalid resource policy: %v", err)
	}
	return &wire.None{}, s.editResource(n, func(_ map[string]string, document *string) error {
		*document = *in.Policy
		return nil
	})
}

// GetResourcePolicyOutput is the output of GetResourcePolicy.
type GetResourcePolicyOutput struct {
	Policy string `json:"Policy"`
}

func (s *Service) getResourcePolicy(_ context.Context, r *wire.Request, in *ResourceRef) (*GetResourcePolicyOutput, error) {
	n, err := in.resource(r, &wire.Check{})
	if err != nil {
		return nil, err
	}
	out := &GetResourcePolicyOutput{}
	return out, s.view(n.key, func(st *stream, now int64) error {
		_, document, err := n.tagsAndPolicy(st, now)
		if err != nil {
			return err
		}
		if *document == "" {
			return noPolicy(in)
		}
		out.Policy = *document
		return nil
	})
}

func (s *Service) deleteResourcePolicy(_ context.Context, r *wire.Request, in *ResourceRef) (*wire.None, error) {
	n, err := in.resource(r, &wire.Check{})
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.editResource(n, func(_ map[string]string, document *string) error {
		if *document == "" {
			return noPolicy(in)
		}
		*document = ""
		return nil
	})
}

func noPolicy(n *ResourceRef) error {
	return wire.Errorf("ResourceNotFoundException", "No resource policy found for resource ARN %s.", *n.ResourceARN)
}
