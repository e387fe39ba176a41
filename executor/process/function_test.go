package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/process"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// do runs one command that must be answered.
func do(t testing.TB, f executor.Function, command string) executor.Response {
	t.Helper()
	a := receive(t, command, run(t, f, executor.Request{ID: uuid.NewString(), Payload: []byte(command), LogTail: true}))
	if a.err != nil {
		t.Fatalf("%s: %v", command, a.err)
	}
	return a.res
}

func kind(t testing.TB, err error, k executor.Kind) *executor.Error {
	t.Helper()
	var e *executor.Error
	if !errors.As(err, &e) || e.Kind != k {
		t.Fatalf("error is %v, want one of kind %q", err, k)
	}
	return e
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 0 && !errors.Is(syscall.Kill(n, 0), syscall.ESRCH)
}

func TestAnEnvironmentIsReused(t *testing.T) {
	t.Parallel()
	f := open(t, config(t, "provided"), deps(t, nil))
	first := do(t, f, `{"do":"pid"}`)
	if first.Init <= 0 || first.MaxMemory <= 0 {
		t.Errorf("first: init %s, memory %d", first.Init, first.MaxMemory)
	}
	for range 20 {
		if res := do(t, f, `{"do":"pid"}`); string(res.Payload) != string(first.Payload) || res.Init != 0 {
			t.Fatalf("pid %s after %s, init %s", res.Payload, first.Payload, res.Init)
		}
	}
}

func TestExitsAreToldAsAWSDoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"exit 0":     "Runtime exited without providing a reason",
		"exit 127":   "Runtime exited with error: exit status 127",
		"kill -9 $$": "Runtime exited with error: signal: killed",
	} {
		f := open(t, script(t, text), deps(t, nil))
		a := receive(t, text, run(t, f, executor.Request{ID: requestID, Payload: []byte("{}")}))
		doc := `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ` + requestID + ` Error: ` + want + `"}`
		if a.err != nil || string(a.res.Payload) != doc || a.res.Failure.Type != "Runtime.ExitError" {
			t.Errorf("%s: %s, %v; want %s", text, a.res.Payload, a.err, doc)
		}
	}
	c := script(t, "")
	if err := os.WriteFile(filepath.Join(c.Code, "bootstrap"), []byte("\x7fELF no"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := receive(t, "a broken program", run(t, open(t, c, deps(t, nil)), executor.Request{ID: requestID, Payload: []byte("{}")}))
	if a.err != nil || a.res.Failure == nil || a.res.Failure.Type != "Runtime.InvalidEntrypoint" {
		t.Errorf("a broken program: %s, %v", a.res.Payload, a.err)
	}
}

func TestAStartThatTakesTooLongIsMadeAgainUnderTheTimeout(t *testing.T) {
	t.Parallel()
	count := filepath.Join(t.TempDir(), "count")
	c := script(t, `echo start >> "$COUNT"; exec sleep 1000`)
	c.Environment = map[string]string{"COUNT": count}
	c.InitTimeout, c.Timeout = 200*time.Millisecond, time.Second
	var logs lines
	f := open(t, c, deps(t, &logs))
	res := do(t, f, `{}`)
	if res.Failure == nil || res.Failure.Type != "Sandbox.Timedout" || res.Duration < time.Second || res.Duration > 10*time.Second {
		t.Errorf("failure %+v after %s", res.Failure, res.Duration)
	}
	if b, err := os.ReadFile(count); err != nil || string(b) != "start\nstart\n" {
		t.Errorf("it was started %q, %v", b, err)
	}
	eventually(t, "the log tells of it", func() bool {
		return regexp.MustCompile(`INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: timeout\n`).MatchString(logs.String())
	})
}

func TestTheWholeGroupIsKilledOnTimeout(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pids")
	c := script(t, `sh -c 'sleep 1000' & sleep 1000 & echo "$$ $!" > "$PIDS.new"; mv "$PIDS.new" "$PIDS"; wait`)
	c.Environment = map[string]string{"PIDS": file}
	c.Timeout, c.InitTimeout = time.Second, 100*time.Millisecond
	f := open(t, c, deps(t, nil))
	do(t, f, `{}`)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(b)) {
		eventually(t, "process "+pid+" ends", func() bool { return !alive(pid) })
	}
}

