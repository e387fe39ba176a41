package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/millrace/millrace/internal/plugin"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// gadget has a setting of each type.
type gadget struct {
	// Path is where it stands, or | what it is
	// called.
	Path string `yaml:"path"`
	// Other is had instead of another.
	Other string `yaml:"other"`
	// Spare is needed unless there is more.
	Spare string `yaml:"spare"`
	// Wait is a time.
	Wait time.Duration `yaml:"wait"`
	// Memory is a size.
	Memory plugin.Size `yaml:"memory"`
	// Key is secret.
	Key plugin.Secret `yaml:"key"`
	// Count is how many.
	Count int `yaml:"count"`
	// Ratio is how much of it.
	Ratio float64 `yaml:"ratio"`
	// On turns it on.
	On bool `yaml:"on"`
	// Names are several.
	Names []string `yaml:"names"`
	// Tags are texts by name.
	Tags map[string]string `yaml:"tags"`
	// Routes are sections.
	Routes []struct {
		// Method is one of HTTP.
		Method string `yaml:"method"`
	} `yaml:"routes"`
	// Limits bound it.
	Limits *limits `yaml:"limits"`
	// Extra is anything.
	Extra any `yaml:"extra"`

	embedded `yaml:",inline"`
	Hidden   int `yaml:"-"`
	internal int //nolint:unused // it must not show in the page
}

type limits struct {
	// Low is the lower one.
	Low int8 `yaml:"low"`
}

type embedded struct {
	// Flag is in every kind.
	Flag bool `yaml:"flag"`
}

func (g *gadget) Validate() error {
	var errs []error
	if g.Path == "" {
		errs = append(errs, plugin.Invalid("path", "is missing"))
	}
	if g.Spare == "" {
		errs = append(errs, plugin.Invalid("spare", "is missing"))
	}
	if g.Other == "" && g.Count == 0 {
		errs = append(errs, plugin.Invalid("other", "set other or count"))
	}
	return errors.Join(append(errs, errors.New("unreadable"))...)
}

type silent struct {
	// Good has a comment.
	Good string `yaml:"good"`
	Bad  string `yaml:"bad"` // is no doc comment
	Also struct {
		Worse int `yaml:"worse"`
	} `yaml:"also"`
	Untagged int
}

func fake() []family {
	return []family{
		{
			dir: "functions", section: "functions", title: "Functions", intro: "What runs.", key: "runtime", flat: true,
			path: []string{"functions", "*"}, required: []string{"runtime"},
			kinds: []kind{{name: "gadget", summary: "Is a gadget.", defaults: &gadget{
				Wait: 90 * time.Minute, Memory: 6 * plugin.MB, Ratio: 0.5, Names: []string{"a", "b"}, Tags: map[string]string{"y": "2", "x": "1"},
			}}, {name: "nothing", summary: "Has no settings.", defaults: &struct{}{}}},
		},
		{
			dir: "sources", section: "triggers", title: "Sources", intro: "What brings events.", key: "kind",
			path: []string{"triggers", "*"}, required: []string{"kind", "function"},
			kinds: []kind{{name: "gadget", summary: "Is a gadget.", defaults: &gadget{}}},
		},
		{
			dir: "stores", section: "store", title: "Stores", intro: "What keeps.", key: "kind",
			path: []string{"store"}, fallback: "local",
			kinds: []kind{{name: "local", summary: "Is here.", defaults: &limits{}}, {name: "remote", summary: "Is there.", defaults: &embedded{}}},
		},
	}
}

const root = "../.."

func TestPagesShowWhatTheCodeHas(t *testing.T) {
	t.Parallel()
	files, err := generate(root, fake())
	if err != nil {
		t.Fatal(err)
	}
	again, err := generate(root, fake())
	if err != nil || !reflect.DeepEqual(files, again) {
		t.Errorf("a second run differs: %v", err)
	}
	for name, golden := range map[string]string{
		pages + "/functions/gadget.md": "gadget.md", pages + "/README.md": "README.md",
	} {
		golden = filepath.Join("testdata", golden)
		if *update {
			if err := os.WriteFile(golden, []byte(files[name]), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if files[name] != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, files[name], want)
		}
	}
	for _, row := range []string{
		"| `functions.NAME.runtime` | text | required |", "| `functions.NAME.async.retryDelays` | list of durations | `[1m, 2m]` |",
		"| `listen.aws` | text | `127.0.0.1:4566` |", "| `store.kind` | text | `local` |",
	} {
		if !strings.Contains(files[pages+"/file.md"], row) {
			t.Errorf("file.md has no %s", row)
		}
	}
}

