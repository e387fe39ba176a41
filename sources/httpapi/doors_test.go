package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources/httpapi"
)

func TestRoutesOfAnHTTPAPIByPrecedence(t *testing.T) {
	t.Parallel()
	h := newHub(t, "http-api", func(c *httpapi.HTTPAPI) {
		c.Routes = []string{
			"$default", "ANY /{proxy+}", "GET /pets/{proxy+}", "GET /pets/dog/{id}", "GET /pets/dog/1", "ANY /pets/dog/1", "ANY /pets/dog/{id}",
			"POST /a@b/{x}/c", "GET /", "DELETE /pets/{kind}/{id}",
		}
	}, nil)
	for _, c := range []struct{ request, route, params string }{
		{"GET /pets/dog/1", "GET /pets/dog/1", "<nil>"},
		{"PUT /pets/dog/1", "ANY /pets/dog/1", "<nil>"},
		{"GET /pets/dog/2", "GET /pets/dog/{id}", "map[id:2]"},
		{"PUT /pets/dog/2", "ANY /pets/dog/{id}", "map[id:2]"},
		{"GET /pets/cat/1", "GET /pets/{proxy+}", "map[proxy:cat/1]"},
		{"GET /pets/cat//1/", "GET /pets/{proxy+}", "map[proxy:cat//1/]"},
		{"DELETE /pets/cat/1", "DELETE /pets/{kind}/{id}", "map[id:1 kind:cat]"},
		{"DELETE /pets/c%2Ft/1", "DELETE /pets/{kind}/{id}", "map[id:1 kind:c/t]"},
		{"DELETE /pets/dog/1", "ANY /pets/dog/1", "<nil>"},
		{"PUT /pets/cat/1", "ANY /{proxy+}", "map[proxy:pets/cat/1]"},
		{"POST /a%40b/%C3%A9/c", "POST /a@b/{x}/c", "map[x:é]"},
		{"POST /a%40b/%FF/c", "POST /a@b/{x}/c", "map[x:%FF]"},
		{"GET /", "GET /", "<nil>"},
		{"PUT /", "$default", "<nil>"},
		{"PURGE /x", "ANY /{proxy+}", "map[proxy:x]"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		h.send(method, path, "").is(t, 200, "")
		if d := h.document(); d["routeKey"] != c.route || fmt.Sprint(d["pathParameters"]) != c.params {
			t.Errorf("%s: route %v with %v, want %s with %s", c.request, d["routeKey"], d["pathParameters"], c.route, c.params)
		}
	}
}

func TestRequestsWithoutARoute(t *testing.T) {
	t.Parallel()
	h := newHub(t, "http-api", func(c *httpapi.HTTPAPI) { c.Routes = []string{"GET /a", "GET /b/{x}"} }, nil)
	r := newHub(t, "rest-api", func(c *httpapi.RESTAPI) { c.Routes = []string{"GET /a", "GET /b/{x}"} }, nil)
	for _, request := range []string{"POST /a", "GET /a/", "GET /ab", "GET /b", "GET /b/", "GET /b/1/2", "GET /A", "GET /"} {
		method, path, _ := strings.Cut(request, " ")
		h.send(method, path, "").is(t, 404, `{"message":"Not Found"}`)
		if path == "/a/" { // a REST API overlooks the slash
			r.send(method, "/prod"+path, "").is(t, 200, "")
			continue
		}
		got := r.send(method, "/prod"+path, "")
		got.is(t, 403, `{"message":"Missing Authentication Token"}`)
		got.has(t, "X-Amzn-Errortype", "MissingAuthenticationTokenException")
	}
	r.send("GET", "/a", "").is(t, 403, `{"message":"Missing Authentication Token"}`)
}

func corsOf(origins ...string) httpapi.CORS {
	return httpapi.CORS{
		AllowOrigins: origins, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"x-a", "x-b"}, ExposeHeaders: []string{"x-c"}, MaxAge: time.Minute,
	}
}

