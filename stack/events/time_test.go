package events_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// scheduled makes a rule with a schedule and a queue.
func (w *world) scheduled(name, expression string, change func(*types.Target)) {
	w.t.Helper()
	must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(w.t.Context(), &eventbridge.PutRuleInput{Name: &name, ScheduleExpression: &expression}))
	x := target("1", queueARN+"-"+name)
	change(&x)
	must[*eventbridge.PutTargetsOutput](w)(w.client.PutTargets(w.t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{x}}))
}

func asIs(*types.Target) {}

// A rate counts from when the rule was put, and a cron expression names times of UTC.
func TestSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // at 03:04:05
	w.scheduled("rate", "rate(2 hours)", asIs)
	w.scheduled("cron", "cron(30 4,6 * * ? *)", func(x *types.Target) { x.Input = aws.String(`{"n":1}`) })
	w.Clock.Advance(90 * time.Minute) // 04:34:05
	got := w.Await(1)
	w.Clock.Advance(3 * time.Hour) // 07:34:05: a jump over two runs
	got = append(got, w.Await(3)[1:]...)
	if got[0].Target != queueARN+"-cron" || got[0].Message.Body != `{"n":1}` || got[2].Target != queueARN+"-cron" {
		t.Errorf("delivered %+v", got)
	}
	d := read(t, got[1].Message.Body)
	if d.Time != "2026-01-02T05:04:05Z" || d.Source != "aws.events" || d.DetailType != "Scheduled Event" || string(d.Detail) != "{}" ||
		fmt.Sprint(d.Resources) != "[arn:aws:events:us-east-1:000000000000:rule/rate]" {
		t.Errorf("scheduled event %+v", d)
	}
}

func TestADisabledScheduleDoesNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scheduled("r", "rate(1 hour)", asIs)
	must[*eventbridge.DisableRuleOutput](w)(w.client.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("r")}))
	if n := w.Clock.Timers(); n != 0 {
		t.Fatalf("%d timers", n)
	}
	w.Clock.Advance(90 * time.Minute)
	must[*eventbridge.EnableRuleOutput](w)(w.client.EnableRule(t.Context(), &eventbridge.EnableRuleInput{Name: aws.String("r")}))
	w.Clock.Advance(59 * time.Minute)
	w.Clock.Advance(time.Minute)
	if d := read(t, w.Await(1)[0].Message.Body); d.Time != "2026-01-02T05:34:05Z" {
		t.Errorf("ran at %s", d.Time)
	}
	must[*eventbridge.RemoveTargetsOutput](w)(w.client.RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: aws.String("r"), Ids: []string{"1"}}))
	must[*eventbridge.DeleteRuleOutput](w)(w.client.DeleteRule(t.Context(), &eventbridge.DeleteRuleInput{Name: aws.String("r")}))
	if n := w.Clock.Timers(); n != 0 {
		t.Errorf("a deleted rule leaves %d timers", n)
	}
}

