package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func listening() Config {
	c := Defaults()
	c.Listen = "/notify/uploads"
	return c
}

func TestWebhookKeepsTheContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		hub := sourcetest.NewHub(t)
		return sourcetest.Upstream{
			Hub: hub,
			Open: func(t testing.TB) sources.Source {
				c := listening()
				s, err := Spec().Open(t.Context(), &c, deps(t))
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Put: func(ctx context.Context, id string) error {
				status, body, err := send(ctx, http.MethodPost, hub.URL()+"/notify/uploads", nil, record("ObjectCreated:Put", "uploads", id))
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("%d %s", status, body)
				}
				return err
			},
			Confirms:    true,
			Concurrency: 8,
		}
	})
}

func record(name, bucket, key string) string {
	return fmt.Sprintf(`{"Records":[{"eventName":%q,"s3":{"bucket":{"name":%q},"object":{"key":%q,"size":1,"eTag":"e"}}}]}`, name, bucket, key)
}

func send(ctx context.Context, method, url string, header http.Header, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text)), err
}

// post sends to a running trigger and expects an answer.
func post(t testing.TB, hub *sourcetest.Hub, header http.Header, body string, want int, text string) {
	t.Helper()
	status, got, err := send(t.Context(), http.MethodPost, hub.URL()+"/notify/uploads", header, body)
	if err != nil {
		t.Fatal(err)
	}
	if status != want || !strings.Contains(got, text) {
		t.Errorf("answered %d %q, want %d %q", status, got, want, text)
	}
}

func webhookOn(t testing.TB, c Config, d plugin.Deps) *sourcetest.Hub {
	hub := sourcetest.NewHub(t)
	running(t, c, d, hub)
	until(t, "the mount", func() bool { return len(hub.Mounted()) == 1 })
	return hub
}

func TestARecordedPostBecomesTheDocumentOfAWS(t *testing.T) {
	t.Parallel()
	hub := webhookOn(t, listening(), deps(t))
	body, err := os.ReadFile("../../event/testdata/s3/versitygw-put.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../event/testdata/s3/versitygw-put.golden")
	if err != nil {
		t.Fatal(err)
	}
	post(t, hub, http.Header{"X-Amzn-Trace-Id": {"Root=1-2-3"}, "Traceparent": {"00-a-b-01"}}, string(body), 200, "")
	calls := hub.Calls()
	if len(calls) != 1 || string(calls[0].Payload)+"\n" != string(want) || calls[0].TraceID != "Root=1-2-3" || calls[0].TraceParent != "00-a-b-01" {
		t.Errorf("accepted %+v, want %s", calls, want)
	}
}

func TestWhatARecordDoesNotSayIsFilledIn(t *testing.T) {
	t.Parallel()
	d := deps(t)
	d.Clock = clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC))
	hub := webhookOn(t, listening(), d)
	post(t, hub, nil, record("s3:ObjectCreated:Put", "b", "k"), 200, "")
	payload := string(hub.Calls()[0].Payload)
	for _, want := range []string{`"awsRegion":"eu-central-1"`, `"eventTime":"2026-01-02T03:04:05.006Z"`, `"configurationId":"uploads"`, `"arn":"arn:aws:s3:::b"`, `"sequencer":"00695735A5005B8D80"`} {
		if !strings.Contains(payload, want) {
			t.Errorf("no %s in %s", want, payload)
		}
	}
}

func TestEachRecordOfAPostIsOneEvent(t *testing.T) {
	t.Parallel()
	hub := webhookOn(t, listening(), deps(t))
	three := strings.Join([]string{"one", "two", "three"}, "\x00")
	var list []string
	for key := range strings.SplitSeq(three, "\x00") {
		r := record("ObjectCreated:Put", "b", key)
		list = append(list, r[len(`{"Records":[`):len(r)-2])
	}
	post(t, hub, nil, `{"Records":[`+strings.Join(list, ",")+`]}`, 200, "")
	var got []string
	for _, n := range notices(t, hub) {
		got = append(got, n.Key)
	}
	if strings.Join(got, "\x00") != three {
		t.Errorf("events for %q", got)
	}
}

func TestFiltersAcknowledgeAndDrop(t *testing.T) {
	t.Parallel()
	c := listening()
	c.Bucket, c.Events, c.Prefix, c.Suffix = "b", []string{"s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"}, "in/a b", ".jpg"
	hub := webhookOn(t, c, deps(t))
	for _, r := range []string{
		record("ObjectCreated:Put", "other", "in/a+b1.jpg"),
		record("ObjectTagging:Put", "b", "in/a+b2.jpg"),
		record("ObjectRemoved:DeleteMarkerCreated", "b", "in/a+b3.jpg"),
		record("ObjectCreated:Put", "b", "out/a+b4.jpg"),
		record("ObjectCreated:Put", "b", "in/a+b5.png"),
		record("ObjectCreated:Put", "b", "in/a+b6.jpg"),
		record("s3:ObjectRemoved:Delete", "b", "in%2Fa+b7.jpg"),
		`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}`,
	} {
		post(t, hub, nil, r, 200, "")
	}
	got := notices(t, hub)
	if len(got) != 2 || got[0].Key != "in/a b6.jpg" || got[1].Key != "in/a b7.jpg" {
		t.Errorf("accepted %+v", got)
	}
}

