package dynamodb

import (
	"reflect"
	"strings"
	"testing"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/wire"
)

// Every member that the SDK can send is read: nothing is ignored because nobody knew of it. And every member that is
// answered is one that the SDK reads.
func TestMembersAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	for _, in := range [][2]any{
		{batchGetItemInput{}, ddb.BatchGetItemInput{}}, {batchWriteItemInput{}, ddb.BatchWriteItemInput{}}, {createTableInput{}, ddb.CreateTableInput{}},
		{deleteItemInput{}, ddb.DeleteItemInput{}}, {tableInput{}, ddb.DeleteTableInput{}}, {tableInput{}, ddb.DescribeTableInput{}},
		{tableInput{}, ddb.DescribeContinuousBackupsInput{}}, {tableInput{}, ddb.DescribeTimeToLiveInput{}}, {empty{}, ddb.DescribeLimitsInput{}},
		{empty{}, ddb.DescribeEndpointsInput{}}, {getItemInput{}, ddb.GetItemInput{}}, {listTablesInput{}, ddb.ListTablesInput{}}, {listTagsInput{}, ddb.ListTagsOfResourceInput{}},
		{putItemInput{}, ddb.PutItemInput{}}, {queryInput{}, ddb.QueryInput{}}, {scanInput{}, ddb.ScanInput{}}, {tagResourceInput{}, ddb.TagResourceInput{}},
		{transactGetItemsInput{}, ddb.TransactGetItemsInput{}}, {untagResourceInput{}, ddb.UntagResourceInput{}}, {updateItemInput{}, ddb.UpdateItemInput{}},
		{updateTableInput{}, ddb.UpdateTableInput{}}, {updateTimeToLiveInput{}, ddb.UpdateTimeToLiveInput{}},
		{listStreamsInput{}, dynamodbstreams.ListStreamsInput{}}, {describeStreamInput{}, dynamodbstreams.DescribeStreamInput{}},
		{getShardIteratorInput{}, dynamodbstreams.GetShardIteratorInput{}}, {getRecordsInput{}, dynamodbstreams.GetRecordsInput{}},
		{transactWriteItemsInput{}, ddb.TransactWriteItemsInput{}},
	} {
		subset(t, reflect.TypeOf(in[1]).String(), reflect.TypeOf(in[1]), reflect.TypeOf(in[0]))
	}
	for _, out := range [][2]any{
		{batchGetItemOutput{}, ddb.BatchGetItemOutput{}}, {batchWriteItemOutput{}, ddb.BatchWriteItemOutput{}}, {tableOutput{}, ddb.CreateTableOutput{}},
		{describeTableOutput{}, ddb.DescribeTableOutput{}}, {writeOutput{}, ddb.UpdateItemOutput{}}, {getItemOutput{}, ddb.GetItemOutput{}},
		{readOutput{}, ddb.QueryOutput{}}, {listTablesOutput{}, ddb.ListTablesOutput{}}, {listTagsOutput{}, ddb.ListTagsOfResourceOutput{}},
		{transactWriteItemsOutput{}, ddb.TransactWriteItemsOutput{}}, {transactGetItemsOutput{}, ddb.TransactGetItemsOutput{}},
		{describeTimeToLiveOutput{}, ddb.DescribeTimeToLiveOutput{}}, {updateTimeToLiveOutput{}, ddb.UpdateTimeToLiveOutput{}},
		{describeContinuousBackupsOutput{}, ddb.DescribeContinuousBackupsOutput{}}, {describeLimitsOutput{}, ddb.DescribeLimitsOutput{}},
		{describeEndpointsOutput{}, ddb.DescribeEndpointsOutput{}}, {describeStreamOutput{}, dynamodbstreams.DescribeStreamOutput{}},
		{listStreamsOutput{}, dynamodbstreams.ListStreamsOutput{}}, {getShardIteratorOutput{}, dynamodbstreams.GetShardIteratorOutput{}},
		{getRecordsOutput{}, dynamodbstreams.GetRecordsOutput{}}, {cancellationReason{}, types.CancellationReason{}},
	} {
		subset(t, reflect.TypeOf(out[0]).String(), reflect.TypeOf(out[0]), reflect.TypeOf(out[1]))
	}
}

// subset wants each member of a to be one of b, all the way down.
func subset(t *testing.T, path string, a, b reflect.Type) {
	t.Helper()
	for _, leaf := range []reflect.Type{reflect.TypeFor[attr.Value](), reflect.TypeFor[attr.Item](), reflect.TypeFor[wire.Time]()} {
		if a == leaf || b == leaf {
			return
		}
	}
	if b.Kind() == reflect.Interface {
		return
	}
	if a.Kind() == reflect.Pointer || b.Kind() == reflect.Pointer {
		if a.Kind() == reflect.Pointer {
			a = a.Elem()
		}
		if b.Kind() == reflect.Pointer {
			b = b.Elem()
		}
		subset(t, path, a, b)
		return
	}
	switch a.Kind() {
	case reflect.Slice, reflect.Map:
		if b.Kind() != a.Kind() {
			t.Errorf("%s is %s, not %s", path, a, b)
			return
		}
		subset(t, path, a.Elem(), b.Elem())
	case reflect.Struct:
		of := members(b)
		for name, typ := range members(a) {
			other, ok := of[name]
			if !ok {
				t.Errorf("%s.%s is not a member of %s", path, name, b)
				continue
			}
			subset(t, path+"."+name, typ, other)
		}
	default:
	}
}

// members are the members of a struct by their names, in one case: the SDK has capitals where the protocol has none.
func members(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			for name, typ := range members(f.Type) {
				m[name] = typ
			}
			continue
		case !f.IsExported() || f.Name == "ResultMetadata":
			continue
		case name == "":
			name = f.Name
		}
		m[strings.ToLower(name)] = f.Type
	}
	return m
}
