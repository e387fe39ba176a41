package main

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

const kinesisAPI = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_"

// stream makes a stream and waits until it is active.
func (t *T) stream(what string, shards int32) string {
	name := t.name(what)
	ok(t.Kinesis.CreateStream(t.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards}))
	t.active(name)
	return name
}

func (t *T) active(stream string) {
	t.eventually("the stream's being ACTIVE", 10*time.Second, func() bool {
		return ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})).StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
}

func (t *T) shards(stream string) []types.Shard {
	return ok(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{StreamName: &stream})).Shards
}

func (t *T) put(stream, key, data string) *kinesis.PutRecordOutput {
	return ok(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: []byte(data)}))
}

func (t *T) iterator(in *kinesis.GetShardIteratorInput) string {
	return text(ok(t.Kinesis.GetShardIterator(t.ctx, in)).ShardIterator)
}

func (t *T) horizon(stream, shard string) string {
	return t.iterator(&kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
}

func (t *T) records(iterator string) *kinesis.GetRecordsOutput {
	return ok(t.Kinesis.GetRecords(t.ctx, &kinesis.GetRecordsInput{ShardIterator: &iterator}))
}

// read reads from an iterator until it has n records, or none comes.
func (t *T) read(iterator string, n int) (data []string) {
	for range 10 {
		out := t.records(iterator)
		for _, r := range out.Records {
			data = append(data, string(r.Data))
		}
		if len(data) >= n || out.NextShardIterator == nil {
			break
		}
		iterator = *out.NextShardIterator
	}
	return data
}

// readToEnd reads until the iterator ends, and returns the last answer. It is wrong if it does not end.
func (t *T) readToEnd(iterator string) (data []string, last *kinesis.GetRecordsOutput) {
	for range 5 {
		last = t.records(iterator)
		for _, r := range last.Records {
			data = append(data, string(r.Data))
		}
		if last.NextShardIterator == nil {
			return data, last
		}
		iterator = *last.NextShardIterator
	}
	t.wrong("a closed shard that has been read has a NextShardIterator still")
	return nil, nil
}

// split splits a shard in the middle and returns its two children, in the order of their keys.
func (t *T) split(stream string, parent types.Shard) []types.Shard {
	middle := new(big.Int).Add(bigInt(*parent.HashKeyRange.StartingHashKey), bigInt(*parent.HashKeyRange.EndingHashKey))
	middle.Add(middle, big.NewInt(1)).Rsh(middle, 1)
	ok(t.Kinesis.SplitShard(t.ctx, &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: parent.ShardId, NewStartingHashKey: ptr(middle.String())}))
	t.active(stream)
	var children []types.Shard
	for _, s := range t.shards(stream) {
		if text(s.ParentShardId) == text(parent.ShardId) {
			children = append(children, s)
		}
	}
	t.want("the number of children", len(children), 2)
	slices.SortFunc(children, func(a, b types.Shard) int {
		return bigInt(*a.HashKeyRange.StartingHashKey).Cmp(bigInt(*b.HashKeyRange.StartingHashKey))
	})
	return children
}

func bigInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func shardIDs(shards []types.Shard) (ids []string) {
	for _, s := range shards {
		ids = append(ids, text(s.ShardId))
	}
	return ids
}

// consumer registers a consumer of a stream and waits until it is active.
func (t *T) consumer(stream string) string {
	arn := ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})).StreamDescriptionSummary.StreamARN
	out := ok(t.Kinesis.RegisterStreamConsumer(t.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: ptr("c")}))
	t.eventually("the consumer's being ACTIVE", 10*time.Second, func() bool {
		d := ok(t.Kinesis.DescribeStreamConsumer(t.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: out.Consumer.ConsumerARN}))
		return d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive
	})
	return text(out.Consumer.ConsumerARN)
}

// events subscribes to a shard and returns its events, until the subscription or the case ends.
func (t *T) events(consumer, shard string, from *types.StartingPosition) <-chan *types.SubscribeToShardEvent {
	stream := ok(t.Kinesis.SubscribeToShard(t.ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: &shard, StartingPosition: from})).GetStream()
	t.after(func() { stream.Close() })
	events := make(chan *types.SubscribeToShardEvent, 1000)
	go func() {
		defer close(events)
		for e := range stream.Events() {
			if v, isEvent := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); isEvent {
				select {
				case events <- &v.Value:
				default: // nobody reads so many
				}
			}
		}
	}()
	return events
}

