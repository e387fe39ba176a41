package sns

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

const (
	snapshot       = "localstack-snapshots/test_sns.snapshot.json"
	filterSnapshot = "localstack-snapshots/test_sns_filter_policy.snapshot.json"
)

// replays are the recorded tests that are replayed, each with what does as the recorded test did.
var replays = map[string]func(*world, *fixtures.Replay){
	"TestSNSSubscriptionLambda::test_redrive_policy_lambda_subscription":                           replayLambdaRedrive,
	"TestSNSSubscriptionSQS::test_subscribe_sqs_queue":                                             replaySubscribe,
	"TestSNSSubscriptionSQS::test_attribute_raw_subscribe":                                         replayRaw,
	"TestSNSSubscriptionSQS::test_sqs_topic_subscription_confirmation":                             replaySQSConfirmation,
	"TestSNSSubscriptionSQS::test_publish_sqs_from_sns":                                            replayRawAndNot,
	"TestSNSSubscriptionSQS::test_publish_batch_messages_without_topic":                            replayBatchWithoutTopic,
	"TestSNSSubscriptionSQS::test_publish_sqs_from_sns_with_xray_propagation":                      replayTrace,
	"TestSNSSubscriptionSQS::test_redrive_policy_sqs_queue_subscription[True]":                     replayRedrive(true),
	"TestSNSSubscriptionSQS::test_redrive_policy_sqs_queue_subscription[False]":                    replayRedrive(false),
	"TestSNSSubscriptionSQS::test_message_attributes_not_missing":                                  replayAttributes,
	"TestSNSSubscriptionSQS::test_subscription_after_failure_to_deliver":                           replayFailure,
	"TestSNSSubscriptionSQS::test_empty_or_wrong_message_attributes":                               replayBadAttributes,
	"TestSNSSubscriptionSQS::test_message_attributes_prefixes":                                     replayPrefixes,
	"TestSNSSubscriptionSQS::test_message_structure_json_to_sqs":                                   replayStructure,
	"TestSNSSubscriptionSQSFifo::test_validations_for_fifo":                                        replayFifoValidation,
	"TestSNSSubscriptionSQSFifo::test_publish_fifo_messages_to_dlq[True]":                          replayFifoRedrive(true),
	"TestSNSSubscriptionSQSFifo::test_publish_fifo_messages_to_dlq[False]":                         replayFifoRedrive(false),
	"TestSNSSubscriptionSQSFifo::test_publish_batch_messages_from_fifo_topic_to_fifo_queue[True]":  replayFifoBatch(true),
	"TestSNSSubscriptionSQSFifo::test_publish_batch_messages_from_fifo_topic_to_fifo_queue[False]": replayFifoBatch(false),
	"TestSNSSubscriptionSQSFifo::test_publish_to_fifo_topic_to_sqs_queue_no_content_dedup[False]":  replayFifoContent,
	"TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint[True]":                         replayHTTP(true),
	"TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint[False]":                        replayHTTP(false),
	"TestSNSSubscriptionSQS::test_publish_sqs_verify_signature[1]":                                 replaySignature,
	"TestSNSSubscriptionLambda::test_publish_lambda_verify_signature[1]":                           replayLambdaSignature("1"),
	"TestSNSSubscriptionLambda::test_publish_lambda_verify_signature[2]":                           replayLambdaSignature("2"),
	"TestSNSSubscriptionHttp::test_http_subscription_response":                                     replayHTTPResponse,
	"TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint_content_type[True]":            replayContentType(true),
	"TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint_content_type[False]":           replayContentType(false),
	"TestSNSSubscriptionHttp::test_subscribe_external_http_endpoint_lambda_url_sig_validation":     replayFunctionURL,
	"TestSNSMultiRegions::test_cross_region_delivery_sqs":                                          replayRegions,
	"TestSNSSubscriptionSQS::test_publish_message_group_id":                                        replayGroup,
	"TestSNSPublishDelivery::test_delivery_lambda":                                                 replayDeliveryLogs,
	"TestSNSSubscriptionLambda::test_sns_topic_as_lambda_dead_letter_queue":                        replayLambdaDeadLetter,
}

