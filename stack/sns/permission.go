package sns

import (
	"context"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/wire"
)

// document is a policy of which the statements are kept as they are written.
type document struct {
	Version   string           `json:",omitzero"`
	ID        string           `json:"Id,omitzero"`
	Statement []jsontext.Value `json:"Statement"`
}

type statement struct {
	Sid       string
	Effect    string
	Principal struct {
		AWS any // a string, or a list of them
	}
	Action   any
	Resource string
}

// permissions are the actions that a topic's policy can allow.
var permissions = []string{
	"AddPermission", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource",
	"Publish", "PutDataProtectionPolicy", "RemovePermission", "SetTopicAttributes", "Subscribe", "*",
}

var accountID = regexp.MustCompile(`^\d{12}$`)

type addPermissionInput struct {
	TopicArn     *string
	Label        *string
	AWSAccountId []string //nolint:staticcheck // as AWS spells it
	ActionName   []string
}

func (s *Service) addPermission(_ context.Context, r *wire.Request, in *addPermissionInput) (*wire.None, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	check.Required("label", in.Label != nil)
	check.Required("aWSAccountId", len(in.AWSAccountId) > 0)
	check.Required("actionName", len(in.ActionName) > 0)
	if err := validation(&check); err != nil {
		return nil, err
	}
	var accounts, actions []string
	for _, a := range in.AWSAccountId {
		if !accountID.MatchString(a) {
			return nil, invalid("AWSAccountId")
		}
		accounts = append(accounts, "arn:aws:iam::"+a+":root")
	}
	for _, a := range in.ActionName {
		if !slices.Contains(permissions, a) {
			return nil, invalid("Policy statement action out of service scope!")
		}
		actions = append(actions, "SNS:"+a)
	}
	st := statement{Sid: *in.Label, Effect: "Allow", Action: one(actions), Resource: *in.TopicArn}
	st.Principal.AWS = one(accounts)
	text, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	return s.changePolicy(r, *in.TopicArn, "AddPermission", func(d *document) error {
		if slices.ContainsFunc(d.Statement, labelled(*in.Label)) {
			return invalid("Statement already exists")
		}
		d.Statement = append(d.Statement, text)
		return nil
	})
}

type removePermissionInput struct {
	TopicArn *string
	Label    *string
}

func (s *Service) removePermission(_ context.Context, r *wire.Request, in *removePermissionInput) (*wire.None, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	check.Required("label", in.Label != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	return s.changePolicy(r, *in.TopicArn, "RemovePermission", func(d *document) error {
		d.Statement = slices.DeleteFunc(d.Statement, labelled(*in.Label))
		return nil
	})
}

// labelled tells the statement of a label.
func labelled(label string) func(jsontext.Value) bool {
	return func(v jsontext.Value) bool {
		var st struct{ Sid string }
		return json.Unmarshal(v, &st) == nil && st.Sid == label
	}
}

// one is how a policy writes a list.
func one(list []string) any {
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func (s *Service) changePolicy(r *wire.Request, arn, action string, change func(*document) error) (*wire.None, error) {
	s.mu.Lock()
	t, err := s.topic(r, arn, action)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	var d document
	if err = json.Unmarshal([]byte(t.policy()), &d); err == nil {
		err = change(&d)
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(d)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	t.set(attrPolicy, string(text))
	c := s.saveTopic(t)
	s.mu.Unlock()
	return new(wire.None), c.Wait()
}
