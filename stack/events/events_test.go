package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/events"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	queueARN = "arn:aws:sqs:us-east-1:000000000000:q"
	deadARN  = "arn:aws:sqs:us-east-1:000000000000:dead"
	roleARN  = "arn:aws:iam::000000000000:role/r"
	anything = `{"source":[{"prefix":""}]}`
)

// world is an EventBridge service, what it delivers, and a client of it.
type world struct {
	*stacktest.Kit
	t        *testing.T
	service  *events.Service
	client   *eventbridge.Client
	endpoint string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, stacktest.New(t), nil)
}

// worldOn makes a world whose deliveries to anything but buses go through deliver, if it is set.
func worldOn(t *testing.T, k *stacktest.Kit, deliver func(ctx context.Context, target string, m env.Message) error) *world {
	t.Helper()
	w := &world{Kit: k, t: t}
	if deliver == nil {
		deliver = k.Env.Deliver
	}
	e := k.Env
	e.Deliver = func(ctx context.Context, target string, m env.Message) error {
		if strings.Contains(target, ":event-bus/") {
			return w.service.Deliver(ctx, target, m)
		}
		return deliver(ctx, target, m)
	}
	var err error
	if w.service, err = events.New(e); err != nil {
		t.Fatal(err)
	}
	w.endpoint = k.Serve(w.service.API()...)
	w.client = eventbridge.NewFromConfig(stacktest.Config(w.endpoint))
	return w
}

// as is a client of another account and region.
func (w *world) as(account, region string) *eventbridge.Client {
	c := stacktest.Config(w.endpoint)
	c.Region, c.Credentials = region, credentials.NewStaticCredentialsProvider(account, "x", "")
	return eventbridge.NewFromConfig(c)
}

func must[T any](w *world) func(out T, err error) T {
	return func(out T, err error) T {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return out
	}
}

// bus makes a bus, unless it is the default one, and returns its ARN.
func (w *world) bus(name string) string {
	w.t.Helper()
	if name != "default" {
		must[*eventbridge.CreateEventBusOutput](w)(w.client.CreateEventBus(w.t.Context(), &eventbridge.CreateEventBusInput{Name: &name}))
	}
	return "arn:aws:events:us-east-1:000000000000:event-bus/" + name
}

// rule makes a rule on a bus with targets, and returns its ARN.
func (w *world) rule(bus, name, pattern string, targets ...types.Target) string {
	w.t.Helper()
	out := must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(w.t.Context(), &eventbridge.PutRuleInput{Name: &name, EventBusName: &bus, EventPattern: &pattern}))
	if len(targets) > 0 {
		put := must[*eventbridge.PutTargetsOutput](w)(w.client.PutTargets(w.t.Context(),
			&eventbridge.PutTargetsInput{Rule: &name, EventBusName: &bus, Targets: targets}))
		if put.FailedEntryCount != 0 {
			w.t.Fatalf("targets failed: %+v", put.FailedEntries)
		}
	}
	return *out.RuleArn
}

func target(id, arn string) types.Target { return types.Target{Id: &id, Arn: &arn} }

// put puts an event onto a bus, and returns its id.
func (w *world) put(bus, source, detail string) string {
	w.t.Helper()
	out := must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(w.t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{EventBusName: &bus, Source: &source, DetailType: aws.String("test"), Detail: &detail}}}))
	if out.FailedEntryCount != 0 {
		w.t.Fatalf("the event is refused: %s %s", *out.Entries[0].ErrorCode, *out.Entries[0].ErrorMessage)
	}
	return *out.Entries[0].EventId
}

// document is an event as a target receives it.
type document struct {
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Time       string          `json:"time"`
	ReplayName string          `json:"replay-name"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

func read(t *testing.T, body string) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return d
}

// refused demands an error of a code and a message.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Errorf("error %v, want %s: %s", err, code, message)
	}
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves a handler until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// moveUntil moves the clock, a minute for each time that something waits for it, until n comes out of the channel.
func (w *world) moveUntil(c <-chan int, n int) {
	for {
		select {
		case got := <-c:
			if got == n {
				return
			}
		default:
			if w.Clock.Timers() > 0 {
				w.Clock.Advance(time.Minute)
			} else {
				runtime.Gosched()
			}
		}
	}
}
