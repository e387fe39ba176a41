package process

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
)

const (
	grace    = 500 * time.Millisecond // between SIGTERM and SIGKILL; AWS gives as much
	linger   = 250 * time.Millisecond // for what a dead process had sent before
	watchGap = 250 * time.Millisecond // between two looks at the memory of those who work
	maxWait  = time.Minute            // between two starts of a provisioned environment that does not start
)

// Why an environment ends.
const (
	endStopped = "stopped" // the hub does not need it any more
	endExit    = "exit"    // by itself
	endTimeout = "timeout" // an invocation took too long
	endMemory  = "memory"  // it held more than it may
	endInit    = "init"    // it took too long to start
)

// environment is one process and its Runtime API.
type environment struct {
	f           *Function
	provisioned bool
	log         *journal
	api         net.Listener
	cmd         *exec.Cmd
	tmp         string
	traffic     sync.WaitGroup // of connections

	// Guarded by the mutex of the function.
	bound    *invocation // waits for this environment, which is started under its timeout
	pid      int         // while there is a process; also the id of its group
	conns    map[*conn]bool
	asks     int // connections that wait for an event
	settling int // see Function
	running  map[string]*invocation
	last     string // request answered last
	asked    bool   // for an event: the start-up is over
	ending   bool   // gets no more events
	reason   string // why it ends
	failure  *executor.Response
	timer    clock.Timer // of the start-up
	guard    time.Time   // until when it must ask again, after an answer
	term     clock.Timer // until SIGKILL
	began    time.Time
	init     time.Duration
	idle     time.Time // since when it asks, if it does
	peak     int64     // most memory seen, in bytes
	looked   time.Time // when
	over     int       // looks in a row that found too much
}

// start starts an environment; f.mu is held.
func (f *Function) start(e *environment) {
	e.f = f
	e.log = newJournal(f.out, f.clock, f.config.LogFormat == "json")
	e.conns = map[*conn]bool{}
	e.running = map[string]*invocation{}
	e.began = f.clock.Now()
	f.envs[e] = true
	f.starting++
	f.stats.environments.Inc()
	f.stats.colds.Inc()
	if e.bound != nil {
		e.bound.env = e
	}
	f.life.Go(func() {
		// The process dies with the thread that started it, see isolate.
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		err := e.launch()
		if err == nil {
			reap(e.cmd, e.sweep)
		}
		f.over(e, err)
	})
}

// launch starts the process.
func (e *environment) launch() error {
	f := e.f
	code, err := f.code.code(f.ctx)
	if err != nil {
		return err
	}
	if err := f.language.ready(f.ctx); err != nil {
		return err
	}
	if err := e.scratch(); err != nil {
		return err
	}
	// The listener is there before the process, so that its first request finds it, and is this environment's
	// own, so that it can get at no other's events.
	if e.api, err = new(net.ListenConfig).Listen(f.ctx, "tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listening for the Runtime API: %w", err)
	}
	stdout, err := e.log.open()
	if err != nil {
		e.api.Close()
		return fmt.Errorf("making a pipe for the log: %w", err)
	}
	line := f.language.command(code, int64(f.config.Memory))
	e.cmd = exec.CommandContext(context.WithoutCancel(f.ctx), line[0], line[1:]...)
	e.cmd.Dir = code
	e.cmd.Env = e.variables(code)
	e.cmd.Stdout, e.cmd.Stderr = stdout, stdout
	isolate(e.cmd) // a sandbox is another of these
	err = e.cmd.Start()
	stdout.Close()
	if err != nil {
		e.api.Close()
		if f.language.kind == provided {
			return &entrypoint{err}
		}
		return fmt.Errorf("starting %s: %w", line[0], err)
	}
	f.life.Go(e.log.follow)
	e.traffic.Go(e.accept)

	f.mu.Lock()
	e.pid = e.cmd.Process.Pid
	e.began = f.clock.Now()
	if e.ending {
		f.kill(e, e.reason)
	} else if e.bound == nil {
		limit := f.config.InitTimeout
		if e.provisioned {
			limit = max(limit, 130*time.Second, f.config.Timeout)
		}
		e.timer = f.clock.AfterFunc(limit, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !e.asked {
				f.kill(e, endInit)
			}
		})
	}
	f.mu.Unlock()
	return nil
}

