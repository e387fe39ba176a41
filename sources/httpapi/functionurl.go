package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/sources"
)

// FunctionURL configures a Lambda function URL.
type FunctionURL struct {
	Mount `yaml:",inline"`
	// URLID is the id of the URL, as in apiId and the first label of the host name on AWS. Empty derives
	// one from the trigger's name.
	URLID string `yaml:"urlId"`
	// AuthType is NONE, or AWS_IAM to demand a valid Signature Version 4 of one of keys.
	AuthType string `yaml:"authType"`
	// Keys are the access key ids that may sign requests, each with its secret access key. Needed with
	// AWS_IAM, where any of them may invoke the function.
	Keys map[string]plugin.Secret `yaml:"keys"`
	// InvokeMode is BUFFERED, or RESPONSE_STREAM to pass a streamed answer on as it comes, with status and
	// headers from its prelude. A function that does not stream is answered for as in BUFFERED.
	InvokeMode string `yaml:"invokeMode"`
	// CORS is the cross-origin configuration; without origins it is left to the function.
	CORS CORS `yaml:"cors"`
}

// FunctionURLDefaults is the configuration of a function URL whose section is empty.
func FunctionURLDefaults() FunctionURL {
	return FunctionURL{Mount: mountDefaults(6*plugin.MB, 15*time.Minute), AuthType: "NONE", InvokeMode: "BUFFERED"}
}

// Validate reports every setting that can not be kept.
func (c *FunctionURL) Validate() error {
	errs := c.validate()
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	switch c.AuthType {
	case "NONE":
		if len(c.Keys) > 0 {
			bad("keys", "keys have no effect with authType NONE; write authType: AWS_IAM")
		}
	case "AWS_IAM":
		if len(c.Keys) == 0 {
			bad("keys", "authType AWS_IAM needs at least one key that may sign requests")
		}
	default:
		bad("authType", "%q is not known; write NONE or AWS_IAM", c.AuthType)
	}
	for id, secret := range c.Keys {
		if id == "" || secret == "" {
			bad("keys", "the key %q needs an id and a secret", id)
		}
	}
	switch c.InvokeMode {
	case "BUFFERED":
	case "RESPONSE_STREAM":
		if c.InvocationType == asEvent {
			bad("invokeMode", "RESPONSE_STREAM has no effect with invocationType Event, which does not wait for an answer")
		}
	default:
		bad("invokeMode", "%q is not known; write BUFFERED or RESPONSE_STREAM", c.InvokeMode)
	}
	c.CORS.validate(bad)
	return errors.Join(errs...)
}

type functionURL struct {
	*door
	id       string
	stream   bool
	cors     *cors
	verifier *sigv4.Verifier // nil lets everybody in
}

func openFunctionURL(_ context.Context, c FunctionURL, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &source{patterns: c.Patterns(), handler: func(hub sources.Hub) (http.Handler, error) {
		u := &functionURL{id: c.URLID, stream: c.InvokeMode == "RESPONSE_STREAM", cors: newCORS(c.CORS, http.StatusOK)}
		if u.id == "" {
			u.id = identifier(d.Name, 32)
		}
		if c.AuthType == "AWS_IAM" {
			u.verifier = &sigv4.Verifier{Keys: map[string]string{}, Clock: d.Clock, Skew: sigv4.DefaultSkew}
			for id, secret := range c.Keys {
				u.verifier.Keys[id] = string(secret)
			}
		}
		u.door = newDoor(d, c.Mount, hub, event.AnswerFunctionURL, u)
		return u, nil
	}}, nil
}

func (u *functionURL) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := u.begin(w, r)
	defer u.end(x)
	x.cors = u.cors
	if !x.admit() || x.answerPreflight() || !x.read() {
		return
	}
	x.req.AccountID = "anonymous"
	if u.verifier != nil {
		key, err := u.verifier.Verify(r, x.body)
		if err != nil {
			u.deny(x, err)
			return
		}
		x.req.AccountID = u.Account
		x.req.Authorizer = u.iam(key)
	}
	x.req.APIID = u.id
	x.req.Stage, x.req.RouteKey = "$default", defaultRoute
	x.req.Path = unescapePath(x.path)
	x.req.Base64 = !x.textBody()
	x.doc = event.AppendFunctionURL(x.doc[:0], &x.req)
	x.invoke()
}

// iam is requestContext.authorizer of a signed request. The hub knows keys and no users: the key stands for
// its user.
func (u *functionURL) iam(key string) []byte {
	b := []byte(`{"iam":{"accessKey":`)
	b = event.AppendString(b, key)
	b = append(b, `,"accountId":`...)
	b = event.AppendString(b, u.Account)
	b = append(b, `,"callerId":`...)
	b = event.AppendString(b, key)
	b = append(b, `,"cognitoIdentity":null,"principalOrgId":null,"userArn":`...)
	b = event.AppendString(b, "arn:"+partition(u.Region)+":iam::"+u.Account+":user/"+key)
	b = append(b, `,"userId":`...)
	b = event.AppendString(b, key)
	return append(b, `}}`...)
}

func (u *functionURL) deny(x *exchange, err error) {
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code == "MissingAuthenticationTokenException" {
		x.fail(forbidden)
		return
	}
	if x.claim() {
		defer x.mu.Unlock()
		x.set("x-amzn-ErrorType", e.Code)
		x.respond(e.Status, "application/json", message(e.Message))
	}
}

func (u *functionURL) decorate(x *exchange, _ http.Header) {
	x.set("x-amzn-RequestId", x.id)
	x.set("X-Amzn-Trace-Id", x.traceID)
}

func (u *functionURL) fail(x *exchange, f fault) {
	var status int
	var kind, text string
	switch f {
	case badRequest:
		status, kind, text = 400, "InvalidRequestContentException", "Bad Request"
	case bodyTimeout:
		status, kind, text = 408, "RequestTimeoutException", "Request Timeout"
	case tooLarge:
		status, kind, text = 413, "RequestEntityTooLargeException", "Request Entity Too Large"
	case headersTooLarge:
		status, kind, text = 431, "RequestHeaderFieldsTooLargeException", "Request Header Fields Too Large"
	case upgradeRefused:
		status, kind, text = 501, "NotImplementedException", "Not Implemented"
	case unauthorized, forbidden, explicitlyForbidden, noRoute:
		status, kind, text = 403, "AccessDeniedException", "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
	case throttled:
		status, kind, text = 429, "TooManyRequestsException", "Too Many Requests"
	case unavailable:
		status, kind, text = 503, "ServiceUnavailableException", "Service Unavailable"
	case timedOut:
		status, kind, text = 504, "GatewayTimeoutException", "Gateway Timeout"
	default: // the function's own failures, in plain text
		x.respond(502, "text/plain; charset=utf-8", "Internal Server Error")
		return
	}
	x.set("x-amzn-ErrorType", kind)
	x.respond(status, "application/json", `{"Message":"`+text+`"}`)
}
