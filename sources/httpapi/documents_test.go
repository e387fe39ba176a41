package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/fixtures"
	"github.com/millrace/millrace/sources/httpapi"
)

// request is a transcribed case.
type request struct {
	ID      string            `json:"id"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   string            `json:"query"`
	Route   string            `json:"route"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body_base64"`
	Target  string            `json:"path_and_query"`
}

func transcribed(t *testing.T, name string) []request {
	t.Helper()
	var file struct{ Cases []request }
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/"+name), &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// neutral makes a document recorded through .NET's classes, or one of ours, comparable: names without case,
// nothing that is null, nothing that differs from deployment to deployment.
func neutral(v any, path string) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			at := path + "/" + strings.ToLower(k)
			switch strings.ToLower(k) {
			case "x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "host", "accountid", "apiid", "domainname", "domainprefix",
				"requestid", "extendedrequestid", "requesttime", "requesttimeepoch", "time", "timeepoch", "sourceip", "connectedat", "version",
				"user-agent", "accept-encoding", "protocol", "deploymentid":
				continue
			}
			if at == "/requestcontext/resourceid" && e != nil && !strings.Contains(e.(string), " ") {
				continue // drawn at random in a REST API
			}
			if n := neutral(e, at); n != nil {
				m[strings.ToLower(k)] = n
			}
		}
		return m
	default:
		return v
	}
}

func TestDocumentsOfAPIGatewayAreAsRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range transcribed(t, "apigw-http-requests.json") {
		snapshots := map[string]string{c.ID: "http-api 2.0"}
		switch {
		case strings.HasPrefix(c.ID, "V1_"):
			snapshots = map[string]string{c.ID + "HttpV1": "http-api 1.0", c.ID + "Rest": "rest-api"}
		case strings.HasSuffix(c.ID, "HttpV1"):
			snapshots = map[string]string{c.ID: "http-api 1.0"}
		case strings.HasSuffix(c.ID, "Rest"):
			snapshots = map[string]string{c.ID: "rest-api"}
		}
		for file, kind := range snapshots {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				route := c.Method + " " + c.Route
				var h *hub
				target := c.Path + c.Query
				if kind == "rest-api" {
					target = "/test" + target
					h = newHub(t, kind, func(a *httpapi.RESTAPI) {
						a.Routes, a.Stage, a.BinaryMediaTypes = []string{route}, "test", []string{"application/octet-stream"}
					}, nil)
				} else {
					name, version, _ := strings.Cut(kind, " ")
					h = newHub(t, name, func(a *httpapi.HTTPAPI) {
						a.Routes, a.PayloadFormatVersion = []string{route}, version
					}, nil)
				}
				body, err := base64.StdEncoding.DecodeString(c.Body)
				if err != nil {
					t.Fatal(err)
				}
				headers := []string{"User-Agent: ", "Accept-Encoding: x"}
				for k, v := range c.Headers {
					headers = append(headers, k+": "+v)
				}
				if c.Headers["Content-Type"] == "" { // the test bed of the recordings did so
					headers = append(headers, "Content-Type: text/plain; charset=utf-8")
				}
				if got := h.send(c.Method, target, string(body), headers...); got.status != 200 {
					t.Fatalf("%d %s", got.status, got.body)
				}
				want := decode(t, fixtures.Read(t, "aws-lambda-dotnet/TestTool-ApiGatewaySnapshots/"+file+".json"))
				got := h.document()
				if diff := cmp.Diff(neutral(map[string]any(want), ""), neutral(map[string]any(got), "")); diff != "" {
					t.Errorf("-recorded +got:\n%s", diff)
				}
			})
		}
	}
}

