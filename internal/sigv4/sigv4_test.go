package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/test/services"
)

const (
	accessKey = "AKIDEXAMPLE"
	secret    = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func verifier() *sigv4.Verifier {
	return &sigv4.Verifier{Keys: map[string]string{accessKey: secret}, Clock: clock.NewManual(now), Skew: sigv4.DefaultSkew}
}

func hash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

var credentials = aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secret}

// request makes a request as it arrives at a server; header lines are "Name: value".
func request(t testing.TB, method, target, body string, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://hub.example.test:4566"+target, strings.NewReader(body))
	r.RequestURI = target
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func signed(t testing.TB, method, target, body string, header ...string) *http.Request {
	t.Helper()
	r := request(t, method, target, body, header...)
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		payload = hash(body)
	}
	creds := credentials
	creds.SessionToken = r.Header.Get("Test-Token")
	r.Header.Del("Test-Token")
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, payload, "lambda", "eu-west-1", now); err != nil {
		t.Fatal(err)
	}
	if r.URL.RawQuery != "" {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		r.RequestURI = path + "?" + r.URL.RawQuery // the signer writes the query anew
	}
	return r
}

func presigned(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	r := request(t, method, target, body)
	uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), credentials, r, hash(body), "lambda", "eu-west-1", now)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return request(t, method, u.RequestURI(), body)
}

const path = "/2015-03-31/functions/f/invocations"

func TestAcceptsWhatTheSDKSigns(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*http.Request{
		"a plain request":            signed(t, "POST", path, `{"a":1}`),
		"an empty body":              signed(t, "GET", "/2015-03-31/functions/", ""),
		"an encoded path":            signed(t, "POST", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af%3A%24LATEST/invocations", "{}"),
		"a space in the path":        signed(t, "POST", "/a%20b/c", ""),
		"a query in any order":       signed(t, "GET", "/x?b=2&a=1&a=0&empty=&Upper=%7E+%2F", ""),
		"headers with spaces":        signed(t, "POST", path, "{}", "X-Amz-Thing:   a   b  ", "X-Amz-Multi: 1", "X-Amz-Multi: 2"),
		"a session token":            signed(t, "POST", path, "{}", "Test-Token: abc/def=="),
		"a payload left unsigned":    signed(t, "POST", path, "whatever", "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"),
		"a payload hash in a header": signed(t, "POST", path, "{}", "X-Amz-Content-Sha256: "+hash("{}")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, _ := io.ReadAll(r.Body)
			if key, err := verifier().Verify(r, body); err != nil || key != accessKey {
				t.Errorf("Verify = %q, %v", key, err)
			}
		})
	}
}

func TestAcceptsPresignedURLs(t *testing.T) {
	t.Parallel()
	r := presigned(t, "POST", path+"?Qualifier=%24LATEST&X-Amz-Expires=60", "{}")
	if _, err := verifier().Verify(r, []byte("{}")); err != nil {
		t.Error(err)
	}
	v := verifier()
	v.Clock = clock.NewManual(now.Add(61 * time.Second))
	_, err := v.Verify(r, []byte("{}"))
	check(t, err, "InvalidSignatureException", "Signature expired: 20260304T050607Z is now earlier than 20260304T050608Z (20260304T050708Z - 1 min.)")
}

