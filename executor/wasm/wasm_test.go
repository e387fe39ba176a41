package wasm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/executortest"
	"github.com/millrace/millrace/executor/wasm"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// scratch is where the tests keep programs and compiled modules, for all of a run: making one takes seconds.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "millrace-wasm-test-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(scratch)
		os.Exit(code)
	}))
}

// built compiles a program of testdata once for all tests.
var built = func() func(testing.TB, string) string {
	type program struct {
		once sync.Once
		path string
		err  error
	}
	programs := map[string]*program{"command": {}, "plugin": {}}
	return func(t testing.TB, name string) string {
		t.Helper()
		p := programs[name]
		p.once.Do(func() {
			p.path = filepath.Join(scratch, name+".wasm")
			args := []string{"build", "-o", p.path}
			if name == "plugin" {
				args = append(args, "-buildmode=c-shared")
			}
			cmd := exec.CommandContext(context.Background(), "go", append(args, "./testdata/"+name)...)
			cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=") // flags of the tests, such as -race, are not the guest's
			if out, err := cmd.CombinedOutput(); err != nil {
				p.err = fmt.Errorf("%w\n%s", err, out)
			}
		})
		if p.err != nil {
			t.Fatalf("building testdata/%s: %v", name, p.err)
		}
		return p.path
	}
}()

type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
	bad bool // a write that is not whole lines
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = l.bad || !bytes.HasSuffix(p, []byte("\n"))
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type opened struct {
	executor.Function
	output *lines
}

// open makes a function of a module file, with the settings that change leaves.
func open(t testing.TB, module string, c clock.Clock, change func(*wasm.Config)) opened {
	t.Helper()
	f, output, err := tryOpen(t, module, c, change)
	if err != nil {
		t.Fatal(err)
	}
	return opened{f, output}
}

func tryOpen(t testing.TB, module string, c clock.Clock, change func(*wasm.Config)) (executor.Function, *lines, error) {
	t.Helper()
	spec := wasm.Spec()
	config := spec.Config().(*wasm.Config)
	config.Module = module
	config.Timeout = time.Minute // no test must fail because the machine is busy
	if change != nil {
		change(config)
	}
	output := &lines{}
	f, err := spec.Open(t.Context(), config, plugin.Deps{
		Name: "counter", Log: slog.New(slog.DiscardHandler), Clock: c, Data: scratch, Region: "eu-west-3", Output: output,
	})
	if err == nil {
		t.Cleanup(func() { _ = f.Close(context.Background()) })
	}
	return f, output, err
}

func write(t testing.TB, module []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "module.wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func request(payload string) executor.Request {
	return executor.Request{ID: "8f0e3b7c-6a52-4a3e-9a35-3c1a6c1f2b11", Attempt: 1, ARN: "arn:aws:lambda:eu-west-3:000000000000:function:counter", Payload: []byte(payload)}
}

func invoke(t *testing.T, f executor.Function, payload string) executor.Response {
	t.Helper()
	resp, err := f.Invoke(t.Context(), request(payload))
	if err != nil {
		t.Fatalf("Invoke(%s): %v", payload, err)
	}
	return resp
}

func failsWith(t *testing.T, resp executor.Response, errorType, message string) {
	t.Helper()
	if resp.Failure == nil || resp.Failure.Type != errorType || !strings.Contains(resp.Failure.Message, message) || !json.Valid(resp.Payload) {
		t.Errorf("answer %.200s, failure %+v; want %s with %q", resp.Payload, resp.Failure, errorType, message)
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"command", "plugin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			executortest.Run(t, func(t testing.TB) executortest.Subject {
				module := built(t, name)
				return executortest.Subject{
					Open: func(t testing.TB, timeout time.Duration) executor.Function {
						return open(t, module, clock.System{}, func(c *wasm.Config) { c.Timeout = timeout }).Function
					},
					Exact:     true,
					CrashType: executor.TypeExit,
					Timeout:   executor.TypeTimeout,
					Large:     executor.TypeTooLarge,
					Context:   []string{"requestId", "arn", "traceId", "clientContext", "tenantId"},
					Logs:      true,
				}
			})
		})
	}
}

