package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

const (
	dynamoAPI   = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_"
	dynamoGuide = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
)

// item is an item of a table.
type item = map[string]types.AttributeValue

func s(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func n(v any) types.AttributeValue    { return &types.AttributeValueMemberN{Value: fmt.Sprint(v)} }

func ns(v ...string) types.AttributeValue { return &types.AttributeValueMemberNS{Value: v} }
func list(v ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: v}
}

// table makes a table whose key is a string pk, and a number sk if sorted, and waits until it is active.
func (t *T) table(what string, sorted bool, view types.StreamViewType, more ...func(*dynamodb.CreateTableInput)) string {
	in := &dynamodb.CreateTableInput{
		TableName: ptr(t.name(what)), BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: ptr("pk"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: ptr("pk"), AttributeType: types.ScalarAttributeTypeS}},
	}
	if sorted {
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: ptr("sk"), KeyType: types.KeyTypeRange})
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: ptr("sk"), AttributeType: types.ScalarAttributeTypeN})
	}
	if view != "" {
		in.StreamSpecification = &types.StreamSpecification{StreamEnabled: ptr(true), StreamViewType: view}
	}
	for _, f := range more {
		f(in)
	}
	ok(t.DynamoDB.CreateTable(t.ctx, in))
	t.tableActive(*in.TableName)
	return *in.TableName
}

func (t *T) tableActive(table string) {
	t.eventually("the table's being ACTIVE", 10*time.Second, func() bool { return t.describe(table).TableStatus == types.TableStatusActive })
}

func (t *T) describe(table string) *types.TableDescription {
	return ok(t.DynamoDB.DescribeTable(t.ctx, &dynamodb.DescribeTableInput{TableName: &table})).Table
}

func (t *T) putItem(table string, i item) {
	ok(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: &table, Item: i}))
}

func (t *T) getItem(table string, key item) item {
	return ok(t.DynamoDB.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: ptr(true)})).Item
}

// update runs an update expression on {pk: a}.
func (t *T) update(table, expression string, values item, in dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
	in.TableName, in.Key, in.UpdateExpression, in.ExpressionAttributeValues = &table, item{"pk": s("a")}, &expression, values
	return t.DynamoDB.UpdateItem(t.ctx, &in)
}

// streamShards lists a stream's shards.
func (t *T) streamShards(arn string) []streamtypes.Shard {
	return ok(t.Streams.DescribeStream(t.ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &arn})).StreamDescription.Shards
}

// changes reads the records of a table's stream until there are want of them, and a moment more.
func (t *T) changes(table string, want int) []streamtypes.Record {
	return t.changesOf(text(t.describe(table).LatestStreamArn), want)
}

func (t *T) changesOf(arn string, want int) (all []streamtypes.Record) {
	deadline := time.Now().Add(8 * time.Second)
	iterators := map[string]string{}
	for quiet := 0; quiet < 2; {
		for _, sh := range t.streamShards(arn) {
			if id := text(sh.ShardId); iterators[id] == "" {
				iterators[id] = text(ok(t.Streams.GetShardIterator(t.ctx, &dynamodbstreams.GetShardIteratorInput{
					StreamArn: &arn, ShardId: &id, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
				})).ShardIterator)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(iterators)) {
			if iterators[id] == "end" {
				continue
			}
			out := ok(t.Streams.GetRecords(t.ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: ptr(iterators[id])}))
			all = append(all, out.Records...)
			if iterators[id] = text(out.NextShardIterator); iterators[id] == "" {
				iterators[id] = "end"
			}
		}
		if len(all) >= want {
			quiet++
		}
		if len(all) > want || time.Now().After(deadline) {
			break
		}
		t.wait(50 * time.Millisecond)
	}
	if len(all) != want {
		t.wrong("the stream has %d records, not %d", len(all), want)
	}
	return all
}

// in shows a stream's image in the words of the table's types.
func image(m map[string]streamtypes.AttributeValue) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch v := m[k].(type) {
		case *streamtypes.AttributeValueMemberS:
			parts = append(parts, k+"="+v.Value)
		case *streamtypes.AttributeValueMemberN:
			parts = append(parts, k+"="+v.Value)
		default:
			parts = append(parts, fmt.Sprintf("%s=%v", k, v))
		}
	}
	return strings.Join(parts, " ")
}

