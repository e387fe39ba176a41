package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// Config is a function compiled to WebAssembly.
type Config struct {
	// Module is the .wasm file. Relative paths start at the folder of the file.
	Module string `yaml:"module"`

	// Form says how the module is run: command starts a fresh instance for each event, which reads the event
	// on stdin and writes the answer to stdout (WASI); extism calls a function of an instance that is kept and
	// used again (an Extism plug-in). auto takes extism if the module imports extism:host/env, else command.
	Form string `yaml:"form"`

	// Function is the exported function that an extism module is called at.
	Function string `yaml:"function"`

	// Args are the arguments of a command, after its name.
	Args []string `yaml:"args"`

	// Environment are the environment variables of the module. Names that begin with AWS_ are the hub's.
	Environment map[string]string `yaml:"environment"`

	// Config is what an extism module reads by config_get.
	Config map[string]string `yaml:"config"`

	// AllowedHosts are the hosts that an extism module may send HTTP requests to: names, *.name for every
	// host below a name, or * for all; with :port for one port only. Empty allows none.
	AllowedHosts []string `yaml:"allowedHosts"`

	// Memory limits the linear memory of one instance, from 1MB to 4GB, in whole 64KB. What an extism module
	// exchanges with the hub has the same limit once more.
	Memory plugin.Size `yaml:"memory"`

	// Timeout is how long one invocation may take, from 1s to 15m; then the instance is stopped and the
	// invocation has failed with Sandbox.Timedout. An extism instance has 10s more to set itself up.
	Timeout time.Duration `yaml:"timeout"`

	// Instances bounds the instances of the module.
	Instances Instances `yaml:"instances"`

	// Concurrency limits how many invocations run at once.
	Concurrency Concurrency `yaml:"concurrency"`
}

// Instances bounds the instances of a module.
type Instances struct {
	// Maximum is how many instances may live at once, from 1; further invocations are throttled.
	Maximum int `yaml:"maximum"`

	// IdleTimeout is how long an instance of the form extism is kept after its last use, from 1s.
	IdleTimeout time.Duration `yaml:"idleTimeout"`
}

// Concurrency is a share of the account's concurrency.
type Concurrency struct {
	// Reserved is how many invocations may run at once, set aside from the account's concurrency; 0 refuses
	// all and -1 shares what is left with the other functions.
	Reserved int `yaml:"reserved"`
}

// Forms of a module.
const (
	formAuto    = "auto"
	formCommand = "command"
	formExtism  = "extism"
)

const page = 64 << 10 // bytes

// Defaults is the configuration of a function that sets only its module.
func Defaults() Config {
	return Config{
		Form:        formAuto,
		Function:    "handle",
		Memory:      128 * plugin.MB,
		Timeout:     3 * time.Second,
		Instances:   Instances{Maximum: 256, IdleTimeout: 5 * time.Minute},
		Concurrency: Concurrency{Reserved: executor.Unreserved},
	}
}

// Settings are those that every runtime has.
func (c *Config) Settings() executor.Settings {
	return executor.Settings{Timeout: c.Timeout, Reserved: c.Concurrency.Reserved, Memory: int64(c.Memory)}
}

// Validate checks what can be checked without the module.
func (c *Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	if c.Module == "" {
		bad("module", "is missing; write the path of a .wasm file")
	}
	if !slices.Contains([]string{formAuto, formCommand, formExtism}, c.Form) {
		bad("form", "%q is not auto, command or extism", c.Form)
	}
	if c.Function == "" {
		bad("function", "is empty; write the name of an exported function")
	}
	for name, value := range c.Environment {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00"):
			bad("environment."+name, "is not a variable: a name has no = and neither part a NUL")
		case strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "_X_AMZN_"):
			bad("environment."+name, "is set by the hub; take another name")
		}
	}
	for i, arg := range c.Args {
		if strings.Contains(arg, "\x00") {
			bad(fmt.Sprintf("args[%d]", i), "contains a NUL")
		}
	}
	for i, host := range c.AllowedHosts {
		if name := strings.TrimPrefix(host, "*."); name == "" || host != "*" && strings.ContainsAny(name, "*/@ ") {
			bad(fmt.Sprintf("allowedHosts[%d]", i), "%q is not a host such as api.example.com, *.example.com or *", host)
		}
	}
	if c.Memory < plugin.MB || c.Memory > 4*plugin.GB || c.Memory%page != 0 {
		bad("memory", "%s is not a multiple of 64KB between 1MB and 4GB", c.Memory)
	}
	if c.Timeout < time.Second || c.Timeout > executor.MaxTimeout {
		bad("timeout", "%s is outside 1s to %s", c.Timeout, executor.MaxTimeout)
	}
	if c.Instances.Maximum < 1 {
		bad("instances.maximum", "%d lets nothing run; write at least 1, and concurrency: {reserved: 0} to stop a function", c.Instances.Maximum)
	}
	if c.Instances.IdleTimeout < time.Second {
		bad("instances.idleTimeout", "%s is under 1s", c.Instances.IdleTimeout)
	}
	if c.Concurrency.Reserved < executor.Unreserved {
		bad("concurrency.reserved", "%d is not a number of invocations; -1 is no reservation", c.Concurrency.Reserved)
	}
	return errors.Join(errs...)
}
