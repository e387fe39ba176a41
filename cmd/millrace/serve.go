package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
)

const defaultFile = "millrace.yaml"

func fileArg(args []string) string {
	if len(args) == 0 {
		return defaultFile
	}
	return args[0]
}

func serveCommand() *cobra.Command {
	watch := true
	cmd := &cobra.Command{
		Use:   "serve [FILE]",
		Short: "Run a hub",
		Long: `Serve runs a hub on FILE, by default millrace.yaml, until it gets SIGTERM or SIGINT. Then it takes nothing new
and lets what it has taken end, for at most shutdown.timeout; a second signal ends it at once. Events that were
accepted and not finished are run after the next start.

SIGHUP, and a change of the file, makes it apply the difference; what did not change keeps running.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return serve(cmd.Context(), cmd.ErrOrStderr(), fileArg(args), watch)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", watch, "reload when the file changes")
	return cmd
}

func serve(ctx context.Context, stderr io.Writer, file string, watch bool) error {
	out := newOutput(stderr)
	defer out.close()
	c, err := app.Load(file)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	hard, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	reload := make(chan struct{}, 1)
	go func() {
		stops := 0
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP {
					select {
					case reload <- struct{}{}:
					default:
					}
					continue
				}
				if stops++; stops == 2 {
					cancel()
				}
			case <-hard.Done():
				return
			}
		}
	}()
	return failed(app.Serve(ctx, hard, c, app.Options{
		File: file, Version: version(), Log: logger(out, c.Log), Output: out, Clock: clock.System{},
		Reload: reload, Watch: watch,
		Ready: func(s app.Serving) { fmt.Fprint(out, welcome(s)) },
	}))
}

// welcome tells a person what to try.
func welcome(s app.Serving) string {
	var b strings.Builder
	b.WriteString("\nmillrace is ready.\n")
	for _, line := range [][2]string{{"gateway", s.Gateway}, {"aws", s.AWS}, {"admin", s.Admin}} {
		if line[1] != "" {
			fmt.Fprintf(&b, "  %-8s %s\n", line[0], line[1])
		}
	}
	var try []string
	for _, t := range s.Status.Triggers {
		if t.Example != "" && len(try) < 5 {
			try = append(try, t.Example)
		}
	}
	if s.AWS != "" && len(s.Status.Functions) > 0 {
		invoke := fmt.Sprintf("%s invoke %s --payload '{}'", program(), s.Status.Functions[0].Name)
		if s.AWS != defaultEndpoint {
			invoke += " --endpoint " + s.AWS
		}
		try = append(try, invoke)
	}
	if len(try) > 0 {
		b.WriteString("\nTry:\n")
		for _, t := range try {
			b.WriteString("  " + t + "\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}

// program is how to call this program again: who ran it by go run has no millrace on PATH.
func program() string {
	if path, err := os.Executable(); err == nil && strings.Contains(path, "go-build") {
		return "go run ./cmd/millrace"
	}
	return "millrace"
}

func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic(err) // config lets only levels through
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a file without running it",
		Long: `Check reads FILE, by default millrace.yaml, exactly as serve does, and opens everything that it names up to the
first connection. It prints every problem at once, as file:line:col, and exits with 2 if there is one. It may run
beside a hub that uses the same file.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := app.Check(cmd.Context(), fileArg(args))
			if err != nil {
				return &exitError{exitUsage, err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d functions, %d triggers, %d destinations\n",
				fileArg(args), len(c.Functions), len(c.Triggers), len(c.Destinations))
			return nil
		},
	}
	return cmd
}
