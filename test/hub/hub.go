// Package hub runs the built program for tests and benchmarks.
package hub

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Hub is one running program.
type Hub struct {
	Gateway, AWS, Admin string        // URLs
	Started             time.Duration // from the start of the process until it was ready
	cmd                 *exec.Cmd
	log                 string // file
	done                chan struct{}
	err                 error
}

// Start runs `binary serve` on a file in dir whose text is yaml, and returns once the hub is ready. Addresses
// that yaml does not set are free ports of the loopback address.
func Start(binary, dir, yaml string, env ...string) (*Hub, error) {
	if !strings.Contains(yaml, "\nlisten:") {
		yaml += "\nlisten: {gateway: \"127.0.0.1:0\", aws: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
	}
	file := filepath.Join(dir, "millrace.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	return StartFile(binary, file, env...)
}

// StartFile is Start with a file that is there.
func StartFile(binary, file string, env ...string) (*Hub, error) {
	h, err := start(binary, filepath.Dir(file), "millrace is ready.", []string{"serve", file}, env)
	if err != nil {
		return nil, err
	}
	h.Gateway, h.AWS, h.Admin = h.address("gateway"), h.address("aws"), h.address("admin")
	return h, nil
}

// StartStack runs `binary stack` with more arguments, and its log in dir. Only AWS is set of its addresses.
func StartStack(binary, dir string, args ...string) (*Hub, error) {
	const line = "AWS_ENDPOINT_URL="
	h, err := start(binary, dir, line, append([]string{"stack", "--listen", "127.0.0.1:0"}, args...), nil)
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(h.Log(), line)
	h.AWS, _, _ = strings.Cut(rest, "\n")
	return h, nil
}

// start runs the program and returns once its log has a text.
func start(binary, dir, ready string, args, env []string) (*Hub, error) {
	// Its log goes to a file, as a service's does: through a pipe this process would pay for reading it.
	log, err := os.CreateTemp(dir, "hub-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h := &Hub{log: log.Name(), done: make(chan struct{})}
	h.cmd = exec.Command(binary, args...)
	h.cmd.Env = append(os.Environ(), env...)
	h.cmd.Stderr = log
	began := time.Now()
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		h.err = h.cmd.Wait()
		close(h.done)
	}()
	for !strings.Contains(h.Log(), ready) {
		select {
		case <-h.done:
			return nil, fmt.Errorf("%w: the hub ended before it was ready:\n%s", errors.Join(h.err, ErrEnded), h.Log())
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > time.Minute {
			h.Kill()
			return nil, fmt.Errorf("the hub is not ready after a minute:\n%s", h.Log())
		}
	}
	h.Started = time.Since(began)
	return h, nil
}

// ErrEnded says that the hub ended by itself.
var ErrEnded = errors.New("ended")

// PID is the hub's process.
func (h *Hub) PID() int { return h.cmd.Process.Pid }

// Signal sends the hub a signal.
func (h *Hub) Signal(s os.Signal) error { return h.cmd.Process.Signal(s) }

// Stop asks the hub to stop and waits until it has.
func (h *Hub) Stop() error {
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return h.Wait()
}

// Wait waits until a hub that was told to stop has stopped.
func (h *Hub) Wait() error {
	select {
	case <-h.done:
		return h.err
	case <-time.After(time.Minute):
		h.Kill()
		return fmt.Errorf("the hub did not stop within a minute:\n%s", h.Log())
	}
}

// Kill ends the hub at once, as a power cut would.
func (h *Hub) Kill() {
	h.cmd.Process.Kill()
	<-h.done
}

// Log is all that the hub has written to standard error.
func (h *Hub) Log() string {
	data, err := os.ReadFile(h.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// address finds a line such as "  gateway  http://127.0.0.1:8080".
func (h *Hub) address(name string) string {
	s := bufio.NewScanner(strings.NewReader(h.Log()))
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) == 2 && f[0] == name && strings.HasPrefix(f[1], "http") {
			return f[1]
		}
	}
	return ""
}

// Build builds the program in dir and returns its path.
func Build(dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "millrace")
	return binary, Go(append(append([]string{"build"}, flags...), "-o", binary, "github.com/millrace/millrace/cmd/millrace")...)
}

// Go runs the go command.
func Go(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = io.Discard, &bytes.Buffer{}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, cmd.Stderr)
	}
	return nil
}
