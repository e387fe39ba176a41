package sns

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 is defined with it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
	source "github.com/millrace/millrace/sources/sns"
	"github.com/millrace/millrace/sources/sourcetest"
)

const retryTwice = `{"healthyRetryPolicy":{"minDelayTarget":10,"maxDelayTarget":30,"numRetries":3,"numNoDelayRetries":1}}`

func TestPostsAreTriedAgainByThePolicy(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 503, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			topic := w.topic("topic")
			e, _ := w.hook(topic, "DeliveryPolicy", retryTwice, "RedrivePolicy", redriveTo(queue("dlq")))
			e.answers(func(post) int { return status })
			w.publish(topic, "x")
			e.await(3) // the confirmation, the first attempt and the retry without delay
			for i, wait := range []time.Duration{10 * time.Second, 30 * time.Second} {
				w.parked(1)
				w.Clock.Advance(wait - time.Millisecond)
				if n := len(e.await(3 + i)); n != 3+i {
					t.Fatalf("posted %d times too early", n)
				}
				w.expect(0)
				w.Clock.Advance(time.Millisecond)
				e.await(4 + i)
			}
			d := w.Await(1)[0]
			if d.Target != queue("dlq") || d.Message.Body != e.await(5)[4].body {
				t.Errorf("the dead letter is %+v", d)
			}
			if e.await(5)[1].header.Get("X-Amz-Sns-Message-Id") != e.await(5)[4].header.Get("X-Amz-Sns-Message-Id") {
				t.Error("the message has changed its id")
			}
		})
	}
}

func TestClientErrorsAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 302, 199 + 200} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			topic := w.topic("topic")
			e, _ := w.hook(topic, "RedrivePolicy", redriveTo(queue("dlq")), "RawMessageDelivery", "true")
			e.answers(func(post) int { return status })
			w.publish(topic, "x", with(attributes{"a": str("b")}))
			if d := w.Await(1)[0]; d.Target != queue("dlq") || d.Message.Body != "x" || d.Message.Attributes["a"].String != "b" {
				t.Errorf("the dead letter is %+v", d)
			}
			if n := len(e.await(2)); n != 2 {
				t.Errorf("posted %d times", n)
			}
		})
	}
}

func TestUnreachableEndpointsAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic, "RedrivePolicy", redriveTo(queue("dlq")), "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1,"minDelayTarget":1,"maxDelayTarget":1}}`)
	e.CloseClientConnections()
	e.Close()
	w.publish(topic, "x")
	w.parked(1)
	w.Clock.Advance(time.Second)
	if d := w.Await(1)[0]; d.Target != queue("dlq") {
		t.Errorf("delivered %+v", d)
	}
}

func TestSlowEndpointsAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic, "RedrivePolicy", redriveTo(queue("dlq")), "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":0}}`)
	release := make(chan struct{})
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	e.Config.Handler = slow
	w.publish(topic, "x")
	w.timers(2) // the token's end and the post's
	w.Clock.Advance(postTime)
	if d := w.Await(1)[0]; d.Target != queue("dlq") {
		t.Errorf("delivered %+v", d)
	}
}

func TestUnsubscribedEndpointsGetNothingMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, sub := w.hook(topic, "RedrivePolicy", redriveTo(queue("dlq")))
	e.answers(func(p post) int {
		if p.header.Get("X-Amz-Sns-Message-Type") == typeNotification {
			return 500
		}
		return 200
	})
	w.publish(topic, "x")
	e.await(2)
	w.parked(1)
	if err := w.unsubscribe(sub); err != nil {
		t.Fatal(err)
	}
	if got := e.await(3)[2].header.Get("X-Amz-Sns-Message-Type"); got != typeUnsubscribe {
		t.Errorf("posted a %s", got)
	}
	w.parked(1)
	w.Clock.Advance(20 * time.Second)
	w.parked(0) // the retry has come to nothing
	if n := len(e.await(3)); n != 3 {
		t.Errorf("posted %d times", n)
	}
	w.expect(0)
}

func TestTopicsMayForbidOverrides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic", "DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":{"numRetries":0},"disableSubscriptionOverrides":true}}`)
	e, sub := w.hook(topic, "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":5,"numNoDelayRetries":5}}`, "RedrivePolicy", redriveTo(queue("dlq")))
	if got := w.attributes(sub).Attributes["EffectiveDeliveryPolicy"]; !strings.Contains(got, `"numRetries":0`) {
		t.Errorf("the effective policy is %s", got)
	}
	e.answers(func(post) int { return 500 })
	w.publish(topic, "x")
	w.Await(1)
	if n := len(e.await(2)); n != 2 {
		t.Errorf("posted %d times", n)
	}
}

func TestThrottledEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic, "DeliveryPolicy", `{"throttlePolicy":{"maxReceivesPerSecond":2}}`)
	for i := range 5 {
		w.publish(topic, fmt.Sprint(i))
	}
	for n := 2; n <= 6; n++ {
		e.await(n)
		if n == 6 {
			break
		}
		w.parked(6 - n)
		if got := len(e.await(n)); got != n {
			t.Fatalf("%d posts, want %d", got, n)
		}
		w.Clock.Advance(500 * time.Millisecond)
	}
}

// timers waits until the clock has so many.
func (w *world) timers(n int) {
	w.Helper()
	for w.Clock.Timers() != n {
		if w.Context().Err() != nil {
			w.Fatalf("the clock has %d timers, want %d", w.Clock.Timers(), n)
		}
	}
}

// parked waits until so many parcels are pending, or any number if n is -1, and all of them wait for their time. It
// returns how many they are.
func (w *world) parked(n int) int {
	w.Helper()
	c := w.service.courier
	for {
		c.mu.Lock()
		pending := len(c.parcels)
		ok := n == -1 || pending == n
		for _, p := range c.parcels {
			ok = ok && (p.slot.After(w.Clock.Now()) || p.Due.After(w.Clock.Now()) || p.Lane != "" && c.lanes[p.Lane][0] != p)
		}
		for _, l := range c.lines {
			ok = ok && l.working == 0
		}
		c.mu.Unlock()
		if ok {
			return pending
		}
		if w.Context().Err() != nil {
			w.Fatalf("%d parcels never wait", n)
		}
		runtime.Gosched()
	}
}

func TestHTTPSEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e := newTLSEndpoint(t)
	w.service.courier.poster.client.Transport.(*http.Transport).TLSClientConfig = e.Client().Transport.(*http.Transport).TLSClientConfig
	w.subscribe(topic, "https", e.URL)
	get(t, member(t, e.await(1)[0].body, "SubscribeURL"))
	w.publish(topic, "secret")
	if got := member(t, e.await(2)[1].body, "Message"); got != "secret" {
		t.Errorf("posted %s", got)
	}
}

// signed checks the signature of a document with the certificate that it names.
func signed(t *testing.T, doc, version string) {
	t.Helper()
	m, err := event.ParseSNS([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	status, file := get(t, m.SigningCertURL)
	block, _ := pem.Decode([]byte(file))
	if status != 200 || block == nil || block.Type != "CERTIFICATE" {
		t.Fatalf("%d %s", status, file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		t.Fatal(err)
	}
	text := m.AppendSigned(nil)
	hash := crypto.SHA1
	var digest []byte
	if m.SignatureVersion == "2" {
		sum := sha256.Sum256(text)
		hash, digest = crypto.SHA256, sum[:]
	} else {
		sum := sha1.Sum(text) //nolint:gosec // see the import
		digest = sum[:]
	}
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), hash, digest, signature); err != nil || m.SignatureVersion != version {
		t.Errorf("version %s of %s: %v", m.SignatureVersion, m.Type, err)
	}
}

func TestMessagesAreSigned(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			topic := w.topic("topic", "SignatureVersion", version)
			e, sub := w.hook(topic)
			w.subscribe(topic, "sqs", queue("q"))
			w.publish(topic, "text", func(in *awssns.PublishInput) { in.Subject = pointer("subject") })
			if err := w.unsubscribe(sub); err != nil {
				t.Fatal(err)
			}
			for _, p := range e.await(3) {
				signed(t, p.body, version)
			}
			signed(t, w.Delivered()[0].Message.Body, version)
		})
	}
	w := newWorld(t)
	if status, _ := get(t, w.url+"/_millrace/sns/SimpleNotificationService-0.pem"); status != 404 {
		t.Errorf("another certificate: %d", status)
	}
}

// TestOurSourceTakesThem subscribes the hub's own source, which confirms and verifies.
func TestOurSourceTakesThem(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			topic := w.topic("topic", "SignatureVersion", version)
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, must[[]byte](t)(w.service.Certificate()), 0o600); err != nil {
				t.Fatal(err)
			}
			c := source.Defaults()
			c.Listen, c.TopicARNs, c.Endpoint, c.CertificateAuthority = "/sns/orders", []string{topic}, w.url, file
			s, err := source.Spec().Open(t.Context(), &c, plugin.Deps{
				Name: "orders", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Clock: w.Clock, Dir: t.TempDir(),
			})
			if err != nil {
				t.Fatal(err)
			}
			hub := sourcetest.NewHub(t)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx, hub.Hub()) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			until(t, func() bool { return len(hub.Mounted()) == 1 })
			w.subscribe(topic, "http", hub.URL()+"/sns/orders")
			until(t, func() bool { return w.topicAttributes(topic).Attributes["SubscriptionsConfirmed"] == "1" })
			w.publish(topic, "an order", with(attributes{"a": str("b")}))
			until(t, func() bool { return len(hub.Calls()) == 1 })
			if got := string(hub.Calls()[0].Payload); !strings.Contains(got, `"Message":"an order"`) {
				t.Errorf("the source takes %s", got)
			}
		})
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for !ok() {
		if t.Context().Err() != nil {
			t.Fatal("it does not happen")
		}
	}
}
