// Package sns is the Simple Notification Service of the local stack: topics, standard and FIFO, with subscriptions of
// queues, functions and HTTP(S) endpoints (https://docs.aws.amazon.com/sns/latest/api/welcome.html).
//
// A Publish is acknowledged once every queue and function has accepted the message, and once what is still to be
// posted to HTTP endpoints is stored as durably as the stack is.
package sns

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"

	"github.com/millrace/millrace/stack/alarm"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// principal is who SNS is for the policies of queues and functions.
const principal = "sns.amazonaws.com"

// maxBody is enough for ten messages of 256 KiB in all, percent-encoded.
const maxBody = 4 << 20

// Service is SNS. Its methods may be called concurrently.
type Service struct {
	env     env.Env
	signer  *signer
	courier *courier
	expiry  *alarm.Alarm[string] // tokens

	mu            sync.RWMutex
	topics        map[string]*topic        // by ARN
	subscriptions map[string]*subscription // by ARN
	tokens        map[string]*subscription // that a token can confirm, those that are cancelled among them
	order         int64                    // of the last subscription
}

// New reads what the store has, and goes on with the deliveries that are pending.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e}
	s.clear()
	s.expiry = alarm.New(e.Clock, e.Go, s.expire)
	s.signer = &signer{store: e.Store}
	s.courier = newCourier(s)
	if err := s.load(); err != nil {
		return nil, err
	}
	s.courier.resume()
	return s, nil
}

func (s *Service) clear() {
	s.topics, s.subscriptions, s.tokens = map[string]*topic{}, map[string]*subscription{}, map[string]*subscription{}
}

// API describes the service to the dispatcher.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "sns", QueryVersion: "2010-03-31", QueryNamespace: "http://sns.amazonaws.com/doc/2010-03-31/", MaxBody: maxBody,
		Throttled: wire.Error{Code: "Throttling", Message: "Rate exceeded"},
		Operations: []wire.Operation{
			wire.Op("CreateTopic", s.createTopic),
			wire.Op("DeleteTopic", s.deleteTopic),
			wire.Op("ListTopics", s.listTopics),
			wire.Op("GetTopicAttributes", s.getTopicAttributes),
			wire.Op("SetTopicAttributes", s.setTopicAttributes),
			wire.Op("AddPermission", s.addPermission),
			wire.Op("RemovePermission", s.removePermission),
			wire.Op("TagResource", s.tagResource),
			wire.Op("UntagResource", s.untagResource),
			wire.Op("ListTagsForResource", s.listTagsForResource),
			wire.Op("Subscribe", s.subscribe),
			wire.Op("ConfirmSubscription", s.confirmSubscription).Unsigned(),
			wire.Op("Unsubscribe", s.unsubscribe).Unsigned(),
			wire.Op("ListSubscriptions", s.listSubscriptions),
			wire.Op("ListSubscriptionsByTopic", s.listSubscriptionsByTopic),
			wire.Op("GetSubscriptionAttributes", s.getSubscriptionAttributes),
			wire.Op("SetSubscriptionAttributes", s.setSubscriptionAttributes),
			wire.Op("Publish", s.publish).Twice(),
			wire.Op("PublishBatch", s.publishBatch).Twice(),
		},
	}}
}

// Reset forgets everything but the key that messages are signed with.
func (s *Service) Reset() {
	s.mu.Lock()
	s.clear()
	s.expiry.Clear()
	var b store.Batch
	s.courier.reset()
	for _, prefix := range []string{topicPrefix, subscriptionPrefix, sequencePrefix, seenPrefix, parcelPrefix} {
		b.DeletePrefix(prefix)
	}
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		s.env.Log.Error("after a restart what was reset is there again", "error", err)
	}
}

// Certificate is the certificate of the key that messages are signed with, in PEM form. It is served at CertificatePath.
func (s *Service) Certificate() ([]byte, error) { return s.signer.certificate() }

// CertificatePath is where messages say that the certificate is, below the stack's address.
func (s *Service) CertificatePath() (string, error) { return s.signer.path() }

// ServeHTTP serves the certificate at CertificatePath.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, err := s.signer.path()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.URL.Path != path {
		http.NotFound(w, r)
		return
	}
	certificate, err := s.signer.certificate()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Write(certificate)
}

// Policy is the policy of a topic, "" if there is no such topic.
func (s *Service) Policy(topicARN string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics[topicARN]; t != nil {
		return t.policy()
	}
	return ""
}

// Publish publishes what another service sends. An error is a *wire.Error if the message was refused.
func (s *Service) Publish(ctx context.Context, topicARN string, m env.Message) error {
	in := entry{Message: &m.Body, MessageAttributes: map[string]attributeValue{}}
	if m.Subject != "" {
		in.Subject = &m.Subject
	}
	if m.GroupID != "" {
		in.MessageGroupID = &m.GroupID
	}
	if m.DeduplicationID != "" {
		in.MessageDeduplicationID = &m.DeduplicationID
	}
	for name, a := range m.Attributes {
		v := attributeValue{DataType: &a.DataType, BinaryValue: a.Binary}
		if a.Binary == nil {
			v.StringValue = &a.String
		}
		in.MessageAttributes[name] = v
	}
	s.mu.RLock()
	t := s.topics[topicARN]
	s.mu.RUnlock()
	if t == nil {
		return topicNotFound()
	}
	msg, err := s.newMessage(t, &in, m.TraceHeader)
	if err != nil {
		return err
	}
	return s.send(ctx, t, []*message{msg}, 1)[0]
}

// invalid is SNS's error for a bad parameter.
func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf("InvalidParameter", "Invalid parameter: "+format, args...)
}

func topicNotFound() *wire.Error {
	return &wire.Error{Code: "NotFound", Message: "Topic does not exist", Status: http.StatusNotFound}
}

func subscriptionNotFound() *wire.Error {
	return &wire.Error{Code: "NotFound", Message: "Subscription does not exist", Status: http.StatusNotFound}
}

func resourceNotFound() *wire.Error {
	return &wire.Error{Code: "ResourceNotFound", Message: "Resource does not exist", Status: http.StatusNotFound}
}

func forbidden(r *wire.Request, action, arn string) *wire.Error {
	return &wire.Error{Code: "AuthorizationError", Status: http.StatusForbidden, Message: fmt.Sprintf(
		"User: arn:aws:iam::%s:root is not authorized to perform: SNS:%s on resource: %s because no resource-based policy allows the SNS:%s action",
		r.Account, action, arn, action)}
}

func validation(c *wire.Check) error {
	err := c.Err()
	if e, ok := err.(*wire.Error); ok { //nolint:errorlint // Check returns no other type, and does not wrap
		e.Code = "ValidationError"
		return e
	}
	return err
}

// contentID is the deduplication id of a message that has none.
func contentID(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
