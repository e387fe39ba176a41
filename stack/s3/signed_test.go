package s3_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/stack/s3"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

// signedWorld is one in which requests must be signed.
func signedWorld(t *testing.T) *world {
	t.Helper()
	k := stacktest.New(t)
	service, err := s3.New(k.Env)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.NewDispatcher(wire.Config{
		Services: service.API(), Region: stacktest.Region, Account: stacktest.Account, Log: slog.New(slog.DiscardHandler),
		Verifier: &sigv4.Verifier{Keys: map[string]string{"test": "test"}, Clock: clock.System{}, Skew: sigv4.DefaultSkew},
	}))
	t.Cleanup(server.Close)
	w := &world{Kit: k, service: service, endpoint: server.URL, t: t}
	w.Client = w.client(stacktest.Region)
	return w
}

func TestSignaturesAreDemanded(t *testing.T) {
	t.Parallel()
	w := signedWorld(t)
	b := w.bucket("bucket")
	w.put(b, "k", "data")
	w.tag(b, "k", "a", "1")
	if got := w.body(b, "k"); got != "data" {
		t.Error(got)
	}
	if _, err := w.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("none")}}}}); err != nil {
		t.Error(err)
	}
	w.presignedPut(w.Client, b, "k2", "data")
	wrong := w.client(stacktest.Region, func(o *awss3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider("test", "wrong", "")
	})
	if _, err := wrong.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("k3"), Body: strings.NewReader("data")}); code(t, err) != "SignatureDoesNotMatch" {
		t.Error(err)
	}
	form := []string{"Content-Type", "multipart/form-data; boundary=x"}
	const body = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ndata\r\n--x--\r\n"
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", "/bucket/k", "", nil, 403, "<Code>AccessDenied</Code>"},
		{"PUT", "/bucket/k", "other", nil, 403, "<Code>AccessDenied</Code>"},
		{"PUT", "/bucket/k", "other", form, 403, "<Code>AccessDenied</Code>"},
		{"POST", "/bucket", body, form, 403, "<Code>AccessDenied</Code>"},
		{"POST", "/bucket", "x", nil, 412, "Bucket POST must be of the enclosure-type multipart/form-data"},
		{"POST", "/bucket?delete", "<Delete/>", form, 403, "<Code>AccessDenied</Code>"},
		{"POST", "/bucket/k?uploads", "", form, 403, "<Code>AccessDenied</Code>"},
		{"POST", "/bucket/k", body, form, 405, "<Code>MethodNotAllowed</Code>"},
		{"POST", "/", body, form, 405, "<Code>MethodNotAllowed</Code>"},
	} {
		if resp, text := w.raw(c.method, c.path, c.body, c.header...); resp.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, text)
		}
	}
	post, err := awss3.NewPresignClient(w.Client).PresignPostObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("form")})
	if err != nil {
		t.Fatal(err)
	}
	if resp, text := w.post("/bucket", post.Values, "by form"); resp.StatusCode != http.StatusNoContent || w.body(b, "form") != "by form" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	post.Values["policy"] += "x"
	if resp, text := w.post("/bucket", post.Values, "by form"); resp.StatusCode != 403 || !strings.Contains(text, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	resp, text := w.post("/bucket", map[string]string{
		"key": "dir/${filename}", "Content-Type": "image/jpeg", "x-amz-meta-a": "ü b", "tagging": "<Tagging><TagSet><Tag><Key>t</Key><Value>1</Value></Tag></TagSet></Tagging>",
		"success_action_status": "201", "x-amz-storage-class": "STANDARD_IA", "x-ignore-me": "x",
	}, "data")
	if resp.StatusCode != 201 || !strings.Contains(text, "<Key>dir/photo.jpg</Key>") || resp.Header.Get("ETag") != `"8d777f385d3dfec8815d20f7496026dc"` {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	head, err := w.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: b, Key: aws.String("dir/photo.jpg")})
	if err != nil || *head.ContentType != "image/jpeg" || head.Metadata["a"] != "=?UTF-8?Q?=C3=BC_b?=" || head.StorageClass != "STANDARD_IA" || *head.TagCount != 1 {
		t.Errorf("%+v %v", head, err)
	}
	resp, _ = w.post("/bucket", map[string]string{"key": "k", "success_action_redirect": "http://example.com/x?y=z"}, "data")
	if want := "http://example.com/x?bucket=bucket&etag=%228d777f385d3dfec8815d20f7496026dc%22&key=k&y=z"; resp.StatusCode != 303 || resp.Header.Get("Location") != want {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, c := range []struct {
		fields map[string]string
		status int
		want   string
	}{
		{map[string]string{}, 400, "Bucket POST must contain a field named 'key'."},
		{map[string]string{"key": ""}, 400, "User key must have a length greater than 0."},
		{map[string]string{"key": "k", "content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}, 400, "<Code>BadDigest</Code>"},
		{map[string]string{"key": "k", "x-amz-checksum-crc32": "AAAAAA=="}, 400, "<Code>BadDigest</Code>"},
		{map[string]string{"key": "k", "x-amz-server-side-encryption": "aws:kms"}, 501, "x-amz-server-side-encryption"},
		{map[string]string{"key": "k", "x-amz-storage-class": "X"}, 400, "<Code>InvalidStorageClass</Code>"},
		{map[string]string{"key": "k", "tagging": "no XML"}, 400, "<Code>MalformedXML</Code>"},
		{map[string]string{"key": "k", "acl": "public-read"}, 400, "<Code>AccessControlListNotSupported</Code>"},
		{map[string]string{"key": "k", "policy": "e30="}, 403, "<Code>AccessDenied</Code>"},
		{map[string]string{"key": "k", "policy": "e30=", "X-Amz-Date": "x"}, 400, "Bucket POST must contain a field named 'X-Amz-Algorithm'."},
		{map[string]string{"key": "k", "policy": "e30=", "signature": "x"}, 400, "Bucket POST must contain a field named 'AWSAccessKeyId'."},
		{map[string]string{"key": strings.Repeat("k", 30_000)}, 400, "<Code>MaxPostPreDataLengthExceeded</Code>"},
	} {
		if resp, text := w.post("/bucket", c.fields, "data"); resp.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%.200q: %d %s", c.fields, resp.StatusCode, text)
		}
	}
	if resp, text := w.raw("POST", "/bucket", "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x--\r\n", "Content-Type", "multipart/form-data; boundary=x"); resp.StatusCode != 400 || !strings.Contains(text, "POST requires exactly one file upload per request.") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// TestMetadata is in the form that headers have, which is not that of texts.
func TestMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bucket("bucket")
	for sent, want := range map[string]string{
		"plain text":                    "plain text",
		"ü b":                           "=?UTF-8?Q?=C3=BC_b?=",
		"\xfc b":                        "=?UTF-8?Q?=C3=BC_b?=", // Latin 1
		"=?UTF-8?Q?=C3=BC_b?=":          "=?UTF-8?Q?=C3=BC_b?=",
		"=?UTF-8?B?YWJj?=":              "abc",
		"=?UTF-8?B?!?=":                 "=?UTF-8?B?!?=",
		"日本":                            "=?UTF-8?B?5pel5pys?=",
		"=?UTF-8?Q?a=5Fb=3D=3F?=":       "a_b=?",
		"=?UTF-8?Q?a=5Fb=3D=3F=C3=BC?=": "=?UTF-8?Q?a=5Fb=3D=3F=C3=BC?=",
	} {
		if resp, text := w.raw("PUT", "/bucket/k", "", "X-Amz-Meta-A", sent, "Cache-Control", "\xfc=ü", "Content-Length", "0"); resp.StatusCode != 200 {
			t.Fatal(text)
		}
		resp, _ := w.raw("HEAD", "/bucket/k", "")
		if got := resp.Header.Get("X-Amz-Meta-A"); got != want {
			t.Errorf("%q came back as %q, want %q", sent, got, want)
		}
		if got := resp.Header.Get("Cache-Control"); got != "\xfc=ü" {
			t.Errorf("the header came back as %q", got)
		}
	}
}
