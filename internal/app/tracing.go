package app

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/propagators/aws/xray"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/config"
)

// tracing makes one span for each acceptance and each invocation, and hands its ids on in both forms, X-Ray's
// and W3C's. Without an endpoint the ids are made and handed on all the same.
type tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	w3c      propagation.TraceContext
	xray     xray.Propagator
}

func newTracing(ctx context.Context, c config.Tracing, version string) (*tracing, error) {
	opts := []sdk.TracerProviderOption{
		sdk.WithIDGenerator(xray.NewIDGenerator()),
		sdk.WithSampler(sdk.NeverSample()),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "millrace"), attribute.String("service.version", version))),
	}
	if c.Endpoint != "" {
		headers := make(map[string]string, len(c.Headers))
		for k, v := range c.Headers {
			headers[k] = string(v)
		}
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint), otlptracehttp.WithHeaders(headers))
		if err != nil {
			return nil, fmt.Errorf("setting up traces to %s: %w", c.Endpoint, err)
		}
		opts = append(opts, sdk.WithBatcher(exporter), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.SampleRatio))))
	}
	p := sdk.NewTracerProvider(opts...)
	return &tracing{provider: p, tracer: p.Tracer("github.com/millrace/millrace")}, nil
}

// close exports what is left.
func (t *tracing) close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// start begins a span below the one that req names, and makes req name the new one.
func (t *tracing) start(ctx context.Context, kind trace.SpanKind, name string, req *executor.Request) (context.Context, trace.Span) {
	switch {
	case trace.SpanContextFromContext(ctx).IsValid():
	case req.TraceParent != "":
		ctx = t.w3c.Extract(ctx, propagation.MapCarrier{"traceparent": req.TraceParent})
	case req.TraceID != "":
		ctx = t.xray.Extract(ctx, propagation.MapCarrier{"X-Amzn-Trace-Id": req.TraceID})
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	sc := span.SpanContext()
	id, parent, flags := sc.TraceID().String(), sc.SpanID().String(), "00"
	sampled := "0"
	if sc.IsSampled() {
		flags, sampled = "01", "1"
	}
	req.TraceParent = "00-" + id + "-" + parent + "-" + flags
	req.TraceID = "Root=1-" + id[:8] + "-" + id[8:] + ";Parent=" + parent + ";Sampled=" + sampled
	if span.IsRecording() {
		span.SetAttributes(attribute.String("faas.invocation_id", req.ID), attribute.String("faas.name", req.ARN))
	}
	return ctx, span
}

// end closes the span of an invocation with what came of it.
func end(span trace.Span, resp executor.Response, err error) {
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
