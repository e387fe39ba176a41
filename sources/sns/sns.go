// Package sns takes the messages of Amazon SNS topics, and of services that deliver as SNS does, over HTTP(S).
package sns

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// Config is what the file may say under "with".
type Config struct {
	// Listen is the path on the gateway, such as /sns/orders or example.test/sns, that is subscribed to the
	// topic as an endpoint of protocol http or https. A message is answered with 200 once it is durable, and
	// with 503, on which SNS tries again, until then.
	Listen string `yaml:"listen"`

	// TopicARNs are the topics to take messages of; a star stands for any text, as in
	// arn:aws:sns:eu-central-1:123456789012:orders-*. Everybody may subscribe the endpoint to a topic of their
	// own, so that messages of other topics are refused with 403 even if SNS has signed them.
	TopicARNs []string `yaml:"topicArns"`

	// Verify checks the signature of each message (versions 1 and 2) and the chain of the certificate that it
	// was made with. Turn it off only for a service on a private network that does not sign.
	Verify bool `yaml:"verify"`

	// Confirm answers a request to confirm the subscription to one of the topics. If it is off, the URL to visit
	// is logged.
	Confirm bool `yaml:"confirm"`

	// MaximumAge is how long ago a message may have been published, from 1m to 336h; an older one is refused,
	// so that nobody can repeat it later. SNS itself tries for at most an hour.
	MaximumAge time.Duration `yaml:"maximumAge"`

	// Endpoint is the URL of a service that stands in for SNS, such as http://127.0.0.1:4566. Certificates
	// and confirmations are then fetched from it as well as from Amazon's hosts, which is otherwise all.
	Endpoint string `yaml:"endpoint"`

	// CertificateAuthority is a PEM file with the authorities of the endpoint's certificates, if they are not
	// those of the system.
	CertificateAuthority string `yaml:"certificateAuthority"`
}

// Defaults is the configuration of an empty section.
func Defaults() Config {
	return Config{Verify: true, Confirm: true, MaximumAge: 2 * time.Hour}
}

// Validate reports every bad value.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	if !sources.IsPattern(c.Listen) {
		bad("listen", "%q is not a path; write one such as /sns/orders", c.Listen)
	}
	if len(c.TopicARNs) == 0 {
		bad("topicArns", "name the topics to take messages of, such as arn:aws:sns:eu-central-1:123456789012:orders")
	}
	for i, p := range c.TopicARNs {
		if _, err := path.Match(p, ""); err != nil || len(strings.SplitN(p, ":", 6)) != 6 || !strings.HasPrefix(p, "arn:") {
			bad(fmt.Sprintf("topicArns[%d]", i), "%q is not the ARN of a topic; write one such as arn:aws:sns:eu-central-1:123456789012:orders", p)
		}
	}
	if c.MaximumAge < time.Minute || c.MaximumAge > 14*24*time.Hour {
		bad("maximumAge", "%v is not from 1m to 336h", c.MaximumAge)
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			bad("endpoint", "%q is not the URL of a service; write one such as http://127.0.0.1:4566", c.Endpoint)
		}
	} else if c.CertificateAuthority != "" {
		bad("certificateAuthority", "it belongs to endpoint; set that too")
	}
	return errors.Join(errs...)
}

// Patterns lists what the source mounts.
func (c *Config) Patterns() []string { return []string{c.Listen} }

// wants reports whether a topic is one of those configured.
func (c *Config) wants(topicARN string) bool {
	for _, p := range c.TopicARNs {
		if ok, _ := path.Match(p, topicARN); ok {
			return true
		}
	}
	return false
}

// Spec is the kind "sns".
func Spec() plugin.Spec[sources.Source] {
	return plugin.Define("sns", "Takes the messages of SNS topics that the gateway is subscribed to by HTTP(S).", Defaults(), open)
}

func open(_ context.Context, c Config, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var roots *x509.CertPool // the system's
	if c.CertificateAuthority != "" {
		file := filepath.FromSlash(c.CertificateAuthority)
		if !filepath.IsAbs(file) {
			file = filepath.Join(d.Dir, file)
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, plugin.Invalid("certificateAuthority", "%v", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, plugin.Invalid("certificateAuthority", "%s has no certificate in PEM form", file)
		}
	}
	unheeded := plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_sns_unheeded_total",
		Help: "Posts that became no event of a trigger: invalid, of another topic, not signed by SNS, raw, too old, or a confirmation that failed.",
	}, []string{"trigger", "reason"})).MustCurryWith(prometheus.Labels{"trigger": d.Name})
	return &endpoint{config: c, deps: d, unheeded: unheeded, aws: newAWS(c.Endpoint, roots, d.Clock)}, nil
}
