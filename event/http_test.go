package event_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/fixtures"
)

var update = flag.Bool("update", false, "write the golden files of the HTTP documents")

// document is a sample as decoded JSON.
type document map[string]any

func parse(t testing.TB, b []byte) document {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var doc document
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return doc
}

func (d document) str(path ...string) string {
	var v any = map[string]any(d)
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

func (d document) obj(path ...string) document {
	for _, p := range path {
		d, _ = d[p].(map[string]any)
	}
	return d
}

// fields turns an object of strings or of lists into fields. Joined values stay joined.
func (d document) fields(name string) []event.Field {
	var fs []event.Field
	m := d.obj(name)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch v := m[k].(type) {
		case string:
			fs = append(fs, event.Field{Name: k, Value: v})
		case []any:
			for _, e := range v {
				fs = append(fs, event.Field{Name: k, Value: e.(string)})
			}
		}
	}
	return fs
}

func (d document) millis(path ...string) time.Time {
	n, _ := d.obj(path[:len(path)-1]...)[path[len(path)-1]].(json.Number)
	ms, _ := n.Int64()
	return time.UnixMilli(ms)
}

func (d document) setBody(t *testing.T, r *event.HTTPRequest) {
	t.Helper()
	r.Body = []byte(d.str("body"))
	if b, _ := d["isBase64Encoded"].(bool); b {
		var err error
		if r.Body, err = base64.StdEncoding.DecodeString(string(r.Body)); err != nil {
			t.Fatal(err)
		}
		r.Base64 = true
	}
}

// v2 takes a sample of payload 2.0 apart, so that it can be made again.
func (d document) v2(t *testing.T) *event.HTTPRequest {
	r := &event.HTTPRequest{
		Method: d.str("requestContext", "http", "method"), Path: d.str("rawPath"), RawQuery: d.str("rawQueryString"),
		Protocol: d.str("requestContext", "http", "protocol"), SourceIP: d.str("requestContext", "http", "sourceIp"),
		UserAgent: d.str("requestContext", "http", "userAgent"), Headers: d.fields("headers"), Query: d.fields("queryStringParameters"),
		AccountID: d.str("requestContext", "accountId"), APIID: d.str("requestContext", "apiId"),
		DomainName: d.str("requestContext", "domainName"), DomainPrefix: d.str("requestContext", "domainPrefix"),
		RequestID: d.str("requestContext", "requestId"), Stage: d.str("requestContext", "stage"), RouteKey: d.str("routeKey"),
		Time: d.millis("requestContext", "timeEpoch"), PathParameters: d.fields("pathParameters"), StageVariables: d.fields("stageVariables"),
	}
	if a, ok := d.obj("requestContext")["authorizer"]; ok {
		r.Authorizer, _ = json.Marshal(a)
	}
	d.setBody(t, r)
	cookies := ""
	for _, c := range anyList(d["cookies"]) {
		cookies += "; " + c.(string)
	}
	for i, h := range r.Headers { // our own door spells it so
		if h.Name == "cookie" {
			r.Headers[i].Name = "Cookie"
			return r
		}
	}
	if cookies != "" {
		r.Headers = append(r.Headers, event.Field{Name: "Cookie", Value: cookies[2:]})
	}
	return r
}

func (d document) v1(t *testing.T) *event.HTTPRequest {
	r := &event.HTTPRequest{
		Method: d.str("httpMethod"), Path: d.str("path"), ContextPath: d.str("requestContext", "path"),
		Protocol: d.str("requestContext", "protocol"), SourceIP: d.str("requestContext", "identity", "sourceIp"),
		UserAgent: d.str("requestContext", "identity", "userAgent"), Headers: d.fields("multiValueHeaders"),
		Query:     d.fields("multiValueQueryStringParameters"),
		AccountID: d.str("requestContext", "accountId"), APIID: d.str("requestContext", "apiId"),
		DomainName: d.str("requestContext", "domainName"), DomainPrefix: d.str("requestContext", "domainPrefix"),
		RequestID: d.str("requestContext", "requestId"), Stage: d.str("requestContext", "stage"),
		Resource: d.str("resource"), ResourceID: d.str("requestContext", "resourceId"), DeploymentID: d.str("requestContext", "deploymentId"),
		Time:           d.millis("requestContext", "requestTimeEpoch"),
		PathParameters: d.fields("pathParameters"), StageVariables: d.fields("stageVariables"),
	}
	d.setBody(t, r)
	return r
}

func anyList(v any) []any {
	l, _ := v.([]any)
	return l
}

// same compares two documents as JSON values.
func same(t *testing.T, got []byte, want document) {
	t.Helper()
	if diff := cmp.Diff(want, parse(t, got)); diff != "" {
		t.Errorf("document differs (-want +got):\n%s", diff)
	}
}

