package events

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/wire"
)

// maxTargets is how many a rule may have.
const maxTargets = 5

// Target is a rule's target, as it was put. What is of the kinds that are not here is refused.
type Target struct {
	ID                string             `json:"Id"`
	Arn               string             `json:"Arn"`
	RoleArn           *string            `json:"RoleArn,omitzero"`
	Input             *string            `json:"Input,omitzero"`
	InputPath         *string            `json:"InputPath,omitzero"`
	InputTransformer  *InputTransformer  `json:"InputTransformer,omitzero"`
	KinesisParameters *KinesisParameters `json:"KinesisParameters,omitzero"`
	SqsParameters     *SqsParameters     `json:"SqsParameters,omitzero"`
	DeadLetterConfig  *DeadLetterConfig  `json:"DeadLetterConfig,omitzero"`
	RetryPolicy       *RetryPolicy       `json:"RetryPolicy,omitzero"`

	RunCommandParameters        jsontext.Value `json:"RunCommandParameters,omitzero"`
	EcsParameters               jsontext.Value `json:"EcsParameters,omitzero"`
	BatchParameters             jsontext.Value `json:"BatchParameters,omitzero"`
	HTTPParameters              jsontext.Value `json:"HttpParameters,omitzero"`
	RedshiftDataParameters      jsontext.Value `json:"RedshiftDataParameters,omitzero"`
	SageMakerPipelineParameters jsontext.Value `json:"SageMakerPipelineParameters,omitzero"`
	AppSyncParameters           jsontext.Value `json:"AppSyncParameters,omitzero"`
}

// InputTransformer makes the target's input of a template.
type InputTransformer struct {
	InputPathsMap map[string]string `json:"InputPathsMap,omitzero"`
	InputTemplate string            `json:"InputTemplate"`
}

// KinesisParameters say which partition key a record has.
type KinesisParameters struct {
	PartitionKeyPath string `json:"PartitionKeyPath"`
}

// SqsParameters say which group a message is of.
type SqsParameters struct {
	MessageGroupID string `json:"MessageGroupId,omitzero"`
}

// RetryPolicy says how long to try.
type RetryPolicy struct {
	MaximumRetryAttempts     *int64 `json:"MaximumRetryAttempts,omitzero"`
	MaximumEventAgeInSeconds *int64 `json:"MaximumEventAgeInSeconds,omitzero"`
}

// kind is what a target is, by the service and resource of its ARN.
type kind uint8

const (
	unsupported kind = iota
	queue
	topic
	stream
	function
	eventBus
	logGroup
)

// kindOf reads a target's ARN.
func kindOf(arn string) (kind, place, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[1] == "" || parts[2] == "" || parts[5] == "" {
		return unsupported, place{}, invalid(arn, "Provided Arn is not in correct format.")
	}
	p, resource := place{parts[4], parts[3]}, parts[5]
	switch {
	case parts[2] == "sqs":
		return queue, p, nil
	case parts[2] == "sns":
		return topic, p, nil
	case parts[2] == "kinesis" && strings.HasPrefix(resource, "stream/"):
		return stream, p, nil
	case parts[2] == "lambda" && strings.HasPrefix(resource, "function:"):
		return function, p, nil
	case parts[2] == "events" && strings.HasPrefix(resource, "event-bus/"):
		return eventBus, p, nil
	case parts[2] == "logs" && strings.HasPrefix(resource, "log-group:"):
		return logGroup, p, nil
	}
	return unsupported, p, wire.Errorf("ValidationException",
		"%s is not a supported service for a target. millrace's local stack has queues, topics, streams, functions, event buses and log groups; the target is %s.", parts[2], arn)
}

// target is a Target, compiled.
type target struct {
	Target
	kind
	place
	input *input       // nil: the event as it is
	key   *router.Path // of Kinesis's partition key; nil: the event's id
}