func TestDocumentsOfRESTAPIsAreAsRecorded(t *testing.T) {
	t.Parallel()
	snapshot := decode(t, fixtures.Read(t, "localstack-snapshots/test_apigateway_lambda.snapshot.json"))
	recorded := snapshot.at("tests/aws/services/apigateway/test_apigateway_lambda.py::test_lambda_aws_proxy_integration", "recorded-content").(map[string]any)
	h := newHub(t, "rest-api", func(a *httpapi.RESTAPI) {
		a.Stage, a.Routes = "stage", []string{"ANY /{proxy+}", "ANY /hardcoded"}
	}, nil)
	for _, c := range transcribed(t, "apigw-rest-proxy-requests.json") {
		want, ok := recorded[c.ID].(map[string]any)
		if !ok {
			t.Errorf("%s is not recorded", c.ID)
			continue
		}
		// A raw request, since a client would mend these paths.
		target := strings.ReplaceAll(c.Target, " ", "%20")
		h.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nUser-Agent: python-requests/testing\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n" +
			"tEsT-HEADeR: aValUE\r\nauthorization: random-value\r\nConnection: close\r\n\r\n")
		got := map[string]any(h.document())
		for _, m := range []map[string]any{want, got} {
			for _, name := range []string{"headers", "multiValueHeaders"} {
				headers := m[name].(map[string]any)
				for k, v := range headers {
					if strings.HasPrefix(k, "CloudFront-") || k == "Via" || k == "X-Amz-Cf-Id" { // of an edge-optimised endpoint
						delete(headers, k)
					}
					if k == "tEsT-HEADeR" { // net/http does not keep the client's spelling
						delete(headers, k)
						headers["Test-Header"] = v
					}
				}
			}
		}
		if diff := cmp.Diff(neutral(want, ""), neutral(got, "")); diff != "" {
			t.Errorf("%s: -recorded +got:\n%s", c.ID, diff)
		}
		if w, g := keys(want), keys(got); !slices.Equal(w, g) {
			t.Errorf("%s: keys %v, recorded %v", c.ID, g, w)
		}
		if w, g := keys(want["requestContext"].(map[string]any)), keys(got["requestContext"].(map[string]any)); !slices.Equal(w, g) {
			t.Errorf("%s: keys of the context %v, recorded %v", c.ID, g, w)
		}
	}
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func TestDocumentOfAFunctionURL(t *testing.T) {
	t.Parallel()
	h := newHub(t, "function-url", func(c *httpapi.FunctionURL) { c.URLID = "lambda-url-id" }, nil)
	h.send("POST", "/hello%20you/%2Fx?hello=world&multiQuery=foo&multiQuery=%2Fbar&bad=%zz&flag", `{"hello": "world"}`,
		"Content-Type: application/json", "Cookie: foo=bar; hello=hello", "Header2: h1", "Header2: h2", "Connection: x-private", "Host: lambda-url-id.lambda-url.us-west-2.on.aws",
		"User-Agent: test", "X-Forwarded-For: 192.0.2.1", "TE: trailers")
	d := h.document()
	delete(d["headers"].(map[string]any), "x-amzn-trace-id")
	want := decode(t, []byte(`{
		"version": "2.0", "routeKey": "$default", "rawPath": "/hello you//x",
		"rawQueryString": "hello=world&multiQuery=foo&multiQuery=%2Fbar&bad=%zz&flag",
		"cookies": ["foo=bar", "hello=hello"],
		"headers": {
			"content-length": "18", "content-type": "application/json", "cookie": "foo=bar; hello=hello", "header2": "h1,h2",
			"host": "lambda-url-id.lambda-url.us-west-2.on.aws", "user-agent": "test",
			"x-forwarded-for": "192.0.2.1, 127.0.0.1", "x-forwarded-port": "80", "x-forwarded-proto": "http"
		},
		"queryStringParameters": {"hello": "world", "multiQuery": "foo,/bar", "bad": "%zz", "flag": ""},
		"requestContext": {
			"accountId": "anonymous", "apiId": "lambda-url-id", "domainName": "lambda-url-id.lambda-url.us-west-2.on.aws", "domainPrefix": "lambda-url-id",
			"http": {"method": "POST", "path": "/hello you//x", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
			"requestId": "`+h.last.ID+`", "routeKey": "$default", "stage": "$default", "time": "14/Apr/2025:22:11:01 +0000", "timeEpoch": 1744668661115
		},
		"body": "{\"hello\": \"world\"}", "isBase64Encoded": false
	}`))
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBodiesAreTextOrBase64ByTheirType(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, kind string, h *hub, root string) {
		for _, c := range []struct {
			headers []string
			body    string
			text    bool
		}{
			{[]string{"Content-Type: text/html; charset=utf-8"}, "<é>", true},
			{[]string{"Content-Type: APPLICATION/JSON"}, "{}", true},
			{[]string{"Content-Type: application/xml;x"}, "<a/>", true},
			{[]string{"Content-Type: application/javascript"}, "1", true},
			{[]string{"Content-Type: application/x-www-form-urlencoded"}, "a=b", false},
			{[]string{"Content-Type: idk"}, "x", false},
			{nil, "x", false},
			{[]string{"Content-Type: text/plain", "Content-Encoding: gzip"}, "x", false},
			{[]string{"Content-Type: text/plain"}, "\xff", false},
		} {
			h.send("POST", root, c.body, c.headers...)
			want := c.body
			if text := c.text || kind == "rest-api"; !text { // a REST API has a list of its own
				want = base64.StdEncoding.EncodeToString([]byte(c.body))
			} else if kind == "rest-api" && c.body == "\xff" {
				want = "\ufffd"
			}
			if d := h.document(); d["body"] != want || d["isBase64Encoded"] != (want != c.body && want != "\ufffd") {
				t.Errorf("%v: body %q, isBase64Encoded %v", c.headers, d["body"], d["isBase64Encoded"])
			}
		}
	})
}

