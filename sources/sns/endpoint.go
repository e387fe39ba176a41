package sns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// maxPost bounds a post. A message has at most 256 KB, of which JSON may make six times as much.
const maxPost = 2 << 20

// endpoint is what a topic delivers to.
type endpoint struct {
	config   Config
	deps     plugin.Deps
	unheeded *prometheus.CounterVec // by reason
	aws      *aws
}

func (s *endpoint) Run(ctx context.Context, hub sources.Hub) error {
	if !s.config.Verify {
		s.deps.Log.Warn("signatures are not checked: everybody who reaches the gateway can publish", "listen", s.config.Listen)
	}
	unmount, err := hub.Mount(s.config.Listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, hub)
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	unmount()
	s.aws.close()
	return nil
}

// refusal is a post that is not taken.
type refusal struct {
	status int    // SNS tries again on 5xx only
	reason string // for the metric
	err    error
}

func (s *endpoint) serve(w http.ResponseWriter, r *http.Request, hub sources.Hub) {
	body, ok := sources.ReadPost(w, r, s.deps.Clock, maxPost)
	if !ok {
		return
	}
	// The message is taken even if SNS has hung up meanwhile.
	ctx := context.WithoutCancel(r.Context())
	m, no := s.read(ctx, r.Header, body)
	if no == nil && m.Type == event.SNSSubscribe {
		no = s.subscribe(ctx, &m)
	}
	switch {
	case no != nil:
		s.unheeded.WithLabelValues(no.reason).Inc()
		s.deps.Log.Warn("a post is not taken", "from", r.RemoteAddr, "reason", no.reason, "error", no.err)
		http.Error(w, no.err.Error(), no.status)
		return
	case m.Type == event.SNSUnsubscribe:
		s.deps.Log.Warn("the subscription has been deleted", "topic", m.TopicARN)
	case m.Type == event.SNSNotification:
		err := hub.Accept(ctx, executor.Request{
			Payload:     event.AppendSNS(nil, &m, subscriptionARN(r.Header, &m)),
			TraceID:     r.Header.Get("X-Amzn-Trace-Id"),
			TraceParent: r.Header.Get("Traceparent"),
		})
		if err != nil {
			s.deps.Log.Warn("an event was not accepted", "topic", m.TopicARN, "message", m.MessageID, "error", err)
			sources.Refuse(w, err)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// read makes a message of a post and sees whether it may be believed.
func (s *endpoint) read(ctx context.Context, header http.Header, body []byte) (event.SNSMessage, *refusal) {
	var m event.SNSMessage
	raw := strings.EqualFold(header.Get("X-Amz-Sns-Rawdelivery"), "true")
	if raw {
		m = rawMessage(header, body, s.deps.Clock.Now())
	} else {
		var err error
		if m, err = event.ParseSNS(body); err != nil {
			return m, &refusal{http.StatusBadRequest, "invalid", err}
		}
	}
	if !s.config.wants(m.TopicARN) {
		return m, &refusal{http.StatusForbidden, "topic", fmt.Errorf("messages of the topic %q are not taken; topicArns does not name it", m.TopicARN)}
	}
	if s.config.Verify {
		if raw {
			return m, &refusal{http.StatusForbidden, "raw", errors.New("raw messages are not signed; turn raw message delivery off for the subscription, or set verify: false")}
		}
		err := s.aws.verify(ctx, &m)
		var forged *forgedError
		switch {
		case errors.As(err, &forged):
			return m, &refusal{http.StatusForbidden, "signature", err}
		case err != nil:
			return m, &refusal{http.StatusServiceUnavailable, "signature", err}
		}
	}
	if m.Type != event.SNSNotification {
		return m, nil // doing what it says twice does no harm
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	if err != nil {
		return m, &refusal{http.StatusBadRequest, "invalid", fmt.Errorf("Timestamp is %q, not a time such as 2006-01-02T15:04:05.000Z", m.Timestamp)}
	}
	if age := s.deps.Clock.Now().Sub(at); age > s.config.MaximumAge {
		return m, &refusal{http.StatusForbidden, "stale", fmt.Errorf("the message is %v old, and maximumAge is %v", age.Round(time.Second), s.config.MaximumAge)}
	}
	return m, nil
}

// rawMessage is the notification of a raw delivery, which has the message in its body and little more in its
// headers.
func rawMessage(header http.Header, body []byte, now time.Time) event.SNSMessage {
	return event.SNSMessage{
		Type:             event.SNSNotification,
		MessageID:        header.Get("X-Amz-Sns-Message-Id"),
		TopicARN:         header.Get("X-Amz-Sns-Topic-Arn"),
		Message:          string(body),
		Timestamp:        now.UTC().Format("2006-01-02T15:04:05.000Z"),
		SignatureVersion: "1",
	}
}

// subscriptionARN is that of a delivery's header, or of its UnsubscribeURL. Neither is signed, so that it must
// at least belong to the topic, which is.
func subscriptionARN(header http.Header, m *event.SNSMessage) string {
	if arn := header.Get("X-Amz-Sns-Subscription-Arn"); strings.HasPrefix(arn, m.TopicARN+":") {
		return arn
	}
	if u, err := url.Parse(m.UnsubscribeURL); err == nil {
		if arn := u.Query().Get("SubscriptionArn"); strings.HasPrefix(arn, m.TopicARN+":") {
			return arn
		}
	}
	return m.TopicARN
}

// subscribe confirms a subscription.
func (s *endpoint) subscribe(ctx context.Context, m *event.SNSMessage) *refusal {
	u, err := s.aws.confirmation(m)
	if err != nil {
		return &refusal{http.StatusForbidden, "confirmation", err}
	}
	if !s.config.Confirm {
		s.deps.Log.Warn("a subscription waits to be confirmed by a visit to its URL", "topic", m.TopicARN, "url", u.String())
		return nil
	}
	if _, err := s.aws.get(ctx, u); err != nil {
		return &refusal{http.StatusServiceUnavailable, "confirmation", fmt.Errorf("confirming the subscription to %s: %w", m.TopicARN, err)}
	}
	s.deps.Log.Info("subscription confirmed", "topic", m.TopicARN)
	return nil
}