func TestFunctionURLDocumentsAreAsCaptured(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"function-url-domain-only-get-request-trailing-slash", "function-url-domain-only-get-request",
		"function-url-domain-only-request-with-base64-encoded-body", "function-url-request-with-headers-and-cookies-and-text-body",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := parse(t, fixtures.Read(t, "aws-lambda-go/"+name+".json"))
			same(t, event.AppendFunctionURL(nil, want.v2(t)), want)
		})
	}
}

func TestHTTPAPIDocumentIsAsCaptured(t *testing.T) {
	t.Parallel()
	want := parse(t, fixtures.Read(t, "powertools-typescript/parser/apigw-http/no-auth.json"))
	same(t, event.AppendHTTPAPI(nil, want.v2(t)), want)
}

func TestHTTPAPIDocumentHasTheFormOfTheSamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"apigw-v2-request-iam", "apigw-v2-request-jwt-authorizer", "apigw-v2-request-lambda-authorizer"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := parse(t, fixtures.Read(t, "aws-lambda-go/"+name+".json"))
			r := want.v2(t)
			// What the samples have for show: upper-case header names, mutual TLS, a time without a blank.
			context := want.obj("requestContext")
			delete(context, "authentication")
			context["time"] = r.Time.UTC().Format("02/Jan/2006:15:04:05 +0000")
			for k, v := range want.obj("headers") {
				delete(want.obj("headers"), k)
				want.obj("headers")[strings.ToLower(k)] = v
			}
			same(t, event.AppendHTTPAPI(nil, r), want)
		})
	}
}

func TestRESTDocumentsAreAsRecorded(t *testing.T) {
	t.Parallel()
	t.Run("powertools no-auth", func(t *testing.T) {
		t.Parallel()
		want := parse(t, fixtures.Read(t, "powertools-typescript/parser/apigw-rest/no-auth.json"))
		r := want.v1(t)
		context := want.obj("requestContext")
		context["extendedRequestId"] = r.RequestID // the hub has one id for both
		same(t, event.AppendRESTAPI(nil, r), want)
	})
	snapshot := parse(t, fixtures.Read(t, "localstack-snapshots/test_apigateway_lambda.snapshot.json"))
	recorded := snapshot.obj("tests/aws/services/apigateway/test_apigateway_lambda.py::test_lambda_aws_proxy_integration", "recorded-content")
	for name := range recorded {
		want := recorded.obj(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := want.v1(t)
			context := want.obj("requestContext")
			context["extendedRequestId"] = r.RequestID
			context["requestTimeEpoch"] = json.Number(fmt.Sprint(r.Time.UnixMilli())) // recorded as placeholders
			context["requestTime"] = r.Time.UTC().Format("02/Jan/2006:15:04:05 +0000")
			for k, v := range want.obj("multiValueHeaders") {
				if s, ok := v.(string); ok {
					want.obj("multiValueHeaders")[k] = []any{s}
				}
			}
			same(t, event.AppendRESTAPI(nil, r), want)
		})
	}
}

func TestALBDocumentsAreAsSampled(t *testing.T) {
	t.Parallel()
	for name, multi := range map[string]bool{
		"powertools-python/albMultiValueHeadersEvent.json":          true,
		"aws-lambda-go/alb-lambda-target-request-headers-only.json": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := parse(t, fixtures.Read(t, name))
			r := &event.HTTPRequest{
				Method: want.str("httpMethod"), Path: want.str("path"),
				Headers: append(want.fields("headers"), want.fields("multiValueHeaders")...),
				Query:   append(want.fields("queryStringParameters"), want.fields("multiValueQueryStringParameters")...),

				TargetGroupARN: want.str("requestContext", "elb", "targetGroupArn"),
			}
			want.setBody(t, r)
			same(t, event.AppendALB(nil, r, multi), want)
		})
	}
}

func sample(size int) *event.HTTPRequest {
	return &event.HTTPRequest{
		Method: "POST", Path: "/orders/42", ContextPath: "/prod/orders/42", RawQuery: "a=1&a=2&b=x%20y", Protocol: "HTTP/1.1",
		SourceIP: "192.0.2.7", UserAgent: "curl/8.5.0",
		Headers: []event.Field{
			{"Accept", "*/*"}, {"Content-Length", "1024"}, {"Content-Type", "application/json"}, {"Cookie", "s=1; t=\"2\""}, {"Host", "api.example.test"},
			{"User-Agent", "curl/8.5.0"}, {"X-Amzn-Trace-Id", "Root=1-67fd8892-563c02fe4dcb438f51739a1b"}, {"X-Forwarded-For", "192.0.2.7"},
			{"X-Forwarded-Port", "443"}, {"X-Forwarded-Proto", "https"}, {"X-Two", "1"}, {"X-Two", "2"},
		},
		Query:     []event.Field{{"a", "1"}, {"a", "2"}, {"b", "x y"}},
		Body:      []byte(`{"text":"` + strings.Repeat("0123456789abcdef", size/16) + `"}`),
		AccountID: "123456789012", APIID: "a1b2c3", DomainName: "api.example.test", DomainPrefix: "api",
		RequestID: "9701a3d4-36ad-40bd-bf0b-a525c987d27f", Stage: "$default", RouteKey: "POST /orders/{id}", Resource: "/orders/{id}",
		ResourceID: "ab12cd", DeploymentID: "ef34gh", Time: time.UnixMilli(1744669036726),
		PathParameters: []event.Field{{"id", "42"}}, StageVariables: []event.Field{{"table", "orders"}},
		TargetGroupARN: "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/73e2d6bc24d8a067",
	}
}

