package kinesis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/env"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "orders", 3)
	must(t, w.CreateStream, &sdk.CreateStreamInput{
		StreamName: aws.String("clicks"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
		Tags: map[string]string{"team": "a"}, MaxRecordSizeInKiB: aws.Int32(2048),
	})
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("orders"), ShardCount: aws.Int32(1)},
		"ResourceInUseException", "Stream orders under account 000000000000 already exists.")

	d := must(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamARN: arnOf("orders")}).StreamDescription
	if *d.StreamName != "orders" || d.StreamStatus != types.StreamStatusActive || len(d.Shards) != 3 || *d.HasMoreShards ||
		*d.RetentionPeriodHours != 24 || !d.StreamCreationTimestamp.Equal(w.Clock.Now()) || d.EncryptionType != types.EncryptionTypeNone ||
		d.StreamModeDetails.StreamMode != types.StreamModeProvisioned || len(d.EnhancedMonitoring) != 1 {
		t.Errorf("the description is %+v", d)
	}
	// https://docs.aws.amazon.com/kinesis/latest/APIReference/API_HashKeyRange.html; the division is the one that the service makes.
	for i, want := range [][2]string{
		{"0", "113427455640312821154458202477256070484"},
		{"113427455640312821154458202477256070485", "226854911280625642308916404954512140969"},
		{"226854911280625642308916404954512140970", "340282366920938463463374607431768211455"},
	} {
		if r := d.Shards[i].HashKeyRange; *r.StartingHashKey != want[0] || *r.EndingHashKey != want[1] || d.Shards[i].ParentShardId != nil ||
			*d.Shards[i].ShardId != fmt.Sprintf("shardId-%012d", i) || d.Shards[i].SequenceNumberRange.EndingSequenceNumber != nil {
			t.Errorf("shard %d is %+v from %s to %s", i, d.Shards[i], *r.StartingHashKey, *r.EndingHashKey)
		}
	}
	page := must(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamName: aws.String("orders"), Limit: aws.Int32(1), ExclusiveStartShardId: aws.String("shardId-000000000000")}).StreamDescription
	if len(page.Shards) != 1 || *page.Shards[0].ShardId != "shardId-000000000001" || !*page.HasMoreShards {
		t.Errorf("the second page is %+v", page)
	}

	sum := must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("clicks")}).StreamDescriptionSummary
	if *sum.OpenShardCount != 4 || sum.StreamModeDetails.StreamMode != types.StreamModeOnDemand || *sum.ConsumerCount != 0 || *sum.MaxRecordSizeInKiB != 2048 {
		t.Errorf("the summary is %+v", sum)
	}
	limits := must(t, w.DescribeLimits, &sdk.DescribeLimitsInput{})
	if *limits.OpenShardCount != 7 || *limits.OnDemandStreamCount != 1 || *limits.ShardLimit != shardLimit || *limits.OnDemandStreamCountLimit != 50 {
		t.Errorf("the limits are %+v", limits)
	}

	list := must(t, w.ListStreams, &sdk.ListStreamsInput{Limit: aws.Int32(1)})
	if fmt.Sprint(list.StreamNames) != "[clicks]" || !*list.HasMoreStreams || *list.StreamSummaries[0].StreamARN != *arnOf("clicks") {
		t.Errorf("the first page of streams is %+v", list)
	}
	rest := must(t, w.ListStreams, &sdk.ListStreamsInput{NextToken: list.NextToken})
	if fmt.Sprint(rest.StreamNames) != "[orders]" || *rest.HasMoreStreams || rest.NextToken != nil {
		t.Errorf("the second page of streams is %+v", rest)
	}
	byName := must(t, w.ListStreams, &sdk.ListStreamsInput{ExclusiveStartStreamName: aws.String("clicks")})
	if fmt.Sprint(byName.StreamNames) != "[orders]" {
		t.Errorf("after clicks come %v", byName.StreamNames)
	}

	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("orders")})
	refused(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamName: aws.String("orders")},
		"ResourceNotFoundException", "Stream orders under account 000000000000 not found.")
	refused(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("orders")},
		"ResourceNotFoundException", "Stream orders under account 000000000000 not found.")
	w.service.Reset()
	if n := len(must(t, w.ListStreams, &sdk.ListStreamsInput{}).StreamNames); n != 0 {
		t.Errorf("%d streams are left after a reset", n)
	}
}