func TestReplays(t *testing.T) {
	t.Parallel()
	all := fixtures.Snapshot(t, snapshot)
	for full := range all {
		_, name, _ := strings.Cut(full, "::")
		if replays[name] == nil {
			t.Errorf("the recorded test %s is neither replayed nor left out", name)
		}
	}
	for name, replay := range replays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := all.Test(t, name)
			replay(newWorld(t), fixtures.NewReplay(t, rec, certificates(t, rec)...))
		})
	}
}

// certificates leaves out where certificates are, if a recording has any.
func certificates(t *testing.T, rec fixtures.Recording) (opts []fixtures.Option) {
	doc, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SigningCertURL", "SigningCertUrl"} {
		if strings.Contains(string(doc), `"`+name+`"`) {
			opts = append(opts, fixtures.Ignore("**."+name, "the stack's certificate is below /_millrace/sns/, where it is in nobody's way"))
		}
	}
	return opts
}

func replaySubscribe(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"), "FilterPolicy", `{"attr1": [{"numeric": [">", 0, "<=", 100]}]}`)
	r.Match("subscription-attributes", w.attributes(sub))
	w.publish(topic, "This is a test message", with(attributes{"attr1": number("99.12")}))
	r.Match("messages", received(w.Delivered()))
}

type attributes = map[string]types.MessageAttributeValue

func replayRaw(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"), "RawMessageDelivery", "true")
	r.Match("subscription-attributes", w.attributes(sub))
	w.publish(topic, "This is a test message", with(attributes{"store": binary(2, 3, 4)}))
	r.Match("messages-response", received(w.Delivered()))
}

func replaySQSConfirmation(w *world, r *fixtures.Replay) {
	r.Match("subscription-attrs", w.attributes(w.subscribe(w.topic("topic-1"), "sqs", queue("queue-1"))).Attributes)
}

func replayRawAndNot(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"))
	if err := w.set(sub, "RawMessageDelivery", "true"); err != nil {
		w.Fatal(err)
	}
	r.Match("sub-attrs-raw-true", w.attributes(sub))
	w.publish(topic, "Test msg", with(attributes{"attr1": number("99.12")}))
	raw := received(w.Delivered())
	raw["Messages"].([]any)[0].(map[string]any)["MD5OfMessageAttributes"] = "d302007e9aa062660afc85fd0a482472" // SQS's part
	r.Match("message-raw-true", raw)
	if err := w.set(sub, "RawMessageDelivery", "false"); err != nil {
		w.Fatal(err)
	}
	r.Match("sub-attrs-raw-false", w.attributes(sub))
	w.publish(topic, "Test msg", with(attributes{"attr1": number("100.12")}))
	got := received(w.Delivered()[1:])
	got["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("message-raw-false", got)
}

func replayBatchWithoutTopic(w *world, r *fixtures.Replay) {
	_, err := w.client.PublishBatch(w.Context(), &awssns.PublishBatchInput{
		TopicArn:                   aws.String("arn:aws:sns:us-east-1:000000000000:fake-topic"),
		PublishBatchRequestEntries: []types.PublishBatchRequestEntry{{Id: aws.String("1"), Message: aws.String("Test Message")}},
	})
	r.Match("publish-batch-no-topic", err)
}

func replayTrace(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.subscribe(topic, "sqs", queue("queue-1"))
	_, err := w.client.Publish(w.Context(), &awssns.PublishInput{TargetArn: &topic, Message: aws.String("X-Ray propagation test msg")},
		func(o *awssns.Options) {
			o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
				return s.Build.Add(middleware.BuildMiddlewareFunc("trace", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
					in.Request.(*smithyhttp.Request).Header.Set("X-Amzn-Trace-Id", "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1")
					return next.HandleBuild(ctx, in)
				}), middleware.After)
			})
		})
	if err != nil {
		w.Fatal(err)
	}
	r.Match("xray-msg", received(w.Delivered(), "AWSTraceHeader", "SentTimestamp")["Messages"].([]any)[0])
}

// gone refuses deliveries to a queue that does not exist.
func gone(queues ...string) func(string, env.Message) error {
	return func(target string, _ env.Message) error {
		for _, q := range queues {
			if target == q {
				return wire.Errorf("QueueDoesNotExist", "The specified queue does not exist.")
			}
		}
		return nil
	}
}

