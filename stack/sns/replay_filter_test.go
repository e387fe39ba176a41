package sns

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/stacktest"
)

var filterReplays = map[string]func(*world, *fixtures.Replay){
	"TestSNSFilterPolicyConditions::test_validate_policy": replayRefused(map[string]string{
		"error-condition-list":          `{"key": [["value"]]}`,
		"error-condition-operator":      `{"key": [{"wrong-operator": true}]}`,
		"error-condition-two-operators": `{"key": [{"suffix": "value", "prefix": "value2"}]}`,
	}),
	"TestSNSFilterPolicyConditions::test_validate_policy_string_operators": replayRefused(map[string]string{
		"error-condition-empty-array":                 `{"key": []}`,
		"error-condition-is-numeric":                  `{"key": [{"suffix": 100}]}`,
		"error-condition-empty-list":                  `{"key": [{"suffix": []}]}`,
		"error-condition-list-wrong-type":             `{"key": [{"suffix": ["test", "test2"]}]}`,
		"error-condition-is-not-list-and-no-operator": `{"key": {"not-an-operator": "value"}}`,
		"error-condition-bad-cidr-str":                `{"key": [{"cidr": "bad-filter"}]}`,
		"error-condition-bad-cidr-str-slash-2":        `{"key": [{"cidr": "bad-/64filter"}]}`,
		"error-condition-bad-cidr-v4":                 `{"key": [{"cidr": "xx.11.xx/8"}]}`,
		"error-condition-bad-cidr-v6":                 `{"key": [{"cidr": "xxxx:db8:1234:1a00::/64"}]}`,
	}),
	"TestSNSFilterPolicyConditions::test_validate_policy_numeric_operator": replayRefused(map[string]string{
		"error-numeric-empty":                       `{"key": [{"numeric": []}]}`,
		"error-numeric-wrong-operator":              `{"key": [{"numeric": ["operator"]}]}`,
		"error-numeric-operator-order":              `{"key": [{"numeric": [1, "<="]}]}`,
		"error-numeric-type":                        `{"key": [{"numeric": ["=", "000"]}]}`,
		"error-numeric-missing-value":               `{"key": [{"numeric": [">="]}]}`,
		"error-numeric-wrong-range-order":           `{"key": [{"numeric": ["<", 100, ">", 10]}]}`,
		"error-numeric-wrong-range-operators":       `{"key": [{"numeric": [">=", 1, ">", 2]}]}`,
		"error-numeric-missing-range-operator":      `{"key": [{"numeric": [">", 20, 30]}]}`,
		"error-numeric-wrong-second-range-operator": `{"key": [{"numeric": [">", 20, "test"]}]}`,
		"error-numeric-wrong-range-value-1-type":    `{"key": [{"numeric": [">", "20", "<", "30"]}]}`,
		"error-numeric-wrong-range-value-2-type":    `{"key": [{"numeric": [">", 20, "<", "30"]}]}`,
	}),
	"TestSNSFilterPolicyConditions::test_validate_policy_exists_operator": replayRefused(map[string]string{
		"error-condition-none":   `{"key": [{"exists": null}]}`,
		"error-condition-string": `{"key": [{"exists": "no"}]}`,
	}),
	"TestSNSFilterPolicyConditions::test_validate_policy_nested_anything_but_operator": replayRefused(map[string]string{
		"error-condition-wrong-operator":                 `{"key": [{"anything-but": {"wrong-operator": null}}]}`,
		"error-condition-anything-but-suffix":            `{"key": [{"anything-but": {"suffix": "test"}}]}`,
		"error-condition-anything-but-exists":            `{"key": [{"anything-but": {"exists": false}}]}`,
		"error-condition-anything-but-prefix-wrong-type": `{"key": [{"anything-but": {"prefix": false}}]}`,
	}),
	"TestSNSFilterPolicyConditions::test_policy_complexity_with_or":                          replayComplexity,
	"TestSNSFilterPolicyCrud::test_sub_filter_policy_nested_property":                        replayNestedProperty,
	"TestSNSFilterPolicyCrud::test_set_subscription_filter_policy_scope":                     replayScope,
	"TestSNSFilterPolicyCrud::test_sub_filter_policy_nested_property_constraints":            replayConstraints,
	"TestSNSFilterPolicyAttributes::test_filter_policy":                                      replayFilter,
	"TestSNSFilterPolicyAttributes::test_exists_filter_policy":                               replayExists,
	"TestSNSFilterPolicyBody::test_filter_policy_on_message_body[True]":                      replayBody(true),
	"TestSNSFilterPolicyBody::test_filter_policy_on_message_body[False]":                     replayBody(false),
	"TestSNSFilterPolicyBody::test_filter_policy_for_batch":                                  replayFilterBatch,
	"TestSNSFilterPolicyBody::test_filter_policy_on_message_body_dot_attribute":              replayDots,
	"TestSNSFilterPolicyBody::test_filter_policy_on_message_body_array_attributes":           replayArrays,
	"TestSNSFilterPolicyBody::test_filter_policy_on_message_body_array_of_object_attributes": replayObjects,
	"TestSNSFilterPolicyBody::test_filter_policy_empty_array_payload":                        replayEmptyArray,
	"TestSNSFilterPolicyBody::test_filter_policy_ip_address_condition":                       replayAddresses,
}

