package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/millrace/millrace/executor"
)

// extismModule is where a plug-in imports Extism's functions from. Their names and meaning are those of
// https://extism.org/docs/concepts/pdk: the module and the host exchange blocks of bytes, which lie in memory
// of the host and are named by their offset there.
const extismModule = "extism:host/env"

// maxVars is how many bytes of variables an instance may keep.
const maxVars = 1 << 20

// block is a piece of a guest's memory, in use or free.
type block struct {
	off, len, cap int
	free          bool
}

// guest is the memory that an instance exchanges with the hub, and what its functions left there.
type guest struct {
	limit  int
	mem    []byte
	blocks []block              // by offset
	unused [bits.UintSize][]int // free blocks by the logarithm of their size: indexes into blocks
	vars   map[string][]byte    // stay from event to event
	in     block
	out    struct{ off, len int }
	err    int // offset of the error's block, 0 if there is none
	status int // of the last HTTP response
	header http.Header
}

// begin empties the memory and puts an event there.
func (g *guest) begin(payload []byte) bool {
	g.mem, g.blocks = g.mem[:0], g.blocks[:0]
	for n := range g.unused {
		g.unused[n] = g.unused[n][:0]
	}
	g.out.off, g.out.len, g.err, g.status, g.header = 0, 0, 0, 0, nil
	off, ok := g.put(payload)
	g.in = block{off: off, len: len(payload)}
	return ok
}

// output returns the answer, valid until the next begin, and the error if there is one.
func (g *guest) output() (answer []byte, message string) {
	if n, ok := g.find(uint64(g.err)); ok && g.err != 0 {
		b := g.blocks[n]
		return nil, string(g.mem[b.off : b.off+b.len])
	}
	return g.mem[g.out.off : g.out.off+g.out.len], ""
}

// alloc makes a block of n bytes. It returns 0 for none and false if the memory is full.
func (g *guest) alloc(n uint64) (off int, ok bool) {
	if n == 0 {
		return 0, true
	}
	if n > uint64(g.limit) {
		return 0, false
	}
	class := bits.Len64(max(n, 16) - 1)
	if free := g.unused[class]; len(free) > 0 {
		b := &g.blocks[free[len(free)-1]]
		g.unused[class] = free[:len(free)-1]
		b.len, b.free = int(n), false
		return b.off, true
	}
	size := 1 << class
	const base = 16 // no block is at 0
	begin := max(len(g.mem), base)
	if size > g.limit-begin {
		if size = int(n); size > g.limit-begin { // the last block need not be rounded up
			return 0, false
		}
	}
	if need := begin + size; need <= cap(g.mem) {
		g.mem = g.mem[:need]
	} else {
		g.mem = append(slices.Grow(g.mem, need-len(g.mem)), make([]byte, need-len(g.mem))...)
	}
	g.blocks = append(g.blocks, block{off: begin, len: int(n), cap: size})
	return begin, true
}

// find returns the index of the block at off, or false if there is none in use.
func (g *guest) find(off uint64) (int, bool) {
	n := sort.Search(len(g.blocks), func(n int) bool { return uint64(g.blocks[n].off) >= off })
	if n == len(g.blocks) || uint64(g.blocks[n].off) != off || g.blocks[n].free {
		return 0, false
	}
	return n, true
}

func (g *guest) free(off uint64) {
	if n, ok := g.find(off); ok && g.blocks[n].off != g.in.off {
		b := &g.blocks[n]
		b.free = true
		if class := bits.Len(uint(b.cap) - 1); b.cap == 1<<class {
			g.unused[class] = append(g.unused[class], n)
		}
	}
}

// put makes a block of b.
func (g *guest) put(b []byte) (off int, ok bool) {
	off, ok = g.alloc(uint64(len(b)))
	if ok && off > 0 {
		copy(g.mem[off:], b)
	}
	return off, ok
}

// at returns n bytes at any offset. It panics, and so makes the module trap, if they are not there.
func (g *guest) at(off, n uint64) []byte {
	if off > uint64(len(g.mem)) || n > uint64(len(g.mem))-off {
		panic(errOutside)
	}
	return g.mem[off : off+n]
}

// must returns the bytes of a block, or makes the module trap.
func (g *guest) must(off uint64) []byte {
	if off == 0 {
		return nil
	}
	n, ok := g.find(off)
	if !ok {
		panic(errOutside)
	}
	b := g.blocks[n]
	return g.mem[b.off : b.off+b.len]
}

