package events

import (
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/wire"
)

// bus is an event bus.
type bus struct {
	place `json:"-"`

	Name        string
	Description string
	DeadLetter  string `json:",omitzero"` // ARN; AWS uses it for what it cannot decrypt, and nothing is encrypted here
	Statements  []statement
	Version     string // of the policy document
	Tags        []Tag
	Created     time.Time
	Modified    time.Time

	rules   map[string]*rule
	policy  *policy.Policy
	matcher *matcher // nil if it must be made anew
}

// statement is one of a policy's, and its name.
type statement struct {
	SID  string
	Text jsontext.Value
}

func (b *bus) arn() string { return b.place.arn("event-bus/" + b.Name) }
func (b *bus) key() string { return "events/bus/" + b.account + "/" + b.region + "/" + b.Name }

// document is the bus's policy as text, nil if it has none.
func (b *bus) document() *string {
	if len(b.Statements) == 0 {
		return nil
	}
	var list []jsontext.Value
	for _, s := range b.Statements {
		list = append(list, s.Text)
	}
	doc, err := json.Marshal(struct {
		Version   string
		Statement []jsontext.Value
	}{b.Version, list})
	if err != nil { // the statements have been read as JSON
		return nil
	}
	text := string(doc)
	return &text
}

// DeadLetterConfig names the queue for what cannot be delivered.
type DeadLetterConfig struct {
	Arn string `json:"Arn,omitzero"`
}

// Tag is a tag.
type Tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

type logConfig struct {
	IncludeDetail *string `json:"IncludeDetail,omitzero"`
	Level         *string `json:"Level,omitzero"`
}

type eventBusInput struct {
	Name             *string           `json:"Name"`
	EventSourceName  *string           `json:"EventSourceName"`
	Description      *string           `json:"Description"`
	KmsKeyIdentifier *string           `json:"KmsKeyIdentifier"`
	DeadLetterConfig *DeadLetterConfig `json:"DeadLetterConfig"`
	LogConfig        *logConfig        `json:"LogConfig"`
	Tags             []Tag             `json:"Tags"`
}

// check checks what creating and updating have in common.
func (in *eventBusInput) check(c *check) error {
	c.text("description", in.Description, 0, 512)
	if in.LogConfig != nil && in.LogConfig.Level != nil {
		c.Enum("logConfig.level", *in.LogConfig.Level, "OFF", "ERROR", "INFO", "TRACE")
	}
	if in.LogConfig != nil && in.LogConfig.IncludeDetail != nil {
		c.Enum("logConfig.includeDetail", *in.LogConfig.IncludeDetail, "NONE", "FULL")
	}
	checkTags(c, in.Tags)
	if err := c.Err(); err != nil {
		return err
	}
	if in.KmsKeyIdentifier != nil && *in.KmsKeyIdentifier != "" {
		return invalid("KmsKeyIdentifier", "millrace's local stack does not encrypt.")
	}
	if l := in.LogConfig; l != nil && l.Level != nil && *l.Level != "OFF" {
		return invalid("LogConfig", "millrace's local stack does not log what a bus does; the level OFF is the only one.")
	}
	return checkDeadLetter(in.DeadLetterConfig, "")
}

// checkDeadLetter refuses what cannot be a dead-letter queue. region is the one that the queue must be in, if it
// is not empty.
func checkDeadLetter(d *DeadLetterConfig, region string) error {
	if d == nil || d.Arn == "" {
		return nil
	}
	parts := strings.SplitN(d.Arn, ":", 6)
	switch {
	case len(parts) < 6 || parts[0] != "arn" || parts[5] == "":
		return invalid(d.Arn, "Provided Arn is not in correct format.")
	case parts[2] != "sqs":
		return wire.Errorf("ValidationException", "%s is not supported as a dead letter resource.", parts[2])
	case strings.HasSuffix(parts[5], ".fifo"):
		return wire.Errorf("ValidationException", "SQS FIFO is not supported by Dead Letter Queues.")
	case region != "" && parts[3] != region:
		return invalid("DeadLetterConfig.Arn", "The queue %s is not in the region %s of the rule.", d.Arn, region)
	}
	return nil
}

func deadLetterOf(d *DeadLetterConfig) string {
	if d == nil {
		return ""
	}
	return d.Arn
}

func deadLetter(arn string) *DeadLetterConfig {
	if arn == "" {
		return nil
	}
	return &DeadLetterConfig{Arn: arn}
}

type createEventBusOutput struct {
	EventBusArn      string            `json:"EventBusArn"`
	Description      string            `json:"Description,omitzero"`
	DeadLetterConfig *DeadLetterConfig `json:"DeadLetterConfig,omitzero"`
	LogConfig        *logConfig        `json:"LogConfig,omitzero"`
}

func (s *Service) createEventBus(_ context.Context, r *wire.Request, in *eventBusInput) (*createEventBusOutput, error) {
	var c check
	name := c.name("name", in.Name, busNamePattern, busNameShown, 256)
	if err := in.check(&c); err != nil {
		return nil, err
	}
	if in.EventSourceName != nil {
		if *in.EventSourceName != name {
			return nil, wire.Errorf("ValidationException", "Event bus name must match event source name.")
		}
		return nil, wire.Errorf("ResourceNotFoundException", "Event source %s does not exist.", *in.EventSourceName)
	}
	if strings.Contains(name, "/") {
		return nil, wire.Errorf("ValidationException", "Event bus name must not contain '/'.")
	}
	var b *bus
	err := s.change(func() (string, any, error) {
		here := s.at(home(r))
		if here.buses[name] != nil {
			return "", nil, wire.Errorf("ResourceAlreadyExistsException", "Event bus %s already exists.", name)
		}
		now := s.env.Clock.Now()
		b = &bus{place: here.place, Name: name, DeadLetter: deadLetterOf(in.DeadLetterConfig), Tags: setTags(nil, in.Tags),
			Created: now, Modified: now, rules: map[string]*rule{}}
		if in.Description != nil {
			b.Description = *in.Description
		}
		here.buses[name] = b
		return b.key(), b, nil
	})
	if err != nil {
		return nil, err
	}
	return &createEventBusOutput{EventBusArn: b.arn(), Description: b.Description, DeadLetterConfig: deadLetter(b.DeadLetter), LogConfig: in.LogConfig}, nil
}