func TestMemoryOverTheLimitIsKilled(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory can not be seen on this system")
	}
	c := config(t, "provided")
	c.Timeout = time.Minute
	f := open(t, c, deps(t, nil))
	res := do(t, f, `{"do":"eat","size":200000000,"ms":60000}`)
	if res.Failure == nil || !strings.HasSuffix(res.Failure.Message, "Error: Runtime exited with error: signal: killed") {
		t.Errorf("failure %+v, answer %s", res.Failure, res.Payload)
	}
	if res.MaxMemory < 128<<20 {
		t.Errorf("most memory seen is %d", res.MaxMemory)
	}
	if res := do(t, f, `{"do":"echo"}`); res.Failure != nil {
		t.Errorf("the next invocation fails: %+v", res.Failure)
	}
}

func TestTemporaryFilesSurviveAReset(t *testing.T) {
	t.Parallel()
	d := deps(t, nil)
	f := open(t, config(t, "provided"), d)
	do(t, f, `{"do":"scratch"}`)
	do(t, f, `{"do":"crash"}`)
	if res := do(t, f, `{"do":"scratch"}`); string(res.Payload) != "2" {
		t.Errorf("after a crash there are %s files, want 2", res.Payload)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(d.Data); err != nil || len(left) != 0 {
		t.Errorf("Close leaves %v, %v", left, err)
	}
}

func TestEndAfterAnAnswerIsNobodysFailure(t *testing.T) {
	t.Parallel()
	for range 5 {
		// A function of its own each time: an event that is sent while the process ends would be that event's failure.
		f := open(t, config(t, "provided"), deps(t, nil))
		res := do(t, f, `{"do":"late","ms":1}`)
		if res.Failure != nil {
			t.Errorf("failure %+v", res.Failure)
		}
		eventually(t, "the process ends", func() bool { return !alive(string(res.Payload)) })
	}
}

func TestReservedConcurrencyRefuses(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.Concurrency.Reserved = 1
	var logs lines
	f := open(t, c, deps(t, &logs))
	do(t, f, `{"do":"echo"}`)
	id := uuid.NewString()
	running := run(t, f, executor.Request{ID: id, Payload: []byte(`{"do":"sleep","ms":2500}`)})
	eventually(t, "it runs", func() bool { return strings.Contains(logs.String(), "START RequestId: "+id) })
	_, got := f.Invoke(t.Context(), executor.Request{Payload: []byte(`{"do":"echo"}`)})
	if e := kind(t, got, executor.Throttled); e.Reason != executor.ReasonReserved {
		t.Errorf("reason is %s", e.Reason)
	}
	if a := receive(t, "the first", running); a.err != nil {
		t.Error(a.err)
	}

	c.Concurrency.Reserved = 0
	_, err := open(t, c, deps(t, nil)).Invoke(t.Context(), executor.Request{Payload: []byte(`{}`)})
	kind(t, err, executor.Throttled)
}

func TestInvocationsWaitForOneOfTheEnvironments(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.Concurrency.Environments = 2
	f := open(t, c, deps(t, nil))
	var mu sync.Mutex
	var pids []string
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				res, err := f.Invoke(t.Context(), executor.Request{Payload: []byte(`{"do":"pid"}`)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				pids = append(pids, string(res.Payload))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(pids)
	if n := len(slices.Compact(pids)); n > 2 {
		t.Errorf("%d processes, want no more than 2", n)
	}
}

func TestAnInvocationThatGetsNoEnvironmentIsThrottled(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.Concurrency.Environments = 1
	c.Timeout = time.Second
	f := open(t, c, deps(t, nil))
	do(t, f, `{"do":"echo"}`)
	// Each takes just under the timeout, one after the other, so that the last waits for longer than that.
	var all []<-chan answer
	for range 4 {
		all = append(all, run(t, f, executor.Request{Payload: []byte(`{"do":"sleep","ms":800}`)}))
	}
	throttled := 0
	for _, done := range all {
		if a := receive(t, "an outcome", done); a.err != nil {
			throttled++
			if e := kind(t, a.err, executor.Throttled); e.Reason != executor.ReasonConcurrency {
				t.Errorf("reason is %s", e.Reason)
			}
		}
	}
	if throttled == 0 || throttled == len(all) {
		t.Errorf("%d of %d are throttled", throttled, len(all))
	}
}

func TestOneEnvironmentTakesManyInvocations(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.MaxConcurrency = 8
	c.Concurrency.Environments = 1
	c.Timeout = 20 * time.Second
	f := open(t, c, deps(t, nil))
	pid := string(do(t, f, `{"do":"pid"}`).Payload)
	var all []<-chan answer
	start := time.Now()
	for range 8 {
		all = append(all, run(t, f, executor.Request{Payload: []byte(`{"do":"sleep","ms":2000}`)}))
	}
	for _, done := range all {
		if a := receive(t, "an answer", done); a.err != nil || a.res.Failure != nil {
			t.Errorf("%v, failure %+v", a.err, a.res.Failure)
		}
	}
	if d := time.Since(start); d > 12*time.Second {
		t.Errorf("8 invocations of 2 s take %s", d)
	}
	if again := string(do(t, f, `{"do":"pid"}`).Payload); again != pid {
		t.Errorf("pid %s after %s", again, pid)
	}
}

func TestATimeoutLetsTheOtherInvocationsOfItsEnvironmentEnd(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.MaxConcurrency = 4
	c.Concurrency.Environments = 1
	c.Timeout = 3 * time.Second
	f := open(t, c, deps(t, nil))
	do(t, f, `{"do":"echo"}`)
	hang := run(t, f, executor.Request{Payload: []byte(`{"do":"hang"}`)})
	<-time.After(1500 * time.Millisecond)
	slow := run(t, f, executor.Request{Payload: []byte(`{"do":"sleep","ms":2000}`)})
	if a := receive(t, "the timeout", hang); a.res.Failure == nil || a.res.Failure.Type != "Sandbox.Timedout" {
		t.Errorf("%+v, %v", a.res.Failure, a.err)
	}
	if a := receive(t, "the other", slow); a.err != nil || a.res.Failure != nil {
		t.Errorf("%+v, %v", a.res.Failure, a.err)
	}
	if res := do(t, f, `{"do":"echo"}`); res.Failure != nil {
		t.Errorf("after that: %+v", res.Failure)
	}
}

func TestIdleEnvironmentsEnd(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.IdleTimeout = time.Second
	f := open(t, c, deps(t, nil))
	pid := string(do(t, f, `{"do":"pid"}`).Payload)
	eventually(t, "the process ends", func() bool { return !alive(pid) })
	if res := do(t, f, `{"do":"pid"}`); res.Init <= 0 {
		t.Error("the next start was not a cold one")
	}
}

func TestProvisionedEnvironmentsAreThereAndReplaced(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.Concurrency.Provisioned = 1
	c.Concurrency.Environments = 1
	c.IdleTimeout = time.Second
	f := open(t, c, deps(t, nil))
	res := do(t, f, `{"do":"env"}`)
	if !strings.Contains(string(res.Payload), "AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency") || res.Init != 0 {
		t.Errorf("init %s in %s", res.Init, res.Payload)
	}
	pid := string(do(t, f, `{"do":"pid"}`).Payload)
	do(t, f, `{"do":"crash"}`)
	if again := do(t, f, `{"do":"env"}`); !strings.Contains(string(again.Payload), "AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency") {
		t.Errorf("what replaced it was not provisioned: %s", again.Payload)
	}
	if again := do(t, f, `{"do":"pid"}`); string(again.Payload) == pid || again.Init != 0 {
		t.Errorf("pid %s after %s, init %s", again.Payload, pid, again.Init)
	}
}

func TestCloseEndsEveryProcess(t *testing.T) {
	t.Parallel()
	f := open(t, config(t, "provided"), deps(t, nil))
	child := string(do(t, f, `{"do":"spawn"}`).Payload)
	pid := string(do(t, f, `{"do":"pid"}`).Payload)
	if !alive(child) || !alive(pid) {
		t.Fatal("the processes do not run")
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []string{child, pid} {
		eventually(t, "process "+pid+" ends", func() bool { return !alive(pid) })
	}
}

func TestEnvironmentVariablesAreLambdas(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.Handler = "main.go"
	c.Environment = map[string]string{"COLOUR": "blue", "TZ": "Europe/Paris"}
	c.Credentials = process.Credentials{AccessKeyID: "AKID", SecretAccessKey: "hush", SessionToken: "token"}
	f := open(t, c, deps(t, nil))
	var list []string
	if err := json.Unmarshal(do(t, f, `{"do":"env"}`).Payload, &list); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"COLOUR=blue", "TZ=Europe/Paris", "_HANDLER=main.go", "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_LAMBDA_FUNCTION_NAME=orders", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand", "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/orders",
		"AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=hush", "AWS_SESSION_TOKEN=token", "LAMBDA_TASK_ROOT=" + c.Code,
		"LANG=en_US.UTF-8",
	} {
		if !slices.Contains(list, want) {
			t.Errorf("%s is missing", want)
		}
	}
	stream := regexp.MustCompile(`^AWS_LAMBDA_LOG_STREAM_NAME=\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$`)
	if !slices.ContainsFunc(list, stream.MatchString) {
		t.Error("AWS_LAMBDA_LOG_STREAM_NAME is missing or odd")
	}
	for _, v := range list {
		if strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "AWS_EXECUTION_ENV=") || strings.HasPrefix(v, "AWS_LAMBDA_MAX_CONCURRENCY=") {
			t.Errorf("%s is there", v)
		}
	}
}

func TestTheLogIsCloudWatchs(t *testing.T) {
	t.Parallel()
	var logs lines
	f := open(t, config(t, "provided"), deps(t, &logs))
	id := uuid.NewString()
	a := receive(t, "the answer", run(t, f, executor.Request{
		ID: id, Payload: []byte(`{"do":"log","lines":["one","two"]}`), LogTail: true,
		TraceID: "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
	}))
	want := regexp.MustCompile(`^START RequestId: ` + id + ` Version: \$LATEST
one
two
END RequestId: ` + id + `
REPORT RequestId: ` + id + `	Duration: \d+\.\d\d ms	Billed Duration: \d+ ms	Memory Size: 128 MB	Max Memory Used: \d+ MB	Init Duration: \d+\.\d\d ms	
XRAY TraceId: 1-5bef4de7-ad49b0e87f6ef6c87fc2e700	SegmentId: 9a9197af755a6419	Sampled: true	
$`)
	if !want.Match(a.res.Log) {
		t.Errorf("log is %q", a.res.Log)
	}
	eventually(t, "it is written", func() bool { return want.MatchString(logs.String()) })

	crash := do(t, f, `{"do":"crash"}`)
	if !strings.Contains(string(crash.Log), "\tStatus: error\tError Type: Runtime.ExitError\n") {
		t.Errorf("log of a crash is %q", crash.Log)
	}
}

func TestTheLogMayBeJSON(t *testing.T) {
	t.Parallel()
	c := config(t, "provided")
	c.LogFormat = "json"
	f := open(t, c, deps(t, nil))
	res := do(t, f, `{"do":"echo"}`)
	var types []string
	for line := range strings.Lines(string(res.Log)) {
		var l struct {
			Type   string
			Time   time.Time
			Record struct {
				RequestID string
				Status    string
				Metrics   struct{ DurationMs, BilledDurationMs, MemorySizeMB, MaxMemoryUsedMB, InitDurationMs float64 }
			}
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		types = append(types, l.Type)
		if m := l.Record.Metrics; l.Type == "platform.report" && (m.DurationMs <= 0 || m.InitDurationMs <= 0 || m.MemorySizeMB != 128 || l.Record.Status != "success") {
			t.Errorf("report is %s", line)
		}
	}
	if fmt.Sprint(types) != "[platform.start platform.report]" {
		t.Errorf("lines are %v", types)
	}
}

// stuck is a log that takes nothing until it is freed.
type stuck struct{ free chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.free; return len(p), nil }

func TestAFloodOfLogIntoAStuckLogDoesNotStopTheFunction(t *testing.T) {
	t.Parallel()
	d := deps(t, nil)
	s := stuck{make(chan struct{})}
	d.Output = s
	c := config(t, "provided")
	c.Timeout = time.Minute
	f := open(t, c, d)
	if res := do(t, f, `{"do":"flood","size":4000000}`); res.Failure != nil || len(res.Log) > executor.LogTail {
		t.Errorf("failure %+v, %d bytes of log", res.Failure, len(res.Log))
	}
	close(s.free)
}

func TestBuildMakesTheCode(t *testing.T) {
	t.Parallel()
	d := deps(t, nil)
	flag := filepath.Join(d.Dir, "broken")
	if err := os.WriteFile(flag, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, err := golang()
	if err != nil {
		t.Fatal(err)
	}
	c := process.Defaults("provided")
	c.Build = []string{"sh", "-c", `test ! -e broken || { echo no luck >&2; exit 3; }; cp "$1"/bootstrap "$2"`, "-", code, "$OUT/bootstrap"}
	f := open(t, c, d)
	_, err = f.Invoke(t.Context(), executor.Request{Payload: []byte(`{"do":"echo"}`)})
	if e := kind(t, err, executor.Unready); !strings.Contains(e.Error(), "no luck") || !strings.Contains(e.Error(), "exit status 3") {
		t.Errorf("error is %v", e)
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if res := do(t, f, `{"do":"echo"}`); res.Failure != nil {
		t.Errorf("failure %+v", res.Failure)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, "bootstrap"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind   string
		change func(*process.Config)
		want   string
	}{
		"no code":                 {"provided", func(c *process.Config) { c.Code = "" }, "code: is missing"},
		"code that is not there":  {"provided", func(c *process.Config) { c.Code = "nowhere" }, "code: .*nowhere does not exist"},
		"no bootstrap":            {"provided", func(c *process.Config) { c.Code = empty }, "has no file bootstrap"},
		"no permission":           {"provided", func(c *process.Config) { c.Code = plain }, "chmod"},
		"both code and build":     {"provided", func(c *process.Config) { c.Code, c.Build = plain, []string{"x"} }, "build: "},
		"no handler":              {"python3", func(c *process.Config) { c.Code = empty }, "handler: .*app.handler"},
		"no such interpreter":     {"python3", func(c *process.Config) { c.Code, c.Handler, c.Interpreter = empty, "a.b", "nopython" }, "interpreter: nopython .*install Python"},
		"an interpreter too many": {"provided", func(c *process.Config) { c.Code, c.Interpreter = plain, "x" }, "interpreter: "},
		"many at once in Python":  {"python3", func(c *process.Config) { c.Code, c.Handler, c.MaxConcurrency = empty, "a.b", 2 }, "maxConcurrency: "},
		"little memory":           {"provided", func(c *process.Config) { c.Code, c.Memory = plain, plugin.MB }, "memory: 1MB"},
		"no time":                 {"provided", func(c *process.Config) { c.Code, c.Timeout = plain, 0 }, "timeout: 0s"},
		"a reserved variable":     {"provided", func(c *process.Config) { c.Code, c.Environment = plain, map[string]string{"AWS_REGION": "x"} }, "environment.AWS_REGION: is set by the hub"},
		"a bad variable":          {"provided", func(c *process.Config) { c.Code, c.Environment = plain, map[string]string{"1A": "x"} }, "environment.1A: "},
		"too large an environment": {"provided", func(c *process.Config) {
			c.Code, c.Environment = plain, map[string]string{"AB": strings.Repeat("x", 4095)}
		}, "environment: has 4097 bytes"},
		"provisioned over all":      {"provided", func(c *process.Config) { c.Code, c.Concurrency.Provisioned, c.Concurrency.Environments = plain, 3, 2 }, "concurrency.provisioned: 3"},
		"provisioned over reserved": {"provided", func(c *process.Config) { c.Code, c.Concurrency.Provisioned, c.Concurrency.Reserved = plain, 3, 2 }, "concurrency.provisioned: 3"},
		"half a key":                {"provided", func(c *process.Config) { c.Code, c.Credentials.AccessKeyID = plain, "x" }, "credentials: "},
		"a strange log":             {"provided", func(c *process.Config) { c.Code, c.LogFormat = plain, "xml" }, "logFormat: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := process.Defaults(c.kind)
			c.change(&conf)
			d := deps(t, nil)
			_, err := process.Open(t.Context(), conf, d)
			if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("Open: %v, want %s", err, c.want)
			}
			if left, err := os.ReadDir(d.Data); err != nil || len(left) != 0 {
				t.Errorf("it leaves %v, %v", left, err)
			}
		})
	}
}

func TestACheckStartsAndWritesNothing(t *testing.T) {
	t.Parallel()
	c := script(t, `exit 1`)
	c.Concurrency.Provisioned = 1
	d := deps(t, nil)
	d.Check = true
	f := open(t, c, d)
	_, err := f.Invoke(t.Context(), executor.Request{})
	kind(t, err, executor.Closed)
	if left, err := os.ReadDir(d.Data); err != nil || len(left) != 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestOversizeAndUnfitRequestsAreRefused(t *testing.T) {
	t.Parallel()
	f := open(t, config(t, "provided"), deps(t, nil))
	_, err := f.Invoke(t.Context(), executor.Request{Payload: make([]byte, executor.MaxPayload+1)})
	kind(t, err, executor.TooLarge)
	_, err = f.Invoke(t.Context(), executor.Request{TenantID: "a\r\nb"})
	kind(t, err, executor.Refused)
}

func TestTheTimeoutIsOfTheGivenClock(t *testing.T) {
	t.Parallel()
	d := deps(t, nil)
	m := clock.NewManual(time.Now())
	d.Clock = m
	c := config(t, "provided")
	c.Timeout = 15 * time.Minute
	f := open(t, c, d)
	do(t, f, `{"do":"echo"}`)
	done := run(t, f, executor.Request{Payload: []byte(`{"do":"hang"}`)})
	eventually(t, "it times out", func() bool {
		m.Advance(time.Minute)
		select {
		case a := <-done:
			if a.res.Failure == nil || !strings.HasSuffix(a.res.Failure.Message, "Task timed out after 900.00 seconds") {
				t.Errorf("failure %+v, %v", a.res.Failure, a.err)
			}
			return true
		default:
			return false
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}
