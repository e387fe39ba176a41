package dynamodb_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/stack/dynamodb"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
)

// world is a service with clients.
type world struct {
	*stacktest.Kit
	service  *dynamodb.Service
	endpoint string
	db       *ddb.Client
	streams  *dynamodbstreams.Client
}

func newWorld(t testing.TB) *world { return worldOn(t, store.Memory()) }

func worldOn(t testing.TB, st *store.Store) *world {
	t.Helper()
	w := &world{Kit: stacktest.On(t, st)}
	s, err := dynamodb.New(w.Env)
	if err != nil {
		t.Fatal(err)
	}
	w.service = s
	w.endpoint = w.Serve(s.API()...)
	c := stacktest.Config(w.endpoint)
	w.db, w.streams = ddb.NewFromConfig(c), dynamodbstreams.NewFromConfig(c)
	return w
}

// schema describes a table in short: "id:S" or "pk:S sk:N".
func schema(keys string) (attrs []types.AttributeDefinition, elements []types.KeySchemaElement) {
	for i, k := range strings.Fields(keys) {
		name, typ, _ := strings.Cut(k, ":")
		attrs = append(attrs, types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeType(typ)})
		kind := types.KeyTypeHash
		if i > 0 {
			kind = types.KeyTypeRange
		}
		elements = append(elements, types.KeySchemaElement{AttributeName: &name, KeyType: kind})
	}
	return attrs, elements
}

// table makes a table with capacity for one partition and, if view is not empty, a stream.
func (w *world) table(t testing.TB, name, keys, view string, change ...func(*ddb.CreateTableInput)) *types.TableDescription {
	t.Helper()
	in := &ddb.CreateTableInput{TableName: &name, ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(5), WriteCapacityUnits: aws.Int64(5)}}
	in.AttributeDefinitions, in.KeySchema = schema(keys)
	if view != "" {
		in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewType(view)}
	}
	for _, f := range change {
		f(in)
	}
	out, err := w.db.CreateTable(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.TableDescription
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

type item = map[string]types.AttributeValue

func (w *world) put(t testing.TB, table string, i item) {
	t.Helper()
	if _, err := w.db.PutItem(t.Context(), &ddb.PutItemInput{TableName: &table, Item: i}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) get(t testing.TB, table string, key item) item {
	t.Helper()
	out, err := w.db.GetItem(t.Context(), &ddb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

// wantError wants a refusal with a code and a message; an empty message is any.
func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e.ErrorCode() != code || message != "" && e.ErrorMessage() != message {
		t.Errorf("got %s: %s\nwant %s: %s", e.ErrorCode(), e.ErrorMessage(), code, message)
	}
}

// post sends an operation's body as it is, and returns the answer.
func (w *world) post(t testing.TB, operation, body string) (status int, answer map[string]any) {
	t.Helper()
	target := "DynamoDB_20120810."
	switch operation {
	case "ListStreams", "DescribeStream", "GetShardIterator", "GetRecords":
		target = "DynamoDBStreams_20120810."
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", target+operation)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer = map[string]any{}
	if err := json.Unmarshal(text, &answer); err != nil && len(text) > 0 {
		t.Fatalf("%s answers %s", operation, text)
	}
	return a.StatusCode, answer
}

// must posts an operation that succeeds, and returns its answer as text with its members sorted.
func (w *world) must(t testing.TB, operation, body string) string {
	t.Helper()
	status, answer := w.post(t, operation, body)
	if status != http.StatusOK {
		t.Errorf("%s %s: %d %v", operation, body, status, answer)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// answers wants an operation to answer exactly this.
func (w *world) answers(t testing.TB, operation, body, want string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(want), &v); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.must(t, operation, body); got != string(sorted) {
		t.Errorf("%s %s\nanswers %s\nwant    %s", operation, body, got, sorted)
	}
}

// refuses wants an operation to be refused with a code and a message, and returns the whole answer.
func (w *world) refuses(t testing.TB, operation, body, code, message string) map[string]any {
	t.Helper()
	status, answer := w.post(t, operation, body)
	typ, _ := answer["__type"].(string)
	_, got, _ := strings.Cut(typ, "#")
	text, ok := answer["message"].(string)
	if !ok {
		text, _ = answer["Message"].(string)
	}
	if status != http.StatusBadRequest || got != code || text != message {
		t.Errorf("%s %s\nanswers %d %s: %s\nwant %s: %s", operation, body, status, got, text, code, message)
	}
	return answer
}
