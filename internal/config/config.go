// Package config reads the hub's file: it knows the frame of the file and how to report everything that is
// wrong with it at once. What a section means is the business of the kind of component that it configures.
// It is the only package that knows YAML.
package config

import (
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plugin"
)

// Config is the whole file, with its includes. Two that were read from files of the same meaning are equal
// under reflect.DeepEqual, section by section, wherever in the files the sections stand.
type Config struct {
	// Include names more files to read, one or a list, as globs relative to the folder of this file. Their functions,
	// triggers and destinations are added to those here; any other setting may stand in one file only.
	Include Names `yaml:"include"`

	// Functions are the functions that the hub runs, by name: at most 64 letters, digits, hyphens and
	// underscores.
	Functions map[string]Function `yaml:"functions"`

	// Triggers say which events run which function, by name.
	Triggers map[string]Trigger `yaml:"triggers"`

	// Destinations take the records of finished and failed events, by name.
	Destinations map[string]Destination `yaml:"destinations"`

	// Store keeps the accepted events and the ledger.
	Store Store `yaml:"store"`

	// Data is the folder of what must outlive the process, such as compiled modules and the places that sources
	// have come to. A relative path starts at the folder of this file.
	Data string `yaml:"data"`

	// Listen holds the addresses that the hub serves.
	Listen Listen `yaml:"listen"`

	// Security says who may use the aws and admin addresses.
	Security Security `yaml:"security"`

	// AWS names the account that functions and clients see.
	AWS AWS `yaml:"aws"`

	// Stack serves local AWS services at the aws address, beside the Lambda API: queues, topics, streams, tables,
	// buckets, event buses and schedules, for tests. It is off without this section; "stack: {}" is one in memory.
	Stack *Stack `yaml:"stack"`

	// Concurrency is how many invocations may run at once, over all functions, at least 1. The default is
	// the quota of a new AWS account.
	Concurrency int `yaml:"concurrency"`

	// Log says what the hub writes to standard error.
	Log Log `yaml:"log"`

	// Tracing sends OpenTelemetry traces.
	Tracing Tracing `yaml:"tracing"`

	// Shutdown bounds how long the hub takes to stop.
	Shutdown Shutdown `yaml:"shutdown"`

	Dir   string   `yaml:"-"` // absolute folder of the file, where relative paths of all sections start
	Files []string `yaml:"-"` // every file that was read, those of ${file:…} too, sorted

	positions map[string]Position
}

// Function is one function. The settings of its runtime stand beside these two.
type Function struct {
	// Runtime is the kind of the function.
	Runtime string `yaml:"runtime"`

	// Async says what happens to events that wait in the queue for the function.
	Async Async `yaml:"async"`

	// With is what the runtime's kind returned for its configuration, filled in.
	With any `yaml:",inline"`
}

// Async is what AWS calls the event invoke configuration of a function.
type Async struct {
	// MaximumRetryAttempts is how often an event is tried again after the function failed, 0 to 100. The
	// default is AWS's, where 2 is the most.
	MaximumRetryAttempts int `yaml:"maximumRetryAttempts"`

	// MaximumEventAge is how long an event may wait for its next attempt, from 60s to 336h (14 days). The
	// default is AWS's, where 6h is the most.
	MaximumEventAge time.Duration `yaml:"maximumEventAge"`

	// RetryDelays are the waits before the first, second, … retry; the last one serves for all that follow.
	// Each is from 0s to 24h. The default is AWS's.
	RetryDelays []time.Duration `yaml:"retryDelays"`

	// MaximumConcurrency is how many events of the queue may run at once, 1 to 10000, and never more than the
	// function's reserved concurrency. AWS has no such setting: there a backlog may take all the concurrency of the
	// account, which on one machine would start as many processes.
	MaximumConcurrency int `yaml:"maximumConcurrency"`

	// OnSuccess names the destinations, one or a list, that get the record of an event whose function
	// succeeded.
	OnSuccess Names `yaml:"onSuccess"`

	// OnFailure names the destinations, one or a list, that get the record of an event that was given up.
	OnFailure Names `yaml:"onFailure"`
}

