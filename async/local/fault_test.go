package local_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/async/local"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// childDir tells the test binary to be the child of a test: a hub on that directory.
const childDir = "MILLRACE_LOCAL_TEST_DIR"

// eventually polls until done, because what it waits for happens in another process or on the disk.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited too long until %s", what)
		}
		if err := clock.Sleep(context.Background(), clock.System{}, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// TestChild is no test: it is what TestKill runs and kills. It accepts events as fast as it can, printing each id
// once it is durable, and runs them with a function that fails half of the time.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child of TestKill")
	}
	s, err := local.Open(config(dir), deps(clock.System{}))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := runWorker(t, s, async.Target{
		Concurrency: 4, Reserved: executor.Unreserved, MaximumEventAge: time.Hour, MaximumRetryAttempts: 1,
		RetryDelays: []time.Duration{time.Millisecond}, OnFailure: []string{"d"},
		Invoke: func(_ context.Context, r executor.Request) (executor.Response, error) {
			if r.ID[0] < '8' {
				return executor.Response{Failure: &executor.Failure{Type: "E"}}, nil
			}
			return executor.Response{}, nil
		},
	})
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				ev := async.Event{ID: uuid.NewString(), Function: "f", ARN: benchARN, Payload: fmt.Appendf(nil, `"%0500d"`, 1)}
				if err := w.Accept(context.Background(), ev); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Println("accepted", ev.ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKill kills a hub in the middle of its work, several times on one directory, and looks for every event that
// it said to have accepted.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	accepted := map[string]bool{}
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "accepted "); ok && len(id) == 36 {
				accepted[id] = true
				if n++; n == 500*(round+1) {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		cmd.Wait()
	}
	if len(accepted) < 3000 {
		t.Fatalf("the children accepted %d events only", len(accepted))
	}

	s := open(t, config(dir), clock.System{})
	counts := s.Counts()["f"]
	waiting := map[string]bool{}
	deliveries := 0
	err := s.Recover(t.Context(), func(p async.Pending) {
		es, err := s.Load(t.Context(), []uint64{p.Seq}, 1)
		if err != nil || len(es) != 1 {
			t.Errorf("a waiting event can not be read: %v, %v", es, err)
			return
		}
		waiting[es[0].ID] = true
	}, func(p async.PendingDelivery) {
		deliveries++
		if _, err := s.Record(t.Context(), p.Seq); err != nil {
			t.Errorf("a delivery without a record: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if over := counts.Succeeded + counts.Failed + counts.Discarded; counts.Accepted != over+uint64(len(waiting)) {
		t.Errorf("%+v and %d waiting do not add up", counts, len(waiting))
	}
	for id := range accepted {
		e, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("an accepted event is lost: %s: %v", id, err)
		}
		if (e.State == async.Queued) != waiting[id] {
			t.Errorf("event %s is %s and waits: %v", id, e.State, waiting[id])
		}
	}
	t.Logf("%d accepted, %+v, %d waiting, %d deliveries", len(accepted), counts, len(waiting), deliveries)
}

func TestADirectoryHasOneHub(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	open(t, c, clock.System{})
	_, err := local.Open(c, deps(clock.System{}))
	if err == nil || !strings.Contains(err.Error(), c.Dir) || !strings.Contains(err.Error(), "another hub") {
		t.Errorf("Open = %v", err)
	}
}

func TestADamagedStoreIsReportedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, config(dir), clock.System{})
	for n := range 2000 {
		ev := async.Event{ID: uuid.NewString(), Function: "f", ARN: benchARN, Accepted: time.Now(), Payload: fmt.Appendf(nil, `"%01000d"`, n)}
		if _, err := s.Accept(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Opening flushes the log to a table.
	if err := open(t, config(dir), clock.System{}).Close(); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"MANIFEST-*", "*.sst"} {
		t.Run(pattern, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(broken, pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("no file %s, %v", pattern, err)
			}
			damaged := map[string][]byte{}
			for _, name := range names {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				for i := min(8, len(b)); i < len(b)/2; i++ {
					b[i] ^= 0x55
				}
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
				damaged[name] = b
			}
			s, err := local.Open(config(broken), deps(clock.System{}))
			if err == nil {
				err = s.Recover(t.Context(), func(async.Pending) {}, func(async.PendingDelivery) {})
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), broken) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("error %v; want it to name the directory and say that it is damaged", err)
			}
			for name, b := range damaged { // what is left in them can still be rescued
				if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, b) {
					t.Errorf("%s is gone or changed: %v", name, err)
				}
			}
		})
	}
}

