// Package page cuts sorted lists into the pages of AWS's List and Describe operations.
package page

import (
	"encoding/base64"
	"errors"
	"sort"
)

// ErrToken says that a token was not made by Of.
var ErrToken = errors.New("the token is not one that was handed out")

// Of returns the items that follow a token's, at most limit, and the token of the next page, "" after the last. The
// items are sorted by name, which is unique; a token names the last item that was seen, so it stays good when items
// come and go.
func Of[T any](items []T, name func(T) string, token string, limit int) ([]T, string, error) {
	if token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(last) == 0 {
			return nil, "", ErrToken
		}
		items = items[sort.Search(len(items), func(i int) bool { return name(items[i]) > string(last) }):]
	}
	if len(items) <= limit {
		return items, "", nil
	}
	return items[:limit], base64.RawURLEncoding.EncodeToString([]byte(name(items[limit-1]))), nil
}
