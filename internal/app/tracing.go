package app

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/propagators/aws/xray"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
)

// tracing makes one span for each acceptance and each invocation, and hands its ids on in both forms, X-Ray's
// and W3C's. Without an endpoint there are no spans, and ids are made and handed on all the same.
type tracing struct {
	clock    clock.Clock
	provider *sdk.TracerProvider // nil without an endpoint
	tracer   trace.Tracer
	ratio    float64 // of the traces that begin here, 0 without an endpoint
}

func newTracing(ctx context.Context, c config.Tracing, version string, cl clock.Clock) (*tracing, error) {
	t := &tracing{clock: cl}
	if c.Endpoint == "" {
		return t, nil
	}
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("setting up traces: %w", err)
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces" // OTLP's own default
	}
	headers := make(map[string]string, len(c.Headers))
	for k, v := range c.Headers {
		headers[k] = string(v)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint.String()), otlptracehttp.WithHeaders(headers))
	if err != nil {
		return nil, fmt.Errorf("setting up traces to %s: %w", c.Endpoint, err)
	}
	t.provider = sdk.NewTracerProvider(
		sdk.WithIDGenerator(xray.NewIDGenerator()),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.SampleRatio))),
		sdk.WithBatcher(exporter),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "millrace"), attribute.String("service.version", version))),
	)
	t.ratio = c.SampleRatio
	t.tracer = t.provider.Tracer("github.com/millrace/millrace")
	return t, nil
}

// close exports what is left.
func (t *tracing) close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// start begins a span below the one that req names, and makes req name the new one.
func (t *tracing) start(ctx context.Context, kind trace.SpanKind, name string, req *executor.Request) (context.Context, trace.Span) {
	parent := parentOf(req, t.ratio)
	if t.provider == nil {
		if !parent.IsValid() {
			parent = parent.WithTraceID(newTraceID(t.clock.Now()))
		}
		write(req, parent.WithSpanID(newSpanID()))
		return ctx, nil
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	write(req, span.SpanContext())
	if span.IsRecording() {
		span.SetAttributes(attribute.String("faas.invocation_id", req.ID), attribute.String("faas.name", req.ARN))
	}
	return ctx, span
}

// parentOf reads the span that req names, in W3C's form or else in X-Ray's. It is not valid if there is none.
// Where the caller leaves it open whether the trace is sampled, as X-Ray permits, ratio decides.
func parentOf(req *executor.Request, ratio float64) trace.SpanContext {
	var id, span, flags string
	if p := req.TraceParent; len(p) >= 55 && p[2] == '-' && p[35] == '-' && p[52] == '-' {
		id, span, flags = p[3:35], p[36:52], p[53:55]
	} else {
		for field := range strings.SplitSeq(req.TraceID, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			switch {
			case key == "Root" && len(value) == 35 && value[:2] == "1-" && value[10] == '-':
				id = value[2:10] + value[11:]
			case key == "Parent":
				span = value
			case key == "Sampled" && value == "1":
				flags = "01"
			case key == "Sampled" && value == "0":
				flags = "00"
			}
		}
		if id != "" && span == "" {
			span = "0000000000000001" // X-Ray lets a trace begin without a parent
		}
	}
	var c trace.SpanContextConfig
	var err error
	if c.TraceID, err = trace.TraceIDFromHex(id); err != nil {
		return trace.SpanContext{}
	}
	if c.SpanID, err = trace.SpanIDFromHex(span); err != nil {
		return trace.SpanContext{}
	}
	if f, err := strconv.ParseUint(flags, 16, 8); err == nil {
		c.TraceFlags = trace.TraceFlags(f) & trace.FlagsSampled
	} else if float64(binary.BigEndian.Uint64(c.TraceID[8:])>>1) < ratio*(1<<63) {
		c.TraceFlags = trace.FlagsSampled
	}
	c.Remote = true
	return trace.NewSpanContext(c)
}

// newTraceID begins with the seconds of the time, as X-Ray asks.
func newTraceID(now time.Time) (id trace.TraceID) {
	binary.BigEndian.PutUint32(id[0:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(id[4:], rand.Uint32())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func newSpanID() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64()|1) // all zeros is not valid
	return id
}

// write makes req name the span sc.
func write(req *executor.Request, sc trace.SpanContext) {
	id, span := sc.TraceID(), sc.SpanID()
	sampled := byte('0')
	if sc.IsSampled() {
		sampled = '1'
	}
	b := make([]byte, 0, 55+len("Root=1-;Parent=;Sampled=")+8+25+16+1)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	b = append(b, '-', '0', sampled)
	w3c := len(b)
	b = append(b, "Root=1-"...)
	b = hex.AppendEncode(b, id[:4])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[4:])
	b = append(b, ";Parent="...)
	b = hex.AppendEncode(b, span[:])
	b = append(b, ";Sampled="...)
	b = append(b, sampled)
	both := string(b)
	req.TraceParent, req.TraceID = both[:w3c], both[w3c:]
}

// end closes the span of an invocation with what came of it.
func end(span trace.Span, resp executor.Response, err error) {
	if span == nil {
		return
	}
	if span.IsRecording() {
		switch {
		case err != nil:
			span.SetStatus(codes.Error, err.Error())
		case resp.Failure != nil:
			span.SetAttributes(attribute.String("error.type", resp.Failure.Type))
			span.SetStatus(codes.Error, resp.Failure.Message)
		}
		if resp.Init > 0 {
			span.SetAttributes(attribute.Bool("faas.coldstart", true), attribute.Float64("faas.init_ms", float64(resp.Init)/float64(time.Millisecond)))
		}
	}
	span.End()
}
