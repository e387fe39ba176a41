// Package wire speaks the protocols of AWS clients for the services of the local stack: JSON 1.0 and 1.1, Query,
// and REST-JSON, each as the AWS SDKs send and read them (https://smithy.io/2.0/aws/protocols/index.html). It tells
// services and operations apart, decodes an operation's input into a plain struct, and encodes its output or error.
//
// A service describes itself as a Service; its operations are functions of a struct to a struct. The members'
// names come from the json tags. The Query protocol uses the same names, unless a query tag says otherwise:
//
//	QueueUrl       string            `json:"QueueUrl"`
//	AttributeNames []string          `json:"AttributeNames" query:"AttributeName,flat"` // AttributeName.1=…
//	Attributes     map[string]string `json:"Attributes" query:"Attribute,flat,Name,Value"` // Attribute.1.Name=…
//
// Without "flat", lists are Name.member.N and maps Name.entry.N.key and .value, as SNS has them; two names after
// "flat" or "entry" replace key and value. The XML of the answers is formed by the same rules.
package wire

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Service is what the dispatcher needs to know of a service.
type Service struct {
	// Name is the service's name in signatures and ARNs: "sqs".
	Name string
	// Target is what precedes the operation in X-Amz-Target: "AmazonSQS". Empty if the service has no JSON protocol.
	Target string
	// JSONVersion is "1.0" or "1.1".
	JSONVersion string
	// ErrorSpace precedes an error's code in the JSON protocols' __type, as in "com.amazonaws.sqs#". May be empty.
	ErrorSpace string
	// QueryVersion and QueryNamespace are the Version parameter and the XML namespace of the Query protocol.
	// Empty if the service does not speak it.
	QueryVersion, QueryNamespace string
	// QueryDetail tells that errors of the Query protocol have an empty Detail element, as those of SQS.
	QueryDetail bool

	// Operations are all that the service has. Others are refused as unknown.
	Operations []Operation

	// Throttled is the error that the service answers when it is told to throttle by fault injection.
	Throttled Error
	// MaxBody is the largest request in bytes; 0 is 16 MiB.
	MaxBody int64

	// Handler serves a service whose protocol is its own (S3). Operations then only names what Name can return, for
	// fault injection.
	Handler HTTPService
}

// HTTPService is a service that reads requests and writes answers itself.
type HTTPService interface {
	// OperationOf names the operation that a request asks for, such as "PutObject"; "" if none.
	OperationOf(r *http.Request) string
	// Serve answers a request.
	Serve(w http.ResponseWriter, h *http.Request, r *Request)
	// Refuse answers a request with an error in the service's own form.
	Refuse(w http.ResponseWriter, h *http.Request, r *Request, err *Error)
}

// Request is what an operation is told besides its input.
type Request struct {
	Service, Operation string
	// ID is the request id that the answer carries.
	ID string
	// Region and Account are where the client thinks that it is: the region of its signature, and its access key id
	// if that is a 12-digit account. An unsigned request has the stack's defaults.
	Region, Account string
	// AccessKey is the access key id of the signature, "" without one.
	AccessKey string
	// Endpoint is how the client reached the stack, "http://127.0.0.1:4566": the beginning of URLs to hand out.
	Endpoint string
	// Path is that of the request's URL. Clients of queues may post to a queue's URL instead of naming it.
	Path string
	// SourceIP is the client's address, without the port.
	SourceIP string
	// TraceHeader is X-Ray's, X-Amzn-Trace-Id.
	TraceHeader string
	// Query tells that the request came by the Query protocol.
	Query bool
	// Duplicate asks the operation to deliver twice what it delivers: a fault that a test has ordered. Only an
	// operation that is marked with Duplicates sees it set.
	Duplicate bool
}

// ARN names a resource of the request's account and region.
func (r *Request) ARN(service, resource string) string {
	return "arn:aws:" + service + ":" + r.Region + ":" + r.Account + ":" + resource
}

// Operation is one operation of a service.
type Operation struct {
	Name string
	// Route is the method and path of the REST-JSON protocol, "POST /schedules/{Name}". Members of the input that
	// have a `path:"Name"` or `uri:"groupName"` tag come from the path or the query string.
	Route string
	// Duplicates tells that the operation honours Request.Duplicate.
	Duplicates bool
	// Anonymous tells that the operation may be called without a signature even if signatures are checked.
	Anonymous bool

	call func(ctx context.Context, x *exchange) (any, error)
}

// Op makes an operation of a handler. The handler owns in; its strings do not share memory with the request. It
// may return an output that is a Streamer. An error that is not an *Error answers as an internal failure.
func Op[In, Out any](name string, handle func(ctx context.Context, r *Request, in *In) (*Out, error)) Operation {
	return Operation{Name: name, call: func(ctx context.Context, x *exchange) (any, error) {
		in := new(In)
		if err := x.decode(in); err != nil {
			return nil, err
		}
		out, err := handle(ctx, &x.Request, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}}
}

// At gives an operation its REST-JSON route.
func (o Operation) At(route string) Operation {
	o.Route = route
	return o
}

// Twice marks an operation that honours Request.Duplicate.
func (o Operation) Twice() Operation {
	o.Duplicates = true
	return o
}

// Unsigned marks an operation that may be called without a signature even if signatures are checked: what a link
// in a message leads to. Then Request.AccessKey is empty.
func (o Operation) Unsigned() Operation {
	o.Anonymous = true
	return o
}

// None is the output of an operation that returns nothing: no body at all in the JSON protocols, no result element
// in Query. (An operation whose result exists but is empty, as TagResource's of SNS, has an output of its own.)
type None struct{}

// Streamer is an output that writes itself for as long as it likes. The headers are its own, but for the request id.
type Streamer interface {
	Stream(ctx context.Context, w http.ResponseWriter) error
}

// JSONWriter is an output that writes its own JSON, for answers that are long: what it writes is not looked at again.
type JSONWriter interface {
	WriteJSON(b *bytes.Buffer)
}

// Time is a timestamp: seconds since 1970 with milliseconds as a number in JSON, ISO 8601 in XML.
type Time struct{ time.Time }

// MarshalJSONTo writes the number of seconds.
func (t Time) MarshalJSONTo(e *jsontext.Encoder) error {
	return e.WriteValue(appendSeconds(nil, t.Time))
}

// UnmarshalJSONFrom reads a number of seconds.
func (t *Time) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == 'n' { // some clients send null for what is not there
		*t = Time{}
		return nil
	}
	t.Time, err = parseSeconds(v)
	return err
}
