package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/millrace/millrace/destinations"
)

// lines appends one line for each record. Concurrent records share a sync: each waits until one has covered
// its line.
type lines struct {
	path string

	mu  sync.Mutex
	log *log // open now; nil before the first record and after trouble
}

// log is one opening of the file. After a failed sync nobody knows which of its lines are on the disk, so it
// is given up as a whole: every line that was not covered before is an error, and is sent again.
type log struct {
	f       *os.File
	written int // lines; guarded by lines.mu
	users   int // calls of send that still need f; guarded by lines.mu

	syncing sync.Mutex // held by the one that syncs for all
	synced  int        // lines; guarded by syncing
	err     error      // guarded by syncing
}

func (l *lines) send(rec destinations.Record) error {
	line := bytes.NewBuffer(make([]byte, 0, len(rec.Body)+1))
	if err := json.Compact(line, rec.Body); err != nil { // a document may hold line breaks
		return err
	}
	line.WriteByte('\n')

	l.mu.Lock()
	current, size, err := l.open()
	if err != nil {
		l.mu.Unlock()
		return err
	}
	if n, err := current.f.Write(line.Bytes()); err != nil {
		undo(current.f, size, n)
		l.forget(current) // opening it again ends the line if it is still there
		l.mu.Unlock()
		return err
	}
	current.written++
	mine := current.written
	current.users++
	l.mu.Unlock()
	defer l.release(current)

	current.syncing.Lock()
	defer current.syncing.Unlock()
	if current.err != nil || current.synced >= mine {
		return current.err
	}
	l.mu.Lock()
	all := current.written
	l.mu.Unlock()
	if err := current.f.Sync(); err != nil {
		current.err = err
		l.mu.Lock()
		l.forget(current)
		l.mu.Unlock()
		return err
	}
	current.synced = all
	return nil
}

// undo takes back the n bytes of a line that did not fit, unless somebody else has appended since.
func undo(f *os.File, size int64, n int) {
	if info, err := f.Stat(); err == nil && info.Size() == size+int64(n) {
		f.Truncate(size) //nolint:errcheck // the line is ended later instead
	}
}

// open returns the log to append to and its size: a new one if there was trouble or the file has been moved
// away.
func (l *lines) open() (*log, int64, error) {
	if l.log != nil {
		there, err := os.Stat(l.path)
		have, e := l.log.f.Stat()
		if err == nil && e == nil && os.SameFile(there, have) {
			return l.log, have.Size(), nil
		}
		l.forget(l.log)
	}
	_, err := os.Stat(l.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		if err := makeDir(filepath.Dir(l.path)); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	if fresh {
		if err := syncDir(filepath.Dir(l.path)); err != nil {
			f.Close()
			return nil, 0, err
		}
	}
	size, err := endLine(f)
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	l.log = &log{f: f}
	return l.log, size, nil
}

// endLine ends the last line of f if a crash has cut it off, and returns the size.
func endLine(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return size, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil || last[0] == '\n' {
		return size, err
	}
	_, err = f.Write([]byte{'\n'})
	return size + 1, err
}

// forget makes the next record open the file again. The old one is closed when the last who wrote to it has
// synced.
func (l *lines) forget(old *log) {
	if l.log != old {
		return
	}
	l.log = nil
	if old.users == 0 {
		old.f.Close()
	}
}

func (l *lines) release(used *log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if used.users--; used.users == 0 && l.log != used {
		used.f.Close()
	}
}

func (l *lines) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log != nil {
		l.forget(l.log)
	}
	return nil
}
