package dynamodb

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func (s *Service) updateTimeToLive(_ context.Context, r *wire.Request, in *updateTimeToLiveInput) (*updateTimeToLiveOutput, error) {
	var c wire.Check
	if err := tableNameError(&c, in.TableName); err != nil {
		return nil, err
	}
	spec := in.TimeToLiveSpecification
	c.Required("timeToLiveSpecification", spec != nil)
	if spec != nil {
		c.Required("timeToLiveSpecification.enabled", spec.Enabled != nil)
		c.Length("timeToLiveSpecification.attributeName", spec.AttributeName, 1, 255)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	t, err := s.named(r, in.TableName)
	if err != nil {
		return nil, err
	}
	commit, err := s.switchTTL(t, spec)
	if err != nil {
		return nil, err
	}
	if err := commit.Wait(); err != nil {
		return nil, err
	}
	return &updateTimeToLiveOutput{spec}, nil
}

func (s *Service) switchTTL(t *table, spec *timeToLiveSpecification) (c store.Commit, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.gone:
		return c, notFound(t.Name)
	case *spec.Enabled && t.TTL == spec.AttributeName:
		return c, invalid("TimeToLive is already enabled")
	case !*spec.Enabled && t.TTL == "":
		return c, invalid("TimeToLive is already disabled")
	case t.TTL != "" && t.TTL != spec.AttributeName:
		return c, invalid("TimeToLive is active on a different AttributeName: current AttributeName is " + t.TTL)
	}
	if *spec.Enabled {
		t.setTTL(spec.AttributeName)
	} else {
		t.setTTL("")
		t.watched = time.Time{}
		s.expiries.Stop(t)
	}
	s.watch(t)
	var b store.Batch
	t.keep(&b)
	return s.env.Store.Commit(&b), nil
}

func (s *Service) describeTimeToLive(_ context.Context, r *wire.Request, in *tableInput) (*describeTimeToLiveOutput, error) {
	t, err := s.named(r, in.TableName)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := timeToLiveDescription{AttributeName: t.TTL, TimeToLiveStatus: "ENABLED"}
	if t.TTL == "" {
		d.TimeToLiveStatus = "DISABLED"
	}
	return &describeTimeToLiveOutput{d}, nil
}

// Limits of tags.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	tagsPerPage = 10
)

// withTags is a list of tags, sorted by their keys, with others set.
func withTags(old, set []tag) ([]tag, error) {
	out := slices.Clone(old)
	for i, g := range set {
		n := len([]rune(g.Key))
		switch {
		case n == 0 || n > maxTagKey:
			return nil, invalid("The Tag Key provided is invalid, Key: " + g.Key)
		case g.Value == nil:
			return nil, invalid("The Tag Value provided is invalid, Value: null")
		case len([]rune(*g.Value)) > maxTagValue:
			return nil, invalid("The Tag Value provided is invalid, Value: " + *g.Value)
		case strings.HasPrefix(g.Key, "aws:"):
			return nil, invalid("Tag Key cannot be prefixed with aws:, Key: " + g.Key)
		case slices.ContainsFunc(set[:i], func(h tag) bool { return h.Key == g.Key }):
			return nil, invalid("Duplicate Tag Keys provided as input: Duplicate Tag Key found " + g.Key)
		}
		at, ok := slices.BinarySearchFunc(out, g.Key, func(h tag, key string) int { return strings.Compare(h.Key, key) })
		if ok {
			out[at] = g
		} else {
			out = slices.Insert(out, at, g)
		}
	}
	if len(out) > maxTags {
		return nil, invalid("Number of Tags exceed the current limit for the provided ResourceArn")
	}
	return out, nil
}

var tableARNPattern = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{3,255}$`)

// tagged finds the table that an ARN names.
func (s *Service) tagged(r *wire.Request, arn *string) (*table, error) {
	switch {
	case arn == nil || *arn == "":
		return nil, invalid("Invalid TableArn")
	case !strings.HasPrefix(*arn, "arn:"):
		return nil, invalid(parametersInvalid + "ARNs must start with 'arn:': " + *arn)
	case !tableARNPattern.MatchString(*arn):
		return nil, invalid("Invalid TableArn: Invalid ResourceArn provided as input " + *arn)
	}
	t := s.table(r, *arn)
	if t == nil {
		return nil, wire.Errorf("ResourceNotFoundException", "Requested resource not found: ResourcArn: %s not found", *arn) // AWS spells it so
	}
	return t, nil
}

func (s *Service) tagResource(_ context.Context, r *wire.Request, in *tagResourceInput) (*wire.None, error) {
	t, err := s.tagged(r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	var c wire.Check
	c.Required("tags", in.Tags != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, invalid("Atleast one Tag needs to be provided as Input.")
	}
	return s.retag(t, func(old []tag) ([]tag, error) { return withTags(old, in.Tags) })
}

func (s *Service) untagResource(_ context.Context, r *wire.Request, in *untagResourceInput) (*wire.None, error) {
	t, err := s.tagged(r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	var c wire.Check
	c.Required("tagKeys", in.TagKeys != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if len(in.TagKeys) == 0 {
		return nil, invalid("Atleast one Tag Key needs to be provided as Input.")
	}
	return s.retag(t, func(old []tag) ([]tag, error) {
		return slices.DeleteFunc(slices.Clone(old), func(g tag) bool { return slices.Contains(in.TagKeys, g.Key) }), nil
	})
}

func (s *Service) retag(t *table, f func([]tag) ([]tag, error)) (*wire.None, error) {
	t.mu.Lock()
	tags, err := f(t.Tags)
	if err != nil {
		t.mu.Unlock()
		return nil, err
	}
	t.Tags = tags
	var b store.Batch
	if !t.gone {
		t.keep(&b)
	}
	commit := s.env.Store.Commit(&b)
	t.mu.Unlock()
	return &wire.None{}, commit.Wait()
}

func (s *Service) listTagsOfResource(_ context.Context, r *wire.Request, in *listTagsInput) (*listTagsOutput, error) {
	t, err := s.tagged(r, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	tags := t.Tags // never changed in place
	t.mu.RUnlock()
	tags, token, err := page.Of(tags, func(g tag) string { return g.Key }, in.NextToken, tagsPerPage)
	if err != nil {
		return nil, invalid("Invalid NextToken: " + in.NextToken)
	}
	return &listTagsOutput{Tags: append([]tag{}, tags...), NextToken: token}, nil
}
