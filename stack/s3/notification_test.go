package s3_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

func TestNotificationConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	w.bucket("bucket")
	queue := func(id, event, filter string) string {
		return "<QueueConfiguration><Id>" + id + "</Id><Queue>" + queueARN + "</Queue><Event>" + event + "</Event>" + filter + "</QueueConfiguration>"
	}
	filter := func(rules ...string) string {
		text := "<Filter><S3Key>"
		for i := 0; i+1 < len(rules); i += 2 {
			text += "<FilterRule><Name>" + rules[i] + "</Name><Value>" + rules[i+1] + "</Value></FilterRule>"
		}
		return text + "</S3Key></Filter>"
	}
	const created = "s3:ObjectCreated:*"
	far := strings.Replace(queue("a", created, ""), "us-east-1", "eu-west-1", 1)
	fifo := strings.Replace(queue("a", created, ""), "my-queue", "my-queue.fifo", 1)
	for _, c := range []struct{ body, want string }{
		{"", "MalformedXML"},
		{"<NotificationConfiguration>", "MalformedXML"},
		{"<Other/>", "MalformedXML"},
		{config("<Robot/>"), "MalformedXML"},
		{config("<QueueConfiguration><Queue>" + queueARN + "</Queue></QueueConfiguration>"), "MalformedXML"},
		{config("<QueueConfiguration><Event>s3:ObjectCreated:*</Event></QueueConfiguration>"), "MalformedXML"},
		{config(queue("a", created, "<Filter><S3Key><FilterRule><Name>prefix</Name></FilterRule></S3Key></Filter>")), "MalformedXML"},
		{config(queue("a", created, "<InvocationRole/>")), "MalformedXML"},
		{config("<EventBridgeConfiguration><x/></EventBridgeConfiguration>"), "MalformedXML"},
		{config(queue("a", "s3:ObjectCreated:Foo", "")), "The event is not supported for notifications"},
		{config(queue("a", "s3:ObjectCreated", "")), "The event is not supported for notifications"},
		{config(queue("a", "s3:ObjectAcl:*", "")), "The event is not supported for notifications"},
		{config(queue("a", "ObjectCreated:*", "")), "The event is not supported for notifications"},
		{config(queue("a", created, filter("INVALID", "x"))), "<Message>filter rule name must be either prefix or suffix</Message><ArgumentName>FilterRule.Name</ArgumentName><ArgumentValue>INVALID</ArgumentValue>"},
		{config(queue("a", created, filter("prefix", "x", "Prefix", "y"))), "Cannot specify more than one prefix rule in a filter."},
		{config(queue("a", created, filter("prefix", strings.Repeat("x", 1025)))), "Size of filter rule value cannot exceed 1024 bytes"},
		{config(queue(strings.Repeat("i", 256), created, "")), "ID length should not exceed allowed limit of 255"},
		{config(queue("a", created, ""), queue("a", "s3:ObjectRemoved:*", "")), "Same ID used for multiple configurations. IDs must be unique"},
		{config(queue("a", created, ""), queue("b", "s3:ObjectCreated:Put", "")), "Configurations overlap. Configurations on the same bucket cannot share a common event type."},
		{config(queue("a", created, filter("prefix", "a")), queue("b", created, "")), "Configuration is ambiguously defined."},
		{config(queue("a", created, filter("prefix", "a")), queue("b", created, filter("prefix", "ab"))), "Configuration is ambiguously defined."},
		{config(queue("a", created, filter("suffix", ".jpg")), queue("b", created, filter("suffix", "x.jpg"))), "Configuration is ambiguously defined."},
		{config(queue("a", created, filter("prefix", "a")), queue("b", created, filter("suffix", "x"))), "Configuration is ambiguously defined."},
		{config(far), "The notification destination service region is not valid for the bucket location constraint"},
		{config(fifo), "FIFO SQS queues are not supported"},
		{config("<TopicConfiguration><Topic>" + queueARN + "</Topic><Event>" + created + "</Event></TopicConfiguration>"), "<ArgumentName>Topic</ArgumentName>"},
		{config("<CloudFunctionConfiguration><CloudFunction>invalid</CloudFunction><Event>" + created + "</Event></CloudFunctionConfiguration>"), "<ArgumentName>CloudFunction</ArgumentName><ArgumentValue>invalid</ArgumentValue>"},
	} {
		resp, text := w.raw("PUT", "/bucket?notification", c.body, "Authorization", "AWS4-HMAC-SHA256 Credential=111111111111/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00")
		if resp.StatusCode != 400 || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", c.body, resp.StatusCode, text)
		}
	}
	for _, good := range []string{
		config(queue("a", created, filter("prefix", "a")), queue("b", created, filter("prefix", "b"))),
		config(queue("a", created, filter("prefix", "a", "suffix", "x")), queue("b", created, filter("prefix", "a", "suffix", "y"))),
		config(queue("a", created, ""), queue("b", "s3:ObjectRemoved:*", "")),
		config(),
	} {
		resp, text := w.raw("PUT", "/bucket?notification", good, "Authorization", "AWS4-HMAC-SHA256 Credential=111111111111/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00")
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", good, resp.StatusCode, text)
		}
	}
	if len(w.bodies()) != 0 {
		t.Errorf("delivered %v", w.Delivered())
	}
}

