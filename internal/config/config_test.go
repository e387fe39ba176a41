package config_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The corpus uses these variables; MILLRACE_TEST_UNSET is not set.
func TestMain(m *testing.M) {
	for k, v := range map[string]string{
		"MILLRACE_TEST_PORT": "8080", "MILLRACE_TEST_EMPTY": "", "MILLRACE_TEST_WORD": "soon", "MILLRACE_TEST_YES": "true",
	} {
		os.Setenv(k, v)
	}
	os.Unsetenv("MILLRACE_TEST_UNSET")
	os.Exit(m.Run())
}

// A runtime with every type of setting.
type program struct {
	Code        string            `yaml:"code"`
	Memory      plugin.Size       `yaml:"memory"`
	Timeout     time.Duration     `yaml:"timeout"`
	Environment map[string]string `yaml:"environment"`
	Concurrency concurrency       `yaml:"concurrency"`
	Layers      []string          `yaml:"layers"`
	Weight      float64           `yaml:"weight"`
	Small       int8              `yaml:"small"`
	Count       uint16            `yaml:"count"`
	Debug       bool              `yaml:"debug"`
	Key         plugin.Secret     `yaml:"key"`
	Peer        netip.Addr        `yaml:"peer"`
	Extra       any               `yaml:"extra"`
	Optional    *concurrency      `yaml:"optional"`
	common      `yaml:",inline"`
	Hidden      string `yaml:"-"`
}

type common struct {
	Tags map[string]int `yaml:"tags"`
}

type concurrency struct {
	Reserved    int `yaml:"reserved"`
	Provisioned int `yaml:"provisioned"`
}

func (p *program) Settings() executor.Settings {
	return executor.Settings{Timeout: p.Timeout, Reserved: p.Concurrency.Reserved}
}

func (p *program) Validate() error {
	var errs []error
	if p.Code == "" {
		errs = append(errs, plugin.Invalid("code", "is missing; name a folder or a .zip"))
	}
	if p.Timeout <= 0 || p.Timeout > executor.MaxTimeout {
		errs = append(errs, plugin.Invalid("timeout", "want 1ms to 15m, have %s", p.Timeout))
	}
	if v := p.Environment["BAD.NAME"]; v != "" {
		errs = append(errs, plugin.Invalid("environment.BAD.NAME", "%q is not for you", v))
	}
	if p.Key == "short" {
		errs = append(errs, plugin.Invalid("key", "the key %q is too short", string(p.Key)))
	}
	for i, l := range p.Layers {
		if first, _, ok := strings.Cut(l, " "); ok {
			errs = append(errs, plugin.Invalid(fmt.Sprintf("layers[%d]", i), "layer %q has a space", first))
		}
	}
	return errors.Join(errs...)
}

type web struct {
	Path       string  `yaml:"path"`
	Routes     []route `yaml:"routes"`
	Authorizer string  `yaml:"authorizer"`
	CORS       struct {
		MaxAge time.Duration `yaml:"maxAge"`
	} `yaml:"cors"`
}

type route struct {
	Method string `yaml:"method"`
	Path   string `yaml:"path"`
}

func (w *web) Patterns() []string { return []string{w.Path} }

func (w *web) Functions() []string { return []string{w.Authorizer} }

func (w *web) Validate() error {
	var errs []error
	for i, r := range w.Routes {
		if r.Method == "" {
			errs = append(errs, plugin.Invalid(fmt.Sprintf("routes[%d].method", i), "is missing"))
		}
	}
	if w.CORS.MaxAge > time.Hour {
		errs = append(errs, errors.Join(plugin.Invalid("cors.maxAge", "want at most 1h, have %s", w.CORS.MaxAge)))
	}
	if w.Path == "/forbidden" {
		errs = append(errs, errors.New("nobody may serve this"))
	}
	return errors.Join(errs...)
}

type again struct {
	Function string `yaml:"function"`
}

func (a *again) Functions() []string { return []string{a.Function} }

type folder struct {
	Dir string `yaml:"dir"`
}

func kinds() config.Kinds {
	return config.Kinds{
		Functions: map[string]func() any{
			"program": func() any {
				return &program{
					Timeout: 3 * time.Second, Memory: 128 * plugin.MB, Layers: []string{"base"},
					Concurrency: concurrency{Reserved: executor.Unreserved},
				}
			},
			"empty": func() any { return &struct{}{} },
		},
		Sources: map[string]func() any{
			"web": func() any { return &web{Path: "/"} },
			"tick": func() any {
				return &struct {
					Every time.Duration `yaml:"every"`
				}{time.Minute}
			},
		},
		Destinations: map[string]func() any{
			"folder": func() any { return &folder{} },
			"again":  func() any { return &again{} },
		},
		Stores: map[string]func() any{
			"local":  func() any { return &folder{Dir: "./data"} },
			"remote": func() any { return &struct{}{} },
		},
	}
}

// Every testdata/*.bad.yaml has a *.err beside it with all its problems.
func TestBadFilesAreReportedInFull(t *testing.T) {
	t.Parallel()
	for _, file := range glob(t, "testdata/*.bad.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(file, kinds())
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Load = %v, want Problems", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
		})
	}
}

// Every testdata/*.good.yaml has a *.txt beside it with what was read.
func TestGoodFilesAreRead(t *testing.T) {
	t.Parallel()
	for _, file := range glob(t, "testdata/*.good.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(file, kinds())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", show(c))
		})
	}
}

