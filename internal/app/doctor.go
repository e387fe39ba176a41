package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/internal/config"
)

// Level says how bad a finding is.
type Level string

// Levels of a finding.
const (
	Good Level = "ok"
	Poor Level = "warn" // a hub runs, with the limit that is named
	Bad  Level = "bad"  // a hub does not run
)

// Finding is one thing that Doctor looked at.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"`
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"`
}

// Doctor looks for what keeps a hub from running well with file on this machine. It changes nothing.
func Doctor(ctx context.Context, file string) []Finding {
	var fs []Finding
	add := func(level Level, what, found, mend string) { fs = append(fs, Finding{level, what, found, mend}) }

	c, err := Check(ctx, file)
	var ps config.Problems
	switch {
	case errors.As(err, &ps):
		for _, p := range ps {
			add(Bad, "file", p.String(), "")
		}
	case errors.Is(err, os.ErrNotExist):
		add(Bad, "file", err.Error(), "name a file, such as `millrace doctor configs/quickstart.yaml`")
	case err != nil:
		add(Bad, "file", err.Error(), "")
	default:
		add(Good, "file", fmt.Sprintf("%d functions, %d triggers, %d destinations", len(c.Functions), len(c.Triggers), len(c.Destinations)), "")
	}
	if c != nil {
		folder(c.Path(c.Data), add)
		for _, a := range []struct{ name, address string }{{"gateway", c.Listen.Gateway}, {"aws", c.Listen.AWS}, {"admin", c.Listen.Admin}} {
			address(ctx, a.name, a.address, add)
		}
	}
	for _, in := range []struct{ program, serves, install string }{
		{"python3", "runtime: python3", "apt-get install python3"},
		{"node", "runtime: nodejs", "apt-get install nodejs"},
	} {
		interpreter(ctx, in.program, in.serves, in.install, c, add)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		if limit.Max < 4096 {
			add(Poor, "open files", fmt.Sprintf("at most %d", limit.Max), "raise the limit, for instance `ulimit -n 65536`: each environment takes a few, each client one")
		} else {
			add(Good, "open files", fmt.Sprintf("at most %d", limit.Max), "")
		}
	}
	if runtime.GOOS == "linux" {
		add(Poor, "sandbox", "functions of a process runtime run as this user, without isolation", "run only code that you trust")
	} else {
		add(Poor, "sandbox", "there is none on "+runtime.GOOS, "run only code that you trust")
	}
	return fs
}

// folder looks whether the nearest folder that exists can be written and has room.
func folder(dir string, add func(Level, string, string, string)) {
	at := dir
	for {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		add(Bad, "data folder", fmt.Sprintf("%s: %v", at, err), "let this user write there, or set data to another folder")
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		add(Poor, "data folder", fmt.Sprintf("%s: %v", at, err), "")
		return
	}
	free := st.Bavail * uint64(st.Bsize)
	found := fmt.Sprintf("%s, %.1f GB free", dir, float64(free)/(1<<30))
	if free < 1<<30 {
		add(Poor, "data folder", found, "a full disk refuses new events: free some space")
		return
	}
	add(Good, "data folder", found, "")
}

func address(ctx context.Context, name, at string, add func(Level, string, string, string)) {
	if at == "" || at == "off" {
		add(Good, name+" address", "off", "")
		return
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", at)
	if err != nil {
		add(Bad, name+" address", err.Error(), "a hub may be running already; else set listen."+name+" to another address")
		return
	}
	l.Close()
	add(Good, name+" address", at+" is free", "")
}

func interpreter(ctx context.Context, program, serves, install string, c *config.Config, add func(Level, string, string, string)) {
	path, err := exec.LookPath(program)
	if err != nil {
		level := Good
		if c != nil {
			for _, f := range c.Functions {
				if strings.HasSuffix(serves, f.Runtime) {
					level = Bad
				}
			}
		}
		add(level, program, "not found", install+", to use "+serves)
		return
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		add(Poor, program, fmt.Sprintf("%s: %v", path, err), "")
		return
	}
	add(Good, program, strings.TrimSpace(string(out))+", "+path, "")
}
