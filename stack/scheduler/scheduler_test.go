package scheduler_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	api "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/scheduler"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	queueARN = "arn:aws:sqs:us-east-1:000000000000:q"
	deadARN  = "arn:aws:sqs:us-east-1:000000000000:dead"
	roleARN  = "arn:aws:iam::000000000000:role/r"
)

type world struct {
	*stacktest.Kit
	t       *testing.T
	service *scheduler.Service
	client  *api.Client
}

func newWorld(t *testing.T) *world { return worldOn(t, stacktest.New(t)) }

func worldOn(t *testing.T, k *stacktest.Kit) *world {
	t.Helper()
	s, err := scheduler.New(k.Env)
	if err != nil {
		t.Fatal(err)
	}
	return &world{Kit: k, t: t, service: s, client: api.NewFromConfig(stacktest.Config(k.Serve(s.API()...)))}
}

func must[T any](t *testing.T) func(out T, err error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// schedule is a request for a schedule with a queue.
func schedule(name, expression string, change func(in *api.CreateScheduleInput)) *api.CreateScheduleInput {
	in := &api.CreateScheduleInput{Name: &name, ScheduleExpression: &expression, FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{Arn: aws.String(queueARN), RoleArn: aws.String(roleARN)}}
	if change != nil {
		change(in)
	}
	return in
}

func (w *world) create(in *api.CreateScheduleInput) string {
	w.t.Helper()
	return *must[*api.CreateScheduleOutput](w.t)(w.client.CreateSchedule(w.t.Context(), in)).ScheduleArn
}

// refused demands an error of a code, a status and a message.
func refused(t *testing.T, err error, code string, status int, message string) {
	t.Helper()
	var e smithy.APIError
	var h *awshttp.ResponseError
	if !errors.As(err, &e) || e.ErrorCode() != code || e.ErrorMessage() != message || !errors.As(err, &h) || h.HTTPStatusCode() != status {
		t.Errorf("error %v, want %d %s: %s", err, status, code, message)
	}
}

func TestRecorded(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_scheduler.snapshot.json")
	parameter := regexp.MustCompile(`\[(.*)\]$`)
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			expression := ""
			if m := parameter.FindStringSubmatch(name); m != nil {
				expression = m[1]
			}
			kind, _, _ := strings.Cut(name, "[")
			switch kind {
			case "tests_create_schedule_with_invalid_schedule_expression":
				_, err := w.client.CreateSchedule(t.Context(), schedule("s", expression, nil))
				fixtures.NewReplay(t, rec).Match("invalid-schedule-expression", err)
			case "tests_create_schedule_with_valid_schedule_expression":
				fixtures.NewReplay(t, rec).Match("valid-schedule-expression",
					must[*api.CreateScheduleOutput](t)(w.client.CreateSchedule(t.Context(), schedule("s", "rate(1 minute)", nil))))
			case "test_create_schedule_with_valid_cron_expressions":
				fixtures.NewReplay(t, rec).Match("create-schedule",
					must[*api.CreateScheduleOutput](t)(w.client.CreateSchedule(t.Context(), schedule("s", expression, nil))))
			case "test_tag_resource":
				g := must[*api.CreateScheduleGroupOutput](t)(w.client.CreateScheduleGroup(t.Context(), &api.CreateScheduleGroupInput{Name: aws.String("g")}))
				must[*api.TagResourceOutput](t)(w.client.TagResource(t.Context(), &api.TagResourceInput{ResourceArn: g.ScheduleGroupArn,
					Tags: []types.Tag{{Key: aws.String("TagKey"), Value: aws.String("TagValue")}}}))
				fixtures.NewReplay(t, rec).Match("list-tagged-schedule",
					must[*api.ListTagsForResourceOutput](t)(w.client.ListTagsForResource(t.Context(), &api.ListTagsForResourceInput{ResourceArn: g.ScheduleGroupArn})))
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

func TestOneTimeSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // at 2026-01-02 03:04:05 UTC
	arn := w.create(schedule("once", "at(2026-01-02T05:00:00)", func(in *api.CreateScheduleInput) {
		in.ScheduleExpressionTimezone = aws.String("Europe/Zurich") // 04:00 UTC
		in.ActionAfterCompletion = types.ActionAfterCompletionDelete
		in.Target.Input = aws.String("plain <aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.execution-id> <aws.scheduler.attempt-number>")
	}))
	w.create(schedule("past", "at(2026-01-02T03:04:04)", nil))
	w.Clock.Advance(55 * time.Minute)
	w.Clock.Advance(time.Minute)
	d := w.Await(1)[0]
	want := regexp.MustCompile(`^plain ` + regexp.QuoteMeta(arn) + ` 2026-01-02T04:00:00Z [0-9a-f]{16} 1$`)
	if d.Target != queueARN || !want.MatchString(d.Message.Body) || d.Message.From != arn || d.Message.Principal != "" {
		t.Errorf("delivered %+v", d)
	}
	w.gone("once")
	if n := len(w.Delivered()); n != 1 {
		t.Errorf("%d delivered", n)
	}
	if got := w.get("past"); got.State != types.ScheduleStateEnabled {
		t.Errorf("a schedule that is over is %s", got.State)
	}
}

// gone waits until a schedule is deleted.
func (w *world) gone(name string) {
	w.t.Helper()
	for {
		_, err := w.client.GetSchedule(w.t.Context(), &api.GetScheduleInput{Name: &name})
		var none *types.ResourceNotFoundException
		if errors.As(err, &none) {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) get(name string) *api.GetScheduleOutput {
	w.t.Helper()
	return must[*api.GetScheduleOutput](w.t)(w.client.GetSchedule(w.t.Context(), &api.GetScheduleInput{Name: &name}))
}

// A rate runs at once, or from its start; a schedule ends before its end.
func TestRecurringSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := func(id string) func(in *api.CreateScheduleInput) {
		return func(in *api.CreateScheduleInput) { in.Target.Arn = aws.String(queueARN + id) }
	}
	start := w.Clock.Now()
	w.create(schedule("rate", "rate(1 hours)", to("-rate")))
	if d := w.Await(1)[0]; d.Target != queueARN+"-rate" {
		t.Errorf("delivered %+v", d)
	}
	w.create(schedule("dated", "rate(1 hour)", func(in *api.CreateScheduleInput) {
		to("-dated")(in)
		in.StartDate, in.EndDate = aws.Time(start.Add(90*time.Minute)), aws.Time(start.Add(150*time.Minute))
	}))
	w.create(schedule("cron", "cron(30 4 * * ? *)", to("-cron")))
	w.create(schedule("disabled", "rate(1 minute)", func(in *api.CreateScheduleInput) { in.State = types.ScheduleStateDisabled }))
	w.Clock.Advance(3 * time.Hour)
	var got []string
	for _, d := range w.Await(6)[1:] {
		var doc struct{ Time string }
		if err := json.Unmarshal([]byte(d.Message.Body), &doc); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimPrefix(d.Target, queueARN)+" "+doc.Time[11:19])
	}
	if want := "[-rate 04:04:05 -cron 04:30:00 -dated 04:34:05 -rate 05:04:05 -rate 06:04:05]"; fmt.Sprint(got) != want {
		t.Errorf("runs %v, want %s", got, want)
	}
}

// The default notification says which schedule ran, and when.
func TestNotification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arn := w.create(schedule("s", "at(2026-01-02T04:00:00)", nil))
	w.Clock.Advance(time.Hour)
	var got map[string]any
	if err := json.Unmarshal([]byte(w.Await(1)[0].Message.Body), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "id")
	want := map[string]any{"version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "account": "000000000000",
		"time": "2026-01-02T04:00:00Z", "region": "us-east-1", "resources": []any{arn}, "detail": "{}"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("notification\n%v, want\n%v", got, want)
	}
}

// A flexible window spreads schedules, each always in the same way.
func TestFlexibleWindow(t *testing.T) {
	t.Parallel()
	times := func() map[string]time.Duration {
		w := newWorld(t)
		for i := range 20 {
			w.create(schedule(fmt.Sprintf("s%d", i), "at(2026-01-02T04:04:05)", func(in *api.CreateScheduleInput) {
				in.FlexibleTimeWindow = &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(10)}
				in.Target.Input = aws.String("x")
			}))
		}
		w.Clock.Advance(time.Hour - 1)
		at := map[string]time.Duration{}
		for minute := range 11 {
			w.Clock.Advance(time.Minute)
			for w.Clock.Timers() == 0 && len(w.Delivered()) < 20 { // the due ones run, then wait for the next
				runtime.Gosched()
			}
			for _, d := range w.Delivered() {
				if _, ok := at[d.Message.From]; !ok {
					at[d.Message.From] = time.Duration(minute) * time.Minute
				}
			}
		}
		return at
	}
	first, second := times(), times()
	distinct := map[time.Duration]bool{}
	for arn, at := range first {
		distinct[at] = true
		if at > 10*time.Minute || second[arn] != at {
			t.Errorf("%s ran after %s, then %s", arn, at, second[arn])
		}
	}
	if len(first) != 20 || len(distinct) < 4 {
		t.Errorf("%d ran, in %d minutes", len(first), len(distinct))
	}
}

