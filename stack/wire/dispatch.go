package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/millrace/millrace/internal/sigv4"
)

// Dispatcher is the one HTTP handler in front of all services. It tells them apart by the X-Amz-Target header, by the
// service that a request is signed for, by the Version of a Query, and takes what is left for S3.
type Dispatcher struct {
	region, account string
	verifier        *sigv4.Verifier
	before          Before
	log             *slog.Logger

	targets   map[string]*operation // by X-Amz-Target
	byTarget  map[string]*service   // by what precedes the operation in X-Amz-Target
	byName    map[string]*service   // by the name in signatures
	byVersion map[string]*service   // by the Version of Query
	byAction  map[string]*operation // by the Action of a Query that has no Version; nil if two services have it
	rest      *service              // what takes requests that nothing else claims
}

// Before is asked before an operation runs. It may wait, and change r.Duplicate. If it returns an error the operation
// is not run and the client gets that error; ErrReset cuts the connection. If after is set it is asked again once the
// operation has run, and its answer replaces the operation's.
type Before func(ctx context.Context, r *Request, throttled Error) (after func() error, err error)

// ErrReset cuts the client's connection.
var ErrReset = errors.New("connection reset by fault injection")

// Config is what a Dispatcher needs.
type Config struct {
	Services []Service
	// Region and Account are those of unsigned requests.
	Region, Account string
	// Verifier checks signatures. If it is nil they are read, not checked, and may be missing.
	Verifier *sigv4.Verifier
	Before   Before // may be nil
	Log      *slog.Logger
}

type service struct {
	Service
	operations map[string]*operation
	routes     []route
}

type operation struct {
	Operation
	service *service
}

// NewDispatcher panics if two services claim the same name or two operations the same target: that is a mistake of the program.
func NewDispatcher(c Config) *Dispatcher {
	d := &Dispatcher{
		region: c.Region, account: c.Account, verifier: c.Verifier, before: c.Before, log: c.Log,
		targets: map[string]*operation{}, byTarget: map[string]*service{}, byName: map[string]*service{},
		byVersion: map[string]*service{}, byAction: map[string]*operation{},
	}
	for _, s := range c.Services {
		x := &service{Service: s, operations: map[string]*operation{}}
		if x.MaxBody == 0 {
			x.MaxBody = 16 << 20
		}
		if s.Handler != nil {
			d.rest = x
		}
		if s.QueryVersion != "" {
			d.byVersion[s.QueryVersion] = x
		}
		if s.Target != "" {
			d.byTarget[s.Target] = x
		}
		if d.byName[s.Name] == nil || s.Target == "" { // DynamoDB's two services are signed by one name, told apart by target
			d.byName[s.Name] = x
		}
		for _, o := range s.Operations {
			if x.operations[o.Name] != nil {
				panic("wire: " + s.Name + " has two operations " + o.Name)
			}
			op := &operation{Operation: o, service: x}
			x.operations[o.Name] = op
			if s.Target != "" {
				d.targets[s.Target+"."+o.Name] = op
			}
			if s.QueryVersion != "" {
				if _, taken := d.byAction[o.Name]; taken {
					d.byAction[o.Name] = nil
				} else {
					d.byAction[o.Name] = op
				}
			}
			if o.Route != "" {
				x.routes = append(x.routes, newRoute(o.Route, op))
			}
		}
	}
	return d
}

// exchange is one request being answered.
type exchange struct {
	Request
	protocol protocol
	service  *service
	http     *http.Request
	body     []byte
	form     url.Values // Query
	path     []string   // REST-JSON: values of the route's variables, in the order of its names
	route    *route
}

type protocol uint8

const (
	jsonRPC protocol = iota
	query
	restJSON
)

func (x *exchange) decode(in any) error {
	switch x.protocol {
	case query:
		return decodeQuery(x.form, in)
	case restJSON:
		return decodeREST(x, in)
	default:
		return decodeJSON(x.body, in)
	}
}

// buffers hold bodies of requests and answers; large ones are left to the collector.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func release(b *bytes.Buffer) {
	if b.Cap() <= 1<<20 {
		b.Reset()
		buffers.Put(b)
	}
}

