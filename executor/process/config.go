package process

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is the configuration of a function that runs in processes of this machine.
type Config struct {
	kind string

	// Code is a directory, or a .zip, which is unpacked once. Relative paths start at the folder of the file.
	// For "provided" it holds an executable named bootstrap. Required unless build is set.
	Code string `yaml:"code"`
	// Build is a command that makes the code, such as [go, build, -o, $OUT/bootstrap, ./hello]: it runs in the
	// folder of the file while the hub starts, and writes to the empty folder that $OUT names. Invocations wait
	// for it; if it fails it runs again on a later invocation. It takes the place of code.
	Build []string `yaml:"build"`
	// Handler says what to call, as on AWS: "module.function" for python3, "file.export" for nodejs. For
	// "provided" it is only handed on, in _HANDLER.
	Handler string `yaml:"handler"`
	// Interpreter is the program that runs the handler, a path or a name to look for in PATH; its folder comes
	// first in the function's PATH. Only for python3 (3.8 or later) and nodejs (18 or later).
	Interpreter string `yaml:"interpreter"`
	// Memory is what the function may use, 128MB to 10240MB. On Linux an environment that holds more for half a
	// second, with the processes that it started, is killed. Elsewhere the function is only told.
	Memory plugin.Size `yaml:"memory"`
	// Timeout is the longest that one invocation may take, 1s to 15m. A function over it is killed.
	Timeout time.Duration `yaml:"timeout"`
	// InitTimeout is the longest that a new environment may take to be ready, 100ms to 15m; AWS gives 10s. One
	// that is over it is started again as part of an invocation, under that invocation's timeout.
	InitTimeout time.Duration `yaml:"initTimeout"`
	// IdleTimeout is how long an environment is kept without work, at least 1s.
	IdleTimeout time.Duration `yaml:"idleTimeout"`
	// Environment is what the function finds in its environment variables, at most 4 KB. Names begin with a
	// letter, have two or more of letters, digits and _, and are none of those that AWS reserves.
	Environment map[string]string `yaml:"environment"`
	// Concurrency says how many invocations and environments there may be at once.
	Concurrency Concurrency `yaml:"concurrency"`
	// MaxConcurrency is how many invocations one environment takes at once, 1 to 1000. Over 1, the function is
	// told in AWS_LAMBDA_MAX_CONCURRENCY and must ask for that many events at once, as runtimes for Lambda
	// managed instances do. Only for provided.
	MaxConcurrency int `yaml:"maxConcurrency"`
	// Credentials are put into AWS_ACCESS_KEY_ID and its companions, in the place of an execution role.
	Credentials Credentials `yaml:"credentials"`
	// LogFormat is text or json: the form of the platform's own lines and, for python3 and nodejs, of what the
	// function logs.
	LogFormat string `yaml:"logFormat"`
}

// Concurrency is the part of a configuration that says how much runs at once.
type Concurrency struct {
	// Reserved is how many invocations may run at once, set aside for this function; one more is refused. -1 is
	// no reservation, 0 refuses every invocation.
	Reserved int `yaml:"reserved"`
	// Provisioned is how many environments are started with the hub and replaced when they end. No more than
	// reserved and environments.
	Provisioned int `yaml:"provisioned"`
	// Environments is the most environments, and so processes, at once, 1 to 10000. Invocations beyond that wait
	// for one, no longer than timeout, and are then refused.
	Environments int `yaml:"environments"`
}

// Credentials are AWS credentials for the function's own calls.
type Credentials struct {
	// AccessKeyID is the value of AWS_ACCESS_KEY_ID.
	AccessKeyID string `yaml:"accessKeyId"`
	// SecretAccessKey is the value of AWS_SECRET_ACCESS_KEY.
	SecretAccessKey plugin.Secret `yaml:"secretAccessKey"`
	// SessionToken is the value of AWS_SESSION_TOKEN, if there is one.
	SessionToken plugin.Secret `yaml:"sessionToken"`
}

// Defaults is the configuration of a kind, "provided", "python3" or "nodejs", before the file is read. Where
// AWS has a default, it is that.
func Defaults(kind string) Config {
	c := Config{
		kind:           kind,
		Memory:         128 * plugin.MB,
		Timeout:        3 * time.Second,
		InitTimeout:    10 * time.Second,
		IdleTimeout:    5 * time.Minute,
		Concurrency:    Concurrency{Reserved: executor.Unreserved, Environments: 1000},
		MaxConcurrency: 1,
		LogFormat:      "text",
	}
	switch kind {
	case python:
		c.Interpreter = "python3"
	case nodejs:
		c.Interpreter = "node"
	}
	return c
}

