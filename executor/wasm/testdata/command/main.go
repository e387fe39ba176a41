// A WASI command that does what executortest describes.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	event, err := io.ReadAll(os.Stdin)
	var c struct {
		Do, Message string
		MS, Size    int
		Lines       []string
	}
	if err == nil {
		err = json.Unmarshal(event, &c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	switch c.Do {
	case "fail":
		doc, _ := json.Marshal(map[string]string{"errorType": "Error", "errorMessage": c.Message})
		os.Stdout.Write(doc)
		os.Exit(1)
	case "crash":
		os.Exit(1)
	case "panic":
		panic("out of cheese")
	case "hang":
		for {
		}
	case "sleep":
		time.Sleep(time.Duration(c.MS) * time.Millisecond)
		os.Stdout.Write(event)
	case "large":
		os.Stdout.WriteString(`"` + strings.Repeat("x", c.Size) + `"`)
	case "endless":
		for line := []byte(strings.Repeat("y", 4095) + "\n"); ; {
			os.Stdout.Write(line) // whatever it says
		}
	case "grow":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "silent":
	case "context":
		doc, _ := json.Marshal(map[string]string{
			"requestId":     os.Getenv("AWS_REQUEST_ID"),
			"arn":           os.Getenv("AWS_LAMBDA_INVOKED_FUNCTION_ARN"),
			"traceId":       os.Getenv("_X_AMZN_TRACE_ID"),
			"clientContext": os.Getenv("AWS_LAMBDA_CLIENT_CONTEXT"),
			"tenantId":      os.Getenv("AWS_LAMBDA_TENANT_ID"),
		})
		os.Stdout.Write(doc)
	case "environment":
		files, err := os.ReadDir("/")
		doc, _ := json.Marshal(map[string]any{"env": os.Environ(), "args": os.Args, "time": time.Now().UTC(), "files": len(files), "denied": err != nil})
		os.Stdout.Write(doc)
	case "log":
		for _, line := range c.Lines {
			fmt.Fprintln(os.Stderr, line)
		}
		os.Stdout.Write(event)
	default:
		os.Stdout.Write(event)
	}
}
