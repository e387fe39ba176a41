package lambdafn_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/executortest"
	"github.com/millrace/millrace/executor/lambdafn"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var request = executor.Request{
	ID: "8f0e3b7c-6a52-4a3e-9a35-3c1a6c1f2b11", Attempt: 1, Payload: []byte(`{"n":1}`),
	TraceID: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", ClientContext: `{"a":"ü"}`, TenantID: "blue",
}

func open(t testing.TB, url string, c clock.Clock, change func(*lambdafn.Config)) executor.Function {
	t.Helper()
	spec := lambdafn.Spec()
	config := spec.Config().(*lambdafn.Config)
	config.FunctionName = "billing"
	config.AWS.Endpoint, config.AWS.AccessKeyID, config.AWS.SecretAccessKey = url, "AKID", "secret"
	if change != nil {
		change(config)
	}
	f, err := spec.Open(t.Context(), config, plugin.Deps{Name: "billing", Log: slog.New(slog.DiscardHandler), Clock: c, Region: "eu-west-3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background()) })
	return f
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func kindOf(t *testing.T, err error) executor.Kind {
	t.Helper()
	var e *executor.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is not an *executor.Error", err)
	}
	return e.Kind
}

// writeEvent writes one frame of a response stream.
func writeEvent(w http.ResponseWriter, kind string, payload []byte) {
	var m eventstream.Message
	m.Headers.Set(":message-type", eventstream.StringValue("event"))
	m.Headers.Set(":event-type", eventstream.StringValue(kind))
	m.Payload = payload
	if err := eventstream.NewEncoder().Encode(w, m); err != nil {
		panic(err)
	}
	w.(http.Flusher).Flush()
}

func startStream(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.Header().Set("X-Amzn-Remapped-Content-Type", contentType)
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	w.WriteHeader(http.StatusOK)
}

func TestSuite(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t testing.TB) executortest.Subject {
		url := serve(t, obey)
		return executortest.Subject{
			Open: func(t testing.TB, timeout time.Duration) executor.Function {
				return open(t, url, clock.System{}, func(c *lambdafn.Config) { c.Timeout = timeout })
			},
			Exact:     true,
			CrashType: executor.TypeExit,
			Timeout:   executor.TypeTimeout,
			Large:     executor.TypeTooLarge,
			Context:   []string{"requestId", "traceId", "clientContext", "tenantId"},
			Logs:      true,
			Stream:    true,
		}
	})
}

// obey is the Invoke API of a function that does what executortest describes.
func obey(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var c struct {
		Do, Message string
		MS, Size    int
		Chunks      []string
		Lines       []string
	}
	if err := json.Unmarshal(body, &c); err != nil {
		http.Error(w, `{"message":"bad JSON"}`, http.StatusBadRequest)
		return
	}
	streaming := strings.HasSuffix(r.URL.Path, "/response-streaming-invocations")
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	if r.Header.Get("X-Amz-Log-Type") == "Tail" {
		log := strings.Join(c.Lines, "\n") + "\n"
		w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(log[max(0, len(log)-executor.LogTail):])))
	}
	answer := body
	switch c.Do {
	case "fail":
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		answer, _ = json.Marshal(map[string]string{"errorType": "Error", "errorMessage": c.Message})
	case "crash":
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		answer = executor.Exited("x", "exit status 1").Payload
	case "hang":
		<-r.Context().Done()
		return
	case "sleep":
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(c.MS)*time.Millisecond)
		defer cancel()
		<-ctx.Done()
	case "large":
		answer = fmt.Appendf(nil, "%q", strings.Repeat("x", c.Size))
	case "context":
		client, _ := base64.StdEncoding.DecodeString(r.Header.Get("X-Amz-Client-Context"))
		answer, _ = json.Marshal(map[string]string{
			"requestId":     r.Header.Get("X-Amzn-RequestId"),
			"traceId":       r.Header.Get("X-Amzn-Trace-Id"),
			"clientContext": string(client),
			"tenantId":      r.Header.Get("X-Amz-Tenant-Id"),
		})
	case "stream":
		if streaming {
			startStream(w, "text/plain")
			for _, chunk := range c.Chunks {
				writeEvent(w, "PayloadChunk", []byte(chunk))
			}
			writeEvent(w, "InvokeComplete", []byte("{}"))
			return
		}
		answer = []byte(strings.Join(c.Chunks, ""))
	}
	_, _ = w.Write(answer)
}

