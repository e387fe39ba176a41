package event

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var jsonDocuments = []string{
	`{}`, `[]`, ` [ ] `, `{"a":1,"b":[true,false,null,"x",-0.5e+10,{}]}`, "{\n\t\"a\" : [ 1 , 2 ]\r\n}", `"\"\\\/\b\f\n\r\t\u00Ff"`,
	`"é€😀 and more than eight bytes"`, `0`, `-0`, `10`, `1.5`, `1E5`, `1e-5`, `"` + strings.Repeat("plain ", 20) + `"`,
	``, ` `, `{`, `}`, `[1,]`, `{"a":1,}`, `{,}`, `[,1]`, `{"a"}`, `{"a":}`, `{a:1}`, `{1:1}`, `[1 2]`, `"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u12`,
	"\"a\tb\"", "\"\x00\"", "\"\x80\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"1234567\x1f\"", "\"12345678\x80\"", `tru`, `truex`, `nul`, `+1`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `--1`, `1 1`, `{}{}`,
	"\ufeff{}", `'a'`, `NaN`, `[`, `[[]`, strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
	strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000), strings.Repeat("[", 1<<20),
}

func checkValid(t *testing.T, doc []byte) {
	t.Helper()
	if got, want := ValidJSON(doc), json.Valid(doc) && utf8.Valid(doc); got != want {
		t.Errorf("ValidJSON(%.100q) = %v, want %v", doc, got, want)
	}
}

func TestValidJSONAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, d := range jsonDocuments {
		checkValid(t, []byte(d))
		if len(d) > 200 {
			continue
		}
		for i := range len(d) { // one byte changed or left out at each place
			for _, c := range []byte("\"\\{}[]:,0e.-x \x00\x80\xff") {
				changed := []byte(d)
				changed[i] = c
				checkValid(t, changed)
			}
			checkValid(t, []byte(d[:i]))
			checkValid(t, []byte(d[:i]+d[i+1:]))
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, d := range jsonDocuments[:40] {
		f.Add([]byte(d))
	}
	f.Fuzz(checkValid)
}

func BenchmarkValidJSON(b *testing.B) {
	for name, doc := range map[string]string{
		"event":  `{"Records":[` + strings.TrimSuffix(strings.Repeat(`{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183"},"n":[1,2.5,true,null]},`, 6), ",") + `]}`,
		"string": `"` + strings.Repeat("x", 1<<20) + `"`,
	} {
		data := []byte(doc)
		for impl, valid := range map[string]func([]byte) bool{"own": ValidJSON, "std": func(b []byte) bool { return json.Valid(b) && utf8.Valid(b) }} {
			b.Run(name+"/"+impl, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					if !valid(data) {
						b.Fatal("not valid")
					}
				}
			})
		}
	}
}
