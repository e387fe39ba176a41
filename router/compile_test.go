package router

import (
	"errors"
	"strings"
	"testing"
)

// TestRefusals has the refusals of EventBridge that are not among the recordings, as Event Ruler words them.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		``:                                    "Filter is not an object\n at [Source: (String)\"\"; line: 1, column: 1]",
		`{}`:                                  "Empty objects are not allowed\n at [Source: (String)\"{}\"; line: 1, column: 3]",
		`{"a":{}}`:                            "Empty objects are not allowed\n at [Source: (String)\"{\"a\":{}}\"; line: 1, column: 8]",
		`{"a":null}`:                          "\"a\" must be an object or an array\n at [Source: (String)\"{\"a\":null}\"; line: 1, column: 10]",
		`{"a":[[1]]}`:                         "Match value must be String, number, true, false, or null\n at [Source: (String)\"{\"a\":[[1]]}\"; line: 1, column: 8]",
		"{\"a\":\r\n\n [{\"Prefix\":\"x\"}]}": "Unrecognized match type Prefix\n at [Source: (String)\"{\"a\":\r\n\n [{\"Prefix\":\"x\"}]}\"; line: 3, column: 14]",
		`{"😀":[{"x":1}]}`:                     "Unrecognized match type x\n at [Source: (String)\"{\"😀\":[{\"x\":1}]}\"; line: 1, column: 14]",
		`{"a":[{}]}`:                          "Match expression name not found",
		`{"a":[{"prefix":{"suffix":"a"}}]}`:   "Unsupported prefix pattern: suffix",
		`{"a":[{"suffix":{}}]}`:               "Suffix expression name not found",
		`{"a":[{"prefix":{"equals-ignore-case":1}}]}`:  "equals-ignore-case match pattern must be a string",
		`{"a":[{"prefix":"a","suffix":"b"}]}`:          "Only one key allowed in match expression",
		`{"a":[{"wildcard":"a**b"}]}`:                  "Consecutive wildcard characters at pos 2",
		`{"a":[{"wildcard":"a\\b"}]}`:                  "Invalid escape character at pos 2",
		`{"a":[{"anything-but":{}}]}`:                  "Anything-But expression name not found",
		`{"a":[{"anything-but":[]}]}`:                  "Inside anything but list, either all values are number or string, mixed type is not supported",
		`{"a":[{"anything-but":[1,"a"]}]}`:             "Inside anything but list, either all values are number or string, mixed type is not supported",
		`{"a":[{"anything-but":[null]}]}`:              "Inside anything but list, start|null|boolean is not supported.",
		`{"a":[{"anything-but":true}]}`:                "Value of anything-but must be an array or single string/number value.",
		`{"a":[{"anything-but":"a","b":1}]}`:           "Too many elements in numeric expression",
		`{"a":[{"anything-but":{"exists":true}}]}`:     "Unsupported anything-but pattern: exists",
		`{"a":[{"anything-but":{"suffix":["a",""]}}]}`: "Null prefix/suffix not allowed",
		`{"a":[{"anything-but":{"wildcard":"a**"}}]}`:  "Consecutive wildcard characters at pos 2",
		`{"a":[{"anything-but":1e400}]}`:               "Cannot compare number : 1e400",
		`{"a":[{"numeric":["=",1,"<",2]}]}`:            "Too many elements in numeric expression",
		`{"a":[{"numeric":[">",1,"<",2,3]}]}`:          "Too many terms in numeric range expression",
		`{"a":[{"numeric":[">",2,"<",1]}]}`:            "Bottom must be less than top",
		`{"a":[{"numeric":[">=",1,"<=",1]}]}`:          "Bottom must be less than top",
		`{"a":[{"cidr":"10.0.0.0/32"}]}`:               "IPv4 mask bits must be < 32",
		`{"a":[{"cidr":"::/128"}]}`:                    "IPv6 mask bits must be < 128",
		`{"a":[{"cidr":"10.0.0.0/-1"}]}`:               "Malformed CIDR, mask bits must not be negative",
		`{"a":[{"cidr":"10.0.0.256/8"}]}`:              "Invalid IP address: 10.0.0.256",
		`{"a":[{"cidr":"10.0.0.0/8/9"}]}`:              "Malformed CIDR, one '/' required",
		`{"$or":[{"a":[1]}]}`:                          "Unrecognized match type a",
		`{"$or":[{"a":[1]},{"prefix":[1]}]}`:           "Unrecognized match type a",
		`{"$or":[{"a":[1]},{"b":[]}]}`:                 "Empty arrays are not allowed",
		`{"a":[1]} {}`:                                 "Unexpected content after the pattern",
		`{"a":[1`:                                      "Unexpected end-of-input: expected close marker for Array (start marker at [Source: (String)\"{\"a\":[1\"; line: 1, column: 6])\n at [Source: (String)\"{\"a\":[1\"; line: 1, column: 8]",
		`{"a":[1,]}`:                                   "Unexpected character (']' (code 93)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
		`{"a":[1}`:                                     "Unexpected close marker '}': expected ']' (for Array starting at [Source: (String)\"{\"a\":[1}\"; line: 1, column: 6])",
		"{\"a\x01\":[1]}":                              "Illegal unquoted character ((CTRL-CHAR, code 1)): has to be escaped using backslash to be included in name",
		`{"a":["\q"]}`:                                 "Unrecognized character escape 'q' (code 113)",
		`{"a" [1]}`:                                    "Unexpected character ('[' (code 91)): was expecting a colon to separate field name and value",
	} {
		_, err := Compile([]byte(pattern), EventBridge)
		e, ok := errors.AsType[*InvalidError](err)
		if !ok || !strings.HasPrefix(e.Reason, want) || e.Error() != "Event pattern is not valid. Reason: "+e.Reason {
			t.Errorf("Compile(%s) = %v, want %s", pattern, err, want)
		}
	}
	long := `{"a":["` + strings.Repeat("x", 600) + `"],"b":1}`
	_, err := Compile([]byte(long), EventBridge)
	if err == nil || !strings.HasSuffix(err.Error(), strings.Repeat("x", 493)+"\"[truncated 116 chars]; line: 1, column: 616]") {
		t.Errorf("a long source: %v", err)
	}
}

