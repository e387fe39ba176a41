package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// Store is an async.Store in a directory.
type Store struct {
	dir   string
	conf  Config
	rules []rule
	clock clock.Clock
	log   *slog.Logger
	db    *pebble.DB
	lock  *pebble.Lock

	full   atomic.Int32 // writes that the disk refused and that wait for space
	low    atomic.Bool  // at the last look there was less than minFree
	looked atomic.Int64 // when that was, in nanoseconds since 1970
	ready  atomic.Bool  // Recover has ended: until then faults are returned, and from then on logged

	mu        sync.Mutex
	closed    bool
	functions map[string]*function
	live      places // events that are not over
	tried     places // of those, the ones with progress
	parcels   map[uint64]parcels
	seq       uint64 // last place given
	waiting   int    // bytes of waiting events
	kept      int    // bytes of what the ledger keeps
	next      *group // takes what is recorded now
	current   *group // is being written to memory and the log
	writing   bool   // somebody does that
	flying    int    // groups on their way to the disk, 0 to 2
	aboard    int    // how many waited for the last group that anybody waited for
	company   int    // how many waited for the last two
	scratch   []byte // for encoding
	timer     clock.Timer
	armed     bool // the timer is set

	edit sync.Mutex // held while entries are read, changed and written back

	stop context.CancelFunc
	done sync.WaitGroup // background work
}

type function struct {
	number uint32
	name   string
	counts
	changed, named bool // since it was last written; whether its name has been
}

// Tuning, found by the benchmarks of this package. A queue mostly deletes what it wrote a moment ago, so large
// memtables let most events come and go without ever reaching a table.
const (
	memTableSize = 64 << 20
	memTables    = 4
	cacheSize    = 16 << 20
)

