// Package wasm runs functions compiled to WebAssembly, in this process but walled off: a module sees its
// event, its variables, the time and random numbers, and no files; memory and time are limited.
//
// A command (WASI) reads the event on stdin and writes the answer to stdout; each event gets a fresh
// instance. Its variables tell about the invocation: AWS_REQUEST_ID, AWS_LAMBDA_INVOKED_FUNCTION_ARN,
// AWS_LAMBDA_DEADLINE_MS, AWS_LAMBDA_CLIENT_CONTEXT, AWS_LAMBDA_TENANT_ID, _X_AMZN_TRACE_ID and TRACEPARENT.
// An exit status other than 0 is a failure: the one that stdout describes, if that holds an error document
// ({"errorType":…,"errorMessage":…}), or else Runtime.ExitError.
//
// A plug-in (the convention of https://extism.org) is called at an exported function, and its instance is
// kept for the next event. It reads the same names by config_get. Its state stays from event to event, as in
// a warm Lambda environment. An instance that trapped, exited or ran out of time is thrown away.
package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

const (
	version = "$LATEST"
	wasi    = wasi_snapshot_preview1.ModuleName
)

// Spec is the kind "wasm".
func Spec() plugin.Spec[executor.Function] {
	return plugin.Define("wasm", "Runs a WebAssembly module: a WASI command, or an Extism plug-in whose instances are kept.", Defaults(), Open)
}

type function struct {
	config  Config
	name    string
	clock   clock.Clock
	output  io.Writer // nil if nobody reads it
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	module  wazero.CompiledModule
	shape   wazero.ModuleConfig // what all instances have in common
	env     [][2]string         // their variables; added to shape anew each time, because wazero lets copies share them
	extism  bool
	client  *guestClient
	gate    executor.Gate

	mu    sync.Mutex
	live  int         // instances that exist
	idle  []*instance // the last used at the end
	timer clock.Timer // frees idle instances; nil if none is set
	ended bool
}

// Open compiles the module, or takes it from the cache in d.Data.
func Open(ctx context.Context, c Config, d plugin.Deps) (executor.Function, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	path := c.Module
	if !filepath.IsAbs(path) {
		path = filepath.Join(d.Dir, path)
	}
	code, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the module: %w", err)
	}
	f := &function{config: c, name: d.Name, clock: d.Clock, output: d.Output}
	if f.output == io.Discard {
		f.output = nil
	}
	f.cache = wazero.NewCompilationCache()
	if d.Data != "" {
		f.cache, err = wazero.NewCompilationCacheWithDir(filepath.Join(d.Data, "wasm"))
		if err != nil {
			return nil, fmt.Errorf("opening the cache of compiled modules: %w", err)
		}
	}
	f.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(f.cache).
		WithMemoryLimitPages(uint32(c.Memory/page)).
		WithCloseOnContextDone(true)) // compiles checks into loops, so that a run can be stopped
	if err := f.load(ctx, code, d); err != nil {
		return nil, errors.Join(fmt.Errorf("loading %s: %w", c.Module, err), f.free(ctx))
	}
	return f, nil
}

