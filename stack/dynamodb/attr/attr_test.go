package attr_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/dynamodb/attr"
)

func parse(t testing.TB, text string) attr.Item {
	t.Helper()
	i, err := attr.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return i
}

func TestNumbersHaveOneForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "0.00": "0", "0e1000": "0", "00": "0",
		"5": "5", "+3": "3", "-7.1234": "-7.1234", ".123": "0.123", "0001.230": "1.23", "5.": "5",
		"1e+5": "100000", "-17.4E37": "-174" + strings.Repeat("0", 36), "1E-3": "0.001", "123e-2": "1.23", "100": "100",
		"1e125":  "1" + strings.Repeat("0", 125),
		"1e-130": "0." + strings.Repeat("0", 129) + "1",
		"3.1415926535897932384626433832795028841":     "3.1415926535897932384626433832795028841",
		"9999999999999999999999999999999999999900000": "9999999999999999999999999999999999999900000",
	} {
		if v, ok := attr.Number(text); !ok || v.Text() != want {
			t.Errorf("%s is %s", text, v.Text())
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "The parameter cannot be converted to a numeric value",
		"dog":                    "The parameter cannot be converted to a numeric value: dog",
		" 1":                     "The parameter cannot be converted to a numeric value:  1",
		"NaN":                    "The parameter cannot be converted to a numeric value: NaN",
		"1e":                     "The parameter cannot be converted to a numeric value: 1e",
		"1e+-5":                  "The parameter cannot be converted to a numeric value: 1e+-5",
		"1.2.3":                  "The parameter cannot be converted to a numeric value: 1.2.3",
		"--1":                    "The parameter cannot be converted to a numeric value: --1",
		"0x10":                   "The parameter cannot be converted to a numeric value: 0x10",
		".":                      "The parameter cannot be converted to a numeric value: .",
		"1e126":                  "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"11e125":                 "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"1e99999999999999999999": "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"1e-131":                 "Number underflow. Attempting to store a number with magnitude smaller than supported range",
		"0.9e-130":               "Number underflow. Attempting to store a number with magnitude smaller than supported range",
		"314159265358979323846264338327950288419": "Attempting to store more than 38 significant digits in a Number",
	} {
		v, err := attr.Parse([]byte(`{"n":{"N":"` + text + `"}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Problem(); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestArithmeticIsExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b     string
		subtract bool
		want     string
	}{
		{"1", "2", false, "3"},
		{"9223372036854775807", "1", false, "9223372036854775808"},
		{"-9223372036854775808", "1", true, "-9223372036854775809"},
		{"0.1", "0.2", false, "0.3"},
		{"10000000000000000000000", "1", true, "9999999999999999999999"},
		{"1e-130", "1e-130", true, "0"},
		{"1e-93", "1e-130", false, "0." + strings.Repeat("0", 92) + "1" + strings.Repeat("0", 36) + "1"},
		{"1e50", "1", false, "Number overflow. Attempting to store a number with magnitude larger than supported range"},
		{"9e125", "-9e125", true, "Number overflow. Attempting to store a number with magnitude larger than supported range"},
	} {
		a, _ := attr.Number(c.a)
		b, _ := attr.Number(c.b)
		sum, problem := a.Add(b, c.subtract)
		if sum.Text()+problem != c.want {
			t.Errorf("%s and %s: %s%s", c.a, c.b, sum.Text(), problem)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"L":[`, 32) + `{"S":""}` + strings.Repeat(`]}`, 32)
	for text, want := range map[string]string{
		`{}`:                     "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`null`:                   "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"S":null}`:             "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"X":"a"}`:              "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		`{"S":"","N":"1"}`:       "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
		`{"S":"","N":"x"}`:       "The parameter cannot be converted to a numeric value: x",
		`{"NULL":false}`:         "One or more parameter values were invalid: Null attribute value types must have the value of true",
		`{"SS":[]}`:              "One or more parameter values were invalid: An string set  may not be empty",
		`{"NS":[]}`:              "One or more parameter values were invalid: An number set  may not be empty",
		`{"BS":[]}`:              "One or more parameter values were invalid: Binary sets should not be empty",
		`{"SS":["a","a"]}`:       "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
		`{"BS":["YQ==","YQ=="]}`: "One or more parameter values were invalid: Input collection [YQ==, YQ==]of type BS contains duplicates.",
		`{"NS":["1","1.0"]}`:     "Input collection contains duplicates",
		`{"M":{"a":{"L":[{}]}}}`: "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		deep:                     "Nesting Levels have exceeded supported limits",
		`{"S":""}`:               "",
		`{"B":""}`:               "",
		`{"L":[]}`:               "",
		`{"M":{}}`:               "",
		strings.Repeat(`{"L":[`, 31) + `{"S":""}` + strings.Repeat(`]}`, 31): "",
	} {
		if got := parse(t, `{"a":`+text+`}`).Problem(); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestWrongFormsAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"S":1}`, `{"N":1}`, `{"B":"?"}`, `{"B":"YQ"}`, `{"BOOL":"true"}`, `{"NULL":1}`, `{"L":{}}`, `{"M":[]}`, `{"SS":"a"}`,
		`{"SS":[1]}`, `[]`, `"a"`, `{"S":"a"`, `{"S":"a","S":"b"}`} {
		if i, err := attr.Parse([]byte(`{"a":` + text + `}`)); err == nil {
			t.Errorf("%s is read as %s", text, i.AppendJSON(nil))
		}
	}
}

const every = `{"b":{"B":"AP8="},"bs":{"BS":["AA==","AQ=="]},"l":{"L":[{"S":"x"},{"N":"1.5"}]},"m":{"M":{"k":{"NULL":true}}},"n":{"N":"-3"},` +
	`"no":{"BOOL":false},"ns":{"NS":["1","2"]},"s":{"S":"a\"b\\\n😀"},"ss":{"SS":["a","b"]},"yes":{"BOOL":true}}`

func TestItemsAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	i := parse(t, every)
	if got := string(i.AppendJSON(nil)); got != every {
		t.Errorf("%s", got)
	}
	if !i.Equal(parse(t, every)) {
		t.Error("an item is not equal to itself")
	}
	for _, a := range i {
		if i.Without(a.Name).Equal(i) || i.With(a.Name, attr.String("else")).Equal(i) {
			t.Errorf("a change of %s does not show", a.Name)
		}
		if !i.With(a.Name, a.Value).Equal(i) || !i.Without(a.Name).With(a.Name, a.Value).Equal(i) {
			t.Errorf("%s cannot be put back", a.Name)
		}
	}
	if got := string(i.Only("yes", "absent", "b").AppendJSON(nil)); got != `{"b":{"B":"AP8="},"yes":{"BOOL":true}}` {
		t.Errorf("%s", got)
	}
}

// The sizes are those that streams of DynamoDB have shown in SizeBytes, and of its documentation.
func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`{"Id":{"N":"101"}}`:                                                     2 + 3,
		`{"Message":{"S":"New item!"},"Id":{"N":"101"}}`:                         16 + 5,
		`{"my_partition_key":{"S":"hello world"},"binary_key":{"B":"Zm9vYmFy"}}`: 27 + 16,
		`{"é":{"S":"é"}}`:                                                        4,
		`{"n":{"N":"0"}}`:                                                        2, `{"n":{"N":"10"}}`: 3, `{"n":{"N":"12"}}`: 3, `{"n":{"N":"123.4"}}`: 5, `{"n":{"N":"-12"}}`: 4,
		`{"b":{"BOOL":true}}`: 2, `{"b":{"NULL":true}}`: 2, `{"l":{"L":[]}}`: 4, `{"m":{"M":{"a":{"S":"b"}}}}`: 1 + 3 + 1 + 2,
		`{"l":{"L":[{"S":"abc"}]}}`: 1 + 3 + 1 + 3, `{"s":{"SS":["ab","c"]}}`: 4,
	} {
		if got := parse(t, text).Size(); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestKeysAreInTheOrderOfTheirValues(t *testing.T) {
	t.Parallel()
	number := func(s string) attr.Value {
		v, ok := attr.Number(s)
		if !ok {
			t.Fatal(s)
		}
		return v
	}
	for _, list := range [][]attr.Value{
		{number("-9e125"), number("-101"), number("-100"), number("-99.1"), number("-12.3"), number("-12"), number("-1"), number("-0.5"), number("-1e-130"),
			number("0"), number("1e-130"), number("0.0001"), number("0.5"), number("1"), number("9"), number("10"), number("12"), number("12.3"), number("99"),
			number("100"), number("9e125")},
		{attr.String(""), attr.String("\x00"), attr.String("\x00\x00"), attr.String("\x00a"), attr.String("\x01"), attr.String("a"), attr.String("a\x00"),
			attr.String("a\x00b"), attr.String("a\x01"), attr.String("aa"), attr.String("b"), attr.String("é"), attr.String("😀")},
	} {
		for i, v := range list {
			for j, w := range list {
				order, ok := v.Compare(w)
				if !ok || sign(order) != sign(i-j) {
					t.Errorf("%q to %q is %d", v.Text(), w.Text(), order)
				}
				// What follows a key does not change the order.
				a, b := append(v.AppendKey(nil), 0xff), append(w.AppendKey(nil), 0)
				if i != j && sign(bytes.Compare(a, b)) != sign(i-j) {
					t.Errorf("the keys of %q and %q are in the wrong order", v.Text(), w.Text())
				}
			}
		}
	}
	if !bytes.HasPrefix(attr.String("a\x00bc").AppendKey(nil), attr.String("a\x00b").AppendKeyPrefix(nil)) {
		t.Error("a prefix of a value is not one of its key")
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestValues(t *testing.T) {
	t.Parallel()
	i := parse(t, every)
	get := func(name string) attr.Value { v, _ := i.Get(name); return v }
	for name, want := range map[string]int{"s": 7, "b": 2, "l": 2, "m": 1, "ss": 2, "n": -1, "yes": -1} {
		n, ok := get(name).Length()
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("size of %s is %d", name, n)
		}
	}
	if _, ok := get("ss").Compare(get("ss")); ok {
		t.Error("sets have an order")
	}
	if got := get("ss").Union(get("ss").Minus(get("ss"))); !got.Equal(get("ss")) {
		t.Error("a set with nothing added has changed")
	}
	var many []string
	for n := range 100 {
		many = append(many, `"`+strings.Repeat("x", n)+`"`)
	}
	big := parse(t, `{"s":{"SS":[`+strings.Join(many, ",")+`]}}`)[0].Value
	if n, _ := big.Union(get("ss")).Length(); n != 102 {
		t.Errorf("a union has %d elements", n)
	}
	if n, _ := big.Minus(big).Length(); n != 0 {
		t.Errorf("a set less itself has %d elements", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(every)
	f.Add(`{"a":{"S":"x","N":"1"},"b":{"NS":["1","01"]},"a":{}}`)
	f.Add(`{"a":{"M":{"b":{"L":[{"NULL":true}]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		i, err := attr.Parse([]byte(text))
		if err != nil || i.Problem() != "" {
			return
		}
		again, err := attr.Parse(i.AppendJSON(nil))
		if err != nil || !again.Equal(i) || again.Size() != i.Size() {
			t.Errorf("%s is written as %s (%v)", text, i.AppendJSON(nil), err)
		}
	})
}

func FuzzNumbers(f *testing.F) {
	f.Add("1", "-2.5e3")
	f.Add("1e-130", "9.9e125")
	f.Fuzz(func(t *testing.T, a, b string) {
		v, ok := attr.Number(a)
		w, ok2 := attr.Number(b)
		if e := strings.IndexAny(a, "eE"); !ok || !ok2 || e >= 0 && len(a)-e > 5 { // big.Rat is slow with 0e999999
			return
		}
		x, y := rat(t, v.Text()), rat(t, w.Text())
		if exact := rat(t, a); exact.Cmp(x) != 0 {
			t.Errorf("%s is %s", a, v.Text())
		}
		if order, _ := v.Compare(w); sign(order) != x.Cmp(y) {
			t.Errorf("%s to %s is %d", a, b, order)
		}
		if order := bytes.Compare(v.AppendKey(nil), w.AppendKey(nil)); order != x.Cmp(y) {
			t.Errorf("the keys of %s and %s are in the wrong order", a, b)
		}
		if sum, problem := v.Add(w, false); problem == "" && rat(t, sum.Text()).Cmp(x.Add(x, y)) != 0 {
			t.Errorf("%s + %s is %s", a, b, sum.Text())
		}
	})
}

func rat(t *testing.T, s string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	return r
}
