package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"net/http/httptest"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a service that counts: what it is told to say it says as often as it is asked to deliver.
type echo struct {
	env env.Env
	mu  sync.Mutex
	ran int
}

type (
	sayIn  struct{ Text string }
	sayOut struct {
		Text  string
		Times int
	}
)

func (e *echo) say(_ context.Context, r *wire.Request, in *sayIn) (*sayOut, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran++
	out := &sayOut{Text: in.Text, Times: 1}
	if r.Duplicate {
		out.Times = 2
	}
	return out, nil
}

func (e *echo) API() []wire.Service {
	return []wire.Service{{
		Name: "echo", Target: "Echo", JSONVersion: "1.1", Throttled: wire.Error{Code: "ThrottlingException", Message: "Rate exceeded"},
		Operations: []wire.Operation{wire.Op("Say", e.say).Twice(), wire.Op("Whisper", e.say)},
	}}
}

func (e *echo) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran = 0
}

func (e *echo) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ran
}

// newEcho returns a stack with nothing but echo.
func newEcho(t *testing.T, o Options) (*Stack, *echo) {
	t.Helper()
	e := new(echo)
	s, err := build(o, func(s *Stack, v env.Env) error {
		e.env = v
		s.parts = []service{e}
		s.targets = targets{"echo": {
			send:   func(context.Context, string, env.Message) error { return nil },
			action: "echo:Say",
			policy: func(arn string) string {
				if strings.HasSuffix(arn, "open") {
					return `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"echo:Say","Resource":"*"}]}`
				}
				return ""
			},
		}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, e
}

// serve serves a stack until the test ends.
func serve(t *testing.T, s *Stack) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

func request(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func say(t *testing.T, url, operation string) (int, string) {
	t.Helper()
	return request(t, "POST", url, `{"Text":"a"}`, "X-Amz-Target", "Echo."+operation)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s, e := newEcho(t, Options{})
	url := serve(t, s)
	for _, c := range []struct {
		fault     Fault
		operation string
		status    int // 0 is a cut connection
		text      string
		runs      int
	}{
		{Fault{Kind: "throttle"}, "Say", 400, "ThrottlingException", 0},
		{Fault{Kind: "error"}, "Say", 500, "InternalFailure", 0},
		{Fault{Kind: "error", Code: "Odd", Message: "very", Status: 418, Service: "echo", Operation: "Say"}, "Say", 418, `"message":"very"`, 0},
		{Fault{Kind: "error", After: true}, "Say", 500, "InternalFailure", 1},
		{Fault{Kind: "reset"}, "Say", 0, "", 0},
		{Fault{Kind: "reset", After: true}, "Say", 0, "", 1},
		{Fault{Kind: "error", Operation: "Whisper"}, "Say", 200, `"Times":1`, 1},
		{Fault{Kind: "duplicate"}, "Say", 200, `"Times":2`, 1},
		{Fault{Kind: "duplicate"}, "Whisper", 200, `"Times":1`, 1},
		{Fault{Kind: "delay", Delay: 1}, "Say", 200, `"Times":1`, 1},
	} {
		s.Reset()
		end, err := s.Fault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		status, text := say(t, url, c.operation)
		if status != c.status || !strings.Contains(text, c.text) || e.count() != c.runs {
			t.Errorf("%+v: %d %s, ran %d times; want %d %s, %d", c.fault, status, text, e.count(), c.status, c.text, c.runs)
		}
		end()
		if status, text := say(t, url, c.operation); status != 200 || !strings.Contains(text, `"Times":1`) {
			t.Errorf("%+v: after its end %d %s", c.fault, status, text)
		}
	}
}

func TestFaultsComeEverySoOftenAndEnd(t *testing.T) {
	t.Parallel()
	s, _ := newEcho(t, Options{})
	url := serve(t, s)
	if _, err := s.Fault(Fault{Kind: "error", Every: 3, Times: 2}); err != nil {
		t.Fatal(err)
	}
	var got []int
	for range 12 {
		status, _ := say(t, url, "Say")
		got = append(got, status)
	}
	if want := "[200 200 500 200 200 500 200 200 200 200 200 200]"; fmt.Sprint(got) != want {
		t.Errorf("answers %v, want %v", got, want)
	}
	if all := s.faults.all(); len(all) != 0 {
		t.Errorf("faults left: %v", all)
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	s, _ := newEcho(t, Options{})
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{Fault{}, "kind"},
		{Fault{Kind: "explode"}, `"explode"`},
		{Fault{Kind: "error", Service: "sqz"}, `"sqz"`},
		{Fault{Kind: "error", Service: "echo", Operation: "Shout"}, `"Shout"`},
		{Fault{Kind: "error", Status: 200}, "200"},
		{Fault{Kind: "throttle", Code: "X"}, "code"},
		{Fault{Kind: "delay"}, "how long"},
		{Fault{Kind: "reset", Delay: 1}, "delay"},
		{Fault{Kind: "duplicate", Operation: "Whisper"}, "twice"},
		{Fault{Kind: "duplicate", After: true}, "after"},
		{Fault{Kind: "error", Times: -1}, "negative"},
	} {
		if _, err := s.Fault(c.fault); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something with %q", c.fault, err, c.want)
		}
	}
}

func TestADelayFollowsTheStacksClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := newEcho(t, Options{})
		if _, err := s.Fault(Fault{Kind: "delay", Delay: Duration(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader(`{}`))
		r.Header.Set("X-Amz-Target", "Echo.Say")
		done := make(chan struct{})
		go func() {
			s.ServeHTTP(w, r)
			close(done)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("not delayed")
		default:
		}
		s.Advance(time.Hour)
		<-done
		if w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestOwnInterface(t *testing.T) {
	t.Parallel()
	s, e := newEcho(t, Options{})
	url := serve(t, s)
	begin := s.Now()
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "health", "", 200, `"services":["echo"]`},
		{"GET", "clock", "", 200, `"time"`},
		{"POST", "clock", `{"advance":"1h30m"}`, 200, `"time"`},
		{"POST", "clock", `{"advance":"-1s"}`, 400, "cannot go back"},
		{"POST", "clock", `{"to":"2001-01-01T00:00:00Z"}`, 400, "cannot go back"},
		{"POST", "clock", `{}`, 400, "say either"},
		{"POST", "clock", `{"advance":"soon"}`, 400, "reading the request"},
		{"POST", "clock", `{"advanse":"1h"}`, 400, "advanse"},
		{"POST", "faults", `{"kind":"error","operation":"Say","times":5}`, 200, `"id":1`},
		{"POST", "faults", `{"kind":"delay","delay":"1m"}`, 200, `"delay":"1m0s"`},
		{"POST", "faults", `{"kind":"nothing"}`, 400, "does not exist"},
		{"GET", "faults", "", 200, `"operation":"Say"`},
		{"DELETE", "faults/2", "", 200, `"faults":[`},
		{"DELETE", "faults/2", "", 404, "no fault 2"},
		{"DELETE", "faults/x", "", 404, "no fault x"},
		{"DELETE", "faults", "", 200, `"faults":[]`},
		{"POST", "reset", "", 200, ""},
		{"GET", "other", "", 404, ""},
	} {
		if status, body := request(t, c.method, url+adminPath+c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	if d := s.Now().Sub(begin); d < 90*time.Minute || d > 2*time.Hour {
		t.Errorf("the clock has moved by %s", d)
	}
	if status, _ := request(t, "POST", url+adminPath+"reset", "", "Origin", "http://evil.example"); status != 403 {
		t.Errorf("a web page may reset the stack: %d", status)
	}
	if e.count() != 0 {
		t.Error("Reset has not reached the service")
	}
}

func TestKeysAreNeededEverywhere(t *testing.T) {
	t.Parallel()
	s, _ := newEcho(t, Options{Keys: map[string]string{"AKIDEXAMPLE": "secret"}})
	url := serve(t, s)
	if status, body := say(t, url, "Say"); status != 403 {
		t.Errorf("unsigned: %d %s", status, body)
	}
	if status, body := request(t, "GET", url+adminPath+"faults", ""); status != 403 {
		t.Errorf("unsigned, to the stack's own interface: %d %s", status, body)
	}
	for secret, want := range map[string]int{"secret": 200, "guess": 403} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "Echo.Say")
		c, err := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", secret, "").Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}
		if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hash, "echo", "eu-west-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("signed with %q: %d, want %d", secret, resp.StatusCode, want)
		}
	}
}

func TestLambdasPathsGoToLambda(t *testing.T) {
	t.Parallel()
	s, _ := newEcho(t, Options{Lambda: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "lambda got "+r.URL.Path)
	})})
	url := serve(t, s)
	if _, body := request(t, "POST", url+"/2015-03-31/functions/f/invocations", ""); body != "lambda got /2015-03-31/functions/f/invocations" {
		t.Error(body)
	}
	if _, body := request(t, "GET", url+"/2015-03-31/key", "", "Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"); strings.Contains(body, "lambda") {
		t.Error("a request signed for S3 went to Lambda")
	}
}

