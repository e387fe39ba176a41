package kinesis

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func (w *world) split(t *testing.T, shard, at string) {
	t.Helper()
	must(t, w.SplitShard, &sdk.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: &shard, NewStartingHashKey: &at})
}

func (w *world) merge(t *testing.T, shard, adjacent string) {
	t.Helper()
	must(t, w.MergeShards, &sdk.MergeShardsInput{StreamName: aws.String("s"), ShardToMerge: &shard, AdjacentShardToMerge: &adjacent})
}

const (
	shard0 = "shardId-000000000000"
	shard1 = "shardId-000000000001"
	shard2 = "shardId-000000000002"
	shard3 = "shardId-000000000003"
	half   = "170141183460469231731687303715884105728" // 2^127
	quart  = "85070591730234615865843651857942052864"  // 2^126
)

func ids(shards []types.Shard) (out []string) {
	for _, s := range shards {
		out = append(out, (*s.ShardId)[len("shardId-0000000000"):])
	}
	return out
}

// partition fails the test unless the open shards take each hash key once.
func partition(t *testing.T, shards []types.Shard) {
	t.Helper()
	ends := map[string]string{}
	for _, s := range shards {
		if s.SequenceNumberRange.EndingSequenceNumber == nil {
			ends[*s.HashKeyRange.StartingHashKey] = *s.HashKeyRange.EndingHashKey
		}
	}
	at, n := new(big.Int), 0
	for ; at.BitLen() <= 128; n++ {
		end, ok := new(big.Int).SetString(ends[at.String()], 10)
		if !ok || end.Cmp(at) < 0 {
			t.Fatalf("no open shard begins at %s: %v", at, ends)
		}
		at = end.Add(end, big.NewInt(1))
	}
	if n != len(ends) || at.String() != "340282366920938463463374607431768211456" {
		t.Fatalf("%d of %d shards reach %s: %v", n, len(ends), at, ends)
	}
}

func TestSplitAndMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	before := w.putOne(t, "s", "k", "before the split")
	live := must(t, w.GetShardIterator, &sdk.GetShardIteratorInput{
		StreamName: aws.String("s"), ShardId: aws.String(shard0), ShardIteratorType: types.ShardIteratorTypeLatest,
	}).ShardIterator
	w.Clock.Advance(time.Second)
	w.split(t, shard0, half)

	list := w.shards(t, "s")
	partition(t, list)
	parent := list[0]
	if len(list) != 3 || parent.SequenceNumberRange.EndingSequenceNumber == nil {
		t.Fatalf("the shards are %+v", list)
	}
	if end := *parent.SequenceNumberRange.EndingSequenceNumber; end <= *before.SequenceNumber || len(end) != 56 {
		t.Errorf("the parent ends at %s, its record is %s", end, *before.SequenceNumber)
	}
	for i, c := range list[1:] {
		if *c.ParentShardId != shard0 || c.AdjacentParentShardId != nil || *c.SequenceNumberRange.StartingSequenceNumber <= *parent.SequenceNumberRange.EndingSequenceNumber {
			t.Errorf("child %d is %+v", i, c)
		}
	}
	if r := list[2].HashKeyRange; *r.StartingHashKey != half || *list[1].HashKeyRange.EndingHashKey != "170141183460469231731687303715884105727" {
		t.Errorf("the children's ranges meet at %s and %s", *list[1].HashKeyRange.EndingHashKey, *r.StartingHashKey)
	}

	// The closed shard ends, with its last records, for each reader.
	records, children := w.drain(t, "s", shard0)
	if len(records) != 1 || len(children) != 2 || *children[0].ShardId != shard1 || fmt.Sprint(children[1].ParentShards) != "["+shard0+"]" ||
		*children[1].HashKeyRange.StartingHashKey != half {
		t.Errorf("the end of the parent is %+v, %+v", records, children)
	}
	end := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: live})
	if end.NextShardIterator != nil || len(end.ChildShards) != 2 || len(end.Records) != 0 {
		t.Errorf("an iterator of before reads %+v", end)
	}
	at := must(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(shard0),
		ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: parent.SequenceNumberRange.EndingSequenceNumber})
	if end := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: at.ShardIterator}); end.NextShardIterator != nil || len(end.ChildShards) != 2 {
		t.Errorf("an iterator at the end reads %+v", end)
	}
	refused(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(shard0),
		ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: parent.SequenceNumberRange.EndingSequenceNumber},
		"InvalidArgumentException", "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, SequenceNumber has reached max possible value for the shard.")

	// A page that does not reach the end says so.
	w.Clock.Advance(time.Second)
	after := w.putOne(t, "s", "k", "after the split")
	if *after.ShardId == shard0 || *after.SequenceNumber <= *before.SequenceNumber {
		t.Errorf("a record after the split is %s in %s", *after.SequenceNumber, *after.ShardId)
	}

	w.merge(t, shard2, shard1) // in either order
	list = w.shards(t, "s")
	partition(t, list)
	if m := list[3]; *m.ParentShardId != shard2 || *m.AdjacentParentShardId != shard1 || *m.HashKeyRange.StartingHashKey != "0" {
		t.Errorf("the merged shard is %+v", m)
	}
	_, children = w.drain(t, "s", shard1)
	if len(children) != 1 || *children[0].ShardId != shard3 || fmt.Sprint(children[0].ParentShards) != "["+shard2+" "+shard1+"]" {
		t.Errorf("the children are %+v", children)
	}
}

func TestReshardingIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 3)
	must(t, w.CreateStream, &sdk.CreateStreamInput{
		StreamName: aws.String("demand"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
	})
	split := func(stream, shard, at, code, message string) {
		t.Helper()
		refused(t, w.SplitShard, &sdk.SplitShardInput{StreamName: &stream, ShardToSplit: &shard, NewStartingHashKey: &at}, code, message)
	}
	const range0 = " used in SplitShard() on shard shardId-000000000000 in stream s under account 000000000000 is not both greater than one plus " +
		"the shard's StartingHashKey 0 and less than the shard's EndingHashKey 113427455640312821154458202477256070484."
	for _, at := range []string{"0", "1", "113427455640312821154458202477256070484", half, "999999999999999999999999999999999999999"} {
		split("s", shard0, at, "InvalidArgumentException", "NewStartingHashKey "+at+range0)
	}
	split("s", "shardId-9", "5", "ResourceNotFoundException", "Could not find shard shardId-000000000009 in stream s under account 000000000000.")
	split("s", shard0, "05", "ValidationException", "1 validation error detected: Value '05' at 'newStartingHashKey' failed to satisfy constraint: "+
		`Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`)
	split("demand", shard0, "5", "ValidationException", "Request is invalid. Stream demand under account 000000000000 is in On-Demand mode.")
	refused(t, w.MergeShards, &sdk.MergeShardsInput{StreamName: aws.String("s"), ShardToMerge: aws.String(shard0), AdjacentShardToMerge: aws.String(shard2)},
		"InvalidArgumentException", "Shards shardId-000000000000 and shardId-000000000002 in stream s under account 000000000000 are not an adjacent pair of shards eligible for merging")
	refused(t, w.MergeShards, &sdk.MergeShardsInput{StreamName: aws.String("s"), ShardToMerge: aws.String(shard0), AdjacentShardToMerge: aws.String(shard0)},
		"InvalidArgumentException", "")
	w.split(t, shard0, "5")
	split("s", shard0, "3", "InvalidArgumentException", "Shard shardId-000000000000 in stream s under account 000000000000 has already been merged or split, "+
		"and thus is not eligible for merging or splitting.")

	scale := func(stream string, target int32, code, message string) {
		t.Helper()
		refused(t, w.UpdateShardCount, &sdk.UpdateShardCountInput{StreamName: &stream, TargetShardCount: &target, ScalingType: types.ScalingTypeUniformScaling}, code, message)
	}
	scale("s", 9, "LimitExceededException", "UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: 4, Target shard count: 9")
	scale("s", 1, "LimitExceededException", "UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: 4, Target shard count: 1")
	scale("s", 10001, "LimitExceededException", "Target shard count or number of open shards cannot be greater than 10000. Current open shard count: 4, Target shard count: 10001")
	scale("demand", 2, "ValidationException", "Request is invalid. Stream demand under account 000000000000 is in On-Demand mode.")
	for i := range 10 {
		must(t, w.UpdateShardCount, &sdk.UpdateShardCountInput{StreamName: aws.String("s"), TargetShardCount: aws.Int32(4 + int32(i%2)), ScalingType: types.ScalingTypeUniformScaling})
		w.Clock.Advance(time.Hour)
	}
	scale("s", 4, "LimitExceededException", "")
	w.Clock.Advance(14 * time.Hour) // the first of the ten is a day ago
	must(t, w.UpdateShardCount, &sdk.UpdateShardCountInput{StreamName: aws.String("s"), TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling})
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("big"), ShardCount: aws.Int32(20000)}, "LimitExceededException",
		"This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard count for the account: 8. Limit: 20000. "+
			"Number of additional shards that would have resulted from this request: 20000. Refer to the AWS Service Limits page "+
			"(http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request higher limits.")
}

