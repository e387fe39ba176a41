// Package http posts the record of an invocation to an HTTP endpoint.
//
// What comes back decides what happens to the record:
//
//	2xx                          delivered
//	401, 403, 404, 407, 408,     another try: the endpoint may be mended, and the record is not at fault
//	425, 429, 5xx, no answer
//	3xx, other 4xx               given up: the same record would get the same answer
package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

// Config is a destination that is an HTTP endpoint.
type Config struct {
	// URL is where each record is posted as application/json: an absolute http:// or https:// address without
	// user name and fragment. Redirects are not followed.
	URL string `yaml:"url"`

	// Headers are added to every request, for example Authorization. Headers that describe the message can
	// not be set.
	Headers map[string]plugin.Secret `yaml:"headers"`

	// Timeout is how long one try may take, from 100ms to 1m.
	Timeout time.Duration `yaml:"timeout"`

	// Signing proves to the endpoint that a record comes from this hub.
	Signing sign.Config `yaml:"signing"`

	// TLS says whom to trust and who the hub is on https.
	TLS plugin.TLS `yaml:"tls"`
}

// Defaults is the configuration of a destination that sets only its url.
func Defaults() Config { return Config{Timeout: 10 * time.Second} }

// Validate checks what can be checked without the endpoint.
func (c *Config) Validate() error {
	errs := plugin.CheckEndpoint(c.URL, c.TLS, "write where the records go, such as https://example.com/failures")
	errs = append(errs, plugin.CheckHeaders(c.Headers, reserved)...)
	errs = append(errs, c.Signing.Validate("signing"))
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		errs = append(errs, plugin.Invalid("timeout", "%s is outside 100ms to 1m", c.Timeout))
	}
	return errors.Join(errs...)
}

// reserved says that the hub itself sets a header, or the connection does.
func reserved(name string) bool {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "webhook-") {
		return true
	}
	switch name {
	case "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect",
		"idempotency-key", "traceparent", "x-amzn-trace-id":
		return true
	}
	return false
}

// Spec is the kind "http".
func Spec() plugin.Spec[destinations.Destination] {
	return plugin.Define("http", "Posts the record to an HTTP endpoint.", Defaults(), open)
}

type destination struct {
	config    Config
	clock     clock.Clock
	header    http.Header // what every request has
	host      string
	transport *http.Transport
	gate      executor.Gate
}

func open(_ context.Context, c Config, d plugin.Deps) (destinations.Destination, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	trust, err := c.TLS.Load(d.Dir)
	if err != nil {
		return nil, err
	}
	s := &destination{
		config: c, clock: d.Clock,
		header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"millrace"}},
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     trust,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     90 * time.Second,
		},
	}
	for name, value := range c.Headers {
		if strings.EqualFold(name, "Host") {
			s.host = string(value)
			continue
		}
		s.header.Set(name, string(value))
	}
	return s, nil
}

func (d *destination) Send(ctx context.Context, rec destinations.Record) error {
	ctx, cancel := clock.WithTimeout(ctx, d.clock, d.config.Timeout)
	defer cancel()
	id, ok := d.gate.Enter(cancel)
	if !ok {
		return errors.New("the destination has been closed")
	}
	defer d.gate.Leave(id)

	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.config.URL, bytes.NewReader(rec.Body))
	if err != nil {
		return fmt.Errorf("posting the record: %w (%w)", err, destinations.ErrPermanent)
	}
	r.Host = d.host
	for name, values := range d.header {
		r.Header[name] = values
	}
	for name, value := range map[string]string{
		// With this key the transport may send again, by itself, what it sent on an idle connection that
		// the server was just closing.
		"Idempotency-Key": rec.ID,
		"X-Amzn-Trace-Id": rec.TraceID,
		"Traceparent":     rec.TraceParent,
	} {
		if value != "" && httpguts.ValidHeaderFieldValue(value) {
			r.Header.Set(name, value)
		}
	}
	if secrets := d.config.Signing.Secrets; len(secrets) > 0 {
		sign.Headers(r.Header, secrets, rec.ID, d.clock.Now(), rec.Body)
	}
	resp, err := d.transport.RoundTrip(r) // a client would follow redirects
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("posting the record: %w", err)
	}
	defer resp.Body.Close()
	start, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil // whatever becomes of the body: the endpoint has taken the record
	}
	text := excerpt(start)
	if location := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && location != "" {
		text = ", a redirect to " + location + "; redirects are not followed, set url to it"
	}
	if err != nil && text == "" {
		text = ": " + err.Error()
	}
	failure := fmt.Errorf("the endpoint answered %d %s%s", resp.StatusCode, http.StatusText(resp.StatusCode), text)
	if final(resp.StatusCode) {
		return fmt.Errorf("%w (%w)", failure, destinations.ErrPermanent)
	}
	return failure
}

// final says that the endpoint would answer the same record with the same status.
func final(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < 500
}

func excerpt(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), 300)]), "")), " ")
	if text == "" {
		return ""
	}
	return ": " + text
}

// Close waits for the records under way.
func (d *destination) Close(ctx context.Context) error {
	d.gate.Close(ctx)
	d.transport.CloseIdleConnections()
	return nil
}
