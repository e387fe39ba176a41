package sns

import (
	"context"
	"crypto/md5" //nolint:gosec // as SQS shows bodies
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an SNS with a client.
type world struct {
	*stacktest.Kit
	testing.TB
	service   *Service
	client    *awssns.Client
	url       string
	duplicate atomic.Bool // what fault injection asks for
}

func newWorld(t testing.TB) *world { return worldOn(t, store.Memory()) }

func worldOn(t testing.TB, st *store.Store) *world {
	t.Helper()
	w := &world{Kit: stacktest.On(t, st), TB: t}
	var err error
	if w.service, err = New(w.Env); err != nil {
		t.Fatal(err)
	}
	api := wire.NewDispatcher(wire.Config{Services: w.service.API(), Region: stacktest.Region, Account: stacktest.Account, Log: w.Env.Log, Before: func(_ context.Context, r *wire.Request, _ wire.Error) (func() error, error) {
		r.Duplicate = w.duplicate.Load()
		return nil, nil
	}})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_millrace/sns/") {
			w.service.ServeHTTP(rw, r)
			return
		}
		api.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	w.url = server.URL
	w.client = w.as("", "")
	return w
}

// as is a client of another account or region.
func (w *world) as(account, region string) *awssns.Client {
	c := stacktest.Config(w.url)
	// The SDK closes a request's body once an answer has begun, and cuts the connection if net/http is not yet done with
	// the body: so it must be let try again.
	c.RetryMaxAttempts = 5
	if region != "" {
		c.Region = region
	}
	if account != "" {
		c.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: account, SecretAccessKey: "x"}, nil
		})
	}
	return awssns.NewFromConfig(c)
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// topic makes a topic; attributes are names and values.
func (w *world) topic(name string, attributes ...string) string {
	w.Helper()
	in := &awssns.CreateTopicInput{Name: &name, Attributes: pairs(attributes)}
	if strings.HasSuffix(name, ".fifo") {
		in.Attributes["FifoTopic"] = "true"
	}
	out, err := w.client.CreateTopic(w.Context(), in)
	if err != nil {
		w.Fatal(err)
	}
	return *out.TopicArn
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

// subscribe subscribes an endpoint and returns the subscription's ARN.
func (w *world) subscribe(topic, protocol, endpoint string, attributes ...string) string {
	w.Helper()
	out, err := w.client.Subscribe(w.Context(), &awssns.SubscribeInput{
		TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: pairs(attributes), ReturnSubscriptionArn: true,
	})
	if err != nil {
		w.Fatal(err)
	}
	return *out.SubscriptionArn
}

func queue(name string) string { return "arn:aws:sqs:us-east-1:000000000000:" + name }

// discard makes queues take messages and keep none.
func (w *world) discard() {
	w.service.env.Deliver = func(context.Context, string, env.Message) error { return nil }
}

func (w *world) publish(topic, text string, change ...func(*awssns.PublishInput)) *awssns.PublishOutput {
	w.Helper()
	in := &awssns.PublishInput{TopicArn: &topic, Message: &text}
	for _, f := range change {
		f(in)
	}
	out, err := w.client.Publish(w.Context(), in)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) attributes(subscription string) *awssns.GetSubscriptionAttributesOutput {
	w.Helper()
	return must[*awssns.GetSubscriptionAttributesOutput](w)(w.client.GetSubscriptionAttributes(w.Context(),
		&awssns.GetSubscriptionAttributesInput{SubscriptionArn: &subscription}))
}

func (w *world) topicAttributes(topic string) *awssns.GetTopicAttributesOutput {
	w.Helper()
	return must[*awssns.GetTopicAttributesOutput](w)(w.client.GetTopicAttributes(w.Context(), &awssns.GetTopicAttributesInput{TopicArn: &topic}))
}

func (w *world) set(subscription, name, value string) error {
	_, err := w.client.SetSubscriptionAttributes(w.Context(), &awssns.SetSubscriptionAttributesInput{
		SubscriptionArn: &subscription, AttributeName: &name, AttributeValue: &value,
	})
	return err
}

func str(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &s}
}

func number(s string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("Number"), StringValue: &s}
}

func binary(b ...byte) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: b}
}

func with(attributes map[string]types.MessageAttributeValue) func(*awssns.PublishInput) {
	return func(in *awssns.PublishInput) { in.MessageAttributes = attributes }
}

// code is the code and message of an error of SNS.
func code(t testing.TB, err error) (code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no error of an API", err)
	}
	return e.ErrorCode(), e.ErrorMessage()
}

