package s3

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/stack/store"
)

// piece is some bytes of an object: all of them, or a part that was uploaded by itself. In memory it holds them.
// On disk it names them: by ID they are a value of the store if Size is at most inline, else a file.
type piece struct {
	ID   uint64 `json:",omitempty"`
	Size int64
	data []byte
}

// inline is the size up to which bytes are kept in the store, where they cost no sync of their own.
const inline = 64 << 10

// bodies keeps the bytes of objects. A piece that no committed version, nor part, names is removed when the stack
// starts, so a crash leaves nothing half-written behind.
type bodies struct {
	store *store.Store
	dir   string // "" in memory
	last  atomic.Uint64

	syncing sync.Mutex // orders syncs of the directory, so that waiting callers share one
	synced  atomic.Uint64
	made    atomic.Uint64

	mu     sync.Mutex
	pins   map[uint64]int  // how many readers a file has
	doomed map[uint64]bool // files to be removed when their last reader is done
}

const (
	prefix     = "s3/"
	dataPrefix = prefix + "data/"
)

func newBodies(st *store.Store) (*bodies, error) {
	b := &bodies{store: st, pins: map[uint64]int{}, doomed: map[uint64]bool{}}
	if !st.Durable() {
		return b, nil
	}
	b.dir = filepath.Join(st.Dir(), "objects")
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of objects: %w", err)
	}
	return b, nil
}

func dataKey(id uint64) string { return dataPrefix + hex16(id) }

func hex16(n uint64) string {
	s := strconv.FormatUint(n, 16)
	return "0000000000000000"[:16-len(s)] + s
}

func (b *bodies) file(id uint64) string { return filepath.Join(b.dir, hex16(id)) }

// writer takes the bytes of one piece.
type writer struct {
	b    *bodies
	data []byte
	size int64
	file *os.File
	id   uint64
}

// writer begins a piece of about so many bytes; 0 is unknown.
func (b *bodies) writer(size int64) *writer {
	w := &writer{b: b}
	if b.dir != "" {
		size = min(size, inline)
	}
	w.data = make([]byte, 0, min(size, 8<<20))
	return w
}

// buffer is where the next bytes may be read into. Call wrote with their number.
func (w *writer) buffer() []byte {
	if len(w.data) == cap(w.data) {
		w.data = slices.Grow(w.data, max(512, min(cap(w.data), 64<<20)))
	}
	return w.data[len(w.data):cap(w.data)]
}

// wrote takes the bytes that are in the buffer.
func (w *writer) wrote(n int) error {
	w.data = w.data[:len(w.data)+n]
	w.size += int64(n)
	if w.b.dir == "" || len(w.data) <= inline {
		return nil
	}
	return w.spill()
}

// spill moves what is in memory to the file.
func (w *writer) spill() error {
	if w.file == nil {
		w.id = w.b.last.Add(1)
		f, err := os.OpenFile(w.b.file(w.id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("making a file for an object: %w", err)
		}
		w.file = f
	}
	if err := w.b.store.Reserve(int64(len(w.data))); err != nil {
		return err
	}
	_, err := w.file.Write(w.data)
	w.data = w.data[:0]
	if err != nil {
		return fmt.Errorf("writing an object: %w", err)
	}
	return nil
}

// finish ends the piece. A file is on the disk then.
func (w *writer) finish() (piece, error) {
	if w.b.dir == "" {
		if cap(w.data)-len(w.data) > len(w.data)/8+512 {
			w.data = slices.Clip(append(make([]byte, 0, len(w.data)), w.data...))
		}
		return piece{Size: w.size, data: w.data}, nil
	}
	if w.file == nil {
		w.id = w.b.last.Add(1)
		return piece{ID: w.id, Size: w.size, data: w.data}, nil
	}
	err := w.spill()
	if err == nil {
		err = w.file.Sync()
	}
	if e := w.file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = w.b.syncDir()
	}
	if err != nil {
		w.discard()
		return piece{}, fmt.Errorf("writing an object: %w", err)
	}
	return piece{ID: w.id, Size: w.size}, nil
}

// discard gives up the piece.
func (w *writer) discard() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name()) //nolint:errcheck // else it is removed when the stack starts
	}
	w.data, w.file = nil, nil
}

// syncDir makes sure that the names of the files made so far are on the disk.
func (b *bodies) syncDir() error {
	n := b.made.Add(1)
	b.syncing.Lock()
	defer b.syncing.Unlock()
	if b.synced.Load() >= n {
		return nil
	}
	n = b.made.Load()
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	if err == nil {
		b.synced.Store(n)
	}
	return err
}

// keep adds to a batch what must be written for pieces that are about to be named. It returns them as they are to be
// named, without their bytes if those are on disk.
func (b *bodies) keep(batch *store.Batch, pieces []piece) []piece {
	if b.dir == "" {
		return pieces
	}
	kept := slices.Clone(pieces)
	for i := range kept {
		if p := &kept[i]; p.Size <= inline && len(p.data) > 0 { // a part that becomes of an object is there already
			batch.Set(dataKey(p.ID), p.data)
		}
		kept[i].data = nil
	}
	return kept
}

// drop adds to a batch the removal of pieces from the store. Call removeFiles once it is committed.
func (b *bodies) drop(batch *store.Batch, pieces []piece) {
	if b.dir == "" {
		return
	}
	for _, p := range pieces {
		if p.Size <= inline {
			batch.Delete(dataKey(p.ID))
		}
	}
}

// removeFiles removes what drop leaves, but for the files that are pinned: those when they no longer are.
func (b *bodies) removeFiles(pieces []piece) {
	if b.dir == "" {
		return
	}
	for _, p := range pieces {
		if p.Size <= inline {
			continue
		}
		b.mu.Lock()
		pinned := b.pins[p.ID] > 0
		if pinned {
			b.doomed[p.ID] = true
		}
		b.mu.Unlock()
		if !pinned {
			os.Remove(b.file(p.ID)) //nolint:errcheck // else it is removed when the stack starts
		}
	}
}

