// Package emulators starts other emulators of AWS for tests and benchmarks.
package emulators

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Target is a server that the cases can be run against.
type Target struct {
	Name, Version, Link string
	Services            []string
	Credentials         aws.Credentials
	// Workers is how many cases run at once, 0 the usual number.
	Workers int
	// command is the program that serves on a port of the loopback address. An error tells what is not installed.
	command func(root, dir string, port int) (*exec.Cmd, error)
}

// Everything is what the local stack serves.
var Everything = []string{"sqs", "sns", "kinesis", "dynamodb", "streams", "s3", "events", "scheduler"}

// Others are the emulators, as test/services/install.sh installs them.
var Others = []Target{
	{
		Name: "moto", Version: "5.2.1", Link: "https://github.com/getmoto/moto", Services: Everything,
		command: func(_, _ string, port int) (*exec.Cmd, error) {
			path, err := exec.LookPath("moto_server")
			return exec.Command(path, "-H", "127.0.0.1", "-p", fmt.Sprint(port)), err
		},
	},
	{
		Name: "fauxqs", Version: "2.4.1", Link: "https://www.npmjs.com/package/fauxqs", Services: []string{"sqs", "sns", "s3"},
		command: func(root, _ string, port int) (*exec.Cmd, error) {
			// It imports node:sqlite, which it needs only to keep its state on disk, and which Node.js has from 22.5 on.
			const hook = `export const resolve = (name, c, next) => name === "node:sqlite"
				? {url: "data:text/javascript,export class DatabaseSync {}", shortCircuit: true} : next(name, c)`
			without := "import {register} from 'node:module'; register('data:text/javascript," + url.PathEscape(hook) + "')"
			env := []string{"FAUXQS_HOST=127.0.0.1", "FAUXQS_LOGGER=false", fmt.Sprint("FAUXQS_PORT=", port), "NODE_OPTIONS=--import=data:text/javascript," + url.PathEscape(without)}
			return node(root, env, "fauxqs/dist/server.js")
		},
	},
	{
		Workers: 3, // it is slow
		Name:    "kinesis-mock", Version: "0.6.2", Link: "https://github.com/etspaceman/kinesis-mock", Services: []string{"kinesis"},
		command: func(root, _ string, port int) (*exec.Cmd, error) {
			env := []string{fmt.Sprint("KINESIS_MOCK_PLAIN_PORT=", port), fmt.Sprint("KINESIS_MOCK_TLS_PORT=", FreePort()),
				"KINESIS_MOCK_CERT_PATH=" + Modules(root, "kinesis-local/server.json"), "LOG_LEVEL=ERROR"}
			for _, what := range []string{"CREATE_STREAM", "DELETE_STREAM", "REGISTER_STREAM_CONSUMER", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT",
				"START_STREAM_ENCRYPTION", "STOP_STREAM_ENCRYPTION", "DEREGISTER_STREAM_CONSUMER", "UPDATE_STREAM_MODE"} {
				env = append(env, what+"_DURATION=50ms")
			}
			return node(root, env, "kinesis-local/main.js")
		},
	},
	{
		Name: "kinesalite", Version: "3.3.3", Link: "https://github.com/mhart/kinesalite", Services: []string{"kinesis"},
		command: func(root, _ string, port int) (*exec.Cmd, error) {
			return node(root, nil, "kinesalite/cli.js", "--port", fmt.Sprint(port), "--shardLimit", "1000", "--createStreamMs", "50", "--deleteStreamMs", "50", "--updateStreamMs", "50")
		},
	},
	{
		Name: "versitygw", Version: "1.8.0", Link: "https://github.com/versity/versitygw", Services: []string{"s3"},
		Credentials: aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secretsecret"},
		command: func(root, dir string, port int) (*exec.Cmd, error) {
			path, err := exec.LookPath("versitygw")
			if err != nil {
				path, err = exec.LookPath(filepath.Join(root, "bin/tools/versitygw"))
			}
			data, versions := filepath.Join(dir, "data"), filepath.Join(dir, "versions")
			err = errors.Join(err, os.MkdirAll(data, 0o700), os.MkdirAll(versions, 0o700))
			cmd := exec.Command(path, "--port", fmt.Sprint("127.0.0.1:", port), "posix", "--versioning-dir", versions, data)
			cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=key", "ROOT_SECRET_KEY=secretsecret")
			return cmd, err
		},
	},
}

// Modules is the path of something that npm has installed.
func Modules(root, path string) string {
	return filepath.Join(root, "bin/tools/npm/node_modules", path)
}

func node(root string, env []string, program string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath("node")
	program = Modules(root, program)
	if _, missing := os.Stat(program); missing != nil {
		err = errors.Join(err, missing)
	}
	cmd := exec.Command(path, append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	return cmd, err
}

// ErrMissing is returned by Start if the target is not installed.
var ErrMissing = errors.New("is not installed: run `make services`")

// Start runs a target until stop is called. root is the checkout, and dir a folder that is the target's own.
func (t Target) Start(ctx context.Context, root, dir string) (endpoint string, stop func(), err error) {
	port := FreePort()
	cmd, err := t.command(root, dir, port)
	if err != nil {
		return "", nil, fmt.Errorf("%s %w (%w)", t.Name, ErrMissing, err)
	}
	return Run(ctx, t.Name, cmd, port)
}

// Run starts a server, and returns once it answers on the port.
func Run(ctx context.Context, name string, cmd *exec.Cmd, port int) (endpoint string, stop func(), err error) {
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("starting %s: %w", name, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stop = func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
	endpoint = fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); ; {
		if request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/", nil); err != nil {
			return "", nil, err
		} else if r, err := http.DefaultClient.Do(request); err == nil {
			r.Body.Close()
			return endpoint, stop, nil
		}
		select {
		case err := <-done:
			return "", nil, fmt.Errorf("%s ended: %w\n%s", name, err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("%s does not answer on port %d:\n%s", name, port, log.String())
		}
	}
}

// FreePort is a port that nobody listens on just now.
func FreePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without a loopback address runs no test
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
