// Package file keeps the records of invocations in files: one document each in a folder, or one line each in
// a single file. A record that was sent is on the disk for good, whatever happens to the hub or the machine.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is a destination on the disk. Relative paths start at the folder of the file.
type Config struct {
	// Dir is a folder that gets one file for each record, named by the time (UTC) and the id of the
	// invocation, such as 20260102T030405.678Z-3f0e….json. It is made if it does not exist.
	Dir string `yaml:"dir"`

	// File is one file that gets one line for each record (JSON Lines), in place of dir. It may be moved
	// away at any time; the next record starts a new one.
	File string `yaml:"file"`
}

// Defaults is the configuration that a file starts from.
func Defaults() Config { return Config{} }

// Validate checks what can be checked without the disk.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "" && c.File == "":
		return plugin.Invalid("dir", "is missing; write the folder for the records, such as ./failed, or set file")
	case c.Dir != "" && c.File != "":
		return plugin.Invalid("file", "can not go with dir; remove one of them")
	}
	return nil
}

// Spec is the kind "file".
func Spec() plugin.Spec[destinations.Destination] {
	return plugin.Define("file", "Writes the record to the disk.", Defaults(), open)
}

func open(_ context.Context, c Config, d plugin.Deps) (destinations.Destination, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	path := plugin.Resolve(d.Dir, c.Dir+c.File)
	info, err := os.Stat(path)
	switch {
	case err == nil && c.Dir != "" && !info.IsDir():
		return nil, plugin.Invalid("dir", "%s is not a folder", path)
	case err == nil && c.File != "" && !info.Mode().IsRegular():
		return nil, plugin.Invalid("file", "%s is not a regular file", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if c.File != "" {
		if !d.Check {
			if err := makeDir(filepath.Dir(path)); err != nil {
				return nil, err
			}
		}
		l := &lines{path: path}
		return &gated{send: l.send, free: l.close}, nil
	}
	if !d.Check {
		if err := makeDir(path); err != nil {
			return nil, err
		}
		if err := removeLeftovers(path); err != nil {
			return nil, err
		}
	}
	return &gated{send: (&documents{dir: path, clock: d.Clock}).send}, nil
}

// gated keeps Close and Send apart. A write that the kernel has begun can not be stopped, so both wait for it.
type gated struct {
	send func(rec destinations.Record) error
	gate executor.Gate
	free func() error
}

func (g *gated) Send(ctx context.Context, rec destinations.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	id, ok := g.gate.Enter(func() {})
	if !ok {
		return errors.New("the destination has been closed")
	}
	defer g.gate.Leave(id)
	if err := g.send(rec); err != nil {
		return hint(err)
	}
	return nil
}

func (g *gated) Close(ctx context.Context) error {
	if !g.gate.Close(ctx) || g.free == nil {
		return nil
	}
	return g.free()
}

// hint adds what to do about the common troubles of disks. All of them can be mended, so none is final.
func hint(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; free some space", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; let the user of the hub write there", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; mount it writable", err)
	}
	return err
}

// documents writes one file for each record.
type documents struct {
	dir   string
	clock clock.Clock
}

const (
	tempPrefix = ".millrace-"
	tempSuffix = ".tmp"
)

// send makes the document appear under its name complete or not at all, and durably: the data is synced
// before the name exists, and the name before send returns.
func (d *documents) send(rec destinations.Record) (err error) {
	f, err := os.CreateTemp(d.dir, tempPrefix+"*"+tempSuffix)
	if errors.Is(err, fs.ErrNotExist) { // the folder has been moved away
		if err = makeDir(d.dir); err == nil {
			f, err = os.CreateTemp(d.dir, tempPrefix+"*"+tempSuffix)
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name()) //nolint:errcheck // Open removes what is left
		}
	}()
	_, err = f.Write(rec.Body)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	name := d.clock.Now().UTC().Format("20060102T150405.000Z") + "-" + safe(rec.ID) + ".json"
	if err := os.Rename(f.Name(), filepath.Join(d.dir, name)); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// makeDir makes a folder that outlives a crash.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// safe makes an id good for a file name.
func safe(id string) string {
	if len(id) > 100 {
		id = id[:100]
	}
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, id)
}

// removeLeftovers removes what a crash left half written. Should that belong to another hub, its Send fails
// and is tried again.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
