package sns

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trigger is a running source and what stands around it.
type trigger struct {
	testing.TB
	hub *sourcetest.Hub
	log *journal
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func deps(t testing.TB) plugin.Deps {
	return plugin.Deps{
		Name: "orders", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: clock.System{}, Dir: t.TempDir(),
	}
}

func start(t testing.TB, c Config, d plugin.Deps) *trigger {
	t.Helper()
	tr := &trigger{TB: t, hub: sourcetest.NewHub(t), log: &journal{}}
	d.Log = slog.New(slog.NewTextHandler(tr.log, nil))
	s, err := Spec().Open(t.Context(), &c, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, tr.hub.Hub()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	patience, stop := clock.WithTimeout(context.Background(), clock.System{}, 10*time.Second)
	defer stop()
	for len(tr.hub.Mounted()) == 0 {
		if clock.Sleep(patience, clock.System{}, time.Millisecond) != nil {
			t.Fatal("it does not mount")
		}
	}
	return tr
}

func send(ctx context.Context, url string, header http.Header, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "text/plain; charset=UTF-8")
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

func (tr *trigger) post(header http.Header, body string, want int, text string) {
	tr.Helper()
	status, got, err := send(tr.Context(), tr.hub.URL()+"/sns/orders", header, body)
	if err != nil {
		tr.Fatal(err)
	}
	if status != want || !strings.Contains(got, text) {
		tr.Errorf("answered %d %q, want %d %q", status, got, want, text)
	}
}

func TestSourceKeepsTheContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		hub, sns := sourcetest.NewHub(t), newService(t)
		return sourcetest.Upstream{
			Hub: hub,
			Open: func(t testing.TB) sources.Source {
				c := sns.config()
				s, err := Spec().Open(t.Context(), &c, deps(t))
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Put: func(ctx context.Context, id string) error {
				status, text, err := send(ctx, hub.URL()+"/sns/orders", nil, body(t, sns.message("2", id, nil)))
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("%d %s", status, text)
				}
				return err
			},
			Confirms:    true,
			Concurrency: 8,
		}
	})
}

func TestASignedMessageIsAccepted(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	for i, version := range []string{"1", "2"} {
		m := sns.message(version, "line\n\"<ü>\" "+strings.Repeat("x", 200_000), func(m *event.SNSMessage) {
			m.Subject = "a subject"
			m.Attributes = []event.SNSAttribute{{Name: "n", Type: "Number", Value: "1"}}
		})
		tr.post(http.Header{"X-Amz-Sns-Subscription-Arn": {topic + ":id"}, "X-Amzn-Trace-Id": {"Root=1-2-3"}}, body(t, m), 200, "")
		calls := tr.hub.Calls()
		if len(calls) != i+1 {
			t.Fatalf("%d events", len(calls))
		}
		if want := string(event.AppendSNS(nil, m, topic+":id")); string(calls[i].Payload) != want || calls[i].TraceID != "Root=1-2-3" || calls[i].Invoked {
			t.Errorf("accepted %.300s, want %.300s", calls[i].Payload, want)
		}
	}
	if n := sns.count(certificatePath); n != 1 {
		t.Errorf("the certificate was fetched %d times", n)
	}
}

func TestTheSubscriptionIsThatOfTheTopic(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	for i, c := range []struct{ header, unsubscribe, want string }{
		{topic + ":header", "", topic + ":header"},
		{"", "https://x/?SubscriptionArn=" + topic + ":url", topic + ":url"},
		{"arn:aws:sns:other", "https://x/?SubscriptionArn=" + topic + ":url", topic + ":url"},
		{"", "https://x/?SubscriptionArn=arn:aws:sns:other:x", topic},
	} {
		m := sns.message("2", "m", func(m *event.SNSMessage) { m.UnsubscribeURL = c.unsubscribe })
		tr.post(http.Header{"X-Amz-Sns-Subscription-Arn": {c.header}}, body(t, m), 200, "")
		var doc struct {
			Records []struct{ EventSubscriptionArn string }
		}
		if err := json.Unmarshal(tr.hub.Calls()[i].Payload, &doc); err != nil || doc.Records[0].EventSubscriptionArn != c.want {
			t.Errorf("%+v: %+v, %v", c, doc, err)
		}
	}
}

