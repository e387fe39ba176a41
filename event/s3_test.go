package event

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/fixtures"
)

// The posts of versitygw were recorded from version 1.8.0; those of MinIO are written after its source.
func TestPostsOfStoresBecomeTheDocumentOfAWS(t *testing.T) {
	t.Parallel()
	posts, err := filepath.Glob("testdata/s3/*.json")
	if err != nil || len(posts) == 0 {
		t.Fatalf("%d posts, %v", len(posts), err)
	}
	for _, name := range posts {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			post, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			records, err := ParseS3(post, S3Auto)
			if err != nil {
				t.Fatal(err)
			}
			got := string(AppendS3(nil, records)) + "\n"
			golden := strings.TrimSuffix(name, ".json") + ".golden"
			if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" { // the flag of http_test.go
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("\ngot  %s\nwant %s", got, want)
			}
		})
	}
}

func TestDocumentsOfAWSComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"powertools-python/s3Event.json",
		"powertools-python/s3EventDeleteObject.json",
		"powertools-python/s3EventGlacier.json",
		"powertools-typescript/parser/s3/base.json",
		"powertools-typescript/parser/s3/s3-lifecycle-event.json",
	} {
		roundTrip(t, name, fixtures.Read(t, name))
	}
}

// The recordings hold single records, with placeholders for what changes from run to run.
func TestRecordingsOfAWSComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	var tests map[string]struct {
		Content map[string]json.RawMessage `json:"recorded-content"`
	}
	text := string(fixtures.Read(t, "localstack-snapshots/test_s3_notifications_sqs.snapshot.json"))
	text = strings.NewReplacer(`"date"`, `"2025-01-21T23:31:40.000Z"`, "<object-key:1>", "key-1", "<object-key:2>", "key-2").Replace(text)
	if err := json.Unmarshal([]byte(text), &tests); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, test := range tests {
		for step, content := range test.Content {
			var got struct{ Messages []json.RawMessage }
			if json.Unmarshal(content, &got) != nil {
				continue // not what a queue received
			}
			for _, m := range got.Messages {
				var record struct{ EventName string }
				if err := json.Unmarshal(m, &record); err != nil {
					t.Fatal(err)
				}
				if record.EventName == "" {
					continue // the whole message of the queue
				}
				seen[record.EventName] = true
				roundTrip(t, name+" "+step, fmt.Appendf(nil, `{"Records":[%s]}`, m))
			}
		}
	}
	want := []string{"ObjectAcl:Put", "ObjectCreated:Copy", "ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectRestore:Completed", "ObjectRestore:Post", "ObjectTagging:Put"}
	if have := slices.Sorted(maps.Keys(seen)); !slices.Equal(have, want) {
		t.Errorf("checked %q, want %q", have, want)
	}
}