func TestFilterReplays(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, filterSnapshot)
	for full := range all {
		_, name, _ := strings.Cut(full, "::")
		if filterReplays[name] == nil {
			t.Errorf("the recorded test %s is neither replayed nor left out", name)
		}
	}
	for name, replay := range filterReplays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := all.Test(t, name)
			for _, step := range rec {
				if e, ok := step.(map[string]any)["Error"].(map[string]any); ok {
					delete(e, "_normalized") // a note of those who recorded it
				}
			}
			replay(newWorld(t), fixtures.NewReplay(t, rec, certificates(t, rec)...))
		})
	}
}

// replayRefused subscribes with policies that are refused.
func replayRefused(policies map[string]string) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1")
		for step, policy := range policies {
			r.Match(step, w.subscribeWith(topic, policy, ""))
		}
		if n := w.topicAttributes(topic).Attributes["SubscriptionsConfirmed"]; n != "0" {
			w.Errorf("there are %s subscriptions", n)
		}
	}
}

func (w *world) subscribeWith(topic, policy, scope string) error {
	in := &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(queue("queue-1")),
		Attributes: map[string]string{"FilterPolicy": policy}}
	if scope != "" {
		in.Attributes["FilterPolicyScope"] = scope
	}
	_, err := w.client.Subscribe(w.Context(), in)
	return err
}

func replayComplexity(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	r.Match("error-complexity-or-flat", w.subscribeWith(topic, `{"source": ["aws.cloudwatch", "aws.events", "aws.test", "aws.test2"], "$or": [
		{"metricName": ["CPUUtilization", "ReadLatency", "t1", "t2", "t3", "t4"]},
		{"metricType": ["MetricType", "TestType", "TestType2", "TestType3"], "$or": [{"metricId": [1234, 4321, 5678, 9012]}, {"spaceId": [1, 2, 3, 4]}]}]}`, "MessageAttributes"))
	r.Match("error-complexity-or-nested", w.subscribeWith(topic, `{"$or": [{"metricName": ["CPUUtilization", "ReadLatency", "TestValue"]}, {"namespace": ["AWS/EC2", "AWS/ES"]}],
		"detail": {"scope": ["Service", "Test"], "$or": [{"source": ["aws.cloudwatch"]}, {"type": ["CloudWatch Alarm State Change", "TestValue", "TestValue2"]}]}}`, "MessageBody"))
}

func (w *world) mustSet(subscription, name, value string) {
	w.Helper()
	if err := w.set(subscription, name, value); err != nil {
		w.Fatal(err)
	}
}

func replayNestedProperty(w *world, r *fixtures.Replay) {
	sub := w.subscribe(w.topic("topic-1"), "sqs", queue("queue-1"))
	policy := `{"object": {"key": [{"prefix": "auto-"}]}}`
	r.Match("sub-filter-policy-nested-error", w.set(sub, "FilterPolicy", policy))
	w.mustSet(sub, "FilterPolicyScope", "MessageBody")
	w.mustSet(sub, "FilterPolicy", policy)
	r.Match("sub-attrs-after-setting-nested-policy", w.attributes(sub))
}

func replayScope(w *world, r *fixtures.Replay) {
	sub := w.subscribe(w.topic("topic-1"), "sqs", queue("queue-1"))
	r.Match("sub-attrs-default", w.attributes(sub))
	w.mustSet(sub, "FilterPolicyScope", "MessageBody")
	r.Match("sub-attrs-filter-scope-body", w.attributes(sub))
	r.Match("sub-attrs-filter-scope-error", w.set(sub, "FilterPolicyScope", "RandomValue"))
	w.mustSet(sub, "FilterPolicy", `{"attr": ["match-this"]}`)
	r.Match("sub-attrs-after-setting-policy", w.attributes(sub))
}