func (d *Dispatcher) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	x := exchange{http: h}
	x.ID = uuid.NewString()
	x.SourceIP, _, _ = net.SplitHostPort(h.RemoteAddr)
	x.Endpoint, x.Path = endpoint(h), h.URL.Path
	x.TraceHeader = h.Header.Get("X-Amzn-Trace-Id")
	scope := readScope(h)
	x.AccessKey, x.Region, x.Account = scope.key, scope.region, d.account
	if x.Region == "" {
		x.Region = d.region
	}
	if isAccount(scope.key) {
		x.Account = scope.key
	}

	op, err := d.find(&x, h, scope.service)
	if x.service != nil && x.service.Handler != nil {
		d.serveOwn(w, h, &x)
		return
	}
	if err != nil {
		d.refuse(w, &x, err)
		return
	}
	body := buffers.Get().(*bytes.Buffer)
	defer release(body)
	if err := d.read(w, h, &x, body); err != nil {
		d.refuse(w, &x, err)
		return
	}
	if op == nil { // a Query: its operation is in the body
		if op, err = d.findAction(&x); err != nil {
			d.refuse(w, &x, err)
			return
		}
	}
	if !op.Anonymous || signed(h) {
		if err := d.verify(h, x.body); err != nil {
			d.refuse(w, &x, err)
			return
		}
	}
	x.Service, x.Operation, x.Query = x.service.Name, op.Name, x.protocol == query

	ctx := h.Context()
	var after func() error
	if d.before != nil {
		if after, err = d.before(ctx, &x.Request, x.service.Throttled); err != nil {
			d.refuse(w, &x, err)
			return
		}
		x.Duplicate = x.Duplicate && op.Duplicates
	}
	out, err := op.call(ctx, &x)
	if after != nil {
		if e := after(); e != nil {
			err = e
		}
	}
	if err != nil {
		d.refuse(w, &x, err)
		return
	}
	if s, ok := out.(Streamer); ok {
		w.Header().Set("X-Amzn-Requestid", x.ID)
		if err := s.Stream(ctx, w); err != nil && ctx.Err() == nil {
			d.log.Debug("stream has ended", "service", x.Service, "operation", x.Operation, "error", err)
		}
		return
	}
	d.answer(w, &x, out)
}

// serveOwn hands a request to a service that speaks its own protocol.
func (d *Dispatcher) serveOwn(w http.ResponseWriter, h *http.Request, x *exchange) {
	s := x.service
	x.Service, x.Operation = s.Name, s.Handler.OperationOf(h)
	w.Header().Set("X-Amz-Request-Id", x.ID)
	d.log.Debug("request", "service", x.Service, "operation", x.Operation, "region", x.Region, "account", x.Account, "request", x.ID)
	if d.verifier != nil {
		if err := d.verifier.VerifyS3Form(h); err != nil {
			s.Handler.Refuse(w, h, &x.Request, signatureError(err))
			return
		}
	}
	if d.before == nil {
		s.Handler.Serve(w, h, &x.Request)
		return
	}
	after, err := d.before(h.Context(), &x.Request, s.Throttled)
	if o := s.operations[x.Operation]; o == nil || !o.Duplicates {
		x.Duplicate = false
	}
	if err == nil && after != nil {
		hold := &held{header: http.Header{}}
		s.Handler.Serve(hold, h, &x.Request)
		if err = after(); err == nil {
			hold.release(w)
			return
		}
	}
	var e *Error
	switch {
	case err == nil:
		s.Handler.Serve(w, h, &x.Request)
	case errors.As(err, &e):
		s.Handler.Refuse(w, h, &x.Request, e)
	default:
		reset(w)
	}
}

// held keeps an answer until it is known whether it may be sent.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header         { return h.header }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }

func (h *held) release(w http.ResponseWriter) {
	for k, v := range h.header {
		w.Header()[k] = v
	}
	if h.status != 0 {
		w.WriteHeader(h.status)
	}
	w.Write(h.body.Bytes())
}

