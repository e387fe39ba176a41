// Command golang obeys the commands of package executortest, by way of github.com/aws/aws-lambda-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type command struct {
	Do, Message   string
	Ms, Size      int
	Lines, Chunks []string
}

// text is an answer in pieces.
type text struct{ pieces io.Reader }

func (t text) Read(p []byte) (int, error) { return t.pieces.Read(p) }
func (text) ContentType() string          { return "text/plain" }

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	var c command
	if err := json.Unmarshal(event, &c); err != nil {
		return nil, err
	}
	switch c.Do {
	case "fail":
		return nil, errors.New(c.Message)
	case "panic":
		panic(c.Message)
	case "crash":
		os.Exit(1)
	case "exit":
		os.Exit(0)
	case "hang":
		select {}
	case "sleep":
		<-time.After(time.Duration(c.Ms) * time.Millisecond)
	case "large":
		return strings.Repeat("x", c.Size), nil
	case "eat":
		held := make([]byte, c.Size)
		for i := range held {
			held[i] = 1
		}
		<-time.After(time.Duration(c.Ms) * time.Millisecond)
		return len(held), nil
	case "flood":
		line := strings.Repeat("z", 999) + "\n"
		for range c.Size / 1000 {
			os.Stdout.WriteString(line)
		}
	case "spawn":
		cmd := exec.Command("sleep", "1000")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		return cmd.Process.Pid, nil
	case "pid":
		return os.Getpid(), nil
	case "env":
		return os.Environ(), nil
	case "scratch": // adds a file to the folder of temporary ones, and lists them
		f, err := os.CreateTemp("", "mark-")
		if err != nil {
			return nil, err
		}
		f.Close()
		entries, err := os.ReadDir(os.TempDir())
		return len(entries), err
	case "late": // exits after its answer
		time.AfterFunc(time.Duration(c.Ms)*time.Millisecond, func() { os.Exit(3) })
		return os.Getpid(), nil
	case "deadline":
		d, _ := ctx.Deadline()
		return time.Until(d).Milliseconds(), nil
	case "log":
		for _, line := range c.Lines {
			fmt.Println(line)
		}
	case "stream":
		r, w := io.Pipe()
		go func() {
			for _, chunk := range c.Chunks {
				io.WriteString(w, chunk)
			}
			if c.Message != "" {
				w.CloseWithError(errors.New(c.Message))
			}
			w.Close()
		}()
		return text{r}, nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		client, err := json.Marshal(map[string]any{"custom": lc.ClientContext.Custom})
		if err != nil {
			return nil, err
		}
		return map[string]string{
			"requestId": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "traceId": os.Getenv("_X_AMZN_TRACE_ID"),
			"clientContext": string(client), "tenantId": lc.TenantID,
		}, nil
	}
	return event, nil
}

func main() { lambda.Start(handle) }
