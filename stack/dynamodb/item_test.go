package dynamodb_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/millrace/millrace/stack/stacktest"
)

func TestItemsComeBackAsTheyWerePut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	want := item{
		"id": str("1"), "n": num("-12.5"), "b": &types.AttributeValueMemberB{Value: []byte{0, 255}}, "yes": &types.AttributeValueMemberBOOL{Value: true},
		"nil": &types.AttributeValueMemberNULL{Value: true}, "l": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("a"), num("1")}},
		"m":  &types.AttributeValueMemberM{Value: item{"x": str("")}},
		"ss": &types.AttributeValueMemberSS{Value: []string{"a", "b"}}, "ns": &types.AttributeValueMemberNS{Value: []string{"1", "2"}},
		"bs": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
	}
	w.put(t, "things", want)
	if got := w.get(t, "things", item{"id": str("1")}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := w.get(t, "things", item{"id": str("2")}); got != nil {
		t.Errorf("got %v", got)
	}
	out, err := w.db.UpdateItem(t.Context(), &ddb.UpdateItemInput{TableName: aws.String("things"), Key: item{"id": str("1")}, UpdateExpression: aws.String("SET n = n + :d"),
		ExpressionAttributeValues: item{":d": num("0.5")}, ReturnValues: types.ReturnValueUpdatedNew})
	if err != nil || !reflect.DeepEqual(out.Attributes, item{"n": num("-12")}) {
		t.Errorf("%v, %v", out, err)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	const failed = "The conditional request failed"
	absent := `{"TableName":"things","Item":{"id":{"S":"1"},"n":{"N":"%s"}},"ConditionExpression":"attribute_not_exists(id)","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`
	w.must(t, "PutItem", strings.ReplaceAll(absent, "%s", "1"))
	a := w.refuses(t, "PutItem", strings.ReplaceAll(absent, "%s", "2"), "ConditionalCheckFailedException", failed)
	if got := fmt.Sprint(a["Item"]); got != "map[id:map[S:1] n:map[N:1]]" {
		t.Errorf("the item is %s", got)
	}
	a = w.refuses(t, "DeleteItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"ConditionExpression":"n > :n","ExpressionAttributeValues":{":n":{"N":"1"}}}`,
		"ConditionalCheckFailedException", failed)
	if a["Item"] != nil {
		t.Errorf("the item is %v", a["Item"])
	}
	a = w.refuses(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"2"}},"UpdateExpression":"SET n = :n","ConditionExpression":"attribute_exists(id)",
		"ExpressionAttributeValues":{":n":{"N":"1"}},"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}`, "ConditionalCheckFailedException", failed)
	if a["Item"] != nil {
		t.Errorf("the item is %v", a["Item"])
	}
	// The condition is asked before the update is tried.
	w.refuses(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"2"}},"UpdateExpression":"SET n = x","ConditionExpression":"attribute_exists(id)"}`,
		"ConditionalCheckFailedException", failed)

	// From before expressions.
	w.must(t, "PutItem", `{"TableName":"things","Item":{"id":{"S":"1"},"n":{"N":"2"}},"Expected":{"n":{"Value":{"N":"1"}},"x":{"Exists":false}}}`)
	w.refuses(t, "PutItem", `{"TableName":"things","Item":{"id":{"S":"1"}},"Expected":{"n":{"Value":{"N":"1"}},"x":{"Exists":false}}}`, "ConditionalCheckFailedException", failed)
	w.must(t, "PutItem", `{"TableName":"things","Item":{"id":{"S":"1"},"n":{"N":"3"}},"ConditionalOperator":"OR","Expected":{"n":{"Value":{"N":"1"}},"x":{"ComparisonOperator":"NULL"}}}`)
	for condition, holds := range map[string]bool{
		`"n":{"ComparisonOperator":"EQ","AttributeValueList":[{"N":"3"}]}`:                true,
		`"n":{"ComparisonOperator":"NE","AttributeValueList":[{"N":"3"}]}`:                false,
		`"x":{"ComparisonOperator":"NE","AttributeValueList":[{"N":"3"}]}`:                true,
		`"n":{"ComparisonOperator":"LT","AttributeValueList":[{"N":"4"}]}`:                true,
		`"n":{"ComparisonOperator":"LE","AttributeValueList":[{"N":"2"}]}`:                false,
		`"n":{"ComparisonOperator":"GT","AttributeValueList":[{"N":"2"}]}`:                true,
		`"n":{"ComparisonOperator":"GE","AttributeValueList":[{"N":"4"}]}`:                false,
		`"n":{"ComparisonOperator":"IN","AttributeValueList":[{"N":"4"},{"N":"3"}]}`:      true,
		`"n":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"N":"1"},{"N":"3"}]}`: true,
		`"n":{"ComparisonOperator":"NOT_NULL"}`:                                           true,
		`"id":{"ComparisonOperator":"BEGINS_WITH","AttributeValueList":[{"S":"1"}]}`:      true,
		`"id":{"ComparisonOperator":"CONTAINS","AttributeValueList":[{"S":"2"}]}`:         false,
		`"id":{"ComparisonOperator":"NOT_CONTAINS","AttributeValueList":[{"S":"2"}]}`:     true,
		`"x":{"ComparisonOperator":"NOT_CONTAINS","AttributeValueList":[{"S":"2"}]}`:      false,
	} {
		body := `{"TableName":"things","Item":{"id":{"S":"1"},"n":{"N":"3"}},"Expected":{` + condition + `}}`
		if holds {
			w.must(t, "PutItem", body)
		} else {
			w.refuses(t, "PutItem", body, "ConditionalCheckFailedException", failed)
		}
	}
}

func TestReturnValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	w.answers(t, "PutItem", `{"TableName":"things","Item":{"id":{"S":"1"},"a":{"N":"1"}},"ReturnValues":"ALL_OLD"}`, `{}`)
	w.answers(t, "PutItem", `{"TableName":"things","Item":{"id":{"S":"1"},"a":{"N":"2"},"m":{"M":{"x":{"N":"1"},"y":{"N":"2"}}}},"ReturnValues":"ALL_OLD"}`,
		`{"Attributes":{"a":{"N":"1"},"id":{"S":"1"}}}`)
	update := func(what, expression, want string) {
		t.Helper()
		w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"UpdateExpression":"`+expression+`","ExpressionAttributeValues":{":n":{"N":"5"}},"ReturnValues":"`+what+`"}`, want)
	}
	update("NONE", "SET a = :n", `{}`)
	update("ALL_OLD", "SET b = :n", `{"Attributes":{"a":{"N":"5"},"id":{"S":"1"},"m":{"M":{"x":{"N":"1"},"y":{"N":"2"}}}}}`)
	update("ALL_NEW", "SET b = b + :n", `{"Attributes":{"a":{"N":"5"},"b":{"N":"10"},"id":{"S":"1"},"m":{"M":{"x":{"N":"1"},"y":{"N":"2"}}}}}`)
	update("UPDATED_OLD", "SET b = :n, c = :n", `{"Attributes":{"b":{"N":"10"}}}`)
	update("UPDATED_NEW", "SET m.x = m.x + :n REMOVE c", `{"Attributes":{"m":{"M":{"x":{"N":"6"}}}}}`)
	update("UPDATED_OLD", "SET d = :n", `{}`)
	w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"UpdateExpression":"REMOVE d","ReturnValues":"UPDATED_NEW"}`, `{}`)
	w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"new"}},"UpdateExpression":"ADD n :n","ExpressionAttributeValues":{":n":{"N":"1"}},"ReturnValues":"ALL_NEW"}`,
		`{"Attributes":{"id":{"S":"new"},"n":{"N":"1"}}}`)
	w.answers(t, "DeleteItem", `{"TableName":"things","Key":{"id":{"S":"new"}},"ReturnValues":"ALL_OLD"}`, `{"Attributes":{"id":{"S":"new"},"n":{"N":"1"}}}`)
	w.answers(t, "DeleteItem", `{"TableName":"things","Key":{"id":{"S":"new"}},"ReturnValues":"ALL_OLD"}`, `{}`)
	// An update that only removes makes no item, but one of nothing makes one of its key.
	for _, update := range []string{`"UpdateExpression":"REMOVE x DELETE y :s","ExpressionAttributeValues":{":s":{"SS":["a"]}}`, `"AttributeUpdates":{"x":{"Action":"DELETE"}}`} {
		w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"bare"}},`+update+`,"ReturnValues":"ALL_NEW"}`, `{}`)
		w.answers(t, "GetItem", `{"TableName":"things","Key":{"id":{"S":"bare"}}}`, `{}`)
	}
	w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"bare"}},"ReturnValues":"ALL_NEW"}`, `{"Attributes":{"id":{"S":"bare"}}}`)
	w.answers(t, "GetItem", `{"TableName":"things","Key":{"id":{"S":"bare"}},"ProjectionExpression":"x"}`, `{"Item":{}}`)
	w.answers(t, "GetItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"AttributesToGet":["a","zz"]}`, `{"Item":{"a":{"N":"5"}}}`)
}

func TestAttributeUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	update := func(updates, want string) {
		t.Helper()
		w.answers(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"AttributeUpdates":{`+updates+`},"ReturnValues":"ALL_NEW"}`, `{"Attributes":`+want+`}`)
	}
	update(`"a":{"Value":{"N":"1"}},"l":{"Value":{"L":[{"N":"1"}]},"Action":"ADD"},"s":{"Value":{"SS":["a"]},"Action":"ADD"}`,
		`{"a":{"N":"1"},"id":{"S":"1"},"l":{"L":[{"N":"1"}]},"s":{"SS":["a"]}}`)
	update(`"a":{"Value":{"N":"2"},"Action":"ADD"},"l":{"Value":{"L":[{"N":"2"}]},"Action":"ADD"},"s":{"Value":{"SS":["b","a"]},"Action":"ADD"}`,
		`{"a":{"N":"3"},"id":{"S":"1"},"l":{"L":[{"N":"1"},{"N":"2"}]},"s":{"SS":["a","b"]}}`)
	update(`"a":{"Action":"DELETE"},"s":{"Value":{"SS":["a"]},"Action":"DELETE"},"l":{"Action":"DELETE"}`, `{"id":{"S":"1"},"s":{"SS":["b"]}}`)
	w.refuses(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"AttributeUpdates":{"s":{"Value":{"N":"1"},"Action":"ADD"}}}`, validation,
		"Type mismatch for attribute to update")
	w.refuses(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"AttributeUpdates":{"id":{"Value":{"S":"1"}}}}`, validation,
		"One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key")
}

func TestConsumedCapacity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "full", "pk:S sk:N", "", indexed)
	put := func(more, want string) {
		t.Helper()
		w.answers(t, "PutItem", `{"TableName":"full","Item":{"pk":{"S":"a"},"sk":{"N":"1"}`+more+`},"ReturnConsumedCapacity":"INDEXES"}`, `{"ConsumedCapacity":`+want+`}`)
	}
	put(``, `{"TableName":"full","CapacityUnits":1,"Table":{"CapacityUnits":1}}`)
	put(`,"g":{"S":"x"},"l":{"N":"1"}`, `{"TableName":"full","CapacityUnits":3,"Table":{"CapacityUnits":1},"GlobalSecondaryIndexes":{"few":{"CapacityUnits":1}},"LocalSecondaryIndexes":{"by-l":{"CapacityUnits":1}}}`)
	put(`,"g":{"S":"y"},"l":{"N":"1"}`, `{"TableName":"full","CapacityUnits":3,"Table":{"CapacityUnits":1},"GlobalSecondaryIndexes":{"few":{"CapacityUnits":2}}}`)
	put(`,"g":{"S":"y"},"l":{"N":"1"},"x":{"S":"new"}`, `{"TableName":"full","CapacityUnits":2,"Table":{"CapacityUnits":1},"GlobalSecondaryIndexes":{"few":{"CapacityUnits":1}}}`)
	put(`,"big":{"S":"`+strings.Repeat("x", 3000)+`"}`, `{"TableName":"full","CapacityUnits":5,"Table":{"CapacityUnits":3},"GlobalSecondaryIndexes":{"few":{"CapacityUnits":1}},"LocalSecondaryIndexes":{"by-l":{"CapacityUnits":1}}}`)
	w.answers(t, "PutItem", `{"TableName":"full","Item":{"pk":{"S":"a"},"sk":{"N":"2"}},"ReturnConsumedCapacity":"TOTAL","ReturnItemCollectionMetrics":"SIZE"}`,
		`{"ConsumedCapacity":{"TableName":"full","CapacityUnits":1},"ItemCollectionMetrics":{"ItemCollectionKey":{"pk":{"S":"a"}},"SizeEstimateRangeGB":[0,1]}}`)
	w.answers(t, "GetItem", `{"TableName":"full","Key":{"pk":{"S":"b"},"sk":{"N":"1"}},"ReturnConsumedCapacity":"TOTAL"}`, `{"ConsumedCapacity":{"TableName":"full","CapacityUnits":0.5}}`)
	w.answers(t, "GetItem", `{"TableName":"full","Key":{"pk":{"S":"b"},"sk":{"N":"1"}},"ConsistentRead":true,"ReturnConsumedCapacity":"INDEXES"}`,
		`{"ConsumedCapacity":{"TableName":"full","CapacityUnits":1,"Table":{"CapacityUnits":1}}}`)
	w.answers(t, "TransactWriteItems", `{"TransactItems":[{"Delete":{"TableName":"full","Key":{"pk":{"S":"b"},"sk":{"N":"1"}}}}],"ReturnConsumedCapacity":"INDEXES"}`,
		`{"ConsumedCapacity":[{"TableName":"full","CapacityUnits":2,"WriteCapacityUnits":2,"Table":{"CapacityUnits":2,"WriteCapacityUnits":2}}]}`)
	w.answers(t, "Query", `{"TableName":"full","IndexName":"by-l","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}},"ReturnConsumedCapacity":"INDEXES"}`,
		`{"Count":0,"ScannedCount":0,"Items":[],"ConsumedCapacity":{"TableName":"full","CapacityUnits":0.5,"Table":{"CapacityUnits":0},"LocalSecondaryIndexes":{"by-l":{"CapacityUnits":0.5}}}}`)
}

func TestAccountsAndRegionsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	c := stacktest.Config(w.endpoint)
	c.Region = "eu-west-1"
	other := ddb.NewFromConfig(c)
	out, err := other.ListTables(t.Context(), &ddb.ListTablesInput{})
	if err != nil || len(out.TableNames) != 0 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = other.DescribeTable(t.Context(), &ddb.DescribeTableInput{TableName: aws.String("things")})
	wantError(t, err, "ResourceNotFoundException", "Requested resource not found: Table: things not found")
}

// Writers of one item do not lose each other's changes.
func TestCountersAreExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "NEW_IMAGE")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				w.must(t, "UpdateItem", `{"TableName":"things","Key":{"id":{"S":"1"}},"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{":one":{"N":"1"}}}`)
			}
		})
	}
	all.Wait()
	w.answers(t, "GetItem", `{"TableName":"things","Key":{"id":{"S":"1"}}}`, `{"Item":{"id":{"S":"1"},"n":{"N":"400"}}}`)
}
