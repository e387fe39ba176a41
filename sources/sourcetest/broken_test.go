package sourcetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/sources/sourcetest"
)

// TestBroken is what TestSuiteFailsBrokenSources runs in a process of its own.
func TestBroken(t *testing.T) {
	sort, fault, ok := strings.Cut(os.Getenv("MILLRACE_BROKEN_SOURCE"), "/")
	if !ok {
		t.Skip("run by TestSuiteFailsBrokenSources")
	}
	upstream := hookUpstream
	if sort == "connected" {
		upstream = brokerUpstream
	}
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		u := upstream(t, fault)
		u.Patience = time.Second
		return u
	})
}

// A suite that nothing can fail proves nothing: each promise is broken once, and the case named after it
// must notice.
func TestSuiteFailsBrokenSources(t *testing.T) {
	t.Parallel()
	for fault, failing := range map[string]string{
		"mounted/garbage":     "DocumentsAreJSON",
		"mounted/twice":       "DeliversEveryEventOnce",
		"mounted/cut":         "FinishesWhatItTook",
		"mounted/hasty":       "FinishesWhatItTook",
		"mounted/eager":       "AcknowledgesAfterTheHub",
		"mounted/sweet":       "ReportsRefusal",
		"mounted/mounted":     "TakesNothingAfterDone",
		"mounted/sour":        "ReturnsNilWhenDone",
		"mounted/deaf":        "ReturnsNilWhenDone",
		"connected/serial":    "DeliversConcurrently",
		"connected/careless":  "RedeliversWhatWasRefused",
		"connected/dead":      "SurvivesRefusal",
		"connected/fragile":   "WaitsForUpstream",
		"connected/forgetful": "SurvivesRestartOfUpstream",
		"connected/stuck":     "StopsWithoutUpstream",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$/^"+failing+"$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), "MILLRACE_BROKEN_SOURCE="+fault)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+failing) {
				t.Errorf("%s did not fail: %v\n%s", failing, err, out)
			}
		})
	}
}
