package lambdaapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/test/services"
)

const (
	accessKey = "AKIDEXAMPLE"
	secret    = "a-secret-of-the-test"
)

func serve(t testing.TB, h *hub) string {
	t.Helper()
	server := httptest.NewServer(h.handler(t))
	t.Cleanup(server.Close)
	return server.URL
}

// client is the SDK's client of a hub that knows its key.
func client(t testing.TB, h *hub) *lambda.Client {
	t.Helper()
	h.keys = map[string]string{accessKey: secret}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return lambda.New(lambda.Options{
		BaseEndpoint: aws.String(serve(t, h)), Region: region, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secret, ""), RetryMaxAttempts: 1,
	})
}

func TestSDKInvokes(t *testing.T) {
	t.Parallel()
	h := newHub()
	c := client(t, h)
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String(arn("echo") + ":$LATEST"), Payload: []byte(`{"a":1}`), LogType: types.LogTypeTail,
		ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.StatusCode != 200 || string(out.Payload) != `{"a":1}` || aws.ToString(out.ExecutedVersion) != "$LATEST" || out.FunctionError != nil || aws.ToString(out.LogResult) == "" {
		t.Errorf("%+v", out)
	}
	if req := h.last(t); req.ARN != arn("echo")+":$LATEST" || req.ClientContext != `{"custom":{}}` {
		t.Errorf("%+v", req)
	}
	if out, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("broken")}); err != nil || aws.ToString(out.FunctionError) != "Unhandled" {
		t.Errorf("a function error: %+v, %v", out, err)
	}
	if out, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo"), InvocationType: types.InvocationTypeEvent}); err != nil || out.StatusCode != 202 || out.ExecutedVersion != nil {
		t.Errorf("an event: %+v, %v", out, err)
	}
	if out, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo"), InvocationType: types.InvocationTypeDryRun, Qualifier: aws.String("$LATEST")}); err != nil || out.StatusCode != 204 {
		t.Errorf("a dry run: %+v, %v", out, err)
	}
	//nolint:staticcheck // deprecated, and still called
	if out, err := c.InvokeAsync(t.Context(), &lambda.InvokeAsyncInput{FunctionName: aws.String("echo"), InvokeArgs: strings.NewReader("{}")}); err != nil || out.Status != 202 {
		t.Errorf("InvokeAsync: %+v, %v", out, err)
	}
}

func TestSDKReadsTheErrors(t *testing.T) {
	t.Parallel()
	h := newHub()
	h.functions["busy"] = invoke(func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{}, &executor.Error{Kind: executor.Throttled, Reason: executor.ReasonReserved, RetryAfter: time.Second, Err: errors.New("Rate Exceeded.")}
	})
	c := client(t, h)
	call := func(name, payload string) error {
		_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String(name), Payload: []byte(payload)})
		return err
	}
	var missing *types.ResourceNotFoundException
	if err := call("none", ""); !errors.As(err, &missing) || missing.ErrorMessage() != "Function not found: "+arn("none") || aws.ToString(missing.Type) != "User" {
		t.Errorf("%v", err)
	}
	var busy *types.TooManyRequestsException
	if err := call("busy", ""); !errors.As(err, &busy) || busy.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded || aws.ToString(busy.RetryAfterSeconds) != "1" {
		t.Errorf("%v", err)
	}
	var content *types.InvalidRequestContentException
	if err := call("echo", "{"); !errors.As(err, &content) || !strings.HasPrefix(content.ErrorMessage(), "Could not parse request body into json: Could not parse payload into json:") {
		t.Errorf("%v", err)
	}
	var large *types.RequestTooLargeException
	if err := call("echo", `"`+strings.Repeat("x", 7<<20)+`"`); !errors.As(err, &large) {
		t.Errorf("a caller of 7 MB does not get to see the answer: %v", err)
	}
	_, err := c.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: aws.String("f"), Role: aws.String("arn:aws:iam::123456789012:role/r"), Code: &types.FunctionCode{}})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "UnknownOperationException" || !strings.Contains(api.ErrorMessage(), "millrace does not serve POST /2015-03-31/functions") {
		t.Errorf("%v", err)
	}
}

