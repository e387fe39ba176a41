package dynamodb_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// Whatever is asked, the answer is one of DynamoDB's.
func FuzzOperations(f *testing.F) {
	w := newWorld(f)
	d := wire.NewDispatcher(wire.Config{Services: w.service.API(), Region: stacktest.Region, Account: stacktest.Account, Log: w.Env.Log})
	call := func(target, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", target)
		a := httptest.NewRecorder()
		d.ServeHTTP(a, r)
		return a
	}
	var operations []string
	for _, s := range w.service.API() {
		for _, o := range s.Operations {
			operations = append(operations, s.Target+"."+o.Name)
		}
	}
	for _, body := range []string{
		`{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"n","AttributeType":"N"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
			"BillingMode":"PAY_PER_REQUEST","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},
			"GlobalSecondaryIndexes":[{"IndexName":"by-n","KeySchema":[{"AttributeName":"n","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}`,
		`{"TableName":"abc","Item":{"id":{"S":"a"},"n":{"N":"1"}},"ReturnValues":"ALL_OLD","ReturnConsumedCapacity":"INDEXES","Expected":{"x":{"Exists":false}}}`,
		`{"TableName":"abc","Key":{"id":{"S":"a"}},"UpdateExpression":"SET #a = :a","ExpressionAttributeNames":{"#a":"b"},"ExpressionAttributeValues":{":a":{"L":[]}}}`,
		`{"TableName":"abc","KeyConditionExpression":"id = :a","ExpressionAttributeValues":{":a":{"S":"a"}},"ExclusiveStartKey":{"id":{"S":"a"}},"ScanIndexForward":false}`,
		`{"TableName":"abc","IndexName":"by-n","Limit":1,"Select":"COUNT","TotalSegments":3,"Segment":1,"ScanFilter":{"x":{"ComparisonOperator":"IN","AttributeValueList":[{"S":"a"}]}}}`,
		`{"RequestItems":{"abc":[{"PutRequest":{"Item":{"id":{"S":"a"}}}}]}}`, `{"RequestItems":{"abc":{"Keys":[{"id":{"S":"a"}}],"AttributesToGet":["a"]}}}`,
		`{"TransactItems":[{"Put":{"TableName":"abc","Item":{"id":{"S":"b"}}}},{"ConditionCheck":{"TableName":"abc","Key":{"id":{"S":"c"}},"ConditionExpression":"size(x) < :x"}}],"ClientRequestToken":"t"}`,
		`{"StreamArn":"arn:aws:dynamodb:us-east-1:000000000000:table/abc/stream/2026-01-02T03:04:05.000","ShardId":"shardId-00000001767323045000-00000000","ShardIteratorType":"LATEST"}`,
		`{"ShardIterator":"arn:aws:dynamodb:us-east-1:000000000000:table/abc/stream/2026-01-02T03:04:05.000|1|AAAA"}`,
		`{"TableName":"abc","TimeToLiveSpecification":{"AttributeName":"n","Enabled":true}}`, `{"TableName":"abc","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"by-n"}}]}`,
		`{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/abc","Tags":[{"Key":"a","Value":"b"}],"TagKeys":["a"]}`,
	} {
		for i := range operations {
			f.Add(uint8(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, operation uint8, body string) {
		target := operations[int(operation)%len(operations)]
		if a := call(target, body); a.Code != http.StatusOK && a.Code != http.StatusBadRequest {
			t.Errorf("%s %s answers %d %s", target, body, a.Code, a.Body)
		}
	})
}