func replayConstraints(w *world, r *fixtures.Replay) {
	sub := w.subscribe(w.topic("topic-1"), "sqs", queue("queue-1"))
	w.mustSet(sub, "FilterPolicyScope", "MessageBody")
	r.Match("sub-filter-policy-nested-error-too-many-combinations", w.set(sub, "FilterPolicy",
		`{"key_a": {"key_b": {"key_c": ["value_one", "value_two", "value_three", "value_four"]}},
		"key_d": {"key_e": ["value_one", "value_two", "value_three"]}, "key_f": ["value_one", "value_two", "value_three"]}`))
	r.Match("sub-filter-policy-max-attr-keys", w.set(sub, "FilterPolicy", `{"key_a": ["value_one"], "key_b": ["value_two"], "key_c": ["value_three"],
		"key_d": ["value_four"], "key_e": ["value_five"], "key_f": ["value_six"]}`))
	r.Match("sub-filter-policy-rule-no-list", w.set(sub, "FilterPolicy", `{"key_a": "value_one"}`))
}

// again shows the deliveries from the n-th on as they are received later.
func again(list []stacktest.Delivery, n int, system ...string) map[string]any {
	got := received(list[n:], system...)
	for i, m := range got["Messages"].([]any) {
		m.(map[string]any)["ReceiptHandle"] = fmt.Sprint("receipt-", n, "-", i)
	}
	return got
}