// An archive keeps what its pattern takes for as long as it says, and never what was replayed.
func TestArchives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	bus := w.bus("b")
	all := w.archive("all", bus)
	must[*eventbridge.CreateArchiveOutput](w)(w.client.CreateArchive(ctx, &eventbridge.CreateArchiveInput{ArchiveName: aws.String("some"), EventSourceArn: &bus,
		EventPattern: aws.String(`{"source":["shop"]}`), RetentionDays: aws.Int32(2), Description: aws.String("d")}))
	describe := func(name string) *eventbridge.DescribeArchiveOutput {
		t.Helper()
		return must[*eventbridge.DescribeArchiveOutput](w)(w.client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: &name}))
	}
	count := func(name string, want int64) {
		t.Helper()
		if d := describe(name); d.EventCount != want || (d.SizeBytes > 0) != (want > 0) {
			t.Errorf("%s has %d events of %d bytes, want %d", name, d.EventCount, d.SizeBytes, want)
		}
	}
	w.put("b", "shop", "{}")
	w.put("b", "bakery", "{}")
	w.put("default", "shop", "{}")
	count("all", 2)
	count("some", 1)
	w.Clock.Advance(47 * time.Hour)
	w.put("b", "shop", "{}")
	count("some", 2)
	w.Clock.Advance(time.Hour)
	count("some", 1)
	must[*eventbridge.UpdateArchiveOutput](w)(w.client.UpdateArchive(ctx, &eventbridge.UpdateArchiveInput{ArchiveName: aws.String("some"), RetentionDays: aws.Int32(1)}))
	if d := describe("some"); *d.RetentionDays != 1 || *d.Description != "d" || *d.EventPattern != `{"source":["shop"]}` || d.State != types.ArchiveStateEnabled || *d.EventSourceArn != bus {
		t.Errorf("updated %+v", d)
	}

	// A replay sends them once more, in the order of their times, to the rules that it names.
	first := w.rule("b", "first", anything, target("1", queueARN))
	w.rule("b", "second", anything, target("1", queueARN+"2"))
	must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{EventBusName: aws.String("b"),
		Source: aws.String("old"), DetailType: aws.String("t"), Detail: aws.String("{}"), Time: aws.Time(w.Clock.Now().Add(-time.Hour * 24))}}}))
	w.Await(2)
	must[*eventbridge.StartReplayOutput](w)(w.client.StartReplay(ctx, &eventbridge.StartReplayInput{ReplayName: aws.String("again"), EventSourceArn: &all,
		EventStartTime: aws.Time(w.Clock.Now().Add(-72 * time.Hour)), EventEndTime: aws.Time(w.Clock.Now()),
		Destination: &types.ReplayDestination{Arn: &bus, FilterArns: []string{first}}}))
	w.replayed("again")
	var sources []string
	for _, d := range w.Delivered()[2:] {
		x := read(t, d.Message.Body)
		if x.ReplayName != "again" || d.Target != queueARN {
			t.Errorf("replayed %+v", d)
		}
		sources = append(sources, x.Source)
	}
	if fmt.Sprint(sources) != "[shop bakery old shop]" {
		t.Errorf("replayed %v", sources)
	}
	count("all", 4)

	create := func(name, source string) error {
		_, err := w.client.CreateArchive(ctx, &eventbridge.CreateArchiveInput{ArchiveName: &name, EventSourceArn: &source})
		return err
	}
	refused(t, create("all", bus), "ResourceAlreadyExistsException", "Archive all already exists.")
	refused(t, create("new", "arn:aws:events:us-west-2:000000000000:event-bus/b"), "ResourceNotFoundException", "Event bus b does not exist.")
	_, err := w.client.ListArchives(ctx, &eventbridge.ListArchivesInput{NamePrefix: aws.String("a"), EventSourceArn: &bus})
	refused(t, err, "ValidationException", "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.")
	if l := must[*eventbridge.ListArchivesOutput](w)(w.client.ListArchives(ctx, &eventbridge.ListArchivesInput{EventSourceArn: &bus})); len(l.Archives) != 2 {
		t.Errorf("archives %+v", l.Archives)
	}
	must[*eventbridge.DeleteArchiveOutput](w)(w.client.DeleteArchive(ctx, &eventbridge.DeleteArchiveInput{ArchiveName: aws.String("some")}))
	_, err = w.client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("some")})
	refused(t, err, "ResourceNotFoundException", "Archive some does not exist.")
	_, err = w.client.CancelReplay(ctx, &eventbridge.CancelReplayInput{ReplayName: aws.String("again")})
	refused(t, err, "IllegalStatusException", "Replay again is not in a valid state for this operation.")
	_, err = w.client.StartReplay(ctx, &eventbridge.StartReplayInput{ReplayName: aws.String("x"), EventSourceArn: &all, EventStartTime: aws.Time(w.Clock.Now().Add(-1)),
		EventEndTime: aws.Time(w.Clock.Now()), Destination: &types.ReplayDestination{Arn: aws.String("arn:aws:events:us-east-1:000000000000:event-bus/default")}})
	refused(t, err, "ValidationException", "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.")
}