func TestStatesLastAsLongAsTheyAreAskedTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Delay(30*time.Second))
	status := func() types.StreamStatus {
		t.Helper()
		return must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("s")}).StreamDescriptionSummary.StreamStatus
	}
	w.create(t, "s", 1)
	if got := status(); got != types.StreamStatusCreating {
		t.Errorf("a new stream is %s", got)
	}
	if d := must(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamName: aws.String("s")}).StreamDescription; len(d.Shards) != 0 {
		t.Errorf("a stream that is being created has the shards %v", d.Shards)
	}
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("x")}, "ResourceNotFoundException", "")
	refused(t, w.SplitShard, &sdk.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("100")},
		"ResourceInUseException", "Stream s under account 000000000000 not ACTIVE, instead in state CREATING")
	w.Clock.Advance(30 * time.Second)
	if got := status(); got != types.StreamStatusActive {
		t.Errorf("the stream is %s", got)
	}
	must(t, w.SplitShard, &sdk.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("100")})
	if got := status(); got != types.StreamStatusUpdating {
		t.Errorf("a stream that is split is %s", got)
	}
	w.putOne(t, "s", "k", "written while the stream is UPDATING")
	w.Clock.Advance(time.Minute)

	c := must(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("c")}).Consumer
	describe := func() types.ConsumerStatus {
		t.Helper()
		return must(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN}).ConsumerDescription.ConsumerStatus
	}
	if c.ConsumerStatus != types.ConsumerStatusCreating || describe() != types.ConsumerStatusCreating {
		t.Errorf("a new consumer is %s, and then %s", c.ConsumerStatus, describe())
	}
	w.Clock.Advance(time.Minute)
	if got := describe(); got != types.ConsumerStatusActive {
		t.Errorf("the consumer is %s", got)
	}
	must(t, w.DeregisterStreamConsumer, &sdk.DeregisterStreamConsumerInput{ConsumerARN: c.ConsumerARN})
	if got := describe(); got != types.ConsumerStatusDeleting {
		t.Errorf("the consumer is %s", got)
	}
	w.Clock.Advance(time.Minute)
	refused(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN}, "ResourceNotFoundException", "")
	again := must(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("c")}).Consumer
	if *again.ConsumerARN == *c.ConsumerARN {
		t.Errorf("the new consumer has the old one's ARN %s", *c.ConsumerARN)
	}

	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s"), EnforceConsumerDeletion: aws.Bool(true)})
	if got := status(); got != types.StreamStatusDeleting {
		t.Errorf("a stream that is deleted is %s", got)
	}
	w.Clock.Advance(30 * time.Second)
	refused(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamName: aws.String("s")}, "ResourceNotFoundException", "")
	w.create(t, "s", 1)
}

func TestRecordsGoWhereTheirKeysBelong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 5)
	shards := w.shards(t, "s")
	var entries []types.PutRecordsRequestEntry
	for i := range 100 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("key-", i)), Data: []byte(fmt.Sprint(i))})
	}
	out := must(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: entries})
	if *out.FailedRecordCount != 0 || len(out.Records) != 100 {
		t.Fatalf("the answer is %+v", out)
	}
	for i, r := range out.Records {
		hash, _ := parseHashKey(md5Decimal(*entries[i].PartitionKey))
		for _, h := range shards {
			from, _ := parseHashKey(*h.HashKeyRange.StartingHashKey)
			to, _ := parseHashKey(*h.HashKeyRange.EndingHashKey)
			if in := from.compare(hash) <= 0 && hash.compare(to) <= 0; in != (*h.ShardId == *r.ShardId) {
				t.Errorf("%s, whose hash is %s, is in %s", *entries[i].PartitionKey, hash, *r.ShardId)
			}
		}
	}
	last := must(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("key-0"), Data: []byte("x"),
		ExplicitHashKey: aws.String("340282366920938463463374607431768211455")})
	if *last.ShardId != "shardId-000000000004" {
		t.Errorf("the last hash key is in %s", *last.ShardId)
	}
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("x"),
		ExplicitHashKey: aws.String("340282366920938463463374607431768211456")}, "InvalidArgumentException",
		"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was 340282366920938463463374607431768211456")
}

