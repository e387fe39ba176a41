package events_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
)

// The recorded tests of this file's name, what each does, and why some are left out.
const (
	command      = `{"command": "update-account", "payload": {"acc_id": "0a787ecb-4015", "sf_id": "baz"}}`
	coreUpdate   = "core.update-account-command"
	corePattern  = `{"source": ["core.update-account-command"], "detail-type": ["core.update-account-command"], "detail": {"command": ["update-account"]}}`
	noFirehose   = "Firehose is not in the stack"
	noGateway    = "the target is an API Gateway, which is not in the stack"
	noConnection = "connections are not in the stack: the operation is unknown"
)

// queued is what a queue that received the messages would show of their bodies.
func queued(deliveries []stacktest.Delivery) []any {
	list := []any{}
	for _, d := range deliveries {
		list = append(list, map[string]any{"Body": d.Message.Body})
	}
	return list
}

// queueOnly leaves out what a queue adds to a message.
func queueOnly(step string) []fixtures.Option {
	var list []fixtures.Option
	for _, member := range []string{"MessageId", "ReceiptHandle", "MD5OfBody"} {
		list = append(list, fixtures.Ignore("$."+step+"[*]."+member, "the queue's, which is not under test"))
	}
	return list
}

// putCore puts an event as the recorded tests do.
func (w *world) putCore(bus, source, detail string) *eventbridge.PutEventsOutput {
	w.t.Helper()
	return must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(w.t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{EventBusName: &bus, Source: &source, DetailType: aws.String(coreUpdate), Detail: &detail}}}))
}