func TestTestEvent(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.notify(b, &types.NotificationConfiguration{
		QueueConfigurations:          []types.QueueConfiguration{{QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectCreated:*")}},
		TopicConfigurations:          []types.TopicConfiguration{{TopicArn: aws.String(topicARN), Events: eventsOf("s3:ObjectRemoved:*")}},
		LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{{LambdaFunctionArn: aws.String(fnARN), Events: eventsOf("s3:ObjectTagging:*")}},
	})
	d := w.Delivered()
	if len(d) != 2 { // a function gets none
		t.Fatalf("%+v", d)
	}
	targets := []string{d[0].Target, d[1].Target}
	slices.Sort(targets)
	if !slices.Equal(targets, []string{topicARN, queueARN}) || d[0].Message.From != "arn:aws:s3:::bucket" || d[0].Message.Principal != "s3.amazonaws.com" || d[0].Message.Account != "111111111111" {
		t.Errorf("%+v", d)
	}
	var doc map[string]string
	if err := json.Unmarshal([]byte(d[0].Message.Body), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["Service"] != "Amazon S3" || doc["Event"] != "s3:TestEvent" || doc["Time"] != "2026-01-02T03:04:05.000Z" || doc["Bucket"] != "bucket" || doc["RequestId"] == "" || doc["HostId"] == "" || len(doc) != 6 {
		t.Errorf("%v", doc)
	}
}

func TestEveryEventIsTold(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.notify(b, &types.NotificationConfiguration{
		EventBridgeConfiguration: &types.EventBridgeConfiguration{},
		QueueConfigurations:      []types.QueueConfiguration{{QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")}},
	})
	w.versioning(b, types.BucketVersioningStatusEnabled)
	version := w.put(b, "k", "data").VersionId
	w.tag(b, "k", "a", "1")
	if _, err := w.DeleteObjectTagging(t.Context(), &awss3.DeleteObjectTaggingInput{Bucket: b, Key: aws.String("k")}); err != nil {
		t.Fatal(err)
	}
	marker := w.remove(b, "k", "").VersionId
	w.remove(b, "k", *version)
	u := w.begin(b, "m")
	u.part(1, []byte("part"))
	made, failed := u.complete()
	if failed != "" {
		t.Fatal(failed)
	}
	type record struct {
		EventName string
		S3        struct {
			Object struct {
				Key, ETag, VersionID, Sequencer string
				Size                            *int64
			}
		}
	}
	type busEvent struct {
		DetailType string `json:"detail-type"`
		Detail     struct {
			Object struct {
				Key, ETag string
				VersionID string `json:"version-id"`
			}
			Reason   string
			Deletion string `json:"deletion-type"`
		}
	}
	var got, bus []string
	for _, d := range w.Delivered() {
		switch {
		case strings.Contains(d.Message.Body, "s3:TestEvent"):
		case d.Target == busARN:
			var e busEvent
			if err := json.Unmarshal([]byte(d.Message.Body), &e); err != nil {
				t.Fatal(err)
			}
			bus = append(bus, strings.Join([]string{e.DetailType, e.Detail.Object.Key, e.Detail.Object.ETag, e.Detail.Object.VersionID, e.Detail.Reason, e.Detail.Deletion}, "|"))
		default:
			var doc struct{ Records []record }
			if err := json.Unmarshal([]byte(d.Message.Body), &doc); err != nil {
				t.Fatal(err)
			}
			r := doc.Records[0]
			size := "-"
			if r.S3.Object.Size != nil {
				size = fmt.Sprint(*r.S3.Object.Size)
			}
			got = append(got, strings.Join([]string{r.EventName, r.S3.Object.Key, size, r.S3.Object.ETag, r.S3.Object.VersionID}, "|"))
		}
	}
	const data, nothing = "8d777f385d3dfec8815d20f7496026dc", "d41d8cd98f00b204e9800998ecf8427e"
	whole := strings.Trim(*made.ETag, `"`)
	if want := []string{
		"ObjectCreated:Put|k|4|" + data + "|" + *version,
		"ObjectTagging:Put|k|-|" + data + "|" + *version,
		"ObjectTagging:Delete|k|-|" + data + "|" + *version,
		"ObjectRemoved:DeleteMarkerCreated|k|-|" + nothing + "|" + *marker,
		"ObjectRemoved:Delete|k|-||" + *version,
		"ObjectCreated:CompleteMultipartUpload|m|4|" + whole + "|" + *made.VersionId,
	}; !slices.Equal(got, want) {
		t.Errorf("records\n%q, want\n%q", got, want)
	}
	if want := []string{
		"Object Created|k|" + data + "|" + *version + "|PutObject|",
		"Object Tags Added|k|" + data + "|" + *version + "||",
		"Object Tags Deleted|k|" + data + "|" + *version + "||",
		"Object Deleted|k|" + nothing + "|" + *marker + "|DeleteObject|Delete Marker Created",
		"Object Deleted|k||" + *version + "|DeleteObject|Permanently Deleted",
		"Object Created|m|" + whole + "|" + *made.VersionId + "|CompleteMultipartUpload|",
	}; !slices.Equal(bus, want) {
		t.Errorf("events\n%q, want\n%q", bus, want)
	}
}

// TestDeletingNothingIsTold as S3 does, which does not know better.
func TestDeletingNothingIsTold(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.toQueue(b, "s3:ObjectRemoved:*")
	if _, err := w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("b")}}}}); err != nil {
		t.Fatal(err)
	}
	if got := w.records()["messages"].([]any); len(got) != 2 {
		t.Errorf("%d records", len(got))
	}
}

