package dynamodb_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/millrace/millrace/internal/fixtures"
)

// replays are the recorded tests of AWS by their names; nil is one that is left out for the reason given.
var replays = map[string]struct {
	play   func(*testing.T, *world, *fixtures.Replay)
	reason string
}{
	"TestDynamoDB::test_data_encoding_consistency":                           {play: replayEncoding},
	"TestDynamoDB::test_batch_write_items_streaming":                         {play: replayBatch},
	"TestDynamoDB::test_transact_write_items_streaming":                      {play: replayTransact},
	"TestDynamoDB::test_transact_write_items_streaming_for_different_tables": {play: replayTwoTables},
	"TestDynamoDBStreams::test_table_v2_stream":                              {play: replayOnDemand},
	"TestDynamoDBStreams::test_non_existent_stream":                          {play: replayNoStream},
	"TestDynamoDB::test_streams_on_global_tables":                            {reason: "there are no replicas"},
	"TestDynamoDB::test_kinesis_streaming_destination_crud":                  {reason: "there are no Kinesis destinations of tables"},
}

func TestReplays(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_dynamodb.snapshot.json")
	for name, rec := range fixtures.Snapshot(t, "localstack-snapshots/test_dynamodb_streams.snapshot.json") {
		all[name] = rec
	}
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		r, ok := replays[name]
		if !ok {
			t.Errorf("the recorded test %s is neither replayed nor left out", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r.play == nil {
				t.Skip(r.reason)
			}
			r.play(t, newWorld(t), fixtures.NewReplay(t, rec))
		})
	}
}

func (w *world) createOut(t *testing.T, name, view string) *ddb.CreateTableOutput {
	return &ddb.CreateTableOutput{TableDescription: w.table(t, name, "id:S", view)}
}

func (w *world) describe(t *testing.T, arn string) *dynamodbstreams.DescribeStreamOutput {
	t.Helper()
	out, err := w.streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// raw is an operation's answer as it is on the wire.
func (w *world) raw(t *testing.T, operation, body string) json.RawMessage {
	t.Helper()
	return json.RawMessage(w.must(t, operation, body))
}

func (w *world) recorded(t *testing.T, arn string) any {
	t.Helper()
	return map[string]any{"Records": w.all(t, arn)}
}

func replayEncoding(t *testing.T, w *world, r *fixtures.Replay) {
	arn := *w.table(t, "table-1", "id:S", "NEW_AND_OLD_IMAGES").LatestStreamArn
	image := func() any {
		records := w.all(t, arn)
		return records[len(records)-1].Dynamodb.NewImage
	}
	w.put(t, "table-1", item{"id": str("id1"), "version": num("1"), "data": &dbtypes.AttributeValueMemberB{Value: []byte{0x90}}})
	r.Match("GetItem", w.get(t, "table-1", item{"id": str("id1")}))
	r.Match("GetRecords", image())
	w.must(t, "UpdateItem", `{"TableName":"table-1","Key":{"id":{"S":"id1"}},"UpdateExpression":"SET version=:v","ExpressionAttributeValues":{":v":{"N":"2"}}}`)
	r.Match("GetItemAfterUpdate", w.get(t, "table-1", item{"id": str("id1")}))
	r.Match("GetRecordsAfterUpdate", image())
}

func replayBatch(t *testing.T, w *world, r *fixtures.Replay) {
	out := w.createOut(t, "table-1", "NEW_AND_OLD_IMAGES")
	arn := *out.TableDescription.LatestStreamArn
	r.Match("create-table", out)
	r.Match("describe-stream", w.describe(t, arn))
	r.Match("put-item-1", w.raw(t, "PutItem", `{"TableName":"table-1","Item":{"id":{"S":"Fred"}}}`))
	r.Match("batch-write-response-overwrite-item-1", w.raw(t, "BatchWriteItem",
		`{"RequestItems":{"table-1":[{"PutRequest":{"Item":{"id":{"S":"Fred"}}}},{"PutRequest":{"Item":{"id":{"S":"NewKey"}}}}]}}`))
	r.Match("batch-write-response-delete", w.raw(t, "BatchWriteItem",
		`{"RequestItems":{"table-1":[{"DeleteRequest":{"Key":{"id":{"S":"NewKey"}}}},{"PutRequest":{"Item":{"id":{"S":"Fred"},"name":{"S":"Fred"}}}}]}}`))
	r.Match("get-records", w.recorded(t, arn))
}

func replayTransact(t *testing.T, w *world, r *fixtures.Replay) {
	out := w.createOut(t, "table-1", "NEW_AND_OLD_IMAGES")
	arn := *out.TableDescription.LatestStreamArn
	r.Match("create-table", out)
	r.Match("describe-stream", w.describe(t, arn))
	r.Match("put-item-1", w.raw(t, "PutItem", `{"TableName":"table-1","Item":{"id":{"S":"Fred"}}}`))
	r.Match("transact-write-response-overwrite", w.raw(t, "TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"table-1","Item":{"id":{"S":"Fred"}}}},
		{"Put":{"TableName":"table-1","Item":{"id":{"S":"NewKey"}}}}]}`))
	r.Match("transact-write-response-update", w.raw(t, "TransactWriteItems", `{"TransactItems":[{"Update":{"TableName":"table-1","Key":{"id":{"S":"NewKey"}},
		"UpdateExpression":"SET attr1 = :v1, attr2 = :v2","ExpressionAttributeValues":{":v1":{"S":"value1"},":v2":{"S":"value2"}}}}]}`))
	r.Match("transact-write-update-insert", w.raw(t, "TransactWriteItems", `{"TransactItems":[{"Update":{"TableName":"table-1","Key":{"id":{"S":"NonExistentKey"}},
		"UpdateExpression":"SET attr1 = :v1","ExpressionAttributeValues":{":v1":{"S":"value1"}}}}]}`))
	r.Match("transact-write-response-delete", w.raw(t, "TransactWriteItems", `{"TransactItems":[{"Delete":{"TableName":"table-1","Key":{"id":{"S":"NewKey"}}}},
		{"Put":{"TableName":"table-1","Item":{"id":{"S":"Fred"},"name":{"S":"Fred"}}}}]}`))
	r.Match("get-records", w.recorded(t, arn))
}

func replayTwoTables(t *testing.T, w *world, r *fixtures.Replay) {
	out := w.createOut(t, "table-1", "NEW_AND_OLD_IMAGES")
	arn := *out.TableDescription.LatestStreamArn
	r.Match("create-table-stream", out)
	r.Match("create-table-no-stream", w.createOut(t, "table-2", ""))
	r.Match("describe-stream", w.describe(t, arn))
	r.Match("transact-write-two-tables", w.raw(t, "TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"table-2","Item":{"id":{"S":"Fred"}}}},
		{"Put":{"TableName":"table-1","Item":{"id":{"S":"Fred"}}}}]}`))
	r.Match("get-records", w.recorded(t, arn))
}