func TestRecordedPutEvents(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_events.snapshot.json")
	type replay = func(t *testing.T, w *world, rec fixtures.Recording)
	put := func(step string, entries ...types.PutEventsRequestEntry) replay {
		return func(t *testing.T, w *world, rec fixtures.Recording) {
			out, err := w.client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: entries})
			if err != nil {
				fixtures.NewReplay(t, rec).Match(step, err)
				return
			}
			fixtures.NewReplay(t, rec).Match(step, out)
		}
	}
	entry := func(change func(*types.PutEventsRequestEntry)) types.PutEventsRequestEntry {
		e := types.PutEventsRequestEntry{Source: aws.String("source"), DetailType: aws.String("type"), Detail: aws.String("{}")}
		change(&e)
		return e
	}
	eleven := make([]types.PutEventsRequestEntry, 11)
	for i := range eleven {
		eleven[i] = types.PutEventsRequestEntry{Source: aws.String(coreUpdate), DetailType: aws.String(coreUpdate), Detail: aws.String(command),
			EventBusName: aws.String("a-bus")}
	}
	busToBus := func(t *testing.T, w *world, rec fixtures.Recording) {
		w.bus("one")
		to := target("bus", w.bus("two"))
		to.RoleArn = aws.String(roleARN)
		w.rule("one", "r", corePattern, to)
		w.rule("two", "r", corePattern, target("q", queueARN))
		w.putCore("one", coreUpdate, command)
		fixtures.NewReplay(t, rec, queueOnly("messages")...).Match("messages", queued(w.Await(1)))
	}
	seen := map[string]bool{}
	for name, play := range map[string]replay{
		"TestEvents::test_put_events_without_source":     put("put-events", entry(func(e *types.PutEventsRequestEntry) { e.Source = nil })),
		"TestEvents::test_put_event_without_detail":      put("put-events", entry(func(e *types.PutEventsRequestEntry) { e.Detail = nil })),
		"TestEvents::test_put_event_without_detail_type": put("put-events", entry(func(e *types.PutEventsRequestEntry) { e.DetailType = nil })),
		"TestEvents::test_put_event_with_too_big_detail": put("put-events-too-big-detail-error", entry(func(e *types.PutEventsRequestEntry) {
			e.Detail = aws.String(`{"detail": "` + strings.Repeat("a", 1<<20) + `"}`) // recorded when the limit was 256 KB
		})),
		"TestEvents::test_put_event_malformed_detail[ARRAY]": put("put-events", entry(func(e *types.PutEventsRequestEntry) {
			e.Detail = aws.String(`["test", "array"]`)
		})),
		"TestEvents::test_put_event_malformed_detail[SERIALIZED_STRING]": put("put-events", entry(func(e *types.PutEventsRequestEntry) {
			e.Detail = aws.String(`test`)
		})),
		"TestEvents::test_put_events_exceed_limit_ten_entries[custom]": put("put-events-exceed-limit-error", eleven...),
		"TestEvents::test_put_events_with_target_delivery_failure": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.rule("default", "r", anything, target("1", queueARN))
			w.Refuse(func(string, env.Message) error { return fmt.Errorf("gone") })
			fixtures.NewReplay(t, rec).Match("put-events-response", w.putCore("default", coreUpdate, command))
		},
		"TestEvents::test_put_events_response_entries_order": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.bus("b")
			w.rule("b", "r1", corePattern, target("1", queueARN))
			w.rule("b", "r2", corePattern, target("1", queueARN+"2"))
			r := fixtures.NewReplay(t, rec,
				fixtures.Ignore("$.sqs-messages.*[*].MessageId", "the queue's"), fixtures.Ignore("$.sqs-messages.*[*].ReceiptHandle", "the queue's"),
				fixtures.Ignore("$.sqs-messages.*[*].MD5OfBody", "the queue's"))
			r.Match("put-events-response", w.putCore("b", coreUpdate, command))
			got := w.Await(2)
			r.Match("sqs-messages", map[string]any{"queue1_messages": queued(got[:1]), "queue2_messages": queued(got[1:])})
		},
		"TestEvents::test_put_events_with_time_field": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.rule("default", "r", anything, target("1", queueARN))
			r := fixtures.NewReplay(t, rec, queueOnly("sqs-messages")...)
			r.Match("put-events", must[*eventbridge.PutEventsOutput](w)(w.client.PutEvents(t.Context(), &eventbridge.PutEventsInput{
				Entries: []types.PutEventsRequestEntry{{Source: aws.String("test-source"), DetailType: aws.String("test-detail-type"),
					Time: aws.Time(time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)), Detail: aws.String(`{"message": "test message"}`)}}})))
			r.Match("sqs-messages", queued(w.Await(1)))
		},
		"TestEventBus::test_put_events_bus_to_bus[standard]": busToBus,
		"TestEventBus::test_put_events_bus_to_bus[path]":     busToBus,
		"TestEventBus::test_put_events_to_default_eventbus_for_custom_eventbus": func(t *testing.T, w *world, rec fixtures.Recording) {
			const pattern = `{"detail-type": ["Object Created"], "source": ["aws.s3"]}`
			r := fixtures.NewReplay(t, rec,
				fixtures.Ignore("$.get-events.Messages[*].MessageId", "the queue's"), fixtures.Ignore("$.get-events.Messages[*].ReceiptHandle", "the queue's"),
				fixtures.Ignore("$.get-events.Messages[*].MD5OfBody", "the queue's"))
			r.Match("create-custom-event-bus", must[*eventbridge.CreateEventBusOutput](w)(w.client.CreateEventBus(t.Context(),
				&eventbridge.CreateEventBusInput{Name: aws.String("custom")})))
			for i, bus := range []string{"default", "custom"} {
				rule := fmt.Sprintf("rule-%d", i)
				r.Match(fmt.Sprintf("create-rule-%d", i+1), must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(t.Context(),
					&eventbridge.PutRuleInput{Name: &rule, EventBusName: &bus, EventPattern: aws.String(pattern)})))
				to := target("1", queueARN)
				if i == 0 {
					to = target("1", "arn:aws:events:us-east-1:000000000000:event-bus/custom")
					to.RoleArn = aws.String(roleARN)
				}
				r.Match(fmt.Sprintf("put-target-%d", i+1), must[*eventbridge.PutTargetsOutput](w)(w.client.PutTargets(t.Context(),
					&eventbridge.PutTargetsInput{Rule: &rule, EventBusName: &bus, Targets: []types.Target{to}})))
			}
			object := `{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created","source":"aws.s3","account":"000000000000",` +
				`"time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":["arn:aws:s3:::bucket"],"detail":{"version":"0","bucket":{"name":"bucket"},` +
				`"object":{"key":"k","size":4,"etag":"8d777f385d3dfec8815d20f7496026dc","sequencer":"object-sequencer"},"request-id":"request-id",` +
				`"requester":"000000000000","source-ip-address":"127.0.0.1","reason":"PutObject"}}`
			if err := w.service.Deliver(t.Context(), "arn:aws:events:us-east-1:000000000000:event-bus/default",
				env.Message{From: "arn:aws:s3:::bucket", Principal: "s3.amazonaws.com", Body: object}); err != nil {
				t.Fatal(err)
			}
			r.Match("get-events", map[string]any{"Messages": queued(w.Await(1))})
		},
		"TestEventRule::test_process_to_multiple_matching_rules_single_target": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.bus("b")
			w.rule("b", "r1", `{"source": ["core.update-account-command"]}`, target("1", queueARN))
			w.rule("b", "r2", `{"detail-type": ["core.update-account-command"]}`, target("1", queueARN))
			w.putCore("b", coreUpdate, command)
			fixtures.NewReplay(t, rec).Match("events", bodies(w.Await(2)))
		},
		"TestEventRule::test_process_to_single_matching_rules_single_target": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.bus("b")
			sources := []string{`"source-one"`, `"source-one","source-two"`, `"source-one","source-two","source-three"`}
			steps := []string{"events-source-one", "events-source-two", "events-source-three"}
			for i, s := range sources {
				w.rule("b", steps[i], `{"source": [`+s+`]}`, target("1", queueARN+fmt.Sprint(i)))
			}
			for _, s := range []string{"source-one", "source-two", "source-three"} {
				w.putCore("b", s, command)
			}
			r := fixtures.NewReplay(t, rec)
			for i, step := range steps {
				var mine []stacktest.Delivery
				for _, d := range w.Await(6) {
					if d.Target == queueARN+fmt.Sprint(i) {
						mine = append(mine, d)
					}
				}
				r.Match(step, bodies(mine))
			}
		},
		"TestEventRule::test_process_pattern_to_single_matching_rules_single_target": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.bus("b")
			to := func(n string) types.Target {
				x := target("1", queueARN+n)
				x.InputPath = aws.String("$.detail")
				return x
			}
			w.rule("b", "r1", `{"detail": {"detail-payload-with-id": {"payload": {"id": ["123"]}}}}`, to("1"))
			w.rule("b", "r2", `{"detail": {"$or": [{"detail-with-id": {"id": ["123"]}}, {"detail-payload-with-id": {"payload": {"id": ["123"]}}}]}}`, to("2"))
			w.putCore("b", coreUpdate, `{"detail-payload-with-id": {"payload": {"id": "123"}}}`)
			w.putCore("b", coreUpdate, `{"detail-with-id": {"id": "123"}}`)
			r := fixtures.NewReplay(t, rec)
			for i, step := range []string{"events-1", "events-2"} {
				var mine []stacktest.Delivery
				for _, d := range w.Await(3) {
					if d.Target == queueARN+fmt.Sprint(i+1) {
						mine = append(mine, d)
					}
				}
				r.Match(step, bodies(mine))
			}
		},
		"TestEventPattern::test_put_events_pattern_with_values_in_array": func(t *testing.T, w *world, rec fixtures.Recording) {
			w.bus("b")
			x := target("1", queueARN)
			x.InputPath = aws.String("$.detail")
			w.rule("b", "r", `{"detail": {"event": {"data": {"type": ["1", "2"]}}}}`, x)
			w.putCore("b", coreUpdate, `{"event": {"data": {"type": ["3", "1"]}}}`)
			w.putCore("b", coreUpdate, `{"event": {"data": {"type": ["2"]}}}`)
			w.putCore("b", coreUpdate, `{"event": {"data": {"type": ["3"]}}}`)
			fixtures.NewReplay(t, rec, queueOnly("messages")...).Match("messages", queued(w.Await(2)))
		},
	} {
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, newWorld(t), all.Test(t, name))
		})
	}
	complete(t, all, seen, map[string]string{"TestEvents::test_create_connection_validations": noConnection})
}

