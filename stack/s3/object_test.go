package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/stack/stacktest"
)

func TestGetRange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "k", "0123456789")
	w.put(b, "empty", "")
	for _, c := range []struct {
		key, spec, body, contentRange string
		status                        int
	}{
		{"k", "bytes=0-8", "012345678", "bytes 0-8/10", 206},
		{"k", "bytes=1-1", "1", "bytes 1-1/10", 206},
		{"k", "bytes=1-", "123456789", "bytes 1-9/10", 206},
		{"k", "bytes=-2", "89", "bytes 8-9/10", 206},
		{"k", "bytes=-15", "0123456789", "bytes 0-9/10", 206},
		{"k", "bytes=0-100", "0123456789", "bytes 0-9/10", 206},
		{"k", "bytes=1-0", "0123456789", "", 200},
		{"k", "bytes=0--1", "0123456789", "", 200},
		{"k", "bytes=0-1,3-4", "0123456789", "", 200},
		{"k", "bytes=a-b", "0123456789", "", 200},
		{"k", "0-1", "0123456789", "", 200},
		{"k", "bytes=10-", "InvalidRange", "bytes */10", 416},
		{"k", "bytes=100-200", "InvalidRange", "bytes */10", 416},
		{"k", "bytes=-0", "InvalidRange", "bytes */10", 416},
		{"empty", "bytes=0-0", "InvalidRange", "bytes */0", 416},
	} {
		resp, body := w.raw("GET", "/bucket/"+c.key, "", "Range", c.spec)
		if resp.StatusCode != c.status || body != c.body && !strings.Contains(body, "<Code>"+c.body+"<") || resp.Header.Get("Content-Range") != c.contentRange {
			t.Errorf("%s %s: %d %q %q", c.key, c.spec, resp.StatusCode, body, resp.Header.Get("Content-Range"))
		}
		head, _ := w.raw("HEAD", "/bucket/"+c.key, "", "Range", c.spec)
		if head.StatusCode != c.status || c.status < 400 && head.ContentLength != int64(len(c.body)) {
			t.Errorf("HEAD %s: %d, length %d", c.spec, head.StatusCode, head.ContentLength)
		}
	}
}

func TestConditionalReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	etag := *w.put(b, "k", "data").ETag
	at := w.Clock.Now().UTC()
	before, after := at.Add(-time.Minute).Format(http.TimeFormat), at.Add(time.Minute).Format(http.TimeFormat)
	same := at.Format(http.TimeFormat)
	for _, c := range []struct {
		header []string
		status int
	}{
		{[]string{"If-Match", etag}, 200},
		{[]string{"If-Match", strings.Trim(etag, `"`)}, 200},
		{[]string{"If-Match", "*"}, 200},
		{[]string{"If-Match", `"x", ` + etag}, 200},
		{[]string{"If-Match", `"x"`}, 412},
		{[]string{"If-None-Match", etag}, 304},
		{[]string{"If-None-Match", `"x"`}, 200},
		{[]string{"If-Modified-Since", before}, 200},
		{[]string{"If-Modified-Since", same}, 304},
		{[]string{"If-Unmodified-Since", same}, 200},
		{[]string{"If-Unmodified-Since", before}, 412},
		{[]string{"If-Match", etag, "If-Unmodified-Since", before}, 200},
		{[]string{"If-None-Match", `"x"`, "If-Modified-Since", after}, 200},
		{[]string{"If-Modified-Since", "yesterday"}, 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := w.raw(method, "/bucket/k", "", c.header...)
			if resp.StatusCode != c.status || (c.status == 304 || method == "HEAD") && body != "" {
				t.Errorf("%s %q: %d %q", method, c.header, resp.StatusCode, body)
			}
		}
	}
}

func TestConditionalWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	etag := *w.put(b, "k", "data").ETag
	put := func(key, ifMatch, ifNoneMatch string) string {
		in := &awss3.PutObjectInput{Bucket: b, Key: &key, Body: strings.NewReader("new")}
		if ifMatch != "" {
			in.IfMatch = &ifMatch
		}
		if ifNoneMatch != "" {
			in.IfNoneMatch = &ifNoneMatch
		}
		if _, err := w.PutObject(t.Context(), in); err != nil {
			return code(t, err)
		}
		return ""
	}
	for _, c := range []struct{ key, match, none, want string }{
		{"k", "", "*", "PreconditionFailed"},
		{"k", `"x"`, "", "PreconditionFailed"},
		{"k", "*", "", "NotImplemented"},
		{"k", "", "x", "NotImplemented"},
		{"new", `"x"`, "", "NoSuchKey"},
		{"new", "", "*", ""},
		{"new", "", "*", "PreconditionFailed"},
		{"k", etag, "", ""},
		{"k", etag, "", "PreconditionFailed"},
	} {
		if got := put(c.key, c.match, c.none); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	remove := func(key, match string) string {
		if _, err := w.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: b, Key: &key, IfMatch: &match}); err != nil {
			return code(t, err)
		}
		return ""
	}
	if got := remove("k", `"x"`); got != "PreconditionFailed" {
		t.Errorf("DeleteObject: %q", got)
	}
	if got := remove("none", "*"); got != "NoSuchKey" {
		t.Errorf("DeleteObject: %q", got)
	}
	if got := remove("k", "*"); got != "" {
		t.Errorf("DeleteObject: %q", got)
	}
}

// sums are checksums of "123456789", as catalogues and other implementations have them.
var sums = map[string]string{
	"Content-Md5":              "JfnnlDI7RTiF9RgfG2JNCw==",
	"X-Amz-Checksum-Crc32":     "y/Q5Jg==",
	"X-Amz-Checksum-Crc32c":    "4waSgw==",
	"X-Amz-Checksum-Crc64nvme": "rosUhgp5mIg=",
	"X-Amz-Checksum-Sha1":      "98O8HYCOBHMq32eZZczDTKeuNEE=",
	"X-Amz-Checksum-Sha256":    "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	"X-Amz-Checksum-Sha512":    "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
	"X-Amz-Checksum-Md5":       "JfnnlDI7RTiF9RgfG2JNCw==",
	"X-Amz-Checksum-Xxhash64":  "jLhB20DmroM=",
	"X-Amz-Checksum-Xxhash3":   "ctyxi2ehff8=",
	"X-Amz-Checksum-Xxhash128": "MxGUd+3l3NXpcWQnaB1YYA==",
}

func TestChecksumsAreVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("bucket")
	for name, sum := range sums {
		if resp, text := w.raw("PUT", "/bucket/k", "123456789", name, sum); resp.StatusCode != 200 {
			t.Errorf("%s: %s", name, text)
		} else if got := resp.Header.Get(name); got != sum && name != "Content-Md5" {
			t.Errorf("%s is answered with %q", name, got)
		}
		if resp, text := w.raw("PUT", "/bucket/k", "1234567890", name, sum); resp.StatusCode != 400 || !strings.Contains(text, "<Code>BadDigest<") {
			t.Errorf("%s of something else: %s", name, text)
		}
		for _, bad := range []string{"MTIz", "no base64", ""} {
			if resp, text := w.raw("PUT", "/bucket/k", "something", name, bad); resp.StatusCode != 400 || strings.Contains(text, "BadDigest") {
				t.Errorf("%s %q: %s", name, bad, text)
			}
		}
	}
	for want, header := range map[string][]string{
		"Expecting a single x-amz-checksum- header":  {"X-Amz-Checksum-Crc32", "Cdox+w==", "X-Amz-Checksum-Sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="},
		"Checksum algorithm provided is unsupported": {"X-Amz-Checksum-Foo", "Cdox+w=="},
		"no corresponding x-amz-checksum-":           {"X-Amz-Sdk-Checksum-Algorithm", "CRC32"},
		"XAmzContentSHA256Mismatch":                  {"X-Amz-Content-Sha256", strings.Repeat("0", 64)},
	} {
		if resp, text := w.raw("PUT", "/bucket/k", "something", header...); resp.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%q: %s", header, text)
		}
	}
}

