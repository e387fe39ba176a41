package dynamodb_test

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestATransactionIsMadeWhollyOrNotAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "one", "id:S", "")
	w.table(t, "two", "id:S", "")
	w.put(t, "one", item{"id": str("there"), "n": num("1")})
	actions := func(limit string) *ddb.TransactWriteItemsInput {
		return &ddb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: aws.String("two"), Item: item{"id": str("new")}, ConditionExpression: aws.String("attribute_not_exists(id)")}},
			{Update: &types.Update{TableName: aws.String("one"), Key: item{"id": str("there")}, UpdateExpression: aws.String("SET n = n + :d"),
				ConditionExpression: aws.String("n < :limit"), ExpressionAttributeValues: item{":d": num("1"), ":limit": num(limit)},
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}},
			{Delete: &types.Delete{TableName: aws.String("one"), Key: item{"id": str("old")}}},
			{ConditionCheck: &types.ConditionCheck{TableName: aws.String("two"), Key: item{"id": str("other")}, ConditionExpression: aws.String("attribute_not_exists(id)")}},
		}}
	}
	_, err := w.db.TransactWriteItems(t.Context(), actions("1"))
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		t.Fatalf("%v", err)
	}
	if want := "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, None, None]"; canceled.ErrorMessage() != want {
		t.Errorf("%s", canceled.ErrorMessage())
	}
	want := []types.CancellationReason{{Code: aws.String("None")},
		{Code: aws.String("ConditionalCheckFailed"), Message: aws.String("The conditional request failed"), Item: item{"id": str("there"), "n": num("1")}},
		{Code: aws.String("None")}, {Code: aws.String("None")}}
	if !reflect.DeepEqual(canceled.CancellationReasons, want) {
		t.Errorf("%+v", canceled.CancellationReasons)
	}
	if w.get(t, "two", item{"id": str("new")}) != nil {
		t.Error("a part was made")
	}
	if _, err := w.db.TransactWriteItems(t.Context(), actions("2")); err != nil {
		t.Fatal(err)
	}
	if w.get(t, "two", item{"id": str("new")}) == nil || text(w.get(t, "one", item{"id": str("there")})["n"]) != "2" {
		t.Error("a part was not made")
	}
	w.refuses(t, "TransactWriteItems", `{"TransactItems":[{"Update":{"TableName":"one","Key":{"id":{"S":"there"}},"UpdateExpression":"SET n = x"}}]}`,
		"TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError]")

	out, err := w.db.TransactGetItems(t.Context(), &ddb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
		{Get: &types.Get{TableName: aws.String("one"), Key: item{"id": str("there")}, ProjectionExpression: aws.String("n")}},
		{Get: &types.Get{TableName: aws.String("two"), Key: item{"id": str("nothing")}}},
	}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	if err != nil || len(out.Responses) != 2 || !reflect.DeepEqual(out.Responses[0].Item, item{"n": num("2")}) || out.Responses[1].Item != nil ||
		*out.ConsumedCapacity[0].ReadCapacityUnits != 2 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestTokensMakeTransactionsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "things", "id:S", "")
	count := func(token, id string) error {
		_, err := w.db.TransactWriteItems(t.Context(), &ddb.TransactWriteItemsInput{ClientRequestToken: &token, TransactItems: []types.TransactWriteItem{
			{Update: &types.Update{TableName: aws.String("things"), Key: item{"id": str(id)}, UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: item{":one": num("1")}}},
		}})
		return err
	}
	n := func() string { return text(w.get(t, "things", item{"id": str("1")})["n"]) }
	for range 3 {
		if err := count("token", "1"); err != nil {
			t.Fatal(err)
		}
	}
	if n() != "1" {
		t.Errorf("counted %s times", n())
	}
	wantError(t, count("token", "2"), "IdempotentParameterMismatchException", "")
	w.Clock.Advance(10 * time.Minute)
	if err := count("token", "1"); err != nil || n() != "2" {
		t.Errorf("%s, %v", n(), err)
	}
	// A transaction that was not made leaves its token free.
	fail := `{"ClientRequestToken":"t","TransactItems":[{"ConditionCheck":{"TableName":"things","Key":{"id":{"S":"x"}},"ConditionExpression":"attribute_exists(id)"}}]}`
	for range 2 {
		w.refuses(t, "TransactWriteItems", fail, "TransactionCanceledException",
			"Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]")
	}
	w.put(t, "things", item{"id": str("x")})
	w.must(t, "TransactWriteItems", fail)
}

// Transfers between accounts in several tables, by many at once, neither make nor lose money, and never deadlock.
func TestConcurrentTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.table(t, fmt.Sprintf("bank-%d", i), "id:S", "NEW_AND_OLD_IMAGES")
		for j := range 3 {
			w.put(t, fmt.Sprintf("bank-%d", i), item{"id": str(strconv.Itoa(j)), "n": num("100")})
		}
	}
	total := func() int {
		in := &ddb.TransactGetItemsInput{}
		for i := range 9 {
			in.TransactItems = append(in.TransactItems, types.TransactGetItem{Get: &types.Get{TableName: aws.String(fmt.Sprintf("bank-%d", i/3)), Key: item{"id": str(strconv.Itoa(i % 3))}}})
		}
		out, err := w.db.TransactGetItems(t.Context(), in)
		if err != nil {
			t.Error(err)
			return 900
		}
		sum := 0
		for _, r := range out.Responses {
			n, err := strconv.Atoi(text(r.Item["n"]))
			if err != nil {
				t.Error(err)
			}
			sum += n
		}
		return sum
	}
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			for i := range 30 {
				from, to := (g+i)%9, (g*5+i*7+1)%9
				if from == to {
					continue
				}
				move := func(n int, d string) string {
					return fmt.Sprintf(`{"Update":{"TableName":"bank-%d","Key":{"id":{"S":"%d"}},"UpdateExpression":"ADD n :d","ExpressionAttributeValues":{":d":{"N":"%s"}}}}`, n/3, n%3, d)
				}
				w.must(t, "TransactWriteItems", `{"TransactItems":[`+move(from, "-1")+`,`+move(to, "1")+`]}`)
				if i%10 == 0 {
					if sum := total(); sum != 900 {
						t.Errorf("there are %d", sum)
					}
				}
			}
		})
	}
	all.Wait()
	if sum := total(); sum != 900 {
		t.Errorf("there are %d", sum)
	}
}
