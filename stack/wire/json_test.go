package wire

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestJSONReadsAndWritesEveryKindOfMember(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		want       all
		back       string // what is written of it; "" is body
	}{
		{"nothing", "", all{}, "{}"},
		{"blanks", " \r\n", all{}, "{}"},
		{"empty", "{}", all{}, ""},
		{"nulls", `{"Text":null,"Maybe":null,"At":null,"Until":null,"List":null,"Map":null,"Nested":null,"Blob":null}`, all{}, "{}"},
		{"scalars", `{"Text":"a\u00e9","Maybe":"","Number":-5,"Small":7,"Real":0.5,"Flag":true,"Choice":false}`,
			all{Text: "aé", Maybe: ptr(""), Number: -5, Small: ptr[int32](7), Real: 0.5, Flag: true, Choice: ptr(false)},
			`{"Text":"aé","Maybe":"","Number":-5,"Small":7,"Real":0.5,"Flag":true,"Choice":false}`},
		{"blob", `{"Blob":"AP/+"}`, all{Blob: []byte{0, 255, 254}}, ""},
		{"time", `{"At":1767355200.25,"Until":1.7673552e9}`, all{At: Time{noon}, Until: &Time{noon.Truncate(time.Second)}},
			`{"At":1767355200.25,"Until":1767355200}`},
		{"lists and maps", `{"List":["a",""],"Map":{"a":"1","b":"2"},"Batch":[{"Id":"x","More":[{"Count":1}]}]}`,
			all{List: []string{"a", ""}, Map: map[string]string{"a": "1", "b": "2"}, Batch: []nested{{ID: "x", More: []nested{{Count: 1}}}}}, ""},
		{"names are told apart by case, unknown ones ignored", `{"text":"a","TEXT":"b","Other":{"deep":[1,{"x":null}]}}`, all{}, "{}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got all
			if err := decodeJSON([]byte(c.body), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			var b bytes.Buffer
			if err := encodeJSON(&b, &got); err != nil {
				t.Fatal(err)
			}
			want := c.back
			if want == "" {
				want = c.body
			}
			if b.String() != want {
				t.Errorf("written as %s, want %s", b.String(), want)
			}
		})
	}
}

func TestJSONRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"x":`, 100_000)
	for _, c := range []struct{ body, says string }{
		{`{`, "not valid JSON"},
		{`{"Text":"a"} x`, "not valid JSON"},
		{`{"Text":"` + "\xff" + `"}`, "not valid JSON"},
		{`{"Other":` + deep, "not valid JSON"},
		{`[]`, "Start of list found where not expected"},
		{`"x"`, "can not be converted to Map"},
		{`{"Text":5}`, "NUMBER_VALUE can not be converted to String (at /Text)"},
		{`{"Text":true}`, "TRUE_VALUE can not be converted to String (at /Text)"},
		{`{"Text":{}}`, "Start of structure or map found where not expected. (at /Text)"},
		{`{"Text":[]}`, "Start of list found where not expected (at /Text)"},
		{`{"Small":"5"}`, "STRING_VALUE can not be converted to an Integer (at /Small)"},
		{`{"Small":2147483648}`, "NUMBER_VALUE can not be converted to an Integer (at /Small)"},
		{`{"Number":1.5}`, "NUMBER_VALUE can not be converted to a Long (at /Number)"},
		{`{"Flag":"true"}`, "STRING_VALUE can not be converted to Boolean (at /Flag)"},
		{`{"Blob":"%"}`, "(at /Blob)"},
		{`{"At":"2026-01-02T00:00:00Z"}`, "is not a timestamp"},
		{`{"At":1e300}`, "is not a timestamp"},
		{`{"Batch":[{},{"Count":"x"}]}`, "(at /Batch/1/Count)"},
		{`{"List":"a"}`, "can not be converted to List (at /List)"},
	} {
		err := decodeJSON([]byte(c.body), new(all))
		var e *Error
		if !errors.As(err, &e) || e.Code != "SerializationException" || !strings.Contains(e.Message, c.says) {
			t.Errorf("%.60s: %v, want a SerializationException with %q", c.body, err, c.says)
		}
	}
}

func TestTimeIsTheNearestMillisecond(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "1480641523.477": 1480641523477, "-1.5": -1500, "1e3": 1_000_000, "1607497475.0004": 1607497475000} {
		got, err := parseSeconds([]byte(text))
		if err != nil || got.UnixMilli() != want {
			t.Errorf("%s is %v, %v, want %d ms", text, got, err, want)
		}
		if back, err := parseSeconds(appendSeconds(nil, got)); err != nil || !back.Equal(got) {
			t.Errorf("%s comes back as %v, %v", text, back, err)
		}
	}
}

func TestJSONAnswers(t *testing.T) {
	t.Parallel()
	d := dispatcher(Service{Name: "sqs", Target: "AmazonSQS", JSONVersion: "1.0", ErrorSpace: "com.amazonaws.sqs#", QueryVersion: "2012-11-05",
		Operations: []Operation{
			echoes("Echo"),
			Op("Nothing", func(context.Context, *Request, *None) (*None, error) { return new(None), nil }),
			failing("Absent", &Error{Code: "QueueDoesNotExist", QueryCode: "AWS.Q", Message: "no queue"}),
			failing("Busy", &Error{Code: "Throttled", Status: 503, Members: map[string]any{"RetryAfter": 5}}),
			failing("Wrapped", errors.Join(errors.New("while doing it"), Errorf("Bad", "so %d", 1))),
			failing("Broken", errors.New("disk on fire")),
		}}, Service{Name: "kinesis", Target: "Kinesis_20131202", JSONVersion: "1.1", Operations: []Operation{failing("Absent", Errorf("ResourceNotFoundException", "no stream"))}})
	for _, c := range []struct {
		target, body string
		status       int
		want         string
		kind         string
		queryError   string
	}{
		{"AmazonSQS.Echo", `{"Text":"<&>"}`, 200, `{"Text":"<&>"}`, "application/x-amz-json-1.0", ""},
		{"AmazonSQS.Nothing", `{}`, 200, ``, "application/x-amz-json-1.0", ""},
		{"AmazonSQS.Echo", `{"Text":`, 400, `"__type":"com.amazonaws.sqs#SerializationException"`, "application/x-amz-json-1.0", "SerializationException;Sender"},
		{"AmazonSQS.Absent", ``, 400, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no queue"}`, "application/x-amz-json-1.0", "AWS.Q;Sender"},
		{"AmazonSQS.Busy", ``, 503, `{"RetryAfter":5,"__type":"com.amazonaws.sqs#Throttled"}`, "application/x-amz-json-1.0", "Throttled;Receiver"},
		{"AmazonSQS.Wrapped", ``, 400, `{"__type":"com.amazonaws.sqs#Bad","message":"so 1"}`, "application/x-amz-json-1.0", "Bad;Sender"},
		{"AmazonSQS.Broken", ``, 500, `{"__type":"com.amazonaws.sqs#InternalFailure","message":"disk on fire"}`, "application/x-amz-json-1.0", "InternalFailure;Receiver"},
		{"AmazonSQS.Other", ``, 400, `UnknownOperationException","message":"millrace's local stack does not have the operation Other of AmazonSQS."}`,
			"application/x-amz-json-1.0", "UnknownOperationException;Sender"},
		{"Kinesis_20131202.Absent", ``, 400, `{"__type":"ResourceNotFoundException","message":"no stream"}`, "application/x-amz-json-1.1", ""},
		{"Logs_20140328.PutLogEvents", ``, 400, `{"__type":"UnknownOperationException","message":"millrace's local stack does not have the operation PutLogEvents of Logs_20140328."}`,
			"application/x-amz-json-1.1", ""},
	} {
		got := send(t, d, "POST", "/", c.body, "X-Amz-Target", c.target)
		if got.status != c.status || !strings.Contains(got.body, c.want) || c.want == "" && got.body != "" ||
			got.header.Get("Content-Type") != c.kind || got.header.Get("X-Amzn-Query-Error") != c.queryError || got.header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: %d %s\n%v\nwant %d %s %s %q", c.target, got.status, got.body, got.header, c.status, c.want, c.kind, c.queryError)
		}
	}
}

type ownWriter struct{ Text string }

func (o *ownWriter) WriteJSON(b *bytes.Buffer) { b.WriteString(`{"own":"` + o.Text + `"}`) }

func TestAnOutputMayWriteItsOwnJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := encodeJSON(&b, &ownWriter{"x"}); err != nil || b.String() != `{"own":"x"}` {
		t.Errorf("%s, %v", b.String(), err)
	}
}

// FuzzJSON reads anything, and reads the same from what it has written of it.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"Text":"a","Number":1,"At":1.5,"Blob":"AAAA","Flag":true}`, `{"Batch":[{"Id":"x","More":[{"Tags":{"a":"b"}}]}]}`,
		`{"At":-62135596800}`, `{"Map":{"":""},"List":[null]}`, `{"Until":null}`, `{"At":1e11}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var in, again all
		if err := decodeJSON([]byte(body), &in); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		if math.Abs(float64(in.At.Unix())) > 1e11 || in.Until != nil && math.Abs(float64(in.Until.Unix())) > 1e11 {
			return // beyond what a float has milliseconds for
		}
		var b, c bytes.Buffer
		if err := encodeJSON(&b, &in); err != nil {
			t.Fatal(err)
		}
		if err := decodeJSON(b.Bytes(), &again); err != nil {
			t.Fatalf("%v in %s", err, b.String())
		}
		if err := encodeJSON(&c, &again); err != nil || c.String() != b.String() {
			t.Fatalf("%s, then %s (%v)", b.String(), c.String(), err)
		}
	})
}
