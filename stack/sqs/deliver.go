package sqs

import (
	"context"

	"github.com/millrace/millrace/stack/env"
)

// Send puts a message into the queue that an ARN names, for another service. It returns once the message is as durable
// as the stack is; an error is a *wire.Error if the queue refuses the message.
func (s *Service) Send(_ context.Context, queueARN string, m env.Message) error {
	p, ok := parseARN(queueARN)
	if !ok {
		return invalidParameter("%s is not the ARN of a queue.", queueARN)
	}
	q := s.at(p)
	if q == nil {
		return queueDoesNotExist(false)
	}
	in := &sendEntry{Body: m.Body}
	if len(m.Attributes) > 0 {
		in.Attributes = make(map[string]messageAttribute, len(m.Attributes))
		for name, a := range m.Attributes {
			v := messageAttribute{DataType: a.DataType, BinaryValue: a.Binary}
			if a.Binary == nil {
				v.StringValue = &a.String
			}
			in.Attributes[name] = v
		}
	}
	if m.GroupID != "" {
		in.GroupID = &m.GroupID
	}
	if m.DeduplicationID != "" && q.fifo {
		in.DeduplicationID = &m.DeduplicationID
	}
	sender := m.Principal
	if sender == "" {
		sender = q.account
	}
	d, err := compose(q, in, sender, m.TraceHeader)
	if err != nil {
		return err
	}
	now, err := q.enter()
	if err != nil {
		return queueDoesNotExist(false)
	}
	q.send(d, now)
	c := q.commit()
	q.leave(now)
	return c.Wait()
}

// Policy returns the access policy of the queue that an ARN names, "" if it has none.
func (s *Service) Policy(queueARN string) string {
	if q := s.byName(queueARN); q != nil {
		return q.settings.Load().values[attrPolicy]
	}
	return ""
}

func (s *Service) byName(arn string) *queue {
	p, ok := parseARN(arn)
	if !ok {
		return nil
	}
	return s.at(p)
}

// Depth is how many messages of a queue can be received, are in flight, and are delayed, and whether the queue exists.
func (s *Service) Depth(queueARN string) (visible, inFlight, delayed int, ok bool) {
	q := s.byName(queueARN)
	if q == nil {
		return 0, 0, 0, false
	}
	now, err := q.enter()
	if err != nil {
		return 0, 0, 0, false
	}
	visible, inFlight, delayed = q.depth()
	q.commit()
	q.leave(now)
	return visible, inFlight, delayed, true
}
