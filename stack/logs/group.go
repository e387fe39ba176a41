package logs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

const maxTags = 50

// retentions are the numbers of days that AWS takes.
func retentions() []int64 {
	return []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
}

type createLogGroupInput struct {
	LogGroupName              *string           `json:"logGroupName"`
	KmsKeyID                  *string           `json:"kmsKeyId"`
	Tags                      map[string]string `json:"tags"`
	LogGroupClass             *string           `json:"logGroupClass"`
	DeletionProtectionEnabled bool              `json:"deletionProtectionEnabled"`
}

func (c *check) tags(tags map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		c.Length("tags."+k+".key", k, 1, 128)
		c.Length("tags."+k+".value", tags[k], 0, 256)
	}
}

func (s *Service) createLogGroup(_ context.Context, r *wire.Request, in *createLogGroupInput) (*wire.None, error) {
	var c check
	name := c.group("logGroupName", in.LogGroupName, true)
	if in.LogGroupClass != nil {
		c.Enum("logGroupClass", *in.LogGroupClass, "STANDARD", "INFREQUENT_ACCESS", "DELIVERY")
	}
	c.tags(in.Tags)
	if err := c.Err(); err != nil {
		return nil, err
	}
	switch {
	case in.KmsKeyID != nil:
		return nil, invalid("kmsKeyId is not supported: millrace's local stack does not encrypt.")
	case in.LogGroupClass != nil && *in.LogGroupClass != "STANDARD":
		return nil, invalid("logGroupClass %s is not supported by millrace's local stack; STANDARD is.", *in.LogGroupClass)
	case in.DeletionProtectionEnabled:
		return nil, invalid("deletionProtectionEnabled is not supported by millrace's local stack.")
	case len(in.Tags) > maxTags:
		return nil, invalid("A log group has at most %d tags.", maxTags)
	}
	return &wire.None{}, s.change(func(b *store.Batch) error {
		if s.places[home(r)][name] != nil {
			return wire.Errorf("ResourceAlreadyExistsException", "The specified log group already exists")
		}
		g := &group{place: home(r), Name: name, Created: s.env.Clock.Now().UnixMilli(), Tags: in.Tags, streams: map[string]*stream{}}
		if err := s.env.Store.SetJSON(b, g.keys("group"), g); err != nil {
			return err
		}
		s.add(g)
		return nil
	})
}

type groupInput struct {
	LogGroupName *string `json:"logGroupName"`
}

func (s *Service) deleteLogGroup(_ context.Context, r *wire.Request, in *groupInput) (*wire.None, error) {
	var c check
	name := c.group("logGroupName", in.LogGroupName, true)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(func(b *store.Batch) error {
		g := s.places[home(r)][name]
		if g == nil {
			return noGroup()
		}
		delete(s.places[home(r)], name)
		b.Delete(g.keys("group"))
		b.DeletePrefix(g.streamKey(""))
		b.DeletePrefix(g.keys("event") + "\x00")
		return nil
	})
}

type describeLogGroupsInput struct {
	AccountIdentifiers    []string `json:"accountIdentifiers"`
	LogGroupNamePrefix    *string  `json:"logGroupNamePrefix"`
	LogGroupNamePattern   *string  `json:"logGroupNamePattern"`
	NextToken             string   `json:"nextToken"`
	Limit                 *int64   `json:"limit"`
	IncludeLinkedAccounts bool     `json:"includeLinkedAccounts"`
	LogGroupClass         *string  `json:"logGroupClass"`
	LogGroupIdentifiers   []string `json:"logGroupIdentifiers"`
}

type describeLogGroupsOutput struct {
	LogGroups []logGroup `json:"logGroups"`
	NextToken string     `json:"nextToken,omitzero"`
}

type logGroup struct {
	LogGroupName      string `json:"logGroupName"`
	CreationTime      int64  `json:"creationTime"`
	RetentionInDays   int    `json:"retentionInDays,omitzero"`
	MetricFilterCount int    `json:"metricFilterCount"`
	Arn               string `json:"arn"`
	StoredBytes       int64  `json:"storedBytes"`
	LogGroupClass     string `json:"logGroupClass"`
	LogGroupArn       string `json:"logGroupArn"`
}

