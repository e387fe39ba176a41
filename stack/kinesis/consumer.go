package kinesis

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// consumer is one that is registered for enhanced fan-out. It is guarded by its stream's mu.
type consumer struct {
	stream   streamKey
	name     string
	created  int64 // second
	until    int64 // milliseconds; it is CREATING or DELETING before
	deleting bool
	tags     map[string]string
	policy   string

	subscriptions map[uint32]*subscription // by the index of the shard
}

func (c *consumer) arn() string {
	return c.stream.arn() + "/consumer/" + c.name + ":" + strconv.FormatInt(c.created, 10)
}

func (c *consumer) status(now int64) string {
	switch {
	case c.deleting:
		return deleting
	case now < c.until:
		return creating
	default:
		return active
	}
}

func (c *consumer) isGone(now int64) bool { return c.deleting && now >= c.until }

// living are the stream's consumers by name. The caller holds the stream's mu.
func (s *stream) living(now int64) []*consumer {
	var list []*consumer
	for _, name := range sortedKeys(s.consumers) {
		if c := s.consumers[name]; !c.isGone(now) {
			list = append(list, c)
		}
	}
	return list
}

// endSubscriptions ends all pushes with an error. The caller holds the stream's mu for writing.
func (s *stream) endSubscriptions(why *wire.Error) {
	for _, c := range s.consumers {
		c.endSubscriptions(why)
	}
}

func (c *consumer) endSubscriptions(why *wire.Error) {
	for _, sub := range c.subscriptions {
		sub.end(why)
	}
}

// subscription pushes the records of one shard to one consumer. The stream's mu guards its place in the consumer.
type subscription struct {
	service  *Service
	stream   *stream
	shard    *shard
	position uint64
	started  int64 // milliseconds

	over chan struct{} // closed by end
	why  *wire.Error   // set before
}

// end ends it with an error that the subscriber is told. The caller holds the stream's mu for writing.
func (sub *subscription) end(why *wire.Error) {
	if sub.why == nil {
		sub.why = why
		close(sub.over)
	}
}

const (
	// heartbeat is how often a subscriber hears of its shard if nothing happens there.
	heartbeat = 5 * time.Second
	// takeover is how long a subscription cannot be replaced by another.
	takeover = 5 * time.Second
	// largestEvent is about the most that one event brings: what a subscriber gets in a second.
	largestEvent = 2 << 20
)

// RegisterStreamConsumerInput is the input of RegisterStreamConsumer.
type RegisterStreamConsumerInput struct {
	StreamARN    *string           `json:"StreamARN"`
	StreamID     *string           `json:"StreamId"`
	ConsumerName *string           `json:"ConsumerName"`
	Tags         map[string]string `json:"Tags"`
}

// RegisterStreamConsumerOutput is the output of RegisterStreamConsumer.
type RegisterStreamConsumerOutput struct {
	Consumer Consumer `json:"Consumer"`
}

// Consumer is a consumer as lists show it.
type Consumer struct {
	ConsumerName              string    `json:"ConsumerName"`
	ConsumerARN               string    `json:"ConsumerARN"`
	ConsumerStatus            string    `json:"ConsumerStatus"`
	ConsumerCreationTimestamp wire.Time `json:"ConsumerCreationTimestamp"`
}

// ConsumerDescription is a consumer as DescribeStreamConsumer shows it.
type ConsumerDescription struct {
	Consumer
	StreamARN string `json:"StreamARN"`
}

func (c *consumer) shown(now int64) Consumer {
	return Consumer{c.name, c.arn(), c.status(now), wire.Time{Time: time.Unix(c.created, 0)}}
}

// streamOf finds the stream that an ARN names, in the request's region.
func streamOf(r *wire.Request, arn string) (streamKey, error) {
	k, ok := keyOf(arn)
	if !ok || k.region != r.Region {
		return k, k.notFound()
	}
	return k, nil
}