// complete demands that each recorded test is replayed or left out.
func complete(t *testing.T, all fixtures.Recordings, seen map[string]bool, left map[string]string) {
	t.Helper()
	for full := range all {
		_, name, _ := strings.Cut(full, "::")
		if !seen[name] && left[name] == "" {
			t.Errorf("the recorded test %q is neither replayed nor left out", name)
		}
	}
}

func bodies(deliveries []stacktest.Delivery) []any {
	list := []any{}
	for _, d := range deliveries {
		list = append(list, d.Message.Body)
	}
	return list
}

func TestRecordedInputs(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_events_inputs.snapshot.json")
	const nested = `{"command": "update-account", "payload": {"acc_id": "0a787ecb-4015", "sf_id": "baz"}, "listsingle": ["HIGH"], ` +
		`"listmulti": ["ACTIVE", "INACTIVE"], "valid": true}`
	transformer := func(template string, paths map[string]string) func(*types.Target) {
		return func(x *types.Target) {
			x.InputTransformer = &types.InputTransformer{InputPathsMap: paths, InputTemplate: &template}
		}
	}
	one := func(t *testing.T, rec fixtures.Recording, r *fixtures.Replay, step, detail string, change func(*types.Target)) {
		w := newWorld(t)
		w.bus("b")
		x := target("1", queueARN)
		change(&x)
		w.rule("b", "r", `{"source":["core.update-account-command"]}`, x)
		w.putCore("b", coreUpdate, detail)
		r.Match(step, queued(w.Await(1)))
	}
	parameter := regexp.MustCompile(`(?s)\[(.*)\]$`)
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := ""
			if m := parameter.FindStringSubmatch(name); m != nil {
				template = strings.ReplaceAll(m[1], `\n`, "\n")
			}
			switch kind, _, _ := strings.Cut(name, "["); kind {
			case "test_put_event_input_path_and_input_transformer":
				w := newWorld(t)
				w.rule("default", "r", corePattern)
				x := target("target-id", queueARN)
				x.InputPath = aws.String("$.detail")
				transformer(`"x"`, nil)(&x)
				_, err := w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{x}})
				fixtures.NewReplay(t, rec).Match("duplicated-input-operations-error", err)
			case "TestInputPath::test_put_events_with_input_path":
				one(t, rec, fixtures.NewReplay(t, rec, queueOnly("message")...), "message", command, func(x *types.Target) { x.InputPath = aws.String("$.detail") })
			case "TestInputPath::test_put_events_with_input_path_nested":
				one(t, rec, fixtures.NewReplay(t, rec, queueOnly("message")...), "message", command, func(x *types.Target) { x.InputPath = aws.String("$.detail.payload") })
			case "TestInputPath::test_put_events_with_input_path_multiple_targets":
				r := fixtures.NewReplay(t, rec, append(queueOnly("message-queue-1"), queueOnly("message-queue-2")...)...)
				one(t, rec, r, "message-queue-1", command, func(x *types.Target) { x.InputPath = aws.String("$.detail") })
				one(t, rec, r, "message-queue-2", command, func(*types.Target) {})
			case "TestInputTransformer::test_put_events_with_input_transformer_input_template_string":
				if template == "" { // recorded before the test had a parameter
					template = `"Event of <detail-type> type, at time <timestamp>, info extracted from detail <command>"`
				}
				paths := map[string]string{"detail-type": "$.detail-type", "timestamp": "$.time", "command": "$.detail.command"}
				r := fixtures.NewReplay(t, rec, append(queueOnly("custom-variables-match-all"), queueOnly("custom-variables-not-match-all")...)...)
				one(t, rec, r, "custom-variables-match-all", command, transformer(template, paths))
				paths = map[string]string{"detail-type": "$.detail-type", "timestamp": "$.time", "command": "$.detail.notinmessage"}
				one(t, rec, r, "custom-variables-not-match-all", command, transformer(template, paths))
			case "TestInputTransformer::test_input_transformer_predefined_variables":
				r := fixtures.NewReplay(t, rec, queueOnly("messages")...)
				one(t, rec, r, "messages", command, transformer(template, nil))
			case "TestInputTransformer::test_input_transformer_nested_keys_replacement":
				r := fixtures.NewReplay(t, rec, queueOnly("input-transformed-messages")...)
				one(t, rec, r, "input-transformed-messages", nested, transformer(template, map[string]string{"userId": "$.detail.payload.acc_id",
					"payload": "$.detail.payload", "systemstring": "$.detail.awsAccountId", "listsingle": "$.detail.listsingle",
					"listmulti": "$.detail.listmulti", "valid": "$.detail.valid"}))
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

