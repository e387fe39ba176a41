// Package function hands the record of an invocation to another function, as a new asynchronous event: the
// Lambda destination of AWS.
package function

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is a destination that is a function.
type Config struct {
	// Function is the name of the function that gets the record as its event. It must be in the same file.
	Function string `yaml:"function"`
}

// Defaults is the configuration that a file starts from.
func Defaults() Config { return Config{} }

// Validate checks what can be checked without the rest of the file.
func (c *Config) Validate() error {
	if c.Function == "" {
		return plugin.Invalid("function", "is missing; write the name of a function of this file")
	}
	return nil
}

// Functions lists the functions that the destination calls by name.
func (c *Config) Functions() []string { return []string{c.Function} }

// Accept queues an event for a function, and returns once it is durable. depth is how many destinations the
// chain of events has passed. An *executor.Error of kind TooLarge or Refused is final.
type Accept func(ctx context.Context, function string, req executor.Request, depth int) error

// Spec is the kind "function".
func Spec(accept Accept) plugin.Spec[destinations.Destination] {
	return plugin.Define("function", "Queues the record as an event of another function.", Defaults(),
		func(_ context.Context, c Config, _ plugin.Deps) (destinations.Destination, error) {
			if err := c.Validate(); err != nil {
				return nil, err
			}
			return &destination{function: c.Function, accept: accept}, nil
		})
}

type destination struct {
	function string
	accept   Accept
	gate     executor.Gate
}

func (d *destination) Send(ctx context.Context, rec destinations.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	id, ok := d.gate.Enter(cancel)
	if !ok {
		return errors.New("the destination has been closed")
	}
	defer d.gate.Leave(id)
	err := d.accept(ctx, d.function, executor.Request{
		ID:          uuid.NewString(),
		Attempt:     1,
		Payload:     rec.Body,
		TraceID:     rec.TraceID,
		TraceParent: rec.TraceParent,
	}, rec.Depth+1)
	var e *executor.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && (e.Kind == executor.TooLarge || e.Kind == executor.Refused):
		return fmt.Errorf("queueing the record for %s: %w (%w)", d.function, err, destinations.ErrPermanent)
	}
	return fmt.Errorf("queueing the record for %s: %w", d.function, err)
}

func (d *destination) Close(ctx context.Context) error {
	d.gate.Close(ctx)
	return nil
}
