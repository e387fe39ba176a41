//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// isolate makes a command the leader of a process group of its own. Where a process can not be bound to the
// life of its parent, a hub that is killed leaves its functions behind.
func isolate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// reap waits until a command has ended, reaps it and calls sweep.
func reap(cmd *exec.Cmd, sweep func()) {
	_ = cmd.Wait() // how it ended is in cmd.ProcessState
	sweep()
}

// resident is not known here.
func resident(int) (now, peak int64) { return 0, 0 }