func TestRecordedTargets(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_events_targets.snapshot.json")
	const list = `{"payload": {"userId": 10, "businessId": 3, "channelId": 6, "card": {"foo": "bar"}, "targetEntity": true, ` +
		`"entityAuditTrailEvent": {"foo": "bar"}, "automations": [{"id": "123", "actions": [{"id": "321", "type": "SEND_NOTIFICATION", ` +
		`"settings": {"message": "", "recipientEmails": [], "subject": "", "type": "SEND_NOTIFICATION"}}]}]}}`
	left := map[string]string{
		"TestEventsTargetFirehose::test_put_events_with_target_firehose":      noFirehose,
		"TestEventsTargetApiGateway::test_put_events_with_target_api_gateway": noGateway,
	}
	function := "arn:aws:lambda:us-east-1:000000000000:function:f"
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		if left[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			switch kind, parameter, _ := strings.Cut(name, "["); kind {
			case "test_put_events_with_target_lambda_list_entry", "TestEventsTargetLambda::test_put_events_with_target_lambda_list_entry":
				w.rule("default", "r", `{"detail":{"payload":{"automations":{"actions":{"type":["SEND_NOTIFICATION"]}}}}}`, target("1", function))
				w.putCore("default", coreUpdate, list)
				fixtures.NewReplay(t, rec).Match("events", bodies(w.Await(1)))
			case "TestEventsTargetLambda::test_put_events_with_target_lambda":
				w.rule("default", "r", corePattern, target("1", function))
				w.putCore("default", coreUpdate, command)
				fixtures.NewReplay(t, rec).Match("events", bodies(w.Await(1)))
			case "test_put_events_with_target_sqs", "TestEventsTargetSqs::test_put_events_with_target_sqs":
				w.rule("default", "r", corePattern, target("1", queueARN))
				w.putCore("default", coreUpdate, command)
				fixtures.NewReplay(t, rec, queueOnly("message")...).Match("message", queued(w.Await(1)))
			case "TestEventsTargetSqs::test_put_events_with_target_sqs_event_detail_match":
				x := target("1", queueARN)
				x.InputPath = aws.String("$.detail")
				w.rule("default", "r", `{"detail": {"EventType": ["0", "1"]}}`, x)
				w.putCore("default", coreUpdate, `{"EventType": "1"}`)
				fixtures.NewReplay(t, rec, queueOnly("messages")...).Match("messages", queued(w.Await(1)))
			case "TestEventsTargetEvents::test_put_events_with_target_events":
				from, to := "a", "b"
				switch parameter {
				case "bus_combination1]":
					to = "default"
				case "bus_combination2]":
					from = "default"
				}
				w.bus(from)
				x := target("1", w.bus(to))
				x.RoleArn = aws.String(roleARN)
				w.rule(from, "r", corePattern, x)
				w.rule(to, "r2", corePattern, target("1", queueARN))
				w.putCore(from, coreUpdate, command)
				fixtures.NewReplay(t, rec, queueOnly("messages")...).Match("messages", queued(w.Await(1)[:1]))
			case "TestEventsTargetSns::test_put_events_with_target_sns":
				w.rule("default", "r", corePattern, target("1", "arn:aws:sns:us-east-1:000000000000:t"))
				w.putCore("default", coreUpdate, command)
				r := fixtures.NewReplay(t, rec, fixtures.Ignore("$.messages[*].MessageId", "the queue's"), fixtures.Ignore("$.messages[*].ReceiptHandle", "the queue's"),
					fixtures.Ignore("$.messages[*].MD5OfBody", "the queue's"))
				got := regexp.MustCompile(`"id":"[^"]*"`).ReplaceAllString(w.Await(1)[0].Message.Body, `"id":"message-id"`) // a word in the recording
				r.Match("messages", []any{map[string]any{"Body": map[string]any{"Type": "Notification", "MessageId": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
					"TopicArn": "topic-arn", "Message": got, "Timestamp": "2026-01-02T03:04:05.000Z", "SignatureVersion": "1", "Signature": "signature",
					"SigningCertURL": "signing-cert-u-r-l", "UnsubscribeURL": "unsubscribe-u-r-l"}}})
			case "TestEventsTargetCloudWatchLogs::test_put_events_with_target_cloudwatch_logs":
				r := fixtures.NewReplay(t, rec)
				bus := must[*eventbridge.CreateEventBusOutput](w)(w.client.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("b")}))
				r.Match("event_bus_response", bus)
				r.Match("rule_response", must[*eventbridge.PutRuleOutput](w)(w.client.PutRule(t.Context(), &eventbridge.PutRuleInput{
					Name: aws.String("r"), EventBusName: aws.String("b"), EventPattern: aws.String(corePattern)})))
				r.Match("put_targets_response", must[*eventbridge.PutTargetsOutput](w)(w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{
					Rule: aws.String("r"), EventBusName: aws.String("b"), Targets: []types.Target{target("1", "arn:aws:logs:us-east-1:000000000000:log-group:g")}})))
				r.Match("put_events_response", w.putCore("b", coreUpdate, command))
				now := w.Clock.Now().UnixMilli()
				r.Match("log_events", []any{map[string]any{"timestamp": now, "message": w.Await(1)[0].Message.Body, "ingestionTime": now}})
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