// Settings are what the hub must know of the function.
func (c *Config) Settings() executor.Settings {
	return executor.Settings{
		Timeout: c.Timeout, Reserved: c.Concurrency.Reserved, Handler: c.Handler, Memory: int64(c.Memory),
	}
}

var (
	variable = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]+$`)
	handler  = regexp.MustCompile(`^[^\s.][^\s]*\.[^\s./]+$`)

	// reserved are the variables that the platform sets
	// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html).
	reserved = []string{
		"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV",
		"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
		"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
		"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_MAX_CONCURRENCY",
		"AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT",
		"LAMBDA_RUNTIME_DIR",
	}
)

const maxEnvironment = 4 << 10 // bytes of names and values

// Validate checks what can be known from the configuration alone.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }

	switch {
	case c.Code == "" && len(c.Build) == 0:
		bad("code", "is missing; name the directory or .zip that holds the function")
	case c.Code != "" && len(c.Build) > 0:
		bad("build", "makes the code, so code must not be set as well; leave one of them out")
	case len(c.Build) > 0 && c.Build[0] == "":
		bad("build[0]", "is empty; write the program to run")
	}
	if c.kind == provided {
		if c.Interpreter != "" {
			bad("interpreter", "is for python3 and nodejs; a bootstrap names its own in its first line")
		}
	} else {
		if !handler.MatchString(c.Handler) {
			bad("handler", "%q is not a handler; write module.function, such as %s", c.Handler, map[string]string{python: "app.handler", nodejs: "index.handler"}[c.kind])
		}
		if c.Interpreter == "" {
			bad("interpreter", "is empty; write a path or a name such as %s", Defaults(c.kind).Interpreter)
		}
		if c.MaxConcurrency != 1 {
			bad("maxConcurrency", "is for provided; an environment of %s takes one invocation at a time", c.kind)
		}
	}
	if c.MaxConcurrency < 1 || c.MaxConcurrency > 1000 {
		bad("maxConcurrency", "%d is out of range; write 1 to 1000", c.MaxConcurrency)
	}
	if c.Memory < 128*plugin.MB || c.Memory > 10240*plugin.MB || c.Memory%plugin.MB != 0 {
		bad("memory", "%s is out of range; write 128MB to 10240MB in steps of 1MB", c.Memory)
	}
	if c.Timeout < time.Second || c.Timeout > executor.MaxTimeout {
		bad("timeout", "%s is out of range; write 1s to 15m", c.Timeout)
	}
	if c.InitTimeout < 100*time.Millisecond || c.InitTimeout > executor.MaxTimeout {
		bad("initTimeout", "%s is out of range; write 100ms to 15m", c.InitTimeout)
	}
	if c.IdleTimeout < time.Second {
		bad("idleTimeout", "%s is too short; write at least 1s", c.IdleTimeout)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("logFormat", "%q is not a format; write text or json", c.LogFormat)
	}
	if (c.Credentials.AccessKeyID == "") != (c.Credentials.SecretAccessKey == "") ||
		c.Credentials.SessionToken != "" && c.Credentials.AccessKeyID == "" {
		bad("credentials", "are incomplete; write accessKeyId and secretAccessKey, or neither")
	}
	errs = append(errs, c.Concurrency.validate(c.MaxConcurrency)...)

	size := 0
	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		value := c.Environment[name]
		size += len(name) + len(value)
		switch path := "environment." + name; {
		case slices.Contains(reserved, name):
			bad(path, "is set by the hub and can not be set here; choose another name")
		case !variable.MatchString(name):
			bad(path, "is not a name that AWS permits; begin with a letter, then letters, digits and _, two or more in all")
		case strings.ContainsRune(value, 0):
			bad(path, "has a zero byte in its value; an environment variable can not")
		}
	}
	if size > maxEnvironment {
		bad("environment", "has %d bytes of names and values; AWS permits 4096", size)
	}
	return errors.Join(errs...)
}

func (c Concurrency) validate(each int) []error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, plugin.Invalid("concurrency."+path, format, args...))
	}
	if c.Reserved < executor.Unreserved {
		bad("reserved", "%d is out of range; write -1 for no reservation, or 0 and more", c.Reserved)
	}
	if c.Environments < 1 || c.Environments > 10000 {
		bad("environments", "%d is out of range; write 1 to 10000", c.Environments)
	}
	switch {
	case c.Provisioned < 0:
		bad("provisioned", "%d is out of range; write 0 or more", c.Provisioned)
	case c.Provisioned > c.Environments:
		bad("provisioned", "%d is more than environments, %d; lower it or raise environments", c.Provisioned, c.Environments)
	case c.Reserved >= 0 && each > 0 && c.Provisioned > (c.Reserved+each-1)/each:
		bad("provisioned", "%d is more than reserved, %d, can use; lower it or raise reserved", c.Provisioned, c.Reserved)
	}
	return errs
}
