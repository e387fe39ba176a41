package process_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/executor/process"
)

// TestProcessesDieWithTheHub runs this test binary again as a hub, and kills it.
func TestProcessesDieWithTheHub(t *testing.T) {
	t.Parallel()
	if os.Getenv("MILLRACE_INNER_HUB") != "" {
		t.Skip("this is the inner run")
	}
	data := t.TempDir()
	// This one would not notice by itself that the hub is gone.
	c := script(t, `echo $$ > "$PIDS.new"; mv "$PIDS.new" "$PIDS"; exec sleep 1000`)
	hub := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInnerHub$")
	hub.Env = append(os.Environ(), "MILLRACE_INNER_HUB="+data, "MILLRACE_INNER_CODE="+c.Code, "TMPDIR="+t.TempDir())
	out, err := hub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid := strings.TrimSpace(line)
	if err != nil || !alive(pid) {
		t.Fatalf("the function does not run: %q, %v", line, err)
	}
	if err := hub.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = hub.Wait()
	eventually(t, "process "+pid+" ends", func() bool { return !alive(pid) })

	// The next hub on the same folder takes away what the first has left.
	d := deps(t, nil)
	d.Data = data
	if left, err := os.ReadDir(data); err != nil || len(left) != 1 {
		t.Errorf("the killed hub leaves %v, %v", left, err)
	}
	if err := open(t, config(t, "provided"), d).Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("the next hub leaves %v, %v", left, err)
	}
}

func TestInnerHub(t *testing.T) {
	data := os.Getenv("MILLRACE_INNER_HUB")
	if data == "" {
		t.Skip("run by TestProcessesDieWithTheHub")
	}
	d := deps(t, nil)
	d.Data = data
	file := filepath.Join(t.TempDir(), "pids")
	c := process.Defaults("provided")
	c.Code, c.Concurrency.Provisioned = os.Getenv("MILLRACE_INNER_CODE"), 1
	c.Environment = map[string]string{"PIDS": file}
	if _, err := process.Open(t.Context(), c, d); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the function starts", func() bool {
		pid, err := os.ReadFile(file)
		if err == nil {
			fmt.Print(string(pid))
		}
		return err == nil
	})
	select {}
}
