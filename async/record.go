package async

import (
	"strings"
	"time"

	"github.com/millrace/millrace/event"
)

// outcome is what an invocation record tells.
type outcome struct {
	ev        *Event
	condition string
	invokes   int
	last      *Response // nil if the function never ran
	at        time.Time
}

// appendRecord appends the invocation record, version 1.0, of AWS Lambda
// (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html). The documents of both
// sides are embedded as they are; an answer that is not JSON is embedded as a string.
func appendRecord(dst []byte, o outcome) []byte {
	dst = append(dst, `{"version":"1.0","timestamp":`...)
	dst = event.AppendTime(dst, o.at)
	dst = append(dst, `,"requestContext":{"requestId":`...)
	dst = event.AppendString(dst, o.ev.ID)
	dst = append(dst, `,"functionArn":`...)
	dst = event.AppendString(dst, qualified(o.ev.ARN))
	dst = append(dst, `,"condition":`...)
	dst = event.AppendString(dst, o.condition)
	dst = append(dst, `,"approximateInvokeCount":`...)
	dst = event.AppendInt(dst, int64(o.invokes))
	dst = append(dst, `},"requestPayload":`...)
	dst = append(dst, o.ev.Payload...)
	if o.last != nil {
		version := o.last.Version
		if version == "" {
			version = latest
		}
		dst = append(dst, `,"responseContext":{"statusCode":200,"executedVersion":`...)
		dst = event.AppendString(dst, version)
		if o.last.Failed {
			dst = append(dst, `,"functionError":"Unhandled"`...)
		}
		dst = append(dst, `},"responsePayload":`...)
		if event.ValidJSON(o.last.Payload) {
			dst = append(dst, o.last.Payload...)
		} else {
			dst = event.AppendBytes(dst, o.last.Payload)
		}
	}
	return append(dst, '}')
}

const latest = "$LATEST"

// qualified adds the qualifier that a record's ARN always has: arn:aws:lambda:region:account:function:name
// has seven parts without one.
func qualified(arn string) string {
	if strings.HasPrefix(arn, "arn:") && strings.Count(arn, ":") == 6 {
		return arn + ":" + latest
	}
	return arn
}
