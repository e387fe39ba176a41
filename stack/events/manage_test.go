package events_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func TestBuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	create := func(in *eventbridge.CreateEventBusInput) error {
		_, err := w.client.CreateEventBus(ctx, in)
		return err
	}
	out := must[*eventbridge.CreateEventBusOutput](w)(w.client.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String("b"),
		Description: aws.String("the bus"), DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String(deadARN)}, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}))
	arn := "arn:aws:events:us-east-1:000000000000:event-bus/b"
	if *out.EventBusArn != arn || *out.Description != "the bus" || *out.DeadLetterConfig.Arn != deadARN {
		t.Errorf("created %+v", out)
	}
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("b")}), "ResourceAlreadyExistsException", "Event bus b already exists.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("default")}), "ResourceAlreadyExistsException", "Event bus default already exists.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("a/b")}), "ValidationException", "Event bus name must not contain '/'.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("a b")}), "ValidationException",
		`1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [/\.\-_A-Za-z0-9]+`)
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("aws.partner/x/y"), EventSourceName: aws.String("aws.partner/x/y")}),
		"ResourceNotFoundException", "Event source aws.partner/x/y does not exist.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("c"), KmsKeyIdentifier: aws.String("key")}), "ValidationException",
		"Parameter KmsKeyIdentifier is not valid. Reason: millrace's local stack does not encrypt.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("c"), LogConfig: &types.LogConfig{Level: types.LevelInfo}}), "ValidationException",
		"Parameter LogConfig is not valid. Reason: millrace's local stack does not log what a bus does; the level OFF is the only one.")
	refused(t, create(&eventbridge.CreateEventBusInput{Name: aws.String("c"), DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String("arn:aws:sns:us-east-1:000000000000:t")}}),
		"ValidationException", "sns is not supported as a dead letter resource.")

	must[*eventbridge.UpdateEventBusOutput](w)(w.client.UpdateEventBus(ctx, &eventbridge.UpdateEventBusInput{Name: aws.String("b"), Description: aws.String("changed")}))
	desc := must[*eventbridge.DescribeEventBusOutput](w)(w.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &arn}))
	if *desc.Name != "b" || *desc.Description != "changed" || !desc.CreationTime.Equal(w.Clock.Now()) || desc.Policy != nil || *desc.DeadLetterConfig.Arn != deadARN {
		t.Errorf("described %+v", desc)
	}
	_, err := w.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: aws.String("nope")})
	refused(t, err, "ResourceNotFoundException", "Event bus nope does not exist.")
	if d := must[*eventbridge.DescribeEventBusOutput](w)(w.client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{})); *d.Name != "default" {
		t.Errorf("no name describes %s", *d.Name)
	}

	var names []string
	var token *string
	for {
		page := must[*eventbridge.ListEventBusesOutput](w)(w.client.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{Limit: aws.Int32(1), NextToken: token}))
		for _, b := range page.EventBuses {
			names = append(names, *b.Name)
		}
		if token = page.NextToken; token == nil {
			break
		}
	}
	if fmt.Sprint(names) != "[b default]" {
		t.Errorf("buses %v", names)
	}
	_, err = w.client.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{NextToken: aws.String("!")})
	refused(t, err, "ValidationException", "Invalid token.")

	remove := func(name string) error {
		_, err := w.client.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &name})
		return err
	}
	refused(t, remove("default"), "ValidationException", "Cannot delete event bus default.")
	w.rule("b", "r", anything)
	refused(t, remove("b"), "ValidationException", "EventBus can't be deleted since it has rules.")
	must[*eventbridge.DeleteRuleOutput](w)(w.client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("r"), EventBusName: aws.String("b")}))
	for range 2 { // the second time there is nothing to delete
		if err := remove("b"); err != nil {
			t.Error(err)
		}
	}
	elsewhere := w.as("111122223333", "eu-west-1")
	if l := must[*eventbridge.ListEventBusesOutput](w)(elsewhere.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{})); len(l.EventBuses) != 1 ||
		*l.EventBuses[0].Arn != "arn:aws:events:eu-west-1:111122223333:event-bus/default" {
		t.Errorf("elsewhere there is %+v", l.EventBuses)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	put := func(in *eventbridge.PutRuleInput) error {
		_, err := w.client.PutRule(ctx, in)
		return err
	}
	for _, c := range []struct {
		in            *eventbridge.PutRuleInput
		code, message string
	}{
		{&eventbridge.PutRuleInput{Name: aws.String("r")}, "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified."},
		{&eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(anything), EventBusName: aws.String("nope")}, "ResourceNotFoundException", "Event bus nope does not exist."},
		{&eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"source":[]}`)}, "InvalidEventPatternException",
			"Event pattern is not valid. Reason: Empty arrays are not allowed\n at [Source: (String)\"{\"source\":[]}\"; line: 1, column: 13]"},
		{&eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"source":["` + strings.Repeat("x", 2048) + `"]}`)}, "ValidationException",
			"Parameter EventPattern for rule r exceeds limit of 2048."},
		{&eventbridge.PutRuleInput{Name: aws.String("r"), ScheduleExpression: aws.String("rate(1 minutes)")}, "ValidationException", "Parameter ScheduleExpression is not valid."},
		{&eventbridge.PutRuleInput{Name: aws.String("r"), ScheduleExpression: aws.String("at(2026-01-02T03:04:05)")}, "ValidationException", "Parameter ScheduleExpression is not valid."},
		{&eventbridge.PutRuleInput{Name: aws.String(""), EventPattern: aws.String(anything), State: "ON"}, "ValidationException",
			`3 validation errors detected: Value '' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+; ` +
				`Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1; ` +
				`Value 'ON' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]`},
	} {
		refused(t, put(c.in), c.code, c.message)
	}

	arn := *must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(anything),
		ScheduleExpression: aws.String("rate(1 hour)"), Description: aws.String("d"), RoleArn: aws.String(roleARN), State: types.RuleStateDisabled,
		Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})).RuleArn
	d := must[*eventbridge.DescribeRuleOutput](w)(w.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("r")}))
	if *d.Arn != arn || *d.EventPattern != anything || *d.ScheduleExpression != "rate(1 hour)" || *d.Description != "d" || *d.RoleArn != roleARN ||
		d.State != types.RuleStateDisabled || *d.EventBusName != "default" || *d.CreatedBy != "000000000000" {
		t.Errorf("described %+v", d)
	}
	w.rule("default", "r", `{"source":["x"]}`, target("1", queueARN)) // replaces all but tags and targets
	d = must[*eventbridge.DescribeRuleOutput](w)(w.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("r")}))
	if d.Description != nil || d.ScheduleExpression != nil || d.RoleArn != nil || d.State != types.RuleStateEnabled {
		t.Errorf("put again %+v", d)
	}
	w.rule("default", "r", `{"source":["y"]}`)
	w.rule("default", "s", `{"source":["y"]}`)
	names := must[*eventbridge.ListRuleNamesByTargetOutput](w)(w.client.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: aws.String(queueARN)}))
	if fmt.Sprint(names.RuleNames) != "[r]" {
		t.Errorf("rules of the target: %v", names.RuleNames)
	}

	missing := "Rule nope does not exist on EventBus default."
	_, err := w.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("nope")})
	refused(t, err, "ResourceNotFoundException", missing)
	_, err = w.client.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: aws.String("nope")})
	refused(t, err, "ResourceNotFoundException", missing)
	_, err = w.client.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: aws.String("nope")})
	refused(t, err, "ResourceNotFoundException", missing)
	if _, err = w.client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("nope")}); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	_, err = w.client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("r")})
	refused(t, err, "ValidationException", "Rule can't be deleted since it has targets.")
	removed := must[*eventbridge.RemoveTargetsOutput](w)(w.client.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: aws.String("r"), Ids: []string{"1", "2"}}))
	if removed.FailedEntryCount != 1 || *removed.FailedEntries[0].TargetId != "2" || *removed.FailedEntries[0].ErrorCode != "ResourceNotFoundException" {
		t.Errorf("removed %+v", removed)
	}
	must[*eventbridge.DeleteRuleOutput](w)(w.client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("r")}))
	w.put("default", "x", "{}")
	if n := len(w.Delivered()); n != 0 {
		t.Errorf("a deleted rule has delivered %d", n)
	}
}

func TestTargetsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rule("default", "r", anything)
	const stream, fifo, bus = "arn:aws:kinesis:us-east-1:000000000000:stream/s", queueARN + ".fifo", "arn:aws:events:us-east-1:000000000000:event-bus/b"
	on := func(arn string, change func(*types.Target)) types.Target {
		x := target("t1", arn)
		change(&x)
		return x
	}
	nothing := func(*types.Target) {}
	for _, c := range []struct {
		target  types.Target
		message string
	}{
		{on("not-an-arn", nothing), "Parameter not-an-arn is not valid. Reason: Provided Arn is not in correct format."},
		{on("arn:aws:states:us-east-1:000000000000:stateMachine:m", nothing), "states is not a supported service for a target. millrace's local stack has queues, " +
			"topics, streams, functions, event buses and log groups; the target is arn:aws:states:us-east-1:000000000000:stateMachine:m."},
		{on(fifo, nothing), "Parameter(s) SqsParameters must be specified for target: t1."},
		{on(stream, nothing), "RoleArn is required for target " + stream + "."},
		{on(bus, nothing), "RoleArn is required for target " + bus + "."},
		{on(bus, func(x *types.Target) { x.RoleArn, x.Input = aws.String(roleARN), aws.String("{}") }), "Modifying the input for target t1 is not supported."},
		{on(queueARN, func(x *types.Target) { x.Input = aws.String("hello") }), "JSON syntax error in input for target t1."},
		{on(queueARN, func(x *types.Target) { x.InputPath = aws.String("detail") }), "InputPath for target t1 is invalid."},
		{on(queueARN, func(x *types.Target) { x.InputPath, x.Input = aws.String("$"), aws.String("{}") }),
			"Only one of Input, InputPath, or InputTransformer must be provided for target t1."},
		{on(queueARN, func(x *types.Target) {
			x.InputTransformer = &types.InputTransformer{InputTemplate: aws.String(`"<aws.events.event.json>"`)}
		}), "InputTemplate for target t1 contains placeholder aws.events.event.json valid only for JSON template."},
		{on(queueARN, func(x *types.Target) {
			x.KinesisParameters = &types.KinesisParameters{PartitionKeyPath: aws.String("$.id")}
		}), "Parameter(s) KinesisParameters not supported for target: t1."},
		{on(queueARN, func(x *types.Target) {
			x.EcsParameters = &types.EcsParameters{TaskDefinitionArn: aws.String("arn:aws:ecs:us-east-1:000000000000:task-definition/t")}
		}), "Parameter(s) EcsParameters not supported for target: t1."},
		{on(queueARN, func(x *types.Target) { x.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String(fifo)} }), "SQS FIFO is not supported by Dead Letter Queues."},
		{on(queueARN, func(x *types.Target) {
			x.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String("arn:aws:lambda:us-east-1:000000000000:function:f")}
		}), "lambda is not supported as a dead letter resource."},
		{on(queueARN, func(x *types.Target) { x.RetryPolicy = &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(186)} }),
			"1 validation error detected: Value '186' at 'targets.1.member.retryPolicy.maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 185"},
	} {
		_, err := w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{c.target}})
		refused(t, err, "ValidationException", c.message)
	}
	var six []types.Target
	for i := range 6 {
		six = append(six, target(fmt.Sprint(i), queueARN))
	}
	_, err := w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: six})
	refused(t, err, "LimitExceededException", "The requested resource exceeds the maximum number allowed.")
	_, err = w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("nope"), Targets: six[:1]})
	refused(t, err, "ResourceNotFoundException", "Rule nope does not exist on EventBus default.")
	if l := must[*eventbridge.ListTargetsByRuleOutput](w)(w.client.ListTargetsByRule(t.Context(), &eventbridge.ListTargetsByRuleInput{Rule: aws.String("r")})); len(l.Targets) != 0 {
		t.Errorf("refused targets are there: %+v", l.Targets)
	}
}