// All that was acknowledged is there after a crash: rules with their targets, schedules, archives, policies, and what
// was still to be delivered.
func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	s := open(t, dir)
	k := stacktest.On(t, s)
	k.Refuse(func(string, env.Message) error { return &wire.Error{Code: "ServiceUnavailable", Status: 503} })
	w := worldOn(t, k, nil)
	ctx := t.Context()
	bus := w.bus("b")
	w.archive("a", bus)
	x := target("1", queueARN)
	x.InputTransformer = &types.InputTransformer{InputPathsMap: map[string]string{"n": "$.detail.n"}, InputTemplate: aws.String(`{"n": <n>}`)}
	w.rule("b", "r", `{"source":["shop"]}`, x)
	w.scheduled("hourly", "rate(1 hour)", asIs)
	must[*eventbridge.PutPermissionOutput](w)(w.client.PutPermission(ctx, &eventbridge.PutPermissionInput{EventBusName: aws.String("b"),
		Action: aws.String("events:PutEvents"), Principal: aws.String("*"), StatementId: aws.String("all")}))
	w.put("b", "shop", `{"n":1}`)
	w.put("b", "other", `{"n":1}`)
	before := must[*eventbridge.DescribeRuleOutput](w)(w.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("r"), EventBusName: aws.String("b")}))
	k.Stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	defer s.Close()
	k = stacktest.On(t, s)
	w = worldOn(t, k, nil)
	if d := k.Await(1)[0]; d.Target != queueARN || d.Message.Body != `{"n": 1}` {
		t.Errorf("what was pending: %+v", d)
	}
	after := must[*eventbridge.DescribeRuleOutput](w)(w.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("r"), EventBusName: aws.String("b")}))
	if *after.EventPattern != *before.EventPattern || *after.Arn != *before.Arn || after.State != before.State {
		t.Errorf("the rule is %+v, was %+v", after, before)
	}
	if d := must[*eventbridge.DescribeArchiveOutput](w)(w.client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("a")})); d.EventCount != 2 {
		t.Errorf("the archive has %d events", d.EventCount)
	}
	if d := must[*eventbridge.DescribeEventBusOutput](w)(w.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: aws.String("b")})); d.Policy == nil {
		t.Error("the policy is gone")
	}
	w.put("b", "shop", `{"n":2}`)
	if d := k.Await(2)[1]; d.Message.Body != `{"n": 2}` {
		t.Errorf("delivered %+v", d)
	}
	w.Clock.Advance(time.Hour)
	if d := k.Await(3)[2]; d.Target != queueARN+"-hourly" {
		t.Errorf("delivered %+v", d)
	}
	k.Stop()
}

// A restart puts back a clock that was put forward, and the rates go on from there.
func TestAClockThatGoesBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	s := open(t, dir)
	k := stacktest.On(t, s)
	k.Clock.Advance(1000 * time.Hour)
	w := worldOn(t, k, nil)
	w.scheduled("hourly", "rate(1 hour)", asIs)
	k.Stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	k = stacktest.On(t, s)
	w = worldOn(t, k, nil)
	w.Clock.Advance(time.Hour)
	if d := read(t, w.Await(1)[0].Message.Body); d.Time != "2026-01-02T04:04:05Z" {
		t.Errorf("ran at %s", d.Time)
	}
	k.Stop()
}

// A jump of years makes up a week of minutes, and then goes on from the present.
func TestAJumpOfYears(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * 60
	runs, n, caughtUp := make(chan string), 0, make(chan struct{})
	w := worldOn(t, stacktest.New(t), func(_ context.Context, _ string, m env.Message) error {
		if n++; n == week+1 {
			close(caughtUp)
		} else if n > week+1 {
			runs <- m.Body
		}
		return nil
	})
	w.scheduled("r", "rate(1 minute)", asIs)
	w.Clock.Advance(10 * 365 * 24 * time.Hour)
	<-caughtUp
	for w.Clock.Timers() == 0 {
		runtime.Gosched()
	}
	w.Clock.Advance(time.Minute)
	if d := read(t, <-runs); d.Time != "2035-12-31T03:05:05Z" {
		t.Errorf("the next run is of %s", d.Time)
	}
}

// An event that is on its way into an archive while everything is forgotten leaves nothing that a restart would stumble over.
func TestResetWhileEventsAreArchived(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	w := worldOn(t, stacktest.On(t, s), nil)
	bus := "arn:aws:events:us-east-1:000000000000:event-bus/default"
	doc := `{"id":"1","source":"x","detail-type":"t","account":"000000000000","region":"us-east-1","time":"2026-01-02T03:04:05Z","resources":[],"detail":{}}`
	for range 20 {
		must[*eventbridge.CreateArchiveOutput](w)(w.client.CreateArchive(t.Context(), &eventbridge.CreateArchiveInput{
			ArchiveName: aws.String("a"), EventSourceArn: &bus}))
		var senders sync.WaitGroup
		begun := make(chan struct{}, 16)
		for range cap(begun) {
			senders.Go(func() {
				for i := range 10 {
					if err := w.service.Deliver(t.Context(), bus, env.Message{Body: doc}); err != nil {
						t.Error(err)
					}
					if i == 3 {
						begun <- struct{}{}
					}
				}
			})
		}
		<-begun
		w.service.Reset()
		senders.Wait()
		if err := s.Load("events/archived/", func(key string, _ []byte) error { return fmt.Errorf("%s is left", key) }); err != nil {
			t.Fatal(err)
		}
	}
	w.Stop()
}