// find tells which service, and but for a Query which operation, a request is for.
func (d *Dispatcher) find(x *exchange, h *http.Request, signedFor string) (*operation, error) {
	if target := h.Header.Get("X-Amz-Target"); target != "" {
		if op := d.targets[target]; op != nil {
			x.service, x.protocol = op.service, jsonRPC
			return op, nil
		}
		prefix, name, _ := strings.Cut(target, ".")
		x.service = d.byTarget[prefix]
		return nil, unknown(prefix, name)
	}
	s := d.byName[signedFor]
	if s == nil && h.Method == http.MethodPost && h.URL.Path == "/" && strings.HasPrefix(h.Header.Get("Content-Type"), "application/x-amz-json-") {
		return nil, &Error{Code: "MissingAction", Message: "The request must contain the header X-Amz-Target."}
	}
	form := h.Method == http.MethodPost && strings.HasPrefix(h.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if s == nil && signedFor != "" && signedFor != "s3" {
		if form {
			x.protocol = query // so that the client can read the error
		}
		return nil, unknown(signedFor, h.Method+" "+h.URL.Path)
	}
	if s == nil && (form || h.URL.RawQuery != "" && h.URL.Query().Has("Action")) || s != nil && s.QueryVersion != "" {
		x.protocol = query
		x.service = s
		return nil, nil
	}
	if s == nil {
		s = d.rest
	}
	if s == nil {
		return nil, unknown("s3", h.Method+" "+h.URL.Path)
	}
	x.service = s
	if s.Handler != nil {
		return nil, nil
	}
	x.protocol = restJSON
	for i := range s.routes {
		if path, ok := s.routes[i].match(h.Method, h.URL.EscapedPath()); ok {
			x.path, x.route = path, &s.routes[i]
			return s.routes[i].op, nil
		}
	}
	return nil, unknown(s.Name, h.Method+" "+h.URL.Path)
}

// findAction tells which operation a Query is for, once its form is read.
func (d *Dispatcher) findAction(x *exchange) (*operation, error) {
	name, version := x.form.Get("Action"), x.form.Get("Version")
	if x.service == nil && version == "" { // such as the link that confirms a subscription
		if op := d.byAction[name]; op != nil {
			x.service = op.service
			return op, nil
		}
	}
	if x.service == nil {
		if x.service = d.byVersion[version]; x.service == nil {
			return nil, unknown("a query of version "+strconv.Quote(version), name)
		}
	}
	if name == "" {
		return nil, &Error{Code: "MissingAction", Message: "The request must contain the parameter Action, or the header X-Amz-Target."}
	}
	if op := x.service.operations[name]; op != nil {
		return op, nil
	}
	e := unknown(x.service.Name, name)
	e.Code = "InvalidAction"
	return nil, e
}

func unknown(service, operation string) *Error {
	return &Error{Code: "UnknownOperationException", Message: fmt.Sprintf("millrace's local stack does not have the operation %s of %s.", operation, service)}
}

// read takes in the body, and the form of a Query.
func (d *Dispatcher) read(w http.ResponseWriter, h *http.Request, x *exchange, into *bytes.Buffer) error {
	most := int64(16 << 20)
	if x.service != nil {
		most = x.service.MaxBody
	}
	if _, err := into.ReadFrom(http.MaxBytesReader(w, h.Body, most)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &Error{Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
				Message: fmt.Sprintf("The request is larger than %d bytes.", most)}
		}
		if h.Context().Err() == nil { // else the client has gone
			return &Error{Code: "IncompleteBody", Message: "The request's body could not be read: " + err.Error()}
		}
		return fmt.Errorf("reading the request: %w", err)
	}
	x.body = into.Bytes()
	if x.protocol != query {
		return nil
	}
	form, err := url.ParseQuery(string(x.body))
	if err != nil {
		return Errorf("MalformedQueryString", "The query string contains a syntax error: %v", err)
	}
	for k, v := range h.URL.Query() {
		form[k] = append(form[k], v...)
	}
	x.form = form
	return nil
}

func (d *Dispatcher) verify(h *http.Request, body []byte) error {
	if d.verifier == nil {
		return nil
	}
	if _, err := d.verifier.Verify(h, body); err != nil {
		return signatureError(err)
	}
	return nil
}

func signatureError(err error) *Error {
	var e *sigv4.Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: e.Message, Status: e.Status, Members: e.Members}
	}
	return &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
}

