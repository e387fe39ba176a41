package sigv4_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
)

// s3Server answers a request with what its body held, or with the code of the refusal.
func s3Server(t *testing.T, now clock.Clock) *httptest.Server {
	v := &sigv4.Verifier{Keys: map[string]string{"AKID": "secret/+="}, Clock: now, Skew: sigv4.DefaultSkew}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := v.VerifyS3Form(r)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(r.Body)
		}
		if check := sigv4.FormCheck(r.Context()); err == nil && check != nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			if err = r.ParseMultipartForm(1 << 20); err == nil { //nolint:gosec // a test's own form
				fields := map[string]string{}
				for k, values := range r.MultipartForm.Value {
					fields[strings.ToLower(k)] = values[0]
				}
				err = check(fields)
			}
		}
		var e *sigv4.Error
		switch {
		case errors.As(err, &e):
			w.WriteHeader(e.Status)
			fmt.Fprintf(w, "%s: %s", e.Code, e.Message)
		case err != nil:
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.Header().Set("Etag", `"x"`)
			if !strings.HasPrefix(r.UserAgent(), "Boto3") { // which expects a document
				w.Write(body)
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func send(t *testing.T, r *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// s3Client is a client whose requests go to the server, whatever their host is.
func s3Client(server *httptest.Server, endpoint string, options ...func(*s3.Options)) *s3.Client {
	o := s3.Options{
		Region: "eu-west-1", BaseEndpoint: &endpoint, HTTPClient: server.Client(), RetryMaxAttempts: 1,
		Credentials: awscreds.NewStaticCredentialsProvider("AKID", "secret/+=", ""),
	}
	return s3.New(o, options...)
}

func TestS3AcceptsWhatTheSDKSigns(t *testing.T) {
	t.Parallel()
	server := s3Server(t, clock.System{})
	client := s3Client(server, server.URL, func(o *s3.Options) { o.UsePathStyle = true })
	for _, key := range []string{"plain", "a b/c+d", "ü&=?#%2F", "a//b/../c", "!'()*~$@:,;"} {
		in := &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader("text"),
			Metadata: map[string]string{"A": " two  spaces "}, Tagging: aws.String("a=b")}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			t.Errorf("%q: %v", key, err)
		}
		presign := s3.NewPresignClient(client)
		signed, err := presign.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: &key, ResponseContentType: aws.String("a/b; c=d")})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := send(t, r); got != "" {
			t.Errorf("presigned %q: %s", key, got)
		}
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=900", "X-Amz-Expires=901", 1)
		if got := send(t, r); !strings.HasPrefix(got, "SignatureDoesNotMatch: ") {
			t.Errorf("presigned and changed %q: %s", key, got)
		}
	}
}

// TestS3StreamsWithTrailers has the SDK send what it sends over TLS, where it does not sign the payload.
func TestS3StreamsWithTrailers(t *testing.T) {
	t.Parallel()
	var got string
	v := &sigv4.Verifier{Keys: map[string]string{"AKID": "secret/+="}, Clock: clock.System{}, Skew: sigv4.DefaultSkew}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		declared := r.Header.Get("X-Amz-Content-Sha256")
		if err := v.VerifyS3(r); err != nil {
			t.Error(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		chunks, ok := r.Body.(*sigv4.Chunked)
		if !ok {
			t.Errorf("the body is a %T of %s", r.Body, declared)
			return
		}
		got = string(body) + " " + chunks.Trailer().Get("X-Amz-Checksum-Crc32")
		w.Header().Set("X-Amz-Checksum-Crc32", chunks.Trailer().Get("X-Amz-Checksum-Crc32"))
	}))
	defer server.Close()
	client := s3Client(server, server.URL, func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("something"), ChecksumAlgorithm: "CRC32"})
	if err != nil {
		t.Fatal(err)
	}
	if got != "something Cdox+w==" {
		t.Errorf("got %q", got)
	}
}

