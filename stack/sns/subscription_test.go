package sns

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
)

func TestSubscribeRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic, fifo := w.topic("topic"), w.topic("topic.fifo")
	noProtocol := "Protocol Reason: millrace's local stack does not deliver by %; it has sqs, lambda, http and https"
	for _, c := range []struct {
		topic, protocol, endpoint string
		attributes                []string
		message                   string
	}{
		{topic, "email", "a@example.com", nil, strings.Replace(noProtocol, "%", "email", 1)},
		{topic, "email-json", "a@example.com", nil, strings.Replace(noProtocol, "%", "email-json", 1)},
		{topic, "sms", "+15551234567", nil, strings.Replace(noProtocol, "%", "sms", 1)},
		{topic, "application", "arn:aws:sns:us-east-1:000000000000:endpoint/GCM/a/b", nil, strings.Replace(noProtocol, "%", "application", 1)},
		{topic, "firehose", "arn:aws:firehose:us-east-1:000000000000:deliverystream/d", nil, strings.Replace(noProtocol, "%", "firehose", 1)},
		{topic, "pigeon", "x", nil, "Amazon SNS does not support this protocol string: pigeon"},
		{topic, "sqs", "http://127.0.0.1/000000000000/q", nil, "SQS endpoint ARN"},
		{topic, "sqs", "arn:aws:sns:us-east-1:000000000000:t", nil, "SQS endpoint ARN"},
		{topic, "lambda", "f", nil, "Lambda endpoint ARN"},
		{topic, "http", "https://example.com", nil, "Endpoint must match the specified protocol"},
		{topic, "https", "http://example.com", nil, "Endpoint must match the specified protocol"},
		{topic, "http", "example", nil, "Unreachable Endpoint"},
		{topic, "sqs", queue("q.fifo"), nil, "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"},
		{fifo, "http", "http://example.com", nil, "Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"},
		{fifo, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", nil, "Invalid parameter: Endpoint Reason: Please use FIFO SQS queue"},
		{topic, "sqs", queue("q"), []string{"RawMessageDelivery", "wrongvalue"}, "Attributes Reason: RawMessageDelivery: Invalid value [wrongvalue]. Must be true or false."},
		{topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f", []string{"RawMessageDelivery", "true"},
			"Attributes Reason: Delivery protocol [lambda] does not support raw message delivery."},
		{topic, "sqs", queue("q"), []string{"Colour", "red"}, "Attributes Reason: Unknown attribute: Colour"},
		{topic, "sqs", queue("q"), []string{"DeliveryPolicy", "{}"}, "Attributes Reason: Delivery protocol [sqs] does not support delivery policies."},
		{topic, "sqs", queue("q"), []string{"ReplayPolicy", "{}"}, "Attributes Reason: ReplayPolicy: millrace's local stack does not have the archive of FIFO topics"},
		{topic, "sqs", queue("q"), []string{"SubscriptionRoleArn", "arn:aws:iam::000000000000:role/r"},
			"Attributes Reason: SubscriptionRoleArn is for the protocol firehose, which millrace's local stack does not have"},
		{topic, "sqs", queue("q"), []string{"RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:dlq"}`},
			"Attributes Reason: RedrivePolicy: deadLetterTargetArn must be in the same account and region as the subscription"},
		{topic, "lambda", "arn:aws:lambda:us-east-1:111111111111:function:f", nil,
			"Endpoint Reason: millrace's local stack subscribes a function for the account that owns it only"},
	} {
		_, err := w.client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &c.topic, Protocol: &c.protocol, Endpoint: &c.endpoint, Attributes: pairs(c.attributes)})
		refused(t, err, "InvalidParameter", "Invalid parameter: "+c.message)
	}
	for _, a := range []string{topic, fifo} {
		if n := w.topicAttributes(a).Attributes["SubscriptionsConfirmed"]; n != "0" {
			t.Errorf("%s has %s subscriptions", a, n)
		}
	}
}

func TestSetSubscriptionAttributesRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := w.subscribe(w.topic("topic"), "sqs", queue("q"))
	for _, c := range []struct{ name, value, message string }{
		{"FakeAttribute", "x", "AttributeName"},
		{"RawMessageDelivery", "test-ValUe", "RawMessageDelivery: Invalid value [test-ValUe]. Must be true or false."},
		{"RawMessageDelivery", "", "RawMessageDelivery: Invalid value []. Must be true or false."},
		{"RedrivePolicy", `{"deadLetterTargetArn":"fake-arn"}`, "RedrivePolicy: deadLetterTargetArn is an invalid arn"},
		{"RedrivePolicy", `{"deadLetterTargetArn":null}`, "RedrivePolicy: deadLetterTargetArn is a required field"},
	} {
		refused(t, w.set(sub, c.name, c.value), "InvalidParameter", "Invalid parameter: "+c.message)
	}
	for _, name := range []string{"RedrivePolicy", "FilterPolicy"} {
		if code, message := code(t, w.set(sub, name, "{invalidjson}")); code != "InvalidParameter" || !strings.HasPrefix(message, "Invalid parameter: "+name+": failed to parse JSON. ") {
			t.Errorf("%s: %s: %s", name, code, message)
		}
	}
	refused(t, w.set(sub[:len(sub)-36]+"00000000-0000-0000-0000-000000000000", "RawMessageDelivery", "true"), "NotFound", "Subscription does not exist")
	// What has been set stands, and what has been refused has changed nothing.
	w.mustSet(sub, "FilterPolicyScope", "MessageBody")
	w.mustSet(sub, "FilterPolicy", `{"a":{"b":["c"]}}`)
	refused(t, w.set(sub, "FilterPolicyScope", "MessageAttributes"), "InvalidParameter", "Invalid parameter: Filter policy scope MessageAttributes does not support nested filter policy")
	if a := w.attributes(sub).Attributes; a["FilterPolicyScope"] != "MessageBody" || a["FilterPolicy"] != `{"a":{"b":["c"]}}` {
		t.Errorf("the attributes are %v", a)
	}
	w.mustSet(sub, "RedrivePolicy", redriveTo(queue("dlq")))
	w.mustSet(sub, "RedrivePolicy", "")
	if a := w.attributes(sub).Attributes; a["RedrivePolicy"] != "" {
		t.Errorf("the attributes are %v", a)
	}
}

func TestSubscribeIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	sub := w.subscribe(topic, "sqs", queue("q"), "RawMessageDelivery", "True")
	for _, attributes := range [][]string{
		{"RawMessageDelivery", "true"}, {"RawMessageDelivery", "true", "FilterPolicyScope", "MessageAttributes"}, {}, {"FilterPolicyScope", "MessageAttributes"},
	} {
		if again := w.subscribe(topic, "sqs", queue("q"), attributes...); again != sub {
			t.Errorf("%v: %s, want %s", attributes, again, sub)
		}
	}
	_, err := w.client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(queue("q")),
		Attributes: map[string]string{"RawMessageDelivery": "false", "FilterPolicyScope": "MessageBody"}})
	refused(t, err, "InvalidParameter", "Invalid parameter: Attributes Reason: Subscription already exists with different attributes")
	if n := w.topicAttributes(topic).Attributes["SubscriptionsConfirmed"]; n != "1" {
		t.Errorf("there are %s subscriptions", n)
	}
}

func (w *world) unsubscribe(sub string) error {
	_, err := w.client.Unsubscribe(w.Context(), &awssns.UnsubscribeInput{SubscriptionArn: &sub})
	return err
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	sub := w.subscribe(topic, "sqs", queue("q"))
	for range 2 {
		if err := w.unsubscribe(sub); err != nil {
			t.Error(err)
		}
	}
	w.publish(topic, "to nobody")
	w.expect(0)
	if a := w.topicAttributes(topic).Attributes; a["SubscriptionsDeleted"] != "1" || a["SubscriptionsConfirmed"] != "0" {
		t.Errorf("the topic has %v", a)
	}
	for arn, message := range map[string]string{
		"randomstring":                              "SubscriptionArn Reason: An ARN must have at least 6 elements, not 1",
		"arn:aws:sns:us-east-1:random":              "SubscriptionArn Reason: An ARN must have at least 6 elements, not 5",
		"arn:aws:sns:us-east-1:111111111111:random": "SubscriptionId",
		"": "SubscriptionArn Reason: no value for required parameter",
		strings.Replace(sub, "us-east-1", "eu-x-1", 1): "SubscriptionArn",
	} {
		refused(t, w.unsubscribe(arn), "InvalidParameter", "Invalid parameter: "+message)
	}
	e := newEndpoint(t)
	pending := w.subscribe(topic, "http", e.URL)
	e.await(1)
	refused(t, w.unsubscribe(pending), "InvalidParameter", "Invalid parameter: Cannot unsubscribe a subscription that is pending confirmation")
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e := newEndpoint(t)
	sub := w.subscribe(topic, "http", e.URL)
	first := member(t, e.await(1)[0].body, "Token")
	if len(first) != 288 {
		t.Errorf("the token has %d digits", len(first))
	}
	list := must[*awssns.ListSubscriptionsByTopicOutput](t)(w.client.ListSubscriptionsByTopic(t.Context(), &awssns.ListSubscriptionsByTopicInput{TopicArn: &topic}))
	if got := *list.Subscriptions[0].SubscriptionArn; got != "PendingConfirmation" {
		t.Errorf("it is listed as %s", got)
	}
	w.publish(topic, "before it is confirmed")
	if again := w.subscribe(topic, "http", e.URL); again != sub {
		t.Errorf("%s, want %s", again, sub)
	}
	second := member(t, e.await(2)[1].body, "Token")
	confirm := func(token, protect string) error {
		in := &awssns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token}
		if protect != "" {
			in.AuthenticateOnUnsubscribe = &protect
		}
		_, err := w.client.ConfirmSubscription(t.Context(), in)
		return err
	}
	refused(t, confirm(first, ""), "InvalidParameter", "Invalid parameter: Token") // the second took its place
	refused(t, confirm("randomtoken", ""), "InvalidParameter", "Invalid token")
	refused(t, confirm(strings.Repeat("0", 288), ""), "InvalidParameter", "Invalid parameter: Token")
	if err := confirm(second, "true"); err != nil {
		t.Fatal(err)
	}
	if err := confirm(second, ""); err != nil {
		t.Errorf("again: %v", err)
	}
	if a := w.attributes(sub).Attributes; a["ConfirmationWasAuthenticated"] != "true" || a["PendingConfirmation"] != "false" {
		t.Errorf("the attributes are %v", a)
	}
	w.publish(topic, "after it is confirmed")
	if got := e.await(3)[2]; member(t, got.body, "Message") != "after it is confirmed" {
		t.Errorf("posted %s", got.body)
	}
	// It has been confirmed with AuthenticateOnUnsubscribe.
	if status, body := get(t, w.url+"/?Action=Unsubscribe&SubscriptionArn="+sub); status != 403 || !strings.Contains(body, "AuthorizationError") {
		t.Errorf("without a signature: %d %s", status, body)
	}
	if status, body := get(t, w.url+"/?Action=ConfirmSubscription&AuthenticateOnUnsubscribe=true&TopicArn="+topic+"&Token="+second); status != 403 {
		t.Errorf("protecting without a signature: %d %s", status, body)
	}
	if err := w.unsubscribe(sub); err != nil {
		t.Fatal(err)
	}
	// The last message lets it be restored.
	if status, body := get(t, member(t, e.await(4)[3].body, "SubscribeURL")); status != 200 || !strings.Contains(body, sub) {
		t.Errorf("%d %s", status, body)
	}
	w.publish(topic, "restored")
	if got := e.await(5)[4]; member(t, got.body, "Message") != "restored" {
		t.Errorf("posted %s", got.body)
	}
}

func TestConfirmationsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e := newEndpoint(t)
	w.subscribe(topic, "http", e.URL)
	link := member(t, e.await(1)[0].body, "SubscribeURL")
	// It rings in a goroutine of its own; until it has, the clock has a timer.
	w.Clock.Advance(tokenLife)
	for w.topicAttributes(topic).Attributes["SubscriptionsPending"] != "0" {
		if t.Context().Err() != nil {
			t.Fatal("it does not end")
		}
	}
	if status, body := get(t, link); status != 400 || !strings.Contains(body, "<Message>Invalid parameter: Token</Message>") {
		t.Errorf("%d %s", status, body)
	}
	list := must[*awssns.ListSubscriptionsOutput](t)(w.client.ListSubscriptions(t.Context(), &awssns.ListSubscriptionsInput{}))
	if len(list.Subscriptions) != 0 {
		t.Errorf("%d are left", len(list.Subscriptions))
	}
}

func TestQueuesOfOtherAccountsConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	q := "arn:aws:sqs:us-east-1:111111111111:q"
	sub := w.subscribe(topic, "sqs", q)
	d := w.Await(1)[0]
	if d.Target != q || member(t, d.Message.Body, "Type") != "SubscriptionConfirmation" {
		t.Fatalf("delivered %+v", d)
	}
	w.publish(topic, "before")
	w.expect(1)
	if status, body := get(t, member(t, d.Message.Body, "SubscribeURL")); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	w.publish(topic, "after")
	w.expect(2)
	if a := w.attributes(sub).Attributes; a["ConfirmationWasAuthenticated"] != "false" || a["PendingConfirmation"] != "false" {
		t.Errorf("the attributes are %v", a)
	}
	// One that its owner makes needs none.
	if _, err := w.client.AddPermission(t.Context(), &awssns.AddPermissionInput{TopicArn: &topic, Label: aws.String("l"),
		AWSAccountId: []string{"111111111111"}, ActionName: []string{"Subscribe"}}); err != nil {
		t.Fatal(err)
	}
	own := "arn:aws:sqs:us-east-1:111111111111:own"
	out := must[*awssns.SubscribeOutput](t)(w.as("111111111111", "").Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &own}))
	if a := w.attributes(*out.SubscriptionArn).Attributes; a["PendingConfirmation"] != "false" || a["Owner"] != "111111111111" {
		t.Errorf("the attributes are %v", a)
	}
	// Others may not touch it.
	_, err := w.as("222222222222", "").GetSubscriptionAttributes(t.Context(), &awssns.GetSubscriptionAttributesInput{SubscriptionArn: out.SubscriptionArn})
	if code, _ := code(t, err); code != "AuthorizationError" {
		t.Errorf("%v", err)
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e := newEndpoint(t)
	sub := w.subscribe(topic, "http", strings.Replace(e.URL, "http://", "http://me:secret@", 1))
	if got := e.await(1)[0].header.Get("Authorization"); got != "Basic bWU6c2VjcmV0" {
		t.Errorf("Authorization is %s", got)
	}
	want := strings.Replace(e.URL, "http://", "http://me:****@", 1)
	if got := w.attributes(sub).Attributes["Endpoint"]; got != want {
		t.Errorf("the endpoint is %s", got)
	}
	list := must[*awssns.ListSubscriptionsOutput](t)(w.client.ListSubscriptions(t.Context(), &awssns.ListSubscriptionsInput{}))
	if got := *list.Subscriptions[0].Endpoint; got != want {
		t.Errorf("the endpoint is listed as %s", got)
	}
}

func TestFilterPoliciesAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	for i := range maxFilters {
		w.subscribe(topic, "sqs", queue("q"+strings.Repeat("x", i)), "FilterPolicy", `{"a":["b"]}`)
	}
	_, err := w.client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(queue("more")),
		Attributes: map[string]string{"FilterPolicy": `{"a":["b"]}`}})
	refused(t, err, "FilterPolicyLimitExceeded", "Filter policy limit exceeded")
	sub := w.subscribe(topic, "sqs", queue("more"))
	refused(t, w.set(sub, "FilterPolicy", `{"a":["b"]}`), "FilterPolicyLimitExceeded", "Filter policy limit exceeded")
	w.publish(topic, "x", with(attributes{"a": str("b")}))
	w.expect(maxFilters + 1)
}
