package app

import (
	"context"
	"io"
	"log/slog"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
)

// Load reads a file with the kinds of this binary. Everything that is wrong with it comes back at once, as
// config.Problems.
func Load(file string) (*config.Config, error) {
	kinds, err := NewCatalogs(nil)
	if err != nil {
		return nil, err
	}
	return config.Load(file, kinds.config())
}

// Check does what Serve does with a file up to the first connection, and starts and writes nothing.
func Check(ctx context.Context, file string) (*config.Config, error) {
	c, err := Load(file)
	if err != nil {
		return nil, err
	}
	h, err := newHub(ctx, c, Options{File: file, Log: slog.New(slog.DiscardHandler), Output: io.Discard, Clock: clock.System{}})
	if err != nil {
		return nil, err
	}
	if _, err := certificate(c); err != nil {
		return nil, err
	}
	h.check = true
	defer h.tracing.close(ctx) //nolint:errcheck // it has traced nothing
	ch, err := h.prepare(ctx, c, &config.Config{})
	if err != nil {
		return nil, err
	}
	ch.discard(ctx)
	return c, nil
}
