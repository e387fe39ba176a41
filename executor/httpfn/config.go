package httpfn

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

// Config is a function behind an HTTP endpoint.
type Config struct {
	// URL is where each document is sent: an absolute http:// or https:// address without user name and
	// fragment. Redirects are not followed.
	URL string `yaml:"url"`

	// Socket is the path of a Unix socket to connect to in place of the host and port of url, which then
	// only make the Host header. Relative paths start at the folder of the file.
	Socket string `yaml:"socket"`

	// Method is the method of the request: POST, PUT or PATCH.
	Method string `yaml:"method"`

	// Headers are added to every request, for example Authorization. Headers that describe the message or the
	// invocation can not be set.
	Headers map[string]plugin.Secret `yaml:"headers"`

	// Timeout is how long one request may take, from 1s to 15m; then the invocation has failed with
	// Sandbox.Timedout.
	Timeout time.Duration `yaml:"timeout"`

	// CloudEvents adds the headers of CloudEvents 1.0 in binary mode: ce-specversion, ce-id (the request id),
	// ce-source (the function's ARN), ce-type (millrace.invocation) and ce-time.
	CloudEvents bool `yaml:"cloudEvents"`

	// Signing proves to the endpoint that a request comes from this hub.
	Signing sign.Config `yaml:"signing"`

	// TLS says whom to trust and who we are on https.
	TLS plugin.TLS `yaml:"tls"`

	// Concurrency limits how many invocations run at once.
	Concurrency Concurrency `yaml:"concurrency"`
}

// Concurrency is a share of the account's concurrency.
type Concurrency struct {
	// Reserved is how many invocations may run at once, set aside from the account's concurrency; 0 refuses
	// all and -1 shares what is left with the other functions.
	Reserved int `yaml:"reserved"`
}

// Defaults is the configuration of a function that sets only its url.
func Defaults() Config {
	return Config{
		Method:      http.MethodPost,
		Timeout:     3 * time.Second,
		Concurrency: Concurrency{Reserved: executor.Unreserved},
	}
}

// Settings are those that every runtime has.
func (c *Config) Settings() executor.Settings {
	return executor.Settings{Timeout: c.Timeout, Reserved: c.Concurrency.Reserved}
}

// Validate checks what can be checked without the endpoint.
func (c *Config) Validate() error {
	errs := plugin.CheckEndpoint(c.URL, c.TLS, "write where the documents go, such as http://localhost:8080/events")
	errs = append(errs, plugin.CheckHeaders(c.Headers, reserved)...)
	errs = append(errs, c.Signing.Validate("signing"))
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }

	if !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, c.Method) {
		bad("method", "%q is not POST, PUT or PATCH", c.Method)
	}
	if c.Timeout < time.Second || c.Timeout > executor.MaxTimeout {
		bad("timeout", "%s is outside 1s to %s", c.Timeout, executor.MaxTimeout)
	}
	if c.Concurrency.Reserved < executor.Unreserved {
		bad("concurrency.reserved", "%d is not a number of invocations; -1 is no reservation", c.Concurrency.Reserved)
	}
	return errors.Join(errs...)
}

// reserved reports whether the hub itself sets a header, or the connection does.
func reserved(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"lambda-runtime-", "webhook-", "ce-", "millrace-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
		"idempotency-key", "traceparent", "x-amzn-trace-id", "x-amz-client-context":
		return true
	}
	return false
}