func TestTheCallIsLambdasInvoke(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, qualifier, uri, region string
	}{
		{"billing", "", "/2015-03-31/functions/billing/invocations", "eu-west-3"},
		{"billing", "prod", "/2015-03-31/functions/billing/invocations?Qualifier=prod", "eu-west-3"},
		{"billing:7", "", "/2015-03-31/functions/billing%3A7/invocations", "eu-west-3"},
		{"arn:aws:lambda:ap-south-1:123456789012:function:billing", "", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aap-south-1%3A123456789012%3Afunction%3Abilling/invocations", "ap-south-1"},
	} {
		var got *http.Request
		var body []byte
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			w.Header().Set("X-Amz-Executed-Version", "7")
			_, _ = io.WriteString(w, `{"ok":true}`)
		})
		f := open(t, url, clock.System{}, func(c *lambdafn.Config) { c.FunctionName, c.Qualifier = tc.name, tc.qualifier })
		resp, err := f.Invoke(t.Context(), request)
		if err != nil || string(resp.Payload) != `{"ok":true}` || resp.Version != "7" || resp.Log != nil {
			t.Fatalf("%s: %+v, %v", tc.name, resp, err)
		}
		if got.RequestURI != tc.uri || got.Method != http.MethodPost || string(body) != `{"n":1}` {
			t.Errorf("%s: %s %s with %q", tc.name, got.Method, got.RequestURI, body)
		}
		if auth := got.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKID/") || !strings.Contains(auth, "/"+tc.region+"/lambda/") {
			t.Errorf("%s: signed with %q", tc.name, auth)
		}
	}
}

func TestErrorsOfTheServiceDecideWhatHappens(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code   string
		status int
		body   string
		kind   executor.Kind
		reason string
	}{
		{"TooManyRequestsException", 429, `{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}`, executor.Throttled, executor.ReasonReserved},
		{"TooManyRequestsException", 429, `{"message":"Rate Exceeded."}`, executor.Throttled, executor.ReasonRate},
		{"ThrottlingException", 400, `{"message":"Rate exceeded"}`, executor.Throttled, executor.ReasonRate},
		{"", 429, `slow down`, executor.Throttled, executor.ReasonRate},
		{"RequestTooLargeException", 413, `{"message":"too big"}`, executor.TooLarge, ""},
		{"", 413, `<html>`, executor.TooLarge, ""},
		{"ResourceConflictException", 409, `{"message":"Pending"}`, executor.Unready, ""},
		{"ResourceNotReadyException", 502, `{"message":"Inactive"}`, executor.Unready, ""},
		{"ServiceException", 500, `{"Message":"oops"}`, executor.Unready, ""},
		{"EC2ThrottledException", 502, `{"Message":"oops"}`, executor.Unready, ""},
		{"EFSMountFailureException", 403, `{"Message":"oops"}`, executor.Unready, ""},
		{"ExpiredTokenException", 403, `{"message":"The security token included in the request is expired"}`, executor.Unready, ""},
		{"", 503, `<html>`, executor.Unready, ""},
		{"AccessDeniedException", 403, `{"Message":"no"}`, executor.Refused, ""},
		{"ResourceNotFoundException", 404, `{"Message":"Function not found"}`, executor.Refused, ""},
		{"InvalidRequestContentException", 400, `{"message":"Could not parse"}`, executor.Refused, ""},
		{"UnrecognizedClientException", 403, `{"message":"The security token included in the request is invalid."}`, executor.Refused, ""},
		{"", 307, ``, executor.Refused, ""},
	} {
		calls := 0
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("X-Amzn-Errortype", tc.code)
			w.Header().Set("Retry-After", "3")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		for _, stream := range []func(string) io.Writer{nil, func(string) io.Writer { return io.Discard }} {
			calls = 0
			req := request
			req.Stream = stream
			_, err := open(t, url, clock.System{}, nil).Invoke(t.Context(), req)
			var e *executor.Error
			if !errors.As(err, &e) || e.Kind != tc.kind || e.Reason != tc.reason {
				t.Errorf("%d %s: %v with reason %q", tc.status, tc.code, err, e.Reason)
			}
			if tc.code == "TooManyRequestsException" && e.RetryAfter != 3*time.Second {
				t.Errorf("retry after %v", e.RetryAfter)
			}
			if calls != 1 {
				t.Errorf("%d %s: called %d times", tc.status, tc.code, calls)
			}
		}
	}
}

