package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// comments finds the doc comments of struct fields in the source of the module whose folder is root.
type comments struct {
	root, module string
	packages     map[string]map[string]string // package path to "Type.Field" to text
}

// field is the text on field, in one line, of t, or of the struct without a name at the end of the dotted path
// under, which begins with the name of a type.
func (c *comments) field(pkg, under, field string) (string, error) {
	texts, ok := c.packages[pkg]
	if !ok {
		var err error
		if texts, err = c.parse(pkg); err != nil {
			return "", err
		}
		c.packages[pkg] = texts
	}
	text := texts[under+"."+field]
	if text == "" {
		return "", fmt.Errorf("%s: %s.%s has no doc comment, which its reference page is made of", pkg, under, field)
	}
	return text, nil
}

func (c *comments) parse(pkg string) (map[string]string, error) {
	dir, ok := strings.CutPrefix(pkg, c.module+"/")
	if !ok {
		return nil, fmt.Errorf("%s is not a package of this module, so its doc comments are out of reach", pkg)
	}
	names, err := filepath.Glob(filepath.Join(c.root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("reading doc comments: %w", err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				for _, s := range g.Specs {
					if t, ok := s.(*ast.TypeSpec); ok {
						structFields(t.Name.Name, t.Type, texts)
					}
				}
			}
		}
	}
	return texts, nil
}

// structFields notes the comments of the fields of e, which stands at path, if e is a struct or a pointer, list
// or map of one.
func structFields(path string, e ast.Expr, texts map[string]string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		structFields(path, e.X, texts)
	case *ast.ArrayType:
		structFields(path, e.Elt, texts)
	case *ast.MapType:
		structFields(path, e.Value, texts)
	case *ast.StructType:
		for _, f := range e.Fields.List {
			for _, name := range f.Names {
				at := path + "." + name.Name
				texts[at] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				structFields(at, f.Type, texts)
			}
		}
	}
}

// origin is the package and the name of t, where it has one; else it is what it was in the struct around it.
func origin(t reflect.Type, pkg, under, field string) (string, string) {
	if t.Name() != "" {
		return t.PkgPath(), t.Name()
	}
	return pkg, under + "." + field
}
