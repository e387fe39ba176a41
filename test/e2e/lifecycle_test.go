package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/test/hub"
)

func millrace(t *testing.T, h *hub.Hub, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "MILLRACE_ADMIN="+h.Admin, "AWS_ENDPOINT_URL="+h.AWS)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestStoppingLetsARequestEndAndKeepsTheQueue(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan string, 10), make(chan struct{})
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "slow") {
			entered <- string(body)
			<-leave
		}
		fmt.Fprint(w, `{"statusCode":200,"body":"ended"}`)
	}))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	yaml := fmt.Sprintf(`
functions:
  f: {runtime: http, url: %s, timeout: 60s}
triggers:
  url: {kind: function-url, with: {path: /f}, function: f}
`, f.URL)
	h := startIn(t, dir, yaml)
	got := make(chan string, 1)
	go func() {
		resp, err := http.Post(h.Gateway+"/f/slow", "text/plain", strings.NewReader("slow"))
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		got <- fmt.Sprint(resp.StatusCode, " ", string(body))
	}()
	<-entered
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway to close", func() string {
		resp, err := http.Get(h.Gateway + "/f")
		if err != nil {
			return ""
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return ""
		}
		return resp.Status
	})
	close(leave)
	if answer := <-got; answer != "200 ended" {
		t.Errorf("the request under way got %q", answer)
	}
	if err := h.Wait(); err != nil {
		t.Errorf("the hub ended with %v\n%s", err, h.Log())
	}
}

// With an hour to stop in, only the second signal can end the hub within the minute that Wait waits.
func TestASecondSignalCutsOffAnAttemptWhichIsRunAgain(t *testing.T) {
	t.Parallel()
	ids, leave := make(chan string, 10), make(chan struct{})
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("Lambda-Runtime-Aws-Request-Id")
		select {
		case <-leave:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	yaml := fmt.Sprintf("functions:\n  f: {runtime: http, url: %s, timeout: 15m}\nshutdown: {timeout: 1h}\n", f.URL)
	h := startIn(t, dir, yaml)
	if code, _, body := send(t, http.MethodPost, h.AWS+"/2015-03-31/functions/f/invocations", "{}", "X-Amz-Invocation-Type", "Event"); code != http.StatusAccepted {
		t.Fatal(code, body)
	}
	first := <-ids
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub to be unready", func() string {
		if code, _, _ := send(t, http.MethodGet, h.Admin+"/readyz", ""); code != http.StatusServiceUnavailable {
			return fmt.Sprint(code)
		}
		return ""
	})
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil && strings.Contains(err.Error(), "did not stop") {
		t.Fatal(err)
	}
	close(leave)
	again := startIn(t, dir, yaml)
	if second := <-ids; second != first {
		t.Errorf("%s ran after the restart, want %s", second, first)
	}
	eventually(t, "the event to succeed", func() string {
		out, err := millrace(t, again, "why", first, "-o", "json")
		if err != nil || !strings.Contains(out, `"state": "succeeded"`) || !strings.Contains(out, `"invokes": 1`) {
			return fmt.Sprint(out, err)
		}
		return ""
	})
}

func TestReloadAppliesTheDifferenceAndRefusesABadFile(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	dir := t.TempDir()
	file := func(path, extra string) string {
		return fmt.Sprintf(`
functions:
  f: {runtime: http, url: %s}
triggers:
  url: {kind: function-url, with: {path: %s}, function: f}
%s
listen: {gateway: "127.0.0.1:0", aws: "127.0.0.1:0", admin: "127.0.0.1:0"}
`, s.URL, path, extra)
	}
	h := startIn(t, dir, file("/one", ""))
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "millrace.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status := func(path string) int {
		code, _, _ := send(t, http.MethodGet, h.Gateway+path, "")
		return code
	}
	if status("/one") != 200 || status("/two") != 404 {
		t.Fatal("the first file is not in force")
	}
	write(file("/two", "")) // the watcher notices
	eventually(t, "the changed file to be applied", func() string {
		if status("/two") == 200 && status("/one") == 404 {
			return ""
		}
		return "not yet"
	})
	write(file("/three", "  bad: {kind: function-ural, function: g}"))
	if err := h.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bad file to be refused", func() string {
		if strings.Contains(h.Log(), `did you mean \"function-url\"`) && strings.Contains(h.Log(), `function \"g\"`) {
			return ""
		}
		return h.Log()
	})
	if status("/two") != 200 || status("/three") != 404 {
		t.Error("a bad file changed what runs")
	}
}

func TestASecondHubOnTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startIn(t, dir, "functions: {}\n")
	second, err := hub.Start(binary, dir, "functions: {}\n")
	if err == nil {
		second.Kill()
		t.Fatal("a second hub started on the same directory")
	}
	if !strings.Contains(err.Error(), "another hub") && !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error does not explain: %v", err)
	}
	if code, _, _ := send(t, http.MethodGet, h.Admin+"/healthz", ""); code != 200 {
		t.Errorf("the first hub is not well: %d", code)
	}
}