func TestSequenceNumberForOrdering(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	first := w.putOne(t, "s", "k", "1")
	in := &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("2"), SequenceNumberForOrdering: first.SequenceNumber}
	second := must(t, w.PutRecord, in)
	if *second.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("%s is not above %s", *second.SequenceNumber, *first.SequenceNumber)
	}
	q, _ := parseSequence(*second.SequenceNumber)
	q.index++ // a number that has not been given yet
	for _, bad := range []string{q.String(), "5"} {
		in.SequenceNumberForOrdering = &bad
		refused(t, w.PutRecord, in, "InvalidArgumentException",
			"ExclusiveMinimumSequenceNumber "+bad+" used in PutRecord on stream s under account 000000000000 is invalid.")
	}
}

func TestIterators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 2)
	zero, one := aws.String("shardId-000000000000"), aws.String("0")
	put := func(data string) *string {
		t.Helper()
		return must(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), ExplicitHashKey: one, Data: []byte(data)}).SequenceNumber
	}
	var sequences []*string
	var times []time.Time
	for i := range 4 {
		times = append(times, w.Clock.Now())
		sequences = append(sequences, put(fmt.Sprint(i)))
		w.Clock.Advance(1500 * time.Millisecond)
	}
	for _, c := range []struct {
		kind     types.ShardIteratorType
		sequence *string
		time     *time.Time
		want     string
	}{
		{types.ShardIteratorTypeTrimHorizon, nil, nil, "0123"},
		{types.ShardIteratorTypeLatest, nil, nil, ""},
		{types.ShardIteratorTypeAtSequenceNumber, sequences[2], nil, "23"},
		{types.ShardIteratorTypeAfterSequenceNumber, sequences[2], nil, "3"},
		{types.ShardIteratorTypeAfterSequenceNumber, sequences[3], nil, ""},
		{types.ShardIteratorTypeAtSequenceNumber, w.shards(t, "s")[0].SequenceNumberRange.StartingSequenceNumber, nil, "0123"},
		{types.ShardIteratorTypeAfterSequenceNumber, w.shards(t, "s")[0].SequenceNumberRange.StartingSequenceNumber, nil, "0123"},
		{types.ShardIteratorTypeAtTimestamp, nil, &times[1], "123"},
		{types.ShardIteratorTypeAtTimestamp, nil, aws.Time(times[1].Add(time.Millisecond)), "23"},
		{types.ShardIteratorTypeAtTimestamp, nil, aws.Time(times[0].Add(-time.Hour)), "0123"},
		{types.ShardIteratorTypeAtTimestamp, nil, aws.Time(w.Clock.Now()), ""},
	} {
		it := must(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: zero,
			ShardIteratorType: c.kind, StartingSequenceNumber: c.sequence, Timestamp: c.time})
		out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it.ShardIterator})
		got := ""
		for _, r := range out.Records {
			got += string(r.Data)
		}
		if got != c.want || out.NextShardIterator == nil || *out.MillisBehindLatest != 0 || out.ChildShards != nil {
			t.Errorf("%s %v: got %q, want %q; the answer is %+v", c.kind, c.time, got, c.want, out)
		}
	}

	// One by one, with how far behind.
	next := w.iterator(t, "s", *zero)
	for i := range 4 {
		out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(1), StreamARN: arnOf("s")})
		want := int64(3-i) * 1500
		if len(out.Records) != 1 || *out.Records[0].SequenceNumber != *sequences[i] || *out.MillisBehindLatest != want ||
			!out.Records[0].ApproximateArrivalTimestamp.Equal(times[i]) || out.Records[0].EncryptionType != "" {
			t.Errorf("read %d: %+v, %d ms behind, want %d", i, out.Records, *out.MillisBehindLatest, want)
		}
		next = out.NextShardIterator
	}
	put("later")
	if out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: next}); len(out.Records) != 1 || string(out.Records[0].Data) != "later" {
		t.Errorf("the next record is %+v", out.Records)
	}
}

func TestIteratorsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 2)
	r := w.putOne(t, "s", "k", "x")
	other := "shardId-000000000000"
	if *r.ShardId == other {
		other = "shardId-000000000001"
	}
	get := func(in sdk.GetShardIteratorInput, code, message string) {
		t.Helper()
		if in.StreamName == nil {
			in.StreamName = aws.String("s")
		}
		refused(t, w.GetShardIterator, &in, code, message)
	}
	after := types.ShardIteratorTypeAfterSequenceNumber
	get(sdk.GetShardIteratorInput{ShardId: &other, ShardIteratorType: after, StartingSequenceNumber: r.SequenceNumber}, "InvalidArgumentException",
		"Invalid StartingSequenceNumber. It encodes "+*r.ShardId+", while it was used in a call to a shard with "+other)
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: after}, "InvalidArgumentException",
		"Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "+
			"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber.")
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: types.ShardIteratorTypeLatest, StartingSequenceNumber: aws.String("5")}, "InvalidArgumentException",
		"Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "+
			"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified LATEST and also a StartingSequenceNumber.")
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: after, StartingSequenceNumber: aws.String("77")}, "InvalidArgumentException",
		"StartingSequenceNumber 77 used in GetShardIterator on shard "+*r.ShardId+" in stream s under account 000000000000 is invalid.")
	q, _ := parseSequence(*r.SequenceNumber)
	q.created -= 9
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: after, StartingSequenceNumber: aws.String(q.String())}, "InvalidArgumentException",
		"StartingSequenceNumber "+q.String()+" used in GetShardIterator on shard "+*r.ShardId+" in stream s under account 000000000000 is invalid "+
			"because it did not come from this stream.")
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: types.ShardIteratorTypeAtTimestamp}, "InvalidArgumentException",
		"Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
	get(sdk.GetShardIteratorInput{ShardId: r.ShardId, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(w.Clock.Now().Add(time.Second))},
		"InvalidArgumentException", "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "+
			"timestampInMillis: 1767323046000, currentTimestampInMillis: 1767323045000")
	get(sdk.GetShardIteratorInput{ShardId: aws.String("shardId-5"), ShardIteratorType: types.ShardIteratorTypeLatest},
		"ResourceNotFoundException", "Shard shardId-000000000005 in stream s under account 000000000000 does not exist")
	get(sdk.GetShardIteratorInput{ShardId: aws.String("nonsense"), ShardIteratorType: types.ShardIteratorTypeLatest},
		"ResourceNotFoundException", "Could not find shard nonsense in stream s under account 000000000000.")
	get(sdk.GetShardIteratorInput{StreamName: aws.String("none"), ShardId: r.ShardId, ShardIteratorType: types.ShardIteratorTypeLatest},
		"ResourceNotFoundException", "Shard "+*r.ShardId+" in stream none under account 000000000000 does not exist")
	get(sdk.GetShardIteratorInput{ShardId: aws.String("sh/ard"), ShardIteratorType: "FIRST"}, "ValidationException",
		"2 validation errors detected: Value 'sh/ard' at 'shardId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "+
			"Value 'FIRST' at 'shardIteratorType' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]")

	it := w.iterator(t, "s", *r.ShardId)
	broken := []byte(*it)
	for i := range broken { // every character matters
		was := broken[i]
		if broken[i] = 'A'; was == 'A' {
			broken[i] = 'B'
		}
		if _, ok := w.service.sealer.Load().openIterator(string(broken)); ok {
			t.Errorf("an iterator with another character %d is accepted", i)
		}
		broken[i] = was
	}
	for _, text := range []string{"AAAA", *it + "A", (*it)[:40], strings.Repeat("A", 512)} {
		refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: &text}, "InvalidArgumentException", "Invalid ShardIterator.")
	}
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(10001)}, "ValidationException",
		"1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000")
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it, StreamARN: arnOf("other")}, "InvalidArgumentException", "")

	w.Clock.Advance(5 * time.Minute)
	must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it})
	w.Clock.Advance(time.Millisecond)
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it}, "ExpiredIteratorException",
		"Iterator expired. The iterator was created at time Fri Jan 02 03:04:05 UTC 2026 while right now it is Fri Jan 02 03:09:05 UTC 2026 "+
			"which is further in the future than the tolerated delay of 300000 milliseconds.")

	it = w.iterator(t, "s", *r.ShardId)
	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s")})
	w.create(t, "s", 2)
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it}, "ResourceNotFoundException", "")
}

