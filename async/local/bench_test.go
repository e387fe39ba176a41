package local_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// The benchmarks measure the queue beside the least that could be durable at all: a log on a file filled with
// zeros ahead, to which whoever finds nobody writing appends everybody's records with one fdatasync.
//
//	go test ./async/local -run '^$' -bench . -benchtime 2s -count 5

const benchPayload = 1 << 10

// produce lets p producers call put b.N times in all, and reports the median and the rate.
func produce(b *testing.B, p int, put func(payload []byte), settled func()) {
	b.Helper()
	payload := somePayload()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, p)
	var wg sync.WaitGroup
	b.ResetTimer()
	cpu := cpuTime(b)
	for i := range p {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				begin := time.Now()
				put(payload)
				took[i] = append(took[i], time.Since(begin))
			}
		})
	}
	wg.Wait()
	settled()
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(b.N), "cpu-µs/event")
	b.ReportMetric(0, "ns/op")
}

// somePayload is a JSON text that does not compress to nothing.
func somePayload() []byte {
	b := make([]byte, benchPayload/2-1)
	rand.NewChaCha8([32]byte{}).Read(b)
	return fmt.Appendf(nil, `"%x"`, b)
}

// cpuTime is what this process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// floorLog is that log.
type floorLog struct {
	mu      sync.Mutex
	f       *os.File
	buf     []byte
	spare   []byte
	done    chan struct{}
	writing bool
	off     int64
	filled  int64
}

func newFloorLog(b *testing.B) *floorLog {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	l := &floorLog{f: f, done: make(chan struct{})}
	l.fill(512 << 20)
	return l
}

func (l *floorLog) fill(n int64) {
	zeros := make([]byte, 1<<20)
	for end := l.filled + n; l.filled < end; l.filled += int64(len(zeros)) {
		if _, err := l.f.WriteAt(zeros, l.filled); err != nil {
			panic(err)
		}
	}
	if err := l.f.Sync(); err != nil {
		panic(err)
	}
}

func (l *floorLog) append(p []byte) {
	l.buf = binary.LittleEndian.AppendUint32(l.buf, uint32(len(p)))
	l.buf = binary.LittleEndian.AppendUint32(l.buf, crc32.ChecksumIEEE(p))
	l.buf = append(l.buf, p...)
}

// put returns once p is on disk.
func (l *floorLog) put(p []byte) {
	l.mu.Lock()
	l.append(p)
	done := l.done
	if l.writing {
		l.mu.Unlock()
		<-done
		return
	}
	l.writing = true
	if l.write() {
		go func() {
			for more := true; more; {
				l.mu.Lock()
				more = l.write()
			}
		}()
	}
}

func (l *floorLog) write() bool {
	p, done := l.buf, l.done
	l.buf, l.spare, l.done = l.spare[:0], nil, make(chan struct{})
	l.mu.Unlock()
	if l.off+int64(len(p)) > l.filled {
		l.fill(64 << 20)
	}
	if _, err := l.f.WriteAt(p, l.off); err != nil {
		panic(err)
	}
	l.off += int64(len(p))
	if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
		panic(err)
	}
	close(done)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = p
	l.writing = len(l.buf) > 0
	return l.writing
}

var producers = []int{1, 8, 64}

func BenchmarkFdatasync(b *testing.B) {
	l := newFloorLog(b)
	page := make([]byte, 4<<10)
	produce(b, 1, func([]byte) {
		if _, err := l.f.WriteAt(page, 0); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
			b.Fatal(err)
		}
	}, func() {})
}

func BenchmarkAccept(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprint("floor/", p), func(b *testing.B) {
			l := newFloorLog(b)
			produce(b, p, l.put, func() {})
		})
		b.Run(fmt.Sprint("store/", p), func(b *testing.B) {
			s := open(b, config(b.TempDir()), clock.System{})
			ids := newIDs(b.N)
			now := time.Now()
			produce(b, p, func(payload []byte) {
				ev := async.Event{ID: ids(), Function: "f", ARN: benchARN, Accepted: now, Payload: payload}
				if _, err := s.Accept(context.Background(), &ev); err != nil {
					b.Error(err)
				}
			}, func() {})
		})
	}
}

