package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

const (
	s3API   = "https://docs.aws.amazon.com/AmazonS3/latest/API/API_"
	s3Guide = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
)

func (t *T) bucket(what string) string {
	name := t.name(what)
	ok(t.S3.CreateBucket(t.ctx, &s3.CreateBucketInput{Bucket: &name}))
	return name
}

func (t *T) versioned(what string) string {
	b := t.bucket(what)
	ok(t.S3.PutBucketVersioning(t.ctx, &s3.PutBucketVersioningInput{Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}))
	return b
}

func (t *T) putObject(bucket, key, body string) *s3.PutObjectOutput {
	return ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}))
}

// object reads an object.
func (t *T) object(in *s3.GetObjectInput) (string, *s3.GetObjectOutput) {
	out := ok(t.S3.GetObject(t.ctx, in))
	defer out.Body.Close()
	return string(ok(io.ReadAll(out.Body))), out
}

func etag(body string) string {
	sum := md5.Sum([]byte(body))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// noObject demands that a key is not there.
func (t *T) noObject(bucket, key string) {
	t.refused("getting the object", errOf(t.S3.GetObject(t.ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})), "NoSuchKey")
}

// upload puts an object in two parts, of which the first has 5 MiB.
func (t *T) upload(bucket, key string) (first, last string) {
	first, last = strings.Repeat("a", 5<<20), "end"
	id := ok(t.S3.CreateMultipartUpload(t.ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})).UploadId
	var parts []types.CompletedPart
	for i, body := range []string{first, last} {
		number := ptr(int32(i + 1))
		p := ok(t.S3.UploadPart(t.ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: id, PartNumber: number, Body: strings.NewReader(body)}))
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: p.ETag})
	}
	ok(t.S3.CompleteMultipartUpload(t.ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}))
	return first, last
}

// notify makes a bucket that tells a queue of events, and returns both. The test message is taken from the queue.
func (t *T) notify(bucket string, filter *types.NotificationConfigurationFilter, events ...types.Event) (queue string) {
	queue = t.queue("q", nil)
	t.admit(queue)
	ok(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &bucket, NotificationConfiguration: &types.NotificationConfiguration{
		QueueConfigurations: []types.QueueConfiguration{{Id: ptr("id"), QueueArn: ptr(t.queueARN(queue)), Events: events, Filter: filter}},
	}}))
	m := t.receiveOne(queue)
	t.want("Event of the test message", t.document("the test message", text(m.Body))["Event"], "s3:TestEvent")
	t.remove(queue, m)
	return queue
}

// notes receives n notifications, which are all that come, in the order of their time.
func (t *T) notes(queue string, n int) (records []map[string]any) {
	for range 8 {
		for _, m := range t.receive(queue, 1) {
			t.remove(queue, m)
			list, _ := t.document("the notification", text(m.Body))["Records"].([]any)
			for _, r := range list {
				record, _ := r.(map[string]any)
				records = append(records, record)
			}
		}
		if len(records) >= n {
			break
		}
	}
	if extra := t.receive(queue, 0); len(records) != n || len(extra) > 0 {
		var names []string
		for _, r := range records {
			names = append(names, brief(r["eventName"]))
		}
		t.wrong("%d notifications come (%s), not %d", len(records)+len(extra), strings.Join(names, ", "), n)
	}
	slices.SortStableFunc(records, func(a, b map[string]any) int {
		x, _ := at(a, "s3", "object", "sequencer").(string)
		y, _ := at(b, "s3", "object", "sequencer").(string)
		return strings.Compare(x, y)
	})
	return records
}

// names are the events of notifications.
func names(records []map[string]any) (all []string) {
	for _, r := range records {
		name, _ := r["eventName"].(string)
		all = append(all, name)
	}
	return all
}