func roundTrip(t *testing.T, name string, document []byte) {
	t.Helper()
	records, err := ParseS3(document, S3AWS)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	var got, want any
	if err := json.Unmarshal(AppendS3(nil, records), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(document, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestAnObjectHasTheFieldsOfItsEvent(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"ObjectCreated:Put":                    "2.1 key size eTag versionId sequencer",
		"ObjectCreated:Copy":                   "2.1 key size eTag versionId sequencer",
		"ObjectRemoved:Delete":                 "2.1 key versionId sequencer",
		"ObjectRemoved:DeleteMarkerCreated":    "2.1 key eTag versionId sequencer",
		"ObjectRestore:Completed":              "2.1 key size eTag versionId sequencer",
		"ObjectTagging:Put":                    "2.3 key eTag versionId",
		"ObjectAcl:Put":                        "2.3 key eTag versionId",
		"LifecycleExpiration:Delete":           "2.3 key versionId sequencer",
		"LifecycleTransition":                  "2.3 key size eTag versionId sequencer",
		"IntelligentTiering":                   "2.3 key size eTag versionId sequencer",
		"Replication:OperationMissedThreshold": "2.2 key size eTag versionId sequencer",
		"ObjectAccessed:Get":                   "2.1 key size eTag versionId sequencer",
	} {
		r := fullS3Record()
		r.Name = name
		var doc struct {
			Records []struct {
				EventVersion string
				S3           struct{ Object map[string]any }
			}
		}
		if err := json.Unmarshal(AppendS3(nil, []S3Record{r}), &doc); err != nil {
			t.Fatal(err)
		}
		got := doc.Records[0].EventVersion
		for _, f := range []string{"key", "size", "eTag", "versionId", "sequencer"} {
			if _, ok := doc.Records[0].S3.Object[f]; ok {
				got += " " + f
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestKeysAreEncodedAsS3Does(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"a@b":                "a%40b",
		"dir/Happy Face.jpg": "dir/Happy+Face.jpg",
		"1+1=2%":             "1%2B1%3D2%25",
		"Grüße":              "Gr%C3%BC%C3%9Fe",
		"a*b-c_d.e~f":        "a*b-c_d.e%7Ef",
		"\"\\\n\xff":         "%22%5C%0A%FF",
	} {
		if got := string(appendS3Key(nil, key)); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
}

func TestAKeyIsReadAsItsStoreWritesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		vendor            S3Vendor
		source, key, want string
	}{
		{S3Auto, "aws:s3", "a+b%2Fc", "a b/c"},
		{S3Auto, "minio:s3", "a%2Fb+c", "a/b c"},
		{S3Versity, "aws:s3", "a+b%2Fc", "a+b%2Fc"},
		{S3AWS, "minio:s3", "100%", "100%"}, // no valid encoding, so it is no encoding
		{S3AWS, "aws:s3", "a%252Fb", "a%2Fb"},
	} {
		post := fmt.Sprintf(`{"Records":[{"eventName":"ObjectCreated:Put","eventSource":%q,"s3":{"bucket":{"name":"b"},"object":{"key":%q}}}]}`, c.source, c.key)
		records, err := ParseS3([]byte(post), c.vendor)
		if err != nil || records[0].Key != c.want {
			t.Errorf("%+v: %+v, %v", c, records, err)
		}
	}
}

func TestABadPostIsRefusedWithOneClearError(t *testing.T) {
	t.Parallel()
	for post, want := range map[string]string{
		"":                                       "reading an S3 notification: the body is empty",
		"{":                                      "reading an S3 notification: the body is not JSON: byte 1: unexpected end of JSON input",
		"[]":                                     "reading an S3 notification: the body is a JSON array, not an object",
		"{}":                                     `this is not a notification of S3: it has no "Records"`,
		`{"Type":"Notification","Message":"{}"}`: "this is a message of SNS, not a notification of S3; use a trigger of kind sns",
		`{"detail-type":"Object Created"}`:       "this is an event of EventBridge, not a notification of S3; send the bucket's notifications instead",
		`{"Records":[{}]}`:                       "reading an S3 notification: Records[0].eventName is missing",
		`{"Records":[{"eventName":"ObjectCreated:Put"}]}`:                                                                          "reading an S3 notification: Records[0].s3.bucket.name is missing",
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"}}}]}`:                                             "reading an S3 notification: Records[0].s3.object.key is missing",
		`{"Records":[{"eventName":"ObjectCreated:Put","eventTime":"noon","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`:     `reading an S3 notification: Records[0].eventTime is "noon", not a time such as 2006-01-02T15:04:05.000Z`,
		`{"Records":[{"eventName":"ObjectCreated:Put","glacierEventData":[1],"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`: "reading an S3 notification: Records[0].glacierEventData is not an object",
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","size":"big"}}}]}`:           "reading an S3 notification: Records.s3.object.size is a JSON string, want int64",
		`{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","size":-1}}}]}`:              "reading an S3 notification: Records[0].s3.object.size is -1",
	} {
		records, err := ParseS3([]byte(post), S3Auto)
		if err == nil {
			t.Errorf("%s was read as %+v", post, records)
		} else if err.Error() != want {
			t.Errorf("%s:\ngot  %s\nwant %s", post, err, want)
		}
	}
}

func TestSequencersOrderTimesAsText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 5, 44, 20, 999_999_999, time.UTC)
	if got := S3Sequencer(at); got != fmt.Sprintf("%010X%08X", at.Unix(), at.Nanosecond()) {
		t.Errorf("sequencer %s", got)
	}
	for _, d := range []time.Duration{1, time.Second, 24 * time.Hour} {
		if a, b := S3Sequencer(at), S3Sequencer(at.Add(d)); a >= b {
			t.Errorf("%s is not before %s", a, b)
		}
	}
}

func TestEventPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern S3EventPattern
		name    string
		want    bool
	}{
		{"s3:ObjectCreated:*", "ObjectCreated:Put", true},
		{"s3:ObjectCreated:*", "ObjectRemoved:Delete", false},
		{"s3:ObjectCreated:Put", "ObjectCreated:Put", true},
		{"s3:ObjectCreated:Put", "ObjectCreated:Post", false},
		{"s3:LifecycleTransition", "LifecycleTransition", true},
		{"s3:BucketCreated:*", "BucketCreated:*", true},
	} {
		if err := c.pattern.Validate(); err != nil {
			t.Error(err)
		}
		if got := c.pattern.Match(c.name); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.name, got)
		}
	}
	for p, want := range map[S3EventPattern]string{
		"ObjectCreated:*":          "write one such as",
		"s3:*":                     "write one such as",
		"s3:ObjectCreated:Putt":    "write s3:ObjectCreated:* or one of Put, Post,",
		"s3:ObjectCreated":         "write s3:ObjectCreated:* or one of",
		"s3:LifecycleTransition:x": "write s3:LifecycleTransition",
	} {
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// What is read, written and read again is the same.
func FuzzParseS3(f *testing.F) {
	posts, err := filepath.Glob("testdata/s3/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range posts {
		post, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(post)
	}
	f.Add(AppendS3(nil, []S3Record{fullS3Record()}))
	f.Fuzz(func(t *testing.T, post []byte) {
		records, err := ParseS3(post, S3Auto)
		if err != nil || len(records) == 0 {
			return
		}
		document := AppendS3(nil, records)
		if !json.Valid(document) {
			t.Fatalf("not JSON: %s", document)
		}
		if y := records[0].Time.UTC().Year(); y < 0 || y > 9999 {
			return // RFC 3339 ends there
		}
		again, err := ParseS3(document, S3AWS)
		if err != nil {
			t.Fatalf("%s: %v", document, err)
		}
		if second := AppendS3(nil, again); string(second) != string(document) {
			t.Fatalf("%s\nreads back as\n%s", document, second)
		}
	})
}

func BenchmarkAppendS3(b *testing.B) {
	records := make([]S3Record, 100)
	for i := range records {
		records[i] = fullS3Record()
		records[i].Key = strings.Repeat("directory/", 24) + "report 2026-11.csv"
	}
	buf := AppendS3(nil, records)
	b.ReportMetric(float64(len(buf))/float64(len(records)), "B/record")
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendS3(buf[:0], records)
	}
}

func BenchmarkParseS3(b *testing.B) {
	document := AppendS3(nil, []S3Record{fullS3Record()})
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseS3(document, S3Auto); err != nil {
			b.Fatal(err)
		}
	}
}

func fullS3Record() S3Record {
	return S3Record{
		Name: "ObjectCreated:Put", Region: "us-east-2", Time: time.Date(2019, 9, 3, 19, 37, 27, 192e6, time.UTC),
		PrincipalID: "AWS:AIDAINPONIXQXHT3IKHL2", SourceIP: "205.255.255.255", RequestID: "D82B88E5F771F645",
		HostID:          "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=",
		ConfigurationID: "828aa6fc-f7b5-4305-8584-487c791949c1", Bucket: "lambda-artifacts-deafc19498e3f2df",
		BucketOwner: "A3I5XTEXAMAI3E", Key: "in/a b.txt", Size: 1305107, ETag: "b21b84d653bb07b05b1e6b33684dc11b",
		VersionID: "096fKKXTRTtl3on89fVO.nfljtsv6qko", Sequencer: "0C0F6F405D6ED209E1",
	}
}
