package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/events"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

func TestAnEventReachesTheTargetsOfTheRulesThatMatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bus("b")
	rule := w.rule("b", "r", `{"source":["shop"]}`, target("1", queueARN))
	w.rule("b", "other", `{"source":["bakery"]}`, target("1", "arn:aws:sqs:us-east-1:000000000000:other"))
	w.rule("default", "r", anything, target("1", "arn:aws:sqs:us-east-1:000000000000:default"))
	id := w.put("b", "shop", `{ "a" : [1, 2.50, "x y"],  "a": {} }`)
	got := w.Delivered()
	if len(got) != 1 || got[0].Target != queueARN {
		t.Fatalf("delivered %+v", got)
	}
	want := `{"version":"0","id":"` + id + `","detail-type":"test","source":"shop","account":"000000000000","time":"2026-01-02T03:04:05Z",` +
		`"region":"us-east-1","resources":[],"detail":{"a":[1,2.50,"x y"],"a":{}}}`
	if m := got[0].Message; m.Body != want || m.From != rule || m.Principal != "events.amazonaws.com" {
		t.Errorf("message\n%+v\nwant\n%s", m, want)
	}
}

func TestWhatAnEntrySaysIsInTheEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rule("default", "r", anything, target("1", queueARN))
	must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String("shop"), DetailType: aws.String(`t"ä`), Detail: aws.String("{}"), Resources: []string{"arn:1", "2"},
		Time: aws.Time(time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.UTC)), TraceHeader: aws.String("Root=1-5759e988-bd862e3fe1be46a994272793"),
		EventBusName: aws.String("arn:aws:events:us-east-1:000000000000:event-bus/default"),
	}}}))
	m := w.Await(1)[0].Message
	d := read(t, m.Body)
	if d.Time != "2024-02-03T04:05:06Z" || d.DetailType != `t"ä` || fmt.Sprint(d.Resources) != "[arn:1 2]" || m.TraceHeader != "Root=1-5759e988-bd862e3fe1be46a994272793" {
		t.Errorf("event %+v, trace %q", d, m.TraceHeader)
	}
}

func TestEntriesAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rule("default", "r", anything, target("1", queueARN))
	entry := func(source, detailType, detail string) types.PutEventsRequestEntry {
		return types.PutEventsRequestEntry{Source: &source, DetailType: &detailType, Detail: &detail}
	}
	required := func(name string) string {
		return "Parameter " + name + " is not valid. Reason: " + name + " is a required argument."
	}
	cases := []struct {
		entry         types.PutEventsRequestEntry
		code, message string
	}{
		{entry("", "t", "{}"), "InvalidArgument", required("Source")},
		{entry("s", "", "{}"), "InvalidArgument", required("DetailType")},
		{entry("s", "t", ""), "InvalidArgument", required("Detail")},
		{entry("aws.s3", "t", "{}"), "NotAuthorizedForSourceException", "Not authorized for the source."},
		{entry("s", "t", `{"a":}`), "MalformedDetail", "Detail is malformed."},
		{entry("s", "t", `"text"`), "MalformedDetail", "Detail is malformed."},
		{entry("s", "t", `{} {}`), "MalformedDetail", "Detail is malformed."},
		{entry("s", "t", `{"a":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`), "MalformedDetail", "Detail is malformed."},
		{entry("s", "t", `{"a":`+strings.Repeat("[", 999)+`"]\"["`+strings.Repeat("]", 999)+`}`), "", ""},
	}
	in := &eventbridge.PutEventsInput{}
	for _, c := range cases {
		in.Entries = append(in.Entries, c.entry)
	}
	out := must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(t.Context(), in))
	for i, c := range cases {
		e := out.Entries[i]
		if aws.ToString(e.ErrorCode) != c.code || aws.ToString(e.ErrorMessage) != c.message || (e.EventId == nil) != (c.code != "") {
			t.Errorf("entry %d: %s %s %s, want %s %s", i, aws.ToString(e.EventId), aws.ToString(e.ErrorCode), aws.ToString(e.ErrorMessage), c.code, c.message)
		}
	}
	if out.FailedEntryCount != 8 || len(w.Delivered()) != 1 {
		t.Errorf("%d failed, %d delivered", out.FailedEntryCount, len(w.Delivered()))
	}
}

func TestRequestsAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries := func(n, size int) *eventbridge.PutEventsInput {
		in := &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{}}
		for range n {
			in.Entries = append(in.Entries, types.PutEventsRequestEntry{Source: aws.String("s"), DetailType: aws.String("t"),
				Detail: aws.String(`{"a":"` + strings.Repeat("x", size-8) + `"}`)})
		}
		return in
	}
	_, err := w.client.PutEvents(t.Context(), entries(0, 0))
	refused(t, err, "ValidationException",
		"1 validation error detected: Value '[]' at 'entries' failed to satisfy constraint: Member must have length greater than or equal to 1")
	_, err = w.client.PutEvents(t.Context(), entries(2, 1<<19-1)) // s, t and the detail of each
	refused(t, err, "ValidationException", "Total size of the entries in the request is over the limit.")
	if _, err = w.client.PutEvents(t.Context(), entries(2, 1<<19-2)); err != nil {
		t.Errorf("1 MiB exactly: %v", err)
	}
	in := entries(1, 10)
	in.Entries[0].TraceHeader = aws.String(strings.Repeat("x", 501))
	_, err = w.client.PutEvents(t.Context(), in)
	refused(t, err, "ValidationException", "1 validation error detected: Value '"+strings.Repeat("x", 501)+
		"' at 'entries.1.member.traceHeader' failed to satisfy constraint: Member must have length less than or equal to 500")
	if out := must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{EventBusName: aws.String("not-there"), Source: aws.String("s"), DetailType: aws.String("t"), Detail: aws.String("{}")}}})); out.FailedEntryCount != 0 {
		t.Error("AWS accepts events for buses that do not exist")
	}
}

func TestDuplicatesAreDeliveredTwice(t *testing.T) {
	t.Parallel()
	k := stacktest.New(t)
	s, err := events.New(k.Env)
	if err != nil {
		t.Fatal(err)
	}
	url := k.Serve(s.API()...)
	w := &world{Kit: k, t: t, service: s, client: eventbridge.NewFromConfig(stacktest.Config(url))}
	w.rule("default", "r", anything, target("1", queueARN))
	// The fault is the stack's to inject: ask the dispatcher for it here.
	d := wire.NewDispatcher(wire.Config{Services: s.API(), Region: stacktest.Region, Account: stacktest.Account, Log: k.Env.Log,
		Before: func(_ context.Context, r *wire.Request, _ wire.Error) (func() error, error) {
			r.Duplicate = true
			return nil, nil
		}})
	twice := serve(t, d)
	w.client = eventbridge.NewFromConfig(stacktest.Config(twice))
	w.put("default", "s", "{}")
	if got := k.Delivered(); len(got) != 2 || got[0].Message.Body != got[1].Message.Body {
		t.Errorf("delivered %+v", got)
	}
}

// Each kind of target gets what its protocol has.
func TestTargetsOfAllKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fifo := target("1", queueARN+".fifo")
	fifo.SqsParameters = &types.SqsParameters{MessageGroupId: aws.String("g")}
	byPath := target("2", "arn:aws:kinesis:us-east-1:000000000000:stream/s")
	byPath.RoleArn, byPath.KinesisParameters = aws.String(roleARN), &types.KinesisParameters{PartitionKeyPath: aws.String("$.detail.key")}
	byID := target("3", "arn:aws:kinesis:us-east-1:000000000000:stream/s")
	byID.RoleArn = aws.String(roleARN)
	log := target("4", "arn:aws:logs:us-east-1:000000000000:log-group:g:*")
	log.InputTransformer = &types.InputTransformer{InputPathsMap: map[string]string{"key": "$.detail.key"},
		InputTemplate: aws.String(`{"timestamp": "2026-01-02T03:04:05Z", "message": "key <key>"}`)}
	w.rule("default", "one", anything, fifo, byPath, byID, log, target("5", "arn:aws:lambda:us-east-1:000000000000:function:f"))
	w.rule("default", "two", anything, target("1", "arn:aws:sns:us-east-1:000000000000:t"))
	id := w.put("default", "s", `{"key":"k1"}`)
	got := w.Await(6)
	if m := got[0].Message; m.GroupID != "g" || m.DeduplicationID != "" {
		t.Errorf("queue: %+v", m)
	}
	if a, b := got[1].Message.PartitionKey, got[2].Message.PartitionKey; a != "k1" || b != id {
		t.Errorf("partition keys %q and %q", a, b)
	}
	if m := got[3].Message; m.Body != "key k1" || m.Attributes["timestamp"].String != "1767323045000" {
		t.Errorf("log: %+v", m)
	}
	if got[4].Target != "arn:aws:lambda:us-east-1:000000000000:function:f" || got[5].Target != "arn:aws:sns:us-east-1:000000000000:t" ||
		got[4].Message.Body != got[5].Message.Body {
		t.Errorf("function and topic: %+v", got[4:])
	}
}

func TestADisabledRuleIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rule("default", "r", anything, target("1", queueARN))
	must[*eventbridge.DisableRuleOutput](w)(w.client.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("r")}))
	w.put("default", "s", "{}")
	must[*eventbridge.EnableRuleOutput](w)(w.client.EnableRule(t.Context(), &eventbridge.EnableRuleInput{Name: aws.String("r")}))
	id := w.put("default", "s", "{}")
	if got := w.Delivered(); len(got) != 1 || read(t, got[0].Message.Body).ID != id {
		t.Errorf("delivered %+v", got)
	}
}

// What cannot be delivered goes to the dead-letter queue with AWS's attributes.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want map[string]string
	}{
		{"gone", wire.Errorf("QueueDoesNotExist", "no such queue"), map[string]string{"ERROR_CODE": "NO_RESOURCE", "ERROR_MESSAGE": "no such queue", "RETRY_ATTEMPTS": "0"}},
		{"forbidden", &wire.Error{Code: "AccessDenied", Message: "no", Status: 403}, map[string]string{"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "no", "RETRY_ATTEMPTS": "0"}},
		{"too large", wire.Errorf("InvalidParameterValue", "long"), map[string]string{"ERROR_CODE": "INVALID_PARAMETER", "ERROR_MESSAGE": "long", "RETRY_ATTEMPTS": "0"}},
		{"down", &wire.Error{Code: "ServiceUnavailable", Message: "down", Status: 503}, map[string]string{"ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": "down",
			"RETRY_ATTEMPTS": "0", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"}},
		{"throttled", wire.Errorf("ThrottlingException", "slow"), map[string]string{"ERROR_CODE": "THROTTLING", "ERROR_MESSAGE": "slow",
			"RETRY_ATTEMPTS": "0", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Refuse(func(to string, _ env.Message) error {
				if to == queueARN {
					return c.err
				}
				return nil
			})
			x := target("1", queueARN)
			x.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String(deadARN)}
			x.RetryPolicy = &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(0)}
			x.InputPath = aws.String("$.detail")
			rule := w.rule("default", "r", anything, x)
			id := w.put("default", "s", "{}")
			got := w.Await(1)
			if got[0].Target != deadARN || read(t, got[0].Message.Body).ID != id {
				t.Fatalf("delivered %+v", got)
			}
			c.want["RULE_ARN"], c.want["TARGET_ARN"] = rule, queueARN
			have := map[string]string{}
			for name, a := range got[0].Message.Attributes {
				have[name] = a.String
			}
			if fmt.Sprint(have) != fmt.Sprint(c.want) {
				t.Errorf("attributes\n%v, want\n%v", have, c.want)
			}
		})
	}
}

// A target that is down gets the event once it is up.
func TestRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	attempts := make(chan int, 10)
	n := 0
	w.Refuse(func(string, env.Message) error {
		n++
		attempts <- n
		if n < 3 {
			return &wire.Error{Code: "ServiceUnavailable", Status: 503}
		}
		return nil
	})
	w.rule("default", "r", anything, target("1", queueARN))
	id := w.put("default", "s", "{}") // accepted all the same
	w.moveUntil(attempts, 3)
	if d := w.Await(1); read(t, d[0].Message.Body).ID != id {
		t.Errorf("delivered %+v", d)
	}
}

// A bus forwards what it got from a client, not what it got from another bus, so that no loop goes on.
func TestForwardingEndsAfterOneHop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.bus("a"), w.bus("b"), w.bus("c")
	forward := func(to string) types.Target {
		x := target("bus", to)
		x.RoleArn, x.DeadLetterConfig = aws.String(roleARN), &types.DeadLetterConfig{Arn: aws.String(deadARN)}
		return x
	}
	w.rule("a", "forward", anything, forward(b))
	w.rule("b", "back", `{"source":["loop"]}`, forward(a))
	rule := w.rule("b", "on", `{"source":["chain"]}`, forward(c))
	w.rule("b", "log", anything, target("1", queueARN))
	w.rule("c", "log", anything, target("1", queueARN+"-c"))

	id := w.put("a", "loop", "{}")
	got := w.Await(2)
	if got[0].Target != deadARN || got[1].Target != queueARN || read(t, got[1].Message.Body).ID != id {
		t.Fatalf("delivered %+v", got)
	}
	w.put("a", "chain", "{}")
	got = w.Await(4)
	for _, d := range got[2:] {
		if d.Target != deadARN {
			continue
		}
		if code := d.Message.Attributes["ERROR_CODE"].String; code != "THIRD_ACCOUNT_HOP_DETECTED" || d.Message.Attributes["RULE_ARN"].String != rule {
			t.Errorf("dead letter %+v", d.Message)
		}
	}
	if len(w.Delivered()) != 4 {
		t.Errorf("delivered %+v", w.Delivered())
	}
}

func TestBusPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.bus("b")
	w.rule("b", "r", anything, target("1", queueARN))
	other := w.as("111122223333", "us-east-1")
	put := func() *types.PutEventsResultEntry {
		out := must[*eventbridge.PutEventsOutput](w)(other.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
			{EventBusName: &arn, Source: aws.String("s"), DetailType: aws.String("t"), Detail: aws.String("{}")}}}))
		return &out.Entries[0]
	}
	if e := put(); aws.ToString(e.ErrorCode) != "AccessDeniedException" {
		t.Errorf("without a policy: %+v", e)
	}
	must[*eventbridge.PutPermissionOutput](w)(w.client.PutPermission(t.Context(), &eventbridge.PutPermissionInput{EventBusName: aws.String("b"),
		Action: aws.String("events:PutEvents"), Principal: aws.String("111122223333"), StatementId: aws.String("them")}))
	e := put()
	if e.ErrorCode != nil {
		t.Fatalf("with a policy: %s %s", *e.ErrorCode, *e.ErrorMessage)
	}
	if d := read(t, w.Await(1)[0].Message.Body); d.ID != *e.EventId || d.Account != "111122223333" {
		t.Errorf("delivered %+v", d)
	}
	desc := must[*eventbridge.DescribeEventBusOutput](w)(w.client.DescribeEventBus(t.Context(), &eventbridge.DescribeEventBusInput{Name: aws.String("b")}))
	want := `{"Version":"2012-10-17","Statement":[{"Sid":"them","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
		`"Action":"events:PutEvents","Resource":"` + arn + `"}]}`
	if *desc.Policy != want {
		t.Errorf("policy %s, want %s", *desc.Policy, want)
	}
	remove := func(id string) error {
		_, err := w.client.RemovePermission(t.Context(), &eventbridge.RemovePermissionInput{EventBusName: aws.String("b"), StatementId: &id})
		return err
	}
	refused(t, remove("us"), "ResourceNotFoundException", "Statement with the provided id does not exist.")
	if err := remove("them"); err != nil {
		t.Fatal(err)
	}
	refused(t, remove("them"), "ResourceNotFoundException", "EventBus does not have a policy.")
	if e := put(); aws.ToString(e.ErrorCode) != "AccessDeniedException" {
		t.Errorf("after the removal: %+v", e)
	}
	whole := strings.ReplaceAll(want, `"them"`, `"whole"`)
	must[*eventbridge.PutPermissionOutput](w)(w.client.PutPermission(t.Context(), &eventbridge.PutPermissionInput{EventBusName: aws.String("b"), Policy: &whole}))
	if e := put(); e.ErrorCode != nil {
		t.Errorf("with a policy document: %+v", e)
	}
}

// A pattern is compiled once, not for each event; what changes takes effect with the next event.
func TestRulesChangeBetweenEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 20 {
		w.rule("default", "r", fmt.Sprintf(`{"source":["s%d"]}`, i), target("1", queueARN))
		w.put("default", fmt.Sprintf("s%d", i), "{}")
		w.put("default", fmt.Sprintf("s%d", i-1), "{}")
	}
	if n := len(w.Delivered()); n != 20 {
		t.Errorf("%d delivered", n)
	}
}

func BenchmarkPutEventWithAHundredRules(b *testing.B) {
	k := stacktest.New(b)
	e := k.Env
	e.Deliver = func(context.Context, string, env.Message) error { return nil }
	s, err := events.New(e)
	if err != nil {
		b.Fatal(err)
	}
	url := k.Serve(s.API()...)
	client := eventbridge.NewFromConfig(stacktest.Config(url))
	for i := range 100 {
		name, pattern := fmt.Sprintf("r%d", i), fmt.Sprintf(`{"source":["shop"],"detail":{"kind":["k%d"],"price":[{"numeric":[">",%d]}]}}`, i, i)
		if _, err := client.PutRule(b.Context(), &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}); err != nil {
			b.Fatal(err)
		}
		if _, err := client.PutTargets(b.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{target("1", queueARN)}}); err != nil {
			b.Fatal(err)
		}
	}
	doc := `{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"order","source":"shop","account":"000000000000",` +
		`"time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":[],"detail":{"kind":"k7","price":12,"items":[{"sku":"a","n":1},{"sku":"b","n":2}]}}`
	bus := "arn:aws:events:us-east-1:000000000000:event-bus/default"
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Deliver(b.Context(), bus, env.Message{Body: doc}); err != nil {
			b.Fatal(err)
		}
	}
}
