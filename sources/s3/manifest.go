package s3

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// stamp tells one state of a file from the next. The zero stamp is a file that is not there.
type stamp struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // nanoseconds since 1970
	Inode uint64 `json:"inode"` // 0 where there are none
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{Size: info.Size(), MTime: info.ModTime().UnixNano(), Inode: inode(info)}
}

// manifest is what functions have been told of a directory: the state of each file at its last event. It is a
// log of JSON lines that is written after the event is durable and not synced, since what is lost of it costs
// an event twice. It is not safe for concurrent use.
type manifest struct {
	path  string
	first line
	files map[string]stamp
	log   *os.File
	lines int  // in the log, superseded ones included
	torn  bool // the log may end in half a line
}

// line is a line of the log. The first names the directory, so that a trigger that is pointed at another one
// does not take every file of the former for deleted.
type line struct {
	Version   int    `json:"version,omitempty"`
	Directory string `json:"directory,omitempty"`
	Key       string `json:"key,omitempty"` // URL-encoded, for names that are not UTF-8
	Gone      bool   `json:"gone,omitempty"`
	stamp
}

// openManifest reads the manifest of directory, or starts one. damaged is the number of lines that can not be
// read; the files that they told of are announced again.
func openManifest(path, directory string) (m *manifest, damaged int, err error) {
	m = &manifest{path: path, first: line{Version: 1, Directory: directory}, files: map[string]stamp{}}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("reading the manifest: %w", err)
	}
	if damaged, err = m.read(data); err != nil {
		return nil, 0, err
	}
	return m, damaged, m.compact()
}

func (m *manifest) read(data []byte) (damaged int, err error) {
	head, data, _ := bytes.Cut(data, []byte("\n"))
	if len(head) == 0 {
		return 0, nil
	}
	var first line
	switch err := json.Unmarshal(head, &first); {
	case err != nil:
		return 1, nil //nolint:nilerr // a damaged line is counted, not an error
	case first.Version > m.first.Version:
		return 0, fmt.Errorf("reading the manifest: %s is of version %d, which a newer millrace has written", m.path, first.Version)
	case first.Directory != m.first.Directory:
		return 0, nil
	}
	for len(data) > 0 {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		var l line
		err := json.Unmarshal(text, &l)
		key, bad := url.QueryUnescape(l.Key)
		switch {
		case err != nil && !whole: // the process ended while it wrote
		case err != nil || bad != nil || key == "":
			damaged++
		case l.Gone:
			delete(m.files, key)
		default:
			m.files[key] = l.stamp
		}
	}
	return damaged, nil
}

// compact writes the log anew, without what is superseded.
func (m *manifest) compact() error {
	if err := os.MkdirAll(filepath.Dir(m.path), 0o755); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	temp := m.path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := errors.Join(m.writeAll(f), f.Sync()); err == nil {
		err = os.Rename(temp, m.path)
		if err == nil {
			err = syncDir(filepath.Dir(m.path))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("writing the manifest: %w", err), f.Close())
		}
	} else {
		return errors.Join(fmt.Errorf("writing the manifest: %w", err), f.Close(), os.Remove(temp))
	}
	if m.log != nil {
		m.log.Close()
	}
	m.log, m.lines, m.torn = f, len(m.files), false
	return nil
}

func (m *manifest) writeAll(f io.Writer) error {
	w := bufio.NewWriter(f)
	err := json.NewEncoder(w).Encode(m.first)
	for key, s := range m.files {
		err = errors.Join(err, writeLine(w, key, s))
	}
	return errors.Join(err, w.Flush())
}

func writeLine(w io.Writer, key string, s stamp) error {
	text, err := json.Marshal(line{Key: url.QueryEscape(key), Gone: s == stamp{}, stamp: s})
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// put notes that the event of key's state s is durable. If it returns an error the manifest knows it all the
// same, but only until the process ends.
func (m *manifest) put(key string, s stamp) error {
	if s == (stamp{}) {
		delete(m.files, key)
	} else {
		m.files[key] = s
	}
	if m.lines++; m.torn || m.lines > 2*len(m.files)+1000 {
		return m.compact()
	}
	if err := writeLine(m.log, key, s); err != nil {
		m.torn = true
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

func (m *manifest) close() error { return m.log.Close() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
