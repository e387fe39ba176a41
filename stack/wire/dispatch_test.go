package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/sigv4"
)

// raw is a service that speaks a protocol of its own.
type raw struct {
	requests []Request
	bodies   []string
}

func (*raw) OperationOf(h *http.Request) string {
	return map[string]string{"GET": "GetObject", "PUT": "PutObject"}[h.Method]
}

func (s *raw) Serve(w http.ResponseWriter, h *http.Request, r *Request) {
	b, err := io.ReadAll(h.Body)
	if err != nil {
		panic(err)
	}
	s.requests, s.bodies = append(s.requests, *r), append(s.bodies, string(b))
	w.Header().Set("ETag", "x")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "object")
}

func (*raw) Refuse(w http.ResponseWriter, _ *http.Request, _ *Request, err *Error) {
	w.WriteHeader(err.status())
	io.WriteString(w, "refused: "+err.Code)
}

// world is a dispatcher of services of all kinds, which tells who has served last.
func world(own *raw, served *Request, c Config) *Dispatcher {
	see := func(r *Request) { *served = *r }
	c.Services = []Service{
		{Name: "sqs", Target: "AmazonSQS", JSONVersion: "1.0", QueryVersion: "2012-11-05", Operations: []Operation{
			whoami("SendMessage", see).Twice(), whoami("AddPermission", see)}},
		{Name: "sns", QueryVersion: "2010-03-31", Operations: []Operation{
			whoami("Publish", see), whoami("AddPermission", see), whoami("ConfirmSubscription", see).Unsigned()}},
		{Name: "dynamodb", Target: "DynamoDB_20120810", JSONVersion: "1.0", Operations: []Operation{whoami("PutItem", see)}},
		{Name: "dynamodb", Target: "DynamoDBStreams_20120810", JSONVersion: "1.0", Operations: []Operation{whoami("GetRecords", see)}},
		{Name: "scheduler", Operations: []Operation{whoami("GetSchedule", see).At("GET /schedules/{Name}")}},
		{Name: "s3", Handler: own, Operations: []Operation{{Name: "PutObject", Duplicates: true}}},
	}
	c.Region, c.Account, c.Log = "us-east-1", "000000000000", slog.New(slog.DiscardHandler)
	return NewDispatcher(c)
}