// An event keeps its id when it crosses accounts, and gets another when it crosses regions.
func TestRecordedCrossAccountAndRegion(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_events_cross_account_region.snapshot.json")
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			kind, parameter, _ := strings.Cut(strings.TrimSuffix(name, "]"), "[")
			account, region := stacktest.Account, stacktest.Region
			if strings.Contains(parameter, "account") {
				account = "222222222222"
			}
			if strings.Contains(parameter, "region") {
				region = "eu-central-1"
			}
			primary, secondary := "default", "secondary"
			if strings.HasPrefix(parameter, "custom") {
				primary = "primary"
			}
			there := w.as(account, region)
			secondaryARN := "arn:aws:events:" + region + ":" + account + ":event-bus/" + secondary
			secondaryQueue := "arn:aws:sqs:" + region + ":" + account + ":q"
			w.bus(primary)
			must[*eventbridge.CreateEventBusOutput](w)(there.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: &secondary}))
			if account != stacktest.Account {
				must[*eventbridge.PutPermissionOutput](w)(there.PutPermission(t.Context(), &eventbridge.PutPermissionInput{EventBusName: &secondary,
					Action: aws.String("events:PutEvents"), Principal: aws.String(stacktest.Account), StatementId: aws.String("primary")}))
			}
			must[*eventbridge.PutRuleOutput](w)(there.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("r"), EventBusName: &secondary,
				EventPattern: aws.String(`{"detail-type": ["core.update-account-command"]}`)}))
			must[*eventbridge.PutTargetsOutput](w)(there.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("r"), EventBusName: &secondary,
				Targets: []types.Target{target("1", secondaryQueue)}}))
			put := func(c *eventbridge.Client, bus, source string) {
				t.Helper()
				out := must[*eventbridge.PutEventsOutput](w)(c.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
					{EventBusName: &bus, Source: &source, DetailType: aws.String(coreUpdate), Detail: aws.String(command)}}}))
				if out.FailedEntryCount != 0 {
					t.Fatalf("refused: %s", *out.Entries[0].ErrorMessage)
				}
			}
			switch kind {
			case "TestEventsCrossAccountRegion::test_put_events":
				put(w.client, secondaryARN, "source-primary")
				fixtures.NewReplay(t, rec, queueOnly("messages")...).Match("messages", queued(w.Await(1)))
			case "test_event_bus_to_event_bus_cross_account_region":
				forward := target("bus", secondaryARN)
				forward.RoleArn = aws.String(roleARN)
				w.rule(primary, "r", `{"source": ["source-primary"]}`, forward, target("q", queueARN))
				put(w.client, primary, "source-primary")
				put(there, secondary, "source-secondary")
				var steps []fixtures.Option
				for _, s := range rec.Steps() {
					steps = append(steps, queueOnly(s)...)
				}
				r := fixtures.NewReplay(t, rec, steps...)
				got := w.Await(3) // the secondary queue's first, as the bus was the first target
				r.Match("messages_primary_queue_from_primary_event_bus", queued(got[1:2]))
				r.Match("messages_secondary_queue_from_primary_event_bus", queued(got[0:1]))
				r.Match("messages_secondary_queue_from_secondary_event_bus", queued(got[2:3]))
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

func TestRecordedSchedules(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_events_schedule.snapshot.json")
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			put := func(bus, expression string) (*eventbridge.PutRuleOutput, error) {
				return w.client.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("rule-name"), EventBusName: &bus, ScheduleExpression: &expression})
			}
			list := func() *eventbridge.ListRulesOutput {
				return must[*eventbridge.ListRulesOutput](w)(w.client.ListRules(t.Context(), &eventbridge.ListRulesInput{NamePrefix: aws.String("rule-")}))
			}
			kind, expression, _ := strings.Cut(strings.TrimSuffix(name, "]"), "[")
			switch kind {
			case "TestScheduleRate::test_put_rule_with_schedule_rate":
				r := fixtures.NewReplay(t, rec)
				r.Match("put-rule", must[*eventbridge.PutRuleOutput](w)(put("default", "rate(1 minute)")))
				r.Match("list-rules", list())
			case "TestScheduleCron::tests_put_rule_with_schedule_cron":
				if expression == "" { // recorded before the test had a parameter
					expression = "cron(0 20 * * ? *)"
				}
				r := fixtures.NewReplay(t, rec)
				r.Match("put-rule", must[*eventbridge.PutRuleOutput](w)(put("default", expression)))
				r.Match("list-rules", list())
			case "TestScheduleCron::tests_put_rule_with_invalid_schedule_cron":
				_, err := put("default", expression)
				fixtures.NewReplay(t, rec).Match("invalid-put-rule", err)
			case "TestScheduleRate::tests_put_rule_with_schedule_custom_event_bus":
				w.bus("b")
				_, err := put("b", "rate(1 minute)")
				fixtures.NewReplay(t, rec).Match("put-rule-with-custom-event-bus-error", err)
			case "TestScheduleRate::tests_schedule_rate_target_sqs", "TestScheduleCron::test_schedule_cron_target_sqs":
				schedule := "rate(1 minute)"
				if strings.HasPrefix(kind, "TestScheduleCron") {
					schedule = "cron(* * * * ? *)"
				}
				must[*eventbridge.PutRuleOutput](w)(put("default", schedule))
				must[*eventbridge.PutTargetsOutput](w)(w.client.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("rule-name"),
					Targets: []types.Target{target("target-id", queueARN)}}))
				var opts []fixtures.Option
				for _, step := range rec.Steps() {
					if step != "list-targets" {
						opts = append(opts, queueOnly(step)...)
					}
				}
				if len(rec.Steps()) == 3 {
					opts = append(opts, fixtures.Ignore("$.list-targets.Targets[*].Arn", "the recording's placeholder is cut off"))
				}
				r := fixtures.NewReplay(t, rec, opts...)
				if len(rec.Steps()) == 3 {
					r.Match("list-targets", map[string]any{"Targets": must[*eventbridge.ListTargetsByRuleOutput](w)(w.client.ListTargetsByRule(t.Context(),
						&eventbridge.ListTargetsByRuleInput{Rule: aws.String("rule-name")})).Targets})
				}
				w.Clock.Advance(time.Minute)
				first := w.Await(1)
				if len(rec.Steps()) == 1 {
					r.Match("message", queued(first))
					return
				}
				r.Match("messages-first", queued(first))
				w.Clock.Advance(time.Minute)
				r.Match("messages-second", queued(w.Await(2)[1:]))
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

