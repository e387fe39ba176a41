package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/test/hub"
)

func (b *bench) startHub(yaml string) (*hub.Hub, func(), error) {
	dir, err := os.MkdirTemp(b.dir, "hub-")
	if err != nil {
		return nil, nil, err
	}
	h, err := hub.Start(b.binary, dir, "log: {level: warn}\n"+yaml)
	if err != nil {
		return nil, nil, err
	}
	return h, func() { h.Stop(); os.RemoveAll(dir) }, nil
}

func host(u string) string {
	p, err := url.Parse(u)
	if err != nil {
		return u
	}
	return p.Host
}

// rate is a side that runs a load and wants every answer to be the expected one.
func (b *bench) rate(l load, clients int) side {
	return func() (float64, error) {
		r, err := l.run(clients, b.length)
		if err != nil {
			return 0, err
		}
		if r.wrong > 0 {
			return 0, fmt.Errorf("%d answers of %s were not %d", r.wrong, l.address, l.status)
		}
		return r.rate, nil
	}
}

// wasmModule builds the no-op plug-in.
func (b *bench) wasmModule() (string, error) {
	out := filepath.Join(b.dir, "echo.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "github.com/millrace/millrace/test/bench/plugin")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plug-in: %w\n%s", err, text)
	}
	return out, nil
}

// queueHTTP measures durable acceptance, and the cycle, through the hub's HTTP.
func (b *bench) queueHTTP() error {
	echo, err := startFloor("floor-echo")
	if err != nil {
		return err
	}
	defer echo.stop()
	module, err := b.wasmModule()
	if err != nil {
		return err
	}
	// Nothing listens where the second function is, so its events are accepted and wait.
	h, stop, err := b.startHub(fmt.Sprintf("functions:\n  f: {runtime: wasm, module: %q}\n  g: {runtime: http, url: \"http://127.0.0.1:9\"}\n", module))
	if err != nil {
		return err
	}
	defer stop()
	event := post(host(h.AWS), "/2015-03-31/functions/f/invocations", payload(), "X-Amz-Invocation-Type: Event\r\n")
	wait := post(host(h.AWS), "/2015-03-31/functions/g/invocations", payload(), "X-Amz-Invocation-Type: Event\r\n")
	event.status, wait.status = 202, 202
	for _, n := range []int{1, 8, 64} {
		m, err := b.turns(b.rate(post(echo.address, "/", payload(), ""), n), b.rate(wait, n), b.rate(event, n))
		if err != nil {
			return err
		}
		least := 0.0
		if n == 64 {
			least = 0.5
		}
		b.atLeast("http", fmt.Sprintf("accept an Event invocation, %d clients", n), "events/s", m[0], m[1], least, "")
		b.atLeast("http", fmt.Sprintf("accept, run and complete an Event invocation, %d clients", n), "events/s", m[0], m[2], least, "")
	}
	return nil
}

// wasm measures the way from the gateway into a reused WebAssembly instance and back.
func (b *bench) wasm() error {
	echo, err := startFloor("floor-echo")
	if err != nil {
		return err
	}
	defer echo.stop()
	module, err := b.wasmModule()
	if err != nil {
		return err
	}
	h, stop, err := b.startHub(fmt.Sprintf(`
functions:
  f: {runtime: wasm, module: %q, function: echo}
  g: {runtime: wasm, module: %q, function: copying}
triggers:
  f: {kind: function-url, with: {path: /f}, function: f}
  g: {kind: function-url, with: {path: /g}, function: g}
`, module, module))
	if err != nil {
		return err
	}
	defer stop()
	for _, n := range []int{1, 8} {
		text := "Content-Type: text/plain\r\n"
		body := bytes.Repeat([]byte("abcdefghij"), eventSize/10)
		m, err := b.turns(b.rate(post(echo.address, "/", body, text), n),
			b.rate(post(host(h.Gateway), "/f", body, text), n), b.rate(post(host(h.Gateway), "/g", body, text), n))
		if err != nil {
			return err
		}
		least := 0.0
		if n == 8 {
			least = 0.7
		}
		b.atLeast("wasm", fmt.Sprintf("function URL to a reused instance, %d clients", n), "requests/s", m[0], m[1], least, "")
		b.atLeast("wasm", fmt.Sprintf("the same, the guest copies and answers the whole document, %d clients", n), "requests/s", m[0], m[2], 0, "")
	}
	return nil
}

