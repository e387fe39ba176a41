package dynamodb_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func text(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberB:
		return string(v.Value)
	}
	return ""
}

func column(items []item, name string) string {
	var list []string
	for _, i := range items {
		list = append(list, text(i[name]))
	}
	return strings.Join(list, " ")
}

func TestQueriesByNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "events", "pk:S at:N", "")
	for _, at := range []string{"10", "-1", "0", "2", "1e2", "0.5", "-100", "1.25"} {
		w.put(t, "events", item{"pk": str("a"), "at": num(at)})
	}
	w.put(t, "events", item{"pk": str("b"), "at": num("3")})
	for condition, want := range map[string]string{
		"":                              "-100 -1 0 0.5 1.25 2 10 100",
		"AND #at = :one":                "0.5",
		"AND #at < :one":                "-100 -1 0",
		"AND #at <= :one":               "-100 -1 0 0.5",
		"AND #at > :one":                "1.25 2 10 100",
		"AND #at >= :one":               "0.5 1.25 2 10 100",
		"AND :one < #at":                "1.25 2 10 100",
		"AND #at BETWEEN :one AND :two": "0.5 1.25 2 10",
	} {
		in := &ddb.QueryInput{TableName: aws.String("events"), KeyConditionExpression: aws.String("pk = :a " + condition),
			ExpressionAttributeValues: item{":a": str("a")}}
		if strings.Contains(condition, "#at") {
			in.ExpressionAttributeNames = map[string]string{"#at": "at"}
		}
		if strings.Contains(condition, ":one") {
			in.ExpressionAttributeValues[":one"] = num("0.5")
		}
		if strings.Contains(condition, ":two") {
			in.ExpressionAttributeValues[":two"] = num("10")
		}
		out, err := w.db.Query(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := column(out.Items, "at"); got != want {
			t.Errorf("%s finds %s", condition, got)
		}
		in.ScanIndexForward = aws.Bool(false)
		out, err = w.db.Query(t.Context(), in)
		backward := strings.Fields(want)
		slices.Reverse(backward)
		if got := column(out.Items, "at"); err != nil || got != strings.Join(backward, " ") {
			t.Errorf("%s finds %s backward (%v)", condition, got, err)
		}
	}
}

func TestQueriesByTextAndBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "words", "pk:S word:S", "")
	w.table(t, "bytes", "pk:N b:B", "")
	for _, word := range []string{"b", "a", "ab", "a\x00", "aé", "abc", "B"} {
		w.put(t, "words", item{"pk": str("x"), "word": str(word)})
		w.put(t, "bytes", item{"pk": num("1"), "b": &types.AttributeValueMemberB{Value: []byte(word)}})
	}
	out, err := w.db.Query(t.Context(), &ddb.QueryInput{TableName: aws.String("words"), KeyConditionExpression: aws.String("pk = :x AND begins_with(word, :a)"),
		ExpressionAttributeValues: item{":x": str("x"), ":a": str("a")}})
	if err != nil || column(out.Items, "word") != "a a\x00 ab abc aé" {
		t.Errorf("%q, %v", column(out.Items, "word"), err)
	}
	out, err = w.db.Query(t.Context(), &ddb.QueryInput{TableName: aws.String("bytes"), KeyConditionExpression: aws.String("pk = :x AND b > :a"),
		ExpressionAttributeValues: item{":x": num("1.0"), ":a": &types.AttributeValueMemberB{Value: []byte("a\x00")}}})
	if err != nil || column(out.Items, "b") != "ab abc aé b" {
		t.Errorf("%q, %v", column(out.Items, "b"), err)
	}
}

func TestPagesAndFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "events", "pk:S n:N", "")
	for i := range 10 {
		w.put(t, "events", item{"pk": str("a"), "n": num(strconv.Itoa(i)), "even": &types.AttributeValueMemberBOOL{Value: i%2 == 0}})
	}
	in := &ddb.QueryInput{TableName: aws.String("events"), KeyConditionExpression: aws.String("pk = :a"), FilterExpression: aws.String("even = :yes"),
		ExpressionAttributeValues: item{":a": str("a"), ":yes": &types.AttributeValueMemberBOOL{Value: true}}, Limit: aws.Int32(5), ProjectionExpression: aws.String("n")}
	var pages []string
	for {
		out, err := w.db.Query(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, fmt.Sprintf("%s (%d of %d)", column(out.Items, "n"), out.Count, out.ScannedCount))
		if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
			break
		}
	}
	// The page that the limit ends knows of no end, so there is one more.
	if got := strings.Join(pages, ", "); got != "0 2 4 (3 of 5), 6 8 (2 of 5),  (0 of 0)" {
		t.Error(got)
	}
	w.answers(t, "Query", `{"TableName":"events","KeyConditions":{"pk":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]},"n":{"ComparisonOperator":"GT","AttributeValueList":[{"N":"3"}]}},
		"QueryFilter":{"even":{"ComparisonOperator":"EQ","AttributeValueList":[{"BOOL":true}]}},"AttributesToGet":["n"],"ScanIndexForward":false}`,
		`{"Count":3,"ScannedCount":6,"Items":[{"n":{"N":"8"}},{"n":{"N":"6"}},{"n":{"N":"4"}}]}`)
	w.answers(t, "Query", `{"TableName":"events","Select":"COUNT","Limit":4,"ScanIndexForward":false,"KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`,
		`{"Count":4,"ScannedCount":4,"LastEvaluatedKey":{"pk":{"S":"a"},"n":{"N":"6"}}}`)
	w.answers(t, "Query", `{"TableName":"events","ScanIndexForward":false,"ExclusiveStartKey":{"pk":{"S":"a"},"n":{"N":"2"}},"ProjectionExpression":"n","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`,
		`{"Count":2,"ScannedCount":2,"Items":[{"n":{"N":"1"}},{"n":{"N":"0"}}]}`)
	w.answers(t, "Scan", `{"TableName":"events","ScanFilter":{"n":{"ComparisonOperator":"IN","AttributeValueList":[{"N":"3"},{"N":"7"}]}},"AttributesToGet":["n"]}`,
		`{"Count":2,"ScannedCount":10,"Items":[{"n":{"N":"3"}},{"n":{"N":"7"}}]}`)
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "full", "pk:S sk:N", "", indexed)
	for i := range 6 {
		i := strconv.Itoa(i)
		w.put(t, "full", item{"pk": str("a"), "sk": num(i), "g": str("g"), "h": num("-" + i), "l": num("-" + i), "x": str("x" + i), "y": str("y" + i)})
	}
	w.put(t, "full", item{"pk": str("a"), "sk": num("9"), "y": str("y9")})
	query := func(index, more, want string) {
		t.Helper()
		condition, values := "g = :g", `":g":{"S":"g"}`
		if index == "by-l" {
			condition, values = "pk = :g", `":g":{"S":"a"}`
		}
		w.answers(t, "Query", `{"TableName":"full","IndexName":"`+index+`","KeyConditionExpression":"`+condition+`","ExpressionAttributeValues":{`+values+`}`+more+`}`, want)
	}
	query("by-g", `,"Limit":1`, `{"Count":1,"ScannedCount":1,"Items":[{"g":{"S":"g"},"h":{"N":"-5"},"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"},"x":{"S":"x5"},"y":{"S":"y5"}}],
		"LastEvaluatedKey":{"g":{"S":"g"},"h":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"}}}`)
	query("by-g", `,"ExclusiveStartKey":{"g":{"S":"g"},"h":{"N":"-2"},"pk":{"S":"a"},"sk":{"N":"2"}},"ProjectionExpression":"x"`,
		`{"Count":2,"ScannedCount":2,"Items":[{"x":{"S":"x1"}},{"x":{"S":"x0"}}]}`)
	query("few", `,"Limit":1`, `{"Count":1,"ScannedCount":1,"Items":[{"g":{"S":"g"},"pk":{"S":"a"},"sk":{"N":"0"},"x":{"S":"x0"}}],"LastEvaluatedKey":{"g":{"S":"g"},"pk":{"S":"a"},"sk":{"N":"0"}}}`)
	query("by-l", `,"Limit":1`, `{"Count":1,"ScannedCount":1,"Items":[{"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"}}],"LastEvaluatedKey":{"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"}}}`)
	// A local index gets from the table what it does not have.
	query("by-l", `,"Limit":1,"ProjectionExpression":"y"`, `{"Count":1,"ScannedCount":1,"Items":[{"y":{"S":"y5"}}],"LastEvaluatedKey":{"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"}}}`)
	query("by-l", `,"Limit":1,"Select":"ALL_ATTRIBUTES"`, `{"Count":1,"ScannedCount":1,"Items":[{"g":{"S":"g"},"h":{"N":"-5"},"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"},"x":{"S":"x5"},"y":{"S":"y5"}}],
		"LastEvaluatedKey":{"l":{"N":"-5"},"pk":{"S":"a"},"sk":{"N":"5"}}}`)
	w.answers(t, "Scan", `{"TableName":"full","IndexName":"few","Select":"COUNT"}`, `{"Count":6,"ScannedCount":6}`)

	// Items move with their keys.
	w.must(t, "UpdateItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"0"}},"UpdateExpression":"SET h = :h, x = :x","ExpressionAttributeValues":{":h":{"N":"-9"},":x":{"S":"moved"}}}`)
	w.must(t, "UpdateItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"REMOVE g"}`)
	w.must(t, "DeleteItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"2"}}}`)
	query("by-g", `,"ProjectionExpression":"x"`, `{"Count":4,"ScannedCount":4,"Items":[{"x":{"S":"moved"}},{"x":{"S":"x5"}},{"x":{"S":"x4"}},{"x":{"S":"x3"}}]}`)
	w.answers(t, "Scan", `{"TableName":"full","IndexName":"by-l","Select":"COUNT"}`, `{"Count":5,"ScannedCount":5}`)
}

func TestPagesOfAMegabyte(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "big", "id:S", "")
	for i := range 8 {
		w.put(t, "big", item{"id": str(strconv.Itoa(i)), "x": str(strings.Repeat("x", 300<<10))})
	}
	var counts []int32
	p := ddb.NewScanPaginator(w.db, &ddb.ScanInput{TableName: aws.String("big"), ProjectionExpression: aws.String("id")})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, out.Count)
	}
	if !slices.Equal(counts, []int32{4, 4, 0}) {
		t.Errorf("pages of %v", counts)
	}
}

func TestSegmentsAreAPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	for i := range 200 {
		w.put(t, "things", item{"id": str(strconv.Itoa(i))})
	}
	seen := map[string]bool{}
	for segment := range int32(7) {
		n := 0
		p := ddb.NewScanPaginator(w.db, &ddb.ScanInput{TableName: aws.String("things"), Segment: &segment, TotalSegments: aws.Int32(7), Limit: aws.Int32(10)})
		for p.HasMorePages() {
			out, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range out.Items {
				id := text(i["id"])
				if seen[id] {
					t.Errorf("%s is in two segments", id)
				}
				seen[id] = true
				n++
			}
		}
		if n < 10 {
			t.Errorf("segment %d has %d items", segment, n)
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d items", len(seen))
	}
	w.refuses(t, "Scan", `{"TableName":"things","Segment":0,"TotalSegments":1000000,"ExclusiveStartKey":{"id":{"S":"1"}}}`, validation,
		"The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: 1000000 Segment: 0")
}

func TestBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "one", "id:S", "")
	w.table(t, "two", "id:N", "")
	w.answers(t, "BatchWriteItem", `{"RequestItems":{"one":[{"PutRequest":{"Item":{"id":{"S":"a"},"x":{"N":"1"}}}},{"PutRequest":{"Item":{"id":{"S":"b"}}}}],
		"two":[{"PutRequest":{"Item":{"id":{"N":"1.0"}}}}]},"ReturnConsumedCapacity":"TOTAL"}`,
		`{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"one","CapacityUnits":2},{"TableName":"two","CapacityUnits":1}]}`)
	w.answers(t, "BatchWriteItem", `{"RequestItems":{"one":[{"DeleteRequest":{"Key":{"id":{"S":"b"}}}},{"DeleteRequest":{"Key":{"id":{"S":"c"}}}}]}}`, `{"UnprocessedItems":{}}`)
	w.answers(t, "BatchGetItem", `{"RequestItems":{"one":{"Keys":[{"id":{"S":"a"}},{"id":{"S":"b"}}],"ProjectionExpression":"#x","ExpressionAttributeNames":{"#x":"x"}},
		"two":{"Keys":[{"id":{"N":"1"}}],"ConsistentRead":true}},"ReturnConsumedCapacity":"TOTAL"}`,
		`{"Responses":{"one":[{"x":{"N":"1"}}],"two":[{"id":{"N":"1"}}]},"UnprocessedKeys":{},"ConsumedCapacity":[{"TableName":"one","CapacityUnits":1},{"TableName":"two","CapacityUnits":1}]}`)
}

func TestABatchOfMoreThan16MB(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "big", "id:N", "")
	var keys []string
	for i := range 43 {
		w.must(t, "PutItem", fmt.Sprintf(`{"TableName":"big","Item":{"id":{"N":"%d"},"x":{"S":"%s"}}}`, i, strings.Repeat("x", 390<<10)))
		keys = append(keys, fmt.Sprintf(`{"id":{"N":"%d"}}`, i))
	}
	_, answer := w.post(t, "BatchGetItem", `{"RequestItems":{"big":{"Keys":[`+strings.Join(keys, ",")+`],"ConsistentRead":true}}}`)
	n := len(answer["Responses"].(map[string]any)["big"].([]any))
	if rest := fmt.Sprint(answer["UnprocessedKeys"]); n != 42 || rest != "map[big:map[ConsistentRead:true Keys:[map[id:map[N:42]]]]]" {
		t.Errorf("%d items, then %s", n, rest)
	}
}
