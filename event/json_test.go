package event

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendStringIsJSON(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "plain", `a "quoted" \ text`, "tab\tnl\ncr\rbs\bff\fnul\x00del\x7f\x1f", "<>&\u2028\u2029", "Grüße ☕ 𝄞", "bad \xff\xc3 utf8",
		strings.Repeat("12345678", 5) + `"`, "1234567\"", "1234567\\", "1234567\x1f", "1234567\x80", "!#[]~", strings.Repeat("é", 9),
	} {
		checkString(t, s)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a \"b\" \x00 ☕ \xff 12345678")
	f.Fuzz(func(t *testing.T, s string) { checkString(t, s) })
}

func checkString(t *testing.T, s string) {
	t.Helper()
	got := AppendString(nil, s)
	var back string
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatalf("AppendString(%q) = %s: %v", s, got, err)
	}
	want, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var std string
	if err := json.Unmarshal(want, &std); err != nil {
		t.Fatal(err)
	}
	if back != std || utf8.ValidString(s) && back != s {
		t.Errorf("AppendString(%q) reads back as %q, want %q", s, back, std)
	}
}

func BenchmarkAppendBytes(b *testing.B) {
	text := []byte(strings.Repeat("the quick brown fox jumps over it; ", 30))
	buf := make([]byte, 0, 2*len(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendBytes(buf[:0], text)
	}
}