func TestAFieldWithoutCommentOrTagIsAnError(t *testing.T) {
	t.Parallel()
	families := []family{fake()[2]}
	families[0].kinds = []kind{{name: "silent", defaults: &silent{}}}
	_, err := generate(root, families)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"silent.Bad has no doc comment", "silent.Also has no doc", "silent.Also.Worse has no doc", "silent.Untagged has no yaml tag", "no summary"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "silent.Good") {
		t.Errorf("silent.Good has a comment:\n%v", err)
	}
}

func TestPagesOfKindsThatAreNoMoreAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, pages, "sources", "old.md")
	if err := os.MkdirAll(filepath.Dir(old), 0o777); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, pages, "other.md")
	if err := errors.Join(os.WriteFile(old, []byte(head), 0o666), os.WriteFile(other, []byte("by another program"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, map[string]string{pages + "/sources/new.md": "new"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old page: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a page of another program: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, pages, "sources", "new.md")); string(got) != "new" {
		t.Errorf("the new page: %q, %v", got, err)
	}
}

func compile(t *testing.T, families []family) *jsonschema.Schema {
	t.Helper()
	files, err := generate(root, families)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(files[schemaFile]))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// value is what the text of a file holds, as JSON has it.
func value(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = jsonschema.UnmarshalJSON(strings.NewReader(string(b))); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchemaTellsGoodFilesFromBad(t *testing.T) {
	t.Parallel()
	s := compile(t, fake())
	for _, good := range []string{
		"{}",
		"include: a.yaml",
		"include: [a.yaml, b.yaml]",
		"functions: {f: {runtime: gadget, path: x, wait: 5s, memory: 6MB, count: 3, ratio: 1.5, on: true, names: [a, 1], tags: {a: 1}, routes: [{method: GET}], limits: {low: 1}, flag: true, extra: [1, {a: b}]}}",
		"functions: {f: {runtime: gadget, path: , wait: '${W}', memory: 512, count: '${N:-3}', names: , limits: }}",
		"functions: {f: {runtime: nothing, async: {maximumRetryAttempts: 3, retryDelays: [0, 1m30s], onFailure: d, onSuccess: [d]}}}",
		"triggers: {t: {kind: gadget, function: f, with: {path: x}}, u: {kind: gadget, function: f}}",
		"store:",
		"store: {with: {low: 3}}",
		"store: {kind: local, with: {low: 3}}",
		"store: {kind: remote, with: {flag: true}}",
		"security: {keys: {A: b}, token: '${file:token}'}",
		"aws: {account: 123456789012}",
	} {
		if err := s.Validate(value(t, good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"[]",
		"function: {}",
		"functions: {f: {path: x}}",
		"functions: {f: {runtime: gizmo}}",
		"functions: {f: {runtime: nothing, path: x}}",
		"functions: {f: {runtime: gadget, pth: x}}",
		"functions: {f: {runtime: gadget, wait: 5}}",
		"functions: {f: {runtime: gadget, wait: soon}}",
		"functions: {f: {runtime: gadget, memory: 6 apples}}",
		"functions: {f: {runtime: gadget, count: many}}",
		"functions: {f: {runtime: gadget, on: 'yes'}}",
		"functions: {f: {runtime: gadget, names: a}}",
		"functions: {f: {runtime: gadget, tags: [a]}}",
		"functions: {f: {runtime: gadget, routes: [{methd: GET}]}}",
		"functions: {f: {runtime: gadget, limits: {low: x}}}",
		"functions: {f: {runtime: gadget, async: {retries: 3}}}",
		"triggers: {t: {kind: gadget}}",
		"triggers: {t: {kind: gadget, function: f, path: x}}",
		"triggers: {t: {kind: gadget, function: f, with: {pth: x}}}",
		"store: {with: {flag: true}}",
		"store: {kind: remote, with: {low: 3}}",
		"listen: {gatewy: x}",
	} {
		if err := s.Validate(value(t, bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
