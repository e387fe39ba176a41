package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SNSMessage is what SNS posts to an HTTP(S) subscription
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html).
type SNSMessage struct {
	Type             string // SNSNotification, SNSSubscribe or SNSUnsubscribe
	MessageID        string
	TopicARN         string
	Subject          string // "" if there is none
	Message          string
	Timestamp        string // as sent, e.g. "2012-05-02T00:54:06.655Z"
	SignatureVersion string // "1" or "2"
	Signature        string // base64
	SigningCertURL   string
	UnsubscribeURL   string         // of a notification
	SubscribeURL     string         // of a confirmation
	Token            string         // of a confirmation
	Attributes       []SNSAttribute // of a notification, sorted by name
}

// The types of SNSMessage.
const (
	SNSNotification = "Notification"
	SNSSubscribe    = "SubscriptionConfirmation"
	SNSUnsubscribe  = "UnsubscribeConfirmation"
)

// SNSAttribute is a message attribute.
type SNSAttribute struct {
	Name  string
	Type  string // "String", "Number", "Binary", "String.Array"
	Value string // base64 if binary
}

// ParseSNS reads a message in the form of HTTP(S) deliveries. An error says which part of data is wrong.
func ParseSNS(data []byte) (SNSMessage, error) {
	var post struct {
		Type, MessageID, TopicARN, Subject, Message, Timestamp string
		SignatureVersion, Signature, SigningCertURL            string
		UnsubscribeURL, SubscribeURL, Token                    string
		MessageAttributes                                      map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal(data, &post); err != nil {
		return SNSMessage{}, fmt.Errorf("reading an SNS message: %w", jsonError(data, err))
	}
	switch post.Type {
	case SNSNotification, SNSSubscribe, SNSUnsubscribe:
	case "":
		return SNSMessage{}, errors.New(`this is not a message of SNS: it has no "Type"`)
	default:
		return SNSMessage{}, fmt.Errorf("reading an SNS message: Type is %q, want %s, %s or %s", post.Type, SNSNotification, SNSSubscribe, SNSUnsubscribe)
	}
	for _, f := range []struct{ name, value string }{{"MessageId", post.MessageID}, {"TopicArn", post.TopicARN}, {"Timestamp", post.Timestamp}} {
		if f.value == "" {
			return SNSMessage{}, fmt.Errorf("reading an SNS message: %s is missing", f.name)
		}
	}
	m := SNSMessage{
		Type: post.Type, MessageID: post.MessageID, TopicARN: post.TopicARN, Subject: post.Subject,
		Message: post.Message, Timestamp: post.Timestamp, SignatureVersion: post.SignatureVersion,
		Signature: post.Signature, SigningCertURL: post.SigningCertURL, UnsubscribeURL: post.UnsubscribeURL,
		SubscribeURL: post.SubscribeURL, Token: post.Token,
	}
	for name, a := range post.MessageAttributes {
		m.Attributes = append(m.Attributes, SNSAttribute{Name: name, Type: a.Type, Value: a.Value})
	}
	slices.SortFunc(m.Attributes, func(a, b SNSAttribute) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// AppendSigned appends the text that the signature of m covers
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
func (m *SNSMessage) AppendSigned(dst []byte) []byte {
	line := func(name, value string) {
		dst = append(dst, name...)
		dst = append(dst, '\n')
		dst = append(dst, value...)
		dst = append(dst, '\n')
	}
	line("Message", m.Message)
	line("MessageId", m.MessageID)
	if m.Type == SNSNotification {
		if m.Subject != "" {
			line("Subject", m.Subject)
		}
		line("Timestamp", m.Timestamp)
	} else {
		line("SubscribeURL", m.SubscribeURL)
		line("Timestamp", m.Timestamp)
		line("Token", m.Token)
	}
	line("TopicArn", m.TopicARN)
	line("Type", m.Type)
	return dst
}

// AppendSNS appends the document of a notification. Where the form of HTTP deliveries leaves something out,
// this one has null or {}; and two names end in Url instead of URL.
func AppendSNS(dst []byte, m *SNSMessage, subscriptionARN string) []byte {
	dst = append(dst, `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":`...)
	dst = AppendString(dst, subscriptionARN)
	dst = append(dst, `,"Sns":{"Type":"Notification","MessageId":`...)
	dst = AppendString(dst, m.MessageID)
	dst = append(dst, `,"TopicArn":`...)
	dst = AppendString(dst, m.TopicARN)
	dst = append(dst, `,"Subject":`...)
	if m.Subject == "" {
		dst = append(dst, `null`...)
	} else {
		dst = AppendString(dst, m.Subject)
	}
	dst = append(dst, `,"Message":`...)
	dst = AppendString(dst, m.Message)
	dst = append(dst, `,"Timestamp":`...)
	dst = AppendString(dst, m.Timestamp)
	dst = append(dst, `,"SignatureVersion":`...)
	dst = AppendString(dst, m.SignatureVersion)
	dst = append(dst, `,"Signature":`...)
	dst = AppendString(dst, m.Signature)
	dst = append(dst, `,"SigningCertUrl":`...)
	dst = AppendString(dst, m.SigningCertURL)
	dst = append(dst, `,"UnsubscribeUrl":`...)
	dst = AppendString(dst, m.UnsubscribeURL)
	dst = append(dst, `,"MessageAttributes":{`...)
	for i, a := range m.Attributes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, a.Name)
		dst = append(dst, `:{"Type":`...)
		dst = AppendString(dst, a.Type)
		dst = append(dst, `,"Value":`...)
		dst = AppendString(dst, a.Value)
		dst = append(dst, '}')
	}
	return append(dst, `}}}]}`...)
}