// What is put of a target is what is listed.
func TestTargetsAreListedAsPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := target("1", queueARN)
	x.InputTransformer = &types.InputTransformer{InputPathsMap: map[string]string{"a": "$.detail.a"}, InputTemplate: aws.String(`"<a>"`)}
	x.RetryPolicy = &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)}
	x.DeadLetterConfig = &types.DeadLetterConfig{Arn: aws.String(deadARN)}
	x.SqsParameters = &types.SqsParameters{MessageGroupId: aws.String("g")}
	w.rule("default", "r", anything, target("1", queueARN), target("2", queueARN))
	w.rule("default", "r", anything, x) // in the place of the first
	got := must[*eventbridge.ListTargetsByRuleOutput](w)(w.client.ListTargetsByRule(t.Context(), &eventbridge.ListTargetsByRuleInput{Rule: aws.String("r")})).Targets
	if len(got) != 2 || *got[0].InputTransformer.InputTemplate != `"<a>"` || got[0].InputTransformer.InputPathsMap["a"] != "$.detail.a" ||
		*got[0].RetryPolicy.MaximumRetryAttempts != 0 || *got[0].RetryPolicy.MaximumEventAgeInSeconds != 60 || *got[0].DeadLetterConfig.Arn != deadARN ||
		*got[0].SqsParameters.MessageGroupId != "g" || got[1].RetryPolicy != nil {
		t.Errorf("targets %+v", got)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.bus("b")
	for _, arn := range []string{w.rule("default", "r", anything), w.rule("b", "r", anything), "arn:aws:events:us-east-1:000000000000:event-bus/b"} {
		tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
		must[*eventbridge.TagResourceOutput](w)(w.client.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: &arn, Tags: []types.Tag{tag("a", "1"), tag("b", "2")}}))
		must[*eventbridge.TagResourceOutput](w)(w.client.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: &arn, Tags: []types.Tag{tag("a", "3")}}))
		must[*eventbridge.UntagResourceOutput](w)(w.client.UntagResource(ctx, &eventbridge.UntagResourceInput{ResourceARN: &arn, TagKeys: []string{"b", "c"}}))
		got := must[*eventbridge.ListTagsForResourceOutput](w)(w.client.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &arn})).Tags
		if len(got) != 1 || *got[0].Key != "a" || *got[0].Value != "3" {
			t.Errorf("%s has the tags %+v", arn, got)
		}
	}
	for arn, message := range map[string]string{
		"arn:aws:events:us-east-1:000000000000:rule/nope":      "Rule nope does not exist on EventBus default.",
		"arn:aws:events:us-east-1:000000000000:rule/b/nope":    "Rule nope does not exist on EventBus b.",
		"arn:aws:events:us-east-1:000000000000:event-bus/nope": "Event bus nope does not exist.",
	} {
		_, err := w.client.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &arn})
		refused(t, err, "ResourceNotFoundException", message)
	}
}