// Each kind of target gets what its API has.
func TestTargetsOfAllKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const at = "at(2026-01-02T04:00:00)"
	on := func(name, arn, input string, change func(x *types.Target)) {
		w.create(schedule(name, at, func(in *api.CreateScheduleInput) {
			in.Target.Arn, in.Target.Input = &arn, &input
			if change != nil {
				change(in.Target)
			}
		}))
	}
	const bus, stream, function, topic = "arn:aws:events:us-east-1:000000000000:event-bus/b", "arn:aws:kinesis:us-east-1:000000000000:stream/s",
		"arn:aws:lambda:us-east-1:000000000000:function:f", "arn:aws:sns:us-east-1:000000000000:t"
	const sdk = "arn:aws:scheduler:::aws-sdk:"
	on("a", queueARN+".fifo", "m", func(x *types.Target) { x.SqsParameters = &types.SqsParameters{MessageGroupId: aws.String("g")} })
	on("b", bus, `{"at": "<aws.scheduler.scheduled-time>"}`, func(x *types.Target) {
		x.EventBridgeParameters = &types.EventBridgeParameters{Source: aws.String("shop"), DetailType: aws.String("tick")}
	})
	on("c", stream, "m", func(x *types.Target) { x.KinesisParameters = &types.KinesisParameters{PartitionKey: aws.String("k")} })
	on("d", function, `{"n": 1}`, nil)
	on("e", topic, "m", nil)
	on("f", sdk+"sqs:sendMessage", `{"QueueUrl":"http://127.0.0.1:4566/000000000000/u","MessageBody":"n<aws.scheduler.attempt-number>",`+
		`"MessageAttributes":{"a":{"DataType":"String","StringValue":"v"}}}`, nil)
	on("g", sdk+"sns:publish", `{"TopicArn":"`+topic+`","Message":"m","Subject":"s"}`, nil)
	on("h", sdk+"lambda:invoke", `{"FunctionName":"`+function+`","InvocationType":"Event","Payload":"{\"x\":1}"}`, nil)
	on("i", sdk+"eventbridge:putEvents", `{"Entries":[{"Source":"s","DetailType":"t","Detail":"{\"a\":1}"},{"Source":"s","DetailType":"t","Detail":"{}","EventBusName":"b"}]}`, nil)
	w.Clock.Advance(time.Hour)
	got := map[string]env.Message{}
	for _, d := range w.Await(10) {
		name := d.Message.From[strings.LastIndex(d.Message.From, "/")+1:]
		if _, twice := got[name]; twice {
			name += "2"
		}
		d.Message.Subject += "@" + d.Target
		got[name] = d.Message
	}
	for name, want := range map[string]string{"a": "m", "c": "m", "d": `{"n": 1}`, "e": "m", "f": "n1", "g": "m", "h": `{"x":1}`} {
		if got[name].Body != want {
			t.Errorf("%s: %+v, want %s", name, got[name], want)
		}
	}
	for name, want := range map[string]string{"f": "@arn:aws:sqs:us-east-1:000000000000:u", "g": "s@" + topic, "h": "@" + function,
		"i": "@arn:aws:events:us-east-1:000000000000:event-bus/default", "i2": "@" + bus} {
		if got[name].Subject != want {
			t.Errorf("%s went to %q, want %q", name, got[name].Subject, want)
		}
	}
	if got["a"].GroupID != "g" || got["c"].PartitionKey != "k" || got["f"].Attributes["a"].String != "v" {
		t.Errorf("parameters: %+v", got)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(got["b"].Body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["source"] != "shop" || doc["detail-type"] != "tick" || fmt.Sprint(doc["detail"]) != "map[at:2026-01-02T04:00:00Z]" || doc["account"] != "000000000000" {
		t.Errorf("event %v", doc)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const expression = "rate(1 hour)"
	target := func(change func(x *types.Target)) func(in *api.CreateScheduleInput) {
		return func(in *api.CreateScheduleInput) { change(in.Target) }
	}
	arn := func(arn string) func(in *api.CreateScheduleInput) {
		return target(func(x *types.Target) { x.Arn = &arn })
	}
	const unknown = "The input for the target cannot be read, or has members that millrace's local stack does not honour: "
	for _, c := range []struct {
		change  func(in *api.CreateScheduleInput)
		message string
	}{
		{func(in *api.CreateScheduleInput) { in.FlexibleTimeWindow.MaximumWindowInMinutes = aws.Int32(5) },
			"MaximumWindowInMinutes must not be provided when FlexibleTimeWindowMode is set to OFF."},
		{func(in *api.CreateScheduleInput) { in.FlexibleTimeWindow.Mode = types.FlexibleTimeWindowModeFlexible },
			"MaximumWindowInMinutes must be provided when FlexibleTimeWindowMode is set to FLEXIBLE."},
		{func(in *api.CreateScheduleInput) {
			in.FlexibleTimeWindow = &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(1441)}
		}, "1 validation error detected: Value '1441' at 'flexibleTimeWindow.maximumWindowInMinutes' failed to satisfy constraint: Member must have value less than or equal to 1440"},
		{func(in *api.CreateScheduleInput) {
			in.StartDate, in.EndDate = aws.Time(w.Clock.Now().Add(time.Hour)), aws.Time(w.Clock.Now().Add(time.Hour))
		}, "The StartDate you specify must come before the EndDate."},
		{func(in *api.CreateScheduleInput) { in.StartDate = aws.Time(w.Clock.Now().Add(-6 * time.Minute)) },
			"The StartDate you specify cannot be earlier than 5 minutes ago."},
		{func(in *api.CreateScheduleInput) { in.ScheduleExpressionTimezone = aws.String("Mars/Olympus") }, "Invalid ScheduleExpressionTimezone Mars/Olympus."},
		{func(in *api.CreateScheduleInput) {
			in.KmsKeyArn = aws.String("arn:aws:kms:us-east-1:000000000000:key/k")
		}, "KmsKeyArn is not supported: millrace's local stack does not encrypt."},
		{arn("queue"), "Provided Arn is not in correct format."},
		{arn("arn:aws:states:us-east-1:000000000000:stateMachine:m"), "states is not a supported service for a target."},
		{arn("arn:aws:sqs:eu-west-1:000000000000:q"), "The target ARN provided does not match the current region us-east-1."},
		{arn(queueARN + ".fifo"), "Parameters SqsParameters must be specified."},
		{target(func(x *types.Target) { x.SqsParameters = &types.SqsParameters{MessageGroupId: aws.String("g")} }), "Parameters MessageGroupId not valid for the target."},
		{target(func(x *types.Target) { x.KinesisParameters = &types.KinesisParameters{PartitionKey: aws.String("k")} }), "Parameters KinesisParameters not supported for the target."},
		{arn("arn:aws:kinesis:us-east-1:000000000000:stream/s"), "Parameters KinesisParameters must be specified."},
		{arn("arn:aws:events:us-east-1:000000000000:event-bus/b"), "Parameters EventBridgeParameters must be specified."},
		{target(func(x *types.Target) {
			x.Arn, x.Input = aws.String("arn:aws:lambda:us-east-1:000000000000:function:f"), aws.String("{")
		}), "JSON syntax error in input for the target."},
		{target(func(x *types.Target) {
			x.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String(deadARN + ".fifo")}
		}),
			`1 validation error detected: Value '` + deadARN + `.fifo' at 'target.deadLetterConfig.arn' failed to satisfy constraint: Member must satisfy regular expression pattern: ` +
				`^arn:aws(-[a-z]+)?:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+$`},
		{arn("arn:aws:scheduler:::aws-sdk:sqs:sendMessage"), "You must provide an input to set this target for your schedule."},
		{target(func(x *types.Target) {
			x.Arn, x.Input = aws.String("arn:aws:scheduler:::aws-sdk:sqs:getQueueUrl"), aws.String("{}")
		}), "getQueueUrl API is not supported."},
		{target(func(x *types.Target) {
			x.Arn, x.Input = aws.String("arn:aws:scheduler:::aws-sdk:ec2:startInstances"), aws.String("{}")
		}), "startInstances API of ec2 is not supported by millrace's local stack; sqs:sendMessage, sns:publish, lambda:invoke and eventbridge:putEvents are."},
		{target(func(x *types.Target) {
			x.Arn, x.Input = aws.String("arn:aws:scheduler:::aws-sdk:sqs:sendMessage"), aws.String(`{"QueueUrl":"http://h/000000000000/q","MessageBody":"m","DelaySeconds":5}`)
		}), unknown},
	} {
		_, err := w.client.CreateSchedule(t.Context(), schedule("s", expression, c.change))
		if c.message == unknown {
			if err == nil || !strings.Contains(err.Error(), unknown) || !strings.Contains(err.Error(), "DelaySeconds") {
				t.Errorf("error %v, want %s", err, unknown)
			}
			continue
		}
		refused(t, err, "ValidationException", http.StatusBadRequest, c.message)
	}
	if l := must[*api.ListSchedulesOutput](t)(w.client.ListSchedules(t.Context(), &api.ListSchedulesInput{})); len(l.Schedules) != 0 || w.Clock.Timers() != 0 {
		t.Errorf("refused schedules are there: %+v", l.Schedules)
	}
}

func TestSchedulesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	in := schedule("s", "cron(0 12 * * ? *)", func(in *api.CreateScheduleInput) {
		in.Description, in.ClientToken = aws.String("d"), aws.String("token")
	})
	arn := w.create(in)
	got := w.get("s")
	if *got.Arn != arn || *got.Description != "d" || *got.GroupName != "default" || *got.ScheduleExpressionTimezone != "UTC" || got.State != types.ScheduleStateEnabled ||
		got.ActionAfterCompletion != types.ActionAfterCompletionNone || *got.Target.RetryPolicy.MaximumEventAgeInSeconds != 86400 ||
		*got.Target.RetryPolicy.MaximumRetryAttempts != 185 || got.FlexibleTimeWindow.Mode != types.FlexibleTimeWindowModeOff || got.StartDate != nil {
		t.Errorf("got %+v", got)
	}
	if again := w.create(in); again != arn { // the same token and the same schedule
		t.Errorf("created again: %s", again)
	}
	in.Description = aws.String("other")
	_, err := w.client.CreateSchedule(ctx, in)
	refused(t, err, "ConflictException", http.StatusConflict, "Schedule s already exists.")
	_, err = w.client.CreateSchedule(ctx, schedule("s", "rate(1 hour)", nil))
	refused(t, err, "ConflictException", http.StatusConflict, "Schedule s already exists.")
	_, err = w.client.CreateSchedule(ctx, schedule("s", "rate(1 hour)", func(in *api.CreateScheduleInput) { in.GroupName = aws.String("nope") }))
	refused(t, err, "ResourceNotFoundException", http.StatusNotFound, "Schedule group nope does not exist.")

	update := &api.UpdateScheduleInput{Name: aws.String("s"), ScheduleExpression: aws.String("at(2026-01-02T04:00:00)"), State: types.ScheduleStateDisabled,
		FlexibleTimeWindow: in.FlexibleTimeWindow, Target: in.Target}
	w.Clock.Advance(time.Minute)
	must[*api.UpdateScheduleOutput](t)(w.client.UpdateSchedule(ctx, update))
	if got := w.get("s"); got.Description != nil || got.State != types.ScheduleStateDisabled || !got.CreationDate.Before(*got.LastModificationDate) {
		t.Errorf("updated %+v", got)
	}
	update.Name = aws.String("nope")
	_, err = w.client.UpdateSchedule(ctx, update)
	refused(t, err, "ResourceNotFoundException", http.StatusNotFound, "Schedule nope does not exist.")

	remove := func(token string) error {
		_, err := w.client.DeleteSchedule(ctx, &api.DeleteScheduleInput{Name: aws.String("s"), ClientToken: &token})
		return err
	}
	for range 2 { // a repeated request finds that it was done
		if err := remove("t1"); err != nil {
			t.Error(err)
		}
	}
	refused(t, remove("t2"), "ResourceNotFoundException", http.StatusNotFound, "Schedule s does not exist.")
	_, err = w.client.GetSchedule(ctx, &api.GetScheduleInput{Name: aws.String("s")})
	refused(t, err, "ResourceNotFoundException", http.StatusNotFound, "Schedule s does not exist.")
}

func TestGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	create := func(name string) (*api.CreateScheduleGroupOutput, error) {
		return w.client.CreateScheduleGroup(ctx, &api.CreateScheduleGroupInput{Name: &name, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
	}
	arn := must[*api.CreateScheduleGroupOutput](t)(create("g")).ScheduleGroupArn
	_, err := create("g")
	refused(t, err, "ConflictException", http.StatusConflict, "Schedule group g already exists.")
	_, err = create("default")
	refused(t, err, "ValidationException", http.StatusBadRequest, "This operation cannot be performed on schedule group default.")
	must[*api.TagResourceOutput](t)(w.client.TagResource(ctx, &api.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{
		{Key: aws.String("a"), Value: aws.String("2")}, {Key: aws.String("b c"), Value: aws.String("3")}}}))
	must[*api.UntagResourceOutput](t)(w.client.UntagResource(ctx, &api.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"b c", "x"}}))
	tags := must[*api.ListTagsForResourceOutput](t)(w.client.ListTagsForResource(ctx, &api.ListTagsForResourceInput{ResourceArn: arn})).Tags
	if len(tags) != 1 || *tags[0].Key != "a" || *tags[0].Value != "2" {
		t.Errorf("tags %+v", tags)
	}
	for _, name := range []string{"one", "two"} {
		w.create(schedule(name, "rate(1 day)", func(in *api.CreateScheduleInput) {
			in.GroupName, in.StartDate = aws.String("g"), aws.Time(w.Clock.Now().Add(time.Hour))
		}))
		w.create(schedule(name, "cron(0 12 * * ? *)", nil))
	}
	var names []string
	var token *string
	for {
		l := must[*api.ListSchedulesOutput](t)(w.client.ListSchedules(ctx, &api.ListSchedulesInput{MaxResults: aws.Int32(3), NextToken: token}))
		for _, x := range l.Schedules {
			names = append(names, *x.GroupName+"/"+*x.Name)
		}
		if token = l.NextToken; token == nil {
			break
		}
	}
	if fmt.Sprint(names) != "[default/one default/two g/one g/two]" {
		t.Errorf("schedules %v", names)
	}
	if l := must[*api.ListSchedulesOutput](t)(w.client.ListSchedules(ctx, &api.ListSchedulesInput{GroupName: aws.String("g"), NamePrefix: aws.String("o")})); len(l.Schedules) != 1 {
		t.Errorf("one of the group: %+v", l.Schedules)
	}
	if l := must[*api.ListScheduleGroupsOutput](t)(w.client.ListScheduleGroups(ctx, &api.ListScheduleGroupsInput{})); len(l.ScheduleGroups) != 2 {
		t.Errorf("groups %+v", l.ScheduleGroups)
	}
	must[*api.DeleteScheduleGroupOutput](t)(w.client.DeleteScheduleGroup(ctx, &api.DeleteScheduleGroupInput{Name: aws.String("g")}))
	_, err = w.client.GetScheduleGroup(ctx, &api.GetScheduleGroupInput{Name: aws.String("g")})
	refused(t, err, "ResourceNotFoundException", http.StatusNotFound, "Schedule group g does not exist.")
	w.Clock.Advance(2 * time.Hour) // the group's schedules are gone with it
	if n := len(w.Delivered()); n != 0 {
		t.Errorf("%d delivered", n)
	}
}

