package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// records reads what a file destination has written.
func records(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && json.Valid(data) {
			all = append(all, string(data))
		}
	}
	return all
}

func TestTheRetriesAndDestinationsOfTheFileAreKept(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	attempts := map[string]int{} // by payload
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		attempts[string(body)]++
		n := attempts[string(body)]
		mu.Unlock()
		if strings.Contains(string(body), "never") || n < 3 {
			http.Error(w, "not yet", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `"at last"`)
	}))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	h := startIn(t, dir, fmt.Sprintf(`
aws: {region: eu-west-1, account: "123456789012"}
functions:
  f:
    runtime: http
    url: %s
    async: {maximumRetryAttempts: 3, retryDelays: [10ms, 20ms], onSuccess: done, onFailure: [failed, again]}
destinations:
  done: {kind: file, with: {dir: ./done}}
  failed: {kind: file, with: {dir: ./failed}}
  again: {kind: file, with: {dir: ./again}}
`, f.URL))
	for _, payload := range []string{`"in the end"`, `"never"`} {
		if out, err := millrace(t, h, "invoke", "f", "--event", "--payload", payload); err != nil {
			t.Fatal(err, out)
		}
	}
	for where, want := range map[string]string{
		"done":   `"condition":"Success","approximateInvokeCount":3},"requestPayload":"in the end","responseContext":{"statusCode":200,"executedVersion":"$LATEST"},"responsePayload":"at last"}`,
		"failed": `"condition":"RetriesExhausted","approximateInvokeCount":4},"requestPayload":"never","responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"}`,
		"again":  `"condition":"RetriesExhausted","approximateInvokeCount":4},"requestPayload":"never"`,
	} {
		eventually(t, "the record in "+where, func() string {
			got := records(t, filepath.Join(dir, where))
			if len(got) == 1 && strings.Contains(got[0], want) && strings.Contains(got[0], "arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST") {
				return ""
			}
			return fmt.Sprintf("have %q, want %s", got, want)
		})
	}
	mu.Lock()
	defer mu.Unlock()
	if attempts[`"in the end"`] != 3 || attempts[`"never"`] != 4 {
		t.Errorf("attempts %v", attempts)
	}
}

