package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/test/hub"
)

const arnBase = ":us-east-1:" + stacktest.Account + ":"

// clients are the AWS clients of one endpoint. They do not try again: an acknowledgement is one.
type clients struct {
	sqs       *sqs.Client
	sns       *sns.Client
	kinesis   *kinesis.Client
	dynamodb  *dynamodb.Client
	streams   *dynamodbstreams.Client
	s3        *s3.Client
	events    *eventbridge.Client
	scheduler *scheduler.Client
}

func clientsOf(endpoint string) clients {
	c := stacktest.Config(endpoint)
	return clients{sqs.NewFromConfig(c), sns.NewFromConfig(c), kinesis.NewFromConfig(c), dynamodb.NewFromConfig(c), dynamodbstreams.NewFromConfig(c),
		s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }), eventbridge.NewFromConfig(c), scheduler.NewFromConfig(c)}
}

// must fails the test unless an operation went well.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (c clients) queue(t *testing.T, name string, attributes map[string]string) string {
	t.Helper()
	out, err := c.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl
}

// all receives and deletes everything that a queue has, in the order of arrival.
func (c clients) all(t *testing.T, url string) (bodies []string) {
	t.Helper()
	for empty := 0; empty < 2; {
		out, err := c.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			empty++
		}
		for _, m := range out.Messages {
			bodies = append(bodies, *m.Body)
			if _, err := c.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return bodies
}

// written is what a stack has acknowledged, by what was done.
type written struct {
	mu  sync.Mutex
	ids map[string][]string
}

func (w *written) add(kind, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids[kind] = append(w.ids[kind], id)
}

func (w *written) total() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ids := range w.ids {
		n += len(ids)
	}
	return n
}

