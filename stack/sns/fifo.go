package sns

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/millrace/millrace/stack/store"
)

const (
	// deduplication is how long a message is not delivered again.
	deduplication = 5 * time.Minute
	// firstSequence is beyond which sequence numbers begin, which gives them AWS's 20 digits.
	firstSequence = 10_000_000_000_000_000_000
	// sequenceStep is between two sequence numbers.
	sequenceStep = 1_000
	// reserve is how many sequence numbers a durable stack marks as used at a time, so that none comes twice.
	reserve = 1_000
)

// fifo is what a FIFO topic keeps in order. Its own lock guards it.
type fifo struct {
	arn string

	mu             sync.Mutex
	last, reserved uint64 // numbers of messages
	groups         map[string]*group
	seen           map[string]*accepted // by deduplication id, and group if that is the scope
	oldest         []seenKey            // by time
}

// group is the messages of one group that are being delivered, or wait for it.
type group struct{ line []*ticket }

// ticket is a message's place in its group.
type ticket struct {
	message *message
	as      *accepted
	turn    chan struct{} // closed once it is its turn
}

// accepted is a message that is not to be delivered again until a time.
type accepted struct {
	seenRecord
	err  error         // of its delivery; read it once done is closed
	done chan struct{} // closed once it is delivered
}

type seenKey struct {
	key   string
	until time.Time
}

func newFifo(arn string) *fifo {
	return &fifo{arn: arn, groups: map[string]*group{}, seen: map[string]*accepted{}}
}

// remember takes over what the store has.
func (f *fifo) remember(key string, a *accepted) {
	f.seen[key] = a
	f.oldest = append(f.oldest, seenKey{key, a.Until})
}

// sort ends the taking over.
func (f *fifo) sort() {
	slices.SortFunc(f.oldest, func(a, b seenKey) int { return a.until.Compare(b.until) })
}

// sendFifo delivers messages in the order of their groups. A message that repeats another is not delivered: it gets
// the other's id and number, once that is delivered.
func (s *Service) sendFifo(ctx context.Context, t *topic, messages []*message, times int) []error {
	s.mu.RLock()
	byGroup := t.attribute(attrFifoThroughputScope) == "MessageGroup"
	s.mu.RUnlock()
	f := t.fifo
	now := s.env.Clock.Now()

	all := make([]*accepted, len(messages))
	keys := make([]string, len(messages))
	tickets := map[string][]*ticket{} // of this request, by group
	f.mu.Lock()
	forgotten := f.forget(now)
	numbers := f.number(s, len(messages))
	for i, m := range messages {
		keys[i] = m.deduplication
		if byGroup {
			keys[i] += " " + m.group // neither has a space in it
		}
		if a := f.seen[keys[i]]; a != nil {
			all[i], keys[i] = a, ""
			continue
		}
		f.last++
		m.sequence = strconv.FormatUint(firstSequence+f.last*sequenceStep, 10)
		a := &accepted{seenRecord: seenRecord{MessageID: m.id, Sequence: m.sequence, Until: now.Add(deduplication)}, done: make(chan struct{})}
		all[i] = a
		f.remember(keys[i], a)
		tickets[m.group] = append(tickets[m.group], f.draw(m, a))
	}
	f.mu.Unlock()

	err := numbers.Wait()
	var groups sync.WaitGroup
	for name, list := range tickets {
		deliver := func() {
			for _, k := range list {
				<-k.turn
				if k.as.err = err; err == nil {
					k.as.err = s.deliverFifo(ctx, t, k.message, times)
				}
				f.next(name)
			}
		}
		if len(tickets) == 1 || !s.env.Store.Durable() {
			deliver()
		} else {
			groups.Go(deliver)
		}
	}
	groups.Wait()

	if s.env.Store.Durable() {
		// Before it is delivered it must not count as seen: were it lost now, the client would send it again.
		var b store.Batch
		f.mu.Lock()
		for _, key := range forgotten {
			if f.seen[key] == nil {
				b.Delete(seenPrefix + t.arn + "/" + key)
			}
		}
		for i, a := range all {
			if keys[i] != "" && a.err == nil && f.seen[keys[i]] == a {
				b.Set(seenPrefix+t.arn+"/"+keys[i], encode(a.seenRecord))
			}
		}
		c := s.env.Store.Commit(&b)
		f.mu.Unlock()
		if err := c.Wait(); err != nil {
			for i, a := range all {
				if keys[i] != "" && a.err == nil {
					a.err = err
				}
			}
		}
	}
	for i, a := range all {
		if keys[i] == "" {
			continue
		}
		if a.err != nil {
			f.mu.Lock()
			if f.seen[keys[i]] == a {
				delete(f.seen, keys[i])
			}
			f.mu.Unlock()
		}
		close(a.done)
	}
	errs := make([]error, len(all))
	for i, a := range all {
		<-a.done
		errs[i] = a.err
		messages[i].id, messages[i].sequence = a.MessageID, a.Sequence
	}
	return errs
}

// forget drops what was seen too long ago, and returns its keys. The caller holds f.mu.
func (f *fifo) forget(now time.Time) (keys []string) {
	n := 0
	for n < len(f.oldest) && !f.oldest[n].until.After(now) {
		k := f.oldest[n]
		if a := f.seen[k.key]; a != nil && a.Until.Equal(k.until) {
			delete(f.seen, k.key)
			keys = append(keys, k.key)
		}
		n++
	}
	f.oldest = f.oldest[n:]
	return keys
}

// number reserves the sequence numbers of n messages. The caller holds f.mu.
func (f *fifo) number(s *Service, n int) store.Commit {
	if !s.env.Store.Durable() || f.last+uint64(n) <= f.reserved {
		return store.Commit{}
	}
	f.reserved = f.last + uint64(n) + reserve
	var b store.Batch
	b.Set(sequencePrefix+f.arn, strconv.AppendUint(nil, f.reserved, 10))
	return s.env.Store.Commit(&b)
}

// draw puts a message at the end of its group. The caller holds f.mu.
func (f *fifo) draw(m *message, a *accepted) *ticket {
	g := f.groups[m.group]
	if g == nil {
		g = new(group)
		f.groups[m.group] = g
	}
	k := &ticket{message: m, as: a, turn: make(chan struct{})}
	g.line = append(g.line, k)
	if len(g.line) == 1 {
		close(k.turn)
	}
	return k
}

// next ends the turn of the first message of a group.
func (f *fifo) next(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[name]
	if g.line = g.line[1:]; len(g.line) == 0 {
		delete(f.groups, name)
		return
	}
	close(g.line[0].turn)
}

// deliverFifo delivers one message to all subscribers. What one of them does not take now holds up its own group only.
func (s *Service) deliverFifo(ctx context.Context, t *topic, m *message, times int) error {
	list, err := s.parcels(s.recipients(t), m, times)
	if err != nil {
		return err
	}
	return s.deliver(ctx, list)
}
