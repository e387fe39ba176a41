package sqs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// model is a queue as one would explain it: a list of messages, searched from the front each time.
type model struct {
	fifo       bool
	visibility time.Duration
	retention  time.Duration
	most       int // receives before a message is a dead letter, 0 for any number
	scan       int // of a FIFO queue: how many messages are looked at for groups
	list       []*modelMessage
	dedup      map[string]time.Time
}

type modelMessage struct {
	body, group string
	sent        time.Time
	hidden      time.Time // not visible before
	delayed     bool
	inFlight    bool
	count       int
	handle      string
}

func (m *model) pass(now time.Time) {
	m.list = slices.DeleteFunc(m.list, func(x *modelMessage) bool { return now.Sub(x.sent) >= m.retention })
	for _, x := range m.list {
		if !x.hidden.After(now) {
			x.delayed, x.inFlight = false, false
		}
	}
}

// available are the messages that a receive may hand out: of a FIFO queue those with none before them in their group
// that is not.
func (m *model) available() (list []*modelMessage) {
	blocked, begun := map[string]bool{}, map[string]bool{}
	for i, x := range m.list {
		if m.fifo && !begun[x.group] && i >= m.scan {
			blocked[x.group] = true
		}
		begun[x.group] = true
		hidden := x.delayed || x.inFlight
		if !hidden && !(m.fifo && blocked[x.group]) {
			list = append(list, x)
		}
		if hidden {
			blocked[x.group] = true
		}
	}
	return list
}

func (m *model) counts() (visible, notVisible, delayed int) {
	for _, x := range m.list {
		switch {
		case x.delayed:
			delayed++
		case x.inFlight:
			notVisible++
		default:
			visible++
		}
	}
	return visible, notVisible, delayed
}

func (m *model) find(body string) *modelMessage {
	i := slices.IndexFunc(m.list, func(x *modelMessage) bool { return x.body == body })
	if i < 0 {
		return nil
	}
	return m.list[i]
}

func (m *model) remove(x *modelMessage) {
	m.list = slices.DeleteFunc(m.list, func(y *modelMessage) bool { return x == y })
}

// receive checks what the queue has handed out, and does the same.
func (m *model) receive(got []receivedMessage, n int, now time.Time, timeout time.Duration) error {
	available := m.available()
	alive := available[:0:0]
	for _, x := range available {
		if m.most == 0 || x.count < m.most {
			alive = append(alive, x)
		}
	}
	if m.most == 0 && len(got) != min(n, len(alive)) {
		return fmt.Errorf("%d messages of %d that are available", len(got), len(alive))
	}
	last := map[string]int{}
	for _, g := range got {
		x := m.find(g.Body)
		if x == nil {
			return fmt.Errorf("%s is not in the queue", g.Body)
		}
		if !slices.Contains(available, x) && m.most == 0 {
			return fmt.Errorf("%s is not available", g.Body)
		}
		at := slices.Index(m.list, x)
		if m.fifo && at < last[x.group] {
			return fmt.Errorf("%s is out of order", g.Body)
		}
		last[x.group] = at
	}
	if m.fifo { // of each group, a part of the queue from its front on, without the dead
		for group := range last {
			var want []string
			for _, x := range m.list {
				if x.group != group || m.most > 0 && x.count >= m.most && !x.delayed && !x.inFlight {
					continue
				}
				if x.delayed || x.inFlight {
					break
				}
				want = append(want, x.body)
			}
			first := slices.IndexFunc(m.list, func(x *modelMessage) bool { return x.group == group })
			if first >= m.scan && m.most == 0 {
				return fmt.Errorf("the group %s begins at %d, too far behind", group, first)
			}
			var have []string
			for _, g := range got {
				if m.find(g.Body).group == group {
					have = append(have, g.Body)
				}
			}
			if len(have) > len(want) || !slices.Equal(have, want[:len(have)]) {
				return fmt.Errorf("of group %s %v; what is available is %v", group, have, want)
			}
		}
	}
	for _, g := range got {
		x := m.find(g.Body)
		x.count++
		x.handle = g.ReceiptHandle
		x.inFlight, x.hidden = timeout > 0, now.Add(timeout)
	}
	return nil
}

