package redis

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	client "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/millrace/millrace/internal/plugin"
)

// Config is the section of a Redis source.
type Config struct {
	// Mode is how the addresses are to be read: "standalone" for one server, "cluster" for some nodes of a Redis
	// Cluster, "sentinel" for Sentinels that know the master.
	Mode string `yaml:"mode"`

	// Addresses are host:port of the servers.
	Addresses []string `yaml:"addresses"`

	// MasterName is the name of the master that the Sentinels watch.
	MasterName string `yaml:"masterName"`

	// Channels are what to subscribe to by SUBSCRIBE. A message that matches several channels and patterns runs
	// the function for each.
	Channels []string `yaml:"channels"`

	// Patterns are what to subscribe to by PSUBSCRIBE: * stands for any text, ? for one character and [ae] for
	// one of those. Keyspace notifications are channels like any other, such as __keyevent@0__:expired; the
	// server sends them if its notify-keyspace-events says so.
	Patterns []string `yaml:"patterns"`

	// ShardedChannels are what to subscribe to by SSUBSCRIBE, which Redis has from 7.0 on: in a cluster, only
	// the nodes of a channel's slot carry it. Each takes a connection.
	ShardedChannels []string `yaml:"shardedChannels"`

	// Database is the number of the database. Channels are common to all; it matters to access rights only.
	Database int `yaml:"database"`

	// Username authenticates the hub by ACL, together with password. If empty, password is that of the server.
	Username string `yaml:"username"`

	// Password authenticates the hub.
	Password plugin.Secret `yaml:"password"`

	// SentinelUsername authenticates the hub to the Sentinels, together with sentinelPassword.
	SentinelUsername string `yaml:"sentinelUsername"`

	// SentinelPassword authenticates the hub to the Sentinels.
	SentinelPassword plugin.Secret `yaml:"sentinelPassword"`

	// UseTLS connects by TLS.
	UseTLS bool `yaml:"useTLS"`

	// TLS says whom to trust and who we are, with useTLS.
	TLS plugin.TLS `yaml:"tls"`

	// MaximumConcurrency is how many messages the hub queues at once, from 1 to 10000. With 1, messages of one
	// connection are queued in their order.
	MaximumConcurrency int `yaml:"maximumConcurrency"`

	// PendingMessages is how many messages may wait for their turn, from 1 to 1000000. Redis has no way to slow
	// a publisher down: what comes above the limit is dropped, and counted.
	PendingMessages int `yaml:"pendingMessages"`

	// PendingBytes is how many bytes those may have together, from 1MB.
	PendingBytes plugin.Size `yaml:"pendingBytes"`
}

// Modes of Config.Mode.
const (
	standalone = "standalone"
	cluster    = "cluster"
	sentinel   = "sentinel"
)

// Defaults is the configuration of an empty section.
func Defaults() Config {
	return Config{
		Mode:               standalone,
		Addresses:          []string{"127.0.0.1:6379"},
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
	switch c.Mode {
	case standalone:
		if len(c.Addresses) != 1 {
			bad("addresses", "a standalone server has one address, not %d; for more, set mode to cluster or sentinel", len(c.Addresses))
		}
	case cluster:
		if c.Database != 0 {
			bad("database", "a cluster has database 0 only")
		}
		for _, list := range []struct {
			path  string
			names []string
		}{{"channels", c.Channels}, {"patterns", c.Patterns}} {
			for i, name := range list.names {
				if strings.HasPrefix(name, "__key") {
					bad(fmt.Sprintf("%s[%d]", list.path, i), "each node of a cluster sends keyspace notifications of its own keys to its own clients alone; write a trigger with mode standalone for each master")
				}
			}
		}
	case sentinel:
		if c.MasterName == "" {
			bad("masterName", "set the name of the master that the Sentinels watch, such as mymaster")
		}
	default:
		bad("mode", "%q is none of standalone, cluster and sentinel", c.Mode)
	}
	if c.Mode != sentinel && (c.MasterName != "" || c.SentinelUsername != "" || c.SentinelPassword != "") {
		bad("masterName", "this and sentinelUsername and sentinelPassword are for mode sentinel; remove them or set it")
	}
	if len(c.Addresses) == 0 && c.Mode != standalone {
		bad("addresses", "there is none; write one such as 127.0.0.1:6379")
	}
	for i, address := range c.Addresses {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			bad(fmt.Sprintf("addresses[%d]", i), "%q is not host:port, such as 127.0.0.1:6379", address)
		}
	}
	if len(c.Channels)+len(c.Patterns)+len(c.ShardedChannels) == 0 {
		bad("channels", "there is neither a channel nor a pattern; write one under channels, patterns or shardedChannels")
	}
	for _, list := range []struct {
		path  string
		names []string
	}{{"channels", c.Channels}, {"patterns", c.Patterns}, {"shardedChannels", c.ShardedChannels}} {
		for i, name := range list.names {
			switch {
			case name == "":
				bad(fmt.Sprintf("%s[%d]", list.path, i), "this is empty; remove it")
			case slices.Contains(list.names[:i], name):
				bad(fmt.Sprintf("%s[%d]", list.path, i), "%q is there twice; remove one", name)
			}
		}
	}
	if c.Database < 0 {
		bad("database", "%d is not the number of a database", c.Database)
	}
	if c.Username != "" && c.Password == "" || c.SentinelUsername != "" && c.SentinelPassword == "" {
		bad("username", "a user needs a password; set password or sentinelPassword")
	}
	if !c.UseTLS && c.TLS != (plugin.TLS{}) {
		bad("tls", "has no effect without useTLS: true; set that or remove it")
	}
	errs = append(errs, c.TLS.Validate("tls"))
	if c.MaximumConcurrency < 1 || c.MaximumConcurrency > 10000 {
		bad("maximumConcurrency", "%d is not between 1 and 10000", c.MaximumConcurrency)
	}
	if c.PendingMessages < 1 || c.PendingMessages > 1e6 {
		bad("pendingMessages", "%d is not between 1 and 1000000", c.PendingMessages)
	}
	if c.PendingBytes < plugin.MB {
		bad("pendingBytes", "%s is less than 1MB", c.PendingBytes)
	}
	return errors.Join(errs...)
}

// options reads the files that the configuration names, relative to dir.
func (c *Config) options(dir, name string) (*client.UniversalOptions, error) {
	o := &client.UniversalOptions{
		Addrs:            c.Addresses,
		MasterName:       c.MasterName,
		ClientName:       "millrace-" + name,
		DB:               c.Database,
		Username:         c.Username,
		Password:         string(c.Password),
		SentinelUsername: c.SentinelUsername,
		SentinelPassword: string(c.SentinelPassword),
		DialTimeout:      5 * time.Second,
		DialerRetries:    1, // we try again ourselves, with back-off

		// These move connections between nodes of Redis Enterprise behind our back; we count and log each.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.UseTLS {
		config, err := c.TLS.Load(dir)
		if err != nil {
			return nil, err
		}
		o.TLSConfig = config
	}
	return o, nil
}

// dial makes a client; it connects when it is used.
func (c *Config) dial(o *client.UniversalOptions) client.UniversalClient {
	switch c.Mode {
	case cluster:
		return client.NewClusterClient(o.Cluster())
	case sentinel:
		return client.NewFailoverClient(o.Failover())
	default:
		return client.NewClient(o.Simple())
	}
}