// Open opens the store of c.Dir, which must be absolute or relative to the working directory.
func Open(c Config, d plugin.Deps) (*Store, error) {
	s := &Store{
		dir: c.Dir, conf: c, clock: d.Clock, log: d.Log,
		functions: map[string]*function{}, live: places{}, tried: places{}, parcels: map[uint64]parcels{},
	}
	for _, r := range c.Redact {
		rule, err := parseRule(r)
		if err != nil {
			return nil, err
		}
		s.rules = append(s.rules, rule)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the store's directory: %w", err)
	}
	lock, err := pebble.LockDirectory(c.Dir, vfs.Default)
	if err != nil {
		return nil, fmt.Errorf("%s is in use by another hub, or can not be locked (%w); stop that hub, or name another dir", c.Dir, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	defer func() {
		if s.db == nil {
			stop()
			lock.Close() //nolint:errcheck // there is an error already
		}
	}()
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	o := &pebble.Options{
		FS:                          vfs.OnDiskFull(zeroFilled{vfs.Default, func() bool { return s.diskFull(ctx) }}, func() { s.diskFull(ctx) }),
		Lock:                        lock,
		Cache:                       cache,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		Logger:                      logger{s},
		EventListener:               &pebble.EventListener{BackgroundError: s.backgroundError, DataCorruption: s.corruption},
	}
	// Most of what reaches the first level is deleted before the next: compressing it is wasted work.
	o.Levels[0].Compression = func() *block.CompressionProfile { return block.NoCompression }
	if err := checkManifest(c.Dir); err != nil {
		return nil, damaged(c.Dir, err)
	}
	if err := checkSpace(c.Dir); err != nil {
		return nil, err
	}
	db, err := pebble.Open(c.Dir, o)
	if err != nil {
		return nil, damaged(c.Dir, err)
	}
	if err := s.read(db); err != nil {
		return nil, errors.Join(damaged(c.Dir, err), db.Close())
	}
	s.db, s.lock = db, lock
	s.done.Go(func() { s.retain(ctx) })
	return s, nil
}

// checkSpace refuses a disk without room for the tables that opening makes of the logs: Pebble would wait for
// it without end.
func checkSpace(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	var need uint64 = 1 << 20 // for the files of every start
	for _, name := range logs {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		need += uint64(info.Size()) //nolint:gosec // G115: a size is not negative
	}
	u, err := vfs.Default.GetDiskUsage(dir)
	if err == nil && u.AvailBytes < need {
		return fmt.Errorf("%w: opening the store in %s needs %d MB free on its disk, which has %d; free some space and start again",
			async.ErrFull, dir, (need>>20)+1, u.AvailBytes>>20)
	}
	return nil // if the disk does not tell, opening does
}

// damaged adds what to do about a store that can not be read.
func damaged(dir string, err error) error {
	var errno syscall.Errno
	what := "can not be read" // such as a file that is missing or cut, which Pebble does not mark as corruption
	switch {
	case pebble.IsCorruptionError(err) || errors.Is(err, errDamaged):
		what = "is damaged"
	case errors.As(err, &errno) && errno != syscall.ENOENT, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("opening the store in %s: %w", dir, err)
	}
	first, _, _ := strings.Cut(err.Error(), "\n") // details for Pebble's own use follow
	return fmt.Errorf("the store in %s %s: %s; put back a copy of the directory, or move it away to begin an empty store", dir, what, first)
}

// read takes up what the store has counted.
func (s *Store) read(db *pebble.DB) error {
	format, err := get(db, []byte{keyFormat})
	switch {
	case err != nil:
		return err
	case format == nil:
		if err := db.Set([]byte{keyFormat}, []byte(formatNumber), pebble.Sync); err != nil {
			return err
		}
	case string(format) != formatNumber:
		return fmt.Errorf("its format is %q and this version of millrace reads %q only", format, formatNumber)
	}
	byNumber := map[uint32]*function{}
	err = scan(db, keyFunction, func(k, v []byte) error {
		f := &function{number: binary.BigEndian.Uint32(k[1:]), name: string(v), named: true}
		byNumber[f.number], s.functions[f.name] = f, f
		return nil
	})
	if err != nil {
		return err
	}
	err = scan(db, keyCounts, func(k, v []byte) error {
		f := byNumber[binary.BigEndian.Uint32(k[1:])]
		if f == nil {
			return errDamaged
		}
		d := decoder{b: v}
		f.counts = d.counts()
		s.waiting += f.size
		return d.err
	})
	if err != nil {
		return err
	}
	v, err := get(db, []byte{keyTotals})
	if v == nil || err != nil {
		return err
	}
	d := decoder{b: v}
	s.seq, s.kept = d.uint(), d.int()
	return d.err
}

// get returns a copy of a value, or nil if there is none.
func get(db pebble.Reader, k []byte) ([]byte, error) {
	v, c, err := db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return append([]byte{}, v...), nil
}

// scan calls f for each key of a kind, in order.
func scan(db pebble.Reader, kind byte, f func(k, v []byte) error) error {
	return scanRange(db, []byte{kind}, []byte{kind + 1}, f)
}

func scanRange(db pebble.Reader, from, to []byte, f func(k, v []byte) error) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := f(it.Key(), v); err != nil {
			return fmt.Errorf("key %q: %w", it.Key(), err)
		}
	}
	return nil
}

// Recover implements async.Store.
func (s *Store) Recover(ctx context.Context, event func(async.Pending), delivery func(async.PendingDelivery)) (err error) {
	progress, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyProgress}, UpperBound: []byte{keyProgress + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, progress.Close()) }()
	progress.First()
	err = scan(s.db, keyQueued, func(k, v []byte) error {
		d := decoder{b: v}
		ev := d.event()
		if d.err != nil {
			return d.err
		}
		p := async.Pending{Seq: place(k), Function: ev.Function, Accepted: ev.Accepted}
		for progress.Valid() && place(progress.Key()) < p.Seq {
			progress.Next()
		}
		has := progress.Valid() && place(progress.Key()) == p.Seq
		if has {
			d := decoder{b: progress.Value()}
			if p.Next = d.time(); d.err != nil {
				return d.err
			}
		}
		s.mu.Lock()
		s.live.add(p.Seq)
		if has {
			s.tried.add(p.Seq)
		}
		s.mu.Unlock()
		event(p)
		return ctx.Err()
	})
	if err != nil {
		return damaged(s.dir, err)
	}
	err = scan(s.db, keyParcel, func(k, v []byte) error {
		d := decoder{b: v}
		was, since := d.delivery()
		p := async.PendingDelivery{
			Seq: place(k), Index: int(k[len(k)-1]), Destination: was.Destination, Tries: was.Tries, Since: since,
		}
		if d.err != nil {
			return d.err
		}
		s.mu.Lock()
		s.due(p.Seq, p.Index, since)
		s.mu.Unlock()
		delivery(p)
		return nil
	})
	if err != nil {
		return damaged(s.dir, err)
	}
	s.ready.Store(true)
	return nil
}