func redriveTo(q string) string { return fmt.Sprintf(`{"deadLetterTargetArn":%q}`, q) }

func replayRedrive(raw bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1")
		w.subscribe(topic, "sqs", queue("queue-1"), "RawMessageDelivery", fmt.Sprint(raw), "RedrivePolicy", redriveTo(queue("dlq")))
		w.Refuse(gone(queue("queue-1")))
		w.publish(topic, "test_dlq_after_sqs_endpoint_deleted", with(attributes{"attr1": number("111"), "attr2": binary(2, 3, 4)}))
		got := w.Delivered()
		if got[0].Target != queue("dlq") {
			w.Fatalf("delivered to %s", got[0].Target)
		}
		r.Match("messages", received(got, standardAttributes...))
	}
}

func replayAttributes(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"), "RawMessageDelivery", "true")
	attrs := with(attributes{"an-attribute-key": str("an-attribute-value"), "binary-attribute": binary(2, 3, 4)})
	r.Match("publish-msg-raw", w.publish(topic, "text", attrs))
	r.Match("raw-delivery-msg-attrs", received(w.Delivered(), standardAttributes...))
	if err := w.set(sub, "RawMessageDelivery", "false"); err != nil {
		w.Fatal(err)
	}
	r.Match("publish-msg-json", w.publish(topic, "text", attrs))
	got := received(w.Delivered()[1:], standardAttributes...)
	got["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("json-delivery-msg-attrs", got)
}

func replayFailure(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	sub := w.subscribe(topic, "sqs", queue("queue-1"))
	r.Match("subscriptions-attrs", w.attributes(sub))
	w.publish(topic, "test_dlq_before_sqs_endpoint_deleted")
	r.Match("messages-before-delete", received(w.Delivered()))
	w.Refuse(gone(queue("queue-1")))
	w.publish(topic, "lost")
	r.Match("subscriptions", must[*awssns.ListSubscriptionsByTopicOutput](w)(w.client.ListSubscriptionsByTopic(w.Context(),
		&awssns.ListSubscriptionsByTopicInput{TopicArn: &topic})))
	if err := w.set(sub, "RedrivePolicy", redriveTo(queue("dlq"))); err != nil {
		w.Fatal(err)
	}
	r.Match("subscriptions-attrs-with-redrive", w.attributes(sub))
	for i := range 2 {
		w.publish(topic, fmt.Sprint("test_dlq_after_sqs_endpoint_deleted_", i))
		got := received(w.Delivered()[i+1:])
		got["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = fmt.Sprint("dlq", i)
		r.Match(fmt.Sprintf("message-%d-after-delete", i), got)
	}
}

func replayBadAttributes(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	for step, attrs := range map[string]attributes{
		"missing_string_attr":       {"attr1": str("")},
		"fully_missing_string_attr": {"attr1": {DataType: aws.String("String")}},
		"missing_binary_attr":       {"attr1": {DataType: aws.String("Binary"), BinaryValue: []byte{}}},
		"str_attr_binary_value":     {"attr1": {DataType: aws.String("String"), BinaryValue: []byte("123")}},
		"int_attr_binary_value":     {"attr1": {DataType: aws.String("Number"), BinaryValue: []byte("123")}},
		"binary_attr_string_value":  {"attr1": {DataType: aws.String("Binary"), StringValue: aws.String("123")}},
		"invalid_attr_string_value": {"attr1": {DataType: aws.String("InvalidType"), StringValue: aws.String("123")}},
		"too_long_name":             {strings.Repeat("a", 257): str("123")},
		"invalid_name":              {"a^*?": str("123")},
		"invalid_name_2":            {".abc": str("123")},
		"invalid_name_3":            {"abc.": str("123")},
		"invalid_name_4":            {"a..bc": str("123")},
	} {
		_, err := w.client.Publish(w.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("test message"), MessageAttributes: attrs})
		r.Match(step, err)
		_, err = w.client.PublishBatch(w.Context(), &awssns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
			{Id: aws.String("1"), Message: aws.String("test-batch"), MessageAttributes: attrs}, {Id: aws.String("3"), Message: aws.String("valid-batch")},
		}})
		r.Match("batch-"+step, err)
	}
	// The SDK does not let these out.
	r.Match("fully_missing_data_type", raw(w, "Action=Publish&TopicArn="+topic+"&Message=m&MessageAttributes.entry.1.Name=attr1&MessageAttributes.entry.1.Value.StringValue=value"))
	r.Match("batch-fully_missing_data_type", raw(w, "Action=PublishBatch&TopicArn="+topic+"&PublishBatchRequestEntries.member.1.Id=1"+
		"&PublishBatchRequestEntries.member.1.Message=m&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=attr1"+
		"&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.StringValue=value&PublishBatchRequestEntries.member.2.Id=3&PublishBatchRequestEntries.member.2.Message=v"))
	if n := len(w.Delivered()); n != 0 {
		w.Errorf("%d messages delivered", n)
	}
}