// TestDefaultChecksum is that of an object whose client chose none.
func TestDefaultChecksum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("bucket")
	put, _ := w.raw("PUT", "/bucket/k", "123456789")
	want := sums["X-Amz-Checksum-Crc64nvme"]
	get, _ := w.raw("GET", "/bucket/k", "", "X-Amz-Checksum-Mode", "ENABLED")
	for _, h := range []http.Header{put.Header, get.Header} {
		if h.Get("X-Amz-Checksum-Crc64nvme") != want || h.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
			t.Errorf("%v, want %s", h, want)
		}
	}
	if plain, _ := w.raw("GET", "/bucket/k", ""); plain.Header.Get("X-Amz-Checksum-Crc64nvme") != "" {
		t.Error("the checksum was not asked for")
	}
	if part, _ := w.raw("GET", "/bucket/k", "", "X-Amz-Checksum-Mode", "ENABLED", "Range", "bytes=0-1"); part.Header.Get("X-Amz-Checksum-Crc64nvme") != "" {
		t.Error("the checksum is not that of the range")
	}
}

// TestBodiesInChunks are those of clients that do not sign the payload, or sign it in chunks.
func TestBodiesInChunks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	const unsigned, signed = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	crc := []string{"X-Amz-Trailer", "x-amz-checksum-crc32"}
	for _, c := range []struct {
		name, kind, length, body, want string
		header                         []string
	}{
		{"trailer", unsigned, "9", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "", crc},
		{"no last line", unsigned, "9", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n", "", crc},
		{"signed", signed, "9", "9;chunk-signature=x\r\nsomething\r\n0;chunk-signature=x\r\n\r\n", "", nil},
		{"wrong sum", unsigned, "9", "9\r\nsomethin_\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "BadDigest", crc},
		{"no sum", unsigned, "9", "9\r\nsomething\r\n0\r\n\r\n", "MalformedTrailerError", crc},
		{"other trailer", unsigned, "9", "9\r\nsomething\r\n0\r\nx:y\r\n\r\n", "InvalidRequest", []string{"X-Amz-Trailer", "x"}},
		{"too short", unsigned, "10", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "IncompleteBody", crc},
		{"too long", unsigned, "8", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "IncompleteBody", crc},
		{"no end", unsigned, "9", "9\r\nsomething\r\n", "IncompleteBody", crc},
		{"no chunks", unsigned, "9", "something", "IncompleteBody", crc},
		{"no length", unsigned, "", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "MissingContentLength", crc},
		{"bad length", unsigned, "x", "9\r\nsomething\r\n0\r\nx-amz-checksum-crc32:Cdox+w==\r\n\r\n", "InvalidArgument", crc},
		{"unknown kind", "STREAMING-X", "9", "9\r\nsomething\r\n0\r\n\r\n", "InvalidRequest", nil},
	} {
		header := append([]string{"X-Amz-Content-Sha256", c.kind, "Content-Encoding", "aws-chunked,gzip"}, c.header...)
		if c.length != "" {
			header = append(header, "X-Amz-Decoded-Content-Length", c.length)
		}
		key := strings.ReplaceAll(c.name, " ", "-")
		resp, text := w.raw("PUT", "/bucket/"+key, c.body, header...)
		switch {
		case c.want != "":
			if !strings.Contains(text, "<Code>"+c.want+"<") || w.body(b, key) != "NoSuchKey" {
				t.Errorf("%s: %d %s", c.name, resp.StatusCode, text)
			}
		case resp.StatusCode != 200:
			t.Errorf("%s: %s", c.name, text)
		default:
			got, body := w.raw("GET", "/bucket/"+key, "")
			if body != "something" || got.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: %q %v", c.name, body, got.Header)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "k", "data")
	long := strings.Repeat("k", 1025)
	for _, c := range []struct {
		request string
		body    string
		header  []string
		status  int
		want    string
	}{
		{"GET /bucket/none", "", nil, 404, "<Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>none</Key>"},
		{"GET /none", "", nil, 404, "<Code>NoSuchBucket</Code>"},
		{"PUT /none/k", "data", nil, 404, "<Code>NoSuchBucket</Code>"},
		{"PUT /bucket/" + long, "data", nil, 400, "<Code>KeyTooLongError</Code><Message>Your key is too long</Message><MaxSizeAllowed>1024</MaxSizeAllowed><Size>1025</Size>"},
		{"PUT /bucket/%ff", "data", nil, 400, "<Code>InvalidURI</Code>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Meta-A", strings.Repeat("x", 2048)}, 400, "<Code>MetadataTooLarge</Code>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Storage-Class", "COLD"}, 400, "<Code>InvalidStorageClass</Code>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Storage-Class", "GLACIER"}, 501, "has no archive"},
		{"PUT /bucket/m", "", []string{"X-Amz-Server-Side-Encryption", "aws:kms"}, 501, "<Header>x-amz-server-side-encryption</Header>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Object-Lock-Mode", "GOVERNANCE"}, 501, "<Header>x-amz-object-lock-mode</Header>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256"}, 501, "NotImplemented"},
		{"PUT /bucket/m", "", []string{"X-Amz-Write-Offset-Bytes", "1"}, 501, "NotImplemented"},
		{"PUT /bucket/m", "", []string{"X-Amz-Tagging", "a=1&a=2"}, 400, "without tag name duplicates"},
		{"PUT /bucket/m", "", []string{"X-Amz-Tagging", "aws:a=1"}, 400, "Your TagKey cannot be prefixed with aws:"},
		{"PUT /bucket/m", "", []string{"X-Amz-Expected-Bucket-Owner", "111111111111"}, 403, "<Code>AccessDenied</Code>"},
		{"PUT /bucket/m", "", []string{"X-Amz-Expected-Bucket-Owner", "me"}, 400, "<Code>InvalidBucketOwnerAWSAccountID</Code>"},
		{"DELETE /bucket/k", "", []string{"X-Amz-Bypass-Governance-Retention", "true"}, 400, "only applicable to Object Lock enabled buckets"},
		{"DELETE /bucket/k", "", []string{"X-Amz-Mfa", "1"}, 501, "<Header>x-amz-mfa</Header>"},
		{"GET /bucket/k?versionId=x", "", nil, 400, "Invalid version id specified"},
		{"GET /bucket/k?versionId=", "", nil, 400, "Version id cannot be the empty string"},
		{"GET /bucket/k?partNumber=0", "", nil, 400, "Part number must be an integer between 1 and 10000, inclusive"},
		{"GET /bucket/k?partNumber=2", "", nil, 416, "<Code>InvalidPartNumber</Code>"},
		{"GET /bucket/k?partNumber=1", "", []string{"Range", "bytes=0-1"}, 400, "Cannot specify both Range header and partNumber query parameter"},
		{"PATCH /bucket/k", "", nil, 405, "<Method>PATCH</Method><ResourceType>OBJECT</ResourceType>"},
		{"PATCH /bucket", "", nil, 405, "<ResourceType>BUCKET</ResourceType>"},
		{"DELETE /", "", nil, 405, "<ResourceType>SERVICE</ResourceType>"},
		{"GET /bucket?lifecycle", "", nil, 501, "millrace's local stack does not have GET ?lifecycle of S3"},
		{"PUT /bucket?policy", "{}", nil, 501, "millrace's local stack does not have PUT ?policy of S3"},
		{"POST /bucket/k?restore", "", nil, 501, "millrace's local stack does not have POST ?restore of S3"},
		{"GET /bucket/k?torrent", "", nil, 501, "?torrent"},
		{"DELETE /bucket", "", nil, 409, "<Code>BucketNotEmpty</Code><Message>The bucket you tried to delete is not empty</Message><BucketName>bucket</BucketName>"},
		{"POST /bucket?delete", "<Delete/>", nil, 400, "Missing required header for this request: Content-MD5"},
		{"PUT /bucket?versioning", "<VersioningConfiguration/>", nil, 400, "<Code>IllegalVersioningConfigurationException</Code>"},
		{"PUT /bucket?versioning", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", nil, 400, "<Code>MalformedXML</Code>"},
		{"PUT /bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", nil, 501, "MFA delete"},
		{"PUT /bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status><New/></VersioningConfiguration>", nil, 400, "<Code>MalformedXML</Code>"},
		{"PUT /bucket?versioning", "", nil, 400, "<Code>MalformedXML</Code>"},
		{"PUT /bucket?tagging", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", nil, 400, "<Code>MalformedXML</Code>"},
		{"PUT /bucket?tagging", "<Tagging><TagSet><Tag><Key>a,b</Key><Value/></Tag></TagSet></Tagging>", nil, 400, "The TagKey you have provided is invalid"},
		{"PUT /bucket?tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>a,b</Value></Tag></TagSet></Tagging>", nil, 400, "The TagValue you have provided is invalid"},
		{"PUT /bucket?tagging", "<Tagging><TagSet><Tag><Key>aws:a</Key><Value/></Tag></TagSet></Tagging>", nil, 400, "System tags cannot be added/updated by requester"},
		{"GET /bucket?tagging", "", nil, 404, "<Code>NoSuchTagSet</Code>"},
		{"GET /bucket?max-keys=x", "", nil, 400, "Provided max-keys not an integer or within integer range"},
		{"GET /bucket?max-keys=-1", "", nil, 400, "Argument max-keys must be an integer between 0 and 2147483647"},
		{"GET /bucket?encoding-type=x", "", nil, 400, "Invalid Encoding Method specified in Request"},
		{"GET /bucket?list-type=2&continuation-token=x", "", nil, 400, "The continuation token provided is incorrect"},
		{"GET /bucket?versions&version-id-marker=x", "", nil, 400, "A version-id marker cannot be specified without a key marker."},
		{"GET /bucket?uploads&key-marker=a&upload-id-marker=x", "", nil, 400, "Invalid uploadId marker"},
		{"PUT /bucket/k?partNumber=1&uploadId=x", "data", nil, 404, "<Code>NoSuchUpload</Code>"},
		{"GET /bucket/k?attributes", "", nil, 400, "x-amz-object-attributes"},
		{"GET /bucket/k?attributes", "", []string{"X-Amz-Object-Attributes", "Colour"}, 400, "Invalid attribute name specified."},
		{"PUT /bucket/c", "", []string{"X-Amz-Copy-Source", "bucket"}, 400, "Invalid copy source object key"},
		{"PUT /bucket/c", "", []string{"X-Amz-Copy-Source", "none/k"}, 404, "<BucketName>none</BucketName>"},
		{"PUT /bucket/c", "", []string{"X-Amz-Copy-Source", "bucket/none"}, 404, "<Key>none</Key>"},
		{"PUT /bucket/k", "", []string{"X-Amz-Copy-Source", "bucket/k"}, 400, "This copy request is illegal"},
		{"PUT /bucket/c", "", []string{"X-Amz-Copy-Source", "bucket/k", "X-Amz-Metadata-Directive", "MOVE"}, 400, "Unknown directive"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		resp, text := w.raw(method, path, c.body, c.header...)
		if resp.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %q: %d %s", c.request, c.header, resp.StatusCode, text)
		}
	}
	if w.body(b, "m") != "NoSuchKey" {
		t.Error("a refused object is there")
	}
	if w.body(b, "k") != "data" {
		t.Error("the object has changed")
	}
}