func replayFilter(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"))
	w.mustSet(sub, "FilterPolicy", `{"attr1": [{"numeric": [">", 0, "<=", 100]}]}`)
	r.Match("subscription-attributes", w.attributes(sub))
	r.Match("messages-0", received(w.Delivered()))
	w.publish(topic, "This is a test message", with(attributes{"attr1": number("99")}))
	one := received(w.Delivered())
	r.Match("messages-1", one)
	w.publish(topic, "This is another test message", with(attributes{"attr1": number("111")}))
	w.expect(1)
	one["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("messages-2", one)
	w.mustSet(sub, "FilterPolicy", `{"attr1": [null, {"anything-but": "whatever"}]}`)
	r.Match("subscription-attributes-2", w.attributes(sub))
	w.publish(topic, "This the test message for null")
	r.Match("messages-3", received(w.Delivered()[1:]))
	w.mustSet(sub, "FilterPolicy", "")
	if a := w.attributes(sub).Attributes; a["FilterPolicy"] != "" {
		w.Errorf("the policy is still there: %v", a)
	}
	w.publish(topic, "This the test message for null")
	r.Match("messages-4", again(w.Delivered(), 1))
}

// expect demands that n messages have been delivered.
func (w *world) expect(n int) {
	w.Helper()
	if got := len(w.Delivered()); got != n {
		w.Errorf("%d messages delivered, want %d", got, n)
	}
}

func replayExists(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"))
	w.mustSet(sub, "FilterPolicy", `{"store": [{"exists": true}]}`)
	r.Match("subscription-attributes-policy-1", w.attributes(sub))
	r.Match("messages-0", received(w.Delivered()))
	both := attributes{"store": number("99"), "def": number("99")}
	w.publish(topic, "message-1", with(both))
	one := received(w.Delivered())
	r.Match("messages-1", one)
	w.publish(topic, "message-2", with(attributes{"attr1": number("111")}))
	w.expect(1)
	one["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("messages-2", one)
	w.mustSet(sub, "FilterPolicy", `{"store": [{"exists": false}]}`)
	r.Match("subscription-attributes-policy-2", w.attributes(sub))
	w.publish(topic, "message-3", with(attributes{"def": number("99")}))
	three := again(w.Delivered(), 1)
	r.Match("messages-3", three)
	w.publish(topic, "message-4", with(both))
	w.expect(2)
	three["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "yet another"
	r.Match("messages-4", three)
}

func replayBody(raw bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1")
		sub := w.subscribe(topic, "sqs", queue("queue-1"))
		w.mustSet(sub, "FilterPolicyScope", "MessageBody")
		w.mustSet(sub, "FilterPolicy", `{"object": {"key": [{"prefix": "auto-"}, "hardcodedvalue"], "nested_key": [{"exists": false}]}, "test": [{"exists": false}]}`)
		w.mustSet(sub, "RawMessageDelivery", fmt.Sprint(raw))
		r.Match("recv-init", received(w.Delivered()))
		for i, text := range []string{`{"object": {"key": "auto-test"}}`, `{"object": {"key": "hardcodedvalue"}}`} {
			w.publish(topic, text)
			r.Match(fmt.Sprint("recv-passed-msg-", i), again(w.Delivered(), i))
		}
		for _, text := range []string{
			`{"object": {"key": "test-auto"}}`, `{"object": {"key": "auto-test"}, "test": "just-exists"}`,
			`{"object": {"key": "auto-test", "nested_key": "just-exists"}}`, `{"object": {"test": "auto-test"}}`, `{"test": "auto-test"}`,
			"Regular string message", `"Regular string message"`,
		} {
			w.publish(topic, text)
		}
		w.expect(2)
	}
}

func replayFilterBatch(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	filtered := w.subscribe(topic, "sqs", queue("filtered"))
	w.mustSet(filtered, "FilterPolicy", `{"attr1": [{"numeric": [">", 0, "<=", 100]}]}`)
	r.Match("subscription-attributes-with-filter", w.attributes(filtered))
	r.Match("subscription-attributes-no-filter", w.attributes(w.subscribe(topic, "sqs", queue("all"))))
	to := func(name string) (list []stacktest.Delivery) {
		for _, d := range w.Delivered() {
			if d.Target == queue(name) {
				list = append(list, d)
			}
		}
		return list
	}
	r.Match("messages-no-filter-before-publish", received(to("all")))
	r.Match("messages-with-filter-before-publish", received(to("filtered")))
	batch := func(text, value string) {
		_, err := w.client.PublishBatch(w.Context(), &awssns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
			{Id: aws.String("1"), Message: &text, MessageAttributes: attributes{"attr1": number(value)}},
		}})
		if err != nil {
			w.Fatal(err)
		}
	}
	batch("This is a test message", "99")
	r.Match("messages-no-filter-after-publish-ok", again(to("all"), 0))
	with := again(to("filtered"), 0)
	with["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("messages-with-filter-after-publish-ok", with)
	batch("This is another test message", "111")
	r.Match("messages-no-filter-after-publish-ok-1", again(to("all"), 1))
	r.Match("messages-with-filter-after-publish-filtered", received(to("filtered")[1:]))
}

func replayDots(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"))
	w.mustSet(sub, "FilterPolicyScope", "MessageBody")
	w.mustSet(sub, "FilterPolicy", `{"object.nested": ["string.value"]}`)
	r.Match("recv-init", received(w.Delivered()))
	n := 0
	send := func(step string, texts ...string) {
		for i, text := range texts {
			w.publish(topic, text)
			r.Match(fmt.Sprint(step, i), again(w.Delivered(), n))
			n++
		}
	}
	send("recv-nested-msg-", `{"object": {"nested": "string.value"}}`, `{"object.nested": "string.value"}`)
	w.publish(topic, `{"object": {"nested": "test-auto"}}`)
	w.expect(2)
	w.mustSet(sub, "FilterPolicy", `{"object.nested.test": ["string.value"]}`)
	send("recv-deep-nested-msg-", `{"object": {"nested": {"test": "string.value"}}}`, `{"object.nested.test": "string.value"}`,
		`{"object.nested": {"test": "string.value"}}`, `{"object": {"nested.test": "string.value"}}`)
	w.publish(topic, `{"object": {"nested": {"test": "string.notvalue"}}}`)
	w.expect(6)
}

// sorted shows raw deliveries to a queue in the order of their bodies.
func (w *world) sorted(name string) map[string]any {
	var list []stacktest.Delivery
	for _, d := range w.Delivered() {
		if d.Target == queue(name) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b stacktest.Delivery) int { return strings.Compare(a.Message.Body, b.Message.Body) })
	got := received(list, standardAttributes...)
	for i, m := range got["Messages"].([]any) {
		m.(map[string]any)["ReceiptHandle"] = fmt.Sprint(name, i)
	}
	return without(got, "ResponseMetadata")
}

func (w *world) filtered(topic, name, policy string) {
	w.subscribe(topic, "sqs", queue(name), "RawMessageDelivery", "true", "FilterPolicyScope", "MessageBody", "FilterPolicy", policy)
}

func replayArrays(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.filtered(topic, "queue1", `{"headers": {"route-to": ["queue1"]}}`)
	w.filtered(topic, "queue2", `{"headers": {"route-to": ["queue2"]}}`)
	for _, to := range []string{`["queue3"]`, `["queue1"]`, `["queue2"]`, `["queue1", "queue2"]`} {
		w.publish(topic, `{"headers": {"route-to": `+to+`}}`)
	}
	r.Match("messages-queue-0", w.sorted("queue1"))
	r.Match("messages-queue-1", w.sorted("queue2"))
}