func s3Cases() []Case {
	sqsToo := []string{"sqs"}
	return []Case{
		{
			ID: "s3-put-get", URL: s3API + "PutObject.html",
			Says: "Entity tag for the uploaded object.",
			Run: func(t *T) {
				b := t.bucket("b")
				out := ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{
					Bucket: &b, Key: ptr("dir/ключ +&?"), Body: strings.NewReader("hello"), ContentType: ptr("text/x"), Metadata: attrs{"k": "v"}, CacheControl: ptr("no-cache"),
				}))
				t.want("ETag", out.ETag, etag("hello"))
				body, got := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("dir/ключ +&?")})
				t.want("the body", body, "hello")
				t.want("ContentType", got.ContentType, "text/x")
				t.want("Metadata", got.Metadata, attrs{"k": "v"})
				t.want("CacheControl", got.CacheControl, "no-cache")
				t.want("ContentLength", got.ContentLength, 5)
				t.want("ETag", got.ETag, etag("hello"))
			},
		},
		{
			ID: "s3-range", URL: s3API + "GetObject.html",
			Says: "Downloads the specified byte range of an object.",
			Run: func(t *T) {
				b := t.bucket("b")
				t.putObject(b, "k", "0123456789")
				for asked, want := range (attrs{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-2": "89", "bytes=8-100": "89"}) {
					body, out := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k"), Range: &asked})
					t.want("the range "+asked, body, want)
					t.that(strings.HasPrefix(text(out.ContentRange), "bytes ") && strings.HasSuffix(text(out.ContentRange), "/10"), "ContentRange is %q", text(out.ContentRange))
				}
				t.refused("a range beyond the object", errOf(t.S3.GetObject(t.ctx, &s3.GetObjectInput{Bucket: &b, Key: ptr("k"), Range: ptr("bytes=10-")})), "InvalidRange")
			},
		},
		{
			ID: "s3-missing", URL: s3API + "GetObject.html",
			Says: "The specified key does not exist.",
			Run: func(t *T) {
				b := t.bucket("b")
				t.noObject(b, "gone")
				t.refused("getting from a bucket that there is not", errOf(t.S3.GetObject(t.ctx, &s3.GetObjectInput{Bucket: ptr(t.name("gone")), Key: ptr("k")})), "NoSuchBucket")
				t.refused("the head of no object", errOf(t.S3.HeadObject(t.ctx, &s3.HeadObjectInput{Bucket: &b, Key: ptr("gone")})), "NotFound")
				ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("gone")}))
			},
		},
		{
			ID: "s3-bucket-not-empty", URL: s3API + "DeleteBucket.html",
			Says: "All objects (including all object versions and delete markers) in the bucket must be deleted before the bucket itself can be deleted.",
			Run: func(t *T) {
				b := t.versioned("b")
				v := t.putObject(b, "k", "x").VersionId
				marker := ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k")})).VersionId
				t.refused("deleting a bucket with versions", errOf(t.S3.DeleteBucket(t.ctx, &s3.DeleteBucketInput{Bucket: &b})), "BucketNotEmpty")
				for _, id := range []*string{v, marker} {
					ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k"), VersionId: id}))
				}
				ok(t.S3.DeleteBucket(t.ctx, &s3.DeleteBucketInput{Bucket: &b}))
			},
		},
		{
			ID: "s3-copy", URL: s3API + "CopyObject.html",
			Says: "When copying an object, you can preserve all metadata (the default) or specify new metadata.",
			Run: func(t *T) {
				b := t.bucket("b")
				ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("a b"), Body: strings.NewReader("x"), Metadata: attrs{"k": "v"}}))
				out := ok(t.S3.CopyObject(t.ctx, &s3.CopyObjectInput{Bucket: &b, Key: ptr("kept"), CopySource: ptr(b + "/a%20b")}))
				t.want("ETag", out.CopyObjectResult.ETag, etag("x"))
				ok(t.S3.CopyObject(t.ctx, &s3.CopyObjectInput{Bucket: &b, Key: ptr("new"), CopySource: ptr(b + "/a%20b"), MetadataDirective: types.MetadataDirectiveReplace, Metadata: attrs{"k": "w"}}))
				_, kept := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("kept")})
				t.want("the metadata that is kept", kept.Metadata, attrs{"k": "v"})
				_, replaced := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("new")})
				t.want("the metadata that is replaced", replaced.Metadata, attrs{"k": "w"})
				t.refused("a copy onto itself without a change", errOf(t.S3.CopyObject(t.ctx, &s3.CopyObjectInput{Bucket: &b, Key: ptr("kept"), CopySource: ptr(b + "/kept")})), "InvalidRequest")
			},
		},
		{
			ID: "s3-multipart", URL: s3API + "CompleteMultipartUpload.html",
			Says: "Upon receiving this request, Amazon S3 concatenates all the parts in ascending order by part number to create a new object.",
			Run: func(t *T) {
				b := t.bucket("b")
				first, last := t.upload(b, "big")
				body, out := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("big")})
				t.that(body == first+last, "the object is not the two parts")
				a, z := md5.Sum([]byte(first)), md5.Sum([]byte(last))
				sum := md5.Sum(append(a[:], z[:]...))
				t.want("ETag", out.ETag, `"`+hex.EncodeToString(sum[:])+`-2"`)
			},
		},
		{
			ID: "s3-multipart-small", URL: s3API + "CompleteMultipartUpload.html",
			Says: "Each part must be at least 5 MB in size, except the last part.",
			Run: func(t *T) {
				b := t.bucket("b")
				id := ok(t.S3.CreateMultipartUpload(t.ctx, &s3.CreateMultipartUploadInput{Bucket: &b, Key: ptr("k")})).UploadId
				var parts []types.CompletedPart
				for i := range int32(2) {
					p := ok(t.S3.UploadPart(t.ctx, &s3.UploadPartInput{Bucket: &b, Key: ptr("k"), UploadId: id, PartNumber: ptr(i + 1), Body: strings.NewReader("small")}))
					parts = append(parts, types.CompletedPart{PartNumber: ptr(i + 1), ETag: p.ETag})
				}
				complete := func(p []types.CompletedPart) error {
					return errOf(t.S3.CompleteMultipartUpload(t.ctx, &s3.CompleteMultipartUploadInput{Bucket: &b, Key: ptr("k"), UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: p}}))
				}
				t.refused("a small part that is not the last", complete(parts), "EntityTooSmall")
				t.refused("parts out of order", complete([]types.CompletedPart{parts[1], parts[0]}), "InvalidPartOrder")
				t.refused("a part that was not uploaded", complete([]types.CompletedPart{{PartNumber: ptr[int32](9), ETag: parts[0].ETag}}), "InvalidPart")
				ok(t.S3.AbortMultipartUpload(t.ctx, &s3.AbortMultipartUploadInput{Bucket: &b, Key: ptr("k"), UploadId: id}))
				t.refused("completing after the abortion", complete(parts[:1]), "NoSuchUpload")
			},
		},
		{
			ID: "s3-versions", URL: s3API + "PutBucketVersioning.html",
			Says: "All objects added to the bucket receive a unique version ID.",
			Run: func(t *T) {
				b := t.versioned("b")
				one, two := t.putObject(b, "k", "1").VersionId, t.putObject(b, "k", "2").VersionId
				t.that(one != nil && two != nil && *one != *two, "the version ids are %q and %q", text(one), text(two))
				body, _ := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k")})
				t.want("the current version", body, "2")
				body, _ = t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k"), VersionId: one})
				t.want("the first version", body, "1")
				var got []string
				for _, v := range ok(t.S3.ListObjectVersions(t.ctx, &s3.ListObjectVersionsInput{Bucket: &b})).Versions {
					got = append(got, text(v.VersionId))
				}
				t.want("the versions, latest first", got, []string{*two, *one})
			},
		},
		{
			ID: "s3-delete-marker", URL: s3API + "DeleteObject.html",
			Says: "If bucket versioning is enabled, the operation inserts a delete marker, which becomes the current version of the object.",
			Run: func(t *T) {
				b := t.versioned("b")
				v := t.putObject(b, "k", "1").VersionId
				gone := ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k")}))
				t.that(gone.DeleteMarker != nil && *gone.DeleteMarker, "the answer does not tell of a delete marker")
				t.noObject(b, "k")
				body, _ := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k"), VersionId: v})
				t.want("the version below", body, "1")
				list := ok(t.S3.ListObjectVersions(t.ctx, &s3.ListObjectVersionsInput{Bucket: &b}))
				t.that(len(list.DeleteMarkers) == 1 && len(list.Versions) == 1, "%d delete markers and %d versions are listed", len(list.DeleteMarkers), len(list.Versions))
				t.want("whether the marker is the latest", list.DeleteMarkers[0].IsLatest, true)
				ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k"), VersionId: gone.VersionId}))
				body, _ = t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k")})
				t.want("the object without the marker", body, "1")
			},
		},
		{
			ID: "s3-suspended", URL: s3API + "PutBucketVersioning.html",
			Says: "All objects added to the bucket receive the version ID null.",
			Run: func(t *T) {
				b := t.versioned("b")
				v := t.putObject(b, "k", "1").VersionId
				ok(t.S3.PutBucketVersioning(t.ctx, &s3.PutBucketVersioningInput{Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended}}))
				t.putObject(b, "k", "2")
				t.putObject(b, "k", "3")
				body, _ := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k"), VersionId: ptr("null")})
				t.want("the version null", body, "3")
				body, _ = t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k"), VersionId: v})
				t.want("the version from before", body, "1")
				t.want("the number of versions", len(ok(t.S3.ListObjectVersions(t.ctx, &s3.ListObjectVersionsInput{Bucket: &b})).Versions), 2)
			},
		},
		{
			ID: "s3-tags", URL: s3API + "PutObjectTagging.html",
			Says: "Sets the supplied tag-set to an object that already exists in a bucket.",
			Run: func(t *T) {
				b := t.bucket("b")
				ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("k"), Body: strings.NewReader("x"), Tagging: ptr("a=1&b=2")}))
				get := func() attrs {
					all := attrs{}
					for _, tag := range ok(t.S3.GetObjectTagging(t.ctx, &s3.GetObjectTaggingInput{Bucket: &b, Key: ptr("k")})).TagSet {
						all[text(tag.Key)] = text(tag.Value)
					}
					return all
				}
				t.want("the tags of the put", get(), attrs{"a": "1", "b": "2"})
				ok(t.S3.PutObjectTagging(t.ctx, &s3.PutObjectTaggingInput{Bucket: &b, Key: ptr("k"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: ptr("c"), Value: ptr("3")}}}}))
				t.want("the tags", get(), attrs{"c": "3"})
				_, out := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k")})
				t.want("TagCount", out.TagCount, 1)
				ok(t.S3.DeleteObjectTagging(t.ctx, &s3.DeleteObjectTaggingInput{Bucket: &b, Key: ptr("k")}))
				t.want("the tags after their deletion", get(), attrs{})
			},
		},
		{
			ID: "s3-list", URL: s3API + "ListObjectsV2.html",
			Says: "All of the keys (up to 1,000) that share the same prefix are grouped together.",
			Run: func(t *T) {
				b := t.bucket("b")
				for _, k := range []string{"a", "d/1", "d/2", "e/1", "z ü"} {
					t.putObject(b, k, "x")
				}
				list := func(in *s3.ListObjectsV2Input) (all []string) {
					for in.Bucket = &b; ; {
						out := ok(t.S3.ListObjectsV2(t.ctx, in))
						for _, o := range out.Contents {
							all = append(all, text(o.Key))
						}
						for _, p := range out.CommonPrefixes {
							all = append(all, text(p.Prefix))
						}
						if in.MaxKeys != nil {
							t.that(len(out.Contents)+len(out.CommonPrefixes) <= int(*in.MaxKeys), "a page has more than MaxKeys")
						}
						if in.ContinuationToken = out.NextContinuationToken; in.ContinuationToken == nil {
							return all
						}
					}
				}
				t.want("all", list(&s3.ListObjectsV2Input{}), []string{"a", "d/1", "d/2", "e/1", "z ü"})
				t.want("in pages", list(&s3.ListObjectsV2Input{MaxKeys: ptr[int32](2)}), []string{"a", "d/1", "d/2", "e/1", "z ü"})
				t.want("by delimiter", sorted(list(&s3.ListObjectsV2Input{Delimiter: ptr("/")})), []string{"a", "d/", "e/", "z ü"})
				t.want("by delimiter in pages", list(&s3.ListObjectsV2Input{Delimiter: ptr("/"), MaxKeys: ptr[int32](1)}), []string{"a", "d/", "e/", "z ü"})
				t.want("by prefix", list(&s3.ListObjectsV2Input{Prefix: ptr("d/")}), []string{"d/1", "d/2"})
				t.want("after d/1", list(&s3.ListObjectsV2Input{StartAfter: ptr("d/1")}), []string{"d/2", "e/1", "z ü"})
			},
		},
		{
			ID: "s3-delete-many", URL: s3API + "DeleteObjects.html",
			Says: "If the object specified in the request isn't found, Amazon S3 confirms the deletion by returning the result as deleted.",
			Run: func(t *T) {
				b := t.bucket("b")
				t.putObject(b, "a", "x")
				out := ok(t.S3.DeleteObjects(t.ctx, &s3.DeleteObjectsInput{Bucket: &b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: ptr("a")}, {Key: ptr("gone")}}}}))
				var got []string
				for _, d := range out.Deleted {
					got = append(got, text(d.Key))
				}
				t.want("what is deleted", sorted(got), []string{"a", "gone"})
				t.noObject(b, "a")
			},
		},
		{
			ID: "s3-if-none-match", URL: s3API + "PutObject.html",
			Says: "Uploads the object only if the object key name does not already exist in the bucket specified.",
			Run: func(t *T) {
				b := t.bucket("b")
				put := func() error {
					return errOf(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("k"), Body: strings.NewReader("x"), IfNoneMatch: ptr("*")}))
				}
				if err := put(); err != nil {
					fail(err)
				}
				t.refused("a second put", put(), "PreconditionFailed")
				t.refused("a get if it has another ETag", errOf(t.S3.GetObject(t.ctx, &s3.GetObjectInput{Bucket: &b, Key: ptr("k"), IfMatch: ptr(etag("y"))})), "PreconditionFailed")
			},
		},
		{
			ID: "s3-checksum", URL: s3API + "PutObject.html",
			Says: "The Base64 encoded, 32-bit CRC32 checksum of the object.",
			Run: func(t *T) {
				b := t.bucket("b")
				t.refused("a wrong checksum", errOf(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("k"), Body: strings.NewReader("x"), ChecksumCRC32: ptr("AAAAAA==")})), "BadDigest|InvalidRequest")
				ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("k"), Body: strings.NewReader("123456789"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}))
				out := ok(t.S3.HeadObject(t.ctx, &s3.HeadObjectInput{Bucket: &b, Key: ptr("k"), ChecksumMode: types.ChecksumModeEnabled}))
				t.want("ChecksumCRC32", out.ChecksumCRC32, "y/Q5Jg==")
			},
		},
		{
			ID: "s3-presigned", URL: s3Guide + "ShareObjectPreSignedURL.html",
			Says: "A presigned URL uses security credentials to grant time-limited permission to download objects.",
			Run: func(t *T) {
				b := t.bucket("b")
				p := s3.NewPresignClient(t.S3)
				put := ok(p.PresignPutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("a b")}))
				do := func(method, url string, body io.Reader) (int, string) {
					r := ok(http.DefaultClient.Do(ok(http.NewRequestWithContext(t.ctx, method, url, body))))
					defer r.Body.Close()
					return r.StatusCode, string(ok(io.ReadAll(r.Body)))
				}
				status, _ := do(put.Method, put.URL, strings.NewReader("presigned"))
				t.want("the status of the put", status, 200)
				get := ok(p.PresignGetObject(t.ctx, &s3.GetObjectInput{Bucket: &b, Key: ptr("a b")}))
				status, body := do(get.Method, get.URL, nil)
				t.want("the status of the get", status, 200)
				t.want("the body", body, "presigned")
			},
		},

		// Notifications
		{
			ID: "s3-notify-record", With: sqsToo, URL: s3Guide + "notification-content-structure.html",
			Says: "The object key name value is URL encoded.",
			Run: func(t *T) {
				b := t.bucket("b")
				q := t.notify(b, nil, "s3:ObjectCreated:*")
				t.putObject(b, "in/a b+c@ü.txt", "hello")
				r := t.notes(q, 1)[0]
				for _, c := range []struct {
					path []any
					want any
				}{
					{[]any{"eventVersion"}, "2.1"},
					{[]any{"eventSource"}, "aws:s3"}, {[]any{"awsRegion"}, region}, {[]any{"eventName"}, "ObjectCreated:Put"},
					{[]any{"s3", "s3SchemaVersion"}, "1.0"}, {[]any{"s3", "configurationId"}, "id"}, {[]any{"s3", "bucket", "name"}, b},
					{[]any{"s3", "bucket", "arn"}, "arn:aws:s3:::" + b}, {[]any{"s3", "object", "key"}, "in/a+b%2Bc%40%C3%BC.txt"},
					{[]any{"s3", "object", "size"}, 5.0}, {[]any{"s3", "object", "eTag"}, strings.Trim(etag("hello"), `"`)}, {[]any{"s3", "object", "versionId"}, nil},
				} {
					t.want(strings.Trim(strings.Join(strings.Fields(brief(c.path)), "."), "[]"), at(r, c.path...), c.want)
				}
				when, _ := r["eventTime"].(string)
				t.that(regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(when), "eventTime is %q", when)
				for _, path := range [][]any{{"userIdentity", "principalId"}, {"requestParameters", "sourceIPAddress"}, {"responseElements", "x-amz-request-id"}, {"responseElements", "x-amz-id-2"}, {"s3", "bucket", "ownerIdentity", "principalId"}, {"s3", "object", "sequencer"}} {
					v, _ := at(r, path...).(string)
					t.that(v != "", "there is no %s", path[len(path)-1])
				}
			},
		},
		{
			ID: "s3-notify-test", With: sqsToo, URL: s3Guide + "notification-content-structure.html",
			Says: "After you configure an event notification on a bucket, Amazon S3 sends the following test message.",
			Run: func(t *T) {
				b, q := t.bucket("b"), t.queue("q", nil)
				t.admit(q)
				ok(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{
					QueueConfigurations: []types.QueueConfiguration{{QueueArn: ptr(t.queueARN(q)), Events: []types.Event{"s3:ObjectCreated:*"}}},
				}}))
				d := t.document("the test message", text(t.receiveOne(q).Body))
				t.want("Service", d["Service"], "Amazon S3")
				t.want("Event", d["Event"], "s3:TestEvent")
				t.want("Bucket", d["Bucket"], b)
				for _, name := range []string{"Time", "RequestId", "HostId"} {
					t.that(d[name] != nil, "there is no %s", name)
				}
				_, there := d["Records"]
				t.that(!there, "the test message has Records")
			},
		},
		{
			ID: "s3-notify-multipart", With: sqsToo, URL: s3Guide + "notification-how-to-event-types-and-destinations.html",
			Says: "s3:ObjectCreated:CompleteMultipartUpload",
			Run: func(t *T) {
				b := t.bucket("b")
				q := t.notify(b, nil, "s3:ObjectCreated:*")
				first, last := t.upload(b, "big")
				r := t.notes(q, 1)[0]
				t.want("eventName", r["eventName"], "ObjectCreated:CompleteMultipartUpload")
				t.want("size", at(r, "s3", "object", "size"), float64(len(first)+len(last)))
				tag, _ := at(r, "s3", "object", "eTag").(string)
				t.that(strings.HasSuffix(tag, "-2"), "eTag is %q", tag)
			},
		},
		{
			ID: "s3-notify-copy-delete", With: sqsToo, URL: s3Guide + "notification-how-to-event-types-and-destinations.html",
			Says: "s3:ObjectRemoved:Delete",
			Run: func(t *T) {
				b := t.bucket("b")
				t.putObject(b, "a", "x")
				q := t.notify(b, nil, "s3:ObjectCreated:Copy", "s3:ObjectRemoved:*")
				t.putObject(b, "b", "x") // not asked for
				ok(t.S3.CopyObject(t.ctx, &s3.CopyObjectInput{Bucket: &b, Key: ptr("copy"), CopySource: ptr(b + "/a")}))
				copied := t.notes(q, 1)[0]
				t.want("eventName", copied["eventName"], "ObjectCreated:Copy")
				ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("copy")}))
				r := t.notes(q, 1)[0]
				t.want("eventName", r["eventName"], "ObjectRemoved:Delete")
				o, _ := at(r, "s3", "object").(map[string]any)
				for _, name := range []string{"size", "eTag", "versionId"} {
					_, there := o[name]
					t.that(!there, "the object of ObjectRemoved:Delete has %s", name)
				}
				before, _ := at(copied, "s3", "object", "sequencer").(string)
				after, _ := o["sequencer"].(string)
				n := max(len(before), len(after))
				t.that(strings.Repeat("0", n-len(before))+before < strings.Repeat("0", n-len(after))+after, "the sequencer does not increase")
			},
		},
		{
			ID: "s3-notify-marker", With: sqsToo, URL: s3Guide + "notification-how-to-event-types-and-destinations.html",
			Says: "s3:ObjectRemoved:DeleteMarkerCreated",
			Run: func(t *T) {
				b := t.versioned("b")
				q := t.notify(b, nil, "s3:ObjectCreated:*", "s3:ObjectRemoved:*")
				v := t.putObject(b, "k", "x").VersionId
				t.want("versionId", at(t.notes(q, 1)[0], "s3", "object", "versionId"), text(v))
				marker := ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k")})).VersionId
				r := t.notes(q, 1)[0]
				t.want("eventName", r["eventName"], "ObjectRemoved:DeleteMarkerCreated")
				t.want("versionId", at(r, "s3", "object", "versionId"), text(marker))
				t.want("eTag", at(r, "s3", "object", "eTag"), strings.Trim(etag(""), `"`))
				t.want("size", at(r, "s3", "object", "size"), nil)
				ok(t.S3.DeleteObject(t.ctx, &s3.DeleteObjectInput{Bucket: &b, Key: ptr("k"), VersionId: v}))
				t.want("eventName", names(t.notes(q, 1)), []string{"ObjectRemoved:Delete"})
			},
		},
		{
			ID: "s3-notify-many", With: sqsToo, URL: s3Guide + "notification-how-to-event-types-and-destinations.html",
			Says: "s3:ObjectRemoved:*",
			Run: func(t *T) {
				b := t.bucket("b")
				t.putObject(b, "a", "x")
				t.putObject(b, "b", "x")
				q := t.notify(b, nil, "s3:ObjectRemoved:*")
				ok(t.S3.DeleteObjects(t.ctx, &s3.DeleteObjectsInput{Bucket: &b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: ptr("a")}, {Key: ptr("b")}}}}))
				t.want("the events", names(t.notes(q, 2)), []string{"ObjectRemoved:Delete", "ObjectRemoved:Delete"})
			},
		},
		{
			ID: "s3-notify-tags", With: sqsToo, URL: s3Guide + "notification-how-to-event-types-and-destinations.html",
			Says: "s3:ObjectTagging:Put",
			Run: func(t *T) {
				b := t.bucket("b")
				q := t.notify(b, nil, "s3:ObjectTagging:*")
				t.putObject(b, "k", "x")
				ok(t.S3.PutObjectTagging(t.ctx, &s3.PutObjectTaggingInput{Bucket: &b, Key: ptr("k"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: ptr("a"), Value: ptr("1")}}}}))
				r := t.notes(q, 1)[0]
				t.want("eventName", r["eventName"], "ObjectTagging:Put")
				t.want("eventVersion", r["eventVersion"], "2.3")
				t.want("eTag", at(r, "s3", "object", "eTag"), strings.Trim(etag("x"), `"`))
				ok(t.S3.DeleteObjectTagging(t.ctx, &s3.DeleteObjectTaggingInput{Bucket: &b, Key: ptr("k")}))
				t.want("the event", names(t.notes(q, 1)), []string{"ObjectTagging:Delete"})
			},
		},
		{
			ID: "s3-notify-filter", With: sqsToo, URL: s3Guide + "notification-how-to-filtering.html",
			Says: "If an event type that you didn't specify occurs in your S3 bucket, Amazon S3 doesn't send the notification.",
			Run: func(t *T) {
				b := t.bucket("b")
				q := t.notify(b, &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{
					{Name: "prefix", Value: ptr("in/ä ")}, {Name: "suffix", Value: ptr(".txt")},
				}}}, "s3:ObjectCreated:*")
				for _, key := range []string{"in/ä 1.txt", "in/ä 1.tx", "out/ä 1.txt", "in/ä .txt"} {
					t.putObject(b, key, "x")
				}
				var keys []string
				for _, r := range t.notes(q, 2) {
					key, _ := at(r, "s3", "object", "key").(string)
					keys = append(keys, key)
				}
				t.want("the keys", sorted(keys), []string{"in/%C3%A4+.txt", "in/%C3%A4+1.txt"})
			},
		},
		{
			ID: "s3-notify-overlap", With: sqsToo, URL: s3Guide + "notification-how-to-filtering.html",
			Says: "Notification configurations that use Filter cannot define filtering rules with overlapping prefixes, overlapping suffixes, or prefix and suffix overlapping.",
			Run: func(t *T) {
				b, q := t.bucket("b"), t.queue("q", nil)
				t.admit(q)
				arn := ptr(t.queueARN(q))
				filter := func(prefix string) *types.NotificationConfigurationFilter {
					return &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: &prefix}}}}
				}
				t.refused("overlapping configurations", errOf(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{
					Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{
						{QueueArn: arn, Events: []types.Event{"s3:ObjectCreated:*"}, Filter: filter("in/")},
						{QueueArn: arn, Events: []types.Event{"s3:ObjectCreated:Put"}, Filter: filter("in/deep/")},
					}},
				})), "InvalidArgument")
			},
		},
		{
			ID: "s3-notify-destination", With: sqsToo, URL: s3API + "PutBucketNotificationConfiguration.html",
			Says: "After Amazon S3 receives this request, it first verifies that any Amazon Simple Notification Service (Amazon SNS) or Amazon Simple Queue Service (Amazon SQS) destination exists, and that the bucket owner has permission to publish to it by sending a test notification.",
			Run: func(t *T) {
				b, q := t.bucket("b"), t.queue("q", nil)
				t.refused("a queue that there is not", errOf(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{
					Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{
						{QueueArn: ptr(t.queueARN(q) + "gone"), Events: []types.Event{"s3:ObjectCreated:*"}},
					}},
				})), "InvalidArgument")
				out := ok(t.S3.GetBucketNotificationConfiguration(t.ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &b}))
				t.want("the number of configurations", len(out.QueueConfigurations), 0)
			},
		},
		{
			ID: "s3-notify-configuration", With: sqsToo, URL: s3API + "GetBucketNotificationConfiguration.html",
			Says: "Returns the notification configuration of a bucket.",
			Run: func(t *T) {
				b := t.bucket("b")
				t.notify(b, &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: ptr("in/")}}}}, "s3:ObjectCreated:Put", "s3:ObjectRemoved:*")
				get := func() *s3.GetBucketNotificationConfigurationOutput {
					return ok(t.S3.GetBucketNotificationConfiguration(t.ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &b}))
				}
				c := get().QueueConfigurations
				t.want("the number of configurations", len(c), 1)
				t.want("Id", c[0].Id, "id")
				t.want("Events", c[0].Events, []types.Event{"s3:ObjectCreated:Put", "s3:ObjectRemoved:*"})
				t.that(c[0].Filter != nil && c[0].Filter.Key != nil && len(c[0].Filter.Key.FilterRules) == 1, "the filter is gone")
				t.want("the filter's name", strings.ToLower(string(c[0].Filter.Key.FilterRules[0].Name)), "prefix")
				ok(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{}}))
				t.want("the number of configurations after their removal", len(get().QueueConfigurations), 0)
			},
		},
		{
			ID: "s3-notify-topic", With: []string{"sqs", "sns"}, URL: s3Guide + "EventNotifications.html",
			Says: "Amazon S3 can send event notification messages to the following destinations.",
			Run: func(t *T) {
				b, topic, q := t.bucket("b"), t.topic("t", nil), t.queue("q", nil)
				ok(t.SNS.SetTopicAttributes(t.ctx, &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: ptr("Policy"), AttributeValue: ptr(
					`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sns:Publish","Resource":"` + topic + `"}]}`)}))
				ok(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{
					TopicConfigurations: []types.TopicConfiguration{{TopicArn: &topic, Events: []types.Event{"s3:ObjectCreated:*"}}},
				}}))
				t.subscribe(topic, q, nil)
				t.putObject(b, "k", "x")
				d := t.document("the body", text(t.receiveOne(q).Body))
				t.want("Subject", d["Subject"], "Amazon S3 Notification")
				message, _ := d["Message"].(string)
				t.want("the key", at(t.document("the message", message), "Records", 0, "s3", "object", "key"), "k")
			},
		},
		{
			ID: "s3-notify-eventbridge", With: []string{"sqs", "events"}, URL: s3Guide + "ev-events.html",
			Says: "reason – For Object Created events, the S3 API used to create the object: PutObject, POST Object, CopyObject, or CompleteMultipartUpload.",
			Run: func(t *T) {
				b := t.bucket("b")
				ok(t.S3.PutBucketNotificationConfiguration(t.ctx, &s3.PutBucketNotificationConfigurationInput{Bucket: &b, NotificationConfiguration: &types.NotificationConfiguration{
					EventBridgeConfiguration: &types.EventBridgeConfiguration{},
				}}))
				pattern := ok(json.Marshal(map[string]any{"source": []string{"aws.s3"}, "detail": map[string]any{"bucket": map[string]any{"name": []string{b}}}}))
				q := t.ruleToQueue("", string(pattern), nil)
				t.putObject(b, "in/a b+ü.txt", "hello")
				d := t.document("the event", text(t.receiveOne(q).Body))
				for _, c := range []struct {
					path []any
					want any
				}{
					{[]any{"detail-type"}, "Object Created"}, {[]any{"source"}, "aws.s3"}, {[]any{"resources", 0}, "arn:aws:s3:::" + b},
					{[]any{"detail", "version"}, "0"}, {[]any{"detail", "bucket", "name"}, b}, {[]any{"detail", "object", "key"}, "in/a b+ü.txt"},
					{[]any{"detail", "object", "size"}, 5.0}, {[]any{"detail", "object", "etag"}, strings.Trim(etag("hello"), `"`)}, {[]any{"detail", "reason"}, "PutObject"},
				} {
					t.want(brief(c.path), at(d, c.path...), c.want)
				}
			},
		},
		{
			ID: "s3-large-stream", URL: s3API + "PutObject.html",
			Says: "Adds an object to a bucket.",
			Run: func(t *T) {
				b := t.bucket("b")
				body := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB, in chunks with a checksum at the end
				ok(t.S3.PutObject(t.ctx, &s3.PutObjectInput{Bucket: &b, Key: ptr("k"), Body: bytes.NewReader(body)}))
				got, _ := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k")})
				t.that(got == string(body), "the object of 8 MiB does not come back whole")
			},
		},
		{
			ID: "s3-create-again", URL: s3API + "CreateBucket.html",
			Says: "For legacy compatibility, if you re-create an existing bucket that you already own in the North Virginia Region, Amazon S3 returns 200 OK and resets the bucket access control lists (ACLs).",
			Run: func(t *T) {
				b := t.bucket("b")
				t.putObject(b, "k", "x")
				ok(t.S3.CreateBucket(t.ctx, &s3.CreateBucketInput{Bucket: &b}))
				body, _ := t.object(&s3.GetObjectInput{Bucket: &b, Key: ptr("k")})
				t.want("the object", body, "x")
			},
		},
		{
			ID: "s3-bucket-name", URL: s3Guide + "bucketnamingrules.html",
			Says: "Bucket names can consist only of lowercase letters, numbers, dots (.), and hyphens (-).",
			Run: func(t *T) {
				t.refused("a name with capitals", errOf(t.S3.CreateBucket(t.ctx, &s3.CreateBucketInput{Bucket: ptr("Not-A-Name")})), "InvalidBucketName")
			},
		},
	}
}