// TestBodyMustHaveALength sends what net/http would not.
func TestBodyMustHaveALength(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("bucket")
	r, err := http.NewRequestWithContext(t.Context(), "PUT", w.endpoint+"/bucket/k", struct{ io.Reader }{strings.NewReader("data")})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("chunked by HTTP: %d", resp.StatusCode)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	from, to := w.bucket("bucket-a"), w.bucket("bucket-b")
	_, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: from, Key: aws.String("a b+c"), Body: strings.NewReader("data"),
		ContentType: aws.String("text/plain"), Metadata: map[string]string{"m": "1"}, Tagging: aws.String("t=1"), StorageClass: types.StorageClassStandardIa})
	if err != nil {
		t.Fatal(err)
	}
	source := aws.String("bucket-a/a%20b%2Bc")
	if _, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: to, Key: aws.String("same"), CopySource: source}); err != nil {
		t.Fatal(err)
	}
	_, err = w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: to, Key: aws.String("other"), CopySource: source, MetadataDirective: types.MetadataDirectiveReplace,
		Metadata: map[string]string{"n": "2"}, ContentType: aws.String("text/html"), TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("u=2&v=3"),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha1})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]struct {
		kind string
		meta map[string]string
		tags int32
	}{"same": {"text/plain", map[string]string{"m": "1"}, 1}, "other": {"text/html", map[string]string{"n": "2"}, 2}} {
		got, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: to, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || string(body) != "data" {
			t.Errorf("%s: %q %v", key, body, err)
		}
		if *got.ContentType != want.kind || !maps.Equal(got.Metadata, want.meta) || aws.ToInt32(got.TagCount) != want.tags || got.StorageClass != "" {
			t.Errorf("%s: %+v", key, got)
		}
		if (key == "other") != (got.ChecksumSHA1 != nil) {
			t.Errorf("%s has the checksum %v", key, got.ChecksumSHA1)
		}
	}
	// In place with a change, and with conditions on both sides.
	for _, c := range []struct {
		change func(*awss3.CopyObjectInput)
		want   string
	}{
		{func(in *awss3.CopyObjectInput) { in.StorageClass = types.StorageClassStandard }, ""},
		{func(in *awss3.CopyObjectInput) { in.MetadataDirective = types.MetadataDirectiveReplace }, ""},
		{func(in *awss3.CopyObjectInput) { in.WebsiteRedirectLocation = aws.String("/x") }, ""},
		{func(*awss3.CopyObjectInput) {}, "InvalidRequest"},
		{func(in *awss3.CopyObjectInput) {
			in.Key, in.CopySourceIfMatch = aws.String("new"), aws.String("x")
		}, "PreconditionFailed"},
		{func(in *awss3.CopyObjectInput) {
			in.Key, in.CopySourceIfUnmodifiedSince = aws.String("new"), aws.Time(time.Unix(1, 0))
		}, "PreconditionFailed"},
		{func(in *awss3.CopyObjectInput) {
			in.Key, in.CopySourceIfNoneMatch = aws.String("new"), aws.String("8d777f385d3dfec8815d20f7496026dc")
		}, "PreconditionFailed"},
		{func(in *awss3.CopyObjectInput) { in.CopySource, in.IfNoneMatch = source, aws.String("*") }, "PreconditionFailed"},
		{func(in *awss3.CopyObjectInput) {
			in.CopySource, in.ExpectedSourceBucketOwner = source, aws.String("111111111111")
		}, "AccessDenied"},
	} {
		in := &awss3.CopyObjectInput{Bucket: to, Key: aws.String("same"), CopySource: aws.String("/bucket-b/same")}
		c.change(in)
		got := ""
		if _, err := w.CopyObject(t.Context(), in); err != nil {
			got = code(t, err)
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", in, got, c.want)
		}
	}
}