func replayObjects(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.filtered(topic, "queue", `{"Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}, "eventName": [{"prefix": "ObjectCreated:"}]}}`)
	record := func(event, key string) string {
		return fmt.Sprintf(`{"Records": [{"eventSource": "aws:s3", "eventTime": "2022-11-21T03:41:29.743Z", "eventName": %q, "s3": {"bucket": `+
			`{"name": "insurance-bucket-demo", "arn": "arn:aws:s3:::insurance-bucket-demo"}, "object": {"key": %q, "size": 17}}}]}`, event, key)
	}
	for _, text := range []string{
		`{"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"object": [[{"key": "auto-insurance-2314.xml", "size": 17}]]}}, ` +
			`{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete", "s3": {"object": {"key": "home-insurance-2314.xml", "size": 17}}}]}`,
		record("ObjectRemoved:Delete", "auto-insurance-2314.xml"), record("ObjectCreated:Put", "home-insurance-2314.xml"),
		record("ObjectCreated:Put", "auto-insurance-2314.xml"),
	} {
		w.publish(topic, text)
	}
	r.Match("messages", w.sorted("queue"))
}

func replayEmptyArray(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.filtered(topic, "queue", `{"detail": {"eventVersion": [""]}}`)
	w.publish(topic, `{"version": "0", "id": "3e3c153a-8339-4e30-8c35-687ebef853fe", "detail-type": "EC2 Instance Launch Successful", "source": "aws.autoscaling",`+
		` "account": "123456789012", "time": "2015-11-11T21:31:47Z", "region": "my-region", "resources": [], "detail": {"eventVersion": "", "responseElements": null}}`)
	r.Match("messages-queue", w.sorted("queue"))
}

func replayAddresses(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.filtered(topic, "queue", `{"detail": {"$or": [{"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]}, {"sourceIPAddressV6": [{"cidr": "2001:db8:1234:1a00::/64"}]}]}}`)
	for i, detail := range []string{
		`{"sourceIPAddress": "10.0.0.255"}`, `{"sourceIPAddress": "10.0.0.256"}`, `{"sourceIPAddressV6": "2001:0db8:1234:1a00:0000:0000:0000:0000"}`,
		`{"sourceIPAddressV6": "2001:0db8:123f:1a01:0000:0000:0000:0000"}`,
	} {
		w.publish(topic, fmt.Sprintf(`{"id": "%d", "source": "test-source", "detail-type": "test-detail-type", "account": "123456789012", "region": "my-region",`+
			` "time": "2022-07-13T13:48:01Z", "detail": %s}`, i+1, detail))
	}
	r.Match("messages-queue", w.sorted("queue"))
}

// TestTranscribedFilterPolicies publishes the transcribed cases.
func TestTranscribedFilterPolicies(t *testing.T) {
	t.Parallel()
	type attribute struct{ DataType, StringValue string }
	var file struct {
		Cases []struct {
			ID          string
			Scope       string
			Policy      json.RawMessage
			Matching    []json.RawMessage
			NotMatching []json.RawMessage `json:"not_matching"`
			Valid       *bool
		}
	}
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/sns-filter-policy.json"), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 40 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			topic := w.topic("topic")
			err := w.subscribeWith(topic, string(c.Policy), c.Scope)
			if c.Valid != nil && !*c.Valid {
				if code, message := code(t, err); code != "InvalidParameter" || !strings.HasPrefix(message, "Invalid parameter: Attributes Reason: FilterPolicy: ") {
					t.Errorf("%s: %s", code, message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			send := func(raw json.RawMessage) {
				if c.Scope == "MessageBody" {
					text := string(raw)
					if err := json.Unmarshal(raw, &text); err != nil {
						text = string(raw) // it is no string
					}
					w.publish(topic, text)
					return
				}
				var list map[string]attribute
				if err := json.Unmarshal(raw, &list); err != nil {
					t.Fatal(err)
				}
				attrs := attributes{}
				for name, a := range list {
					attrs[name] = types.MessageAttributeValue{DataType: aws.String(a.DataType), StringValue: aws.String(a.StringValue)}
				}
				w.publish(topic, "text", with(attrs))
			}
			for _, m := range c.Matching {
				send(m)
			}
			w.expect(len(c.Matching))
			for _, m := range c.NotMatching {
				send(m)
			}
			w.expect(len(c.Matching))
		})
	}
}