func TestCommandsOfAllKindsEnd(t *testing.T) {
	t.Parallel()
	f := open(t, built(t, "command"), clock.System{}, func(c *wasm.Config) {
		c.Memory = 32 * plugin.MB
	})
	failsWith(t, invoke(t, f, `{"do":"panic"}`), executor.TypeExit, "Runtime exited with error: exit status 2")
	failsWith(t, invoke(t, f, `not JSON`), executor.TypeExit, "exit status 2")
	failsWith(t, invoke(t, f, `{"do":"endless"}`), executor.TypeTooLarge, "")
	failsWith(t, invoke(t, f, `{"do":"grow"}`), executor.TypeExit, "exit status 2")
	if resp := invoke(t, f, `{"do":"silent"}`); string(resp.Payload) != "null" || resp.Failure != nil || resp.MaxMemory < 1<<20 || resp.Version != "$LATEST" {
		t.Errorf("a command that writes nothing: %s, %+v", resp.Payload, resp)
	}
	if out := f.output.String(); !strings.Contains(out, "panic: out of cheese\n") || !strings.Contains(out, "out of memory") || f.output.bad {
		t.Errorf("stderr is lost, or was not written in lines: %.300s", out)
	}
}

func TestACommandSeesWhatItIsGivenAndNothingElse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	f := open(t, built(t, "command"), clock.NewManual(now), func(c *wasm.Config) {
		c.Environment = map[string]string{"BUCKET": "thumbs"}
		c.Args = []string{"-v", "two words"}
	})
	resp := invoke(t, f, `{"do":"environment"}`)
	var got struct {
		Env    []string
		Args   []string
		Time   time.Time
		Files  int
		Denied bool
	}
	if err := json.Unmarshal(resp.Payload, &got); err != nil {
		t.Fatalf("%s: %v", resp.Payload, err)
	}
	if fmt.Sprintf("%q", got.Args) != `["counter" "-v" "two words"]` || !got.Time.Equal(now) || !got.Denied {
		t.Errorf("%+v", got)
	}
	env := strings.Join(got.Env, "\n") + "\n"
	for _, want := range []string{
		"BUCKET=thumbs", "AWS_REGION=eu-west-3", "AWS_DEFAULT_REGION=eu-west-3", "AWS_LAMBDA_FUNCTION_NAME=counter",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "TZ=:UTC",
		fmt.Sprint("AWS_LAMBDA_DEADLINE_MS=", now.Add(time.Minute).UnixMilli()),
	} {
		if !strings.Contains(env, want+"\n") {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	if strings.Contains(env, "PATH=") || strings.Contains(env, "HOME=") {
		t.Errorf("the hub's own variables are seen:\n%s", env)
	}
}

func TestTheLogIsLambdas(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"command", "plugin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, built(t, name), clock.System{}, nil)
			req := request(`{"do":"log","lines":["one","two"]}`)
			req.LogTail = true
			resp, err := f.Invoke(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			want := regexp.MustCompile(`^START RequestId: ` + req.ID + ` Version: \$LATEST\n(INFO )?one\n(INFO )?two\nEND RequestId: ` + req.ID +
				`\nREPORT RequestId: ` + req.ID + `\tDuration: [0-9.]+ ms\tBilled Duration: [0-9]+ ms\tMemory Size: 128 MB\tMax Memory Used: [1-9][0-9]* MB\t(Init Duration: [0-9.]+ ms\t)?\n$`)
			if !want.Match(resp.Log) {
				t.Errorf("log %q", resp.Log)
			}
			if out := f.output.String(); out != string(resp.Log) {
				t.Errorf("output %q", out)
			}
		})
	}
}

func TestAPluginIsKept(t *testing.T) {
	t.Parallel()
	f := open(t, built(t, "plugin"), clock.System{}, func(c *wasm.Config) {
		c.Memory = 32 * plugin.MB
		c.Config = map[string]string{"colour": "blue"}
	})
	count := func(want string) {
		t.Helper()
		if resp := invoke(t, f, `{"do":"count"}`); string(resp.Payload) != want {
			t.Errorf("count is %s, want %s (%+v)", resp.Payload, want, resp.Failure)
		}
	}
	count("1")
	count("2")
	for payload, want := range map[string]string{
		`{"do":"config","name":"colour"}`: "blue",
		`{"do":"silent"}`:                 "null",
		`{"do":"churn"}`:                  `{"do":"churn"}`,
	} {
		if resp := invoke(t, f, payload); string(resp.Payload) != want {
			t.Errorf("%s answers %s, want %s (%+v)", payload, resp.Payload, want, resp.Failure)
		}
	}
	if one, two := invoke(t, f, `{"do":"var"}`), invoke(t, f, `{"do":"var"}`); string(one.Payload) != `""` || string(two.Payload) != `"x"` {
		t.Errorf("variables: %s, %s", one.Payload, two.Payload)
	}
	var doc struct{ Denied bool }
	if resp := invoke(t, f, `{"do":"files"}`); json.Unmarshal(resp.Payload, &doc) != nil || !doc.Denied {
		t.Errorf("files: %s", resp.Payload)
	}
	failsWith(t, invoke(t, f, `{"do":"fail","message":"no"}`), "Error", "no")
	failsWith(t, invoke(t, f, `{"do":"fail","message":"{\"errorType\":\"Own\",\"errorMessage\":\"no\"}"}`), "Own", "no")
	failsWith(t, invoke(t, f, `{"do":"code"}`), "Error", "the function returned 7")
	count("12") // the failures kept the instance

	// What ends an instance leaves no trace in the next.
	for payload, reason := range map[string]string{
		`{"do":"crash"}`:    "exit status 1",
		`{"do":"panic"}`:    "wasm error: unreachable",
		`{"do":"grow"}`:     "wasm error: unreachable",
		`{"do":"alloc"}`:    "the memory shared with the hub is full",
		`{"do":"outside"}`:  "offset outside the memory",
		`{"do":"overlong"}`: "offset outside the memory",
		`{"do":"vars"}`:     "variables have more than",
	} {
		failsWith(t, invoke(t, f, payload), executor.TypeExit, reason)
		count("1")
	}
}

