package nats

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	client "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/internal/plugin"
)

// Config is the section of a NATS source.
type Config struct {
	// URLs are the servers of one cluster, each nats://, tls://, ws:// or wss:// with a host and, if it is not
	// 4222, a port. Further servers that these tell of are used too.
	URLs []string `yaml:"urls"`

	// Subjects are what to subscribe to. * stands for one token and a final > for one or more. No two may
	// overlap, for a message of both would run the function twice.
	Subjects []string `yaml:"subjects"`

	// QueueGroup is a name shared by subscribers of which NATS picks one for each message: give the same to
	// several hubs to share the load. If empty, this hub receives every message.
	QueueGroup string `yaml:"queueGroup"`

	// AnswerRequests makes a message that has a reply subject wait for the function, whose answer is published
	// there. If false, it is queued like any other and not answered: right for subjects that a JetStream stream
	// stores as well, since the stream answers the publishers of those.
	AnswerRequests bool `yaml:"answerRequests"`

	// MaximumConcurrency is how many messages the hub works on at once, from 1 to 10000. With 1, messages of one
	// publisher are queued in their order.
	MaximumConcurrency int `yaml:"maximumConcurrency"`

	// PendingMessages is how many messages may wait for their turn, from 1 to 1000000. Core NATS has no way to
	// slow a publisher down: what comes above the limit is dropped, and counted.
	PendingMessages int `yaml:"pendingMessages"`

	// PendingBytes is how many bytes those may have together, from 1MB.
	PendingBytes plugin.Size `yaml:"pendingBytes"`

	// Token authenticates the hub.
	Token plugin.Secret `yaml:"token"`

	// Username authenticates the hub, together with password.
	Username string `yaml:"username"`

	// Password belongs to username.
	Password plugin.Secret `yaml:"password"`

	// Credentials is a .creds file: the user's JWT and the seed of its key.
	Credentials string `yaml:"credentials"`

	// NKey is a file with the seed of the user's key.
	NKey string `yaml:"nkey"`

	// TLS says whom to trust and who we are on tls:// and wss://, or if the server asks for TLS.
	TLS plugin.TLS `yaml:"tls"`
}

// Defaults is the configuration of an empty section.
func Defaults() Config {
	return Config{
		URLs:               []string{client.DefaultURL},
		AnswerRequests:     true,
		MaximumConcurrency: 64,
		PendingMessages:    4096,
		PendingBytes:       64 * plugin.MB,
	}
}

// Validate reports every bad setting.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, plugin.Invalid(path, format, args...))
	}
	if len(c.URLs) == 0 {
		bad("urls", "there is none; write one such as nats://127.0.0.1:4222")
	}
	for i, text := range c.URLs {
		path := fmt.Sprintf("urls[%d]", i)
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			bad(path, "this is not a URL of a NATS server, such as nats://127.0.0.1:4222")
		case u.User != nil:
			bad(path, "a URL is shown in logs; move the user to username and password, or to token")
		}
	}
	if len(c.Subjects) == 0 {
		bad("subjects", "there is none; write one such as orders.>")
	}
	for i, subject := range c.Subjects {
		path := fmt.Sprintf("subjects[%d]", i)
		if !validSubject(subject) {
			bad(path, "%q is not a subject: tokens without blanks are joined by dots, * is a whole token and > the last one", subject)
			continue
		}
		for _, other := range c.Subjects[:i] {
			if validSubject(other) && overlap(subject, other) {
				bad(path, "%q overlaps %q: a message of both would run the function twice", subject, other)
			}
		}
	}
	if strings.ContainsAny(c.QueueGroup, " \t\r\n") {
		bad("queueGroup", "%q has a blank", c.QueueGroup)
	}
	if c.MaximumConcurrency < 1 || c.MaximumConcurrency > 10000 {
		bad("maximumConcurrency", "%d is not between 1 and 10000", c.MaximumConcurrency)
	}
	if c.PendingMessages < 1 || c.PendingMessages > 1e6 {
		bad("pendingMessages", "%d is not between 1 and 1000000", c.PendingMessages)
	}
	if c.PendingBytes < plugin.MB {
		bad("pendingBytes", "%s is less than 1MB, which one message may have", c.PendingBytes)
	}
	if (c.Username == "") != (c.Password == "") {
		bad("username", "username and password go together; set both")
	}
	var ways []string
	for _, way := range []struct {
		name string
		set  bool
	}{{"token", c.Token != ""}, {"username", c.Username != ""}, {"credentials", c.Credentials != ""}, {"nkey", c.NKey != ""}} {
		if way.set {
			ways = append(ways, way.name)
		}
	}
	if len(ways) > 1 {
		bad(ways[1], "%s are different ways to authenticate; keep one", strings.Join(ways, " and "))
	}
	errs = append(errs, c.TLS.Validate("tls"))
	return errors.Join(errs...)
}

func validSubject(subject string) bool {
	if strings.ContainsAny(subject, " \t\r\n\x00") {
		return false
	}
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "", token == ">" && i != len(tokens)-1, len(token) > 1 && strings.ContainsAny(token, "*>"):
			return false
		}
	}
	return true
}

// overlap reports whether a subject can match both patterns.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
	return len(as) == len(bs)
}

// options are those that the configuration decides. It reads the files that it names, relative to dir.
func (c *Config) options(dir string) ([]client.Option, error) {
	var opts []client.Option
	switch {
	case c.Token != "":
		opts = append(opts, client.Token(string(c.Token)))
	case c.Username != "":
		opts = append(opts, client.UserInfo(c.Username, string(c.Password)))
	case c.Credentials != "":
		file := plugin.Resolve(dir, c.Credentials)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("reading credentials: %w", err)
		}
		opts = append(opts, client.UserCredentials(file)) // read again for each connection
	case c.NKey != "":
		key, err := client.NkeyOptionFromSeed(plugin.Resolve(dir, c.NKey))
		if err != nil {
			return nil, fmt.Errorf("reading nkey: %w", err)
		}
		opts = append(opts, key)
	}
	secure := slices.ContainsFunc(c.URLs, func(u string) bool {
		return strings.HasPrefix(u, "tls://") || strings.HasPrefix(u, "wss://")
	})
	if secure || c.TLS != (plugin.TLS{}) {
		config, err := c.TLS.Load(dir)
		if err != nil {
			return nil, err
		}
		opts = append(opts, client.Secure(config))
	}
	return opts, nil
}
