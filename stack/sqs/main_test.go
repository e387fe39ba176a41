package sqs

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service with a real client, whose clock the test moves.
type world struct {
	t       *testing.T
	kit     *stacktest.Kit
	service *Service
	url     string
	client  *sqs.Client
}

func newWorld(t *testing.T) *world { return worldOn(t, store.Memory()) }

func worldOn(t *testing.T, on *store.Store) *world {
	t.Helper()
	w := &world{t: t, kit: stacktest.On(t, on)}
	var err error
	if w.service, err = New(w.kit.Env); err != nil {
		t.Fatal(err)
	}
	w.url = w.kit.Serve(w.service.API()...)
	cfg := stacktest.Config(w.url)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg.HTTPClient = &http.Client{Transport: transport}
	w.client = sqs.NewFromConfig(cfg)
	return w
}

// create makes a queue and returns its URL. attributes are names and values in turn.
func (w *world) create(name string, attributes ...string) string {
	w.t.Helper()
	in := &sqs.CreateQueueInput{QueueName: &name, Attributes: pairs(attributes)}
	if strings.HasSuffix(name, ".fifo") {
		in.Attributes["FifoQueue"] = "true"
	}
	out, err := w.client.CreateQueue(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.QueueUrl
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

func (w *world) arn(queueURL string) string {
	return "arn:aws:sqs:us-east-1:000000000000:" + queueURL[strings.LastIndexByte(queueURL, '/')+1:]
}

// send sends bodies; to a FIFO queue as "group:body", where the body is also the deduplication id.
func (w *world) send(queueURL string, bodies ...string) {
	w.t.Helper()
	for _, b := range bodies {
		in := &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: aws.String(b)}
		if strings.HasSuffix(queueURL, ".fifo") {
			group, _, _ := strings.Cut(b, ":")
			in.MessageGroupId, in.MessageDeduplicationId = &group, aws.String(b)
		}
		if _, err := w.client.SendMessage(w.t.Context(), in); err != nil {
			w.t.Fatal(err)
		}
	}
}

type option func(*sqs.ReceiveMessageInput)

func attemptID(id string) option {
	return func(in *sqs.ReceiveMessageInput) { in.ReceiveRequestAttemptId = &id }
}

// receive receives up to n messages, with all their attributes, without waiting.
func (w *world) receive(queueURL string, n int32, options ...option) []types.Message {
	w.t.Helper()
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &queueURL, MaxNumberOfMessages: n, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	}
	for _, o := range options {
		o(in)
	}
	out, err := w.client.ReceiveMessage(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Messages
}

func bodies(list []types.Message) string {
	var b []string
	for _, m := range list {
		b = append(b, *m.Body)
	}
	return strings.Join(b, " ")
}

// want receives and fails the test unless the bodies are these.
func (w *world) want(queueURL string, n int32, want string, options ...option) []types.Message {
	w.t.Helper()
	got := w.receive(queueURL, n, options...)
	if bodies(got) != want {
		w.t.Fatalf("received %q, want %q", bodies(got), want)
	}
	return got
}

func (w *world) delete(queueURL string, list ...types.Message) {
	w.t.Helper()
	for _, m := range list {
		if _, err := w.client.DeleteMessage(w.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) hide(queueURL string, m types.Message, seconds int32) error {
	_, err := w.client.ChangeMessageVisibility(w.t.Context(), &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds,
	})
	return err
}

func (w *world) set(queueURL string, attributes ...string) error {
	_, err := w.client.SetQueueAttributes(w.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queueURL, Attributes: pairs(attributes)})
	return err
}

// depth checks how many messages are visible, in flight and delayed.
func (w *world) depth(queueURL string, visible, notVisible, delayed int) {
	w.t.Helper()
	v, n, d, ok := w.service.Depth(w.arn(queueURL))
	if !ok || v != visible || n != notVisible || d != delayed {
		w.t.Fatalf("%d visible, %d in flight, %d delayed (queue exists: %v); want %d, %d, %d", v, n, d, ok, visible, notVisible, delayed)
	}
}

func (w *world) advance(d time.Duration) { w.kit.Clock.Advance(d) }

// refused fails the test unless err is a refusal with that code (that of the JSON protocol's header) and message.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("%v, want %s", err, code)
	}
	if api.ErrorCode() != code || api.ErrorMessage() != message {
		t.Fatalf("%s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}
