// Package httpapi is the HTTP front doors of AWS Lambda: function URLs, HTTP APIs, REST APIs and the Lambda
// targets of an Application Load Balancer. A request becomes the document that the door on AWS would make of
// it, and the function's answer the response that it would give.
//
// Two things are net/http's and not AWS's: header names reach a REST API's function in their canonical form
// (Test-Header, however the client spelled it), and a path with an invalid escape is refused with 400.
package httpapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// Specs lists the front doors.
func Specs() []plugin.Spec[sources.Source] {
	return []plugin.Spec[sources.Source]{
		plugin.Define("function-url", "Serves a function as a Lambda function URL does.", FunctionURLDefaults(), openFunctionURL),
		plugin.Define("http-api", "Serves routes as an API Gateway HTTP API does.", HTTPAPIDefaults(), openHTTPAPI),
		plugin.Define("rest-api", "Serves resources as an API Gateway REST API with Lambda proxy integration does.", RESTAPIDefaults(), openRESTAPI),
		plugin.Define("alb", "Serves a function as an Application Load Balancer with a Lambda target does.", ALBDefaults(), openALB),
	}
}

// Invocation types.
const (
	requestResponse = "RequestResponse"
	asEvent         = "Event"
)

// Mount is what the configurations of all front doors have in common.
type Mount struct {
	// Host is the host name that the door answers to, without a port. Empty answers to every name.
	Host string `yaml:"host"`
	// Path is where the door is mounted on the gateway: a path that begins with a slash. The function sees
	// what follows it, since on AWS each door is the root of a host of its own; only an alb hands on the
	// whole path.
	Path string `yaml:"path"`
	// MaximumBody is the largest body in bytes; a larger one is refused with 413. The document, in which a
	// binary body is a third longer, must besides keep Lambda's own limit of 6 MB, or 1 MB for Event.
	MaximumBody plugin.Size `yaml:"maximumBody"`
	// Timeout is how long the door waits for the function before it answers in its place; the function
	// still runs to its end. From 1 ms to 15 minutes; the default is the limit of the door on AWS.
	Timeout time.Duration `yaml:"timeout"`
	// ClientTimeout is how long the door waits for a client to send its whole body, and to take each part
	// of an answer. From 1 ms on.
	ClientTimeout time.Duration `yaml:"clientTimeout"`
	// InvocationType is RequestResponse, which waits for the function's answer, or Event, which answers 202
	// with the request id once the event is durable in the queue.
	InvocationType string `yaml:"invocationType"`
}

func (m *Mount) validate() []error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	if strings.ContainsAny(m.Host, "/:{} ") {
		bad("host", "%q is not a host name; write one without port or path, such as api.example.test", m.Host)
	}
	switch {
	case !strings.HasPrefix(m.Path, "/"):
		bad("path", "%q must begin with a slash", m.Path)
	case strings.ContainsAny(m.Path, "{}%?# ") || strings.Contains(m.Path, "//") || strings.Contains(m.Path+"/", "/./") || strings.Contains(m.Path+"/", "/../"):
		bad("path", "%q is not a plain path; write segments without escapes, braces and dots, such as /shop", m.Path)
	}
	if m.MaximumBody < 0 || m.MaximumBody > math.MaxInt32 {
		bad("maximumBody", "%s is out of range; write a size up to 2047MB", m.MaximumBody)
	}
	if m.Timeout < time.Millisecond || m.Timeout > executor.MaxTimeout {
		bad("timeout", "%s is out of range; write a duration from 1ms to 15m", m.Timeout)
	}
	if m.ClientTimeout < time.Millisecond {
		bad("clientTimeout", "%s is out of range; write a duration of at least 1ms", m.ClientTimeout)
	}
	if m.InvocationType != requestResponse && m.InvocationType != asEvent {
		bad("invocationType", "%q is not known; write RequestResponse or Event", m.InvocationType)
	}
	return errs
}

// prefix is Path without a slash at its end: "" for the root.
func (m *Mount) prefix() string { return strings.TrimSuffix(m.Path, "/") }

// Patterns lists what the door mounts.
func (m *Mount) Patterns() []string {
	if p := m.prefix(); p != "" {
		return []string{m.Host + p, m.Host + p + "/"}
	}
	return []string{m.Host + "/"}
}

// Example is a request to the door's root.
func (m *Mount) Example() string { return m.example("") }

// example is a request to a path below the door's root.
func (m *Mount) example(below string) string {
	url := "'{gateway}" + m.prefix() + below + "'"
	if m.prefix()+below == "" {
		url = "'{gateway}/'"
	}
	if m.Host != "" {
		return "curl -H 'Host: " + m.Host + "' " + url
	}
	return "curl " + url
}

// source mounts the handler of a front door.
type source struct {
	patterns []string
	handler  func(sources.Hub) (http.Handler, error)
	run      func(context.Context, sources.Hub) // beside the handler until ctx is done; may be nil
}

func (s *source) Run(ctx context.Context, hub sources.Hub) error {
	handler, err := s.handler(hub)
	if err != nil {
		return err
	}
	for _, p := range s.patterns {
		unmount, err := hub.Mount(p, handler)
		if err != nil {
			return err
		}
		defer unmount()
	}
	if s.run != nil {
		s.run(ctx, hub)
	}
	<-ctx.Done()
	return nil
}

// defaults of the settings that do not differ from door to door.
func mountDefaults(body plugin.Size, timeout time.Duration) Mount {
	return Mount{Path: "/", MaximumBody: body, Timeout: timeout, ClientTimeout: 30 * time.Second, InvocationType: requestResponse}
}

// partition is the AWS partition of a region, as it stands in ARNs.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// identifier makes an id of n lower-case letters and digits that is the same for the same text: what AWS
// would have drawn at random when the door was made.
func identifier(text string, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	id := make([]byte, 0, n)
	h := uint64(14695981039346656037) // FNV-1a
	for len(id) < n {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
		id = append(id, letters[h>>32%uint64(len(letters))])
	}
	return string(id)
}

// arnOf is the ARN of a stage, up to the method.
func arnOf(d plugin.Deps, apiID, stage string) string {
	return fmt.Sprintf("arn:%s:execute-api:%s:%s:%s/%s/", partition(d.Region), d.Region, d.Account, apiID, stage)
}