// Ten times the stack is killed under clients that write to all its services.
func TestNoAcknowledgedWriteIsLostWhenTheStackIsKilled(t *testing.T) {
	t.Parallel()
	const kills, writers, groups = 10, 16, 4
	dir, state := t.TempDir(), t.TempDir()
	port := freePort(t)
	start := func() *hub.Hub {
		h, err := hub.StartStack(binary, dir, "--dir", state, "--listen", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := start()
	c := clientsOf(h.AWS)
	ctx := t.Context()
	sent := c.queue(t, "sent", map[string]string{"VisibilityTimeout": "0"})
	deleted := c.queue(t, "deleted", map[string]string{"VisibilityTimeout": "0"})
	ordered := c.queue(t, "ordered.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	published := c.queue(t, "published", nil)
	notified := c.queue(t, "notified", nil)
	matched := c.queue(t, "matched", nil)
	topic := must[*sns.CreateTopicOutput](t)(c.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("news")}))
	must[*sns.SubscribeOutput](t)(c.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"),
		Endpoint: aws.String("arn:aws:sqs" + arnBase + "published"), Attributes: map[string]string{"RawMessageDelivery": "true"}}))
	must[*kinesis.CreateStreamOutput](t)(c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("clicks"), ShardCount: aws.Int32(2)}))
	table := must[*dynamodb.CreateTableOutput](t)(c.dynamodb.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("orders"), BillingMode: dynamodbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: dynamodbtypes.ScalarAttributeTypeS}},
		KeySchema:            []dynamodbtypes.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: dynamodbtypes.KeyTypeHash}},
		StreamSpecification:  &dynamodbtypes.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: dynamodbtypes.StreamViewTypeKeysOnly},
	}))
	must[*s3.CreateBucketOutput](t)(c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("uploads")}))
	must[*s3.PutBucketNotificationConfigurationOutput](t)(c.s3.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("uploads"), NotificationConfiguration: &s3types.NotificationConfiguration{QueueConfigurations: []s3types.QueueConfiguration{{
			QueueArn: aws.String("arn:aws:sqs" + arnBase + "notified"), Events: []s3types.Event{"s3:ObjectCreated:*"},
		}}},
	}))
	must[*eventbridge.PutRuleOutput](t)(c.events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("orders"), EventPattern: aws.String(`{"source":["shop"]}`)}))
	must[*eventbridge.PutTargetsOutput](t)(c.events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("orders"), Targets: []eventtypes.Target{{
		Id: aws.String("q"), Arn: aws.String("arn:aws:sqs" + arnBase + "matched"), InputPath: aws.String("$.detail.id"),
	}}}))

	w := &written{ids: map[string][]string{}}
	// Each writes under an id and reports what else was acknowledged.
	writes := map[string]func(ctx context.Context, writer int, id string) error{
		"sent": func(ctx context.Context, _ int, id string) error {
			_, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &sent, MessageBody: &id})
			return err
		},
		"deleted": func(ctx context.Context, _ int, id string) error {
			if _, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &deleted, MessageBody: &id}); err != nil {
				return err
			}
			out, err := c.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &deleted, MaxNumberOfMessages: 1, VisibilityTimeout: 30})
			if err != nil {
				return err
			}
			for _, m := range out.Messages {
				w.add("tried", *m.Body)
				if _, err := c.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &deleted, ReceiptHandle: m.ReceiptHandle}); err != nil {
					return err
				}
				w.add("gone", *m.Body)
			}
			return nil
		},
		"ordered": func(ctx context.Context, writer int, id string) error {
			group := "g" + strconv.Itoa(writer)
			if writer >= groups {
				return errors.New("no such group")
			}
			_, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &ordered, MessageBody: &id, MessageGroupId: &group})
			return err
		},
		"published": func(ctx context.Context, _ int, id string) error {
			_, err := c.sns.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: &id})
			return err
		},
		"put": func(ctx context.Context, _ int, id string) error {
			_, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("clicks"), PartitionKey: &id, Data: []byte(id)})
			return err
		},
		"item": func(ctx context.Context, _ int, id string) error {
			_, err := c.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("orders"), Item: map[string]dynamodbtypes.AttributeValue{"id": &dynamodbtypes.AttributeValueMemberS{Value: id}}})
			return err
		},
		"object": func(ctx context.Context, _ int, id string) error {
			_, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("uploads"), Key: &id, Body: strings.NewReader(strings.Repeat(id, 1000))})
			return err
		},
		"event": func(ctx context.Context, _ int, id string) error {
			_, err := c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
				Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String(`{"id":"` + id + `"}`),
			}}})
			return err
		},
	}
	kinds := slices.Sorted(func(yield func(string) bool) {
		for k := range writes {
			if !yield(k) {
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				kind, id := kinds[(writer+i)%len(kinds)], fmt.Sprintf("w%d-%06d", writer, i)
				request, done := context.WithTimeout(ctx, 10*time.Second)
				err := writes[kind](request, writer, id)
				done()
				if err == nil {
					w.add(kind, id)
				} else if writer < groups || kind != "ordered" {
					select { // the stack is down
					case <-ctx.Done():
					case <-time.After(5 * time.Millisecond):
					}
				}
			}
		})
	}
	for i := range kills {
		before := w.total()
		eventually(t, "writes after a restart", func() string {
			if n := w.total() - before; n < 300 {
				return fmt.Sprintf("%d acknowledged", n)
			}
			return ""
		})
		if i == kills-1 {
			cancel()
			wg.Wait()
		}
		h.Kill()
		h = start()
	}
	defer h.Kill()
	ctx = t.Context()

	missing := func(kind string, got []string) {
		t.Helper()
		have := map[string]bool{}
		for _, id := range got {
			have[id] = true
		}
		lost := 0
		for _, id := range w.ids[kind] {
			if !have[id] {
				lost++
			}
		}
		if lost > 0 || len(w.ids[kind]) == 0 {
			t.Errorf("%s: %d of %d acknowledged are lost", kind, lost, len(w.ids[kind]))
		}
		t.Logf("%s: %d acknowledged, all there, %d seen", kind, len(w.ids[kind]), len(got))
	}
	visible := map[string]string{"VisibilityTimeout": "60"} // so that a message is received once below
	for _, url := range []string{sent, deleted} {
		must[*sqs.SetQueueAttributesOutput](t)(c.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: visible}))
	}
	missing("sent", c.all(t, sent))
	missing("published", c.all(t, published))
	matchedIDs := c.all(t, matched)
	for i, id := range matchedIDs {
		matchedIDs[i] = strings.Trim(id, `"`)
	}
	missing("event", matchedIDs)
	rest := c.all(t, deleted)
	for _, id := range w.ids["gone"] {
		if slices.Contains(rest, id) {
			t.Errorf("%s was deleted and is back", id)
		}
	}
	missing("deleted", append(rest, w.ids["tried"]...)) // a delete may have been carried out and its answer lost

	inOrder := c.all(t, ordered)
	missing("ordered", inOrder)
	last := map[string]string{}
	for _, id := range inOrder {
		group, _, _ := strings.Cut(id, "-")
		if id <= last[group] {
			t.Errorf("in group %s %s came after %s", group, id, last[group])
		}
		last[group] = id
	}

	missing("put", streamed(t, c))
	missing("item", items(t, c))
	missing("item", changes(t, c, *table.TableDescription.LatestStreamArn))
	for _, id := range w.ids["object"] {
		out, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("uploads"), Key: &id})
		if err != nil {
			t.Errorf("object %s: %v", id, err)
			continue
		}
		body, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(body, []byte(strings.Repeat(id, 1000))) {
			t.Errorf("object %s has %d bytes, or others: %v", id, len(body), err)
		}
	}
	var keys []string
	for _, body := range c.all(t, notified) {
		if _, after, ok := strings.Cut(body, `"key":"`); ok {
			key, _, _ := strings.Cut(after, `"`)
			keys = append(keys, key)
		}
	}
	missing("object", keys)
}

