package router

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// maker makes patterns and documents that have something to do with each other: few names, few texts.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](m maker, from ...T) T { return from[m.IntN(len(from))] }

func (m maker) name() string {
	return pick(m, "a", "b", "c", "a.b", "", "é", "detail-type", "longer-name")
}

func (m maker) text() string {
	return pick(m, "", "a", "ab", "aba", "abab", "AB", "aB", "é", "É", "ſ", "S", "s", "x/dir/y", "10.0.0.1", "10.0.0.255",
		"2001:db8::1", "2001:0db8:0:0:0:0:0:1", "::ffff:a00:1", "1", "null", "true", "*", `\`, "a*b", "say \"hi\"",
		"a text that is longer than one word of eight bytes", "a text that is longer than one word of sixteen bytes")
}

func (m maker) number() string {
	return pick(m, "0", "-0", "1", "1.0", "1e0", "-1", "300", "300.0", "3e2", "0.1", "5", "9007199254740993",
		"123456789012345678901234567890", "1e400", "0.30000000000000004", "100000", "2.5")
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (m maker) list(n int, item func() string) string {
	items := make([]string, m.IntN(n)+1)
	for i := range items {
		items[i] = item()
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (m maker) operator() string {
	text := func() string { return quote(m.text()) }
	some := func() string {
		for {
			if s := m.text(); s != "" {
				return quote(s)
			}
		}
	}
	glob := func() string {
		return quote(pick(m, "*", "a*", "*b", "a*b", "a*a*", "*/dir/*", "ab", "", `\*`, "*b*", "é*"))
	}
	comparable := func() string { return pick(m, "0", "1", "300", "0.1", "-1", "2.5", "1e2") }
	oneOr := func(item func() string) string {
		if m.IntN(2) == 0 {
			return item()
		}
		return m.list(3, item)
	}
	switch m.IntN(22) {
	case 0, 1, 2:
		return text()
	case 3, 4:
		return m.number()
	case 5:
		return pick(m, "null", "true", "false")
	case 6:
		return `{"prefix":` + text() + `}`
	case 7:
		return `{"suffix":` + text() + `}`
	case 8:
		return `{"prefix":{"equals-ignore-case":` + text() + `}}`
	case 9:
		return `{"suffix":{"equals-ignore-case":` + text() + `}}`
	case 10:
		return `{"equals-ignore-case":` + text() + `}`
	case 11:
		return `{"wildcard":` + glob() + `}`
	case 12:
		return `{"exists":true}`
	case 13, 14:
		return `{"exists":false}`
	case 15:
		return pick(m, `{"numeric":["=",1]}`, `{"numeric":[">",0]}`, `{"numeric":[">=",1,"<",300]}`,
			`{"numeric":["<=",1e2]}`, `{"numeric":["<",-0.5]}`)
	case 16:
		return pick(m, `{"cidr":"10.0.0.0/24"}`, `{"cidr":"2001:db8::/32"}`, `{"cidr":"10.0.0.200/7"}`)
	case 17:
		return `{"anything-but":` + oneOr(text) + `}`
	case 18:
		return `{"anything-but":` + oneOr(comparable) + `}`
	case 19:
		return `{"anything-but":{"prefix":` + oneOr(some) + `}}`
	case 20:
		return `{"anything-but":{"` + pick(m, "suffix", "equals-ignore-case") + `":` + oneOr(some) + `}}`
	default:
		return `{"anything-but":{"wildcard":` + oneOr(glob) + `}}`
	}
}

func (m maker) pattern(depth int) string {
	var members []string
	used := map[string]bool{}
	for range m.IntN(3) + 1 {
		name := m.name()
		if used[name] {
			continue
		}
		used[name] = true
		switch n := m.IntN(8); {
		case n < 2 && depth < 3:
			members = append(members, quote(name)+":"+m.pattern(depth+1))
		case n == 2 && depth < 3 && !used["$or"]:
			used["$or"] = true
			members = append(members, `"$or":[`+m.pattern(depth+1)+","+m.pattern(depth+1)+"]")
		default:
			members = append(members, quote(name)+":"+m.list(3, m.operator))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (m maker) value(depth int) string {
	switch n := m.IntN(12); {
	case n < 3 && depth < 5:
		return m.object(depth + 1)
	case n < 6 && depth < 5:
		if m.IntN(8) == 0 {
			return "[ ]"
		}
		return m.list(3, func() string { return m.value(depth + 1) })
	case n < 8:
		return m.number()
	case n == 8:
		return pick(m, "null", "true", "false")
	case n == 9:
		return strings.ReplaceAll(quote(m.text()), "a", `\u0061`)
	default:
		return quote(m.text())
	}
}

func (m maker) object(depth int) string {
	members := make([]string, m.IntN(5))
	for i := range members {
		members[i] = quote(m.name()) + pick(m, ":", " : ") + m.value(depth)
	}
	return "{" + strings.Join(members, pick(m, ",", " ,\n")) + "}"
}

// compare matches documents against patterns, alone and as a set, with and without trying values of arrays one by
// one, and as the reference does.
func compare(t *testing.T, patterns []*Pattern, docs [][]byte) (found int) {
	t.Helper()
	set := NewSet(patterns...)
	impatient := set.newMatching()
	impatient.patience = -1 << 30
	for _, doc := range docs {
		var want []int
		valid := true
		for i, p := range patterns {
			match, ok := refMatch(p.rules, doc)
			if match {
				want = append(want, i)
			}
			got, err := p.Match(doc)
			if got != match || (err == nil) != ok {
				t.Errorf("pattern %s\ndocument %s\nmatch %t (%v), the reference %t (%t)", p, doc, got, err, match, ok)
			}
			valid = ok
		}
		got, err := set.Match(nil, doc)
		if !slices.Equal(got, want) || (err == nil) != valid {
			t.Errorf("document %s\nmatches %v (%v), the reference %v (%t)\npatterns %s", doc, got, err, want, valid, patterns)
		}
		if got, _ := impatient.match(nil, doc); !slices.Equal(got, want) {
			t.Errorf("document %s\nmatches %v by choosing, the reference %v\npatterns %s", doc, got, want, patterns)
		}
		found += len(want)
	}
	return found
}

func made(t *testing.T, seed uint64, patterns, docs int) ([]*Pattern, [][]byte) {
	t.Helper()
	m := newMaker(seed)
	var ps []*Pattern
	for len(ps) < patterns {
		text := m.pattern(0)
		p, err := Compile([]byte(text), EventBridge)
		if err != nil {
			t.Fatalf("Compile(%s): %v", text, err)
		}
		ps = append(ps, p)
	}
	var ds [][]byte
	for len(ds) < docs {
		ds = append(ds, []byte(m.object(0)))
	}
	return ps, ds
}

func TestMatchAsReference(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range uint64(600) {
		ps, ds := made(t, seed, 5, 6)
		found += compare(t, ps, ds)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if found < 1000 {
		t.Errorf("only %d matches: the documents have nothing to do with the patterns", found)
	}
	ps, ds := made(t, 12345, 350, 20) // more than fit in four words
	compare(t, ps, ds)
}

func FuzzMatchAsReference(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		ps, ds := made(t, seed, 4, 4)
		compare(t, ps, ds)
	})
}

func FuzzMatch(f *testing.F) {
	for seed := range uint64(50) {
		m := newMaker(seed)
		f.Add([]byte(m.pattern(0)), []byte(m.object(0)))
	}
	f.Add([]byte(`{"a":[{"numeric":[">",1]}]}`), []byte(`{"a":1e5,"b":[[[]]],"c":"\ud83d\ude00"}`))
	f.Fuzz(func(t *testing.T, pattern, doc []byte) {
		p, err := Compile(pattern, EventBridge)
		if err != nil {
			return
		}
		compare(t, []*Pattern{p}, [][]byte{doc})
	})
}

func FuzzCompile(f *testing.F) {
	for seed := range uint64(50) {
		f.Add([]byte(newMaker(seed).pattern(0)), byte(seed))
	}
	for _, text := range []string{`{"$or":[{"a":[1]}]}`, `{"a":{}}`, `{"a":[{"numeric":["<"`, "{\r\n\"a\"\n:\r [}", `{"\u00e9\ud83d":[1e999]}`} {
		f.Add([]byte(text), byte(0))
	}
	f.Fuzz(func(t *testing.T, pattern []byte, d byte) {
		dialect := Dialect(d % 4)
		p, err := Compile(pattern, dialect)
		if (p == nil) == (err == nil) {
			t.Fatalf("Compile = %v, %v", p, err)
		}
		if err == nil && !json.Valid(pattern) {
			t.Errorf("compiled what is not JSON: %q", pattern)
		}
		if err == nil && p.String() != string(pattern) {
			t.Errorf("String() = %q", p)
		}
		if err != nil && err.Error() == "" {
			t.Error("a refusal without a reason")
		}
		_ = fmt.Sprint(p)
	})
}
