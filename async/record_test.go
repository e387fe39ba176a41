package async

import (
	"testing"
	"time"
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
	} {
		if got := string(appendRecord(nil, c.o)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
