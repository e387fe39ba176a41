package local_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/asynctest"
	"github.com/millrace/millrace/async/local"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deps(c clock.Clock) plugin.Deps {
	return plugin.Deps{Name: "store", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: c}
}

func config(dir string) local.Config {
	c := local.Defaults()
	c.Dir, c.MinFree = dir, 0
	return c
}

func open(t testing.TB, c local.Config, k clock.Clock) *local.Store {
	t.Helper()
	s, err := local.Open(c, deps(k))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	asynctest.Run(t, func(t testing.TB) func(testing.TB) async.Store {
		c := config(filepath.Join(t.TempDir(), "store"))
		return func(t testing.TB) async.Store { return open(t, c, clock.System{}) }
	})
}
