package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// language is what runs the code: the code itself, or an interpreter with a bootstrap of ours.
type language struct {
	kind        string
	interpreter string
	dir         string // LAMBDA_RUNTIME_DIR, where the bootstrap is written

	mu      sync.Mutex
	program string // the interpreter proper, which may be another than the one found in PATH
	version string // such as "3.11" or "20"
}

// probes make an interpreter print its path and the two first numbers of its version.
var probes = map[string][]string{
	python: {"-c", "import sys; print(sys.executable); print('%d.%d' % sys.version_info[:2])"},
	nodejs: {"-p", "process.execPath + '\\n' + process.versions.node.split('.').slice(0, 2).join('.')"},
}

var oldest = map[string][2]int{python: {3, 8}, nodejs: {18, 0}}

// ready finds out about the interpreter and writes the bootstrap, the first time.
func (l *language) ready(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kind == provided || l.program != "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, l.interpreter, probes[l.kind]...).Output()
	if err != nil {
		return fmt.Errorf("asking %s for its version: %w", l.interpreter, err)
	}
	program, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("asking %s for its version: it says %q", l.interpreter, out)
	}
	if least := oldest[l.kind]; major < least[0] || major == least[0] && minor < least[1] {
		return fmt.Errorf("%s is version %s; %s needs %d.%d or later: install it, or set interpreter", l.interpreter, version, l.kind, least[0], least[1])
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	name := bootstrapNames[l.kind]
	text, err := bootstraps.ReadFile("bootstrap/" + name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.dir, name), text, 0o644); err != nil {
		return err
	}
	if l.kind == nodejs {
		version = strconv.Itoa(major)
	}
	l.program, l.version = program, version
	return nil
}

var bootstrapNames = map[string]string{python: "bootstrap.py", nodejs: "bootstrap.mjs"}

// command is the command line of an environment whose code is in the folder code. l must be ready.
func (l *language) command(code string, memory int64) []string {
	switch l.kind {
	case python:
		return []string{l.program, filepath.Join(l.dir, "bootstrap.py")}
	case nodejs:
		// As on AWS, the heap is a little smaller than the memory, so that most often it is an error in the code
		// that tells of the end of it.
		return []string{l.program, fmt.Sprintf("--max-old-space-size=%d", memory>>20*9/10), filepath.Join(l.dir, "bootstrap.mjs")}
	}
	return []string{filepath.Join(code, "bootstrap")}
}

// variables are the environment variables that this kind adds.
func (l *language) variables(code, cache string) map[string]string {
	switch l.kind {
	case python:
		return map[string]string{
			"AWS_EXECUTION_ENV":   "AWS_Lambda_python" + l.version,
			"PYTHONPATH":          l.dir,
			"PYTHONPYCACHEPREFIX": cache, // the code's folder is not ours to write to
		}
	case nodejs:
		return map[string]string{
			"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs" + l.version + ".x",
			"NODE_PATH":         filepath.Join(code, "node_modules") + ":" + l.dir,
		}
	}
	return nil
}
