package scheduler

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/wire"
)

// Targets are compiled or refused in Scheduler's form, and what is accepted of a universal one makes calls.
func FuzzTarget(f *testing.F) {
	for _, s := range [][2]string{
		{"arn:aws:sqs:us-east-1:000000000000:q", "x"}, {"arn:aws:lambda:us-east-1:000000000000:function:f", "{}"},
		{universalPrefix + "sqs:sendMessage", `{"QueueUrl":"http://127.0.0.1/000000000000/q","MessageBody":"m"}`},
		{universalPrefix + "sns:publish", `{"TopicArn":"arn:aws:sns:us-east-1:000000000000:t","Message":"m"}`},
		{universalPrefix + "lambda:invoke", `{"FunctionName":"arn:x","InvocationType":"Event"}`},
		{universalPrefix + "eventbridge:putEvents", `{"Entries":[{"Source":"s","DetailType":"t","Detail":"{}"}]}`},
		{universalPrefix + "eventbridge:putEvents", `{"Entries":[{"Source":"s","DetailType":"t","Detail":" "}]}`},
		{universalPrefix, "{}"}, {"", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, arn, input string) {
		target := &Target{Arn: &arn, Input: &input}
		k, err := target.compile("us-east-1")
		if err != nil {
			var refused *wire.Error
			if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Members["Message"] != refused.Message {
				t.Fatalf("%v", err)
			}
			return
		}
		if k != universal {
			return
		}
		calls, err := target.calls()
		if err != nil || len(calls) == 0 {
			t.Fatalf("%d calls, %v", len(calls), err)
		}
		x := &schedule{place: place{"000000000000", "us-east-1"}}
		for _, c := range calls {
			if !strings.HasPrefix(x.complete(c), "arn:") {
				t.Errorf("a call to %q", x.complete(c))
			}
		}
	})
}
