package scheduler

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// group is a schedule group.
type group struct {
	place `json:"-"`

	Name              string
	Token             string `json:",omitzero"` // of the request that made it
	Tags              []tag
	Created, Modified time.Time

	schedules map[string]*schedule
}

type tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

const maxTags = 200

func (g *group) arn() string { return g.place.arn("schedule-group/" + g.Name) }
func (g *group) key() string {
	return "scheduler/group/" + g.account + "/" + g.region + "/" + g.Name
}

func noGroup(name string) error { return notFound("Schedule group %s does not exist.", name) }

// notDefault refuses what cannot be done to the default group.
func notDefault(name string) error {
	if name == defaultGroup {
		return invalid("This operation cannot be performed on schedule group default.")
	}
	return nil
}

type groupInput struct {
	Name        string  `json:"-" path:"Name"`
	ClientToken *string `json:"ClientToken"`
	Tags        []tag   `json:"Tags"`
}

type createGroupOutput struct {
	ScheduleGroupArn string `json:"ScheduleGroupArn"`
}

func (c *check) tags(tags []tag) {
	c.Count("tags", fmt.Sprint(tags), len(tags), 0, maxTags)
	for i, t := range tags {
		c.Length(fmt.Sprintf("tags.%d.member.key", i+1), t.Key, 1, 128)
		c.Length(fmt.Sprintf("tags.%d.member.value", i+1), t.Value, 1, 256)
	}
}