// sequence are the sequencers of each key's records in the order of their delivery.
func (w *world) sequence() map[string][]string {
	w.t.Helper()
	seen := map[string][]string{}
	for _, body := range w.bodies() {
		var doc struct {
			Records []struct {
				S3 struct {
					Object struct{ Key, Sequencer string }
				}
			}
		}
		if err := json.Unmarshal(body, &doc); err != nil {
			w.t.Fatal(err)
		}
		o := doc.Records[0].S3.Object
		seen[o.Key] = append(seen[o.Key], o.Sequencer)
	}
	return seen
}

func TestOrderIsKeptForEachKey(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.toQueue(b, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
	const writers, writes = 8, 30
	var work sync.WaitGroup
	for i := range writers {
		work.Go(func() {
			for j := range writes {
				w.put(b, fmt.Sprintf("k%d", j%2), "data")
				if i == 0 {
					w.remove(b, "k0", "")
				}
			}
		})
	}
	work.Wait()
	n := 0
	for key, list := range w.sequence() {
		n += len(list)
		for i := 1; i < len(list); i++ {
			if list[i] <= list[i-1] {
				t.Errorf("%s: %s after %s", key, list[i], list[i-1])
			}
		}
	}
	if n != (writers+1)*writes {
		t.Errorf("%d notifications of %d", n, (writers+1)*writes)
	}
}

func TestTargetThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.toQueue(b, "s3:ObjectCreated:*")
	broken := errors.New("broken")
	w.Refuse(func(string, env.Message) error { return broken })
	w.put(b, "k", "one") // nobody waits, although the clock stands still
	w.put(b, "k", "two")
	if got := w.bodies(); len(got) != 0 {
		t.Fatalf("delivered %s", got)
	}
	w.Refuse(nil)
	w.put(b, "other", "three") // is not held up
	if got := w.sequence(); len(got["other"]) != 1 {
		t.Errorf("%v", got)
	}
	w.awaitTimer()
	w.Clock.Advance(time.Second)
	w.Await(4)
	if got := w.sequence(); len(got["k"]) != 2 || got["k"][0] >= got["k"][1] {
		t.Errorf("%v", got)
	}
}