func TestDispatchTellsServicesApart(t *testing.T) {
	t.Parallel()
	sqs, sns, s3 := credential("test", "eu-west-1", "sqs"), credential("123456789012", "us-west-2", "sns"), credential("a/b", "us-east-1", "s3")
	for _, c := range []struct {
		name, method, target, body string
		header                     []string
		want                       Request // Service, Operation, Region, Account, AccessKey, Query
	}{
		{"by target, unsigned", "POST", "/", "{}", []string{"X-Amz-Target", "AmazonSQS.SendMessage"},
			Request{Service: "sqs", Operation: "SendMessage"}},
		{"by target, signed", "POST", "/123456789012/queue", "{}", []string{"X-Amz-Target", "AmazonSQS.SendMessage", "Authorization", sqs},
			Request{Service: "sqs", Operation: "SendMessage", Region: "eu-west-1", AccessKey: "test"}},
		{"two services of one name", "POST", "/", "{}", []string{"X-Amz-Target", "DynamoDBStreams_20120810.GetRecords", "Authorization", credential("test", "eu-west-1", "dynamodb")},
			Request{Service: "dynamodb", Operation: "GetRecords", Region: "eu-west-1", AccessKey: "test"}},
		{"a query by scope", "POST", "/", "Action=Publish&Version=2010-03-31", []string{"Content-Type", formType, "Authorization", sns},
			Request{Service: "sns", Operation: "Publish", Region: "us-west-2", Account: "123456789012", AccessKey: "123456789012", Query: true}},
		{"a query by scope without version", "POST", "/", "Action=AddPermission", []string{"Content-Type", formType, "Authorization", sqs},
			Request{Service: "sqs", Operation: "AddPermission", Region: "eu-west-1", AccessKey: "test", Query: true}},
		{"a query by version", "POST", "/", "Action=AddPermission&Version=2010-03-31", []string{"Content-Type", formType},
			Request{Service: "sns", Operation: "AddPermission", Query: true}},
		{"a query in the URL", "GET", "/?Action=AddPermission&Version=2012-11-05", "", nil,
			Request{Service: "sqs", Operation: "AddPermission", Query: true}},
		{"a link without version", "GET", "/?Action=ConfirmSubscription&Token=x", "", nil,
			Request{Service: "sns", Operation: "ConfirmSubscription", Query: true}},
		{"a presigned query", "GET", "/?Action=Publish&Version=2010-03-31&X-Amz-Credential=test%2F20260102%2Feu-west-1%2Fsns%2Faws4_request", "", nil,
			Request{Service: "sns", Operation: "Publish", Region: "eu-west-1", AccessKey: "test", Query: true}},
		{"by scope and path", "GET", "/schedules/x", "", []string{"Authorization", credential("test", "eu-west-1", "scheduler")},
			Request{Service: "scheduler", Operation: "GetSchedule", Region: "eu-west-1", AccessKey: "test"}},
		{"what is left is S3's", "PUT", "/bucket/key", "data", nil, Request{Service: "s3", Operation: "PutObject"}},
		{"S3, signed", "GET", "/bucket/key?Action=x", "", []string{"Authorization", s3},
			Request{Service: "s3", Operation: "GetObject", AccessKey: "a/b"}},
		{"an object whose content is a form", "PUT", "/bucket/key", "Action=Publish", []string{"Content-Type", formType}, Request{Service: "s3", Operation: "PutObject"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var own raw
			var got Request
			r := send(t, world(&own, &got, Config{}), c.method, c.target, c.body, c.header...)
			if own.requests != nil {
				got = own.requests[0]
				if own.bodies[0] != c.body {
					t.Errorf("S3 has read %q", own.bodies[0])
				}
			}
			if c.want.Region == "" {
				c.want.Region = "us-east-1"
			}
			if c.want.Account == "" {
				c.want.Account = "000000000000"
			}
			c.want.ID, c.want.Endpoint, c.want.SourceIP = got.ID, "http://example.com", "192.0.2.1"
			c.want.Path, _, _ = strings.Cut(c.target, "?")
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v (%d %s)", got, c.want, r.status, r.body)
			}
			if len(got.ID) != 36 {
				t.Errorf("the request id is %q", got.ID)
			}
		})
	}
}

