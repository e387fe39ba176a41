package async

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/fixtures"
)

func TestRecordIsWrittenExactly(t *testing.T) {
	t.Parallel()
	ev := &Event{ID: "e4b46cbf-b738-4880-8880-a18cdf61200e", ARN: "arn:aws:lambda:us-east-2:123456789012:function:my-function", Payload: []byte(`{"n": 12345678901234567890.0}`)}
	at := time.Date(2025, 11, 24, 23, 14, 10, 120_000_000, time.FixedZone("", 3600))
	for _, c := range []struct {
		name string
		o    outcome
		want string
	}{
		{
			"success", outcome{ev, Success, 1, &Response{Payload: []byte(`"ok"`), Version: "3"}, at},
			`{"version":"1.0","timestamp":"2025-11-24T22:14:10.120Z","requestContext":{"requestId":"e4b46cbf-b738-4880-8880-a18cdf61200e",` +
				`"functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST","condition":"Success","approximateInvokeCount":1},` +
				`"requestPayload":{"n": 12345678901234567890.0},"responseContext":{"statusCode":200,"executedVersion":"3"},"responsePayload":"ok"}`,
		},
		{
			"failure", outcome{ev, RetriesExhausted, 3, &Response{Payload: []byte(`{"errorType":"E"}`), Failed: true}, at},
			`{"version":"1.0","timestamp":"2025-11-24T22:14:10.120Z","requestContext":{"requestId":"e4b46cbf-b738-4880-8880-a18cdf61200e",` +
				`"functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST","condition":"RetriesExhausted","approximateInvokeCount":3},` +
				`"requestPayload":{"n": 12345678901234567890.0},"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},` +
				`"responsePayload":{"errorType":"E"}}`,
		},
		{
			"no run", outcome{ev, ZeroConcurrency, 0, nil, at},
			`{"version":"1.0","timestamp":"2025-11-24T22:14:10.120Z","requestContext":{"requestId":"e4b46cbf-b738-4880-8880-a18cdf61200e",` +
				`"functionArn":"arn:aws:lambda:us-east-2:123456789012:function:my-function:$LATEST","condition":"ZeroReservedConcurrency","approximateInvokeCount":0},` +
				`"requestPayload":{"n": 12345678901234567890.0}}`,
		},
		{
			"an answer that is not JSON", outcome{&Event{ID: "1", ARN: "arn:aws:lambda:r:1:function:f:live", Payload: []byte(`1`)}, Success, 1, &Response{Payload: []byte("a\n\"b")}, at},
			`{"version":"1.0","timestamp":"2025-11-24T22:14:10.120Z","requestContext":{"requestId":"1","functionArn":"arn:aws:lambda:r:1:function:f:live",` +
				`"condition":"Success","approximateInvokeCount":1},"requestPayload":1,"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},` +
				`"responsePayload":"a\n\"b"}`,
		},
		{
			"an answer that is not UTF-8", outcome{&Event{ID: "1", ARN: "arn:aws:lambda:r:1:function:f:live", Payload: []byte(`1`)}, Success, 1, &Response{Payload: []byte("\"\xff\"")}, at},
			`{"version":"1.0","timestamp":"2025-11-24T22:14:10.120Z","requestContext":{"requestId":"1","functionArn":"arn:aws:lambda:r:1:function:f:live",` +
				`"condition":"Success","approximateInvokeCount":1},"requestPayload":1,"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},` +
				"\"responsePayload\":\"\\\"\ufffd\\\"\"}",
		},
	} {
		if got := string(appendRecord(nil, c.o)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// What real destinations got (LocalStack's recordings), made again from what each record says.
func TestRecordsAreThoseThatAWSSends(t *testing.T) {
	t.Parallel()
	type messages struct {
		Messages []struct{ Body json.RawMessage }
	}
	var recordings map[string]struct {
		Content map[string]json.RawMessage `json:"recorded-content"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/test_lambda_destinations.snapshot.json"), &recordings); err != nil {
		t.Fatal(err)
	}
	const file = "tests/aws/services/lambda_/test_lambda_destinations.py::TestLambdaDestinationSqs::"
	for test, step := range map[string]string{
		"test_assess_lambda_destination_invocation[Success-payload0]": "receive_message_result",
		"test_assess_lambda_destination_invocation[payload0]":         "receive_message_result",
		"test_assess_lambda_destination_invocation[payload1]":         "receive_message_result",
		"test_lambda_destination_default_retries":                     "receive_message_result",
		"test_retries": "queue_destination_payload",
	} {
		var got messages
		if err := json.Unmarshal(recordings[file+test].Content[step], &got); err != nil || len(got.Messages) == 0 {
			t.Fatalf("no recording of %s: %v", test, err)
		}
		body := got.Messages[0].Body
		var says struct {
			RequestContext struct {
				RequestID, FunctionArn, Condition string
				ApproximateInvokeCount            int
			}
			RequestPayload  json.RawMessage
			ResponseContext struct{ ExecutedVersion, FunctionError string }
			ResponsePayload json.RawMessage
		}
		if err := json.Unmarshal(body, &says); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2025, 11, 24, 23, 14, 10, 0, time.UTC)
		record := appendRecord(nil, outcome{
			&Event{ID: says.RequestContext.RequestID, ARN: says.RequestContext.FunctionArn, Payload: says.RequestPayload},
			says.RequestContext.Condition, says.RequestContext.ApproximateInvokeCount,
			&Response{Payload: says.ResponsePayload, Version: says.ResponseContext.ExecutedVersion, Failed: says.ResponseContext.FunctionError != ""}, at,
		})
		var want, have map[string]any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		want["timestamp"] = "2025-11-24T23:14:10.000Z" // the recording hides it
		if err := json.Unmarshal(record, &have); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s (-recorded +ours):\n%s", test, d)
		}
	}
}
