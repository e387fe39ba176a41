// Package awsapi sets up clients of AWS, or of whatever speaks like AWS, the same way for every kind that
// needs one.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/logging"

	"github.com/millrace/millrace/internal/plugin"
)

// Config says where AWS is and who we are there. Empty, it is what the AWS command line would use: the
// variables AWS_…, the files in ~/.aws, and the role of the machine or container.
type Config struct {
	// Region is the AWS region of the service, such as eu-central-1. Empty is the region of the profile or of
	// AWS_REGION, and failing that the hub's own.
	Region string `yaml:"region"`

	// Endpoint is the address of the service, such as http://localhost:4566, in place of AWS's own.
	Endpoint string `yaml:"endpoint"`

	// Profile is a profile of ~/.aws/config, which may assume a role; empty is AWS_PROFILE or default.
	Profile string `yaml:"profile"`

	// AccessKeyID is the id of a fixed access key, in place of the usual search for credentials.
	AccessKeyID string `yaml:"accessKeyId"`

	// SecretAccessKey is the secret of accessKeyId.
	SecretAccessKey plugin.Secret `yaml:"secretAccessKey"`

	// SessionToken goes with a temporary access key.
	SessionToken plugin.Secret `yaml:"sessionToken"`
}

// Validate checks the settings together. path is the field of the configuration that holds c, or "" if it is
// the configuration.
func (c *Config) Validate(path string) error {
	at := func(field string) string {
		if path == "" {
			return field
		}
		return path + "." + field
	}
	var errs []error
	if (c.AccessKeyID == "") != (c.SecretAccessKey == "") {
		errs = append(errs, plugin.Invalid(at("accessKeyId"), "goes together with secretAccessKey; set both or neither"))
	}
	if c.SessionToken != "" && c.AccessKeyID == "" {
		errs = append(errs, plugin.Invalid(at("sessionToken"), "belongs to an access key; set accessKeyId and secretAccessKey"))
	}
	if c.Profile != "" && c.AccessKeyID != "" {
		errs = append(errs, plugin.Invalid(at("profile"), "and accessKeyId name two sources of credentials; remove one of them"))
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			errs = append(errs, plugin.Invalid(at("endpoint"), "%q is not an address such as http://localhost:4566", c.Endpoint))
		}
	}
	return errors.Join(errs...)
}

// Load reads the environment and the files of AWS; it does not connect. region is used if nothing else names
// one. Clients made from the result try each call once, because the hub has its own ways of trying again, and
// share connections that Close closes.
func (c *Config) Load(ctx context.Context, region string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(tune)),
		config.WithLogger(logging.Nop{}), // it would write to stderr, and only what errors tell already
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.Endpoint != "" {
		options = append(options, config.WithBaseEndpoint(c.Endpoint))
	}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKeyID, string(c.SecretAccessKey), string(c.SessionToken))))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("reading the AWS settings of this machine: %w", err)
	}
	if loaded.Region == "" {
		loaded.Region = region
	}
	if b, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok { // it trusts AWS_CA_BUNDLE by now
		loaded.HTTPClient = &http.Client{
			Transport:     b.GetTransport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return loaded, nil
}

// Close closes the idle connections of the clients made from a configuration that Load returned.
func Close(c aws.Config) {
	if client, ok := c.HTTPClient.(*http.Client); ok {
		client.CloseIdleConnections()
	}
}

// tune keeps as many connections open as one client uses at once.
func tune(t *http.Transport) {
	t.MaxIdleConns = 0 // no limit over all hosts
	t.MaxIdleConnsPerHost = 512
}
