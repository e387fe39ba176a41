package router

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func compiled(t testing.TB, d Dialect, patterns ...string) []*Pattern {
	t.Helper()
	var ps []*Pattern
	for _, text := range patterns {
		p, err := Compile([]byte(text), d)
		if err != nil {
			t.Fatalf("Compile(%s): %v", text, err)
		}
		ps = append(ps, p)
	}
	return ps
}

// TestOperators has each operator's rule, with values that just match and values that just do not.
func TestOperators(t *testing.T) {
	t.Parallel()
	for operators, values := range map[string]struct{ match, no []string }{
		`"a"`:               {[]string{`"a"`, `"\u0061"`, `["b","a"]`, `[["a"]]`}, []string{`"A"`, `"aa"`, `""`, `1`, `null`, `{"a":"a"}`, `[]`}},
		`""`:                {[]string{`""`}, []string{`null`, `"a"`, `[]`, `{}`}},
		`null`:              {[]string{`null`, `[1,null]`}, []string{`"null"`, `[]`, `0`, `false`}},
		`true`:              {[]string{`true`}, []string{`"true"`, `1`, `false`}},
		`false`:             {[]string{`false`}, []string{`true`, `null`, `0`}},
		`300`:               {[]string{`300`, `300.0`, `3e2`, `3.00E+2`}, []string{`"300"`, `301`, `300.0000000001`}},
		`0`:                 {[]string{`0`, `-0`, `0.0`, `0e5`}, []string{`1e-300`, `false`}},
		`0.1`:               {[]string{`0.1`, `0.10`, `1e-1`}, []string{`0.10000000000000001`}},
		`9007199254740993`:  {[]string{`9007199254740993`}, []string{`9007199254740992`, `9007199254740993.0`}},
		`"10.0.0.1"`:        {[]string{`"10.0.0.1"`, `"010.0.0.1"`, `"::ffff:a00:1"`}, []string{`"10.0.0.2"`}},
		`"2001:db8::1"`:     {[]string{`"2001:DB8:0:0:0:0:0:1"`}, []string{`"2001:db8::2"`, `"2001:db8::1%eth0"`}},
		`{"prefix":"é"}`:    {[]string{`"é"`, `"\u00e9a"`}, []string{`"e"`, `""`, `"aé"`}},
		`{"prefix":""}`:     {[]string{`""`, `"a"`}, []string{`1`, `null`}},
		`{"suffix":".png"}`: {[]string{`".png"`, `"a.png"`}, []string{`"a.PNG"`, `"png"`}},
		`{"prefix":{"equals-ignore-case":"aß"}}`:            {[]string{`"Aßx"`, `"aß"`}, []string{`"ass"`, `"a"`}},
		`{"suffix":{"equals-ignore-case":".Png"}}`:          {[]string{`"a.pNG"`, `".png"`}, []string{`"png"`, `"a.pngx"`}},
		`{"equals-ignore-case":"ÀB"}`:                       {[]string{`"àb"`, `"Àb"`}, []string{`"ab"`, `"àbc"`}},
		`{"equals-ignore-case":"s"}`:                        {[]string{`"S"`, `"s"`}, []string{`"ſ"`, `""`}},
		`{"equals-ignore-case":""}`:                         {[]string{`""`}, []string{`"a"`}},
		`{"wildcard":"*"}`:                                  {[]string{`""`, `"a"`}, []string{`1`}},
		`{"wildcard":"a*b*c"}`:                              {[]string{`"abc"`, `"aXbbXc"`, `"abcc"`}, []string{`"ab"`, `"acb"`, `"abcd"`, `"xabc"`}},
		`{"wildcard":"aba*aba"}`:                            {[]string{`"abaaba"`}, []string{`"aba"`, `"ababa"`}},
		`{"wildcard":"\\*\\\\*"}`:                           {[]string{`"*\\"`, `"*\\x"`}, []string{`"x\\"`, `"*"`}},
		`{"numeric":["=",1e2]}`:                             {[]string{`100`, `100.0`}, []string{`"100"`, `101`}},
		`{"numeric":[">",0,"<=",5]}`:                        {[]string{`0.1`, `5`, `[-1,3]`}, []string{`0`, `5.1`, `"3"`, `null`, `1e400`}},
		`{"numeric":["<",0]}`:                               {[]string{`-1e-300`, `-1e300`}, []string{`0`, `-0`}},
		`{"cidr":"10.0.0.7/24"}`:                            {[]string{`"10.0.0.0"`, `"10.0.0.255"`}, []string{`"10.0.1.0"`, `"10.0.0.256"`, `"10.0.0"`, `"a00::1"`, `10`}},
		`{"cidr":"2001:db8::/33"}`:                          {[]string{`"2001:db8:7fff::"`}, []string{`"2001:db8:8000::"`, `"10.0.0.1"`}},
		`{"exists":true}`:                                   {[]string{`null`, `""`, `[1]`, `[[],0]`}, []string{`[]`, `{}`, `{"a":1}`, `[{}]`}},
		`{"exists":false}`:                                  {[]string{`[]`, `{}`, `{"a":1}`}, []string{`null`, `[1]`}},
		`{"anything-but":"a"}`:                              {[]string{`"b"`, `1`, `null`, `true`, `["a","b"]`}, []string{`"a"`, `["a"]`, `[]`, `{}`}},
		`{"anything-but":["a","b"]}`:                        {[]string{`"c"`, `"A"`}, []string{`"a"`, `"b"`}},
		`{"anything-but":1}`:                                {[]string{`"1"`, `2`, `null`}, []string{`1`, `1.0`}},
		`{"anything-but":[1,2]}`:                            {[]string{`3`, `1e400`}, []string{`2e0`}},
		`{"anything-but":"10.0.0.1"}`:                       {[]string{`"010.0.0.1"`}, []string{`"10.0.0.1"`}},
		`{"anything-but":{"prefix":["a","b"]}}`:             {[]string{`"c"`, `""`, `1`}, []string{`"ax"`, `"b"`}},
		`{"anything-but":{"suffix":"a"}}`:                   {[]string{`"ab"`, `null`}, []string{`"ba"`}},
		`{"anything-but":{"equals-ignore-case":["A","É"]}}`: {[]string{`"b"`, `"aa"`}, []string{`"a"`, `"é"`}},
		`{"anything-but":{"wildcard":["*/a/*","b"]}}`:       {[]string{`"/a"`, `"bb"`, `1`}, []string{`"x/a/y"`, `"b"`}},
		`{"anything-but":"a"},{"anything-but":"b"}`:         {[]string{`"a"`, `"b"`, `1`}, []string{`[]`}},
		`{"anything-but":{"prefix":"a"}},"ab"`:              {[]string{`"ab"`, `"b"`}, []string{`"ac"`}},
		`{"exactly":"10.0.0.1"}`:                            {[]string{`"10.0.0.1"`}, []string{`"010.0.0.1"`}},
		`"a",1,null,{"prefix":"b"}`:                         {[]string{`"a"`, `1`, `null`, `"bc"`}, []string{`"ab"`, `2`, `true`}},
	} {
		t.Run(operators, func(t *testing.T) {
			t.Parallel()
			pattern := []byte(`{"field":[` + operators + `]}`)
			for want, docs := range map[bool][]string{true: values.match, false: values.no} {
				for _, value := range docs {
					if got := matches(t, EventBridge, pattern, []byte(`{"other":1,"field":`+value+`}`)); got != want {
						t.Errorf("match of %s: %t", value, got)
					}
				}
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, doc string
		want         bool
	}{
		{`{"a.b":{"c":[1]}}`, `{"a":{"b":{"c":1}}}`, true},
		{`{"a":{"b":{"c":[1]}}}`, `{"a.b.c":1}`, true},
		{`{"a":{"b.c":[1]}}`, `{"a.b":{"c":1}}`, true},
		{`{"a":{"b":[1]}}`, `{"a":{"b":{"c":1}}}`, false},
		{`{"a.":[1]}`, `{"a":{"":1}}`, true},
		{`{"a":[1]}`, `{"a.":1}`, false},
		{`{"":[1]}`, `{"":1}`, true},
		{`{"\u0061":[1]}`, `{"\u0061":1}`, true},
		{`{"a very long name of a field":{"b":[1]}}`, `{"a very long name of a field.b":1}`, true},
		{`{"é":[1]}`, `{"\u00e9":1}`, true},
		{`{"a":[1],"a":[2]}`, `{"a":2}`, true},
		{`{"a":[1],"a":[2]}`, `{"a":1}`, false},
		{`{"a":{"b":[1]},"a":{"c":[2]}}`, `{"a":{"b":1,"c":2}}`, true},
		{`{"a":{"b":[1]},"a":{"c":[2]}}`, `{"a":{"c":2}}`, false},
		{`{"a":[1]}`, `{"a":2,"a":1}`, true},
		{`{"$or":[{"a":[1]},{"b":[2]}],"c":[3]}`, `{"b":2,"c":3}`, true},
		{`{"$or":[{"a":[1]},{"b":[2]}],"c":[3]}`, `{"b":2}`, false},
		{`{"x":{"$or":[{"a":[1]},{"$or":[{"b":[2]},{"b":[3]}],"c":[4]}]}}`, `{"x":{"b":3,"c":4}}`, true},
		{`{"$or":{"a":[1]}}`, `{"$or":{"a":1}}`, true},
		{`{"$or":[{"numeric":[">",0]},{"prefix":"a"}]}`, `{"$or":"ab"}`, true},
		{`{"a":[1]}`, `[{"a":1}]`, false},
		{`{"a":[1]}`, `"a"`, false},
		{`{"a":[1]}`, ` {"a" : 1 } `, true},
	} {
		if got := matches(t, EventBridge, []byte(test.pattern), []byte(test.doc)); got != test.want {
			t.Errorf("match of %s with %s: %t", test.doc, test.pattern, got)
		}
	}
}

// TestSyntax matches documents that are not JSON, or not UTF-8, both where a pattern looks and where none does.
func TestSyntax(t *testing.T) {
	t.Parallel()
	set := NewSet(compiled(t, EventBridge, `{"a":[{"exists":true}],"deep":{"er":[1]}}`, `{"none":[{"exists":false}]}`)...)
	for _, value := range []string{
		`1`, `-1.5e+3`, `""`, `"\ud83d\ude00"`, `"\ud83d"`, `[]`, `[1, [2]]`, `{"er":1}`, `{"er":[{"er":1}]}`, "\"é\"", `true`, `null`,
		``, `01`, `1.`, `.5`, `+1`, `1e`, `-`, `"`, `"\`, `"\x"`, `"\u12g4"`, `"\u12`, "\"\n\"", "\"\x00\"", "\"\xff\"", "\"\xc3(\"",
		`[`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{`, `{"er"`, `{"er":`, `{"er":1`, `{"er":1,}`, `{er:1}`, `{"er" 1}`, `{1:1}`, `{"er":1]`,
		`tru`, `truth`, `nul`, `False`, `NaN`, `1 2`, `"a" "b"`, `{}}`, strings.Repeat("[", 20000), strings.Repeat(`{"er":`, 20000),
	} {
		for _, doc := range []string{
			`{"a":` + value + `}`, `{"unknown":` + value + `}`, `{"deep":` + value + `,"a":1}`, `{"a":[` + value + `,{"x":2}]}`,
			value, `[` + value + `]`, `{"a":1,"` + value + `":1}`, `{"deep":{"` + value + `":1}}`,
		} {
			ok := json.Valid([]byte(doc)) && utf8.ValidString(doc)
			got, err := set.Match(nil, []byte(doc))
			if (err == nil) != ok || err != nil && (!errors.Is(err, ErrSyntax) || got != nil) {
				t.Errorf("%.80q: %v, %v; valid: %t", doc, got, err, ok)
			}
		}
	}
	for i := range objectCreated {
		if got, err := set.Match(nil, []byte(objectCreated[:i])); err == nil || got != nil {
			t.Errorf("%q: %v, %v", objectCreated[:i], got, err)
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	set := NewSet(append(compiled(t, EventBridge,
		`{"$or":[{"a":[1]},{"b":[1]}]}`, `{"a":[2]}`, `{"b":[{"exists":true}]}`, `{"a":[1],"b":[1]}`),
		compiled(t, SNSBody, `{}`)...)...)
	if set.Len() != 5 {
		t.Errorf("Len() = %d", set.Len())
	}
	for doc, want := range map[string][]int{
		`{"a":1,"b":1}`: {7, 0, 2, 3, 4}, `{"a":2}`: {7, 1, 4}, `{"b":0}`: {7, 2, 4}, `{}`: {7, 4}, `[]`: {7},
	} {
		if got, err := set.Match([]int{7}, []byte(doc)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", doc, got, err, want)
		}
	}
	if got, err := NewSet().Match(nil, []byte(`{}`)); err != nil || got != nil {
		t.Errorf("no patterns: %v, %v", got, err)
	}
}

// TestSetOfMany compares a set that is sorted inside with its patterns one by one.
func TestSetOfMany(t *testing.T) {
	t.Parallel()
	patterns := compiled(t, EventBridge, realistic(1000)...)
	set := NewSet(patterns...)
	for _, doc := range []string{objectCreated, stateChange, strings.ReplaceAll(objectCreated, "bucket1", "bucket2")} {
		got, err := set.Match(nil, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for i, p := range patterns {
			if match, err := p.Match([]byte(doc)); err != nil {
				t.Fatal(err)
			} else if match {
				want = append(want, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("matches %v, one by one %v", got, want)
		}
	}
}

func TestSetAtOnce(t *testing.T) {
	t.Parallel()
	set := realisticSet(t, 100)
	docs := []string{objectCreated, stateChange, `{"e":[{"a":1},{"a":2}],"source":["aws.s3"],"detail":[{"x":1},{"y":2}]}`}
	var want [][]int
	for _, doc := range docs {
		found, err := set.Match(nil, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, found)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 300 {
				k := (worker + i) % len(docs)
				if got, err := set.Match(nil, []byte(docs[k])); err != nil || !slices.Equal(got, want[k]) {
					t.Errorf("%s: %v, %v; want %v", docs[k], got, err, want[k])
				}
			}
		})
	}
	wg.Wait()
}

func TestMatchAllocatesNothing(t *testing.T) {
	m := realisticSet(t, 100).newMatching() // not from the pool, which the race detector empties at random
	doc := []byte(objectCreated)
	dst := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() { dst, _ = m.match(dst[:0], doc) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !slices.Equal(dst, []int{0}) {
		t.Errorf("matches %v", dst)
	}
}
