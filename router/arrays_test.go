package router

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/fixtures"
)

// TestArrays has AWS's rule for arrays, case by case: values of different elements of one array do not go
// together. The answers are those of AWS's own matcher, Event Ruler.
func TestArrays(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pattern, doc string
		want         bool
	}{
		"both in one element": {
			`{"e":{"a":[1],"b":[2]}}`, `{"e":[{"a":1,"b":3},{"a":1,"b":2}]}`, true},
		"one in each of two elements": {
			`{"e":{"a":[1],"b":[2]}}`, `{"e":[{"a":1,"b":3},{"a":4,"b":2}]}`, false},
		"a single element is like an object": {
			`{"e":{"a":[1],"b":[2]}}`, `{"e":[{"a":1,"b":2}]}`, true},
		"elements of two arrays go together": {
			`{"e":{"a":[1]},"f":{"b":[2]}}`, `{"e":[{"a":0},{"a":1}],"f":[{"b":2},{"b":0}]}`, true},
		"an element and what is beside the array": {
			`{"e":{"a":[1]},"b":[2]}`, `{"e":[{"a":0},{"a":1}],"b":2}`, true},
		"values of a list are alternatives": {
			`{"e":[1],"b":[2]}`, `{"e":[0,1],"b":[3,2]}`, true},
		"inner elements of different outer elements": {
			`{"e":{"f":{"a":[1],"b":[2]}}}`, `{"e":[{"f":[{"a":1},{"b":2}]},{"f":[{"a":1,"b":2}]}]}`, true},
		"inner elements of one outer element": {
			`{"e":{"f":{"a":[1],"b":[2]}}}`, `{"e":[{"f":[{"a":1},{"b":2}]},{"f":{"a":0,"b":0}}]}`, false},
		"an inner array and the element around it": {
			`{"e":{"n":[5],"f":{"a":[1]}}}`, `{"e":[{"n":5,"f":[{"a":0}]},{"n":6,"f":[{"a":0},{"a":1}]}]}`, false},
		"lists in lists": {
			`{"e":{"a":[1],"b":[2]}}`, `{"e":[[{"a":1}],[{"b":2}]]}`, false},
		"three fields, two arrays": {
			`{"a":{"x":[1],"y":[1]},"b":{"z":[1]}}`,
			`{"a":[{"x":1,"y":0},{"x":1,"y":1}],"b":[{"z":0},{"z":1}]}`, true},
		"absent from the element of the other field": {
			`{"e":{"a":[1],"b":[{"exists":false}]}}`, `{"e":[{"a":1},{"b":2}]}`, true},
		"present in the element of the other field": {
			`{"e":{"a":[1],"b":[{"exists":false}]}}`, `{"e":[{"a":1,"b":0},{"a":2}]}`, false},
		"absence is decided before fields that sort behind": {
			`{"e":{"b":[{"exists":false}],"c":[1]}}`, `{"e":[{"c":1},{"b":2}]}`, false},
		"absent everywhere": {
			`{"e":{"b":[{"exists":false}],"c":[1]}}`, `{"e":[{"c":1},{"d":2}]}`, true},
		"an empty array has no value": {
			`{"e":[{"exists":false}],"a":[1]}`, `{"e":[],"a":1}`, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := matches(t, EventBridge, []byte(test.pattern), []byte(test.doc)); got != test.want {
				t.Errorf("match of %s with %s: %t", test.doc, test.pattern, got)
			}
		})
	}
}

// TestRulerCases matches the cases that Event Ruler's own matchers are compared with. answers are what Event
// Ruler says of them, in order.
func TestRulerCases(t *testing.T) {
	t.Parallel()
	const answers = "101011110110101011010011010100011111101111110101110"
	var cases []struct {
		Name        string
		Rule, Event json.RawMessage
	}
	if err := json.Unmarshal(fixtures.Read(t, "aws-event-ruler/correctness-cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	var patterns []*Pattern
	var docs [][]byte
	if len(cases) != len(answers) {
		t.Fatalf("%d cases", len(cases))
	}
	for i, c := range cases {
		p, err := Compile(c.Rule, EventBridge)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		patterns, docs = append(patterns, p), append(docs, c.Event)
		if got, want := matches(t, EventBridge, c.Rule, c.Event), answers[i] == '1'; got != want {
			t.Errorf("%s: match %t, Event Ruler %t", c.Name, got, want)
		}
	}
	for i := range 4 {
		name := fmt.Sprintf("aws-event-ruler/data/array%%s%d.json", i+1)
		p, err := Compile(fixtures.Read(t, fmt.Sprintf(name, "Rule")), EventBridge)
		if err != nil {
			t.Fatal(err)
		}
		patterns, docs = append(patterns, p), append(docs, fixtures.Read(t, fmt.Sprintf(name, "Event")))
	}
	if found := compare(t, patterns, docs); found < 40 {
		t.Errorf("%d matches of %d patterns", found, len(patterns))
	}
}

// TestLargeArrays matches documents of a megabyte whose arrays have so many elements that trying all choices
// would not end.
func TestLargeArrays(t *testing.T) {
	t.Parallel()
	repeat := func(n int, format string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(strings.ReplaceAll(format, "#", "%[1]d"), i)
		}
		return strings.Join(items, ",")
	}
	const n = 20000
	tests := map[string]struct {
		pattern, doc string
		want         bool
	}{
		"each element has one field": {
			`{"e":{"a":[{"exists":true}],"b":[{"exists":true}]}}`,
			`{"e":[` + repeat(n, `{"a":#},{"b":#}`) + `]}`, false},
		"the last element has both": {
			`{"e":{"a":[{"exists":true}],"b":[{"exists":true}]}}`,
			`{"e":[` + repeat(n, `{"a":#},{"b":#}`) + `,{"a":1,"b":1}]}`, true},
		"six fields in arrays of their own, and one that is not there": {
			`{"a":{"x":[{"exists":true}]},"b":{"x":[{"exists":true}]},"c":{"x":[{"exists":true}]},` +
				`"d":{"x":[{"exists":true}]},"p":{"x":[1],"y":[2]}}`,
			`{"a":[` + repeat(n/4, `{"x":#}`) + `],"b":[` + repeat(n/4, `{"x":#}`) + `],"c":[` + repeat(n/4, `{"x":#}`) +
				`],"d":[` + repeat(n/4, `{"x":#}`) + `],"p":[{"x":1},{"y":2}]}`, false},
		"arrays in arrays": {
			`{"p":{"a":{"x":[{"exists":true}]},"b":{"x":[{"exists":true}]},"z":["no"]}}`,
			`{"p":[{"z":"no"},{"a":[` + repeat(n, `{"x":#}`) + `],"b":[` + repeat(n, `{"x":#}`) + `]}]}`, false},
		"absent from every element that could be": {
			`{"e":{"a":[{"exists":true}],"b":[{"exists":false}]}}`,
			`{"e":[` + repeat(n, `{"a":#,"b":#}`) + `]}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := matches(t, EventBridge, []byte(test.pattern), []byte(test.doc)); got != test.want {
				t.Errorf("match: %t", got)
			}
		})
	}
}