// give makes a block of b, or makes the module trap.
func (g *guest) give(b []byte) uint64 {
	off, ok := g.put(b)
	if !ok {
		panic(errFull)
	}
	return uint64(off)
}

var (
	errOutside = errors.New("offset outside the memory shared with the hub")
	errFull    = errors.New("the memory shared with the hub is full")
	errVars    = fmt.Errorf("variables have more than %d bytes", maxVars)
)

// provideExtism makes the module extism:host/env, for all instances of a runtime.
func provideExtism(ctx context.Context, r wazero.Runtime) error {
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	b := r.NewHostModuleBuilder(extismModule)
	// s holds the parameters, and takes the result.
	define := func(name string, params, results []api.ValueType, do func(i *instance, g *guest, s []uint64)) {
		b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, s []uint64) {
			i, ok := ctx.(*instance)
			if !ok {
				i = ctx.Value(instanceKey{}).(*instance) // wazero may have wrapped it
			}
			do(i, &i.guest, s)
		}), params, results).Export(name)
	}
	none, one, two := []api.ValueType{}, []api.ValueType{i64}, []api.ValueType{i64, i64}

	define("alloc", one, one, func(_ *instance, g *guest, s []uint64) {
		off, ok := g.alloc(s[0])
		if !ok {
			panic(errFull)
		}
		s[0] = uint64(off)
	})
	define("free", one, none, func(_ *instance, g *guest, s []uint64) { g.free(s[0]) })
	length := func(_ *instance, g *guest, s []uint64) {
		n, ok := g.find(s[0])
		s[0] = 0
		if ok {
			s[0] = uint64(g.blocks[n].len)
		}
	}
	define("length", one, one, length)
	define("length_unsafe", one, one, length)
	define("load_u8", one, []api.ValueType{i32}, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.at(s[0], 1)[0]) })
	define("load_u64", one, one, func(_ *instance, g *guest, s []uint64) { s[0] = binary.LittleEndian.Uint64(g.at(s[0], 8)) })
	define("store_u8", []api.ValueType{i64, i32}, none, func(_ *instance, g *guest, s []uint64) { g.at(s[0], 1)[0] = byte(s[1]) })
	define("store_u64", two, none, func(_ *instance, g *guest, s []uint64) { binary.LittleEndian.PutUint64(g.at(s[0], 8), s[1]) })
	define("input_offset", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.in.off) })
	define("input_length", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.in.len) })
	define("input_load_u8", one, []api.ValueType{i32}, func(_ *instance, g *guest, s []uint64) {
		s[0] = uint64(g.at(s[0]+uint64(g.in.off), 1)[0])
	})
	define("input_load_u64", one, one, func(_ *instance, g *guest, s []uint64) {
		s[0] = binary.LittleEndian.Uint64(g.at(s[0]+uint64(g.in.off), 8))
	})
	define("input_set", two, none, func(_ *instance, g *guest, s []uint64) {
		g.at(s[0], s[1])
		g.in.off, g.in.len = int(s[0]), int(s[1])
	})
	define("output_set", two, none, func(_ *instance, g *guest, s []uint64) {
		g.at(s[0], s[1])
		g.out.off, g.out.len = int(s[0]), int(s[1])
	})
	define("output_offset", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.out.off) })
	define("output_length", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.out.len) })
	define("error_set", one, none, func(_ *instance, g *guest, s []uint64) {
		g.must(s[0])
		g.err = int(s[0])
	})
	define("error_get", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(g.err) })
	define("memory_bytes", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(len(g.mem)) })
	define("reset", none, none, func(_ *instance, g *guest, _ []uint64) { g.begin(nil) })

	define("config_get", one, one, func(i *instance, g *guest, s []uint64) {
		value, ok := i.configuration(string(g.must(s[0])))
		s[0] = 0
		if ok {
			s[0] = g.give([]byte(value))
		}
	})
	define("var_get", one, one, func(_ *instance, g *guest, s []uint64) {
		value, ok := g.vars[string(g.must(s[0]))]
		g.free(s[0])
		s[0] = 0
		if ok {
			s[0] = g.give(value)
		}
	})
	define("var_set", two, none, func(_ *instance, g *guest, s []uint64) {
		g.setVar(string(g.must(s[0])), s[1])
		g.free(s[0])
		g.free(s[1])
	})
	define("http_request", two, one, func(i *instance, g *guest, s []uint64) { s[0] = i.httpRequest(g, s[0], s[1]) })
	define("http_status_code", none, []api.ValueType{i32}, func(_ *instance, g *guest, s []uint64) { s[0] = uint64(uint32(g.status)) })
	define("http_headers", none, one, func(_ *instance, g *guest, s []uint64) { s[0] = g.giveHeaders() })

	define("get_log_level", none, []api.ValueType{i32}, func(_ *instance, _ *guest, s []uint64) { s[0] = 2 }) // of trace 0, debug, info, warn, error
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		silent := level == "trace" || level == "debug"
		label := strings.ToUpper(level)
		define("log_"+level, one, none, func(i *instance, g *guest, s []uint64) {
			if message := g.must(s[0]); !silent {
				i.log.line(label, string(message))
			}
			g.free(s[0])
		})
	}
	_, err := b.Instantiate(ctx)
	return err
}

