package s3

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func watching(dir string) Config {
	c := Defaults()
	c.Directory, c.Settle = dir, 10*time.Millisecond
	return c
}

func TestDirectoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		d, dir := deps(t), t.TempDir()
		return sourcetest.Upstream{
			Open: func(t testing.TB) sources.Source {
				c := watching(dir)
				s, err := Spec().Open(t.Context(), &c, d)
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Put: func(_ context.Context, id string) error {
				return drop(dir, id, id)
			},
			Redelivers:  true,
			Concurrency: maxJobs,
		}
	})
}

// put makes a file appear whole, since a slow machine may take longer to write it than it takes to settle.
func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := drop(dir, name, text); err != nil {
		t.Fatal(err)
	}
}

func drop(dir, name, text string) error {
	path := filepath.Join(dir, name)
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(hidden, []byte(text), 0o600), os.Rename(hidden, path))
}

func created(key, text string) notice {
	sum := md5.Sum([]byte(text))
	return notice{"ObjectCreated:Put", key, hex.EncodeToString(sum[:]), int64(len(text))}
}

func removed(key string) notice { return notice{Name: "ObjectRemoved:Delete", Key: key} }

// expect waits until the hub has exactly the events of want, in any order, since the call number from.
func expect(t testing.TB, hub *sourcetest.Hub, from int, want ...notice) {
	t.Helper()
	until(t, fmt.Sprintf("%d events", len(want)), func() bool { return len(hub.Calls()) >= from+len(want) })
	left := slices.Clone(want)
	for _, n := range notices(t, hub)[from:] {
		i := slices.Index(left, n)
		if i < 0 {
			t.Errorf("unexpected event %+v", n)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, n := range left {
		t.Errorf("no event %+v", n)
	}
}

func TestFilesBecomeObjects(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	put(t, dir, "before.txt", "was here first")
	running(t, watching(dir), d, hub)
	expect(t, hub, 0, created("before.txt", "was here first"))

	put(t, dir, "a b+ü@1%.txt", "hello")
	put(t, dir, "deep/er/x", "")
	put(t, dir, "bad\xff.txt", "not UTF-8")
	expect(t, hub, 1, created("a b+ü@1%.txt", "hello"), created("deep/er/x", ""), created("bad\xff.txt", "not UTF-8"))

	put(t, dir, "before.txt", "written again")
	expect(t, hub, 4, created("before.txt", "written again"))

	if err := os.Remove(filepath.Join(dir, "before.txt")); err != nil {
		t.Fatal(err)
	}
	expect(t, hub, 5, removed("before.txt"))

	if err := os.Rename(filepath.Join(dir, "deep"), filepath.Join(dir, "flat")); err != nil {
		t.Fatal(err)
	}
	expect(t, hub, 6, removed("deep/er/x"), created("flat/er/x", ""))

	put(t, dir, "flat/er/y", "in a folder that was moved")
	expect(t, hub, 8, created("flat/er/y", "in a folder that was moved"))

	if err := os.RemoveAll(filepath.Join(dir, "flat")); err != nil {
		t.Fatal(err)
	}
	expect(t, hub, 9, removed("flat/er/x"), removed("flat/er/y"))
}

func TestTheDocumentIsThatOfABucket(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	c := watching(dir)
	c.Bucket = "photos"
	put(t, dir, "in/a b.jpg", "x")
	running(t, c, d, hub)
	until(t, "the event", func() bool { return len(hub.Calls()) == 1 })
	payload := string(hub.Calls()[0].Payload)
	for _, want := range []string{
		`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-central-1","eventTime":"20`,
		`"configurationId":"uploads","bucket":{"name":"photos","ownerIdentity":{"principalId":"123456789012"},"arn":"arn:aws:s3:::photos"},"object":{"key":"in/a+b.jpg","size":1,"eTag":"9dd4e461268c8034f5c8564e155c67a6","sequencer":"00`,
	} {
		if !strings.Contains(payload, want) {
			t.Errorf("no %s in %s", want, payload)
		}
	}
}

func TestNothingIsLostBetweenRuns(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	put(t, dir, "stays", "1")
	put(t, dir, "changes", "1")
	put(t, dir, "goes", "1")
	stop := running(t, watching(dir), d, hub)
	expect(t, hub, 0, created("stays", "1"), created("changes", "1"), created("goes", "1"))
	stop()
	put(t, dir, "changes", "22")
	put(t, dir, "comes/late", "1")
	if err := os.Remove(filepath.Join(dir, "goes")); err != nil {
		t.Fatal(err)
	}
	stop = running(t, watching(dir), d, hub)
	expect(t, hub, 3, created("changes", "22"), created("comes/late", "1"), removed("goes"))
	stop()

	// Another directory under the same trigger starts afresh: nothing of the old one counts as deleted.
	other := t.TempDir()
	put(t, other, "new", "1")
	running(t, watching(other), d, hub)
	expect(t, hub, 6, created("new", "1"))
	put(t, other, "newer", "1") // due after any deletion would be
	expect(t, hub, 6, created("new", "1"), created("newer", "1"))
}

func TestAnEventThatIsNotAcceptedComesAgainAfterARestart(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	asked := make(chan struct{})
	var once sync.Once
	hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		once.Do(func() { close(asked) })
		return executor.Response{}, errors.New("the store is full")
	})
	put(t, dir, "file", "1")
	stop := running(t, watching(dir), d, hub)
	<-asked
	stop()
	hub.Script(nil)
	running(t, watching(dir), d, hub)
	expect(t, hub, 0, created("file", "1"))
}

func TestAnEventThatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	hub.Script(func(_ context.Context, c sourcetest.Call) (executor.Response, error) {
		if strings.Contains(string(c.Payload), `"key":"bad"`) {
			return executor.Response{}, &executor.Error{Kind: executor.Refused, Err: errors.New("no such function")}
		}
		return executor.Response{}, nil
	})
	put(t, dir, "bad", "1")
	put(t, dir, "good", "1")
	stop := running(t, watching(dir), d, hub)
	expect(t, hub, 0, created("good", "1"))
	until(t, "the note of the refusal", func() bool {
		text, err := os.ReadFile(filepath.Join(d.Data, "seen.jsonl"))
		return err == nil && strings.Contains(string(text), `"bad"`)
	})
	stop()
	hub.Script(nil)
	put(t, dir, "next", "1")
	running(t, watching(dir), d, hub)
	expect(t, hub, 1, created("next", "1"))
}

// frozen is a watcher whose clock the test moves. It looks at the directory only by the timer.
type frozen struct {
	testing.TB
	clock *clock.Manual
	hub   *sourcetest.Hub
	dir   string
}

func newFrozen(t testing.TB, settle time.Duration) *frozen {
	f := &frozen{t, clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), sourcetest.NewHub(t), t.TempDir()}
	d := deps(t)
	d.Clock = f.clock
	c := watching(f.dir)
	c.Settle, c.RescanInterval = settle, time.Second
	running(t, c, d, f.hub)
	f.rest()
	return f
}

// rest waits until the watcher has nothing to do before its timer goes off.
func (f *frozen) rest() {
	f.Helper()
	until(f, "the watcher to rest", func() bool { return f.clock.Timers() == 1 })
}

// advance moves the clock. What falls due may happen only at the next advance, if the watcher was at work.
func (f *frozen) advance(d time.Duration) {
	f.clock.Advance(d)
	f.rest()
}

// expect moves the clock until the hub has the events of want beyond the first from.
func (f *frozen) expect(from int, want ...notice) {
	f.Helper()
	until(f, "the events", func() bool {
		f.advance(time.Second)
		return len(f.hub.Calls()) >= from+len(want)
	})
	expect(f, f.hub, from, want...)
}

// write appends to a file as of now.
func (f *frozen) extend(name, text string) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	w, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	_, err = w.WriteString(text)
	if err := errors.Join(err, w.Close(), os.Chtimes(path, f.clock.Now(), f.clock.Now())); err != nil {
		f.Fatal(err)
	}
}

func TestAFileIsTakenOnceItIsComplete(t *testing.T) {
	t.Parallel()
	f := newFrozen(t, 10*time.Second)
	for range 5 { // a slow writer
		f.extend("slow", "part ")
		for range 9 {
			f.advance(time.Second)
		}
	}
	if n := len(f.hub.Calls()); n != 0 {
		t.Fatalf("%d events for a file that was being written", n)
	}
	f.expect(0, created("slow", "part part part part part "))
}

func TestAFileThatIsReplacedIsNoDeletion(t *testing.T) {
	t.Parallel()
	f := newFrozen(t, 10*time.Second)
	f.extend("file", "old")
	f.expect(0, created("file", "old"))
	if err := os.Remove(filepath.Join(f.dir, "file")); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		f.advance(time.Second)
	}
	f.extend("file", "newer")
	f.expect(1, created("file", "newer"))
}

func TestAFileThatIsMovedInIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	f := newFrozen(t, time.Hour)
	out := t.TempDir()
	put(t, out, "file", "text")
	before := f.clock.Now().Add(-2 * time.Hour)
	if err := errors.Join(os.Chtimes(filepath.Join(out, "file"), before, before), os.Rename(filepath.Join(out, "file"), filepath.Join(f.dir, "file"))); err != nil {
		t.Fatal(err)
	}
	f.expect(0, created("file", "text"))
	if d := f.clock.Now().Sub(before); d > 3*time.Hour {
		t.Errorf("it was taken %v later", d-2*time.Hour)
	}
}

func TestOnlyFilesOfTheDirectoryAreObjects(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	secret := t.TempDir()
	put(t, secret, "passwd", "x")
	put(t, dir, ".hidden", "x")
	put(t, dir, ".git/config", "x")
	put(t, dir, "half.part", "x")
	put(t, dir, "real", "x")
	if err := errors.Join(
		os.Symlink(filepath.Join(secret, "passwd"), filepath.Join(dir, "link")),
		os.Symlink(secret, filepath.Join(dir, "folder")),
		os.Symlink("real", filepath.Join(dir, "inside")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	c := watching(dir)
	c.Ignore = append(c.Ignore, "*.part")
	running(t, c, d, hub)
	expect(t, hub, 0, created("real", "x"))
	put(t, dir, ".later", "x")
	put(t, secret, "more", "x")
	put(t, dir, "last", "x")
	expect(t, hub, 1, created("last", "x"))
}

func TestFiltersOfADirectory(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	c := watching(dir)
	c.Events, c.Prefix, c.Suffix = []string{"s3:ObjectRemoved:*"}, "in/", ".txt"
	put(t, dir, "in/a.txt", "x")
	put(t, dir, "out/b.txt", "x")
	running(t, c, d, hub)
	until(t, "the files to be known", func() bool {
		text, err := os.ReadFile(filepath.Join(d.Data, "seen.jsonl"))
		return err == nil && strings.Count(string(text), "\n") == 3
	})
	if err := errors.Join(os.Remove(filepath.Join(dir, "out/b.txt")), os.Remove(filepath.Join(dir, "in/a.txt"))); err != nil {
		t.Fatal(err)
	}
	expect(t, hub, 0, removed("in/a.txt"))
}

func TestAnUnreadableFileIsTriedAgain(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	put(t, dir, "file", "x")
	path := filepath.Join(dir, "file")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	running(t, watching(dir), d, hub)
	put(t, dir, "other", "x")
	expect(t, hub, 0, created("other", "x"))
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, hub, 1, created("file", "x"))
}

func TestADirectoryThatGoesAwayIsNoDeletionOfItsFiles(t *testing.T) {
	t.Parallel()
	f := newFrozen(t, 0)
	put(t, f.dir, "file", "x")
	f.expect(0, created("file", "x"))
	away := f.dir + "-away"
	if err := os.Rename(f.dir, away); err != nil {
		t.Fatal(err)
	}
	put(t, away, "meanwhile", "x")
	for range 5 {
		f.advance(time.Second)
	}
	if err := os.Rename(away, f.dir); err != nil {
		t.Fatal(err)
	}
	f.expect(1, created("meanwhile", "x"))
	put(t, f.dir, "later", "x")
	f.expect(2, created("later", "x"))
}

// An error of the notifier stands for changes that the system could not hold: everything is looked at again.
func TestLostNotificationsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), sourcetest.NewHub(t)
	c := watching(dir)
	s, err := Spec().Open(t.Context(), &c, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	seen, _, err := openManifest(filepath.Join(t.TempDir(), "seen.jsonl"), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.close()
	w := &watcher{directory: s.(*directory), hub: hub.Hub(), seen: seen, changes: map[string]*change{}, results: make(chan result), wake: make(chan struct{}, 1)}
	w.timer = clock.System{}.AfterFunc(time.Hour, func() {})
	defer w.timer.Stop()
	defer w.closeRoot()
	w.scan()
	w.rescan = w.deps.Clock.Now().Add(time.Hour)
	put(t, dir, "file", "x")
	errs := make(chan error, 1)
	errs <- fsnotify.ErrEventOverflow
	if err := w.notify.Close(); err != nil { // what the system says of the file is lost
		t.Fatal(err)
	}
	w.notify = &fsnotify.Watcher{Errors: errs, Events: make(chan fsnotify.Event)}
	w.step(t.Context())
	if !w.rescan.IsZero() {
		t.Error("an overflow does not lead to a look at everything")
	}
	w.notify = nil
	w.scan()
	if w.changes["file"] == nil {
		t.Error("the look did not find the file")
	}
}

func TestThousandsOfFiles(t *testing.T) {
	t.Parallel()
	d, dir, hub := deps(t), t.TempDir(), sourcetest.NewHub(t)
	const n = 3000
	half := func(from int) {
		for i := from; i < from+n/2; i++ {
			put(t, dir, fmt.Sprintf("d%02d/f%04d", i%37, i), fmt.Sprint(i))
		}
	}
	half(0)
	stop := running(t, watching(dir), d, hub)
	half(n / 2) // while it runs, and in folders that it does not know yet
	until(t, "every file", func() bool { return len(hub.Calls()) >= n })
	stop()
	seen := map[string]bool{}
	for _, n := range notices(t, hub) {
		if seen[n.Key] {
			t.Errorf("%s came twice", n.Key)
		}
		seen[n.Key] = true
	}
	if len(seen) != n {
		t.Errorf("%d files of %d", len(seen), n)
	}
}

func TestAManifestSurvivesWhatCanHappenToIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.jsonl")
	m, _, err := openManifest(path, "/d")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 { // it is written anew now and then, or it would have 10,000 lines
		if err := m.put(fmt.Sprintf("k%d", i%10), stamp{Size: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	m.log.Close() // a write that fails is reported, and made up for by the next
	if err := m.put("k1", stamp{Size: 9991}); err == nil {
		t.Error("no error for a line that was not written")
	}
	if err := errors.Join(m.put("k0", stamp{}), m.put("bad \xff\n", stamp{Size: 1}), m.close()); err != nil {
		t.Fatal(err)
	}
	want := map[string]stamp{"bad \xff\n": {Size: 1}}
	for i := 1; i < 10; i++ {
		want[fmt.Sprintf("k%d", i)] = stamp{Size: int64(9990 + i)}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 2500 {
		t.Errorf("%d lines", lines)
	}
	for name, c := range map[string]struct {
		text    string
		damaged int
	}{
		"whole":         {string(text), 0},
		"torn":          {string(text) + `{"key":"half`, 0},
		"damaged":       {string(text) + "garbage\n{}\n", 2},
		"written twice": {string(text) + strings.SplitN(string(text), "\n", 2)[1], 0},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, damaged, err := openManifest(path, "/d")
		if err != nil {
			t.Fatal(err)
		}
		m.close()
		if damaged != c.damaged || fmt.Sprint(m.files) != fmt.Sprint(want) {
			t.Errorf("%s: %d lines damaged, %v", name, damaged, m.files)
		}
	}
	if err := os.WriteFile(path, []byte(`{"version":2,"directory":"/d"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openManifest(path, "/d"); err == nil || !strings.Contains(err.Error(), "newer millrace") {
		t.Errorf("a manifest of the future: %v", err)
	}
}

func TestOpenLooksAtTheDirectory(t *testing.T) {
	t.Parallel()
	d := deps(t)
	put(t, d.Dir, "file", "x")
	for dir, want := range map[string]string{
		"missing":            "does not exist; create it",
		"file":               "is not a folder",
		filepath.Dir(d.Data): "holds the hub's own data",
	} {
		c := watching(dir)
		_, err := Spec().Open(t.Context(), &c, d)
		var field *plugin.FieldError
		if !errors.As(err, &field) || field.Path != "directory" || !strings.Contains(field.Msg, want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := os.Stat(d.Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open writes: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"directory":"/d"}` + "\n" + `{"key":"a","size":1,"mtime":2,"inode":3}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "seen.jsonl")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, _, err := openManifest(path, "/d")
		if err != nil {
			return
		}
		m.close()
		again, damaged, err := openManifest(path, "/d")
		if err != nil || damaged != 0 || fmt.Sprint(again.files) != fmt.Sprint(m.files) {
			t.Fatalf("%v, %d damaged, %v after %v", err, damaged, again.files, m.files)
		}
		again.close()
	})
}
