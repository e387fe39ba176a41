package process

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/plugin"
)

// AWS permits 250 MB unpacked (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	maxUnpacked = 250 << 20
	maxEntries  = 100_000
	maxLink     = 4 << 10 // bytes of a link's target
)

// locate checks the code of a configuration without reading it, and returns its full path.
func locate(c Config, dir string) (string, error) {
	code := c.Code
	if !filepath.IsAbs(code) {
		code = filepath.Join(dir, code)
	}
	info, err := os.Stat(code)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", plugin.Invalid("code", "%s does not exist; name the directory or .zip that holds the function", code)
	case err != nil:
		return "", plugin.Invalid("code", "can not be read: %v", err)
	case info.IsDir():
		return code, bootstrapIn(c, code)
	case strings.HasSuffix(code, ".zip"):
		return code, nil
	}
	return "", plugin.Invalid("code", "%s is neither a directory nor a .zip", code)
}

// bootstrapIn checks that code of kind provided has an executable bootstrap.
func bootstrapIn(c Config, dir string) error {
	if c.kind != provided {
		return nil
	}
	info, err := os.Stat(filepath.Join(dir, "bootstrap"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plugin.Invalid("code", "%s has no file bootstrap; name the executable so", dir)
	case err != nil:
		return plugin.Invalid("code", "can not be read: %v", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return plugin.Invalid("code", "%s is not executable; run chmod +x on it", filepath.Join(dir, "bootstrap"))
	}
	return nil
}

// unpack unpacks a .zip below parent once, in a folder named by its contents, and returns that folder.
func unpack(archive, parent string) (string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, "code-"+hex.EncodeToString(hash.Sum(nil)[:16]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(parent, "unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh) //nolint:errcheck // gone, if all went well
	if err := extract(f, size, fresh, maxUnpacked); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", archive, err)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(fresh, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return dir, nil // another function was faster
		}
		return "", err
	}
	return dir, nil
}

// extract writes the files of a zip into dir, and nothing outside of it, whatever the zip says.
func extract(r io.ReaderAt, size int64, dir string, limit int64) error {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("it is not a zip: %w", err)
	}
	if len(archive.File) > maxEntries {
		return fmt.Errorf("it has %d entries; %d are permitted", len(archive.File), maxEntries)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it is a handle on a folder, nothing is written by it
	seen := map[string]bool{}
	for _, f := range archive.File {
		folder := strings.HasSuffix(f.Name, "/")
		name := path.Clean(strings.TrimSuffix(f.Name, "/"))
		if strings.ContainsAny(f.Name, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return fmt.Errorf("the name %q leads out of it", f.Name)
		}
		if seen[name] {
			return fmt.Errorf("the name %q is there twice", f.Name)
		}
		seen[name] = true
		if name == "." {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fmt.Errorf("the name %q: %w", f.Name, err)
		}
		switch mode := f.Mode(); {
		case folder || mode.IsDir():
			err = root.MkdirAll(name, 0o755)
		case mode&fs.ModeSymlink != 0:
			err = link(root, f, name)
		case !mode.IsRegular():
			err = errors.New("is not a file, a folder or a link")
		default:
			perm := mode.Perm()&0o111 | 0o644
			if f.CreatorVersion>>8 != 3 && f.CreatorVersion>>8 != 19 { // not written on Unix: nothing says what may run
				perm = 0o755
			}
			limit, err = file(root, f, name, perm, limit)
		}
		if err != nil {
			return fmt.Errorf("the name %q: %w", f.Name, err)
		}
	}
	return nil
}

// file writes one file and returns what it leaves of limit.
func file(root *os.Root, f *zip.File, name string, perm fs.FileMode, limit int64) (int64, error) {
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, err
	}
	if n > limit {
		return 0, fmt.Errorf("makes it larger than the %d MB that AWS permits unpacked", maxUnpacked>>20)
	}
	return limit - n, nil
}

// link makes a symbolic link, whose target must be inside.
func link(root *os.Root, f *zip.File, name string) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	target, err := io.ReadAll(io.LimitReader(in, maxLink))
	if err != nil {
		return err
	}
	if to := string(target); path.IsAbs(to) || !filepath.IsLocal(path.Join(path.Dir(name), to)) {
		return fmt.Errorf("is a link to %q, which is outside", to)
	}
	return root.Symlink(string(target), name)
}

// builder makes the code of a function before its first environment starts.
type builder struct {
	config Config
	source string // full path of code; empty if it is built
	data   string // for what is unpacked
	dir    string // where a build command runs
	out    string // below which it writes

	mu      sync.Mutex
	current *attempt
}

// attempt is one try to make the code, shared by all who wait for it.
type attempt struct {
	done chan struct{}
	dir  string
	err  error
}

// code returns the folder of the code, and makes it first if that has not been done or has failed. When ctx
// is done the work stops.
func (b *builder) code(ctx context.Context) (string, error) {
	b.mu.Lock()
	a := b.current
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		b.current = a
		b.mu.Unlock()
		a.dir, a.err = b.make(ctx)
		if a.err != nil {
			b.mu.Lock()
			b.current = nil
			b.mu.Unlock()
		}
		close(a.done)
	} else {
		b.mu.Unlock()
	}
	select {
	case <-a.done:
		return a.dir, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (b *builder) make(ctx context.Context) (string, error) {
	dir := b.source
	switch {
	case len(b.config.Build) > 0:
		var err error
		if dir, err = b.build(ctx); err != nil {
			return "", err
		}
	case strings.HasSuffix(dir, ".zip"):
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		var err error
		if dir, err = unpack(dir, b.data); err != nil {
			return "", err
		}
	}
	return dir, bootstrapIn(b.config, dir)
}

// build runs the build command.
func (b *builder) build(ctx context.Context) (string, error) {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return "", err
	}
	out, err := os.MkdirTemp(b.out, "build-")
	if err != nil {
		return "", err
	}
	args := make([]string, len(b.config.Build))
	for i, arg := range b.config.Build {
		args[i] = strings.NewReplacer("$OUT", out, "${OUT}", out).Replace(arg)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "OUT="+out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for one of its children that holds its output
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err := cmd.CombinedOutput()
	if err != nil {
		if rm := os.RemoveAll(out); rm != nil {
			err = errors.Join(err, rm)
		}
		said = bytes.TrimSpace(said)
		if len(said) > 2<<10 {
			said = append([]byte("…"), said[len(said)-2<<10:]...)
		}
		return "", fmt.Errorf("building the code with %q: %w\n%s", args, err, said)
	}
	return out, nil
}