func (f *function) load(ctx context.Context, code []byte, d plugin.Deps) error {
	if !bytes.HasPrefix(code, []byte("\x00asm")) {
		return errors.New("this is no WebAssembly module; a module in text form (.wat) must be compiled first")
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, f.runtime); err != nil {
		return fmt.Errorf("providing WASI: %w", err)
	}
	if err := provideExtism(ctx, f.runtime); err != nil {
		return fmt.Errorf("providing Extism's functions: %w", err)
	}
	var err error
	if f.module, err = f.runtime.CompileModule(ctx, code); err != nil {
		return err
	}
	f.extism = f.config.Form == formExtism
	for _, imported := range f.module.ImportedFunctions() {
		from, name, _ := imported.Import()
		if from == extismModule && f.config.Form == formAuto {
			f.extism = true
		}
		if err := f.provided(imported, from, name); err != nil {
			return err
		}
	}
	if len(f.module.ImportedMemories()) > 0 {
		return errors.New("the module imports its memory; it must have one of its own")
	}
	if err := f.checkEntry(); err != nil {
		return err
	}

	began := f.clock.Now()
	f.shape = wazero.NewModuleConfig().
		WithName("").
		WithRandSource(rand.Reader).
		WithWalltime(func() (int64, int32) {
			now := f.clock.Now()
			return now.Unix(), int32(now.Nanosecond())
		}, sys.ClockResolution(time.Microsecond)).
		WithNanotime(func() int64 { return int64(f.clock.Now().Sub(began)) + 1 }, sys.ClockResolution(1))
	f.env = [][2]string{
		{"AWS_REGION", d.Region},
		{"AWS_DEFAULT_REGION", d.Region},
		{"AWS_LAMBDA_FUNCTION_NAME", d.Name},
		{"AWS_LAMBDA_FUNCTION_VERSION", version},
		{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", strconv.FormatInt(int64(f.config.Memory/plugin.MB), 10)},
		{"TZ", ":UTC"},
	}
	for name, value := range f.config.Environment {
		f.env = append(f.env, [2]string{name, value})
	}
	if f.extism {
		f.shape = f.shape.WithArgs(d.Name).WithStartFunctions()
		f.client = newGuestClient(f.config.AllowedHosts)
	} else {
		f.shape = f.shape.WithArgs(append([]string{d.Name}, f.config.Args...)...)
	}
	return nil
}

// provided checks that an imported function is there, in the form that the module expects.
func (f *function) provided(imported api.FunctionDefinition, from, name string) error {
	if from != wasi && from != extismModule {
		return fmt.Errorf("the module imports %s.%s; only functions of %s and %s are there", from, name, wasi, extismModule)
	}
	have, ok := f.runtime.Module(from).ExportedFunctionDefinitions()[name]
	if !ok {
		return fmt.Errorf("the module imports %s.%s, and there is no such function", from, name)
	}
	if !bytes.Equal(have.ParamTypes(), imported.ParamTypes()) || !bytes.Equal(have.ResultTypes(), imported.ResultTypes()) {
		return fmt.Errorf("the module imports %s.%s with other parameters or results than it has", from, name)
	}
	if from == extismModule && !f.extism {
		return fmt.Errorf("the module imports %s.%s, which a command can not use; set form: extism", from, name)
	}
	return nil
}

// checkEntry checks that the module can be called.
func (f *function) checkEntry() error {
	name, hint := "_start", "; build it as a WASI command, or set form: extism"
	if f.extism {
		name, hint = f.config.Function, "; set function to one of its exports"
	}
	entry, ok := f.module.ExportedFunctions()[name]
	if !ok {
		return fmt.Errorf("the module exports no function %s%s", name, hint)
	}
	results := entry.ResultTypes()
	if len(entry.ParamTypes()) > 0 || len(results) > 1 || len(results) == 1 && (!f.extism || results[0] != api.ValueTypeI32) {
		return fmt.Errorf("the exported function %s has other parameters or results than an entry point may have", name)
	}
	return nil
}

// Close waits for the invocations under way, then frees all instances and the code.
func (f *function) Close(ctx context.Context) error {
	if !f.gate.Close(ctx) {
		return nil
	}
	f.mu.Lock()
	f.ended = true
	if f.timer != nil {
		f.timer.Stop()
	}
	idle := f.idle
	f.idle = nil
	f.mu.Unlock()
	for _, i := range idle {
		i.discard()
	}
	if f.client != nil {
		f.client.close()
	}
	return f.free(context.WithoutCancel(ctx))
}

func (f *function) free(ctx context.Context) error {
	return errors.Join(f.runtime.Close(ctx), f.cache.Close(ctx))
}

func (f *function) Invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	if len(req.Payload) > executor.MaxPayload {
		return executor.Response{}, f.fail(executor.TooLarge, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(req.Payload), executor.MaxPayload))
	}
	i := f.take()
	if i == nil {
		e := f.fail(executor.Throttled, fmt.Errorf("all %d instances are busy", f.config.Instances.Maximum))
		e.Reason = executor.ReasonConcurrency
		return executor.Response{}, e
	}
	defer f.give(i)
	id, ok := f.gate.Enter(i.cancel)
	if !ok {
		return executor.Response{}, f.fail(executor.Closed, errors.New("the function has been closed"))
	}
	defer f.gate.Leave(id)
	if ctx.Err() != nil {
		return executor.Response{}, f.fail(executor.Canceled, context.Cause(ctx))
	}

	i.begin(&req)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, i.cancel)
		defer func() {
			if !stop() {
				i.spoil() // the call of cancel may still be to come, and must not hit the next event
			}
		}()
	}
	var resp executor.Response
	var err error
	if f.extism {
		resp, err = i.call(&req)
	} else {
		resp, err = i.command(&req)
	}
	i.finish()
	if err != nil {
		i.spoil()
		switch {
		case errors.Is(i.why(), errTimeout):
			resp.Payload, resp.Failure = timedOut(&req, i.limit)
		case errors.Is(i.why(), errCanceled):
			cause := context.Cause(ctx)
			if cause == nil {
				cause = errors.New("the hub is stopping")
			}
			return executor.Response{}, f.fail(executor.Canceled, cause)
		case errors.Is(i.why(), errTooLarge):
			over := executor.ResponseTooLarge()
			resp.Payload, resp.Failure = over.Payload, over.Failure
		default:
			crash(&req, err, &resp)
		}
	}
	resp.Version = version
	resp.MaxMemory = i.memory()
	resp.Log = i.log.end(&req, int64(f.config.Memory), &resp)
	return resp, nil
}