func TestWhatSNSHasNotSignedIsRefused(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	for name, c := range map[string]struct {
		forge func(*event.SNSMessage)
		want  string
	}{
		"another message":           {func(m *event.SNSMessage) { m.Message += "!" }, "does not fit"},
		"another id":                {func(m *event.SNSMessage) { m.MessageID += "0" }, "does not fit"},
		"a subject":                 {func(m *event.SNSMessage) { m.Subject = "s" }, "does not fit"},
		"another time":              {func(m *event.SNSMessage) { m.Timestamp = strings.Replace(m.Timestamp, "Z", "1Z", 1) }, "does not fit"},
		"the other version":         {func(m *event.SNSMessage) { m.SignatureVersion = "1" }, "does not fit"},
		"a version to come":         {func(m *event.SNSMessage) { m.SignatureVersion = "3" }, `SignatureVersion is "3"`},
		"no version":                {func(m *event.SNSMessage) { m.SignatureVersion = "" }, `SignatureVersion is ""`},
		"no signature":              {func(m *event.SNSMessage) { m.Signature = "" }, "not base64"},
		"garbage for a signature":   {func(m *event.SNSMessage) { m.Signature = "%" }, "not base64"},
		"a certificate of a forger": {func(m *event.SNSMessage) { m.SigningCertURL = "https://evil.example/SimpleNotificationService-1.pem" }, "is not one of SNS"},
		"a host that ends alike": {func(m *event.SNSMessage) {
			m.SigningCertURL = "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem"
		}, "is not one of SNS"},
		"another region": {func(m *event.SNSMessage) {
			m.SigningCertURL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem"
		}, "is not one of SNS"},
		"a bucket for a host": {func(m *event.SNSMessage) {
			m.SigningCertURL = "https://sns.eu-central-1.amazonaws.com/evil/SimpleNotificationService-1.pem"
		}, "is not one of SNS"},
		"no TLS": {func(m *event.SNSMessage) {
			m.SigningCertURL = "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"
		}, "is not one of SNS"},
		"a user in the URL": {func(m *event.SNSMessage) {
			m.SigningCertURL = "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem"
		}, "is not one of SNS"},
		"no certificate":            {func(m *event.SNSMessage) { m.SigningCertURL = "" }, "is not one of SNS"},
		"another port of a service": {func(m *event.SNSMessage) { m.SigningCertURL = "https://127.0.0.1:1/x.pem" }, "is not one of SNS"},
	} {
		m := sns.message("2", "text", nil)
		c.forge(m)
		t.Log(name)
		tr.post(nil, body(t, m), 403, c.want)
	}
	if n := len(tr.hub.Calls()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestTheCertificateIsChecked(t *testing.T) {
	t.Parallel()
	const host = "sns.eu-central-1.amazonaws.com"
	for name, c := range map[string]struct {
		set    func(*service)
		status int
		want   string
	}{
		"one for all regions":  {func(s *service) { s.sign(nil, "sns.amazonaws.com") }, 200, ""},
		"one for another host": {func(s *service) { s.sign(nil, "www.amazonaws.com") }, 403, "its certificate is not for " + host},
		"an expired one": {func(s *service) {
			s.sign(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, host)
		}, 403, "not trusted"},
		"one that no root vouches for": {func(s *service) {
			s.inter = (*authority)(nil).issue(s, keys()[1], 9, nil)
			s.sign(nil, host)
		}, 403, "not trusted"},
		"no certificate": {func(s *service) { s.serve(certificatePath, []byte("hello")) }, 403, "no certificate in PEM form"},
		"a broken one": {func(s *service) {
			s.serve(certificatePath, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"))
		}, 403, "can not be read"},
		"a file too long": {func(s *service) { s.serve(certificatePath, make([]byte, maxFetch+1)) }, 503, "more than 65536 bytes"},
		"none there":      {func(s *service) { delete(s.files, certificatePath) }, 503, "404 Not Found"},
		"one without the authority in between, which says where that is": {func(s *service) {
			s.sign(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{s.server.URL + "/inter.crt"} }, host)
			s.serve(certificatePath, s.signer.pem())
			s.serve("/inter.crt", s.inter.cert.Raw)
		}, 200, ""},
		"one without the authority in between, which does not say": {func(s *service) {
			s.serve(certificatePath, s.signer.pem())
		}, 403, "not trusted"},
		"one whose authority is elsewhere": {func(s *service) {
			s.sign(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://evil.example/x"} }, host)
			s.serve(certificatePath, s.signer.pem())
		}, 403, "not trusted"},
		"one that leads in a circle": {func(s *service) {
			s.sign(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{s.server.URL + "/self"} }, host)
			s.serve(certificatePath, s.signer.pem())
			s.serve("/self", s.signer.pem())
		}, 403, "not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sns := newService(t)
			c.set(sns)
			tr := start(t, sns.config(), deps(t))
			tr.post(nil, body(t, sns.message("1", "text", nil)), c.status, c.want)
		})
	}
}

// A certificate that was good may not be any more.
func TestACachedCertificateExpires(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	manual := clock.NewManual(time.Now())
	d := deps(t)
	d.Clock = manual
	c := sns.config()
	c.MaximumAge = 300 * time.Hour
	tr := start(t, c, d)
	m := body(t, sns.message("1", "text", nil))
	tr.post(nil, m, 200, "")
	manual.Advance(241 * time.Hour)
	tr.post(nil, m, 403, "its certificate is valid from")
}

func TestOnlyTheConfiguredTopicsAreTaken(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	c := sns.config()
	c.TopicARNs = []string{"arn:aws:sns:eu-central-1:123456789012:orders-*", topic}
	tr := start(t, c, deps(t))
	for arn, want := range map[string]int{
		topic:          200,
		topic + "-new": 200,
		topic + "x":    403,
		"arn:aws:sns:eu-central-1:999999999999:orders": 403,
	} {
		tr.post(nil, body(t, sns.message("2", "m", func(m *event.SNSMessage) { m.TopicARN = arn })), want, "")
	}
}

func TestAnOldMessageIsRefused(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	at := func(text string) string {
		return body(t, sns.message("2", "m", func(m *event.SNSMessage) { m.Timestamp = text }))
	}
	tr.post(nil, at(time.Now().Add(-2*time.Hour-time.Minute).UTC().Format(time.RFC3339)), 403, "maximumAge is 2h0m0s")
	tr.post(nil, at(time.Now().Add(-2*time.Hour+time.Minute).UTC().Format(time.RFC3339)), 200, "")
	tr.post(nil, at("yesterday"), 400, `Timestamp is "yesterday"`)
}

func TestASubscriptionIsConfirmed(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	m := sns.confirmation(nil)
	tr.post(nil, body(t, m), 200, "")
	u, _ := url.Parse(m.SubscribeURL)
	if len(sns.confirmed) != 1 || sns.confirmed[0] != u.RawQuery {
		t.Errorf("visited %q, want %q", sns.confirmed, u.RawQuery)
	}
	sns.confirms = http.StatusBadRequest
	tr.post(nil, body(t, m), 503, "400 Bad Request")
	sns.confirms = http.StatusFound // to somewhere that would answer 200
	tr.post(nil, body(t, m), 503, "302 Found")
	for name, forge := range map[string]func(*event.SNSMessage){
		"another host": func(m *event.SNSMessage) {
			m.SubscribeURL = "https://evil.example/?Action=ConfirmSubscription&TopicArn=" + topic
		},
		"another topic": func(m *event.SNSMessage) {
			m.SubscribeURL = sns.server.URL + "/?Action=ConfirmSubscription&TopicArn=arn:other"
		},
		"another action": func(m *event.SNSMessage) { m.SubscribeURL = sns.server.URL + "/?Action=Unsubscribe&TopicArn=" + topic },
	} {
		t.Log(name)
		tr.post(nil, body(t, sns.confirmation(forge)), 403, "SubscribeURL")
	}
	unsigned := sns.confirmation(nil)
	unsigned.Token += "0"
	tr.post(nil, body(t, unsigned), 403, "not signed by SNS")
	if len(sns.confirmed) != 3 || len(tr.hub.Calls()) != 0 {
		t.Errorf("%d visits, %d events", len(sns.confirmed), len(tr.hub.Calls()))
	}
}

func TestAConfirmationCanBeLeftToTheOperator(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	c := sns.config()
	c.Confirm = false
	tr := start(t, c, deps(t))
	tr.post(nil, body(t, sns.confirmation(nil)), 200, "")
	if len(sns.confirmed) != 0 || !strings.Contains(tr.log.String(), "Action=ConfirmSubscription") {
		t.Errorf("%d visits, log %s", len(sns.confirmed), tr.log)
	}
}

func TestTheEndOfASubscriptionIsLogged(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	tr.post(nil, body(t, sns.confirmation(func(m *event.SNSMessage) { m.Type = event.SNSUnsubscribe })), 200, "")
	if len(sns.confirmed) != 0 || len(tr.hub.Calls()) != 0 || !strings.Contains(tr.log.String(), "the subscription has been deleted") {
		t.Errorf("%d visits, %d events, log %s", len(sns.confirmed), len(tr.hub.Calls()), tr.log)
	}
}

func TestRawMessagesNeedTrust(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	header := http.Header{
		"X-Amz-Sns-Rawdelivery": {"true"}, "X-Amz-Sns-Message-Id": {"id"}, "X-Amz-Sns-Topic-Arn": {topic},
		"X-Amz-Sns-Subscription-Arn": {topic + ":sub"}, "X-Amz-Sns-Message-Type": {"Notification"},
	}
	tr := start(t, sns.config(), deps(t))
	tr.post(header, "hello", 403, "set verify: false")

	c, d := sns.config(), deps(t)
	c.Verify = false
	d.Clock = clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC))
	tr = start(t, c, d)
	if !strings.Contains(tr.log.String(), "signatures are not checked") {
		t.Errorf("no warning in %s", tr.log)
	}
	tr.post(header, "hello \"you\"", 200, "")
	const want = `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":"` + topic + `:sub","Sns":{"Type":"Notification","MessageId":"id","TopicArn":"` + topic +
		`","Subject":null,"Message":"hello \"you\"","Timestamp":"2026-01-02T03:04:05.006Z","SignatureVersion":"1","Signature":"","SigningCertUrl":"","UnsubscribeUrl":"","MessageAttributes":{}}}]}`
	if calls := tr.hub.Calls(); len(calls) != 1 || string(calls[0].Payload) != want {
		t.Errorf("accepted %+v", calls)
	}
	header.Set("X-Amz-Sns-Topic-Arn", "arn:other")
	tr.post(header, "hello", 403, "topicArns does not name it")
}

