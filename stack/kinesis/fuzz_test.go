package kinesis

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// FuzzOperations sends anything to every operation: it is answered or refused, and is never the service's fault. After
// it the open shards still take each hash key once.
func FuzzOperations(f *testing.F) {
	const arn = `"arn:aws:kinesis:us-east-1:000000000000:stream/s"`
	for _, seed := range [][2]string{
		{"CreateStream", `{"StreamName":"t","StreamModeDetails":{"StreamMode":"ON_DEMAND"},"Tags":{"a":"b"},"RecordDistributionStrategy":"AUTO","MaxRecordSizeInKiB":2048}`},
		{"CreateStream", `{"StreamName":"t","ShardCount":3}`},
		{"DeleteStream", `{"StreamName":"s","EnforceConsumerDeletion":true}`},
		{"PutRecord", `{"StreamName":"s","PartitionKey":"k","Data":"eA==","ExplicitHashKey":"5","SequenceNumberForOrdering":"5"}`},
		{"PutRecords", `{"StreamARN":` + arn + `,"Records":[{"PartitionKey":"k","Data":""},{"PartitionKey":"k","Data":"eA==","ExplicitHashKey":"0"}]}`},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"shardId-0","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1.5}`},
		{"GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"49680518333789395742066468132441249361704115978335420418"}`},
		{"GetRecords", `{"ShardIterator":"AAAAAAAAAAE=","Limit":10000}`},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"1000"}`},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001"}`},
		{"UpdateShardCount", `{"StreamName":"s","TargetShardCount":3,"ScalingType":"UNIFORM_SCALING"}`},
		{"ListShards", `{"StreamName":"s","MaxResults":1,"ShardFilter":{"Type":"AFTER_SHARD_ID","ShardId":"shardId-000000000000"}}`},
		{"ListShards", `{"NextToken":"x"}`},
		{"ListStreams", `{"Limit":1,"ExclusiveStartStreamName":"a"}`},
		{"ListStreamConsumers", `{"StreamARN":` + arn + `,"MaxResults":1,"NextToken":"AAAA"}`},
		{"RegisterStreamConsumer", `{"StreamARN":` + arn + `,"ConsumerName":"d","Tags":{"":""}}`},
		{"DescribeStreamConsumer", `{"StreamARN":` + arn + `,"ConsumerName":"c"}`},
		{"SubscribeToShard", `{"ConsumerARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1767323045","ShardId":"0","StartingPosition":{"Type":"LATEST"},"DryRun":true}`},
		{"TagResource", `{"ResourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1767323045","Tags":{"a":"b"}}`},
		{"UntagResource", `{"ResourceARN":` + arn + `,"TagKeys":["a"]}`},
		{"PutResourcePolicy", `{"ResourceARN":` + arn + `,"Policy":"{}"}`},
		{"IncreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":8760}`},
		{"EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["ALL"]}`},
		{"StartStreamEncryption", `{"StreamName":"s","EncryptionType":"KMS","KeyId":"k"}`},
		{"UpdateStreamMode", `{"StreamARN":` + arn + `,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`},
		{"UpdateMaxRecordSize", `{"StreamARN":` + arn + `,"MaxRecordSizeInKiB":1024}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, operation, body string) {
		kit := stacktest.New(t)
		s, err := New(kit.Env, Limits)
		if err != nil {
			t.Fatal(err)
		}
		d := wire.NewDispatcher(wire.Config{Services: s.API(), Region: "us-east-1", Account: "000000000000", Log: slog.New(slog.DiscardHandler)})
		send := func(operation, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			return w
		}
		send("CreateStream", `{"StreamName":"s","ShardCount":2}`)
		send("RegisterStreamConsumer", `{"StreamARN":`+arn+`,"ConsumerName":"c"}`)
		if operation == "SubscribeToShard" && !strings.Contains(body, `"DryRun":true`) {
			return // it would go on for five minutes
		}
		if w := send(operation, body); w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q: %d %s", operation, body, w.Code, w.Body)
		}
		for _, st := range s.streams {
			at := hashKey{}
			for _, h := range st.open {
				if h.from != at || h.to.compare(h.from) < 0 {
					t.Fatalf("after %s %q shard %s takes %s to %s, where %s is next", operation, body, h.id, h.from, h.to, at)
				}
				at = h.to.next()
			}
			if at != (hashKey{}) {
				t.Fatalf("after %s %q no shard takes %s", operation, body, at)
			}
		}
	})
}
