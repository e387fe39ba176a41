package s3_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// versions shows a key's versions, newest first: body, "-" for a marker, and the id if it is null.
func (w *world) versions(bucket *string, key string) string {
	w.t.Helper()
	out, err := w.ListObjectVersions(w.t.Context(), &awss3.ListObjectVersionsInput{Bucket: bucket, Prefix: &key})
	if err != nil {
		w.t.Fatal(err)
	}
	resp, text := w.raw("GET", "/"+*bucket+"?versions&prefix="+key, "")
	if resp.StatusCode != 200 {
		w.t.Fatal(text)
	}
	shown := map[string]string{}
	for _, v := range out.Versions {
		shown[*v.VersionId] = w.body(bucket, key, *v.VersionId)
		if *v.IsLatest && w.body(bucket, key) != shown[*v.VersionId] {
			w.t.Errorf("version %s is the latest, but not what the key has", *v.VersionId)
		}
	}
	for _, m := range out.DeleteMarkers {
		shown[*m.VersionId] = "-"
	}
	var list []string
	for part := range strings.SplitSeq(text, "<VersionId>") { // in the order of the document, which the SDK loses
		id, _, ok := strings.Cut(part, "</VersionId>")
		if !ok {
			continue
		}
		if id == "null" {
			shown[id] += "(null)"
		}
		list = append(list, shown[id])
	}
	return strings.Join(list, " ")
}

func TestVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	state := func(want string) {
		t.Helper()
		if got := w.versions(b, "k"); got != want {
			t.Errorf("the versions are %q, want %q", got, want)
		}
	}
	out, err := w.GetBucketVersioning(t.Context(), &awss3.GetBucketVersioningInput{Bucket: b})
	if err != nil || out.Status != "" {
		t.Errorf("a new bucket: %v %v", out, err)
	}
	if put := w.put(b, "k", "v0"); put.VersionId != nil {
		t.Errorf("without versioning: %v", *put.VersionId)
	}
	w.put(b, "k", "v1")
	state("v1(null)")

	w.versioning(b, types.BucketVersioningStatusEnabled)
	v2 := w.put(b, "k", "v2").VersionId
	v3 := w.put(b, "k", "v3").VersionId
	state("v3 v2 v1(null)")
	marker := w.remove(b, "k", "")
	if !aws.ToBool(marker.DeleteMarker) || aws.ToString(marker.VersionId) == "" {
		t.Errorf("%+v", marker)
	}
	state("- v3 v2 v1(null)")
	if w.body(b, "k") != "NoSuchKey" || w.body(b, "k", *v3) != "v3" || w.body(b, "k", "null") != "v1" {
		t.Error("a marker hides the wrong versions")
	}
	resp, text := w.raw("GET", "/bucket/k", "")
	if resp.StatusCode != 404 || resp.Header.Get("X-Amz-Delete-Marker") != "true" || resp.Header.Get("X-Amz-Version-Id") != *marker.VersionId {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	resp, text = w.raw("GET", "/bucket/k?versionId="+*marker.VersionId, "")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "DELETE" || resp.Header.Get("Last-Modified") == "" || !strings.Contains(text, "<ResourceType>DeleteMarker</ResourceType>") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}

	w.versioning(b, types.BucketVersioningStatusSuspended)
	if put := w.put(b, "k", "v4"); put.VersionId != nil {
		t.Errorf("suspended: %v", *put.VersionId)
	}
	state("v4(null) - v3 v2")
	if m := w.remove(b, "k", ""); *m.VersionId != "null" || !*m.DeleteMarker {
		t.Errorf("%+v", m)
	}
	state("-(null) - v3 v2")
	w.put(b, "k", "v5")
	state("v5(null) - v3 v2")
	if d := w.remove(b, "k", *marker.VersionId); !aws.ToBool(d.DeleteMarker) || *d.VersionId != *marker.VersionId {
		t.Errorf("%+v", d)
	}
	state("v5(null) v3 v2")
	if d := w.remove(b, "k", "null"); d.DeleteMarker != nil || *d.VersionId != "null" {
		t.Errorf("%+v", d)
	}
	state("v3 v2")
	w.remove(b, "k", "null")
	w.remove(b, "k", *v3)
	state("v2")
	if got := w.body(b, "k", *v3); got != "NoSuchVersion" {
		t.Error(got)
	}

	// An old version becomes the latest by a copy.
	w.versioning(b, types.BucketVersioningStatusEnabled)
	w.put(b, "k", "v6")
	cp, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: b, Key: aws.String("k"), CopySource: aws.String("bucket/k?versionId=" + *v2)})
	if err != nil || aws.ToString(cp.CopySourceVersionId) != *v2 || cp.VersionId == nil {
		t.Errorf("%+v %v", cp, err)
	}
	state("v2 v6 v2")
	m := w.remove(b, "k", "")
	if _, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: b, Key: aws.String("x"), CopySource: aws.String("bucket/k?versionId=" + *m.VersionId)}); code(t, err) != "InvalidRequest" {
		t.Errorf("a copy of a marker: %v", err)
	}
	if _, err := w.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: b}); code(t, err) != "BucketNotEmpty" {
		t.Error(err)
	}
}

func TestTagsOfVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.versioning(b, types.BucketVersioningStatusEnabled)
	first := w.put(b, "k", "one").VersionId
	w.put(b, "k", "two")
	_, err := w.PutObjectTagging(t.Context(), &awss3.PutObjectTaggingInput{Bucket: b, Key: aws.String("k"), VersionId: first,
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}})
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[*string]int{first: 1, nil: 0} {
		got, err := w.GetObjectTagging(t.Context(), &awss3.GetObjectTaggingInput{Bucket: b, Key: aws.String("k"), VersionId: version})
		if err != nil || len(got.TagSet) != want || got.VersionId == nil {
			t.Errorf("%v: %+v %v", version, got, err)
		}
	}
}

func TestDeleteObjectsOfVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.versioning(b, types.BucketVersioningStatusEnabled)
	first := w.put(b, "k", "one").VersionId
	out, err := w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("k")}, {Key: aws.String("k"), VersionId: first},
	}}})
	if err != nil || len(out.Deleted) != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	made, gone := out.Deleted[0], out.Deleted[1]
	if !aws.ToBool(made.DeleteMarker) || made.DeleteMarkerVersionId == nil || made.VersionId != nil || gone.DeleteMarker != nil || *gone.VersionId != *first {
		t.Errorf("%+v %+v", made, gone)
	}
	out, err = w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("k"), VersionId: made.DeleteMarkerVersionId},
	}}})
	if err != nil || !aws.ToBool(out.Deleted[0].DeleteMarker) || *out.Deleted[0].DeleteMarkerVersionId != *made.DeleteMarkerVersionId {
		t.Errorf("%+v %v", out, err)
	}
	if got := w.versions(b, "k"); got != "" {
		t.Errorf("left: %q", got)
	}
}