func TestDispatchRefusesTheUnknown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target, body string
		header                     []string
		says, kind                 string
	}{
		{"a service of a target", "POST", "/", "{}", []string{"X-Amz-Target", "Logs_20140328.PutLogEvents"},
			"does not have the operation PutLogEvents of Logs_20140328", "application/x-amz-json-1.1"},
		{"an operation of a target", "POST", "/", "{}", []string{"X-Amz-Target", "DynamoDBStreams_20120810.PutItem"},
			"does not have the operation PutItem of DynamoDBStreams_20120810", "application/x-amz-json-1.0"},
		{"a service that is signed for", "GET", "/2015-03-31/functions", "", []string{"Authorization", credential("t", "eu-west-1", "lambda")},
			"does not have the operation GET /2015-03-31/functions of lambda", "application/x-amz-json-1.1"},
		{"a Query service that is signed for", "POST", "/", "Action=GetCallerIdentity", []string{"Authorization", credential("t", "eu-west-1", "sts"), "Content-Type", formType},
			"<Message>millrace&#39;s local stack does not have the operation POST / of sts.</Message>", "text/xml"},
		{"a version", "POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", []string{"Content-Type", formType},
			"does not have the operation GetCallerIdentity of a query of version", "text/xml"},
		{"an action that two have", "GET", "/?Action=AddPermission", "", nil, "of a query of version", "text/xml"},
		{"no action", "POST", "/", "", []string{"Authorization", credential("t", "eu-west-1", "sns")}, "<Code>MissingAction</Code>", "text/xml"},
		{"an action", "POST", "/", "Action=CreatePlatformApplication", []string{"Authorization", credential("t", "eu-west-1", "sns")},
			"<Code>InvalidAction</Code><Message>millrace&#39;s local stack does not have the operation CreatePlatformApplication of sns.", "text/xml"},
		{"a broken form", "POST", "/", "Action=%zz", []string{"Authorization", credential("t", "eu-west-1", "sns")}, "<Code>MalformedQueryString</Code>", "text/xml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got Request
			r := send(t, world(new(raw), &got, Config{}), c.method, c.target, c.body, c.header...)
			if r.status != 400 || !strings.Contains(r.body, c.says) || r.header.Get("Content-Type") != c.kind {
				t.Errorf("%d %s %v, want %q", r.status, r.body, r.header, c.says)
			}
			if got.Operation != "" {
				t.Errorf("%s was called", got.Operation)
			}
		})
	}
	t.Run("all, without S3", func(t *testing.T) {
		t.Parallel()
		if r := send(t, dispatcher(), "GET", "/bucket", ""); r.status != 400 || !strings.Contains(r.body, "does not have the operation GET /bucket of s3") {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestDispatchRefusesLargeBodies(t *testing.T) {
	t.Parallel()
	s := Service{Name: "sns", Target: "SNS", QueryVersion: "1", MaxBody: 100, Operations: []Operation{echoes("Echo")}}
	for size, status := range map[int]int{85: 200, 86: 413} {
		body := `{"Text":"` + strings.Repeat("a", size) + `  "}  `
		if r := send(t, dispatcher(s), "POST", "/", body, "X-Amz-Target", "SNS.Echo"); r.status != status {
			t.Errorf("%d bytes: %d %s", len(body), r.status, r.body)
		}
	}
}

func TestNewDispatcherPanicsOnTwoOperationsOfOneName(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("it has not")
		}
	}()
	dispatcher(Service{Name: "sqs", Operations: []Operation{echoes("A"), echoes("A")}})
}

func TestBeforeActsOnAnOperation(t *testing.T) {
	t.Parallel()
	throttle := Error{Code: "Throttling", Status: 429}
	for _, c := range []struct {
		name, target string
		before       Before
		status       int
		ran, twice   bool
	}{
		{"lets it run", "AmazonSQS.AddPermission", func(context.Context, *Request, Error) (func() error, error) { return nil, nil }, 200, true, false},
		{"asks for duplicates", "AmazonSQS.SendMessage",
			func(_ context.Context, r *Request, _ Error) (func() error, error) {
				r.Duplicate = true
				return nil, nil
			}, 200, true, true},
		{"asks what the operation can not do", "AmazonSQS.AddPermission",
			func(_ context.Context, r *Request, _ Error) (func() error, error) {
				r.Duplicate = true
				return nil, nil
			}, 200, true, false},
		{"throttles", "AmazonSQS.SendMessage",
			func(_ context.Context, _ *Request, e Error) (func() error, error) { e = throttle; return nil, &e }, 429, false, false},
		{"fails what has been done", "AmazonSQS.SendMessage",
			func(context.Context, *Request, Error) (func() error, error) {
				return func() error { return Errorf("Late", "too late") }, nil
			}, 400, true, false},
		{"lets what has been done be", "AmazonSQS.SendMessage",
			func(context.Context, *Request, Error) (func() error, error) { return func() error { return nil }, nil }, 200, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got Request
			r := send(t, world(new(raw), &got, Config{Before: c.before}), "POST", "/", "{}", "X-Amz-Target", c.target)
			if r.status != c.status || (got.Operation != "") != c.ran || got.Duplicate != c.twice {
				t.Errorf("%d %s, ran %+v", r.status, r.body, got)
			}
		})
	}
}

