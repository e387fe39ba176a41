package kinesis

import (
	"context"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// reshard changes the shards of a provisioned stream, which may take so many more.
func (s *Service) reshard(k streamKey, more func(st *stream) int64, f func(st *stream, b *store.Batch, now int64) error) error {
	s.mu.RLock()
	u := s.usage(k.account, k.region, s.now())
	s.mu.RUnlock()
	return s.change(k, func(st *stream, b *store.Batch, now int64) error {
		if st.Mode == onDemand {
			return wire.Errorf("ValidationException", "Request is invalid. Stream %s under account %s is in On-Demand mode.", k.name, k.account)
		}
		if err := u.room(k, more(st)); err != nil {
			return err
		}
		if err := f(st, b, now); err != nil {
			return err
		}
		s.busy(st, updating, now)
		return nil
	})
}

// openShard returns a shard that can be split or merged. The caller holds mu.
func (s *stream) openShard(id string, now int64) (*shard, error) {
	index, ok := parseShard(id)
	if !ok {
		return nil, s.noSuchShard(id)
	}
	h := s.shard(index, now)
	if h == nil {
		return nil, s.noSuchShard(shardName(index))
	}
	if h.closed != 0 {
		return nil, wire.Errorf("InvalidArgumentException", "Shard %s in stream %s under account %s has already been merged or split, "+
			"and thus is not eligible for merging or splitting.", h.id, s.name, s.account)
	}
	return h, nil
}

// SplitShardInput is the input of SplitShard.
type SplitShardInput struct {
	StreamRef
	ShardToSplit       *string `json:"ShardToSplit"`
	NewStartingHashKey *string `json:"NewStartingHashKey"`
}

func (s *Service) splitShard(_ context.Context, r *wire.Request, in *SplitShardInput) (*wire.None, error) {
	var c wire.Check
	c.Required("shardToSplit", in.ShardToSplit != nil)
	c.Required("newStartingHashKey", in.NewStartingHashKey != nil)
	checkName(&c, "shardToSplit", in.ShardToSplit)
	if v := in.NewStartingHashKey; v != nil && !isNumber(*v, 39) {
		c.Pattern("newStartingHashKey", *v, hashKeyText, hashKeyPattern)
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	one := func(*stream) int64 { return 1 }
	return &wire.None{}, s.reshard(k, one, func(st *stream, b *store.Batch, now int64) error {
		h, err := st.openShard(*in.ShardToSplit, now)
		if err != nil {
			return err
		}
		at, ok := parseHashKey(*in.NewStartingHashKey)
		if !ok || at.compare(h.from) <= 0 || at.compare(h.from.next()) <= 0 || at.compare(h.to) >= 0 {
			return wire.Errorf("InvalidArgumentException", "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s "+
				"is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
				*in.NewStartingHashKey, h.id, k.name, k.account, h.from, h.to)
		}
		st.split(b, now, h, at)
		return nil
	})
}

// MergeShardsInput is the input of MergeShards.
type MergeShardsInput struct {
	StreamRef
	ShardToMerge         *string `json:"ShardToMerge"`
	AdjacentShardToMerge *string `json:"AdjacentShardToMerge"`
}

func (s *Service) mergeShards(_ context.Context, r *wire.Request, in *MergeShardsInput) (*wire.None, error) {
	var c wire.Check
	c.Required("shardToMerge", in.ShardToMerge != nil)
	c.Required("adjacentShardToMerge", in.AdjacentShardToMerge != nil)
	checkName(&c, "shardToMerge", in.ShardToMerge)
	checkName(&c, "adjacentShardToMerge", in.AdjacentShardToMerge)
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	fewer := func(*stream) int64 { return -1 }
	return &wire.None{}, s.reshard(k, fewer, func(st *stream, b *store.Batch, now int64) error {
		h, err := st.openShard(*in.ShardToMerge, now)
		if err != nil {
			return err
		}
		o, err := st.openShard(*in.AdjacentShardToMerge, now)
		if err != nil {
			return err
		}
		if !follows(h, o) && !follows(o, h) {
			return wire.Errorf("InvalidArgumentException", "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging",
				h.id, o.id, k.name, k.account)
		}
		st.merge(b, now, h, o)
		return nil
	})
}

// follows reports whether b's range begins where a's ends.
func follows(a, b *shard) bool { return a.to != lastHashKey && a.to.next() == b.from }

// UpdateShardCountInput is the input of UpdateShardCount.
type UpdateShardCountInput struct {
	StreamRef
	TargetShardCount *int64  `json:"TargetShardCount"`
	ScalingType      *string `json:"ScalingType"`
}

// UpdateShardCountOutput is the output of UpdateShardCount.
type UpdateShardCountOutput struct {
	StreamName        string `json:"StreamName"`
	StreamARN         string `json:"StreamARN"`
	CurrentShardCount int64  `json:"CurrentShardCount"`
	TargetShardCount  int64  `json:"TargetShardCount"`
}

func (s *Service) updateShardCount(_ context.Context, r *wire.Request, in *UpdateShardCountInput) (*UpdateShardCountOutput, error) {
	var c wire.Check
	c.Required("targetShardCount", in.TargetShardCount != nil)
	checkRange(&c, "targetShardCount", in.TargetShardCount, 1, 0)
	if c.Required("scalingType", in.ScalingType != nil); in.ScalingType != nil {
		c.Enum("scalingType", *in.ScalingType, "UNIFORM_SCALING")
	}
	k, err := in.key(r, &c)
	if err != nil {
		return nil, err
	}
	target := *in.TargetShardCount
	out := &UpdateShardCountOutput{StreamName: k.name, StreamARN: k.arn(), TargetShardCount: target}
	more := func(st *stream) int64 { return target - int64(len(st.open)) }
	return out, s.reshard(k, more, func(st *stream, b *store.Batch, now int64) error {
		open := int64(len(st.open))
		out.CurrentShardCount = open
		refuse := func(why string) error {
			return wire.Errorf("LimitExceededException", "%s Current open shard count: %d, Target shard count: %d", why, open, target)
		}
		recent := lastDay(st.Rescaled, now)
		switch {
		case target > largestStream:
			return refuse("Target shard count or number of open shards cannot be greater than 10000.")
		case target > 2*open:
			return refuse("UpdateShardCount cannot scale up over double your current open shard count.")
		case 2*target < open:
			return refuse("UpdateShardCount cannot scale down below half your current open shard count.")
		case len(recent) >= rescalesADay:
			return wire.Errorf("LimitExceededException", "UpdateShardCount can be called no more than %d times in a rolling 24-hour period for stream %s under account %s.",
				rescalesADay, k.name, k.account)
		}
		st.Rescaled = append(recent, now)
		st.rescale(b, now, int(target))
		return nil
	})
}