func TestCORSIsTheGateways(t *testing.T) {
	t.Parallel()
	for kind, h := range map[string]*hub{
		"http-api":     newHub(t, "http-api", func(c *httpapi.HTTPAPI) { c.CORS = corsOf("https://a.test", "http://*") }, nil),
		"function-url": newHub(t, "function-url", func(c *httpapi.FunctionURL) { c.CORS = corsOf("https://a.test", "http://*") }, nil),
	} {
		h.answer(`{"statusCode":200,"headers":{"access-control-allow-origin":"https://evil.test","access-control-allow-credentials":"true","vary":"x"}}`)
		for origin, ok := range map[string]bool{"https://a.test": true, "http://any.test:8080": true, "https://b.test": false, "http://": false, "https://a.test.evil": false} {
			want := ""
			if ok {
				want = origin
			}
			got := h.send("GET", "/", "", "Origin: "+origin)
			got.is(t, 200, "")
			got.has(t, "Access-Control-Allow-Origin", want)
			got.has(t, "Access-Control-Allow-Credentials", "")
			got.has(t, "Vary", "x | Origin")
			if ok {
				got.has(t, "Access-Control-Expose-Headers", "x-c")
			}
			calls := h.count()
			got = h.send("OPTIONS", "/", "", "Origin: "+origin, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-z")
			got.is(t, map[string]int{"http-api": 204, "function-url": 200}[kind], "")
			got.has(t, "Access-Control-Allow-Origin", want)
			if ok {
				got.has(t, "Access-Control-Allow-Methods", "GET,PUT")
				got.has(t, "Access-Control-Allow-Headers", "x-a,x-b")
				got.has(t, "Access-Control-Max-Age", "60")
			}
			if h.count() != calls {
				t.Error("a preflight request reached the function")
			}
		}
		h.send("GET", "/", "").has(t, "Access-Control-Allow-Origin", "")
		calls := h.count()
		h.send("OPTIONS", "/", "").is(t, 200, "") // no preflight: the function's
		if h.count() != calls+1 {
			t.Error("OPTIONS did not reach the function")
		}
	}
}

func TestCORSForAllAndWithCredentials(t *testing.T) {
	t.Parallel()
	all := newHub(t, "http-api", func(c *httpapi.HTTPAPI) { c.CORS = httpapi.CORS{AllowOrigins: []string{"*"}} }, nil)
	got := all.send("GET", "/", "", "Origin: https://x.test")
	got.has(t, "Access-Control-Allow-Origin", "*")
	got.has(t, "Vary", "")
	some := newHub(t, "http-api", func(c *httpapi.HTTPAPI) {
		c.CORS = httpapi.CORS{AllowOrigins: []string{"https://*"}, AllowCredentials: true, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}}
	}, nil)
	got = some.send("OPTIONS", "/", "", "Origin: https://x.test", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-z")
	got.has(t, "Access-Control-Allow-Origin", "https://x.test")
	got.has(t, "Access-Control-Allow-Credentials", "true")
	got.has(t, "Access-Control-Allow-Methods", "PUT")
	got.has(t, "Access-Control-Allow-Headers", "x-z")
	none := open(t, "http-api", nil)
	none.answer(`{"statusCode":200,"headers":{"access-control-allow-origin":"https://own.test"}}`)
	none.send("OPTIONS", "/", "", "Origin: https://x.test", "Access-Control-Request-Method: PUT").has(t, "Access-Control-Allow-Origin", "https://own.test")
}

func TestCORSOfARESTAPI(t *testing.T) {
	t.Parallel()
	h := newHub(t, "rest-api", func(c *httpapi.RESTAPI) {
		c.Routes = []string{"GET /a", "ANY /b", "OPTIONS /c", "GET /c"}
		c.CORS.AllowOrigin, c.CORS.MaxAge = "*", time.Hour
	}, nil)
	for path, calls := range map[string]int{"/a": 0, "/b": 0, "/c": 1} {
		before := h.count()
		got := h.send("OPTIONS", "/prod"+path, "")
		got.is(t, 200, "")
		if n := h.count() - before; n != calls {
			t.Errorf("%s: %d calls of the function", path, n)
		}
		if calls == 0 {
			got.has(t, "Access-Control-Allow-Origin", "*")
			got.has(t, "Access-Control-Allow-Methods", "DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT")
			got.has(t, "Access-Control-Max-Age", "3600")
		}
	}
	h.send("OPTIONS", "/prod/none", "").is(t, 403, `{"message":"Missing Authentication Token"}`)
	h.send("GET", "/prod/a", "", "Origin: https://x.test").has(t, "Access-Control-Allow-Origin", "") // the function's business
	bare := open(t, "rest-api", nil)
	before := bare.count()
	bare.send("OPTIONS", "/prod/a", "").is(t, 200, "")
	if bare.count() != before+1 {
		t.Error("OPTIONS did not reach the function")
	}
}

func TestBinaryMediaTypesOfARESTAPI(t *testing.T) {
	t.Parallel()
	h := newHub(t, "rest-api", func(c *httpapi.RESTAPI) { c.BinaryMediaTypes = []string{"image/*", "application/pdf"} }, nil)
	for kind, base64 := range map[string]bool{"image/png": true, "IMAGE/GIF; q=1": true, "application/pdf": true, "application/pdfx": false, "image": false, "": false} {
		h.send("POST", "/prod/", "\x00\x01", "Content-Type: "+kind)
		if d := h.document(); d["isBase64Encoded"] != base64 {
			t.Errorf("%q: isBase64Encoded %v", kind, d["isBase64Encoded"])
		}
	}
	h.answer(`{"headers":{"content-type":"image/png"},"body":"AP8=","isBase64Encoded":true}`)
	for accept, body := range map[string]string{"image/png, */*": "\x00\xff", "*/*, image/png": "AP8=", "text/html": "AP8=", "-": "\x00\xff"} {
		headers := []string{"Accept: " + accept}
		if accept == "-" {
			headers = nil
		}
		h.send("GET", "/prod/", "", headers...).is(t, 200, body)
	}
	h.answer(`{"headers":{"content-type":"image/png"},"body":"?","isBase64Encoded":true}`)
	h.send("GET", "/prod/", "").is(t, 502, `{"message": "Internal server error"}`)
}

func TestARESTAPIKeepsTheFunctionsSpelling(t *testing.T) {
	t.Parallel()
	h := open(t, "rest-api", nil)
	h.answer(`{"headers":{"x-lower":"1","cOnTeNt-type":"text/css"},"multiValueHeaders":{"X-lower":["0"],"set-cookie":["a","b"]}}`)
	got := h.raw("GET /prod/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	for _, line := range []string{"X-lower: 0\r\nX-lower: 1\r\n", "Content-Type: text/css\r\n", "Set-Cookie: a\r\nSet-Cookie: b\r\n", "x-amzn-RequestId: ", "x-amz-apigw-id: "} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in %q", line, got)
		}
	}
}

