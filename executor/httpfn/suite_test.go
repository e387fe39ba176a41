package httpfn_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/executortest"
	"github.com/millrace/millrace/executor/httpfn"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t testing.TB) executortest.Subject {
		s := serve(t, obey)
		return executortest.Subject{
			Open: func(t testing.TB, timeout time.Duration) executor.Function {
				c := httpfn.Defaults()
				c.URL, c.Timeout = s.URL, timeout
				f, err := httpfn.Open(t.Context(), c, plugin.Deps{Name: "suite", Log: slog.New(slog.DiscardHandler), Clock: clock.System{}})
				if err != nil {
					t.Fatal(err)
				}
				return f
			},
			Exact:     true,
			CrashType: executor.TypeExit,
			Timeout:   executor.TypeTimeout,
			Large:     executor.TypeTooLarge,
			Context:   []string{"requestId", "arn", "traceId", "clientContext", "tenantId"},
			Stream:    true,
		}
	})
}

// obey is an endpoint that does what executortest describes.
func obey(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var c struct {
		Do      string
		Message string
		MS      int
		Size    int
		Chunks  []string
	}
	if err != nil || json.Unmarshal(body, &c) != nil {
		http.Error(w, "not a command", http.StatusBadRequest)
		return
	}
	switch c.Do {
	case "fail":
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]string{"errorType": "Error", "errorMessage": c.Message})
	case "crash":
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
	case "sleep":
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(c.MS)*time.Millisecond)
		defer cancel()
		<-ctx.Done()
		_, _ = w.Write(body)
	case "large":
		fmt.Fprintf(w, "%q", strings.Repeat("x", c.Size))
	case "context":
		client, _ := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context"))
		_ = json.NewEncoder(w).Encode(map[string]string{
			"requestId":     r.Header.Get("Lambda-Runtime-Aws-Request-Id"),
			"arn":           r.Header.Get("Lambda-Runtime-Invoked-Function-Arn"),
			"traceId":       r.Header.Get("Lambda-Runtime-Trace-Id"),
			"clientContext": string(client),
			"tenantId":      r.Header.Get("Lambda-Runtime-Aws-Tenant-Id"),
		})
	case "stream":
		w.Header().Set("Content-Type", "text/plain")
		for _, chunk := range c.Chunks {
			_, _ = io.WriteString(w, chunk)
			w.(http.Flusher).Flush()
		}
	default:
		_, _ = w.Write(body)
	}
}