func refused(t testing.TB, err error, wantCode, wantMessage string) {
	t.Helper()
	if c, m := code(t, err); c != wantCode || m != wantMessage {
		t.Errorf("got  %s: %s\nwant %s: %s", c, m, wantCode, wantMessage)
	}
}

// received is what ReceiveMessage would show of deliveries to queues. All of the system attributes that a test has
// asked for are named.
func received(deliveries []stacktest.Delivery, attributes ...string) map[string]any {
	var list []any
	for i, d := range deliveries {
		sum := md5.Sum([]byte(d.Message.Body)) //nolint:gosec // see the import
		m := map[string]any{
			"Body": d.Message.Body, "MD5OfBody": hex.EncodeToString(sum[:]), "MessageId": uuid.NewString(), "ReceiptHandle": fmt.Sprint("receipt-", i),
		}
		if len(d.Message.Attributes) > 0 {
			m["MessageAttributes"] = queueForm(d.Message.Attributes)
			m["MD5OfMessageAttributes"] = strings.Repeat("0", 32)
		}
		system := map[string]any{
			"ApproximateFirstReceiveTimestamp": "1767323045000", "ApproximateReceiveCount": "1", "SenderId": "AIDA", "SentTimestamp": "1767323045000",
			"SequenceNumber": fmt.Sprintf("%020d", i+1), "MessageGroupId": d.Message.GroupID, "MessageDeduplicationId": d.Message.DeduplicationID,
			"AWSTraceHeader": d.Message.TraceHeader,
		}
		shown := map[string]any{}
		for _, name := range attributes {
			if system[name] != "" {
				shown[name] = system[name]
			}
		}
		if len(shown) > 0 {
			m["Attributes"] = shown
		}
		list = append(list, m)
	}
	if list == nil {
		return map[string]any{"ResponseMetadata": status200()}
	}
	return map[string]any{"Messages": list, "ResponseMetadata": status200()}
}

func status200() map[string]any {
	return map[string]any{"HTTPStatusCode": json.Number("200"), "HTTPHeaders": map[string]any{}}
}

// The system attributes that the recorded tests have asked for.
var (
	standardAttributes = []string{"ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp", "MessageGroupId"}
	fifoAttributes     = append([]string{"MessageDeduplicationId", "SequenceNumber"}, standardAttributes...)
)

func queueForm(attributes map[string]env.Attribute) map[string]any {
	m := map[string]any{}
	for name, a := range attributes {
		v := map[string]any{"DataType": a.DataType}
		if a.Binary != nil {
			v["BinaryValue"] = a.Binary
		} else {
			v["StringValue"] = a.String
		}
		m[name] = v
	}
	return m
}

// endpoint is an HTTP endpoint that is posted to.
type endpoint struct {
	*httptest.Server
	testing.TB
	mu      sync.Mutex
	posts   []post
	arrived chan struct{}
	answer  func(post) int
}

type post struct {
	header http.Header
	host   string
	body   string
}

func newEndpoint(t testing.TB) *endpoint {
	e := &endpoint{TB: t, arrived: make(chan struct{}), answer: func(post) int { return 200 }}
	e.Server = httptest.NewServer(e)
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

func newTLSEndpoint(t testing.TB) *endpoint {
	e := &endpoint{TB: t, arrived: make(chan struct{}), answer: func(post) int { return 200 }}
	e.Server = httptest.NewTLSServer(e)
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		e.Error(err)
	}
	p := post{r.Header.Clone(), r.Host, string(body)}
	e.mu.Lock()
	e.posts = append(e.posts, p)
	status := e.answer(p)
	close(e.arrived)
	e.arrived = make(chan struct{})
	e.mu.Unlock()
	w.WriteHeader(status)
}

func (e *endpoint) answers(f func(post) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = f
}

// await waits until n posts have come since the start and returns them.
func (e *endpoint) await(n int) []post {
	e.Helper()
	for {
		e.mu.Lock()
		got, more := append([]post(nil), e.posts...), e.arrived
		e.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-e.Context().Done():
			e.Fatalf("%d posts, want %d", len(got), n)
		}
	}
}

// member is a member of a JSON text.
func member(t testing.TB, doc, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	s, _ := m[name].(string)
	return s
}

// get follows a link, as an endpoint's owner does.
func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// hook is an endpoint that is subscribed and confirmed.
func (w *world) hook(topic string, attributes ...string) (*endpoint, string) {
	w.Helper()
	e := newEndpoint(w)
	arn := w.subscribe(topic, "http", e.URL+"/sns-endpoint", attributes...)
	if status, body := get(w, member(w, e.await(1)[0].body, "SubscribeURL")); status != 200 {
		w.Fatalf("%d %s", status, body)
	}
	w.parked(0)
	return e, arn
}