func TestDocumentOfALoadBalancer(t *testing.T) {
	t.Parallel()
	for _, multi := range []bool{false, true} {
		h := newHub(t, "alb", func(c *httpapi.ALB) { c.MultiValueHeaders, c.TargetGroupARN = multi, "arn:tg" }, nil)
		h.send("GET", "/a%20b?t=2019-03-12T16%3A06%2B00&k=1&k=2", "", "X-A: 1", "X-A: 2", "User-Agent: test", "Host: lb.test:8080")
		d := h.document()
		want := map[bool]string{
			false: `{"requestContext":{"elb":{"targetGroupArn":"arn:tg"}},"httpMethod":"GET","path":"/a%20b",
				"queryStringParameters":{"t":"2019-03-12T16%3A06%2B00","k":"2"},
				"headers":{"connection":"close","host":"lb.test:8080","user-agent":"test","x-a":"2","x-forwarded-for":"127.0.0.1","x-forwarded-port":"8080","x-forwarded-proto":"http"},
				"body":"","isBase64Encoded":false}`,
			true: `{"requestContext":{"elb":{"targetGroupArn":"arn:tg"}},"httpMethod":"GET","path":"/a%20b",
				"multiValueQueryStringParameters":{"t":["2019-03-12T16%3A06%2B00"],"k":["1","2"]},
				"multiValueHeaders":{"connection":["close"],"host":["lb.test:8080"],"user-agent":["test"],"x-a":["1","2"],"x-forwarded-for":["127.0.0.1"],"x-forwarded-port":["8080"],"x-forwarded-proto":["http"]},
				"body":"","isBase64Encoded":false}`,
		}
		for _, name := range []string{"headers", "multiValueHeaders"} {
			if m, ok := d[name].(map[string]any); ok {
				if m["x-amzn-trace-id"] == nil {
					t.Error("no trace")
				}
				delete(m, "x-amzn-trace-id")
			}
		}
		if diff := cmp.Diff(decode(t, []byte(want[multi])), d); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestStagesAreThePrefixOfThePath(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "2.0"} {
		h := newHub(t, "http-api", func(c *httpapi.HTTPAPI) {
			c.Stage, c.StageVariables, c.Routes, c.PayloadFormatVersion = "beta", map[string]string{"b": "2", "a": "1"}, []string{"GET /api/{x}"}, version
		}, nil)
		for _, target := range []string{"/api/1", "/betamax/api/1", "/", "/beta", "/prod/api/1"} {
			h.send("GET", target, "").is(t, http.StatusNotFound, `{"message":"Not Found"}`)
		}
		h.send("GET", "/beta/api/a%20b", "").is(t, http.StatusOK, "")
		d := h.document()
		path, decoded := d.at("path"), d.at("requestContext", "path")
		if version == "2.0" {
			path, decoded = d.at("rawPath"), d.at("requestContext", "http", "path")
			if path != decoded {
				t.Errorf("rawPath %v", path)
			}
		} else if path != "/beta/api/a%20b" {
			t.Errorf("path %v", path)
		}
		if decoded != "/beta/api/a b" || d.at("requestContext", "stage") != "beta" || d.at("pathParameters", "x") != "a b" || d.at("stageVariables", "b") != "2" {
			t.Errorf("%v", d)
		}
	}
}