func TestAnIdlePluginIsFreed(t *testing.T) {
	t.Parallel()
	module := built(t, "plugin")
	synctest.Test(t, func(t *testing.T) {
		f := open(t, module, clock.System{}, func(c *wasm.Config) { c.Instances.IdleTimeout = time.Minute })
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "1"}, {59 * time.Second, "2"}, {59 * time.Second, "3"}, {time.Minute, "1"}, {time.Second, "2"}} {
			if err := clock.Sleep(t.Context(), clock.System{}, step.wait); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // for what frees it
			if resp := invoke(t, f, `{"do":"count"}`); string(resp.Payload) != step.want {
				t.Errorf("count is %s after %s, want %s", resp.Payload, step.wait, step.want)
			}
		}
	})
}

func TestInstancesAreBounded(t *testing.T) {
	t.Parallel()
	f := open(t, built(t, "plugin"), clock.System{}, func(c *wasm.Config) { c.Instances.Maximum = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		for {
			_, err := f.Invoke(ctx, request(`{"do":"hang"}`))
			var e *executor.Error
			if errors.As(err, &e) && e.Kind == executor.Throttled {
				continue // an echo has the instance
			}
			done <- err
			return
		}
	}()
	var e *executor.Error
	for { // until the first has the instance
		_, err := f.Invoke(t.Context(), request(`{"do":"echo"}`))
		if errors.As(err, &e) {
			break
		}
	}
	if e.Kind != executor.Throttled || e.Reason != executor.ReasonConcurrency {
		t.Errorf("%v", e)
	}
	cancel()
	if err := <-done; !errors.As(err, &e) || e.Kind != executor.Canceled {
		t.Errorf("%v", err)
	}
	if resp := invoke(t, f, `{"do":"echo"}`); resp.Failure != nil {
		t.Errorf("the place is not free again: %+v", resp.Failure)
	}
}

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, strings.Replace("http://"+r.Host+"/", "127.0.0.1", "localhost", 1), http.StatusFound)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-Test"), body)
	}))
	t.Cleanup(s.Close)
	for _, tc := range []struct {
		allowed []string
		path    string
		denied  bool
	}{
		{nil, "/", true},
		{[]string{"example.com", "*.example.com", "127.0.0.1:1"}, "/", true},
		{[]string{"127.0.0.1"}, "/", false},
		{[]string{strings.TrimPrefix(s.URL, "http://")}, "/", false},
		{[]string{"*"}, "/", false},
		{[]string{"127.0.0.1"}, "/away", true},
	} {
		f := open(t, built(t, "plugin"), clock.System{}, func(c *wasm.Config) { c.AllowedHosts = tc.allowed })
		resp := invoke(t, f, fmt.Sprintf(`{"do":"http","url":%q}`, s.URL+tc.path))
		if tc.denied {
			failsWith(t, resp, executor.TypeExit, "is not among allowedHosts")
		} else if string(resp.Payload) != `{"status":201,"body":"POST 1 ping"}` {
			t.Errorf("%q: %s, %+v", tc.allowed, resp.Payload, resp.Failure)
		}
	}
}

