// Package archtest holds the rules of which package may import what, and the check that they are kept.
package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

const module = "github.com/millrace/millrace"

// families are the folders whose root is a contract and whose subfolders are kinds that implement it, or the
// suite, called …test, that checks them.
var families = []string{"async", "destinations", "executor", "sources"}

// words are the contracts and leaves that every family speaks in.
var words = []string{"event", "executor", "destinations", "internal/plugin", "internal/clock"}

// leaves are what kinds of several families share.
var leaves = []string{"internal/awsapi", "internal/cron", "internal/sign", "internal/sigv4", "internal/xray"}

// pure are the packages that import nothing but the standard library.
var pure = []string{"event", "executor", "destinations", "internal/clock"}

// may says what packages outside the families may import of this module; what is below a folder follows its rule.
// A folder without a rule is refused, so that each new one has to be thought about.
var may = map[string][]string{
	"event":               {},
	"internal/clock":      {},
	"internal/plugin":     {"internal/clock"},
	"internal/awsapi":     words,
	"internal/cron":       {},
	"internal/sign":       words,
	"internal/sigv4":      words,
	"internal/xray":       {},
	"internal/fixtures":   {},
	"internal/archtest":   {},
	"internal/config":     {"executor", "internal/plugin"},
	"internal/docgen":     {"internal/app", "internal/config", "internal/plugin"},
	"internal/app":        {anything},
	"api":                 append([]string{"async", "internal/sigv4", "internal/xray"}, words...),
	"cmd":                 {"internal/app", "internal/config", "internal/clock", "internal/plugin", "api", "async", "stack"},
	"configs":             {},
	"router":              {"event"},
	"stack":               {"event", "router", "stack/alarm", "stack/env", "stack/outbox", "stack/page", "stack/policy", "stack/store", "stack/wire", "internal/clock", "internal/cron", "internal/sigv4"},
	"stack/alarm":         {"internal/clock"},
	"stack/dynamodb":      {"stack/alarm", "stack/dynamodb/attr", "stack/dynamodb/expr", "stack/env", "stack/page", "stack/store", "stack/wire"},
	"stack/dynamodb/attr": {},
	"stack/dynamodb/expr": {"stack/dynamodb/attr"},
	"stack/env":           {"stack/store", "internal/clock"},
	"stack/outbox":        {"stack/alarm", "stack/env", "stack/store", "stack/wire"},
	"stack/page":          {},
	"stack/policy":        {},
	"stack/store":         {},
	"stack/wire":          {"internal/clock", "internal/sigv4"},
	"test":                {anything},
}

const anything = "*"

// heavy says who may bring in what is large, or what must stay in one place. A dependency stands for all packages
// below it, a folder too; "kinds" is every kind of a family and "suites" every suite. What is in test may import
// anything.
var heavy = map[string][]string{
	"go.yaml.in/yaml":                {"internal/config"},
	"gopkg.in/yaml.v3":               {},
	"github.com/aws/aws-lambda-go":   {"configs"},
	"github.com/aws/aws-sdk-go-v2":   {"kinds", "suites", "api", "cmd", "internal/awsapi", "internal/sigv4", "stack/kinesis"},
	"github.com/aws/smithy-go":       {"kinds", "api", "internal/awsapi", "internal/sigv4"},
	"github.com/cockroachdb/pebble":  {"async/local", "stack/store"},
	"github.com/tetratelabs/wazero":  {"executor/wasm"},
	"github.com/extism":              {"executor/wasm"},
	"github.com/nats-io/nats.go":     {"sources/nats"},
	"github.com/redis/go-redis":      {"sources/redis"},
	"github.com/spf13/cobra":         {"cmd"},
	"go.opentelemetry.io/otel/sdk":   {"internal/app"},
	"go.opentelemetry.io/contrib":    {"internal/app"},
	"github.com/nats-io/nats-server": {},
	"github.com/alicebob/miniredis":  {},
	"github.com/google/go-cmp":       {"suites"},
	"github.com/santhosh-tekuri":     {},
	"go.uber.org/goleak":             {"suites"},
	"testing":                        {"suites", "internal/fixtures"},
	"net/http/httptest":              {"suites"},
}