// show writes what differs from the defaults of the frame.
func show(c *config.Config) string {
	var b strings.Builder
	line := func(key string, v, unless any) {
		if !reflect.DeepEqual(v, unless) {
			fmt.Fprintf(&b, "%s: %+v\n", key, v)
		}
	}
	d := config.Defaults()
	for _, name := range slices.Sorted(keys(c.Functions)) {
		f := c.Functions[name]
		fmt.Fprintf(&b, "function %s: %s %s\n", name, f.Runtime, text(f.With))
		line("  async", f.Async, config.FunctionDefaults().Async)
	}
	for _, name := range slices.Sorted(keys(c.Triggers)) {
		t := c.Triggers[name]
		fmt.Fprintf(&b, "trigger %s: %s %s function %s enabled %t\n", name, t.Kind, text(t.With), t.Function, t.Enabled)
	}
	for _, name := range slices.Sorted(keys(c.Destinations)) {
		t := c.Destinations[name]
		fmt.Fprintf(&b, "destination %s: %s %s\n", name, t.Kind, text(t.With))
	}
	line("store", c.Store.Kind+" "+text(c.Store.With), `local {"Dir":"./data"}`)
	line("listen", c.Listen, d.Listen)
	line("security", c.Security, d.Security)
	line("aws", c.AWS, d.AWS)
	line("concurrency", c.Concurrency, d.Concurrency)
	line("log", c.Log, d.Log)
	line("tracing", c.Tracing, d.Tracing)
	line("shutdown", c.Shutdown, d.Shutdown)
	for _, f := range c.Files {
		rel, _ := filepath.Rel(c.Dir, f)
		fmt.Fprintln(&b, "file", filepath.ToSlash(rel))
	}
	return b.String()
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func TestProblemsNeverShowSecrets(t *testing.T) {
	t.Parallel()
	_, err := config.Load("testdata/secret.bad.yaml", kinds())
	if err == nil {
		t.Fatal("no problems")
	}
	for _, secret := range []string{"hunter2", "is not it", `"short"`} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the problems show %q:\n%v", secret, err)
		}
	}
}

// Reload compares sections, so where they stand and in which order must not matter, and what they mean must.
func TestSectionsOfEqualMeaningAreEqual(t *testing.T) {
	t.Parallel()
	parse := func(text string) *config.Config {
		t.Helper()
		c, err := config.Parse("x.yaml", []byte(text), kinds())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := parse("functions:\n  f: {runtime: program, code: ./f, environment: {A: 1, B: 2}}\n  g: {runtime: empty}\n")
	b := parse("# moved\n\n\nfunctions:\n  g:\n    runtime: empty\n  f:\n    environment: {B: \"2\", A: '1'}\n    code: ./f\n    runtime: program\n")
	if !reflect.DeepEqual(a.Functions, b.Functions) || !reflect.DeepEqual(a.Store, b.Store) {
		t.Errorf("not equal:\n%s\n%s", show(a), show(b))
	}
	c := parse("functions:\n  f: {runtime: program, code: ./f, environment: {A: 1, B: 3}}\n  g: {runtime: empty}\n")
	if reflect.DeepEqual(a.Functions["f"], c.Functions["f"]) || !reflect.DeepEqual(a.Functions["g"], c.Functions["g"]) {
		t.Error("a change of f must show in f alone")
	}
	if got := b.Where("functions", "f").String(); got != "x.yaml:7:3" {
		t.Errorf("Where = %s", got)
	}
}

func TestAFileThatCanNotBeReadIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	_, err := config.Load("testdata/absent.yaml", kinds())
	var problems config.Problems
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &problems) {
		t.Errorf("Load = %v", err)
	}
}

func TestAPipeThatNobodyWritesToIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := config.Load(pipe, kinds())
		got <- err
	}()
	select {
	case err := <-got:
		if err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Load waits")
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.1.2.3:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "hub.example.test:1": false, "": false,
	} {
		if got := config.Loopback(addr); got != want {
			t.Errorf("Loopback(%q) = %t", addr, got)
		}
	}
}

func TestKindsOfListsACatalog(t *testing.T) {
	t.Parallel()
	spec := plugin.Define("x", "Does nothing.", folder{Dir: "d"}, func(context.Context, folder, plugin.Deps) (int, error) { return 0, nil })
	catalog, err := plugin.NewCatalog(spec)
	if err != nil {
		t.Fatal(err)
	}
	made := config.KindsOf(catalog)["x"]().(*folder)
	if made.Dir != "d" {
		t.Errorf("got %+v", made)
	}
}

// Whatever stands in a file, reading it ends without a panic and has one outcome.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "testdata/parts/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "include") || strings.Contains(string(data), "file:") {
			t.Skip() // other files are not the fuzzer's to read
		}
		a, errA := config.Parse("fuzz.yaml", data, kinds())
		b, errB := config.Parse("fuzz.yaml", data, kinds())
		if fmt.Sprint(errA) != fmt.Sprint(errB) || !reflect.DeepEqual(a, b) {
			t.Errorf("two outcomes:\n%v\n%v", errA, errB)
		}
		var problems config.Problems
		if errA != nil && (!errors.As(errA, &problems) || len(problems) == 0) {
			t.Errorf("%v are no problems", errA)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Msg == "" || !utf8.ValidString(p.Msg) {
				t.Errorf("bad problem %+v", p)
			}
		}
	})
}

func TestAFileOfManyTriggersIsReadAtOnce(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("functions: {f: {runtime: empty}}\ntriggers:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  t%d: {kind: web, with: {path: /t/%d, authorizer: f}, function: f}\n", i, i)
	}
	c, err := config.Parse("many.yaml", []byte(b.String()), kinds())
	if err != nil || len(c.Triggers) != 10_000 {
		t.Fatal(err)
	}
}
