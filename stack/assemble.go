package stack

import (
	"context"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

// assemble makes the services and tells deliver of those that take messages.
func (s *Stack) assemble(e env.Env) error {
	s.targets = targets{
		"lambda": {send: func(ctx context.Context, arn string, m env.Message) error {
			if s.options.Invoke == nil {
				return &wire.Error{Code: "ResourceNotFoundException", Status: 404, Message: "Function not found: " + arn}
			}
			return s.options.Invoke(ctx, arn, []byte(m.Body))
		}},
	}
	return nil
}
