package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/fixtures"
)

// command is the event of the recordings, with white space that AWS takes away.
func command(t *testing.T, detail []byte) []byte {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, detail, "", "  "); err != nil {
		t.Fatal(err)
	}
	return []byte(`{"version":"0","id":"2d0f3b3e","detail-type":"core.update-account-command",` +
		`"source":"core.update-account-command","account":"111111111111","time":"2026-11-24T10:00:00Z",` +
		`"region":"us-east-1","resources":[],"detail":` + indented.String() + `}`)
}

func TestTransformCorpus(t *testing.T) {
	t.Parallel()
	var file struct {
		Cases []struct {
			ID       string            `json:"id"`
			Detail   json.RawMessage   `json:"detail"`
			Path     string            `json:"input_path"`
			Paths    map[string]string `json:"input_paths_map"`
			Template string            `json:"input_template"`
			Body     json.RawMessage   `json:"expected_body_text"`
			Expected string            `json:"expected"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/eventbridge-input-transformer.json"), &file); err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for _, test := range file.Cases {
		if test.Detail == nil {
			continue // of PutTargets
		}
		replayed++
		t.Run(test.ID, func(t *testing.T) {
			doc := command(t, test.Detail)
			if test.Path != "" {
				p, err := ParsePath(test.Path)
				if err != nil {
					t.Fatal(err)
				}
				got, found, err := p.Append(nil, doc)
				if err != nil || !found {
					t.Fatalf("Append = %s, %t, %v", got, found, err)
				}
				equalBody(t, got, test.Body)
				return
			}
			tr, err := NewTransformer(test.Paths, test.Template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tr.Append(nil, Source{
				Event: doc, RuleARN: "arn:<partition>:events:<region>:111111111111:rule/<bus-name>/<rule-name>",
				RuleName: "<rule-name>", Ingestion: time.Date(2026, 11, 24, 10, 0, 0, 5, time.UTC),
			})
			if strings.HasPrefix(test.Expected, "nothing is delivered") {
				if !errors.Is(err, ErrNotJSON) || len(got) > 0 {
					t.Errorf("Append = %s, %v; AWS delivers nothing", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.Body == nil {
				originals(t, got, doc)
				return
			}
			equalBody(t, got, test.Body)
		})
	}
	if replayed < 17 {
		t.Errorf("%d cases: the corpus is not all here", replayed)
	}
}

func originals(t *testing.T, got, doc []byte) {
	t.Helper()
	var delivered struct{ OriginalEvent, OriginalEventJSON json.RawMessage }
	if err := json.Unmarshal(got, &delivered); err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := json.Compact(&whole, doc); err != nil {
		t.Fatal(err)
	}
	if string(delivered.OriginalEventJSON) != whole.String() {
		t.Errorf("aws.events.event.json is %s", delivered.OriginalEventJSON)
	}
	want := `{"id":"2d0f3b3e","account":"111111111111","detailType":"core.update-account-command",` +
		`"time":"2026-11-24T10:00:00Z","source":"core.update-account-command","region":"us-east-1","resources":[],"version":"0"}`
	if string(delivered.OriginalEvent) != want {
		t.Errorf("aws.events.event is\n%s, want\n%s", delivered.OriginalEvent, want)
	}
}

// equalBody compares texts if the recording is one, else JSON values.
func equalBody(t *testing.T, got []byte, want json.RawMessage) {
	t.Helper()
	var text string
	if err := json.Unmarshal(want, &text); err == nil {
		text = strings.NewReplacer("<event time>", "2026-11-24T10:00:00Z", "<ingestion time>", "2026-11-24T10:00:00Z").Replace(text)
		if string(got) != text {
			t.Errorf("got  %s\nwant %s", got, text)
		}
		return
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal(want, &b)); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTransformer(t *testing.T) {
	t.Parallel()
	doc := []byte(`{"detail-type":"T","n":null,"s":"say \"hi\" to C:\\","e":"\u00e9","list":[1,"two",{"three":3}],"o":{"a":"x y"},"i":1.50}`)
	tests := map[string]struct {
		paths          map[string]string
		template, want string
		err            error
	}{
		"a string in a JSON template":           {map[string]string{"s": "$.s"}, `{"a": <s>, "b": "<s>!"}`, `{"a": "say \"hi\" to C:\\", "b": "say \"hi\" to C:\\!"}`, nil},
		"escapes stay as they are":              {map[string]string{"e": "$.e"}, `{"a":<e>}`, `{"a":"\u00e9"}`, nil},
		"number, null and the text of a number": {map[string]string{"n": "$.n", "i": "$.i"}, `{"a":<i>,"b":<n>,"c":"<i> <n>"}`, `{"a":1.50,"b":null,"c":"1.50 null"}`, nil},
		"a path that leads nowhere":             {map[string]string{"x": "$.none.x"}, `{"a":<x>,"b":"<x>"}`, `{"a":"","b":""}`, nil},
		"a list of numbers in quotes is JSON":   {map[string]string{"x": "$.list[0]", "y": "$.list"}, `{"a":"<x>","b":<y>}`, `{"a":"1","b":[1,"two",{"three":3}]}`, nil},
		"an object in quotes is not":            {map[string]string{"o": "$.o"}, `{"a":"<o>"}`, "", ErrNotJSON},
		"text loses quotes at every level":      {map[string]string{"y": "$.list", "o": "$.o"}, `"<y> <o>"`, `"[1,two,{three:3}] {a:x y}"`, nil},
		"escaped quotes around a variable":      {map[string]string{"t": "$.detail-type"}, `"is \"<t>\"\n"`, `"is \"T\"\n"`, nil},
		"a variable alone":                      {map[string]string{"o": "$.o"}, `<o>`, `{"a":"x y"}`, nil},
		"a template without variables":          {nil, `{"constant": [1, 2]}`, `{"constant": [1, 2]}`, nil},
		"less-than that is no variable":         {nil, `"1 < 2 <> <no name>"`, `"1 < 2 <> <no name>"`, nil},
		"the rule":                              {nil, `{"r":<aws.events.rule-name>,"a":"<aws.events.rule-arn>","t":<aws.events.event.ingestion-time>}`, `{"r":"r","a":"arn:r","t":"2026-11-24T10:00:00Z"}`, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, err := NewTransformer(test.paths, test.template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tr.Append([]byte("before"), Source{
				Event: doc, RuleName: "r", RuleARN: "arn:r", Ingestion: time.Date(2026, 11, 24, 11, 0, 0, 0, time.FixedZone("", 3600)),
			})
			if !errors.Is(err, test.err) || string(got) != "before"+test.want {
				t.Errorf("got  %s, %v\nwant before%s, %v", got, err, test.want, test.err)
			}
			if _, err := tr.Append(nil, Source{Event: []byte("{")}); !errors.Is(err, ErrSyntax) {
				t.Errorf("an event that is not JSON: %v", err)
			}
		})
	}
}

func TestTransformerRefuses(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"k": "$.k"}
	for template, want := range map[string]string{
		`"<k> <other>"`:                 "InputTemplate for target t1 contains invalid placeholder other.",
		`"<aws.events.other>"`:          "InputTemplate for target t1 contains invalid placeholder aws.events.other.",
		`[<aws.events.event.json>]`:     "InputTemplate for target t1 contains placeholder aws.events.event.json valid only for JSON template.",
		`"<aws.events.event.json>"`:     "InputTemplate for target t1 contains placeholder aws.events.event.json valid only for JSON template.",
		`text without quotes`:           "Invalid InputTemplate for target t1 : ",
		`<k> is in state`:               "Invalid InputTemplate for target t1 : ",
		`{"a": <k>`:                     "Invalid InputTemplate for target t1 : ",
		`{"a": <k>} {}`:                 "Invalid InputTemplate for target t1 : ",
		`{<k>: 1}`:                      "Invalid InputTemplate for target t1 : ",
		`{"a": {"b <k> \" é <k>" : 1}}`: "Invalid InputTemplate for target t1 : ",
		`<k><k>`:                        "Invalid InputTemplate for target t1 : ",
		``:                              "Invalid InputTemplate for target t1 : ",
	} {
		_, err := NewTransformer(paths, template)
		refusal, ok := errors.AsType[*InputError](err)
		if !ok || !strings.HasPrefix(refusal.For("t1"), want) {
			t.Errorf("NewTransformer(%s) = %v, want %s", template, err, want)
		}
	}
	for _, template := range []string{`{"a <k>": "b"}`, `{"<k>":1}`} {
		if _, err := NewTransformer(paths, template); err == nil {
			t.Errorf("NewTransformer(%s) takes a variable in a name", template)
		}
	}
	if _, err := NewTransformer(paths, `{"a": "<k>", "b": ["<k>: <k>", 1], "c<": "x"}`); err != nil {
		t.Errorf("variables in values: %v", err)
	}
	_, err := NewTransformer(map[string]string{"k": "detail"}, `"<k>"`)
	if refusal, ok := errors.AsType[*InputError](err); !ok || refusal.For("t1") != "InputPath for target t1 is invalid." {
		t.Errorf("a path without $: %v", err)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	doc := []byte(`{"a": {"b-c": [1, {"d_e": "x"}, [ ]], "b": 1, "b": 2, "/f": null}, "é": true,
		"list": [{"x": 1}, {"y": 2}, {"x": {"z": 3}}], "\u0041": "escaped"}`)
	for path, want := range map[string]string{
		"$.a.b":          "2",
		"$.a.b-c":        `[1,{"d_e":"x"},[]]`,
		"$.a.b-c[0]":     "1",
		"$.a.b-c[1].d_e": `"x"`,
		"$.a.b-c[-1]":    "[]",
		"$.a.b-c[ 2 ]":   "[]",
		"$.a.b-c[3]":     "",
		"$.a.b-c[-4]":    "",
		"$.a./f":         "null",
		"$.é":            "true",
		"$.A":            `"escaped"`,
		"$.none":         "",
		"$.a.b.c":        "",
		"$.list.x":       "",
		"$.a[0]":         "",
		"$.list[*].x":    `[1,{"z":3}]`,
		"$.list[*]":      `[{"x":1},{"y":2},{"x":{"z":3}}]`,
		"$.list[*].none": "[]",
		"$.list[2].*":    `[{"z":3}]`,
		"$.*[0].x":       "[1]",
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Errorf("ParsePath(%s): %v", path, err)
			continue
		}
		got, found, err := p.Append(nil, doc)
		if err != nil || string(got) != want || found != (want != "") {
			t.Errorf("%s: %s, %t, %v; want %s", path, got, found, err, want)
		}
	}
	if p, err := ParsePath("$"); err != nil {
		t.Error(err)
	} else if got, _, _ := p.Append(nil, []byte(" [ 1 , \" \" ] ")); string(got) != `[1," "]` {
		t.Errorf("$: %s", got)
	}
	for _, path := range []string{"", "a", ".a", "$a", "$.", "$..a", "$.a.", "$.a['b']", `$.a["b"]`, "$.a[", "$.a[x]", "$.a[0:1]",
		"$.a[?(@.b)]", "$.a b", "$.a[0,1]", "$.a[]", "$.a.length()"} {
		if _, err := ParsePath(path); err == nil {
			t.Errorf("ParsePath(%s) takes it", path)
		}
	}
}

func FuzzTransformer(f *testing.F) {
	f.Add(`{"a": <k>, "b": "<k> <aws.events.rule-name>"}`, "$.detail.a[*]", []byte(`{"detail":{"a":[1,"b",{"c":null}]}}`))
	f.Add("\"<k>\"\n\"<k>\"", "$", []byte(objectCreated))
	f.Add(`{"e":<aws.events.event>,"j":<aws.events.event.json>}`, "$.x", []byte(stateChange))
	f.Fuzz(func(t *testing.T, template, path string, doc []byte) {
		tr, err := NewTransformer(map[string]string{"k": path}, template)
		if err != nil {
			if _, ok := errors.AsType[*InputError](err); !ok {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		got, err := tr.Append(nil, Source{Event: doc, RuleName: "r"})
		switch {
		case err == nil && tr.json && !json.Valid(got):
			t.Errorf("%q is not JSON", got)
		case err == nil && !tr.json && !values(got):
			t.Errorf("%q is not values", got)
		case errors.Is(err, ErrSyntax) && event.ValidJSON(doc):
			t.Errorf("%q is JSON", doc)
		}
	})
}