func (s *Service) registerStreamConsumer(_ context.Context, r *wire.Request, in *RegisterStreamConsumerInput) (*RegisterStreamConsumerOutput, error) {
	var c wire.Check
	c.Required("streamARN", in.StreamARN != nil)
	c.Required("consumerName", in.ConsumerName != nil)
	checkARN(&c, "streamARN", in.StreamARN, streamARN, streamARNPattern)
	checkName(&c, "consumerName", in.ConsumerName)
	checkTags(&c, in.Tags, 200)
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	if err := checkTagText(in.Tags); err != nil {
		return nil, err
	}
	k, err := streamOf(r, *in.StreamARN)
	if err != nil {
		return nil, err
	}
	if len(in.Tags) > largestTags {
		return nil, tooManyTags(k)
	}
	out := &RegisterStreamConsumerOutput{}
	return out, s.edit(k, func(st *stream, b *store.Batch, now int64) error {
		if state := st.state(now); state == creating || state == deleting {
			return st.notActive(state)
		}
		living := st.living(now)
		made := 0
		for _, o := range living {
			if o.name == *in.ConsumerName {
				return wire.Errorf("ResourceInUseException", "Consumer %s under stream %s already exists for account %s.", o.name, k.name, k.account)
			}
			if o.status(now) == creating {
				made++
			}
		}
		if len(living) >= consumersAStream {
			return wire.Errorf("LimitExceededException", "The stream %s under account %s has %d registered consumers; it may have no more.",
				k.name, k.account, consumersAStream)
		}
		if made >= creatingLimit {
			return wire.Errorf("LimitExceededException", "The stream %s under account %s has %d consumers in the state CREATING; it may have no more at a time.",
				k.name, k.account, creatingLimit)
		}
		if o := st.consumers[*in.ConsumerName]; o != nil { // its deletion is over
			st.former[o.name] = o.created
		}
		n := &consumer{
			stream: k, name: *in.ConsumerName, created: max(now/1000, st.former[*in.ConsumerName]+1), until: now + s.delay,
			tags: map[string]string{}, subscriptions: map[uint32]*subscription{},
		}
		for key, v := range in.Tags {
			n.tags[key] = v
		}
		st.consumers[n.name] = n
		b.Set(consumerKey(st.id, n.name), n.encode())
		out.Consumer = n.shown(now)
		out.Consumer.ConsumerStatus = creating // as AWS always answers
		return nil
	})
}

// ConsumerRef is how an input names a consumer.
type ConsumerRef struct {
	StreamARN    *string `json:"StreamARN"`
	StreamID     *string `json:"StreamId"`
	ConsumerName *string `json:"ConsumerName"`
	ConsumerARN  *string `json:"ConsumerARN"`
}

func (n *ConsumerRef) key(r *wire.Request) (streamKey, error) {
	var c wire.Check
	checkARN(&c, "streamARN", n.StreamARN, streamARN, streamARNPattern)
	checkName(&c, "consumerName", n.ConsumerName)
	checkARN(&c, "consumerARN", n.ConsumerARN, consumerARN, consumerARNPattern)
	if err := checkStreamID(&c, n.StreamID); err != nil {
		return streamKey{}, err
	}
	switch {
	case n.ConsumerARN == nil && (n.StreamARN == nil || n.ConsumerName == nil):
		return streamKey{}, wire.Errorf("InvalidArgumentException", "Either ConsumerARN, or StreamARN and ConsumerName should be provided.")
	case n.ConsumerARN == nil:
		return streamOf(r, *n.StreamARN)
	}
	k, _ := keyOf(*n.ConsumerARN)
	if n.StreamARN != nil && *n.StreamARN != k.arn() {
		return streamKey{}, wire.Errorf("InvalidArgumentException", "ConsumerARN %s and StreamARN %s conflict.", *n.ConsumerARN, *n.StreamARN)
	}
	if k.region != r.Region {
		return k, n.notFound(k)
	}
	return k, nil
}

// find returns the consumer that is named. The caller holds the stream's mu.
func (n *ConsumerRef) find(st *stream, now int64) (*consumer, error) {
	for _, c := range st.living(now) {
		if (n.ConsumerName == nil || *n.ConsumerName == c.name) && (n.ConsumerARN == nil || *n.ConsumerARN == c.arn()) {
			return c, nil
		}
	}
	return nil, n.notFound(st.streamKey)
}

func (n *ConsumerRef) notFound(k streamKey) *wire.Error {
	name := n.ConsumerName
	if name == nil {
		name = n.ConsumerARN
	}
	return noConsumer(k, *name)
}

func noConsumer(k streamKey, name string) *wire.Error {
	return wire.Errorf("ResourceNotFoundException", "Consumer %s, account %s not found.", name, k.account)
}

// DescribeStreamConsumerOutput is the output of DescribeStreamConsumer.
type DescribeStreamConsumerOutput struct {
	ConsumerDescription ConsumerDescription `json:"ConsumerDescription"`
}