// Names is a list of names. In the file a single name stands for a list of one.
type Names []string

// Trigger joins a source of events to a function.
type Trigger struct {
	// Kind is the kind of source.
	Kind string `yaml:"kind"`

	// With holds the settings of the kind.
	With any `yaml:"with"`

	// Function names the function that runs for each event.
	Function string `yaml:"function"`

	// Enabled says whether the trigger takes events; a trigger that does not is still checked.
	Enabled bool `yaml:"enabled"`
}

// Destination takes the records of finished and failed events.
type Destination struct {
	// Kind is the kind of destination.
	Kind string `yaml:"kind"`

	// With holds the settings of the kind.
	With any `yaml:"with"`
}

// Store keeps the accepted events and the ledger.
type Store struct {
	// Kind is the kind of store.
	Kind string `yaml:"kind"`

	// With holds the settings of the kind.
	With any `yaml:"with"`
}

// Listen holds addresses, each a host and port such as 127.0.0.1:8080; port 0 takes any free port, and "off"
// or the empty text turns the address off.
type Listen struct {
	// Gateway serves the HTTP triggers.
	Gateway string `yaml:"gateway"`

	// AWS serves AWS clients: it is their AWS_ENDPOINT_URL.
	AWS string `yaml:"aws"`

	// Admin serves the ledger, health and metrics.
	Admin string `yaml:"admin"`
}

// Security guards the aws and admin addresses. On an address that other machines reach, aws needs keys, admin
// needs a token, and both need tls, unless insecure is set.
type Security struct {
	// Keys are the AWS access keys that the aws address takes: access key id to secret access key. If there
	// are none, requests need no signature.
	Keys map[string]plugin.Secret `yaml:"keys"`

	// Token is the bearer token that the admin address asks for. If there is none, requests need no token.
	Token plugin.Secret `yaml:"token"`

	// TLS turns the aws and admin addresses to HTTPS.
	TLS TLS `yaml:"tls"`

	// Insecure lets aws and admin serve other machines without TLS, for instance behind a proxy that adds
	// it. Keys and token are needed all the same.
	Insecure bool `yaml:"insecure"`
}

// TLS is a certificate and its key.
type TLS struct {
	// Certificate is the path of a PEM file with the certificate and its chain.
	Certificate string `yaml:"certificate"`

	// Key is the path of a PEM file with the private key.
	Key string `yaml:"key"`
}

// AWS names the account that functions and clients see.
type AWS struct {
	// Region is the region of ARNs and event documents.
	Region string `yaml:"region"`

	// Account is the account of ARNs and event documents: twelve digits.
	Account string `yaml:"account"`
}

// Stack is the local stack. It is for tests and development, not for production.
type Stack struct {
	// Dir keeps the stack's state in this folder, so that what was acknowledged survives the process. Without it the
	// state is in memory. A relative path starts at the folder of this file.
	Dir string `yaml:"dir"`

	// Policies says what the policies of queues and topics do to services that deliver there: warn delivers and logs
	// what AWS would have refused, enforce refuses it, ignore delivers. The default is warn.
	Policies string `yaml:"policies"`

	// StreamLimits enforces the throughput of Kinesis shards: what is beyond it is throttled as AWS does.
	StreamLimits bool `yaml:"streamLimits"`
}

// Log says what the hub writes to standard error.
type Log struct {
	// Level is the least severe level written: debug, info, warn or error.
	Level string `yaml:"level"`

	// Format is text or json.
	Format string `yaml:"format"`
}

// Tracing sends OpenTelemetry traces over OTLP/HTTP.
type Tracing struct {
	// Endpoint is the URL of the collector, such as http://127.0.0.1:4318; empty sends nothing.
	Endpoint string `yaml:"endpoint"`

	// SampleRatio is the part of the traces begun by the hub that is sent, from 0 to 1; a trace that a
	// caller began keeps the caller's choice.
	SampleRatio float64 `yaml:"sampleRatio"`

	// Headers are sent with each export, for instance for authorisation.
	Headers map[string]plugin.Secret `yaml:"headers"`
}