func TestAnUnsignedMessageIsTakenOnlyIfToldSo(t *testing.T) {
	t.Parallel()
	c := Defaults()
	c.Listen, c.TopicARNs, c.Verify = "/sns/orders", []string{topic}, false
	tr := start(t, c, deps(t))
	tr.post(nil, `{"Type":"Notification","MessageId":"i","TopicArn":"`+topic+`","Message":"m","Timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`"}`, 200, "")
	tr.post(nil, `{"Type":"SubscriptionConfirmation","MessageId":"i","TopicArn":"`+topic+`","Timestamp":"t","SubscribeURL":"http://127.0.0.1/?Action=ConfirmSubscription&TopicArn=`+topic+`"}`, 403, "SubscribeURL")
}

func TestBadPostsAreRefused(t *testing.T) {
	t.Parallel()
	sns := newService(t)
	tr := start(t, sns.config(), deps(t))
	tr.post(nil, "", 400, "the body is empty")
	tr.post(nil, "hello", 400, "the body is not JSON: byte 1")
	tr.post(nil, `{"Type":"Notification"}`, 400, "MessageId is missing")
	tr.post(nil, strings.Repeat(" ", maxPost+1), 413, "over the limit")
	tr.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		return executor.Response{}, errors.New("disk full")
	})
	tr.post(nil, body(t, sns.message("2", "m", nil)), 503, "try again later: disk full")
}

