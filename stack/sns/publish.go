package sns

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of messages (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html).
const (
	maxMessage       = 262144 // bytes, attributes included, and of a batch in all
	maxSubject       = 100    // characters
	maxAttributeName = 256
	maxBatch         = 10
	maxEntryID       = 80
	maxRawAttributes = 10 // that a queue takes
	maxFifoID        = 128
)

// attributeValue is a message attribute.
type attributeValue struct {
	DataType    *string
	StringValue *string
	BinaryValue []byte
}

// entry is a message to publish.
type entry struct {
	ID                     *string `json:"Id"` // of a batch's entry
	Message                *string
	Subject                *string
	MessageStructure       *string
	MessageAttributes      map[string]attributeValue `query:"MessageAttributes,entry,Name,Value"`
	MessageDeduplicationID *string                   `json:"MessageDeduplicationId"`
	MessageGroupID         *string                   `json:"MessageGroupId"`
}

var fifoID = regexp.MustCompile("^[a-zA-Z0-9!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]+$")

// check refuses a message with the first thing that is wrong with it, and returns its texts by protocol if it is in JSON.
func (in *entry) check(fifoTopic bool) (texts map[string]string, err error) {
	if in.Subject != nil && !goodSubject(*in.Subject) {
		return nil, invalid("Subject")
	}
	if in.Message == nil || *in.Message == "" {
		return nil, invalid("Empty message")
	}
	if !utf8.ValidString(*in.Message) {
		return nil, invalid("Message must be UTF-8")
	}
	if in.MessageStructure != nil {
		if *in.MessageStructure != "json" {
			return nil, invalid("MessageStructure")
		}
		if texts, err = structure(*in.Message); err != nil {
			return nil, err
		}
	}
	for _, name := range in.names() {
		if err := checkAttribute(name, in.MessageAttributes[name]); err != nil {
			return nil, err
		}
	}
	if in.size() > maxMessage {
		return nil, invalid("Message too long")
	}
	for name, id := range map[string]*string{"MessageGroupId": in.MessageGroupID, "MessageDeduplicationId": in.MessageDeduplicationID} {
		if id != nil && (len(*id) > maxFifoID || !fifoID.MatchString(*id)) {
			return nil, invalid("%s Reason: It can include only alphanumeric and punctuation characters, 1 to %d", name, maxFifoID)
		}
	}
	switch {
	case fifoTopic && in.MessageGroupID == nil:
		return nil, invalid("The MessageGroupId parameter is required for FIFO topics")
	case !fifoTopic && in.MessageDeduplicationID != nil:
		return nil, invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	return texts, nil
}

func (in *entry) names() []string {
	names := make([]string, 0, len(in.MessageAttributes))
	for name := range in.MessageAttributes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// size is what counts against the limit.
func (in *entry) size() int {
	n := 0
	if in.Message != nil {
		n = len(*in.Message)
	}
	for name, v := range in.MessageAttributes {
		n += len(name) + len(v.BinaryValue)
		if v.DataType != nil {
			n += len(*v.DataType)
		}
		if v.StringValue != nil {
			n += len(*v.StringValue)
		}
	}
	return n
}

func goodSubject(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxSubject && !strings.ContainsFunc(s, unicode.IsControl)
}

func badAttribute(format string, args ...any) *wire.Error {
	return wire.Errorf("ParameterValueInvalid", format, args...)
}

// checkAttribute refuses a bad attribute. That it has a DataType is known.
func checkAttribute(name string, v attributeValue) error {
	switch {
	case name == "" || len(name) > maxAttributeName:
		return badAttribute("Length of message attribute name must be less than 256 bytes.")
	case name[0] == '.':
		return badAttribute("Invalid message attribute name starting with character '.' was found.")
	case name[len(name)-1] == '.':
		return badAttribute("Invalid message attribute name ending with character '.' was found.")
	case strings.Contains(name, ".."):
		return badAttribute("Message attribute name can not have successive '.' character.")
	}
	for _, c := range name {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return badAttribute("Invalid non-alphanumeric character '#x%X' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.", c)
		}
	}
	kind, label, labelled := strings.Cut(*v.DataType, ".")
	if labelled && label == "" || kind != "String" && kind != "Number" && kind != "Binary" || !utf8.ValidString(label) {
		return badAttribute("The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	}
	field, value := "String", v.StringValue != nil && *v.StringValue != ""
	other := len(v.BinaryValue) > 0
	if kind == "Binary" {
		field, value, other = "Binary", other, value
	}
	switch {
	case other:
		return badAttribute("The message attribute '%s' with type '%s' must use field '%s'.", name, *v.DataType, field)
	case !value:
		return badAttribute("The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", name, *v.DataType)
	case kind == "Binary":
		return nil
	case !utf8.ValidString(*v.StringValue):
		return badAttribute("The message attribute '%s' must be UTF-8.", name)
	case kind == "Number" && len(router.AppendAttribute(nil, name, *v.DataType, *v.StringValue)) == 0:
		return badAttribute("Could not cast message attribute '%s' value to number.", name)
	case *v.DataType == "String.Array":
		if a := jsontext.Value(*v.StringValue); a.Kind() != '[' || !a.IsValid() {
			return badAttribute("The message attribute '%s' with type 'String.Array' must be a JSON array.", name)
		}
	}
	return nil
}

type publishInput struct {
	TopicArn    *string
	TargetArn   *string
	PhoneNumber *string

	Message                *string
	Subject                *string
	MessageStructure       *string
	MessageAttributes      map[string]attributeValue `query:"MessageAttributes,entry,Name,Value"`
	MessageDeduplicationID *string                   `json:"MessageDeduplicationId"`
	MessageGroupID         *string                   `json:"MessageGroupId"`
}

type publishOutput struct {
	MessageID      string `json:"MessageId"`
	SequenceNumber string `json:",omitzero"`
}

// target is the ARN of the topic that a message is for.
func (in *publishInput) target(r *wire.Request) (string, error) {
	n := 0
	for _, p := range []*string{in.TopicArn, in.TargetArn, in.PhoneNumber} {
		if p != nil {
			n++
		}
	}
	switch {
	case n == 0:
		return "", invalid("TopicArn or TargetArn Reason: no value for required parameter")
	case n > 1:
		return "", invalid("TopicArn, TargetArn and PhoneNumber Reason: only one of them can be given")
	case in.PhoneNumber != nil:
		return "", invalid("PhoneNumber Reason: millrace's local stack does not send text messages")
	case in.TopicArn != nil:
		return *in.TopicArn, topicARN(r, "TopicArn", *in.TopicArn)
	}
	a, err := parseARN("TargetArn", *in.TargetArn)
	if err != nil {
		return "", err
	}
	if strings.Contains(a.resource, "/") {
		return "", invalid("TargetArn Reason: No endpoint found for the target arn specified")
	}
	return *in.TargetArn, topicARN(r, "TargetArn", *in.TargetArn)
}

func (s *Service) publish(ctx context.Context, r *wire.Request, in *publishInput) (*publishOutput, error) {
	e := &entry{
		Message: in.Message, Subject: in.Subject, MessageStructure: in.MessageStructure, MessageAttributes: in.MessageAttributes,
		MessageDeduplicationID: in.MessageDeduplicationID, MessageGroupID: in.MessageGroupID,
	}
	var check wire.Check
	e.require(&check, "")
	if err := validation(&check); err != nil {
		return nil, err
	}
	arn, err := in.target(r)
	if err != nil {
		return nil, err
	}
	t, err := s.publishTopic(r, arn)
	if err != nil {
		return nil, err
	}
	m, err := s.newMessage(t, e, r.TraceHeader)
	if err != nil {
		return nil, err
	}
	if err := s.send(ctx, t, []*message{m}, times(r))[0]; err != nil {
		return nil, err
	}
	return &publishOutput{MessageID: m.id, SequenceNumber: m.sequence}, nil
}

func (s *Service) publishTopic(r *wire.Request, arn string) (*topic, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.topic(r, arn, "Publish")
}

// times is how often a message goes to each subscriber.
func times(r *wire.Request) int {
	if r.Duplicate {
		return 2
	}
	return 1
}

// require demands what AWS's model of the message demands.
func (in *entry) require(check *wire.Check, prefix string) {
	for _, name := range in.names() {
		name1 := "messageAttributes." + name + ".member.dataType"
		check.Required(prefix+name1, in.MessageAttributes[name].DataType != nil)
	}
}

type publishBatchInput struct {
	TopicArn                   *string
	PublishBatchRequestEntries []entry
}

type batchSuccess struct {
	ID             string `json:"Id"`
	MessageID      string `json:"MessageId"`
	SequenceNumber string `json:",omitzero"`
}

type batchFailure struct {
	ID          string `json:"Id"`
	Code        string
	Message     string
	SenderFault bool
}

type publishBatchOutput struct {
	Successful []batchSuccess
	Failed     []batchFailure
}

var entryID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func (s *Service) publishBatch(ctx context.Context, r *wire.Request, in *publishBatchInput) (*publishBatchOutput, error) {
	entries := in.PublishBatchRequestEntries
	var check wire.Check
	check.Required("topicArn", in.TopicArn != nil)
	for i := range entries {
		prefix := "publishBatchRequestEntries." + strconv.Itoa(i+1) + ".member."
		check.Required(prefix+"id", entries[i].ID != nil)
		check.Required(prefix+"message", entries[i].Message != nil)
		entries[i].require(&check, prefix)
	}
	if err := validation(&check); err != nil {
		return nil, err
	}
	if err := topicARN(r, "TopicArn", *in.TopicArn); err != nil {
		return nil, err
	}
	t, err := s.publishTopic(r, *in.TopicArn)
	if err != nil {
		return nil, err
	}
	if err := checkBatch(entries); err != nil {
		return nil, err
	}
	messages := make([]*message, len(entries))
	for i := range entries {
		// One that is wrong fails the batch, not itself alone: so does AWS's.
		if messages[i], err = s.newMessage(t, &entries[i], r.TraceHeader); err != nil {
			return nil, err
		}
	}
	out := new(publishBatchOutput)
	for i, err := range s.send(ctx, t, messages, times(r)) {
		id, m := *entries[i].ID, messages[i]
		if err != nil {
			s.env.Log.Error("a message of a batch could not be published", "topic", t.arn, "error", err)
			out.Failed = append(out.Failed, batchFailure{ID: id, Code: "InternalError", Message: err.Error()})
			continue
		}
		out.Successful = append(out.Successful, batchSuccess{ID: id, MessageID: m.id, SequenceNumber: m.sequence})
	}
	return out, nil
}

func checkBatch(entries []entry) error {
	switch {
	case len(entries) == 0:
		return wire.Errorf("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(entries) > maxBatch:
		return wire.Errorf("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen, size := map[string]bool{}, 0
	for i := range entries {
		id := *entries[i].ID
		switch {
		case len(id) > maxEntryID:
			return wire.Errorf("InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: %s", id)
		case !entryID.MatchString(id):
			return wire.Errorf("InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: %s", id)
		case seen[id]:
			return wire.Errorf("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[id] = true
		size += entries[i].size()
	}
	if size > maxMessage {
		return wire.Errorf("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	return nil
}

// recipient is a confirmed subscription as a Publish sees it. It does not change.
type recipient struct {
	arn, topicARN, protocol, endpoint, base, redrive string
	raw                                              bool
}

// fan is whom a topic's messages go to. It does not change.
type fan struct {
	all              []*recipient // without filter policy
	attributes, body filtered
}

// filtered are the recipients with filter policies of one scope.
type filtered struct {
	set *router.Set
	to  []*recipient
}

func (f *filtered) build(list []*recipient, patterns []*router.Pattern) {
	f.to = list
	if len(patterns) > 0 {
		f.set = router.NewSet(patterns...)
	}
}

// recipients returns whom messages go to. Unless it is kept from before it is made anew.
func (s *Service) recipients(t *topic) *fan {
	s.mu.RLock()
	f := t.fan
	s.mu.RUnlock()
	if f != nil {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.fan != nil {
		return t.fan
	}
	list := make([]*subscription, 0, len(t.subscriptions))
	for _, sub := range t.subscriptions {
		if !sub.Pending {
			list = append(list, sub)
		}
	}
	slices.SortFunc(list, func(a, b *subscription) int { return int(a.Order - b.Order) })
	f = new(fan)
	var to [2][]*recipient
	var patterns [2][]*router.Pattern
	for _, sub := range list {
		r := &recipient{arn: sub.ARN, topicARN: t.arn, protocol: sub.Protocol, endpoint: sub.Endpoint, base: sub.Base, redrive: sub.redrive, raw: sub.raw}
		if sub.filter == nil {
			f.all = append(f.all, r)
			continue
		}
		scope := 0
		if sub.scope == router.SNSBody {
			scope = 1
		}
		to[scope], patterns[scope] = append(to[scope], r), append(patterns[scope], sub.filter)
	}
	f.attributes.build(to[0], patterns[0])
	f.body.build(to[1], patterns[1])
	t.fan = f
	return f
}

// of appends whom a message goes to.
func (f *fan) of(dst []*recipient, m *message) []*recipient {
	dst = append(dst, f.all...)
	if f.attributes.set != nil {
		matched, _ := f.attributes.set.Match(nil, m.filterAttributes()) // it is JSON
		for _, i := range matched {
			dst = append(dst, f.attributes.to[i])
		}
	}
	if f.body.set == nil {
		return dst
	}
	if m.texts == nil {
		matched, err := f.body.set.Match(nil, []byte(m.text))
		if err != nil {
			return dst // what is not JSON matches no policy on the body
		}
		for _, i := range matched {
			dst = append(dst, f.body.to[i])
		}
		return dst
	}
	byText := map[string][]int{} // each protocol may have a text of its own
	for i, r := range f.body.to {
		text := m.of(r.protocol)
		matched, ok := byText[text]
		if !ok {
			matched, _ = f.body.set.Match(nil, []byte(text)) // see above
			byText[text] = matched
		}
		if slices.Contains(matched, i) {
			dst = append(dst, r)
		}
	}
	return dst
}

// send delivers messages to the subscribers of a topic: in order, to those of a FIFO topic. Then the messages have
// their sequence numbers, or the ids and sequence numbers of those that they repeat. It returns an error, or nil, for
// each message: what failed has perhaps been delivered to some.
func (s *Service) send(ctx context.Context, t *topic, messages []*message, times int) []error {
	ctx = context.WithoutCancel(ctx) // what some subscribers have got goes to the others too
	if t.fifo != nil {
		return s.sendFifo(ctx, t, messages, times)
	}
	errs := make([]error, len(messages))
	f := s.recipients(t)
	var parcels []*parcel
	for i, m := range messages {
		var list []*parcel
		if list, errs[i] = s.parcels(f, m, times); errs[i] == nil {
			parcels = append(parcels, list...)
		}
	}
	if err := s.deliver(ctx, parcels); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// parcels makes what the recipients get of a message.
func (s *Service) parcels(f *fan, m *message, times int) ([]*parcel, error) {
	var list []*parcel
	for _, to := range f.of(nil, m) {
		p, err := s.newParcel(m, to)
		if err != nil {
			return nil, err
		}
		for range times {
			list = append(list, p.copy())
		}
	}
	return list, nil
}

// parallel bounds how many deliveries of one request wait for the disk at once.
const parallel = 32

// deliver delivers to queues and functions, and leaves the rest, and what they do not take now, to the courier.
func (s *Service) deliver(ctx context.Context, parcels []*parcel) error {
	later := make([]bool, len(parcels)) // what the courier is to do
	one := func(i int) { later[i] = parcels[i].post() || !s.courier.try(ctx, parcels[i]) }
	if len(parcels) == 1 || !s.env.Store.Durable() {
		for i := range parcels {
			one(i)
		}
	} else {
		slots := make(chan struct{}, parallel)
		var all sync.WaitGroup
		for i := range parcels {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				one(i)
			})
		}
		all.Wait()
	}
	rest := parcels[:0]
	for i, p := range parcels {
		if later[i] {
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	var b store.Batch
	c := s.courier.enqueue(&b, rest)
	return s.courier.begin(c, rest)
}

// newParcel makes what a recipient gets of a message.
func (s *Service) newParcel(m *message, to *recipient) (*parcel, error) {
	p := &parcel{
		Kind: typeNotification, Subscription: to.arn, Topic: to.topicARN, Protocol: to.protocol, Endpoint: to.endpoint, DeadLetter: to.redrive,
		MessageID: m.id, Trace: m.trace, Raw: to.raw,
	}
	if m.sequence != "" {
		p.Lane = to.arn + "/" + m.group
	}
	// A standard queue gets the group of a standard topic, which is for fair queues, but not that of a FIFO topic.
	if fifoQueue := strings.HasSuffix(to.endpoint, ".fifo"); to.protocol == protocolSQS && fifoQueue == (m.sequence != "") {
		p.Group, p.Deduplication = m.group, m.deduplication
	}
	if to.raw {
		p.Body = m.of(to.protocol)
		p.Attributes = m.queueAttributes
		return p, nil
	}
	n, err := m.notification(s.signer, to)
	if err != nil {
		return nil, fmt.Errorf("signing a message: %w", err)
	}
	p.Body = string(appendDocument(make([]byte, 0, 1024+len(n.Message)+len(n.Message)/8), n, m.sequence))
	if to.protocol == protocolLambda {
		p.Letter = p.Body
		p.Body = string(appendLambda(n, to.arn))
	}
	return p, nil
}
