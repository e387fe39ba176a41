package sns

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/store"
)

// The keys in the store. Topics and subscriptions follow by ARN, what has been seen by the topic's ARN, a slash and
// what deduplicates, parcels by their number.
const (
	topicPrefix        = "sns/topic/"
	subscriptionPrefix = "sns/subscription/"
	sequencePrefix     = "sns/sequence/"
	seenPrefix         = "sns/seen/"
	parcelPrefix       = "sns/parcel/"
)

// encode writes a record of ours.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs can be written
	}
	return b
}

func (s *Service) putTopic(b *store.Batch, t *topic) {
	if s.env.Store.Durable() {
		b.Set(topicPrefix+t.arn, encode(t.topicRecord))
	}
}

// saveTopic puts a topic in line for the disk. The caller holds s.mu.
func (s *Service) saveTopic(t *topic) store.Commit {
	var b store.Batch
	s.putTopic(&b, t)
	return s.env.Store.Commit(&b)
}

func (s *Service) putSubscription(b *store.Batch, sub *subscription) {
	if s.env.Store.Durable() {
		b.Set(subscriptionPrefix+sub.ARN, encode(sub.subscriptionRecord))
	}
}

// load reads what the store has.
func (s *Service) load() error {
	read := func(prefix string, f func(name string, value []byte) error) error {
		return s.env.Store.Load(prefix, func(key string, value []byte) error {
			if err := f(strings.TrimPrefix(key, prefix), value); err != nil {
				return fmt.Errorf("reading %s: %w", key, err)
			}
			return nil
		})
	}
	err := read(topicPrefix, func(arn string, value []byte) error {
		var rec topicRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return err
		}
		s.topics[arn] = newTopic(arn, rec)
		return nil
	})
	if err != nil {
		return err
	}
	var orphans store.Batch // of topics that were deleted while a message was published
	if err := read(subscriptionPrefix, s.loadSubscription); err != nil {
		return err
	}
	err = read(sequencePrefix, func(arn string, value []byte) error {
		t := s.topics[arn]
		if t == nil {
			orphans.Delete(sequencePrefix + arn)
			return nil
		}
		n, err := strconv.ParseUint(string(value), 10, 64)
		t.fifo.last, t.fifo.reserved = n, n
		return err
	})
	if err != nil {
		return err
	}
	err = read(seenPrefix, func(name string, value []byte) error {
		arn, key, _ := strings.Cut(name, "/")
		var rec seenRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return err
		}
		if t := s.topics[arn]; t != nil {
			t.fifo.remember(key, &accepted{seenRecord: rec, done: closed()})
		} else {
			orphans.Delete(seenPrefix + name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c := s.env.Store.Commit(&orphans)
	if err := c.Wait(); err != nil {
		return err
	}
	for _, t := range s.topics {
		if t.fifo != nil {
			t.fifo.sort()
		}
	}
	return read(parcelPrefix, s.courier.load)
}

func (s *Service) loadSubscription(_ string, value []byte) error {
	sub := new(subscription)
	if err := json.Unmarshal(value, &sub.subscriptionRecord); err != nil {
		return err
	}
	t := s.topics[sub.TopicARN]
	if t == nil {
		return nil
	}
	changes := sub.Attributes
	sub.Attributes = nil
	if err := sub.configure(changes, true); err != nil {
		return err
	}
	s.order = max(s.order, sub.Order)
	if !sub.Cancelled {
		s.subscriptions[sub.ARN], t.subscriptions[sub.ARN] = sub, sub
	}
	if sub.Token != "" {
		s.tokens[sub.Token] = sub
		s.expiry.Set(sub.Token, sub.Until)
	}
	return nil
}

// seenRecord is what the store has of a message that is not to be delivered again.
type seenRecord struct {
	MessageID string
	Sequence  string
	Until     time.Time
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
