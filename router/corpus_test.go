package router

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tailscale/hujson"

	"github.com/millrace/millrace/internal/fixtures"
)

// matches compiles and matches, alone and in a set.
func matches(t *testing.T, d Dialect, pattern, doc []byte) bool {
	t.Helper()
	p, err := Compile(pattern, d)
	if err != nil {
		t.Fatalf("Compile(%s): %v", pattern, err)
	}
	match, err := p.Match(doc)
	if err != nil {
		t.Fatalf("Match(%s): %v", doc, err)
	}
	got, err := NewSet(p, p).Match(nil, doc)
	if err != nil {
		t.Fatalf("Set.Match(%s): %v", doc, err)
	}
	if (len(got) == 2) != match {
		t.Errorf("a pattern alone matches: %t, in a set: %v", match, got)
	}
	return match
}

func recorded(t *testing.T, file string) map[string]any {
	t.Helper()
	var tests map[string]struct {
		Content map[string]any `json:"recorded-content"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/"+file), &tests); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for name, test := range tests {
		for key, value := range test.Content {
			if _, ok := all[key]; ok || key == "invalid-pattern" {
				key = name + " " + key
			}
			all[key] = value
		}
	}
	return all
}

// text finds a string below a value of the recording.
func text(v any, path ...string) string {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

var recordedSource = regexp.MustCompile(`(?s)\[Source: \(String\)"(.*?)"; line: \d+, column: \d+\]`)

// TestEventPatternCorpus replays what TestEventPattern answered.
func TestEventPatternCorpus(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fixtures.Dir(t), "localstack-event-patterns")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	answers := recorded(t, "test_events_patterns.snapshot.json")
	cases, messages := 0, 0
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".json5")
		if name == file.Name() {
			continue
		}
		cases++
		t.Run(name, func(t *testing.T) {
			data, err := hujson.Standardize(fixtures.Read(t, "localstack-event-patterns/"+file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var test struct{ Event, EventPattern json.RawMessage }
			if err := json.Unmarshal(data, &test); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_EXC") {
				if got, want := matches(t, EventBridge, test.EventPattern, test.Event), !strings.HasSuffix(name, "_NEG"); got != want {
					t.Errorf("match %t, AWS %t", got, want)
				}
				return
			}
			messages++
			message := text(answers[name], "exception_message", "Error", "MessageRaw")
			pattern := test.EventPattern
			if sent := recordedSource.FindStringSubmatch(message); sent != nil {
				pattern = json.RawMessage(sent[1])
			}
			refused(t, EventBridge, pattern, message)
		})
	}
	if cases < 90 || messages < 20 {
		t.Errorf("%d cases and %d refusals: the corpus is not all here", cases, messages)
	}
	t.Run("complex_multi_key", func(t *testing.T) {
		pattern := fixtures.Read(t, "localstack-event-patterns/complex_multi_key_event_pattern.json")
		if !matches(t, EventBridge, pattern, fixtures.Read(t, "localstack-event-patterns/complex_multi_key_event.json")) {
			t.Error("no match, AWS matches")
		}
	})
	for name, answer := range answers {
		if !strings.HasSuffix(name, "invalid-pattern") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			message := text(answer, "Error", "Message")
			sent := recordedSource.FindStringSubmatch(message)
			if sent == nil {
				t.Fatalf("no source in %q", message)
			}
			refused(t, EventBridge, []byte(sent[1]), message)
		})
	}
}

func refused(t *testing.T, d Dialect, pattern []byte, message string) {
	t.Helper()
	_, err := Compile(pattern, d)
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok {
		t.Fatalf("Compile(%s) = %v, AWS refuses with %q", pattern, err, message)
	}
	got := invalid.Error()
	if d.sns() {
		got = invalid.Policy(strings.HasPrefix(message, "Invalid parameter: Attributes"))
	}
	if got != message {
		t.Errorf("refusal of %s:\n got %q\n AWS %q", pattern, got, message)
	}
}

func TestEventPatternsOfTestCode(t *testing.T) {
	t.Parallel()
	var file struct {
		Cases []struct {
			ID          string          `json:"id"`
			Pattern     json.RawMessage `json:"pattern"`
			PatternText string          `json:"pattern_text"`
			Event       json.RawMessage `json:"event"`
			Result      *bool           `json:"result"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/event-patterns-extra.json"), &file); err != nil {
		t.Fatal(err)
	}
	large := fixtures.Read(t, "localstack-payloads/events-large_complex_payload.json")
	for _, test := range file.Cases {
		t.Run(test.ID, func(t *testing.T) {
			switch {
			case test.Result != nil:
				doc := []byte(test.Event)
				if string(doc) == `"large_payload"` {
					doc = large
				}
				if got := matches(t, EventBridge, test.Pattern, doc); got != *test.Result {
					t.Errorf("match %t, AWS %t", got, *test.Result)
				}
			case test.PatternText != "":
				if _, err := Compile([]byte(test.PatternText), EventBridge); err == nil {
					t.Error("compiled, AWS refuses it")
				}
			}
		})
	}
}