func TestAcceptsARequestThatWentOverTheWire(t *testing.T) {
	t.Parallel()
	got := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, err := verifier().Verify(r, body)
		got <- err
	}))
	t.Cleanup(server.Close)
	r, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL+path+"?Qualifier=%24LATEST", strings.NewReader(`{"a":1}`))
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hash(`{"a":1}`), "lambda", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Header.Get("Authorization"), "content-length") {
		t.Fatal("the signer leaves content-length out, so this test shows less than it says")
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestAcceptsWhatBotocoreSigns(t *testing.T) {
	t.Parallel()
	python := services.NeedPython(t, "botocore")
	for name, c := range map[string]struct{ class, url, body string }{
		"a header":                   {"SigV4Auth", "http://hub.example.test:4566/2015-03-31/functions/f%3A%24LATEST/invocations?Qualifier=%24LATEST&a=b%20c", `{"a":1}`},
		"a path with empty segments": {"SigV4Auth", "http://hub.example.test:4566//a/./b/", ""},
		"a presigned URL":            {"SigV4QueryAuth", "http://hub.example.test:4566" + path + "?Qualifier=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const script = `
import sys
import botocore.auth as a, botocore.awsrequest as q, botocore.credentials as c
name, url, body, key, secret = sys.argv[1:]
r = q.AWSRequest(method="POST", url=url, data=body.encode(), headers={"X-Amz-Invocation-Type": "Event"})
getattr(a, name)(c.Credentials(key, secret), "lambda", "us-east-1").add_auth(r)
p = r.prepare()
print(p.url)
for k, v in p.headers.items():
    print(f"{k}: {v.decode() if isinstance(v, bytes) else v}")
`
			out, err := exec.CommandContext(t.Context(), python, "-c", script, c.class, c.url, c.body, accessKey, secret).Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			target := strings.TrimPrefix(lines[0], "http://hub.example.test:4566")
			r := httptest.NewRequestWithContext(t.Context(), "POST", "http://hub.example.test:4566/", strings.NewReader(c.body))
			r.RequestURI = target
			for _, line := range lines[1:] {
				k, v, _ := strings.Cut(line, ": ")
				r.Header.Set(k, v)
			}
			v := verifier()
			v.Clock = clock.System{} // botocore signs with the time of day
			if key, err := v.Verify(r, []byte(c.body)); err != nil || key != accessKey {
				t.Errorf("Verify = %q, %v\n%s", key, err, out)
			}
		})
	}
}

func check(t *testing.T, err error, code, text string) {
	t.Helper()
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("error %v, want %s: …%s…", err, code, text)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	const mismatch = "The request signature we calculated does not match"
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			a := r.Header.Get("Authorization")
			if !strings.Contains(a, from) {
				t.Errorf("%q has no %q", a, from)
			}
			r.Header.Set("Authorization", strings.Replace(a, from, to, 1))
		}
	}
	for name, c := range map[string]struct {
		change     func(*http.Request)
		body       string // instead of {}
		code, text string
	}{
		"no signature":      {change: func(r *http.Request) { r.Header.Del("Authorization") }, code: "MissingAuthenticationTokenException"},
		"another scheme":    {change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, code: "IncompleteSignatureException", text: "'Bearer'"},
		"another algorithm": {change: replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), code: "IncompleteSignatureException", text: "AWS4-ECDSA-P256-SHA256"},
		"an empty header": {change: func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 a=b")
			r.Header.Del("X-Amz-Date")
		}, code: "IncompleteSignatureException", text: "requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either"},
		"a part without a value":    {change: replace("Signature=", "Signature"), code: "IncompleteSignatureException", text: "equal-sign"},
		"a credential without end":  {change: replace("/aws4_request", ""), code: "IncompleteSignatureException", text: "slash-delimited"},
		"a signature that is short": {change: replace("Signature=", "Signature=ab"), code: "IncompleteSignatureException", text: "64 hexadecimal"},
		"host not signed":           {change: replace("host;", ""), code: "InvalidSignatureException", text: "'Host'"},
		"an unknown key":            {change: replace(accessKey, "AKIDOTHER"), code: "UnrecognizedClientException", text: "security token"},
		"a date that is none":       {change: func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, code: "IncompleteSignatureException", text: "ISO-8601"},
		"a scope of another day":    {change: replace("/20260304/", "/20260303/"), code: "InvalidSignatureException", text: "'20260303' != '20260304'"},
		"another region":            {change: replace("eu-west-1", "eu-west-2"), code: "InvalidSignatureException", text: mismatch},
		"another method":            {change: func(r *http.Request) { r.Method = "DELETE" }, code: "InvalidSignatureException", text: mismatch},
		"another path":              {change: func(r *http.Request) { r.RequestURI = "/2015-03-31/functions/g/invocations" }, code: "InvalidSignatureException", text: mismatch},
		"another query":             {change: func(r *http.Request) { r.RequestURI += "?Qualifier=2" }, code: "InvalidSignatureException", text: mismatch},
		"another host":              {change: func(r *http.Request) { r.Host = "elsewhere" }, code: "InvalidSignatureException", text: mismatch},
		"another signed header":     {change: func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, code: "InvalidSignatureException", text: mismatch},
		"another body":              {change: func(*http.Request) {}, body: "[]", code: "InvalidSignatureException", text: mismatch},
		"a hash of another body":    {change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hash("[]")) }, code: "InvalidSignatureException", text: "x-amz-content-sha256"},
		"a body declared unsigned":  {change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, code: "InvalidSignatureException", text: mismatch},
		"a body signed in chunks":   {change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") }, code: "InvalidSignatureException", text: "chunks"},
		"a bad query":               {change: func(r *http.Request) { r.RequestURI += "?a=%zz" }, code: "IncompleteSignatureException", text: "percent-encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := signed(t, "POST", path, "{}", "X-Amz-Invocation-Type: RequestResponse")
			c.change(r)
			body := "{}"
			if c.body != "" {
				body = c.body
			}
			key, err := verifier().Verify(r, []byte(body))
			check(t, err, c.code, c.text)
			if key != "" {
				t.Errorf("a refused request has key %q", key)
			}
		})
	}
}

func TestRefusesPresignedURLs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, code, text string }{
		"without a date":        {"X-Amz-Date=", "X-Amz-Dat=", "IncompleteSignatureException", "'X-Amz-Date'"},
		"of another algorithm":  {"X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=MD5", "IncompleteSignatureException", "'MD5'"},
		"good for over a week":  {"X-Amz-Expires=60", "X-Amz-Expires=604801", "IncompleteSignatureException", "one week"},
		"good for longer":       {"X-Amz-Expires=60", "X-Amz-Expires=3600", "InvalidSignatureException", "does not match"},
		"good for less than 0":  {"X-Amz-Expires=60", "X-Amz-Expires=-1", "IncompleteSignatureException", "number of seconds"},
		"with a second version": {"Qualifier=1", "Qualifier=2", "InvalidSignatureException", "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := presigned(t, "POST", path+"?Qualifier=1&X-Amz-Expires=60", "{}")
			if !strings.Contains(r.RequestURI, c.from) {
				t.Fatalf("%s has no %s", r.RequestURI, c.from)
			}
			r.RequestURI = strings.Replace(r.RequestURI, c.from, c.to, 1)
			_, err := verifier().Verify(r, []byte("{}"))
			check(t, err, c.code, c.text)
		})
	}
}

func TestKeepsTheSkewToTheSecond(t *testing.T) {
	t.Parallel()
	for off, text := range map[time.Duration]string{
		15 * time.Minute:              "",
		-15 * time.Minute:             "",
		15*time.Minute + time.Second:  "Signature expired: 20260304T050607Z is now earlier than 20260304T050608Z (20260304T052108Z - 15 min.)",
		-15*time.Minute - time.Second: "Signature not yet current: 20260304T050607Z is still later than 20260304T050606Z (20260304T045106Z + 15 min.)",
	} {
		v := verifier()
		v.Clock = clock.NewManual(now.Add(off))
		_, err := v.Verify(signed(t, "POST", path, "{}"), []byte("{}"))
		if text == "" {
			if err != nil {
				t.Errorf("%v off: %v", off, err)
			}
			continue
		}
		check(t, err, "InvalidSignatureException", text)
	}
}

func FuzzVerify(f *testing.F) {
	r := signed(f, "POST", path, "{}")
	f.Add(r.Header.Get("Authorization"), "20260304T050607Z", path+"?a=b", "{}")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=;, Signature=00", "", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=9", "")
	f.Add("", "", "//../%41?&&=&X-Amz-Signature=%", "\x00")
	f.Fuzz(func(t *testing.T, auth, date, target, body string) {
		r := httptest.NewRequestWithContext(context.Background(), "POST", "/", bytes.NewReader(nil))
		r.RequestURI = target
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		_, err := verifier().Verify(r, []byte(body))
		var e *sigv4.Error
		switch {
		case err == nil && (body != "{}" || !strings.Contains(auth, accessKey)):
			t.Error("accepted a request that nobody signed")
		case err != nil && (!errors.As(err, &e) || e.Code == "" || e.Status < 400 || len(e.Message) > 2000):
			t.Errorf("error %#v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r := signed(b, "POST", path, "{}", "X-Amz-Invocation-Type: Event")
	v := verifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, []byte("{}")); err != nil {
			b.Fatal(err)
		}
	}
}