func (s *Service) describeStreamConsumer(_ context.Context, r *wire.Request, in *ConsumerRef) (*DescribeStreamConsumerOutput, error) {
	k, err := in.key(r)
	if err != nil {
		return nil, err
	}
	out := &DescribeStreamConsumerOutput{}
	return out, s.view(k, func(st *stream, now int64) error {
		c, err := in.find(st, now)
		if err != nil {
			return err
		}
		out.ConsumerDescription = ConsumerDescription{c.shown(now), k.arn()}
		return nil
	})
}

func (s *Service) deregisterStreamConsumer(_ context.Context, r *wire.Request, in *ConsumerRef) (*wire.None, error) {
	k, err := in.key(r)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, s.edit(k, func(st *stream, b *store.Batch, now int64) error {
		c, err := in.find(st, now)
		if err != nil {
			return err
		}
		if status := c.status(now); status != active {
			return c.notActive()
		}
		c.endSubscriptions(noConsumer(k, c.arn()))
		if s.delay > 0 {
			c.deleting, c.until = true, now+s.delay
			b.Set(consumerKey(st.id, c.name), c.encode())
			return nil
		}
		st.former[c.name] = c.created
		delete(st.consumers, c.name)
		b.Delete(consumerKey(st.id, c.name))
		return nil
	})
}

func (c *consumer) notActive() *wire.Error {
	return wire.Errorf("ResourceInUseException", "Consumer %s with creation timestamp %d under stream: %s , account %s is not in ACTIVE status.",
		c.name, c.created, c.stream.name, c.stream.account)
}

// SubscribeToShardInput is the input of SubscribeToShard.
type SubscribeToShardInput struct {
	ConsumerARN      *string           `json:"ConsumerARN"`
	StreamID         *string           `json:"StreamId"`
	ShardID          *string           `json:"ShardId"`
	StartingPosition *StartingPosition `json:"StartingPosition"`
	DryRun           bool              `json:"DryRun"`
}

// StartingPosition is where a subscription begins.
type StartingPosition struct {
	Type           *string    `json:"Type"`
	SequenceNumber *string    `json:"SequenceNumber"`
	Timestamp      *wire.Time `json:"Timestamp"`
}

