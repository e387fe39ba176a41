package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load sends one request over and over from several clients, each on a connection of its own. It is written
// by hand so that little of the two cores goes to the client.
type load struct {
	address string
	request []byte
	status  int // expected
}

func post(address, path string, body []byte, headers string) load {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", path, address, len(body), headers)
	b.Write(body)
	return load{address: address, request: b.Bytes(), status: 200}
}

// result is what one run of a load measured.
type result struct {
	rate  float64       // answers as expected, a second
	p50   time.Duration // of their latencies
	p99   time.Duration
	wrong int // answers with another status
}

func (l load) run(clients int, length time.Duration) (result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var wrong int
	var failed error
	var wg sync.WaitGroup
	began := time.Now()
	deadline := began.Add(length)
	for range clients {
		wg.Go(func() {
			lat, bad, err := l.client(deadline)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, lat...)
			wrong += bad
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if failed != nil {
		return result{}, failed
	}
	if len(all) == 0 {
		return result{}, fmt.Errorf("no answer with status %d, %d with others", l.status, wrong)
	}
	slices.Sort(all)
	return result{
		rate: float64(len(all)) / took.Seconds(), wrong: wrong,
		p50: all[len(all)/2], p99: all[len(all)*99/100],
	}, nil
}

// client sends at least one request, and more until the deadline.
func (l load) client(deadline time.Time) (lat []time.Duration, wrong int, err error) {
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	conn.SetDeadline(deadline.Add(20 * time.Second))
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		began := time.Now()
		if _, err := conn.Write(l.request); err != nil {
			return lat, wrong, err
		}
		status, err := readResponse(r)
		if err != nil {
			return lat, wrong, err
		}
		if status == l.status {
			lat = append(lat, time.Since(began))
		} else {
			wrong++
		}
		if !time.Now().Before(deadline) {
			return lat, wrong, nil
		}
	}
}

// readResponse reads one response with a Content-Length, or none for 204.
func readResponse(r *bufio.Reader) (status int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, fmt.Errorf("bad status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, err
	}
	length, chunked := 0, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if k, v, ok := bytes.Cut(line, []byte(":")); ok {
			switch {
			case bytes.EqualFold(k, []byte("Content-Length")):
				if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
					return 0, err
				}
			case bytes.EqualFold(k, []byte("Transfer-Encoding")):
				chunked = true
			}
		}
	}
	if !chunked {
		_, err = r.Discard(length)
		return status, err
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return 0, err
		}
		if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
			return 0, err
		}
		if n == 0 {
			return status, nil
		}
	}
}