// scratch gives the environment a /tmp: what an environment that was reset has left, or an empty one.
func (e *environment) scratch() error {
	f := e.f
	f.mu.Lock()
	if n := len(f.scratch); n > 0 {
		e.tmp = f.scratch[n-1]
		f.scratch = f.scratch[:n-1]
	}
	f.mu.Unlock()
	if e.tmp != "" {
		return nil
	}
	dir, err := os.MkdirTemp(f.dir, "tmp-")
	if err != nil {
		return fmt.Errorf("making a folder for temporary files: %w", err)
	}
	e.tmp = dir
	return nil
}

// variables are the environment variables of the process, as on AWS where that makes sense here.
func (e *environment) variables(code string) []string {
	f, id := e.f, uuid.New()
	vars := map[string]string{
		// A function may set these itself.
		"LANG":                     "en_US.UTF-8",
		"TZ":                       ":UTC",
		"PATH":                     "/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"LD_LIBRARY_PATH":          code + ":" + filepath.Join(code, "lib"),
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":  "127.0.0.1:2000",
	}
	if f.language.program != "" {
		vars["PATH"] = filepath.Dir(f.language.program) + ":" + vars["PATH"]
	}
	maps.Copy(vars, f.language.variables(code, filepath.Join(f.dir, "pycache")))
	maps.Copy(vars, f.config.Environment)
	maps.Copy(vars, map[string]string{
		"_HANDLER":                        cmp.Or(f.config.Handler, "bootstrap"),
		"AWS_REGION":                      f.region,
		"AWS_DEFAULT_REGION":              f.region,
		"AWS_LAMBDA_FUNCTION_NAME":        f.name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(int64(f.config.Memory)>>20, 10),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      f.clock.Now().UTC().Format("2006/01/02/") + "[$LATEST]" + hex.EncodeToString(id[:]),
		"AWS_LAMBDA_RUNTIME_API":          e.api.Addr().String(),
		"LAMBDA_TASK_ROOT":                code,
		"LAMBDA_RUNTIME_DIR":              f.language.dir,
		"_AWS_XRAY_DAEMON_ADDRESS":        "127.0.0.1",
		"_AWS_XRAY_DAEMON_PORT":           "2000",
		"TMPDIR":                          e.tmp,
	})
	if e.provisioned {
		vars["AWS_LAMBDA_INITIALIZATION_TYPE"] = "provisioned-concurrency"
	}
	if f.config.LogFormat == "json" {
		vars["AWS_LAMBDA_LOG_FORMAT"], vars["AWS_LAMBDA_LOG_LEVEL"] = "JSON", "INFO"
	}
	if n := f.config.MaxConcurrency; n > 1 {
		vars["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(n)
	}
	if c := f.config.Credentials; c.AccessKeyID != "" {
		vars["AWS_ACCESS_KEY_ID"] = c.AccessKeyID
		vars["AWS_SECRET_ACCESS_KEY"] = string(c.SecretAccessKey)
		if c.SessionToken != "" {
			vars["AWS_SESSION_TOKEN"] = string(c.SessionToken)
		}
	}
	list := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return list
}

// kill ends an environment at once; f.mu is held. The reason given first is the one that counts.
func (f *Function) kill(e *environment, reason string) {
	f.retire(e, reason)
	e.signal(syscall.SIGKILL)
}

// stop ends an idle environment and gives it time to tidy up; f.mu is held.
func (f *Function) stop(e *environment) {
	if e.term != nil {
		return
	}
	f.retire(e, endStopped)
	e.signal(syscall.SIGTERM)
	e.term = f.clock.AfterFunc(grace, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		e.signal(syscall.SIGKILL)
	})
}

// retire keeps events away from an environment; f.mu is held.
func (f *Function) retire(e *environment, reason string) {
	e.reason = cmp.Or(e.reason, reason)
	if e.ending {
		return
	}
	e.ending = true
	f.expect(e, -e.settling)
	for c := range e.conns {
		if c.asking {
			f.drop(c)
		}
	}
}

// expect changes how many asks are to come from an environment; f.mu is held.
func (f *Function) expect(e *environment, n int) {
	if e.ending && n > 0 {
		return
	}
	n = max(n, -e.settling)
	e.settling += n
	f.settling += n
}

// signal sends a signal to the process and to all that it has started in its group; f.mu is held.
func (e *environment) signal(s syscall.Signal) {
	if e.pid != 0 {
		_ = syscall.Kill(-e.pid, s) // it may be gone already
	}
}

// sweep ends what the process has left in its group. After it the process id may be another's.
func (e *environment) sweep() {
	e.f.mu.Lock()
	defer e.f.mu.Unlock()
	e.f.retire(e, endExit)
	e.signal(syscall.SIGKILL)
	e.pid = 0
}

