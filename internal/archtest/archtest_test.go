package archtest

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The test cache does not see what the go command says: run this with -count=1.
func TestPackagesKeepTheRules(t *testing.T) {
	t.Parallel()
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("the go command lists %d packages only", len(packages))
	}
	for _, fault := range faults(packages) {
		t.Error(fault)
	}
}

func list(t *testing.T) (packages []pkg) {
	t.Helper()
	// -e lists packages that do not build too: that is for the compiler to report.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=Dir,ImportPath,Doc,Imports,GoFiles", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			Dir, ImportPath, Doc string
			Imports, GoFiles     []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		got := pkg{path: strings.TrimPrefix(p.ImportPath, module+"/"), doc: p.Doc, imports: p.Imports}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			got.files = append(got.files, f)
		}
		packages = append(packages, got)
	}
}

// A check that nothing can fail proves nothing.
func TestEachRuleCatchesItsBreach(t *testing.T) {
	t.Parallel()
	const own = module + "/"
	app := pkg{path: "internal/app", doc: "d", imports: []string{own + "sources/s3", own + "executor/http"}}
	for name, c := range map[string]struct {
		p    pkg
		src  string
		want string // "" is none
	}{
		"a kind imports its family, words and leaves": {pkg{path: "sources/s3", imports: []string{own + "sources", own + "event", own + "executor", own + "internal/plugin", own + "internal/sign"}}, "func Spec() {}", ""},
		"a kind imports another kind":                 {pkg{path: "sources/s3", imports: []string{own + "sources/sns"}}, "func Spec() {}", "sources/s3 may not import sources/sns"},
		"a kind imports another family":               {pkg{path: "executor/http", imports: []string{own + "sources"}}, "func Specs() {}", "executor/http may not import sources"},
		"a kind imports the file":                     {pkg{path: "sources/s3", imports: []string{own + "internal/config"}}, "func Spec() {}", "sources/s3 may not import internal/config"},
		"a kind imports the root":                     {pkg{path: "sources/s3", imports: []string{own + "internal/app"}}, "func Spec() {}", "sources/s3 may not import internal/app"},
		"a kind imports a suite":                      {pkg{path: "sources/s3", imports: []string{own + "sources/sourcetest"}}, "func Spec() {}", "sources/s3 may not import sources/sourcetest"},
		"a kind has no Spec":                          {pkg{path: "sources/s3"}, "func (x) Spec() {}", "sources/s3 is below a family, but has neither Spec nor Specs and is no …test"},
		"a kind is not listed":                        {pkg{path: "sources/lost"}, "func Spec() {}", "sources/lost has a Spec that internal/app does not list"},
		"a family imports words":                      {pkg{path: "async", imports: []string{own + "executor", own + "destinations", own + "internal/clock"}}, "", ""},
		"a family imports a family":                   {pkg{path: "async", imports: []string{own + "sources"}}, "", "async may not import sources"},
		"a family imports its kind":                   {pkg{path: "sources", imports: []string{own + "sources/s3"}}, "", "sources may not import sources/s3"},
		"a leaf imports a library":                    {pkg{path: "event", imports: []string{"github.com/google/uuid"}}, "", "event imports github.com/google/uuid, but may import the standard library only"},
		"a leaf imports the standard library":         {pkg{path: "event", imports: []string{"encoding/json"}}, "", ""},
		"plugin imports a family":                     {pkg{path: "internal/plugin", imports: []string{own + "sources"}}, "", "internal/plugin may not import sources"},
		"the API imports the root":                    {pkg{path: "api/lambdaapi", imports: []string{own + "internal/app"}}, "", "api/lambdaapi may not import internal/app"},
		"the command imports the API":                 {pkg{path: "cmd/millrace", imports: []string{own + "api/admin", own + "internal/app"}}, "", ""},
		"something imports test":                      {pkg{path: "cmd/millrace", imports: []string{own + "test/hub"}}, "", "cmd/millrace may not import test/hub"},
		"test imports anything":                       {pkg{path: "test/e2e", imports: []string{own + "async/local", "testing", "go.yaml.in/yaml/v4"}}, "", ""},
		"YAML outside of config":                      {pkg{path: "internal/docgen", imports: []string{"go.yaml.in/yaml/v4"}}, "", `internal/docgen imports go.yaml.in/yaml/v4, which may come in by ["internal/config"] only`},
		"Pebble outside of its store":                 {pkg{path: "async", imports: []string{"github.com/cockroachdb/pebble/v2"}}, "", `async imports github.com/cockroachdb/pebble/v2, which may come in by ["async/local" "stack/store"] only`},
		"a service of the stack imports its ground":   {pkg{path: "stack/sqs", imports: []string{own + "stack/wire", own + "stack/env", own + "router"}}, "", ""},
		"a service of the stack imports another":      {pkg{path: "stack/sns", imports: []string{own + "stack/sqs"}}, "", "stack/sns may not import stack/sqs"},
		"the stack imports its services":              {pkg{path: "stack", imports: []string{own + "stack/sqs"}}, "", ""},
		"the stack imports its suite":                 {pkg{path: "stack", imports: []string{own + "stack/stacktest"}}, "", "stack may not import stack/stacktest"},
		"testing in the binary":                       {pkg{path: "sources/s3", imports: []string{"testing"}}, "func Spec() {}", `sources/s3 imports testing, which may come in by ["suites" "internal/fixtures"] only`},
		"a suite imports testing":                     {pkg{path: "sources/sourcetest", imports: []string{"testing", own + "sources"}}, "", ""},
		"an unknown folder":                           {pkg{path: "util"}, "", "util has no rule; add its folder to internal/archtest"},
		"an unknown folder in internal":               {pkg{path: "internal/helpers"}, "", "internal/helpers has no rule; add its folder to internal/archtest"},
		"too deep":                                    {pkg{path: "internal/app/part/piece"}, "", "internal/app/part/piece is more than 3 folders deep"},
		"a func init":                                 {pkg{path: "event"}, "func init() {}", "event has a func init; do that work where it is asked for"},
		"a method called init":                        {pkg{path: "event"}, "func (x) init() {}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+c.src, 0)
			if err != nil {
				t.Fatal(err)
			}
			c.p.doc, c.p.files = "d", append(c.p.files, f)
			var want []string
			if c.want != "" {
				want = []string{c.want}
			}
			if got := faults([]pkg{app, c.p}); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
	if got := faults([]pkg{{path: "event"}}); !slices.Equal(got, []string{"event has no package comment"}) {
		t.Errorf("no comment: %q", got)
	}
}