func TestFilterPolicyCorpus(t *testing.T) {
	t.Parallel()
	var file struct {
		Cases []struct {
			ID       string            `json:"id"`
			Scope    string            `json:"scope"`
			Policy   json.RawMessage   `json:"policy"`
			Valid    *bool             `json:"valid"`
			Snapshot string            `json:"snapshot_key"`
			Match    []json.RawMessage `json:"matching"`
			NoMatch  []json.RawMessage `json:"not_matching"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/sns-filter-policy.json"), &file); err != nil {
		t.Fatal(err)
	}
	answers := recorded(t, "test_sns_filter_policy.snapshot.json")
	for _, test := range file.Cases {
		t.Run(test.ID, func(t *testing.T) {
			d := SNSBody
			if test.Scope == "MessageAttributes" {
				d = SNSAttributes
			}
			if test.Valid != nil {
				_, err := Compile(test.Policy, d)
				if (err == nil) != *test.Valid {
					t.Errorf("Compile = %v, valid on AWS: %t", err, *test.Valid)
				}
				if test.Snapshot != "" && answers[test.Snapshot] == nil {
					t.Errorf("no recording of %s", test.Snapshot)
				}
			}
			p, err := Compile(test.Policy, d)
			if err != nil {
				return
			}
			for want, docs := range map[bool][]json.RawMessage{true: test.Match, false: test.NoMatch} {
				for _, doc := range docs {
					if d == SNSAttributes {
						doc = attributes(t, doc)
					}
					got, err := p.Match(doc)
					if err != nil {
						t.Errorf("Match(%s): %v", doc, err)
					}
					if got != want {
						t.Errorf("match of %s: %t, AWS %t", doc, got, want)
					}
				}
			}
		})
	}
}

func attributes(t *testing.T, doc []byte) []byte {
	t.Helper()
	var attrs map[string]struct{ DataType, StringValue string }
	if err := json.Unmarshal(doc, &attrs); err != nil {
		t.Fatal(err)
	}
	built := []byte("{")
	for name, a := range attrs {
		built = AppendAttribute(built, name, a.DataType, a.StringValue)
	}
	return append(built, '}')
}

// TestFilterPolicyRefusals replays the messages of SNS, whose patterns are in the messages where they have a
// position.
func TestFilterPolicyRefusals(t *testing.T) {
	t.Parallel()
	others := map[string]string{
		"error-condition-bad-cidr-str":         `{"key":[{"cidr":"bad-filter"}]}`,
		"error-condition-bad-cidr-str-slash-2": `{"key":[{"cidr":"bad-/64filter"}]}`,
		"error-condition-bad-cidr-v4":          `{"key":[{"cidr":"xx.11.xx/8"}]}`,
		"error-condition-bad-cidr-v6":          `{"key":[{"cidr":"xxxx:db8:1234:1a00::/64"}]}`,
		"error-complexity-or-flat": `{"source":["a","b","c","d"],"$or":[{"metricName":[1,2,3,4,5,6]},` +
			`{"metricType":[1,2,3,4],"$or":[{"metricId":[1,2,3,4]},{"spaceId":[1,2,3,4]}]}]}`,
		"error-complexity-or-nested": `{"$or":[{"metricName":[1,2,3]},{"namespace":[1,2]}],` +
			`"detail":{"scope":[1,2],"$or":[{"source":[1]},{"type":[1,2,3]}]}}`,
		"sub-filter-policy-nested-error": `{"object":{"key":[1]}}`,
		"sub-filter-policy-nested-error-too-many-combinations": `{"key_a":{"key_b":{"key_c":[1,2,3,4]}},` +
			`"key_d":{"key_e":[1,2,3]},"key_f":[1,2,3]}`,
		"sub-filter-policy-max-attr-keys": `{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}`,
		"sub-attrs-filter-scope-error":    "", // of the scope
	}
	n := 0
	for name, answer := range recorded(t, "test_sns_filter_policy.snapshot.json") {
		message := text(answer, "Error", "Message")
		if message == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			pattern, ok := others[name]
			if sent := recordedSource.FindStringSubmatch(message); sent != nil {
				pattern, ok = sent[1], true
			}
			if !ok {
				t.Fatalf("which policy has %q?", message)
			}
			if pattern == "" {
				return
			}
			d := SNSBody
			if strings.Contains(message, "nested") {
				d = SNSAttributes
			}
			n++
			refused(t, d, []byte(pattern), message)
		})
	}
	if n < 35 {
		t.Errorf("%d refusals: the recording is not all here", n)
	}
	_, err := Compile([]byte(`{"source":["a","b","c"],"$or":[{"metricName":[1,2,3,4,5,6]},`+
		`{"metricType":[1,2,3,4],"$or":[{"metricId":[1,2,3,4]},{"spaceId":[1,2,3,4]}]}]}`), SNSAttributes)
	if err != nil {
		t.Errorf("114 combinations: %v", err)
	}
}

func TestMappingFilterCorpus(t *testing.T) {
	t.Parallel()
	t.Run("sqs", func(t *testing.T) {
		t.Parallel()
		var file struct {
			Cases []struct {
				ID         string          `json:"id"`
				Filter     json.RawMessage `json:"filter"`
				Match      json.RawMessage `json:"matching"`
				NoMatch    json.RawMessage `json:"not_matching"`
				Unverified bool            `json:"unverified"`
			} `json:"cases"`
		}
		if err := json.Unmarshal(fixtures.Read(t, "transcribed/esm-filter-sqs.json"), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Cases {
			if test.Unverified {
				continue
			}
			record := func(body json.RawMessage) []byte {
				return append(append([]byte(`{"messageId":"1","body":`), body...), '}')
			}
			if !matches(t, Lambda, test.Filter, record(test.Match)) {
				t.Errorf("%s: %s does not match", test.ID, test.Match)
			}
			if matches(t, Lambda, test.Filter, record(test.NoMatch)) {
				t.Errorf("%s: %s matches", test.ID, test.NoMatch)
			}
		}
	})
	t.Run("kinesis", func(t *testing.T) {
		t.Parallel()
		var file struct {
			Cases []struct {
				ID       string            `json:"id"`
				Filter   json.RawMessage   `json:"filter"`
				Records  []json.RawMessage `json:"records"`
				Expected []bool            `json:"expected"`
				Text     string            `json:"pattern_text"`
			} `json:"cases"`
		}
		if err := json.Unmarshal(fixtures.Read(t, "transcribed/esm-filter-kinesis-and-invalid.json"), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Cases {
			if test.Text != "" {
				_, err := Compile([]byte(test.Text), Lambda)
				if err == nil || err.Error() != "Invalid filter pattern definition." {
					t.Errorf("%s: Compile = %v", test.ID, err)
				}
			}
			for i, record := range test.Records {
				doc := append(append([]byte(`{"partitionKey":"1","data":`), record...), '}')
				if got := matches(t, Lambda, test.Filter, doc); got != test.Expected[i] {
					t.Errorf("%s: match of %s: %t, AWS %t", test.ID, record, got, test.Expected[i])
				}
			}
		}
	})
	t.Run("dynamodb", func(t *testing.T) {
		t.Parallel()
		var file struct {
			Cases []struct {
				ID     string            `json:"id"`
				Put    []json.RawMessage `json:"put"`
				Filter json.RawMessage   `json:"filter"`
				Calls  int               `json:"expected_calls"`
			} `json:"cases"`
		}
		if err := json.Unmarshal(fixtures.Read(t, "transcribed/esm-filter-dynamodb.json"), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Cases {
			seen := map[string]string{}
			calls := 0
			for _, item := range test.Put {
				var key struct{ ID json.RawMessage }
				if err := json.Unmarshal(item, &key); err != nil {
					t.Fatal(err)
				}
				name := "INSERT"
				if old, ok := seen[string(key.ID)]; ok {
					name = "MODIFY"
					if old == string(item) {
						continue // no record
					}
				}
				seen[string(key.ID)] = string(item)
				doc := `{"eventName":"` + name + `","eventSource":"aws:dynamodb","dynamodb":{"NewImage":` + string(item) + `}}`
				if matches(t, Lambda, test.Filter, []byte(doc)) {
					calls++
				}
			}
			if calls != test.Calls {
				t.Errorf("%s: %d matches, AWS called %d times", test.ID, calls, test.Calls)
			}
		}
	})
}
