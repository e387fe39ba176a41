// Package process runs functions in processes of this machine that speak the AWS Lambda Runtime API: any
// executable named bootstrap, and Python and Node.js handlers, for which it brings the runtime.
package process

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// The kinds.
const (
	provided = "provided"
	python   = "python3"
	nodejs   = "nodejs"
)

// bootstraps are the runtimes of kinds whose code is not a program.
//
//go:embed bootstrap
var bootstraps embed.FS

// Specs are the kinds of this package.
func Specs() []plugin.Spec[executor.Function] {
	return []plugin.Spec[executor.Function]{
		plugin.Define(provided, "Runs an executable that speaks the AWS Lambda Runtime API.", Defaults(provided), Open),
		plugin.Define(python, "Runs a Python handler written for AWS Lambda.", Defaults(python), Open),
		plugin.Define(nodejs, "Runs a Node.js handler written for AWS Lambda.", Defaults(nodejs), Open),
	}
}

// Open opens a function. Its environments start when they are needed, and provisioned ones at once.
func Open(_ context.Context, c Config, d plugin.Deps) (executor.Function, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &builder{config: c, dir: d.Dir, data: d.Data}
	if c.Code != "" {
		source, err := locate(c, d.Dir)
		if err != nil {
			return nil, err
		}
		b.source = source
	}
	if len(c.Build) > 0 && !strings.ContainsAny(c.Build[0], "/$") {
		if _, err := exec.LookPath(c.Build[0]); err != nil {
			return nil, plugin.Invalid("build[0]", "%s is not to be found (%v); install it, or write its path", c.Build[0], errors.Unwrap(err))
		}
	}
	interpreter := ""
	if c.kind != provided {
		name := c.Interpreter
		if strings.ContainsRune(name, '/') && !filepath.IsAbs(name) {
			name = filepath.Join(d.Dir, name)
		}
		var err error
		if interpreter, err = exec.LookPath(name); err != nil {
			return nil, plugin.Invalid("interpreter", "%s is not to be found (%v); install %s, or write its path",
				c.Interpreter, errors.Unwrap(err), map[string]string{python: "Python 3.8 or later", nodejs: "Node.js 18 or later"}[c.kind])
		}
		if interpreter, err = filepath.Abs(interpreter); err != nil {
			return nil, err
		}
	}
	if d.Check {
		return checked{d.Name}, nil
	}

	dir, err := workspace(d.Data)
	if err != nil {
		return nil, fmt.Errorf("making a folder to work in: %w", err)
	}
	b.out = dir
	f := &Function{
		name:   d.Name,
		config: c,
		arn:    fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", d.Region, d.Account, d.Name),
		region: d.Region,
		log:    d.Log,
		clock:  d.Clock,
		code:   b,
		dir:    dir,
		language: language{
			kind: c.kind, interpreter: interpreter, dir: filepath.Join(dir, "runtime"),
		},
		envs:   map[*environment]bool{},
		closed: make(chan struct{}),
		stats: stats{
			environments: plugin.Register(d.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
				Name: "millrace_process_environments", Help: "Environments that are starting, idle or busy.",
			}, []string{"function"})).WithLabelValues(d.Name),
			colds: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "millrace_process_cold_starts_total", Help: "Environments that were started.",
			}, []string{"function"})).WithLabelValues(d.Name),
			ends: plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "millrace_process_ends_total", Help: "Environments that ended, by why: stopped, exit, timeout, memory or init.",
			}, []string{"function", "reason"})).MustCurryWith(prometheus.Labels{"function": d.Name}),
		},
	}
	f.out = newOutput(d.Output, d.Clock)
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	if len(c.Build) > 0 {
		f.life.Go(func() {
			if _, err := b.code(f.ctx); err != nil && f.ctx.Err() == nil {
				f.log.Error("building the code", "error", err)
			}
		})
	}
	f.mu.Lock()
	for range c.Concurrency.Provisioned {
		f.start(&environment{provisioned: true})
	}
	f.mu.Unlock()
	return f, nil
}

// workspace makes a folder for one run of a function, and removes those of hubs that were killed.
func workspace(data string) (string, error) {
	const prefix = "run-"
	old, err := filepath.Glob(filepath.Join(data, prefix+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	data, err = filepath.Abs(data)
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(data, fmt.Sprintf("%s%d-", prefix, os.Getpid()))
}

// checked is a function of a file that is only being checked.
type checked struct{ name string }

func (c checked) Invoke(context.Context, executor.Request) (executor.Response, error) {
	return executor.Response{}, &executor.Error{Kind: executor.Closed, Function: c.name, Err: errClosed}
}

func (checked) Close(context.Context) error { return nil }