func TestNoAnswerIsNotReady(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	cut := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, url := range []string{"http://" + l.Addr().String(), cut} {
		if _, err := open(t, url, clock.System{}, nil).Invoke(t.Context(), request); kindOf(t, err) != executor.Unready {
			t.Errorf("%v", err)
		}
	}
}

func TestAFailureWithoutATypeGetsOne(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]executor.Failure{
		`{"errorMessage":"2023-01-01T00:00:00.000Z id Task timed out after 1.00 seconds"}`: {Type: executor.TypeTimeout, Message: "2023-01-01T00:00:00.000Z id Task timed out after 1.00 seconds"},
		`{"errorMessage":"x"}`: {Type: "Handled", Message: "x"},
		`"just text"`:          {Type: "Handled"},
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Function-Error", "Handled")
			_, _ = io.WriteString(w, body)
		})
		resp, err := open(t, url, clock.System{}, nil).Invoke(t.Context(), request)
		if err != nil || resp.Failure == nil || *resp.Failure != want || string(resp.Payload) != body {
			t.Errorf("%s: %+v, %v", body, resp.Failure, err)
		}
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		serve    func(http.ResponseWriter)
		got      string
		streamed bool
		failure  string
		kind     executor.Kind // of the error, where there is one
		errs     bool
	}{
		{name: "an empty answer", streamed: true, serve: func(w http.ResponseWriter) {
			writeEvent(w, "InvokeComplete", []byte(`{}`))
		}},
		{name: "a log at the end", streamed: true, got: "a", serve: func(w http.ResponseWriter) {
			writeEvent(w, "PayloadChunk", []byte("a"))
			writeEvent(w, "InvokeComplete", []byte(`{"LogResult":"`+base64.StdEncoding.EncodeToString([]byte("the log"))+`"}`))
		}},
		{name: "a failure before the first piece", failure: "ValueError", serve: func(w http.ResponseWriter) {
			writeEvent(w, "InvokeComplete", []byte(`{"ErrorCode":"Unhandled","ErrorDetails":"{\"errorType\":\"ValueError\",\"errorMessage\":\"bad\"}"}`))
		}},
		{name: "a failure after the first piece", streamed: true, got: "a", failure: "Unhandled", serve: func(w http.ResponseWriter) {
			writeEvent(w, "PayloadChunk", []byte("a"))
			writeEvent(w, "InvokeComplete", []byte(`{"ErrorCode":"Unhandled","ErrorDetails":"it broke"}`))
		}},
		{name: "cut before the first piece", errs: true, kind: executor.Unready, serve: func(http.ResponseWriter) {
			panic(http.ErrAbortHandler)
		}},
		{name: "cut after the first piece", streamed: true, got: "a", failure: "Runtime.TruncatedResponse", serve: func(w http.ResponseWriter) {
			writeEvent(w, "PayloadChunk", []byte("a"))
			panic(http.ErrAbortHandler)
		}},
		{name: "ended without saying so", streamed: true, got: "a", failure: "Runtime.TruncatedResponse", serve: func(w http.ResponseWriter) {
			writeEvent(w, "PayloadChunk", []byte("a"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/2021-11-15/functions/billing/response-streaming-invocations" {
					t.Errorf("path %s", r.URL.Path)
				}
				startStream(w, "text/plain")
				tc.serve(w)
			})
			var got bytes.Buffer
			req := request
			req.LogTail = true
			req.Stream = func(string) io.Writer { return &got }
			resp, err := open(t, url, clock.System{}, nil).Invoke(t.Context(), req)
			if tc.errs {
				if kindOf(t, err) != tc.kind {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || resp.Streamed != tc.streamed || got.String() != tc.got {
				t.Errorf("%+v, %v, %q", resp, err, got.String())
			}
			if (resp.Failure == nil) != (tc.failure == "") || resp.Failure != nil && (resp.Failure.Type != tc.failure || !json.Valid(resp.Payload)) {
				t.Errorf("failure %+v with %s", resp.Failure, resp.Payload)
			}
			if tc.name == "a log at the end" && string(resp.Log) != "the log" {
				t.Errorf("log %q", resp.Log)
			}
		})
	}
}

