package sqs

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/wire"
)

func TestAnswersThatWriteThemselvesAreWhatMarshalWrites(t *testing.T) {
	t.Parallel()
	text := "a \"quoted\" text\n\u2028 <é> \x7f"
	message := receivedMessage{MessageID: "m", ReceiptHandle: "r+/=", MD5OfBody: "d", Body: text}
	full := message
	full.Attributes = map[string]string{"SentTimestamp": "1", "ApproximateReceiveCount": text, "SenderId": ""}
	full.MD5OfAttributes = "e"
	full.MessageAttributes = map[string]messageAttribute{"b": {DataType: "Binary", BinaryValue: []byte("x")}, "a": {DataType: "String", StringValue: &text}}
	failed := []failedEntry{{ID: text, SenderFault: true, Code: "C", Message: text}, {ID: "2", Code: "D"}}
	for name, out := range map[string]wire.JSONWriter{
		"nothing":          &receiveOutput{},
		"a message":        &receiveOutput{Messages: []receivedMessage{message}},
		"several":          &receiveOutput{Messages: []receivedMessage{message, full, message}},
		"sent":             &sendBatchOutput{Successful: []sendResult{{ID: text, MessageID: "m", MD5OfBody: "d"}, {ID: "2", MD5OfAttributes: "a", MD5OfSystemAttributes: "s", SequenceNumber: "1"}}},
		"sent and failed":  &sendBatchOutput{Successful: []sendResult{{ID: "1"}}, Failed: failed},
		"failed":           &sendBatchOutput{Failed: failed},
		"sent nothing":     &sendBatchOutput{},
		"deleted":          &deleteBatchOutput{Successful: []doneEntry{{ID: text}, {ID: "2"}}, Failed: failed[:1]},
		"deleted nothing":  &deleteBatchOutput{},
		"failed to delete": &deleteBatchOutput{Failed: failed},
	} {
		// Marshal must not find the method: a conversion to a type without it.
		var want []byte
		var err error
		switch o := out.(type) {
		case *receiveOutput:
			type plain receiveOutput
			want, err = json.Marshal((*plain)(o), json.Deterministic(true))
		case *sendBatchOutput:
			type plain sendBatchOutput
			want, err = json.Marshal((*plain)(o), json.Deterministic(true))
		case *deleteBatchOutput:
			type plain deleteBatchOutput
			want, err = json.Marshal((*plain)(o), json.Deterministic(true))
		}
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		out.WriteJSON(&got)
		var a, b any
		if json.Unmarshal(got.Bytes(), &a) != nil || json.Unmarshal(want, &b) != nil || !bytes.Equal(sorted(t, a), sorted(t, b)) {
			t.Errorf("%s:\n got %s\nwant %s", name, &got, want)
		}
	}
}

func sorted(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