func (s *Service) describeLogGroups(_ context.Context, r *wire.Request, in *describeLogGroupsInput) (*describeLogGroupsOutput, error) {
	var c check
	prefix := c.group("logGroupNamePrefix", in.LogGroupNamePrefix, false)
	limit := c.limit(in.Limit, 50)
	if in.LogGroupClass != nil {
		c.Enum("logGroupClass", *in.LogGroupClass, "STANDARD", "INFREQUENT_ACCESS", "DELIVERY")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	switch {
	case in.IncludeLinkedAccounts || len(in.AccountIdentifiers) > 0:
		return nil, invalid("includeLinkedAccounts and accountIdentifiers are not supported by millrace's local stack.")
	case in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil:
		return nil, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	out := &describeLogGroupsOutput{LogGroups: []logGroup{}}
	err := s.look(r, func(groups map[string]*group) error {
		all := sorted(groups, func(name string, g *group) bool {
			return strings.HasPrefix(name, prefix) &&
				(in.LogGroupNamePattern == nil || strings.Contains(strings.ToLower(name), strings.ToLower(*in.LogGroupNamePattern))) &&
				(in.LogGroupClass == nil || *in.LogGroupClass == "STANDARD") &&
				(in.LogGroupIdentifiers == nil || slices.Contains(in.LogGroupIdentifiers, name) || slices.Contains(in.LogGroupIdentifiers, g.arn()))
		})
		list, next, err := page.Of(all, func(g *group) string { return g.Name }, in.NextToken, limit)
		if err != nil {
			return badToken(err)
		}
		out.NextToken = next
		for _, g := range list {
			x := logGroup{LogGroupName: g.Name, CreationTime: g.Created, RetentionInDays: g.Days, Arn: g.arn() + ":*", LogGroupClass: "STANDARD", LogGroupArn: g.arn()}
			for _, s := range g.streams {
				for _, e := range s.events {
					x.StoredBytes += e.size()
				}
			}
			out.LogGroups = append(out.LogGroups, x)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type retentionInput struct {
	LogGroupName    *string `json:"logGroupName"`
	RetentionInDays *int64  `json:"retentionInDays"`
}

func (s *Service) putRetentionPolicy(_ context.Context, r *wire.Request, in *retentionInput) (*wire.None, error) {
	var c check
	c.group("logGroupName", in.LogGroupName, true)
	c.Required("retentionInDays", in.RetentionInDays != nil)
	if in.RetentionInDays != nil {
		var allowed []string
		for _, n := range retentions() {
			allowed = append(allowed, strconv.FormatInt(n, 10))
		}
		c.Enum("retentionInDays", strconv.FormatInt(*in.RetentionInDays, 10), allowed...)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s.setRetention(r, *in.LogGroupName, int(*in.RetentionInDays))
}

func (s *Service) deleteRetentionPolicy(_ context.Context, r *wire.Request, in *groupInput) (*wire.None, error) {
	var c check
	name := c.group("logGroupName", in.LogGroupName, true)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s.setRetention(r, name, 0)
}

func (s *Service) setRetention(r *wire.Request, name string, days int) (*wire.None, error) {
	return &wire.None{}, s.change(func(b *store.Batch) error {
		g := s.places[home(r)][name]
		if g == nil {
			return noGroup()
		}
		g.Days = days
		s.expire(b, g)
		return s.env.Store.SetJSON(b, g.keys("group"), g)
	})
}

type tagInput struct {
	ResourceArn *string           `json:"resourceArn"`
	Tags        map[string]string `json:"tags"`
	TagKeys     []string          `json:"tagKeys"`
}

type tagsOutput struct {
	Tags map[string]string `json:"tags"`
}

// tagged returns the group that a request names by its ARN. The caller holds the lock.
func (s *Service) tagged(r *wire.Request, arn string) (*group, error) {
	for _, g := range s.places[home(r)] {
		if g.arn() == strings.TrimSuffix(arn, ":*") {
			return g, nil
		}
	}
	return nil, wire.Errorf("ResourceNotFoundException", "The specified resource does not exist.")
}

func (s *Service) listTagsForResource(_ context.Context, r *wire.Request, in *tagInput) (*tagsOutput, error) {
	var c check
	c.Required("resourceArn", in.ResourceArn != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.tagged(r, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &tagsOutput{Tags: map[string]string{}}
	maps.Copy(out.Tags, g.Tags)
	return out, nil
}

func (s *Service) tagResource(_ context.Context, r *wire.Request, in *tagInput) (*wire.None, error) {
	var c check
	c.Required("resourceArn", in.ResourceArn != nil)
	c.Required("tags", in.Tags != nil)
	c.tags(in.Tags)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s.retag(r, *in.ResourceArn, func(tags map[string]string) { maps.Copy(tags, in.Tags) })
}

func (s *Service) untagResource(_ context.Context, r *wire.Request, in *tagInput) (*wire.None, error) {
	var c check
	c.Required("resourceArn", in.ResourceArn != nil)
	c.Required("tagKeys", in.TagKeys != nil)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s.retag(r, *in.ResourceArn, func(tags map[string]string) {
		maps.DeleteFunc(tags, func(k, _ string) bool { return slices.Contains(in.TagKeys, k) })
	})
}

func (s *Service) retag(r *wire.Request, arn string, f func(tags map[string]string)) (*wire.None, error) {
	return &wire.None{}, s.change(func(b *store.Batch) error {
		g, err := s.tagged(r, arn)
		if err != nil {
			return err
		}
		tags := map[string]string{}
		maps.Copy(tags, g.Tags)
		f(tags)
		if len(tags) > maxTags {
			return wire.Errorf("TooManyTagsException", "%s", fmt.Sprintf("A log group has at most %d tags.", maxTags))
		}
		g.Tags = tags
		return s.env.Store.SetJSON(b, g.keys("group"), g)
	})
}