func TestPoliciesOfTargets(t *testing.T) {
	t.Parallel()
	const closed, open = "arn:aws:echo:us-east-1:000000000000:closed", "arn:aws:echo:us-east-1:000000000000:open"
	m := env.Message{From: "arn:aws:sns:us-east-1:000000000000:t", Principal: "sns.amazonaws.com"}
	for policies, want := range map[Policies]struct {
		refused bool
		warns   int
	}{"": {false, 1}, Warn: {false, 1}, Enforce: {true, 0}, Ignore: {false, 0}} {
		var log bytes.Buffer
		s, e := newEcho(t, Options{Policies: policies, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			if err := e.env.Deliver(t.Context(), closed, m); (err != nil) != want.refused {
				t.Errorf("%s: %v", policies, err)
			}
			if err := e.env.Deliver(t.Context(), open, m); err != nil {
				t.Errorf("%s: %v", policies, err)
			}
		}
		if n := strings.Count(log.String(), "AWS would refuse"); n != want.warns {
			t.Errorf("%s: %d warnings, want %d:\n%s", policies, n, want.warns, &log)
		}
		for _, arn := range []string{"closed", "arn:aws:nowhere:us-east-1:000000000000:x"} {
			if err := e.env.Deliver(t.Context(), arn, m); err == nil {
				t.Errorf("delivered to %s", arn)
			}
		}
		s.Close()
	}
	if _, err := New(Options{Policies: "maybe"}); err == nil {
		t.Error("policies may be anything")
	}
}

func TestManyAtOnceAndClosedTwice(t *testing.T) {
	t.Parallel()
	for range 10 {
		s, err := Start(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if status, body := request(t, "GET", s.URL()+adminPath+"health", ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