// Shutdown bounds how long the hub takes to stop.
type Shutdown struct {
	// Timeout is how long work under way may take to end, from 0s to 24h; what is cut off then is tried again
	// after the next start.
	Timeout time.Duration `yaml:"timeout"`
}

// Defaults is the configuration of an empty file. The settings of the default store are missing: Load takes
// them from its kind.
func Defaults() Config {
	return Config{
		Store:       Store{Kind: "local"},
		Data:        "./data",
		Listen:      Listen{Gateway: "127.0.0.1:8080", AWS: "127.0.0.1:4566", Admin: "127.0.0.1:9000"},
		AWS:         AWS{Region: "us-east-1", Account: "000000000000"},
		Concurrency: 1000,
		Log:         Log{Level: "info", Format: "text"},
		Tracing:     Tracing{SampleRatio: 1},
		Shutdown:    Shutdown{Timeout: 30 * time.Second},
	}
}

// FunctionDefaults is a function of which only the runtime is named.
func FunctionDefaults() Function {
	return Function{Async: Async{
		MaximumRetryAttempts: 2,
		MaximumConcurrency:   32,
		MaximumEventAge:      6 * time.Hour,
		RetryDelays:          []time.Duration{time.Minute, 2 * time.Minute},
	}}
}

// TriggerDefaults is a trigger of which nothing is set.
func TriggerDefaults() Trigger { return Trigger{Enabled: true} }

// Kinds holds, for each kind of component, a function that returns a pointer to a fresh copy of its default
// configuration. A configuration may have a method Validate() error, which returns plugin.FieldErrors.
type Kinds struct {
	Functions, Sources, Destinations, Stores map[string]func() any
}

// KindsOf lists the kinds of a catalog in the form that Kinds wants.
func KindsOf[T any](c plugin.Catalog[T]) map[string]func() any {
	kinds := map[string]func() any{}
	for _, kind := range c.Kinds() {
		spec, _ := c.Lookup(kind)
		kinds[kind] = spec.Config
	}
	return kinds
}

// Load reads the file at path and those that it includes. Problems of their content are returned all at once
// as Problems; any other error means that the file at path could not be read.
func Load(path string, kinds Kinds) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return load(path, abs, data, kinds)
}

// Parse reads a configuration from data, as if it stood in a file called name in the working directory.
func Parse(name string, data []byte, kinds Kinds) (*Config, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	return load(name, abs, data, kinds)
}

func load(name, abs string, data []byte, kinds Kinds) (*Config, error) {
	l := &loader{seen: map[string]bool{}, texts: map[string]bool{}, taken: map[string]*entry{}}
	root := &node{kind: section, pos: Position{File: name, Line: 1, Column: 1}}
	l.file(root, name, abs, data, nil)

	c := Defaults()
	c.Dir = filepath.Dir(abs)
	d := &decoder{loader: l, kinds: kinds, root: root, visits: map[*node]bool{}, bad: map[string]bool{}}
	d.value(root, reflect.ValueOf(&c).Elem(), "", 0)
	d.file(&c)
	c.Data = c.Path(c.Data)
	c.Files = l.files()
	c.positions = map[string]Position{}
	for _, family := range root.entries {
		if slices.Contains(shared, family.key) {
			for _, e := range family.value.entries {
				c.positions[family.key+"."+e.key] = e.pos
			}
		}
	}
	if err := l.problems.sorted(l.secrets); err != nil {
		return nil, err
	}
	return &c, nil
}

// Path is the absolute path of name, which is relative to the folder of the file.
func (c *Config) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}

// Where is the place in the files of a named section, such as "functions", "thumbnail". It is the zero
// Position for what is not there.
func (c *Config) Where(family, name string) Position { return c.positions[family+"."+name] }
