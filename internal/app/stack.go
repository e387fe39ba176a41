package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/stack"
	"github.com/millrace/millrace/stack/wire"
)

// awsAPI is what the aws address serves: the Lambda API, and before it the local stack if there is one.
func (h *hub) awsAPI() http.Handler {
	if h.stack == nil {
		return h.lambdaAPI()
	}
	return h.stack
}

// openStack opens the local stack that the file asks for.
func (h *hub) openStack() error {
	c := h.config
	if c.Stack == nil {
		return nil
	}
	var err error
	h.stack, err = stack.New(stack.Options{
		Dir: c.Stack.Dir, Region: c.AWS.Region, Account: c.AWS.Account, Keys: keys(c),
		Policies: stack.Policies(c.Stack.Policies), StreamLimits: c.Stack.StreamLimits,
		Invoke: h.acceptFromStack, Lambda: h.lambdaAPI(), Clock: h.clock, Log: h.log.With("part", "stack"),
	})
	return err
}

// acceptFromStack puts an event that a service of the stack sends into the queue of the function that an ARN names.
func (h *hub) acceptFromStack(ctx context.Context, arn string, payload []byte) error {
	name, ok := strings.CutPrefix(arn, h.functions.arnPrefix)
	name, qualifier, _ := strings.Cut(name, ":")
	if _, known := h.functions.get(name); !ok || !known || qualifier != "" && qualifier != "$LATEST" {
		return &wire.Error{Code: "ResourceNotFoundException", Status: http.StatusNotFound, Message: "Function not found: " + arn}
	}
	err := h.accept(ctx, "", name, executor.Request{Payload: payload}, 0)
	var refused *executor.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("the event for %s is not accepted: %w", name, err)
	}
	return err
}

func (h *hub) closeStack(context.Context) error {
	if h.stack == nil {
		return nil
	}
	return h.stack.Close()
}