func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		for _, fifo := range []bool{false, true} {
			for _, most := range []int{0, 2} {
				t.Run(fmt.Sprintf("fifo=%v/most=%d/%d", fifo, most, seed), func(t *testing.T) {
					t.Parallel()
					runModel(t, rand.New(rand.NewPCG(seed, 7)), fifo, most)
				})
			}
		}
	}
}

func runModel(t *testing.T, random *rand.Rand, fifo bool, most int) {
	kit := stacktest.New(t)
	s, err := New(kit.Env)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
	name, dead := "q", "dead"
	attributes := map[string]string{"VisibilityTimeout": "10", "MessageRetentionPeriod": "120"}
	deadAttributes := map[string]string{}
	if fifo {
		name, dead = "q.fifo", "dead.fifo"
		attributes["FifoQueue"], deadAttributes["FifoQueue"] = "true", "true"
	}
	if _, err := s.createQueue(ctx, r, &createQueueInput{QueueName: dead, Attributes: deadAttributes}); err != nil {
		t.Fatal(err)
	}
	if most > 0 {
		attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, r.ARN("sqs", dead), most)
	}
	if _, err := s.createQueue(ctx, r, &createQueueInput{QueueName: name, Attributes: attributes}); err != nil {
		t.Fatal(err)
	}
	m := &model{fifo: fifo, visibility: 10 * time.Second, retention: 2 * time.Minute, most: most, scan: 1000, dedup: map[string]time.Time{}}
	if random.IntN(2) == 0 {
		m.scan = 5
	}
	s.byName(r.ARN("sqs", name)).scan = m.scan
	var handles []string // all that were ever given
	owner := map[string]string{}
	sent := 0
	for step := range 600 {
		now := kit.Clock.Now()
		m.pass(now)
		switch op := random.IntN(20); {
		case op < 6:
			body := fmt.Sprint("m", sent)
			sent++
			in := &sendMessageInput{QueueURL: name, Body: body}
			x := &modelMessage{body: body, sent: now, group: ""}
			if fifo {
				group, id := fmt.Sprint("g", random.IntN(4)), body
				if random.IntN(4) == 0 && sent > 3 {
					id = fmt.Sprint("m", random.IntN(sent)) // perhaps a repetition
				}
				in.GroupID, in.DeduplicationID = &group, &id
				x.group = group
				if until, ok := m.dedup[id]; ok && until.After(now) {
					x = nil
				} else {
					m.dedup[id] = now.Add(5 * time.Minute)
				}
			} else if random.IntN(4) == 0 {
				delay := int32(random.IntN(8))
				in.DelaySeconds = &delay
				x.delayed, x.hidden = delay > 0, now.Add(time.Duration(delay)*time.Second)
			}
			if !fifo && random.IntN(3) == 0 {
				group := fmt.Sprint("tenant", random.IntN(3))
				in.GroupID = &group
			}
			if _, err := s.sendMessage(ctx, r, in); err != nil {
				t.Fatal(err)
			}
			if x != nil {
				m.list = append(m.list, x)
			}
		case op < 11:
			n := int32(1 + random.IntN(10))
			in := &receiveInput{QueueURL: name, MaxNumberOfMessages: &n}
			timeout := m.visibility
			if random.IntN(4) == 0 {
				v := int32(random.IntN(20))
				in.VisibilityTimeout = &v
				timeout = time.Duration(v) * time.Second
			}
			out, err := s.receiveMessage(ctx, r, in)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.receive(out.Messages, int(n), now, timeout); err != nil {
				t.Fatalf("step %d: received %v of: %v", step, err, m.list)
			}
			for _, g := range out.Messages {
				if owner[g.ReceiptHandle] != "" {
					t.Fatalf("step %d: the handle of %s was that of %s", step, g.Body, owner[g.ReceiptHandle])
				}
				owner[g.ReceiptHandle] = g.Body
				handles = append(handles, g.ReceiptHandle)
			}
			m.bury(t, s, r, dead)
		case op < 14 && len(handles) > 0:
			h := handles[random.IntN(len(handles))]
			x := m.find(owner[h])
			_, err := s.deleteMessage(ctx, r, &deleteMessageInput{QueueURL: name, ReceiptHandle: h})
			refuse := fifo && x != nil && (!x.inFlight || x.handle != h)
			if (err != nil) != refuse {
				t.Fatalf("step %d: deleting %s: %v", step, owner[h], err)
			}
			if err == nil && x != nil {
				m.remove(x)
			}
		case op < 16 && len(handles) > 0:
			h := handles[random.IntN(len(handles))]
			x := m.find(owner[h])
			v := int32(random.IntN(15))
			_, err := s.changeVisibility(ctx, r, &changeVisibilityInput{QueueURL: name, ReceiptHandle: h, VisibilityTimeout: &v})
			refuse := x == nil || fifo && (!x.inFlight || x.handle != h)
			if (err != nil) != refuse {
				t.Fatalf("step %d: hiding %s: %v", step, owner[h], err)
			}
			if err == nil {
				x.inFlight, x.hidden = v > 0, now.Add(time.Duration(v)*time.Second)
			}
		default:
			kit.Clock.Advance(time.Duration(random.IntN(6000)) * time.Millisecond)
		}
		m.pass(kit.Clock.Now())
		v, n, d, _ := s.Depth(r.ARN("sqs", name))
		if wv, wn, wd := m.counts(); v != wv || n != wn || d != wd {
			t.Fatalf("step %d: %d visible, %d in flight, %d delayed; want %d, %d, %d", step, v, n, d, wv, wn, wd)
		}
	}
	m.sound(t, s, name, r)
}

