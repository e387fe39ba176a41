// Package lambdafn runs a function that lives elsewhere: on AWS Lambda or on anything that has its Invoke
// API, another hub for one.
//
// Errors of the service decide what happens to an event: throttling, 5xx, a function that is being updated
// or is not ready, and everything short of an answer (no connection, no credentials) are tried again later,
// uncounted; a request that is too large, not permitted, or for a function that does not exist is given up.
package lambdafn

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/awsapi"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is a function of AWS Lambda.
type Config struct {
	// FunctionName is the name of the function, or its ARN, whole or from the account on.
	FunctionName string `yaml:"functionName"`

	// Qualifier is the version or alias to run; empty is $LATEST or what functionName ends in.
	Qualifier string `yaml:"qualifier"`

	// Timeout is how long the hub waits for an answer, from 1s to 15m. The function's own timeout is kept
	// where it runs; the default is the longest that it can be there.
	Timeout time.Duration `yaml:"timeout"`

	// AWS says where the function is and who invokes it.
	AWS awsapi.Config `yaml:"aws"`

	// Concurrency limits how many invocations run at once.
	Concurrency Concurrency `yaml:"concurrency"`
}

// Concurrency is a share of the account's concurrency.
type Concurrency struct {
	// Reserved is how many invocations the hub may have under way at once, set aside from its own account's
	// concurrency; 0 refuses all and -1 shares what is left with the other functions.
	Reserved int `yaml:"reserved"`
}

// Defaults is the configuration of a function that sets only its name.
func Defaults() Config {
	return Config{Timeout: executor.MaxTimeout, Concurrency: Concurrency{Reserved: executor.Unreserved}}
}

// Settings are those that every runtime has.
func (c *Config) Settings() executor.Settings {
	return executor.Settings{Timeout: c.Timeout, Reserved: c.Concurrency.Reserved}
}

// Validate checks what can be checked without the service.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	name, qualifier, ok := split(c.FunctionName)
	switch {
	case c.FunctionName == "":
		bad("functionName", "is missing; write the name or the ARN of the function to run")
	case !ok:
		bad("functionName", "%q is neither a function's name nor its ARN", c.FunctionName)
	case !word(name, 64):
		bad("functionName", "%q is not a name of at most 64 letters, digits, - and _", name)
	case qualifier != "" && !word(strings.ReplaceAll(qualifier, "$", ""), 128):
		bad("functionName", "%q is not a version or alias", qualifier)
	case qualifier != "" && c.Qualifier != "" && qualifier != c.Qualifier:
		bad("qualifier", "%q differs from the %q in functionName; remove one of them", c.Qualifier, qualifier)
	}
	if c.Qualifier != "" && !word(strings.ReplaceAll(c.Qualifier, "$", ""), 128) {
		bad("qualifier", "%q is not a version or alias", c.Qualifier)
	}
	if a, err := arn.Parse(c.FunctionName); err == nil && c.AWS.Region != "" && c.AWS.Region != a.Region {
		bad("aws.region", "%q is not the region of functionName; remove it", c.AWS.Region)
	}
	if c.Timeout < time.Second || c.Timeout > executor.MaxTimeout {
		bad("timeout", "%s is outside 1s to %s", c.Timeout, executor.MaxTimeout)
	}
	if c.Concurrency.Reserved < executor.Unreserved {
		bad("concurrency.reserved", "%d is not a number of invocations; -1 is no reservation", c.Concurrency.Reserved)
	}
	if err := c.AWS.Validate("aws"); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// split takes NAME[:QUALIFIER], ACCOUNT:function:NAME[:QUALIFIER] or a whole ARN apart.
func split(s string) (name, qualifier string, ok bool) {
	if a, err := arn.Parse(s); err == nil {
		if a.Service != "lambda" {
			return "", "", false
		}
		s, ok = strings.CutPrefix(a.Resource, "function:")
		if !ok {
			return "", "", false
		}
	} else if account, rest, found := strings.Cut(s, ":function:"); found {
		if _, err := strconv.ParseUint(account, 10, 64); err != nil || len(account) != 12 {
			return "", "", false
		}
		s = rest
	}
	name, qualifier, found := strings.Cut(s, ":")
	return name, qualifier, name != "" && (!found || qualifier != "")
}

func word(s string, most int) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// Spec is the kind "lambda".
func Spec() plugin.Spec[executor.Function] {
	return plugin.Define("lambda", "Invokes a function of AWS Lambda or of a service with its API.", Defaults(), Open)
}

type function struct {
	config Config
	name   string
	clock  clock.Clock
	aws    aws.Config
	client *lambda.Client
	gate   executor.Gate
}