// configuration is what config_get reads: what the hub says about the invocation, then the file.
func (i *instance) configuration(name string) (string, bool) {
	for _, v := range variables {
		if v.name == name && i.req != nil {
			return v.value(i), true
		}
	}
	value, ok := i.f.config.Config[name]
	return value, ok
}

func (g *guest) setVar(name string, off uint64) {
	if off == 0 {
		delete(g.vars, name)
		return
	}
	value := g.must(off)
	size := len(name) + len(value)
	for k, v := range g.vars {
		if k != name {
			size += len(k) + len(v)
		}
	}
	if size > maxVars {
		panic(errVars)
	}
	if g.vars == nil {
		g.vars = map[string][]byte{}
	}
	g.vars[name] = bytes.Clone(value)
}

func (g *guest) giveHeaders() uint64 {
	if g.header == nil {
		return 0
	}
	flat := make(map[string]string, len(g.header))
	for name, values := range g.header {
		flat[strings.ToLower(name)] = strings.Join(values, ",")
	}
	doc, err := json.Marshal(flat)
	if err != nil {
		panic(err)
	}
	return g.give(doc)
}

// httpRequest does what http_request of Extism does: off is a block with
// {"url":…,"method":…,"headers":{…}}, bodyOff one with the body or 0. What can not be done makes the module
// trap.
func (i *instance) httpRequest(g *guest, off, bodyOff uint64) uint64 {
	var want struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Header  map[string]string `json:"header"` // of older plug-ins
	}
	if err := json.Unmarshal(g.must(off), &want); err != nil {
		panic(fmt.Errorf("reading an HTTP request: %w", err))
	}
	body := bytes.Clone(g.must(bodyOff))
	g.free(off)
	g.free(bodyOff)
	g.status, g.header = 0, nil
	if want.Method == "" {
		want.Method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(i, strings.ToUpper(want.Method), want.URL, bytes.NewReader(body))
	if err != nil {
		panic(fmt.Errorf("making an HTTP request: %w", err))
	}
	for _, headers := range []map[string]string{want.Header, want.Headers} {
		for name, value := range headers {
			req.Header.Set(name, value)
		}
	}
	resp, err := i.f.client.do(req)
	if err != nil {
		panic(fmt.Errorf("sending an HTTP request: %w", err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, executor.MaxResponse+1))
	switch {
	case err != nil:
		panic(fmt.Errorf("reading an HTTP response: %w", err))
	case len(answer) > executor.MaxResponse:
		panic(fmt.Errorf("an HTTP response has more than %d bytes", executor.MaxResponse))
	}
	g.status, g.header = resp.StatusCode, resp.Header
	return g.give(answer)
}

// guestClient sends the requests of plug-ins, to the hosts that are allowed.
type guestClient struct {
	allowed []string
	http    *http.Client
}

func newGuestClient(allowed []string) *guestClient {
	c := &guestClient{allowed: allowed}
	c.http = &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 10 {
				return errors.New("stopped after 10 redirects")
			}
			return c.check(r)
		},
	}
	return c
}

func (c *guestClient) do(r *http.Request) (*http.Response, error) {
	if err := c.check(r); err != nil {
		return nil, err
	}
	return c.http.Do(r)
}

func (c *guestClient) close() { c.http.CloseIdleConnections() }

// check tells whether a request goes to a host that is allowed; redirects are checked as well.
func (c *guestClient) check(r *http.Request) error {
	host := strings.ToLower(r.URL.Hostname())
	for _, pattern := range c.allowed {
		pattern = strings.ToLower(pattern)
		name, port, err := net.SplitHostPort(pattern)
		if err != nil {
			name, port = pattern, ""
		}
		if port != "" && port != r.URL.Port() {
			continue
		}
		suffix, wild := strings.CutPrefix(name, "*")
		if wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix) || name == host {
			return nil
		}
	}
	return fmt.Errorf("host %s is not among allowedHosts", host)
}