func TestTheTokenIsAsked(t *testing.T) {
	t.Parallel()
	c := listening()
	c.Token = "hush"
	hub := webhookOn(t, c, deps(t))
	body := record("ObjectCreated:Put", "b", "k")
	for auth, want := range map[string]int{
		"":                  401,
		"Bearer hus":        401,
		"Bearer hush ":      200, // the server trims it
		"Basic dTpodXNo":    200, // u:hush, from the URL that the store posts to
		"Basic dTpodXM=":    401,
		"bearer hush":       200,
		"Bearer hush extra": 401,
		"hush":              200,
	} {
		post(t, hub, http.Header{"Authorization": {auth}}, body, want, "")
	}
	c.Token = "Splunk 1234" // two words, which MinIO sends as they are
	hub = webhookOn(t, c, deps(t))
	post(t, hub, http.Header{"Authorization": {"Splunk 1234"}}, body, 200, "")
	post(t, hub, http.Header{"Authorization": {"1234"}}, body, 401, "token")
}

func TestBadPostsAreRefused(t *testing.T) {
	t.Parallel()
	hub := webhookOn(t, listening(), deps(t))
	post(t, hub, nil, "", 400, "the body is empty")
	post(t, hub, nil, `{"Records":`, 400, "the body is not JSON: byte 11")
	post(t, hub, nil, `{"Records":[{"eventName":"x"}]}`, 400, "Records[0].s3.bucket.name is missing")
	post(t, hub, nil, strings.Repeat(" ", maxPost+1), 413, "over the limit of 1048576 bytes")
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
		status, _, err := send(t.Context(), method, hub.URL()+"/notify/uploads", nil, "")
		if err != nil || status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d, %v", method, status, err)
		}
	}
	if n := len(hub.Calls()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestARefusedEventIsAnsweredByItsReason(t *testing.T) {
	t.Parallel()
	hub := webhookOn(t, listening(), deps(t))
	for _, c := range []struct {
		err        error
		status     int
		retryAfter string
	}{
		{errors.New("disk full"), 503, "1"},
		{&executor.Error{Kind: executor.Internal, Err: errors.New("x")}, 503, "1"},
		{&executor.Error{Kind: executor.Throttled, RetryAfter: 90500 * time.Millisecond, Err: errors.New("x")}, 503, "91"},
		{&executor.Error{Kind: executor.TooLarge, Err: errors.New("x")}, 413, ""},
		{&executor.Error{Kind: executor.Refused, Err: errors.New("x")}, 422, ""},
	} {
		hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) { return executor.Response{}, c.err })
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, hub.URL()+"/notify/uploads", strings.NewReader(record("ObjectCreated:Put", "b", "k")))
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || resp.Header.Get("Retry-After") != c.retryAfter {
			t.Errorf("%v: %d, after %q", c.err, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
}

func TestAClientThatDoesNotSendItsBodyIsLetGo(t *testing.T) {
	t.Parallel()
	d, manual := deps(t), clock.NewManual(time.Unix(1e9, 0))
	d.Clock = manual
	hub := webhookOn(t, listening(), d)
	conn, err := net.Dial("tcp", strings.TrimPrefix(hub.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /notify/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	until(t, "the handler to read", func() bool { return manual.Timers() == 1 })
	manual.Advance(time.Minute)
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 408" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestBadSettingsAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(*Config)
		want string
	}{
		"nothing":                  {func(c *Config) { c.Listen = "" }, "set listen to a path"},
		"both":                     {func(c *Config) { c.Directory = "x" }, "directory: a trigger has either"},
		"a method in the path":     {func(c *Config) { c.Listen = "POST /x" }, "listen: "},
		"a URL":                    {func(c *Config) { c.Listen = "http://x/y" }, "listen: "},
		"a settle time to listen":  {func(c *Config) { c.Settle = 5 }, "settle: it belongs to directory"},
		"an ignore list to listen": {func(c *Config) { c.Ignore = nil }, "ignore: it belongs to directory"},
		"an unknown vendor":        {func(c *Config) { c.Vendor = "ceph" }, `vendor: "ceph" is not known`},
		"an unknown event":         {func(c *Config) { c.Events = []string{"s3:ObjectCreated:*", "s3:Object"} }, "events[1]: "},
		"a token to a directory":   {func(c *Config) { c.Listen, c.Directory, c.Token = "", "x", "y" }, "token: it belongs to listen"},
		"a long settle":            {func(c *Config) { c.Listen, c.Directory, c.Settle = "", "x", 2*time.Hour }, "settle: 2h0m0s is not"},
		"a short rescan":           {func(c *Config) { c.Listen, c.Directory, c.RescanInterval = "", "x", 0 }, "rescanInterval: 0s is not"},
		"a bad pattern":            {func(c *Config) { c.Listen, c.Directory, c.Ignore = "", "x", []string{"[", "a/b"} }, "ignore[1]: "},
	} {
		config := listening()
		c.set(&config)
		err := config.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") && name != "a bad pattern" {
			t.Errorf("%s: more than one error: %v", name, err)
		}
	}
	c := listening()
	if err := c.Validate(); err != nil || c.Patterns()[0] != "/notify/uploads" {
		t.Error(err)
	}
}