// raw sends a form and shows the error that comes back as boto3 does.
func raw(w *world, form string) any {
	w.Helper()
	status, body := get(w, w.url+"/?Version=2010-03-31&"+form)
	var e struct {
		Error struct{ Type, Code, Message string }
	}
	if err := xml.Unmarshal([]byte(body), &e); err != nil {
		w.Fatalf("%v in %s", err, body)
	}
	return map[string]any{
		"Error":            map[string]any{"Type": e.Error.Type, "Code": e.Error.Code, "Message": e.Error.Message},
		"ResponseMetadata": map[string]any{"HTTPStatusCode": status, "HTTPHeaders": map[string]any{}},
	}
}

func replayPrefixes(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.subscribe(topic, "sqs", queue("queue-1"))
	for step, dataType := range map[string]string{
		"publish-error": "String.", "publish-error-2": "Stringprefixed", "publish-ok-1": "String.prefixed", "publish-ok-2": "String.  prefixed.",
	} {
		out, err := w.client.Publish(w.Context(), &awssns.PublishInput{TopicArn: &topic, Message: aws.String("test message"),
			MessageAttributes: attributes{"attr1": {DataType: &dataType, StringValue: aws.String("prefixed-1")}}})
		if err != nil {
			r.Match(step, err)
		} else {
			r.Match(step, out)
		}
	}
}

func replayStructure(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.subscribe(topic, "sqs", queue("queue-1"))
	inJSON := func(in *awssns.PublishInput) { in.MessageStructure = aws.String("json") }
	w.publish(topic, `{"default":"default field","sqs":"{\"field\": \"value\"}"}`, inJSON)
	r.Match("get-msg-json-sqs", received(w.Delivered()))
	w.publish(topic, `{"default":"default field"}`, inJSON)
	got := received(w.Delivered()[1:])
	got["Messages"].([]any)[0].(map[string]any)["ReceiptHandle"] = "another"
	r.Match("get-msg-json-default", got)
}

func replayFifoValidation(w *world, r *fixtures.Replay) {
	standard, fifo := w.topic("topic-1"), w.topic("topic-2.fifo")
	_, err := w.client.Subscribe(w.Context(), &awssns.SubscribeInput{TopicArn: &standard, Protocol: aws.String("sqs"), Endpoint: aws.String(queue("queue.fifo"))})
	r.Match("not-fifo-topic", err)
	sub := w.subscribe(fifo, "sqs", queue("queue-1"))
	r.Match("not-fifo-queue", w.attributes(sub).Attributes)
	if err := w.set(sub, "RedrivePolicy", redriveTo(queue("dlq"))); err != nil {
		w.Error(err)
	}
	r.Match("regular-queue-for-dlq-of-fifo-topic", w.set(w.subscribe(fifo, "sqs", queue("queue.fifo")), "RedrivePolicy", redriveTo(queue("queue-1"))))
	_, err = w.client.Publish(w.Context(), &awssns.PublishInput{TopicArn: &fifo, Message: aws.String("test")})
	r.Match("no-msg-group-id", err)
	_, err = w.client.Publish(w.Context(), &awssns.PublishInput{TopicArn: &fifo, Message: aws.String("test"), MessageGroupId: aws.String("g")})
	r.Match("no-dedup-policy", err)
	_, err = w.client.Publish(w.Context(), &awssns.PublishInput{TopicArn: &standard, Message: aws.String("test"), MessageDeduplicationId: aws.String("d")})
	r.Match("no-msg-dedup-regular-topic", err)
}

