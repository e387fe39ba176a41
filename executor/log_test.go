package executor_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
)

func TestReportIsLambdasLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, want string
		response   executor.Response
	}{
		{
			"a warm run",
			"END RequestId: id\nREPORT RequestId: id\tDuration: 123.45 ms\tBilled Duration: 124 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n",
			executor.Response{Duration: 123450 * time.Microsecond, MaxMemory: 36 << 20},
		},
		{
			"a cold start is billed", // the figures of AWS's own sample
			"END RequestId: id\nREPORT RequestId: id\tDuration: 3004.92 ms\tBilled Duration: 3117 ms\tMemory Size: 128 MB\tMax Memory Used: 2 MB\tInit Duration: 111.23 ms\t\n",
			executor.Response{Duration: 3004920 * time.Microsecond, Init: 111230 * time.Microsecond, MaxMemory: 1<<20 + 1},
		},
		{
			"a timeout",
			"END RequestId: id\nREPORT RequestId: id\tDuration: 1000.00 ms\tBilled Duration: 1000 ms\tMemory Size: 128 MB\tMax Memory Used: 0 MB\tStatus: timeout\n",
			executor.Response{Duration: time.Second, Failure: executor.TimedOut("id", time.Second).Failure},
		},
		{
			"a crash",
			"END RequestId: id\nREPORT RequestId: id\tDuration: 0.00 ms\tBilled Duration: 0 ms\tMemory Size: 128 MB\tMax Memory Used: 0 MB\tStatus: error\tError Type: Runtime.ExitError\n",
			executor.Response{Failure: executor.Exited("id", "").Failure},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := string(executor.AppendReport(nil, "id", 128<<20, &tc.response)); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
	if got := string(executor.AppendStart(nil, "id", "$LATEST")); got != "START RequestId: id Version: $LATEST\n" {
		t.Errorf("start %q", got)
	}
}

// The documents are those recorded from AWS.
func TestPlatformFailuresAreAWSDocuments(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		response executor.Response
		want     string
	}{
		{executor.TimedOut("id", time.Second), `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: id Error: Task timed out after 1.00 seconds"}`},
		{executor.TimedOut("id", 1500*time.Millisecond), `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: id Error: Task timed out after 1.50 seconds"}`},
		{executor.Exited("id", ""), `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: id Error: Runtime exited without providing a reason"}`},
		{executor.Exited("id", "exit status 127"), `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: id Error: Runtime exited with error: exit status 127"}`},
		{executor.Exited("id", `a "quoted" <reason>`), `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: id Error: Runtime exited with error: a \"quoted\" <reason>"}`},
		{executor.Failed(`A"B`, "no <b>"), `{"errorType":"A\"B","errorMessage":"no <b>"}`},
		{executor.ResponseTooLarge(), `{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}`},
	} {
		if got := string(tc.response.Payload); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		if got := executor.ParseFailure(tc.response.Payload); *got != *tc.response.Failure {
			t.Errorf("%s is read as %+v, want %+v", tc.want, got, tc.response.Failure)
		}
	}
	for _, other := range []string{"", "{", "[]", `{"errorType":1}`, `"text"`} {
		if got := executor.ParseFailure([]byte(other)); *got != (executor.Failure{}) {
			t.Errorf("%s is read as %+v", other, got)
		}
	}
}