func timedOut(req *executor.Request, timeout time.Duration) ([]byte, *executor.Failure) {
	r := executor.TimedOut(req.ID, timeout)
	return r.Payload, r.Failure
}

// crash makes the failure of code that ended by a trap or an exit status other than 0. The code may have
// written an error document before.
func crash(req *executor.Request, err error, resp *executor.Response) {
	reason, _, _ := strings.Cut(err.Error(), "\n") // the wasm stack follows
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		if fail := executor.ParseFailure(resp.Payload); fail.Type != "" {
			resp.Failure = fail
			return
		}
		if reason = ""; exit.ExitCode() != 0 {
			reason = fmt.Sprintf("exit status %d", exit.ExitCode())
		}
	}
	r := executor.Exited(req.ID, reason)
	resp.Payload, resp.Failure = r.Payload, r.Failure
}

func (f *function) fail(k executor.Kind, err error) *executor.Error {
	return &executor.Error{Kind: k, Function: f.name, Err: err}
}

// take returns the instance used last, or a new one, or nil if there are enough.
func (f *function) take() *instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		i := f.idle[n-1]
		f.idle[n-1] = nil
		f.idle = f.idle[:n-1]
		return i
	}
	if f.live >= f.config.Instances.Maximum {
		return nil
	}
	f.live++
	return newInstance(f)
}

// give takes an instance back.
func (f *function) give(i *instance) {
	f.mu.Lock()
	if keep := f.extism && i.started() && !i.spoilt && !f.ended; keep {
		i.used = f.clock.Now()
		f.idle = append(f.idle, i)
		if f.timer == nil {
			f.timer = f.clock.AfterFunc(f.config.Instances.IdleTimeout, f.reap)
		}
		f.mu.Unlock()
		return
	}
	f.live--
	f.mu.Unlock()
	i.discard()
}

// reap frees the instances that were not used for too long.
func (f *function) reap() {
	f.mu.Lock()
	now, n := f.clock.Now(), 0
	for n < len(f.idle) && now.Sub(f.idle[n].used) >= f.config.Instances.IdleTimeout {
		n++
	}
	old := append([]*instance(nil), f.idle[:n]...)
	left := copy(f.idle, f.idle[n:])
	clear(f.idle[left:])
	f.idle = f.idle[:left]
	f.live -= n
	f.timer = nil
	if left > 0 && !f.ended {
		f.timer = f.clock.AfterFunc(f.config.Instances.IdleTimeout-now.Sub(f.idle[0].used), f.reap)
	}
	f.mu.Unlock()
	for _, i := range old {
		i.discard()
	}
}