func TestAFileOfTheStoreThatIsCutOrMissingIsAnErrorThatTellsWhatToDo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, config(dir), clock.System{})
	ev := async.Event{ID: uuid.NewString(), Function: "f", ARN: benchARN, Accepted: time.Now(), Payload: []byte(`{}`)}
	if _, err := s.Accept(t.Context(), &ev); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, config(dir), clock.System{}).Close(); err != nil { // flushes the log to a table
		t.Fatal(err)
	}
	for name, harm := range map[string]func(string) error{
		"cut":     func(file string) error { return os.Truncate(file, 100) },
		"missing": os.Remove,
		"flipped": func(file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[3] ^= 0x55
			return os.WriteFile(file, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(broken, "*.sst"))
			if err != nil || len(names) == 0 {
				t.Fatalf("no table, %v", err)
			}
			if err := harm(names[0]); err != nil {
				t.Fatal(err)
			}
			s, err := local.Open(config(broken), deps(clock.System{}))
			if err == nil {
				err = s.Recover(t.Context(), func(async.Pending) {}, func(async.PendingDelivery) {})
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), broken) || !strings.Contains(err.Error(), "put back a copy") {
				t.Fatalf("error %v; want it to name the directory and what to do", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is not one line: %v", err)
			}
		})
	}
}

// Whatever place of the list of files is damaged, either nothing is missing or the store does not open. The
// last chunk is left out: there damage looks like the end of an interrupted write.
func TestADamagedListOfFilesIsNotTakenForAnInterruptedWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 { // each opening adds to the list
		s := open(t, config(dir), clock.System{})
		if _, err := s.Accept(t.Context(), &async.Event{ID: fmt.Sprint(i), Function: "f", Payload: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	slices.Sort(manifests)
	current := filepath.Base(manifests[len(manifests)-1])
	whole, err := os.ReadFile(manifests[len(manifests)-1])
	if err != nil {
		t.Fatal(err)
	}
	last := 0 // where the last chunk begins
	for at := 0; at < len(whole); at += 7 + int(binary.LittleEndian.Uint16(whole[at+4:])) {
		last = at
	}
	if last == 0 {
		last = len(whole)
	}
	refused := 0
	for at := 0; at < last; at += 5 {
		broken := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(whole)
		data[at] ^= 0x41
		if err := os.WriteFile(filepath.Join(broken, current), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := local.Open(config(broken), deps(clock.System{}))
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), broken) {
				t.Errorf("byte %d: the error does not explain: %v", at, err)
			}
			continue
		}
		found := 0
		err = s.Recover(t.Context(), func(async.Pending) { found++ }, func(async.PendingDelivery) {})
		if err != nil || found != 3 {
			t.Errorf("byte %d of %d: opened with %d of 3 events, %v", at, len(whole), found, err)
		}
		s.Close()
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
	// An interrupted write is no damage.
	if err := os.WriteFile(filepath.Join(dir, current), append(bytes.Clone(whole), 1, 2, 3, 4, 5, 0, 1, 9, 9), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, config(dir), clock.System{}).Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileIsNoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(config(filepath.Join(dir, "notes")), deps(clock.System{})); err == nil {
		t.Error("a file was opened as a directory")
	}
}

func TestBeyondMaxSizeEventsAreRefused(t *testing.T) {
	t.Parallel()
	c := config(t.TempDir())
	c.MaxSize, c.Retention.Size, c.Retention.Mode = plugin.MB, 0, "metadata"
	s := open(t, c, clock.System{})
	fill := func() (seqs []uint64, evs []async.Event) {
		for {
			ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: fmt.Appendf(nil, `"%0100000d"`, 1)}
			seq, err := s.Accept(t.Context(), &ev)
			if errors.Is(err, async.ErrFull) {
				return seqs, evs
			}
			if err != nil {
				t.Fatal(err)
			}
			seqs, evs = append(seqs, seq), append(evs, ev)
		}
	}
	seqs, evs := fill()
	if len(seqs) != 10 {
		t.Errorf("%d events of 100 KB fit into 1 MB, want 10", len(seqs))
	}
	for i, seq := range seqs {
		if err := s.Finish(seq, &async.Entry{Event: evs[i], State: async.Succeeded}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if again, _ := fill(); len(again) != 10 {
		t.Errorf("%d events fit once the others are over, want 10", len(again))
	}
	if c := s.Counts()["f"]; c.Accepted != 20 {
		t.Errorf("counts %+v: refused events count", c)
	}
}

// disk mounts a small file system.
func disk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small file system is needed to fill it, and mounting one needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestWithLittleFreeSpaceEventsAreRefused(t *testing.T) {
	t.Parallel()
	dir := disk(t, 64<<20)
	c := config(filepath.Join(dir, "store"))
	c.MinFree = 40 * plugin.MB
	s := open(t, c, clock.System{})
	accept := func() error {
		ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: []byte(`1`)}
		_, err := s.Accept(t.Context(), &ev)
		return err
	}
	if err := accept(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	accept() // the one that notices
	if err := accept(); !errors.Is(err, async.ErrFull) || !strings.Contains(err.Error(), "minFree") {
		t.Errorf("Accept = %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := accept(); err != nil {
		t.Errorf("Accept with space again = %v", err)
	}
}

func TestAFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	dir := disk(t, 256<<20)
	c := config(filepath.Join(dir, "store"))
	var logs lockedBuffer
	d := deps(clock.System{})
	d.Log = slog.New(slog.NewTextHandler(&logs, nil))
	s, err := local.Open(c, d)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 200<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	accepted := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	refused := false
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: fmt.Appendf(nil, `"%0100000d"`, 1)}
				_, err := s.Accept(t.Context(), &ev)
				mu.Lock()
				switch {
				case err == nil:
					accepted[ev.ID] = true
				case errors.Is(err, async.ErrFull):
					refused = true
				default:
					t.Errorf("Accept = %v", err)
				}
				mu.Unlock()
			}
		})
	}
	eventually(t, "the disk is full", func() bool { return strings.Contains(logs.String(), "the disk is full") })
	ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: []byte(`1`)}
	if _, err := s.Accept(t.Context(), &ev); !errors.Is(err, async.ErrFull) {
		t.Errorf("Accept on a full disk = %v", err)
	}
	close(stop)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk has space again", func() bool { return strings.Contains(logs.String(), "has space again") })
	wg.Wait()
	t.Logf("%d accepted, refused: %v", len(accepted), refused)
	eventually(t, "events are accepted again", func() bool {
		ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: []byte(`1`)}
		_, err := s.Accept(t.Context(), &ev)
		accepted[ev.ID] = err == nil
		return err == nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, c, clock.System{})
	for id, was := range accepted {
		if _, err := s.Get(t.Context(), id); was != (err == nil) {
			t.Errorf("event %s, accepted %v: %v", id, was, err)
		}
	}
}