// Open reads the AWS settings of the machine; it does not connect.
func Open(ctx context.Context, c Config, d plugin.Deps) (executor.Function, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if a, err := arn.Parse(c.FunctionName); err == nil {
		c.AWS.Region = a.Region
	}
	loaded, err := c.AWS.Load(ctx, d.Region)
	if err != nil {
		return nil, err
	}
	f := &function{config: c, name: d.Name, clock: d.Clock, aws: loaded}
	f.client = lambda.NewFromConfig(loaded, func(o *lambda.Options) { o.HTTPClient = bounded{o.HTTPClient} })
	return f, nil
}

// Close waits for the invocations under way.
func (f *function) Close(ctx context.Context) error {
	f.gate.Close(ctx)
	awsapi.Close(f.aws)
	return nil
}

func (f *function) Invoke(parent context.Context, req executor.Request) (executor.Response, error) {
	if len(req.Payload) > executor.MaxPayload {
		return executor.Response{}, f.fail(executor.TooLarge, fmt.Errorf("the payload has %d bytes; at most %d are allowed", len(req.Payload), executor.MaxPayload))
	}
	ctx, cancel := clock.WithTimeout(parent, f.clock, f.config.Timeout)
	defer cancel()
	id, ok := f.gate.Enter(cancel)
	if !ok {
		return executor.Response{}, f.fail(executor.Closed, errors.New("the function has been closed"))
	}
	defer f.gate.Leave(id)
	if parent.Err() != nil {
		return executor.Response{}, f.fail(executor.Canceled, context.Cause(parent))
	}

	start := f.clock.Now()
	var resp executor.Response
	var err error
	if req.Stream != nil {
		resp, err = f.stream(ctx, req)
	} else {
		resp, err = f.invoke(ctx, req)
	}
	switch {
	case err != nil && parent.Err() == nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		streamed := resp.Streamed
		resp = executor.TimedOut(req.ID, f.config.Timeout)
		resp.Streamed = streamed
	case err != nil && ctx.Err() != nil:
		return executor.Response{}, f.fail(executor.Canceled, context.Cause(ctx))
	case errors.Is(err, errTooLarge):
		resp = executor.ResponseTooLarge()
	case err != nil:
		return executor.Response{}, f.classify(err)
	}
	resp.Duration = f.clock.Now().Sub(start)
	return resp, nil
}

func (f *function) invoke(ctx context.Context, req executor.Request) (executor.Response, error) {
	in := &lambda.InvokeInput{
		FunctionName: aws.String(f.config.FunctionName),
		Payload:      req.Payload,
	}
	in.Qualifier, in.ClientContext, in.TenantId = f.optional(req)
	if req.LogTail {
		in.LogType = types.LogTypeTail
	}
	out, err := f.client.Invoke(ctx, in, headers(req))
	if err != nil {
		return executor.Response{}, err
	}
	if len(out.Payload) > executor.MaxResponse {
		return executor.Response{}, errTooLarge
	}
	resp := executor.Response{Payload: out.Payload, Version: aws.ToString(out.ExecutedVersion)}
	if req.LogTail {
		resp.Log = tail(out.LogResult)
	}
	if out.FunctionError != nil {
		resp.Failure = parseFailure(out.Payload, *out.FunctionError)
	}
	return resp, nil
}

// stream hands on the pieces of the answer. A failure before the first one leaves the client's stream
// untouched, so that it can be told the usual way.
func (f *function) stream(ctx context.Context, req executor.Request) (executor.Response, error) {
	in := &lambda.InvokeWithResponseStreamInput{
		FunctionName: aws.String(f.config.FunctionName),
		Payload:      req.Payload,
	}
	in.Qualifier, in.ClientContext, in.TenantId = f.optional(req)
	if req.LogTail {
		in.LogType = types.LogTypeTail
	}
	out, err := f.client.InvokeWithResponseStream(ctx, in, headers(req))
	if err != nil {
		return executor.Response{}, err
	}
	events := out.GetStream()
	defer events.Close() //nolint:errcheck // what it would tell has been seen in Err
	resp := executor.Response{Version: aws.ToString(out.ExecutedVersion)}
	var w io.Writer
	begin := func() {
		if !resp.Streamed {
			resp.Streamed = true
			w = req.Stream(contentType(out))
		}
	}
	size, gone := 0, false
	for e := range events.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			begin()
			if size += len(e.Value.Payload); size > executor.MaxStream {
				over := executor.ResponseTooLarge()
				resp.Payload, resp.Failure = over.Payload, over.Failure
				return resp, nil
			}
			if !gone {
				_, lost := w.Write(e.Value.Payload)
				gone = lost != nil // the function still runs to its end
			}
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			if req.LogTail {
				resp.Log = tail(e.Value.LogResult)
			}
			if code := aws.ToString(e.Value.ErrorCode); code != "" {
				details := aws.ToString(e.Value.ErrorDetails)
				resp.Payload = []byte(details)
				resp.Failure = parseFailure(resp.Payload, code)
				if resp.Failure.Message == "" {
					resp.Payload = executor.Failed(code, details).Payload
					resp.Failure.Message = details
				}
				return resp, nil
			}
			begin()
			return resp, nil
		}
	}
	err = events.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if resp.Streamed && ctx.Err() == nil {
		message := "The connection was lost in the middle of the response: " + err.Error()
		failed := executor.Failed(typeTruncated, message)
		resp.Payload, resp.Failure = failed.Payload, failed.Failure
		return resp, nil
	}
	return resp, fmt.Errorf("reading the stream: %w", err)
}

