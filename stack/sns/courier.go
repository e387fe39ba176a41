package sns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/alarm"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// perSubscription is how many posts to one subscription are under way at once.
const perSubscription = 16

// parcel is something that is to be delivered. What a subscription says of deliveries is looked up when it is tried.
type parcel struct {
	number uint64

	Kind         string // of message: Notification or one of the confirmations
	Subscription string // ARN
	Topic        string // ARN
	Protocol     string
	Endpoint     string
	MessageID    string
	Raw          bool `json:",omitzero"`
	Body         string
	Letter       string `json:",omitzero"` // what the dead-letter queue gets, if not Body

	Attributes                  map[string]env.Attribute `json:",omitzero"` // of a raw one
	Group, Deduplication, Trace string                   `json:",omitzero"`
	Lane                        string                   `json:",omitzero"` // parcels of one lane stay in order
	DeadLetter                  string                   `json:",omitzero"` // ARN of the queue

	slot     time.Time // that a throttled subscription has given it
	Attempts int       `json:",omitzero"` // so far, of the delivery, or of the dead letter once it is given up
	Due      time.Time `json:",omitzero"` // the next one
	GivenUp  bool      `json:",omitzero"` // only the dead letter is still to be delivered
}

func (p *parcel) copy() *parcel {
	c := *p
	return &c
}

// post tells a parcel that is posted.
func (p *parcel) post() bool { return p.Protocol == protocolHTTP || p.Protocol == protocolHTTPS }

// message is the parcel for a queue or a function.
func (p *parcel) message() env.Message {
	return env.Message{
		From: p.Topic, Principal: principal, Body: p.Body, Attributes: p.Attributes, GroupID: p.Group, DeduplicationID: p.Deduplication, TraceHeader: p.Trace,
	}
}

// letter is the parcel for a dead-letter queue.
func (p *parcel) letter() env.Message {
	m := p.message()
	if p.Letter != "" {
		m.Body = p.Letter
	}
	return m
}

// courier tries parcels until they are delivered or given up. It keeps no order but in lanes.
type courier struct {
	service *Service
	poster  *poster
	alarm   *alarm.Alarm[uint64]
	retries *retryPolicy // of queues and functions

	mu      sync.Mutex
	last    uint64
	parcels map[uint64]*parcel   // all that are pending
	lanes   map[string][]*parcel // those that have a lane, in order; the first is the one that is tried
	lines   map[string]*line     // by subscription
}

// line is the parcels of one subscription that are to be tried now.
type line struct {
	ready   []*parcel
	working int
	next    time.Time // before which a throttled subscription gets nothing
}

func newCourier(s *Service) *courier {
	c := &courier{service: s, poster: newPoster(s.env.Clock), retries: ownRetries()}
	c.clear()
	c.alarm = alarm.New(s.env.Clock, s.env.Go, func(_ context.Context, number uint64, _ time.Time) { c.wake(number) })
	return c
}

func (c *courier) clear() {
	c.parcels, c.lanes, c.lines = map[uint64]*parcel{}, map[string][]*parcel{}, map[string]*line{}
}

// reset forgets what is pending. The caller removes it from the store.
func (c *courier) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	c.alarm.Clear()
}

func parcelKey(number uint64) string { return fmt.Sprintf("%s%020d", parcelPrefix, number) }

// load takes over a parcel from the store. They come in the order of their numbers.
func (c *courier) load(name string, value []byte) error {
	p := new(parcel)
	if err := json.Unmarshal(value, p); err != nil {
		return err
	}
	number, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return err
	}
	p.number, c.last = number, number
	c.hold(p)
	return nil
}

// hold makes a parcel one of those that are pending. The caller holds c.mu.
func (c *courier) hold(p *parcel) {
	c.parcels[p.number] = p
	if p.Lane != "" {
		c.lanes[p.Lane] = append(c.lanes[p.Lane], p)
	}
}

// resume goes on with what was taken over.
func (c *courier) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, number := range slices.Sorted(maps.Keys(c.parcels)) {
		c.schedule(c.parcels[number])
	}
}

// enqueue makes parcels pending, and commits a batch that they are added to. It does not wait for the disk.
func (c *courier) enqueue(b *store.Batch, parcels []*parcel) store.Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range parcels {
		c.last++
		p.number = c.last
		c.hold(p)
		c.put(b, p)
	}
	return c.service.env.Store.Commit(b)
}

func (c *courier) put(b *store.Batch, p *parcel) {
	if c.service.env.Store.Durable() {
		b.Set(parcelKey(p.number), encode(p))
	}
}

// begin waits until a batch of enqueue is on the disk, and then has its parcels tried.
func (c *courier) begin(commit store.Commit, parcels []*parcel) error {
	err := commit.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range parcels {
		if c.parcels[p.number] != p { // reset meanwhile
			continue
		}
		if err != nil {
			c.drop(p)
		} else {
			c.schedule(p)
		}
	}
	return err
}