func TestAModuleThatCanNotRunIsRefused(t *testing.T) {
	t.Parallel()
	start := []fn{{export: "_start"}}
	for _, tc := range []struct {
		name   string
		module []byte
		change func(*wasm.Config)
		want   string
	}{
		{"no module", []byte("(module)"), nil, "this is no WebAssembly module; a module in text form (.wat) must be compiled first"},
		{"cut off", assemble{types: [][2][]byte{nothing}, funcs: start}.bytes()[:20], nil, "loading "},
		{"garbage after the header", append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte{0xee}, 50)...), nil, "loading "},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), nil, "loading "},
		{"no entry", assemble{types: [][2][]byte{nothing}, funcs: []fn{{export: "main"}}}.bytes(), nil, "the module exports no function _start; build it as a WASI command"},
		{"entry with parameters", assemble{types: [][2][]byte{{{i32}, {}}}, funcs: start}.bytes(), nil, "the exported function _start has other parameters"},
		{"unknown host", assemble{types: [][2][]byte{nothing}, imports: []imported{{module: "env", name: "f"}}, funcs: start}.bytes(), nil, "the module imports env.f; only functions of wasi_snapshot_preview1 and extism:host/env are there"},
		{"unknown function", assemble{types: [][2][]byte{nothing}, imports: []imported{{module: "wasi_snapshot_preview1", name: "fly"}}, funcs: start}.bytes(), nil, "wasi_snapshot_preview1.fly, and there is no such function"},
		{"wrong parameters", assemble{types: [][2][]byte{nothing}, imports: []imported{{module: "wasi_snapshot_preview1", name: "proc_exit"}}, funcs: start}.bytes(), nil, "wasi_snapshot_preview1.proc_exit with other parameters"},
		{"imported memory", assemble{types: [][2][]byte{nothing}, imports: []imported{{module: "env", name: "memory", kind: 2, index: 1}}, funcs: start}.bytes(), nil, "imports its memory"},
		{"plug-in as command", assemble{types: [][2][]byte{{{}, {i64}}, nothing}, imports: []imported{{module: "extism:host/env", name: "input_length"}}, funcs: []fn{{typ: 1, export: "_start"}}}.bytes(), func(c *wasm.Config) { c.Form = "command" }, "set form: extism"},
		{"plug-in without the function", assemble{types: [][2][]byte{nothing}, funcs: start}.bytes(), func(c *wasm.Config) { c.Form = "extism" }, "the module exports no function handle; set function to one of its exports"},
		{"memory over the limit", assemble{types: [][2][]byte{nothing}, memory: &[2]int{100, 200}, funcs: start}.bytes(), func(c *wasm.Config) { c.Memory = plugin.MB }, "loading "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := tryOpen(t, write(t, tc.module), clock.System{}, tc.change)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, _, err := tryOpen(t, "none.wasm", clock.System{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestTrapsAreFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		module assemble
		want   string
	}{
		{"unreachable", assemble{types: [][2][]byte{nothing}, funcs: []fn{{export: "_start", code: []byte{0x00}}}}, "wasm error: unreachable"},
		{"start trap", assemble{types: [][2][]byte{nothing}, funcs: []fn{{export: "_start"}, {code: []byte{0x00}}}, start: 2}, "wasm error: unreachable"},
		{"endless recursion", assemble{types: [][2][]byte{nothing}, funcs: []fn{{export: "_start", code: []byte{0x10, 0x00}}}}, "stack overflow"},
		{"outside its memory", assemble{types: [][2][]byte{nothing}, memory: &[2]int{1, 1}, funcs: []fn{{export: "_start", code: []byte{0x41, 0x7f, 0x28, 0x02, 0x00, 0x1a}}}}, "out of bounds memory access"},
		// loop { memory.grow(1); drop; br } goes on until the time is up, within its memory.
		{"grows for ever", assemble{types: [][2][]byte{nothing}, memory: &[2]int{1, 65536}, funcs: []fn{{export: "_start", code: []byte{0x03, 0x40, 0x41, 0x01, 0x40, 0x00, 0x1a, 0x0c, 0x00, 0x0b}}}}, "Task timed out after 1.00 seconds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want, timeout := executor.TypeExit, time.Minute
			if strings.HasPrefix(tc.want, "Task") {
				want, timeout = executor.TypeTimeout, time.Second
			}
			f := open(t, write(t, tc.module.bytes()), clock.System{}, func(c *wasm.Config) { c.Timeout, c.Memory = timeout, plugin.MB })
			failsWith(t, invoke(t, f, `{}`), want, tc.want)
		})
	}
}

func TestACompiledModuleIsKeptOnDisk(t *testing.T) {
	t.Parallel()
	open(t, built(t, "command"), clock.System{}, nil)
	found := 0
	if err := filepath.WalkDir(filepath.Join(scratch, "wasm"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found++
		}
		return err
	}); err != nil || found == 0 {
		t.Errorf("%d files, %v", found, err)
	}
}

func TestValidateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*wasm.Config)
		want   string // "" is valid
	}{
		{"a module is enough", func(*wasm.Config) {}, ""},
		{"no module", func(c *wasm.Config) { c.Module = "" }, "module: is missing"},
		{"other form", func(c *wasm.Config) { c.Form = "wagi" }, `form: "wagi" is not auto, command or extism`},
		{"no function", func(c *wasm.Config) { c.Function = "" }, "function: is empty"},
		{"own AWS variable", func(c *wasm.Config) { c.Environment = map[string]string{"AWS_REGION": "x"} }, "environment.AWS_REGION: is set by the hub"},
		{"variable with =", func(c *wasm.Config) { c.Environment = map[string]string{"a=b": "x"} }, "environment.a=b: is not a variable"},
		{"NUL", func(c *wasm.Config) { c.Args = []string{"a\x00"} }, "args[0]: contains a NUL"},
		{"host with path", func(c *wasm.Config) { c.AllowedHosts = []string{"a/b"} }, "allowedHosts[0]: "},
		{"little memory", func(c *wasm.Config) { c.Memory = 1000 }, "memory: 1000 is not a multiple"},
		{"much memory", func(c *wasm.Config) { c.Memory = 5 * plugin.GB }, "memory: 5GB is not a multiple"},
		{"short timeout", func(c *wasm.Config) { c.Timeout = 1 }, "timeout: 1ns is outside"},
		{"no instances", func(c *wasm.Config) { c.Instances.Maximum = 0 }, "instances.maximum: 0 lets nothing run"},
		{"short idle timeout", func(c *wasm.Config) { c.Instances.IdleTimeout = 0 }, "instances.idleTimeout: 0s is under 1s"},
		{"concurrency", func(c *wasm.Config) { c.Concurrency.Reserved = -2 }, "concurrency.reserved: -2"},
	} {
		c := wasm.Defaults()
		c.Module = "x.wasm"
		tc.change(&c)
		err := c.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// bare is an extism plug-in that answers its event without copying it: the cost of a call alone.
func bare(tb testing.TB) string {
	return write(tb, assemble{
		types: [][2][]byte{{{}, {i64}}, {{i64, i64}, {}}, {{}, {i32}}},
		imports: []imported{
			{module: "extism:host/env", name: "input_offset", index: 0}, {module: "extism:host/env", name: "input_length", index: 0},
			{module: "extism:host/env", name: "output_set", index: 1},
		},
		funcs: []fn{{typ: 2, export: "echo", code: []byte{0x10, 0, 0x10, 1, 0x10, 2, 0x41, 0}}},
	}.bytes())
}

func BenchmarkInvoke(b *testing.B) {
	payload := `"` + strings.Repeat("x", 1022) + `"`
	for _, bench := range []struct{ name, module, function, payload string }{
		{"plugin by hand", bare(b), "echo", payload},
		{"plugin in Go", built(b, "plugin"), "echo", payload},
		{"command in Go", built(b, "command"), "handle", `{"do":"echo"}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := open(b, bench.module, clock.System{}, func(c *wasm.Config) { c.Function = bench.function })
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				req := request(bench.payload)
				for pb.Next() {
					if resp, err := f.Invoke(ctx, req); err != nil || resp.Failure != nil {
						b.Error(err, resp.Failure)
					}
				}
			})
		})
	}
}

// BenchmarkHTTP sets a function behind net/http beside a bare echo, with 8 clients.
func BenchmarkHTTP(b *testing.B) {
	payload := `"` + strings.Repeat("x", 1022) + `"`
	run := func(name string, h http.HandlerFunc) {
		b.Run(name, func(b *testing.B) {
			s := httptest.NewServer(h)
			defer s.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
			defer client.CloseIdleConnections()
			b.SetParallelism(8 / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := client.Post(s.URL, "application/json", strings.NewReader(payload))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
	f := open(b, bare(b), clock.System{}, func(c *wasm.Config) { c.Function = "echo" })
	g := open(b, built(b, "plugin"), clock.System{}, func(c *wasm.Config) { c.Function = "echo" })
	behind := func(f executor.Function) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			resp, err := f.Invoke(r.Context(), request(string(body)))
			if err != nil {
				b.Error(err)
			}
			_, _ = w.Write(resp.Payload)
		}
	}
	for range 3 {
		run("echo", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})
		run("plugin by hand", behind(f))
		run("plugin in Go", behind(g))
	}
}

// BenchmarkOpen takes a module of 3.6 MB from the cache.
func BenchmarkOpen(b *testing.B) {
	module := built(b, "command")
	open(b, module, clock.System{}, nil)
	for b.Loop() {
		f, _, err := tryOpen(b, module, clock.System{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close(b.Context())
	}
}