// three is the batch of the recorded tests.
func three(topic string, ids ...string) *awssns.PublishBatchInput {
	in := &awssns.PublishBatchInput{TopicArn: &topic}
	for i, e := range []struct {
		text  string
		attrs attributes
	}{
		{"Test Message with two attributes", attributes{"attr1": number("99.12"), "attr2": number("109.12")}},
		{"Test Message with one attribute", attributes{"attr1": number("19.12")}},
		{"Test Message without attribute", nil},
	} {
		entry := types.PublishBatchRequestEntry{
			Id: aws.String(fmt.Sprint(i + 1)), Message: aws.String(e.text), Subject: aws.String("Subject"), MessageAttributes: e.attrs,
			MessageGroupId: aws.String("complexMessageGroupId"),
		}
		if ids != nil {
			entry.MessageDeduplicationId = aws.String(ids[i])
		}
		in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, entry)
	}
	return in
}

func without(m map[string]any, name string) map[string]any {
	delete(m, name)
	return m
}

func replayFifoRedrive(raw bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1.fifo")
		r.Match("topic-attrs", w.topicAttributes(topic))
		w.subscribe(topic, "sqs", queue("queue.fifo"), "RawMessageDelivery", fmt.Sprint(raw), "RedrivePolicy", redriveTo(queue("dlq.fifo")))
		w.Refuse(gone(queue("queue.fifo")))
		out := must[*awssns.PublishBatchOutput](w)(w.client.PublishBatch(w.Context(),
			three(topic, "MessageDeduplicationId-1", "MessageDeduplicationId-2", "MessageDeduplicationId-3")))
		r.Match("publish-batch-response-fifo", batchForm(out))
		r.Match("batch-messages-in-dlq", without(received(w.Delivered(), fifoAttributes...), "ResponseMetadata"))
		r.Match("publish-response-fifo", w.publish(topic, "test-message", func(in *awssns.PublishInput) {
			in.MessageGroupId, in.MessageDeduplicationId = aws.String("message-group-id-1"), aws.String("message-deduplication-id-1")
		}))
		last := received(w.Delivered(), fifoAttributes...)["Messages"].([]any)[3:]
		r.Match("messages-in-dlq", map[string]any{"Messages": last})
	}
}

// batchForm shows an empty list as boto3 does; the Go SDK has none.
func batchForm(out *awssns.PublishBatchOutput) any {
	list := []any{}
	for _, e := range out.Successful {
		m := map[string]any{"Id": *e.Id, "MessageId": *e.MessageId}
		if e.SequenceNumber != nil {
			m["SequenceNumber"] = *e.SequenceNumber
		}
		list = append(list, m)
	}
	failed := []any{}
	for _, e := range out.Failed {
		failed = append(failed, e)
	}
	return map[string]any{"Successful": list, "Failed": failed, "ResponseMetadata": status200()}
}

func replayFifoBatch(content bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		var ids []string
		if !content {
			ids = []string{"MessageDeduplicationId-0", "MessageDeduplicationId-1", "MessageDeduplicationId-2"}
		}
		topic := w.topic("topic-1.fifo", "ContentBasedDeduplication", fmt.Sprint(content))
		r.Match("topic-attrs", w.topicAttributes(topic))
		sub := w.subscribe(topic, "sqs", queue("queue.fifo"), "RawMessageDelivery", "true")
		r.Match("sub-attrs-raw-true", w.attributes(sub))
		r.Match("publish-batch-response-fifo", batchForm(must[*awssns.PublishBatchOutput](w)(w.client.PublishBatch(w.Context(), three(topic, ids...)))))
		got := without(received(w.Delivered(), fifoAttributes...), "ResponseMetadata")
		for i, m := range got["Messages"].([]any) { // the digests are SQS's part
			m := m.(map[string]any)
			delete(m, "MD5OfMessageAttributes")
			if i < 2 {
				m["MD5OfMessageAttributes"] = []string{"9b720b3af309c1c4b0d395c53b08c502", "1f07082409022a373fa2a2601f82b3cb"}[i]
			}
		}
		r.Match("messages", got)
		r.Match("republish-batch-response-fifo", batchForm(must[*awssns.PublishBatchOutput](w)(w.client.PublishBatch(w.Context(), three(topic, ids...)))))
		r.Match("duplicate-messages", received(w.Delivered()[3:]))
	}
}

