package dynamodb

import (
	"testing"
	"time"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

// An item that names the end of all time as its expiry is not always about to expire.
func TestAnExpiryBeyondAllTime(t *testing.T) {
	t.Parallel()
	item, err := attr.Parse([]byte(`{"id":{"S":"1"},"until":{"N":"9223372036854775807"}}`))
	if err != nil {
		t.Fatal(err)
	}
	x := newTable(place{}, definition{Name: "things", Keys: []keyElement{{AttributeName: "id", KeyType: "HASH"}},
		Attributes: []attributeDefinition{{AttributeName: "id", AttributeType: "S"}}, TTL: "until"})
	x.set("1", nil, item)
	now := time.Now()
	if at, ok := x.firstExpiry(now); !ok || at.Before(now.AddDate(1000, 0, 0)) {
		t.Errorf("it expires at %s (%t)", at, ok)
	}
}
