// Package lambdaapi serves the part of AWS Lambda's REST API that runs functions, so that AWS's command line
// and SDKs work with a changed endpoint URL. Functions come from the hub's file: what would create or change
// one is refused in AWS's error form.
package lambdaapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/internal/xray"
)

// Options are what the API stands on. Its functions may be called concurrently.
type Options struct {
	// Function finds a function of the file by its plain name.
	Function func(name string) (executor.Function, Info, bool)
	// Names lists the functions of the file, sorted. Without it ListFunctions and GetAccountSettings are not
	// served.
	Names func() []string
	// Accept returns once the event is durable. It owns the request's payload. Its error may be an
	// *executor.Error or wrap async.ErrFull.
	Accept func(ctx context.Context, name string, req executor.Request) error

	Region, Account string
	Concurrency     int // of the account, as GetAccountSettings tells it

	// Keys are the secrets by access key of those who may call. If it is nil nothing is verified, and
	// requests that a web page made are refused: a browser lets any page post to a loopback address.
	Keys map[string]string

	Clock   clock.Clock
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Info is what the API tells of a function.
type Info struct {
	ARN         string // unqualified
	Description string
	Runtime     string
	Handler     string
	Timeout     time.Duration
	Memory      plugin.Size // 0 if it has no limit of its own
	Reserved    int         // reserved concurrency, or executor.Unreserved
	CodeSize    int64       // bytes, 0 if not known
	CodeSHA256  string      // base64, "" if not known
	Modified    time.Time   // when the code last changed, zero if not known
}

type server struct {
	function        func(name string) (executor.Function, Info, bool)
	names           func() []string
	accept          func(ctx context.Context, name string, req executor.Request) error
	region, account string
	concurrency     int
	verifier        *sigv4.Verifier // nil: nobody is asked for a signature
	clock           clock.Clock
	log             *slog.Logger
	metrics         metrics
}

type metrics struct {
	requests *prometheus.CounterVec

	invoked, accepted prometheus.Counter // of requests, for the hot paths
}

// New makes the handler of the whole API.
func New(o Options) http.Handler {
	s := &server{
		function: o.Function, names: o.Names, accept: o.Accept,
		region: o.Region, account: o.Account, concurrency: o.Concurrency,
		clock: o.Clock, log: o.Log,
	}
	if o.Keys != nil {
		s.verifier = &sigv4.Verifier{Keys: o.Keys, Clock: o.Clock, Skew: sigv4.DefaultSkew}
	}
	s.metrics.requests = plugin.Register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_lambda_api_requests_total",
		Help: "Requests to the Lambda API, by operation and by result: ok, function_error, or the code of the error.",
	}, []string{"operation", "result"}))
	s.metrics.invoked = s.metrics.requests.WithLabelValues(opInvoke, "ok")
	s.metrics.accepted = s.metrics.requests.WithLabelValues(opInvoke, "accepted")
	return s
}

const (
	opInvoke      = "Invoke"
	opInvokeAsync = "InvokeAsync"
	opStream      = "InvokeWithResponseStream"
	opUnknown     = "unknown"
)

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, name := route(r.Method, r.URL.Path)
	if s.verifier == nil && fromWebPage(r.Header) {
		s.fail(w, r, op, uuid.NewString(), &apiError{code: "AccessDeniedException", status: 403, upper: true,
			message: "Requests of web pages are refused, because no keys are configured for this endpoint and so any page could call it."})
		return
	}
	switch op {
	case opInvoke, opInvokeAsync, opStream:
		s.invoke(w, r, op, name)
	default:
		s.control(w, r, op, name)
	}
}

// fromWebPage says that a browser sent the request on behalf of a page: they say so themselves.
func fromWebPage(h http.Header) bool {
	if _, ok := h["Origin"]; ok {
		return true
	}
	site := first(h, "Sec-Fetch-Site")
	return site != "" && site != "none"
}

// route tells the operation of a request, and the address of the function in its path.
func route(method, path string) (op, address string) {
	version, rest, ok := cutFunctions(path)
	if !ok {
		if method == http.MethodGet && strings.TrimSuffix(path, "/") == "/2016-08-19/account-settings" {
			return opAccount, ""
		}
		return opUnknown, ""
	}
	address, action, _ := strings.Cut(rest, "/")
	action = strings.TrimSuffix(action, "/")
	switch {
	case method == http.MethodPost && version == "2015-03-31" && action == "invocations":
		return opInvoke, address
	case method == http.MethodPost && version == "2014-11-13" && action == "invoke-async":
		return opInvokeAsync, address
	case method == http.MethodPost && version == "2021-11-15" && action == "response-streaming-invocations":
		return opStream, address
	case method != http.MethodGet:
		return opUnknown, ""
	case version == "2015-03-31" && rest == "":
		return opList, ""
	case version == "2015-03-31" && action == "":
		return opGet, address
	case version == "2015-03-31" && action == "configuration":
		return opConfiguration, address
	case version == "2019-09-30" && action == "concurrency":
		return opConcurrency, address
	}
	return opUnknown, ""
}

// cutFunctions splits "/2015-03-31/functions/rest".
func cutFunctions(path string) (version, rest string, ok bool) {
	const collection = "/functions"
	if len(path) < 11+len(collection) || path[0] != '/' || path[11:11+len(collection)] != collection {
		return "", "", false
	}
	rest = path[11+len(collection):]
	if rest != "" && rest[0] != '/' {
		return "", "", false
	}
	return path[1:11], strings.TrimPrefix(rest, "/"), true
}

func first(h http.Header, canonical string) string {
	if v := h[canonical]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// traceID is the caller's trace, or a new one, of which the hub decides whether it is sampled.
func (s *server) traceID(h http.Header) string {
	if given := first(h, "X-Amzn-Trace-Id"); strings.Contains(given, "Root=") {
		return given
	}
	return xray.Header(first(h, "Traceparent"), s.clock.Now())
}

func unknown(r *http.Request) *apiError {
	path := r.URL.Path
	if len(path) > 200 {
		path = path[:200]
	}
	return &apiError{code: "UnknownOperationException", status: 404, message: fmt.Sprintf(
		"millrace does not serve %s %s: functions are defined in its file. It serves Invoke, InvokeAsync, InvokeWithResponseStream, "+
			"ListFunctions, GetFunction, GetFunctionConfiguration, GetFunctionConcurrency and GetAccountSettings.", r.Method, path)}
}
