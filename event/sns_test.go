package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/fixtures"
)

func TestDeliveriesOfSNSBecomeTheDocumentOfAWS(t *testing.T) {
	t.Parallel()
	documents := map[string]any{}
	for _, name := range []string{"aws-lambda-go/sns-event.json", "aws-lambda-developer-guide-docs/with-sns-01.json", "powertools-python/snsEvent.json"} {
		var v any
		if err := json.Unmarshal(fixtures.Read(t, name), &v); err != nil {
			t.Fatal(err)
		}
		documents[name] = v
	}
	for name, sns := range recordedSNS(t) {
		documents[name] = map[string]any{"Records": []any{map[string]any{
			"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:aws:sns:x", "Sns": sns,
		}}}
	}
	if len(documents) != 6 {
		t.Errorf("%d documents", len(documents))
	}
	for name, want := range documents {
		record := want.(map[string]any)["Records"].([]any)[0].(map[string]any)
		m, err := ParseSNS(delivery(t, record["Sns"].(map[string]any)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got any
		if err := json.Unmarshal(AppendSNS(nil, &m, record["EventSubscriptionArn"].(string)), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// recordedSNS is what functions got of real topics: with signatures of both versions, and without a subject.
func recordedSNS(t *testing.T) map[string]map[string]any {
	t.Helper()
	type record struct{ Sns map[string]any }
	var tests map[string]struct {
		Content struct {
			Notification map[string]any
			Messages     struct {
				Messages []struct {
					Body struct{ Message struct{ Records []record } }
				}
			}
		} `json:"recorded-content"`
	}
	text := fixtures.Read(t, "localstack-snapshots/test_sns.snapshot.json")
	// The recordings differ in shape from test to test; those of interest here are decoded one by one.
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	const prefix = "tests/aws/services/sns/test_sns.py::TestSNSSubscriptionLambda::"
	pick := map[string]json.RawMessage{}
	for _, name := range []string{"test_publish_lambda_verify_signature[1]", "test_publish_lambda_verify_signature[2]", "test_sns_topic_as_lambda_dead_letter_queue"} {
		pick[name] = all[prefix+name]
	}
	picked, err := json.Marshal(pick)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(picked, &tests); err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]any{}
	for name, test := range tests {
		sns := test.Content.Notification
		if sns == nil {
			sns = test.Content.Messages.Messages[0].Body.Message.Records[0].Sns
			sns["Message"] = fmt.Sprint(sns["Message"]) // the recording shows a JSON text as what it says
		}
		found[name] = sns
	}
	return found
}

// What real topics posted to an HTTP endpoint: to subscribe, with a notification that has neither subject nor
// attributes, and at the end of the subscription.
func TestRecordedPostsOfSNSAreRead(t *testing.T) {
	t.Parallel()
	var recordings map[string]struct {
		Content map[string]json.RawMessage `json:"recorded-content"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/test_sns.snapshot.json"), &recordings); err != nil {
		t.Fatal(err)
	}
	const name = "tests/aws/services/sns/test_sns.py::TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint[False]"
	posts := recordings[name].Content
	for step, kind := range map[string]string{
		"subscription-confirmation": SNSSubscribe, "http-message": SNSNotification, "unsubscribe-request": SNSUnsubscribe,
	} {
		m, err := ParseSNS(posts[step])
		if err != nil || m.Type != kind {
			t.Errorf("%s: %+v, %v", step, m, err)
			continue
		}
		if kind != SNSNotification {
			if m.SubscribeURL == "" || m.Token == "" {
				t.Errorf("%s: %+v has no way to confirm", step, m)
			}
			continue
		}
		var want map[string]any
		if err := json.Unmarshal(posts[step], &want); err != nil {
			t.Fatal(err)
		}
		want["SigningCertUrl"], want["UnsubscribeUrl"] = want["SigningCertURL"], want["UnsubscribeURL"]
		delete(want, "SigningCertURL")
		delete(want, "UnsubscribeURL")
		want["Subject"], want["MessageAttributes"] = nil, map[string]any{}
		var got struct {
			Records []struct{ Sns map[string]any }
		}
		if err := json.Unmarshal(AppendSNS(nil, &m, "arn"), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got.Records[0].Sns); d != "" {
			t.Errorf("%s (-want +got):\n%s", step, d)
		}
	}
}

// delivery spells a record's message as HTTP(S) deliveries do: without what is unset, and with URL for Url.
func delivery(t *testing.T, sns map[string]any) []byte {
	t.Helper()
	post := map[string]any{}
	for name, v := range sns {
		if attributes, ok := v.(map[string]any); v == nil || ok && len(attributes) == 0 {
			continue
		}
		if kind, ok := strings.CutSuffix(name, "Url"); ok {
			name = kind + "URL"
		}
		post[name] = v
	}
	text, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheDocumentOfANotification(t *testing.T) {
	t.Parallel()
	m, err := ParseSNS([]byte(`{"Type":"Notification","MessageId":"id","TopicArn":"arn:aws:sns:us-east-1:123456789012:t","Subject":"s \"q\"",
		"Message":"line\nline","Timestamp":"2012-05-02T00:54:06.655Z","SignatureVersion":"2","Signature":"c2ln","SigningCertURL":"https://c",
		"UnsubscribeURL":"https://u?a=b&c=d","MessageAttributes":{"z":{"Type":"Binary","Value":"AAEC"},"a":{"Type":"Number","Value":"1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":"arn:sub","Sns":{"Type":"Notification","MessageId":"id",` +
		`"TopicArn":"arn:aws:sns:us-east-1:123456789012:t","Subject":"s \"q\"","Message":"line\nline","Timestamp":"2012-05-02T00:54:06.655Z","SignatureVersion":"2",` +
		`"Signature":"c2ln","SigningCertUrl":"https://c","UnsubscribeUrl":"https://u?a=b&c=d","MessageAttributes":{"a":{"Type":"Number","Value":"1"},"z":{"Type":"Binary","Value":"AAEC"}}}}]}`
	if got := string(AppendSNS(nil, &m, "arn:sub")); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	const signed = "Message\nline\nline\nMessageId\nid\nSubject\ns \"q\"\nTimestamp\n2012-05-02T00:54:06.655Z\nTopicArn\narn:aws:sns:us-east-1:123456789012:t\nType\nNotification\n"
	if got := string(m.AppendSigned(nil)); got != signed {
		t.Errorf("signed: %q, want %q", got, signed)
	}
	m.Subject = ""
	if got := string(m.AppendSigned(nil)); got != strings.Replace(signed, "Subject\ns \"q\"\n", "", 1) {
		t.Errorf("signed without subject: %q", got)
	}
	m = SNSMessage{Type: SNSSubscribe, Message: "m", MessageID: "i", SubscribeURL: "u", Timestamp: "t", Token: "k", TopicARN: "a"}
	if got := string(m.AppendSigned(nil)); got != "Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\na\nType\nSubscriptionConfirmation\n" {
		t.Errorf("signed confirmation: %q", got)
	}
}

func TestABadMessageOfSNSIsRefusedWithOneClearError(t *testing.T) {
	t.Parallel()
	for post, want := range map[string]string{
		"":                        "reading an SNS message: the body is empty",
		"hello":                   "reading an SNS message: the body is not JSON: byte 1: invalid character 'h' looking for beginning of value",
		"{}":                      `this is not a message of SNS: it has no "Type"`,
		`{"Type":"Other"}`:        `reading an SNS message: Type is "Other", want Notification, SubscriptionConfirmation or UnsubscribeConfirmation`,
		`{"Type":"Notification"}`: "reading an SNS message: MessageId is missing",
		`{"Type":"Notification","MessageId":"i"}`:                            "reading an SNS message: TopicArn is missing",
		`{"Type":"Notification","MessageId":"i","TopicArn":"a"}`:             "reading an SNS message: Timestamp is missing",
		`{"Type":"Notification","MessageId":"i","TopicArn":"a","Message":1}`: "reading an SNS message: Message is a JSON number, want string",
	} {
		if m, err := ParseSNS([]byte(post)); err == nil || err.Error() != want {
			t.Errorf("%s: %+v, %v; want %s", post, m, err, want)
		}
	}
}

// What is read, written and read again is the same.
func FuzzParseSNS(f *testing.F) {
	f.Add([]byte(`{"Type":"Notification","MessageId":"id","TopicArn":"arn","Message":"m","Timestamp":"t","MessageAttributes":{"a":{"Type":"String","Value":"b"}}}`))
	f.Add([]byte(`{"Type":"SubscriptionConfirmation","MessageId":"id","TopicArn":"arn","Timestamp":"t","SubscribeURL":"u","Token":"k"}`))
	f.Fuzz(func(t *testing.T, post []byte) {
		m, err := ParseSNS(post)
		if err != nil || m.Type != SNSNotification {
			return
		}
		var doc struct {
			Records []struct{ Sns map[string]any }
		}
		if err := json.Unmarshal(AppendSNS(nil, &m, "arn"), &doc); err != nil {
			t.Fatal(err)
		}
		m.SubscribeURL, m.Token = "", "" // not of a notification
		again, err := ParseSNS(delivery(t, doc.Records[0].Sns))
		if d := cmp.Diff(m, again); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}

func BenchmarkAppendSNS(b *testing.B) {
	m := SNSMessage{
		Type: SNSNotification, MessageID: "95df01b4-ee98-5cb9-9903-4c221d41eb5e", TopicARN: "arn:aws:sns:us-east-2:123456789012:sns-lambda",
		Subject: "TestInvoke", Message: strings.Repeat("the quick brown fox jumps over it; ", 30)[:1024], Timestamp: "2019-01-02T12:45:07.000Z",
		SignatureVersion: "1", Signature: strings.Repeat("tcc6faL2", 43),
		SigningCertURL: "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-ac565b8b1a6c5d002d285f9598aa1d9b.pem",
		UnsubscribeURL: "https://sns.us-east-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-2:123456789012:test-lambda:21be56ed-a058-49f5-8c98-aedd2564c486",
		Attributes:     []SNSAttribute{{"Test", "String", "TestString"}, {"TestBinary", "Binary", "TestBinary"}},
	}
	const subscription = "arn:aws:sns:us-east-2:123456789012:sns-lambda:21be56ed-a058-49f5-8c98-aedd2564c486"
	buf := AppendSNS(nil, &m, subscription)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSNS(buf[:0], &m, subscription)
	}
}