func TestSDKWithAWrongKeyIsRefused(t *testing.T) {
	t.Parallel()
	h := newHub()
	c := client(t, h)
	h.keys[accessKey] = "another secret"
	for name, call := range map[string]func() error{
		"Invoke": func() error {
			_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
			return err
		},
		"ListFunctions": func() error { _, err := c.ListFunctions(t.Context(), &lambda.ListFunctionsInput{}); return err },
	} {
		var api smithy.APIError
		if err := call(); !errors.As(err, &api) || api.ErrorCode() != "InvalidSignatureException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w := do(t, h.handler(t), "POST", invocations, "{}"); w.Code != 403 || raw(w, "x-amzn-ErrorType") != "MissingAuthenticationTokenException" {
		t.Errorf("without a signature: %d %s", w.Code, w.Body)
	}
	if h.invocations() != 0 {
		t.Error("the function was invoked")
	}
}

func TestSDKReadsWhatTheFileDefines(t *testing.T) {
	t.Parallel()
	c := client(t, newHub())
	var names []string
	pages := lambda.NewListFunctionsPaginator(c, &lambda.ListFunctionsInput{MaxItems: aws.Int32(2)})
	count := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count++
		for _, f := range page.Functions {
			names = append(names, aws.ToString(f.FunctionName))
		}
	}
	if !slices.Equal(names, []string{"broken", "echo", "reserved"}) || count != 2 {
		t.Errorf("%d pages of %v", count, names)
	}
	f, err := c.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("reserved")})
	if err != nil {
		t.Fatal(err)
	}
	got := f.Configuration
	if aws.ToString(got.FunctionArn) != arn("reserved") || got.Runtime != "python3" || aws.ToString(got.Handler) != "app.handler" || aws.ToInt32(got.Timeout) != 3 ||
		aws.ToInt32(got.MemorySize) != 256 || got.State != types.StateActive || got.LastUpdateStatus != types.LastUpdateStatusSuccessful ||
		aws.ToString(got.Description) != "does reserved" || aws.ToString(got.LastModified) != "2026-01-02T03:04:05.000+0000" || got.CodeSize != 1000 ||
		aws.ToInt32(f.Concurrency.ReservedConcurrentExecutions) != 7 {
		t.Errorf("%+v %+v", got, f.Concurrency)
	}
	if err := lambda.NewFunctionActiveV2Waiter(c).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("echo")}, time.Second); err != nil {
		t.Error(err)
	}
	configuration, err := c.GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("echo"), Qualifier: aws.String("$LATEST")})
	if err != nil || aws.ToString(configuration.FunctionArn) != arn("echo")+":$LATEST" {
		t.Errorf("%+v, %v", configuration, err)
	}
	if c, err := c.GetFunctionConcurrency(t.Context(), &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String("echo")}); err != nil || c.ReservedConcurrentExecutions != nil {
		t.Errorf("%+v, %v", c, err)
	}
	settings, err := c.GetAccountSettings(t.Context(), &lambda.GetAccountSettingsInput{})
	if err != nil || settings.AccountLimit.ConcurrentExecutions != 1000 || aws.ToInt32(settings.AccountLimit.UnreservedConcurrentExecutions) != 993 || settings.AccountUsage.FunctionCount != 3 {
		t.Errorf("%+v, %v", settings, err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := c.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String("none")}); !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
}

// await waits for what must happen, and not for ever.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case <-c:
	case <-ctx.Done():
		t.Errorf("waiting for %s: it does not happen", what)
	}
}

// streamed gathers what an event stream holds.
func streamed(t *testing.T, c *lambda.Client, in *lambda.InvokeWithResponseStreamInput) (chunks []string, complete types.InvokeWithResponseStreamCompleteEvent) {
	t.Helper()
	out, err := c.InvokeWithResponseStream(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	stream := out.GetStream()
	defer stream.Close()
	ended := false
	for e := range stream.Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			chunks = append(chunks, string(e.Value.Payload))
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			complete, ended = e.Value, true
		}
	}
	if err := stream.Err(); err != nil || !ended || out.StatusCode != 200 || aws.ToString(out.ExecutedVersion) != "$LATEST" {
		t.Errorf("stream %+v: %v, complete %v", out, err, ended)
	}
	return chunks, complete
}

