// Package s3 turns changes of objects into S3 event notifications: those that a store posts to the hub, or
// those that it sees itself in a local directory.
package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// Config is what the file may say under "with". Exactly one of Listen and Directory is set.
type Config struct {
	// Listen is the path on the gateway, such as /notify/uploads or example.test/notify, to which a store posts
	// its notifications. A post is answered with 200 once its events are durable, and with 503 until then.
	Listen string `yaml:"listen"`

	// Directory is a folder whose files are the objects of a bucket: a file that is complete is an
	// ObjectCreated:Put, one that is gone an ObjectRemoved:Delete. What changes while the hub is down is found
	// when it starts, and a file may be announced twice, but never not at all. Folders below it belong to the
	// keys; symbolic links are not followed. It must exist, and a relative path starts at the file's folder.
	Directory string `yaml:"directory"`

	// Bucket, with a directory, is the bucket's name in the documents; the default is the folder's name. With
	// listen, events of other buckets are acknowledged and dropped; the default is to take those of any bucket.
	Bucket string `yaml:"bucket"`

	// Events are the events to take, in the words of a bucket's notification configuration, such as
	// s3:ObjectCreated:* or s3:ObjectRemoved:Delete. Others are acknowledged and dropped. The default is to take
	// every event.
	Events []string `yaml:"events"`

	// Prefix is what the key, not URL-encoded, must begin with.
	Prefix string `yaml:"prefix"`

	// Suffix is what the key, not URL-encoded, must end with.
	Suffix string `yaml:"suffix"`

	// Vendor is the store that posts to listen: aws (also for stores that send AWS's records unchanged), minio
	// or versitygw; auto tells it by each record. It matters for how keys are encoded.
	Vendor string `yaml:"vendor"`

	// Token is what a post to listen must carry: as MinIO's auth_token ("Authorization: Bearer …") or as the
	// password of the URL that the store posts to. Without it everybody who reaches the gateway may post.
	Token plugin.Secret `yaml:"token"`

	// Settle is how long a file of the directory must be unchanged to count as complete, from 0s to 1h. A file
	// moved into the directory that was last written longer ago is taken at once.
	Settle time.Duration `yaml:"settle"`

	// RescanInterval is how often the whole directory is looked through, from 1s to 24h. It finds what the
	// system did not report, for example on network file systems.
	RescanInterval time.Duration `yaml:"rescanInterval"`

	// Ignore are patterns of names, such as "*.part", of files and folders in the directory that are no objects.
	// The default leaves out hidden ones.
	Ignore []string `yaml:"ignore"`
}

// Defaults is the configuration of an empty section.
func Defaults() Config {
	return Config{
		Vendor:         string(event.S3Auto),
		Settle:         time.Second,
		RescanInterval: time.Minute,
		Ignore:         []string{".*"},
	}
}

// Validate reports every bad value.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	d := Defaults()
	switch {
	case c.Listen == "" && c.Directory == "":
		bad("", "set listen to a path that a store posts to, or directory to a folder to watch")
	case c.Listen != "" && c.Directory != "":
		bad("directory", "a trigger has either listen or directory; make two triggers")
	case c.Listen != "":
		if !sources.IsPattern(c.Listen) {
			bad("listen", "%q is not a path; write one such as /notify/uploads", c.Listen)
		}
		if c.Settle != d.Settle {
			bad("settle", "it belongs to directory; leave it out")
		}
		if c.RescanInterval != d.RescanInterval {
			bad("rescanInterval", "it belongs to directory; leave it out")
		}
		if len(c.Ignore) != 1 || c.Ignore[0] != d.Ignore[0] {
			bad("ignore", "it belongs to directory; leave it out")
		}
	default:
		if c.Vendor != d.Vendor {
			bad("vendor", "it belongs to listen; leave it out")
		}
		if c.Token != "" {
			bad("token", "it belongs to listen; leave it out")
		}
		if strings.Contains(c.Bucket, "/") {
			bad("bucket", "%q has a slash, which no bucket's name has", c.Bucket)
		}
		if c.Settle < 0 || c.Settle > time.Hour {
			bad("settle", "%v is not from 0s to 1h", c.Settle)
		}
		if c.RescanInterval < time.Second || c.RescanInterval > 24*time.Hour {
			bad("rescanInterval", "%v is not from 1s to 24h", c.RescanInterval)
		}
		for i, p := range c.Ignore {
			if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
				bad(fmt.Sprintf("ignore[%d]", i), "%q is not a pattern of a name; write one such as *.part", p)
			}
		}
	}
	switch event.S3Vendor(c.Vendor) {
	case event.S3Auto, event.S3AWS, event.S3MinIO, event.S3Versity:
	default:
		bad("vendor", "%q is not known; write auto, aws, minio or versitygw", c.Vendor)
	}
	for i, p := range c.Events {
		if err := event.S3EventPattern(p).Validate(); err != nil {
			bad(fmt.Sprintf("events[%d]", i), "%v", err)
		}
	}
	return errors.Join(errs...)
}

// Patterns lists what the source mounts.
func (c *Config) Patterns() []string {
	if c.Listen == "" {
		return nil
	}
	return []string{c.Listen}
}

// Example puts an object into a watched directory.
func (c *Config) Example() string {
	if c.Directory == "" {
		return ""
	}
	dir := c.Directory
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("{dir}", dir)
	}
	suffix := c.Suffix
	if suffix == "" {
		suffix = ".txt"
	}
	return "echo hello > '" + filepath.Join(dir, c.Prefix+"hello"+suffix) + "'"
}

// wants reports whether an event passes the filters.
func (c *Config) wants(name, bucket, key string) bool {
	if c.Bucket != "" && bucket != c.Bucket || !strings.HasPrefix(key, c.Prefix) || !strings.HasSuffix(key, c.Suffix) {
		return false
	}
	for _, p := range c.Events {
		if event.S3EventPattern(p).Match(name) {
			return true
		}
	}
	return len(c.Events) == 0
}

// Spec is the kind "s3".
func Spec() plugin.Spec[sources.Source] {
	return plugin.Define("s3", "Takes the event notifications of S3-compatible stores, or watches a local directory as if it were a bucket.",
		Defaults(), open)
}

func open(_ context.Context, c Config, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	unheeded := plugin.Register(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_s3_unheeded_total",
		Help: "Events and posts of stores that became no event of a trigger: filtered by its settings, unauthorized, or invalid.",
	}, []string{"trigger", "reason"})).MustCurryWith(prometheus.Labels{"trigger": d.Name})
	if c.Listen != "" {
		return &webhook{config: c, deps: d, unheeded: unheeded}, nil
	}
	dir := filepath.FromSlash(c.Directory)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(d.Dir, dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, plugin.Invalid("directory", "%v", err)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, plugin.Invalid("directory", "%s does not exist; create it", dir)
	case err != nil:
		return nil, plugin.Invalid("directory", "%v", err)
	case !info.IsDir():
		return nil, plugin.Invalid("directory", "%s is not a folder", dir)
	}
	if data, err := filepath.Abs(d.Data); err == nil && (data == dir || strings.HasPrefix(data, dir+string(filepath.Separator))) {
		return nil, plugin.Invalid("directory", "%s holds the hub's own data, %s; name another folder", dir, data)
	}
	if c.Bucket == "" {
		c.Bucket = filepath.Base(dir)
	}
	return &directory{config: c, deps: d, path: dir, filtered: unheeded.WithLabelValues("filtered")}, nil
}
