package kinesis

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	consumer := must(t, w.RegisterStreamConsumer, &sdk.RegisterStreamConsumerInput{StreamARN: arnOf("s"), ConsumerName: aws.String("c"), Tags: map[string]string{"x": "y"}}).Consumer.ConsumerARN
	must(t, w.AddTagsToStream, &sdk.AddTagsToStreamInput{StreamName: aws.String("s"), Tags: map[string]string{"b": "2", "a": "1", "c": "3"}})
	must(t, w.TagResource, &sdk.TagResourceInput{ResourceARN: arnOf("s"), Tags: map[string]string{"d": "4", "a": "one"}})
	must(t, w.RemoveTagsFromStream, &sdk.RemoveTagsFromStreamInput{StreamName: aws.String("s"), TagKeys: []string{"b", "none"}})
	must(t, w.TagResource, &sdk.TagResourceInput{ResourceARN: consumer, Tags: map[string]string{"z": ""}})
	must(t, w.UntagResource, &sdk.UntagResourceInput{ResourceARN: consumer, TagKeys: []string{"x"}})

	show := func(tags []types.Tag) string {
		var b strings.Builder
		for _, t := range tags {
			fmt.Fprintf(&b, "%s=%s ", *t.Key, *t.Value)
		}
		return b.String()
	}
	if got := show(must(t, w.ListTagsForResource, &sdk.ListTagsForResourceInput{ResourceARN: arnOf("s")}).Tags); got != "a=one c=3 d=4 " {
		t.Errorf("the tags of the stream are %s", got)
	}
	if got := show(must(t, w.ListTagsForResource, &sdk.ListTagsForResourceInput{ResourceARN: consumer}).Tags); got != "z= " {
		t.Errorf("the tags of the consumer are %s", got)
	}
	page := must(t, w.ListTagsForStream, &sdk.ListTagsForStreamInput{StreamName: aws.String("s"), ExclusiveStartTagKey: aws.String("a"), Limit: aws.Int32(1)})
	if show(page.Tags) != "c=3 " || !*page.HasMoreTags {
		t.Errorf("a page of tags is %s", show(page.Tags))
	}

	many := map[string]string{}
	for i := range 48 {
		many[fmt.Sprint(i)] = ""
	}
	refused(t, w.AddTagsToStream, &sdk.AddTagsToStreamInput{StreamName: aws.String("s"), Tags: many}, "InvalidArgumentException",
		"Failed to add tags to stream s under account 000000000000 because a given stream cannot have more than 50 tags associated with it.")
	refused(t, w.TagResource, &sdk.TagResourceInput{ResourceARN: arnOf("s"), Tags: map[string]string{"a": "50%"}}, "InvalidArgumentException", "")
	refused(t, w.TagResource, &sdk.TagResourceInput{ResourceARN: arnOf("s"), Tags: map[string]string{strings.Repeat("k", 129): ""}}, "ValidationException", "")
	refused(t, w.ListTagsForResource, &sdk.ListTagsForResourceInput{ResourceARN: aws.String(*arnOf("s") + "/consumer/none:123")}, "ResourceNotFoundException", "")
	if got := show(must(t, w.ListTagsForStream, &sdk.ListTagsForStreamInput{StreamName: aws.String("s")}).Tags); got != "a=one c=3 d=4 " {
		t.Errorf("refused tags have left %s", got)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)

	m := must(t, w.EnableEnhancedMonitoring, &sdk.EnableEnhancedMonitoringInput{StreamName: aws.String("s"),
		ShardLevelMetrics: []types.MetricsName{types.MetricsNameOutgoingBytes, types.MetricsNameIncomingBytes}})
	if len(m.CurrentShardLevelMetrics) != 0 || fmt.Sprint(m.DesiredShardLevelMetrics) != "[IncomingBytes OutgoingBytes]" {
		t.Errorf("the metrics are %+v", m)
	}
	m2 := must(t, w.DisableEnhancedMonitoring, &sdk.DisableEnhancedMonitoringInput{StreamName: aws.String("s"), ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes}})
	if fmt.Sprint(m2.CurrentShardLevelMetrics, m2.DesiredShardLevelMetrics) != "[IncomingBytes OutgoingBytes] [OutgoingBytes]" {
		t.Errorf("the metrics are %+v", m2)
	}
	if all := must(t, w.EnableEnhancedMonitoring, &sdk.EnableEnhancedMonitoringInput{StreamName: aws.String("s"), ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll}}); len(all.DesiredShardLevelMetrics) != 7 {
		t.Errorf("all metrics are %v", all.DesiredShardLevelMetrics)
	}

	must(t, w.StartStreamEncryption, &sdk.StartStreamEncryptionInput{StreamName: aws.String("s"), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	if out := w.putOne(t, "s", "k", "x"); out.EncryptionType != types.EncryptionTypeKms {
		t.Errorf("the encryption of a put is %q", out.EncryptionType)
	}
	refused(t, w.StopStreamEncryption, &sdk.StopStreamEncryptionInput{StreamName: aws.String("s"), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("other")},
		"InvalidArgumentException", "")
	d := must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("s")}).StreamDescriptionSummary
	if d.EncryptionType != types.EncryptionTypeKms || *d.KeyId != "alias/aws/kinesis" {
		t.Errorf("the encryption is %+v", d)
	}
	must(t, w.StopStreamEncryption, &sdk.StopStreamEncryptionInput{StreamName: aws.String("s"), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	w.putOne(t, "s", "k", "y")
	records, _ := w.drain(t, "s", shard0)
	if records[0].EncryptionType != types.EncryptionTypeKms || records[1].EncryptionType != "" {
		t.Errorf("the records' encryption is %q and %q", records[0].EncryptionType, records[1].EncryptionType)
	}

	mode := func(m types.StreamMode) *sdk.UpdateStreamModeInput {
		return &sdk.UpdateStreamModeInput{StreamARN: arnOf("s"), StreamModeDetails: &types.StreamModeDetails{StreamMode: m}}
	}
	must(t, w.UpdateStreamMode, mode(types.StreamModeOnDemand))
	must(t, w.UpdateStreamMode, mode(types.StreamModeProvisioned))
	refused(t, w.UpdateStreamMode, mode(types.StreamModeOnDemand), "LimitExceededException", "")
	w.Clock.Advance(24 * time.Hour)
	must(t, w.UpdateStreamMode, mode(types.StreamModeOnDemand))
	warm := mode(types.StreamModeProvisioned)
	warm.WarmThroughputMiBps = aws.Int32(10)
	refused(t, w.UpdateStreamMode, warm, "ValidationException", "")

	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kinesis:GetRecords","Resource":"*"}]}`
	refused(t, w.GetResourcePolicy, &sdk.GetResourcePolicyInput{ResourceARN: arnOf("s")}, "ResourceNotFoundException", "")
	refused(t, w.PutResourcePolicy, &sdk.PutResourcePolicyInput{ResourceARN: arnOf("s"), Policy: aws.String("{}")}, "InvalidArgumentException", "")
	must(t, w.PutResourcePolicy, &sdk.PutResourcePolicyInput{ResourceARN: arnOf("s"), Policy: aws.String(policy)})
	if got := must(t, w.GetResourcePolicy, &sdk.GetResourcePolicyInput{ResourceARN: arnOf("s")}); *got.Policy != policy {
		t.Errorf("the policy is %s", *got.Policy)
	}
	must(t, w.DeleteResourcePolicy, &sdk.DeleteResourcePolicyInput{ResourceARN: arnOf("s")})
	refused(t, w.GetResourcePolicy, &sdk.GetResourcePolicyInput{ResourceARN: arnOf("s")}, "ResourceNotFoundException", "")
}

func TestInputIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("a b"), ShardCount: aws.Int32(0)}, "ValidationException",
		"2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "+
			"Value '0' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1")
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("x")}, "ValidationException", "")
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("x"), ShardCount: aws.Int32(1),
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}, "ValidationException", "")
	refused(t, w.PutRecord, &sdk.PutRecordInput{PartitionKey: aws.String("k"), Data: []byte("x")}, "InvalidArgumentException", "Either StreamName or StreamARN should be provided.")
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String(""), Data: []byte("x")}, "ValidationException",
		"1 validation error detected: Value '' at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1")
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String(strings.Repeat("ü", 257)), Data: []byte("x")}, "ValidationException", "")
	must(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String(strings.Repeat("ü", 256)), Data: []byte("x")})
	refused(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{
		{PartitionKey: aws.String("k"), Data: []byte("x")}, {PartitionKey: aws.String(""), Data: []byte("x"), ExplicitHashKey: aws.String("-1")},
	}}, "ValidationException", "2 validation errors detected: Value '' at 'records.2.member.partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1; "+
		`Value '-1' at 'records.2.member.explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`)
	refused(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamARN: aws.String("arn:aws:sqs:us-east-1:000000000000:s")}, "ValidationException",
		"1 validation error detected: Value 'arn:aws:sqs:us-east-1:000000000000:s' at 'streamARN' failed to satisfy constraint: "+
			`Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+`)
	refused(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamName: aws.String("s"), StreamARN: arnOf("other")}, "InvalidArgumentException", "")
	refused(t, w.DescribeStream, &sdk.DescribeStreamInput{StreamARN: aws.String("arn:aws:kinesis:eu-west-1:000000000000:stream/s")},
		"ResourceNotFoundException", "Stream s under account 000000000000 not found.")
	for body, want := range map[string]string{
		// SDKs send a request with a StreamId to another host.
		`{"StreamName":"s","StreamId":"abcdefghij0123456789-abc"}`: `{"__type":"InvalidArgumentException","message":"StreamId is reserved for future use. Name the stream by StreamName or StreamARN."}`,
		`{"StreamName":5}`:    `{"__type":"SerializationException","message":"NUMBER_VALUE can not be converted to String (at /StreamName)"}`,
		`{"StreamName":"n"}`:  `{"__type":"ResourceNotFoundException","message":"Stream n under account 000000000000 not found."}`,
		`{"streamName":"s"}`:  `{"__type":"InvalidArgumentException","message":"Either StreamName or StreamARN should be provided."}`,
		`{"StreamName":null}`: `{"__type":"InvalidArgumentException","message":"Either StreamName or StreamARN should be provided."}`,
	} {
		if status, got := w.post(t, "DescribeStream", body); status != http.StatusBadRequest || got != want {
			t.Errorf("%s is answered with %d %s", body, status, got)
		}
	}
	refused(t, w.UpdateAccountSettings, &sdk.UpdateAccountSettingsInput{MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{
		Status: types.MinimumThroughputBillingCommitmentInputStatusEnabled}}, "UnknownOperationException", "")
}