// pin keeps the files of pieces until unpin is called. It is called under the lock under which the pieces were found.
func (b *bodies) pin(pieces []piece) {
	if b.dir == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range pieces {
		if p.Size > inline {
			b.pins[p.ID]++
		}
	}
}

func (b *bodies) unpin(pieces []piece) {
	if b.dir == "" {
		return
	}
	for _, p := range pieces {
		if p.Size <= inline {
			continue
		}
		b.mu.Lock()
		remove := false
		if b.pins[p.ID]--; b.pins[p.ID] == 0 {
			delete(b.pins, p.ID)
			remove = b.doomed[p.ID]
			delete(b.doomed, p.ID)
		}
		b.mu.Unlock()
		if remove {
			os.Remove(b.file(p.ID)) //nolint:errcheck // else it is removed when the stack starts
		}
	}
}

// clone makes pieces with the same bytes as pinned ones, which live on when those are dropped.
func (b *bodies) clone(pieces []piece) (clones []piece, err error) {
	if b.dir == "" {
		return pieces, nil
	}
	defer func() {
		if err != nil {
			b.removeFiles(clones)
			clones = nil
		}
	}()
	files := false
	for _, p := range pieces {
		c := piece{ID: b.last.Add(1), Size: p.Size}
		if p.Size <= inline {
			if c.data, err = b.read(p); err != nil {
				return clones, err
			}
		} else {
			if err := os.Link(b.file(p.ID), b.file(c.ID)); err != nil {
				return clones, fmt.Errorf("copying an object: %w", err)
			}
			files = true
		}
		clones = append(clones, c)
	}
	if files {
		err = b.syncDir()
	}
	return clones, err
}

// errGone says that a piece was dropped before it could be read: look up the object again.
var errGone = errors.New("the object is gone")

// read returns the bytes of a piece that is in memory or in the store.
func (b *bodies) read(p piece) ([]byte, error) {
	if b.dir == "" || p.data != nil || p.Size == 0 {
		return p.data, nil
	}
	data, ok, err := b.store.Get(dataKey(p.ID))
	if err == nil && !ok {
		err = errGone
	}
	return data, err
}

// reader reads some of the bytes of pieces.
type reader struct {
	b      *bodies
	pieces []piece // those in the store hold their bytes
	offset int64   // in the first piece
	left   int64
}

// open makes a reader of n bytes of pinned pieces from an offset on. The error may be errGone.
func (b *bodies) open(pieces []piece, offset, n int64) (*reader, error) {
	r := &reader{b: b, offset: offset, left: n}
	for len(pieces) > 0 && r.offset >= pieces[0].Size {
		r.offset -= pieces[0].Size
		pieces = pieces[1:]
	}
	last, end := 0, r.offset+n
	for last < len(pieces) && end > 0 {
		end -= pieces[last].Size
		last++
	}
	r.pieces = pieces[:last]
	if b.dir == "" {
		return r, nil
	}
	r.pieces = slices.Clone(r.pieces)
	for i := range r.pieces {
		if p := &r.pieces[i]; p.Size <= inline {
			var err error
			if p.data, err = b.read(*p); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(w io.Writer) (n int64, err error) {
	for i := range r.pieces {
		p := &r.pieces[i]
		want := min(p.Size-r.offset, r.left)
		var k int64
		if r.b.dir != "" && p.Size > inline {
			k, err = r.b.send(w, p.ID, r.offset, want)
		} else {
			var m int
			m, err = w.Write(p.data[r.offset : r.offset+want])
			k = int64(m)
		}
		n += k
		if err != nil {
			return n, err
		}
		r.offset, r.left = 0, r.left-want
	}
	return n, nil
}

// send writes a part of a file.
func (b *bodies) send(w io.Writer, id uint64, offset, n int64) (int64, error) {
	f, err := os.Open(b.file(id))
	if err != nil {
		return 0, fmt.Errorf("opening an object: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, fmt.Errorf("reading an object: %w", err)
	}
	return io.CopyN(w, f, n) // a LimitedReader of a file lets a connection use sendfile
}

// copy makes one piece of some of the bytes of others. It calls hash with them as they pass.
func (b *bodies) copy(pieces []piece, offset, n int64, hash func([]byte)) (piece, error) {
	r, err := b.open(pieces, offset, n)
	if err != nil {
		return piece{}, err
	}
	w := b.writer(n)
	if _, err := r.WriteTo(&tee{w, hash}); err != nil {
		w.discard()
		return piece{}, err
	}
	return w.finish()
}

type tee struct {
	*writer
	hash func([]byte)
}

func (t *tee) Write(p []byte) (int, error) {
	t.hash(p)
	done := 0
	for done < len(p) {
		n := copy(t.buffer(), p[done:])
		if err := t.wrote(n); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// sweep removes the files that none of the given pieces is, and numbers further ones after all that are. It is called
// before anything else.
func (b *bodies) sweep(named map[uint64]bool) error {
	if b.dir == "" {
		return nil
	}
	last := uint64(0)
	for id := range named {
		last = max(last, id)
	}
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("listing the objects: %w", err)
	}
	for _, f := range files {
		id, err := strconv.ParseUint(f.Name(), 16, 64)
		if err != nil || f.Name() != strings.ToLower(f.Name()) {
			continue
		}
		last = max(last, id)
		if !named[id] {
			if err := os.Remove(b.file(id)); err != nil {
				return fmt.Errorf("removing what a crash left: %w", err)
			}
		}
	}
	b.last.Store(last)
	return nil
}