func TestHostsOfAmazon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, arn string
		want     bool
	}{
		{"https://sns.eu-central-1.amazonaws.com/x", topic, true},
		{"https://sns.eu-central-1.amazonaws.com:443/x", topic, true},
		{"https://sns.eu-central-1.amazonaws.com:8443/x", topic, false},
		{"https://sns.cn-north-1.amazonaws.com.cn/x", "arn:aws-cn:sns:cn-north-1:123456789012:t", true},
		{"https://sns.cn-north-1.amazonaws.com/x", "arn:aws-cn:sns:cn-north-1:123456789012:t", false},
		{"https://sns.us-gov-west-1.amazonaws.com/x", "arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", true},
		{"https://sns.x.evil.amazonaws.com/x", "arn:aws:sns:x.evil:123456789012:t", false},
		{"https://sns..amazonaws.com/x", "arn:aws:sns::123456789012:t", false},
		{"http://sns.eu-central-1.amazonaws.com/x", topic, false},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := ofAmazon(u, c.arn); got != c.want {
			t.Errorf("%s for %s: %v", c.url, c.arn, got)
		}
	}
}

func TestBadSettingsAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]func(*Config){
		"listen: ":                                     func(c *Config) { c.Listen = "" },
		"topicArns: name the topics":                   func(c *Config) { c.TopicARNs = nil },
		`topicArns[1]: "*" is not`:                     func(c *Config) { c.TopicARNs = append(c.TopicARNs, "*") },
		`topicArns[1]: "arn:a:b:c:d:[`:                 func(c *Config) { c.TopicARNs = append(c.TopicARNs, "arn:a:b:c:d:[") },
		"maximumAge: 0s is not":                        func(c *Config) { c.MaximumAge = 0 },
		"endpoint: ":                                   func(c *Config) { c.Endpoint = "localhost:4566" },
		"certificateAuthority: it belongs to endpoint": func(c *Config) { c.CertificateAuthority = "x" },
	} {
		c := Defaults()
		c.Listen, c.TopicARNs = "/sns/orders", []string{topic}
		set(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
	d := deps(t)
	if err := os.WriteFile(filepath.Join(d.Dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"missing.pem": "no such file", "empty.pem": "has no certificate in PEM form"} {
		c := Defaults()
		c.Listen, c.TopicARNs, c.Endpoint, c.CertificateAuthority = "/sns/orders", []string{topic}, "https://127.0.0.1:1", file
		if _, err := Spec().Open(t.Context(), &c, d); err == nil || !strings.Contains(err.Error(), "certificateAuthority: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	c := Defaults()
	c.Listen, c.TopicARNs = "/sns/orders", []string{topic}
	if err := c.Validate(); err != nil || c.Patterns()[0] != "/sns/orders" {
		t.Error(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	sns := newService(b)
	c := sns.config()
	s, err := Spec().Open(b.Context(), &c, deps(b))
	if err != nil {
		b.Fatal(err)
	}
	e := s.(*endpoint)
	defer e.aws.close()
	m := sns.message("2", strings.Repeat("x", 1024), nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.aws.verify(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}
