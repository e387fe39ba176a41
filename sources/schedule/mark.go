package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// mark is what a schedule remembers over a restart.
type mark struct {
	Schedule string    `json:"schedule"` // the settings that it was kept for
	First    time.Time `json:"first"`    // when the hub first ran these
	Last     time.Time `json:"last"`     // every run up to here has been accepted or dropped
}

// load reads a mark, and returns false if there is none yet.
func load(file string) (mark, bool, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, fmt.Errorf("reading the last run: %w", err)
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return mark{}, false, fmt.Errorf("reading the last run from %s: %w; remove the file to count from now", file, err)
	}
	return m, true, nil
}

// save replaces a mark. It is on disk when save returns.
func (m mark) save(file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keeping the last run: %w", err)
		}
	}()
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it is gone once it has been renamed
	if _, err := tmp.Write(data); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Sync(); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