// schedule has a parcel tried when it is due and the first of its lane. The caller holds c.mu.
func (c *courier) schedule(p *parcel) {
	if p.Lane != "" && c.lanes[p.Lane][0] != p {
		return
	}
	if p.Due.After(c.service.env.Clock.Now()) {
		c.alarm.Set(p.number, p.Due)
		return
	}
	c.start(p)
}

// start has a parcel tried now. The caller holds c.mu.
func (c *courier) start(p *parcel) {
	subscription := p.Subscription
	l := c.lines[subscription]
	if l == nil {
		l = new(line)
		c.lines[subscription] = l
	}
	l.ready = append(l.ready, p)
	if l.working < perSubscription {
		l.working++
		c.service.env.Go(func(ctx context.Context) { c.work(ctx, subscription, l) })
	}
}

func (c *courier) wake(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.parcels[number]; p != nil {
		c.start(p)
	}
}

// work tries the parcels of a line until none is ready.
func (c *courier) work(ctx context.Context, subscription string, l *line) {
	for {
		c.mu.Lock()
		if len(l.ready) == 0 || ctx.Err() != nil {
			l.working--
			if l.working == 0 && c.lines[subscription] == l && !l.next.After(c.service.env.Clock.Now()) {
				delete(c.lines, subscription)
			}
			c.mu.Unlock()
			if ctx.Err() != nil {
				c.poster.client.CloseIdleConnections()
			}
			return
		}
		p := l.ready[0]
		l.ready = l.ready[1:]
		if c.parcels[p.number] != p { // reset meanwhile
			c.mu.Unlock()
			continue
		}
		c.mu.Unlock()
		h := c.service.handling(p)
		if c.throttled(l, p, h) {
			continue
		}
		attempt := p.copy()
		done := c.attempt(ctx, attempt, h)
		if !done && ctx.Err() != nil {
			continue // the stack closes: this was no attempt
		}
		c.finish(p, attempt, done)
	}
}