// pkg is a package of the module, without its tests.
type pkg struct {
	path    string // in the module
	doc     string // first sentence of the package comment
	imports []string
	files   []*ast.File
}

// faults lists what is wrong with the packages, sorted.
func faults(packages []pkg) []string {
	var all []string
	fault := func(p pkg, format string, args ...any) {
		all = append(all, p.path+fmt.Sprintf(format, args...))
	}
	var catalog []string // what internal/app imports
	for _, p := range packages {
		if p.path == "internal/app" {
			catalog = p.imports
		}
	}
	for _, p := range packages {
		if !ruled(p.path) {
			fault(p, " has no rule; add its folder to internal/archtest")
			continue
		}
		if most := 3; strings.Count(p.path, "/") >= most && top(p.path) != "test" {
			fault(p, " is more than %d folders deep", most)
		}
		if p.doc == "" {
			fault(p, " has no package comment")
		}
		if declares(p, "init") {
			fault(p, " has a func init; do that work where it is asked for")
		}
		if isKind(p.path) {
			switch {
			case !declares(p, "Spec") && !declares(p, "Specs"):
				fault(p, " is below a family, but has neither Spec nor Specs and is no …test")
			case catalog != nil && !slices.Contains(catalog, module+"/"+p.path):
				fault(p, " has a Spec that internal/app does not list")
			}
		}
		for _, imp := range p.imports {
			if own, ok := strings.CutPrefix(imp, module+"/"); ok {
				if !mayImport(p.path, own) {
					fault(p, " may not import %s", own)
				}
				continue
			}
			external := strings.Contains(strings.Split(imp, "/")[0], ".")
			if external && slices.Contains(pure, p.path) {
				fault(p, " imports %s, but may import the standard library only", imp)
			}
			for dep, where := range heavy {
				if within(imp, dep) && !slices.ContainsFunc(where, func(w string) bool { return is(p.path, w) }) && top(p.path) != "test" {
					fault(p, " imports %s, which may come in by %q only", imp, where)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func ruled(p string) bool { return slices.Contains(families, top(p)) || rule(p) != "" }

// rule is the longest folder of may that p is in.
func rule(p string) (longest string) {
	for dir := range may {
		if within(p, dir) && len(dir) > len(longest) {
			longest = dir
		}
	}
	return longest
}

func mayImport(from, to string) bool {
	switch {
	case top(from) == "test":
		return true
	case top(to) == "test" || isSuite(to) || to == "internal/fixtures":
		return false
	case from == "stack" && top(to) == "stack": // puts its services together
		return true
	case isFamily(from):
		return from != to && slices.Contains(words, to)
	case slices.Contains(families, top(from)): // a kind or a suite
		return to == top(from) || slices.Contains(words, to) || slices.Contains(leaves, to)
	}
	return slices.ContainsFunc(may[rule(from)], func(dir string) bool { return dir == anything || dir == to || dir == "api" && within(to, dir) })
}

// is says whether p is in the folder, or of the sort, that where names.
func is(p, where string) bool {
	switch where {
	case "kinds":
		return isKind(p)
	case "suites":
		return isSuite(p)
	}
	return within(p, where)
}

func isFamily(p string) bool { return slices.Contains(families, p) }

func isSuite(p string) bool {
	return (slices.Contains(families, path.Dir(p)) || path.Dir(p) == "stack") && strings.HasSuffix(p, "test")
}

func isKind(p string) bool {
	return !isFamily(p) && slices.Contains(families, top(p)) && !isSuite(p)
}

// within says whether p is dir or below it.
func within(p, dir string) bool {
	rest, ok := strings.CutPrefix(p, dir)
	return ok && (rest == "" || rest[0] == '/')
}

func top(p string) string { first, _, _ := strings.Cut(p, "/"); return first }

// declares says whether p has a function, not a method, of that name.
func declares(p pkg, name string) bool {
	for _, f := range p.files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == name {
				return true
			}
		}
	}
	return false
}
