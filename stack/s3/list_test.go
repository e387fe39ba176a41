package s3_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// model lists keys as the documentation says: what begins with the prefix, with all that share a part up to the
// delimiter shown once, as that part and a star.
func model(keys []string, prefix, delimiter string) (list []string) {
	for _, k := range keys {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			k = k[:len(prefix)+i+len(delimiter)] + "*"
		}
		if !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}

// entries are a page of a list in one order.
func entries(objects []types.Object, shared []types.CommonPrefix) (list []string) {
	for _, o := range objects {
		list = append(list, *o.Key)
	}
	for _, p := range shared {
		list = append(list, *p.Prefix+"*")
	}
	slices.Sort(list)
	return list
}

func TestListsAreCutIntoPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	random := rand.New(rand.NewPCG(1, 2))
	var keys []string
	for range 40 {
		var k strings.Builder
		for range 1 + random.IntN(5) {
			k.WriteString([]string{"a", "b", "/", "--", "ü", " ", "\U0001F600"}[random.IntN(7)])
		}
		if !slices.Contains(keys, k.String()) {
			keys = append(keys, k.String())
			w.put(b, k.String(), "")
		}
	}
	slices.Sort(keys)
	w.versioning(b, types.BucketVersioningStatusEnabled)
	hidden := keys[len(keys)/2]
	w.remove(b, hidden, "") // it is not listed any more
	visible := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == hidden })

	for _, delimiter := range []string{"", "/", "--", "b"} {
		for _, prefix := range []string{"", "a", "a/", "/", "ü", "none"} {
			for _, limit := range []int32{1, 3, 1000} {
				name := fmt.Sprintf("prefix %q delimiter %q by %d", prefix, delimiter, limit)
				want := model(visible, prefix, delimiter)
				slices.Sort(want)

				var got []string
				in := &awss3.ListObjectsInput{Bucket: b, Prefix: &prefix, Delimiter: &delimiter, MaxKeys: &limit}
				for range len(keys) + 1 {
					out, err := w.ListObjects(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					page := entries(out.Contents, out.CommonPrefixes)
					if len(page) > int(limit) {
						t.Errorf("%s: a page of %d", name, len(page))
					}
					got = append(got, page...)
					if !*out.IsTruncated {
						break
					}
					if (out.NextMarker == nil) != (delimiter == "") {
						t.Fatalf("%s: the next marker is %v", name, out.NextMarker)
					}
					if in.Marker = out.NextMarker; delimiter == "" {
						in.Marker = out.Contents[len(out.Contents)-1].Key
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("ListObjects %s:\n got %q\nwant %q", name, got, want)
				}

				got = nil
				v2 := &awss3.ListObjectsV2Input{Bucket: b, Prefix: &prefix, Delimiter: &delimiter, MaxKeys: &limit}
				for range len(keys) + 1 {
					out, err := w.ListObjectsV2(t.Context(), v2)
					if err != nil {
						t.Fatal(err)
					}
					page := entries(out.Contents, out.CommonPrefixes)
					if int(*out.KeyCount) != len(page) {
						t.Errorf("%s: %d keys are counted, %d listed", name, *out.KeyCount, len(page))
					}
					got = append(got, page...)
					if v2.ContinuationToken = out.NextContinuationToken; v2.ContinuationToken == nil {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("ListObjectsV2 %s:\n got %q\nwant %q", name, got, want)
				}

				got = nil
				want = model(keys, prefix, delimiter)
				if slices.Contains(want, hidden) {
					want = append(want, hidden) // its version and its marker
				}
				slices.Sort(want)
				vs := &awss3.ListObjectVersionsInput{Bucket: b, Prefix: &prefix, Delimiter: &delimiter, MaxKeys: &limit}
				for range len(keys) + 2 {
					out, err := w.ListObjectVersions(t.Context(), vs)
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range out.Versions {
						got = append(got, *v.Key)
					}
					for _, m := range out.DeleteMarkers {
						got = append(got, *m.Key)
					}
					for _, p := range out.CommonPrefixes {
						got = append(got, *p.Prefix+"*")
					}
					if !*out.IsTruncated {
						break
					}
					vs.KeyMarker, vs.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("ListObjectVersions %s:\n got %q\nwant %q", name, got, want)
				}
			}
		}
	}
}

func TestListDetails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	w.put(b, "a b/c", "data")
	w.put(b, "d", "data")
	out, err := w.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: b, StartAfter: aws.String("a b"), FetchOwner: aws.Bool(true), EncodingType: types.EncodingTypeUrl})
	if err != nil || len(out.Contents) != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	o := out.Contents[0]
	if *o.Key != "a+b/c" || *o.Size != 4 || *o.ETag != `"8d777f385d3dfec8815d20f7496026dc"` || o.StorageClass != "STANDARD" || o.Owner == nil || len(*o.Owner.ID) != 64 ||
		!o.LastModified.Equal(w.Clock.Now()) || *out.StartAfter != "a+b" || *out.MaxKeys != 1000 || len(o.ChecksumAlgorithm) != 1 {
		t.Errorf("%+v", o)
	}
	none, err := w.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: b, MaxKeys: aws.Int32(0)})
	if err != nil || *none.KeyCount != 0 || *none.IsTruncated {
		t.Errorf("%+v %v", none, err)
	}
	// A key with what XML cannot hold comes back if the client asks for it in the form of a URL.
	if resp, text := w.raw("PUT", "/bucket/z%01%0A", "data"); resp.StatusCode != 200 {
		t.Fatal(text)
	}
	if _, text := w.raw("GET", "/bucket?prefix=z&encoding-type=url", ""); !strings.Contains(text, "<Key>z%01%0A</Key>") {
		t.Error(text)
	}
	if _, text := w.raw("GET", "/bucket?prefix=z", ""); !strings.Contains(text, "<Key>z&#x1;\n</Key>") {
		t.Error(text)
	}
}
