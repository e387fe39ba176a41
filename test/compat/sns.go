package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const (
	snsAPI   = "https://docs.aws.amazon.com/sns/latest/api/API_"
	snsGuide = "https://docs.aws.amazon.com/sns/latest/dg/"
)

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (t *T) topic(what string, a attrs) string {
	return text(ok(t.SNS.CreateTopic(t.ctx, &sns.CreateTopicInput{Name: ptr(t.name(what)), Attributes: a})).TopicArn)
}

// admit lets anything deliver to a queue.
func (t *T) admit(queue string) {
	ok(t.SQS.SetQueueAttributes(t.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: attrs{
		"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"` + t.queueARN(queue) + `"}]}`,
	}}))
}

// subscribe subscribes a queue to a topic and returns the subscription's ARN.
func (t *T) subscribe(topic, queue string, a attrs) string {
	t.admit(queue)
	return text(ok(t.SNS.Subscribe(t.ctx, &sns.SubscribeInput{
		TopicArn: &topic, Protocol: ptr("sqs"), Endpoint: ptr(t.queueARN(queue)), Attributes: a, ReturnSubscriptionArn: true,
	})).SubscriptionArn)
}

func (t *T) publish(topic, message string, a map[string]types.MessageAttributeValue) string {
	return text(ok(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: &message, MessageAttributes: a})).MessageId)
}

func snsAttribute(kind, v string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: &kind, StringValue: &v}
}

// endpoint is an HTTP server of the case that keeps what is posted to it.
type endpoint struct {
	URL   string
	posts chan post
}

type post struct {
	header http.Header
	body   string
}

func (t *T) listen() *endpoint {
	var lc net.ListenConfig
	l := ok(lc.Listen(t.ctx, "tcp", "127.0.0.1:0"))
	e := &endpoint{URL: "http://" + l.Addr().String() + "/hook", posts: make(chan post, 100)}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			e.posts <- post{r.Header, string(body)}
		}
	})}
	var done sync.WaitGroup
	done.Go(func() { server.Serve(l) })
	t.after(func() { server.Close(); done.Wait() })
	return e
}

// next is the next request that is posted, which must come soon.
func (t *T) next(e *endpoint, what string) post {
	select {
	case p := <-e.posts:
		return p
	case <-time.After(5 * time.Second):
	case <-t.ctx.Done():
	}
	t.wrong("%s is not posted", what)
	panic("unreachable")
}

// listenConfirmed subscribes an endpoint and confirms it.
func (t *T) listenConfirmed(topic string, a attrs) *endpoint {
	e := t.listen()
	ok(t.SNS.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: ptr("http"), Endpoint: &e.URL, Attributes: a}))
	d := t.document("the confirmation", t.next(e, "a confirmation").body)
	token, _ := d["Token"].(string)
	ok(t.SNS.ConfirmSubscription(t.ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token}))
	return e
}