func TestDialects(t *testing.T) {
	t.Parallel()
	for pattern, refusals := range map[string][4]bool{
		`{"a":[{"wildcard":"*"}]}`:                                 {false, true, true, true},
		`{"a":[{"anything-but":{"prefix":"a"}}]}`:                  {false, true, false, false},
		`{"a":[{"anything-but":{"prefix":["a"]}}]}`:                {false, true, true, true},
		`{"a":[{"anything-but":{"suffix":"a"}}]}`:                  {false, true, true, true},
		`{"a":[{"anything-but":{"equals-ignore-case":"a"}}]}`:      {false, true, true, true},
		`{"a":[{"anything-but":{"prefix":""}}]}`:                   {true, true, true, true},
		`{"a":[{"prefix":{"equals-ignore-case":"a"}}]}`:            {false, false, true, true},
		`{"a":[{"suffix":{"equals-ignore-case":"a"}}]}`:            {false, false, true, true},
		`{"a":[{"equals-ignore-case":"a"},{"cidr":"10.0.0.0/8"}]}`: {},
		`{"a":{"b":[1]}}`: {false, false, true, false},
		`{"a.b":[1]}`:     {},
		`{}`:              {true, true, false, false},
		` { } `:           {true, true, false, false},
		`{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"$or":[{"f":[1]},{"g":[1]}]}`:          {false, false, true, true},
		`{"a":[1],"b":{"c":[1],"d":[1],"e":[1],"f":[1],"g":[1]}}`:                        {false, false, true, false},
		`{"a":[1,2,3,4,5,6,7,8,9,10,11,12],"b":[1,2,3,4,5,6,7,8,9,10,11,12],"c":[1]}`:    {},
		`{"a":[1,2,3,4,5,6,7,8,9,10,11,12],"b":[1,2,3,4,5,6,7,8,9,10,11,12,13],"c":[1]}`: {false, false, true, true},
	} {
		for d, want := range refusals {
			if _, err := Compile([]byte(pattern), Dialect(d)); (err != nil) != want {
				t.Errorf("Compile(%s, %v) = %v, refused on AWS: %t", pattern, Dialect(d), err, want)
			}
		}
	}
}

// TestCombinations compiles patterns that grow with every $or.
func TestCombinations(t *testing.T) {
	t.Parallel()
	pattern := func(n int) []byte {
		return []byte("{" + strings.Repeat(`"$or":[{"a":[1]},{"b":[1]}],`, n) + `"c":[1]}`)
	}
	if _, err := Compile(pattern(9), EventBridge); err != nil {
		t.Errorf("512 combinations: %v", err)
	}
	for _, n := range []int{10, 140} {
		if _, err := Compile(pattern(n), EventBridge); err == nil {
			t.Errorf("2 to the power of %d combinations are taken", n)
		}
		_, err := Compile(pattern(n), SNSBody)
		if err == nil || err.Error() != "FilterPolicy: Filter policy is too complex" {
			t.Errorf("SNS: %v", err)
		}
	}
}

func TestAppendAttribute(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, dataType, value, want string }{
		{"a", "String", `say "hi"`, `{"a":"say \"hi\""}`},
		{"a", "String.custom", `x`, `{"a":"x"}`},
		{"a", "Number", `1.50`, `{"a":1.50}`},
		{"a", "Number.cents", `-7`, `{"a":-7}`},
		{"a", "Number", `+007`, `{"a":7}`},
		{"a", "Number", `.5e3`, `{"a":0.5e3}`},
		{"a", "Number", `5.`, `{"a":5}`},
		{"a", "Number", `five`, ``},
		{"a", "Number", `1e`, ``},
		{"a", "Number", ``, ``},
		{"a", "Number", `1x`, ``},
		{"a", "String.Array", `["x", 1, null]`, `{"a":["x", 1, null]}`},
		{"a", "String.Array.custom", `[]`, `{"a":[]}`},
		{"a", "String.Array", `"x"`, ``},
		{"a", "String.Array", `[x]`, ``},
		{"a", "Binary", `AAAA`, ``},
	} {
		got := string(AppendAttribute(nil, test.name, test.dataType, test.value))
		if got != strings.TrimSuffix(test.want, "}") {
			t.Errorf("%s %s: %s, want %s", test.dataType, test.value, got, test.want)
		}
	}
	doc := []byte("{")
	for _, a := range [][3]string{{"store", "String", "one"}, {"picture", "Binary", "AA"}, {"price", "Number", "99"}, {"tags", "String.Array", `["a","b"]`}} {
		doc = AppendAttribute(doc, a[0], a[1], a[2])
	}
	doc = append(doc, '}')
	for policy, want := range map[string]bool{
		`{"price":[{"numeric":["<",100]}],"tags":["b"],"picture":[{"exists":false}]}`: true,
		`{"price":["99"]}`: false, `{"price":[99.0]}`: true, `{"store":[{"anything-but":["one"]}]}`: false, `{"tags":[{"anything-but":["a"]}]}`: true,
		`{}`: true,
	} {
		if got := matches(t, SNSAttributes, []byte(policy), doc); got != want {
			t.Errorf("match of %s with %s: %t", doc, policy, got)
		}
	}
}
