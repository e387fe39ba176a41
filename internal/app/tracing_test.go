package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
)

const (
	rootID = "5759e988bd862e3fe1be46a994272793"
	xrayID = "Root=1-5759e988-bd862e3fe1be46a994272793"
)

func TestTraceIDsAreHandedOnInBothForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		endpoint string
		req      executor.Request
		trace    string // "" is a new one
		sampled  string
	}{
		"none":                  {},
		"W3C":                   {req: executor.Request{TraceParent: "00-" + rootID + "-53995c3f42cd8ad8-01"}, trace: rootID, sampled: "1"},
		"W3C, not sampled":      {req: executor.Request{TraceParent: "00-" + rootID + "-53995c3f42cd8ad8-00"}, trace: rootID, sampled: "0"},
		"W3C wins":              {req: executor.Request{TraceParent: "00-" + rootID + "-53995c3f42cd8ad8-01", TraceID: "Root=1-00000000-000000000000000000000001;Sampled=0"}, trace: rootID, sampled: "1"},
		"X-Ray":                 {req: executor.Request{TraceID: xrayID + ";Parent=53995c3f42cd8ad8;Sampled=1"}, trace: rootID, sampled: "1"},
		"X-Ray, root only":      {req: executor.Request{TraceID: xrayID}, trace: rootID, sampled: "0"},
		"X-Ray, with lineage":   {req: executor.Request{TraceID: "Self=1-x;" + xrayID + "; Parent=53995c3f42cd8ad8; Sampled=0; Lineage=a:1"}, trace: rootID, sampled: "0"},
		"garbage":               {req: executor.Request{TraceParent: strings.Repeat("x", 60), TraceID: "Root=1-zz;;=;Parent"}},
		"garbage of the length": {req: executor.Request{TraceParent: "00-" + strings.Repeat("z", 32) + "-53995c3f42cd8ad8-01"}},
		"exported, undecided":   {endpoint: "http://127.0.0.1:9", req: executor.Request{TraceID: xrayID}, trace: rootID, sampled: "1"},
		"exported, declined":    {endpoint: "http://127.0.0.1:9", req: executor.Request{TraceID: xrayID + ";Sampled=0"}, trace: rootID, sampled: "0"},
		"exported":              {endpoint: "http://127.0.0.1:9", req: executor.Request{TraceID: xrayID + ";Parent=53995c3f42cd8ad8;Sampled=1"}, trace: rootID, sampled: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(0x5759e988, 0)
			tr, err := newTracing(t.Context(), config.Tracing{Endpoint: c.endpoint, SampleRatio: 1}, "test", clock.NewManual(now))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tr.close(context.WithoutCancel(t.Context())) }) // nobody takes what it exports
			before := c.req
			_, span := tr.start(t.Context(), trace.SpanKindServer, "f", &c.req)
			end(span, executor.Response{}, nil)
			w3c := strings.Split(c.req.TraceParent, "-")
			if len(w3c) != 4 || len(w3c[1]) != 32 || len(w3c[2]) != 16 {
				t.Fatalf("traceparent %q", c.req.TraceParent)
			}
			sampled := strings.TrimPrefix(w3c[3], "0")
			want := "Root=1-" + w3c[1][:8] + "-" + w3c[1][8:] + ";Parent=" + w3c[2] + ";Sampled=" + sampled
			if c.req.TraceID != want {
				t.Errorf("X-Ray's form is %q, want %q", c.req.TraceID, want)
			}
			if c.trace != "" && (w3c[1] != c.trace || sampled != c.sampled) {
				t.Errorf("traceparent %q, want trace %s, sampled %s", c.req.TraceParent, c.trace, c.sampled)
			}
			if c.trace == "" && !strings.HasPrefix(w3c[1], "5759e988") {
				t.Errorf("the new trace id %s does not begin with the time", w3c[1])
			}
			if before.TraceParent != "" && c.req.TraceParent == before.TraceParent {
				t.Error("the span is not a new one")
			}
		})
	}
}

func TestSpansAreExportedBelowThoseOfTheCaller(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []*spans.Span
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" {
			t.Errorf("exported to %s", r.URL.Path)
		}
		body, _ := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil || r.Header.Get("X-Key") != "k" {
			t.Errorf("export: %v, header %q", err, r.Header.Get("X-Key"))
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				got = append(got, ss.Spans...)
			}
		}
	}))
	defer srv.Close()
	tr, err := newTracing(t.Context(), config.Tracing{Endpoint: srv.URL, SampleRatio: 1, Headers: map[string]plugin.Secret{"X-Key": "k"}}, "test", clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	req := executor.Request{ID: "id", TraceParent: "00-" + rootID + "-53995c3f42cd8ad8-01"}
	_, accept := tr.start(t.Context(), trace.SpanKindProducer, "accept f", &req)
	end(accept, executor.Response{}, nil)
	// An attempt begins from what was stored with the event.
	_, attempt := tr.start(t.Context(), trace.SpanKindServer, "f", &req)
	end(attempt, executor.Response{}, &executor.Error{Kind: executor.Throttled, Function: "f", Err: errors.New("busy")})
	if err := tr.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "accept f" || got[1].Name != "f" {
		t.Fatalf("exported %v", got)
	}
	if string(got[1].ParentSpanId) != string(got[0].SpanId) || string(got[0].TraceId) != string(got[1].TraceId) {
		t.Errorf("the attempt is not below the acceptance: %v", got)
	}
	if got[1].Status.GetCode() != spans.Status_STATUS_CODE_ERROR {
		t.Errorf("status %v", got[1].Status)
	}
}

func TestTheSampleRatioIsForTracesThatTheHubBegins(t *testing.T) {
	t.Parallel()
	for ratio, want := range map[float64]string{0: "0", 1: "1"} {
		tr, err := newTracing(t.Context(), config.Tracing{Endpoint: "http://127.0.0.1:9", SampleRatio: ratio}, "test", clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.close(context.WithoutCancel(t.Context())) }) // nobody takes what it exports
		own, callers := executor.Request{}, executor.Request{TraceID: xrayID + ";Parent=53995c3f42cd8ad8;Sampled=1"}
		for _, c := range []struct {
			req     *executor.Request
			sampled string
		}{{&own, want}, {&callers, "1"}} {
			_, span := tr.start(t.Context(), trace.SpanKindServer, "f", c.req)
			end(span, executor.Response{}, nil)
			if !strings.HasSuffix(c.req.TraceID, ";Sampled="+c.sampled) {
				t.Errorf("with a ratio of %v: %s, want Sampled=%s", ratio, c.req.TraceID, c.sampled)
			}
		}
	}
}
