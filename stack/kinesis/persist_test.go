package kinesis

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
)

// durable returns a world in a directory.
func durable(t *testing.T, dir string, options ...Option) *world {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return worldOn(t, stacktest.On(t, s), options...)
}

// killed returns a world as it is after a kill -9: what is in the files of a running one, and nothing else.
func (w *world) killed(t *testing.T) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(w.Env.Store.Dir())); err != nil {
		t.Fatal(err)
	}
	after := durable(t, dir)
	after.Clock.Advance(w.Clock.Now().Sub(after.Clock.Now()))
	return after
}

func TestEverythingSurvivesAKill(t *testing.T) {
	t.Parallel()
	w := durable(t, t.TempDir())
	w.create(t, "s", 1)
	w.create(t, "gone", 2)
	w.putOne(t, "gone", "k", "gone")
	must(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("demand"), Tags: map[string]string{"a": "b"}, MaxRecordSizeInKiB: aws.Int32(4096),
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	w.putOne(t, "s", "expired", "expired")
	w.Clock.Advance(2 * time.Hour)
	must(t, w.StartStreamEncryption, &sdk.StartStreamEncryptionInput{StreamName: aws.String("s"), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("key")})
	w.putOne(t, "s", "parent", "\x00\xff")
	w.split(t, shard0, half)
	must(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{
		{PartitionKey: aws.String("a"), ExplicitHashKey: aws.String("0"), Data: []byte("left")},
		{PartitionKey: aws.String("ü"), ExplicitHashKey: aws.String(half), Data: []byte("right")},
	}})
	w.merge(t, shard1, shard2)
	must(t, w.IncreaseStreamRetentionPeriod, &sdk.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("s"), RetentionPeriodHours: aws.Int32(25)})
	must(t, w.EnableEnhancedMonitoring, &sdk.EnableEnhancedMonitoringInput{StreamName: aws.String("s"), ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes}})
	consumer := w.register(t, "c")
	must(t, w.TagResource, &sdk.TagResourceInput{ResourceARN: consumer, Tags: map[string]string{"x": "y"}})
	w.register(t, "deregistered")
	must(t, w.DeregisterStreamConsumer, &sdk.DeregisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("deregistered")})
	must(t, w.UpdateShardCount, &sdk.UpdateShardCountInput{StreamName: aws.String("s"), TargetShardCount: aws.Int32(2), ScalingType: types.ScalingTypeUniformScaling})
	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("gone")})
	w.Clock.Advance(23 * time.Hour)
	last := w.putOne(t, "s", "k", "last") // which trims
	it := w.iterator(t, "s", shard0)

	show := func(w *world) string {
		t.Helper()
		out := fmt.Sprintln(must(t, w.ListStreams, &sdk.ListStreamsInput{}).StreamNames)
		for _, name := range []string{"s", "demand"} {
			d := must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: &name}).StreamDescriptionSummary
			out += fmt.Sprintln(name, d.StreamStatus, d.StreamModeDetails.StreamMode, *d.RetentionPeriodHours, d.EncryptionType, aws.ToString(d.KeyId), *d.OpenShardCount,
				*d.ConsumerCount, *d.MaxRecordSizeInKiB, *d.StreamCreationTimestamp, d.EnhancedMonitoring[0].ShardLevelMetrics,
				len(must(t, w.ListTagsForStream, &sdk.ListTagsForStreamInput{StreamName: &name}).Tags))
			for _, h := range w.shards(t, name) {
				out += fmt.Sprintln(*h.ShardId, aws.ToString(h.ParentShardId), aws.ToString(h.AdjacentParentShardId), *h.HashKeyRange.StartingHashKey, *h.HashKeyRange.EndingHashKey,
					*h.SequenceNumberRange.StartingSequenceNumber, aws.ToString(h.SequenceNumberRange.EndingSequenceNumber))
				records, children := w.drain(t, name, *h.ShardId)
				for _, r := range records {
					out += fmt.Sprintf("  %s %q %q %s %s\n", *r.SequenceNumber, r.Data, *r.PartitionKey, r.ApproximateArrivalTimestamp, r.EncryptionType)
				}
				for _, c := range children {
					out += fmt.Sprintln("  child", *c.ShardId)
				}
			}
		}
		d := must(t, w.DescribeStreamConsumer, &sdk.DescribeStreamConsumerInput{ConsumerARN: consumer}).ConsumerDescription
		return out + fmt.Sprintln(*d.ConsumerARN, *d.ConsumerCreationTimestamp, *must(t, w.ListTagsForResource, &sdk.ListTagsForResourceInput{ResourceARN: consumer}).Tags[0].Key)
	}
	after := w.killed(t)
	if want, got := show(w), show(after); got != want {
		t.Errorf("before:\n%s\nafter:\n%s", want, got)
	}
	if out := must(t, after.GetRecords, &sdk.GetRecordsInput{ShardIterator: it}); len(out.Records) != 1 || out.NextShardIterator != nil {
		t.Errorf("an iterator of before reads %+v", out)
	}
	if more := after.putOne(t, "s", "k", "more"); *more.SequenceNumber <= *last.SequenceNumber {
		t.Errorf("%s comes after %s", *more.SequenceNumber, *last.SequenceNumber)
	}

	after.service.Reset()
	if again := after.killed(t); len(must(t, again.ListStreams, &sdk.ListStreamsInput{}).StreamNames) != 0 {
		t.Error("a reset is forgotten by a kill")
	}
	left := 0
	if err := after.Env.Store.Load("", func(key string, _ []byte) error {
		if key != tokenKey {
			left++
		}
		return nil
	}); err != nil || left != 0 {
		t.Errorf("a reset leaves %d keys on the disk, %v", left, err)
	}
}

