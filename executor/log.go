package executor

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// AppendStart appends the line that Lambda writes to a function's log before an invocation.
func AppendStart(dst []byte, requestID, version string) []byte {
	dst = append(dst, "START RequestId: "...)
	dst = append(dst, requestID...)
	dst = append(dst, " Version: "...)
	dst = append(dst, version...)
	return append(dst, '\n')
}

// AppendReport appends the lines END and REPORT that Lambda writes after an invocation, in the form of
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html: fields end with a tab, the
// billed time is whole milliseconds and includes a cold start. memory is the function's limit in bytes.
func AppendReport(dst []byte, requestID string, memory int64, r *Response) []byte {
	dst = append(dst, "END RequestId: "...)
	dst = append(dst, requestID...)
	dst = append(dst, "\nREPORT RequestId: "...)
	dst = append(dst, requestID...)
	dst = append(dst, "\tDuration: "...)
	dst = appendMillis(dst, r.Duration)
	dst = append(dst, "\tBilled Duration: "...)
	billed := math.Ceil(float64(r.Duration+r.Init) / float64(time.Millisecond))
	dst = strconv.AppendInt(dst, int64(billed), 10)
	dst = append(dst, " ms\tMemory Size: "...)
	dst = strconv.AppendInt(dst, memory>>20, 10)
	dst = append(dst, " MB\tMax Memory Used: "...)
	dst = strconv.AppendInt(dst, (r.MaxMemory+1<<20-1)>>20, 10)
	dst = append(dst, " MB\t"...)
	if r.Init > 0 {
		dst = append(dst, "Init Duration: "...)
		dst = appendMillis(dst, r.Init)
		dst = append(dst, '\t')
	}
	if f := r.Failure; f != nil {
		switch {
		case f.Type == TypeTimeout:
			dst = append(dst, "Status: timeout"...)
		case strings.HasPrefix(f.Type, "Runtime."):
			dst = append(dst, "Status: error\tError Type: "...)
			dst = append(dst, f.Type...)
		}
	}
	return append(dst, '\n')
}

func appendMillis(dst []byte, d time.Duration) []byte {
	dst = strconv.AppendFloat(dst, float64(d)/float64(time.Millisecond), 'f', 2, 64)
	return append(dst, " ms"...)
}
