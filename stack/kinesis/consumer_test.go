package kinesis

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/stacktest"
)

func (w *world) register(t *testing.T, name string) *string {
	t.Helper()
	c := must(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: &name}).Consumer
	want := fmt.Sprintf("%s/consumer/%s:%d", *arnOf("s"), name, w.Clock.Now().Unix())
	if *c.ConsumerARN != want || *c.ConsumerName != name || c.ConsumerStatus != types.ConsumerStatusCreating {
		t.Errorf("the consumer is %+v", c)
	}
	return c.ConsumerARN
}

// subscribe begins to push a shard from a position.
func (w *world) subscribe(t *testing.T, consumer *string, shard string, from types.StartingPosition) *sdk.SubscribeToShardEventStream {
	t.Helper()
	// As of v1.56.12 subscriptions of one client share a buffer, and race.
	cfg := stacktest.Config(w.endpoint)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg.HTTPClient = &http.Client{Transport: whole{transport}}
	c := sdk.NewFromConfig(cfg)
	s := must(t, c.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: consumer, ShardId: &shard, StartingPosition: &from}).GetStream()
	t.Cleanup(func() { s.Close() })
	return s
}

// whole sends bodies from memory. Those of the SDK, as of v1.56.12, tell net/http of an error if the answer comes before
// it has seen their end, and then the connection is cut.
type whole struct{ http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return w.RoundTripper.RoundTrip(r)
}

// next waits for the next event; nil is the end.
func next(t *testing.T, s *sdk.SubscribeToShardEventStream) *types.SubscribeToShardEvent {
	t.Helper()
	select {
	case e := <-s.Events():
		if e == nil {
			return nil
		}
		return &e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
	case <-t.Context().Done():
		t.Fatal("no event came")
		return nil
	}
}

var fromHorizon = types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}

func TestConsumers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	b := w.register(t, "b")
	a := w.register(t, "a")
	c := w.register(t, "c")
	refused(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("a")}, "ResourceInUseException",
		"Consumer a under stream s already exists for account 000000000000.")

	for _, in := range []*sdk.DescribeStreamConsumerInput{
		{ConsumerARN: a}, {StreamARN: arnOf("s"), ConsumerName: aws.String("a")}, {StreamARN: arnOf("s"), ConsumerName: aws.String("a"), ConsumerARN: a},
	} {
		d := must(t, w.DescribeStreamConsumer, in).ConsumerDescription
		if *d.ConsumerARN != *a || *d.StreamARN != *arnOf("s") || d.ConsumerStatus != types.ConsumerStatusActive || !d.ConsumerCreationTimestamp.Equal(w.Clock.Now()) {
			t.Errorf("the description is %+v", d)
		}
	}
	refused(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("b"), ConsumerARN: a}, "ResourceNotFoundException", "")
	refused(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("none")},
		"ResourceNotFoundException", "Consumer none, account 000000000000 not found.")
	refused(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{StreamARN: arnOf("s")}, "InvalidArgumentException", "")

	first := must(t, w.ListStreamConsumers, &sdk.ListStreamConsumersInput{StreamARN: arnOf("s"), MaxResults: aws.Int32(2)})
	second := must(t, w.ListStreamConsumers, &sdk.ListStreamConsumersInput{StreamARN: arnOf("s"), MaxResults: aws.Int32(2), NextToken: first.NextToken})
	if len(first.Consumers) != 2 || *first.Consumers[0].ConsumerARN != *a || *first.Consumers[1].ConsumerARN != *b ||
		len(second.Consumers) != 1 || *second.Consumers[0].ConsumerARN != *c || second.NextToken != nil {
		t.Errorf("the pages are %+v and %+v", first, second)
	}

	refused(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s")}, "ResourceInUseException",
		"DeleteStream can't delete 000000000000:s because there are consumers associated with this data stream. To delete s anyway, "+
			"set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are associated with it.")
	must(t, w.DeregisterStreamConsumer, &sdk.DeregisterStreamConsumerInput{ConsumerARN: a})
	refused(t, w.DeregisterStreamConsumer, &sdk.DeregisterStreamConsumerInput{ConsumerARN: a}, "ResourceNotFoundException", "Consumer "+*a+", account 000000000000 not found.")
	w.Clock.Advance(time.Second)
	w.register(t, "a")
	for i := range 17 {
		w.register(t, fmt.Sprint("more-", i))
	}
	refused(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("more")}, "LimitExceededException", "")
	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s"), EnforceConsumerDeletion: aws.Bool(true)})
}

func TestSubscribersArePushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	before := w.putOne(t, "s", "k", "before")
	consumer := w.register(t, "c")
	s := w.subscribe(t, consumer, shard0, fromHorizon)
	e := next(t, s)
	if len(e.Records) != 1 || string(e.Records[0].Data) != "before" || *e.Records[0].PartitionKey != "k" ||
		*e.ContinuationSequenceNumber != *before.SequenceNumber || *e.MillisBehindLatest != 0 || e.ChildShards != nil {
		t.Fatalf("the first event is %+v", e)
	}
	live := w.putOne(t, "s", "k", "live")
	if e = next(t, s); len(e.Records) != 1 || string(e.Records[0].Data) != "live" || *e.ContinuationSequenceNumber != *live.SequenceNumber {
		t.Fatalf("the event of a new record is %+v", e)
	}
	// Nothing happens: progress is reported all the same.
	w.Clock.Advance(heartbeat)
	if e = next(t, s); len(e.Records) != 0 || *e.ContinuationSequenceNumber < *live.SequenceNumber || len(*e.ContinuationSequenceNumber) != 56 {
		t.Fatalf("the event of a quiet shard is %+v", e)
	}

	// Who goes on from there misses nothing and gets nothing twice.
	w.Clock.Advance(heartbeat)
	again := w.subscribe(t, consumer, shard0, types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: e.ContinuationSequenceNumber})
	if e := next(t, again); len(e.Records) != 0 {
		t.Errorf("after the continuation come %+v", e.Records)
	}

	// The shard ends.
	w.split(t, shard0, half)
	if e = next(t, again); len(e.Records) != 0 || e.ContinuationSequenceNumber != nil || len(e.ChildShards) != 2 || *e.ChildShards[1].ShardId != shard2 {
		t.Fatalf("the last event is %+v", e)
	}
	if e = next(t, again); e != nil || again.Err() != nil {
		t.Errorf("after the end come %+v, %v", e, again.Err())
	}
}

func TestSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	consumer := w.register(t, "c")
	const busy = "Another active subscription exists for this consumer: 000000000000:s:shardId-000000000000:c"
	in := &sdk.SubscribeToShardInput{ConsumerARN: consumer, ShardId: aws.String(shard0), StartingPosition: &fromHorizon}

	first := w.subscribe(t, consumer, shard0, fromHorizon)
	next(t, first)
	w.Clock.Advance(takeover - time.Millisecond)
	refused(t, w.SubscribeToShard, in, "ResourceInUseException", busy)
	w.Clock.Advance(time.Millisecond)
	second := w.subscribe(t, consumer, shard0, fromHorizon)
	next(t, second)
	for next(t, first) != nil { // a heartbeat may have been on its way
	}
	refusedBy(t, first.Err(), "ResourceInUseException", busy)

	// Five minutes are its life.
	w.Clock.Advance(lifetime)
	for next(t, second) != nil {
	}
	if err := second.Err(); err != nil {
		t.Errorf("at the end of its life: %v", err)
	}

	third := w.subscribe(t, consumer, shard0, fromHorizon)
	next(t, third)
	must(t, w.DeregisterStreamConsumer, &sdk.DeregisterStreamConsumerInput{ConsumerARN: consumer})
	if e := next(t, third); e != nil {
		t.Errorf("after the consumer is gone comes %+v", e)
	}
	refusedBy(t, third.Err(), "ResourceNotFoundException", "Consumer "+*consumer+", account 000000000000 not found.")

	w.Clock.Advance(time.Second)
	consumer = w.register(t, "c")
	fourth := w.subscribe(t, consumer, shard0, fromHorizon)
	next(t, fourth)
	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s"), EnforceConsumerDeletion: aws.Bool(true)})
	if e := next(t, fourth); e != nil {
		t.Errorf("after the stream is gone comes %+v", e)
	}
	refusedBy(t, fourth.Err(), "ResourceNotFoundException", "Stream s under account 000000000000 not found.")
}

func TestSubscriptionsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	consumer := w.register(t, "c")
	refused(t, w.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: aws.String(*consumer + "9"), ShardId: aws.String(shard0), StartingPosition: &fromHorizon},
		"ResourceNotFoundException", "Consumer "+*consumer+"9, account 000000000000 not found.")
	refused(t, w.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: consumer, ShardId: aws.String("shardId-7"), StartingPosition: &fromHorizon},
		"ResourceNotFoundException", "Shard shardId-000000000007 in stream s under account 000000000000 does not exist")
	refused(t, w.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: consumer, ShardId: aws.String(shard0),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: aws.String("1")}},
		"InvalidArgumentException", "StartingSequenceNumber 1 used in SubscribeToShard on shard shardId-000000000000 in stream s under account 000000000000 is invalid.")
	refused(t, w.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: arnOf("s"), ShardId: aws.String(shard0), StartingPosition: &fromHorizon},
		"ValidationException", "")
}

// A subscriber gets what was written in pieces of about a second's worth, the last of which says that there is no more.
func TestPushesHaveASize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	for range 5 {
		w.putOne(t, "s", "k", strings.Repeat("x", 1<<20-1))
		w.Clock.Advance(time.Second)
	}
	s := w.subscribe(t, w.register(t, "c"), shard0, fromHorizon)
	for i, want := range []struct {
		records int
		behind  int64
	}{{2, 3000}, {2, 1000}, {1, 0}} {
		if e := next(t, s); len(e.Records) != want.records || *e.MillisBehindLatest != want.behind {
			t.Errorf("event %d has %d records, %d ms behind, want %+v", i, len(e.Records), *e.MillisBehindLatest, want)
		}
	}
}

// Recorded from AWS: a subscription that begins at a sequence number, or at a time, brings what was written since.
func TestReplayOfSubscriptions(t *testing.T) {
	t.Parallel()
	recs := fixtures.Snapshot(t, "localstack-snapshots/test_kinesis.snapshot.json")
	for _, name := range []string{"test_subscribe_to_shard_with_sequence_number_as_iterator", "test_subscribe_to_shard_with_at_timestamp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.create(t, "s", 1)
			from := types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: w.shards(t, "s")[0].SequenceNumberRange.StartingSequenceNumber}
			if strings.Contains(name, "timestamp") {
				from = types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(w.Clock.Now())}
			}
			s := w.subscribe(t, w.register(t, "c"), shard0, from)
			for i := range 5 {
				w.putOne(t, "s", "1", fmt.Sprint("Hello world_", i))
			}
			var records []types.Record
			for len(records) < 5 {
				records = append(records, next(t, s).Records...)
			}
			fixtures.NewReplay(t, recs.Test(t, "TestKinesis::"+name)).Match("Records", records)
		})
	}
}