func TestDeadLettersAreListedExplainedAndRedriven(t *testing.T) {
	t.Parallel()
	var fail = make(chan struct{})
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-fail:
			fmt.Fprint(w, "{}")
		default:
			http.Error(w, "no such order", http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	h := startIn(t, dir, fmt.Sprintf(`
functions:
  f: {runtime: http, url: %s, async: {maximumRetryAttempts: 0, onFailure: failures}}
destinations:
  failures: {kind: file, with: {dir: ./failed}}
`, f.URL))
	out, err := millrace(t, h, "invoke", "f", "--event", "--payload", `{"order":7}`)
	if err != nil {
		t.Fatal(err, out)
	}
	id := strings.TrimSpace(strings.TrimPrefix(out, "accepted as "))
	eventually(t, "the dead letter", func() string {
		out, err := millrace(t, h, "dlq", "ls")
		if err != nil || !strings.Contains(out, id) {
			return fmt.Sprint(out, err)
		}
		return ""
	})
	eventually(t, "the record of the failure", func() string {
		files, _ := filepath.Glob(filepath.Join(dir, "failed", "*"))
		for _, name := range files {
			data, _ := os.ReadFile(name)
			var rec struct {
				RequestContext struct{ RequestID, Condition string }
				RequestPayload json.RawMessage
			}
			if json.Unmarshal(data, &rec) == nil && rec.RequestContext.RequestID == id && rec.RequestContext.Condition == "RetriesExhausted" && string(rec.RequestPayload) == `{"order":7}` {
				return ""
			}
		}
		return fmt.Sprint(files)
	})
	for _, args := range [][]string{{"why", id}, {"dlq", "show", id}, {"why", id, "-o", "json"}, {"dlq", "show", id, "--output", "json"}, {"queue", "ls"}} {
		out, err := millrace(t, h, args...)
		if err != nil || args[0] != "queue" && !strings.Contains(out, id) {
			t.Errorf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		if args[len(args)-1] == "json" && !json.Valid([]byte(out)) {
			t.Errorf("millrace %s is not JSON:\n%s", strings.Join(args, " "), out)
		}
	}
	close(fail)
	if out, err := millrace(t, h, "dlq", "redrive", id); err != nil {
		t.Fatal(err, out)
	}
	eventually(t, "the redriven event to succeed", func() string {
		out, err := millrace(t, h, "why", id)
		if err != nil || !strings.Contains(out, "succeeded") {
			return fmt.Sprint(out, err)
		}
		return ""
	})
	if out, err := millrace(t, h, "dlq", "redrive", id); err == nil {
		t.Errorf("redriving an event that succeeded said %s", out)
	}
}

// Acceptance on a full disk is refused, nothing is corrupted, and the hub recovers when there is space again.
func TestAFullDiskRefusesEventsAndRecovers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=96m"); err != nil {
		t.Skipf("this machine does not let root mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	s := newSink(t)
	yaml := fmt.Sprintf("functions:\n  f: {runtime: http, url: %s}\nstore: {kind: local, with: {minFree: 16MB}}\n", s.URL)
	h := startIn(t, mount, yaml)
	accept := func() (int, string) {
		code, header, body := send(t, http.MethodPost, h.AWS+"/2015-03-31/functions/f/invocations", `"`+strings.Repeat("x", 100<<10)+`"`, "X-Amz-Invocation-Type", "Event")
		return code, header.Get("X-Amzn-Requestid") + " " + body
	}
	accepted := map[string]bool{}
	keep := func(id string) { accepted[strings.TrimSpace(id)] = true }
	if code, id := accept(); code != 202 {
		t.Fatal(code, id)
	} else {
		keep(id)
	}
	ballast := filepath.Join(mount, "ballast")
	fill := exec.Command("dd", "if=/dev/zero", "of="+ballast, "bs=64k")
	fill.Run() // ends with: no space left
	var refusal string
	eventually(t, "a refusal", func() string {
		code, text := accept()
		if code == 202 {
			keep(text)
			return "still accepting"
		}
		if code < 500 {
			t.Fatalf("refused with %d %s", code, text)
		}
		refusal = text
		return ""
	})
	if !strings.Contains(refusal, "full") && !strings.Contains(refusal, "space") {
		t.Errorf("the refusal does not say why: %s", refusal)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "acceptance once there is space", func() string {
		code, text := accept()
		if code != 202 {
			return fmt.Sprint(code, text)
		}
		keep(text)
		return ""
	})
	eventually(t, "every accepted event to run", func() string {
		seen := map[string]bool{}
		for _, c := range s.all() {
			seen[c.id] = true
		}
		for id := range accepted {
			if !seen[id] {
				return "missing " + id
			}
		}
		return ""
	})
	if err := h.Stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	again := startIn(t, mount, yaml)
	if n := unaccounted(t, again); n != 0 {
		t.Errorf("%g events are unaccounted for after the restart", n)
	}
}

func TestCheckReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("functions:\n  f: {runtime: htp, url: x}\n  g: {runtime: http, url: \"http://h\", timeout: soon}\ntriggers:\n  t: {kind: s3, function: k}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, "check", file).CombinedOutput()
	if err == nil || err.(*exec.ExitError).ExitCode() != 2 { //nolint:errorlint // Run returns no other
		t.Errorf("exit: %v", err)
	}
	for _, want := range []string{"bad.yaml:2:", `did you mean "http"`, "bad.yaml:3:", "duration", "bad.yaml:5:"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