// over cleans up after an environment, and tells those who waited for it. err says why there was no process.
func (f *Function) over(e *environment, err error) {
	if err == nil {
		// What the process had sent is still read: it may have answered just before its end.
		e.api.Close()
		t := f.clock.AfterFunc(linger, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			for c := range e.conns {
				c.Close()
			}
		})
		e.traffic.Wait()
		t.Stop()
	}
	f.mu.Lock()
	f.retire(e, endExit)
	under := slices.Collect(maps.Values(e.running))
	f.mu.Unlock()
	for _, inv := range under { // until their events have been sent, or not
		inv.payload.Lock()
		inv.payload.Unlock() //nolint:staticcheck // SA2001: the wait is all that is wanted
	}

	f.mu.Lock()
	for _, t := range []clock.Timer{e.timer, e.term} {
		if t != nil {
			t.Stop()
		}
	}
	delete(f.envs, e)
	f.stats.environments.Dec()
	f.stats.ends.WithLabelValues(e.reason).Inc()
	if !e.asked {
		f.starting--
	}
	var cut []*invocation
	for _, inv := range e.running {
		if !inv.claimed {
			inv.claimed = true
			cut = append(cut, inv)
		}
	}
	f.mu.Unlock()

	for _, inv := range cut {
		f.finish(e, inv, e.exit(inv.req.ID))
	}
	if !e.asked {
		f.unstarted(e, err)
	}
	e.log.close()

	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.tmp == "" || f.closing:
	case e.reason == endStopped:
		if err := os.RemoveAll(e.tmp); err != nil {
			f.log.Warn("removing temporary files", "error", err)
		}
	default:
		f.scratch = append(f.scratch, e.tmp)
	}
	if e.provisioned {
		f.replace(e)
	}
	f.grow()
}