func iamURL(t *testing.T) *hub {
	return newHub(t, "function-url", func(c *httpapi.FunctionURL) {
		c.AuthType, c.Keys = "AWS_IAM", map[string]plugin.Secret{"AKIDEXAMPLE": "secret"}
	}, nil)
}

func TestSignedRequestsOfAFunctionURL(t *testing.T) {
	t.Parallel()
	h := iamURL(t)
	signed := func(key, secret string) *http.Request {
		body := `{"a":1}`
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.server.URL+"/a%20b?x=1&y", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "lambda", "us-east-1", h.clock.Now()); err != nil {
			t.Fatal(err)
		}
		return req
	}
	h.do(signed("AKIDEXAMPLE", "secret")).is(t, 200, "")
	d := h.document()
	if d.at("requestContext", "authorizer", "iam", "accessKey") != "AKIDEXAMPLE" || d.at("requestContext", "accountId") != "123456789012" {
		t.Errorf("%v", d["requestContext"])
	}
	if got := h.do(signed("AKIDEXAMPLE", "wrong")); got.status != 403 || got.header.Get("X-Amzn-Errortype") != "InvalidSignatureException" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if got := h.do(signed("OTHER", "secret")); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
	got := h.send("GET", "/", "")
	got.is(t, 403, `{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}`)
	got.has(t, "X-Amzn-Errortype", "AccessDeniedException")
	if h.count() != 1 {
		t.Errorf("the function ran %d times", h.count())
	}
}