// compile checks a target of a rule in a place, and reads what it means.
func (t *Target) compile(rule place) (*target, error) {
	k, where, err := kindOf(t.Arn)
	if err != nil {
		return nil, err
	}
	x := &target{Target: *t, kind: k, place: where}
	for _, p := range []struct {
		name  string
		given bool
	}{
		{"RunCommandParameters", t.RunCommandParameters != nil}, {"EcsParameters", t.EcsParameters != nil},
		{"BatchParameters", t.BatchParameters != nil}, {"HttpParameters", t.HTTPParameters != nil},
		{"RedshiftDataParameters", t.RedshiftDataParameters != nil}, {"AppSyncParameters", t.AppSyncParameters != nil},
		{"SageMakerPipelineParameters", t.SageMakerPipelineParameters != nil},
		{"KinesisParameters", t.KinesisParameters != nil && k != stream},
	} {
		if p.given {
			return nil, wire.Errorf("ValidationException", "Parameter(s) %s not supported for target: %s.", p.name, t.ID)
		}
	}
	if k == queue && strings.HasSuffix(t.Arn, ".fifo") && (t.SqsParameters == nil || t.SqsParameters.MessageGroupID == "") {
		return nil, wire.Errorf("ValidationException", "Parameter(s) SqsParameters must be specified for target: %s.", t.ID)
	}
	if (k == eventBus || k == stream) && (t.RoleArn == nil || *t.RoleArn == "") {
		return nil, wire.Errorf("ValidationException", "RoleArn is required for target %s.", t.Arn)
	}
	if err := checkDeadLetter(t.DeadLetterConfig, rule.region); err != nil {
		return nil, err
	}
	if x.input, err = t.compileInput(); err != nil {
		return nil, err
	}
	if x.input != nil && k == eventBus {
		return nil, wire.Errorf("ValidationException", "Modifying the input for target %s is not supported.", t.ID)
	}
	if t.KinesisParameters != nil {
		if x.key, err = router.ParsePath(t.KinesisParameters.PartitionKeyPath); err != nil {
			return nil, wire.Errorf("ValidationException", "PartitionKeyPath for target %s is invalid.", t.ID)
		}
	}
	return x, nil
}