func replayFifoContent(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1.fifo", "ContentBasedDeduplication", "true")
	w.subscribe(topic, "sqs", queue("queue.fifo"))
	group := aws.String("message-group-id-1")
	w.publish(topic, "Test single", func(in *awssns.PublishInput) { in.MessageGroupId = group })
	_, err := w.client.PublishBatch(w.Context(), &awssns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("1"), Message: aws.String("Test batched"), MessageGroupId: group},
	}})
	if err != nil {
		w.Fatal(err)
	}
	r.Match("messages", without(received(w.Delivered(), fifoAttributes...), "ResponseMetadata"))
}

func replaySignature(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1", "SignatureVersion", "1")
	w.subscribe(topic, "sqs", queue("queue-1"))
	w.publish(topic, "test signature value with attributes", with(attributes{"attr1": number("1")}))
	r.Match("messages", received(w.Delivered(), standardAttributes...))
}

func replayLambdaSignature(version string) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1", "SignatureVersion", version)
		w.subscribe(topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f")
		w.publish(topic, "Hello world.", func(in *awssns.PublishInput) { in.Subject = aws.String("[Subject] Test subject Signature v" + version) })
		var doc struct {
			Records []struct{ Sns json.RawMessage }
		}
		if err := json.Unmarshal([]byte(w.Delivered()[0].Message.Body), &doc); err != nil {
			w.Fatal(err)
		}
		r.Match("notification", doc.Records[0].Sns)
	}
}

func replayLambdaRedrive(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	function := "arn:aws:lambda:us-east-1:000000000000:function:f"
	sub := w.subscribe(topic, "lambda", function, "RedrivePolicy", redriveTo(queue("dlq")))
	r.Match("subscription-attributes", w.attributes(sub))
	w.Refuse(func(target string, _ env.Message) error {
		if target == function {
			return &wire.Error{Code: "ResourceNotFoundException", Status: 404}
		}
		return nil
	})
	w.publish(topic, "test_redrive_policy", with(attributes{"attr1": number("1")}))
	r.Match("messages", received(w.Delivered()))
}

func replayLambdaDeadLetter(w *world, r *fixtures.Replay) {
	r.Skip("lambda-response-dlq-config", "the functions' own configuration")
	// What the function was invoked with comes back as the message of its dead-letter topic.
	topic, deadLetters := w.topic("topic-1"), w.topic("topic-2")
	w.subscribe(topic, "lambda", "arn:aws:lambda:us-east-1:000000000000:function:f")
	w.subscribe(deadLetters, "sqs", queue("queue-1"))
	w.publish(topic, `{"raise_error":1}`)
	err := w.service.Publish(w.Context(), deadLetters, env.Message{Body: w.Delivered()[0].Message.Body, Attributes: map[string]env.Attribute{
		"ErrorCode":    {DataType: "Number", String: "200"},
		"ErrorMessage": {DataType: "String", String: "Test exception (this is intentional)"},
		"RequestID":    {DataType: "String", String: "0b1a2c3d"},
	}})
	if err != nil {
		w.Fatal(err)
	}
	r.Match("messages", received(w.Delivered()[1:]))
}

func replayDeliveryLogs(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	r.Match("get-topic-attrs", w.topicAttributes(topic))
	r.Match("publish-no-logs", w.publish(topic, "no logs"))
	for _, step := range []string{"get-topic-attrs-with-success-feedback", "publish-logs", "delivery-events"} {
		r.Skip(step, "there are no logs of deliveries; the attributes that ask for them are refused")
	}
}