// streamed reads a stream to its end.
func streamed(t *testing.T, c clients) (data []string) {
	t.Helper()
	shards := must[*kinesis.ListShardsOutput](t)(c.kinesis.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("clicks")}))
	for _, shard := range shards.Shards {
		it := must[*kinesis.GetShardIteratorOutput](t)(c.kinesis.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("clicks"), ShardId: shard.ShardId, ShardIteratorType: kinesistypes.ShardIteratorTypeTrimHorizon,
		}))
		for next := it.ShardIterator; next != nil; {
			out := must[*kinesis.GetRecordsOutput](t)(c.kinesis.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: next}))
			for _, r := range out.Records {
				data = append(data, string(r.Data))
			}
			if next = out.NextShardIterator; *out.MillisBehindLatest == 0 && len(out.Records) == 0 {
				break
			}
		}
	}
	return data
}

// items lists the keys of a table.
func items(t *testing.T, c clients) (ids []string) {
	t.Helper()
	pages := dynamodb.NewScanPaginator(c.dynamodb, &dynamodb.ScanInput{TableName: aws.String("orders"), ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			ids = append(ids, item["id"].(*dynamodbtypes.AttributeValueMemberS).Value)
		}
	}
	return ids
}

// changes lists the keys in the stream of a table.
func changes(t *testing.T, c clients, stream string) (ids []string) {
	t.Helper()
	d := must[*dynamodbstreams.DescribeStreamOutput](t)(c.streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &stream}))
	for _, shard := range d.StreamDescription.Shards {
		it := must[*dynamodbstreams.GetShardIteratorOutput](t)(c.streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
			StreamArn: &stream, ShardId: shard.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		}))
		for next := it.ShardIterator; next != nil; {
			out := must[*dynamodbstreams.GetRecordsOutput](t)(c.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: next}))
			for _, r := range out.Records {
				ids = append(ids, r.Dynamodb.Keys["id"].(*streamtypes.AttributeValueMemberS).Value)
			}
			if next = out.NextShardIterator; len(out.Records) == 0 {
				break
			}
		}
	}
	return ids
}

// Topics, buckets, rules and schedules of a stack beside functions run them.
func TestTheStackOfAHubRunsItsFunctions(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h, err := hub.Start(binary, t.TempDir(), fmt.Sprintf("functions:\n  f: {runtime: http, url: %s}\nstack: {}\n", s.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Kill()
	c, ctx, function := clientsOf(h.AWS), t.Context(), "arn:aws:lambda"+arnBase+"function:f"

	topic := must[*sns.CreateTopicOutput](t)(c.sns.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("news")}))
	must[*sns.SubscribeOutput](t)(c.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("lambda"), Endpoint: &function}))
	must[*sns.PublishOutput](t)(c.sns.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("from a topic")}))

	must[*s3.CreateBucketOutput](t)(c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("uploads")}))
	must[*s3.PutBucketNotificationConfigurationOutput](t)(c.s3.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("uploads"), NotificationConfiguration: &s3types.NotificationConfiguration{LambdaFunctionConfigurations: []s3types.LambdaFunctionConfiguration{{
			LambdaFunctionArn: &function, Events: []s3types.Event{"s3:ObjectCreated:*"},
		}}},
	}))
	must[*s3.PutObjectOutput](t)(c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("uploads"), Key: aws.String("from a bucket"), Body: strings.NewReader("x")}))

	must[*eventbridge.PutRuleOutput](t)(c.events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"source":["shop"]}`)}))
	must[*eventbridge.PutTargetsOutput](t)(c.events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []eventtypes.Target{{Id: aws.String("f"), Arn: &function}}}))
	must[*eventbridge.PutEventsOutput](t)(c.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String(`{"from":"a bus"}`),
	}}}))

	must[*scheduler.CreateScheduleOutput](t)(c.scheduler.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
		Name: aws.String("later"), ScheduleExpression: aws.String("rate(1 hour)"), FlexibleTimeWindow: &schedulertypes.FlexibleTimeWindow{Mode: "OFF"},
		Target: &schedulertypes.Target{Arn: &function, RoleArn: aws.String("arn:aws:iam::" + stacktest.Account + ":role/r"), Input: aws.String(`{"from":"a schedule"}`)},
	}))
	if status, _, body := send(t, "POST", h.AWS+"/_millrace/clock", `{"advance":"61m"}`); status != 200 {
		t.Fatal(status, body)
	}
	for _, want := range []string{"from a topic", "from+a+bucket", "a bus", "a schedule"} {
		eventually(t, want+" to reach the function", func() string {
			if got := fmt.Sprint(s.all()); !strings.Contains(got, want) {
				return "calls so far: " + got
			}
			return ""
		})
	}
	// The Lambda API is at the same address.
	if status, _, body := send(t, "POST", h.AWS+"/2015-03-31/functions/f/invocations", `{}`); status != 200 {
		t.Errorf("invoking the function: %d %s", status, body)
	}
}
