package sns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// tokenLife is how long a token can confirm: "Confirmation tokens are valid for two days", says Subscribe's
// documentation. A subscription that is not confirmed by then is gone.
const tokenLife = 48 * time.Hour

// The protocols that are delivered to.
const (
	protocolSQS    = "sqs"
	protocolLambda = "lambda"
	protocolHTTP   = "http"
	protocolHTTPS  = "https"
)

// subscription is guarded by Service.mu.
type subscription struct {
	subscriptionRecord

	raw      bool
	filter   *router.Pattern // nil if everything passes
	scope    router.Dialect
	redrive  string            // ARN of the dead-letter queue, "" if there is none
	delivery *subscriberPolicy // nil if there is none
}

// subscriptionRecord is what the store has of a subscription.
type subscriptionRecord struct {
	ARN, TopicARN, Protocol, Endpoint string
	Owner, Principal                  string
	Order                             int64             // in which they were made
	Base                              string            // the stack's address as the subscriber has it
	Attributes                        map[string]string `json:",omitzero"` // as they were set

	Pending       bool `json:",omitzero"` // to be confirmed
	Cancelled     bool `json:",omitzero"` // unsubscribed, but can be confirmed again with the token
	Authenticated bool `json:",omitzero"` // by a signature, when it was confirmed
	Protected     bool `json:",omitzero"` // can only be unsubscribed with a signature

	Token string    `json:",omitzero"`
	Until time.Time `json:",omitzero"` // of the token
}

// The attributes of subscriptions.
const (
	attrRawMessageDelivery  = "RawMessageDelivery"
	attrFilterPolicy        = "FilterPolicy"
	attrFilterPolicyScope   = "FilterPolicyScope"
	attrRedrivePolicy       = "RedrivePolicy"
	attrSubscriptionRoleARN = "SubscriptionRoleArn"
	attrReplayPolicy        = "ReplayPolicy"
	scopeAttributes         = "MessageAttributes"
	scopeBody               = "MessageBody"
)

// subscriptionDefaults are the values of attributes that were not set.
var subscriptionDefaults = map[string]string{attrRawMessageDelivery: "false", attrFilterPolicyScope: scopeAttributes}

func (sub *subscription) attribute(name string) string {
	if v, ok := sub.Attributes[name]; ok {
		return v
	}
	return subscriptionDefaults[name]
}

// post tells a subscription that is posted to.
func (sub *subscriptionRecord) post() bool {
	return sub.Protocol == protocolHTTP || sub.Protocol == protocolHTTPS
}

