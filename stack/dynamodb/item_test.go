package dynamodb_test

import (
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
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
