package sns

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

func (w *world) create(name string, tags map[string]string, attributes ...string) error {
	in := &awssns.CreateTopicInput{Name: &name, Attributes: pairs(attributes)}
	for k, v := range tags {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	_, err := w.client.CreateTopic(w.Context(), in)
	return err
}

func (w *world) setTopic(topic, name, value string) error {
	_, err := w.client.SetTopicAttributes(w.Context(), &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: &name, AttributeValue: &value})
	return err
}

func TestCreateTopicRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("key", i)] = "v"
	}
	for _, c := range []struct {
		name          string
		tags          map[string]string
		attributes    []string
		code, message string
	}{
		{"", nil, nil, "InvalidParameter", "Invalid parameter: Topic Name"},
		{strings.Repeat("a", 257), nil, nil, "InvalidParameter", "Invalid parameter: Topic Name"},
		{"bad name", nil, nil, "InvalidParameter", "Invalid parameter: Topic Name"},
		{"a.fifo", nil, nil, "InvalidParameter", "Invalid parameter: Topic Name"},
		{".fifo", nil, []string{"FifoTopic", "true"}, "InvalidParameter", "Invalid parameter: Topic Name"},
		{"a", nil, []string{"FifoTopic", "true"}, "InvalidParameter", "Invalid parameter: Topic Name"},
		{"a", nil, []string{"FifoTopic", "yes"}, "InvalidParameter", "Invalid parameter: Attributes Reason: FifoTopic: Invalid value [yes]. Must be true or false."},
		{"a", nil, []string{"Colour", "red"}, "InvalidParameter", "Invalid parameter: Attributes Reason: Unknown attribute: Colour"},
		{"a", nil, []string{"ContentBasedDeduplication", "true"}, "InvalidParameter", "Invalid parameter: Attributes Reason: Content-based deduplication can only be set for FIFO topics"},
		{"a", nil, []string{"SignatureVersion", "3"}, "InvalidParameter", "Invalid parameter: Attributes Reason: SignatureVersion: Invalid value [3]. Please use either 1 or 2"},
		{"a", nil, []string{"ArchivePolicy", `{"MessageRetentionPeriod":1}`}, "InvalidParameter",
			"Invalid parameter: Attributes Reason: ArchivePolicy: millrace's local stack does not have the archive of FIFO topics"},
		{"a", nil, []string{"SQSSuccessFeedbackRoleArn", "arn:aws:iam::000000000000:role/r"}, "InvalidParameter",
			"Invalid parameter: Attributes Reason: SQSSuccessFeedbackRoleArn: millrace's local stack does not have logs of deliveries"},
		{"a", map[string]string{"aws:x": "y"}, nil, "InvalidParameter", "Invalid parameter: Tags Reason: Tag keys may not begin with aws:"},
		{"a", map[string]string{strings.Repeat("k", 129): ""}, nil, "InvalidParameter", "Invalid parameter: Tags Reason: The length of a tag's key must be from 1 to 128"},
		{"a", map[string]string{"k": strings.Repeat("v", 257)}, nil, "InvalidParameter", "Invalid parameter: Tags Reason: The length of a tag's value must be at most 256"},
		{"a", many, nil, "TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded"},
	} {
		refused(t, w.create(c.name, c.tags, c.attributes...), c.code, c.message)
	}
	_, err := w.client.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("a"), Tags: []types.Tag{
		{Key: aws.String("k"), Value: aws.String("1")}, {Key: aws.String("k"), Value: aws.String("2")}}})
	refused(t, err, "InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")
	_, err = w.client.CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("a"), DataProtectionPolicy: aws.String("{}")})
	refused(t, err, "InvalidParameter", "Invalid parameter: DataProtectionPolicy: millrace's local stack does not have data protection policies")
	out, err := w.client.ListTopics(t.Context(), &awssns.ListTopicsInput{})
	if err != nil || len(out.Topics) != 0 {
		t.Errorf("there are topics: %v, %v", out.Topics, err)
	}
}

func TestCreateTopicIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tags := map[string]string{"a": "1", "b": "2"}
	for i, c := range []struct {
		tags       map[string]string
		attributes []string
		refusal    string
	}{
		{tags, []string{"DisplayName", "Value1"}, ""},
		{tags, nil, ""},
		{map[string]string{"a": "1"}, nil, ""},
		{nil, nil, ""},
		{nil, []string{"DisplayName", "Value1"}, ""},
		{nil, []string{"FifoTopic", "false"}, ""},
		{nil, []string{"SignatureVersion", "1"}, ""},
		{map[string]string{"c": "3"}, nil, "Tags Reason: Topic already exists with different tags"},
		{map[string]string{"a": "2"}, nil, "Tags Reason: Topic already exists with different tags"},
		{nil, []string{"DisplayName", "Value2"}, "Attributes Reason: Topic already exists with different attributes"},
		{nil, []string{"SignatureVersion", "2", "DisplayName", "Value1"}, "Attributes Reason: Topic already exists with different attributes"},
		{nil, []string{"FifoTopic", "true"}, "Topic Name"},
	} {
		err := w.create("topic", c.tags, c.attributes...)
		if c.refusal == "" {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		refused(t, err, "InvalidParameter", "Invalid parameter: "+c.refusal)
	}
}

func TestTopicAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic, fifo := w.topic("topic"), w.topic("topic.fifo")
	for _, c := range []struct{ topic, name, value, want string }{
		{topic, "DisplayName", "Shown", "Shown"},
		{topic, "DisplayName", "", ""},
		{topic, "SignatureVersion", "2", "2"},
		{topic, "TracingConfig", "Active", "Active"},
		{topic, "KmsMasterKeyId", "alias/aws/sns", "alias/aws/sns"},
		{topic, "Policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:Publish"}]}`,
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:Publish"}]}`},
		{fifo, "ContentBasedDeduplication", "True", "true"},
		{fifo, "FifoThroughputScope", "MessageGroup", "MessageGroup"},
		{topic, "DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1}}}`,
			`{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":5,"maxDelayTarget":6,"numRetries":1},"disableSubscriptionOverrides":false}}`},
		{topic, "DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":null}}`, `{"http":{"disableSubscriptionOverrides":false}}`},
		{topic, "DeliveryPolicy", "", ""},
		{topic, "ArchivePolicy", "", ""},
	} {
		if err := w.setTopic(c.topic, c.name, c.value); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := w.topicAttributes(c.topic).Attributes[c.name]; got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct{ topic, name, value, message string }{
		{topic, "FifoTopic", "true", "AttributeName"},
		{topic, "TopicArn", "x", "AttributeName"},
		{topic, "ContentBasedDeduplication", "true", "Content-based deduplication can only be set for FIFO topics"},
		{topic, "FifoThroughputScope", "Topic", "FifoThroughputScope can only be set for FIFO topics"},
		{fifo, "FifoThroughputScope", "Queue", "FifoThroughputScope: Invalid value [Queue]. Please use either Topic or MessageGroup"},
		{topic, "DisplayName", strings.Repeat("x", 101), "DisplayName"},
		{topic, "Policy", `{"Statement":[]}`, "Policy Error: the policy has no Statement"},
		{topic, "HTTPFailureFeedbackRoleArn", "r", "HTTPFailureFeedbackRoleArn: millrace's local stack does not have logs of deliveries"},
		{topic, "DeliveryPolicy", `{"http":{"x":1}}`, "DeliveryPolicy: Unexpected JSON member: x"},
	} {
		refused(t, w.setTopic(c.topic, c.name, c.value), "InvalidParameter", "Invalid parameter: "+c.message)
	}
	if got := w.topicAttributes(topic).Attributes["EffectiveDeliveryPolicy"]; !strings.Contains(got, `"minDelayTarget":20`) {
		t.Errorf("the effective policy is %s", got)
	}
}

func TestTopicARNsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here := w.topic("topic")
	for _, c := range []struct{ arn, code, message string }{
		{"topic", "InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
		{"arn:aws:sns:us-east-1:0", "InvalidParameter", "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 5"},
		{"a:b:c:d:e:f", "InvalidParameter", "Invalid parameter: TopicArn Reason: a:b:c:d:e:f does not start with arn"},
		{"arn:aws:sqs:us-east-1:000000000000:topic", "InvalidParameter", "Invalid parameter: TopicArn"},
		{here + ":x", "InvalidParameter", "Invalid parameter: TopicArn"},
		{strings.Replace(here, "us-east-1", "eu-west-1", 1), "InvalidParameter", "Invalid parameter: TopicArn"},
		{here + "2", "NotFound", "Topic does not exist"},
	} {
		_, err := w.client.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: &c.arn})
		refused(t, err, c.code, c.message)
		_, err = w.client.Publish(t.Context(), &awssns.PublishInput{TopicArn: &c.arn, Message: aws.String("x")})
		refused(t, err, c.code, c.message)
		_, err = w.client.Subscribe(t.Context(), &awssns.SubscribeInput{TopicArn: &c.arn, Protocol: aws.String("sqs"), Endpoint: aws.String(queue("q"))})
		refused(t, err, c.code, c.message)
	}
	for action, members := range map[string]string{"GetTopicAttributes": "topicArn", "DeleteTopic": "topicArn", "Subscribe": "topicArn protocol", "SetTopicAttributes": "topicArn attributeName",
		"GetSubscriptionAttributes": "subscriptionArn", "ConfirmSubscription": "topicArn token", "CreateTopic": "name", "TagResource": "resourceArn",
		"AddPermission": "topicArn label aWSAccountId actionName", "ListSubscriptionsByTopic": "topicArn", "PublishBatch": "topicArn"} {
		got := raw(w, "Action="+action).(map[string]any)["Error"].(map[string]any)
		for _, m := range strings.Fields(members) {
			if want := "Value null at '" + m + "' failed to satisfy constraint: Member must not be null"; got["Code"] != "ValidationError" || !strings.Contains(got["Message"].(string), want) {
				t.Errorf("%s: %v, want %s", action, got, want)
			}
		}
	}
}

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 205 {
		want = append(want, w.topic(fmt.Sprint("topic-", i)))
	}
	w.as("", "eu-west-1").CreateTopic(t.Context(), &awssns.CreateTopicInput{Name: aws.String("elsewhere")})
	slices.Sort(want)
	var got []string
	var sizes []int
	for p := awssns.NewListTopicsPaginator(w.client, &awssns.ListTopicsInput{}); p.HasMorePages(); {
		out := must[*awssns.ListTopicsOutput](t)(p.NextPage(t.Context()))
		sizes = append(sizes, len(out.Topics))
		for _, topic := range out.Topics {
			got = append(got, *topic.TopicArn)
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{100, 100, 5}) {
		t.Errorf("%d topics in pages of %v", len(got), sizes)
	}
	_, err := w.client.ListTopics(t.Context(), &awssns.ListTopicsInput{NextToken: aws.String("!")})
	refused(t, err, "InvalidParameter", "Invalid parameter: NextToken")

	subs := map[string]bool{}
	for i := range 101 {
		subs[w.subscribe(want[0], "sqs", queue(fmt.Sprint("q", i)))] = true
	}
	w.subscribe(want[1], "sqs", queue("q"))
	for p := awssns.NewListSubscriptionsByTopicPaginator(w.client, &awssns.ListSubscriptionsByTopicInput{TopicArn: &want[0]}); p.HasMorePages(); {
		for _, s := range must[*awssns.ListSubscriptionsByTopicOutput](t)(p.NextPage(t.Context())).Subscriptions {
			delete(subs, *s.SubscriptionArn)
		}
	}
	if len(subs) != 0 {
		t.Errorf("%d subscriptions are not listed", len(subs))
	}
	n := 0
	for p := awssns.NewListSubscriptionsPaginator(w.client, &awssns.ListSubscriptionsInput{}); p.HasMorePages(); {
		n += len(must[*awssns.ListSubscriptionsOutput](t)(p.NextPage(t.Context())).Subscriptions)
	}
	if n != 102 {
		t.Errorf("%d subscriptions in all", n)
	}
}

func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	sub := w.subscribe(topic, "sqs", queue("q"))
	for range 2 {
		if _, err := w.client.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.client.GetSubscriptionAttributes(t.Context(), &awssns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	refused(t, err, "NotFound", "Subscription does not exist")
	if out := must[*awssns.ListSubscriptionsOutput](t)(w.client.ListSubscriptions(t.Context(), &awssns.ListSubscriptionsInput{})); len(out.Subscriptions) != 0 {
		t.Errorf("%d subscriptions are left", len(out.Subscriptions))
	}
	w.topic("topic")
	w.publish(topic, "to nobody")
	w.expect(0)
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	list := func() map[string]string {
		got := map[string]string{}
		for _, tag := range must[*awssns.ListTagsForResourceOutput](t)(w.client.ListTagsForResource(t.Context(), &awssns.ListTagsForResourceInput{ResourceArn: &topic})).Tags {
			got[*tag.Key] = *tag.Value
		}
		return got
	}
	tag := func(arn string, pairs ...string) error {
		in := &awssns.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{}}
		for i := 0; i < len(pairs); i += 2 {
			in.Tags = append(in.Tags, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		_, err := w.client.TagResource(t.Context(), in)
		return err
	}
	if err := errors.Join(tag(topic, "a", "1", "b", "2"), tag(topic, "b", "3")); err != nil {
		t.Fatal(err)
	}
	if got := list(); !reflect.DeepEqual(got, map[string]string{"a": "1", "b": "3"}) {
		t.Errorf("tags are %v", got)
	}
	if _, err := w.client.UntagResource(t.Context(), &awssns.UntagResourceInput{ResourceArn: &topic, TagKeys: []string{"a", "x"}}); err != nil {
		t.Fatal(err)
	}
	if got := list(); !reflect.DeepEqual(got, map[string]string{"b": "3"}) {
		t.Errorf("tags are %v", got)
	}
	refused(t, tag(topic, "k", "1", "k", "2"), "InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")
	refused(t, tag(topic+"x", "k", "1"), "ResourceNotFound", "Resource does not exist")
	many := []string{}
	for i := range 50 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	refused(t, tag(topic, many...), "TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	add := func(label string, accounts, actions []string) error {
		_, err := w.client.AddPermission(t.Context(), &awssns.AddPermissionInput{TopicArn: &topic, Label: &label, AWSAccountId: accounts, ActionName: actions})
		return err
	}
	if err := errors.Join(add("one", []string{"111111111111"}, []string{"Publish"}),
		add("two", []string{"111111111111", "222222222222"}, []string{"Publish", "Subscribe"})); err != nil {
		t.Fatal(err)
	}
	statements := func() map[string]any {
		var p struct {
			Statement []map[string]any
			ID        string `json:"Id"`
		}
		if err := json.Unmarshal([]byte(w.topicAttributes(topic).Attributes["Policy"]), &p); err != nil || p.ID != "__default_policy_ID" {
			t.Fatal(err, p)
		}
		m := map[string]any{}
		for _, s := range p.Statement {
			m[s["Sid"].(string)] = s
		}
		return m
	}
	got := statements()
	want := map[string]any{"Sid": "one", "Effect": "Allow", "Principal": map[string]any{"AWS": "arn:aws:iam::111111111111:root"}, "Action": "SNS:Publish", "Resource": topic}
	if !reflect.DeepEqual(got["one"], want) {
		t.Errorf("got %v, want %v", got["one"], want)
	}
	want["Sid"], want["Action"] = "two", []any{"SNS:Publish", "SNS:Subscribe"}
	want["Principal"] = map[string]any{"AWS": []any{"arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"}}
	if !reflect.DeepEqual(got["two"], want) || got["__default_statement_ID"] == nil {
		t.Errorf("got %v, want %v", got["two"], want)
	}
	refused(t, add("one", []string{"111111111111"}, []string{"Publish"}), "InvalidParameter", "Invalid parameter: Statement already exists")
	refused(t, add("three", []string{"111111111111"}, []string{"Dance"}), "InvalidParameter", "Invalid parameter: Policy statement action out of service scope!")
	refused(t, add("three", []string{"me"}, []string{"Publish"}), "InvalidParameter", "Invalid parameter: AWSAccountId")
	remove := func(topic, label string) error {
		_, err := w.client.RemovePermission(t.Context(), &awssns.RemovePermissionInput{TopicArn: &topic, Label: &label})
		return err
	}
	if err := errors.Join(remove(topic, "two"), remove(topic, "none")); err != nil {
		t.Fatal(err)
	}
	if got := statements(); len(got) != 2 {
		t.Errorf("left are %v", got)
	}
	refused(t, remove(topic+"x", "one"), "NotFound", "Topic does not exist")
}

func TestOtherAccountsNeedPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	w.subscribe(topic, "sqs", queue("q"))
	other := w.as("111111111111", "")
	publish := func() error {
		_, err := other.Publish(t.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("x")})
		return err
	}
	refused(t, publish(), "AuthorizationError", "User: arn:aws:iam::111111111111:root is not authorized to perform: SNS:Publish on resource: "+topic+
		" because no resource-based policy allows the SNS:Publish action")
	_, err := w.client.AddPermission(t.Context(), &awssns.AddPermissionInput{TopicArn: &topic, Label: aws.String("other"),
		AWSAccountId: []string{"111111111111"}, ActionName: []string{"Publish"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(); err != nil {
		t.Error(err)
	}
	w.expect(1)
	_, err = other.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: &topic})
	if code, _ := code(t, err); code != "AuthorizationError" {
		t.Errorf("DeleteTopic: %v", err)
	}
	if out := must[*awssns.ListTopicsOutput](t)(other.ListTopics(t.Context(), &awssns.ListTopicsInput{})); len(out.Topics) != 0 {
		t.Errorf("another account sees %v", out.Topics)
	}
}

func TestServicesPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic, fifo := w.topic("topic"), w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q"))
	w.subscribe(fifo, "sqs", queue("q.fifo"), "RawMessageDelivery", "true")
	m := env.Message{Body: "text", Subject: "Amazon S3 Notification", TraceHeader: "Root=1", Attributes: map[string]env.Attribute{"a": {DataType: "Binary", Binary: []byte{1}}}}
	if err := w.service.Publish(t.Context(), topic, m); err != nil {
		t.Fatal(err)
	}
	d := w.Delivered()[0].Message
	if d.From != topic || d.Principal != "sns.amazonaws.com" || d.TraceHeader != "Root=1" || member(t, d.Body, "Subject") != m.Subject || member(t, d.Body, "Message") != "text" {
		t.Errorf("delivered %+v", d)
	}
	var e *wire.Error
	if err := w.service.Publish(t.Context(), topic+"x", m); !errors.As(err, &e) || e.Code != "NotFound" {
		t.Errorf("to no topic: %v", err)
	}
	if err := w.service.Publish(t.Context(), fifo, m); !errors.As(err, &e) || e.Code != "InvalidParameter" {
		t.Errorf("without a group: %v", err)
	}
	m.GroupID, m.DeduplicationID = "g", "d"
	if err := w.service.Publish(t.Context(), fifo, m); err != nil {
		t.Fatal(err)
	}
	if d := w.Delivered()[1].Message; d.GroupID != "g" || d.DeduplicationID != "d" || d.Body != "text" || !reflect.DeepEqual(d.Attributes, m.Attributes) {
		t.Errorf("delivered %+v", d)
	}
	if p := w.service.Policy(topic); !strings.Contains(p, topic) || w.service.Policy("x") != "" {
		t.Errorf("the policy is %s", p)
	}
}

func TestUnknownOperationsNameMillrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.client.ListPlatformApplications(t.Context(), &awssns.ListPlatformApplicationsInput{})
	refused(t, err, "InvalidAction", "millrace's local stack does not have the operation ListPlatformApplications of sns.")
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	topic := w.topic("topic")
	e, _ := w.hook(topic)
	e.answers(func(post) int { return 500 })
	w.publish(topic, "lost")
	e.await(2)
	w.service.Reset()
	_, err := w.client.GetTopicAttributes(t.Context(), &awssns.GetTopicAttributesInput{TopicArn: &topic})
	refused(t, err, "NotFound", "Topic does not exist")
	w.topic("topic")
	w.publish(topic, "to nobody")
}
