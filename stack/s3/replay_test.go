package s3_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

const (
	queueARN = "arn:aws:sqs:us-east-1:111111111111:my-queue"
	topicARN = "arn:aws:sns:us-east-1:111111111111:my-topic"
	fnARN    = "arn:aws:lambda:us-east-1:111111111111:function:my-function"
	busARN   = "arn:aws:events:us-east-1:111111111111:event-bus/default"
)

// recorded is a world whose client has the account of the recordings.
func recorded(t *testing.T) *world {
	w := newWorld(t)
	w.Client = w.client(stacktest.Region, asAccount)
	return w
}

func asAccount(o *awss3.Options) {
	o.Credentials = credentials.NewStaticCredentialsProvider("111111111111", "x", "")
}

func eventsOf(names ...string) []types.Event {
	var list []types.Event
	for _, n := range names {
		list = append(list, types.Event(n))
	}
	return list
}

func (w *world) notify(bucket *string, config *types.NotificationConfiguration) {
	w.t.Helper()
	if err := w.tryNotify(bucket, config, false); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryNotify(bucket *string, config *types.NotificationConfiguration, skip bool) error {
	_, err := w.PutBucketNotificationConfiguration(w.t.Context(), &awss3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: config, SkipDestinationValidation: &skip,
	})
	return err
}

// toQueue notifies a queue of events.
func (w *world) toQueue(bucket *string, names ...string) {
	w.t.Helper()
	w.notify(bucket, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{QueueArn: aws.String(queueARN), Events: eventsOf(names...)}}})
}

// bodies are the documents that were delivered, but for test events.
func (w *world) bodies() (list []json.RawMessage) {
	for _, d := range w.Delivered() {
		if !strings.Contains(d.Message.Body, "s3:TestEvent") {
			list = append(list, json.RawMessage(d.Message.Body))
		}
	}
	return list
}

// records are those of the documents that were delivered.
func (w *world) records() map[string]any {
	w.t.Helper()
	list := []any{}
	for _, b := range w.bodies() {
		var doc struct{ Records []json.RawMessage }
		if err := json.Unmarshal(b, &doc); err != nil {
			w.t.Fatal(err)
		}
		for _, r := range doc.Records {
			list = append(list, r)
		}
	}
	return map[string]any{"messages": list}
}

// refusal is the answer to a document that an error is wanted for, as boto3 shows it. The Go SDK keeps no more of an
// error than its code and message.
func (w *world) refusal(method, path, body string, header ...string) map[string]any {
	w.t.Helper()
	header = append(header, "Authorization", "AWS4-HMAC-SHA256 Credential=111111111111/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00")
	resp, text := w.raw(method, path, body, header...)
	d := xml.NewDecoder(strings.NewReader(text))
	e := map[string]any{}
	name, value := "", ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.t.Fatalf("%v in %q", err, text)
		}
		switch x := token.(type) {
		case xml.StartElement:
			name, value = x.Name.Local, ""
		case xml.CharData:
			value += string(x)
		case xml.EndElement:
			if x.Name.Local == name && name != "RequestId" && name != "HostId" && name != "Error" {
				e[name] = value
			}
		}
	}
	return map[string]any{"Error": e, "ResponseMetadata": map[string]any{"HTTPStatusCode": resp.StatusCode}}
}

func queueConfig(id, arn, event string) string {
	return "<QueueConfiguration><Id>" + id + "</Id><Queue>" + arn + "</Queue><Event>" + event + "</Event></QueueConfiguration>"
}