func TestBeforeActsOnAServiceOfItsOwnProtocol(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before Before
		status int
		body   string
		ran    int
		twice  bool
	}{
		{"duplicates", func(_ context.Context, r *Request, _ Error) (func() error, error) {
			r.Duplicate = true
			return nil, nil
		}, 202, "object", 1, true},
		{"refuses", func(context.Context, *Request, Error) (func() error, error) {
			return nil, &Error{Code: "SlowDown", Status: 503}
		}, 503, "refused: SlowDown", 0, false},
		{"fails what has been done", func(context.Context, *Request, Error) (func() error, error) {
			return func() error { return &Error{Code: "InternalError", Status: 500} }, nil
		}, 500, "refused: InternalError", 1, false},
		{"lets what has been done be", func(context.Context, *Request, Error) (func() error, error) { return func() error { return nil }, nil }, 202, "object", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var own raw
			r := send(t, world(&own, new(Request), Config{Before: c.before}), "PUT", "/b/k", "x")
			if r.status != c.status || r.body != c.body || len(own.requests) != c.ran || c.ran == 1 && own.requests[0].Duplicate != c.twice {
				t.Errorf("%d %s, ran %+v", r.status, r.body, own.requests)
			}
			if c.status == 202 && r.header.Get("ETag") != "x" {
				t.Errorf("the headers are %v", r.header)
			}
		})
	}
}

func TestResetCutsTheConnection(t *testing.T) {
	t.Parallel()
	reset := func(context.Context, *Request, Error) (func() error, error) { return nil, ErrReset }
	late := func(context.Context, *Request, Error) (func() error, error) {
		return func() error { return ErrReset }, nil
	}
	for _, before := range []Before{reset, late} {
		var got Request
		server := httptest.NewServer(world(new(raw), &got, Config{Before: before}))
		for _, target := range []string{"AmazonSQS.SendMessage", ""} {
			req, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/b/k", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", target)
			if r, err := server.Client().Do(req); err == nil {
				t.Errorf("%q: an answer has come: %s", target, r.Status)
			}
		}
		server.Close()
	}
}

func TestStreamWritesItself(t *testing.T) {
	t.Parallel()
	d := dispatcher(Service{Name: "kinesis", Target: "K", JSONVersion: "1.1", Operations: []Operation{
		Op("Subscribe", func(context.Context, *Request, *None) (*streams, error) { return new(streams), nil }),
	}})
	r := send(t, d, "POST", "/", "", "X-Amz-Target", "K.Subscribe")
	if r.status != 200 || r.body != "frame" || r.header.Get("Content-Type") != "application/vnd.amazon.eventstream" || r.header.Get("X-Amzn-Requestid") == "" {
		t.Errorf("%+v", r)
	}
}

type streams struct{}

func (*streams) Stream(_ context.Context, w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	io.WriteString(w, "frame")
	return errors.New("that is all")
}

