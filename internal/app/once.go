package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// InvokeOnce runs a function of file once, in this process, without a hub. Its log goes to output.
func InvokeOnce(ctx context.Context, file, name string, payload []byte, tail bool, output io.Writer) (executor.Response, error) {
	c, err := Load(file)
	if err != nil {
		return executor.Response{}, err
	}
	fc, ok := c.Functions[name]
	if !ok {
		return executor.Response{}, fmt.Errorf("%s has no function %q", file, name)
	}
	if !tail {
		output = io.Discard
	}
	h, err := newHub(ctx, c, Options{File: file, Log: slog.New(slog.DiscardHandler), Output: output, Clock: clock.System{}})
	if err != nil {
		return executor.Response{}, err
	}
	defer h.abandon()
	spec, _ := h.kinds.Functions.Lookup(fc.Runtime)
	f, err := h.functions.prepare(ctx, name, fc, spec, h.deps(c, "function", name, fc.Runtime))
	if err != nil {
		return executor.Response{}, err
	}
	h.functions.set(f)
	return h.functions.invoke(ctx, name, executor.Request{Payload: payload})
}
