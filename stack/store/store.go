// Package store keeps what the services of the local stack must not forget. A service holds its state in memory
// and writes each change here; it reads the changes back once, when the stack starts.
package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-json-experiment/json"
)

// Store is a map of keys to values that is either nowhere, for a stack that lives in memory, or in a directory.
// Its methods may be called concurrently.
type Store struct {
	db  *pebble.DB // nil in memory
	fs  vfs.FS
	dir string

	mu     sync.Mutex
	budget int64    // bytes that may be written before the disk's free space is looked at again
	owed   []change // of batches that could not be written: the services' memory has them
}

// ErrFull is the cause of a Commit's failure for want of free space.
var ErrFull = errors.New("the disk is nearly full")

const (
	reserve = 64 << 20 // free space that is left to Pebble, which does not survive a write that fails
	look    = 8 << 20  // most bytes between two looks
)

// Memory returns a store that forgets: Commit does nothing and Load finds nothing.
func Memory() *Store { return &Store{} }

// Open returns the store in a directory, which is made if it is not there. One process may have it open.
func Open(dir string) (*Store, error) { return open(dir, vfs.Default) }

func open(dir string, fs vfs.FS) (*Store, error) {
	db, err := pebble.Open(dir, &pebble.Options{FS: fs, Logger: quiet{}, FormatMajorVersion: pebble.FormatNewest})
	if errors.Is(err, syscall.EAGAIN) {
		err = fmt.Errorf("another process has it open: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the stack's directory %s: %w", dir, err)
	}
	return &Store{db: db, fs: fs, dir: dir}, nil
}

// quiet drops Pebble's progress reports. What concerns a caller comes back as an error.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Durable reports whether what is committed survives. A service need not encode what it commits if not.
func (s *Store) Durable() bool { return s.db != nil }

// Dir is the directory of a durable store, "" in memory. A service may keep files there, below a name of its own.
func (s *Store) Dir() string { return s.dir }

// Reserve takes n bytes that are about to be written to a file in Dir from the free space. The error is ErrFull if
// there is not enough.
func (s *Store) Reserve(n int64) error {
	if s.db == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(n)
}

// Load calls f for each key that begins with prefix, in ascending order of the bytes. The value is valid during
// the call only. It ends at f's first error, and returns it.
func (s *Store) Load(prefix string, f func(key string, value []byte) error) error {
	if s.db == nil {
		return nil
	}
	bounds := &pebble.IterOptions{UpperBound: after(prefix)}
	if prefix != "" {
		bounds.LowerBound = []byte(prefix)
	}
	it, err := s.db.NewIter(bounds)
	if err != nil {
		return fmt.Errorf("reading the stack's directory: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if err := read(f, string(it.Key()), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("reading the stack's directory: %w", err)
	}
	return nil
}

// read calls f. A value that f stumbles over is an error that names it: what is on a disk may be damaged, or be of
// another version.
func read(f func(key string, value []byte) error, key string, value []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the value of %q in the stack's directory cannot be right: %v", key, v)
		}
	}()
	return f(key, value)
}

// Get returns a copy of a value, and whether there is one. It is for what is too large to hold in memory.
func (s *Store) Get(key string) (value []byte, ok bool, err error) {
	if s.db == nil {
		return nil, false, nil
	}
	v, closer, err := s.db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the stack's directory: %w", err)
	}
	value = append([]byte(nil), v...)
	return value, true, closer.Close()
}

// after is the least key beyond all that begin with prefix, nil if there is none.
func after(prefix string) []byte {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}

// Batch is a list of changes that happen together or not at all. The zero value is an empty one.
type Batch struct {
	// Revocable says that the service takes the changes back in its memory if Commit fails. Else they stay there, and the
	// store writes them with the next batch.
	Revocable bool

	changes []change
}

type change struct {
	key   string
	to    []byte // for a deleted range, where it ends
	value []byte
	kind  uint8
}

const (
	set uint8 = iota
	remove
	removePrefix
)

// Empty reports whether there are no changes.
func (b *Batch) Empty() bool { return len(b.changes) == 0 }

// Set gives a key a value, which the batch keeps: do not change it afterwards.
func (b *Batch) Set(key string, value []byte) {
	b.changes = append(b.changes, change{key: key, value: value, kind: set})
}