func TestTargetThatRefusesIsGivenUp(t *testing.T) {
	t.Parallel()
	w := recorded(t)
	b := w.bucket("bucket")
	w.toQueue(b, "s3:ObjectCreated:*")
	w.noQueues()
	w.put(b, "k", "one")
	w.Refuse(nil)
	w.put(b, "k", "two")
	if got := w.sequence(); len(got["k"]) != 1 {
		t.Errorf("%v", got)
	}
}

func TestSlowTargetDoesNotHoldUpThePut(t *testing.T) {
	t.Parallel()
	k := stacktest.New(t)
	begun, slow := make(chan bool), false
	deliver := k.Env.Deliver
	k.Env.Deliver = func(ctx context.Context, target string, m env.Message) error {
		if slow && strings.Contains(m.Body, "Records") {
			slow = false // the first attempt only
			begun <- true
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return deliver(ctx, target, m)
	}
	w := on(t, k)
	b := w.bucket("bucket")
	w.toAnyQueue(b)
	slow = true
	put := make(chan bool)
	go func() {
		w.put(b, "k", "data")
		close(put)
	}()
	<-begun
	w.Clock.Advance(time.Second)
	<-put
	w.awaitTimer()
	w.Clock.Advance(time.Second)
	w.Await(2)
}

// awaitTimer waits until something waits for the clock.
func (w *world) awaitTimer() {
	for w.Clock.Timers() == 0 {
		if w.t.Context().Err() != nil {
			w.t.Fatal("nothing waits")
		}
		runtime.Gosched()
	}
}

func TestDuplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.toAnyQueue(b)
	h, err := http.NewRequestWithContext(t.Context(), "PUT", w.endpoint+"/bucket/k", strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	h.Header.Set("Content-Length", "4")
	api := w.service.API()[0]
	for _, o := range api.Operations {
		if o.Name == "PutObject" && !o.Duplicates || o.Name == "GetObject" && o.Duplicates {
			t.Errorf("%s honours a duplicate: %t", o.Name, o.Duplicates)
		}
	}
	answer := &recorder{header: http.Header{}}
	w.service.Serve(answer, h, &wire.Request{ID: "1", Region: "us-east-1", Account: "000000000000", Duplicate: true})
	if answer.status != 0 {
		t.Fatalf("%d", answer.status)
	}
	got := w.bodies()
	if len(got) != 2 || string(got[0]) != string(got[1]) {
		t.Errorf("%s", got)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// toAnyQueue is toQueue for the account of an unsigned request.
func (w *world) toAnyQueue(b *string) {
	w.t.Helper()
	w.notify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{QueueArn: aws.String("arn:aws:sqs:us-east-1:000000000000:q"), Events: eventsOf("s3:ObjectCreated:*")}}})
}

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.toAnyQueue(b)
	w.Refuse(func(string, env.Message) error { return errors.New("broken") })
	w.put(b, "k", "data")
	w.service.Reset()
	w.Refuse(nil)
	if got := w.body(b, "k"); got != "NoSuchBucket" {
		t.Error(got)
	}
	w.bucket("bucket")
	w.put(b, "k", "new")
	if got := w.body(b, "k"); got != "new" {
		t.Error(got)
	}
	w.Clock.Advance(time.Hour)
	if got := w.bodies(); len(got) != 0 {
		t.Errorf("delivered after a reset: %s", got)
	}
}