type updateEventBusOutput struct {
	Arn              string            `json:"Arn"`
	Name             string            `json:"Name"`
	Description      string            `json:"Description,omitzero"`
	DeadLetterConfig *DeadLetterConfig `json:"DeadLetterConfig,omitzero"`
	LogConfig        *logConfig        `json:"LogConfig,omitzero"`
}

func (s *Service) updateEventBus(_ context.Context, r *wire.Request, in *eventBusInput) (*updateEventBusOutput, error) {
	var c check
	if in.Name != nil {
		c.name("name", in.Name, busNamePattern, busNameShown, 256)
	}
	if err := in.check(&c); err != nil {
		return nil, err
	}
	out := &updateEventBusOutput{LogConfig: in.LogConfig}
	err := s.change(func() (string, any, error) {
		name := defaultBus
		if in.Name != nil {
			name = *in.Name
		}
		b, err := s.bus(r, name)
		if err != nil {
			return "", nil, err
		}
		if in.Description != nil {
			b.Description = *in.Description
		}
		if in.DeadLetterConfig != nil {
			b.DeadLetter = in.DeadLetterConfig.Arn
		}
		b.Modified = s.env.Clock.Now()
		out.Arn, out.Name, out.Description, out.DeadLetterConfig = b.arn(), b.Name, b.Description, deadLetter(b.DeadLetter)
		return b.key(), b, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type nameInput struct {
	Name *string `json:"Name"`
}

type describeEventBusOutput struct {
	Name             string            `json:"Name"`
	Arn              string            `json:"Arn"`
	Description      string            `json:"Description,omitzero"`
	DeadLetterConfig *DeadLetterConfig `json:"DeadLetterConfig,omitzero"`
	Policy           *string           `json:"Policy,omitzero"`
	CreationTime     wire.Time         `json:"CreationTime"`
	LastModifiedTime wire.Time         `json:"LastModifiedTime"`
}

func (s *Service) describeEventBus(_ context.Context, r *wire.Request, in *nameInput) (*describeEventBusOutput, error) {
	var c check
	name := c.bus("name", in.Name)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bus(r, name)
	if err != nil {
		return nil, err
	}
	return &describeEventBusOutput{Name: b.Name, Arn: b.arn(), Description: b.Description, DeadLetterConfig: deadLetter(b.DeadLetter),
		Policy: b.document(), CreationTime: wire.Time{Time: b.Created}, LastModifiedTime: wire.Time{Time: b.Modified}}, nil
}

func (s *Service) deleteEventBus(_ context.Context, r *wire.Request, in *nameInput) (*wire.None, error) {
	var c check
	name := c.name("name", in.Name, busNamePattern, busNameShown, 256)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if name == defaultBus {
		return nil, wire.Errorf("ValidationException", "Cannot delete event bus default.")
	}
	return &wire.None{}, s.change(func() (string, any, error) {
		here := s.at(home(r))
		b := here.buses[name]
		switch {
		case b == nil: // AWS says yes to this
			return "", nil, nil
		case len(b.rules) > 0:
			return "", nil, wire.Errorf("ValidationException", "EventBus can't be deleted since it has rules.")
		}
		delete(here.buses, name)
		return b.key(), nil, nil
	})
}

type listEventBusesInput struct {
	NamePrefix *string `json:"NamePrefix"`
	NextToken  string  `json:"NextToken"`
	Limit      *int64  `json:"Limit"`
}

type listEventBusesOutput struct {
	EventBuses []busSummary `json:"EventBuses"`
	NextToken  string       `json:"NextToken,omitzero"`
}

type busSummary struct {
	Name             string    `json:"Name"`
	Arn              string    `json:"Arn"`
	Description      string    `json:"Description,omitzero"`
	Policy           *string   `json:"Policy,omitzero"`
	CreationTime     wire.Time `json:"CreationTime"`
	LastModifiedTime wire.Time `json:"LastModifiedTime"`
}

func (s *Service) listEventBuses(_ context.Context, r *wire.Request, in *listEventBusesInput) (*listEventBusesOutput, error) {
	var c check
	prefix := c.prefix(in.NamePrefix, busNamePattern, busNameShown, 256)
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := sorted(s.at(home(r)).buses, func(name string, _ *bus) bool { return strings.HasPrefix(name, prefix) })
	list, next, err := page.Of(all, func(b *bus) string { return b.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listEventBusesOutput{EventBuses: make([]busSummary, 0, len(list)), NextToken: next}
	for _, b := range list {
		out.EventBuses = append(out.EventBuses, busSummary{Name: b.Name, Arn: b.arn(), Description: b.Description, Policy: b.document(),
			CreationTime: wire.Time{Time: b.Created}, LastModifiedTime: wire.Time{Time: b.Modified}})
	}
	return out, nil
}