func TestAFullDiskHoldsUpNeitherTheStopNorTheStart(t *testing.T) {
	t.Parallel()
	dir := disk(t, 64<<20)
	c := config(filepath.Join(dir, "store"))
	var logs lockedBuffer
	d := deps(clock.System{})
	d.Log = slog.New(slog.NewTextHandler(&logs, nil))
	s, err := local.Open(c, d)
	if err != nil {
		t.Fatal(err)
	}
	accept := func() error {
		ev := async.Event{ID: uuid.NewString(), Function: "f", Accepted: time.Now(), Payload: fmt.Appendf(nil, `"%0100000d"`, 1)}
		_, err := s.Accept(t.Context(), &ev)
		return err
	}
	if err := accept(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	_ = os.WriteFile(other, make([]byte, 64<<20), 0o600) // ends with: no space left
	var wg sync.WaitGroup
	wg.Go(func() {
		for !strings.Contains(logs.String(), "the disk is full") {
			if err := accept(); err != nil && !errors.Is(err, async.ErrFull) {
				t.Errorf("Accept = %v", err)
				return
			}
		}
	})
	eventually(t, "the disk is full", func() bool { return strings.Contains(logs.String(), "the disk is full") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ctx); !errors.Is(err, async.ErrFull) {
		t.Errorf("Flush = %v", err)
	}
	copied := filepath.Join(disk(t, 64<<20), "copy")
	if err := os.CopyFS(copied, os.DirFS(c.Dir)); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(filepath.Join(filepath.Dir(copied), "other"), make([]byte, 64<<20), 0o600)
	if _, err := local.Open(config(copied), deps(clock.System{})); !errors.Is(err, async.ErrFull) || !strings.Contains(err.Error(), copied) {
		t.Errorf("Open on a full disk = %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The store is in the hub's data folder, or where the file says, beside it.
func TestSpecChoosesTheDirectory(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{"": "data", "store": "file/store"} {
		root := t.TempDir()
		d := deps(clock.System{})
		d.Dir, d.Data, d.Metrics = filepath.Join(root, "file"), filepath.Join(root, "data"), prometheus.NewRegistry()
		spec := local.Spec()
		c := spec.Config().(*local.Config)
		c.Dir = dir
		s, err := spec.Open(t.Context(), c, d)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(want), "LOCK")); err != nil {
			t.Error(err)
		}
	}
}
