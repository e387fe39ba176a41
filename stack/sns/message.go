package sns

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/env"
)

// The types of what is posted.
const (
	typeNotification = event.SNSNotification
	typeSubscribe    = event.SNSSubscribe
	typeUnsubscribe  = event.SNSUnsubscribe
)

const timeFormat = "2006-01-02T15:04:05.000Z"

// message is a message that has been published. It is for one goroutine but for its signatures.
type message struct {
	id, topicARN, subject string
	text                  string            // as published
	texts                 map[string]string // by protocol, if MessageStructure is json
	attributes            []event.SNSAttribute
	queueAttributes       map[string]env.Attribute
	at                    time.Time
	version               string // of signatures
	trace                 string
	group, deduplication  string
	sequence              string // of a FIFO topic

	mu         sync.Mutex
	signatures map[[2]string]string // by version and text
}

// newMessage makes a message of what is to be published, once all that is wrong with it is refused.
func (s *Service) newMessage(t *topic, in *entry, trace string) (*message, error) {
	texts, err := in.check(t.fifo != nil)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	version, contentBased := t.attribute(attrSignatureVersion), t.fifo != nil && t.attribute(attrContentBasedDeduplication) == "true"
	s.mu.RUnlock()
	m := &message{
		id: uuid.NewString(), topicARN: t.arn, text: *in.Message, texts: texts, at: s.env.Clock.Now().UTC(), version: version, trace: trace,
		attributes: in.snsAttributes(), queueAttributes: in.queueAttributes(), signatures: map[[2]string]string{},
	}
	if in.Subject != nil {
		m.subject = *in.Subject
	}
	if in.MessageGroupID != nil {
		m.group = *in.MessageGroupID
	}
	switch {
	case in.MessageDeduplicationID != nil:
		m.deduplication = *in.MessageDeduplicationID
	case contentBased:
		m.deduplication = contentID(*in.Message)
	case t.fifo != nil:
		return nil, invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return m, nil
}

// structure reads a message of which the protocols have their own versions.
func structure(text string) (map[string]string, error) {
	var members map[string]jsontext.Value
	if err := json.Unmarshal([]byte(text), &members, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, invalid("Message Structure - JSON message body failed to parse")
	}
	texts := map[string]string{}
	for name, v := range members {
		if v.Kind() != '"' {
			continue
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return nil, invalid("Message Structure - JSON message body failed to parse")
		}
		texts[name] = s
	}
	if _, ok := texts["default"]; !ok {
		return nil, invalid("Message Structure - No default entry in JSON message body")
	}
	return texts, nil
}

// of is the text for a protocol.
func (m *message) of(protocol string) string {
	if m.texts == nil {
		return m.text
	}
	if text, ok := m.texts[protocol]; ok {
		return text
	}
	return m.texts["default"]
}

// filterAttributes is the document that filter policies on attributes are matched against.
func (m *message) filterAttributes() []byte {
	doc := []byte{'{'}
	for _, a := range m.attributes {
		if a.Type != "Binary" {
			doc = router.AppendAttribute(doc, a.Name, a.Type, a.Value)
		}
	}
	return append(doc, '}')
}

// signature signs the message for a protocol, once for all that get the same.
func (m *message) signature(s *signer, version, text string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{version, text}
	if have, ok := m.signatures[key]; ok {
		return have, nil
	}
	signed, err := s.sign(&event.SNSMessage{
		Type: typeNotification, MessageID: m.id, TopicARN: m.topicARN, Subject: m.subject, Message: text,
		Timestamp: m.at.Format(timeFormat), SignatureVersion: version,
	})
	if err == nil {
		m.signatures[key] = signed
	}
	return signed, err
}

// notification is the message as a subscriber reads it.
func (m *message) notification(s *signer, to *recipient) (*event.SNSMessage, error) {
	n := &event.SNSMessage{
		Type: typeNotification, MessageID: m.id, TopicARN: m.topicARN, Subject: m.subject, Message: m.of(to.protocol),
		Timestamp: m.at.Format(timeFormat), UnsubscribeURL: to.base + "/?Action=Unsubscribe&SubscriptionArn=" + to.arn, Attributes: m.attributes,
	}
	if m.sequence != "" { // FIFO topics do not sign
		return n, nil
	}
	n.SignatureVersion = m.version
	if to.protocol == protocolLambda {
		n.SignatureVersion = "1" // AWS signs what functions get in this way whatever the topic says
	}
	var err error
	if n.Signature, err = m.signature(s, n.SignatureVersion, n.Message); err != nil {
		return nil, err
	}
	path, err := s.path()
	n.SigningCertURL = to.base + path
	return n, err
}

// appendDocument appends a message in the form of deliveries to queues and HTTP endpoints, with the spaces and in the
// order of AWS's.
func appendDocument(dst []byte, m *event.SNSMessage, sequence string) []byte {
	member := func(name, value string) {
		if value == "" && name != "Message" {
			return
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, "\n  \""...)
		dst = append(dst, name...)
		dst = append(dst, "\" : "...)
		dst = event.AppendString(dst, value)
	}
	dst = append(dst, '{')
	member("Type", m.Type)
	member("MessageId", m.MessageID)
	member("SequenceNumber", sequence)
	member("Token", m.Token)
	member("TopicArn", m.TopicARN)
	member("Subject", m.Subject)
	member("Message", m.Message)
	member("SubscribeURL", m.SubscribeURL)
	member("Timestamp", m.Timestamp)
	member("SignatureVersion", m.SignatureVersion)
	member("Signature", m.Signature)
	member("SigningCertURL", m.SigningCertURL)
	member("UnsubscribeURL", m.UnsubscribeURL)
	if len(m.Attributes) > 0 {
		dst = append(dst, ",\n  \"MessageAttributes\" : {"...)
		for i, a := range m.Attributes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, "\n    "...)
			dst = event.AppendString(dst, a.Name)
			dst = append(dst, ` : {"Type":`...)
			dst = event.AppendString(dst, a.Type)
			dst = append(dst, `,"Value":`...)
			dst = event.AppendString(dst, a.Value)
			dst = append(dst, '}')
		}
		dst = append(dst, "\n  }"...)
	}
	return append(dst, "\n}"...)
}

// snsAttributes are the attributes in the form of notifications, sorted by name.
func (in *entry) snsAttributes() []event.SNSAttribute {
	if len(in.MessageAttributes) == 0 {
		return nil
	}
	list := make([]event.SNSAttribute, 0, len(in.MessageAttributes))
	for name, v := range in.MessageAttributes {
		a := event.SNSAttribute{Name: name, Type: *v.DataType}
		if v.StringValue != nil {
			a.Value = *v.StringValue
		} else {
			a.Value = base64.StdEncoding.EncodeToString(v.BinaryValue)
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b event.SNSAttribute) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// queueAttributes are the attributes in the form of queues.
func (in *entry) queueAttributes() map[string]env.Attribute {
	if len(in.MessageAttributes) == 0 {
		return nil
	}
	attributes := make(map[string]env.Attribute, len(in.MessageAttributes))
	for name, v := range in.MessageAttributes {
		a := env.Attribute{DataType: *v.DataType, Binary: v.BinaryValue}
		if v.StringValue != nil {
			a.String = *v.StringValue
		}
		attributes[name] = a
	}
	return attributes
}