// Counts implements async.Store.
func (s *Store) Counts() map[string]async.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]async.Counts, len(s.functions))
	for name, f := range s.functions {
		m[name] = f.Counts
	}
	return m
}

// function returns what is counted of a function. The caller holds s.mu.
func (s *Store) function(name string) *function {
	f := s.functions[name]
	if f == nil {
		f = &function{number: uint32(len(s.functions) + 1), name: name}
		s.functions[name] = f
	}
	return f
}

// size is what an event counts for until it is over.
func size(ev *async.Event) int {
	return 64 + len(ev.ID) + len(ev.Function) + len(ev.ARN) + len(ev.TraceID) + len(ev.TraceParent) + len(ev.Payload)
}

// Accept implements async.Store.
func (s *Store) Accept(ctx context.Context, ev *async.Event) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.space(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, errClosed
	}
	n := size(ev)
	if s.waiting+s.kept+n > int(s.conf.MaxSize) {
		s.mu.Unlock()
		return 0, fmt.Errorf("%w: it holds %d bytes and maxSize is %s", async.ErrFull, s.waiting+s.kept, s.conf.MaxSize)
	}
	s.seq++
	seq := s.seq
	f := s.function(ev.Function)
	g := s.group()
	s.putQueued(g, seq, f, ev)
	f.Accepted++
	f.size += n
	s.waiting += n
	g.touch(f)
	return seq, s.syncLocked(g)
}

// putQueued writes a waiting event. The caller holds s.mu.
func (s *Store) putQueued(g *group, seq uint64, f *function, ev *async.Event) {
	s.live.add(seq)
	head := appendEvent(s.scratch[:0], ev)
	s.scratch = head
	op := g.batch.SetDeferred(len(key{}), len(head)+len(ev.Payload))
	queuedKey(op.Key, seq, f.number)
	copy(op.Value[copy(op.Value, head):], ev.Payload)
	g.check(op.Finish())
	g.ids = append(g.ids, indexed{ev.ID, seq})
}

func queuedKey(k []byte, seq uint64, number uint32) {
	k[0] = keyQueued
	binary.BigEndian.PutUint64(k[1:], seq)
	binary.BigEndian.PutUint32(k[9:], number)
}

// dropQueued takes an event off the waiting ones, and reports whether it was among them.
func (s *Store) dropQueued(g *group, seq uint64, f *function, n int) bool {
	if !s.live.remove(seq) {
		return false
	}
	op := g.ends.SingleDeleteDeferred(len(key{})) // it was written once
	queuedKey(op.Key, seq, f.number)
	g.check(op.Finish())
	if s.tried.remove(seq) {
		g.check(g.rest.Delete(placeKey(keyProgress, seq), nil))
	}
	f.size -= n
	s.waiting -= n
	return true
}

