package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/stack"
)

func stackCommand() *cobra.Command {
	var o stack.Options
	listen, policies, level, insecure := "127.0.0.1:4566", string(stack.Warn), "info", false
	var keys []string
	cmd := &cobra.Command{
		Use:   "stack",
		Short: "Serve local AWS services to test against",
		Long: `Stack serves queues (SQS), topics (SNS), streams (Kinesis), tables with streams (DynamoDB), buckets (S3), event
buses (EventBridge), schedules (EventBridge Scheduler) and log groups (CloudWatch Logs) on one address, for AWS clients
that have it as AWS_ENDPOINT_URL. The state is in memory, or in the folder that --dir names.

A file with "stack: {}" serves the same beside its functions, which topics, buckets and rules can then run.

The stack's own interface is under /_millrace/: health, clock, faults, reset.`,
		Example: `  millrace stack &
  export AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
  aws sqs create-queue --queue-name orders
  curl -X POST -d '{"advance": "1h"}' http://127.0.0.1:4566/_millrace/clock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Policies = stack.Policies(policies)
			o.Keys = map[string]string{}
			for _, k := range keys {
				id, secret, ok := strings.Cut(k, "=")
				if !ok || id == "" || secret == "" {
					return usage("--key %s: want ID=SECRET", id)
				}
				o.Keys[id] = secret
			}
			if err := reachable(listen, len(o.Keys) > 0, insecure); err != nil {
				return err
			}
			out := newOutput(cmd.ErrOrStderr())
			defer out.close()
			o.Log = logger(out, config.Log{Level: level, Format: "text"})
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(300) // what a stack holds is small, and what it throws away is much
			}
			s, err := stack.New(o)
			if err != nil {
				return failed(err)
			}
			return failed(errors.Join(serveStack(cmd.Context(), s, listen, func(url string) {
				fmt.Fprintf(out, "\nmillrace's local stack is ready.\n  AWS_ENDPOINT_URL=%s\n\n", url)
			}), s.Close()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", listen, "address to serve; port 0 takes any free port")
	f.StringVar(&o.Dir, "dir", "", "folder that keeps the state; without it the state is in memory")
	f.StringVar(&o.Region, "region", "us-east-1", "region of requests without one")
	f.StringVar(&o.Account, "account", "000000000000", "account of requests without one")
	f.StringArrayVar(&keys, "key", nil, "access key as ID=SECRET; with one, every request must be signed (repeatable)")
	f.StringVar(&policies, "policies", policies, "what policies of queues and topics do: warn, enforce or ignore")
	f.BoolVar(&o.StreamLimits, "stream-limits", false, "throttle Kinesis shards as AWS does")
	f.StringVar(&level, "log", level, "least severe level of the log: debug, info, warn or error")
	f.BoolVar(&insecure, "insecure", false, "serve other machines, though the stack has no TLS")
	return cmd
}

// reachable refuses an address that other machines reach, unless that is meant.
func reachable(address string, keys, insecure bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usage("--listen %s: want a host and a port, such as 127.0.0.1:4566", address)
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && ip.IsLoopback() || keys && insecure {
		return nil
	}
	return usage("--listen %s: other machines reach this address; give a --key and say --insecure, since the stack has no TLS, or listen on 127.0.0.1", address)
}

func serveStack(ctx context.Context, s *stack.Stack, address string, ready func(url string)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening: %w; another stack or hub may be running, or take another --listen", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, Protocols: stack.Protocols()}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	ready("http://" + l.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
