package event_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/fixtures"
)

// transcribed is a file of cases.
type transcribed struct {
	Cases []struct {
		ID       string          `json:"id"`
		Response json.RawMessage `json:"function_response"`
		Status   int             `json:"http_status"`
		Body     string          `json:"body_text"`
	} `json:"cases"`
}

func cases(t *testing.T, name string) transcribed {
	t.Helper()
	var c transcribed
	if err := json.Unmarshal(fixtures.Read(t, "transcribed/"+name), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func headers(a *event.HTTPAnswer) http.Header {
	h := http.Header{}
	for _, f := range a.Headers {
		h.Add(f.Name, f.Value)
	}
	return h
}

func TestFunctionURLAnswersAreAsRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range cases(t, "function-url-responses.json").Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			var compact strings.Builder
			if err := json.NewEncoder(&compact).Encode(c.Response); err != nil {
				t.Fatal(err)
			}
			var a event.HTTPAnswer
			if err := a.Read([]byte(strings.TrimSpace(compact.String())), event.AnswerFunctionURL); err != nil {
				t.Fatal(err)
			}
			if a.Status != c.Status || string(a.Body) != c.Body || headers(&a).Get("Content-Type") != "application/json" {
				t.Errorf("got %d %q %v, want %d %q", a.Status, a.Body, a.Headers, c.Status, c.Body)
			}
		})
	}
}

// gateway is a recorded HTTP response, without the headers that a gateway adds.
type gateway struct {
	StatusCode int
	Content    string
	Headers    http.Header
}

func (g *gateway) strip() {
	h := http.Header{}
	for k, v := range g.Headers {
		switch strings.ToLower(k) {
		case "date", "connection", "content-length", "apigw-requestid", "x-amzn-requestid", "x-amz-apigw-id", "x-amzn-trace-id", "x-amzn-errortype":
		default:
			h[http.CanonicalHeaderKey(k)] = v
		}
	}
	g.Headers = h
}

func TestHTTPAnswersAreAsRecorded(t *testing.T) {
	t.Parallel()
	for _, c := range cases(t, "apigw-http-responses.json").Cases {
		formats := map[string]event.AnswerFormat{c.ID: event.AnswerHTTPAPI}
		if strings.HasPrefix(c.ID, "V1_") {
			formats = map[string]event.AnswerFormat{c.ID + "Rest": event.AnswerRESTAPI, c.ID + "HttpV1": event.AnswerHTTPAPIv1}
		}
		for file, format := range formats {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				var want gateway
				if err := json.Unmarshal(fixtures.Read(t, "aws-lambda-dotnet/TestTool-ApiGatewaySnapshots/"+file+".json"), &want); err != nil {
					t.Fatal(err)
				}
				want.strip()
				var a event.HTTPAnswer
				err := a.Read(c.Response, format)
				if want.StatusCode >= 500 {
					if !errors.Is(err, event.ErrMalformed) {
						t.Errorf("error %v, want ErrMalformed", err)
					}
					return
				}
				got := gateway{a.Status, string(a.Body), headers(&a)}
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		}
	}
}