// A run that cannot be delivered is tried again, counts its attempts, and goes to the dead-letter queue in the end.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := make(chan string, 10)
	w.Refuse(func(to string, m env.Message) error {
		if to == queueARN {
			seen <- m.Body
			return &wire.Error{Code: "ServiceUnavailable", Message: "down", Status: 503}
		}
		return nil
	})
	arn := w.create(schedule("s", "at(2026-01-02T03:05:00)", func(in *api.CreateScheduleInput) {
		in.Target.Input = aws.String("attempt <aws.scheduler.attempt-number>")
		in.Target.RetryPolicy = &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(2)}
		in.Target.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String(deadARN)}
	}))
	for n := 1; n <= 3; {
		select {
		case body := <-seen:
			if body != fmt.Sprintf("attempt %d", n) {
				t.Errorf("attempt %d had the body %q", n, body)
			}
			n++
		default:
			if w.Clock.Timers() > 0 {
				w.Clock.Advance(time.Minute)
			} else {
				runtime.Gosched()
			}
		}
	}
	d := w.Await(1)[0]
	execution := d.Message.Attributes["EXECUTION_ID"].String
	want := map[string]string{"ERROR_CODE": "ServiceUnavailable", "ERROR_MESSAGE": "down", "EXECUTION_ID": execution, "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
		"IS_PAYLOAD_TRUNCATED": "false", "RETRY_ATTEMPTS": "2", "SCHEDULED_TIME": "2026-01-02T03:05:00Z", "SCHEDULE_ARN": arn, "TARGET_ARN": queueARN}
	got := map[string]string{}
	for name, a := range d.Message.Attributes {
		got[name] = a.String
	}
	if d.Target != deadARN || fmt.Sprint(got) != fmt.Sprint(want) || len(execution) != 16 {
		t.Errorf("dead letter %s\n%v, want\n%v", d.Target, got, want)
	}
}