func snsCases() []Case {
	return []Case{
		{
			ID: "sns-envelope", URL: snsGuide + "sns-message-and-json-formats.html",
			Says: "MessageId – A Universally Unique Identifier, unique for each message published.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, nil)
				id := text(ok(t.SNS.Publish(t.ctx, &sns.PublishInput{
					TopicArn: &topic, Message: ptr("héllo"), Subject: ptr("s"), MessageAttributes: map[string]types.MessageAttributeValue{"n": snsAttribute("Number", "1")},
				})).MessageId)
				m := t.receiveOne(q)
				t.want("the queue's message attributes", len(m.MessageAttributes), 0)
				d := t.document("the body", text(m.Body))
				for name, want := range map[string]string{"Type": "Notification", "MessageId": id, "TopicArn": topic, "Subject": "s", "Message": "héllo", "SignatureVersion": "1"} {
					t.want(name, d[name], want)
				}
				for _, name := range []string{"Timestamp", "Signature", "SigningCertURL", "UnsubscribeURL"} {
					t.that(d[name] != nil, "there is no %s", name)
				}
				t.want("MessageAttributes", d["MessageAttributes"], map[string]any{"n": map[string]any{"Type": "Number", "Value": "1"}})
				at, err := time.Parse("2006-01-02T15:04:05.000Z", d["Timestamp"].(string))
				t.that(err == nil && time.Since(at).Abs() < time.Minute, "Timestamp is %v", d["Timestamp"])
			},
		},
		{
			ID: "sns-envelope-plain", URL: snsGuide + "sns-message-and-json-formats.html",
			Says: "Subject – The Subject parameter specified when the notification was published to the topic.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, nil)
				t.publish(topic, "x", nil)
				d := t.document("the body", text(t.receiveOne(q).Body))
				for _, name := range []string{"Subject", "MessageAttributes"} {
					_, there := d[name]
					t.that(!there, "%s is there although none was published", name)
				}
			},
		},
		{
			ID: "sns-raw", URL: snsGuide + "sns-large-payload-raw-message-delivery.html",
			Says: "When you enable raw message delivery for Amazon Kinesis Data Firehose or Amazon SQS endpoints, any Amazon SNS metadata is stripped from the published message and the message is sent as is.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				t.publish(topic, "as is", map[string]types.MessageAttributeValue{
					"s": snsAttribute("String", "v"), "b": {DataType: ptr("Binary"), BinaryValue: []byte{1, 2}},
				})
				m := t.receiveOne(q)
				t.want("the body", m.Body, "as is")
				t.want("the attribute s", m.MessageAttributes["s"].StringValue, "v")
				t.want("the attribute b", m.MessageAttributes["b"].BinaryValue, []byte{1, 2})
			},
		},
		{
			ID: "sns-raw-eleven", URL: snsGuide + "sns-message-attributes.html",
			Says: "To send more than 10 message attributes, Raw Message Delivery must be disabled.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				many := map[string]types.MessageAttributeValue{}
				for _, r := range "abcdefghijk" {
					many[string(r)] = snsAttribute("String", "v")
				}
				t.publish(topic, "eleven", many)
				t.publish(topic, "none", nil)
				t.want("what is delivered", bodies(t.receiveAll(q, 1)), []string{"none"})
			},
		},
		{
			ID: "sns-filter-attributes", URL: snsAPI + "GetSubscriptionAttributes.html",
			Says: "MessageAttributes (default) – The filter is applied on the message attributes.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true", "FilterPolicy": `{"store":["a",{"prefix":"b-"}],"price":[{"numeric":[">=",10,"<",20]}]}`})
				for body, a := range map[string][2]string{"1": {"a", "10"}, "2": {"b-x", "19.99"}, "3": {"b", "10"}, "4": {"a", "20"}} {
					t.publish(topic, body, map[string]types.MessageAttributeValue{"store": snsAttribute("String", a[0]), "price": snsAttribute("Number", a[1])})
				}
				t.publish(topic, "5", nil)
				t.want("what is delivered", sorted(bodies(t.receiveAll(q, 2))), []string{"1", "2"})
			},
		},
		{
			ID: "sns-filter-array", URL: snsGuide + "string-value-matching.html",
			Says: "Exact matching occurs when a policy property value matches one or more message attribute values.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true", "FilterPolicy": `{"sport":["rugby",{"anything-but":["chess","golf"]}]}`})
				for body, list := range map[string]string{"1": `["rugby","chess"]`, "2": `["chess","golf"]`, "3": `["chess","tennis"]`, "4": `[]`} {
					t.publish(topic, body, map[string]types.MessageAttributeValue{"sport": snsAttribute("String.Array", list)})
				}
				t.want("what is delivered", sorted(bodies(t.receiveAll(q, 2))), []string{"1", "3"})
			},
		},
		{
			ID: "sns-filter-exists", URL: snsGuide + "attribute-key-matching.html",
			Says: "Use \"exists\": false to match incoming messages that don't include the specified property.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true", "FilterPolicy": `{"gone":[{"exists":false}],"here":[{"exists":true}]}`})
				here, gone := snsAttribute("String", "x"), snsAttribute("String", "x")
				t.publish(topic, "1", map[string]types.MessageAttributeValue{"here": here})
				t.publish(topic, "2", map[string]types.MessageAttributeValue{"here": here, "gone": gone})
				t.publish(topic, "3", nil)
				t.want("what is delivered", bodies(t.receiveAll(q, 1)), []string{"1"})
			},
		},
		{
			ID: "sns-filter-body", URL: snsAPI + "GetSubscriptionAttributes.html",
			Says: "MessageBody – The filter is applied on the message body.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody", "FilterPolicy": `{"order":{"items":{"sku":[{"suffix":"-x"}]}},"n":[1,null]}`})
				for _, m := range []string{
					`{"order":{"items":[{"sku":"a"},{"sku":"b-x"}]},"n":1}`,
					`{"order":{"items":{"sku":"c-x"}},"n":null}`,
					`{"order":{"items":[{"sku":"a"}]},"n":1}`, `{"order":{"items":[{"sku":"b-x"}]},"n":"1"}`, `no JSON`, `[]`,
				} {
					t.publish(topic, m, nil)
				}
				t.want("what is delivered", sorted(bodies(t.receiveAll(q, 2))), []string{`{"order":{"items":[{"sku":"a"},{"sku":"b-x"}]},"n":1}`, `{"order":{"items":{"sku":"c-x"}},"n":null}`})
			},
		},
		{
			ID: "sns-filter-refused", URL: snsAPI + "SetSubscriptionAttributes.html",
			Says: "Indicates that a request parameter does not comply with the associated constraints.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				sub := t.subscribe(topic, q, nil)
				for _, policy := range []string{`{"a":"x"}`, `{"a":[{"prefx":"x"}]}`, `{"a":[{"numeric":["<","x"]}]}`, `{"a":{"b":["x"]}}`, `{`} {
					t.refused("the filter policy "+policy, errOf(t.SNS.SetSubscriptionAttributes(t.ctx, &sns.SetSubscriptionAttributesInput{
						SubscriptionArn: &sub, AttributeName: ptr("FilterPolicy"), AttributeValue: &policy,
					})), "InvalidParameter", "Invalid parameter")
				}
			},
		},
		{
			ID: "sns-batch", URL: snsAPI + "PublishBatch.html",
			Says: "Publishes up to 10 messages to the specified topic.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				var e []types.PublishBatchRequestEntry
				for _, r := range "0123456789" {
					e = append(e, types.PublishBatchRequestEntry{Id: ptr("m" + string(r)), Message: ptr(string(r))})
				}
				out := ok(t.SNS.PublishBatch(t.ctx, &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: e}))
				t.that(len(out.Successful) == 10 && len(out.Failed) == 0, "%d succeed and %d fail", len(out.Successful), len(out.Failed))
				t.want("what is delivered", strings.Join(sorted(bodies(t.receiveAll(q, 10))), ""), "0123456789")
				t.refused("eleven", errOf(t.SNS.PublishBatch(t.ctx, &sns.PublishBatchInput{
					TopicArn: &topic, PublishBatchRequestEntries: append(e, types.PublishBatchRequestEntry{Id: ptr("m"), Message: ptr("x")}),
				})), "TooManyEntriesInBatchRequest")
				t.refused("an id twice", errOf(t.SNS.PublishBatch(t.ctx, &sns.PublishBatchInput{
					TopicArn: &topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{e[0], e[0]},
				})), "BatchEntryIdsNotDistinct")
				t.refused("none", errOf(t.SNS.PublishBatch(t.ctx, &sns.PublishBatchInput{
					TopicArn: &topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{},
				})), "EmptyBatchRequest")
			},
		},
		{
			ID: "sns-http-confirmation", URL: snsAPI + "Subscribe.html",
			Says: "If the endpoint type is HTTP/S or email, or if the endpoint and the topic are not in the same Amazon Web Services account, the endpoint owner must run the ConfirmSubscription action to confirm the subscription.",
			Run: func(t *T) {
				topic, e := t.topic("t", nil), t.listen()
				sub := text(ok(t.SNS.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: ptr("http"), Endpoint: &e.URL, ReturnSubscriptionArn: true})).SubscriptionArn)
				p := t.next(e, "a SubscriptionConfirmation")
				t.want("x-amz-sns-message-type", p.header.Get("x-amz-sns-message-type"), "SubscriptionConfirmation")
				t.want("x-amz-sns-topic-arn", p.header.Get("x-amz-sns-topic-arn"), topic)
				t.want("Content-Type", p.header.Get("Content-Type"), "text/plain; charset=UTF-8")
				d := t.document("the confirmation", p.body)
				t.want("Type", d["Type"], "SubscriptionConfirmation")
				token, _ := d["Token"].(string)
				url, _ := d["SubscribeURL"].(string)
				t.that(token != "" && strings.Contains(url, token), "SubscribeURL does not have the token")

				a := ok(t.SNS.GetSubscriptionAttributes(t.ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})).Attributes
				t.want("PendingConfirmation", a["PendingConfirmation"], "true")
				t.publish(topic, "early", nil)
				t.want("the confirmed ARN", ok(t.SNS.ConfirmSubscription(t.ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token})).SubscriptionArn, sub)
				id := t.publish(topic, "x", nil)
				n := t.next(e, "the notification")
				t.want("x-amz-sns-message-type", n.header.Get("x-amz-sns-message-type"), "Notification")
				t.want("x-amz-sns-subscription-arn", n.header.Get("x-amz-sns-subscription-arn"), sub)
				t.want("MessageId", t.document("the notification", n.body)["MessageId"], id)
			},
		},
		{
			ID: "sns-http-subscribe-url", URL: snsGuide + "SendMessageToHttp.prepare.html",
			Says: "To confirm the subscription and start receiving notifications at the endpoint, you must visit the SubscribeURL",
			Run: func(t *T) {
				topic, e := t.topic("t", nil), t.listen()
				ok(t.SNS.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: ptr("http"), Endpoint: &e.URL}))
				url, _ := t.document("the confirmation", t.next(e, "a SubscriptionConfirmation").body)["SubscribeURL"].(string)
				t.that(strings.HasPrefix(url, t.Endpoint), "SubscribeURL does not lead back to the server")
				r := ok(http.DefaultClient.Do(ok(http.NewRequestWithContext(t.ctx, http.MethodGet, url, nil))))
				r.Body.Close()
				t.want("the status of SubscribeURL", r.StatusCode, 200)
				t.publish(topic, "x", nil)
				t.want("Message", t.document("the notification", t.next(e, "the notification").body)["Message"], "x")
			},
		},
		{
			ID: "sns-http-raw", URL: snsGuide + "sns-large-payload-raw-message-delivery.html",
			Says: "When you enable raw message delivery for HTTP/S endpoints, the HTTP header x-amz-sns-rawdelivery with its value set to true is added to the message, indicating that the message has been published without JSON formatting.",
			Run: func(t *T) {
				topic := t.topic("t", nil)
				e := t.listenConfirmed(topic, attrs{"RawMessageDelivery": "true"})
				t.publish(topic, "as is", nil)
				p := t.next(e, "the notification")
				t.want("the body", p.body, "as is")
				t.want("x-amz-sns-rawdelivery", p.header.Get("x-amz-sns-rawdelivery"), "true")
			},
		},
		{
			ID: "sns-http-signature", URL: snsGuide + "sns-verify-signature-of-message.html",
			Says: "Amazon SNS creates the signature based on the SHA256 hash of the message.",
			Run: func(t *T) {
				topic := t.topic("t", attrs{"SignatureVersion": "2"})
				e := t.listenConfirmed(topic, nil)
				t.publish(topic, "x", nil)
				d := t.document("the notification", t.next(e, "the notification").body)
				t.want("SignatureVersion", d["SignatureVersion"], "2")
				if problem := verifySignature(t.ctx, d); problem != "" {
					t.wrong("the signature does not hold: %s", problem)
				}
			},
		},
		{
			ID: "sns-bad-token", URL: snsAPI + "ConfirmSubscription.html",
			Says: "Indicates that a request parameter does not comply with the associated constraints.",
			Run: func(t *T) {
				topic := t.topic("t", nil)
				t.refused("a made-up token", errOf(t.SNS.ConfirmSubscription(t.ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: ptr("made-up")})), "InvalidParameter")
			},
		},
		{
			ID: "sns-create-again", URL: snsAPI + "CreateTopic.html",
			Says: "This action is idempotent, so if the requester already owns a topic with the specified name, that topic's ARN is returned without creating a new topic.",
			Run: func(t *T) {
				first := t.topic("t", nil)
				t.want("the second ARN", t.topic("t", nil), first)
			},
		},
		{
			ID: "sns-no-topic", URL: snsAPI + "Publish.html",
			Says: "Indicates that the requested resource does not exist.",
			Run: func(t *T) {
				topic := t.topic("t", nil)
				ok(t.SNS.DeleteTopic(t.ctx, &sns.DeleteTopicInput{TopicArn: &topic}))
				ok(t.SNS.DeleteTopic(t.ctx, &sns.DeleteTopicInput{TopicArn: &topic}))
				t.refused("publishing to a deleted topic", errOf(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: ptr("x")})), "NotFound")
			},
		},
		{
			ID: "sns-structure", URL: snsAPI + "Publish.html",
			Says: "Set MessageStructure to json if you want to send a different message for each protocol.",
			Run: func(t *T) {
				topic, q, r := t.topic("t", nil), t.queue("q", nil), t.queue("r", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				t.subscribe(topic, r, nil)
				ok(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, MessageStructure: ptr("json"), Message: ptr(`{"default":"d","sqs":"for queues","http":"h"}`)}))
				t.want("the raw message", t.receiveOne(q).Body, "for queues")
				t.want("the message", t.document("the body", text(t.receiveOne(r).Body))["Message"], "for queues")
				t.refused("a message without a default", errOf(t.SNS.Publish(t.ctx, &sns.PublishInput{
					TopicArn: &topic, MessageStructure: ptr("json"), Message: ptr(`{"sqs":"x"}`),
				})), "InvalidParameter")
			},
		},
		{
			ID: "sns-subscribe-again", URL: snsAPI + "Subscribe.html",
			Says: "Subscribes an endpoint to an Amazon SNS topic.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				first := t.subscribe(topic, q, nil)
				t.want("the second ARN", t.subscribe(topic, q, nil), first)
				t.publish(topic, "x", nil)
				t.receiveAll(q, 1)
				list := ok(t.SNS.ListSubscriptionsByTopic(t.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})).Subscriptions
				t.want("the number of subscriptions", len(list), 1)
			},
		},
		{
			ID: "sns-unsubscribe", URL: snsAPI + "Unsubscribe.html",
			Says: "Deletes a subscription.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				sub := t.subscribe(topic, q, nil)
				ok(t.SNS.Unsubscribe(t.ctx, &sns.UnsubscribeInput{SubscriptionArn: &sub}))
				t.publish(topic, "x", nil)
				t.wait(300 * time.Millisecond)
				t.none(q, "after the unsubscription")
				t.refused("its attributes", errOf(t.SNS.GetSubscriptionAttributes(t.ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})), "NotFound")
			},
		},
		{
			ID: "sns-limits", URL: snsAPI + "Publish.html",
			Says: "Constraints: Subjects must be UTF-8 text with no line breaks or control characters, and less than 100 characters long.",
			Run: func(t *T) {
				topic := t.topic("t", nil)
				for what, in := range map[string]*sns.PublishInput{
					"an empty message":             {Message: ptr("")},
					"a message beyond 256 KiB":     {Message: ptr(strings.Repeat("x", 256<<10+1))},
					"a subject of 101 characters":  {Message: ptr("x"), Subject: ptr(strings.Repeat("x", 101))},
					"a subject with a line break":  {Message: ptr("x"), Subject: ptr("a\nb")},
					"an attribute without a value": {Message: ptr("x"), MessageAttributes: map[string]types.MessageAttributeValue{"a": snsAttribute("String", "")}},
				} {
					in.TopicArn = &topic
					t.refused(what, errOf(t.SNS.Publish(t.ctx, in)), "InvalidParameter|InvalidParameterValue|ParameterValueInvalid")
				}
			},
		},
		{
			ID: "sns-dlq", URL: snsGuide + "sns-dead-letter-queues.html",
			Says: "A dead-letter queue is an Amazon SQS queue that an Amazon SNS subscription can target for messages that can't be delivered to subscribers successfully.",
			Run: func(t *T) {
				topic, q, dead := t.topic("t", nil), t.queue("q", nil), t.queue("dead", nil)
				t.admit(dead)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true", "RedrivePolicy": `{"deadLetterTargetArn":"` + t.queueARN(dead) + `"}`})
				ok(t.SQS.DeleteQueue(t.ctx, &sqs.DeleteQueueInput{QueueUrl: &q}))
				t.publish(topic, "lost", nil)
				t.want("the dead letter", t.receiveOne(dead).Body, "lost")
			},
		},
		{
			ID: "sns-protocol", URL: snsAPI + "Subscribe.html",
			Says: "The protocol that you want to use.",
			Run: func(t *T) {
				topic := t.topic("t", nil)
				t.refused("a protocol that there is not", errOf(t.SNS.Subscribe(t.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: ptr("pigeon"), Endpoint: ptr("x")})), "InvalidParameter")
			},
		},
		{
			ID: "sns-fifo", URL: snsAPI + "PublishBatch.html",
			Says: "For FIFO topics, multiple messages within a single batch are published in the order they are sent, and messages are deduplicated within the batch and across batches for five minutes.",
			Run: func(t *T) {
				topic, q := t.topic("t.fifo", attrs{"FifoTopic": "true", "ContentBasedDeduplication": "true"}), t.fifo("q", nil)
				t.subscribe(topic, q, attrs{"RawMessageDelivery": "true"})
				var e []types.PublishBatchRequestEntry
				for _, body := range []string{"1", "2", "2", "3"} {
					e = append(e, types.PublishBatchRequestEntry{Id: ptr("m" + string(rune('a'+len(e)))), Message: ptr(body), MessageGroupId: ptr("g")})
				}
				ok(t.SNS.PublishBatch(t.ctx, &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: e}))
				n := text(ok(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: ptr("4"), MessageGroupId: ptr("g")})).SequenceNumber)
				t.that(len(n) == 20, "the SequenceNumber is %q, which has not 20 digits", n)
				ok(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: ptr("4"), MessageGroupId: ptr("g")}))
				m := t.receiveAll(q, 4)
				t.want("what is delivered", bodies(m), []string{"1", "2", "3", "4"})
				t.want("MessageGroupId", m[0].Attributes["MessageGroupId"], "g")
				t.want("MessageDeduplicationId", m[0].Attributes["MessageDeduplicationId"], sha256Hex("1"))
			},
		},
		{
			ID: "sns-fifo-group-needed", URL: snsAPI + "Publish.html",
			Says: "If you do not provide a MessageGroupId, the action fails.",
			Run: func(t *T) {
				topic := t.topic("t.fifo", attrs{"FifoTopic": "true", "ContentBasedDeduplication": "true"})
				t.refused("a message without a group", errOf(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: ptr("x")})), "InvalidParameter")
			},
		},
		{
			ID: "sns-fifo-deduplication-needed", URL: snsAPI + "Publish.html",
			Says: "If you don't provide a MessageDeduplicationId and the topic doesn't have ContentBasedDeduplication set, the action fails with an error.",
			Run: func(t *T) {
				topic := t.topic("t.fifo", attrs{"FifoTopic": "true"})
				t.refused("a message without a deduplication id", errOf(t.SNS.Publish(t.ctx, &sns.PublishInput{TopicArn: &topic, Message: ptr("x"), MessageGroupId: ptr("g")})), "InvalidParameter")
			},
		},
		{
			ID: "sns-subscription-attributes", URL: snsAPI + "GetSubscriptionAttributes.html",
			Says: "MessageAttributes (default) – The filter is applied on the message attributes.",
			Run: func(t *T) {
				topic, q := t.topic("t", nil), t.queue("q", nil)
				sub := t.subscribe(topic, q, attrs{"FilterPolicy": `{"a":["x"]}`})
				a := ok(t.SNS.GetSubscriptionAttributes(t.ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})).Attributes
				for name, want := range (attrs{
					"TopicArn": topic, "Protocol": "sqs", "Endpoint": t.queueARN(q), "RawMessageDelivery": "false", "PendingConfirmation": "false",
					"ConfirmationWasAuthenticated": "true", "FilterPolicyScope": "MessageAttributes", "SubscriptionArn": sub,
				}) {
					t.want(name, a[name], want)
				}
				var policy any
				t.that(json.Unmarshal([]byte(a["FilterPolicy"]), &policy) == nil, "FilterPolicy is %q", a["FilterPolicy"])
				t.want("FilterPolicy", policy, map[string]any{"a": []any{"x"}})
			},
		},
	}
}