func TestSDKReadsStreams(t *testing.T) {
	t.Parallel()
	h := newHub()
	begun, read := make(chan struct{}), make(chan struct{})
	h.functions["pieces"] = invoke(func(_ context.Context, req executor.Request) (executor.Response, error) {
		out := req.Stream("text/plain")
		await(t, "the status line to arrive", begun)
		io.WriteString(out, "one")
		await(t, "the first piece to arrive", read)
		io.WriteString(out, "two")
		return executor.Response{Streamed: true, Log: []byte("log")}, nil
	})
	h.functions["half"] = invoke(func(_ context.Context, req executor.Request) (executor.Response, error) {
		io.WriteString(req.Stream(""), "half")
		return executor.Response{Streamed: true, Failure: &executor.Failure{Type: "Error", Message: `sa"id`}}, nil
	})
	h.functions["cut"] = invoke(func(_ context.Context, req executor.Request) (executor.Response, error) {
		io.WriteString(req.Stream(""), "cut")
		return executor.Response{}, &executor.Error{Kind: executor.Internal, Err: errors.New("the disk is gone")}
	})
	h.functions["large"] = invoke(func(context.Context, executor.Request) (executor.Response, error) {
		return executor.Response{Payload: bytes.Repeat([]byte("x"), 600<<10)}, nil
	})
	c := client(t, h)
	name := func(s string) *lambda.InvokeWithResponseStreamInput {
		return &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String(s), Payload: []byte("{}")}
	}

	// The status line arrives before there is a piece, and the first piece before the second.
	out, err := c.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: aws.String("pieces"), LogType: types.LogTypeTail})
	if err != nil {
		t.Fatal(err)
	}
	close(begun)
	var got []string
	for e := range out.GetStream().Events() {
		switch e := e.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			if got = append(got, string(e.Value.Payload)); len(got) == 1 {
				close(read)
			}
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			if e.Value.ErrorCode != nil || aws.ToString(e.Value.LogResult) != base64.StdEncoding.EncodeToString([]byte("log")) {
				t.Errorf("complete %+v", e.Value)
			}
		}
	}
	out.GetStream().Close()
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("pieces %q", got)
	}

	chunks, complete := streamed(t, c, name("echo"))
	if !slices.Equal(chunks, []string{"{}"}) || complete.ErrorCode != nil || complete.LogResult != nil {
		t.Errorf("a buffered answer: %q %+v", chunks, complete)
	}
	chunks, _ = streamed(t, c, name("large"))
	if len(strings.Join(chunks, "")) != 600<<10 || len(chunks) != 3 {
		t.Errorf("a large answer: %d chunks of %d bytes", len(chunks), len(strings.Join(chunks, "")))
	}
	chunks, complete = streamed(t, c, name("broken"))
	if chunks != nil || aws.ToString(complete.ErrorCode) != "Unhandled" || aws.ToString(complete.ErrorDetails) != `{"errorMessage":"no","errorType":"ValueError"}` {
		t.Errorf("an error at once: %q %+v", chunks, complete)
	}
	chunks, complete = streamed(t, c, name("half"))
	if !slices.Equal(chunks, []string{"half"}) || aws.ToString(complete.ErrorCode) != "Unhandled" || aws.ToString(complete.ErrorDetails) != `{"errorType":"Error","errorMessage":"sa\"id"}` {
		t.Errorf("an error midway: %q %+v", chunks, complete)
	}
	chunks, complete = streamed(t, c, name("cut"))
	if !slices.Equal(chunks, []string{"cut"}) || aws.ToString(complete.ErrorCode) != "ServiceException" || aws.ToString(complete.ErrorDetails) != "the disk is gone" {
		t.Errorf("a fault midway: %q %+v", chunks, complete)
	}
}