// A schedule that came due while the stack was down runs when it is up again, if it is not too old.
func TestACrashLosesNoRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := stacktest.On(t, s)
	w := worldOn(t, k)
	ctx := t.Context()
	must[*api.CreateScheduleGroupOutput](t)(w.client.CreateScheduleGroup(ctx, &api.CreateScheduleGroupInput{Name: aws.String("g")}))
	w.create(schedule("due", "at(2026-01-02T04:00:00)", func(in *api.CreateScheduleInput) {
		in.GroupName, in.ActionAfterCompletion, in.Target.Input = aws.String("g"), types.ActionAfterCompletionDelete, aws.String("due")
	}))
	w.create(schedule("old", "at(2026-01-02T04:00:00)", func(in *api.CreateScheduleInput) {
		in.Target.RetryPolicy = &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(60)}
	}))
	w.create(schedule("hourly", "rate(1 hour)", func(in *api.CreateScheduleInput) { in.Target.Input = aws.String("<aws.scheduler.scheduled-time>") }))
	w.Await(1)
	k.Stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k = stacktest.On(t, s)
	k.Clock.Advance(150 * time.Minute) // 05:34:05
	w = worldOn(t, k)
	var got []string
	for _, d := range k.Await(3) {
		got = append(got, d.Message.Body)
	}
	if want := "[due 2026-01-02T04:04:05Z 2026-01-02T05:04:05Z]"; fmt.Sprint(got) != want {
		t.Errorf("made up %v, want %s", got, want)
	}
	for {
		l := must[*api.ListSchedulesOutput](t)(w.client.ListSchedules(ctx, &api.ListSchedulesInput{GroupName: aws.String("g")}))
		if len(l.Schedules) == 0 {
			break
		}
	}
	k.Stop()
	if n := len(k.Delivered()); n != 3 {
		t.Errorf("%d delivered", n)
	}
}

func TestResetForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(schedule("s", "cron(0 12 * * ? *)", nil))
	w.service.Reset()
	if n := w.Clock.Timers(); n != 0 {
		t.Errorf("%d timers", n)
	}
	_, err := w.client.GetSchedule(t.Context(), &api.GetScheduleInput{Name: aws.String("s")})
	refused(t, err, "ResourceNotFoundException", http.StatusNotFound, "Schedule s does not exist.")
}

// A restart puts back a clock that was put forward, and schedules go on from there.
func TestAClockThatGoesBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := stacktest.On(t, s)
	k.Clock.Advance(1000 * time.Hour)
	w := worldOn(t, k)
	input := func(in *api.CreateScheduleInput) { in.Target.Input = aws.String("<aws.scheduler.scheduled-time>") }
	w.create(schedule("rate", "rate(1 hour)", input))
	w.create(schedule("cron", "cron(30 3 * * ? *)", input))
	w.Await(1)
	k.Stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k = stacktest.On(t, s)
	w = worldOn(t, k)
	w.Clock.Advance(time.Hour)
	d := w.Await(2)
	if got := d[0].Message.Body + " " + d[1].Message.Body; got != "2026-01-02T03:30:00Z 2026-01-02T04:04:05Z" {
		t.Errorf("ran at %s", got)
	}
	k.Stop()
}

// A jump of years makes up the runs of the last day, which is a schedule's maximum event age.
func TestAJumpOfYears(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(schedule("s", "rate(1 hour)", func(in *api.CreateScheduleInput) { in.Target.Input = aws.String("<aws.scheduler.scheduled-time>") }))
	w.Await(1)
	w.Clock.Advance(150 * 365 * 24 * time.Hour)
	d := w.Await(25)
	if first, last := d[1].Message.Body, d[24].Message.Body; first != "2175-11-26T04:04:05Z" || last != "2175-11-27T03:04:05Z" {
		t.Errorf("ran from %s to %s", first, last)
	}
	for w.Clock.Timers() == 0 {
		runtime.Gosched()
	}
	w.Clock.Advance(time.Hour)
	if d := w.Await(26); d[25].Message.Body != "2175-11-27T04:04:05Z" {
		t.Errorf("then %s", d[25].Message.Body)
	}
}
