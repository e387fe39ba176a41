package sqs

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
)

// durable is a world in a directory, and killed what another process finds there if this one is killed now.
func durable(t *testing.T) (w *world, killed func() *world) {
	t.Helper()
	dir := t.TempDir()
	w = worldIn(t, dir)
	return w, func() *world {
		t.Helper()
		left := t.TempDir()
		copyDir(t, dir, left)
		next := worldIn(t, left)
		next.kit.Clock.Advance(w.kit.Clock.Now().Sub(next.kit.Clock.Now()))
		return next
	}
}

func worldIn(t *testing.T, dir string) *world {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return worldOn(t, s)
}

// copyDir copies what the operating system has of files that are being written.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKilledStackLosesNothingItAcknowledged(t *testing.T) {
	t.Parallel()
	w, killed := durable(t)
	dlq := w.create("dead")
	q := w.create("q", "VisibilityTimeout", "20", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":2}`)
	fifo := w.create("q.fifo", "DelaySeconds", "0")
	w.send(q, "a", "b", "c")
	w.send(fifo, "g:1", "g:2", "h:1")
	if _, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &q, MessageBody: aws.String("late"), DelaySeconds: 100,
		MessageAttributes: map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String("1")}},
	}); err != nil {
		t.Fatal(err)
	}
	got := w.want(q, 3, "a b c")
	w.delete(q, got[1])
	first := w.want(fifo, 1, "g:1")
	w.delete(fifo, first...)
	if _, err := w.client.TagQueue(t.Context(), &sqs.TagQueueInput{QueueUrl: &q, Tags: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.set(fifo, "VisibilityTimeout", "77"); err != nil {
		t.Fatal(err)
	}
	gone := w.create("gone")
	w.send(gone, "x")
	if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &gone}); err != nil {
		t.Fatal(err)
	}
	purged := w.create("purged")
	w.send(purged, "x")
	if _, err := w.client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: &purged}); err != nil {
		t.Fatal(err)
	}

	w = killed()
	q, dlq, fifo, purged = "q", "dead", "q.fifo", "purged"
	w.depth(q, 2, 0, 1)
	again := w.want(q, 10, "a c") // what was in flight is visible again
	if again[0].Attributes["ApproximateReceiveCount"] != "2" || *again[0].MessageId != *got[0].MessageId {
		t.Errorf("received again: %v", again[0].Attributes)
	}
	w.delete(q, again[0])
	w.advance(20 * time.Second)
	w.want(q, 10, "") // c has been received twice
	w.want(dlq, 10, "c")
	w.advance(80 * time.Second)
	if m := w.want(q, 10, "late")[0]; len(m.MessageAttributes) != 1 { // the client has checked its MD5
		t.Errorf("%v", m)
	}
	w.want(fifo, 10, "g:2 h:1")
	w.send(fifo, "g:1") // which was deleted, but not longer than five minutes ago
	w.depth(fifo, 0, 2, 0)
	w.send(fifo, "g:3")
	w.depth(purged, 0, 0, 0)
	tags, err := w.client.ListQueueTags(t.Context(), &sqs.ListQueueTagsInput{QueueUrl: &q})
	if err != nil || tags.Tags["k"] != "v" {
		t.Errorf("%v %v", tags, err)
	}
	out, err := w.client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &fifo, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil || out.Attributes["VisibilityTimeout"] != "77" || out.Attributes["CreatedTimestamp"] != "1767323045" {
		t.Errorf("%v %v", out, err)
	}
	if urls, err := w.client.ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil || len(urls.QueueUrls) != 4 {
		t.Errorf("%v %v", urls, err)
	}
	w.advance(77 * time.Second)
	m := w.want(fifo, 10, "g:2 g:3 h:1")
	if *m[1].MessageId == *first[0].MessageId || m[1].Attributes["SequenceNumber"] <= first[0].Attributes["SequenceNumber"] {
		t.Errorf("sequence numbers %v after %v", m[1].Attributes, first[0].Attributes)
	}
	w.service.Reset()
	if urls, err := w.client.ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil || len(urls.QueueUrls) != 0 {
		t.Errorf("%v %v", urls, err)
	}
}