// contentType is what the function declared. By the API's model that is the Content-Type of the response;
// where this names the framing, the function's own is in another header.
func contentType(out *lambda.InvokeWithResponseStreamOutput) string {
	declared := aws.ToString(out.ResponseStreamContentType)
	if declared != typeEventStream {
		return declared
	}
	if raw, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); ok {
		return raw.Header.Get("X-Amzn-Remapped-Content-Type")
	}
	return ""
}

const typeEventStream = "application/vnd.amazon.eventstream"

const typeTruncated = "Runtime.TruncatedResponse"

func (f *function) optional(req executor.Request) (qualifier, clientContext, tenant *string) {
	if f.config.Qualifier != "" {
		qualifier = aws.String(f.config.Qualifier)
	}
	if req.ClientContext != "" {
		clientContext = aws.String(base64.StdEncoding.EncodeToString([]byte(req.ClientContext)))
	}
	if req.TenantID != "" {
		tenant = aws.String(req.TenantID)
	}
	return qualifier, clientContext, tenant
}

// headers hands on what the SDK has no parameter for.
func headers(req executor.Request) func(*lambda.Options) {
	return func(o *lambda.Options) {
		if req.TraceID != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amzn-Trace-Id", req.TraceID))
		}
		if req.TraceParent != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("Traceparent", req.TraceParent))
		}
		if uuid.Validate(req.ID) == nil {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amzn-RequestId", req.ID))
		}
	}
}

// classify makes an executor.Error of one of the SDK.
func (f *function) classify(err error) *executor.Error {
	var throttled *types.TooManyRequestsException
	if errors.As(err, &throttled) {
		e := f.fail(executor.Throttled, err)
		if e.Reason = string(throttled.Reason); e.Reason == "" {
			e.Reason = executor.ReasonRate
		}
		if n, bad := strconv.ParseUint(aws.ToString(throttled.RetryAfterSeconds), 10, 31); bad == nil {
			e.RetryAfter = time.Duration(n) * time.Second
		}
		return e
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "RequestTooLargeException", "SerializedRequestEntityTooLargeException":
			return f.fail(executor.TooLarge, err)
		case "ThrottlingException", "Throttling":
			e := f.fail(executor.Throttled, err)
			e.Reason = executor.ReasonRate
			return e
		case "ExpiredTokenException", "ExpiredToken", "RequestExpired", "SnapStartException", "EFSMountFailureException":
			return f.fail(executor.Unready, err) // a state that passes, whatever its status
		}
	}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		switch status := resp.HTTPStatusCode(); {
		case status == http.StatusTooManyRequests:
			e := f.fail(executor.Throttled, err)
			e.Reason = executor.ReasonRate
			return e
		case status == http.StatusRequestEntityTooLarge:
			return f.fail(executor.TooLarge, err)
		case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusGone:
			return f.fail(executor.Unready, err)
		case status/100 == 3, status/100 == 4:
			return f.fail(executor.Refused, err)
		}
	}
	return f.fail(executor.Unready, err)
}

func (f *function) fail(k executor.Kind, err error) *executor.Error {
	return &executor.Error{Kind: k, Function: f.name, Err: err}
}

// parseFailure reads an error document. One without a type, as older timeouts have it, gets the type of the
// header.
func parseFailure(body []byte, header string) *executor.Failure {
	failure := executor.ParseFailure(body)
	if failure.Type == "" {
		failure.Type = header
		if strings.Contains(failure.Message, "Task timed out after") {
			failure.Type = executor.TypeTimeout
		}
	}
	return failure
}

func tail(log *string) []byte {
	text, err := base64.StdEncoding.DecodeString(aws.ToString(log))
	if err != nil {
		return []byte{}
	}
	return text[max(0, len(text)-executor.LogTail):]
}

var errTooLarge = errors.New("the response is too large")

// bounded keeps an endpoint from filling the memory: the SDK reads whole bodies.
type bounded struct{ aws.HTTPClient }

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	resp, err := b.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	limit := executor.MaxResponse + 1
	if strings.HasSuffix(r.URL.Path, "/response-streaming-invocations") {
		limit = 2 * executor.MaxStream // frames add to what the function wrote
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: limit}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
