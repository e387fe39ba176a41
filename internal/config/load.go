package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"
)

// loader reads files into one tree.
type loader struct {
	problems Problems
	secrets  []string          // texts that no problem may show
	seen     map[string]bool   // absolute paths of the configuration files read
	texts    map[string]bool   // absolute paths of the files read for ${file:…}
	taken    map[string]*entry // top-level settings and named sections, by path
	copies   int               // values that exist only by << and aliases
	partial  bool              // a file could not be read: names may be missing
}

func (l *loader) files() []string {
	all := maps.Clone(l.seen)
	maps.Copy(all, l.texts)
	return slices.Sorted(maps.Keys(all))
}

// shared are the sections that several files may add to.
var shared = []string{"functions", "triggers", "destinations"}

// file adds the file of the absolute path abs, shown as name, and what it includes, to root. stack is the
// files that led to it.
func (l *loader) file(root *node, name, abs string, data []byte, stack []string) {
	l.seen[abs] = true
	t := l.tree(name, filepath.Dir(abs), data)
	if t == nil {
		l.partial = true
		return
	}
	for _, e := range t.entries {
		switch {
		case e.key == "include":
			l.include(root, e.value, name, append(stack, abs))
			if len(stack) == 0 {
				root.entries = append(root.entries, e)
			}
		case slices.Contains(shared, e.key) && e.value.kind == section:
			to := root.get(e.key)
			if to == nil || to.value.kind != section {
				to = &entry{key: e.key, pos: e.pos, value: &node{kind: section, pos: e.value.pos}}
				root.entries = append(root.entries, to)
			}
			for _, named := range e.value.entries {
				if l.take(e.key+"."+named.key, named) {
					to.value.entries = append(to.value.entries, named)
				}
			}
		case slices.Contains(shared, e.key) && e.value.kind == null: // an empty section adds nothing
		case l.take(e.key, e):
			root.entries = append(root.entries, e)
		}
	}
}

// take claims a name for e, or reports where it is taken.
func (l *loader) take(path string, e *entry) bool {
	if first := l.taken[path]; first != nil {
		l.problems.add(e.pos, "%q is set already at %s", e.key, first.pos)
		return false
	}
	l.taken[path] = e
	return true
}

// include reads the files that n, the include list of the file name, matches.
func (l *loader) include(root *node, n *node, name string, stack []string) {
	items := n.items
	if n.kind == scalar {
		items = []*node{n}
	}
	for _, item := range items {
		if item.kind != scalar || item.broken {
			continue // the decoder reports what is not a text
		}
		dir := filepath.Dir(name)
		if filepath.IsAbs(item.text) {
			dir = ""
		}
		names, err := filepath.Glob(filepath.Join(dir, item.text))
		switch {
		case err != nil:
			l.problems.add(item.pos, "%q is not a pattern of file names: a bracket is not closed", clip(item.text))
		case len(names) == 0 && !strings.ContainsAny(item.text, "*?["):
			l.problems.add(item.pos, "there is no file %s", filepath.Join(dir, item.text))
			l.partial = true
		}
		for _, name := range names {
			abs, err := filepath.Abs(name)
			if err != nil {
				l.problems.add(item.pos, "including %s: %v", name, err)
				continue
			}
			if i := slices.Index(stack, abs); i >= 0 {
				l.problems.add(item.pos, "the file includes itself%s", through(stack[i+1:]))
				continue
			}
			if l.seen[abs] {
				continue // two files may include a third
			}
			data, err := readFile(name)
			if err != nil {
				l.problems.add(item.pos, "including %v", err)
				l.partial = true
				continue
			}
			l.file(root, name, abs, data, stack)
		}
	}
}

func through(stack []string) string {
	if len(stack) == 0 {
		return ""
	}
	names := make([]string, len(stack))
	for i, s := range stack {
		names[i] = filepath.Base(s)
	}
	return " through " + strings.Join(names, ", ")
}

// readFile reads at most a little more than a configuration may have, so that a device or a wrong file does
// not fill the memory.
func readFile(name string) ([]byte, error) {
	// O_NONBLOCK: a named pipe that nobody writes to is empty, instead of a wait without end.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	return data, nil
}

// cause is err without the path that the os package puts before it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// variable matches the escape $${ and every form of ${…}. The first group is the content, the second its
// closing brace.
var variable = regexp.MustCompile(`\$?\$\{([^}]*)(\}?)`)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces what stands between ${ and } in a scalar.
func (b *builder) expand(n *node) {
	n.text = variable.ReplaceAllStringFunc(n.text, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		text, ok := strings.CutSuffix(m[2:], "}")
		if !ok {
			b.problems.add(n.pos, "${ has no closing }; write $${ for the two characters ${")
			n.broken = true
			return ""
		}
		n.expanded = true
		if path, ok := strings.CutPrefix(text, "file:"); ok {
			return b.fileText(n, path)
		}
		name, fallback, hasFallback := strings.Cut(text, ":-")
		if !envName.MatchString(name) {
			b.problems.add(n.pos, "${%s} is neither ${NAME}, ${NAME:-default} nor ${file:path}; write $${ for the two characters ${", clip(text))
			n.broken = true
			return ""
		}
		value, ok := os.LookupEnv(name)
		switch {
		case hasFallback && value == "":
			return fallback
		case !ok:
			b.problems.add(n.pos, "the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
			n.broken = true
		case !utf8.ValidString(value):
			b.problems.add(n.pos, "the environment variable %s is not UTF-8", name)
			n.broken = true
		}
		return value
	})
}

// fileText is the content of a file that n names, without the line ends after it.
func (b *builder) fileText(n *node, path string) string {
	if path == "" {
		b.problems.add(n.pos, "${file:} names no file")
		n.broken = true
		return ""
	}
	abs := path
	if !filepath.IsAbs(path) {
		abs, path = filepath.Join(b.dir, path), filepath.Join(filepath.Dir(b.name), path)
	}
	data, err := readFile(path)
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		b.problems.add(n.pos, "reading ${file:…}: %v", err)
	case len(data) > 1<<20:
		b.problems.add(n.pos, "reading ${file:…}: %s has more than 1 MB", path)
	case !utf8.ValidString(text):
		b.problems.add(n.pos, "reading ${file:…}: %s is not UTF-8", path)
	default:
		n.secret = true
		b.texts[abs] = true
		b.secrets = append(b.secrets, text)
		return text
	}
	n.broken = true
	return ""
}