func TestADeletedNameStaysTakenThroughARestart(t *testing.T) {
	t.Parallel()
	w, killed := durable(t)
	q := w.create("q")
	w.send(q, "x")
	if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &q}); err != nil {
		t.Fatal(err)
	}
	w = killed()
	if _, err := w.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); status(err) != 400 {
		t.Error(err)
	}
	w.advance(time.Minute)
	w.want(w.create("q"), 10, "")
}

func TestSequenceNumbersGrowThroughARestart(t *testing.T) {
	t.Parallel()
	w, killed := durable(t)
	w.send(w.create("q.fifo"), "g:1")
	before := w.want("q.fifo", 1, "g:1")
	w.delete("q.fifo", before...)
	w.advance(6 * time.Minute)
	w = killed() // nothing is left of the message but that the queue has counted on
	w.send("q.fifo", "g:2")
	after := w.want("q.fifo", 1, "g:2")
	if before[0].Attributes["SequenceNumber"] >= after[0].Attributes["SequenceNumber"] {
		t.Errorf("%v, then %v", before[0].Attributes, after[0].Attributes)
	}
}

func TestNothingIsLeftOnDiskOfWhatIsGone(t *testing.T) {
	t.Parallel()
	w, _ := durable(t)
	records := func() (list []string) {
		t.Helper()
		if err := w.kit.Env.Store.Load("sqs/", func(key string, _ []byte) error {
			list = append(list, key[:len(keyQueue)])
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	dlq := w.create("dead")
	q := w.create("q", "MessageRetentionPeriod", "60", "VisibilityTimeout", "0", "RedrivePolicy", `{"deadLetterTargetArn":"`+w.arn(dlq)+`","maxReceiveCount":1}`)
	fifo := w.create("q.fifo")
	w.send(q, "a", "b", "c")
	w.delete(q, w.want(q, 1, "a")...)
	w.want(q, 1, "b")
	w.want(q, 10, "c") // b is dead
	w.delete(dlq, w.want(dlq, 10, "b")...)
	w.send(fifo, "g:1")
	w.delete(fifo, w.want(fifo, 10, "g:1")...)
	w.advance(6 * time.Minute) // c is too old, and the deduplication id lapses
	w.depth(q, 0, 0, 0)
	w.depth(fifo, 0, 0, 0)

	if got, want := strings.Join(records(), " "), "sqs/n/ sqs/n/ sqs/n/ sqs/q/ sqs/q/ sqs/q/"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	for _, u := range []string{q, dlq, fifo} {
		w.send(u, "x:y")
		w.receive(u, 1)
		if _, err := w.client.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &u}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(records(), " "); got != "sqs/x/ sqs/x/ sqs/x/" {
		t.Errorf("left are %s", got)
	}
	w.advance(time.Minute)
	w.create("q")
	w.service.Reset()
	if got := records(); len(got) != 0 {
		t.Errorf("left are %s", got)
	}
}

// A send that is refused while the disk is full and succeeds when it is repeated survives, though the queue has
// known the message since the first time.
func TestAFullDiskMakesNoAcknowledgedMessageLost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	w := worldIn(t, dir)
	w.create("q.fifo")
	send := func() error {
		_, err := w.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String("q.fifo"), MessageBody: aws.String("1"),
			MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("1")})
		return err
	}
	if err := os.Rename(dir, dir+"-away"); err != nil { // no disk has ever less room than one that is not there
		t.Fatal(err)
	}
	if w.kit.Env.Store.Reserve(1<<30) == nil {
		t.Fatal("there is room where there is no directory")
	}
	if err := send(); status(err) != 500 {
		t.Fatalf("while the disk is full: %v", err)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	left := t.TempDir()
	copyDir(t, dir, left)
	worldIn(t, left).want("q.fifo", 10, "1")
}

// A queue that is created while all are forgotten is kept, or refused, but not forgotten half.
func TestResetLeavesWhatIsCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	w, killed := durable(t)
	w.create("old")
	at := func(name string) place { return place{stacktest.Account, stacktest.Region, name} }
	old := w.service.at(at("old"))
	old.mu.Lock() // holds Reset up in its midst
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.service.Reset()
	}()
	for w.service.at(at("old")) != nil {
		runtime.Gosched()
	}
	w.create("new")
	old.mu.Unlock()
	<-done
	w.send("new", "a")
	w = killed()
	w.want("new", 10, "a")
	if w.service.at(at("old")) != nil {
		t.Error("a queue has come back")
	}
}