func replayRegions(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	q := "arn:aws:sqs:eu-central-1:000000000000:queue-1"
	_, err := w.as("", "eu-central-1").Subscribe(w.Context(), &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &q})
	r.Match("subscribe-cross-region", err)
	r.Match("subscribe-same-region", must[*awssns.SubscribeOutput](w)(w.client.Subscribe(w.Context(),
		&awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &q})))
	w.publish(topic, "This is a test message", with(attributes{"attr1": number("99.12")}))
	if got := w.Delivered(); got[0].Target != q {
		w.Errorf("delivered to %s", got[0].Target)
	}
	r.Match("messages", received(w.Delivered()))
}

func replayGroup(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	w.subscribe(topic, "sqs", queue("queue-1"))
	w.publish(topic, "test signature value with attributes", with(attributes{"attr1": number("1")}),
		func(in *awssns.PublishInput) { in.MessageGroupId = aws.String("my-group-id-1") })
	r.Match("messages", received(w.Delivered(), standardAttributes...))
}

func replayHTTPResponse(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	r.Match("topic-arn", map[string]string{"TopicArn": topic})
	in := &awssns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("http"), Endpoint: aws.String(newEndpoint(w).URL)}
	r.Match("subscription", must[*awssns.SubscribeOutput](w)(w.client.Subscribe(w.Context(), in)))
	in.ReturnSubscriptionArn = true
	r.Match("subscription-with-arn", must[*awssns.SubscribeOutput](w)(w.client.Subscribe(w.Context(), in)))
}

// headers are a post's as the recordings have them. What net/http does not show is filled in.
func headers(p post) map[string]string {
	m := map[string]string{"Host": p.host, "Connection": "connection", "Content-Length": "content--length"}
	for name, v := range p.header {
		if name != "Content-Length" {
			m[name] = v[0]
		}
	}
	return m
}

// answer is what a link gives, as xmltodict shows it.
func answer(w *world, url string) any {
	w.Helper()
	_, body := get(w, url)
	v := xmlMap(w, body)
	for _, fields := range v {
		fields := fields.(map[string]any)
		if m, ok := fields["ResponseMetadata"]; ok {
			m := m.(map[string]any)
			delete(m, "RequestId")
			m["HTTPHeaders"], m["HTTPStatusCode"] = map[string]any{}, json.Number("200")
		}
	}
	return v
}

type node struct {
	XMLName  xml.Name
	Text     string `xml:",chardata"`
	Children []node `xml:",any"`
}

func xmlMap(w *world, body string) map[string]any {
	w.Helper()
	var n node
	if err := xml.Unmarshal([]byte(body), &n); err != nil {
		w.Fatalf("%v in %s", err, body)
	}
	return map[string]any{n.XMLName.Local: n.value()}
}

func (n node) value() any {
	if len(n.Children) == 0 {
		return n.Text
	}
	m := map[string]any{}
	for _, c := range n.Children {
		m[c.XMLName.Local] = c.value()
	}
	return m
}

func replayHTTP(raw bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1")
		e := newEndpoint(w)
		sub := w.subscribe(topic, "http", e.URL+"/sns-endpoint", "RawMessageDelivery", fmt.Sprint(raw))
		p := e.await(1)[0]
		r.Match("subscription-confirmation", json.RawMessage(p.body))
		r.Match("http-confirm-sub-headers", headers(p))
		token := member(w, p.body, "Token")
		confirm := func(topic, token string) string {
			return w.url + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + token
		}
		if got := member(w, p.body, "SubscribeURL"); got != confirm(topic, token) {
			w.Errorf("SubscribeURL is %s", got)
		}
		r.Match("broken-topic-arn-confirm", answer(w, confirm("not-an-arn", token)))
		r.Match("broken-token-confirm", answer(w, confirm(topic, "abc123")))
		r.Match("different-region-arn-confirm", answer(w, confirm(strings.Replace(topic, "us-east-1", "eu-central-1", 1), token)))
		if a := w.attributes(sub).Attributes["PendingConfirmation"]; a != "true" {
			w.Errorf("PendingConfirmation is %s", a)
		}
		r.Match("nonexistent-token-confirm", answer(w, confirm(topic+"x", token)))
		r.Match("confirm-subscribe", answer(w, confirm(topic, token)))
		w.publish(topic, "test_external_http_endpoint")
		p = e.await(2)[1]
		unsubscribe := w.url + "/?Action=Unsubscribe&SubscriptionArn=" + sub
		if raw {
			if p.body != "test_external_http_endpoint" {
				w.Errorf("the body is %s", p.body)
			}
			r.Match("http-message-headers-raw", headers(p))
		} else {
			if got := member(w, p.body, "UnsubscribeURL"); got != unsubscribe {
				w.Errorf("UnsubscribeURL is %s", got)
			}
			r.Match("http-message", json.RawMessage(p.body))
			r.Match("http-message-headers", headers(p))
		}
		r.Match("unsubscribe-response", answer(w, unsubscribe))
		r.Match("unsubscribe-request", json.RawMessage(e.await(3)[2].body))
	}
}