func dynamoCases() []Case {
	return []Case{
		{
			ID: "dynamodb-types", URL: dynamoAPI + "AttributeValue.html",
			Says: "Numbers are sent across the network to DynamoDB as strings, to maximize compatibility across languages and libraries.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				i := item{
					"pk": s("ключ"), "e": s(""), "n": n("-12345678901234567890.123456789012345678"), "b": &types.AttributeValueMemberB{Value: []byte{0, 255}},
					"t": &types.AttributeValueMemberBOOL{Value: false}, "z": &types.AttributeValueMemberNULL{Value: true},
					"m": &types.AttributeValueMemberM{Value: item{"x": list(n(1), s("y"), list())}}, "ss": &types.AttributeValueMemberSS{Value: []string{"a"}},
				}
				t.putItem(table, i)
				t.want("the item", t.getItem(table, item{"pk": s("ключ")}), i)
			},
		},
		{
			ID: "dynamodb-numbers", URL: dynamoGuide + "HowItWorks.NamingRulesDataTypes.html",
			Says: "Leading and trailing zeroes are trimmed.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				for sent, want := range (attrs{"0012.3400": "12.34", "1E2": "100", "-0.0": "0"}) {
					t.putItem(table, item{"pk": s("a"), "n": n(sent)})
					got, _ := t.getItem(table, item{"pk": s("a")})["n"].(*types.AttributeValueMemberN)
					t.that(got != nil && got.Value == want, "%s is kept as %s", sent, brief(got))
				}
				for what, v := range (attrs{"39 digits": "1" + strings.Repeat("1", 38), "1e126": "1e126", "x": "x"}) {
					t.refused("the number "+what, errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: &table, Item: item{"pk": s("a"), "n": n(v)}})), "ValidationException")
				}
			},
		},
		{
			ID: "dynamodb-condition", URL: dynamoAPI + "PutItem.html",
			Says: "To prevent a new item from replacing an existing item, use a conditional expression that contains the attribute_not_exists function with the name of the attribute being used as the partition key for the table.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				put := func(v string) error {
					return errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{
						TableName: &table, Item: item{"pk": s("a"), "v": s(v)}, ConditionExpression: ptr("attribute_not_exists(pk)"),
						ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
					}))
				}
				if err := put("1"); err != nil {
					fail(err)
				}
				err := put("2")
				t.refused("a second put", err, "ConditionalCheckFailedException", "The conditional request failed")
				var failed *types.ConditionalCheckFailedException
				t.that(errors.As(err, &failed), "it is no ConditionalCheckFailedException")
				t.want("the item of the failure", failed.Item, item{"pk": s("a"), "v": s("1")})
			},
		},
		{
			ID: "dynamodb-condition-functions", URL: dynamoGuide + "Expressions.OperatorsAndFunctions.html",
			Says: "contains (path, operand) — True if the attribute specified by path is one of the following:",
			Run: func(t *T) {
				table := t.table("t", false, "")
				i := item{"pk": s("a"), "str": s("hello"), "num": n(5), "set": ns("1", "2"), "lst": list(s("x"), n(1)), "mp": &types.AttributeValueMemberM{Value: item{"in": s("deep")}}}
				t.putItem(table, i)
				for expression, want := range map[string]bool{
					"contains(str, :ell) AND contains(#set, :one) AND contains(lst, :x)": true,
					"begins_with(str, :hel) AND size(str) = :five":                       true,
					"num BETWEEN :one AND :five AND num IN (:one, :five)":                true,
					"attribute_type(num, :N) AND NOT attribute_exists(gone)":             true,
					"mp.#in = :deep AND lst[0] = :x AND num <> :one":                     true,
					"num < :five OR str > :hel":                                          true,
					"num < :hel":                                                         false, // of other types
					"gone = :one":                                                        false,
					"lst[7] = :x":                                                        false,
				} {
					names, values := attrs{}, item{}
					for k, v := range (attrs{"#set": "set", "#in": "in"}) {
						if strings.Contains(expression, k) {
							names[k] = v
						}
					}
					for k, v := range (item{":ell": s("ell"), ":one": n(1), ":x": s("x"), ":hel": s("hel"), ":five": n(5), ":N": s("N"), ":deep": s("deep")}) {
						if strings.Contains(expression, k) {
							values[k] = v
						}
					}
					in := &dynamodb.PutItemInput{TableName: &table, Item: i, ConditionExpression: &expression, ExpressionAttributeValues: values}
					if len(names) > 0 {
						in.ExpressionAttributeNames = names
					}
					err := errOf(t.DynamoDB.PutItem(t.ctx, in))
					if want && err != nil {
						t.wrong("the condition %s does not hold", expression)
					} else if !want {
						t.refused("the condition "+expression, err, "ConditionalCheckFailedException")
					}
				}
			},
		},
		{
			ID: "dynamodb-update", URL: dynamoAPI + "UpdateItem.html",
			Says: "SET - Adds one or more attributes and values to an item.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "l": list(n(1)), "n": n(5), "gone": s("x"), "set": ns("1", "2", "3"), "m": &types.AttributeValueMemberM{Value: item{"k": n(1)}}})
				out := ok(t.update(table, "SET l = list_append(l, :l), fresh = if_not_exists(fresh, :one), n = n - :one, m.j = :one, #l0 = l[0] REMOVE gone ADD cnt :one DELETE #s :s",
					item{":l": list(n(2)), ":one": n(1), ":s": ns("2")}, dynamodb.UpdateItemInput{ReturnValues: types.ReturnValueAllNew, ExpressionAttributeNames: attrs{"#s": "set", "#l0": "first"}}))
				set, _ := out.Attributes["set"].(*types.AttributeValueMemberNS)
				t.that(set != nil, "the set is gone")
				t.want("the set", sorted(set.Value), []string{"1", "3"})
				delete(out.Attributes, "set")
				t.want("the item", out.Attributes, item{
					"pk": s("a"), "l": list(n(1), n(2)), "n": n(4), "fresh": n(1), "cnt": n(1), "first": n(1),
					"m": &types.AttributeValueMemberM{Value: item{"k": n(1), "j": n(1)}},
				})
			},
		},
		{
			ID: "dynamodb-update-returns", URL: dynamoAPI + "UpdateItem.html",
			Says: "UPDATED_NEW - Returns only the updated attributes, as they appear after the UpdateItem operation.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				for view, want := range map[types.ReturnValue]item{
					types.ReturnValueNone: nil, types.ReturnValueUpdatedOld: {"v": n(1)}, types.ReturnValueUpdatedNew: {"v": n(2)},
					types.ReturnValueAllOld: {"pk": s("a"), "v": n(1), "w": n(9)}, types.ReturnValueAllNew: {"pk": s("a"), "v": n(2), "w": n(9)},
				} {
					t.putItem(table, item{"pk": s("a"), "v": n(1), "w": n(9)})
					out := ok(t.update(table, "SET v = :v", item{":v": n(2)}, dynamodb.UpdateItemInput{ReturnValues: view}))
					t.that(len(out.Attributes) == len(want), "%s returns %d attributes, not %d", view, len(out.Attributes), len(want))
					for k, v := range want {
						t.want(k+" of "+string(view), out.Attributes[k], v)
					}
				}
			},
		},
		{
			ID: "dynamodb-update-refused", URL: dynamoGuide + "Expressions.UpdateExpressions.html",
			Says: "Each action keyword can appear only once.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "str": s("x")})
				for what, c := range map[string]struct {
					expression string
					values     item
				}{
					"the key":                    {"SET pk = :v", item{":v": s("b")}},
					"SET twice":                  {"SET a = :v SET b = :v", item{":v": s("b")}},
					"overlapping paths":          {"SET a = :v, a.b = :v", item{":v": s("b")}},
					"a reserved word":            {"SET status = :v", item{":v": s("b")}},
					"a value that is not given":  {"SET a = :w", item{":v": s("b")}},
					"a value that is not used":   {"SET a = :v", item{":v": s("b"), ":w": s("b")}},
					"arithmetic with a string":   {"SET a = str + :v", item{":v": n(1)}},
					"a path through what is not": {"SET gone.b = :v", item{":v": n(1)}},
				} {
					t.refused(what, errOf(t.update(table, c.expression, c.values, dynamodb.UpdateItemInput{})), "ValidationException")
				}
			},
		},
		{
			ID: "dynamodb-keys", URL: dynamoAPI + "PutItem.html",
			Says: "When you add an item, the primary key attributes are the only required attributes.",
			Run: func(t *T) {
				table := t.table("t", true, "")
				for what, i := range map[string]item{
					"no sort key":            {"pk": s("a")},
					"an empty partition key": {"pk": s(""), "sk": n(1)},
					"a key of another type":  {"pk": s("a"), "sk": s("1")},
				} {
					t.refused(what, errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: &table, Item: i})), "ValidationException")
				}
				t.refused("a get by half a key", errOf(t.DynamoDB.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{"pk": s("a")}})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-item-size", URL: dynamoGuide + "Constraints.html",
			Says: "The maximum item size in DynamoDB is 400 KB, which includes both attribute name binary length (UTF-8 length) and attribute value lengths (again binary length).",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "v": s(strings.Repeat("x", 400<<10-4))})
				t.refused("an item of a byte more", errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{
					TableName: &table, Item: item{"pk": s("a"), "v": s(strings.Repeat("x", 400<<10-3))},
				})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-sets", URL: dynamoAPI + "PutItem.html",
			Says: "Set type attributes cannot be empty.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				for what, v := range map[string]types.AttributeValue{
					"an empty set": ns(), "a set with a number twice": ns("1", "1.0"), "a set with a text twice": &types.AttributeValueMemberSS{Value: []string{"a", "a"}},
				} {
					t.refused(what, errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: &table, Item: item{"pk": s("a"), "v": v}})), "ValidationException")
				}
			},
		},
		{
			ID: "dynamodb-query", URL: dynamoAPI + "Query.html",
			Says: "If ScanIndexForward is true, DynamoDB returns the results in the order in which they are stored (by sort key value).",
			Run: func(t *T) {
				table := t.table("t", true, "")
				for _, k := range []string{"10", "9", "-1", "2.5", "100"} {
					t.putItem(table, item{"pk": s("a"), "sk": n(k)})
				}
				t.putItem(table, item{"pk": s("b"), "sk": n(5)})
				query := func(condition string, values item, forward bool) (keys []string) {
					out := ok(t.DynamoDB.Query(t.ctx, &dynamodb.QueryInput{TableName: &table, KeyConditionExpression: &condition, ExpressionAttributeValues: values, ScanIndexForward: &forward}))
					t.want("Count", out.Count, len(out.Items))
					for _, i := range out.Items {
						keys = append(keys, i["sk"].(*types.AttributeValueMemberN).Value)
					}
					return keys
				}
				t.want("all", query("pk = :p", item{":p": s("a")}, true), []string{"-1", "2.5", "9", "10", "100"})
				t.want("all, backwards", query("pk = :p", item{":p": s("a")}, false), []string{"100", "10", "9", "2.5", "-1"})
				t.want("BETWEEN", query("pk = :p AND sk BETWEEN :x AND :y", item{":p": s("a"), ":x": n(2), ":y": n(10)}, true), []string{"2.5", "9", "10"})
				t.want(">", query("pk = :p AND sk > :x", item{":p": s("a"), ":x": n(10)}, true), []string{"100"})
				t.refused("a condition without the partition key", errOf(t.DynamoDB.Query(t.ctx, &dynamodb.QueryInput{
					TableName: &table, KeyConditionExpression: ptr("sk = :x"), ExpressionAttributeValues: item{":x": n(1)},
				})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-query-pages", URL: dynamoAPI + "Query.html",
			Says: "A Query operation can return an empty result set and a LastEvaluatedKey if all the items read for the page of results are filtered out.",
			Run: func(t *T) {
				table := t.table("t", true, "")
				for i := range 5 {
					t.putItem(table, item{"pk": s("a"), "sk": n(i), "v": n(i)})
				}
				in := &dynamodb.QueryInput{
					TableName: &table, KeyConditionExpression: ptr("pk = :p"), FilterExpression: ptr("v >= :v"), Limit: ptr[int32](2),
					ExpressionAttributeValues: item{":p": s("a"), ":v": n(3)},
				}
				first := ok(t.DynamoDB.Query(t.ctx, in))
				t.want("Count", first.Count, 0)
				t.want("ScannedCount", first.ScannedCount, 2)
				t.want("LastEvaluatedKey", first.LastEvaluatedKey, item{"pk": s("a"), "sk": n(1)})
				in.ExclusiveStartKey, in.Limit = first.LastEvaluatedKey, nil
				rest := ok(t.DynamoDB.Query(t.ctx, in))
				t.want("Count of the rest", rest.Count, 2)
				t.want("ScannedCount of the rest", rest.ScannedCount, 3)
				t.that(rest.LastEvaluatedKey == nil, "the last page has a LastEvaluatedKey")
			},
		},
		{
			ID: "dynamodb-projection", URL: dynamoAPI + "GetItem.html",
			Says: "A string that identifies one or more attributes to retrieve from the table.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "m": &types.AttributeValueMemberM{Value: item{"x": n(1), "y": n(2)}}, "l": list(n(1), n(2), n(3)), "o": n(0)})
				out := ok(t.DynamoDB.GetItem(t.ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{"pk": s("a")}, ProjectionExpression: ptr("m.x, l[2], l[0], gone")}))
				t.want("the projection", out.Item, item{"m": &types.AttributeValueMemberM{Value: item{"x": n(1)}}, "l": list(n(1), n(3))})
			},
		},
		{
			ID: "dynamodb-index", URL: dynamoAPI + "CreateTable.html",
			Says: "INCLUDE - In addition to the attributes described in KEYS_ONLY, the secondary index will include other non-key attributes that you specify.",
			Run: func(t *T) {
				table := t.table("t", false, "", func(in *dynamodb.CreateTableInput) {
					in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: ptr("g"), AttributeType: types.ScalarAttributeTypeS})
					in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
						IndexName: ptr("by-g"), KeySchema: []types.KeySchemaElement{{AttributeName: ptr("g"), KeyType: types.KeyTypeHash}},
						Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"in"}},
					}}
				})
				t.putItem(table, item{"pk": s("a"), "g": s("x"), "in": n(1), "out": n(2)})
				t.putItem(table, item{"pk": s("b"), "in": n(1)}) // not in the index
				out := ok(t.DynamoDB.Query(t.ctx, &dynamodb.QueryInput{TableName: &table, IndexName: ptr("by-g"), KeyConditionExpression: ptr("g = :g"), ExpressionAttributeValues: item{":g": s("x")}}))
				t.want("the items of the index", out.Items, []item{{"pk": s("a"), "g": s("x"), "in": n(1)}})
				t.want("a scan of the index", ok(t.DynamoDB.Scan(t.ctx, &dynamodb.ScanInput{TableName: &table, IndexName: ptr("by-g")})).Count, 1)
				t.refused("a consistent read of the index", errOf(t.DynamoDB.Query(t.ctx, &dynamodb.QueryInput{
					TableName: &table, IndexName: ptr("by-g"), ConsistentRead: ptr(true), KeyConditionExpression: ptr("g = :g"), ExpressionAttributeValues: item{":g": s("x")},
				})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-scan", URL: dynamoAPI + "Scan.html",
			Says: "For a parallel Scan request, Segment identifies an individual segment to be scanned by an application worker.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				var want, got []string
				for i := range 20 {
					want = append(want, fmt.Sprint("k", i))
					t.putItem(table, item{"pk": s(want[i])})
				}
				for segment := range int32(3) {
					in := &dynamodb.ScanInput{TableName: &table, Segment: ptr(segment), TotalSegments: ptr[int32](3), Limit: ptr[int32](4)}
					for {
						out := ok(t.DynamoDB.Scan(t.ctx, in))
						for _, i := range out.Items {
							got = append(got, i["pk"].(*types.AttributeValueMemberS).Value)
						}
						if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
							break
						}
					}
				}
				t.want("the keys of all segments", sorted(got), sorted(want))
			},
		},
		{
			ID: "dynamodb-batch-write", URL: dynamoAPI + "BatchWriteItem.html",
			Says: "There are more than 25 requests in the batch.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				var requests []types.WriteRequest
				for i := range 26 {
					requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: item{"pk": s(fmt.Sprint(i))}}})
				}
				write := func(r []types.WriteRequest) error {
					return errOf(t.DynamoDB.BatchWriteItem(t.ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{table: r}}))
				}
				t.refused("26 requests", write(requests), "ValidationException")
				t.refused("an item twice", write([]types.WriteRequest{requests[0], requests[0]}), "ValidationException")
				if err := write(append(requests[:24:24], types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: item{"pk": s("none")}}})); err != nil {
					fail(err)
				}
				t.want("the number of items", ok(t.DynamoDB.Scan(t.ctx, &dynamodb.ScanInput{TableName: &table, Select: types.SelectCount})).Count, 24)
			},
		},
		{
			ID: "dynamodb-batch-get", URL: dynamoAPI + "BatchGetItem.html",
			Says: "If a requested item does not exist, it is not returned in the result.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "v": n(1)})
				get := func(keys ...item) (*dynamodb.BatchGetItemOutput, error) {
					return t.DynamoDB.BatchGetItem(t.ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{table: {Keys: keys, ProjectionExpression: ptr("v")}}})
				}
				t.want("the items", ok(get(item{"pk": s("a")}, item{"pk": s("gone")})).Responses[table], []item{{"v": n(1)}})
				t.refused("a key twice", errOf(get(item{"pk": s("a")}, item{"pk": s("a")})), "ValidationException")
				var many []item
				for i := range 101 {
					many = append(many, item{"pk": s(fmt.Sprint(i))})
				}
				t.refused("101 keys", errOf(get(many...)), "ValidationException")
			},
		},
		{
			ID: "dynamodb-transaction", URL: dynamoAPI + "TransactWriteItems.html",
			Says: "The actions are completed atomically so that either all of them succeed, or all of them fail.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("b"), "v": n(1)})
				err := errOf(t.DynamoDB.TransactWriteItems(t.ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
					{Put: &types.Put{TableName: &table, Item: item{"pk": s("a")}}},
					{ConditionCheck: &types.ConditionCheck{
						TableName: &table, Key: item{"pk": s("b")}, ConditionExpression: ptr("v = :v"), ExpressionAttributeValues: item{":v": n(2)},
						ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
					}},
				}}))
				t.refused("a transaction with a failing condition", err, "TransactionCanceledException", "[None, ConditionalCheckFailed]")
				var canceled *types.TransactionCanceledException
				t.that(errors.As(err, &canceled) && len(canceled.CancellationReasons) == 2, "there are no CancellationReasons")
				t.want("the first reason", canceled.CancellationReasons[0].Code, "None")
				t.want("the second reason", canceled.CancellationReasons[1].Code, "ConditionalCheckFailed")
				t.want("the second reason's item", canceled.CancellationReasons[1].Item, item{"pk": s("b"), "v": n(1)})
				t.want("the other item", t.getItem(table, item{"pk": s("a")}), item(nil))

				ok(t.DynamoDB.TransactWriteItems(t.ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
					{Put: &types.Put{TableName: &table, Item: item{"pk": s("a")}}},
					{Update: &types.Update{TableName: &table, Key: item{"pk": s("b")}, UpdateExpression: ptr("ADD v :v"), ExpressionAttributeValues: item{":v": n(1)}}},
					{Delete: &types.Delete{TableName: &table, Key: item{"pk": s("c")}}},
				}}))
				got := ok(t.DynamoDB.TransactGetItems(t.ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
					{Get: &types.Get{TableName: &table, Key: item{"pk": s("b")}}}, {Get: &types.Get{TableName: &table, Key: item{"pk": s("c")}}},
				}})).Responses
				t.that(len(got) == 2 && got[1].Item == nil, "a transaction of two gets returns %d items", len(got))
				t.want("the updated item", got[0].Item, item{"pk": s("b"), "v": n(2)})
			},
		},
		{
			ID: "dynamodb-transaction-once", URL: dynamoAPI + "TransactWriteItems.html",
			Says: "Providing a ClientRequestToken makes the call to TransactWriteItems idempotent, meaning that multiple identical calls have the same effect as one single call.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				in := func(by int) *dynamodb.TransactWriteItemsInput {
					return &dynamodb.TransactWriteItemsInput{ClientRequestToken: ptr(t.name("token")), TransactItems: []types.TransactWriteItem{
						{Update: &types.Update{TableName: &table, Key: item{"pk": s("a")}, UpdateExpression: ptr("ADD v :v"), ExpressionAttributeValues: item{":v": n(by)}}},
					}}
				}
				ok(t.DynamoDB.TransactWriteItems(t.ctx, in(1)))
				ok(t.DynamoDB.TransactWriteItems(t.ctx, in(1)))
				t.want("the item", t.getItem(table, item{"pk": s("a")}), item{"pk": s("a"), "v": n(1)})
				t.refused("another request with the token", errOf(t.DynamoDB.TransactWriteItems(t.ctx, in(2))), "IdempotentParameterMismatchException|IdempotentParameterMismatch")
			},
		},
		{
			ID: "dynamodb-transaction-items", URL: dynamoAPI + "TransactWriteItems.html",
			Says: "These actions can target items in different tables, but not in different Amazon Web Services accounts or Regions, and no two actions can target the same item.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				put := types.TransactWriteItem{Put: &types.Put{TableName: &table, Item: item{"pk": s("a")}}}
				t.refused("an item twice", errOf(t.DynamoDB.TransactWriteItems(t.ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{put, put}})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-no-table", URL: dynamoAPI + "PutItem.html",
			Says: "The operation tried to access a nonexistent table or index.",
			Run: func(t *T) {
				t.refused("a table that there is not", errOf(t.DynamoDB.PutItem(t.ctx, &dynamodb.PutItemInput{TableName: ptr(t.name("gone")), Item: item{"pk": s("a")}})), "ResourceNotFoundException")
				table := t.table("t", false, "")
				t.refused("a second table of the name", errOf(t.DynamoDB.CreateTable(t.ctx, &dynamodb.CreateTableInput{
					TableName: &table, BillingMode: types.BillingModePayPerRequest,
					KeySchema:            []types.KeySchemaElement{{AttributeName: ptr("pk"), KeyType: types.KeyTypeHash}},
					AttributeDefinitions: []types.AttributeDefinition{{AttributeName: ptr("pk"), AttributeType: types.ScalarAttributeTypeS}},
				})), "ResourceInUseException")
				t.refused("a query of an index that there is not", errOf(t.DynamoDB.Query(t.ctx, &dynamodb.QueryInput{
					TableName: &table, IndexName: ptr("gone"), KeyConditionExpression: ptr("pk = :p"), ExpressionAttributeValues: item{":p": s("a")},
				})), "ValidationException")
			},
		},
		{
			ID: "dynamodb-delete", URL: dynamoAPI + "DeleteItem.html",
			Says: "Unless you specify conditions, the DeleteItem is an idempotent operation; running it multiple times on the same item or attribute does not result in an error response.",
			Run: func(t *T) {
				table := t.table("t", false, "")
				t.putItem(table, item{"pk": s("a"), "v": n(1)})
				in := &dynamodb.DeleteItemInput{TableName: &table, Key: item{"pk": s("a")}, ReturnValues: types.ReturnValueAllOld}
				t.want("the old item", ok(t.DynamoDB.DeleteItem(t.ctx, in)).Attributes, item{"pk": s("a"), "v": n(1)})
				t.want("the old item the second time", ok(t.DynamoDB.DeleteItem(t.ctx, in)).Attributes, item(nil))
			},
		},
	}
}