func TestAStreamWhoseClientHangsUpRunsToItsEnd(t *testing.T) {
	t.Parallel()
	h := newHub()
	hungUp, result := make(chan struct{}), make(chan error, 1)
	h.functions["echo"] = invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
		out := req.Stream("")
		io.WriteString(out, "one")
		<-hungUp
		var err error
		for err == nil { // the kernel takes some bytes before it notices
			_, err = out.Write(make([]byte, 1<<20))
		}
		result <- ctx.Err()
		return executor.Response{Streamed: true}, nil
	})
	url := serve(t, h)
	response, err := http.Post(url+"/2021-11-15/functions/echo/response-streaming-invocations", "", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Header.Get("Content-Type"); got != "application/vnd.amazon.eventstream" {
		t.Errorf("Content-Type %q", got)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	close(hungUp)
	if err := <-result; err != nil {
		t.Errorf("the function's context: %v", err)
	}
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	python := services.NeedPython(t, "boto3")
	h := newHub()
	h.keys = map[string]string{accessKey: secret}
	const script = `
import json, sys
import boto3, botocore.exceptions
c = boto3.client("lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3])
def show(name, r, *keys):
    print(name, json.dumps({k: (r[k].read().decode() if hasattr(r[k], "read") else r[k]) for k in keys if k in r}, sort_keys=True))
keys = ("StatusCode", "FunctionError", "ExecutedVersion", "Payload")
show("sync", c.invoke(FunctionName="echo:$LATEST", Payload=b'{"a": 1}'), *keys)
show("event", c.invoke(FunctionName="echo", InvocationType="Event", Payload=b'1'), *keys)
show("dry", c.invoke(FunctionName="echo", InvocationType="DryRun"), *keys)
show("failed", c.invoke(FunctionName="broken"), *keys)
show("async", c.invoke_async(FunctionName="echo", InvokeArgs=b"{}"), "Status")
for e in c.invoke_with_response_stream(FunctionName="echo", Payload=b"[1]")["EventStream"]:
    print("stream", json.dumps({k: {n: (v.decode() if isinstance(v, bytes) else v) for n, v in x.items()} for k, x in e.items()}))
for f in (lambda: c.invoke(FunctionName="none"), lambda: c.invoke(FunctionName="echo", Payload=b"{")):
    try:
        f()
    except botocore.exceptions.ClientError as e:
        print("error", e.response["Error"]["Code"], e.response.get("Type"), e.response["ResponseMetadata"]["HTTPStatusCode"])
print("names", [f["FunctionName"] for f in c.list_functions()["Functions"]])
`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, serve(t, h), accessKey, secret).CombinedOutput()
	const want = `sync {"ExecutedVersion": "$LATEST", "Payload": "{\"a\": 1}", "StatusCode": 200}
event {"Payload": "", "StatusCode": 202}
dry {"Payload": "", "StatusCode": 204}
failed {"ExecutedVersion": "$LATEST", "FunctionError": "Unhandled", "Payload": "{\"errorMessage\":\"no\",\"errorType\":\"ValueError\"}", "StatusCode": 200}
async {"Status": 202}
stream {"PayloadChunk": {"Payload": "[1]"}}
stream {"InvokeComplete": {}}
error ResourceNotFoundException User 404
error InvalidRequestContentException User 400
names ['broken', 'echo', 'reserved']
`
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAWSCommandLine(t *testing.T) {
	t.Parallel()
	cli := services.Need(t, "aws")
	h := newHub()
	h.keys = map[string]string{accessKey: secret}
	file := filepath.Join(t.TempDir(), "out.json")
	cmd := exec.CommandContext(t.Context(), cli, "lambda", "invoke", "--function-name", "echo", "--payload", `{"a":1}`, "--log-type", "Tail", "--output", "json", file)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+serve(t, h), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_DEFAULT_REGION="+region,
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if payload, err := os.ReadFile(file); err != nil || string(payload) != `{"a":1}` {
		t.Errorf("payload %q, %v", payload, err)
	}
	var answer struct {
		StatusCode      int
		ExecutedVersion string
		LogResult       string
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.StatusCode != 200 || answer.ExecutedVersion != "$LATEST" || answer.LogResult == "" {
		t.Errorf("%s: %v", out, err)
	}
}

// What real AWS answered to boto3 (LocalStack's recordings).
func TestAnswersAsRecorded(t *testing.T) {
	t.Parallel()
	var recordings map[string]struct {
		Content map[string]json.RawMessage `json:"recorded-content"`
	}
	if err := json.Unmarshal(fixtures.Read(t, "localstack-snapshots/test_lambda.snapshot.json"), &recordings); err != nil {
		t.Fatal(err)
	}
	const file = "tests/aws/services/lambda_/test_lambda.py::"
	content := func(test, step string, v any) {
		t.Helper()
		data, ok := recordings[file+test].Content[step]
		if !ok {
			t.Fatalf("no recording of %s, %s", test, step)
		}
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatal(err)
		}
	}

	var bad struct {
		Error            struct{ Code, Message string }
		Type             string
		ResponseMetadata struct{ HTTPStatusCode int }
	}
	content("TestLambdaErrors::test_lambda_invoke_payload_encoding_error[body-n\\x87r\\x9e\\xe9\\xb5\\xd7I\\xee\\x9bmt]", "invoke_function_invalid_payload_body", &bad)
	w := do(t, newHub().handler(t), "POST", invocations, "n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt")
	message, _ := json.Marshal(bad.Error.Message)
	wantError(t, w, bad.ResponseMetadata.HTTPStatusCode, bad.Error.Code, `{"Type":"`+bad.Type+`","message":`+string(message)+`}`)

	// What the function answered, and what its caller got.
	for test, c := range map[string]struct {
		step     string
		response executor.Response
		header   string
	}{
		"TestLambdaFeatures::test_invocation_type_no_return_payload[python-RequestResponse]": {"invoke-result", executor.Response{Payload: []byte("null")}, "X-Amz-Invocation-Type: RequestResponse"},
		"TestLambdaFeatures::test_invocation_type_no_return_payload[python-Event]":           {"invoke-result", executor.Response{}, "X-Amz-Invocation-Type: Event"},
		"TestLambdaErrors::test_lambda_handler_exit":                                         {"invocation_error", executor.Exited("<uuid>", ""), "X-Amz-Log-Type: None"},
		"TestLambdaErrors::test_lambda_runtime_wrapper_not_found":                            {"invocation_error", executor.Exited("<uuid>", "exit status 127"), "X-Amz-Log-Type: None"},
		"TestLambdaErrors::test_lambda_runtime_exit_segfault":                                {"invocation_error", executor.TimedOut("<uuid>", 30*time.Second), "X-Amz-Log-Type: None"},
	} {
		var want struct {
			ExecutedVersion, FunctionError string
			Payload                        json.RawMessage
			StatusCode                     int
		}
		content(test, c.step, &want)
		payload := string(want.Payload)
		if payload[0] == '"' { // a text that is not an object
			json.Unmarshal(want.Payload, &payload)
		} else {
			var compact bytes.Buffer
			json.Compact(&compact, want.Payload)
			payload = compact.String()
		}
		h := newHub()
		h.functions["echo"] = invoke(func(context.Context, executor.Request) (executor.Response, error) { return c.response, nil })
		w := do(t, h.handler(t), "POST", invocations, "{}", c.header)
		if w.Code != want.StatusCode || raw(w, "X-Amz-Executed-Version") != want.ExecutedVersion || raw(w, "X-Amz-Function-Error") != want.FunctionError || w.Body.String() != payload {
			t.Errorf("%s: %d %v %s, want %+v %s", test, w.Code, w.Header(), w.Body, want, payload)
		}
	}
}

func TestASlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHub()
	manual := newManual()
	server := httptest.NewServer(h.handlerOn(t, manual))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+invocations+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
	waitFor(t, "the body to be read", func() bool { return manual.Timers() == 1 })
	manual.Advance(time.Minute)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "RequestTimeoutException") {
		t.Errorf("%s, %v", answer, err)
	}
}

func TestAClientThatDoesNotReadIsGivenUp(t *testing.T) {
	t.Parallel()
	h := newHub()
	result := make(chan error, 1)
	h.functions["echo"] = invoke(func(ctx context.Context, req executor.Request) (executor.Response, error) {
		out := req.Stream("")
		var err error
		for err == nil {
			_, err = out.Write(make([]byte, 1<<20))
		}
		result <- err
		return executor.Response{Streamed: true}, nil
	})
	manual := newManual()
	server := httptest.NewServer(h.handlerOn(t, manual))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /2021-11-15/functions/echo/response-streaming-invocations HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, "the client to be given up", func() bool {
		manual.Advance(time.Minute)
		return len(result) == 1
	})
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing: %v", err)
	}
}
