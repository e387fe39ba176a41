package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

// Why an instance was stopped.
var (
	errTimeout  = errors.New("out of time")
	errCanceled = errors.New("the caller has gone")
	errTooLarge = errors.New("the answer is too large")
)

// maxInit is how long an instance of a plug-in may take to set itself up, as on Lambda.
const maxInit = 10 * time.Second

// instance is one instance of the module, used by one invocation at a time. It is the context of all calls
// into the module: done once it is stopped, and the way from a host function back to it. A context made for
// each call would cost more than a small plug-in does.
type instance struct {
	f      *function
	cancel func() // stop with errCanceled; made once
	spoilt bool   // can not be used again
	used   time.Time
	log    log
	guest  guest
	req    *executor.Request // during an invocation
	end    time.Time         // when the phase under way must be over
	limit  time.Duration     // how long that phase may take

	module api.Module   // nil before the start
	entry  api.Function // of the form extism
	result [1]uint64

	mu    sync.Mutex
	timer clock.Timer
	busy  bool
	cause error
	done  chan struct{}
}

func newInstance(f *function) *instance {
	i := &instance{f: f, done: make(chan struct{})}
	i.cancel = func() { i.stop(errCanceled) }
	i.guest.limit = int(min(f.config.Memory, 1<<31-1))
	return i
}

// begin prepares for an invocation.
func (i *instance) begin(req *executor.Request) {
	i.req = req
	i.log.begin(i.f.output, req)
}

// arm starts the time of a phase of the invocation, and returns when that was.
func (i *instance) arm(limit time.Duration) time.Time {
	now := i.f.clock.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy = true
	i.limit, i.end = limit, now.Add(limit)
	if i.timer == nil {
		i.timer = i.f.clock.AfterFunc(limit, i.expire)
	} else {
		i.timer.Reset(limit)
	}
	return now
}

// finish stops the clock.
func (i *instance) finish() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy = false
	i.timer.Stop()
}

// expire stops a run that is out of time. A call that comes late finds another invocation under way, whose
// time is not yet up, or none.
func (i *instance) expire() {
	i.mu.Lock()
	over := i.busy && !i.f.clock.Now().Before(i.end)
	i.mu.Unlock()
	if over {
		i.stop(errTimeout)
	}
}

// stop ends the run soon: loops and calls of the compiled code look at done. The first cause stays.
func (i *instance) stop(cause error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cause == nil {
		i.cause = cause
		close(i.done)
	}
}

func (i *instance) why() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cause
}

// spoil says that the instance can not be used again.
func (i *instance) spoil() { i.spoilt = true }

func (i *instance) started() bool { return i.module != nil }

func (i *instance) discard() {
	if i.module != nil {
		_ = i.module.Close(context.Background()) // of an instance whose memory is all that it holds
	}
}

// memory is the size of the module's memory, which never shrinks; 0 if the module has or shows none.
func (i *instance) memory() int64 {
	if i.module == nil {
		return 0
	}
	memory := i.module.ExportedMemory("memory")
	if memory == nil {
		return 0
	}
	return int64(memory.Size())
}

