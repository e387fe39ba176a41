// Package outbox delivers messages to targets that may refuse for a while. It tries again, ever more slowly, for as
// long as a message's policy says, and then puts the message into a dead-letter queue. A durable stack remembers
// what is pending over a restart: a message is delivered at least once, in no promised order.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/alarm"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of AWS's retry policies, which are also their defaults.
const (
	MaxRetries = 185
	MaxAge     = 24 * time.Hour
)

// Waits between attempts: with the longest, 185 attempts last a day.
const (
	firstWait   = time.Second
	longestWait = 8 * time.Minute
)

// parallel bounds how many messages are tried again at once.
const parallel = 64

// Item is a message on its way.
type Item struct {
	ID      string      // set by the Outbox
	Target  string      // ARN
	Message env.Message // as it is delivered, unless Options.Message makes another

	MaxRetries int       // attempts after the first
	Deadline   time.Time // from which on there are no more attempts but the first; by default MaxAge from now
	DeadLetter string    // ARN of the queue for what cannot be delivered; if empty that is dropped

	// About is what the service needs to word the message and the dead letter.
	About map[string]string

	Attempts int     // so far, all without success
	Failure  Failure // of the last attempt
	GivenUp  bool    // only the dead letter is still to be delivered
}

// Failure is why a message could not be delivered.
type Failure struct {
	Code, Message string // of the target's error
	Status        int    // of the target's error, as HTTP has it
	Exhausted     string // MaximumRetryAttempts or MaximumEventAgeInSeconds; empty if the error was a permanent one
}

// Throttled reports whether the target said that there were too many requests.
func (f Failure) Throttled() bool {
	return f.Status == http.StatusTooManyRequests || strings.Contains(f.Code, "Throttl") || strings.Contains(f.Code, "ThroughputExceeded")
}

// Options are what differs between the services that use an Outbox.
type Options struct {
	// Prefix is where pending messages are kept in the store: "events/outbox/".
	Prefix string
	// Message makes the message of the next attempt. By default it is the item's.
	Message func(*Item) env.Message
	// Letter makes the dead letter. The item's Failure tells why.
	Letter func(*Item) env.Message
}

// Outbox is made by New. Its methods may be called concurrently.
type Outbox struct {
	env     env.Env
	options Options
	alarm   *alarm.Alarm[string]
	slots   chan struct{}

	mu      sync.Mutex
	pending map[string]*held
}

// held is an item that waits for its next attempt, or is being attempted.
type held struct {
	Item
	wait *backoff.ExponentialBackOff
}

// New reads what is pending, and goes on with it.
func New(e env.Env, o Options) (*Outbox, error) {
	b := &Outbox{env: e, options: o, slots: make(chan struct{}, parallel), pending: map[string]*held{}}
	b.alarm = alarm.New(e.Clock, e.Go, b.ring)
	err := e.Store.Load(o.Prefix, func(key string, value []byte) error {
		h := &held{}
		if err := json.Unmarshal(value, &h.Item); err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		b.pending[h.ID] = h
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, h := range b.pending {
		h.wait = b.waits()
		for range h.Attempts {
			h.wait.NextBackOff()
		}
		b.alarm.Set(id, e.Clock.Now())
	}
	return b, nil
}

// waits begins with a second and ends with eight minutes, each a random half more or less.
func (b *Outbox) waits() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstWait), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(longestWait), backoff.WithMaxElapsedTime(0), backoff.WithClockProvider(b.env.Clock))
}

// Send tries to deliver a message. It returns once the message is delivered, has become a dead letter or is
// dropped, or else is kept, as durably as the stack is, to be tried again. An error is the store's.
func (b *Outbox) Send(ctx context.Context, it *Item) error {
	if it.Deadline.IsZero() {
		it.Deadline = b.env.Clock.Now().Add(MaxAge)
	}
	// A message that some targets have taken goes to the others too, even if the client has left.
	if b.try(context.WithoutCancel(ctx), it) {
		return nil
	}
	it.ID = uuid.NewString()
	h := &held{Item: *it, wait: b.waits()}
	b.mu.Lock()
	commit := b.save(h)
	b.pending[h.ID] = h
	b.alarm.Set(h.ID, b.next(h))
	b.mu.Unlock()
	return commit()
}

// Pending returns how many messages wait to be tried again.
func (b *Outbox) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending)
}

