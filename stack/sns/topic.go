package sns

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of topics.
const (
	pageSize        = 100
	maxDisplayName  = 100
	maxTags         = 50
	maxFilters      = 200 // of a topic's subscriptions
	maxTopicName    = 256
	maxTagKey       = 128
	maxTagValue     = 256
	maxPolicyLength = 30720
)

// topic is guarded by Service.mu, but for fifo.
type topic struct {
	topicRecord
	arn, name, account, region string
	fifo                       *fifo // nil of a standard topic

	delivery      *topicPolicy // nil if there is none
	subscriptions map[string]*subscription
	fan           *fan // nil once it is out of date
}

// topicRecord is what the store has of a topic.
type topicRecord struct {
	Attributes map[string]string `json:",omitzero"` // as they were set
	Tags       map[string]string `json:",omitzero"`
	Deleted    int               `json:",omitzero"` // subscriptions
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

type tag struct {
	Key   string
	Value string
}

type createTopicInput struct {
	Name                 *string
	Attributes           map[string]string
	Tags                 []tag
	DataProtectionPolicy *string
}

type createTopicOutput struct {
	TopicArn string
}

func (s *Service) createTopic(_ context.Context, r *wire.Request, in *createTopicInput) (*createTopicOutput, error) {
	var check wire.Check
	check.Required("name", in.Name != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	if in.DataProtectionPolicy != nil {
		return nil, invalid("DataProtectionPolicy: millrace's local stack does not have data protection policies")
	}
	fifoTopic := false
	if v, ok := in.Attributes[attrFifoTopic]; ok {
		var err error
		if fifoTopic, err = boolean(attrFifoTopic, v); err != nil {
			return nil, invalid("Attributes Reason: %v", err)
		}
	}
	base, suffix := strings.CutSuffix(*in.Name, ".fifo")
	if !topicName.MatchString(base) || len(*in.Name) > maxTopicName || suffix != fifoTopic {
		return nil, invalid("Topic Name")
	}
	tags, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	attributes := map[string]string{}
	for name, v := range in.Attributes {
		if name == attrFifoTopic {
			continue
		}
		a, ok := topicAttributes[name]
		if !ok {
			return nil, invalid("Attributes Reason: Unknown attribute: %s", name)
		}
		if v, err = a.check(v, fifoTopic); err != nil {
			return nil, invalid("Attributes Reason: %v", err)
		}
		if v != "" {
			attributes[name] = v
		}
	}

	arn := r.ARN("sns", *in.Name)
	s.mu.Lock()
	if t := s.topics[arn]; t != nil {
		err := t.equals(attributes, tags)
		there := s.env.Store.Barrier() // whoever created it may still be waiting for the disk
		s.mu.Unlock()
		if err == nil {
			err = there.Wait()
		}
		return &createTopicOutput{TopicArn: arn}, err
	}
	t := newTopic(arn, topicRecord{Attributes: attributes, Tags: tags})
	s.topics[arn] = t
	c := s.saveTopic(t)
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		return nil, err
	}
	return &createTopicOutput{TopicArn: arn}, nil
}

// equals refuses what a topic that exists cannot be created again with.
func (t *topic) equals(attributes, tags map[string]string) error {
	for name, v := range attributes {
		if t.attribute(name) != v {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	for k, v := range tags {
		if have, ok := t.Tags[k]; !ok || have != v {
			return invalid("Tags Reason: Topic already exists with different tags")
		}
	}
	return nil
}

func newTopic(text string, rec topicRecord) *topic {
	parts := strings.SplitN(text, ":", 6)
	t := &topic{topicRecord: rec, arn: text, region: parts[3], account: parts[4], name: parts[5], subscriptions: map[string]*subscription{}}
	if strings.HasSuffix(t.name, ".fifo") {
		t.fifo = newFifo(t.arn)
	}
	t.delivery, _ = parseTopicPolicy(rec.Attributes[attrDeliveryPolicy]) // it has been checked
	return t
}

// newTags checks a list of tags.
func newTags(list []tag) (map[string]string, error) {
	tags := map[string]string{}
	for _, t := range list {
		if _, twice := tags[t.Key]; twice {
			return nil, invalid("Duplicated keys are not allowed.")
		}
		n := len([]rune(t.Key))
		switch {
		case n == 0 || n > maxTagKey:
			return nil, invalid("Tags Reason: The length of a tag's key must be from 1 to %d", maxTagKey)
		case len([]rune(t.Value)) > maxTagValue:
			return nil, invalid("Tags Reason: The length of a tag's value must be at most %d", maxTagValue)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, invalid("Tags Reason: Tag keys may not begin with aws:")
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > maxTags {
		return nil, tooManyTags()
	}
	return tags, nil
}

func tooManyTags() *wire.Error {
	return wire.Errorf("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
}

type topicInput struct {
	TopicArn *string
}

// required demands the topic's ARN.
func (in *topicInput) required() error {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	return validation(&check)
}

func (s *Service) deleteTopic(_ context.Context, r *wire.Request, in *topicInput) (*wire.None, error) {
	if err := in.required(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	t, err := s.topic(r, *in.TopicArn, "DeleteTopic")
	if err != nil {
		s.mu.Unlock()
		var e *wire.Error
		if errors.As(err, &e) && e.Code == "NotFound" {
			return new(wire.None), nil
		}
		return nil, err
	}
	delete(s.topics, t.arn)
	var b store.Batch
	b.Delete(topicPrefix + t.arn)
	b.Delete(sequencePrefix + t.arn)
	b.DeletePrefix(seenPrefix + t.arn + "/")
	for _, sub := range t.subscriptions {
		s.forget(sub)
		b.Delete(subscriptionPrefix + sub.ARN)
	}
	for token, sub := range s.tokens { // those that are cancelled
		if sub.TopicARN == t.arn {
			delete(s.tokens, token)
			b.Delete(subscriptionPrefix + sub.ARN)
		}
	}
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return new(wire.None), c.Wait()
}

type listInput struct {
	NextToken string
}

type topicItem struct {
	TopicArn string
}

type listTopicsOutput struct {
	Topics    []topicItem
	NextToken string `json:",omitzero"`
}

func (s *Service) listTopics(_ context.Context, r *wire.Request, in *listInput) (*listTopicsOutput, error) {
	s.mu.RLock()
	var arns []string
	for arn, t := range s.topics {
		if t.account == r.Account && t.region == r.Region {
			arns = append(arns, arn)
		}
	}
	s.mu.RUnlock()
	slices.Sort(arns)
	part, next, err := page.Of(arns, func(arn string) string { return arn }, in.NextToken, pageSize)
	if err != nil {
		return nil, invalid("NextToken")
	}
	out := &listTopicsOutput{NextToken: next}
	for _, arn := range part {
		out.Topics = append(out.Topics, topicItem{arn})
	}
	return out, nil
}

type attributesOutput struct {
	Attributes map[string]string
}

func (s *Service) getTopicAttributes(_ context.Context, r *wire.Request, in *topicInput) (*attributesOutput, error) {
	if err := in.required(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(r, *in.TopicArn, "GetTopicAttributes")
	if err != nil {
		return nil, err
	}
	confirmed, pending := 0, 0
	for _, sub := range t.subscriptions {
		if sub.Pending {
			pending++
		} else {
			confirmed++
		}
	}
	a := maps.Clone(t.Attributes)
	if a == nil {
		a = map[string]string{}
	}
	a["TopicArn"], a["Owner"] = t.arn, t.account
	a[attrDisplayName] = t.attribute(attrDisplayName)
	a[attrPolicy] = t.policy()
	a["SubscriptionsConfirmed"], a["SubscriptionsPending"], a["SubscriptionsDeleted"] = strconv.Itoa(confirmed), strconv.Itoa(pending), strconv.Itoa(t.Deleted)
	a["EffectiveDeliveryPolicy"] = t.delivery.effective()
	if t.fifo != nil {
		a[attrFifoTopic] = "true"
		a[attrContentBasedDeduplication] = t.attribute(attrContentBasedDeduplication)
	}
	return &attributesOutput{a}, nil
}

type setTopicAttributesInput struct {
	TopicArn       *string
	AttributeName  *string
	AttributeValue string
}

func (s *Service) setTopicAttributes(_ context.Context, r *wire.Request, in *setTopicAttributesInput) (*wire.None, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	check.Required("attributeName", in.AttributeName != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	s.mu.Lock()
	t, err := s.topic(r, *in.TopicArn, "SetTopicAttributes")
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	a, ok := topicAttributes[*in.AttributeName]
	if !ok {
		s.mu.Unlock()
		return nil, invalid("AttributeName")
	}
	v, err := a.check(in.AttributeValue, t.fifo != nil)
	if err != nil {
		s.mu.Unlock()
		return nil, invalid("%v", err)
	}
	t.set(*in.AttributeName, v)
	c := s.saveTopic(t)
	s.mu.Unlock()
	return new(wire.None), c.Wait()
}

// set changes an attribute; the empty value takes it away.
func (t *topic) set(name, v string) {
	t.Attributes = maps.Clone(t.Attributes)
	if v == "" {
		delete(t.Attributes, name)
	} else {
		if t.Attributes == nil {
			t.Attributes = map[string]string{}
		}
		t.Attributes[name] = v
	}
	if name == attrDeliveryPolicy {
		t.delivery, _ = parseTopicPolicy(v) // it has been checked
	}
	t.fan = nil
}

// attribute is the value of an attribute that can be set, or its default.
func (t *topic) attribute(name string) string {
	if v, ok := t.Attributes[name]; ok {
		return v
	}
	return topicAttributes[name].otherwise
}

// policy is the topic's policy, which by default lets its account do everything.
func (t *topic) policy() string {
	if v := t.Attributes[attrPolicy]; v != "" {
		return v
	}
	return `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow",` +
		`"Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission",` +
		`"SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],` +
		`"Resource":"` + t.arn + `","Condition":{"StringEquals":{"AWS:SourceOwner":"` + t.account + `"}}}]}`
}

// The attributes of topics.
const (
	attrFifoTopic                 = "FifoTopic"
	attrDisplayName               = "DisplayName"
	attrPolicy                    = "Policy"
	attrDeliveryPolicy            = "DeliveryPolicy"
	attrContentBasedDeduplication = "ContentBasedDeduplication"
	attrFifoThroughputScope       = "FifoThroughputScope"
	attrSignatureVersion          = "SignatureVersion"
	attrTracingConfig             = "TracingConfig"
	attrKmsMasterKeyID            = "KmsMasterKeyId"
)

// topicAttribute is an attribute that can be set.
type topicAttribute struct {
	otherwise string // the default
	// check returns the value as it is kept, "" to take the attribute away, or an error that begins with its name.
	check func(v string, fifo bool) (string, error)
}

var topicAttributes = map[string]topicAttribute{
	attrDisplayName: {check: func(v string, _ bool) (string, error) {
		if len([]rune(v)) > maxDisplayName {
			return "", errors.New("DisplayName")
		}
		return v, nil
	}},
	attrPolicy: {check: func(v string, _ bool) (string, error) {
		if v == "" {
			return "", nil
		}
		if len(v) > maxPolicyLength {
			return "", errors.New("Policy Error: Policy is too long")
		}
		if _, err := policy.Parse([]byte(v)); err != nil {
			return "", errors.New("Policy Error: " + err.Error())
		}
		return v, nil
	}},
	attrDeliveryPolicy: {check: func(v string, _ bool) (string, error) {
		p, err := parseTopicPolicy(v)
		if err != nil || p == nil {
			return "", err
		}
		return p.String(), nil
	}},
	attrContentBasedDeduplication: {otherwise: "false", check: func(v string, fifo bool) (string, error) {
		if !fifo {
			return "", errors.New("Content-based deduplication can only be set for FIFO topics")
		}
		b, err := boolean(attrContentBasedDeduplication, v)
		return strconv.FormatBool(b), err
	}},
	attrFifoThroughputScope: {otherwise: "Topic", check: func(v string, fifo bool) (string, error) {
		if !fifo {
			return "", errors.New("FifoThroughputScope can only be set for FIFO topics")
		}
		return oneOf(attrFifoThroughputScope, v, "Topic", "MessageGroup")
	}},
	attrSignatureVersion: {otherwise: "1", check: func(v string, _ bool) (string, error) { return oneOf(attrSignatureVersion, v, "1", "2") }},
	// Tracing has no effect but that the header of the publisher is passed on, which it is with either value:
	// there is no X-Ray to send segments to.
	attrTracingConfig:  {otherwise: "PassThrough", check: func(v string, _ bool) (string, error) { return oneOf(attrTracingConfig, v, "PassThrough", "Active") }},
	attrKmsMasterKeyID: {check: func(v string, _ bool) (string, error) { return v, nil }},
	"ArchivePolicy":    absent("ArchivePolicy", "the archive of FIFO topics"),

	"HTTPSuccessFeedbackRoleArn": noLog("HTTPSuccessFeedbackRoleArn"), "HTTPSuccessFeedbackSampleRate": noLog("HTTPSuccessFeedbackSampleRate"),
	"HTTPFailureFeedbackRoleArn": noLog("HTTPFailureFeedbackRoleArn"),
	"SQSSuccessFeedbackRoleArn":  noLog("SQSSuccessFeedbackRoleArn"), "SQSSuccessFeedbackSampleRate": noLog("SQSSuccessFeedbackSampleRate"),
	"SQSFailureFeedbackRoleArn":    noLog("SQSFailureFeedbackRoleArn"),
	"LambdaSuccessFeedbackRoleArn": noLog("LambdaSuccessFeedbackRoleArn"), "LambdaSuccessFeedbackSampleRate": noLog("LambdaSuccessFeedbackSampleRate"),
	"LambdaFailureFeedbackRoleArn":   noLog("LambdaFailureFeedbackRoleArn"),
	"FirehoseSuccessFeedbackRoleArn": noLog("FirehoseSuccessFeedbackRoleArn"), "FirehoseSuccessFeedbackSampleRate": noLog("FirehoseSuccessFeedbackSampleRate"),
	"FirehoseFailureFeedbackRoleArn":    noLog("FirehoseFailureFeedbackRoleArn"),
	"ApplicationSuccessFeedbackRoleArn": noLog("ApplicationSuccessFeedbackRoleArn"), "ApplicationSuccessFeedbackSampleRate": noLog("ApplicationSuccessFeedbackSampleRate"),
	"ApplicationFailureFeedbackRoleArn": noLog("ApplicationFailureFeedbackRoleArn"),
}

// absent is an attribute of AWS's that we do not have. The empty value is what it has been all along.
func absent(name, what string) topicAttribute {
	return topicAttribute{check: func(v string, _ bool) (string, error) {
		if v == "" {
			return "", nil
		}
		return "", errors.New(name + ": millrace's local stack does not have " + what)
	}}
}

func noLog(name string) topicAttribute { return absent(name, "logs of deliveries") }

func boolean(name, v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New(name + ": Invalid value [" + v + "]. Must be true or false.")
}

func oneOf(name, v string, values ...string) (string, error) {
	if !slices.Contains(values, v) {
		return "", errors.New(name + ": Invalid value [" + v + "]. Please use either " + strings.Join(values, " or "))
	}
	return v, nil
}

type tagInput struct {
	ResourceArn *string
	Tags        []tag
}

type emptyOutput struct{}

// tagged finds the topic of an operation on tags. The caller holds s.mu.
func (s *Service) tagged(r *wire.Request, arn *string, action string) (*topic, error) {
	var check wire.Check
	check.Required("resourceArn", arn != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	if err := topicARN(r, "ResourceArn", *arn); err != nil {
		return nil, err
	}
	t := s.topics[*arn]
	if t == nil {
		return nil, resourceNotFound()
	}
	return t, t.allows(r, action)
}

func (s *Service) tagResource(_ context.Context, r *wire.Request, in *tagInput) (*emptyOutput, error) {
	tags, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	return s.retag(r, in.ResourceArn, "TagResource", func(have map[string]string) { maps.Copy(have, tags) })
}

type untagInput struct {
	ResourceArn *string
	TagKeys     []string
}

func (s *Service) untagResource(_ context.Context, r *wire.Request, in *untagInput) (*emptyOutput, error) {
	return s.retag(r, in.ResourceArn, "UntagResource", func(have map[string]string) {
		for _, k := range in.TagKeys {
			delete(have, k)
		}
	})
}

func (s *Service) retag(r *wire.Request, arn *string, action string, change func(map[string]string)) (*emptyOutput, error) {
	s.mu.Lock()
	t, err := s.tagged(r, arn, action)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	tags := maps.Clone(t.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	change(tags)
	if len(tags) > maxTags {
		s.mu.Unlock()
		return nil, tooManyTags()
	}
	t.Tags = tags
	c := s.saveTopic(t)
	s.mu.Unlock()
	return new(emptyOutput), c.Wait()
}

type listTagsInput struct {
	ResourceArn *string
}

type listTagsOutput struct {
	Tags []tag
}

func (s *Service) listTagsForResource(_ context.Context, r *wire.Request, in *listTagsInput) (*listTagsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.tagged(r, in.ResourceArn, "ListTagsForResource")
	if err != nil {
		return nil, err
	}
	out := new(listTagsOutput)
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags = append(out.Tags, tag{k, t.Tags[k]})
	}
	return out, nil
}