// compileInput reads what the target receives instead of the event; nil is the event.
func (t *Target) compileInput() (*input, error) {
	given := 0
	for _, g := range []bool{t.Input != nil && *t.Input != "", t.InputPath != nil && *t.InputPath != "", t.InputTransformer != nil} {
		if g {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, wire.Errorf("ValidationException", "Only one of Input, InputPath, or InputTransformer must be provided for target %s.", t.ID)
	case given == 0:
		return nil, nil
	case t.InputTransformer != nil:
		return compileTransformer(t.ID, t.InputTransformer)
	case t.Input != nil && *t.Input != "":
		if !event.ValidJSON([]byte(*t.Input)) {
			return nil, wire.Errorf("ValidationException", "JSON syntax error in input for target %s.", t.ID)
		}
		return &input{constant: *t.Input}, nil
	}
	p, err := router.ParsePath(*t.InputPath)
	if err != nil {
		return nil, badInput(t.ID, err)
	}
	return &input{path: p}, nil
}

// retries returns the target's retry policy.
func (t *Target) retries() (attempts int, age int64) {
	attempts, age = outbox.MaxRetries, int64(outbox.MaxAge.Seconds())
	if p := t.RetryPolicy; p != nil {
		if p.MaximumRetryAttempts != nil {
			attempts = int(*p.MaximumRetryAttempts)
		}
		if p.MaximumEventAgeInSeconds != nil {
			age = *p.MaximumEventAgeInSeconds
		}
	}
	return attempts, age
}

type putTargetsInput struct {
	Rule         *string  `json:"Rule"`
	EventBusName *string  `json:"EventBusName"`
	Targets      []Target `json:"Targets"`
}

type failedTarget struct {
	TargetID     string `json:"TargetId"`
	ErrorCode    string `json:"ErrorCode"`
	ErrorMessage string `json:"ErrorMessage"`
}

type targetsOutput struct {
	FailedEntryCount int            `json:"FailedEntryCount"`
	FailedEntries    []failedTarget `json:"FailedEntries"`
}

// check checks the members of a target.
func (t *Target) check(c *check, at string) {
	c.Required(at+".id", t.ID != "")
	if t.ID != "" {
		c.Pattern(at+".id", t.ID, namePattern, nameShown)
		c.Length(at+".id", t.ID, 1, 64)
	}
	c.Required(at+".arn", t.Arn != "")
	c.Length(at+".arn", t.Arn, 0, 1600)
	c.text(at+".roleArn", t.RoleArn, 1, 1600)
	c.text(at+".input", t.Input, 0, 8192)
	c.text(at+".inputPath", t.InputPath, 0, 256)
	if x := t.InputTransformer; x != nil {
		c.Count(at+".inputTransformer.inputPathsMap", fmt.Sprint(x.InputPathsMap), len(x.InputPathsMap), 0, 100)
		c.Length(at+".inputTransformer.inputTemplate", x.InputTemplate, 1, 8192)
	}
	if t.KinesisParameters != nil {
		c.Length(at+".kinesisParameters.partitionKeyPath", t.KinesisParameters.PartitionKeyPath, 0, 256)
	}
	if t.SqsParameters != nil {
		c.Length(at+".sqsParameters.messageGroupId", t.SqsParameters.MessageGroupID, 0, 100)
	}
	if t.DeadLetterConfig != nil {
		c.Length(at+".deadLetterConfig.arn", t.DeadLetterConfig.Arn, 0, 1600)
	}
	if p := t.RetryPolicy; p != nil {
		if p.MaximumRetryAttempts != nil {
			c.Range(at+".retryPolicy.maximumRetryAttempts", *p.MaximumRetryAttempts, 0, 185)
		}
		if p.MaximumEventAgeInSeconds != nil {
			c.Range(at+".retryPolicy.maximumEventAgeInSeconds", *p.MaximumEventAgeInSeconds, 60, 86400)
		}
	}
}

func (s *Service) putTargets(_ context.Context, r *wire.Request, in *putTargetsInput) (*targetsOutput, error) {
	var c check
	name := c.name("rule", in.Rule, namePattern, nameShown, 64)
	busName := c.bus("eventBusName", in.EventBusName)
	c.Required("targets", in.Targets != nil)
	if in.Targets != nil {
		c.Count("targets", fmt.Sprintf("[%d targets]", len(in.Targets)), len(in.Targets), 1, 100)
	}
	for i := range in.Targets {
		in.Targets[i].check(&c, fmt.Sprintf("targets.%d.member", i+1))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	fresh := make([]*target, len(in.Targets))
	for i := range in.Targets {
		t, err := in.Targets[i].compile(home(r))
		if err != nil {
			return nil, err
		}
		fresh[i] = t
	}
	err := s.change(func() (string, any, error) {
		b, x, err := s.rule(r, busName, name)
		if err != nil {
			return "", nil, err
		}
		targets := slices.Clone(x.targets)
		for _, t := range fresh {
			if i := slices.IndexFunc(targets, func(old *target) bool { return old.ID == t.ID }); i >= 0 {
				targets[i] = t
			} else {
				targets = append(targets, t)
			}
		}
		if len(targets) > maxTargets {
			return "", nil, wire.Errorf("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
		}
		s.setTargets(b, x, targets)
		return x.key(), x, nil
	})
	if err != nil {
		return nil, err
	}
	return &targetsOutput{FailedEntries: []failedTarget{}}, nil
}

// setTargets replaces a rule's targets. Whoever holds the old rule, such as a matcher, goes on with that.
func (s *Service) setTargets(b *bus, x *rule, targets []*target) {
	x.targets = targets
	x.Targets = make([]Target, len(targets))
	for i, t := range targets {
		x.Targets[i] = t.Target
	}
	b.matcher = nil
}

type removeTargetsInput struct {
	Rule         *string  `json:"Rule"`
	EventBusName *string  `json:"EventBusName"`
	IDs          []string `json:"Ids"`
	Force        bool     `json:"Force"`
}

func (s *Service) removeTargets(_ context.Context, r *wire.Request, in *removeTargetsInput) (*targetsOutput, error) {
	var c check
	name := c.name("rule", in.Rule, namePattern, nameShown, 64)
	busName := c.bus("eventBusName", in.EventBusName)
	c.Required("ids", in.IDs != nil)
	if in.IDs != nil {
		c.Count("ids", fmt.Sprint(in.IDs), len(in.IDs), 1, 100)
	}
	for i, id := range in.IDs {
		c.Pattern(fmt.Sprintf("ids.%d.member", i+1), id, namePattern, nameShown)
		c.Length(fmt.Sprintf("ids.%d.member", i+1), id, 1, 64)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	out := &targetsOutput{FailedEntries: []failedTarget{}}
	err := s.change(func() (string, any, error) {
		b, x, err := s.rule(r, busName, name)
		if err != nil {
			return "", nil, err
		}
		targets := slices.Clone(x.targets)
		for _, id := range in.IDs {
			i := slices.IndexFunc(targets, func(t *target) bool { return t.ID == id })
			if i < 0 {
				out.FailedEntryCount++
				out.FailedEntries = append(out.FailedEntries, failedTarget{TargetID: id, ErrorCode: "ResourceNotFoundException",
					ErrorMessage: fmt.Sprintf("Rule '%s' does not have a target with the Id '%s'.", x.Name, id)})
				continue
			}
			targets = slices.Delete(targets, i, i+1)
		}
		s.setTargets(b, x, targets)
		return x.key(), x, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type listTargetsByRuleInput struct {
	Rule         *string `json:"Rule"`
	EventBusName *string `json:"EventBusName"`
	NextToken    string  `json:"NextToken"`
	Limit        *int64  `json:"Limit"`
}

type listTargetsByRuleOutput struct {
	Targets   []Target `json:"Targets"`
	NextToken string   `json:"NextToken,omitzero"`
}

func (s *Service) listTargetsByRule(_ context.Context, r *wire.Request, in *listTargetsByRuleInput) (*listTargetsByRuleOutput, error) {
	var c check
	name := c.name("rule", in.Rule, namePattern, nameShown, 64)
	busName := c.bus("eventBusName", in.EventBusName)
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, x, err := s.rule(r, busName, name)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(x.Targets)
	slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.ID, b.ID) })
	list, next, err := page.Of(all, func(t Target) string { return t.ID }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	if list == nil {
		list = []Target{}
	}
	return &listTargetsByRuleOutput{Targets: list, NextToken: next}, nil
}
