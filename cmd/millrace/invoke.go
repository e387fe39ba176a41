package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/clock"
)

// defaultEndpoint is the aws address of a hub whose file sets none.
const defaultEndpoint = "http://127.0.0.1:4566"

type invocation struct {
	function string
	payload  string
	event    bool
	log      bool
	endpoint string
	local    string
}

func invokeCommand() *cobra.Command {
	var v invocation
	cmd := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Run a function once and print its answer",
		Long: `Invoke runs a function of the running hub and prints its answer, as ` + "`aws lambda invoke`" + ` does, or with --local FILE
starts just that function of FILE in this process, with no hub. It exits with 1 if the function failed or there is
no answer.

The payload is a JSON text, @FILE, or - for standard input. If the hub asks for signatures, $AWS_ACCESS_KEY_ID and
$AWS_SECRET_ACCESS_KEY sign the request.`,
		Example: `  millrace invoke hello --payload '{"name": "you"}'
  millrace invoke hello --payload @event.json --event
  millrace invoke hello --local configs/quickstart.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.function = args[0]
			payload, err := readPayload(v.payload, cmd.InOrStdin())
			if err != nil {
				return failed(err)
			}
			if v.local != "" {
				if v.event {
					return usage("invoke: --event needs a running hub, whose queue keeps the event; leave out --local")
				}
				return failed(invokeLocal(cmd, v, payload))
			}
			return failed(invokeHub(cmd, v, payload))
		},
	}
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	f := cmd.Flags()
	f.StringVarP(&v.payload, "payload", "p", "{}", "the JSON document, @FILE, or - for standard input")
	f.BoolVar(&v.event, "event", false, "queue it and do not wait (InvocationType Event)")
	f.BoolVar(&v.log, "log", false, "print the end of the function's log to standard error")
	f.StringVar(&v.endpoint, "endpoint", endpoint, "aws address of the hub ($AWS_ENDPOINT_URL)")
	f.StringVar(&v.local, "local", "", "run the function of this file here, without a hub")
	return cmd
}

func readPayload(arg string, in io.Reader) ([]byte, error) {
	switch {
	case arg == "-":
		return io.ReadAll(in)
	case strings.HasPrefix(arg, "@"):
		return os.ReadFile(arg[1:])
	default:
		return []byte(arg), nil
	}
}

func invokeHub(cmd *cobra.Command, v invocation, payload []byte) error {
	target := strings.TrimSuffix(v.endpoint, "/") + "/2015-03-31/functions/" + url.PathEscape(v.function) + "/invocations"
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, target, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if v.event {
		req.Header.Set("X-Amz-Invocation-Type", "Event")
	}
	if v.log {
		req.Header.Set("X-Amz-Log-Type", "Tail")
	}
	if err := sign(cmd.Context(), req, payload); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%w\nno hub answers there: is `millrace serve` running? --endpoint names its aws address, --local FILE needs no hub", err)
		}
		return fmt.Errorf("asking the hub: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if tail, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Amz-Log-Result")); err == nil {
		cmd.ErrOrStderr().Write(tail) //nolint:errcheck // only for eyes
	}
	switch {
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s (%s): %s", resp.Header.Get("X-Amzn-Errortype"), resp.Status, bytes.TrimSpace(body))
	case v.event:
		fmt.Fprintf(cmd.OutOrStdout(), "accepted as %s\n", resp.Header.Get("X-Amzn-Requestid"))
		return nil
	}
	return answer(cmd, body, resp.Header.Get("X-Amz-Function-Error"))
}

// answer prints what the function said. A function's failure has been said by then: the error is silent.
func answer(cmd *cobra.Command, body []byte, functionError string) error {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n", body)
	if functionError != "" {
		return fmt.Errorf("the function failed (%s)", functionError)
	}
	return nil
}

func sign(ctx context.Context, req *http.Request, payload []byte) error {
	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return nil
	}
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = "us-east-1"
	}
	sum := sha256.Sum256(payload)
	creds := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: os.Getenv("AWS_SESSION_TOKEN")}
	return v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "lambda", region, clock.System{}.Now())
}

func invokeLocal(cmd *cobra.Command, v invocation, payload []byte) error {
	resp, err := app.InvokeOnce(cmd.Context(), v.local, v.function, payload, v.log, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	functionError := ""
	if resp.Failure != nil {
		functionError = "Unhandled"
	}
	return answer(cmd, resp.Payload, functionError)
}