var shapes = []struct {
	name   string
	append func([]byte, *event.HTTPRequest) []byte
}{
	{"function-url", event.AppendFunctionURL},
	{"http-api-2.0", event.AppendHTTPAPI},
	{"http-api-1.0", event.AppendHTTPAPIv1},
	{"rest-api", event.AppendRESTAPI},
	{"alb", func(b []byte, r *event.HTTPRequest) []byte { return event.AppendALB(b, r, false) }},
	{"alb-multi", func(b []byte, r *event.HTTPRequest) []byte { return event.AppendALB(b, r, true) }},
	{"authorizer-2.0", func(b []byte, r *event.HTTPRequest) []byte {
		return event.AppendHTTPAPIAuthorizer(b, r, "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/$default/POST/orders/42", []string{"token", "42"})
	}},
	{"authorizer-1.0", func(b []byte, r *event.HTTPRequest) []byte {
		return event.AppendHTTPAPIv1Authorizer(b, r, "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/$default/POST/orders/42", []string{"token", "42"})
	}},
	{"authorizer-rest", func(b []byte, r *event.HTTPRequest) []byte {
		return event.AppendRESTAuthorizer(b, r, "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/prod/POST/orders/42")
	}},
}

func TestDocumentsAreGolden(t *testing.T) {
	t.Parallel()
	empty := &event.HTTPRequest{Method: "GET", Path: "/", ContextPath: "/", Protocol: "HTTP/1.1", Stage: "$default", RouteKey: "$default", Time: time.UnixMilli(0)}
	binary := sample(16)
	binary.Body, binary.Base64, binary.Authorizer = []byte{0, 1, 0xff}, true, []byte(`{"lambda":{"user":"u"}}`)
	for _, s := range shapes {
		for kind, r := range map[string]*event.HTTPRequest{"full": sample(16), "empty": empty, "binary": binary} {
			t.Run(s.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join("testdata", "http", s.name+"-"+kind+".json")
				got := s.append(nil, r)
				var v any
				if err := json.Unmarshal(got, &v); err != nil {
					t.Fatal(err)
				}
				pretty, err := json.MarshalIndent(v, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				pretty = append(pretty, '\n')
				if *update {
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, pretty, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(pretty)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

func FuzzHTTPDocuments(f *testing.F) {
	f.Add("GET", "/a\xff", "a=1&a=2", "X-Üs\n", "v\"1", "v\xc3", []byte("bo\x00dy\xff"), true)
	f.Add("POST", "", "", "Cookie", ";;a=b; ;c", " ", []byte(nil), false)
	f.Fuzz(func(t *testing.T, method, path, query, name, v1, v2 string, body []byte, base64 bool) {
		two := []event.Field{{name, v1}, {name, v2}, {name + "x", v2}}
		r := &event.HTTPRequest{
			Method: method, Path: path, ContextPath: path, RawQuery: query, Protocol: v1, SourceIP: v2, UserAgent: v1, Headers: two, Query: two,
			Body: body, Base64: base64, AccountID: v1, APIID: v2, DomainName: v1, DomainPrefix: v2, RequestID: v1, Stage: v2, RouteKey: v1,
			Resource: v2, ResourceID: v1, DeploymentID: v2, PathParameters: two, StageVariables: two, TargetGroupARN: v1,
		}
		for _, s := range shapes {
			if doc := s.append(nil, r); !json.Valid(doc) {
				t.Errorf("%s: %q", s.name, doc)
			}
		}
		if doc := event.AppendTokenAuthorizer(nil, path, v1); !json.Valid(doc) {
			t.Errorf("%q", doc)
		}
	})
}

func BenchmarkHTTPDocuments(b *testing.B) {
	for _, s := range shapes[:6] {
		b.Run(s.name, func(b *testing.B) {
			r := sample(1024)
			buf := s.append(nil, r)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = s.append(buf[:0], r)
			}
		})
	}
}
