// Millrace runs functions for events: see millrace --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // what was asked for did not work
	exitUsage  = 2 // what was asked for makes no sense: the command line or the file
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // a second signal ends what does not heed the first
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if err.Error() != "" {
		fmt.Fprintln(errOut, err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitUsage // cobra's own: an unknown command or flag
}

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func failed(err error) error {
	var e *exitError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &exitError{exitFailed, err}
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "Runs functions for events from HTTP, queues, buckets, topics and schedules",
		Long: `Millrace takes events from HTTP clients, buckets, topics and schedules, turns each into exactly the JSON
document that an AWS Lambda function receives, and runs a function for it: at once, or through a durable
queue with retries and destinations. Functions are unmodified Lambda handlers, WebAssembly modules, HTTP
endpoints, or Lambda functions elsewhere.`,
		Example: `  millrace serve configs/quickstart.yaml     run a hub
  millrace stack                             serve local AWS services to test against
  millrace check                             check millrace.yaml
  millrace invoke hello --payload '{}'       run a function of the running hub
  millrace dlq ls                            list the events that were given up
  millrace why 4f1c…                         tell what became of an event`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serveCommand(), stackCommand(), checkCommand(), invokeCommand(), doctorCommand(), versionCommand(),
		queueCommand(), dlqCommand(), whyCommand())
	return root
}

// version is the module's version, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "devel", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return revision + dirty
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "millrace", version())
			return nil
		},
	}
}
