package events

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/stack/wire"
)

const maxTags = 50

func checkTags(c *check, tags []Tag) {
	for i, t := range tags {
		c.Length(fmt.Sprintf("tags.%d.member.key", i+1), t.Key, 1, 128)
		c.Length(fmt.Sprintf("tags.%d.member.value", i+1), t.Value, 0, 256)
	}
}

// setTags returns the tags with others added, or replaced.
func setTags(tags, more []Tag) []Tag {
	tags = slices.Clone(tags)
	for _, t := range more {
		if i := slices.IndexFunc(tags, func(old Tag) bool { return old.Key == t.Key }); i >= 0 {
			tags[i] = t
		} else {
			tags = append(tags, t)
		}
	}
	return tags
}

// tagged returns the tags of the rule or bus that an ARN names, its key and itself, for the store.
func (s *Service) tagged(r *wire.Request, arn string) (tags *[]Tag, key string, value any, err error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[2] != "events" || (place{parts[4], parts[3]}) != home(r) {
		return nil, "", nil, wire.Errorf("ValidationException", "Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
	}
	if name, ok := strings.CutPrefix(parts[5], "event-bus/"); ok {
		b, err := s.bus(r, name)
		if err != nil {
			return nil, "", nil, err
		}
		return &b.Tags, b.key(), b, nil
	}
	name, ok := strings.CutPrefix(parts[5], "rule/")
	if !ok {
		return nil, "", nil, wire.Errorf("ValidationException", "Parameter ResourceARN is not valid. Reason: Only rules and event buses have tags.")
	}
	bus := defaultBus
	if i := strings.LastIndex(name, "/"); i >= 0 {
		bus, name = name[:i], name[i+1:]
	}
	_, x, err := s.rule(r, bus, name)
	if err != nil {
		return nil, "", nil, err
	}
	return &x.Tags, x.key(), x, nil
}

type resourceInput struct {
	ResourceARN *string  `json:"ResourceARN"`
	Tags        []Tag    `json:"Tags"`
	TagKeys     []string `json:"TagKeys"`
}

type tagsOutput struct {
	Tags []Tag `json:"Tags"`
}

func (s *Service) listTagsForResource(_ context.Context, r *wire.Request, in *resourceInput) (*tagsOutput, error) {
	var c check
	c.Required("resourceARN", in.ResourceARN != nil)
	arn := c.text("resourceARN", in.ResourceARN, 1, 1600)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tags, _, _, err := s.tagged(r, arn)
	if err != nil {
		return nil, err
	}
	return &tagsOutput{Tags: append([]Tag{}, *tags...)}, nil
}

func (s *Service) tagResource(_ context.Context, r *wire.Request, in *resourceInput) (*struct{}, error) {
	var c check
	c.Required("resourceARN", in.ResourceARN != nil)
	c.Required("tags", in.Tags != nil)
	arn := c.text("resourceARN", in.ResourceARN, 1, 1600)
	checkTags(&c, in.Tags)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &struct{}{}, s.change(func() (string, any, error) {
		tags, key, value, err := s.tagged(r, arn)
		if err != nil {
			return "", nil, err
		}
		more := setTags(*tags, in.Tags)
		if len(more) > maxTags {
			return "", nil, wire.Errorf("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
		}
		*tags = more
		return key, value, nil
	})
}

func (s *Service) untagResource(_ context.Context, r *wire.Request, in *resourceInput) (*struct{}, error) {
	var c check
	c.Required("resourceARN", in.ResourceARN != nil)
	c.Required("tagKeys", in.TagKeys != nil)
	arn := c.text("resourceARN", in.ResourceARN, 1, 1600)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &struct{}{}, s.change(func() (string, any, error) {
		tags, key, value, err := s.tagged(r, arn)
		if err != nil {
			return "", nil, err
		}
		*tags = slices.DeleteFunc(slices.Clone(*tags), func(t Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return key, value, nil
	})
}
