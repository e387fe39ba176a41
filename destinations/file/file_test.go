package file_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/destinations/destinationtest"
	"github.com/millrace/millrace/destinations/file"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

func open(t testing.TB, base string, c file.Config) destinations.Destination {
	t.Helper()
	d, err := file.Spec().Open(t.Context(), &c, plugin.Deps{Name: "failures", Dir: base, Clock: clock.NewManual(now)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(context.Background()) })
	return d
}

func record(id, body string) destinations.Record {
	return destinations.Record{ID: id, Function: "orders", Body: []byte(body)}
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replace puts something else in the place of path, until it is called again.
func replace(t testing.TB, path string, with func(string) error) (restore func()) {
	t.Helper()
	aside := path + ".aside"
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := with(path); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
		if err := os.Rename(aside, path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, func(t testing.TB) destinationtest.Subject {
		dir := filepath.Join(t.TempDir(), "a", "failed")
		return destinationtest.Subject{
			Destination: open(t, "", file.Config{Dir: dir}),
			Received: func() (all [][]byte) {
				for _, name := range names(t, dir) {
					all = append(all, read(t, filepath.Join(dir, name)))
				}
				return all
			},
			Break: func() func() {
				return replace(t, dir, func(path string) error { return os.WriteFile(path, nil, 0o600) })
			},
		}
	})
}

func TestLines(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, func(t testing.TB) destinationtest.Subject {
		path := filepath.Join(t.TempDir(), "a", "failed.jsonl")
		return destinationtest.Subject{
			Destination: open(t, "", file.Config{File: path}),
			Received: func() [][]byte {
				data, err := os.ReadFile(path)
				if err != nil {
					return nil
				}
				return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
			},
			Compact: true,
			Break: func() func() {
				return replace(t, path, func(path string) error { return os.Mkdir(path, 0o700) })
			},
		}
	})
}

func TestADocumentIsNamedByTimeAndID(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	d := open(t, base, file.Config{Dir: "failed"})
	for _, id := range []string{"0d5bfb9c-8b4c-4f5a-9e0b-9b8f4c0e5a11", "../../etc/passwd", strings.Repeat("x", 300)} {
		if err := d.Send(t.Context(), record(id, "{}")); err != nil {
			t.Fatal(err)
		}
	}
	got := names(t, filepath.Join(base, "failed"))
	want := []string{
		"20260102T030405.678Z-0d5bfb9c-8b4c-4f5a-9e0b-9b8f4c0e5a11.json", "20260102T030405.678Z-______etc_passwd.json",
		"20260102T030405.678Z-" + strings.Repeat("x", 100) + ".json",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("files\n%s", strings.Join(got, "\n"))
	}
	info, err := os.Stat(filepath.Join(base, "failed", got[0]))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: a record may hold personal data", info.Mode(), err)
	}
}

func TestWhatACrashLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, ".millrace-123.tmp"), []byte("half"), 0o600)
	os.WriteFile(filepath.Join(dir, "mine.tmp"), []byte("whole"), 0o600)
	open(t, "", file.Config{Dir: dir})
	if got := names(t, dir); len(got) != 1 || got[0] != "mine.tmp" {
		t.Errorf("files %v", got)
	}
}

func TestALineThatACrashCutOffDoesNotSpoilTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	os.WriteFile(path, []byte("{\"n\":1}\n{\"n\":"), 0o600)
	d := open(t, "", file.Config{File: path})
	if err := d.Send(t.Context(), record("1", `{"n" : 2}`)); err != nil {
		t.Fatal(err)
	}
	if got := string(read(t, path)); got != "{\"n\":1}\n{\"n\":\n{\"n\":2}\n" {
		t.Errorf("file %q", got)
	}
}

func TestAFileThatIsMovedAwayIsStartedAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "failed.jsonl")
	d := open(t, "", file.Config{File: path})
	send := func(body string) {
		t.Helper()
		if err := d.Send(t.Context(), record("1", body)); err != nil {
			t.Fatal(err)
		}
	}
	send("1")
	os.Rename(path, path+".1")
	send("2")
	os.RemoveAll(filepath.Dir(path))
	send("3")
	if got := string(read(t, path)); got != "3\n" {
		t.Errorf("file %q", got)
	}
}

func TestAFullDiskIsAnErrorUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]file.Config{"documents": {Dir: "failed"}, "lines": {File: "failed.jsonl"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
				t.Skipf("mounting a small disk: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(disk, 0); err != nil {
					t.Errorf("unmounting: %v", err)
				}
			})
			d := open(t, disk, config)
			t.Cleanup(func() { d.Close(context.Background()) })
			if err := d.Send(t.Context(), record("first", `"first"`)); err != nil {
				t.Fatal(err)
			}
			filler := filepath.Join(disk, "filler")
			os.WriteFile(filler, make([]byte, 200<<10), 0o600)
			large := record("large", `"`+strings.Repeat("x", 100<<10)+`"`)
			for range 3 {
				err := d.Send(t.Context(), large)
				if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, destinations.ErrPermanent) || !strings.Contains(err.Error(), "free some space") {
					t.Fatalf("on a full disk: %v", err)
				}
			}
			os.Remove(filler)
			if err := d.Send(t.Context(), large); err != nil {
				t.Fatalf("once there is space: %v", err)
			}
			if config.File != "" {
				if got := string(read(t, filepath.Join(disk, config.File))); got != "\"first\"\n"+string(large.Body)+"\n" {
					t.Errorf("file of %d bytes: %.40q…", len(got), got)
				}
				return
			}
			got := names(t, filepath.Join(disk, config.Dir))
			if len(got) != 2 || !regexp.MustCompile(`-first\.json .*-large\.json`).MatchString(strings.Join(got, " ")) {
				t.Errorf("files %v", got)
			}
		})
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	os.WriteFile(filepath.Join(base, "plain"), nil, 0o600)
	for want, c := range map[string]file.Config{
		"dir: is missing":       {},
		"file: can not go with": {Dir: "a", File: "b"},
		"is not a folder":       {Dir: "plain"},
		"is not a regular file": {File: "."},
		"not a directory":       {Dir: "plain/sub"},
	} {
		_, err := file.Spec().Open(t.Context(), &c, plugin.Deps{Dir: base})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

func TestACheckWritesNothing(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	os.WriteFile(filepath.Join(base, ".millrace-1.tmp"), nil, 0o600)
	for _, c := range []file.Config{{Dir: "new"}, {File: "other/new.jsonl"}, {Dir: "."}} {
		d, err := file.Spec().Open(t.Context(), &c, plugin.Deps{Dir: base, Check: true, Clock: clock.System{}})
		if err != nil {
			t.Fatal(err)
		}
		d.Close(t.Context())
	}
	if got := names(t, base); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

func BenchmarkSend(b *testing.B) {
	for name, config := range map[string]file.Config{"documents": {Dir: "failed"}, "lines": {File: "failed.jsonl"}} {
		b.Run(name, func(b *testing.B) {
			d := open(b, b.TempDir(), config)
			rec := record("0d5bfb9c", `"`+strings.Repeat("x", 1000)+`"`)
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := d.Send(context.Background(), rec); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
