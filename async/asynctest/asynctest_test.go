package asynctest_test

import (
	"testing"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/asynctest"
	"github.com/millrace/millrace/internal/clock"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	asynctest.Run(t, func(testing.TB) func(testing.TB) async.Store {
		m := asynctest.NewMemory(clock.System{})
		return func(testing.TB) async.Store { return m }
	})
}
