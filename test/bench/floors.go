package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// floorProcess runs a floor in a process of its own, as the hub runs in its own, until its standard input ends.
// It prints the address that it serves.
func floorProcess(kind string, args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(l.Addr())
	switch kind {
	case "floor-echo":
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		}))
	case "floor-runtime":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return serveRuntime(l, args[0], n)
	}
	return fmt.Errorf("no floor %q", kind)
}

// child is a floor or hub that runs in a process of its own.
type child struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	address string
}

func startFloor(args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("starting %v: %w", args, err)
	}
	return &child{cmd: cmd, stdin: in, address: line[:len(line)-1]}, nil
}

func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Wait()
}

// groupLog is the least durable log: a goroutine writes whatever records have gathered with one write and one
// fdatasync, into a file that was filled with zeros beforehand.
type groupLog struct {
	file    *os.File
	at      int64
	size    int64
	mu      sync.Mutex
	pending *group
	wake    chan struct{}
}

type group struct {
	data []byte
	done chan struct{}
	err  error
}

func newGroupLog(path string, size int64) (*groupLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	zero := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zero)) {
		if _, err := f.WriteAt(zero, at); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	l := &groupLog{file: f, size: size, pending: &group{done: make(chan struct{})}, wake: make(chan struct{}, 1)}
	go l.writer()
	return l, nil
}

func (l *groupLog) close() {
	close(l.wake)
	l.file.Close()
}

// write returns once rec is durable.
func (l *groupLog) write(rec []byte) error {
	l.mu.Lock()
	g := l.pending
	g.data = append(g.data, rec...)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	<-g.done
	return g.err
}

func (l *groupLog) writer() {
	var spare []byte
	for range l.wake {
		l.mu.Lock()
		g := l.pending
		l.pending = &group{data: spare[:0], done: make(chan struct{})}
		l.mu.Unlock()
		if len(g.data) > 0 {
			if l.at+int64(len(g.data)) > l.size {
				l.at = 0
			}
			if _, g.err = l.file.WriteAt(g.data, l.at); g.err == nil {
				g.err = fdatasync(l.file)
			}
			l.at += int64(len(g.data))
		}
		spare = g.data
		close(g.done)
	}
}

// producers runs n callers of f for a while, and returns calls a second and the median of one call.
func producers(n int, length time.Duration, f func(producer int) error) (rate float64, p50 time.Duration, err error) {
	var mu sync.Mutex
	var lat []float64
	var wg sync.WaitGroup
	began := time.Now()
	deadline := began.Add(length)
	for p := range n {
		wg.Go(func() {
			var mine []float64
			for time.Now().Before(deadline) {
				at := time.Now()
				if e := f(p); e != nil {
					mu.Lock()
					err = e
					mu.Unlock()
					return
				}
				mine = append(mine, float64(time.Since(at)))
			}
			mu.Lock()
			lat = append(lat, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if err != nil || len(lat) == 0 {
		return 0, 0, err
	}
	return float64(len(lat)) / time.Since(began).Seconds(), time.Duration(median(lat)), nil
}

// serveRuntime is the least server between HTTP clients and processes that speak the Lambda Runtime API: both
// sides are parsed by hand, nothing is checked, logged or timed.
func serveRuntime(l net.Listener, function string, processes int) error {
	idle := make(chan *runtimeConn, processes)
	for range processes {
		api, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		cmd := exec.Command(function)
		cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+api.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=f")
		cmd.Stderr = os.Stderr
		setDeathSignal(cmd)
		if err := cmd.Start(); err != nil {
			return err
		}
		rc := &runtimeConn{}
		go rc.accept(api, idle)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			r := bufio.NewReaderSize(c, 16<<10)
			var out []byte
			for {
				body, _, err := readRequest(r)
				if err != nil {
					return
				}
				rc := <-idle
				answer, err := rc.invoke(body)
				if err != nil {
					return
				}
				out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
				out = strconv.AppendInt(out, int64(len(answer)), 10)
				out = append(append(out, "\r\n\r\n"...), answer...)
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}()
	}
}

// runtimeConn is one process. Its client may use one connection for everything or a second one for answers.
type runtimeConn struct {
	next    chan []byte // the event for whoever asks next
	answers chan []byte
}

func (rc *runtimeConn) accept(l net.Listener, idle chan<- *runtimeConn) {
	rc.next, rc.answers = make(chan []byte), make(chan []byte)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r := bufio.NewReaderSize(c, 16<<10)
			var out []byte
			for {
				body, line, err := readRequest(r)
				if err != nil {
					return
				}
				if bytes.HasPrefix(line, []byte("GET")) {
					idle <- rc
					event := <-rc.next
					out = append(out[:0], "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\nLambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:f\r\nContent-Type: application/json\r\nLambda-Runtime-Deadline-Ms: "...)
					out = strconv.AppendInt(out, time.Now().Add(30*time.Second).UnixMilli(), 10)
					out = append(out, "\r\nContent-Length: "...)
					out = strconv.AppendInt(out, int64(len(event)), 10)
					out = append(append(out, "\r\n\r\n"...), event...)
				} else {
					rc.answers <- body
					out = append(out[:0], "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n"...)
				}
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}()
	}
}

func (rc *runtimeConn) invoke(event []byte) ([]byte, error) {
	rc.next <- event
	return <-rc.answers, nil
}

func readRequest(r *bufio.Reader) (body, line []byte, err error) {
	first, err := r.ReadSlice('\n')
	if err != nil {
		return nil, nil, err
	}
	line = bytes.Clone(first)
	length, chunked := 0, false
	for {
		h, err := r.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		h = bytes.TrimRight(h, "\r\n")
		if len(h) == 0 {
			break
		}
		if k, v, ok := bytes.Cut(h, []byte(":")); ok {
			switch {
			case bytes.EqualFold(k, []byte("Content-Length")):
				if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
					return nil, nil, err
				}
			case bytes.EqualFold(k, []byte("Transfer-Encoding")):
				chunked = true
			}
		}
	}
	if !chunked {
		body = make([]byte, length)
		_, err = io.ReadFull(r, body)
		return body, line, err
	}
	for {
		h, err := r.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(h)), 16, 32)
		if err != nil {
			return nil, nil, err
		}
		at := len(body)
		body = append(body, make([]byte, n+2)...)
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, nil, err
		}
		body = body[:len(body)-2]
		if n == 0 {
			return body, line, nil
		}
	}
}