// Numbers are not used twice, even if all records that had them have expired.
func TestSequencesRiseAfterAKill(t *testing.T) {
	t.Parallel()
	w := durable(t, t.TempDir())
	w.create(t, "s", 1)
	last := w.putOne(t, "s", "k", "1")
	w.Clock.Advance(24 * time.Hour)
	w.drain(t, "s", shard0)
	w = w.killed(t)
	if records, _ := w.drain(t, "s", shard0); len(records) != 0 {
		t.Errorf("expired records are back: %+v", records)
	}
	if next := w.putOne(t, "s", "k", "2"); *next.SequenceNumber <= *last.SequenceNumber {
		t.Errorf("%s comes after %s", *next.SequenceNumber, *last.SequenceNumber)
	}
}

// A stream that was being deleted when the process died is gone once its time has come.
func TestADeletionGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	w := durable(t, t.TempDir(), Delay(time.Minute))
	w.create(t, "s", 1)
	w.Clock.Advance(time.Minute)
	must(t, w.DeleteStream, &sdk.DeleteStreamInput{StreamName: aws.String("s")})
	w = w.killed(t)
	if d := must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("s")}); d.StreamDescriptionSummary.StreamStatus != types.StreamStatusDeleting {
		t.Errorf("the stream is %s", d.StreamDescriptionSummary.StreamStatus)
	}
	w.Clock.Advance(time.Minute)
	refused(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("s")}, "ResourceNotFoundException", "")
	w.create(t, "s", 1)
	if list := w.killed(t).shards(t, "s"); len(list) != 1 {
		t.Errorf("the new stream has the shards %+v", list)
	}
}

// While the disk is full changes are refused. Those that are acknowledged afterwards do not suffer from it.
func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	w := durable(t, dir)
	w.create(t, "s", 1)
	first := w.putOne(t, "s", "k", "before")
	if err := os.Rename(dir, dir+"-away"); err != nil { // no disk has ever less room than one that is not there
		t.Fatal(err)
	}
	if err := w.Env.Store.Reserve(1 << 30); err == nil {
		t.Fatal("there is room where there is no directory")
	}
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("refused")}, "InternalFailure", "")
	refused(t, w.SplitShard, &sdk.SplitShardInput{StreamName: aws.String("s"), ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String(half)}, "InternalFailure", "")
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("refused too")}, "InternalFailure", "")
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("refused"), ShardCount: aws.Int32(1)}, "InternalFailure", "")
	out := must(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: w.iterator(t, "s", shard0)})
	if len(out.Records) != 1 || out.NextShardIterator == nil {
		t.Errorf("while the disk is full is read %+v", out)
	}

	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	after := w.putOne(t, "s", "k", "after")
	if *after.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("%s comes after %s", *after.SequenceNumber, *first.SequenceNumber)
	}
	for _, w := range []*world{w, w.killed(t)} {
		got := ""
		partition(t, w.shards(t, "s"))
		for _, h := range w.shards(t, "s") {
			records, children := w.drain(t, "s", *h.ShardId)
			for _, r := range records {
				got += string(r.Data) + " "
			}
			if closed := h.SequenceNumberRange.EndingSequenceNumber != nil; closed != (len(children) == 2) {
				t.Errorf("%s, closed: %v, has the children %v", *h.ShardId, closed, children)
			}
		}
		if got != "before after " {
			t.Errorf("the records are %q", got)
		}
	}
}

// Under load, what was acknowledged before a kill is there after it.
func TestAcknowledgedRecordsSurviveAKillUnderLoad(t *testing.T) {
	t.Parallel()
	w := durable(t, t.TempDir())
	w.create(t, "s", 2)
	var mu sync.Mutex
	acknowledged := map[string]string{} // by sequence number
	note := func(sequence, data string) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged[sequence] = data
	}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for j := range 50 {
				data := fmt.Sprint(i, " ", j)
				if i%2 == 0 {
					note(*w.putOne(t, "s", data, data).SequenceNumber, data)
					continue
				}
				out := must(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{
					{PartitionKey: aws.String("a" + data), Data: []byte(data)}, {PartitionKey: aws.String("b" + data), Data: []byte(data)},
				}})
				for _, r := range out.Records {
					note(*r.SequenceNumber, data)
				}
			}
		})
	}
	writers.Go(func() {
		w.split(t, shard0, "1000")
		w.merge(t, shard1, shard3)
	})
	for range 3 {
		mu.Lock()
		before := make(map[string]string, len(acknowledged))
		for s, data := range acknowledged {
			before[s] = data
		}
		mu.Unlock()
		after := w.killed(t)
		partition(t, after.shards(t, "s"))
		found := 0
		for _, h := range after.shards(t, "s") {
			records, _ := after.drain(t, "s", *h.ShardId)
			for _, r := range records {
				if data, ok := before[*r.SequenceNumber]; ok {
					if found++; data != string(r.Data) {
						t.Errorf("%s is %q, was %q", *r.SequenceNumber, r.Data, data)
					}
				}
			}
		}
		if found != len(before) {
			t.Errorf("%d of %d acknowledged records are there", found, len(before))
		}
	}
	writers.Wait()
}
