package s3_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const mebi5 = 5 << 20

// uploading is a multipart upload in the hands of a test.
type uploading struct {
	*world
	bucket, key, id *string
	parts           []types.CompletedPart
}

func (w *world) begin(bucket *string, key string, change ...func(*awss3.CreateMultipartUploadInput)) *uploading {
	w.t.Helper()
	in := &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: &key}
	for _, f := range change {
		f(in)
	}
	out, err := w.CreateMultipartUpload(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	return &uploading{world: w, bucket: bucket, key: &key, id: out.UploadId}
}

func (u *uploading) part(number int32, data []byte) *awss3.UploadPartOutput {
	u.t.Helper()
	out, err := u.UploadPart(u.t.Context(), &awss3.UploadPartInput{Bucket: u.bucket, Key: u.key, UploadId: u.id, PartNumber: &number, Body: bytes.NewReader(data)})
	if err != nil {
		u.t.Fatal(err)
	}
	u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumSHA256: out.ChecksumSHA256})
	return out
}

func (u *uploading) complete(change ...func(*awss3.CompleteMultipartUploadInput)) (*awss3.CompleteMultipartUploadOutput, string) {
	u.t.Helper()
	in := &awss3.CompleteMultipartUploadInput{Bucket: u.bucket, Key: u.key, UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts}}
	for _, f := range change {
		f(in)
	}
	out, err := u.CompleteMultipartUpload(u.t.Context(), in)
	if err != nil {
		return nil, code(u.t, err)
	}
	return out, ""
}

func TestMultipartUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	first, last := bytes.Repeat([]byte("a"), mebi5), []byte("end")
	u := w.begin(b, "k", func(in *awss3.CreateMultipartUploadInput) {
		in.ContentType, in.Metadata, in.Tagging = aws.String("text/plain"), map[string]string{"m": "1"}, aws.String("t=1")
	})
	u.part(1, []byte("replaced"))
	u.parts = nil
	u.part(1, first)
	u.part(3, last)
	list, err := w.ListParts(t.Context(), &awss3.ListPartsInput{Bucket: b, Key: u.key, UploadId: u.id, MaxParts: aws.Int32(1)})
	if err != nil || len(list.Parts) != 1 || !*list.IsTruncated || *list.NextPartNumberMarker != "1" || *list.Parts[0].Size != mebi5 {
		t.Fatalf("%+v %v", list, err)
	}
	list, err = w.ListParts(t.Context(), &awss3.ListPartsInput{Bucket: b, Key: u.key, UploadId: u.id, PartNumberMarker: list.NextPartNumberMarker})
	if err != nil || len(list.Parts) != 1 || *list.IsTruncated || *list.Parts[0].PartNumber != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	if got := w.body(b, "k"); got != "NoSuchKey" {
		t.Errorf("before it is complete: %.20q", got)
	}
	out, failed := u.complete()
	if failed != "" {
		t.Fatal(failed)
	}
	one, two := md5.Sum(first), md5.Sum(last)
	etag := fmt.Sprintf(`"%x-2"`, md5.Sum(slices.Concat(one[:], two[:])))
	if *out.ETag != etag || *out.Location != w.endpoint+"/bucket/k" || out.ChecksumCRC64NVME == nil || out.ChecksumType != "FULL_OBJECT" {
		t.Errorf("%+v, want ETag %s", out, etag)
	}
	got, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: u.key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(body, slices.Concat(first, last)) || *got.ETag != *out.ETag || *got.ContentType != "text/plain" || got.Metadata["m"] != "1" || *got.TagCount != 1 {
		t.Errorf("%d bytes, %+v %v", len(body), got, err)
	}
	// The checksum of the whole is that of an object put at once.
	if once, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("once"), Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme}); err != nil || *once.ChecksumCRC64NVME != *out.ChecksumCRC64NVME {
		t.Errorf("%v %v, want %s", once, err, *out.ChecksumCRC64NVME)
	}
	part, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: u.key, PartNumber: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(part.Body); err != nil || string(text) != "end" || *part.PartsCount != 2 || *part.ContentRange != "bytes 5242880-5242882/5242883" {
		t.Errorf("%q %+v %v", text, part, err)
	}
	across, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: u.key, Range: aws.String("bytes=5242879-5242880")})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(across.Body); err != nil || string(text) != "ae" {
		t.Errorf("%q %v", text, err)
	}
	if _, failed := u.complete(); failed != "NoSuchUpload" {
		t.Errorf("completed twice: %q", failed)
	}
	// A copy is in one part, and its ETag the sum of all.
	cp, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: b, Key: aws.String("copy"), CopySource: aws.String("bucket/k")})
	if err != nil || strings.Contains(*cp.CopyObjectResult.ETag, "-") {
		t.Errorf("%+v %v", cp, err)
	}
	if got := w.body(b, "copy"); got != string(body) {
		t.Error("the copy differs")
	}
}

func TestCompleteMultipartUploadIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	u := w.begin(b, "k")
	u.part(1, []byte("small"))
	u.part(2, []byte("end"))
	use := func(parts ...types.CompletedPart) func(*awss3.CompleteMultipartUploadInput) {
		return func(in *awss3.CompleteMultipartUploadInput) {
			in.MultipartUpload = &types.CompletedMultipartUpload{Parts: parts}
		}
	}
	for name, c := range map[string]struct {
		want   string
		change func(*awss3.CompleteMultipartUploadInput)
	}{
		"part too small": {"EntityTooSmall", use(u.parts...)},
		"wrong order":    {"InvalidPartOrder", use(u.parts[1], u.parts[0])},
		"twice":          {"InvalidPartOrder", use(u.parts[0], u.parts[0])},
		"unknown part":   {"InvalidPart", use(types.CompletedPart{PartNumber: aws.Int32(7), ETag: u.parts[0].ETag})},
		"other ETag":     {"InvalidPart", use(types.CompletedPart{PartNumber: aws.Int32(1), ETag: u.parts[1].ETag})},
		"unknown upload": {"NoSuchUpload", func(in *awss3.CompleteMultipartUploadInput) { in.UploadId = aws.String("x") }},
		"other key":      {"NoSuchUpload", func(in *awss3.CompleteMultipartUploadInput) { in.Key = aws.String("other") }},
		"no parts":       {"InvalidRequest", use([]types.CompletedPart{}...)},
		"wrong size":     {"InvalidRequest", func(in *awss3.CompleteMultipartUploadInput) { use(u.parts[0])(in); in.MpuObjectSize = aws.Int64(4) }},
		"other mode":     {"InvalidRequest", func(in *awss3.CompleteMultipartUploadInput) { use(u.parts[0])(in); in.ChecksumType = "COMPOSITE" }},
		"other checksum": {"BadDigest", func(in *awss3.CompleteMultipartUploadInput) {
			use(u.parts[0])(in)
			in.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=")
		}},
		"there is no key": {"NoSuchKey", func(in *awss3.CompleteMultipartUploadInput) { use(u.parts[0])(in); in.IfMatch = aws.String("x") }},
	} {
		if _, failed := u.complete(c.change); failed != c.want {
			t.Errorf("%s: %q, want %q", name, failed, c.want)
		}
	}
	resp, text := w.raw("POST", "/bucket/k?uploadId="+*u.id, "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag/></Part></CompleteMultipartUpload>")
	if resp.StatusCode != 400 || !strings.Contains(text, "MalformedXML") {
		t.Error(text)
	}
	// After all that it is complete yet.
	if _, failed := u.complete(use(u.parts[0])); failed != "" || w.body(b, "k") != "small" {
		t.Errorf("%q", failed)
	}
}

func TestConditionalComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	absent := func(in *awss3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") }
	w.put(b, "k", "data")
	u := w.begin(b, "k")
	u.part(1, []byte("part"))
	if _, failed := u.complete(absent); failed != "PreconditionFailed" {
		t.Error(failed)
	}
	w.remove(b, "k", "")
	if _, failed := u.complete(absent); failed != "ConditionalRequestConflict" {
		t.Errorf("deleted meanwhile: %s", failed)
	}
	again := w.begin(b, "k")
	again.part(1, []byte("part"))
	if _, failed := again.complete(absent); failed != "" {
		t.Error(failed)
	}
	third := w.begin(b, "k")
	third.part(1, []byte("third"))
	etag := w.put(b, "k", "meanwhile").ETag
	if _, failed := third.complete(func(in *awss3.CompleteMultipartUploadInput) { in.IfMatch = etag }); failed != "ConditionalRequestConflict" {
		t.Errorf("put meanwhile: %s", failed)
	}
}

func TestUploadPartCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "source", "0123456789")
	u := w.begin(b, "k")
	copyPart := func(number int32, spec string) string {
		in := &awss3.UploadPartCopyInput{Bucket: b, Key: u.key, UploadId: u.id, PartNumber: &number, CopySource: aws.String("bucket/source")}
		if spec != "" {
			in.CopySourceRange = &spec
		}
		out, err := w.UploadPartCopy(t.Context(), in)
		if err != nil {
			return code(t, err)
		}
		u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag})
		return ""
	}
	for spec, want := range map[string]string{"bytes=0-100": "InvalidArgument", "bytes=100-200": "InvalidRequest", "0-8": "InvalidArgument", "bytes=5-1": "InvalidArgument", "bytes=1-": "InvalidArgument"} {
		if got := copyPart(1, spec); got != want {
			t.Errorf("%s: %q", spec, got)
		}
	}
	if got := copyPart(1, "bytes=2-5"); got != "" {
		t.Fatal(got)
	}
	if _, failed := u.complete(); failed != "" || w.body(b, "k") != "2345" {
		t.Errorf("%q %q", failed, w.body(b, "k"))
	}
}

func TestAbortAndListUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	var ids []string
	for _, key := range []string{"b", "a", "b", "dir/x", "dir/y"} {
		ids = append(ids, *w.begin(b, key).id)
	}
	want := []string{"a " + ids[1], "b " + ids[0], "b " + ids[2], "dir/x " + ids[3], "dir/y " + ids[4]}
	for _, limit := range []int32{1, 2, 10} {
		var got []string
		in := &awss3.ListMultipartUploadsInput{Bucket: b, MaxUploads: &limit}
		for range 9 {
			out, err := w.ListMultipartUploads(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range out.Uploads {
				got = append(got, *u.Key+" "+*u.UploadId)
			}
			if !*out.IsTruncated {
				break
			}
			in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", limit, got, want)
		}
	}
	dirs, err := w.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: b, Delimiter: aws.String("/"), Prefix: aws.String("d")})
	if err != nil || len(dirs.CommonPrefixes) != 1 || len(dirs.Uploads) != 0 {
		t.Errorf("%+v %v", dirs, err)
	}
	abort := &awss3.AbortMultipartUploadInput{Bucket: b, Key: aws.String("a"), UploadId: &ids[1]}
	if _, err := w.AbortMultipartUpload(t.Context(), abort); err != nil {
		t.Error(err)
	}
	if _, err := w.AbortMultipartUpload(t.Context(), abort); code(t, err) != "NoSuchUpload" {
		t.Error(err)
	}
	if _, err := w.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: b}); err != nil { // uploads do not keep it
		t.Error(err)
	}
}

func TestChecksumsOfMultipartUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	first, last := bytes.Repeat([]byte("a"), mebi5), []byte("end")
	with := func(a types.ChecksumAlgorithm, kind types.ChecksumType) func(*awss3.CreateMultipartUploadInput) {
		return func(in *awss3.CreateMultipartUploadInput) { in.ChecksumAlgorithm, in.ChecksumType = a, kind }
	}
	// The sum of the sums, by default.
	u := w.begin(b, "composite", with("SHA256", ""))
	for i, data := range [][]byte{first, last} {
		sum := sha256.Sum256(data)
		text := base64.StdEncoding.EncodeToString(sum[:])
		number := int32(i + 1)
		out, err := w.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: b, Key: u.key, UploadId: u.id, PartNumber: &number, Body: bytes.NewReader(data), ChecksumSHA256: &text})
		if err != nil {
			t.Fatal(err)
		}
		u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256})
	}
	if _, failed := u.complete(func(in *awss3.CompleteMultipartUploadInput) {
		in.MultipartUpload = &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: u.parts[0].ETag}}}
	}); failed != "InvalidRequest" {
		t.Errorf("without the sums: %q", failed)
	}
	if _, failed := u.complete(func(in *awss3.CompleteMultipartUploadInput) {
		wrong := u.parts[0]
		wrong.ChecksumSHA256 = u.parts[1].ChecksumSHA256
		in.MultipartUpload = &types.CompletedMultipartUpload{Parts: []types.CompletedPart{wrong}}
	}); failed != "InvalidPart" {
		t.Errorf("with the wrong sums: %q", failed)
	}
	out, failed := u.complete()
	one, two := sha256.Sum256(first), sha256.Sum256(last)
	both := sha256.Sum256(slices.Concat(one[:], two[:]))
	if want := base64.StdEncoding.EncodeToString(both[:]) + "-2"; failed != "" || *out.ChecksumSHA256 != want || out.ChecksumType != "COMPOSITE" {
		t.Errorf("%q %+v, want %s", failed, out, want)
	}
	attributes, err := w.GetObjectAttributes(t.Context(), &awss3.GetObjectAttributesInput{Bucket: b, Key: u.key, ObjectAttributes: []types.ObjectAttributes{"ObjectParts"}, MaxParts: aws.Int32(1)})
	if err != nil || *attributes.ObjectParts.TotalPartsCount != 2 || len(attributes.ObjectParts.Parts) != 1 || !*attributes.ObjectParts.IsTruncated || *attributes.ObjectParts.Parts[0].Size != mebi5 {
		t.Errorf("%+v %v", attributes, err)
	}
	part, err := w.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: b, Key: u.key, PartNumber: aws.Int32(2), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || *part.ChecksumSHA256 != base64.StdEncoding.EncodeToString(two[:]) {
		t.Errorf("%+v %v", part, err)
	}
	// That of the whole, joined of the parts'.
	for _, a := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME"} {
		u := w.begin(b, "whole", with(a, "FULL_OBJECT"))
		for i, data := range [][]byte{first, last} {
			number := int32(i + 1)
			out, err := w.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: b, Key: u.key, UploadId: u.id, PartNumber: &number, Body: bytes.NewReader(data), ChecksumAlgorithm: a})
			if err != nil {
				t.Fatal(err)
			}
			u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: out.ETag})
		}
		out, failed := u.complete()
		if failed != "" {
			t.Fatal(failed)
		}
		once, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("once"), Body: bytes.NewReader(slices.Concat(first, last)), ChecksumAlgorithm: a})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.ChecksumCRC32) != aws.ToString(once.ChecksumCRC32) || aws.ToString(out.ChecksumCRC32C) != aws.ToString(once.ChecksumCRC32C) ||
			aws.ToString(out.ChecksumCRC64NVME) != aws.ToString(once.ChecksumCRC64NVME) || out.ChecksumType != "FULL_OBJECT" {
			t.Errorf("%s: %+v, at once %+v", a, out, once)
		}
	}
	for _, c := range []struct{ algorithm, kind, want string }{
		{"SHA1", "FULL_OBJECT", "The FULL_OBJECT checksum type cannot be used with the sha1 checksum algorithm."},
		{"CRC64NVME", "COMPOSITE", "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm."},
		{"", "COMPOSITE", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."},
		{"TEST", "", "Checksum algorithm provided is unsupported."},
		{"CRC32", "HALF", "Value for x-amz-checksum-type header is invalid."},
	} {
		header := []string{"X-Amz-Checksum-Algorithm", c.algorithm, "X-Amz-Checksum-Type", c.kind}
		if c.algorithm == "" {
			header = header[2:]
		} else if c.kind == "" {
			header = header[:2]
		}
		if _, text := w.raw("POST", "/bucket/k?uploads", "", header...); !strings.Contains(text, c.want) {
			t.Errorf("%+v: %s", c, text)
		}
	}
	u = w.begin(b, "k", with("SHA256", ""))
	if _, text := w.raw("PUT", "/bucket/k?partNumber=1&uploadId="+*u.id, "something", "X-Amz-Checksum-Crc32", "Cdox+w=="); !strings.Contains(text, "expected checksum Type: sha256, actual checksum Type: crc32") {
		t.Error(text)
	}
	for _, n := range []int{0, 10001, -1} {
		if _, text := w.raw("PUT", "/bucket/k?partNumber="+strconv.Itoa(n)+"&uploadId="+*u.id, "x"); !strings.Contains(text, "Part number must be an integer between 1 and 10000, inclusive") {
			t.Error(text)
		}
	}
}