func TestRecordsAreLimitedInSize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	put := &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: make([]byte, 1<<20-1)}
	must(t, w.PutRecord, put)
	put.Data = make([]byte, 1<<20)
	refused(t, w.PutRecord, put, "InvalidArgumentException", "The size of the record at data, with its partition key, is 1048577 bytes; "+
		"it must not exceed the stream's maximum record size of 1024 KiB.")
	put.Data = make([]byte, 1<<20+1)
	refused(t, w.PutRecord, put, "ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]' at 'data' "+
		"failed to satisfy constraint: Member must have length less than or equal to 1048576")
	refused(t, w.UpdateMaxRecordSize, &sdk.UpdateMaxRecordSizeInput{StreamARN: arnOf("s"), MaxRecordSizeInKiB: aws.Int32(10241)}, "ValidationException",
		"1 validation error detected: Value '10241' at 'maxRecordSizeInKiB' failed to satisfy constraint: Member must have value less than or equal to 10240")
	must(t, w.UpdateMaxRecordSize, &sdk.UpdateMaxRecordSizeInput{StreamARN: arnOf("s"), MaxRecordSizeInKiB: aws.Int32(10240)})
	must(t, w.PutRecord, put)
	put.Data = make([]byte, 10<<20-1)
	must(t, w.PutRecord, put)
	put.Data = make([]byte, 10<<20+1)
	refused(t, w.PutRecord, put, "ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]' at 'data' "+
		"failed to satisfy constraint: Member must have length less than or equal to 10485760")

	many := func(n, size int) *sdk.PutRecordsInput {
		in := &sdk.PutRecordsInput{StreamName: aws.String("s")}
		for range n {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, size)})
		}
		return in
	}
	must(t, w.PutRecords, many(2, 5<<20-1))
	refused(t, w.PutRecords, many(2, 5<<20), "InvalidArgumentException", "Records size exceeds 10 MB limit")
	must(t, w.PutRecords, many(500, 1))
	refused(t, w.PutRecords, many(501, 1), "ValidationException",
		"1 validation error detected: Value '[…]' at 'records' failed to satisfy constraint: Member must have length less than or equal to 500")

	// A read returns 10 MiB, or one record if that is larger.
	next := w.iterator(t, "s", "shardId-000000000000")
	var sizes []int
	for behind := int64(1); behind > 0; {
		out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: next})
		n := 0
		for _, r := range out.Records {
			n += len(r.Data)
		}
		sizes = append(sizes, n)
		next, behind = out.NextShardIterator, *out.MillisBehindLatest
	}
	want := []int{1<<20 - 1 + 1<<20 + 1, 10<<20 - 1, 10<<20 - 2, 500}
	if fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("the reads return %v bytes, want %v", sizes, want)
	}
}

// The recorded life of records of AWS: what is put comes back, byte by byte and in order.
func TestReplayOfTheRecordLifecycle(t *testing.T) {
	t.Parallel()
	rec := fixtures.Snapshot(t, "localstack-snapshots/test_kinesis.snapshot.json").Test(t, "TestKinesis::test_record_lifecycle_data_integrity")
	w := newWorld(t)
	w.create(t, "s", 1)
	for _, data := range []string{"", strings.Repeat("a", len(rec["Records"].([]any)[1].(map[string]any)["Data"].(string))-3), "test", "ünicödé 统一码 💣💻🔥"} {
		w.putOne(t, "s", "1", data)
	}
	records, _ := w.drain(t, "s", "shardId-000000000000")
	fixtures.NewReplay(t, rec).Match("Records", records)
}

func TestDuplicatesAreHandedOutAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	w.putOne(t, "s", "k", "x")
	now := w.service.now()
	st, err := w.service.lookup(streamKey{"000000000000", "us-east-1", "s"}, now)
	if err != nil {
		t.Fatal(err)
	}
	defer st.mu.RUnlock()
	read := func(token string, again bool) *GetRecordsOutput {
		t.Helper()
		it, ok := w.service.sealer.Load().openIterator(token)
		if !ok {
			t.Fatalf("no iterator: %q", token)
		}
		out, _, err := w.service.read(st, it, 10, now, again)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := read(*w.iterator(t, "s", "shardId-000000000000"), true)
	second := read(first.next, false)
	third := read(second.next, false)
	if len(first.records) != 1 || first.behind == 0 || len(second.records) != 1 || second.behind != 0 || len(third.records) != 0 {
		t.Errorf("the reads return %d (%d ms behind), %d and %d records", len(first.records), first.behind, len(second.records), len(third.records))
	}
}

func TestPutFromOtherServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	if err := w.service.Put(t.Context(), *arnOf("s"), env.Message{Body: "hello", PartitionKey: "p"}); err != nil {
		t.Fatal(err)
	}
	if err := w.service.Put(t.Context(), *arnOf("s"), env.Message{Body: "no key"}); err != nil {
		t.Fatal(err)
	}
	records, _ := w.drain(t, "s", "shardId-000000000000")
	if len(records) != 2 || string(records[0].Data) != "hello" || *records[0].PartitionKey != "p" || *records[1].PartitionKey == "" {
		t.Errorf("the records are %+v", records)
	}
	for arn, want := range map[string]string{
		*arnOf("none"):                    "ResourceNotFoundException: Stream none under account 000000000000 not found.",
		"arn:aws:sqs:us-east-1:1:s":       "InvalidArgumentException: arn:aws:sqs:us-east-1:1:s is not the ARN of a stream.",
		*arnOf("s") + "/consumer/c:12345": "InvalidArgumentException: " + *arnOf("s") + "/consumer/c:12345 is not the ARN of a stream.",
	} {
		if err := w.service.Put(t.Context(), arn, env.Message{Body: "x"}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", arn, err, want)
		}
	}
}

// Limits as https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html has them.
func TestThroughputIsLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits)
	w.create(t, "s", 2)
	const exceeded = "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000."
	zero, last := aws.String("0"), aws.String("340282366920938463463374607431768211455")
	put := &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), ExplicitHashKey: zero, Data: make([]byte, 1<<19)}
	must(t, w.PutRecord, put)
	refused(t, w.PutRecord, put, "ProvisionedThroughputExceededException", exceeded)
	w.Clock.Advance(2 * time.Millisecond)
	must(t, w.PutRecord, put)
	out := must(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{
		{PartitionKey: aws.String("k"), ExplicitHashKey: zero, Data: make([]byte, 1<<19)},
		{PartitionKey: aws.String("k"), ExplicitHashKey: last, Data: []byte("x")},
	}})
	if *out.FailedRecordCount != 1 || *out.Records[0].ErrorCode != "ProvisionedThroughputExceededException" || *out.Records[0].ErrorMessage != exceeded ||
		out.Records[0].ShardId != nil || *out.Records[1].ShardId != "shardId-000000000001" || out.Records[1].ErrorCode != nil {
		t.Errorf("the answer is %+v", out)
	}

	w.Clock.Advance(time.Second)
	records := &sdk.PutRecordsInput{StreamName: aws.String("s")}
	for range 500 {
		records.Records = append(records.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), ExplicitHashKey: zero, Data: []byte("x")})
	}
	for i, want := range []int32{0, 0, 500} {
		if out := must(t, w.PutRecords, records); *out.FailedRecordCount != want {
			t.Errorf("of the %dth 500 records in a second %d failed, want %d", i+1, *out.FailedRecordCount, want)
		}
	}

	w.Clock.Advance(time.Second)
	it := must(t, w.GetShardIterator, &sdk.GetShardIteratorInput{
		StreamName: aws.String("s"), ShardId: aws.String("shardId-0"), ShardIteratorType: types.ShardIteratorTypeLatest,
	}).ShardIterator
	for range 5 {
		must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)})
	}
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)}, "ProvisionedThroughputExceededException", exceeded)
	w.Clock.Advance(200 * time.Millisecond)
	must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)})
	for range 5 {
		w.iterator(t, "s", "shardId-000000000000")
	}
	refused(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String("shardId-0"), ShardIteratorType: types.ShardIteratorTypeLatest},
		"ProvisionedThroughputExceededException", exceeded)
}
