package page_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/millrace/millrace/stack/page"
)

func TestPagesFollowEachOther(t *testing.T) {
	t.Parallel()
	all := []string{"a", "b", "c", "d", "e"}
	self := func(s string) string { return s }
	for limit := 1; limit <= 6; limit++ {
		var got []string
		token := ""
		for range 10 {
			items, next, err := page.Of(all, self, token, limit)
			if err != nil || len(items) > limit {
				t.Fatalf("limit %d: %q, %v", limit, items, err)
			}
			got = append(got, items...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(got, all) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
}

func TestATokenOutlivesItsItem(t *testing.T) {
	t.Parallel()
	self := func(s string) string { return s }
	_, token, err := page.Of([]string{"a", "b", "c"}, self, "", 2)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := page.Of([]string{"a", "bb", "c"}, self, token, 2)
	if err != nil || !slices.Equal(got, []string{"bb", "c"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add("")
	f.Add("Yg")
	f.Add("!")
	f.Fuzz(func(t *testing.T, token string) {
		items, next, err := page.Of([]string{"a", "b", "c"}, func(s string) string { return s }, token, 2)
		if err != nil && (!errors.Is(err, page.ErrToken) || items != nil || next != "") {
			t.Errorf("%q, %q, %v", items, next, err)
		}
	})
}