const prelude = "application/vnd.awslambda.http-integration-response"

func streaming(t *testing.T) *hub {
	return newHub(t, "function-url", func(c *httpapi.FunctionURL) { c.InvokeMode, c.CORS = "RESPONSE_STREAM", corsOf("https://a.test") }, nil)
}

func TestStreamsArePassedOnAsTheyCome(t *testing.T) {
	t.Parallel()
	h := streaming(t)
	next := make(chan struct{})
	h.script(func(_ context.Context, req executor.Request) (executor.Response, error) {
		w := req.Stream(prelude)
		for _, part := range []string{`{"statusCode":201,"head`, `ers":{"content-type":"text/event-stream","access-control-allow-origin":"*"},"cookies":["a=b"]}` + "\x00\x00\x00", "\x00\x00\x00\x00\x00one", "two"} {
			if n, err := io.WriteString(w, part); err != nil || n != len(part) {
				return executor.Response{}, err
			}
			if strings.HasSuffix(part, "o") || strings.HasSuffix(part, "e") {
				<-next
			}
		}
		return executor.Response{Streamed: true}, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", h.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://a.test")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := response{resp.StatusCode, resp.Header, ""}
	r.is(t, 201, "")
	r.has(t, "Content-Type", "text/event-stream")
	r.has(t, "Set-Cookie", "a=b")
	r.has(t, "Access-Control-Allow-Origin", "https://a.test")
	for _, want := range []string{"one", "two"} {
		b := make([]byte, 3)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v; want %q before the function has ended", b, err, want)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestStreamsThatAreOutOfTheOrdinary(t *testing.T) {
	t.Parallel()
	stream := func(contentType string, failure *executor.Failure, err error, parts ...string) func(context.Context, executor.Request) (executor.Response, error) {
		return func(_ context.Context, req executor.Request) (executor.Response, error) {
			w := req.Stream(contentType)
			for _, p := range parts {
				if _, werr := io.WriteString(w, p); werr != nil {
					break
				}
			}
			return executor.Response{Streamed: err == nil, Failure: failure}, err
		}
	}
	nul := strings.Repeat("\x00", 8)
	failure := &executor.Failure{Type: "E"}
	unready := &executor.Error{Kind: executor.Unready, Err: errors.New("x")}
	for _, c := range []struct {
		name   string
		script func(context.Context, executor.Request) (executor.Response, error)
		want   string
	}{
		{"plain bytes", stream("text/css", nil, nil, "a", "b"), "200 text/css ab"},
		{"bytes of no type", stream("", nil, nil, "a"), "200 application/octet-stream a"},
		{"no bytes", stream("text/css", nil, nil), "200 text/css "},
		{"an empty prelude", stream(prelude, nil, nil, "{}"+nul+"x"), "200 application/octet-stream x"},
		{"a prelude alone", stream(prelude, nil, nil, `{"statusCode":404}`+nul), "404 application/octet-stream "},
		{"a prelude without end", stream(prelude, nil, nil, `{"statusCode":404}`), "502 text/plain; charset=utf-8 Internal Server Error"},
		{"a prelude that is too long", stream(prelude, nil, nil, strings.Repeat(" ", 70000), "x"), "502 text/plain; charset=utf-8 Internal Server Error"},
		{"a prelude that is malformed", stream(prelude, nil, nil, `{"statusCode":0}`+nul, "x"), "502 text/plain; charset=utf-8 Internal Server Error"},
		{"a failure before the head", stream(prelude, failure, nil, `{"sta`), "502 text/plain; charset=utf-8 Internal Server Error"},
		{"no answer before the head", stream(prelude, nil, unready, `{"sta`), `503 application/json {"Message":"Service Unavailable"}`},
		{"a failure after the head", stream("text/css", failure, nil, "a"), "200 text/css broken off"},
		{"no answer after the head", stream("text/css", nil, unready, "a"), "200 text/css broken off"},
		{"an answer in one piece", func(context.Context, executor.Request) (executor.Response, error) {
			return executor.Response{Payload: []byte(`{"statusCode":202,"body":"x"}`)}, nil
		}, "202 application/json x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := streaming(t)
			h.script(c.script)
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(h.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			text := string(body)
			if err != nil {
				text = "broken off"
			}
			if got := fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), text); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAClientThatLeavesAStreamIsNoticed(t *testing.T) {
	t.Parallel()
	h := streaming(t)
	written := make(chan error, 1)
	h.script(func(_ context.Context, req executor.Request) (executor.Response, error) {
		w := req.Stream("text/plain")
		var err error
		for err == nil {
			_, err = w.Write(bytes.Repeat([]byte("x"), 4096))
		}
		written <- err
		return executor.Response{Streamed: true}, nil
	})
	c := h.dial()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-written; err == nil {
		t.Error("no error")
	}
}

func TestAClientThatTakesNothingLosesTheStream(t *testing.T) {
	t.Parallel()
	h := newHub(t, "function-url", func(c *httpapi.FunctionURL) { c.InvokeMode, c.ClientTimeout = "RESPONSE_STREAM", time.Second }, nil)
	written := make(chan error, 1)
	h.script(func(_ context.Context, req executor.Request) (executor.Response, error) {
		w := req.Stream("text/plain")
		var err error
		for err == nil {
			_, err = w.Write(bytes.Repeat([]byte("x"), 1<<20))
		}
		written <- err
		return executor.Response{Streamed: true}, nil
	})
	c := h.dial()
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for {
		select {
		case err := <-written:
			if err == nil {
				t.Error("no error")
			}
			return
		default:
			h.clock.Advance(time.Second)
			runtime.Gosched()
		}
	}
}

func TestALoadBalancerChecksTheHealthOfItsTarget(t *testing.T) {
	t.Parallel()
	h := newHub(t, "alb", func(c *httpapi.ALB) {
		c.HealthCheck.Enabled, c.HealthCheck.Path, c.HealthCheck.Interval, c.HealthCheck.Timeout, c.HealthCheck.Matcher = true, "/up?deep=1", 5*time.Second, 2*time.Second, "200-204,301"
		c.HealthCheck.UnhealthyThresholdCount = 3
	}, nil)
	checked := func(n int) {
		t.Helper()
		stop := time.Now().Add(10 * time.Second)
		for h.count() < n {
			if time.Now().After(stop) {
				t.Fatalf("%d checks, want %d", h.count(), n)
			}
			h.clock.Advance(time.Second)
			runtime.Gosched()
		}
	}
	checked(1)
	d := h.document()
	if d["path"] != "/up" || d.at("headers", "user-agent") != "ELB-HealthChecker/2.0" || d.at("queryStringParameters", "deep") != "1" || d["httpMethod"] != "GET" {
		t.Errorf("%v", d)
	}
	failures := 0
	h.script(func(context.Context, executor.Request) (executor.Response, error) {
		if failures++; failures == 3 && strings.Contains(h.log.String(), "unhealthy") {
			t.Error("unhealthy after two failures of three")
		}
		return executor.Response{Payload: []byte(`{"statusCode":503}`)}, nil
	})
	checked(4)
	stop := time.Now().Add(10 * time.Second)
	for !strings.Contains(h.log.String(), "target is unhealthy") {
		if time.Now().After(stop) {
			t.Fatalf("log: %s", h.log)
		}
		runtime.Gosched()
	}
}