// BenchmarkCycle runs each event through a function that does nothing, until its outcome is recorded. The floor
// has as many consumers as producers, and each appends an outcome to the same log.
func BenchmarkCycle(b *testing.B) {
	for _, p := range producers {
		b.Run(fmt.Sprint("floor/", p), func(b *testing.B) {
			l := newFloorLog(b)
			queue := make(chan int, 1<<16)
			var consumers sync.WaitGroup
			for range p {
				consumers.Go(func() {
					outcome := make([]byte, 17)
					for range queue {
						l.put(outcome)
					}
				})
			}
			produce(b, p, func(payload []byte) { l.put(payload); queue <- 1 }, func() {
				close(queue)
				consumers.Wait()
			})
		})
		b.Run(fmt.Sprint("worker/", p), func(b *testing.B) {
			s := open(b, config(b.TempDir()), clock.System{})
			var left sync.WaitGroup
			left.Add(b.N)
			w, stop := runWorker(b, s, async.Target{
				Concurrency: 16, Reserved: executor.Unreserved, MaximumEventAge: time.Hour,
				Invoke: func(context.Context, executor.Request) (executor.Response, error) {
					left.Done()
					return executor.Response{}, nil
				},
			})
			ids := newIDs(b.N)
			produce(b, p, func(payload []byte) {
				if err := w.Accept(context.Background(), async.Event{ID: ids(), Function: "f", ARN: benchARN, Payload: payload}); err != nil {
					b.Error(err)
				}
			}, func() { left.Wait(); stop() })
			if c := s.Counts()["f"]; c.Succeeded != uint64(b.N) {
				b.Errorf("%d of %d events are over", c.Succeeded, b.N)
			}
		})
	}
}

// BenchmarkBacklog reads a backlog back from disk and runs it.
func BenchmarkBacklog(b *testing.B) {
	dir := b.TempDir()
	s := open(b, config(dir), clock.System{})
	ids, payload := newIDs(b.N), somePayload()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				ev := async.Event{ID: ids(), Function: "f", ARN: benchARN, Accepted: time.Now(), Payload: payload}
				if _, err := s.Accept(context.Background(), &ev); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	s = open(b, config(dir), clock.System{})
	var left sync.WaitGroup
	left.Add(b.N)
	block := make(chan struct{})
	_, stop := runWorker(b, s, async.Target{
		Concurrency: 16, Reserved: executor.Unreserved, MaximumEventAge: time.Hour,
		Invoke: func(context.Context, executor.Request) (executor.Response, error) {
			<-block
			left.Done()
			return executor.Response{}, nil
		},
	})
	opened := b.Elapsed()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	close(block)
	left.Wait()
	stop()
	b.ReportMetric(opened.Seconds()*1e3, "open-ms")
	b.ReportMetric(float64(m.HeapInuse)/(1<<20), "heap-MB")
	b.ReportMetric(float64(b.N)/(b.Elapsed()-opened).Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
}

const benchARN = "arn:aws:lambda:us-east-1:123456789012:function:f"

// newIDs makes ids ahead, because a producer is not measured for making them.
func newIDs(n int) func() string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	var next atomic.Int64
	return func() string { return ids[next.Add(1)-1] }
}

func runWorker(t testing.TB, s async.Store, target async.Target) (w *async.Worker, stop func()) {
	t.Helper()
	o := async.Defaults()
	o.Store, o.Clock, o.Log, o.Metrics = s, clock.System{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	o.Function = func(string) (async.Target, bool) { return target, true }
	o.Send = func(context.Context, string, destinations.Record) error { return nil }
	w, err := async.NewWorker(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return w, stop
}
