package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/fixtures"
)

func TestScheduledEventIsWrittenAsEventBridgeDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 2, 23, 45, 987e6, time.FixedZone("CET", 3600))
	const id, account = "cdc73f9d-aea9-11e3-9d5a-835b769c0d9c", "123456789012"
	rule := ScheduledEvent(id, "arn:aws:events:us-east-2:123456789012:rule/my-schedule", account, "us-east-2", at)
	scheduler := SchedulerEvent(id, "arn:aws:scheduler:us-east-2:123456789012:schedule/default/my-schedule", account, "us-east-2", at)
	for _, c := range []struct {
		name  string
		event EventBridge
		want  string
	}{
		{"of a rule", rule, `{"version":"0","id":"cdc73f9d-aea9-11e3-9d5a-835b769c0d9c","detail-type":"Scheduled Event",` +
			`"source":"aws.events","account":"123456789012","time":"2026-03-01T01:23:45Z","region":"us-east-2",` +
			`"resources":["arn:aws:events:us-east-2:123456789012:rule/my-schedule"],"detail":{}}`},
		{"of a scheduler", scheduler, `{"version":"0","id":"cdc73f9d-aea9-11e3-9d5a-835b769c0d9c","detail-type":"Scheduled Event",` +
			`"source":"aws.scheduler","account":"123456789012","time":"2026-03-01T01:23:45Z","region":"us-east-2",` +
			`"resources":["arn:aws:scheduler:us-east-2:123456789012:schedule/default/my-schedule"],"detail":"{}"}`},
		{"replayed, without resources", EventBridge{ID: "1", DetailType: `a "b"`, Source: "c", Account: account, Region: "r", Time: at, ReplayName: "again", Detail: []byte(`{"k":1.50}`)},
			`{"version":"0","id":"1","detail-type":"a \"b\"","source":"c","account":"123456789012","time":"2026-03-01T01:23:45Z",` +
				`"region":"r","replay-name":"again","resources":[],"detail":{"k":1.50}}`},
	} {
		if got := AppendEventBridge(nil, &c.event); string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Every sample of an event of the bus, taken apart and put together again, is the same document.
func TestEventBridgeSamplesComeBack(t *testing.T) {
	t.Parallel()
	samples := 0
	for line := range strings.Lines(string(fixtures.Read(t, "INDEX.tsv"))) {
		file, kind, _ := strings.Cut(line, "\t")
		kind, _, _ = strings.Cut(kind, "\t")
		if kind != "eventbridge" && kind != "eventbridge-s3" && kind != "eventbridge-scheduled" {
			continue
		}
		samples++
		var sample struct {
			ID         string
			DetailType string `json:"detail-type"`
			Source     string
			Account    string
			Region     string
			Time       time.Time
			Resources  []string
			Detail     json.RawMessage
			ReplayName string `json:"replay-name"`
		}
		data := bytes.TrimPrefix(fixtures.Read(t, file), []byte("\ufeff"))
		if err := json.Unmarshal(data, &sample); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := AppendEventBridge(nil, &EventBridge{
			ID: sample.ID, DetailType: sample.DetailType, Source: sample.Source, Account: sample.Account, Region: sample.Region,
			Time: sample.Time, Resources: sample.Resources, Detail: sample.Detail, ReplayName: sample.ReplayName,
		})
		want, have := map[string]any{"version": "0"}, map[string]any{} // some samples leave the version out
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &have); err != nil {
			t.Errorf("%s: %v: %s", file, err, got)
		}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s:\n got %s\nwant %s", file, got, data)
		}
	}
	if samples < 30 {
		t.Errorf("only %d samples found", samples)
	}
}

// The keys of a recorded event are in the order in which it was sent.
func TestEventBridgeKeysHaveTheRecordedOrder(t *testing.T) {
	t.Parallel()
	var snapshot map[string]struct {
		Recorded struct {
			Message []struct{ Body json.RawMessage }
		} `json:"recorded-content"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/test_events_schedule.snapshot.json"), &snapshot); err != nil {
		t.Fatal(err)
	}
	recorded := snapshot["tests/aws/services/events/test_events_schedule.py::TestScheduleCron::test_schedule_cron_target_sqs"].Recorded.Message
	if len(recorded) != 1 {
		t.Fatalf("%d recorded events", len(recorded))
	}
	e := ScheduledEvent("", "", "", "", time.Time{})
	got, want := keys(t, AppendEventBridge(nil, &e)), keys(t, recorded[0].Body)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys %q, recorded %q", got, want)
	}
}

func keys(t *testing.T, document []byte) []string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(document))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}
