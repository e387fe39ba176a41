package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/config"
)

// Everything generated is in the repository as this source makes it.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	t.Parallel()
	files, err := generate(root, families(catalogs(t)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the source says (%v); run go run ./internal/docgen", name, err)
		}
	}
}

// What the repository shows as an example passes the check of the hub, and the schema.
func TestExamplesAreGood(t *testing.T) {
	c := catalogs(t)
	s := compile(t, families(c))
	kinds := config.Kinds{
		Functions: config.KindsOf(c.Functions), Sources: config.KindsOf(c.Sources),
		Destinations: config.KindsOf(c.Destinations), Stores: config.KindsOf(c.Stores),
	}
	found := examples(t)
	if len(found) == 0 {
		t.Fatal("no examples")
	}
	for name, text := range found {
		t.Run(name, func(t *testing.T) {
			for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)\}`).FindAllStringSubmatch(text, -1) {
				if os.Getenv(m[1]) == "" {
					t.Setenv(m[1], "a value from the environment")
				}
			}
			file, _, _ := strings.Cut(name, ":")
			_, err := config.Parse(filepath.Join(root, file), []byte(text), kinds)
			var problems config.Problems
			if err != nil && !errors.As(err, &problems) {
				t.Fatal(err)
			}
			for _, p := range problems {
				if !strings.Contains(p.Msg, "${file:") { // the reader's to make
					t.Error(p)
				}
			}
			if err := s.Validate(value(t, text)); err != nil {
				t.Error(err)
			}
		})
	}
}

var block = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// examples are the YAML files in configs and the blocks marked yaml in docs and README.md. Those of a page keep
// their place in it: the lines before are empty.
func examples(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, at := range []string{"configs", "docs", "README.md"} {
		err := filepath.WalkDir(filepath.Join(root, at), func(name string, d fs.DirEntry, err error) error {
			ext := filepath.Ext(name)
			if err != nil || d.IsDir() || ext != ".yaml" && ext != ".md" {
				return err
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if ext == ".yaml" {
				found[rel] = string(data)
				return err
			}
			for _, m := range block.FindAllSubmatchIndex(data, -1) {
				lines := strings.Count(string(data[:m[2]]), "\n")
				found[fmt.Sprintf("%s:%d", rel, lines+1)] = strings.Repeat("\n", lines) + string(data[m[2]:m[3]])
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return found
}

func catalogs(t *testing.T) app.Catalogs {
	t.Helper()
	c, err := app.NewCatalogs(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
