package events

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/cron"
	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/wire"
)

// maxPattern is the quota of EventBridge; the API's model says 4,096.
const maxPattern = 2048

// States of a rule.
const (
	enabled    = "ENABLED"
	disabled   = "DISABLED"
	cloudTrail = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
)

// rule is a rule of a bus.
type rule struct {
	place `json:"-"`

	Bus, Name   string
	Pattern     string `json:",omitzero"`
	Schedule    string `json:",omitzero"`
	State       string
	Description string    `json:",omitzero"`
	Role        string    `json:",omitzero"`
	Since       time.Time // when it was put or enabled: a rate counts from here
	Targets     []Target  // replaced as a whole, never changed
	Tags        []Tag

	pattern    *router.Pattern
	expression cron.Expression
	targets    []*target // compiled, replaced as a whole
	next       time.Time // run of the schedule; zero if there is none
	late       int       // runs that were made up since the schedule was last in time
}

func (r *rule) arn() string {
	if r.Bus == defaultBus {
		return r.place.arn("rule/" + r.Name)
	}
	return r.place.arn("rule/" + r.Bus + "/" + r.Name)
}

func (r *rule) key() string {
	return "events/rule/" + r.account + "/" + r.region + "/" + r.Bus + "/" + r.Name
}

func (r *rule) id() ruleKey { return ruleKey{r.place, r.Bus, r.Name} }

func (r *rule) on() bool { return r.State != disabled }

// compile reads what the rule's texts mean.
func (r *rule) compile() error {
	if r.Pattern != "" {
		var err error
		if r.pattern, err = compilePattern(r.Pattern); err != nil {
			return err
		}
	}
	if r.Schedule != "" {
		e, err := cron.Parse(r.Schedule, cron.Rule)
		if err != nil || cron.IsOnce(e) {
			return wire.Errorf("ValidationException", "Parameter ScheduleExpression is not valid.")
		}
		r.expression = e
	}
	return nil
}

func compilePattern(text string) (*router.Pattern, error) {
	p, err := router.Compile([]byte(text), router.EventBridge)
	if err == nil {
		return p, nil
	}
	var refused *router.InvalidError
	if errors.As(err, &refused) {
		return nil, wire.Errorf("InvalidEventPatternException", "%s", refused.Error())
	}
	return nil, err
}

// noRule is said of a rule that is not there.
func noRule(name, bus string) error {
	return wire.Errorf("ResourceNotFoundException", "Rule %s does not exist on EventBus %s.", name, bus)
}

// rule returns a rule of a bus that a request names. The caller holds the lock for writing.
func (s *Service) rule(r *wire.Request, busName, name string) (*bus, *rule, error) {
	b, err := s.bus(r, busName)
	if err != nil {
		return nil, nil, err
	}
	x := b.rules[name]
	if x == nil {
		return nil, nil, noRule(name, b.Name)
	}
	return b, x, nil
}

type putRuleInput struct {
	Name               *string `json:"Name"`
	ScheduleExpression *string `json:"ScheduleExpression"`
	EventPattern       *string `json:"EventPattern"`
	State              *string `json:"State"`
	Description        *string `json:"Description"`
	RoleArn            *string `json:"RoleArn"`
	Tags               []Tag   `json:"Tags"`
	EventBusName       *string `json:"EventBusName"`
}

type putRuleOutput struct {
	RuleArn string `json:"RuleArn"`
}