// event is the next event for which f holds, which must come soon.
func (t *T) event(events <-chan *types.SubscribeToShardEvent, what string, f func(*types.SubscribeToShardEvent) bool) *types.SubscribeToShardEvent {
	limit := time.After(8 * time.Second)
	for {
		select {
		case e, more := <-events:
			if !more {
				t.wrong("the subscription ends before %s", what)
			}
			if f(e) {
				return e
			}
		case <-limit:
			t.wrong("%s does not come", what)
		}
	}
}

func kinesisCases() []Case {
	return []Case{
		{
			ID: "kinesis-sequence-numbers", URL: kinesisAPI + "PutRecord.html",
			Says: "Sequence numbers increase over time and are specific to a shard within a stream, not across all shards within a stream.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				last := new(big.Int)
				for i := range 5 {
					out := t.put(s, "k", fmt.Sprint(i))
					n := bigInt(text(out.SequenceNumber))
					t.that(n != nil && len(text(out.SequenceNumber)) == 56, "a sequence number is %q, not of 56 digits", text(out.SequenceNumber))
					t.that(n.Cmp(last) > 0, "sequence numbers do not increase")
					last = n
					t.want("ShardId", out.ShardId, "shardId-000000000000")
				}
				shard := t.shards(s)[0]
				t.that(bigInt(text(shard.SequenceNumberRange.StartingSequenceNumber)).Cmp(last) < 0, "the shard's StartingSequenceNumber is not below those of its records")
				t.that(shard.SequenceNumberRange.EndingSequenceNumber == nil, "an open shard has an EndingSequenceNumber")
			},
		},
		{
			ID: "kinesis-iterators", URL: kinesisAPI + "GetShardIterator.html",
			Says: "Start reading right after the position denoted by a specific sequence number, provided in the value StartingSequenceNumber.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				const shard = "shardId-000000000000"
				var numbers []*string
				var between time.Time
				for i := range 4 {
					if i == 2 {
						t.wait(1100 * time.Millisecond)
						between = time.Now()
						t.wait(50 * time.Millisecond)
					}
					numbers = append(numbers, t.put(s, "k", fmt.Sprint(i)).SequenceNumber)
				}
				latest := t.iterator(&kinesis.GetShardIteratorInput{StreamName: &s, ShardId: ptr(shard), ShardIteratorType: types.ShardIteratorTypeLatest})
				t.put(s, "k", "4")
				for kind, c := range map[types.ShardIteratorType]struct {
					number *string
					want   []string
				}{
					types.ShardIteratorTypeTrimHorizon:         {nil, []string{"0", "1", "2", "3", "4"}},
					types.ShardIteratorTypeAtSequenceNumber:    {numbers[1], []string{"1", "2", "3", "4"}},
					types.ShardIteratorTypeAfterSequenceNumber: {numbers[1], []string{"2", "3", "4"}},
				} {
					it := t.iterator(&kinesis.GetShardIteratorInput{StreamName: &s, ShardId: ptr(shard), ShardIteratorType: kind, StartingSequenceNumber: c.number})
					t.want(string(kind), t.read(it, len(c.want)), c.want)
				}
				it := t.iterator(&kinesis.GetShardIteratorInput{StreamName: &s, ShardId: ptr(shard), ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &between})
				t.want("AT_TIMESTAMP", t.read(it, 3), []string{"2", "3", "4"})
				t.want("LATEST", t.read(latest, 1), []string{"4"})
			},
		},
		{
			ID: "kinesis-hash", URL: kinesisAPI + "PutRecord.html",
			Says: "An MD5 hash function is used to map partition keys to 128-bit integer values and to map associated data records to shards using the hash key ranges of the shards.",
			Run: func(t *T) {
				s := t.stream("s", 3)
				shards := t.shards(s)
				of := func(hash *big.Int) string {
					for _, sh := range shards {
						if bigInt(*sh.HashKeyRange.StartingHashKey).Cmp(hash) <= 0 && bigInt(*sh.HashKeyRange.EndingHashKey).Cmp(hash) >= 0 {
							return text(sh.ShardId)
						}
					}
					return "none"
				}
				for i := range 12 {
					key := fmt.Sprint("schlüssel", i)
					sum := md5.Sum([]byte(key))
					t.want("the shard of "+key, t.put(s, key, "x").ShardId, of(new(big.Int).SetBytes(sum[:])))
				}
				last := *shards[2].HashKeyRange.EndingHashKey
				t.want("the last hash key", last, "340282366920938463463374607431768211455")
				out := ok(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{StreamName: &s, PartitionKey: ptr("k"), ExplicitHashKey: &last, Data: []byte("x")}))
				t.want("the shard of the ExplicitHashKey", out.ShardId, text(shards[2].ShardId))
			},
		},
		{
			ID: "kinesis-split", URL: kinesisAPI + "SplitShard.html",
			Says: "Splits a shard into two new shards in the Kinesis data stream, to increase the stream's capacity to ingest and transport data.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				parent := t.shards(s)[0]
				children := t.split(s, parent)
				a, b := children[0].HashKeyRange, children[1].HashKeyRange
				t.want("the first key", a.StartingHashKey, "0")
				t.want("where the second child begins", b.StartingHashKey, "170141183460469231731687303715884105728")
				t.want("where the first child ends", a.EndingHashKey, "170141183460469231731687303715884105727")
				for _, sh := range t.shards(s) {
					closed := sh.SequenceNumberRange.EndingSequenceNumber != nil
					t.want("whether "+text(sh.ShardId)+" is closed", closed, text(sh.ShardId) == text(parent.ShardId))
				}
				sum := ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s}))
				t.want("OpenShardCount", sum.StreamDescriptionSummary.OpenShardCount, 2)
				t.that(text(t.put(s, "k", "x").ShardId) != text(parent.ShardId), "a record goes to the closed shard")
			},
		},
		{
			ID: "kinesis-closed-shard", URL: kinesisAPI + "GetRecords.html",
			Says: "If the shard has been closed, the shard iterator can't return more data and GetRecords returns null in NextShardIterator.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.put(s, "k", "1")
				t.put(s, "k", "2")
				parent := t.shards(s)[0]
				children := t.split(s, parent)
				data, last := t.readToEnd(t.horizon(s, text(parent.ShardId)))
				t.want("the closed shard's records", data, []string{"1", "2"})
				var got []string
				for _, c := range last.ChildShards {
					got = append(got, text(c.ShardId))
					t.want("ParentShards", c.ParentShards, []string{text(parent.ShardId)})
					t.that(c.HashKeyRange != nil, "a child shard has no HashKeyRange")
				}
				t.want("ChildShards", sorted(got), sorted(shardIDs(children)))
			},
		},
		{
			ID: "kinesis-merge", URL: kinesisAPI + "MergeShards.html",
			Says: "After the merge, the single child shard receives data for all hash key values covered by the two parent shards.",
			Run: func(t *T) {
				s := t.stream("s", 2)
				shards := t.shards(s)
				ok(t.Kinesis.MergeShards(t.ctx, &kinesis.MergeShardsInput{StreamName: &s, ShardToMerge: shards[0].ShardId, AdjacentShardToMerge: shards[1].ShardId}))
				t.active(s)
				all := t.shards(s)
				t.want("the number of shards", len(all), 3)
				child := all[2]
				t.want("ParentShardId", child.ParentShardId, text(shards[0].ShardId))
				t.want("AdjacentParentShardId", child.AdjacentParentShardId, text(shards[1].ShardId))
				t.want("StartingHashKey", child.HashKeyRange.StartingHashKey, "0")
				t.want("the shard of a record", t.put(s, "k", "x").ShardId, text(child.ShardId))
				_, last := t.readToEnd(t.horizon(s, text(shards[1].ShardId)))
				t.want("the number of ChildShards", len(last.ChildShards), 1)
				t.want("their ParentShards", sorted(last.ChildShards[0].ParentShards), sorted(shardIDs(shards)))
			},
		},
		{
			ID: "kinesis-merge-adjacent", URL: kinesisAPI + "MergeShards.html",
			Says: "Two shards are considered adjacent if the union of the hash key ranges for the two shards form a contiguous set with no gaps.",
			Run: func(t *T) {
				s := t.stream("s", 3)
				shards := t.shards(s)
				t.refused("a merge of the first and the third shard", errOf(t.Kinesis.MergeShards(t.ctx, &kinesis.MergeShardsInput{
					StreamName: &s, ShardToMerge: shards[0].ShardId, AdjacentShardToMerge: shards[2].ShardId,
				})), "InvalidArgumentException")
			},
		},
		{
			ID: "kinesis-split-at", URL: kinesisAPI + "SplitShard.html",
			Says: "In many cases, the new hash key might be the average of the beginning and ending hash key, but it can be any hash key value in the range being mapped into the shard.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.refused("a split at the shard's first key", errOf(t.Kinesis.SplitShard(t.ctx, &kinesis.SplitShardInput{
					StreamName: &s, ShardToSplit: ptr("shardId-000000000000"), NewStartingHashKey: ptr("0"),
				})), "InvalidArgumentException")
				t.refused("a split of a shard that there is not", errOf(t.Kinesis.SplitShard(t.ctx, &kinesis.SplitShardInput{
					StreamName: &s, ShardToSplit: ptr("shardId-000000000009"), NewStartingHashKey: ptr("5"),
				})), "ResourceNotFoundException")
			},
		},
		{
			ID: "kinesis-update-count", URL: kinesisAPI + "UpdateShardCount.html",
			Says: "Updating the shard count is an asynchronous operation.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				out := ok(t.Kinesis.UpdateShardCount(t.ctx, &kinesis.UpdateShardCountInput{StreamName: &s, TargetShardCount: ptr[int32](2), ScalingType: types.ScalingTypeUniformScaling}))
				t.want("CurrentShardCount", out.CurrentShardCount, 1)
				t.want("TargetShardCount", out.TargetShardCount, 2)
				t.eventually("two open shards", 10*time.Second, func() bool {
					sum := ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s})).StreamDescriptionSummary
					return sum.StreamStatus == types.StreamStatusActive && *sum.OpenShardCount == 2
				})
				for _, sh := range t.shards(s)[1:] {
					t.want("ParentShardId", sh.ParentShardId, "shardId-000000000000")
				}
				_, last := t.readToEnd(t.horizon(s, "shardId-000000000000"))
				t.want("the number of ChildShards", len(last.ChildShards), 2)
			},
		},
		{
			ID: "kinesis-list-filter", URL: kinesisAPI + "ListShards.html",
			Says: "AT_LATEST - the response includes only the currently open shards of the data stream.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				children := t.split(s, t.shards(s)[0])
				list := func(f *types.ShardFilter) []string {
					return sorted(shardIDs(ok(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{StreamName: &s, ShardFilter: f})).Shards))
				}
				t.want("AT_LATEST", list(&types.ShardFilter{Type: types.ShardFilterTypeAtLatest}), sorted(shardIDs(children)))
				t.want("AT_TRIM_HORIZON", list(&types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}), []string{"shardId-000000000000"})
				t.want("AFTER_SHARD_ID", list(&types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: ptr("shardId-000000000000")}), sorted(shardIDs(children)))
			},
		},
		{
			ID: "kinesis-list-pages", URL: kinesisAPI + "ListShards.html",
			Says: "The maximum number of shards to return in a single call to ListShards.",
			Run: func(t *T) {
				s := t.stream("s", 3)
				first := ok(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{StreamName: &s, MaxResults: ptr[int32](2)}))
				t.want("the number of shards of the first page", len(first.Shards), 2)
				t.that(first.NextToken != nil, "there is no NextToken")
				second := ok(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{NextToken: first.NextToken}))
				t.want("the second page", shardIDs(second.Shards), []string{"shardId-000000000002"})
				t.refused("a token and a name", errOf(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{StreamName: &s, NextToken: first.NextToken})), "InvalidArgumentException")
			},
		},
		{
			ID: "kinesis-put-records", URL: kinesisAPI + "PutRecords.html",
			Says: "The response Records array includes both successfully and unsuccessfully processed records.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				var in []types.PutRecordsRequestEntry
				var want []string
				for i := range 20 {
					want = append(want, fmt.Sprint(i))
					in = append(in, types.PutRecordsRequestEntry{PartitionKey: ptr("k"), Data: []byte(want[i])})
				}
				out := ok(t.Kinesis.PutRecords(t.ctx, &kinesis.PutRecordsInput{StreamName: &s, Records: in}))
				t.want("FailedRecordCount", out.FailedRecordCount, 0)
				t.want("the number of results", len(out.Records), 20)
				t.want("what is read", t.read(t.horizon(s, "shardId-000000000000"), 20), want)
			},
		},
		{
			ID: "kinesis-put-records-most", URL: kinesisAPI + "PutRecords.html",
			Says: "Each PutRecords request can support up to 500 records.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				in := slices.Repeat([]types.PutRecordsRequestEntry{{PartitionKey: ptr("k"), Data: []byte("x")}}, 501)
				t.refused("501 records", errOf(t.Kinesis.PutRecords(t.ctx, &kinesis.PutRecordsInput{StreamName: &s, Records: in})), "InvalidArgumentException|ValidationException")
				ok(t.Kinesis.PutRecords(t.ctx, &kinesis.PutRecordsInput{StreamName: &s, Records: in[:500]}))
			},
		},
		{
			ID: "kinesis-largest", URL: kinesisAPI + "PutRecord.html",
			Says: "When the data blob (the payload before base64-encoding) is added to the partition key size, the total size must not exceed the maximum record size (10 MiB).",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.refused("a record of more than 10 MiB", errOf(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{
					StreamName: &s, PartitionKey: ptr("k"), Data: make([]byte, 10<<20+1),
				})), "InvalidArgumentException|ValidationException")
			},
		},
		{
			ID: "kinesis-partition-key", URL: kinesisAPI + "PutRecord.html",
			Says: "Partition keys are Unicode strings with a maximum length limit of 256 characters for each key.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.put(s, strings.Repeat("ü", 256), "x")
				t.refused("a key of 257 characters", errOf(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{
					StreamName: &s, PartitionKey: ptr(strings.Repeat("k", 257)), Data: []byte("x"),
				})), "ValidationException")
				t.refused("an empty key", errOf(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{
					StreamName: &s, PartitionKey: ptr(""), Data: []byte("x"),
				})), "ValidationException")
			},
		},
		{
			ID: "kinesis-no-stream", URL: kinesisAPI + "PutRecord.html",
			Says: "The requested resource could not be found.",
			Run: func(t *T) {
				for what, err := range map[string]error{
					"putting":    errOf(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{StreamName: ptr(t.name("gone")), PartitionKey: ptr("k"), Data: []byte("x")})),
					"describing": errOf(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: ptr(t.name("gone"))})),
					"deleting":   errOf(t.Kinesis.DeleteStream(t.ctx, &kinesis.DeleteStreamInput{StreamName: ptr(t.name("gone"))})),
				} {
					t.refused(what+" a stream that there is not", err, "ResourceNotFoundException", t.name("gone"))
				}
			},
		},
		{
			ID: "kinesis-create-again", URL: kinesisAPI + "CreateStream.html",
			Says: "The resource is not available for this operation.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.refused("a second stream of the name", errOf(t.Kinesis.CreateStream(t.ctx, &kinesis.CreateStreamInput{StreamName: &s, ShardCount: ptr[int32](1)})), "ResourceInUseException")
			},
		},
		{
			ID: "kinesis-bad-iterator", URL: kinesisAPI + "GetRecords.html",
			Says: "A specified parameter exceeds its restrictions, is not supported, or can't be used.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.refused("a made-up iterator", errOf(t.Kinesis.GetRecords(t.ctx, &kinesis.GetRecordsInput{ShardIterator: ptr("made-up")})), "InvalidArgumentException")
				t.refused("a sequence number that is none", errOf(t.Kinesis.GetShardIterator(t.ctx, &kinesis.GetShardIteratorInput{
					StreamName: &s, ShardId: ptr("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: ptr("x"),
				})), "InvalidArgumentException|ValidationException")
				t.refused("a shard that there is not", errOf(t.Kinesis.GetShardIterator(t.ctx, &kinesis.GetShardIteratorInput{
					StreamName: &s, ShardId: ptr("shardId-000000000009"), ShardIteratorType: types.ShardIteratorTypeLatest,
				})), "ResourceNotFoundException")
			},
		},
		{
			ID: "kinesis-limit", URL: kinesisAPI + "GetRecords.html",
			Says: "Specify a value of up to 10,000.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				for i := range 3 {
					t.put(s, "k", fmt.Sprint(i))
				}
				it := t.horizon(s, "shardId-000000000000")
				out := ok(t.Kinesis.GetRecords(t.ctx, &kinesis.GetRecordsInput{ShardIterator: &it, Limit: ptr[int32](2)}))
				t.want("the number of records", len(out.Records), 2)
				t.want("what follows", t.read(text(out.NextShardIterator), 1), []string{"2"})
				t.refused("a limit of 10,001", errOf(t.Kinesis.GetRecords(t.ctx, &kinesis.GetRecordsInput{ShardIterator: &it, Limit: ptr[int32](10001)})), "InvalidArgumentException|ValidationException")
			},
		},
		{
			ID: "kinesis-behind", URL: kinesisAPI + "GetRecords.html",
			Says: "The number of milliseconds the GetRecords response is from the tip of the stream, indicating how far behind current time the consumer is.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.put(s, "k", "1")
				t.wait(300 * time.Millisecond)
				t.put(s, "k", "2")
				it := t.horizon(s, "shardId-000000000000")
				first := ok(t.Kinesis.GetRecords(t.ctx, &kinesis.GetRecordsInput{ShardIterator: &it, Limit: ptr[int32](1)}))
				t.that(first.MillisBehindLatest != nil && *first.MillisBehindLatest > 0, "MillisBehindLatest is not positive before the tip")
				second := t.records(text(first.NextShardIterator))
				t.want("MillisBehindLatest at the tip", second.MillisBehindLatest, 0)
			},
		},
		{
			ID: "kinesis-retention", URL: kinesisAPI + "DecreaseStreamRetentionPeriod.html",
			Says: "The minimum value of a stream's retention period is 24 hours.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				ok(t.Kinesis.IncreaseStreamRetentionPeriod(t.ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &s, RetentionPeriodHours: ptr[int32](48)}))
				t.active(s)
				t.want("RetentionPeriodHours", ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s})).StreamDescriptionSummary.RetentionPeriodHours, 48)
				t.refused("an increase to less", errOf(t.Kinesis.IncreaseStreamRetentionPeriod(t.ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &s, RetentionPeriodHours: ptr[int32](36)})), "InvalidArgumentException")
				t.refused("a decrease to 23 hours", errOf(t.Kinesis.DecreaseStreamRetentionPeriod(t.ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: &s, RetentionPeriodHours: ptr[int32](23)})), "InvalidArgumentException|ValidationException")
			},
		},
		{
			ID: "kinesis-on-demand", URL: kinesisAPI + "CreateStream.html",
			Says: "With the on-demand mode, Kinesis Data Streams automatically manages the shards in order to provide the necessary throughput.",
			Run: func(t *T) {
				s := t.name("s")
				ok(t.Kinesis.CreateStream(t.ctx, &kinesis.CreateStreamInput{StreamName: &s, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}))
				t.active(s)
				t.want("the number of shards", len(t.shards(s)), 4)
				t.put(s, "k", "x")
				t.refused("a shard count beside the mode", errOf(t.Kinesis.CreateStream(t.ctx, &kinesis.CreateStreamInput{
					StreamName: ptr(t.name("r")), ShardCount: ptr[int32](1), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
				})), "ValidationException|InvalidArgumentException")
			},
		},
		{
			ID: "kinesis-arn", URL: kinesisAPI + "PutRecord.html",
			Says: "When invoking this API, you must use either the StreamARN or the StreamName parameter, or both.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				arn := ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s})).StreamDescriptionSummary.StreamARN
				ok(t.Kinesis.PutRecord(t.ctx, &kinesis.PutRecordInput{StreamARN: arn, PartitionKey: ptr("k"), Data: []byte("x")}))
				it := ok(t.Kinesis.GetShardIterator(t.ctx, &kinesis.GetShardIteratorInput{StreamARN: arn, ShardId: ptr("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})).ShardIterator
				t.want("what is read", t.read(text(it), 1), []string{"x"})
				t.want("the number of shards", len(ok(t.Kinesis.ListShards(t.ctx, &kinesis.ListShardsInput{StreamARN: arn})).Shards), 1)
			},
		},
		{
			ID: "kinesis-fan-out", URL: kinesisAPI + "SubscribeToShard.html",
			Says: "After the connection is successfully established, Kinesis Data Streams pushes records from the shard to the consumer over this connection.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.put(s, "k", "before")
				events := t.events(t.consumer(s), "shardId-000000000000", &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon})
				e := t.event(events, "the first record", func(e *types.SubscribeToShardEvent) bool { return len(e.Records) > 0 })
				t.want("the record", string(e.Records[0].Data), "before")
				t.put(s, "k", "live")
				e = t.event(events, "the live record", func(e *types.SubscribeToShardEvent) bool { return len(e.Records) > 0 })
				t.want("the record", string(e.Records[0].Data), "live")
				t.that(e.ContinuationSequenceNumber != nil, "there is no ContinuationSequenceNumber")
				t.want("MillisBehindLatest", e.MillisBehindLatest, 0)
			},
		},
		{
			ID: "kinesis-fan-out-ends", URL: "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShardEvent.html",
			Says: "The list of the child shards of the current shard, returned only at the end of the current shard.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				events := t.events(t.consumer(s), "shardId-000000000000", &types.StartingPosition{Type: types.ShardIteratorTypeLatest})
				parent := t.shards(s)[0]
				children := t.split(s, parent)
				e := t.event(events, "an event with ChildShards", func(e *types.SubscribeToShardEvent) bool { return len(e.ChildShards) > 0 })
				var got []string
				for _, c := range e.ChildShards {
					got = append(got, text(c.ShardId))
				}
				t.want("ChildShards", sorted(got), sorted(shardIDs(children)))
				t.that(e.ContinuationSequenceNumber == nil, "the last event has a ContinuationSequenceNumber")
			},
		},
		{
			ID: "kinesis-no-consumer", URL: kinesisAPI + "SubscribeToShard.html",
			Says: "Before you call this operation, call RegisterStreamConsumer to register the consumer with Kinesis Data Streams.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				arn := t.consumer(s)
				ok(t.Kinesis.DeregisterStreamConsumer(t.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn}))
				t.eventually("the end of the consumer", 5*time.Second, func() bool {
					return errOf(t.Kinesis.DescribeStreamConsumer(t.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &arn})) != nil
				})
				t.refused("a subscription of no consumer", errOf(t.Kinesis.SubscribeToShard(t.ctx, &kinesis.SubscribeToShardInput{
					ConsumerARN: &arn, ShardId: ptr("shardId-000000000000"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest},
				})), "ResourceNotFoundException")
			},
		},
		{
			ID: "kinesis-delete-with-consumers", URL: kinesisAPI + "DeleteStream.html",
			Says: "If this parameter is unset (null) or if you set it to false, and the stream has registered consumers, the call to DeleteStream fails with a ResourceInUseException.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.consumer(s)
				t.refused("deleting a stream that has a consumer", errOf(t.Kinesis.DeleteStream(t.ctx, &kinesis.DeleteStreamInput{StreamName: &s})), "ResourceInUseException")
				ok(t.Kinesis.DeleteStream(t.ctx, &kinesis.DeleteStreamInput{StreamName: &s, EnforceConsumerDeletion: ptr(true)}))
			},
		},
		{
			ID: "kinesis-tags", URL: kinesisAPI + "AddTagsToStream.html",
			Says: "Adds or updates tags for the specified Kinesis data stream.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				ok(t.Kinesis.AddTagsToStream(t.ctx, &kinesis.AddTagsToStreamInput{StreamName: &s, Tags: attrs{"a": "1", "b": "2"}}))
				ok(t.Kinesis.RemoveTagsFromStream(t.ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: &s, TagKeys: []string{"a"}}))
				tags := ok(t.Kinesis.ListTagsForStream(t.ctx, &kinesis.ListTagsForStreamInput{StreamName: &s})).Tags
				t.that(len(tags) == 1 && text(tags[0].Key) == "b" && text(tags[0].Value) == "2", "the tags are %s", brief(tags))
			},
		},
		{
			ID: "kinesis-data", URL: "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html",
			Says: "The approximate time that the record was inserted into the stream.",
			Run: func(t *T) {
				s := t.stream("s", 1)
				t.put(s, "schlüssel", "\x00\xffü")
				r := t.records(t.horizon(s, "shardId-000000000000")).Records
				t.want("the number of records", len(r), 1)
				t.want("Data", string(r[0].Data), "\x00\xffü")
				t.want("PartitionKey", r[0].PartitionKey, "schlüssel")
				t.that(r[0].ApproximateArrivalTimestamp != nil && time.Since(*r[0].ApproximateArrivalTimestamp).Abs() < time.Minute, "ApproximateArrivalTimestamp is %v", r[0].ApproximateArrivalTimestamp)
			},
		},
	}
}
