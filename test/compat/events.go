package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedules "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

const (
	eventsAPI    = "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_"
	eventsGuide  = "https://docs.aws.amazon.com/eventbridge/latest/userguide/"
	schedulerAPI = "https://docs.aws.amazon.com/scheduler/latest/APIReference/API_"
	schedGuide   = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/"
)

// bus makes an event bus.
func (t *T) bus(what string) string {
	name := t.name(what)
	ok(t.Events.CreateEventBus(t.ctx, &eventbridge.CreateEventBusInput{Name: &name}))
	return name
}

// rule makes a rule of a bus, "" for the default bus, with one target.
func (t *T) rule(bus, pattern string, target types.Target) string {
	name := t.name("rule-" + text(target.Id))
	in := &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}
	targets := &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{target}}
	if bus != "" {
		in.EventBusName, targets.EventBusName = &bus, &bus
	}
	ok(t.Events.PutRule(t.ctx, in))
	out := ok(t.Events.PutTargets(t.ctx, targets))
	t.want("FailedEntryCount of PutTargets", out.FailedEntryCount, 0)
	return name
}

// ruleToQueue makes a rule whose target is a queue, and returns the queue's URL.
func (t *T) ruleToQueue(bus, pattern string, change func(*types.Target)) (queue string) {
	queue = t.queue("events", nil)
	t.admit(queue)
	target := types.Target{Id: ptr("queue"), Arn: ptr(t.queueARN(queue))}
	if change != nil {
		change(&target)
	}
	t.rule(bus, pattern, target)
	return queue
}

func (t *T) putEvent(bus, source, kind, detail string) string {
	e := types.PutEventsRequestEntry{Source: &source, DetailType: &kind, Detail: &detail}
	if bus != "" {
		e.EventBusName = &bus
	}
	out := ok(t.Events.PutEvents(t.ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{e}}))
	t.want("FailedEntryCount", out.FailedEntryCount, 0)
	return text(out.Entries[0].EventId)
}