func TestTestEventPattern(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const doc = `{"id":"1","source":"shop","detail-type":"t","account":"000000000000","region":"us-east-1","time":"2026-01-02T03:04:05Z"}`
	test := func(pattern, event string) (*eventbridge.TestEventPatternOutput, error) {
		return w.client.TestEventPattern(t.Context(), &eventbridge.TestEventPatternInput{EventPattern: &pattern, Event: &event})
	}
	for pattern, want := range map[string]bool{`{"source":["shop"]}`: true, `{"source":["bakery"]}`: false} {
		if got := must[*eventbridge.TestEventPatternOutput](w)(test(pattern, doc)); got.Result != want {
			t.Errorf("%s: %t", pattern, got.Result)
		}
	}
	for _, event := range []string{`{"testEvent":"value"}`, `["plain string"]`, "plain", strings.Replace(doc, `"1"`, "null", 1)} {
		_, err := test(`{"source":["shop"]}`, event)
		refused(t, err, "ValidationException", "Parameter Event is not valid.")
	}
}

func TestResetForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bus := w.bus("b")
	w.rule("default", "r", anything, target("1", queueARN))
	w.archive("a", bus)
	must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("s"), ScheduleExpression: aws.String("rate(1 hour)")}))
	w.service.Reset()
	w.put("default", "s", "{}")
	if n, timers := len(w.Delivered()), w.Clock.Timers(); n != 0 || timers != 0 {
		t.Errorf("%d delivered, %d timers", n, timers)
	}
	if l := must[*eventbridge.ListEventBusesOutput](w)(w.client.ListEventBuses(t.Context(), &eventbridge.ListEventBusesInput{})); len(l.EventBuses) != 1 {
		t.Errorf("buses %+v", l.EventBuses)
	}
}
