package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/config"
)

// family is a set of kinds that may stand in the same place of the file.
type family struct {
	dir      string   // of its pages
	section  string   // of the file
	title    string   // heading, a plural
	intro    string   // one sentence
	key      string   // the field that names the kind
	flat     bool     // settings stand beside key, not under with
	path     []string // of the section in the schema, where "*" is any name
	required []string // fields that the section must have
	fallback string   // kind where none is named; "" if one must be
	kinds    []kind
}

// kind is one kind of component.
type kind struct {
	name     string
	summary  string
	defaults any // pointer to its configuration
	settings []setting
}

const (
	pages      = "docs/reference"
	schemaFile = "configs/millrace.schema.json"
)

// generate makes the content of every file below root, by name with slashes.
func generate(root string, families []family) (map[string]string, error) {
	c := &comments{root: root, module: module, packages: map[string]map[string]string{}}
	var errs []error
	frame, err := c.settings(reflect.ValueOf(config.Defaults()))
	errs = append(errs, err)
	files := map[string]string{}
	for i := range families {
		f := &families[i]
		f.kinds = slices.Clone(f.kinds)
		for j := range f.kinds {
			k := &f.kinds[j]
			if k.settings, err = c.settings(reflect.ValueOf(k.defaults)); err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", f.dir, k.name, err))
			}
			if k.summary == "" {
				errs = append(errs, fmt.Errorf("%s %s: its Spec has no summary", f.dir, k.name))
			}
			files[pages+"/"+f.dir+"/"+k.name+".md"] = kindPage(*f, *k)
		}
	}
	files[pages+"/file.md"] = filePage(frame, families)
	files[pages+"/README.md"] = indexPage(families)
	s, err := schema(frame, families)
	errs = append(errs, err)
	files[schemaFile] = string(s)
	return files, errors.Join(errs...)
}

// write makes the files below root, and removes pages that it wrote once, of kinds that are no more.
func write(root string, files map[string]string) error {
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return filepath.WalkDir(filepath.Join(root, pages), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if _, ok := files[filepath.ToSlash(rel)]; err != nil || ok || !strings.HasSuffix(name, ".md") {
			return err
		}
		if text, err := os.ReadFile(name); err != nil || !strings.HasPrefix(string(text), head) {
			return err // another program's
		}
		return os.Remove(name)
	})
}

func sorted(s []string) []string { slices.Sort(s); return s }