func TestResponseHeadersCanBeOverridden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "k", "data")
	signed, err := awss3.NewPresignClient(w.Client).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: aws.String("k"),
		ResponseContentType: aws.String("text/x"), ResponseContentDisposition: aws.String(`attachment; filename="a b"`), ResponseCacheControl: aws.String("no-store"),
	}, func(o *awss3.PresignOptions) { o.Presigner = v4.NewSigner() })
	if err != nil {
		t.Fatal(err)
	}
	resp, body := w.raw("GET", strings.TrimPrefix(signed.URL, w.endpoint), "")
	if body != "data" || resp.Header.Get("Content-Type") != "text/x" || resp.Header.Get("Content-Disposition") != `attachment; filename="a b"` || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

// TestHoistedHeaders are headers that a presigned URL has as parameters, as @aws-sdk/s3-request-presigner makes them.
func TestHoistedHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	if resp, text := w.raw("PUT", "/bucket/k?x-amz-meta-colour=blue&x-amz-storage-class=STANDARD_IA&x-id=PutObject&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32", "data"); resp.StatusCode != 200 {
		t.Fatal(text)
	}
	head, err := w.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: b, Key: aws.String("k")})
	if err != nil || head.Metadata["colour"] != "blue" || head.StorageClass != types.StorageClassStandardIa {
		t.Errorf("%+v %v", head, err)
	}
	if resp, text := w.raw("PUT", "/bucket/k?x-amz-object-lock-mode=GOVERNANCE", "data"); resp.StatusCode != 501 {
		t.Error(text)
	}
}

func TestDeleteObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	etag := w.put(b, "kept", "data").ETag
	w.put(b, "a", "data")
	w.put(b, "b", "data")
	out, err := w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("a")}, {Key: aws.String("none")}, {Key: aws.String("b"), ETag: etag}, {Key: aws.String("kept"), ETag: aws.String("x")}, {Key: aws.String("a"), VersionId: aws.String("bad")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range out.Deleted {
		got = append(got, *d.Key)
	}
	for _, e := range out.Errors {
		got = append(got, *e.Key+" "+*e.Code)
	}
	if want := []string{"a", "none", "b", "kept PreconditionFailed", "a NoSuchVersion"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if w.body(b, "kept") != "data" || w.body(b, "a") != "NoSuchKey" {
		t.Error("the wrong objects are there")
	}
	quiet, err := w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Quiet: aws.Bool(true), Objects: []types.ObjectIdentifier{{Key: aws.String("kept")}}}})
	if err != nil || len(quiet.Deleted) != 0 || w.body(b, "kept") != "NoSuchKey" {
		t.Errorf("%+v %v", quiet, err)
	}
	var doc bytes.Buffer
	doc.WriteString("<Delete>")
	for i := range 1001 {
		fmt.Fprintf(&doc, "<Object><Key>%d</Key></Object>", i)
	}
	doc.WriteString("</Delete>")
	sum := md5.Sum(doc.Bytes())
	if resp, text := w.raw("POST", "/bucket?delete", doc.String(), "Content-Md5", base64.StdEncoding.EncodeToString(sum[:])); resp.StatusCode != 400 || !strings.Contains(text, "MalformedXML") {
		t.Errorf("1001 keys: %d %s", resp.StatusCode, text)
	}
}

func TestGetObjectAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	if _, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("k"), Body: strings.NewReader("123456789"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}); err != nil {
		t.Fatal(err)
	}
	got, err := w.GetObjectAttributes(t.Context(), &awss3.GetObjectAttributesInput{Bucket: b, Key: aws.String("k"),
		ObjectAttributes: []types.ObjectAttributes{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}})
	if err != nil {
		t.Fatal(err)
	}
	if *got.ETag != "25f9e794323b453885f5181f1b624d0b" || *got.ObjectSize != 9 || got.StorageClass != "STANDARD" || got.ObjectParts != nil ||
		aws.ToString(got.Checksum.ChecksumSHA256) != sums["X-Amz-Checksum-Sha256"] || got.Checksum.ChecksumType != "FULL_OBJECT" || !got.LastModified.Equal(w.Clock.Now()) {
		t.Errorf("%+v", got)
	}
}

func TestBucketsOfAccountsAndRegions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("bucket")
	other := w.client(stacktest.Region, asAccount)
	if _, err := other.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")}); code(t, err) != "NoSuchBucket" {
		t.Errorf("another account: %v", err)
	}
	if _, err := other.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Errorf("another account: %v", err)
	}
	if _, err := w.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Errorf("again in us-east-1: %v", err)
	}
	create := func(region, name, constraint string) string {
		in := &awss3.CreateBucketInput{Bucket: &name}
		if constraint != "" {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(constraint)}
		}
		if _, err := w.client(region).CreateBucket(t.Context(), in); err != nil {
			return code(t, err)
		}
		return ""
	}
	for _, c := range []struct{ region, name, constraint, want string }{
		{"us-east-1", "bucket-1", "eu-west-1", ""},
		{"us-east-1", "bucket-2", "EU", ""},
		{"us-east-1", "bucket-x", "us-east-1", "InvalidLocationConstraint"},
		{"us-east-1", "bucket-x", "nowhere", "InvalidLocationConstraint"},
		{"eu-west-1", "bucket-3", "eu-west-1", ""},
		{"eu-west-1", "bucket-3", "eu-west-1", "BucketAlreadyOwnedByYou"},
		{"eu-west-1", "bucket-x", "us-west-2", "IllegalLocationConstraintException"},
		{"eu-west-1", "bucket-x", "", "IllegalLocationConstraintException"},
		{"us-east-1", "Bucket", "", "InvalidBucketName"},
		{"us-east-1", "ab", "", "InvalidBucketName"},
		{"us-east-1", "a..b", "", "InvalidBucketName"},
		{"us-east-1", "10.0.0.1", "", "InvalidBucketName"},
		{"us-east-1", "xn--bucket", "", "InvalidBucketName"},
		{"us-east-1", "bucket-s3alias", "", "InvalidBucketName"},
		{"us-east-1", strings.Repeat("a", 64), "", "InvalidBucketName"},
	} {
		if c.want == "InvalidBucketName" { // the SDK does not send all of them
			resp, text := w.raw("PUT", "/"+c.name, "")
			if resp.StatusCode != 400 || !strings.Contains(text, c.want) {
				t.Errorf("%s: %s", c.name, text)
			}
		} else if got := create(c.region, c.name, c.constraint); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	for name, want := range map[string]string{"bucket": "", "bucket-1": "eu-west-1", "bucket-2": "EU"} {
		region := "eu-west-1"
		if want == "" {
			region = "us-east-1"
		}
		out, err := w.client(region).GetBucketLocation(t.Context(), &awss3.GetBucketLocationInput{Bucket: &name})
		if err != nil || string(out.LocationConstraint) != want {
			t.Errorf("%s is in %v, %v", name, out, err)
		}
	}
	list, err := w.ListBuckets(t.Context(), &awss3.ListBucketsInput{MaxBuckets: aws.Int32(2), BucketRegion: aws.String("eu-west-1")})
	if err != nil || len(list.Buckets) != 2 || *list.Buckets[0].Name != "bucket-1" || *list.Buckets[0].BucketRegion != "eu-west-1" || list.ContinuationToken == nil {
		t.Fatalf("%+v %v", list, err)
	}
	list, err = w.ListBuckets(t.Context(), &awss3.ListBucketsInput{BucketRegion: aws.String("eu-west-1"), ContinuationToken: list.ContinuationToken})
	if err != nil || len(list.Buckets) != 1 || *list.Buckets[0].Name != "bucket-3" || list.ContinuationToken != nil {
		t.Errorf("%+v %v", list, err)
	}
	head, err := w.HeadBucket(t.Context(), &awss3.HeadBucketInput{Bucket: aws.String("bucket")})
	if err != nil || *head.BucketRegion != "us-east-1" {
		t.Errorf("%+v %v", head, err)
	}
	resp, text := w.raw("GET", "/bucket-1/k", "", "Authorization", "AWS4-HMAC-SHA256 Credential=x/20260102/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00")
	if resp.StatusCode != 400 || resp.Header.Get("X-Amz-Bucket-Region") != "eu-west-1" || !strings.Contains(text, "expecting 'eu-west-1'</Message><Region>eu-west-1</Region>") {
		t.Errorf("the wrong region: %d %v %s", resp.StatusCode, resp.Header, text)
	}
	if _, err := w.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Error(err)
	}
	if _, err := w.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("bucket")}); code(t, err) != "NoSuchBucket" {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "k", "data")
	w.tag(b, "k", "a", "1", "b", "ü /")
	got, err := w.GetObjectTagging(t.Context(), &awss3.GetObjectTaggingInput{Bucket: b, Key: aws.String("k")})
	if err != nil || len(got.TagSet) != 2 || *got.TagSet[1].Value != "ü /" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := w.DeleteObjectTagging(t.Context(), &awss3.DeleteObjectTaggingInput{Bucket: b, Key: aws.String("k")}); err != nil {
		t.Error(err)
	}
	if got, err = w.GetObjectTagging(t.Context(), &awss3.GetObjectTaggingInput{Bucket: b, Key: aws.String("k")}); err != nil || len(got.TagSet) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	eleven := types.Tagging{}
	for i := range 11 {
		eleven.TagSet = append(eleven.TagSet, types.Tag{Key: aws.String(fmt.Sprint(i)), Value: aws.String("")})
	}
	if _, err := w.PutObjectTagging(t.Context(), &awss3.PutObjectTaggingInput{Bucket: b, Key: aws.String("k"), Tagging: &eleven}); code(t, err) != "BadRequest" {
		t.Errorf("eleven tags: %v", err)
	}
	if _, err := w.PutBucketTagging(t.Context(), &awss3.PutBucketTaggingInput{Bucket: b, Tagging: &eleven}); err != nil {
		t.Error(err)
	}
	tags, err := w.GetBucketTagging(t.Context(), &awss3.GetBucketTaggingInput{Bucket: b})
	if err != nil || len(tags.TagSet) != 11 {
		t.Errorf("%+v %v", tags, err)
	}
	if _, err := w.DeleteBucketTagging(t.Context(), &awss3.DeleteBucketTaggingInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	if _, err := w.GetBucketTagging(t.Context(), &awss3.GetBucketTaggingInput{Bucket: b}); code(t, err) != "NoSuchTagSet" {
		t.Error(err)
	}
}
