package executor_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/executor"
)

func TestReservedConcurrencyIsSetAsideAndCaps(t *testing.T) {
	t.Parallel()
	c := executor.NewConcurrency(3)
	c.Reserve("a", 2)
	take := func(name, reason string) func() {
		t.Helper()
		release, err := c.Acquire(name)
		var e *executor.Error
		switch {
		case reason == "" && err != nil:
			t.Fatalf("Acquire(%s): %v", name, err)
		case reason != "" && (!errors.As(err, &e) || e.Kind != executor.Throttled || e.Reason != reason):
			t.Fatalf("Acquire(%s) = %v, want throttled with %s", name, err, reason)
		}
		return release
	}
	one := take("b", "")
	take("c", executor.ReasonConcurrency) // the other two places are a's
	take("a", "")
	two := take("a", "")
	take("a", executor.ReasonReserved)
	two()
	take("a", "")
	one()
	take("c", "")

	c.Reserve("a", 0)
	take("a", executor.ReasonReserved)
	take("b", "") // a's two places came back to the rest
	c.Reserve("a", executor.Unreserved)
	take("a", "")
	take("a", executor.ReasonConcurrency)
}
