package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/s3"
	"github.com/millrace/millrace/stack/stacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service and a client of it.
type world struct {
	*stacktest.Kit
	*awss3.Client
	service  *s3.Service
	endpoint string
	t        testing.TB
}

func newWorld(t testing.TB) *world { return on(t, stacktest.New(t)) }

func on(t testing.TB, k *stacktest.Kit) *world {
	t.Helper()
	service, err := s3.New(k.Env)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Kit: k, service: service, endpoint: k.Serve(service.API()...), t: t}
	w.Client = w.client(stacktest.Region)
	return w
}

// client makes a client of a region, which addresses buckets by path.
func (w *world) client(region string, options ...func(*awss3.Options)) *awss3.Client {
	config := stacktest.Config(w.endpoint)
	config.Region = region
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	config.HTTPClient = &http.Client{Transport: transport}
	return awss3.NewFromConfig(config, append([]func(*awss3.Options){func(o *awss3.Options) { o.UsePathStyle = true }}, options...)...)
}

// bucket makes a bucket.
func (w *world) bucket(name string) *string {
	w.t.Helper()
	if _, err := w.CreateBucket(w.t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		w.t.Fatal(err)
	}
	return &name
}

func (w *world) put(bucket *string, key, body string) *awss3.PutObjectOutput {
	w.t.Helper()
	out, err := w.PutObject(w.t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// body reads an object, or the code of the error.
func (w *world) body(bucket *string, key string, version ...string) string {
	w.t.Helper()
	in := &awss3.GetObjectInput{Bucket: bucket, Key: &key}
	if len(version) > 0 {
		in.VersionId = &version[0]
	}
	out, err := w.GetObject(w.t.Context(), in)
	if err != nil {
		return code(w.t, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// code is that of a service's error.
func code(t testing.TB, err error) string {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no error of the service", err)
	}
	return e.ErrorCode()
}

// raw sends a request that no SDK would.
func (w *world) raw(method, path, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.endpoint+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header[http.CanonicalHeaderKey(header[i])] = []string{header[i+1]}
		}
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(text)
}

func TestObjectComesBackAsItWasPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("photos")
	for _, size := range []int{0, 1, 1000, 1 << 20} {
		data := bytes.Repeat([]byte("x"), size)
		key := "a b/c+d%é" + strings.Repeat("k", size%7)
		put, err := w.PutObject(t.Context(), &awss3.PutObjectInput{
			Bucket: b, Key: &key, Body: bytes.NewReader(data), ContentType: aws.String("text/plain"), CacheControl: aws.String("no-cache"),
			Metadata: map[string]string{"Colour": "blue", "size": "big"}, StorageClass: types.StorageClassStandardIa, Tagging: aws.String("a=1&b=x+y"),
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(body, data) {
			t.Errorf("%d bytes came back of %d", len(body), size)
		}
		if aws.ToString(got.ETag) != aws.ToString(put.ETag) || aws.ToString(got.ContentType) != "text/plain" || aws.ToString(got.CacheControl) != "no-cache" ||
			got.Metadata["colour"] != "blue" || got.Metadata["size"] != "big" || got.StorageClass != types.StorageClassStandardIa ||
			aws.ToInt32(got.TagCount) != 2 || aws.ToString(got.ChecksumSHA256) != aws.ToString(put.ChecksumSHA256) || got.ChecksumSHA256 == nil {
			t.Errorf("got %+v", got)
		}
	}
}

func TestVirtualHostStyle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := strings.TrimPrefix(w.endpoint, "http://")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := w.client(stacktest.Region, func(o *awss3.Options) {
		o.UsePathStyle = false
		o.BaseEndpoint = aws.String("http://s3.localhost:" + port)
		o.HTTPClient = &http.Client{Transport: transport}
	})
	name := "my.photos"
	if _, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &name, Key: aws.String("photos/1"), Body: strings.NewReader("one")}); err != nil {
		t.Fatal(err)
	}
	if got := w.body(&name, "photos/1"); got != "one" {
		t.Errorf("by path: %q", got)
	}
	list, err := client.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: &name})
	if err != nil || len(list.Contents) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

func TestErrorDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resp, text := w.raw("GET", "/nowhere/key", "")
	want := `<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message><BucketName>nowhere</BucketName><RequestId>` +
		resp.Header.Get("X-Amz-Request-Id") + `</RequestId><HostId>` + resp.Header.Get("X-Amz-Id-2") + `</HostId></Error>`
	if resp.StatusCode != 404 || !strings.HasSuffix(text, want) || resp.Header.Get("Content-Type") != "application/xml" {
		t.Errorf("%d %v\n%s\nwant\n%s", resp.StatusCode, resp.Header, text, want)
	}
	resp, text = w.raw("HEAD", "/nowhere/key", "")
	if resp.StatusCode != 404 || text != "" {
		t.Errorf("%d %q", resp.StatusCode, text)
	}
}
