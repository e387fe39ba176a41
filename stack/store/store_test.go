package store

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys lists what a store has below a prefix, as key=value.
func keys(t *testing.T, s *Store, prefix string) (list []string) {
	t.Helper()
	if err := s.Load(prefix, func(k string, v []byte) error {
		list = append(list, k+"="+string(v))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func commit(t *testing.T, s *Store, f func(b *Batch)) {
	t.Helper()
	b := new(Batch)
	f(b)
	c := s.Commit(b)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("a second Wait: %v", err)
	}
}

func TestWhatWasWaitedForSurvivesACrash(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s, err := open("dir", fs)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, func(b *Batch) {
		b.Set("a/1", []byte("x"))
		b.Set("a/2", []byte("y"))
		b.Set("a/3", []byte("z"))
		b.Set("b/1", []byte("other"))
		b.Set("c/\xff\xff", []byte("edge"))
	})
	commit(t, s, func(b *Batch) {
		b.Delete("a/2")
		b.Set("a/1", []byte("new"))
	})
	commit(t, s, func(b *Batch) { b.DeletePrefix("b/") })
	crashed := fs.CrashClone(vfs.CrashCloneCfg{}) // nothing that was not flushed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = open("dir", crashed); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := keys(t, s, ""); !slices.Equal(got, []string{"a/1=new", "a/3=z", "c/\xff\xff=edge"}) {
		t.Errorf("after the crash: %q", got)
	}
	if got := keys(t, s, "a/"); !slices.Equal(got, []string{"a/1=new", "a/3=z"}) {
		t.Errorf("below a/: %q", got)
	}
	if got := keys(t, s, "c/\xff"); len(got) != 1 {
		t.Errorf("below c/ff: %q", got)
	}
	if v, ok, err := s.Get("a/1"); err != nil || !ok || string(v) != "new" {
		t.Errorf("Get: %q %t %v", v, ok, err)
	}
	if _, ok, err := s.Get("a/2"); err != nil || ok {
		t.Errorf("Get of a deleted key: %t %v", ok, err)
	}
	stop := errors.New("enough")
	if err := s.Load("", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Load: %v", err)
	}
	if err := s.Load("a/3", func(_ string, v []byte) error { _ = v[len(v)]; return nil }); err == nil || !strings.Contains(err.Error(), `"a/3"`) {
		t.Errorf("Load of a value that cannot be read: %v", err)
	}
}

func TestChangesHappenInTheOrderOfCommit(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	var wg sync.WaitGroup
	last := ""
	for i := range 200 {
		wg.Go(func() {
			b := new(Batch)
			mu.Lock()
			last = fmt.Sprint(i)
			b.Set("k", []byte(last))
			c := s.Commit(b)
			mu.Unlock()
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v, _, _ := s.Get("k"); string(v) != last {
		t.Errorf("the store has %q, the last commit was %q", v, last)
	}
}

func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	s := Memory()
	commit(t, s, func(b *Batch) { b.Set("a", []byte("x")) })
	if got := keys(t, s, ""); got != nil || s.Durable() {
		t.Errorf("memory has %q, durable %t", got, s.Durable())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// tight is a file system with little room.
type tight struct {
	vfs.FS
	free *atomic.Uint64
}

func (t tight) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: t.free.Load()}, nil
}

func TestAFullDiskRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	fs := tight{vfs.NewMem(), new(atomic.Uint64)}
	fs.free.Store(reserve + 4<<20)
	s, err := open("dir", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func(n int) error {
		b := new(Batch)
		b.Set("k", make([]byte, n))
		c := s.Commit(b)
		return c.Wait()
	}
	if err := write(1 << 19); err != nil {
		t.Fatal(err)
	}
	fs.free.Store(reserve)
	for range 10 { // what had been counted as free is used up soon
		err = write(1 << 19)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := write(10); !errors.Is(err, ErrFull) {
		t.Fatalf("a small write on a full disk: %v", err)
	}
	fs.free.Store(1 << 40)
	if err := write(1 << 19); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

func TestWhatCouldNotBeWrittenIsWrittenWithTheNext(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	fs := tight{mem, new(atomic.Uint64)}
	s, err := open("dir", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write := func(key, value string, revocable bool) error {
		b := &Batch{Revocable: revocable}
		if key != "" {
			b.Set(key, []byte(value))
		}
		c := s.Commit(b)
		return c.Wait()
	}
	for _, key := range []string{"a", "b", "a"} {
		if err := write(key, "first", false); !errors.Is(err, ErrFull) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if err := write("revoked", "x", true); !errors.Is(err, ErrFull) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := write("", "", false); err != nil {
		t.Errorf("who changes nothing is refused: %v", err)
	}
	if c := s.Barrier(); !errors.Is(c.Wait(), ErrFull) {
		t.Error("a barrier passes though something is owed")
	}
	fs.free.Store(1 << 40)
	if err := write("a", "second", false); err != nil {
		t.Fatal(err)
	}
	if s, err = open("dir", mem.CrashClone(vfs.CrashCloneCfg{})); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := keys(t, s, ""); !slices.Equal(got, []string{"a=second", "b=first"}) {
		t.Errorf("after a crash: %q", got)
	}
}

func TestABarrierWaitsForWhatWasCommittedBefore(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	s, err := open("dir", fs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := new(Batch)
	b.Set("k", []byte("v"))
	first := s.Commit(b)
	second := s.Barrier()
	if err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	crashed, err := open("dir", fs.CrashClone(vfs.CrashCloneCfg{}))
	if err != nil {
		t.Fatal(err)
	}
	defer crashed.Close()
	if got := keys(t, crashed, ""); !slices.Equal(got, []string{"k=v"}) {
		t.Errorf("after a crash: %q", got)
	}
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenElsewhere$", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "another process has it open") {
		t.Errorf("another process: %v %s", err, out)
	}
	if second, err := Open(dir); err == nil {
		second.Close()
		t.Error("a directory can be open twice")
	}
}

// TestOpenElsewhere is the other process of TestOneProcessAtATime.
func TestOpenElsewhere(t *testing.T) {
	t.Parallel()
	if flag.NArg() == 0 {
		t.Skip("it is for another test")
	}
	s, err := Open(flag.Arg(0))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