// unstarted tells the invocation that has waited longest that its environment did not start.
func (f *Function) unstarted(e *environment, err error) {
	f.mu.Lock()
	if f.closing {
		if e.bound != nil {
			f.conclude(e.bound, outcome{err: f.fault(executor.Canceled, errLeft)})
		}
		f.mu.Unlock()
		return
	}
	inv := e.bound
	if inv == nil && e.reason != endStopped {
		inv = f.next(nil)
	}
	if err == nil && e.reason == endInit {
		e.log.note(fmt.Sprintf("INIT_REPORT Init Duration: %.2f ms\tPhase: init\tStatus: timeout", float64(f.clock.Now().Sub(e.began))/float64(time.Millisecond)))
		if inv != nil {
			f.time(inv)
			f.start(&environment{bound: inv})
		}
		f.mu.Unlock()
		return
	}
	if inv == nil {
		f.mu.Unlock()
		if err != nil {
			f.log.Warn("starting an environment", "error", err)
		} else if e.reason != endStopped {
			f.log.Warn("an environment ended before it asked for an event", "error", e.exit("").Failure.Message)
		}
		return
	}
	if inv.claimed { // timed out while it waited
		f.mu.Unlock()
		return
	}
	inv.claimed = true
	wrong := (*entrypoint)(nil)
	if err != nil && !errors.As(err, &wrong) {
		f.settle(inv, outcome{err: f.fault(executor.Unready, err)})
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	var res executor.Response
	switch {
	case wrong != nil:
		res = executor.Failed("Runtime.InvalidEntrypoint", "RequestId: "+inv.req.ID+" Error: "+wrong.Error())
	case e.failure != nil:
		res = *e.failure
	default:
		res = e.exit(inv.req.ID)
	}
	e.log.start(inv.req.ID, true)
	f.finish(e, inv, res)
}

// replace starts a provisioned environment anew; f.mu is held. One that does not start is tried again, less
// and less often.
func (f *Function) replace(e *environment) {
	if f.closing {
		return
	}
	if e.asked {
		if f.lacks() { // unless an invocation that came first has started it
			f.start(&environment{provisioned: true})
		}
		return
	}
	wait := min(time.Second<<min(f.failures, 10), maxWait)
	f.failures++
	f.life.Go(func() {
		if clock.Sleep(f.ctx, f.clock, wait) != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.closing && f.lacks() {
			f.start(&environment{provisioned: true})
		}
	})
}

// lacks says that there are fewer provisioned environments than there should be; f.mu is held.
func (f *Function) lacks() bool {
	n := 0
	for e := range f.envs {
		if e.provisioned {
			n++
		}
	}
	return n < f.config.Concurrency.Provisioned
}

// entrypoint is a bootstrap that the system does not run.
type entrypoint struct{ err error }

func (e *entrypoint) Error() string { return e.err.Error() }
func (e *entrypoint) Unwrap() error { return e.err }

// exit is the failure of an invocation whose process has ended.
func (e *environment) exit(id string) executor.Response {
	how := ""
	if s := e.cmd.ProcessState; s != nil && !s.Success() {
		how = strings.TrimSuffix(s.String(), " (core dumped)")
	}
	return executor.Exited(id, how)
}

// finish hands over a failure of the platform. The caller has claimed the invocation.
func (f *Function) finish(e *environment, inv *invocation, res executor.Response) {
	res = f.account(e, inv, res)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(inv, outcome{res: res})
}

// account ends the log of an invocation and fills in what is to be known of it besides the answer. The caller
// has claimed the invocation.
func (f *Function) account(e *environment, inv *invocation, res executor.Response) executor.Response {
	now := f.clock.Now()
	if !inv.began.IsZero() {
		res.Duration = now.Sub(inv.began)
	}
	res.Init = inv.init
	res.Version = "$LATEST"
	res.MaxMemory = f.look(e, now)
	res.Log = e.log.end(&inv.req, int64(f.config.Memory), &res)
	return res
}

// killIfIdle kills an environment that gets no more events, once nobody waits for an answer from it; f.mu is
// held. One that takes several invocations lets the others end.
func (e *environment) killIfIdle() {
	for _, inv := range e.running {
		if !inv.claimed {
			return
		}
	}
	e.signal(syscall.SIGKILL)
}

// look returns the most memory that an environment has held, as far as is known. It looks at the process only
// now and then, because that takes longer than many an invocation.
func (f *Function) look(e *environment, now time.Time) int64 {
	f.mu.Lock()
	pid, peak := e.pid, e.peak
	if pid == 0 || peak > 0 && now.Sub(e.looked) < watchGap {
		f.mu.Unlock()
		return peak
	}
	e.looked = now
	f.mu.Unlock()
	_, seen := resident(pid)
	f.mu.Lock()
	defer f.mu.Unlock()
	e.peak = max(e.peak, seen)
	return e.peak
}

// watch begins to look at the memory of the environments that work, until none does; f.mu is held.
func (f *Function) watch() {
	if f.watching {
		return
	}
	f.watching = true
	f.clock.AfterFunc(watchGap, f.patrol)
}

func (f *Function) patrol() {
	f.mu.Lock()
	pids := map[*environment]int{}
	for e := range f.envs {
		if len(e.running) > 0 && e.pid != 0 {
			pids[e] = e.pid
		}
	}
	f.watching = false
	if len(pids) > 0 && !f.closing {
		f.watch()
	}
	f.mu.Unlock()
	for e, pid := range pids {
		held, peak := resident(pid)
		f.mu.Lock()
		e.peak = max(e.peak, peak)
		e.looked = f.clock.Now()
		if held <= int64(f.config.Memory) {
			e.over = 0
		} else if e.over++; e.over > 1 && e.pid == pid {
			f.kill(e, endMemory)
		}
		f.mu.Unlock()
	}
}

// rest arranges that idle environments end after a while; f.mu is held.
func (f *Function) rest() {
	if f.reaper == nil && !f.closing {
		f.reaper = f.clock.AfterFunc(f.config.IdleTimeout, f.reap)
	}
}

// reap ends the environments that have been idle for long enough.
func (f *Function) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reaper = nil
	if f.closing {
		return
	}
	now, next := f.clock.Now(), time.Duration(-1)
	for e := range f.envs {
		if e.provisioned || e.ending || e.asks == 0 || len(e.running) > 0 {
			continue
		}
		if left := f.config.IdleTimeout - now.Sub(e.idle); left <= 0 {
			f.stop(e)
		} else if next < 0 || left < next {
			next = left
		}
	}
	if next >= 0 {
		f.reaper = f.clock.AfterFunc(next, f.reap)
	}
}

var errHeader = errors.New("has a line break or a zero byte")

// headerSafe checks what goes into a header as it is.
func headerSafe(req executor.Request) error {
	for _, h := range [...][2]string{
		{"request id", req.ID}, {"ARN", req.ARN}, {"trace id", req.TraceID}, {"traceparent", req.TraceParent}, {"tenant id", req.TenantID},
	} {
		if strings.ContainsAny(h[1], "\r\n\x00") {
			return fmt.Errorf("the %s %w", h[0], errHeader)
		}
	}
	if strings.ContainsAny(req.ID, "/ ?") {
		return fmt.Errorf("the request id %q can not stand in a path", req.ID)
	}
	return nil
}