func replayOnDemand(t *testing.T, w *world, r *fixtures.Replay) {
	w.table(t, "table-1", "id:S", "NEW_AND_OLD_IMAGES", onDemand)
	out, err := w.db.DescribeTable(t.Context(), &ddb.DescribeTableInput{TableName: aws.String("table-1")})
	if err != nil {
		t.Fatal(err)
	}
	r.Match("global-table-v2", out)
}

func replayNoStream(t *testing.T, w *world, r *fixtures.Replay) {
	arn := *w.table(t, "table-1", "id:S", "NEW_AND_OLD_IMAGES").TableArn + "/stream/2024-11-18T14:36:44.149"
	_, err := w.streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &arn})
	r.Match("non-existent-stream", err)
}

// The tables of the recorded tests of Lambda's event source mappings.
func TestRecordedTables(t *testing.T) {
	t.Parallel()
	for name, rec := range fixtures.Snapshot(t, "localstack-esm-snapshots/test_lambda_integration_dynamodbstreams.snapshot.json") {
		_, name, _ = strings.Cut(name, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, step := range []string{"dynamodb_create_table_result", "create_dynamodb_table_response", "create_table_response", "create-table-result", "table_creation_response"} {
				want, ok := rec[step]
				if !ok {
					continue
				}
				text, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				keys, view := "my_partition_key:S", ""
				if strings.Contains(string(text), `"AttributeName":"id"`) {
					keys = "id:S"
				}
				if strings.Contains(string(text), "NEW_IMAGE") {
					view = "NEW_IMAGE"
				}
				fixtures.Compare(t, want, &ddb.CreateTableOutput{TableDescription: w.table(t, "table-1", keys, view, onDemand)})
			}
			if want, ok := rec["update_table_response"]; ok {
				out, err := w.db.UpdateTable(t.Context(), &ddb.UpdateTableInput{TableName: aws.String("table-1"),
					StreamSpecification: &dbtypes.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: dbtypes.StreamViewTypeNewImage}})
				if err != nil {
					t.Fatal(err)
				}
				var older []fixtures.Option
				if strings.Contains(name, "report_batch_item_failures") {
					older = append(older, fixtures.Ignore("$.TableDescription.WarmThroughput", "recorded before there was warm throughput; the others have it"))
				}
				fixtures.Compare(t, want, out, older...)
			}
			if want, ok := rec["dynamodb_events"]; ok {
				w.must(t, "UpdateTable", `{"TableName":"table-1","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}`)
				w.put(t, "table-1", item{"my_partition_key": str("hello world"), "binary_key": &dbtypes.AttributeValueMemberB{Value: []byte("foobar")}})
				d, err := w.db.DescribeTable(t.Context(), &ddb.DescribeTableInput{TableName: aws.String("table-1")})
				if err != nil {
					t.Fatal(err)
				}
				compareEvent(t, want, w, *d.Table.LatestStreamArn)
			}
		})
	}
}

// compareEvent compares the stream's one record with that of the first recorded event, which has its time as a
// placeholder and the stream's ARN besides.
func compareEvent(t *testing.T, events any, w *world, arn string) {
	t.Helper()
	want := events.([]any)[0].(map[string]any)["Records"].([]any)[0].(map[string]any)
	delete(want, "eventSourceARN")
	for _, h := range w.shards(t, arn) {
		records, _ := w.records(t, w.iterator(t, arn, *h.ShardId, types.ShardIteratorTypeTrimHorizon))
		if len(records) == 0 {
			continue
		}
		answer := w.must(t, "GetRecords", `{"ShardIterator":"`+w.iterator(t, arn, *h.ShardId, types.ShardIteratorTypeTrimHorizon)+`"}`)
		var got struct{ Records []json.RawMessage }
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		fixtures.Compare(t, want, got.Records[0])
		return
	}
	t.Error("no record")
}