func TestTimeoutIsLambdas(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 1)
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-r.Context().Done()
	})
	m := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	f := open(t, url, m, nil)
	go func() { <-reached; m.Advance(15 * time.Minute) }()
	resp, err := f.Invoke(t.Context(), request)
	if err != nil || resp.Failure == nil || resp.Failure.Type != executor.TypeTimeout || resp.Duration != 15*time.Minute {
		t.Errorf("%+v, %v", resp, err)
	}
}

func TestAPayloadOverTheLimitIsNotSent(t *testing.T) {
	t.Parallel()
	url := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("sent") })
	req := request
	req.Payload = make([]byte, executor.MaxPayload+1)
	if _, err := open(t, url, clock.System{}, nil).Invoke(t.Context(), req); kindOf(t, err) != executor.TooLarge {
		t.Errorf("%v", err)
	}
}

func TestValidateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*lambdafn.Config)
		want   string // "" is valid
	}{
		{"a name", func(*lambdafn.Config) {}, ""},
		{"name and version", func(c *lambdafn.Config) { c.FunctionName = "f:$LATEST" }, ""},
		{"partial ARN", func(c *lambdafn.Config) { c.FunctionName = "123456789012:function:f:prod" }, ""},
		{"ARN", func(c *lambdafn.Config) { c.FunctionName = "arn:aws:lambda:us-east-1:123456789012:function:f:prod" }, ""},
		{"no name", func(c *lambdafn.Config) { c.FunctionName = "" }, "functionName: is missing"},
		{"ARN of a queue", func(c *lambdafn.Config) { c.FunctionName = "arn:aws:sqs:us-east-1:123456789012:f" }, "neither a function's name nor its ARN"},
		{"short account", func(c *lambdafn.Config) { c.FunctionName = "12:function:f" }, "neither a function's name nor its ARN"},
		{"empty qualifier", func(c *lambdafn.Config) { c.FunctionName = "f:" }, "neither a function's name nor its ARN"},
		{"bad letters", func(c *lambdafn.Config) { c.FunctionName = "a b" }, "functionName: \"a b\" is not a name"},
		{"long name", func(c *lambdafn.Config) { c.FunctionName = strings.Repeat("a", 65) }, "is not a name of at most 64"},
		{"bad qualifier", func(c *lambdafn.Config) { c.Qualifier = "a/b" }, "qualifier: \"a/b\" is not a version or alias"},
		{"two qualifiers", func(c *lambdafn.Config) { c.FunctionName, c.Qualifier = "f:1", "2" }, "qualifier: \"2\" differs"},
		{"two regions", func(c *lambdafn.Config) {
			c.FunctionName, c.AWS.Region = "arn:aws:lambda:us-east-1:123456789012:function:f", "eu-west-1"
		}, "aws.region: "},
		{"long timeout", func(c *lambdafn.Config) { c.Timeout = time.Hour }, "timeout: 1h0m0s is outside"},
		{"concurrency", func(c *lambdafn.Config) { c.Concurrency.Reserved = -3 }, "concurrency.reserved: -3"},
		{"half a key", func(c *lambdafn.Config) { c.AWS.AccessKeyID = "x" }, "aws.accessKeyId: goes together"},
	} {
		c := lambdafn.Defaults()
		c.FunctionName = "f"
		tc.change(&c)
		err := c.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func BenchmarkInvoke(b *testing.B) {
	url := serve(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	f := open(b, url, clock.System{}, nil)
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.Invoke(b.Context(), request); err != nil {
				b.Error(err)
			}
		}
	})
}