// answer sends an output.
func (d *Dispatcher) answer(w http.ResponseWriter, x *exchange, out any) {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	var err error
	header := w.Header()
	switch _, none := out.(*None); {
	case x.protocol == query:
		header["Content-Type"] = []string{"text/xml"}
		err = encodeQuery(b, x, out)
	case none && x.protocol == jsonRPC:
		header["Content-Type"] = []string{"application/x-amz-json-" + x.service.JSONVersion}
	case x.protocol == restJSON:
		header["Content-Type"] = []string{"application/json"}
		err = encodeJSON(b, out)
	default:
		header["Content-Type"] = []string{"application/x-amz-json-" + x.service.JSONVersion}
		err = encodeJSON(b, out)
	}
	if err != nil {
		d.refuse(w, x, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	header["X-Amzn-Requestid"] = []string{x.ID}
	header["Content-Length"] = []string{strconv.Itoa(b.Len())}
	d.trace(x, http.StatusOK, "")
	w.Write(b.Bytes())
}

// trace tells in the log what was asked for and what came of it.
func (d *Dispatcher) trace(x *exchange, status int, refusal string) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug("request", "service", x.Service, "operation", x.Operation, "region", x.Region, "account", x.Account,
			"status", status, "refusal", refusal, "request", x.ID)
	}
}

// refuse sends an error in the form of the request's protocol.
func (d *Dispatcher) refuse(w http.ResponseWriter, x *exchange, err error) {
	if errors.Is(err, ErrReset) {
		reset(w)
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		if ctx := x.http.Context(); ctx.Err() != nil {
			return // the client has gone
		}
		d.log.Error("an operation of the local stack failed", "service", x.Service, "operation", x.Operation, "request", x.ID, "error", err)
		e = &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	header := w.Header()
	header["X-Amzn-Requestid"] = []string{x.ID}
	if x.protocol == query {
		header.Set("Content-Type", "text/xml")
		encodeQueryError(b, x, e)
	} else {
		members := map[string]any{}
		space := ""
		header.Set("Content-Type", "application/x-amz-json-1.1")
		if s := x.service; s != nil {
			space = s.ErrorSpace
			if s.JSONVersion != "" {
				header.Set("Content-Type", "application/x-amz-json-"+s.JSONVersion)
			}
			if s.QueryVersion != "" {
				code, fault := e.QueryCode, "Sender"
				if code == "" {
					code = e.Code
				}
				if e.status() >= http.StatusInternalServerError {
					fault = "Receiver"
				}
				header.Set("X-Amzn-Query-Error", code+";"+fault)
			}
		}
		if x.protocol == restJSON {
			header.Set("Content-Type", "application/json")
			header.Set("X-Amzn-Errortype", e.Code)
		}
		for k, v := range e.Members {
			members[k] = v
		}
		members["__type"] = space + e.Code
		if e.Message != "" {
			members["message"] = e.Message
		}
		if err := encodeJSON(b, members); err != nil {
			d.log.Error("encoding an error of the local stack", "error", err)
		}
	}
	d.trace(x, e.status(), e.Error())
	w.WriteHeader(e.status())
	w.Write(b.Bytes())
}

// reset cuts the connection of a client so that it sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // if it fails the connection is closed in the usual way
	}
	conn.Close()
}

func endpoint(h *http.Request) string {
	if h.TLS != nil {
		return "https://" + h.Host
	}
	return "http://" + h.Host
}

// signed reports whether a request has a signature of any kind.
func signed(h *http.Request) bool {
	return h.Header.Get("Authorization") != "" || strings.Contains(h.URL.RawQuery, "X-Amz-")
}

// scope is what a signature says, unchecked.
type scope struct{ key, region, service string }

// readScope reads the credential scope <key>/<date>/<region>/<service>/aws4_request.
func readScope(h *http.Request) scope {
	text := h.Header.Get("Authorization")
	if i := strings.Index(text, "Credential="); i >= 0 {
		text = text[i+len("Credential="):]
		if j := strings.IndexAny(text, ", "); j >= 0 {
			text = text[:j]
		}
	} else if strings.Contains(h.URL.RawQuery, "X-Amz-Credential=") {
		text = h.URL.Query().Get("X-Amz-Credential")
	} else {
		return scope{}
	}
	parts := strings.Split(text, "/")
	if len(parts) < 5 {
		return scope{}
	}
	n := len(parts)
	return scope{key: strings.Join(parts[:n-4], "/"), region: parts[n-3], service: parts[n-2]}
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

var _ io.Writer = (*held)(nil)
