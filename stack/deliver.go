package stack

import (
	"context"
	"net/http"
	"strings"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/wire"
)

// target is what the services of a stack can send to.
type target struct {
	send func(ctx context.Context, arn string, m env.Message) error
	// action is what a policy of the resource must allow, and policy returns that, "" if it has none. Where it is nil
	// AWS asks the sender's role instead, and there are no roles here.
	action string
	policy func(arn string) string
}

// targets are those of a stack, by the service in their ARNs.
type targets map[string]target

// deliver is env.Deliver.
func (s *Stack) deliver(ctx context.Context, arn string, m env.Message) error {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return wire.Errorf("InvalidParameterValue", "%q is not an ARN", arn)
	}
	t, ok := s.targets[parts[2]]
	if !ok {
		return wire.Errorf("InvalidParameterValue", "millrace's local stack has nothing to deliver to at %s", arn)
	}
	if err := s.allowed(t, arn, m); err != nil {
		return err
	}
	return t.send(ctx, arn, m)
}

// allowed asks the policy of a resource whether a message may come in.
func (s *Stack) allowed(t target, arn string, m env.Message) error {
	if t.policy == nil || m.Principal == "" || s.options.Policies == Ignore {
		return nil
	}
	account := m.Account
	if parts := strings.SplitN(m.From, ":", 6); len(parts) == 6 && account == "" {
		account = parts[4]
	}
	var p *policy.Policy
	doc := t.policy(arn)
	if doc != "" {
		var err error
		if p, err = policy.Parse([]byte(doc)); err != nil {
			return wire.Errorf("AccessDenied", "the policy of %s cannot be read: %v", arn, err)
		}
	}
	if p.Allows(policy.Request{Principal: m.Principal, Action: t.action, Resource: arn, Context: map[string]string{
		"aws:sourcearn": m.From, "aws:sourceaccount": account, "aws:securetransport": "true", "aws:viaawsservice": "false",
	}}) {
		return nil
	}
	if s.options.Policies == Enforce {
		return &wire.Error{Code: "AccessDenied", Status: http.StatusForbidden,
			Message: "the policy of " + arn + " does not let " + m.Principal + " use " + t.action + " for " + m.From}
	}
	s.warn(arn, m, t.action)
	return nil
}

// warn logs once for each pair of resources.
func (s *Stack) warn(arn string, m env.Message, action string) {
	if _, told := s.warned.LoadOrStore(m.From+" "+arn, true); !told {
		s.log.Warn("delivered what AWS would refuse: the resource's policy does not allow it",
			"resource", arn, "principal", m.Principal, "action", action, "source", m.From)
	}
}