func streamCases() []Case {
	return []Case{
		{
			ID: "streams-records", URL: dynamoAPI + "streams_Record.html",
			Says: "REMOVE - the item was deleted from the table",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewAndOldImages)
				t.putItem(table, item{"pk": s("a"), "v": n(1)})
				t.putItem(table, item{"pk": s("a"), "v": n(2)})
				ok(t.DynamoDB.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: item{"pk": s("a")}}))
				for i, r := range t.changes(table, 3) {
					t.want("eventName", string(r.EventName), []string{"INSERT", "MODIFY", "REMOVE"}[i])
					t.want("Keys", image(r.Dynamodb.Keys), "pk=a")
					t.want("OldImage", image(r.Dynamodb.OldImage), []string{"", "pk=a v=1", "pk=a v=2"}[i])
					t.want("NewImage", image(r.Dynamodb.NewImage), []string{"pk=a v=1", "pk=a v=2", ""}[i])
					t.want("eventSource", r.EventSource, "aws:dynamodb")
					t.want("eventVersion", r.EventVersion, "1.1")
					t.want("awsRegion", r.AwsRegion, region)
					t.want("the length of eventID", len(text(r.EventID)), 32)
					t.that(r.UserIdentity == nil, "a client's write has a userIdentity")
					t.want("SizeBytes", r.Dynamodb.SizeBytes, []int{3 + 3 + 3, 3 + 3 + 3 + 3 + 3, 3 + 3 + 3}[i]) // pk=a is 3 bytes, v=1 is 1 + 2
				}
			},
		},
		{
			ID: "streams-views", URL: dynamoAPI + "StreamSpecification.html",
			Says: "KEYS_ONLY - Only the key attributes of the modified item are written to the stream.",
			Run: func(t *T) {
				for view, want := range map[types.StreamViewType][2]string{
					types.StreamViewTypeKeysOnly: {"", ""}, types.StreamViewTypeNewImage: {"", "pk=a v=2"},
					types.StreamViewTypeOldImage: {"pk=a v=1", ""}, types.StreamViewTypeNewAndOldImages: {"pk=a v=1", "pk=a v=2"},
				} {
					table := t.table(strings.ToLower(string(view)), false, view)
					t.putItem(table, item{"pk": s("a"), "v": n(1)})
					t.putItem(table, item{"pk": s("a"), "v": n(2)})
					r := t.changes(table, 2)[1]
					t.want("StreamViewType", string(r.Dynamodb.StreamViewType), string(view))
					t.want("OldImage of "+string(view), image(r.Dynamodb.OldImage), want[0])
					t.want("NewImage of "+string(view), image(r.Dynamodb.NewImage), want[1])
					t.want("Keys of "+string(view), image(r.Dynamodb.Keys), "pk=a")
				}
			},
		},
		{
			ID: "streams-no-change", URL: dynamoGuide + "Streams.html",
			Says: "If you perform a PutItem or UpdateItem operation that does not change any data in an item, DynamoDB Streams does not write a stream record for that operation.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewAndOldImages)
				t.putItem(table, item{"pk": s("a"), "v": n(1), "set": ns("1", "2")})
				t.putItem(table, item{"pk": s("a"), "v": n("1.0"), "set": ns("2", "1")})
				ok(t.update(table, "SET v = :v", item{":v": n(1)}, dynamodb.UpdateItemInput{}))
				ok(t.DynamoDB.DeleteItem(t.ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: item{"pk": s("none")}}))
				ok(t.DynamoDB.BatchWriteItem(t.ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{
					table: {{DeleteRequest: &types.DeleteRequest{Key: item{"pk": s("none")}}}, {PutRequest: &types.PutRequest{Item: item{"pk": s("b")}}}},
				}}))
				r := t.changes(table, 2)
				t.want("the records", sorted([]string{image(r[0].Dynamodb.Keys), image(r[1].Dynamodb.Keys)}), []string{"pk=a", "pk=b"})
			},
		},
		{
			ID: "streams-order", URL: dynamoGuide + "Streams.html",
			Says: "For each item that is modified in a DynamoDB table, the stream records appear in the same sequence as the actual modifications to the item.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				for i := range 20 {
					ok(t.update(table, "SET v = :v", item{":v": n(i)}, dynamodb.UpdateItemInput{}))
				}
				last := ""
				for i, r := range t.changes(table, 20) {
					t.want("NewImage", image(r.Dynamodb.NewImage), fmt.Sprint("pk=a v=", i))
					number := text(r.Dynamodb.SequenceNumber)
					t.that(len(number) > len(last) || number > last, "sequence numbers do not increase")
					last = number
				}
			},
		},
		{
			ID: "streams-transaction", URL: dynamoGuide + "transaction-apis.html",
			Says: "Once a transaction completes, the changes made within that transaction are propagated to global secondary indexes (GSIs), streams, and backups.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				put := func(key string, condition *string) types.TransactWriteItem {
					return types.TransactWriteItem{Put: &types.Put{TableName: &table, Item: item{"pk": s(key)}, ConditionExpression: condition}}
				}
				ok(t.DynamoDB.TransactWriteItems(t.ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{put("a", nil), put("b", nil)}}))
				t.refused("a transaction that fails", errOf(t.DynamoDB.TransactWriteItems(t.ctx, &dynamodb.TransactWriteItemsInput{
					TransactItems: []types.TransactWriteItem{put("c", nil), put("a", ptr("attribute_not_exists(pk)"))},
				})), "TransactionCanceledException")
				t.changes(table, 2)
			},
		},
		{
			ID: "streams-iterators", URL: dynamoAPI + "streams_GetShardIterator.html",
			Says: "AFTER_SEQUENCE_NUMBER - Start reading right after the position denoted by a specific sequence number.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				for i := range 3 {
					t.putItem(table, item{"pk": s("a"), "v": n(i)})
				}
				records := t.changes(table, 3)
				arn := text(t.describe(table).LatestStreamArn)
				shards := t.streamShards(arn)
				shard := shards[len(shards)-1].ShardId
				read := func(kind streamtypes.ShardIteratorType, number *string) (seen []string, next *string) {
					it := ok(t.Streams.GetShardIterator(t.ctx, &dynamodbstreams.GetShardIteratorInput{StreamArn: &arn, ShardId: shard, ShardIteratorType: kind, SequenceNumber: number})).ShardIterator
					out := ok(t.Streams.GetRecords(t.ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: it}))
					for _, r := range out.Records {
						seen = append(seen, image(r.Dynamodb.NewImage))
					}
					return seen, out.NextShardIterator
				}
				after, _ := read(streamtypes.ShardIteratorTypeAfterSequenceNumber, records[0].Dynamodb.SequenceNumber)
				t.want("AFTER_SEQUENCE_NUMBER", after, []string{"pk=a v=1", "pk=a v=2"})
				at, _ := read(streamtypes.ShardIteratorTypeAtSequenceNumber, records[1].Dynamodb.SequenceNumber)
				t.want("AT_SEQUENCE_NUMBER", at, []string{"pk=a v=1", "pk=a v=2"})
				latest, next := read(streamtypes.ShardIteratorTypeLatest, nil)
				t.want("LATEST", len(latest), 0)
				t.putItem(table, item{"pk": s("a"), "v": n(3)})
				t.eventually("the record after LATEST", 5*time.Second, func() bool {
					out := ok(t.Streams.GetRecords(t.ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next}))
					if len(out.Records) == 0 {
						next = out.NextShardIterator
						return false
					}
					return image(out.Records[0].Dynamodb.NewImage) == "pk=a v=3"
				})
			},
		},
		{
			ID: "streams-closed", URL: dynamoAPI + "streams_GetRecords.html",
			Says: "If set to null, the shard has been closed and the requested iterator will not return any more data.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				t.putItem(table, item{"pk": s("a")})
				arn := text(t.describe(table).LatestStreamArn)
				ok(t.DynamoDB.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{TableName: &table, StreamSpecification: &types.StreamSpecification{StreamEnabled: ptr(false)}}))
				t.tableActive(table)
				t.putItem(table, item{"pk": s("b")}) // not in the stream
				var status streamtypes.StreamStatus
				t.eventually("the stream's being DISABLED", 5*time.Second, func() bool {
					status = ok(t.Streams.DescribeStream(t.ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &arn})).StreamDescription.StreamStatus
					return status == streamtypes.StreamStatusDisabled
				})
				for _, sh := range t.streamShards(arn) {
					t.that(sh.SequenceNumberRange.EndingSequenceNumber != nil, "a shard of a disabled stream has no EndingSequenceNumber")
					it := ok(t.Streams.GetShardIterator(t.ctx, &dynamodbstreams.GetShardIteratorInput{StreamArn: &arn, ShardId: sh.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon})).ShardIterator
					for range 4 {
						if it != nil {
							it = ok(t.Streams.GetRecords(t.ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: it})).NextShardIterator
						}
					}
					t.that(it == nil, "a shard of a disabled stream does not end")
				}
				t.changesOf(arn, 1)
			},
		},
		{
			ID: "streams-again", URL: dynamoAPI + "UpdateTable.html",
			Says: "You receive a ValidationException if you try to enable a stream on a table that already has a stream, or if you try to disable a stream on a table that doesn't have a stream.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				t.putItem(table, item{"pk": s("a")})
				old := text(t.describe(table).LatestStreamArn)
				t.refused("enabling a stream that is enabled", errOf(t.DynamoDB.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{
					TableName: &table, StreamSpecification: &types.StreamSpecification{StreamEnabled: ptr(true), StreamViewType: types.StreamViewTypeKeysOnly},
				})), "ValidationException")
				ok(t.DynamoDB.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{TableName: &table, StreamSpecification: &types.StreamSpecification{StreamEnabled: ptr(false)}}))
				t.tableActive(table)
				t.wait(10 * time.Millisecond) // the label of the next has milliseconds
				ok(t.DynamoDB.UpdateTable(t.ctx, &dynamodb.UpdateTableInput{
					TableName: &table, StreamSpecification: &types.StreamSpecification{StreamEnabled: ptr(true), StreamViewType: types.StreamViewTypeKeysOnly},
				}))
				t.tableActive(table)
				fresh := text(t.describe(table).LatestStreamArn)
				t.that(fresh != old && fresh != "", "the stream that is enabled again has the old ARN")
				list := ok(t.Streams.ListStreams(t.ctx, &dynamodbstreams.ListStreamsInput{TableName: &table})).Streams
				t.want("the number of streams", len(list), 2)
				t.changesOf(old, 1)
				t.changesOf(fresh, 0)
			},
		},
		{
			ID: "streams-ttl", URL: dynamoGuide + "time-to-live-ttl-streams.html",
			Says: "The streams record contains a user identity field Records[<index>].userIdentity.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeOldImage)
				ok(t.DynamoDB.UpdateTimeToLive(t.ctx, &dynamodb.UpdateTimeToLiveInput{
					TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: ptr("until"), Enabled: ptr(true)},
				}))
				t.putItem(table, item{"pk": s("old"), "until": n(time.Now().Add(-time.Minute).Unix())})
				t.putItem(table, item{"pk": s("ancient"), "until": n(1)}) // more than five years ago: stays
				for _, r := range t.changes(table, 3) {
					if r.EventName != streamtypes.OperationTypeRemove {
						continue
					}
					t.want("Keys", image(r.Dynamodb.Keys), "pk=old")
					t.that(r.UserIdentity != nil, "the record of an expiry has no userIdentity")
					t.want("principalId", r.UserIdentity.PrincipalId, "dynamodb.amazonaws.com")
					t.want("type", r.UserIdentity.Type, "Service")
					return
				}
				t.wrong("there is no record of the expiry")
			},
		},
		{
			ID: "streams-unknown", URL: dynamoAPI + "streams_DescribeStream.html",
			Says: "The operation tried to access a nonexistent table or index.",
			Run: func(t *T) {
				table := t.table("t", false, types.StreamViewTypeNewImage)
				arn := text(t.describe(table).LatestStreamArn)
				gone := strings.Replace(arn, table, table+"x", 1)
				t.refused("a stream that there is not", errOf(t.Streams.DescribeStream(t.ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &gone})), "ResourceNotFoundException")
				t.refused("a shard that there is not", errOf(t.Streams.GetShardIterator(t.ctx, &dynamodbstreams.GetShardIteratorInput{
					StreamArn: &arn, ShardId: ptr("shardId-00000000000000000000-00000000"), ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
				})), "ResourceNotFoundException")
				t.refused("a made-up iterator", errOf(t.Streams.GetRecords(t.ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: ptr("made-up")})), "ValidationException|ResourceNotFoundException")
			},
		},
	}
}