func TestRecordedReplays(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, "localstack-snapshots/test_archive_and_replay.snapshot.json")
	for full, rec := range all {
		_, name, _ := strings.Cut(full, "::")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := stacktest.New(t)
			hold := make(chan struct{}) // closed, or deliveries wait
			held := false
			w := worldOn(t, k, func(ctx context.Context, to string, m env.Message) error {
				if held {
					select {
					case <-hold:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				return k.Env.Deliver(ctx, to, m)
			})
			bus := "default"
			if strings.Contains(name, "custom") {
				bus = "b"
			}
			busARN := w.bus(bus)
			rule := w.rule(bus, "rule", corePattern, target("1", queueARN))
			archive := w.archive("archive", busARN)
			start := func(replay, archive string, from, to time.Time) (*eventbridge.StartReplayOutput, error) {
				return w.client.StartReplay(t.Context(), &eventbridge.StartReplayInput{ReplayName: &replay, Description: aws.String("description of the replay"),
					EventSourceArn: &archive, EventStartTime: &from, EventEndTime: &to,
					Destination: &types.ReplayDestination{Arn: &busARN, FilterArns: []string{rule}}})
			}
			now := w.Clock.Now()
			begin, end := now.Add(-time.Hour), now.Add(time.Hour)
			kind, _, _ := strings.Cut(strings.TrimPrefix(name, "TestReplay::"), "[")
			switch kind {
			case "test_start_list_describe_canceled_replay":
				for range 3 {
					w.putCore(bus, coreUpdate, command)
				}
				w.Await(3)
				r := fixtures.NewReplay(t, rec, queueOnly("replay-messages")...)
				r.Match("start-replay", must[*eventbridge.StartReplayOutput](w)(start("replay-name", archive, begin, end)))
				r.Match("replay-messages", queued(w.Await(6)[3:]))
				w.replayed("replay-name")
				r.Match("list-replays", must[*eventbridge.ListReplaysOutput](w)(w.client.ListReplays(t.Context(),
					&eventbridge.ListReplaysInput{NamePrefix: aws.String("replay-")})))
				describe := func(name string) *eventbridge.DescribeReplayOutput {
					return must[*eventbridge.DescribeReplayOutput](w)(w.client.DescribeReplay(t.Context(), &eventbridge.DescribeReplayInput{ReplayName: &name}))
				}
				r.Match("describe-replay", describe("replay-name"))
				held = true
				must[*eventbridge.StartReplayOutput](w)(start("canceled-name", archive, begin, end))
				r.Match("cancel-replay", must[*eventbridge.CancelReplayOutput](w)(w.client.CancelReplay(t.Context(),
					&eventbridge.CancelReplayInput{ReplayName: aws.String("canceled-name")})))
				got := describe("canceled-name")
				got.ReplayName = aws.String("replay-name") // the recording has replaced it by this word
				r.Match("describe-replay-canceled", got)
				close(hold)
				w.replayed("canceled-name")
				if got := describe("canceled-name"); got.State != types.ReplayStateCancelled || got.ReplayEndTime == nil {
					t.Errorf("the canceled replay is %s", got.State)
				}
			case "test_list_replay_with_limit":
				for i := range 6 {
					name := fmt.Sprintf("prefix-test-replay-%d", i)
					must[*eventbridge.StartReplayOutput](w)(start(name, archive, begin, end))
					w.replayed(name)
				}
				r := fixtures.NewReplay(t, rec)
				first := must[*eventbridge.ListReplaysOutput](w)(w.client.ListReplays(t.Context(), &eventbridge.ListReplaysInput{
					NamePrefix: aws.String("prefix"), Limit: aws.Int32(3)}))
				r.Match("list-replays-with-limit", first)
				r.Match("list-replays-with-limit-next-token", must[*eventbridge.ListReplaysOutput](w)(w.client.ListReplays(t.Context(),
					&eventbridge.ListReplaysInput{NamePrefix: aws.String("prefix"), NextToken: first.NextToken})))
			case "test_list_replays_with_event_source_arn":
				must[*eventbridge.StartReplayOutput](w)(start("replay-name", archive, begin, end))
				w.replayed("replay-name")
				fixtures.NewReplay(t, rec).Match("list-replays-with-event-source-arn", must[*eventbridge.ListReplaysOutput](w)(w.client.ListReplays(t.Context(),
					&eventbridge.ListReplaysInput{EventSourceArn: &archive})))
			case "test_start_replay_error_unknown_archive":
				_, err := start("replay-name", "arn:aws:events:us-east-1:000000000000:archive/unknown", begin, end)
				fixtures.NewReplay(t, rec).Match("start-replay-unknown-archive-error", err)
			case "test_start_replay_error_duplicate_name_same_archive", "test_start_replay_error_duplicate_different_archive":
				must[*eventbridge.StartReplayOutput](w)(start("replay-name", archive, begin, end))
				if strings.Contains(kind, "different") {
					archive = w.archive("another", busARN)
				}
				_, err := start("replay-name", archive, begin, end)
				fixtures.NewReplay(t, rec).Match("start-replay-duplicate-error", err)
			case "test_start_replay_error_invalid_end_time":
				_, err := start("replay-name", archive, begin, begin)
				fixtures.NewReplay(t, rec).Match("start-replay-invalid-end-time-error", err)
			case "test_describe_replay_error_unknown_replay":
				_, err := w.client.DescribeReplay(t.Context(), &eventbridge.DescribeReplayInput{ReplayName: aws.String("replay-name")})
				fixtures.NewReplay(t, rec).Match("describe-replay-unknown-replay-error", err)
			case "tests_concurrency_error_too_many_active_replays":
				w.putCore(bus, coreUpdate, command)
				w.Await(1)
				held = true
				for i := range 10 {
					must[*eventbridge.StartReplayOutput](w)(start(fmt.Sprintf("replay-%d", i), archive, begin, end))
				}
				_, err := start("replay-11", archive, begin, end)
				fixtures.NewReplay(t, rec).Match("list-replays-with-limit", err)
				close(hold)
			default:
				t.Errorf("the recorded test %q is neither replayed nor left out", name)
			}
		})
	}
}

// archive makes an archive of a bus, and returns its ARN.
func (w *world) archive(name, bus string) string {
	w.t.Helper()
	return *must[*eventbridge.CreateArchiveOutput](w)(w.client.CreateArchive(w.t.Context(),
		&eventbridge.CreateArchiveInput{ArchiveName: &name, EventSourceArn: &bus})).ArchiveArn
}

// replayed waits for the end of a replay.
func (w *world) replayed(name string) {
	w.t.Helper()
	for {
		out := must[*eventbridge.DescribeReplayOutput](w)(w.client.DescribeReplay(w.t.Context(), &eventbridge.DescribeReplayInput{ReplayName: &name}))
		if out.ReplayEndTime != nil {
			return
		}
	}
}