func TestBareHTTPAnswersAreAsRecorded(t *testing.T) {
	t.Parallel()
	for kind, doc := range map[string]string{
		"Invalid_JSON_Partial_Object": `{"name": "John Doe", "age":`,
		"JSON_Array":                  `[1, 2, 3, 4, 5]`,
		"Valid_JSON_Object":           `{"name": "John Doe", "age": 30}`,
		"boolean":                     `true`,
		"empty_string":                `""`,
		"json_special":                `"Special \"quoted\" text"`,
		"number":                      `42`,
		"string":                      `"Hello, World!"`,
		"string_spaces":               `"Hello, World!"`,
		"string_unescaped":            `"test"`,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var want gateway
			name := "aws-lambda-dotnet/TestTool-ApiGatewaySnapshots/ToApiGatewayProxyResponse_ValidResponse_MatchesDirectConversion" + kind + ".json"
			if err := json.Unmarshal(fixtures.Read(t, name), &want); err != nil {
				t.Fatal(err)
			}
			want.strip()
			var a event.HTTPAnswer
			err := a.Read([]byte(doc), event.AnswerHTTPAPI)
			got := gateway{a.Status, string(a.Body), headers(&a)}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRESTAnswersAreAsRecorded(t *testing.T) {
	t.Parallel()
	snapshot := parse(t, fixtures.Read(t, "localstack-snapshots/test_apigateway_lambda.snapshot.json"))
	recorded := snapshot.obj("tests/aws/services/apigateway/test_apigateway_lambda.py::test_aws_proxy_response_payload_format_validation", "recorded-content")
	for _, c := range cases(t, "apigw-rest-lambda-responses.json").Cases {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			var a event.HTTPAnswer
			err := a.Read(c.Response, event.AnswerRESTAPI)
			if c.Status == http.StatusBadGateway {
				if !errors.Is(err, event.ErrMalformed) {
					t.Errorf("error %v, want ErrMalformed", err)
				}
				return
			}
			if err != nil || a.Status != c.Status || string(a.Body) != recorded.str(c.ID, "content") {
				t.Errorf("got %d %q, %v; want %d %q", a.Status, a.Body, err, c.Status, recorded.str(c.ID, "content"))
			}
			for k, v := range recorded.obj(c.ID, "headers") {
				if strings.Contains(strings.ToLower(k), "test") || strings.Contains(k, "bool") || k == "Content-Type" {
					if got := strings.Join(headers(&a).Values(k), ", "); got != v {
						t.Errorf("%s is %q, want %q", k, got, v)
					}
				}
			}
		})
	}
}