// configure takes over attributes that have been changed, by Subscribe or else by SetSubscriptionAttributes. An error
// leaves the subscription as it was.
func (sub *subscription) configure(changes map[string]string, subscribing bool) error {
	n := *sub
	n.Attributes = maps.Clone(sub.Attributes)
	if n.Attributes == nil {
		n.Attributes = map[string]string{}
	}
	refuse := func(err error) error {
		if subscribing {
			return invalid("Attributes Reason: %v", err)
		}
		return invalid("%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		v, err := n.check(name, changes[name])
		switch {
		case errors.Is(err, errUnknownAttribute) && subscribing:
			return invalid("Attributes Reason: Unknown attribute: %s", name)
		case errors.Is(err, errUnknownAttribute):
			return invalid("AttributeName")
		case err != nil:
			return refuse(err)
		}
		if v == "" {
			delete(n.Attributes, name)
		} else {
			n.Attributes[name] = v
		}
	}
	if n.scope = router.SNSAttributes; n.attribute(attrFilterPolicyScope) == scopeBody {
		n.scope = router.SNSBody
	}
	n.filter = nil
	if text := n.Attributes[attrFilterPolicy]; text != "" {
		// AWS's messages quote the policy without its spaces.
		compact := jsontext.Value(text)
		noJSON := compact.Compact(jsontext.AllowDuplicateNames(true), jsontext.PreserveRawStrings(true)) != nil
		if noJSON {
			compact = jsontext.Value(text) // what is wrong with it is for Compile to say
		}
		p, err := router.Compile(compact, n.scope)
		if err != nil {
			var e *router.InvalidError
			switch {
			case errors.As(err, &e) && noJSON:
				reason, _, _ := strings.Cut(e.Reason, "\n")
				return refuse(errors.New("FilterPolicy: failed to parse JSON. " + reason))
			case errors.As(err, &e):
				return wire.Errorf("InvalidParameter", "%s", e.Policy(subscribing))
			}
			return refuse(err)
		}
		n.filter = p
	}
	*sub = n
	return nil
}

// check checks an attribute, sets what follows from it, and returns the value as it is kept.
func (sub *subscription) check(name, v string) (string, error) {
	switch name {
	case attrRawMessageDelivery:
		raw, err := boolean(attrRawMessageDelivery, v)
		if err != nil {
			return "", err
		}
		if raw && sub.Protocol == protocolLambda {
			return "", errors.New("Delivery protocol [lambda] does not support raw message delivery.")
		}
		sub.raw = raw
		return strconv.FormatBool(raw), nil
	case attrFilterPolicy:
		if strings.TrimSpace(v) == "{}" { // this takes it away
			v = ""
		}
		return v, nil // the scope must be known before it is compiled
	case attrFilterPolicyScope:
		if v != scopeAttributes && v != scopeBody {
			return "", errors.New("FilterPolicyScope: Invalid value [" + v + "]. Please use either MessageBody or MessageAttributes")
		}
		return v, nil
	case attrRedrivePolicy:
		var err error
		sub.redrive, err = redriveTarget(v, sub.TopicARN, strings.HasSuffix(sub.TopicARN, ".fifo") && strings.HasSuffix(sub.Endpoint, ".fifo"))
		return v, err
	case attrDeliveryPolicy:
		if v != "" && !sub.post() {
			return "", errors.New("Delivery protocol [" + sub.Protocol + "] does not support delivery policies.")
		}
		p, err := parseSubscriberPolicy(v)
		if err != nil {
			return "", err
		}
		sub.delivery = p
		if p == nil {
			return "", nil
		}
		return p.String(), nil
	case attrSubscriptionRoleARN:
		if v == "" {
			return "", nil
		}
		return "", errors.New("SubscriptionRoleArn is for the protocol firehose, which millrace's local stack does not have")
	case attrReplayPolicy:
		if v == "" {
			return "", nil
		}
		return "", errors.New("ReplayPolicy: millrace's local stack does not have the archive of FIFO topics")
	}
	return "", errUnknownAttribute
}

var errUnknownAttribute = errors.New("unknown attribute")

// redriveTarget reads a RedrivePolicy.
func redriveTarget(text, topicARN string, fifoQueue bool) (string, error) {
	if text == "" || text == "{}" {
		return "", nil
	}
	var p struct {
		DeadLetterTargetArn *string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(text), &p, json.RejectUnknownMembers(true)); err != nil {
		return "", errors.New("RedrivePolicy: failed to parse JSON. " + err.Error())
	}
	if p.DeadLetterTargetArn == nil {
		return "", errors.New("RedrivePolicy: deadLetterTargetArn is a required field")
	}
	a, err := parseARN("", *p.DeadLetterTargetArn)
	topic := strings.SplitN(topicARN, ":", 6)
	switch {
	case err != nil || a.service != "sqs":
		return "", errors.New("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	case a.region != topic[3] || a.account != topic[4]:
		return "", errors.New("RedrivePolicy: deadLetterTargetArn must be in the same account and region as the subscription")
	case fifoQueue && !strings.HasSuffix(a.resource, ".fifo"):
		return "", errors.New("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
	}
	return *p.DeadLetterTargetArn, nil
}

type subscribeInput struct {
	TopicArn              *string
	Protocol              *string
	Endpoint              string
	Attributes            map[string]string
	ReturnSubscriptionArn bool
}

type subscriptionOutput struct {
	SubscriptionArn string
}

func (s *Service) subscribe(_ context.Context, r *wire.Request, in *subscribeInput) (*subscriptionOutput, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	check.Required("protocol", in.Protocol != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	if err := topicARN(r, "TopicArn", *in.TopicArn); err != nil {
		return nil, err
	}
	fifoTopic := strings.HasSuffix(*in.TopicArn, ".fifo")
	if err := checkEndpoint(*in.Protocol, in.Endpoint, fifoTopic); err != nil {
		return nil, err
	}
	sub := &subscription{subscriptionRecord: subscriptionRecord{
		ARN: *in.TopicArn + ":" + uuid.NewString(), TopicARN: *in.TopicArn, Protocol: *in.Protocol, Endpoint: in.Endpoint,
		Owner: r.Account, Principal: "arn:aws:iam::" + r.Account + ":user/" + user(r), Base: r.Endpoint, Authenticated: true,
	}}
	if err := sub.configure(in.Attributes, true); err != nil {
		return nil, err
	}
	if sub.post() {
		sub.Pending = true
	} else if a, err := parseARN("", in.Endpoint); err == nil && a.account != r.Account {
		if in.Protocol != nil && *in.Protocol == protocolLambda {
			return nil, invalid("Endpoint Reason: millrace's local stack subscribes a function for the account that owns it only")
		}
		sub.Pending = true // the queue's owner is to confirm it
	}

	s.mu.Lock()
	t, err := s.topic(r, *in.TopicArn, "Subscribe")
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	var b store.Batch
	if old := t.find(sub.Protocol, sub.Endpoint); old != nil {
		for name := range in.Attributes {
			if old.attribute(name) != sub.attribute(name) {
				s.mu.Unlock()
				return nil, invalid("Attributes Reason: Subscription already exists with different attributes")
			}
		}
		sub = old
		sub.Base = r.Endpoint
		t.fan = nil
	} else {
		if sub.filter != nil && t.filters() >= maxFilters {
			s.mu.Unlock()
			return nil, filterLimit()
		}
		s.order++
		sub.Order = s.order
		s.subscriptions[sub.ARN], t.subscriptions[sub.ARN] = sub, sub
		t.fan = nil
	}
	out := &subscriptionOutput{sub.ARN}
	if sub.Pending {
		if !in.ReturnSubscriptionArn {
			out.SubscriptionArn = "pending confirmation"
		}
		s.newToken(sub)
	}
	s.putSubscription(&b, sub)
	c := s.env.Store.Commit(&b)
	rec, version := sub.subscriptionRecord, t.attribute(attrSignatureVersion)
	s.mu.Unlock()
	if rec.Pending {
		return out, s.confirm(c, rec, version, typeSubscribe)
	}
	return out, c.Wait()
}

func filterLimit() *wire.Error {
	return &wire.Error{Code: "FilterPolicyLimitExceeded", Status: http.StatusForbidden, Message: "Filter policy limit exceeded"}
}

// filters counts the filter policies of a topic.
func (t *topic) filters() int {
	n := 0
	for _, sub := range t.subscriptions {
		if sub.filter != nil {
			n++
		}
	}
	return n
}

// user is the name of the user that a request's signature stands for.
func user(r *wire.Request) string {
	if r.AccessKey == "" {
		return "anonymous"
	}
	return r.AccessKey
}

// checkEndpoint checks a protocol and an endpoint.
func checkEndpoint(protocol, endpoint string, fifoTopic bool) error {
	switch protocol {
	case protocolSQS:
		a, err := parseARN("", endpoint)
		if err != nil || a.service != "sqs" || a.resource == "" || strings.Contains(a.resource, ":") {
			return invalid("SQS endpoint ARN")
		}
		if strings.HasSuffix(a.resource, ".fifo") && !fifoTopic {
			return invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
		}
		return nil
	case protocolLambda, protocolHTTP, protocolHTTPS:
		if fifoTopic {
			return invalid("Invalid parameter: Endpoint Reason: Please use FIFO SQS queue")
		}
		if protocol == protocolLambda {
			if a, err := parseARN("", endpoint); err != nil || a.service != "lambda" || !strings.HasPrefix(a.resource, "function:") {
				return invalid("Lambda endpoint ARN")
			}
			return nil
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" {
			return invalid("Unreachable Endpoint")
		}
		if u.Scheme != protocol {
			return invalid("Endpoint must match the specified protocol")
		}
		return nil
	case "email", "email-json", "sms", "application", "firehose":
		return invalid("Protocol Reason: millrace's local stack does not deliver by %s; it has sqs, lambda, http and https", protocol)
	}
	return invalid("Amazon SNS does not support this protocol string: %s", protocol)
}

// find returns the subscription of an endpoint, nil if there is none.
func (t *topic) find(protocol, endpoint string) *subscription {
	for _, sub := range t.subscriptions {
		if sub.Protocol == protocol && sub.Endpoint == endpoint {
			return sub
		}
	}
	return nil
}

// newToken gives a subscription a token, instead of one that it may have. The caller holds s.mu.
func (s *Service) newToken(sub *subscription) {
	s.dropToken(sub)
	var b [144]byte // AWS's tokens have 288 digits
	rand.Read(b[:]) //nolint:errcheck // it does not fail
	sub.Token, sub.Until = hex.EncodeToString(b[:]), s.env.Clock.Now().Add(tokenLife)
	s.tokens[sub.Token] = sub
	s.expiry.Set(sub.Token, sub.Until)
}

func (s *Service) dropToken(sub *subscription) {
	if sub.Token != "" {
		delete(s.tokens, sub.Token)
		s.expiry.Stop(sub.Token)
	}
}

// expire forgets a subscription that was not confirmed in time.
func (s *Service) expire(_ context.Context, token string, _ time.Time) {
	s.mu.Lock()
	sub := s.tokens[token]
	if sub == nil {
		s.mu.Unlock()
		return
	}
	var b store.Batch
	delete(s.tokens, token)
	sub.Token = ""
	if sub.Pending || sub.Cancelled {
		if t := s.topics[sub.TopicARN]; t != nil && sub.Pending {
			delete(t.subscriptions, sub.ARN)
		}
		if sub.Pending {
			s.forget(sub)
		}
		b.Delete(subscriptionPrefix + sub.ARN)
	} else {
		s.putSubscription(&b, sub)
	}
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		s.env.Log.Error("after a restart a subscription that was not confirmed is there again", "subscription", sub.ARN, "error", err)
	}
}

// forget drops a subscription and what is on its way to it. The caller holds s.mu, and takes it out of its topic and
// the store.
func (s *Service) forget(sub *subscription) {
	delete(s.subscriptions, sub.ARN)
	s.dropToken(sub)
}

type confirmInput struct {
	TopicArn                  *string
	Token                     *string
	AuthenticateOnUnsubscribe string
}

func (s *Service) confirmSubscription(_ context.Context, r *wire.Request, in *confirmInput) (*subscriptionOutput, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	check.Required("token", in.Token != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	topicARN, err := parseARN("Topic", *in.TopicArn)
	if err != nil {
		return nil, invalid("Topic")
	}
	if _, err := hex.DecodeString(*in.Token); err != nil {
		return nil, wire.Errorf("InvalidParameter", "Invalid token")
	}
	protect := strings.EqualFold(in.AuthenticateOnUnsubscribe, "true")
	if protect && r.AccessKey == "" {
		return nil, &wire.Error{Code: "AuthorizationError", Status: http.StatusForbidden,
			Message: "AuthenticateOnUnsubscribe needs a request with a signature"}
	}
	s.mu.Lock()
	sub := s.tokens[*in.Token]
	var t *topic
	if sub != nil {
		t = s.topics[sub.TopicARN]
	}
	if t == nil {
		s.mu.Unlock()
		return nil, invalid("Token")
	}
	// AWS looks at the region of the topic's ARN only: the token knows which subscription is meant.
	if topicARN.region != t.region {
		s.mu.Unlock()
		return nil, invalid("Topic")
	}
	if !sub.Pending && !sub.Cancelled { // again
		s.mu.Unlock()
		return &subscriptionOutput{sub.ARN}, nil
	}
	sub.Pending, sub.Cancelled = false, false
	sub.Authenticated, sub.Protected = r.AccessKey != "", protect
	s.subscriptions[sub.ARN], t.subscriptions[sub.ARN] = sub, sub
	t.fan = nil
	var b store.Batch
	s.putSubscription(&b, sub)
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return &subscriptionOutput{sub.ARN}, c.Wait()
}

type subscriptionInput struct {
	SubscriptionArn *string
}

// required demands the subscription's ARN, and that it is one of the client's region.
func (in *subscriptionInput) required(r *wire.Request) error {
	var check wire.Check
	check.Required("subscriptionArn", in.SubscriptionArn != nil)
	if err := validation(&check); err != nil {
		return err
	}
	if *in.SubscriptionArn == "" {
		return invalid("SubscriptionArn Reason: no value for required parameter")
	}
	a, err := parseARN("SubscriptionArn", *in.SubscriptionArn)
	if err != nil {
		return err
	}
	_, id, _ := strings.Cut(a.resource, ":")
	if a.service != "sns" || uuid.Validate(id) != nil {
		return invalid("SubscriptionId")
	}
	if r.AccessKey != "" && a.region != r.Region {
		return invalid("SubscriptionArn")
	}
	return nil
}

// mayUse lets in the owners of a subscription and of its topic, and what is not signed.
func (sub *subscription) mayUse(r *wire.Request, action string) error {
	if a, err := parseARN("", sub.TopicARN); r.AccessKey == "" || r.Account == sub.Owner || err == nil && r.Account == a.account {
		return nil
	}
	return forbidden(r, action, sub.ARN)
}

func (s *Service) unsubscribe(_ context.Context, r *wire.Request, in *subscriptionInput) (*wire.None, error) {
	if err := in.required(r); err != nil {
		return nil, err
	}
	s.mu.Lock()
	sub := s.subscriptions[*in.SubscriptionArn]
	if sub == nil {
		s.mu.Unlock()
		return new(wire.None), nil
	}
	err := sub.mayUse(r, "Unsubscribe")
	if err == nil && sub.Pending {
		err = invalid("Cannot unsubscribe a subscription that is pending confirmation")
	}
	if err == nil && sub.Protected && r.AccessKey == "" {
		err = &wire.Error{Code: "AuthorizationError", Status: http.StatusForbidden, Message: "The subscription can only be unsubscribed with a signature"}
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	t := s.topics[sub.TopicARN]
	s.forget(sub)
	delete(t.subscriptions, sub.ARN)
	t.fan = nil
	t.Deleted++
	var b store.Batch
	s.putTopic(&b, t)
	if sub.post() {
		sub.Cancelled = true
		s.newToken(sub)
		s.putSubscription(&b, sub)
	} else {
		b.Delete(subscriptionPrefix + sub.ARN)
	}
	c := s.env.Store.Commit(&b)
	rec, version := sub.subscriptionRecord, t.attribute(attrSignatureVersion)
	s.mu.Unlock()
	if rec.Cancelled {
		return new(wire.None), s.confirm(c, rec, version, typeUnsubscribe)
	}
	return new(wire.None), c.Wait()
}

type subscriptionItem struct {
	SubscriptionArn string
	Owner           string
	Protocol        string
	Endpoint        string
	TopicArn        string
}

type listSubscriptionsOutput struct {
	Subscriptions []subscriptionItem
	NextToken     string `json:",omitzero"`
}

func (s *Service) listSubscriptions(_ context.Context, r *wire.Request, in *listInput) (*listSubscriptionsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []*subscription
	for _, sub := range s.subscriptions {
		if t := s.topics[sub.TopicARN]; sub.Owner == r.Account && t.region == r.Region {
			list = append(list, sub)
		}
	}
	return pageOf(list, in.NextToken)
}

type listByTopicInput struct {
	TopicArn  *string
	NextToken string
}

func (s *Service) listSubscriptionsByTopic(_ context.Context, r *wire.Request, in *listByTopicInput) (*listSubscriptionsOutput, error) {
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(r, *in.TopicArn, "ListSubscriptionsByTopic")
	if err != nil {
		return nil, err
	}
	return pageOf(slices.Collect(maps.Values(t.subscriptions)), in.NextToken)
}

func pageOf(list []*subscription, token string) (*listSubscriptionsOutput, error) {
	slices.SortFunc(list, func(a, b *subscription) int { return strings.Compare(a.ARN, b.ARN) })
	part, next, err := page.Of(list, func(sub *subscription) string { return sub.ARN }, token, pageSize)
	if err != nil {
		return nil, invalid("NextToken")
	}
	out := &listSubscriptionsOutput{NextToken: next}
	for _, sub := range part {
		item := subscriptionItem{SubscriptionArn: sub.ARN, Owner: sub.Owner, Protocol: sub.Protocol, Endpoint: masked(sub.Endpoint), TopicArn: sub.TopicARN}
		if sub.Pending {
			item.SubscriptionArn = "PendingConfirmation"
		}
		out.Subscriptions = append(out.Subscriptions, item)
	}
	return out, nil
}

// masked is an endpoint without its password.
func masked(endpoint string) string {
	if !strings.Contains(endpoint, "@") {
		return endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.User == nil {
		return endpoint
	}
	password, ok := u.User.Password()
	if !ok {
		return endpoint
	}
	return strings.Replace(endpoint, ":"+password+"@", ":****@", 1)
}

func (s *Service) getSubscriptionAttributes(_ context.Context, r *wire.Request, in *subscriptionInput) (*attributesOutput, error) {
	if err := in.required(r); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub := s.subscriptions[*in.SubscriptionArn]
	if sub == nil {
		return nil, subscriptionNotFound()
	}
	if err := sub.mayUse(r, "GetSubscriptionAttributes"); err != nil {
		return nil, err
	}
	a := maps.Clone(sub.Attributes)
	a["SubscriptionArn"], a["TopicArn"], a["Owner"] = sub.ARN, sub.TopicARN, sub.Owner
	a["SubscriptionPrincipal"], a["Protocol"], a["Endpoint"] = sub.Principal, sub.Protocol, masked(sub.Endpoint)
	a["PendingConfirmation"] = strconv.FormatBool(sub.Pending)
	a["ConfirmationWasAuthenticated"] = strconv.FormatBool(sub.Authenticated && !sub.Pending)
	a[attrRawMessageDelivery] = sub.attribute(attrRawMessageDelivery)
	if _, ok := a[attrFilterPolicy]; ok {
		a[attrFilterPolicyScope] = sub.attribute(attrFilterPolicyScope)
	} else {
		delete(a, attrFilterPolicyScope)
	}
	if sub.post() {
		a["EffectiveDeliveryPolicy"] = s.topics[sub.TopicARN].delivery.of(sub.delivery).String()
	}
	return &attributesOutput{a}, nil
}

type setSubscriptionAttributesInput struct {
	SubscriptionArn *string
	AttributeName   *string
	AttributeValue  string
}

func (s *Service) setSubscriptionAttributes(_ context.Context, r *wire.Request, in *setSubscriptionAttributesInput) (*wire.None, error) {
	var check wire.Check
	check.Required("subscriptionArn", in.SubscriptionArn != nil)
	check.Required("attributeName", in.AttributeName != nil)
	if err := validation(&check); err != nil {
		return nil, err
	}
	if err := (&subscriptionInput{in.SubscriptionArn}).required(r); err != nil {
		return nil, err
	}
	s.mu.Lock()
	c, err := s.configure(r, *in.SubscriptionArn, map[string]string{*in.AttributeName: in.AttributeValue})
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return new(wire.None), c.Wait()
}

// configure changes attributes. The caller holds s.mu.
func (s *Service) configure(r *wire.Request, arn string, changes map[string]string) (c store.Commit, err error) {
	sub := s.subscriptions[arn]
	if sub == nil {
		return c, subscriptionNotFound()
	}
	if err := sub.mayUse(r, "SetSubscriptionAttributes"); err != nil {
		return c, err
	}
	t := s.topics[sub.TopicARN]
	n := &subscription{subscriptionRecord: sub.subscriptionRecord, raw: sub.raw, redrive: sub.redrive, delivery: sub.delivery}
	if err := n.configure(changes, false); err != nil {
		return c, err
	}
	if sub.filter == nil && n.filter != nil && t.filters() >= maxFilters {
		return c, filterLimit()
	}
	*sub = *n
	t.fan = nil
	var b store.Batch
	s.putSubscription(&b, sub)
	return s.env.Store.Commit(&b), nil
}
