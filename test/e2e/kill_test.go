package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/hub"
)

// Ten times the hub is killed under 64 clients. Whatever was answered with 202 must run at least once.
func TestNoAcceptedEventIsLostWhenTheHubIsKilled(t *testing.T) {
	t.Parallel()
	const clients, kills = 64, 10
	s := newSink(t)
	gateway, aws, adminPort := freePort(t), freePort(t), freePort(t)
	yaml := fmt.Sprintf(`
functions:
  sink: {runtime: http, url: %s, concurrency: {reserved: 32}}
listen: {gateway: "127.0.0.1:%d", aws: "127.0.0.1:%d", admin: "127.0.0.1:%d"}
`, s.URL, gateway, aws, adminPort)
	dir := t.TempDir()

	var mu sync.Mutex
	accepted := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for range clients {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/2015-03-31/functions/sink/invocations", aws), strings.NewReader(`{"n":1}`))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Amz-Invocation-Type", "Event")
				resp, err := client.Do(req)
				if err != nil {
					select { // the hub is down
					case <-stop:
					case <-time.After(5 * time.Millisecond):
					}
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusAccepted {
					mu.Lock()
					accepted[resp.Header.Get("X-Amzn-Requestid")] = true
					mu.Unlock()
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted)
	}
	var h *hub.Hub
	for i := range kills + 1 {
		var err error
		if h, err = hub.Start(binary, dir, yaml); err != nil {
			t.Fatal(err)
		}
		before := count()
		eventually(t, "acceptance after a restart", func() string {
			if n := count() - before; n < 500 {
				return fmt.Sprintf("%d accepted", n)
			}
			return ""
		})
		if i < kills {
			h.Kill()
		}
	}
	close(stop)
	wg.Wait()
	defer h.Kill()

	runs := map[string]int{}
	eventually(t, "every accepted event to run", func() string {
		clear(runs)
		for _, c := range s.all() {
			runs[c.id]++
		}
		missing := 0
		for id := range accepted {
			if runs[id] == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Sprintf("%d of %d have not run", missing, len(accepted))
		}
		return ""
	})
	duplicates := 0
	for _, n := range runs {
		duplicates += n - 1
	}
	t.Logf("%d events accepted over %d kills, all run, %d runs more than once", len(accepted), kills, duplicates)
	eventually(t, "the books to balance", func() string {
		if n := unaccounted(t, h); n != 0 {
			return fmt.Sprintf("%g events are unaccounted for", n)
		}
		return ""
	})
}
