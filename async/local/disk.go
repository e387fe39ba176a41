package local

import (
	"errors"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// zeroFilled writes zeros ahead of a new log. A sync of a log whose blocks exist and whose size does not
// change is one write of the disk; that of a growing one is two. Pebble gets the same from the logs that it
// reuses, but a store begins with none. Its reader takes zeros for the end of a log.
//
// On a full disk a write to the log waits for space as often as it takes: Pebble's own wrapper tries once more,
// and an error of the log is one that Pebble does not survive.
type zeroFilled struct {
	vfs.FS
	wait func() bool // returns true once there is space, false if the store is closing
}

func (z zeroFilled) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := z.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &aheadFile{File: f, wait: z.wait}, nil
}

// aheadFile is written by one goroutine.
type aheadFile struct {
	vfs.File
	wait            func() bool
	written, filled int64
}

var zeros [1 << 20]byte

func (f *aheadFile) Write(p []byte) (int, error) {
	done := 0
	for {
		n, err := f.write(p[done:])
		done += n
		if err == nil || !errors.Is(err, syscall.ENOSPC) || !f.wait() {
			return done, err
		}
	}
}

func (f *aheadFile) write(p []byte) (int, error) {
	for f.written+int64(len(p)) > f.filled {
		if _, err := f.File.WriteAt(zeros[:], f.filled); err != nil {
			return 0, err
		}
		f.filled += int64(len(zeros))
	}
	n, err := f.File.Write(p)
	f.written += int64(n)
	return n, err
}