// SetJSON gives a key a value in JSON, if the store is durable.
func (s *Store) SetJSON(b *Batch, key string, value any) error {
	if !s.Durable() {
		return nil
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	b.Set(key, data)
	return nil
}

// Delete removes a key, if it is there.
func (b *Batch) Delete(key string) { b.changes = append(b.changes, change{key: key, kind: remove}) }

// DeletePrefix removes all keys that begin with prefix.
func (b *Batch) DeletePrefix(prefix string) {
	b.changes = append(b.changes, change{key: prefix, to: after(prefix), kind: removePrefix})
}

// Commit is a batch on its way to the disk. The zero value is one that has arrived.
type Commit struct {
	batch *pebble.Batch
	err   error
}

// Commit puts a batch in line; batches reach the disk in the order of the calls, so a service calls it under the
// lock that orders its changes. It does not wait for the disk: call Wait, without that lock, before the change
// is acknowledged. Batches that wait at the same time share one flush.
//
// A batch that cannot be written, such as for want of space, is written with the next that can: so an acknowledged
// change never rests on one that is in memory alone, and memory and disk agree again.
func (s *Store) Commit(b *Batch) Commit {
	if s.db == nil || len(b.changes) == 0 {
		return Commit{}
	}
	s.mu.Lock()
	if len(s.owed) > 0 {
		defer s.mu.Unlock()
		return s.settle(b)
	}
	err := s.room(size(b.changes))
	s.mu.Unlock()
	var w *pebble.Batch
	if err == nil {
		w, err = s.apply(b.changes)
	}
	if err != nil && !b.Revocable {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.owed = append(s.owed, b.changes...)
	}
	return Commit{w, err}
}

// settle commits a batch together with what is owed. The caller holds s.mu.
func (s *Store) settle(b *Batch) Commit {
	changes := slices.Concat(s.owed, b.changes)
	err := s.room(size(changes))
	var w *pebble.Batch
	if err == nil {
		w, err = s.apply(changes)
	}
	switch {
	case err == nil:
		s.owed = nil
	case !b.Revocable:
		s.owed = append(s.owed, b.changes...)
	}
	return Commit{w, err}
}

func size(changes []change) (n int64) {
	for _, c := range changes {
		n += int64(len(c.key) + len(c.value))
	}
	return n
}

// Barrier is a Commit that has arrived once all has that was committed before, and what could not be written then. An
// answer waits for it that rests on a change of another request, such as that a queue is there already.
func (s *Store) Barrier() Commit {
	if s.db == nil {
		return Commit{}
	}
	s.mu.Lock()
	if len(s.owed) > 0 {
		defer s.mu.Unlock()
		return s.settle(new(Batch))
	}
	s.mu.Unlock()
	w := s.db.NewBatch()
	err := w.LogData(nil, nil)
	if err == nil {
		err = s.db.ApplyNoSyncWait(w, pebble.Sync)
	}
	if err != nil {
		return Commit{err: fmt.Errorf("writing to the stack's directory: %w", err)}
	}
	return Commit{batch: w}
}

// apply writes changes, without waiting for the disk.
func (s *Store) apply(changes []change) (*pebble.Batch, error) {
	w := s.db.NewBatch()
	var err error
	for _, c := range changes {
		switch c.kind {
		case set:
			err = w.Set([]byte(c.key), c.value, nil)
		case remove:
			err = w.Delete([]byte(c.key), nil)
		default:
			err = w.DeleteRange([]byte(c.key), c.to, nil)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = s.db.ApplyNoSyncWait(w, pebble.Sync)
	}
	if err != nil {
		return nil, fmt.Errorf("writing to the stack's directory: %w", err)
	}
	return w, nil
}

// room takes n bytes from the budget. The caller holds s.mu.
func (s *Store) room(n int64) error {
	if s.budget -= n; s.budget >= 0 {
		return nil
	}
	u, err := s.fs.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for the free space of the stack's directory: %w", err)
	}
	free := int64(min(u.AvailBytes, 1<<60)) - reserve //nolint:gosec // it fits
	if s.budget = min(free/4, look) - n; s.budget < 0 && free < 4*n {
		s.budget = 0
		return fmt.Errorf("writing %d bytes to the stack's directory %s: %w: %d MB are free and %d MB must stay so",
			n, s.dir, ErrFull, u.AvailBytes>>20, reserve>>20)
	}
	return nil
}

// Wait returns once the batch is on the disk. It may be called several times, by one goroutine at a time. After
// an error the change may or may not survive, and the service must not acknowledge it.
func (c *Commit) Wait() error {
	if c.batch == nil {
		return c.err
	}
	err := c.batch.SyncWait()
	if e := c.batch.Close(); err == nil {
		err = e
	}
	c.batch = nil
	if err != nil {
		c.err = fmt.Errorf("writing to the stack's directory: %w", err)
	}
	return c.err
}

// Close flushes and closes the store. No other method may be called at the same time or afterwards.
func (s *Store) Close() error {
	if s.db == nil {
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing the stack's directory: %w", err)
	}
	return nil
}