func (s *Service) subscribeToShard(_ context.Context, r *wire.Request, in *SubscribeToShardInput) (*subscription, error) {
	var c wire.Check
	c.Required("consumerARN", in.ConsumerARN != nil)
	c.Required("shardId", in.ShardID != nil)
	c.Required("startingPosition", in.StartingPosition != nil)
	checkARN(&c, "consumerARN", in.ConsumerARN, consumerARN, consumerARNPattern)
	checkName(&c, "shardId", in.ShardID)
	if p := in.StartingPosition; p != nil {
		if c.Required("startingPosition.type", p.Type != nil); p.Type != nil {
			c.Enum("startingPosition.type", *p.Type, positions...)
		}
		checkSequence(&c, "startingPosition.sequenceNumber", p.SequenceNumber)
	}
	if err := checkStreamID(&c, in.StreamID); err != nil {
		return nil, err
	}
	k, _ := keyOf(*in.ConsumerARN)
	if k.region != r.Region {
		return nil, noConsumer(k, *in.ConsumerARN)
	}
	now := s.now()
	s.mu.RLock()
	st := s.streams[k]
	s.mu.RUnlock()
	if st == nil {
		return nil, k.notFound()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.isGone(now) {
		return nil, k.notFound()
	}
	if state := st.state(now); state == creating || state == deleting {
		return nil, k.notActive(state)
	}
	reader, err := (&ConsumerRef{ConsumerARN: in.ConsumerARN}).find(st, now)
	if err != nil {
		return nil, err
	}
	if reader.status(now) != active {
		return nil, reader.notActive()
	}
	index, ok := parseShard(*in.ShardID)
	if !ok {
		return nil, k.noSuchShard(*in.ShardID)
	}
	h := st.shard(index, now)
	if h == nil {
		return nil, k.noShard(index)
	}
	h.mu.Lock()
	start := startingPosition{*in.StartingPosition.Type, in.StartingPosition.SequenceNumber, in.StartingPosition.Timestamp, "SubscribeToShard"}
	position, err := start.in(st, h, now)
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	busy := wire.Errorf("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", k.account, k.name, h.id, reader.name)
	if o := reader.subscriptions[h.index]; o != nil {
		if now-o.started < takeover.Milliseconds() {
			return nil, busy
		}
		if !in.DryRun {
			o.end(busy)
		}
	}
	if in.DryRun {
		return nil, dryRun()
	}
	sub := &subscription{service: s, stream: st, shard: h, position: position, started: now, over: make(chan struct{})}
	reader.subscriptions[h.index] = sub
	return sub, nil
}

// Stream pushes records until five minutes have passed, the shard has ended, the client has gone, or something has
// ended the subscription.
func (sub *subscription) Stream(ctx context.Context, w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	out := &events{w: w, flush: http.NewResponseController(w).Flush, encoder: eventstream.NewEncoder()}
	if err := out.event("initial-response", []byte("{}")); err != nil {
		return err
	}
	c := sub.service.env.Clock
	expired, beat := make(chan struct{}), make(chan struct{}, 1)
	life := c.AfterFunc(lifetime-time.Duration(sub.service.now()-sub.started)*time.Millisecond, func() { close(expired) })
	defer life.Stop()
	pulse := c.AfterFunc(heartbeat, func() {
		select {
		case beat <- struct{}{}:
		default:
		}
	})
	defer pulse.Stop()

	var payload []byte
	for due := true; ; {
		b, p, err := sub.next()
		if err != nil {
			return out.refuse(err)
		}
		if len(b.records) > 0 || p.ended || due {
			payload = sub.event(payload[:0], b, p)
			if err := out.event("SubscribeToShardEvent", payload); err != nil {
				return err
			}
			due = false
			pulse.Reset(heartbeat)
		}
		if p.ended {
			return nil
		}
		select {
		case <-sub.over:
			return out.refuse(sub.why)
		case <-expired:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if p.wake == nil { // there is more
			continue
		}
		select {
		case <-p.wake:
		case <-beat:
			due = true
		case <-sub.over:
			return out.refuse(sub.why)
		case <-expired:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next reads what the shard has, and moves on.
func (sub *subscription) next() (batch, page, *wire.Error) {
	st, h := sub.stream, sub.shard
	st.mu.RLock()
	defer st.mu.RUnlock()
	now := sub.service.now()
	if st.isGone(now) {
		return batch{}, page{}, st.notFound()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	position := sub.position
	if i := h.firstAfter(st.horizon(now)); i > 0 {
		position = max(position, h.records[i-1].index+1)
	}
	p := h.read(position, mostRecords, largestEvent, now, true)
	sub.position = p.next
	b := batch{shard: h, records: p.records, behind: p.behind}
	if p.ended {
		b.children = h.children
	}
	return b, p, nil
}

// event writes a SubscribeToShardEvent. At the end of a shard it has no ContinuationSequenceNumber, by which AWS's
// clients know the end.
func (sub *subscription) event(dst []byte, b batch, p page) []byte {
	dst = append(slices.Grow(dst, b.jsonSize()), '{')
	dst = b.appendRecords(dst)
	if !p.ended {
		dst = append(dst, `,"ContinuationSequenceNumber":"`...)
		if n := len(b.records); n > 0 {
			dst = b.shard.sequenceOf(&b.records[n-1]).append(dst)
		} else {
			dst = b.shard.sequence(p.next-1, sub.service.now()).append(dst)
		}
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// events writes an event stream (https://smithy.io/2.0/aws/amazon-eventstream.html).
type events struct {
	w       http.ResponseWriter
	flush   func() error
	encoder *eventstream.Encoder
}

func (e *events) event(kind string, payload []byte) error {
	return e.send(eventstream.Headers{
		{Name: ":message-type", Value: eventstream.StringValue("event")},
		{Name: ":event-type", Value: eventstream.StringValue(kind)},
		{Name: ":content-type", Value: eventstream.StringValue("application/x-amz-json-1.1")},
	}, payload)
}

// refuse tells the client why the stream ends.
func (e *events) refuse(why *wire.Error) error {
	payload := append([]byte(`{"message":`), appendString(nil, why.Message)...)
	return e.send(eventstream.Headers{
		{Name: ":message-type", Value: eventstream.StringValue("exception")},
		{Name: ":exception-type", Value: eventstream.StringValue(why.Code)},
		{Name: ":content-type", Value: eventstream.StringValue("application/x-amz-json-1.1")},
	}, append(payload, '}'))
}

func (e *events) send(headers eventstream.Headers, payload []byte) error {
	if err := e.encoder.Encode(e.w, eventstream.Message{Headers: headers, Payload: payload}); err != nil {
		return fmt.Errorf("writing to a subscriber: %w", err)
	}
	if err := e.flush(); err != nil {
		return fmt.Errorf("writing to a subscriber: %w", err)
	}
	return nil
}
