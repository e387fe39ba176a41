package kinesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Under random puts, splits, merges, rescalings and reads, with a clock that moves, a reader that follows the shards
// from parents to children sees each record once, and those of a key in order. The open shards always take each hash
// key once.
func TestNothingIsLostOrReordered(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			kit := stacktest.New(t)
			if seed%20 == 0 {
				s, err := store.Open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				kit = stacktest.On(t, s)
			}
			service, err := New(kit.Env)
			if err != nil {
				t.Fatal(err)
			}
			m := &model{
				t: t, ctx: t.Context(), Kit: kit, service: service, rand: rand.New(rand.NewPCG(seed, 1)),
				request: &wire.Request{Region: "us-east-1", Account: "000000000000"}, name: "s", want: map[string][]string{}, got: map[string][]string{},
			}
			m.run(150)
		})
	}
}

type model struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // of the test
	*stacktest.Kit
	service *Service
	rand    *rand.Rand
	request *wire.Request
	name    string

	want, got map[string][]string // by key, in order
	readers   []*reader           // one for each shard that is being read
	done      map[string]bool     // shards that have been read to their end
	n         int
}

// reader is where the reading of a shard has come to.
type reader struct{ shard, next string }

func call[In, Out any](m *model, f func(context.Context, *wire.Request, *In) (*Out, error), in *In) *Out {
	m.t.Helper()
	out, err := f(m.ctx, m.request, in)
	if err != nil {
		m.t.Fatalf("%T: %v", in, err)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func (m *model) ref() StreamRef { return StreamRef{StreamName: &m.name} }

func (m *model) list() []Shard {
	return call(m, m.service.listShards, &ListShardsInput{StreamRef: m.ref()}).Shards
}

func (m *model) run(steps int) {
	m.done = map[string]bool{}
	call(m, m.service.createStream, &CreateStreamInput{StreamName: &m.name, ShardCount: ptr(int64(1 + m.rand.IntN(3)))})
	for _, h := range m.list() {
		m.follow(h.ShardID)
	}
	for range steps {
		switch p := m.rand.IntN(100); {
		case p < 50:
			m.put()
		case p < 80:
			m.read()
		case p < 88:
			m.split()
		case p < 95:
			m.merge()
		case p < 97:
			m.rescale()
		default:
			m.Clock.Advance(time.Duration(m.rand.IntN(3000)) * time.Millisecond)
		}
		m.check()
	}
	for len(m.readers) > 0 && m.behind() {
		m.read()
	}
	for key, want := range m.want {
		if !slices.Equal(m.got[key], want) {
			m.t.Errorf("of the key %s were read\n%v, want\n%v", key, m.got[key], want)
		}
	}
}

// check demands that the open shards take each hash key once.
func (m *model) check() {
	m.t.Helper()
	var open []Shard
	for _, h := range m.list() {
		if h.SequenceNumberRange.EndingSequenceNumber == "" {
			open = append(open, h)
		}
	}
	start := func(h Shard) hashKey {
		k, _ := parseHashKey(h.HashKeyRange.StartingHashKey)
		return k
	}
	slices.SortFunc(open, func(a, b Shard) int { return start(a).compare(start(b)) })
	at := hashKey{}
	for _, h := range open {
		end, ok := parseHashKey(h.HashKeyRange.EndingHashKey)
		if start(h) != at || !ok || end.compare(at) < 0 {
			m.t.Fatalf("%s to %s is not what follows %s", h.HashKeyRange.StartingHashKey, h.HashKeyRange.EndingHashKey, at)
		}
		at = end.next()
	}
	if at != (hashKey{}) {
		m.t.Fatalf("the last open shard ends before %s", at)
	}
}

func (m *model) put() {
	in := &PutRecordsInput{StreamRef: m.ref()}
	for range 1 + m.rand.IntN(5) {
		m.n++
		key, data := fmt.Sprint("key-", m.rand.IntN(20)), fmt.Sprint(m.n)
		m.want[key] = append(m.want[key], data)
		in.Records = append(in.Records, PutRecordsEntry{Data: ptr([]byte(data)), PartitionKey: &key})
	}
	if out := call(m, m.service.putRecords, in); out.FailedRecordCount != 0 {
		m.t.Fatalf("%+v", out)
	}
}

// follow begins to read a shard. Its parents have been read.
func (m *model) follow(shard string) {
	it := call(m, m.service.getShardIterator, &GetShardIteratorInput{StreamRef: m.ref(), ShardID: &shard, ShardIteratorType: ptr(trimHorizon)})
	m.readers = append(m.readers, &reader{shard, it.ShardIterator})
}

// read reads a page of some shard, and follows its children at its end.
func (m *model) read() {
	if len(m.readers) == 0 {
		return
	}
	i := m.rand.IntN(len(m.readers))
	r := m.readers[i]
	out := call(m, m.service.getRecords, &GetRecordsInput{ShardIterator: &r.next, Limit: ptr(int64(1 + m.rand.IntN(10)))})
	last := ""
	for j := range out.records {
		rec := &out.records[j]
		m.got[rec.key] = append(m.got[rec.key], string(rec.data))
		sequence := out.shard.sequenceOf(rec).String()
		if sequence <= last {
			m.t.Errorf("%s comes after %s", sequence, last)
		}
		last = sequence
	}
	if r.next = out.next; r.next != "" {
		return
	}
	m.readers = slices.Delete(m.readers, i, i+1)
	m.done[r.shard] = true
	if len(out.children) == 0 {
		m.t.Fatalf("%s has ended without children", r.shard)
	}
	for _, c := range out.children {
		ready := true
		for _, p := range c.parents {
			ready = ready && m.done[shardName(p)]
		}
		if ready {
			m.follow(c.id)
		}
	}
}

// behind reports whether a reader has something to read.
func (m *model) behind() bool {
	for _, r := range m.readers {
		out := call(m, m.service.getRecords, &GetRecordsInput{ShardIterator: &r.next, Limit: ptr(int64(1))})
		if len(out.records) > 0 || out.next == "" {
			return true
		}
	}
	return false
}

func (m *model) open() []Shard {
	return slices.DeleteFunc(m.list(), func(h Shard) bool { return h.SequenceNumberRange.EndingSequenceNumber != "" })
}

func (m *model) split() {
	open := m.open()
	h := open[m.rand.IntN(len(open))]
	from, _ := parseHashKey(h.HashKeyRange.StartingHashKey)
	to, _ := parseHashKey(h.HashKeyRange.EndingHashKey)
	at := hashKey{from.hi + m.rand.Uint64N(max(1, to.hi-from.hi)), m.rand.Uint64()}
	if len(open) > 30 || at.compare(from.next()) <= 0 || at.compare(to) >= 0 {
		return
	}
	call(m, m.service.splitShard, &SplitShardInput{StreamRef: m.ref(), ShardToSplit: &h.ShardID, NewStartingHashKey: ptr(at.String())})
}

func (m *model) merge() {
	open := m.open()
	a := open[m.rand.IntN(len(open))]
	for _, b := range open {
		end, _ := parseHashKey(a.HashKeyRange.EndingHashKey)
		if b.HashKeyRange.StartingHashKey == end.next().String() && end != lastHashKey {
			call(m, m.service.mergeShards, &MergeShardsInput{StreamRef: m.ref(), ShardToMerge: &a.ShardID, AdjacentShardToMerge: &b.ShardID})
			return
		}
	}
}

func (m *model) rescale() {
	n := len(m.open())
	target := int64((n+1)/2 + m.rand.IntN(2*n-(n+1)/2+1))
	st, err := m.service.lookup(streamKey{"000000000000", "us-east-1", m.name}, m.service.now())
	if err != nil {
		m.t.Fatal(err)
	}
	st.mu.RUnlock()
	st.mu.Lock()
	st.Rescaled = nil // ten a day are too few here
	st.mu.Unlock()
	call(m, m.service.updateShardCount, &UpdateShardCountInput{StreamRef: m.ref(), TargetShardCount: &target, ScalingType: ptr("UNIFORM_SCALING")})
}

// The same with everything at once: writers that each keep the order of their keys, splits and merges among them, and
// subscribers that follow the shards.
func TestNothingIsLostOrReorderedAtOnce(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func() *stacktest.Kit{
		"memory": func() *stacktest.Kit { return stacktest.New(t) },
		"disk": func() *stacktest.Kit {
			s, err := store.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return stacktest.On(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit := on()
			service, err := New(kit.Env)
			if err != nil {
				t.Fatal(err)
			}
			m := &model{
				t: t, ctx: t.Context(), Kit: kit, service: service, rand: rand.New(rand.NewPCG(1, 2)), name: "s",
				request: &wire.Request{Region: "us-east-1", Account: "000000000000"},
			}
			m.atOnce()
		})
	}
}

const (
	writers      = 4
	keysOfWriter = 5
	putsOfWriter = 100
)

func (m *model) atOnce() {
	call(m, m.service.createStream, &CreateStreamInput{StreamName: &m.name, ShardCount: ptr(int64(2))})
	arn := streamKey{"000000000000", "us-east-1", m.name}.arn()
	consumer := call(m, m.service.registerStreamConsumer, &RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: ptr("c")}).Consumer.ConsumerARN
	all := &arrivals{left: writers * putsOfWriter, got: map[string][]string{}, done: map[string]bool{}, finished: make(chan struct{})}
	follow := func(shard string) *subscription {
		return call(m, m.service.subscribeToShard, &SubscribeToShardInput{
			ConsumerARN: &consumer, ShardID: &shard, StartingPosition: &StartingPosition{Type: ptr(trimHorizon)},
		})
	}
	var work sync.WaitGroup
	for _, h := range m.list() {
		sub := follow(h.ShardID)
		work.Go(func() { all.read(sub, follow, &work) })
	}
	for w := range writers {
		work.Go(func() {
			for i := range putsOfWriter {
				key, data := fmt.Sprintf("key-%d-%d", w, i%keysOfWriter), []byte(fmt.Sprint(i))
				if _, err := m.service.putRecord(m.ctx, m.request, &PutRecordInput{StreamRef: m.ref(), PartitionKey: &key, Data: &data}); err != nil {
					m.t.Error(err)
				}
			}
		})
	}
	for range 60 {
		m.split()
		m.merge()
	}
	work.Wait()
	for w := range writers {
		for k := range keysOfWriter {
			key := fmt.Sprintf("key-%d-%d", w, k)
			var want []string
			for i := k; i < putsOfWriter; i += keysOfWriter {
				want = append(want, fmt.Sprint(i))
			}
			if !slices.Equal(all.got[key], want) {
				m.t.Errorf("of the key %s were read\n%v, want\n%v", key, all.got[key], want)
			}
		}
	}
}

// arrivals is what subscribers have got.
type arrivals struct {
	mu       sync.Mutex
	left     int
	got      map[string][]string // by key
	done     map[string]bool     // shards that have ended
	finished chan struct{}       // closed once nothing is left
}

// read reads a shard to its end, or until all is read, and has its children read by others.
func (a *arrivals) read(sub *subscription, follow func(shard string) *subscription, work *sync.WaitGroup) {
	for {
		b, p, err := sub.next()
		if err != nil {
			return
		}
		a.mu.Lock()
		for _, r := range b.records {
			a.got[r.key] = append(a.got[r.key], string(r.data))
			if a.left--; a.left == 0 {
				close(a.finished)
			}
		}
		var next []string
		if p.ended {
			a.done[b.shard.id] = true
			for _, c := range b.children {
				if !slices.ContainsFunc(c.parents, func(i uint32) bool { return !a.done[shardName(i)] }) {
					next = append(next, c.id)
				}
			}
		}
		a.mu.Unlock()
		for _, shard := range next {
			work.Go(func() { a.read(follow(shard), follow, work) })
		}
		if p.ended {
			return
		}
		if p.wake != nil {
			select {
			case <-p.wake:
			case <-a.finished:
				return
			}
		}
	}
}