// throttled gives a parcel its place if its subscription takes only so many in a second, and reports that it must wait
// for that.
func (c *courier) throttled(l *line, p *parcel, h handling) bool {
	if h.rate == 0 || p.Kind != typeNotification {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.service.env.Clock.Now()
	if p.slot.IsZero() {
		if p.slot = l.next; p.slot.Before(now) {
			p.slot = now
		}
		l.next = p.slot.Add(time.Second / time.Duration(h.rate))
	}
	if p.slot.After(now) {
		c.alarm.Set(p.number, p.slot)
		return true
	}
	p.slot = time.Time{}
	return false
}

// finish takes over the outcome of an attempt.
func (c *courier) finish(p, attempt *parcel, done bool) {
	c.mu.Lock()
	if c.parcels[p.number] != p { // reset meanwhile
		c.mu.Unlock()
		return
	}
	var b store.Batch
	if done {
		c.drop(p)
		b.Delete(parcelKey(p.number))
	} else {
		*p = *attempt
		c.put(&b, p)
		c.schedule(p)
	}
	commit := c.service.env.Store.Commit(&b)
	c.mu.Unlock()
	if err := commit.Wait(); err != nil {
		c.service.env.Log.Error("after a restart a message may be delivered again", slog.String("subscription", attempt.Subscription), slog.Any("error", err))
	}
}

// drop ends a parcel, and lets the next of its lane go. The caller holds c.mu.
func (c *courier) drop(p *parcel) {
	delete(c.parcels, p.number)
	c.alarm.Stop(p.number)
	if p.Lane == "" {
		return
	}
	rest := slices.DeleteFunc(c.lanes[p.Lane], func(q *parcel) bool { return q == p })
	if len(rest) == 0 {
		delete(c.lanes, p.Lane)
		return
	}
	c.lanes[p.Lane] = rest
	c.schedule(rest[0])
}

// try makes the first attempt at a parcel for a queue or a function. If nothing is left to do it returns true; else
// the parcel is to be enqueued.
func (c *courier) try(ctx context.Context, p *parcel) bool {
	if p.Lane != "" {
		c.mu.Lock()
		waiting := len(c.lanes[p.Lane]) > 0
		c.mu.Unlock()
		if waiting {
			return false
		}
	}
	return c.attempt(ctx, p, handling{retries: c.retries, alive: true, deadLetter: p.DeadLetter})
}

// handling is how a parcel is to be treated at the moment.
type handling struct {
	alive       bool // the subscription is still there
	retries     *retryPolicy
	rate        int // the most in a second; 0 is no limit
	contentType string
	deadLetter  string // ARN of the queue
}

// handling looks up what the subscription of a parcel says.
func (s *Service) handling(p *parcel) handling {
	h := handling{retries: s.courier.retries}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, sub := s.topics[p.Topic], s.subscriptions[p.Subscription]
	if sub != nil {
		h.deadLetter = sub.redrive
	}
	h.alive = sub != nil && (p.Kind == typeSubscribe || !sub.Pending) || p.Kind == typeUnsubscribe
	if !p.post() {
		return h
	}
	var d *topicPolicy
	if t != nil {
		d = t.delivery
	}
	var own *subscriberPolicy
	if sub != nil {
		own = sub.delivery
	}
	policy := d.of(own)
	h.retries, h.rate, h.contentType = policy.HealthyRetry, policy.Throttle.rate(), defaultContentType
	if p.Kind == typeNotification {
		h.contentType = *policy.Request.HeaderContentType
	}
	return h
}

// attempt tries a parcel once, and reports whether nothing is left to do. If something is, the parcel knows what.
func (c *courier) attempt(ctx context.Context, p *parcel, h handling) (done bool) {
	if !h.alive {
		return true
	}
	if !p.GivenUp {
		err := c.once(ctx, p, h)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.Attempts++
		delay, again := h.retries.delay(p.Attempts)
		if passing(err) && again {
			p.Due = c.service.env.Clock.Now().Add(delay)
			return false
		}
		if h.deadLetter == "" || p.Kind != typeNotification {
			c.service.env.Log.Warn("a message could not be delivered and has no dead-letter queue", slog.String("subscription", p.Subscription),
				slog.String("endpoint", masked(p.Endpoint)), slog.Any("error", err))
			return true
		}
		p.GivenUp, p.Attempts, p.DeadLetter = true, 0, h.deadLetter
	}
	err := c.service.env.Deliver(ctx, p.DeadLetter, p.letter())
	if err == nil {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	p.Attempts++
	delay, again := c.retries.delay(p.Attempts)
	if passing(err) && again {
		p.Due = c.service.env.Clock.Now().Add(delay)
		return false
	}
	c.service.env.Log.Warn("a dead letter could not be delivered", slog.String("queue", p.DeadLetter),
		slog.String("subscription", p.Subscription), slog.Any("error", err))
	return true
}

func (c *courier) once(ctx context.Context, p *parcel, h handling) error {
	if p.post() {
		return c.poster.post(ctx, p, h.contentType)
	}
	if p.Raw && len(p.Attributes) > maxRawAttributes {
		return wire.Errorf("InvalidParameterValue", "a queue takes %d message attributes, and this message has %d", maxRawAttributes, len(p.Attributes))
	}
	return c.service.env.Deliver(ctx, p.Endpoint, p.message())
}

// passing tells an error that may be gone next time: those of the client are permanent, but for too many requests.
func passing(err error) bool {
	var status statusError
	if errors.As(err, &status) {
		return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
	}
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests
	}
	return true
}

// confirm sends the message that asks the owner of an endpoint to confirm a subscription. It returns once the
// commit of the subscription and the message are on the disk.
func (s *Service) confirm(commit store.Commit, sub subscriptionRecord, version, kind string) error {
	p, err := s.confirmation(sub, version, kind)
	if err != nil {
		return errors.Join(err, commit.Wait())
	}
	var b store.Batch
	parcels := []*parcel{p}
	sent := s.courier.enqueue(&b, parcels)
	return errors.Join(commit.Wait(), s.courier.begin(sent, parcels))
}

func (s *Service) confirmation(sub subscriptionRecord, version, kind string) (*parcel, error) {
	n := &event.SNSMessage{
		Type: kind, MessageID: uuid.NewString(), TopicARN: sub.TopicARN, Token: sub.Token, Timestamp: s.env.Clock.Now().UTC().Format(timeFormat),
		SubscribeURL:     sub.Base + "/?Action=ConfirmSubscription&TopicArn=" + sub.TopicARN + "&Token=" + sub.Token,
		SignatureVersion: version,
	}
	if kind == typeSubscribe {
		n.Message = "You have chosen to subscribe to the topic " + sub.TopicARN +
			".\nTo confirm the subscription, visit the SubscribeURL included in this message."
	} else {
		n.Message = "You have chosen to deactivate subscription " + sub.ARN +
			".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
	}
	var err error
	if n.Signature, err = s.signer.sign(n); err != nil {
		return nil, err
	}
	path, err := s.signer.path()
	n.SigningCertURL = sub.Base + path
	return &parcel{
		Kind: kind, Subscription: sub.ARN, Topic: sub.TopicARN, Protocol: sub.Protocol, Endpoint: sub.Endpoint, MessageID: n.MessageID,
		Body: string(appendDocument(nil, n, "")),
	}, err
}