func (s *Service) createGroup(_ context.Context, r *wire.Request, in *groupInput) (*createGroupOutput, error) {
	var c check
	c.name("name", &in.Name)
	c.token(in.ClientToken)
	c.tags(in.Tags)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if err := notDefault(in.Name); err != nil {
		return nil, err
	}
	var out *createGroupOutput
	err := s.change(func(b *store.Batch) error {
		groups := s.at(home(r))
		if old := groups[in.Name]; old != nil {
			if in.ClientToken == nil || old.Token != *in.ClientToken || !slices.Equal(old.Tags, in.Tags) {
				return conflict("Schedule group %s already exists.", in.Name)
			}
			out = &createGroupOutput{ScheduleGroupArn: old.arn()}
			return nil
		}
		now := s.env.Clock.Now()
		g := &group{place: home(r), Name: in.Name, Token: value(in.ClientToken, ""), Tags: in.Tags, Created: now, Modified: now, schedules: map[string]*schedule{}}
		if err := s.env.Store.SetJSON(b, g.key(), g); err != nil {
			return err
		}
		groups[g.Name] = g
		out = &createGroupOutput{ScheduleGroupArn: g.arn()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type groupSummary struct {
	Arn                  string    `json:"Arn"`
	Name                 string    `json:"Name"`
	State                string    `json:"State"`
	CreationDate         wire.Time `json:"CreationDate"`
	LastModificationDate wire.Time `json:"LastModificationDate"`
}

func (g *group) summary() groupSummary {
	return groupSummary{Arn: g.arn(), Name: g.Name, State: "ACTIVE", CreationDate: wire.Time{Time: g.Created}, LastModificationDate: wire.Time{Time: g.Modified}}
}

func (s *Service) getGroup(_ context.Context, r *wire.Request, in *groupInput) (*groupSummary, error) {
	var c check
	c.name("name", &in.Name)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.at(home(r))[in.Name]
	if g == nil {
		return nil, noGroup(in.Name)
	}
	out := g.summary()
	return &out, nil
}

type deleteGroupInput struct {
	Name        string  `json:"-" path:"Name"`
	ClientToken *string `json:"-" uri:"clientToken"`
}

// deleteGroup deletes a group with its schedules, at once: on AWS that takes a while.
func (s *Service) deleteGroup(_ context.Context, r *wire.Request, in *deleteGroupInput) (*struct{}, error) {
	var c check
	c.name("name", &in.Name)
	c.token(in.ClientToken)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if err := notDefault(in.Name); err != nil {
		return nil, err
	}
	return &struct{}{}, s.change(func(b *store.Batch) error {
		groups := s.at(home(r))
		g := groups[in.Name]
		if g == nil {
			if s.again(r, in.ClientToken) {
				return nil
			}
			return noGroup(in.Name)
		}
		for _, x := range g.schedules {
			s.alarm.Stop(x.id())
			b.Delete(x.key())
		}
		b.Delete(g.key())
		delete(groups, in.Name)
		s.remember(r, in.ClientToken)
		return nil
	})
}

type listGroupsInput struct {
	MaxResults *int64  `json:"-" uri:"MaxResults"`
	NamePrefix *string `json:"-" uri:"NamePrefix"`
	NextToken  string  `json:"-" uri:"NextToken"`
}

type listGroupsOutput struct {
	NextToken      string         `json:"NextToken,omitzero"`
	ScheduleGroups []groupSummary `json:"ScheduleGroups"`
}

func (s *Service) listGroups(_ context.Context, r *wire.Request, in *listGroupsInput) (*listGroupsOutput, error) {
	var c check
	limit := c.limit(in.MaxResults)
	c.name("namePrefix", in.NamePrefix)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := sorted(s.at(home(r)), func(name string, _ *group) bool { return strings.HasPrefix(name, value(in.NamePrefix, "")) })
	list, next, err := page.Of(all, func(g *group) string { return g.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listGroupsOutput{NextToken: next, ScheduleGroups: make([]groupSummary, 0, len(list))}
	for _, g := range list {
		out.ScheduleGroups = append(out.ScheduleGroups, g.summary())
	}
	return out, nil
}

var groupARN = regexp.MustCompile(`^arn:aws(-[a-z]+)?:scheduler:[a-z0-9\-]+:\d{12}:schedule-group/[0-9a-zA-Z-_.]+$`)

const groupARNShown = `^arn:aws(-[a-z]+)?:scheduler:[a-z0-9\-]+:\d{12}:schedule-group\/[0-9a-zA-Z-_.]+$`

type tagsInput struct {
	ResourceArn string   `json:"-" path:"ResourceArn"`
	Tags        []tag    `json:"Tags"`
	TagKeys     []string `json:"-" uri:"TagKeys"`
}

type tagsOutput struct {
	Tags []tag `json:"Tags"`
}

func (in *tagsInput) check(more ...func(c *check)) error {
	var c check
	c.Pattern("resourceArn", in.ResourceArn, groupARN, groupARNShown)
	c.Length("resourceArn", in.ResourceArn, 1, 1011)
	for _, f := range more {
		f(&c)
	}
	return c.Err()
}

// tagged returns the group that an ARN names. The caller holds the lock.
func (s *Service) tagged(r *wire.Request, arn string) (*group, error) {
	name := arn[strings.LastIndex(arn, "/")+1:]
	if g := s.at(home(r))[name]; g != nil && g.arn() == arn {
		return g, nil
	}
	return nil, noGroup(name)
}

func (s *Service) listTags(_ context.Context, r *wire.Request, in *tagsInput) (*tagsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.tagged(r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &tagsOutput{Tags: append([]tag{}, g.Tags...)}, nil
}

func (s *Service) tag(_ context.Context, r *wire.Request, in *tagsInput) (*struct{}, error) {
	err := in.check(func(c *check) {
		c.Required("tags", in.Tags != nil)
		c.tags(in.Tags)
	})
	if err != nil {
		return nil, err
	}
	return &struct{}{}, s.retag(r, in.ResourceArn, func(tags []tag) []tag {
		for _, t := range in.Tags {
			if i := slices.IndexFunc(tags, func(old tag) bool { return old.Key == t.Key }); i >= 0 {
				tags[i] = t
			} else {
				tags = append(tags, t)
			}
		}
		return tags
	})
}

func (s *Service) untag(_ context.Context, r *wire.Request, in *tagsInput) (*struct{}, error) {
	if err := in.check(func(c *check) { c.Required("tagKeys", in.TagKeys != nil) }); err != nil {
		return nil, err
	}
	return &struct{}{}, s.retag(r, in.ResourceArn, func(tags []tag) []tag {
		return slices.DeleteFunc(tags, func(t tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	})
}

// retag replaces the tags of a group by what f makes of a copy of them.
func (s *Service) retag(r *wire.Request, arn string, f func([]tag) []tag) error {
	return s.change(func(b *store.Batch) error {
		g, err := s.tagged(r, arn)
		if err != nil {
			return err
		}
		tags := f(slices.Clone(g.Tags))
		if len(tags) > maxTags {
			return invalid("A schedule group has at most %d tags.", maxTags)
		}
		g.Tags, g.Modified = tags, s.env.Clock.Now()
		return s.env.Store.SetJSON(b, g.key(), g)
	})
}
