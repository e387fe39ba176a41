package sns

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// crashed is the directory as it would be after kill -9 now: what has reached the files, while they are still open.
func crashed(t *testing.T, dir string) *store.Store {
	t.Helper()
	image := t.TempDir()
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return openStore(t, image)
}

func TestTopicsAndSubscriptionsSurvive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic", "DisplayName", "Shown", "SignatureVersion", "2", "DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":{"numRetries":7}}}`)
	fifo, gone := w.topic("topic.fifo"), w.topic("gone")
	_, err := w.client.TagResource(t.Context(), &awssns.TagResourceInput{ResourceArn: &topic, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	filtered := w.subscribe(topic, "sqs", queue("q"), "FilterPolicy", `{"a":["b"]}`, "RedrivePolicy", redriveTo(queue("dlq")), "RawMessageDelivery", "true")
	lost := w.subscribe(topic, "sqs", queue("gone"))
	w.subscribe(gone, "sqs", queue("q"))
	e, hook := w.hook(topic, "DeliveryPolicy", `{"requestPolicy":{"headerContentType":"text/csv"}}`)
	pending := newEndpoint(t)
	w.subscribe(topic, "http", pending.URL)
	link := member(t, pending.await(1)[0].body, "Token")
	if err := w.unsubscribe(lost); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.DeleteTopic(t.Context(), &awssns.DeleteTopicInput{TopicArn: &gone}); err != nil {
		t.Fatal(err)
	}
	cancelled, sub := w.hook(topic)
	if err := w.unsubscribe(sub); err != nil {
		t.Fatal(err)
	}
	restore := member(t, cancelled.await(2)[1].body, "Token")
	certificate := must[[]byte](t)(w.service.Certificate())

	again := worldOn(t, crashed(t, dir))
	for _, a := range []string{topic, fifo} {
		if got, want := again.topicAttributes(a).Attributes, w.topicAttributes(a).Attributes; !reflect.DeepEqual(got, want) {
			t.Errorf("the topic was %v, is %v", want, got)
		}
	}
	for _, s := range []string{filtered, hook} {
		if got, want := again.attributes(s).Attributes, w.attributes(s).Attributes; !reflect.DeepEqual(got, want) {
			t.Errorf("the subscription was %v, is %v", want, got)
		}
	}
	list := must[*awssns.ListTopicsOutput](t)(again.client.ListTopics(t.Context(), &awssns.ListTopicsInput{}))
	if len(list.Topics) != 2 {
		t.Errorf("there are %d topics", len(list.Topics))
	}
	tags := must[*awssns.ListTagsForResourceOutput](t)(again.client.ListTagsForResource(t.Context(), &awssns.ListTagsForResourceInput{ResourceArn: &topic}))
	if len(tags.Tags) != 1 {
		t.Errorf("the tags are %v", tags.Tags)
	}
	for _, token := range []string{link, restore} {
		if _, err := again.client.ConfirmSubscription(t.Context(), &awssns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &token}); err != nil {
			t.Error(err)
		}
	}
	again.publish(topic, "x")
	again.expect(0) // the filter
	again.publish(topic, "x", with(attributes{"a": str("b")}))
	again.expect(1)
	if got := e.await(3)[2]; got.header.Get("Content-Type") != "text/csv" {
		t.Errorf("posted %v", got.header)
	}
	pending.await(3)
	cancelled.await(4)
	if got := must[[]byte](t)(again.service.Certificate()); string(got) != string(certificate) {
		t.Error("the certificate is another one")
	}
}

func TestPendingPostsSurvive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic")
	e, _ := w.hook(topic)
	e.answers(func(post) int { return 503 })
	ids := map[string]bool{}
	for i := range 10 {
		ids[*w.publish(topic, fmt.Sprint(i)).MessageId] = true
	}
	w.parked(10)
	image := crashed(t, dir)
	w.Stop()
	before := len(e.await(11))
	e.answers(func(post) int { return 200 })
	again := worldOn(t, image)
	for again.parked(-1) > 0 { // some wait for the time at which they are tried again
		again.Clock.Advance(20 * time.Second)
	}
	for _, p := range e.await(before)[before:] {
		delete(ids, p.header.Get("X-Amz-Sns-Message-Id"))
	}
	if len(ids) != 0 {
		t.Errorf("%d messages are lost", len(ids))
	}
}

func TestRefusedDeliveriesSurviveInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q.fifo"), "RawMessageDelivery", "true")
	w.Refuse(func(string, env.Message) error { return &wire.Error{Code: "ServiceUnavailable", Status: 503} })
	for i := range 20 {
		w.publish(topic, fmt.Sprint(i), grouped("g", fmt.Sprint(i)))
	}
	w.expect(0)
	again := worldOn(t, crashed(t, dir))
	again.Clock.Advance(time.Minute)
	for i, d := range again.Await(20) {
		if d.Message.Body != fmt.Sprint(i) || d.Message.GroupID != "g" || d.Message.DeduplicationID != fmt.Sprint(i) {
			t.Errorf("number %d is %+v", i, d.Message)
		}
	}
	w.Refuse(nil)
}

func TestFifoStateSurvives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q.fifo"))
	first := w.publish(topic, "x", grouped("g", "1"))
	again := worldOn(t, crashed(t, dir))
	same := again.publish(topic, "x", grouped("g", "1"))
	again.expect(0)
	if *same.MessageId != *first.MessageId || *same.SequenceNumber != *first.SequenceNumber {
		t.Errorf("%s %s, then %s %s", *first.MessageId, *first.SequenceNumber, *same.MessageId, *same.SequenceNumber)
	}
	if next := again.publish(topic, "x", grouped("g", "2")); *next.SequenceNumber <= *first.SequenceNumber {
		t.Errorf("%s after %s", *next.SequenceNumber, *first.SequenceNumber)
	}
	again.Clock.Advance(deduplication)
	again.publish(topic, "x", grouped("g", "1"))
	again.expect(2)
	batch := three(topic, "a", "b", "a")
	out := must[*awssns.PublishBatchOutput](t)(again.client.PublishBatch(t.Context(), batch))
	if *out.Successful[0].MessageId != *out.Successful[2].MessageId || *out.Successful[0].MessageId == *out.Successful[1].MessageId {
		t.Errorf("%+v", out.Successful)
	}
	again.expect(4)
}

// TestWhatIsDeliveredButNotAcknowledgedIsDeliveredAgain is what makes a queue's own deduplication do its work: a
// message that the client has not been told of must not count as seen.
func TestWhatIsDeliveredButNotAcknowledgedIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q.fifo"))
	var image *store.Store
	w.Refuse(func(string, env.Message) error {
		image = crashed(t, dir)
		return nil
	})
	w.publish(topic, "x", grouped("g", "1"))
	again := worldOn(t, image)
	again.publish(topic, "x", grouped("g", "1"))
	again.expect(1)
}

func TestResetIsForGood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := worldOn(t, openStore(t, dir))
	topic := w.topic("topic")
	w.hook(topic)
	w.publish(topic, "x")
	w.service.Reset()
	again := worldOn(t, crashed(t, dir))
	list := must[*awssns.ListTopicsOutput](t)(again.client.ListTopics(t.Context(), &awssns.ListTopicsInput{}))
	if len(list.Topics) != 0 || len(again.service.subscriptions) != 0 || len(again.service.courier.parcels) != 0 {
		t.Error("something is left")
	}
}
