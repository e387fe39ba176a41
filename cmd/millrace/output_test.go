package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slow is a writer that a test lets go on.
type slow struct {
	mu     sync.Mutex
	got    bytes.Buffer
	writes int
	gate   chan struct{} // nil does not wait
}

func (s *slow) Write(p []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.got.Write(p)
}

func TestOutputKeepsEveryLineWholeAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &slow{}
		o := newOutput(w)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 500 {
					fmt.Fprintf(o, "%d %d\n", i, n)
				}
			})
		}
		wg.Wait()
		o.close()
		fmt.Fprintln(o, "after the close")
		next := map[string]int{}
		lines := strings.Split(strings.TrimSpace(w.got.String()), "\n")
		for _, line := range lines[:len(lines)-1] {
			who, n, _ := strings.Cut(line, " ")
			if n != fmt.Sprint(next[who]) {
				t.Fatalf("line %q, want number %d", line, next[who])
			}
			next[who]++
		}
		if len(lines) != 8*500+1 || lines[len(lines)-1] != "after the close" {
			t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
		}
		if w.writes > 50 {
			t.Errorf("%d writes: lines do not go out together", w.writes)
		}
	})
}

func TestOutputWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &slow{gate: make(chan struct{})}
		o := newOutput(w)
		line := strings.Repeat("x", 1<<10) + "\n"
		done := false
		go func() {
			for range 4 << 10 { // 4 MB
				fmt.Fprint(o, line)
			}
			done = true
		}()
		synctest.Wait()
		if done {
			t.Fatal("lines were taken without bound")
		}
		close(w.gate)
		o.close()
		synctest.Wait()
		if n := w.got.Len(); n != len(line)*4<<10 {
			t.Errorf("%d bytes arrived", n)
		}
	})
}