func (s *Service) putRule(_ context.Context, r *wire.Request, in *putRuleInput) (*putRuleOutput, error) {
	var c check
	now := s.env.Clock.Now()
	x := &rule{
		Name: c.name("name", in.Name, namePattern, nameShown, 64), Pattern: c.text("eventPattern", in.EventPattern, 0, 4096),
		Schedule: c.text("scheduleExpression", in.ScheduleExpression, 0, 256), Description: c.text("description", in.Description, 0, 512),
		Role: c.text("roleArn", in.RoleArn, 1, 1600), State: enabled, Since: now,
	}
	busName := c.bus("eventBusName", in.EventBusName)
	if in.State != nil {
		x.State = *in.State
		c.Enum("state", x.State, enabled, disabled, cloudTrail)
	}
	checkTags(&c, in.Tags)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if x.Pattern == "" && x.Schedule == "" {
		return nil, wire.Errorf("ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if len(x.Pattern) > maxPattern {
		return nil, wire.Errorf("ValidationException", "Parameter EventPattern for rule %s exceeds limit of %d.", x.Name, maxPattern)
	}
	err := s.change(func() (string, any, error) {
		b, err := s.bus(r, busName)
		if err != nil {
			return "", nil, err
		}
		if x.Schedule != "" && b.Name != defaultBus {
			return "", nil, wire.Errorf("ValidationException", "ScheduleExpression is supported only on the default event bus.")
		}
		if err := x.compile(); err != nil {
			return "", nil, err
		}
		x.place, x.Bus, x.Tags = b.place, b.Name, setTags(nil, in.Tags)
		if old := b.rules[x.Name]; old != nil { // a rule keeps its targets and tags; all else is replaced
			x.Targets, x.targets, x.Tags = old.Targets, old.targets, old.Tags
		}
		b.rules[x.Name] = x
		s.changed(b, x)
		return x.key(), x, nil
	})
	if err != nil {
		return nil, err
	}
	return &putRuleOutput{RuleArn: x.arn()}, nil
}

// changed makes a rule's change take effect. The caller holds the lock.
func (s *Service) changed(b *bus, r *rule) {
	b.matcher = nil
	s.arm(r, s.env.Clock.Now())
}

type ruleInput struct {
	Name         *string `json:"Name"`
	EventBusName *string `json:"EventBusName"`
	Force        bool    `json:"Force"`
}

func (in *ruleInput) check() (busName, name string, err error) {
	var c check
	name = c.name("name", in.Name, namePattern, nameShown, 64)
	busName = c.bus("eventBusName", in.EventBusName)
	return busName, name, c.Err()
}

type ruleOutput struct {
	Name               string  `json:"Name"`
	Arn                string  `json:"Arn"`
	EventPattern       *string `json:"EventPattern,omitzero"`
	ScheduleExpression *string `json:"ScheduleExpression,omitzero"`
	State              string  `json:"State"`
	Description        *string `json:"Description,omitzero"`
	RoleArn            *string `json:"RoleArn,omitzero"`
	EventBusName       string  `json:"EventBusName"`
	CreatedBy          string  `json:"CreatedBy,omitzero"`
}

func (r *rule) output() ruleOutput {
	return ruleOutput{Name: r.Name, Arn: r.arn(), EventPattern: ptr(r.Pattern), ScheduleExpression: ptr(r.Schedule), State: r.State,
		Description: ptr(r.Description), RoleArn: ptr(r.Role), EventBusName: r.Bus}
}

func (s *Service) describeRule(_ context.Context, r *wire.Request, in *ruleInput) (*ruleOutput, error) {
	busName, name, err := in.check()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, x, err := s.rule(r, busName, name)
	if err != nil {
		return nil, err
	}
	out := x.output()
	out.CreatedBy = x.account
	return &out, nil
}

type listRulesInput struct {
	NamePrefix   *string `json:"NamePrefix"`
	EventBusName *string `json:"EventBusName"`
	NextToken    string  `json:"NextToken"`
	Limit        *int64  `json:"Limit"`
}

type listRulesOutput struct {
	Rules     []ruleOutput `json:"Rules"`
	NextToken string       `json:"NextToken,omitzero"`
}

func (s *Service) listRules(_ context.Context, r *wire.Request, in *listRulesInput) (*listRulesOutput, error) {
	var c check
	prefix := c.prefix(in.NamePrefix, namePattern, nameShown, 64)
	busName := c.bus("eventBusName", in.EventBusName)
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bus(r, busName)
	if err != nil {
		return nil, err
	}
	all := sorted(b.rules, func(name string, _ *rule) bool { return strings.HasPrefix(name, prefix) })
	list, next, err := page.Of(all, func(x *rule) string { return x.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listRulesOutput{Rules: make([]ruleOutput, 0, len(list)), NextToken: next}
	for _, x := range list {
		out.Rules = append(out.Rules, x.output())
	}
	return out, nil
}

type listRuleNamesByTargetInput struct {
	TargetArn    *string `json:"TargetArn"`
	EventBusName *string `json:"EventBusName"`
	NextToken    string  `json:"NextToken"`
	Limit        *int64  `json:"Limit"`
}

type listRuleNamesByTargetOutput struct {
	RuleNames []string `json:"RuleNames"`
	NextToken string   `json:"NextToken,omitzero"`
}

func (s *Service) listRuleNamesByTarget(_ context.Context, r *wire.Request, in *listRuleNamesByTargetInput) (*listRuleNamesByTargetOutput, error) {
	var c check
	c.Required("targetArn", in.TargetArn != nil)
	arn := c.text("targetArn", in.TargetArn, 1, 1600)
	busName := c.bus("eventBusName", in.EventBusName)
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bus(r, busName)
	if err != nil {
		return nil, err
	}
	all := sorted(b.rules, func(_ string, x *rule) bool {
		for _, t := range x.Targets {
			if t.Arn == arn {
				return true
			}
		}
		return false
	})
	list, next, err := page.Of(all, func(x *rule) string { return x.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listRuleNamesByTargetOutput{RuleNames: make([]string, 0, len(list)), NextToken: next}
	for _, x := range list {
		out.RuleNames = append(out.RuleNames, x.Name)
	}
	return out, nil
}

func (s *Service) enableRule(_ context.Context, r *wire.Request, in *ruleInput) (*wire.None, error) {
	return s.setState(r, in, enabled)
}

func (s *Service) disableRule(_ context.Context, r *wire.Request, in *ruleInput) (*wire.None, error) {
	return s.setState(r, in, disabled)
}

func (s *Service) setState(r *wire.Request, in *ruleInput, state string) (*wire.None, error) {
	busName, name, err := in.check()
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(func() (string, any, error) {
		b, x, err := s.rule(r, busName, name)
		if err != nil {
			return "", nil, err
		}
		if x.on() == (state == enabled) {
			return "", nil, nil
		}
		x.State = state
		x.Since = s.env.Clock.Now()
		s.changed(b, x)
		return x.key(), x, nil
	})
}

func (s *Service) deleteRule(_ context.Context, r *wire.Request, in *ruleInput) (*wire.None, error) {
	busName, name, err := in.check()
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(func() (string, any, error) {
		b, err := s.bus(r, busName)
		if err != nil {
			return "", nil, err
		}
		x := b.rules[name]
		if x == nil { // AWS says yes to this
			return "", nil, nil
		}
		if len(x.Targets) > 0 {
			return "", nil, wire.Errorf("ValidationException", "Rule can't be deleted since it has targets.")
		}
		delete(b.rules, name)
		b.matcher = nil
		s.alarm.Stop(x.id())
		return x.key(), nil, nil
	})
}

type testEventPatternInput struct {
	EventPattern *string `json:"EventPattern"`
	Event        *string `json:"Event"`
}

type testEventPatternOutput struct {
	Result bool `json:"Result"`
}

func (s *Service) testEventPattern(_ context.Context, _ *wire.Request, in *testEventPatternInput) (*testEventPatternOutput, error) {
	var c check
	c.Required("eventPattern", in.EventPattern != nil)
	c.Required("event", in.Event != nil)
	pattern := c.text("eventPattern", in.EventPattern, 0, 4096)
	if err := c.Err(); err != nil {
		return nil, err
	}
	p, err := compilePattern(cmp.Or(pattern, " "))
	if err != nil {
		return nil, err
	}
	if err := checkTestEvent(*in.Event); err != nil {
		return nil, err
	}
	match, err := p.Match([]byte(*in.Event))
	if err != nil {
		return nil, wire.Errorf("ValidationException", "Parameter Event is not valid.")
	}
	return &testEventPatternOutput{Result: match}, nil
}