func TestUpdateShardCount(t *testing.T) {
	t.Parallel()
	for from := int32(1); from <= 9; from++ {
		for to := (from + 1) / 2; to <= 2*from; to++ {
			t.Run(fmt.Sprintf("%d to %d", from, to), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.create(t, "s", from)
				out := must(t, w.UpdateShardCount, &sdk.UpdateShardCountInput{StreamARN: arnOf("s"), TargetShardCount: &to, ScalingType: types.ScalingTypeUniformScaling})
				if *out.CurrentShardCount != from || *out.TargetShardCount != to || *out.StreamName != "s" || *out.StreamARN != *arnOf("s") {
					t.Errorf("the answer is %+v", out)
				}
				list := w.shards(t, "s")
				partition(t, list)
				want := map[string]bool{}
				for _, start := range evenly(int(to)) {
					want[start.String()] = true
				}
				byID := map[string]types.Shard{}
				for _, s := range list {
					byID[*s.ShardId] = s
					for _, p := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
						if p == nil {
							continue
						}
						parent, ok := byID[*p]
						if !ok || parent.SequenceNumberRange.EndingSequenceNumber == nil ||
							*parent.SequenceNumberRange.EndingSequenceNumber >= *s.SequenceNumberRange.StartingSequenceNumber {
							t.Errorf("%s has the parent %s, which is %+v", *s.ShardId, *p, parent)
						}
					}
					if s.SequenceNumberRange.EndingSequenceNumber == nil {
						if !want[*s.HashKeyRange.StartingHashKey] {
							t.Errorf("an open shard begins at %s", *s.HashKeyRange.StartingHashKey)
						}
						delete(want, *s.HashKeyRange.StartingHashKey)
					}
				}
				if len(want) != 0 {
					t.Errorf("no shard begins at %v", want)
				}
			})
		}
	}
}

func TestListShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 2) // 0 and 1
	start := w.Clock.Now()
	w.Clock.Advance(time.Hour)
	w.split(t, shard0, quart) // 2 and 3 of 0
	w.Clock.Advance(time.Hour)
	w.merge(t, shard3, shard1) // 4

	filter := func(f types.ShardFilter) string {
		t.Helper()
		return fmt.Sprint(ids(must(t, w.ListShards, &sdk.ListShardsInput{StreamARN: arnOf("s"), ShardFilter: &f}).Shards))
	}
	hour := func(h float64) *time.Time { return aws.Time(start.Add(time.Duration(h * float64(time.Hour)))) }
	for _, c := range []struct {
		filter types.ShardFilter
		want   string
	}{
		{types.ShardFilter{Type: types.ShardFilterTypeAtLatest}, "[02 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}, "[00 01]"},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}, "[00 01 02 03 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String(shard1)}, "[02 03 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: hour(0.5)}, "[00 01]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: hour(1)}, "[00 01 02 03]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: hour(1.5)}, "[01 02 03]"},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: hour(3)}, "[02 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: hour(-1)}, "[00 01 02 03 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: hour(1.5)}, "[01 02 03 04]"},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: hour(3)}, "[02 04]"},
	} {
		if got := filter(c.filter); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.filter.Type, c.filter.Timestamp, got, c.want)
		}
	}

	var pages []string
	in := &sdk.ListShardsInput{StreamName: aws.String("s"), MaxResults: aws.Int32(2), ExclusiveStartShardId: aws.String(shard0)}
	for {
		out := must(t, w.ListShards, in)
		pages = append(pages, fmt.Sprint(ids(out.Shards)))
		if out.NextToken == nil {
			break
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken, MaxResults: aws.Int32(2)}
	}
	if fmt.Sprint(pages) != "[[01 02] [03 04]]" {
		t.Errorf("the pages are %v", pages)
	}

	token := must(t, w.ListShards, &sdk.ListShardsInput{StreamName: aws.String("s"), MaxResults: aws.Int32(1)}).NextToken
	list := func(in sdk.ListShardsInput, code, message string) {
		t.Helper()
		refused(t, w.ListShards, &in, code, message)
	}
	list(sdk.ListShardsInput{NextToken: token, StreamName: aws.String("s")}, "InvalidArgumentException", "NextToken and StreamName cannot be provided together.")
	list(sdk.ListShardsInput{NextToken: token, StreamARN: arnOf("s")}, "InvalidArgumentException", "NextToken and StreamARN cannot be provided together.")
	list(sdk.ListShardsInput{NextToken: token, ExclusiveStartShardId: aws.String(shard0)}, "InvalidArgumentException",
		"NextToken and ExclusiveStartShardId cannot be provided together.")
	list(sdk.ListShardsInput{NextToken: token, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}}, "InvalidArgumentException",
		"NextToken and ShardFilter cannot be provided together.")
	list(sdk.ListShardsInput{}, "InvalidArgumentException", "Either NextToken or StreamName should be provided.")
	list(sdk.ListShardsInput{NextToken: w.iterator(t, "s", shard0)}, "InvalidArgumentException", "Invalid NextToken.")
	list(sdk.ListShardsInput{StreamName: aws.String("s"), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp}}, "InvalidArgumentException",
		"Timestamp must be provided in ShardFilter if its Type is AT_TIMESTAMP.")
	list(sdk.ListShardsInput{StreamName: aws.String("s"), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest, ShardId: aws.String(shard0)}}, "InvalidArgumentException",
		"ShardId cannot be provided in ShardFilter if its Type is AT_LATEST.")
	list(sdk.ListShardsInput{StreamName: aws.String("s"), StreamCreationTimestamp: hour(1)}, "ResourceNotFoundException", "")
	must(t, w.ListShards, &sdk.ListShardsInput{StreamName: aws.String("s"), StreamCreationTimestamp: &start})
	w.Clock.Advance(5*time.Minute + time.Millisecond)
	list(sdk.ListShardsInput{NextToken: token}, "ExpiredNextTokenException", "")
}

func TestRecordsAndShardsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	w.putOne(t, "s", "k", "old")
	w.Clock.Advance(time.Hour)
	w.putOne(t, "s", "k", "young")
	w.Clock.Advance(23*time.Hour - time.Millisecond)
	read := func(shard string) string {
		t.Helper()
		records, _ := w.drain(t, "s", shard)
		got := ""
		for _, r := range records {
			got += string(r.Data) + " "
		}
		return got
	}
	if got := read(shard0); got != "old young " {
		t.Errorf("just before a day has passed there is %q", got)
	}
	w.Clock.Advance(time.Millisecond)
	if got := read(shard0); got != "young " {
		t.Errorf("when a day has passed there is %q", got)
	}
	retain := &sdk.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(48)}
	must(t, w.IncreaseStreamRetentionPeriod, retain)
	if got := read(shard0); got != "young " {
		t.Errorf("a longer retention brings back: %q", got)
	}
	w.split(t, shard0, half)
	w.Clock.Advance(24 * time.Hour)
	if got := read(shard0); got != "young " {
		t.Errorf("in the second day there is %q", got)
	}
	must(t, w.DecreaseStreamRetentionPeriod, &sdk.DecreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(25)})
	if got := read(shard0); got != "" {
		t.Errorf("a shorter retention leaves %q", got)
	}
	if got := fmt.Sprint(ids(w.shards(t, "s"))); got != "[00 01 02]" {
		t.Errorf("the shards are %s", got)
	}
	it := w.iterator(t, "s", shard0)
	w.Clock.Advance(time.Hour)
	if got := fmt.Sprint(ids(w.shards(t, "s"))); got != "[01 02]" {
		t.Errorf("after the end of a closed shard the shards are %s", got)
	}
	if got := *w.shards(t, "s")[0].ParentShardId; got != shard0 {
		t.Errorf("the parent is %s", got)
	}
	if horizon := must(t, w.ListShards, &sdk.ListShardsInput{StreamName: aws.String("s"), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}}); len(horizon.Shards) != 2 {
		t.Errorf("at the trim horizon are %+v", horizon.Shards)
	}
	refused(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(shard0), ShardIteratorType: types.ShardIteratorTypeTrimHorizon},
		"ResourceNotFoundException", "Shard shardId-000000000000 in stream s under account 000000000000 does not exist")
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it}, "ExpiredIteratorException", "")

	retain.RetentionPeriodHours = aws.Int32(24)
	refused(t, w.IncreaseStreamRetentionPeriod, retain, "InvalidArgumentException", "Requested retention period (24 hours) for stream s can not be shorter than "+
		"existing retention period (25 hours). Use DecreaseRetentionPeriod API.")
	retain.RetentionPeriodHours = aws.Int32(8761)
	refused(t, w.IncreaseStreamRetentionPeriod, retain, "InvalidArgumentException",
		"Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long.")
	refused(t, w.DecreaseStreamRetentionPeriod, &sdk.DecreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(23)}, "InvalidArgumentException",
		"Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.")
	refused(t, w.DecreaseStreamRetentionPeriod, &sdk.DecreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(26)}, "InvalidArgumentException",
		"Requested retention period (26 hours) for stream s can not be longer than existing retention period (25 hours). Use IncreaseRetentionPeriod API.")
}