// Reset forgets what is pending. The caller removes it from the store.
func (b *Outbox) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.pending)
	b.alarm.Clear()
}

// save puts an item in line for the disk. The function it returns waits for it to arrive.
func (b *Outbox) save(h *held) (wait func() error) {
	if !b.env.Store.Durable() {
		return func() error { return nil }
	}
	value, err := json.Marshal(&h.Item)
	if err != nil {
		return func() error { return fmt.Errorf("encoding a pending message: %w", err) }
	}
	var batch store.Batch
	batch.Set(b.options.Prefix+h.ID, value)
	c := b.env.Store.Commit(&batch)
	return c.Wait
}

func (b *Outbox) remove(id string) (wait func() error) {
	var batch store.Batch
	batch.Delete(b.options.Prefix + id)
	c := b.env.Store.Commit(&batch)
	return c.Wait
}

// next is when to try again: no later than the item's last moment, at which it is given up.
func (b *Outbox) next(h *held) time.Time {
	at := b.env.Clock.Now().Add(h.wait.NextBackOff())
	if !h.GivenUp && h.Deadline.Before(at) {
		return h.Deadline
	}
	return at
}

func (b *Outbox) ring(ctx context.Context, id string, _ time.Time) {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	b.env.Go(func(ctx context.Context) {
		defer func() { <-b.slots }()
		b.retry(ctx, id)
	})
}

func (b *Outbox) retry(ctx context.Context, id string) {
	b.mu.Lock()
	h := b.pending[id]
	b.mu.Unlock()
	if h == nil {
		return
	}
	it := h.Item
	done := b.try(ctx, &it)
	if !done && ctx.Err() != nil { // the stack closes: this was no attempt
		return
	}
	b.mu.Lock()
	if b.pending[id] == nil { // forgotten meanwhile
		b.mu.Unlock()
		return
	}
	var wait func() error
	if done {
		delete(b.pending, id)
		wait = b.remove(id)
	} else {
		h.Item = it
		wait = b.save(h)
		b.alarm.Set(id, b.next(h))
	}
	b.mu.Unlock()
	if err := wait(); err != nil {
		b.env.Log.Error("after a restart a message may be delivered again", slog.String("target", it.Target), slog.Any("error", err))
	}
}

// try makes one attempt, and reports whether nothing is left to do.
func (b *Outbox) try(ctx context.Context, it *Item) (done bool) {
	if !it.GivenUp {
		if b.deliver(ctx, it) {
			return true
		}
		if !it.GivenUp {
			return false
		}
	}
	if it.DeadLetter == "" {
		b.env.Log.Warn("a message could not be delivered and has no dead-letter queue", slog.String("target", it.Target),
			slog.String("code", it.Failure.Code), slog.String("error", it.Failure.Message))
		return true
	}
	err := b.env.Deliver(ctx, it.DeadLetter, b.options.Letter(it))
	if err == nil {
		return true
	}
	if ctx.Err() != nil || failure(err).passing() {
		return false
	}
	b.env.Log.Warn("a dead letter could not be delivered", slog.String("queue", it.DeadLetter),
		slog.String("target", it.Target), slog.Any("error", err))
	return true
}

// deliver makes one attempt at the target, or gives up.
func (b *Outbox) deliver(ctx context.Context, it *Item) (delivered bool) {
	if it.Attempts > 0 && !b.env.Clock.Now().Before(it.Deadline) {
		it.Failure.Exhausted = "MaximumEventAgeInSeconds"
		it.GivenUp = true
		return false
	}
	m := it.Message
	if b.options.Message != nil {
		m = b.options.Message(it)
	}
	err := b.env.Deliver(ctx, it.Target, m)
	if err == nil {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	it.Attempts++
	it.Failure = failure(err)
	switch {
	case !it.Failure.passing():
		it.GivenUp = true
	case it.Attempts > it.MaxRetries:
		it.Failure.Exhausted = "MaximumRetryAttempts"
		it.GivenUp = true
	}
	return false
}

func failure(err error) Failure {
	var e *wire.Error
	if !errors.As(err, &e) {
		return Failure{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	f := Failure{Code: e.Code, Message: e.Message, Status: e.Status}
	if f.Status == 0 {
		f.Status = http.StatusBadRequest
	}
	return f
}

// passing reports whether another attempt may succeed.
func (f Failure) passing() bool { return f.Status >= http.StatusInternalServerError || f.Throttled() }
