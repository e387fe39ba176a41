package main

import (
	"bytes"
	"strings"
	"testing"
)

// A selection that says nothing must not select everything.
func TestASelectionBelowZeroIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"dlq ls --limit -5", "dlq ls --since -1h", "dlq purge --since -1h", "dlq redrive --since -1h", "queue ls --events --since -1h",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			args := strings.Fields(line)
			if code := run(args, strings.NewReader(""), &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), "below zero") {
				t.Errorf("exit code %d, %s", code, errOut.String())
			}
		})
	}
}