// chunked signs and sends a body in chunks, as the documentation has it, after change has had a look at it.
func chunked(t *testing.T, url string, chunks []string, trailer string, change func(string) string) string {
	t.Helper()
	kind := "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	if trailer != "" {
		kind += "-TRAILER"
	}
	length := 0
	for _, c := range chunks {
		length += len(c)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/bucket/key", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", kind)
	r.Header.Set("Content-Encoding", "aws-chunked")
	r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(length))
	now := time.Now().UTC()
	creds := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret/+="}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, kind, "s3", "eu-west-1", now, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }); err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	body := sigv4.SignChunks("secret/+=", "eu-west-1", "s3", now, signature, chunks, trailer)
	body = change(body)
	r.Body = io.NopCloser(strings.NewReader(body))
	r.ContentLength = int64(len(body))
	return send(t, r)
}

func TestS3ChecksTheSignaturesOfChunks(t *testing.T) {
	t.Parallel()
	server := s3Server(t, clock.System{})
	same := func(s string) string { return s }
	a, b := strings.Repeat("a", 8192), "b"
	for _, c := range []struct {
		name, trailer, want string
		chunks              []string
		change              func(string) string
	}{
		{"as signed", "", a + b, []string{a, b}, same},
		{"empty", "", "", nil, same},
		{"with a trailer", "x-amz-checksum-crc32:AAAAAA==", a + b, []string{a, b}, same},
		{"changed byte", "", "SignatureDoesNotMatch: ", []string{a, b}, func(s string) string { return strings.Replace(s, "a\r\n", "z\r\n", 1) }},
		{"changed first chunk", "", "SignatureDoesNotMatch: ", []string{a, b}, func(s string) string { return strings.Replace(s, "aaaa", "abaa", 1) }},
		{"changed last chunk", "", "SignatureDoesNotMatch: ", []string{a, b}, func(s string) string { return strings.Replace(s, "\r\nb\r\n", "\r\nc\r\n", 1) }},
		{"changed trailer", "x-amz-checksum-crc32:AAAAAA==", "SignatureDoesNotMatch: ", []string{a, b}, func(s string) string { return strings.Replace(s, "AAAAAA==", "BAAAAA==", 1) }},
		{"end left out", "", "IncompleteBody: ", []string{a, b}, func(s string) string { return s[:strings.LastIndex(s, "0;")] }},
		{"signature left out", "", "IncompleteBody: ", []string{a, b}, func(s string) string { return strings.Replace(s, ";chunk-signature=", ";x=", 1) }},
		{"small chunk first", "", "InvalidChunkSizeError: ", []string{b, a}, same},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := chunked(t, server.URL, c.chunks, c.trailer, c.change)
			if got != c.want && (!strings.HasSuffix(c.want, ": ") || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got %.100q, want %.100q", got, c.want)
			}
		})
	}
}

