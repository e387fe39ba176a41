// Docgen writes the reference pages and the JSON Schema of the file from the code that the hub runs: names and
// types from the structs, defaults from the values in use, text from the doc comments. Run it as
// go run ./internal/docgen in the folder of the module.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/internal/plugin"
)

const module = "github.com/millrace/millrace"

func main() {
	root := flag.String("C", ".", "folder of the module")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return fmt.Errorf("run it in the folder of the module: %w", err)
	}
	catalogs, err := app.NewCatalogs(nil)
	if err != nil {
		return err
	}
	files, err := generate(root, families(catalogs))
	if err != nil {
		return err
	}
	return write(root, files)
}

// families names the families of kinds in the order of the index.
func families(c app.Catalogs) []family {
	return []family{
		{
			dir: "functions", section: "functions", title: "Functions", intro: "What runs: the `runtime` of a function.",
			key: "runtime", flat: true, path: []string{"functions", "*"}, required: []string{"runtime"}, kinds: kinds(c.Functions),
		},
		{
			dir: "sources", section: "triggers", title: "Sources", intro: "What brings events: the `kind` of a trigger.",
			key: "kind", path: []string{"triggers", "*"}, required: []string{"kind", "function"}, kinds: kinds(c.Sources),
		},
		{
			dir: "destinations", section: "destinations", title: "Destinations", intro: "What takes the records of finished and failed events: the `kind` of a destination.",
			key: "kind", path: []string{"destinations", "*"}, required: []string{"kind"}, kinds: kinds(c.Destinations),
		},
		{
			dir: "stores", section: "store", title: "Stores", intro: "What keeps accepted events and the ledger: the `kind` of the store.",
			key: "kind", path: []string{"store"}, fallback: config.Defaults().Store.Kind, kinds: kinds(c.Stores),
		},
	}
}

func kinds[T any](c plugin.Catalog[T]) (all []kind) {
	for _, name := range c.Kinds() {
		spec, _ := c.Lookup(name)
		all = append(all, kind{name: name, summary: spec.Summary, defaults: spec.Config()})
	}
	return all
}
