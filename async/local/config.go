// Package local keeps accepted events and their ledger in a directory of this machine, in one Pebble store.
// Acceptances that happen at the same time share one write to disk.
package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/internal/plugin"
)

// Config says where events are kept, how many, and for how long.
type Config struct {
	// Directory of the store, made if it is missing and used by one hub at a time. A relative path starts at the
	// directory of the configuration file. Empty is a folder of the hub's data folder.
	Dir string `yaml:"dir"`

	// Most bytes of events that the store holds, waiting and kept together. Beyond it no event is accepted. The
	// directory may grow to about twice as much, because space is reclaimed in the background.
	MaxSize plugin.Size `yaml:"maxSize"`

	// Free space to leave on the disk. With less, no event is accepted, so that those already accepted can still
	// be run and recorded.
	MinFree plugin.Size `yaml:"minFree"`

	// What the ledger keeps of events that are over.
	Retention Retention `yaml:"retention"`

	// JSON values to replace by "[redacted]" in what the ledger keeps of payloads and answers; the function always
	// receives everything. "password" is a member of that name at any depth, "$.user.card" is one place, where arrays are
	// passed through. An event of which something was replaced can be read but not redriven.
	Redact []string `yaml:"redact"`
}

// Retention is what the ledger keeps of events that are over.
type Retention struct {
	// How long an event is kept after its end, at least 1m. AWS keeps messages of a dead-letter queue for at most 14 days.
	Age time.Duration `yaml:"age"`

	// Most bytes of events that are over. The oldest are dropped first, those that succeeded before those that failed.
	Size plugin.Size `yaml:"size"`

	// Of which events the payload and the answer are kept: full is of all, failed of those that failed, so that
	// they can be redriven, and metadata of none.
	Mode string `yaml:"mode"`
}

// Modes of retention.
const (
	full     = "full"
	failed   = "failed"
	metadata = "metadata"
)

// Defaults returns the configuration of an empty section.
func Defaults() Config {
	return Config{
		MaxSize:   10 * plugin.GB,
		MinFree:   256 * plugin.MB,
		Retention: Retention{Age: 14 * 24 * time.Hour, Size: 1 * plugin.GB, Mode: failed},
	}
}

// Validate reports every bad value.
func (c *Config) Validate() error {
	var errs []error
	if c.MaxSize < plugin.MB {
		errs = append(errs, plugin.Invalid("maxSize", "%s is less than 1MB, the largest payload", c.MaxSize))
	}
	if c.Retention.Age < time.Minute {
		errs = append(errs, plugin.Invalid("retention.age", "%s is less than 1m", c.Retention.Age))
	}
	if c.Retention.Size > c.MaxSize {
		errs = append(errs, plugin.Invalid("retention.size", "%s is more than maxSize, %s: events that are over would leave no room for new ones",
			c.Retention.Size, c.MaxSize))
	}
	switch c.Retention.Mode {
	case full, failed, metadata:
	default:
		errs = append(errs, plugin.Invalid("retention.mode", "%q is not a mode; use full, failed or metadata", c.Retention.Mode))
	}
	for i, r := range c.Redact {
		if _, err := parseRule(r); err != nil {
			errs = append(errs, plugin.Invalid(fmt.Sprintf("redact[%d]", i), "%v", err))
		}
	}
	return errors.Join(errs...)
}

// Spec describes this kind of store.
func Spec() plugin.Spec[async.Store] {
	return plugin.Define("local", "Keeps events and their ledger in a directory of this machine.", Defaults(),
		func(_ context.Context, c Config, d plugin.Deps) (async.Store, error) {
			switch {
			case c.Dir == "":
				c.Dir = d.Data
			case !filepath.IsAbs(c.Dir):
				c.Dir = filepath.Join(d.Dir, c.Dir)
			}
			return Open(c, d)
		})
}

// rule is one entry of Redact.
type rule struct {
	anywhere string   // name of a member, at any depth
	path     []string // else names from the top
}

func parseRule(s string) (rule, error) {
	rest, rooted := strings.CutPrefix(s, "$.")
	if !rooted {
		if s == "" || strings.ContainsAny(s, ".$[]*") {
			return rule{}, fmt.Errorf("%q is neither a name, such as password, nor a path, such as $.user.password", s)
		}
		return rule{anywhere: s}, nil
	}
	path := strings.Split(rest, ".")
	for _, p := range path {
		if p == "" || strings.ContainsAny(p, "[]*") {
			return rule{}, fmt.Errorf("%q is not a path of names, such as $.user.password", s)
		}
	}
	return rule{path: path}, nil
}