func replayContentType(raw bool) func(*world, *fixtures.Replay) {
	return func(w *world, r *fixtures.Replay) {
		topic := w.topic("topic-1")
		e := newEndpoint(w)
		sub := w.subscribe(topic, "http", e.URL+"/sns-endpoint", "RawMessageDelivery", fmt.Sprint(raw))
		if raw {
			if err := w.set(sub, "DeliveryPolicy", `{"requestPolicy":{"headerContentType":"text/csv"}}`); err != nil {
				w.Fatal(err)
			}
		} else {
			if err := w.set(sub, "DeliveryPolicy", `{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":1,"numRetries":0,"numNoDelayRetries":0,
				"numMinDelayRetries":0,"numMaxDelayRetries":0,"backoffFunction":"linear"},"sicklyRetryPolicy":null,
				"throttlePolicy":{"maxReceivesPerSecond":1000},"guaranteed":false}`); err != nil {
				w.Fatal(err)
			}
			_, err := w.client.SetTopicAttributes(w.Context(), &awssns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("DeliveryPolicy"),
				AttributeValue: aws.String(`{"http":{"defaultRequestPolicy":{"headerContentType":"application/json"}}}`)})
			if err != nil {
				w.Fatal(err)
			}
		}
		attrs := w.topicAttributes(topic)
		attrs.Attributes["SubscriptionsPending"] = "0" // AWS counts late
		r.Match("topic-attrs", attrs)
		r.Match("sub-attrs", w.attributes(sub))
		p := e.await(1)[0]
		r.Match("subscription-confirmation", json.RawMessage(p.body))
		r.Match("http-confirm-sub-headers", headers(p))
		get(w, member(w, p.body, "SubscribeURL"))
		w.publish(topic, "test_external_http_endpoint")
		p = e.await(2)[1]
		if raw {
			r.Match("http-message-headers-raw", headers(p))
		} else {
			r.Match("http-message", json.RawMessage(p.body))
			r.Match("http-message-headers", headers(p))
		}
	}
}

func replayFunctionURL(w *world, r *fixtures.Replay) {
	topic := w.topic("topic-1")
	e := newEndpoint(w)
	sub := w.subscribe(topic, "http", e.URL+"/sns-endpoint")
	event := func(p post) any {
		h := map[string]string{}
		for name, v := range p.header {
			if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-sns") || name == "content-type" || name == "accept-encoding" || name == "user-agent" {
				h[name] = v[0]
			}
		}
		return map[string]any{"events": []any{map[string]any{"headers": h, "body": json.RawMessage(p.body)}}}
	}
	p := e.await(1)[0]
	r.Match("subscription-confirmation", event(p))
	r.Match("confirm-subscription", must[*awssns.ConfirmSubscriptionOutput](w)(w.client.ConfirmSubscription(w.Context(),
		&awssns.ConfirmSubscriptionInput{TopicArn: &topic, Token: aws.String(member(w, p.body, "Token"))})))
	w.publish(topic, "test_external_http_endpoint")
	r.Match("publish-event", event(e.await(2)[1]))
	if status, body := get(w, w.url+"/?Action=Unsubscribe&SubscriptionArn="+sub); status != http.StatusOK {
		w.Errorf("%d %s", status, body)
	}
	r.Match("unsubscribe-event", event(e.await(3)[2]))
}
