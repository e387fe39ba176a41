package s3

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deps(t testing.TB) plugin.Deps {
	return plugin.Deps{
		Name: "uploads", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: clock.System{},
		Dir: t.TempDir(), Data: filepath.Join(t.TempDir(), "uploads"), Region: "eu-central-1", Account: "123456789012",
	}
}

// running is a source that runs until stop is called or the test ends.
func running(t testing.TB, c Config, d plugin.Deps, hub *sourcetest.Hub) (stop func()) {
	t.Helper()
	s, err := Spec().Open(t.Context(), &c, d)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s, hub)
}

func run(t testing.TB, s sources.Source, hub *sourcetest.Hub) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, hub.Hub()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until polls for what must happen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, 20*time.Second)
	defer cancel()
	for !ok() {
		if clock.Sleep(ctx, clock.System{}, 2*time.Millisecond) != nil {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// notice is one event, shortened.
type notice struct {
	Name, Key, ETag string
	Size            int64
}

func notices(t testing.TB, hub *sourcetest.Hub) []notice {
	t.Helper()
	var list []notice
	for _, c := range hub.Calls() {
		var doc struct {
			Records []struct {
				EventName string
				S3        struct {
					Object struct {
						Key, ETag string
						Size      int64
					}
				}
			}
		}
		if err := json.Unmarshal(c.Payload, &doc); err != nil || len(doc.Records) != 1 || c.Invoked {
			t.Fatalf("%s: %v", c.Payload, err)
		}
		r := doc.Records[0]
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, notice{r.EventName, key, r.S3.Object.ETag, r.S3.Object.Size})
	}
	return list
}
