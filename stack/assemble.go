package stack

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/stack/dynamodb"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/events"
	"github.com/millrace/millrace/stack/kinesis"
	"github.com/millrace/millrace/stack/logs"
	"github.com/millrace/millrace/stack/s3"
	"github.com/millrace/millrace/stack/scheduler"
	"github.com/millrace/millrace/stack/sns"
	"github.com/millrace/millrace/stack/sqs"
	"github.com/millrace/millrace/stack/wire"
)

// assemble makes the services and tells deliver of those that take messages.
func (s *Stack) assemble(e env.Env) error {
	queues, err := sqs.New(e)
	if err != nil {
		return err
	}
	topics, err := sns.New(e)
	if err != nil {
		return err
	}
	options := []kinesis.Option{kinesis.Delay(s.options.StreamDelay)}
	if s.options.StreamLimits {
		options = append(options, kinesis.Limits)
	}
	streams, err := kinesis.New(e, options...)
	if err != nil {
		return err
	}
	tables, err := dynamodb.New(e)
	if err != nil {
		return err
	}
	buckets, err := s3.New(e)
	if err != nil {
		return err
	}
	buses, err := events.New(e)
	if err != nil {
		return err
	}
	schedules, err := scheduler.New(e)
	if err != nil {
		return err
	}
	groups, err := logs.New(e)
	if err != nil {
		return err
	}
	s.parts = []service{queues, topics, streams, tables, buckets, buses, schedules, groups}
	s.targets = targets{
		"sqs":     {send: queues.Send, action: "sqs:SendMessage", policy: queues.Policy},
		"sns":     {send: topics.Publish, action: "sns:Publish", policy: topics.Policy},
		"kinesis": {send: streams.Put},
		"events":  {send: buses.Deliver},
		"logs":    {send: groups.Deliver},
		"lambda":  {send: s.invoke},
	}
	s.certificate, s.rotate = topics, tables.RotateShards
	return nil
}

// invoke hands an event to a function.
func (s *Stack) invoke(ctx context.Context, arn string, m env.Message) error {
	if s.options.Invoke == nil {
		return &wire.Error{Code: "ResourceNotFoundException", Status: http.StatusNotFound, Message: "Function not found: " + arn}
	}
	return s.options.Invoke(ctx, arn, []byte(m.Body))
}