// command runs the module from its start to its end. The answer is in the Response even if there is an error.
func (i *instance) command(req *executor.Request) (executor.Response, error) {
	began := i.arm(i.f.config.Timeout)
	out := &answer{stop: i.stop}
	shape := i.shape().WithStdin(bytes.NewReader(req.Payload)).WithStdout(out)
	for _, v := range variables {
		if value := v.value(i); value != "" {
			shape = shape.WithEnv(v.name, value)
		}
	}
	module, err := i.f.runtime.InstantiateModule(i, i.f.module, shape)
	if module != nil {
		i.module = module
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err == nil && i.why() != nil {
		err = i.why()
	}
	resp := executor.Response{Payload: out.buf, Duration: i.f.clock.Now().Sub(began)}
	if err == nil && len(resp.Payload) == 0 {
		resp.Payload = []byte("null") // as a handler that returns nothing
	}
	return resp, err
}

// shape is what the instance is made with.
func (i *instance) shape() wazero.ModuleConfig {
	shape := i.f.shape.WithStderr(&i.log).WithNanosleep(i.sleep)
	for _, v := range i.f.env {
		shape = shape.WithEnv(v[0], v[1])
	}
	return shape
}

// start makes the instance of a plug-in and lets its language set itself up.
func (i *instance) start() error {
	module, err := i.f.runtime.InstantiateModule(i, i.f.module, i.shape().WithStdout(&i.log))
	if err != nil {
		return err
	}
	i.module = module
	i.entry = module.ExportedFunction(i.f.config.Function)
	for _, set := range []struct {
		name string
		args []uint64
	}{{"_initialize", nil}, {"hs_init", []uint64{0, 0}}} { // Haskell has its own besides WASI's
		if init := module.ExportedFunction(set.name); init != nil && len(init.Definition().ParamTypes()) == len(set.args) {
			if _, err := init.Call(i, set.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// call runs the exported function on a request.
func (i *instance) call(req *executor.Request) (executor.Response, error) {
	var resp executor.Response
	var cold time.Time
	if i.module == nil {
		cold = i.arm(maxInit)
		if err := i.start(); err != nil {
			resp.Init = i.f.clock.Now().Sub(cold)
			return resp, err
		}
	}
	began := i.arm(i.f.config.Timeout)
	if !cold.IsZero() {
		resp.Init = began.Sub(cold)
	}
	if !i.guest.begin(req.Payload) {
		return resp, fmt.Errorf("an event of %d bytes does not fit into %d bytes of memory", len(req.Payload), i.guest.limit)
	}
	i.result[0] = 0
	err := i.entry.CallWithStack(i, i.result[:])
	if err == nil {
		err = i.why() // it ended just as it was stopped: wazero has closed the module, or soon will
	}
	resp.Duration = i.f.clock.Now().Sub(began)
	if err != nil {
		return resp, err
	}
	output, message := i.guest.output()
	switch code := uint32(i.result[0]); {
	case message != "" || code != 0:
		if message == "" {
			message = fmt.Sprintf("the function returned %d", code)
			if fail := executor.ParseFailure(output); fail.Type != "" {
				resp.Payload, resp.Failure = bytes.Clone(output), fail
				return resp, nil
			}
		}
		if fail := executor.ParseFailure([]byte(message)); fail.Type != "" {
			resp.Payload, resp.Failure = []byte(message), fail
			return resp, nil
		}
		failed := executor.Failed("Error", message)
		resp.Payload, resp.Failure = failed.Payload, failed.Failure
	case len(output) > executor.MaxResponse:
		over := executor.ResponseTooLarge()
		resp.Payload, resp.Failure = over.Payload, over.Failure
	case len(output) == 0:
		resp.Payload = []byte("null")
	default:
		resp.Payload = bytes.Clone(output)
	}
	return resp, nil
}

// sleep is what the module waits with.
func (i *instance) sleep(ns int64) {
	_ = clock.Sleep(i, i.f.clock, time.Duration(ns)) // a stopped instance ends at its next check
}

// answer gathers stdout, and stops a command that writes more than an answer may have.
type answer struct {
	buf  []byte
	stop func(error)
}

func (a *answer) Write(p []byte) (int, error) {
	if len(a.buf)+len(p) > executor.MaxResponse {
		a.stop(errTooLarge)
		return 0, errTooLarge
	}
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// variables tell the code about its invocation: environment variables of a command, configuration of a
// plug-in.
var variables = [...]struct {
	name  string
	value func(*instance) string
}{
	{"AWS_REQUEST_ID", func(i *instance) string { return i.req.ID }},
	{"AWS_LAMBDA_INVOKED_FUNCTION_ARN", func(i *instance) string { return i.req.ARN }},
	{"AWS_LAMBDA_DEADLINE_MS", func(i *instance) string { return strconv.FormatInt(i.end.UnixMilli(), 10) }},
	{"AWS_LAMBDA_CLIENT_CONTEXT", func(i *instance) string { return i.req.ClientContext }},
	{"AWS_LAMBDA_TENANT_ID", func(i *instance) string { return i.req.TenantID }},
	{"_X_AMZN_TRACE_ID", func(i *instance) string { return i.req.TraceID }},
	{"TRACEPARENT", func(i *instance) string { return i.req.TraceParent }},
}

// Deadline implements context.Context. The time is kept by the hub's clock, and libraries have another.
func (i *instance) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements context.Context.
func (i *instance) Err() error {
	select {
	case <-i.done:
		return context.Canceled
	default:
		return nil
	}
}

type instanceKey struct{}

// Value implements context.Context.
func (i *instance) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return i
	}
	return nil
}