func TestSignaturesAreVerified(t *testing.T) {
	t.Parallel()
	at := clock.NewManual(noon)
	verifier := &sigv4.Verifier{Keys: map[string]string{"AKID": "secret"}, Clock: at, Skew: sigv4.DefaultSkew}
	sum := map[string]string{ // SHA-256
		"":   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"{}": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
	}
	for _, c := range []struct {
		name, method, target, body string
		service, key, secret       string
		signedAt                   time.Time
		presign, unsigned          bool
		status                     int
		says                       string
	}{
		{name: "good", method: "POST", target: "/", body: "{}", service: "sqs", status: 200},
		{name: "wrong secret", method: "POST", target: "/", body: "{}", service: "sqs", secret: "other", status: 403, says: "InvalidSignatureException"},
		{name: "unknown key", method: "POST", target: "/", body: "{}", service: "sqs", key: "OTHER", status: 403, says: "UnrecognizedClientException"},
		{name: "old", method: "POST", target: "/", body: "{}", service: "sqs", signedAt: noon.Add(-time.Hour), status: 403, says: "Signature expired"},
		{name: "missing", method: "POST", target: "/", body: "{}", service: "sqs", unsigned: true, status: 403, says: "MissingAuthenticationTokenException"},
		{name: "presigned query", method: "GET", target: "/?Action=Publish&Version=2010-03-31&X-Amz-Expires=60", service: "sns", presign: true, status: 200},
		{name: "presigned query, old", method: "GET", target: "/?Action=Publish&Version=2010-03-31&X-Amz-Expires=60", service: "sns", presign: true,
			signedAt: noon.Add(-2 * time.Minute), status: 403, says: "InvalidSignatureException"},
		{name: "unsigned query", method: "GET", target: "/?Action=Publish&Version=2010-03-31", unsigned: true, status: 403, says: "MissingAuthenticationTokenException"},
		{name: "a link needs none", method: "GET", target: "/?Action=ConfirmSubscription&Token=x", unsigned: true, status: 200},
		{name: "but if it has one it is checked", method: "GET", target: "/?Action=ConfirmSubscription&Version=2010-03-31", service: "sns", secret: "other", status: 403, says: "InvalidSignatureException"},
		{name: "S3", method: "PUT", target: "/bucket/a", body: "{}", service: "s3", status: 202},
		{name: "S3, wrong secret", method: "PUT", target: "/bucket/a", body: "{}", service: "s3", secret: "other", status: 403, says: "refused: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got Request
			d := world(new(raw), &got, Config{Verifier: verifier})
			req := httptest.NewRequest(c.method, "http://127.0.0.1:4566"+c.target, strings.NewReader(c.body))
			if c.service == "sqs" {
				req.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
			}
			if c.service == "s3" {
				req.Header.Set("X-Amz-Content-Sha256", sum[c.body])
			}
			k := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
			if c.key != "" {
				k.AccessKeyID = c.key
			}
			if c.secret != "" {
				k.SecretAccessKey = c.secret
			}
			if c.signedAt.IsZero() {
				c.signedAt = noon
			}
			signer := v4.NewSigner() // one each, since it keeps keys by their id
			options := func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.service == "s3" }
			switch {
			case c.unsigned:
			case c.presign:
				uri, _, err := signer.PresignHTTP(t.Context(), k, req, sum[c.body], c.service, "eu-west-1", c.signedAt, options)
				if err != nil {
					t.Fatal(err)
				}
				req = httptest.NewRequest(c.method, uri, strings.NewReader(c.body))
			default:
				if err := signer.SignHTTP(t.Context(), k, req, sum[c.body], c.service, "eu-west-1", c.signedAt, options); err != nil {
					t.Fatal(err)
				}
				req.RequestURI = req.URL.RequestURI()
			}
			w := httptest.NewRecorder()
			d.ServeHTTP(w, req)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.says)
			}
			if c.status >= 400 && got.Operation != "" {
				t.Errorf("%s was called", got.Operation)
			}
		})
	}
}

// What a client has got wrong is its error, in its protocol.
func TestBrokenRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, target string
		body         io.Reader
		says         string
	}{
		{"a body that breaks off", "AmazonSQS.SendMessage", iotest.ErrReader(io.ErrUnexpectedEOF), `"IncompleteBody"`},
		{"no target", "", strings.NewReader("{}"), `"MissingAction"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got Request
			r := httptest.NewRequest("POST", "http://127.0.0.1:4566/", c.body)
			r.Header.Set("Content-Type", "application/x-amz-json-1.0")
			if c.target != "" {
				r.Header.Set("X-Amz-Target", c.target)
			}
			w := httptest.NewRecorder()
			world(new(raw), &got, Config{}).ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(w.Body.String(), "#", `"`), c.says[1:]) || got.Operation != "" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// FuzzScope reads a signature's scope from any header and query.
func FuzzScope(f *testing.F) {
	f.Add(credential("test", "eu-west-1", "sqs"), "")
	f.Add("", "X-Amz-Credential=a%2Fb%2F20260102%2Feu-west-1%2Fsns%2Faws4_request")
	f.Add("AWS4-HMAC-SHA256 Credential=////", "")
	f.Fuzz(func(t *testing.T, header, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		r.URL.RawQuery = query
		if s := readScope(r); strings.Contains(s.region+s.service, "/") {
			t.Fatalf("%+v", s)
		}
	})
}