func config(parts ...string) string {
	return `<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + strings.Join(parts, "") + "</NotificationConfiguration>"
}

func TestReplayNotificationsToQueues(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) fixtures.Recordings {
		return fixtures.Snapshot(t, "localstack-snapshots/test_s3_notifications_sqs.snapshot.json")
	}
	steps := map[string]func(t *testing.T, w *world, r *fixtures.Replay){
		"test_object_created_put": func(_ *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectCreated:Put")
			w.put(b, "my_key_0", "something")
			w.put(b, "my_key_1", "something else")
			r.Match("receive_messages", w.records())
		},
		"test_object_created_and_object_removed": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
			w.put(b, "src-key", "something")
			if _, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: b, CopySource: aws.String("bucket-a/src-key"), Key: aws.String("dest-key")}); err != nil {
				t.Fatal(err)
			}
			w.remove(b, "src-key", "")
			got := w.records()["messages"].([]any)
			got[0], got[1] = got[1], got[0] // by the name of the event
			r.Match("receive_messages", map[string]any{"messages": got})
		},
		"test_key_encoding": func(_ *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectCreated:*")
			w.put(b, "a@b", "something")
			r.Match("receive_messages", w.records())
		},
		"test_object_created_put_with_presigned_url_upload": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectCreated:*")
			w.presignedPut(w.Client, b, "key-by-hostname", "something")
			r.Match("receive_messages", w.records())

			far := w.client("eu-west-1", asAccount)
			c := aws.String("bucket-b")
			if _, err := far.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: c, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}); err != nil {
				t.Fatal(err)
			}
			w.Client = far
			w.notify(c, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
				QueueArn: aws.String("arn:aws:sqs:eu-west-1:111111111111:my-queue"), Events: eventsOf("s3:ObjectCreated:*"),
			}}})
			before := len(w.bodies())
			w.presignedPut(far, c, "key-by-hostname", "something")
			all := w.records()["messages"].([]any)
			r.Match("receive_messages_region_2", map[string]any{"messages": all[before:]})
		},
		"test_object_tagging_put_event": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectTagging:Put")
			w.put(b, "dest-key", "FooBarBlitz")
			w.tag(b, "dest-key", "swallow_type", "african")
			r.Match("receive_messages", w.records())
		},
		"test_xray_header": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.toQueue(b, "s3:ObjectCreated:*")
			const trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
			w.raw("PUT", "/bucket-a/test-data", "something", "X-Amzn-Trace-Id", trace, "Authorization",
				"AWS4-HMAC-SHA256 Credential=111111111111/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00")
			d := w.Delivered()[1]
			r.Match("receive_messages", map[string]any{"messages": []any{map[string]any{
				"Attributes": map[string]any{"AWSTraceHeader": d.Message.TraceHeader}, "Body": json.RawMessage(d.Message.Body),
				// What the queue adds.
				"MD5OfBody": "00000000000000000000000000000000", "MessageId": "00000000-0000-0000-0000-000000000000", "ReceiptHandle": "x",
			}}})
		},
		"test_notifications_with_filter": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			filter := &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{
				{Name: "Prefix", Value: aws.String("testupload/")}, {Name: "Suffix", Value: aws.String("testfile.txt")},
			}}}
			w.notify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{
				{Id: aws.String("id0001"), QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"), Filter: filter},
				{Id: aws.String("id0002"), QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectTagging:*"), Filter: filter},
			}})
			r.Match("config", w.config(b))
			w.put(b, "/testdata", `{"test": "bucket_notification1"}`)
			w.put(b, "testupload/dir1/testfile.txt", `{"test": "bucket_notification2"}`)
			got := w.records()["messages"].([]any)
			if len(got) != 1 {
				t.Fatalf("%d records", len(got))
			}
			r.Match("message", got[0])
			w.notify(b, &types.NotificationConfiguration{})
			r.Match("config_empty", w.config(b))
			q := types.QueueConfiguration{Id: aws.String("id123456"), QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectCreated:*")}
			w.notify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{q}})
			r.Match("config_updated", w.config(b))
			q.Filter = &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: filter.Key.FilterRules[:1]}}
			w.notify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{q}})
			r.Match("config_updated_filter", w.config(b))
		},
		"test_filter_rules_case_insensitive": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			err := w.tryNotify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
				QueueArn: aws.String("arn:aws:sqs:us-east-1:111111111111:my-queue-1234"), Events: eventsOf("s3:ObjectCreated:*"),
				Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{
					{Name: "suffix", Value: aws.String(".txt")}, {Name: "PREFIX", Value: aws.String("notif-")},
				}}},
			}}}, true)
			if err != nil {
				t.Fatal(err)
			}
			got := w.config(b)
			slices.Reverse(got.QueueConfigurations[0].Filter.Key.FilterRules) // by name
			r.Match("bucket_notification_configuration", got)
		},
		"test_filter_rules_empty_value": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			err := w.tryNotify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
				QueueArn: aws.String("arn:aws:sqs:us-east-1:111111111111:my-queue-1234"), Events: eventsOf("s3:ObjectCreated:*"),
				Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "Suffix", Value: aws.String("")}}}},
			}}}, true)
			if err != nil {
				t.Fatal(err)
			}
			r.Match("bucket_notification_configuration", w.config(b))
		},
		"test_invalid_sqs_arn": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.noQueues()
			bad := config(queueConfig("id123", "invalid-queue", "s3:ObjectCreated:*"))
			r.Match("invalid_not_skip", w.refusal("PUT", "/bucket-a?notification", bad))
			r.Match("invalid_skip", w.refusal("PUT", "/bucket-a?notification", bad, "X-Amz-Skip-Destination-Validation", "true"))
			r.Match("queue-does-not-exist", w.refusal("PUT", "/bucket-a?notification", config(queueConfig("id123", queueARN, "s3:ObjectCreated:*"))))
			err := w.tryNotify(b, &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
				Id: aws.String("id123"), QueueArn: aws.String(queueARN), Events: eventsOf("s3:ObjectCreated:*"),
			}}}, true)
			if err != nil {
				t.Fatal(err)
			}
			r.Match("skip_destination_validation", w.config(b))
		},
		"test_multiple_invalid_sqs_arns": func(_ *testing.T, w *world, r *fixtures.Replay) {
			w.bucket("bucket-a")
			w.noQueues()
			try := func(first, second string) map[string]any {
				return w.refusal("PUT", "/bucket-a?notification", config(
					queueConfig("id1", first, "s3:ObjectCreated:*"), queueConfig("id2", second, "s3:ObjectRemoved:*")))
			}
			r.Match("two-queue-arns-invalid", try("invalid_arn", "invalid_arn_2"))
			r.Match("one-queue-invalid-one-not-existent", try(queueARN, "invalid_arn_2"))
			r.Match("multiple-queues-do-not-exist", try(queueARN, queueARN+"-2"))
		},
		"test_object_put_acl": func(_ *testing.T, w *world, r *fixtures.Replay) {
			b := w.openBucket("bucket-a")
			w.toQueue(b, "s3:ObjectAcl:Put")
			w.changeACLs(b, "my_key_acl")
			r.Match("receive_messages", w.records())
		},
	}
	replay(t, file, steps, map[string]string{"test_restore_object": "the stack has no archive to restore from"})
}

// replay runs the steps of each test of a file.
func replay(t *testing.T, file func(*testing.T) fixtures.Recordings, steps map[string]func(*testing.T, *world, *fixtures.Replay), left map[string]string) {
	for full := range file(t) {
		name := full[strings.LastIndex(full, "::")+2:]
		if left[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := steps[name]
			if step == nil {
				t.Fatal("there is no replay of this recording")
			}
			step(t, recorded(t), fixtures.NewReplay(t, file(t)[full]))
		})
	}
}

func (w *world) remove(bucket *string, key, version string) *awss3.DeleteObjectOutput {
	w.t.Helper()
	in := &awss3.DeleteObjectInput{Bucket: bucket, Key: &key}
	if version != "" {
		in.VersionId = &version
	}
	out, err := w.DeleteObject(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) tag(bucket *string, key string, pairs ...string) {
	w.t.Helper()
	set := types.Tagging{TagSet: []types.Tag{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		set.TagSet = append(set.TagSet, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	if _, err := w.PutObjectTagging(w.t.Context(), &awss3.PutObjectTaggingInput{Bucket: bucket, Key: &key, Tagging: &set}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) config(bucket *string) *awss3.GetBucketNotificationConfigurationOutput {
	w.t.Helper()
	out, err := w.GetBucketNotificationConfiguration(w.t.Context(), &awss3.GetBucketNotificationConfigurationInput{Bucket: bucket})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// noQueues makes all targets unknown.
func (w *world) noQueues() {
	w.Refuse(func(string, env.Message) error {
		return &wire.Error{Code: "QueueDoesNotExist", Message: "The specified queue does not exist."}
	})
}

// presignedPut puts an object by a URL alone.
func (w *world) presignedPut(client *awss3.Client, bucket *string, key, body string) {
	w.t.Helper()
	var signed *v4.PresignedHTTPRequest
	signed, err := awss3.NewPresignClient(client).PresignPutObject(w.t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: &key})
	if err != nil {
		w.t.Fatal(err)
	}
	resp, text := w.raw("PUT", strings.TrimPrefix(signed.URL, w.endpoint), body)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%d %s", resp.StatusCode, text)
	}
}

// openBucket makes a bucket in which lists of access may be set.
func (w *world) openBucket(name string) *string {
	w.t.Helper()
	b := w.bucket(name)
	if _, err := w.DeleteBucketOwnershipControls(w.t.Context(), &awss3.DeleteBucketOwnershipControlsInput{Bucket: b}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.DeletePublicAccessBlock(w.t.Context(), &awss3.DeletePublicAccessBlockInput{Bucket: b}); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// changeACLs puts an object and then lists of access, of which the first changes nothing.
func (w *world) changeACLs(b *string, key string) {
	w.t.Helper()
	w.put(b, key, "something")
	buckets, err := w.ListBuckets(w.t.Context(), &awss3.ListBucketsInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	const logDelivery = "http://acs.amazonaws.com/groups/s3/LogDelivery"
	for _, in := range []*awss3.PutObjectAclInput{
		{ACL: types.ObjectCannedACLPrivate},
		{ACL: types.ObjectCannedACLPublicRead},
		{GrantRead: aws.String(`uri="` + logDelivery + `"`)},
		{AccessControlPolicy: &types.AccessControlPolicy{Owner: buckets.Owner, Grants: []types.Grant{
			{Grantee: &types.Grantee{ID: buckets.Owner.ID, Type: types.TypeCanonicalUser}, Permission: types.PermissionFullControl},
			{Grantee: &types.Grantee{URI: aws.String(logDelivery), Type: types.TypeGroup}, Permission: types.PermissionWrite},
		}}},
	} {
		in.Bucket, in.Key = b, &key
		if _, err := w.PutObjectAcl(w.t.Context(), in); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestReplayNotificationsToTopics(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) fixtures.Recordings {
		return fixtures.Snapshot(t, "localstack-snapshots/test_s3_notifications_sns.snapshot.json")
	}
	topicConfig := func(arn string) string {
		return config("<TopicConfiguration><Id>id123</Id><Topic>" + arn + "</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration>")
	}
	replay(t, file, map[string]func(*testing.T, *world, *fixtures.Replay){
		"test_bucket_notifications_with_filter": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			w.notify(b, &types.NotificationConfiguration{TopicConfigurations: []types.TopicConfiguration{{
				TopicArn: aws.String(topicARN), Events: eventsOf("s3:ObjectCreated:*"),
				Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "Prefix", Value: aws.String("testupload/")}}}},
			}}})
			w.put(b, "/testdata", "{}")
			w.put(b, "testupload/dir1/testfile.txt", `{"test": "bucket_notification one"}`)
			d := w.Delivered()
			if len(d) != 2 || d[0].Message.Subject != "Amazon S3 Notification" || d[1].Target != topicARN {
				t.Fatalf("delivered %+v", d)
			}
			r.Match("message", map[string]any{
				"Message": d[1].Message.Body, "Subject": d[1].Message.Subject, "TopicArn": d[1].Target,
				// What the topic adds.
				"MessageId": "00000000-0000-0000-0000-000000000000", "Signature": "x", "SignatureVersion": "1", "Timestamp": "2026-01-02T03:04:05.000Z",
				"Type": "Notification", "SigningCertURL": "http://x/SimpleNotificationService-1",
				"UnsubscribeURL": "http://x/?Action=Unsubscribe&SubscriptionArn=" + topicARN + ":2",
			})
		},
		"test_invalid_topic_arn": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			r.Match("invalid_not_skip", w.refusal("PUT", "/bucket-a?notification", topicConfig("invalid-topic")))
			r.Match("invalid_skip", w.refusal("PUT", "/bucket-a?notification", topicConfig("invalid-topic"), "X-Amz-Skip-Destination-Validation", "true"))
			w.noQueues()
			err := w.tryNotify(b, &types.NotificationConfiguration{TopicConfigurations: []types.TopicConfiguration{{
				Id: aws.String("id123"), TopicArn: aws.String(topicARN), Events: eventsOf("s3:ObjectCreated:*"),
			}}}, true)
			if err != nil {
				t.Fatal(err)
			}
			r.Match("skip_destination_validation", w.config(b))
		},
		"test_bucket_not_exist": func(_ *testing.T, w *world, r *fixtures.Replay) {
			r.Match("bucket_not_exists", w.refusal("PUT", "/bucket-a?notification", topicConfig(topicARN)))
		},
	}, nil)
}

// attributes shows a JSON value as an item of a table has it.
func attributes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = attributes(e)
		}
		return map[string]any{"M": m}
	case float64:
		n, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return map[string]any{"N": string(n)}
	default:
		return map[string]any{"S": v}
	}
}

func TestReplayNotificationsToFunctions(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) fixtures.Recordings {
		return fixtures.Snapshot(t, "localstack-snapshots/test_s3_notifications_lambda.snapshot.json")
	}
	toFunction := func(w *world, b *string) {
		w.notify(b, &types.NotificationConfiguration{LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{{
			LambdaFunctionArn: aws.String(fnARN), Events: eventsOf("s3:ObjectCreated:*"),
		}}})
	}
	record := func(t *testing.T, r any) any {
		var v any
		if err := json.Unmarshal(r.(json.RawMessage), &v); err != nil {
			t.Fatal(err)
		}
		return attributes(v)
	}
	replay(t, file, map[string]func(*testing.T, *world, *fixtures.Replay){
		"test_create_object_put_via_dynamodb": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			toFunction(w, b)
			w.put(b, "key", "something..")
			got := w.records()["messages"].([]any)
			if len(got) != 1 || len(w.Delivered()) != 1 {
				t.Fatalf("delivered %v", w.Delivered())
			}
			r.Match("table_content", record(t, got[0]))
		},
		"test_create_object_by_presigned_request_via_dynamodb": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			toFunction(w, b)
			w.presignedPut(w.Client, b, "key", "by_presigned_put")
			post, err := awss3.NewPresignClient(w.Client).PresignPostObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("key")}, func(o *awss3.PresignPostOptions) {
				o.Expires = 1000 * 24 * time.Hour // the world's clock is not the SDK's
			})
			if err != nil {
				t.Fatal(err)
			}
			resp, text := w.post("/bucket-a", post.Values, "by post method 1")
			if resp.StatusCode != http.StatusNoContent {
				t.Fatalf("%d %s", resp.StatusCode, text)
			}
			got := w.records()["messages"].([]any)
			item := func(id string, rec any) any {
				return map[string]any{"uuid": map[string]any{"S": "00000000-0000-0000-0000-00000000000" + id}, "data": record(t, rec)}
			}
			r.Match("items", []any{item("1", got[1]), item("2", got[0])}) // by the name of the event
		},
	}, nil)
}

// post sends a form with a file.
func (w *world) post(path string, fields map[string]string, file string) (*http.Response, string) {
	w.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for k, v := range fields {
		if err := form.WriteField(k, v); err != nil {
			w.t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", "photo.jpg")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(part, file); err != nil {
		w.t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		w.t.Fatal(err)
	}
	return w.raw("POST", path, body.String(), "Content-Type", form.FormDataContentType())
}

func TestReplayNotificationsToEventBridge(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T) fixtures.Recordings {
		return fixtures.Snapshot(t, "localstack-snapshots/test_s3_notifications_eventbridge.snapshot.json")
	}
	toBus := func(w *world, b *string) {
		w.notify(b, &types.NotificationConfiguration{EventBridgeConfiguration: &types.EventBridgeConfiguration{}})
	}
	replay(t, file, map[string]func(*testing.T, *world, *fixtures.Replay){
		"test_object_created_put": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			toBus(w, b)
			w.put(b, "test-key", "data")
			w.remove(b, "test-key", "")
			got := w.bodies()
			if len(got) != 2 || w.Delivered()[0].Target != busARN {
				t.Fatalf("delivered %v", w.Delivered())
			}
			r.Match("object_created", got[0])
			r.Match("object_deleted", got[1])
		},
		"test_object_put_acl": func(_ *testing.T, w *world, r *fixtures.Replay) {
			b := w.openBucket("bucket-a")
			toBus(w, b)
			w.changeACLs(b, "my_key_acl")
			got := w.bodies()
			r.Match("messages", map[string]any{"messages": append(got[1:len(got):len(got)], got[0])})
		},
		"test_object_created_put_in_different_region": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			toBus(w, b)
			far := w.client("eu-west-1", asAccount)
			_, err := far.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("test-key"), Body: strings.NewReader("data")})
			if code(t, err) != "AuthorizationHeaderMalformed" { // then boto3 signs again for the region that it is told
				t.Fatal(err)
			}
			w.put(b, "test-key", "data")
			w.put(b, "test-key", "data")
			r.Match("object-created-different-regions", map[string]any{"messages": w.bodies()})
		},
		"test_object_created_put_versioned": func(t *testing.T, w *world, r *fixtures.Replay) {
			b := w.bucket("bucket-a")
			toBus(w, b)
			w.versioning(b, types.BucketVersioningStatusEnabled)
			put := func(body string) *awss3.PutObjectOutput {
				out, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("test-key"), Body: strings.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			first := put("data")
			r.Match("obj-ver1", first)
			r.Match("obj-ver2", put("data-version2"))
			marker := w.remove(b, "test-key", "")
			r.Match("delete-marker", marker)
			r.Match("delete-version", w.remove(b, "test-key", *first.VersionId))
			w.versioning(b, types.BucketVersioningStatusSuspended)
			r.Match("add-null-version", put("data-version3"))
			r.Match("del-delete-marker", w.remove(b, "test-key", *marker.VersionId))
			got := w.bodies()
			if len(got) != 6 {
				t.Fatalf("%d events", len(got))
			}
			r.Match("message-versioning-suspended", got[4:])
			r.Match("message-versioning-active", got[4:]) // the recording shows the later list twice
		},
	}, nil)
}

func (w *world) versioning(bucket *string, status types.BucketVersioningStatus) {
	w.t.Helper()
	_, err := w.PutBucketVersioning(w.t.Context(), &awss3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status}})
	if err != nil {
		w.t.Fatal(err)
	}
}