// bury takes away what must have become a dead letter, and checks that the dead-letter queue has it, in order.
func (m *model) bury(t *testing.T, s *Service, r *wire.Request, dead string) {
	t.Helper()
	if m.most == 0 {
		return
	}
	n := int32(10)
	for {
		out, err := s.receiveMessage(context.Background(), r, &receiveInput{QueueURL: dead, MaxNumberOfMessages: &n})
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]int{}
		for _, g := range out.Messages {
			x := m.find(g.Body)
			if x == nil || x.count < m.most || x.inFlight || x.delayed {
				t.Fatalf("%s is a dead letter, but in the queue it was %+v", g.Body, x)
			}
			at := slices.Index(m.list, x)
			if m.fifo && at < last[x.group] {
				t.Fatalf("the dead letter %s is out of order", g.Body)
			}
			last[x.group] = at
		}
		for _, g := range out.Messages {
			m.remove(m.find(g.Body))
			if _, err := s.deleteMessage(context.Background(), r, &deleteMessageInput{QueueURL: dead, ReceiptHandle: g.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.Messages) == 0 {
			return
		}
	}
}

// sound checks that the queue's own structures agree with one another.
func (m *model) sound(t *testing.T, s *Service, name string, r *wire.Request) {
	t.Helper()
	q := s.byName(r.ARN("sqs", name))
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for x := q.ages.oldest; x != nil; x = x.newer {
		n++
	}
	if n += len(q.old); n != len(m.list) || n != q.count[ready]+q.count[delayed]+q.count[inFlight] {
		t.Errorf("%d messages by age, want %d", n, len(m.list))
	}
	if len(q.timed) != q.count[delayed]+q.count[inFlight] {
		t.Errorf("%d timed messages", len(q.timed))
	}
	for i, x := range q.timed {
		if x.index != i || i > 0 && x.before(q.timed[(i-1)/2]) {
			t.Errorf("the heap of times is broken at %d", i)
		}
	}
	for l := q.ready.front; l != nil; l = l.next {
		if !l.queued || l.front == nil || l.front.state != ready {
			t.Errorf("the group %q is offered without a message", l.group)
		}
	}
	for group, l := range q.lanes {
		if l.front == nil || l.group != group || l.queued != (l.front.state == ready && q.scans(l.front)) {
			t.Errorf("the group %q: %+v", group, l)
		}
	}
	if q.fifo {
		n := 0
		for x := q.ages.oldest; x != nil && q.scans(x); x = x.newer {
			n++
		}
		if n != q.scanned || n != min(len(m.list)-len(q.old), m.scan) {
			t.Errorf("%d messages are scanned of %d, and %d were counted", n, len(m.list), q.scanned)
		}
	}
	for order, x := range q.received {
		if x.state == gone || x.order != order {
			t.Errorf("a message that is gone can be found: %+v", x)
		}
	}
}
