// An Extism plug-in that does what executortest describes, written against the convention itself.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoad8(off uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoad64(off uint64) uint64

//go:wasmimport extism:host/env output_set
func outputSet(off, length uint64)

//go:wasmimport extism:host/env error_set
func errorSet(off uint64)

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env free
func free(off uint64)

//go:wasmimport extism:host/env length
func length(off uint64) uint64

//go:wasmimport extism:host/env load_u8
func load8(off uint64) uint32

//go:wasmimport extism:host/env store_u8
func store8(off uint64, b uint32)

//go:wasmimport extism:host/env store_u64
func store64(off, w uint64)

//go:wasmimport extism:host/env config_get
func configGet(off uint64) uint64

//go:wasmimport extism:host/env var_get
func varGet(off uint64) uint64

//go:wasmimport extism:host/env var_set
func varSet(name, value uint64)

//go:wasmimport extism:host/env log_info
func logInfo(off uint64)

//go:wasmimport extism:host/env http_request
func httpRequest(request, body uint64) uint64

//go:wasmimport extism:host/env http_status_code
func httpStatus() int32

func input() []byte {
	b := make([]byte, inputLength())
	n := 0
	for ; n+8 <= len(b); n += 8 {
		binary.LittleEndian.PutUint64(b[n:], inputLoad64(uint64(n)))
	}
	for ; n < len(b); n++ {
		b[n] = byte(inputLoad8(uint64(n)))
	}
	return b
}

func put[T string | []byte](b T) uint64 {
	off := alloc(uint64(len(b)))
	n := 0
	for ; n+8 <= len(b); n += 8 {
		store64(off+uint64(n), binary.LittleEndian.Uint64([]byte(b[n:n+8])))
	}
	for ; n < len(b); n++ {
		store8(off+uint64(n), uint32(b[n]))
	}
	return off
}

func get(off uint64) string {
	b := make([]byte, length(off))
	for n := range b {
		b[n] = byte(load8(off + uint64(n)))
	}
	return string(b)
}

func answer[T string | []byte](b T) int32 {
	outputSet(put(b), uint64(len(b)))
	return 0
}

func config(name string) string { return get(configGet(put(name))) }

var count int

//go:wasmexport handle
func handle() int32 {
	event := input()
	var c struct {
		Do, Message, URL, Name string
		MS, Size               int
		Lines                  []string
	}
	if err := json.Unmarshal(event, &c); err != nil {
		errorSet(put(err.Error()))
		return 1
	}
	count++
	switch c.Do {
	case "fail":
		errorSet(put(c.Message))
		return 1
	case "code":
		return 7
	case "crash":
		os.Exit(1)
	case "panic":
		panic("out of cheese")
	case "hang":
		for {
		}
	case "sleep":
		time.Sleep(time.Duration(c.MS) * time.Millisecond)
	case "large":
		return answer(`"` + strings.Repeat("x", c.Size) + `"`)
	case "grow":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "alloc":
		for {
			alloc(1 << 20)
		}
	case "churn":
		for range 100_000 {
			free(alloc(100_000))
		}
	case "outside":
		store64(1<<40, 1)
	case "overlong":
		outputSet(16, 1<<40)
	case "silent":
		return 0
	case "count":
		return answer(fmt.Sprint(count))
	case "config":
		return answer(config(c.Name))
	case "var":
		old := get(varGet(put("n")))
		varSet(put("n"), put(old+"x"))
		return answer(fmt.Sprintf("%q", old))
	case "vars":
		for n := 0; ; n++ {
			varSet(put(fmt.Sprint(n)), put(strings.Repeat("v", 1000)))
		}
	case "http":
		request, _ := json.Marshal(map[string]any{"url": c.URL, "method": "POST", "headers": map[string]string{"X-Test": "1"}})
		body := get(httpRequest(put(request), put("ping")))
		return answer(fmt.Sprintf(`{"status":%d,"body":%q}`, httpStatus(), body))
	case "files":
		files, err := os.ReadDir("/")
		return answer(fmt.Sprintf(`{"files":%d,"denied":%v}`, len(files), err != nil))
	case "context":
		doc, _ := json.Marshal(map[string]string{
			"requestId":     config("AWS_REQUEST_ID"),
			"arn":           config("AWS_LAMBDA_INVOKED_FUNCTION_ARN"),
			"traceId":       config("_X_AMZN_TRACE_ID"),
			"clientContext": config("AWS_LAMBDA_CLIENT_CONTEXT"),
			"tenantId":      config("AWS_LAMBDA_TENANT_ID"),
		})
		return answer(doc)
	case "log":
		for _, line := range c.Lines {
			logInfo(put(line))
		}
	}
	return answer(event)
}

// echo answers the event without looking at it.
//
//go:wasmexport echo
func echo() int32 { return answer(input()) }

func main() {}