func TestAnswerRules(t *testing.T) {
	t.Parallel()
	const (
		v2, url, v1, rest = event.AnswerHTTPAPI, event.AnswerFunctionURL, event.AnswerHTTPAPIv1, event.AnswerRESTAPI
		alb, albMulti     = event.AnswerALB, event.AnswerALBMulti
	)
	const bad = "malformed"
	for _, c := range []struct {
		name string
		f    event.AnswerFormat
		doc  string
		want string // status, headers and body, or bad
	}{
		{"cookies become Set-Cookie headers", v2, `{"statusCode":200,"cookies":["a=1","b=2"]}`, `200 Set-Cookie:a=1 Set-Cookie:b=2 Content-Type:text/plain; charset=utf-8 ""`},
		{"a function URL answers JSON unless told", url, `{"statusCode":200}`, `200 Content-Type:application/json ""`},
		{"base64 is decoded", v2, `{"statusCode":200,"headers":{"content-type":"x/y"},"body":"AP8=","isBase64Encoded":true}`, `200 content-type:x/y "\x00\xff"`},
		{"base64 may lack its padding", v2, `{"statusCode":200,"headers":{"content-type":"x/y"},"body":"AP8","isBase64Encoded":true}`, `200 content-type:x/y "\x00\xff"`},
		{"base64 may have escapes", v2, `{"statusCode":200,"headers":{"content-type":"x/y"},"body":"\/\/\/\/","isBase64Encoded":true}`, `200 content-type:x/y "\xff\xff\xff"`},
		{"what is no base64", v2, `{"statusCode":200,"body":"?","isBase64Encoded":true}`, bad},
		{"a REST API leaves base64 to its media types", rest, `{"body":"AP8=","isBase64Encoded":true}`, `200 Content-Type:application/json "AP8="`},
		{"a float is no status", v2, `{"statusCode":200.0}`, bad},
		{"nor is zero", url, `{"statusCode":0}`, bad},
		{"nor is an informational status", v2, `{"statusCode":101}`, bad},
		{"nor is a huge number", v2, `{"statusCode":18446744073709551816}`, bad},
		{"nor is an empty text", rest, `{"statusCode":""}`, bad},
		{"nor is true", v2, `{"statusCode":true}`, bad},
		{"a null status is none", v2, `{"statusCode":null,"body":"x"}`, `200 Content-Type:application/json "{\"statusCode\":null,\"body\":\"x\"}"`},
		{"the last of two keys counts", v2, `{"statusCode":201,"statusCode":202}`, `202 Content-Type:text/plain; charset=utf-8 ""`},
		{"a key may be written with escapes", v2, `{"\u0073tatusCode":201}`, `201 Content-Type:text/plain; charset=utf-8 ""`},
		{"text behind the object makes it none", v2, `{"statusCode":201} x`, `200 Content-Type:application/json "{\"statusCode\":201} x"`},
		{"other formats refuse it", v1, `{"statusCode":201} x`, bad},
		{"payload 1.0 demands a status", v1, `{"body":"x"}`, bad},
		{"so does a load balancer", alb, `{"body":"x"}`, bad},
		{"a load balancer takes the headers of its mode", alb, `{"statusCode":200,"headers":{"A":"1"},"multiValueHeaders":{"B":["2"]}}`, `200 A:1 Content-Type:application/octet-stream ""`},
		{"and of the other", albMulti, `{"statusCode":200,"statusDescription":"200 OK","headers":{"A":"1"},"multiValueHeaders":{"B":["2",3]}}`, `200 B:2 B:3 Content-Type:application/octet-stream ""`},
		{"payload 2.0 has no multi-value headers", v2, `{"statusCode":200,"multiValueHeaders":{"B":["2"]}}`, `200 Content-Type:text/plain; charset=utf-8 ""`},
		{"payload 1.0 merges, single value first", v1, `{"statusCode":200,"headers":{"a":"1"},"multiValueHeaders":{"A":["2","3"]}}`, `200 a:1 A:2 A:3 Content-Type:text/plain; charset=utf-8 ""`},
		{"REST merges, lists first, in their spelling, without repetition", rest, `{"headers":{"ab":"3","AB":"1"},"multiValueHeaders":{"aB":["1","2"]}}`, `200 aB:1 aB:2 aB:3 Content-Type:application/json ""`},
		{"a header may be a number or a boolean", rest, `{"headers":{"a":1.50,"b":false,"c":null}}`, `200 a:1.50 b:false Content-Type:application/json ""`},
		{"a header may not be an object", v2, `{"statusCode":200,"headers":{"a":{}}}`, bad},
		{"nor have a line break", v2, `{"statusCode":200,"headers":{"a":"b\r\nSet-Cookie: c"}}`, bad},
		{"nor a name with one", v2, `{"statusCode":200,"headers":{"a\r\nb":"c"}}`, bad},
		{"headers must be an object", v2, `{"statusCode":200,"headers":["a"]}`, bad},
		{"cookies must be a list", v2, `{"statusCode":200,"cookies":"a=b"}`, bad},
		{"a body may not be an object", v2, `{"statusCode":200,"body":{"a":1}}`, bad},
		{"a number as body is its text", rest, `{"body":12}`, `200 Content-Type:application/json "12"`},
		{"a REST API refuses unknown keys", rest, `{"statusCode":200,"Body":"x"}`, bad},
		{"and cookies", rest, `{"statusCode":200,"cookies":["a=b"]}`, bad},
		{"and an empty object", rest, `{}`, bad},
		{"an empty object is a body elsewhere", url, ` {} `, `200 Content-Type:application/json " {} "`},
		{"null is a body", v2, `null`, `200 Content-Type:application/json "null"`},
		{"nothing is an empty body", v2, ``, `200 Content-Type:application/json ""`},
		{"escapes of a body", url, `{"statusCode":200,"body":"a\n\u00e9\ud83d\ude0a\ud83d\"\\"}`, `200 Content-Type:application/json "a\né😊�\"\\"`},
		{"isBase64Encoded must be a boolean", v2, `{"statusCode":200,"isBase64Encoded":1}`, bad},
		{"a prelude may be empty", event.AnswerPrelude, `{}`, `200 Content-Type:application/octet-stream ""`},
		{"a prelude has status, headers and cookies", event.AnswerPrelude, `{"statusCode":404,"headers":{"content-type":"text/html"},"cookies":["a=b"]}`, `404 content-type:text/html Set-Cookie:a=b ""`},
		{"a prelude is an object", event.AnswerPrelude, `"x"`, bad},
		{"deep nesting ends", rest, `{"body":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var a event.HTTPAnswer
			got := bad
			if err := a.Read([]byte(c.doc), c.f); err == nil {
				got = fmt.Sprint(a.Status)
				for _, h := range a.Headers {
					got += " " + h.Name + ":" + h.Value
				}
				got += fmt.Sprintf(" %q", a.Body)
			} else if !errors.Is(err, event.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func FuzzHTTPAnswer(f *testing.F) {
	for _, s := range []string{
		`{"statusCode":200,"body":"x"}`, `{"statusCode":"201","headers":{"a":true},"multiValueHeaders":{"b":["c",1]},"cookies":["d"],"isBase64Encoded":true,"body":"AP8="}`,
		`"\ud83d\ude0a\u00"`, `[1e5,-0.1,{"a":null}]`, `{"a":"\x"}`, "{\"a\":\"\xff\"}", ` {} `, `{"statusCode":200} x`, `01`, `1.`, `-`, `nul`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		before := string(doc)
		var a event.HTTPAnswer
		for format := event.AnswerHTTPAPI; format <= event.AnswerPrelude; format++ {
			err := a.Read(doc, format)
			if err != nil {
				if !errors.Is(err, event.ErrMalformed) {
					t.Errorf("error %v", err)
				}
				continue
			}
			if a.Status < 200 || a.Status > 599 || len(a.Headers) == 0 {
				t.Errorf("format %d of %q: %+v", format, doc, a)
			}
			if !json.Valid(doc) && (format > event.AnswerFunctionURL || string(a.Body) != string(doc)) {
				t.Errorf("format %d took what is no JSON: %q", format, doc)
			}
			var want struct {
				StatusCode      json.RawMessage `json:"statusCode"`
				Body            *string         `json:"body"`
				IsBase64Encoded bool            `json:"isBase64Encoded"`
			}
			// encoding/json ignores the case of keys, so only documents that it reads back alike can be compared.
			if d := json.Unmarshal(doc, &want); d == nil && want.Body != nil && !want.IsBase64Encoded && strings.Count(strings.ToLower(string(doc)), "body") == 1 && strings.Contains(string(doc), `"body"`) && len(want.StatusCode) == 3 && string(a.Body) != *want.Body {
				if !strings.HasPrefix(string(a.Body), "{") && !strings.Contains(string(doc), `\u`) {
					t.Errorf("format %d of %q: body %q, want %q", format, doc, a.Body, *want.Body)
				}
			}
		}
		if string(doc) != before {
			t.Errorf("the document was written to")
		}
	})
}

func TestPlainAnswersCostNoAllocation(t *testing.T) {
	doc := []byte(`{"statusCode":200,"headers":{"Content-Type":"application/json"},"body":"` + strings.Repeat("x", 1000) + `"}`)
	var a event.HTTPAnswer
	if n := testing.AllocsPerRun(100, func() {
		if err := a.Read(doc, event.AnswerHTTPAPI); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHTTPAnswer(b *testing.B) {
	text := strings.Repeat("0123456789abcdef", 64)
	for name, doc := range map[string]string{
		"plain":   `{"statusCode":200,"body":"` + text + `"}`,
		"json":    `{"statusCode":200,"headers":{"Content-Type":"application/json"},"body":"{\"text\":\"` + text + `\"}"}`,
		"base64":  `{"statusCode":200,"isBase64Encoded":true,"body":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}`,
		"headers": `{"statusCode":200,"headers":{"content-type":"text/html","x-a":"b","cache-control":"no-cache"},"body":"` + text + `"}`,
	} {
		b.Run(name, func(b *testing.B) {
			var a event.HTTPAnswer
			doc := []byte(doc)
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Read(doc, event.AnswerFunctionURL); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
