package sns

import (
	"strings"

	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/wire"
)

// arn is an ARN in its parts: arn:partition:service:region:account:resource.
type arn struct{ service, region, account, resource string }

// parseARN reads a parameter that is an ARN. The resource may have colons in it.
func parseARN(parameter, text string) (arn, error) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) < 6 {
		return arn{}, invalid("%s Reason: An ARN must have at least 6 elements, not %d", parameter, len(parts))
	}
	if parts[0] != "arn" {
		return arn{}, invalid("%s Reason: %s does not start with arn", parameter, text)
	}
	return arn{service: parts[2], region: parts[3], account: parts[4], resource: parts[5]}, nil
}

// topicARN checks the ARN of a topic in a request: it must be of the client's region, unless the request is not signed
// and so of no region.
func topicARN(r *wire.Request, parameter, text string) error {
	a, err := parseARN(parameter, text)
	if err != nil {
		return err
	}
	if a.service != "sns" || strings.ContainsRune(a.resource, ':') || r.AccessKey != "" && a.region != r.Region {
		return invalid("%s", parameter)
	}
	return nil
}

// topic finds a topic for a request, which must be allowed the action. The caller holds s.mu.
func (s *Service) topic(r *wire.Request, text, action string) (*topic, error) {
	if err := topicARN(r, "TopicArn", text); err != nil {
		return nil, err
	}
	t := s.topics[text]
	if t == nil {
		return nil, topicNotFound()
	}
	if err := t.allows(r, action); err != nil {
		return nil, err
	}
	return t, nil
}

// allows asks the topic's policy about a request from another account. A topic's own account may do everything, and
// so may a request that is not signed.
func (t *topic) allows(r *wire.Request, action string) error {
	if r.AccessKey == "" || r.Account == t.account {
		return nil
	}
	p, err := policy.Parse([]byte(t.policy()))
	if err != nil || !p.Allows(policy.Request{
		Principal: r.Account, Action: "SNS:" + action, Resource: t.arn,
		Context: map[string]string{"aws:sourceowner": r.Account, "aws:sourceaccount": r.Account, "aws:sourceip": r.SourceIP},
	}) {
		return forbidden(r, action, t.arn)
	}
	return nil
}
