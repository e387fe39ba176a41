package events

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/wire"
)

const maxPolicy = 10 << 10

type condition struct {
	Type  *string `json:"Type"`
	Key   *string `json:"Key"`
	Value *string `json:"Value"`
}

type putPermissionInput struct {
	EventBusName *string    `json:"EventBusName"`
	Action       *string    `json:"Action"`
	Principal    *string    `json:"Principal"`
	StatementID  *string    `json:"StatementId"`
	Condition    *condition `json:"Condition"`
	Policy       *string    `json:"Policy"`
}

var (
	actionPattern    = regexp.MustCompile(`^events:[a-zA-Z]+$`)
	principalPattern = regexp.MustCompile(`^(\d{12}|\*)$`)
	statementPattern = regexp.MustCompile(`^[a-zA-Z0-9-_]+$`)
)

func (s *Service) putPermission(_ context.Context, r *wire.Request, in *putPermissionInput) (*wire.None, error) {
	var c check
	var name string
	if in.EventBusName != nil {
		name = c.name("eventBusName", in.EventBusName, namePattern, nameShown, 256)
	}
	if in.Action != nil {
		c.name("action", in.Action, actionPattern, "", 64)
	}
	if in.Principal != nil {
		c.name("principal", in.Principal, principalPattern, "", 12)
	}
	if in.StatementID != nil {
		c.name("statementId", in.StatementID, statementPattern, "", 64)
	}
	if in.Condition != nil {
		c.Required("condition.type", in.Condition.Type != nil)
		c.Required("condition.key", in.Condition.Key != nil)
		c.Required("condition.value", in.Condition.Value != nil)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if in.Policy == nil {
		switch {
		case in.Principal == nil:
			return nil, wire.Errorf("ValidationException", "Parameter Principal must be specified.")
		case in.Action == nil || *in.Action != "events:PutEvents":
			return nil, wire.Errorf("ValidationException", "Provided value in parameter 'action' is not supported.")
		case in.StatementID == nil:
			return nil, wire.Errorf("ValidationException", "Parameter StatementId must be specified.")
		case in.Condition != nil && *in.Principal != "*":
			return nil, wire.Errorf("ValidationException", "Value of the parameter 'principal' must be '*' when the parameter 'condition' is set.")
		case in.Condition != nil && (*in.Condition.Type != "StringEquals" || *in.Condition.Key != "aws:PrincipalOrgID"):
			return nil, wire.Errorf("ValidationException", "Provided value in parameter 'condition' is not supported.")
		}
	} else if in.Action != nil || in.Principal != nil || in.StatementID != nil || in.Condition != nil {
		return nil, wire.Errorf("ValidationException", "Policy cannot be specified together with Action, Principal, StatementId or Condition.")
	}
	err := s.change(func() (string, any, error) {
		b, err := s.bus(r, name)
		if err != nil {
			return "", nil, err
		}
		changed := *b
		if in.Policy != nil {
			err = changed.setPolicy(*in.Policy)
		} else {
			err = changed.allow(in)
		}
		if err == nil {
			err = changed.compilePolicy()
		}
		if err != nil {
			return "", nil, err
		}
		b.Version, b.Statements, b.policy = changed.Version, changed.Statements, changed.policy
		b.Modified = s.env.Clock.Now()
		return b.key(), b, nil
	})
	return &wire.None{}, err
}

// allow adds the statement that a request describes, or replaces the one of that name.
func (b *bus) allow(in *putPermissionInput) error {
	var who any = "*"
	if *in.Principal != "*" {
		who = map[string]string{"AWS": "arn:aws:iam::" + *in.Principal + ":root"}
	}
	var only map[string]map[string]string
	if c := in.Condition; c != nil {
		only = map[string]map[string]string{*c.Type: {*c.Key: *c.Value}}
	}
	text, err := json.Marshal(struct {
		Sid       string
		Effect    string
		Principal any
		Action    string
		Resource  string
		Condition map[string]map[string]string `json:",omitempty"`
	}{*in.StatementID, "Allow", who, *in.Action, b.arn(), only})
	if err != nil {
		return fmt.Errorf("encoding a permission: %w", err)
	}
	b.Version = cmp.Or(b.Version, "2012-10-17")
	b.Statements = append(slices.DeleteFunc(slices.Clone(b.Statements), func(s statement) bool { return s.SID == *in.StatementID }),
		statement{*in.StatementID, text})
	return nil
}

// setPolicy replaces the policy.
func (b *bus) setPolicy(text string) error {
	if _, err := policy.Parse([]byte(text)); err != nil {
		return wire.Errorf("ValidationException", "This policy contains invalid Json or is not a policy: %v", err)
	}
	var doc struct {
		Version   string
		Statement jsontext.Value
	}
	err := json.Unmarshal([]byte(text), &doc)
	list := []jsontext.Value{doc.Statement}
	if err == nil && doc.Statement.Kind() == '[' {
		list = nil
		err = json.Unmarshal(doc.Statement, &list)
	}
	if err != nil {
		return wire.Errorf("ValidationException", "This policy contains invalid Json")
	}
	b.Version, b.Statements = cmp.Or(doc.Version, "2012-10-17"), nil
	for i, t := range list {
		var named struct{ Sid string }
		if err := json.Unmarshal(t, &named); err != nil {
			return wire.Errorf("ValidationException", "Statement %d of the policy cannot be read: %v", i+1, err)
		}
		b.Statements = append(b.Statements, statement{named.Sid, t})
	}
	return nil
}

// compilePolicy reads the statements, so that they can be asked.
func (b *bus) compilePolicy() error {
	b.policy = nil
	doc := b.document()
	if doc == nil {
		return nil
	}
	if len(*doc) > maxPolicy {
		return wire.Errorf("PolicyLengthExceededException", "The policy of event bus %s is longer than %d bytes.", b.Name, maxPolicy)
	}
	p, err := policy.Parse([]byte(*doc))
	if err != nil {
		return wire.Errorf("ValidationException", "The policy cannot be read: %v", err)
	}
	b.policy = p
	return nil
}

type removePermissionInput struct {
	EventBusName         *string `json:"EventBusName"`
	StatementID          *string `json:"StatementId"`
	RemoveAllPermissions bool    `json:"RemoveAllPermissions"`
}

func (s *Service) removePermission(_ context.Context, r *wire.Request, in *removePermissionInput) (*wire.None, error) {
	var c check
	var name string
	if in.EventBusName != nil {
		name = c.name("eventBusName", in.EventBusName, namePattern, nameShown, 256)
	}
	if in.StatementID != nil {
		c.name("statementId", in.StatementID, statementPattern, "", 64)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if in.StatementID == nil && !in.RemoveAllPermissions {
		return nil, wire.Errorf("ValidationException", "Parameter StatementId must be specified.")
	}
	err := s.change(func() (string, any, error) {
		b, err := s.bus(r, name)
		if err != nil {
			return "", nil, err
		}
		var left []statement
		if !in.RemoveAllPermissions {
			if len(b.Statements) == 0 {
				return "", nil, wire.Errorf("ResourceNotFoundException", "EventBus does not have a policy.")
			}
			left = slices.DeleteFunc(slices.Clone(b.Statements), func(s statement) bool { return s.SID == *in.StatementID })
			if len(left) == len(b.Statements) {
				return "", nil, wire.Errorf("ResourceNotFoundException", "Statement with the provided id does not exist.")
			}
		}
		b.Statements = left
		if err := b.compilePolicy(); err != nil {
			return "", nil, err
		}
		b.Modified = s.env.Clock.Now()
		return b.key(), b, nil
	})
	return &wire.None{}, err
}