// https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html
func TestRecordsAreSpreadWithoutKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("s"), RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	perShard := map[string]int{}
	for i := range 8 {
		in := &sdk.PutRecordInput{StreamName: aws.String("s"), Data: []byte("x")}
		if i%2 == 0 {
			in.PartitionKey, in.ExplicitHashKey = aws.String("k"), aws.String("0")
		}
		perShard[*must(t, w.PutRecord, in).ShardId]++
	}
	if fmt.Sprint(perShard) != "map[shardId-000000000000:2 shardId-000000000001:2 shardId-000000000002:2 shardId-000000000003:2]" {
		t.Errorf("the records are in %v", perShard)
	}
	var keys []string
	for _, h := range w.shards(t, "s") {
		records, _ := w.drain(t, "s", *h.ShardId)
		for _, r := range records {
			keys = append(keys, aws.ToString(r.PartitionKey))
		}
	}
	if fmt.Sprintf("%q", keys) != `["k" "k" "" "" "k" "k" "" ""]` {
		t.Errorf("the keys are %q", keys)
	}
	strategy := func() types.RecordDistributionStrategy {
		t.Helper()
		return must(t, w.DescribeStreamSummary, &sdk.DescribeStreamSummaryInput{StreamName: aws.String("s")}).StreamDescriptionSummary.RecordDistributionStrategy
	}
	if got := strategy(); got != types.RecordDistributionStrategyAuto {
		t.Errorf("the strategy is %q", got)
	}
	toProvisioned := &sdk.UpdateStreamModeInput{StreamARN: arnOf("s"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeProvisioned}}
	refused(t, w.UpdateStreamMode, toProvisioned, "InvalidArgumentException", "")
	must(t, w.UpdateStreamRecordDistributionStrategy, &sdk.UpdateStreamRecordDistributionStrategyInput{StreamARN: arnOf("s"),
		RecordDistributionStrategy: types.RecordDistributionStrategyUserPartitionKey})
	if got := strategy(); got != types.RecordDistributionStrategyUserPartitionKey {
		t.Errorf("the strategy is %q", got)
	}
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), Data: []byte("x")}, "ValidationException",
		"1 validation error detected: Value null at 'partitionKey' failed to satisfy constraint: Member must not be null")
	refused(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), Records: []types.PutRecordsRequestEntry{{Data: []byte("x")}}}, "ValidationException",
		"1 validation error detected: Value null at 'records.1.member.partitionKey' failed to satisfy constraint: Member must not be null")
	must(t, w.UpdateStreamMode, toProvisioned)
	refused(t, w.UpdateStreamRecordDistributionStrategy, &sdk.UpdateStreamRecordDistributionStrategyInput{StreamARN: arnOf("s"),
		RecordDistributionStrategy: types.RecordDistributionStrategyAuto}, "InvalidArgumentException", "")
	refused(t, w.CreateStream, &sdk.CreateStreamInput{StreamName: aws.String("p"), ShardCount: aws.Int32(1),
		RecordDistributionStrategy: types.RecordDistributionStrategyAuto}, "InvalidArgumentException", "")
}

func TestDryRunsDoNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "s", 1)
	consumer := w.register(t, "c")
	const code, message = "DryRunOperationException", "The request was rejected because the DryRun parameter was specified."
	dry := aws.Bool(true)
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("x"), DryRun: dry}, code, message)
	refused(t, w.PutRecords, &sdk.PutRecordsInput{StreamName: aws.String("s"), DryRun: dry,
		Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: []byte("x")}}}, code, message)
	refused(t, w.GetShardIterator, &sdk.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String(shard0), DryRun: dry,
		ShardIteratorType: types.ShardIteratorTypeLatest}, code, message)
	refused(t, w.GetRecords, &sdk.GetRecordsInput{ShardIterator: w.iterator(t, "s", shard0), DryRun: dry}, code, message)
	refused(t, w.SubscribeToShard, &sdk.SubscribeToShardInput{ConsumerARN: consumer, ShardId: aws.String(shard0), StartingPosition: &fromHorizon, DryRun: dry}, code, message)
	refused(t, w.PutRecord, &sdk.PutRecordInput{StreamName: aws.String("none"), PartitionKey: aws.String("k"), Data: []byte("x"), DryRun: dry}, "ResourceNotFoundException", "")
	if records, _ := w.drain(t, "s", shard0); len(records) != 0 {
		t.Errorf("dry runs have written %+v", records)
	}
	next(t, w.subscribe(t, consumer, shard0, fromHorizon)) // nothing is in its way
}