func TestS3Refusals(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	server := s3Server(t, clock.System{})
	creds := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret/+="}
	const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	request := func(method, uri, sum string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sum != "" {
			r.Header.Set("X-Amz-Content-Sha256", sum)
		}
		return r
	}
	signed := func(r *http.Request, c aws.Credentials, at time.Time) *http.Request {
		err := v4.NewSigner().SignHTTP(t.Context(), c, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	presigned := func(change url.Values, at time.Time) *http.Request {
		r := request("GET", "/b/k?X-Amz-Expires=60", "")
		uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", at)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		maps.Copy(q, change)
		for k, v := range change {
			if v == nil {
				delete(q, k)
			}
		}
		u.RawQuery = q.Encode()
		r.URL = u
		return r
	}
	withHeader := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	withBody := func(r *http.Request, body string) *http.Request {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		return r
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want string
	}{
		"unsigned":           {request("GET", "/b/k", ""), "AccessDenied: Access Denied"},
		"unknown key":        {signed(request("GET", "/b/k", emptySum), aws.Credentials{AccessKeyID: "OTHER", SecretAccessKey: "x"}, now), "InvalidAccessKeyId: "},
		"wrong secret":       {signed(request("GET", "/b/k", emptySum), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "x"}, now), "SignatureDoesNotMatch: "},
		"old":                {signed(request("GET", "/b/k", emptySum), creds, now.Add(-20*time.Minute)), "RequestTimeTooSkewed: "},
		"early":              {signed(request("GET", "/b/k", emptySum), creds, now.Add(20*time.Minute)), "RequestTimeTooSkewed: "},
		"no payload":         {signed(request("GET", "/b/k", ""), creds, now), "InvalidRequest: Missing required header"},
		"bad payload":        {signed(request("GET", "/b/k", "abc"), creds, now), "InvalidRequest: x-amz-content-sha256 must be"},
		"other body":         {withBody(signed(request("PUT", "/b/k", emptySum), creds, now), "text"), "XAmzContentSHA256Mismatch: "},
		"header not signed":  {withHeader(signed(request("GET", "/b/k", emptySum), creds, now), "X-Amz-Acl", "private"), "AccessDenied: There were headers present"},
		"third version":      {withHeader(request("GET", "/b/k", ""), "Authorization", "AWS3 AKID:x"), "InvalidRequest: The authorization mechanism"},
		"second, no date":    {withHeader(request("GET", "/b/k", ""), "Authorization", "AWS AKID:x"), "AccessDenied: AWS authentication requires a valid Date"},
		"second, wrong":      {withHeader(withHeader(request("GET", "/b/k", ""), "Authorization", "AWS AKID:x"), "Date", now.Format(http.TimeFormat)), "SignatureDoesNotMatch: "},
		"second, malformed":  {withHeader(request("GET", "/b/k", ""), "Authorization", "AWS AKID"), "InvalidArgument: AWS authorization header is invalid."},
		"second, old":        {withHeader(withHeader(request("GET", "/b/k", ""), "Authorization", "AWS AKID:x"), "Date", now.Add(-time.Hour).Format(http.TimeFormat)), "RequestTimeTooSkewed: "},
		"malformed":          {withHeader(request("GET", "/b/k", ""), "Authorization", "AWS4-HMAC-SHA256 Credential"), "AuthorizationHeaderMalformed: "},
		"URL":                {presigned(nil, now), ""},
		"URL expired":        {presigned(nil, now.Add(-2*time.Minute)), "AccessDenied: Request has expired"},
		"URL early":          {presigned(nil, now.Add(20*time.Minute)), "AccessDenied: Request is not valid yet"},
		"URL short":          {presigned(url.Values{"X-Amz-Date": nil}, now), "AuthorizationQueryParametersError: Query-string authentication version 4 requires"},
		"URL far too long":   {presigned(url.Values{"X-Amz-Expires": {"604801"}}, now), "AuthorizationQueryParametersError: X-Amz-Expires must be less than a week"},
		"URL without number": {presigned(url.Values{"X-Amz-Expires": {"x"}}, now), "AuthorizationQueryParametersError: X-Amz-Expires should be a number"},
		"URL negative":       {presigned(url.Values{"X-Amz-Expires": {"-1"}}, now), "AuthorizationQueryParametersError: X-Amz-Expires must be non-negative"},
		"URL malformed":      {presigned(url.Values{"X-Amz-Credential": {"AKID"}}, now), "AuthorizationQueryParametersError: Error parsing the X-Amz-Credential"},
		"URL with a header":  {withHeader(presigned(nil, now), "X-Amz-Meta-A", "b"), "AccessDenied: There were headers present"},
		"old URL short":      {request("GET", "/b/k?AWSAccessKeyId=AKID&Signature=x", ""), "AccessDenied: Query-string authentication requires"},
		"old URL expired":    {request("GET", "/b/k?AWSAccessKeyId=AKID&Signature=x&Expires=1", ""), "AccessDenied: Request has expired"},
		"old URL wrong":      {request("GET", "/b/k?AWSAccessKeyId=AKID&Signature=x&Expires=9999999999", ""), "SignatureDoesNotMatch: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := send(t, c.r); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestS3AcceptsWhatBoto3Signs has boto3 sign by header, by URL of both versions and by form.
func TestS3AcceptsWhatBoto3Signs(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil || exec.CommandContext(t.Context(), python, "-c", "import boto3").Run() != nil {
		t.Skip("no python3 with boto3")
	}
	server := s3Server(t, clock.System{})
	const program = `
import sys, io, boto3, urllib.request, urllib.error
from botocore.config import Config
def client(style, version=None):
    return boto3.client("s3", endpoint_url=sys.argv[1], region_name="eu-west-1", aws_access_key_id="AKID", aws_secret_access_key="secret/+=",
        config=Config(signature_version=version, s3={"addressing_style": style}, retries={"max_attempts": 0}))
def get(url, method="GET", data=None, headers={}):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, method=method, data=data, headers=headers)).read().decode()
    except urllib.error.HTTPError as e:
        return e.read().decode()
c = client("path")
key = "a b/c+d~ü&"
c.put_object(Bucket="bucket", Key=key, Body=b"text", Metadata={"a": "b"})
client("path", "s3").put_object(Bucket="bucket", Key=key, Body=b"text", Metadata={"a": "b"}, Tagging="a=b")
client("path", "s3").get_object(Bucket="bucket", Key=key, VersionId="v", ResponseContentType="a/b")
class Stream(io.RawIOBase):
    def __init__(self): self.left = 20000
    def readable(self): return True
    def read(self, n=-1):
        n = self.left if n < 0 else min(n, self.left); self.left -= n; return b"x" * n
    def tell(self): return 0
c.put_object(Bucket="bucket", Key=key, Body=io.BytesIO(b"x" * 20000), ChecksumAlgorithm="SHA256")
for version in (None, "s3v4"):
    c = client("path", version)
    for params in ({}, {"ResponseContentType": "a/b", "VersionId": "v"}):
        got = get(c.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": key, **params}))
        if got != "": sys.exit("%s %s: %s" % (version, params, got))
    got = get(c.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": key}), "PUT", b"text", {"Content-Type": ""})
    if got != "text": sys.exit("put %s: %s" % (version, got))
    post = c.generate_presigned_post("bucket", "key")
    fields = "".join('--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % f for f in post["fields"].items())
    form = (fields + '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ntext\r\n--x--\r\n').encode()
    got = get(post["url"], "POST", form, {"Content-Type": "multipart/form-data; boundary=x"})
    if not got.startswith("--x"): sys.exit("post %s: %s" % (version, got))
    got = get(post["url"], "POST", form.replace(b'policy"\r\n\r\n', b'policy"\r\n\r\nx'), {"Content-Type": "multipart/form-data; boundary=x"})
    if not got.startswith("SignatureDoesNotMatch"): sys.exit("changed post %s: %s" % (version, got))
`
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", program, server.URL).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// FuzzChunked reads what is no good encoding, too.
func FuzzChunked(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	f.Add("5;chunk-signature=aa\r\nhello\r\n0;chunk-signature=bb\r\n\r\n", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	f.Add("0\r\n\r\n", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	f.Fuzz(func(t *testing.T, body, kind string) {
		c, err := sigv4.NewChunked(io.NopCloser(strings.NewReader(body)), kind)
		if err != nil {
			return
		}
		got, err := io.ReadAll(c)
		if len(got) > len(body) {
			t.Errorf("%d bytes of %d", len(got), len(body))
		}
		if err == nil && c.Trailer() == nil {
			t.Error("the end was not read")
		}
		var e *sigv4.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("the error is %v", err)
		}
		if _, again := c.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
			t.Errorf("then the error is %v", again)
		}
	})
}