func eventCases() []Case {
	return []Case{
		{
			ID: "events-document", URL: eventsGuide + "eb-events.html",
			Says: "A JSON object that contains information about the event.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["my.app"]}`, nil)
				id := text(ok(t.Events.PutEvents(t.ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
					Source: ptr("my.app"), DetailType: ptr("Order <Placed>"), Detail: ptr(`{"n": 1.50, "b": "ü"}`), EventBusName: &bus,
					Resources: []string{"arn:x"}, Time: ptr(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)),
				}}})).Entries[0].EventId)
				d := t.document("the event", text(t.receiveOne(q).Body))
				for name, want := range map[string]any{
					"version": "0", "id": id, "detail-type": "Order <Placed>", "source": "my.app", "time": "2026-01-02T03:04:05Z", "region": region,
					"resources": []any{"arn:x"}, "detail": map[string]any{"n": 1.5, "b": "ü"},
				} {
					t.want(name, d[name], want)
				}
				account, _ := d["account"].(string)
				t.that(len(account) == 12, "account is %q", account)
				t.want("the number of members", len(d), 9)
			},
		},
		{
			ID: "events-refused-entries", URL: eventsAPI + "PutEvents.html",
			Says: "The number of failed entries.",
			Run: func(t *T) {
				s, k, d := ptr("s"), ptr("k"), ptr("{}")
				out := ok(t.Events.PutEvents(t.ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
					{Source: s, DetailType: k, Detail: d}, {DetailType: k, Detail: d}, {Source: s, Detail: d}, {Source: s, DetailType: k}, {Source: s, DetailType: k, Detail: ptr("no JSON")}, {Source: s, DetailType: k, Detail: ptr("[1]")},
				}}))
				t.want("FailedEntryCount", out.FailedEntryCount, 5)
				var got []string
				for _, e := range out.Entries {
					got = append(got, text(e.ErrorCode))
				}
				t.want("the codes", got, []string{"", "InvalidArgument", "InvalidArgument", "InvalidArgument", "MalformedDetail", "MalformedDetail"})
				t.want("the message", out.Entries[1].ErrorMessage, "Parameter Source is not valid. Reason: Source is a required argument.")
				t.want("the message", out.Entries[4].ErrorMessage, "Detail is malformed.")
			},
		},
		{
			ID: "events-eleven", URL: eventsAPI + "PutEvents.html",
			Says: "Array Members: Minimum number of 1 item. Maximum number of 10 items.",
			Run: func(t *T) {
				var e []types.PutEventsRequestEntry
				for range 11 {
					e = append(e, types.PutEventsRequestEntry{Source: ptr("s"), DetailType: ptr("k"), Detail: ptr("{}")})
				}
				t.refused("eleven entries", errOf(t.Events.PutEvents(t.ctx, &eventbridge.PutEventsInput{Entries: e})), "ValidationException", "1 validation error detected")
			},
		},
		{
			ID: "events-pattern", URL: eventsGuide + "eb-event-patterns-content-based-filtering.html",
			Says: "With content filtering, you can write complex event patterns that only match events under very specific conditions.",
			Run: func(t *T) {
				const event = `{"id":"1","source":"a.b","detail-type":"T","account":"123456789012","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":["r1","r2"],
					"detail":{"n":300,"s":"hello.png","ip":"10.0.0.9","null":null,"list":["x","y"],"objects":[{"a":1,"b":1},{"a":2,"b":2}],"e":""}}`
				for pattern, want := range map[string]bool{
					`{"source":["a.b"],"detail-type":["T"]}`:                                   true,
					`{"detail":{"n":[300.0]}}`:                                                 true,
					`{"detail":{"n":["300"]}}`:                                                 false,
					`{"detail":{"n":[{"numeric":[">",0,"<=",300]}]}}`:                          true,
					`{"detail":{"n":[{"numeric":["<",300]}]}}`:                                 false,
					`{"detail":{"s":[{"prefix":"hel"}]}}`:                                      true,
					`{"detail":{"s":[{"prefix":{"equals-ignore-case":"HEL"}}]}}`:               true,
					`{"detail":{"s":[{"suffix":".png"}]}}`:                                     true,
					`{"detail":{"s":[{"equals-ignore-case":"HELLO.PNG"}]}}`:                    true,
					`{"detail":{"s":[{"wildcard":"h*o.*g"}]}}`:                                 true,
					`{"detail":{"s":[{"anything-but":{"wildcard":"*.png"}}]}}`:                 false,
					`{"detail":{"s":[{"anything-but":["a","b"]}]}}`:                            true,
					`{"detail":{"gone":[{"anything-but":"a"}]}}`:                               false,
					`{"detail":{"gone":[{"exists":false}],"s":[{"exists":true}]}}`:             true,
					`{"detail":{"ip":[{"cidr":"10.0.0.0/24"}]}}`:                               true,
					`{"detail":{"ip":[{"cidr":"10.0.1.0/24"}]}}`:                               false,
					`{"detail":{"null":[null],"e":[""]}}`:                                      true,
					`{"detail":{"list":["y"]},"resources":["r2"]}`:                             true,
					`{"detail":{"objects":{"a":[1],"b":[2]}}}`:                                 false, // in one element
					`{"detail":{"objects":{"a":[2],"b":[2]}}}`:                                 true,
					`{"$or":[{"source":["no"]},{"detail":{"n":[300]}}]}`:                       true,
					`{"detail":{"$or":[{"n":[1]},{"s":["no"]}]}}`:                              false,
					`{"detail":{"s":[{"anything-but":{"prefix":"x"}}],"n":[{"exists":true}]}}`: true,
				} {
					out := ok(t.Events.TestEventPattern(t.ctx, &eventbridge.TestEventPatternInput{Event: ptr(event), EventPattern: &pattern}))
					t.want("the result of "+pattern, out.Result, want)
				}
			},
		},
		{
			ID: "events-pattern-refused", URL: eventsAPI + "TestEventPattern.html",
			Says: "The event pattern is not valid.",
			Run: func(t *T) {
				for _, pattern := range []string{`{"source":"a"}`, `{"source":[]}`, `{"source":[{"prefx":"a"}]}`, `{"detail":{"n":[{"numeric":["<"]}]}}`, `{"detail":{"n":[{"numeric":[">",5,"<",1]}]}}`, `{`, `[]`, `{"source":[{"wildcard":"a**b"}]}`} {
					t.refused("the pattern "+pattern, errOf(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr(t.name("r")), EventPattern: &pattern})), "InvalidEventPatternException", "Event pattern is not valid")
				}
			},
		},
		{
			ID: "events-input-path", URL: eventsAPI + "PutTargets.html",
			Says: "If InputPath is specified in the form of JSONPath (for example, $.detail), then only the part of the event specified in the path is passed to the target (for example, only the detail part of the event is passed).",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, func(x *types.Target) { x.InputPath = ptr("$.detail.in") })
				t.putEvent(bus, "s", "k", `{"in":{"a":[1,"x"]}}`)
				t.want("the body", t.receiveOne(q).Body, `{"a":[1,"x"]}`)
			},
		},
		{
			ID: "events-input", URL: eventsAPI + "Target.html",
			Says: "Valid JSON text passed to the target.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, func(x *types.Target) { x.Input = ptr(`{"constant": true}`) })
				t.putEvent(bus, "s", "k", `{}`)
				t.want("the body", t.document("the body", text(t.receiveOne(q).Body)), map[string]any{"constant": true})
			},
		},
		{
			ID: "events-transformer", URL: eventsAPI + "InputTransformer.html",
			Says: "Input template where you specify placeholders that will be filled with the values of the keys from InputPathsMap to customize the data sent to the target.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, func(x *types.Target) {
					x.InputTransformer = &types.InputTransformer{
						InputPathsMap: attrs{"who": "$.detail.who", "n": "$.detail.n", "o": "$.detail.o", "gone": "$.detail.gone"},
						InputTemplate: ptr(`{"who": <who>, "text": "it is <who>", "n": <n>, "o": <o>, "rule": <aws.events.rule-name>, "gone": "<gone>"}`),
					}
				})
				t.putEvent(bus, "s", "k", `{"who":"me","n":1,"o":{"a":[1]}}`)
				t.want("the body", t.document("the body", text(t.receiveOne(q).Body)), map[string]any{
					"who": "me", "text": "it is me", "n": 1.0, "o": map[string]any{"a": []any{1.0}}, "rule": t.name("rule-queue"), "gone": "",
				})
			},
		},
		{
			ID: "events-transformer-text", URL: eventsGuide + "eb-transform-target-input.html",
			Says: "You can create a template that passes either a string or JSON to the target.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, func(x *types.Target) {
					x.InputTransformer = &types.InputTransformer{InputPathsMap: attrs{"who": "$.detail.who"}, InputTemplate: ptr(`"Hello <who>!"`)}
				})
				t.putEvent(bus, "s", "k", `{"who":"you"}`)
				t.want("the body", t.receiveOne(q).Body, `"Hello you!"`)
			},
		},
		{
			ID: "events-input-one", URL: eventsAPI + "PutTargets.html",
			Says: "Input, InputPath, and InputTransformer are mutually exclusive and optional parameters of a target.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				ok(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr(t.name("r")), EventPattern: ptr(`{"source":["s"]}`)}))
				err := errOf(t.Events.PutTargets(t.ctx, &eventbridge.PutTargetsInput{Rule: ptr(t.name("r")), Targets: []types.Target{
					{Id: ptr("1"), Arn: ptr(t.queueARN(q)), Input: ptr("{}"), InputPath: ptr("$.detail")},
				}}))
				t.refused("Input and InputPath", err, "ValidationException")
			},
		},
		{
			ID: "events-targets", URL: eventsAPI + "PutTargets.html",
			Says: "Targets are the resources that are invoked when a rule is triggered.",
			Run: func(t *T) {
				bus, other, topic, stream := t.bus("b"), t.bus("other"), t.topic("t", nil), t.stream("s", 1)
				q, direct := t.queue("q", nil), t.ruleToQueue(other, `{"source":["s"]}`, nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				ok(t.SNS.SetTopicAttributes(t.ctx, &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: ptr("Policy"), AttributeValue: ptr(
					`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":"` + topic + `"}]}`)}))
				arn := ok(t.Kinesis.DescribeStreamSummary(t.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})).StreamDescriptionSummary.StreamARN
				otherARN := ok(t.Events.DescribeEventBus(t.ctx, &eventbridge.DescribeEventBusInput{Name: &other})).Arn
				role := ptr("arn:aws:iam::123456789012:role/r")
				t.rule(bus, `{"source":["s"]}`, types.Target{Id: ptr("topic"), Arn: &topic})
				t.rule(bus, `{"source":["s"]}`, types.Target{Id: ptr("stream"), Arn: arn, RoleArn: role})
				t.rule(bus, `{"source":["s"]}`, types.Target{Id: ptr("bus"), Arn: otherARN, RoleArn: role})
				id := t.putEvent(bus, "s", "k", `{"x":1}`)
				t.want("the id at the topic", t.document("the event", text(t.receiveOne(q).Body))["id"], id)
				t.want("the id at the other bus", t.document("the event", text(t.receiveOne(direct).Body))["id"], id)
				var data []string
				t.eventually("the record of the stream", 5*time.Second, func() bool {
					data = t.read(t.horizon(stream, "shardId-000000000000"), 1)
					return len(data) > 0
				})
				t.want("the id at the stream", t.document("the event", data[0])["id"], id)
			},
		},
		{
			ID: "events-disabled", URL: eventsAPI + "DisableRule.html",
			Says: "A disabled rule won't match any events, and won't self-trigger if it has a schedule expression.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, nil)
				rule := t.name("rule-queue")
				ok(t.Events.DisableRule(t.ctx, &eventbridge.DisableRuleInput{Name: &rule, EventBusName: &bus}))
				t.putEvent(bus, "s", "k", `{"n":1}`)
				ok(t.Events.EnableRule(t.ctx, &eventbridge.EnableRuleInput{Name: &rule, EventBusName: &bus}))
				t.putEvent(bus, "s", "k", `{"n":2}`)
				m := t.receiveAll(q, 1)
				t.want("the event", at(t.document("the event", text(m[0].Body)), "detail", "n"), 2.0)
			},
		},
		{
			ID: "events-delete-rule", URL: eventsAPI + "DeleteRule.html",
			Says: "Before you can delete the rule, you must remove all targets, using RemoveTargets.",
			Run: func(t *T) {
				bus := t.bus("b")
				t.ruleToQueue(bus, `{"source":["s"]}`, nil)
				rule := t.name("rule-queue")
				t.refused("deleting a rule with targets", errOf(t.Events.DeleteRule(t.ctx, &eventbridge.DeleteRuleInput{Name: &rule, EventBusName: &bus})), "ValidationException")
				ok(t.Events.RemoveTargets(t.ctx, &eventbridge.RemoveTargetsInput{Rule: &rule, EventBusName: &bus, Ids: []string{"queue"}}))
				ok(t.Events.DeleteRule(t.ctx, &eventbridge.DeleteRuleInput{Name: &rule, EventBusName: &bus}))
				t.refused("describing the deleted rule", errOf(t.Events.DescribeRule(t.ctx, &eventbridge.DescribeRuleInput{Name: &rule, EventBusName: &bus})), "ResourceNotFoundException")
			},
		},
		{
			ID: "events-five-targets", URL: eventsAPI + "PutTargets.html",
			Says: "Each rule can have up to five (5) targets associated with it at one time.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				ok(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr(t.name("r")), EventPattern: ptr(`{"source":["s"]}`)}))
				var six []types.Target
				for i := range 6 {
					six = append(six, types.Target{Id: ptr(fmt.Sprint(i)), Arn: ptr(t.queueARN(q))})
				}
				t.refused("six targets", errOf(t.Events.PutTargets(t.ctx, &eventbridge.PutTargetsInput{Rule: ptr(t.name("r")), Targets: six})), "LimitExceededException")
			},
		},
		{
			ID: "events-schedule-refused", URL: eventsAPI + "PutRule.html",
			Says: "The scheduling expression.",
			Run: func(t *T) {
				for _, expression := range []string{"rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "rate(1 second)", "cron(0 12 * * * *)", "at(2030-01-01T00:00:00)", "often"} {
					t.refused(expression, errOf(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr(t.name("r")), ScheduleExpression: &expression})), "ValidationException", "Parameter ScheduleExpression is not valid.")
				}
				for _, expression := range []string{"rate(1 minute)", "rate(2 hours)", "cron(0 12 * * ? *)", "cron(15 10 ? * 6L 2030-2035)"} {
					ok(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr(t.name("r")), ScheduleExpression: &expression, State: types.RuleStateDisabled}))
				}
			},
		},
		{
			ID: "events-archive-replay", URL: eventsAPI + "StartReplay.html",
			Says: "Events are not necessarily replayed in the exact same order that they were added to the archive.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":["s"]}`, nil)
				arn := ok(t.Events.DescribeEventBus(t.ctx, &eventbridge.DescribeEventBusInput{Name: &bus})).Arn
				archive := ok(t.Events.CreateArchive(t.ctx, &eventbridge.CreateArchiveInput{ArchiveName: ptr(t.name("a")), EventSourceArn: arn, EventPattern: ptr(`{"detail":{"keep":[true]}}`)})).ArchiveArn
				begin := time.Now().Add(-time.Minute)
				t.putEvent(bus, "s", "k", `{"keep":true}`)
				t.putEvent(bus, "s", "k", `{"keep":false}`)
				t.receiveAll(q, 2)
				t.eventually("the archive's event", 5*time.Second, func() bool {
					return ok(t.Events.DescribeArchive(t.ctx, &eventbridge.DescribeArchiveInput{ArchiveName: ptr(t.name("a"))})).EventCount == 1
				})
				replay := t.name("r")
				out := ok(t.Events.StartReplay(t.ctx, &eventbridge.StartReplayInput{
					ReplayName: &replay, EventSourceArn: archive, EventStartTime: &begin, EventEndTime: ptr(time.Now().Add(time.Minute)), Destination: &types.ReplayDestination{Arn: arn},
				}))
				t.want("State", string(out.State), "STARTING")
				d := t.document("the event", text(t.receiveAll(q, 1)[0].Body))
				t.want("replay-name", d["replay-name"], replay)
				t.want("the detail", d["detail"], map[string]any{"keep": true})
				t.eventually("the replay's being COMPLETED", 5*time.Second, func() bool {
					return ok(t.Events.DescribeReplay(t.ctx, &eventbridge.DescribeReplayInput{ReplayName: &replay})).State == types.ReplayStateCompleted
				})
			},
		},
		{
			ID: "events-no-bus", URL: eventsAPI + "PutRule.html",
			Says: "An entity that you specified does not exist.",
			Run: func(t *T) {
				t.refused("a rule of no bus", errOf(t.Events.PutRule(t.ctx, &eventbridge.PutRuleInput{Name: ptr("r"), EventBusName: ptr(t.name("gone")), EventPattern: ptr(`{"source":["s"]}`)})), "ResourceNotFoundException")
				t.refused("targets of no rule", errOf(t.Events.PutTargets(t.ctx, &eventbridge.PutTargetsInput{Rule: ptr(t.name("gone")), Targets: []types.Target{{Id: ptr("1"), Arn: ptr("arn:aws:sqs:us-east-1:123456789012:q")}}})), "ResourceNotFoundException")
				bus := t.bus("b")
				t.refused("a second bus of the name", errOf(t.Events.CreateEventBus(t.ctx, &eventbridge.CreateEventBusInput{Name: &bus})), "ResourceAlreadyExistsException")
			},
		},
		{
			ID: "events-bus-apart", URL: eventsAPI + "CreateEventBus.html",
			Says: "Creates a new event bus within your account.",
			Run: func(t *T) {
				bus := t.bus("b")
				q := t.ruleToQueue(bus, `{"source":[{"prefix":""}]}`, nil)
				t.putEvent("", t.name("s"), "k", `{"n":1}`)
				t.putEvent(bus, t.name("s"), "k", `{"n":2}`)
				m := t.receiveAll(q, 1)
				t.want("the event", at(t.document("the event", text(m[0].Body)), "detail", "n"), 2.0)
			},
		},
		{
			ID: "events-size", URL: eventsAPI + "PutEvents.html",
			Says: "However, the total entry size must be less than 256KB.",
			Run: func(t *T) {
				// Since 2026 AWS takes 1 MB, which this sentence has not followed.
				detail := ok(json.Marshal(map[string]string{"x": strings.Repeat("x", 1<<20)}))
				t.refused("an entry of more than 1 MiB", errOf(t.Events.PutEvents(t.ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
					{Source: ptr("s"), DetailType: ptr("k"), Detail: ptr(string(detail))},
				}})), "ValidationException")
			},
		},
	}
}

// schedule makes a schedule that sends to a queue.
func (t *T) schedule(in *scheduler.CreateScheduleInput, queue, input string) string {
	in.Name = ptr(t.name("schedule"))
	in.Target = &schedules.Target{Arn: ptr(t.queueARN(queue)), RoleArn: ptr("arn:aws:iam::123456789012:role/r")}
	if input != "" {
		in.Target.Input = &input
	}
	if in.FlexibleTimeWindow == nil {
		in.FlexibleTimeWindow = &schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeOff}
	}
	ok(t.Scheduler.CreateSchedule(t.ctx, in))
	return *in.Name
}

func soon() *string {
	return ptr("at(" + time.Now().UTC().Add(2*time.Second).Format("2006-01-02T15:04:05") + ")")
}

func schedulerCases() []Case {
	return []Case{
		{
			ID: "scheduler-once", URL: schedulerAPI + "CreateSchedule.html",
			Says: "at expression - at(yyyy-mm-ddThh:mm:ss)",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: soon()}, q, `{"hello": "there"}`)
				t.want("the body", t.receiveOne(q).Body, `{"hello": "there"}`)
				t.none(q, "after the one time")
			},
		},
		{
			ID: "scheduler-default-input", URL: schedulerAPI + "Target.html",
			Says: "The text, or well-formed JSON, passed to the target.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: soon()}, q, "")
				d := t.document("the event", text(t.receiveOne(q).Body))
				t.want("source", d["source"], "aws.scheduler")
				t.want("detail-type", d["detail-type"], "Scheduled Event")
				t.want("detail", d["detail"], "{}")
			},
		},
		{
			ID: "scheduler-delete-after", URL: schedulerAPI + "CreateSchedule.html",
			Says: "Specifies the action that EventBridge Scheduler applies to the schedule after the schedule completes invoking the target.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				name := t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: soon(), ActionAfterCompletion: schedules.ActionAfterCompletionDelete}, q, "{}")
				t.receiveOne(q)
				t.eventually("the schedule's deletion", 5*time.Second, func() bool {
					return errOf(t.Scheduler.GetSchedule(t.ctx, &scheduler.GetScheduleInput{Name: &name})) != nil
				})
			},
		},
		{
			ID: "scheduler-disabled", URL: schedulerAPI + "CreateSchedule.html",
			Says: "Specifies whether the schedule is enabled or disabled.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				name := t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: soon(), State: schedules.ScheduleStateDisabled}, q, "{}")
				t.want("State", string(ok(t.Scheduler.GetSchedule(t.ctx, &scheduler.GetScheduleInput{Name: &name})).State), "DISABLED")
				t.wait(3 * time.Second)
				t.none(q, "of a disabled schedule")
			},
		},
		{
			ID: "scheduler-expressions", URL: schedulerAPI + "CreateSchedule.html",
			Says: "A rate expression consists of a value as a positive integer, and a unit with the following options: minute | minutes | hour | hours | day | days",
			Run: func(t *T) {
				q := t.queue("q", nil)
				for _, expression := range []string{"rate(10 years)", "rate(10)", "rate()", "rate(-10 minutes)", "cron(0 1 * * * *)", "cron(71 8 1 * ? *)", "at(2031-12-31)", "at(2031-12-31T23:59:59Z)"} {
					t.refused(expression, errOf(t.Scheduler.CreateSchedule(t.ctx, &scheduler.CreateScheduleInput{
						Name: ptr(t.name("s")), ScheduleExpression: &expression, FlexibleTimeWindow: &schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeOff},
						Target: &schedules.Target{Arn: ptr(t.queueARN(q)), RoleArn: ptr("arn:aws:iam::123456789012:role/r")},
					})), "ValidationException", "Invalid Schedule Expression")
				}
				t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: ptr("rate(1 minutes)")}, q, "{}")
			},
		},
		{
			ID: "scheduler-window", URL: schedulerAPI + "FlexibleTimeWindow.html",
			Says: "The maximum time window during which a schedule can be invoked.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				create := func(w schedules.FlexibleTimeWindow) error {
					return errOf(t.Scheduler.CreateSchedule(t.ctx, &scheduler.CreateScheduleInput{
						Name: ptr(t.name("s")), ScheduleExpression: ptr("rate(1 day)"), FlexibleTimeWindow: &w,
						Target: &schedules.Target{Arn: ptr(t.queueARN(q)), RoleArn: ptr("arn:aws:iam::123456789012:role/r")},
					}))
				}
				t.refused("a flexible window without a maximum", create(schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeFlexible}), "ValidationException")
				t.refused("a maximum of 1441 minutes", create(schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: ptr[int32](1441)}), "ValidationException")
				if err := create(schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: ptr[int32](15)}); err != nil {
					fail(err)
				}
			},
		},
		{
			ID: "scheduler-groups", URL: schedulerAPI + "DeleteScheduleGroup.html",
			Says: "Deleting a schedule group results in EventBridge Scheduler deleting all schedules associated with the group.",
			Run: func(t *T) {
				q, group := t.queue("q", nil), t.name("g")
				ok(t.Scheduler.CreateScheduleGroup(t.ctx, &scheduler.CreateScheduleGroupInput{Name: &group}))
				t.refused("a second group of the name", errOf(t.Scheduler.CreateScheduleGroup(t.ctx, &scheduler.CreateScheduleGroupInput{Name: &group})), "ConflictException")
				name := t.schedule(&scheduler.CreateScheduleInput{GroupName: &group, ScheduleExpression: ptr("rate(1 day)")}, q, "{}")
				t.refused("the schedule in the default group", errOf(t.Scheduler.GetSchedule(t.ctx, &scheduler.GetScheduleInput{Name: &name})), "ResourceNotFoundException")
				list := ok(t.Scheduler.ListSchedules(t.ctx, &scheduler.ListSchedulesInput{GroupName: &group})).Schedules
				t.that(len(list) == 1 && text(list[0].Name) == name, "the group's list is %s", brief(list))
				ok(t.Scheduler.DeleteScheduleGroup(t.ctx, &scheduler.DeleteScheduleGroupInput{Name: &group}))
				t.eventually("the schedule's end", 5*time.Second, func() bool {
					return errOf(t.Scheduler.GetSchedule(t.ctx, &scheduler.GetScheduleInput{Name: &name, GroupName: &group})) != nil
				})
			},
		},
		{
			ID: "scheduler-conflict", URL: schedulerAPI + "CreateSchedule.html",
			Says: "Updating or deleting the resource can cause an inconsistent state.",
			Run: func(t *T) {
				q := t.queue("q", nil)
				name := t.schedule(&scheduler.CreateScheduleInput{ScheduleExpression: ptr("rate(1 day)")}, q, "{}")
				t.refused("a second schedule of the name", errOf(t.Scheduler.CreateSchedule(t.ctx, &scheduler.CreateScheduleInput{
					Name: &name, ScheduleExpression: ptr("rate(1 day)"), FlexibleTimeWindow: &schedules.FlexibleTimeWindow{Mode: schedules.FlexibleTimeWindowModeOff},
					Target: &schedules.Target{Arn: ptr(t.queueARN(q)), RoleArn: ptr("arn:aws:iam::123456789012:role/r")},
				})), "ConflictException")
				ok(t.Scheduler.DeleteSchedule(t.ctx, &scheduler.DeleteScheduleInput{Name: &name}))
				t.refused("deleting it twice", errOf(t.Scheduler.DeleteSchedule(t.ctx, &scheduler.DeleteScheduleInput{Name: &name})), "ResourceNotFoundException")
			},
		},
	}
}