// goHandler builds the stock handler.
func (b *bench) goHandler() (string, error) {
	dir := filepath.Join(b.dir, "handler")
	out := filepath.Join(dir, "bootstrap")
	return dir, hub.Go("build", "-tags", "lambda.norpc", "-o", out, "github.com/millrace/millrace/test/bench/handler")
}

// invoke measures invocations of a warm process with the stock aws-lambda-go handler.
func (b *bench) invoke() error {
	dir, err := b.goHandler()
	if err != nil {
		return err
	}
	const path = "/2015-03-31/functions/f/invocations"
	compare := func(processes, clients int, config string, least float64, note string) error {
		floor, err := startFloor("floor-runtime", filepath.Join(dir, "bootstrap"), strconv.Itoa(processes))
		if err != nil {
			return err
		}
		defer floor.stop()
		h, stop, err := b.startHub(fmt.Sprintf("functions:\n  f: {runtime: provided, code: %q, timeout: 30s%s}\n", dir, config))
		if err != nil {
			return err
		}
		defer stop()
		warm := post(host(h.AWS), path, payload(), "")
		if _, err := warm.run(1, 200*time.Millisecond); err != nil {
			return err
		}
		m, err := b.turns(b.rate(post(floor.address, path, payload(), ""), clients), b.rate(warm, clients))
		if err != nil {
			return err
		}
		b.atLeast("invoke", fmt.Sprintf("warm aws-lambda-go, %d clients, %d processes%s", clients, processes, note), "requests/s", m[0], m[1], least, "")
		return nil
	}
	if err := compare(1, 1, "", 0.9, ""); err != nil {
		return err
	}
	if err := compare(4, 8, ", concurrency: {environments: 4}", 0.9, ""); err != nil {
		return err
	}
	return compare(4, 8, ", maxConcurrency: 8, concurrency: {environments: 1}", 0, "; millrace: 1 process with AWS_LAMBDA_MAX_CONCURRENCY=8")
}

// start measures cold starts, and the start and size of the hub itself.
func (b *bench) start() error {
	dir, err := b.goHandler()
	if err != nil {
		return err
	}
	bootstrap := filepath.Join(dir, "bootstrap")
	// The floor runs the same program just far enough to say that it has started: without a Runtime API it ends
	// at once.
	exec1 := func() (float64, error) {
		began := time.Now()
		cmd := exec.Command(bootstrap)
		cmd.Env = []string{"BENCH_EXIT=1"}
		err := cmd.Run()
		return float64(time.Since(began)) / 1e3, err
	}
	n := max(b.runs, 15)
	var yaml strings.Builder
	yaml.WriteString("functions:\n") // each is invoked once, and so is cold
	for i := range n {
		fmt.Fprintf(&yaml, "  f%d: {runtime: provided, code: %q, timeout: 30s}\n", i, dir)
	}
	h, stop, err := b.startHub(yaml.String())
	if err != nil {
		return err
	}
	next := 0
	cold := func() (float64, error) {
		l := post(host(h.AWS), fmt.Sprintf("/2015-03-31/functions/f%d/invocations", next), payload(), "")
		next++
		lat, wrong, err := l.client(time.Now().Add(time.Microsecond))
		if err != nil || wrong > 0 || len(lat) != 1 {
			return 0, fmt.Errorf("%d answers, %d wrong: %w", len(lat), wrong, err)
		}
		return float64(lat[0]) / 1e3, nil
	}
	runs := b.runs
	b.runs = n
	m, err := b.turns(exec1, cold)
	b.runs = runs
	stop()
	if err != nil {
		return err
	}
	b.atMost("start", "cold start of an aws-lambda-go handler, to its answer", "us", m[0], m[1], 0, "floor: fork and exec of the same program until it has ended")

	var ready []float64
	var rss float64
	for range max(b.runs, 5) {
		h, stop, err := b.startHub("functions:\n  f: {runtime: http, url: \"http://127.0.0.1:9\"}\ntriggers:\n  t: {kind: function-url, with: {path: /}, function: f}\n")
		if err != nil {
			return err
		}
		ready = append(ready, float64(h.Started)/1e6)
		time.Sleep(time.Second)
		if rss, err = resident(h.PID()); err != nil {
			return err
		}
		stop()
	}
	b.plain("start", "hub: from exec until it is ready", "ms", median(ready), "< 50", median(ready) < 50, "")
	b.plain("start", "hub: resident memory, idle", "MB", rss, "< 40", rss < 40, "")
	return nil
}

// resident is the resident memory of a process in MB.
func resident(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of %d", pid)
}
