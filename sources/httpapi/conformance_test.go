package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestContractOfSources(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
				gateway := sourcetest.NewHub(t)
				path := "/"
				if k == "rest-api" {
					path = "/prod/"
				}
				return sourcetest.Upstream{
					Hub: gateway, Confirms: true, Concurrency: 8,
					Open: func(t testing.TB) sources.Source {
						spec := kind(t, k)
						config := spec.Config()
						s, err := spec.Open(t.Context(), config, (&hub{log: &logBuffer{}, clock: clock.NewManual(began)}).deps(""))
						if err != nil {
							t.Fatal(err)
						}
						return s
					},
					Put: func(ctx context.Context, id string) error {
						req, err := http.NewRequestWithContext(ctx, "POST", gateway.URL()+path, strings.NewReader(id))
						if err != nil {
							return err
						}
						req.Header.Set("Content-Type", "text/plain")
						resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
						if err != nil {
							return err
						}
						defer resp.Body.Close()
						body, err := io.ReadAll(resp.Body)
						// The hub of the suite answers null, which is an answer only to payload 2.0.
						if err == nil && resp.StatusCode != 200 && (resp.StatusCode != 502 || k == "function-url" || k == "http-api") {
							err = fmt.Errorf("%s: %s", resp.Status, body)
						}
						return err
					},
				}
			})
		})
	}
}