// Load implements async.Store.
func (s *Store) Load(ctx context.Context, seqs []uint64, most int) (_ []async.Stored, err error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{keyQueued}, UpperBound: []byte{keyQueued + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	found := make([]async.Stored, 0, len(seqs))
	for _, seq := range seqs {
		if !it.SeekGE(placeKey(keyQueued, seq)) || place(it.Key()) != seq {
			if err := it.Error(); err != nil {
				return nil, fmt.Errorf("reading a waiting event: %w", err)
			}
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("reading a waiting event: %w", err)
		}
		most -= len(v)
		if most < 0 && len(found) > 0 {
			break
		}
		e, err := s.stored(seq, v)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

// stored decodes a waiting event and adds its progress.
func (s *Store) stored(seq uint64, v []byte) (async.Stored, error) {
	d := decoder{b: v}
	e := async.Stored{Seq: seq, Event: d.event()}
	e.Payload = append([]byte(nil), d.b...)
	if d.err != nil {
		return e, d.err
	}
	s.mu.Lock()
	tried := s.tried.has(seq)
	s.mu.Unlock()
	if !tried {
		return e, nil
	}
	p, err := get(s.db, placeKey(keyProgress, seq))
	if err != nil || p == nil {
		return e, err
	}
	d = decoder{b: p}
	e.Progress = d.progress()
	return e, d.err
}

// Retry implements async.Store.
func (s *Store) Retry(seq uint64, p *async.Progress) error {
	v := appendProgress(nil, p)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if !s.live.has(seq) {
		s.mu.Unlock()
		return errOver
	}
	s.tried.add(seq)
	g := s.group()
	g.check(g.rest.Set(placeKey(keyProgress, seq), v, nil))
	return s.laterLocked(g)
}

var (
	errOver   = errors.New("the event is over already")
	errClosed = errors.New("the store is closed")
)

// Finish implements async.Store.
func (s *Store) Finish(seq uint64, e *async.Entry, rec *destinations.Record) error {
	if len(e.Deliveries) > mostDeliveries {
		return fmt.Errorf("%d deliveries of one event are more than the store takes, %d", len(e.Deliveries), mostDeliveries)
	}
	var kept []byte
	entry := finished{Entry: *e}
	if s.conf.Retention.Mode == full || s.conf.Retention.Mode == failed && e.State == async.Failed {
		kept = s.keep(&entry)
	}
	entry.kept = len(kept)

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	f := s.function(e.Function)
	g := s.group()
	if !s.dropQueued(g, seq, f, size(&e.Event)) {
		s.mu.Unlock()
		return errOver
	}
	kind := byte(keyFinished)
	switch e.State {
	case async.Failed:
		kind = keyFailed
		f.Failed++
	case async.Discarded:
		f.Discarded++
	default:
		f.Succeeded++
	}
	v := appendFinished(s.scratch[:0], &entry)
	s.scratch = v
	op := g.rest.SetDeferred(9, len(v))
	op.Key[0] = kind
	binary.BigEndian.PutUint64(op.Key[1:], seq)
	copy(op.Value, v)
	g.check(op.Finish())
	if kept != nil {
		g.check(g.rest.Set(placeKey(keyKept, seq), kept, nil))
	}
	s.kept += len(v) + len(kept)
	if rec != nil {
		g.check(g.rest.Set(placeKey(keyRecord, seq), appendRecord(nil, rec), nil))
		for i, d := range e.Deliveries {
			if d.State == async.DeliveryPending {
				g.check(g.rest.Set(append(placeKey(keyParcel, seq), byte(i)), appendDelivery(nil, &d, e.Finished), nil))
				s.due(seq, i, e.Finished)
			}
		}
	}
	g.touch(f)
	return s.laterLocked(g)
}

// keep returns the value of what the ledger keeps of payload and response.
func (s *Store) keep(e *finished) []byte {
	payload, response := e.Payload, e.Response
	e.HasPayload = true
	if len(s.rules) > 0 {
		var changed bool
		payload, changed = redact(payload, s.rules)
		e.Redacted = changed
		response, _ = redact(response, s.rules)
	}
	v := make([]byte, 0, len(payload)+len(response)+16)
	return appendText(appendText(v, payload), response)
}

// Record implements async.Store.
func (s *Store) Record(_ context.Context, seq uint64) (*destinations.Record, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	v, err := get(s.db, placeKey(keyRecord, seq))
	if err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	if v == nil {
		return nil, async.ErrNotFound
	}
	d := decoder{b: v}
	r := d.record()
	return r, d.err
}

// Delivered implements async.Store.
func (s *Store) Delivered(seq uint64, index int, d async.Delivery) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	due := s.parcels[seq]
	if index >= mostDeliveries || due.left&(1<<index) == 0 {
		s.mu.Unlock()
		return errOver
	}
	g := s.group()
	k := append(placeKey(keyParcel, seq), byte(index))
	s.scratch = appendDelivery(s.scratch[:0], &d, due.since)
	if d.State == async.DeliveryPending {
		g.check(g.rest.Set(k, s.scratch, nil))
		return s.laterLocked(g)
	}
	g.check(g.rest.Delete(k, nil))
	if !due.alone {
		k[0] = keyDelivered
		g.check(g.rest.Set(k, s.scratch, nil))
	}
	due.left &^= 1 << index
	if s.parcels[seq] = due; due.left == 0 {
		delete(s.parcels, seq)
		g.check(g.rest.Delete(placeKey(keyRecord, seq), nil))
	}
	return s.laterLocked(g)
}

// parcels are the pending deliveries of one event.
type parcels struct {
	left  uint64    // a bit for each that is pending
	since time.Time // when the event ended
	alone bool      // the entry of the event has been taken out of the ledger
}

// mostDeliveries of one event fit into parcels.
const mostDeliveries = 64

// due notes a pending delivery. The caller holds s.mu.
func (s *Store) due(seq uint64, index int, since time.Time) {
	p := s.parcels[seq]
	p.left |= 1 << index
	p.since = since
	s.parcels[seq] = p
}

// Flush implements async.Store.
func (s *Store) Flush(ctx context.Context) error {
	written := make(chan error, 1)
	go func() { // while the disk is full, a write takes until there is space, or until Close
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			written <- errClosed
			return
		}
		written <- s.syncLocked(s.group())
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		if s.full.Load() > 0 {
			return fmt.Errorf("%w: there is no space left on the disk of %s", async.ErrFull, s.dir)
		}
		return context.Cause(ctx)
	}
}

// Close implements async.Store.
func (s *Store) Close() error {
	s.stop()
	s.done.Wait()
	s.edit.Lock()
	defer s.edit.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	err := s.syncLocked(s.group())
	return errors.Join(err, s.db.Close(), s.lock.Close())
}

// space refuses events while the disk has too little room.
func (s *Store) space() error {
	if s.full.Load() > 0 {
		return fmt.Errorf("%w: there is no space left on the disk of %s", async.ErrFull, s.dir)
	}
	if s.stale() || s.low.Load() {
		if s.look(); s.low.Load() {
			return fmt.Errorf("%w: less than minFree, %s, is left on the disk of %s", async.ErrFull, s.conf.MinFree, s.dir)
		}
	}
	return nil
}

// stale says that what is known of free space is too old to accept on; the next call finds it fresh. An event
// that is written to a disk without space waits for it, and its sender with it.
func (s *Store) stale() bool {
	now, last := s.clock.Now().UnixNano(), s.looked.Load()
	return now-last > int64(lookAfter) && s.looked.CompareAndSwap(last, now)
}

// look asks the disk for its free space.
func (s *Store) look() {
	u, err := vfs.Default.GetDiskUsage(s.dir)
	low := err == nil && u.AvailBytes < uint64(s.conf.MinFree)
	if low != s.low.Swap(low) {
		if low {
			s.log.Error("events are refused until the disk has more free space", "dir", s.dir, "free", u.AvailBytes, "minFree", s.conf.MinFree.String())
		} else {
			s.log.Info("events are accepted again", "dir", s.dir, "free", u.AvailBytes)
		}
	}
}

// resume is how much free space ends a wait for space.
const resume = 8 << 20

// diskFull is called when a write found the disk full; writing goes on, with the same write, once it returns.
// Pebble could not survive the error, so the write waits for space instead. It returns false if the store is
// closing.
func (s *Store) diskFull(ctx context.Context) bool {
	s.full.Add(1)
	defer s.full.Add(-1)
	s.log.Error("the disk is full; events are refused and running ones wait until there is space", "dir", s.dir)
	for {
		u, err := vfs.Default.GetDiskUsage(s.dir)
		if err == nil && u.AvailBytes >= resume {
			s.log.Info("the disk has space again", "dir", s.dir, "free", u.AvailBytes)
			return true
		}
		if clock.Sleep(ctx, s.clock, 250*time.Millisecond) != nil {
			return false
		}
	}
}

// logger hands on what Pebble has to say.
type logger struct{ s *Store }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.s.log.Error("the store reports a fault", "dir", l.s.dir, "error", fmt.Sprintf(format, args...))
}

// Fatalf is called when the log can not be written, for a reason other than space. What was acknowledged is on
// disk; going on could acknowledge what is not. So the process ends, and the next one takes up the rest.
func (l logger) Fatalf(format string, args ...any) {
	l.s.log.Error("the store can not write; millrace stops and takes up unfinished events when it is started again",
		"dir", l.s.dir, "error", fmt.Sprintf(format, args...))
	os.Exit(1)
}

// corruption is called when a file turns out to be damaged; whoever reads from it gets the error too.
func (s *Store) corruption(i pebble.DataCorruptionInfo) {
	if s.ready.Load() {
		s.log.Error("a file of the store is damaged: put back a copy of the directory, or move it away to begin an empty store",
			"dir", s.dir, "file", i.Path, "error", i.Details)
	}
}

func (s *Store) backgroundError(err error) {
	if !s.ready.Load() || errors.Is(err, syscall.ENOSPC) || errors.Is(err, pebble.ErrClosed) {
		return // diskFull has said so
	}
	s.log.Error("the store reports a fault", "dir", s.dir, "error", err)
}