func TestConcurrencyIsKept(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(f.Close)
	h := start(t, fmt.Sprintf(`
concurrency: 2
functions:
  f: {runtime: http, url: %[1]s, timeout: 60s}
  alone: {runtime: http, url: %[1]s, timeout: 60s, concurrency: {reserved: 1}}
  never: {runtime: http, url: %[1]s, concurrency: {reserved: 0}}
`, f.URL))
	path := func(name string) string { return h.AWS + "/2015-03-31/functions/" + name + "/invocations" }
	answered := make(chan int, 2)
	for _, name := range []string{"f", "alone"} {
		go func() {
			resp, err := http.Post(path(name), "application/json", strings.NewReader("{}"))
			if err != nil {
				answered <- 0
				return
			}
			resp.Body.Close()
			answered <- resp.StatusCode
		}()
	}
	<-entered
	<-entered
	for name, reason := range map[string]string{
		"f":     "ConcurrentInvocationLimitExceeded",
		"alone": "ReservedFunctionConcurrentInvocationLimitExceeded",
		"never": "ReservedFunctionConcurrentInvocationLimitExceeded",
	} {
		status, header, body := send(t, "POST", path(name), "{}")
		if status != http.StatusTooManyRequests || header.Get("X-Amzn-Errortype") != "TooManyRequestsException" || !strings.Contains(body, `"Reason":"`+reason+`"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	close(leave)
	for range 2 {
		if status := <-answered; status != http.StatusOK {
			t.Errorf("an invocation within the limit got %d", status)
		}
	}
}

func TestKeysTokenAndTLSGuardTheAddresses(t *testing.T) {
	t.Parallel()
	f := newSink(t)
	dir := t.TempDir()
	// A certificate for 127.0.0.1 is in net/http/httptest.
	pair := httptest.NewTLSServer(nil)
	cert := pair.TLS.Certificates[0]
	pair.Close()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := startIn(t, dir, fmt.Sprintf(`
functions:
  f: {runtime: http, url: %s}
security:
  keys: {AKIDEXAMPLE: secretsecretsecret}
  token: an-operators-token
  tls: {certificate: ./cert.pem, key: ./key.pem}
`, f.URL))
	pool := x509.NewCertPool()
	pool.AddCert(pair.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(client.CloseIdleConnections)
	get := func(method, url, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if !strings.HasPrefix(h.Admin, "https://") || !strings.HasPrefix(h.AWS, "https://") {
		t.Fatalf("addresses %s, %s", h.Admin, h.AWS)
	}
	for token, want := range map[string]int{"": 401, "wrong": 401, "an-operators-token": 200} {
		if status, body := get("GET", h.Admin+"/metrics", token); status != want {
			t.Errorf("token %q: %d %s", token, status, body)
		}
	}
	if status, body := get("POST", h.AWS+"/2015-03-31/functions/f/invocations", ""); status != http.StatusForbidden || len(f.all()) != 0 {
		t.Errorf("without a signature: %d %s", status, body)
	}
	c := lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(h.AWS), HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secretsecretsecret", ""),
	})
	if _, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f")}); err != nil || len(f.all()) != 1 {
		t.Errorf("with a signature: %v, %d calls", err, len(f.all()))
	}
}

func TestTriggersAndAddressesMayBeOff(t *testing.T) {
	t.Parallel()
	f := newSink(t)
	h := start(t, fmt.Sprintf(`
functions:
  f: {runtime: http, url: %s}
triggers:
  on: {kind: function-url, with: {path: /on}, function: f}
  off: {kind: function-url, with: {path: /off}, function: f, enabled: false}
log: {level: debug, format: json}
listen: {gateway: "127.0.0.1:0", aws: "off", admin: ""}
`, f.URL))
	if h.AWS != "" || h.Admin != "" {
		t.Errorf("addresses %q, %q", h.AWS, h.Admin)
	}
	if status, _, body := send(t, "GET", h.Gateway+"/on", ""); status != 200 || len(f.all()) != 1 {
		t.Errorf("on: %d %s", status, body)
	}
	if status, _, body := send(t, "GET", h.Gateway+"/off", ""); status != 404 || len(f.all()) != 1 {
		t.Errorf("off: %d %s", status, body)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	debug := false
	for line := range strings.Lines(h.Log()) {
		if !strings.HasPrefix(line, "{") {
			continue // what is for people
		}
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
			t.Errorf("%s: %v", line, err)
		}
		debug = debug || entry.Level == "DEBUG"
	}
	if !debug {
		t.Errorf("no line of level debug in\n%s", h.Log())
	}
}

func TestShutdownTimeoutBoundsTheStop(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	f := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server sees the client go
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(f.Close)
	dir := t.TempDir()
	yaml := fmt.Sprintf(`
shutdown: {timeout: 200ms}
functions:
  f: {runtime: http, url: %s, timeout: 15m}
`, f.URL)
	h := startIn(t, dir, yaml)
	if out, err := millrace(t, h, "invoke", "f", "--event", "--payload", "7"); err != nil {
		t.Fatal(err, out)
	}
	<-entered
	h.Stop() // it says by its status that something was cut off
	h = startIn(t, dir, yaml)
	<-entered // what was cut off comes again
	out, err := millrace(t, h, "queue", "ls", "-o", "json")
	if err != nil || !strings.Contains(out, `"f"`) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAReachableAddressNeedsKeysTokenAndTLS(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	const yaml = "functions: {}\nlisten: {gateway: \"127.0.0.1:0\", aws: \"0.0.0.0:0\", admin: \"0.0.0.0:0\"}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, "serve", file).CombinedOutput()
	for _, want := range []string{"security.keys", "security.token", "security.tls"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, %s not in %s", err, want, out)
		}
	}
}
