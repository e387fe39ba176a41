// Package services finds the programs that tests need beside Go. install.sh, beside this file, installs them.
package services

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Need returns the path of a program: on PATH, or among the tools that install.sh builds. Without it the test
// is skipped, or in CI, which sets MILLRACE_CI, fails.
func Need(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if root, err := filepath.Abs("../.."); err == nil {
		path := filepath.Join(root, "bin", "tools", program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	Missing(t, program+" is not installed: run `make services`")
	return ""
}

// NeedPython returns a python3 that has a module.
func NeedPython(t testing.TB, module string) string {
	t.Helper()
	python := Need(t, "python3")
	if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
		Missing(t, "python3 has no module "+module+": run `make services`")
	}
	return python
}

// Missing skips the test for want of something that could be installed, or in CI fails it.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("MILLRACE_CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
