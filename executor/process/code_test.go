package process

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	name, text string
	mode       fs.FileMode
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestAZipIsUnpackedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	archive := filepath.Join(dir, "code.zip")
	text := pack(t,
		entry{"bootstrap", "#!/bin/sh\n", 0o755}, entry{"lib/", "", fs.ModeDir | 0o755}, entry{"lib/a.txt", "a", 0o600},
		entry{"deep/er/b.txt", "b", 0o644}, entry{"link", "lib/a.txt", fs.ModeSymlink | 0o777})
	if err := os.WriteFile(archive, text, 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	code, err := unpack(archive, data)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"bootstrap": "#!/bin/sh\n", "lib/a.txt": "a", "deep/er/b.txt": "b", "link": "a"} {
		if b, err := os.ReadFile(filepath.Join(code, name)); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	if err := bootstrapIn(Defaults(provided), code); err != nil {
		t.Error(err)
	}
	mark := filepath.Join(code, "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := unpack(archive, data)
	if err != nil || again != code {
		t.Errorf("the second time it is in %s, %v", again, err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("it was unpacked again")
	}
	if all, err := os.ReadDir(data); err != nil || len(all) != 1 {
		t.Errorf("left behind: %v, %v", all, err)
	}
}

func TestHostileZipsAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zip  []byte
		want string
	}{
		"a path that leads up":       {pack(t, entry{"../evil", "x", 0o644}), `the name "../evil" leads out of it`},
		"an absolute path":           {pack(t, entry{"/evil", "x", 0o644}), `the name "/evil" leads out of it`},
		"a path that hides it":       {pack(t, entry{"a/../../evil", "x", 0o644}), "leads out of it"},
		"a path of Windows":          {pack(t, entry{`..\evil`, "x", 0o644}), "leads out of it"},
		"a link that leads up":       {pack(t, entry{"a", "../..", fs.ModeSymlink | 0o777}), "is a link to"},
		"an absolute link":           {pack(t, entry{"a", "/etc/passwd", fs.ModeSymlink | 0o777}), "is a link to"},
		"a name twice":               {pack(t, entry{"a", "x", 0o644}, entry{"a", "y", 0o644}), "is there twice"},
		"a name twice, in two forms": {pack(t, entry{"a", "x", 0o644}, entry{"./a", "y", 0o644}), "is there twice"},
		"a file that is a folder":    {pack(t, entry{"a", "x", 0o644}, entry{"a/b", "y", 0o644}), `the name "a/b"`},
		"a device":                   {pack(t, entry{"a", "", fs.ModeDevice | 0o644}), "is not a file"},
		"too much":                   {pack(t, entry{"a", strings.Repeat("x", 2000), 0o644}), "makes it larger than"},
		"no zip":                     {[]byte("hello"), "it is not a zip"},
		"half a zip":                 {pack(t, entry{"a", "x", 0o644})[:60], "it is not a zip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := t.TempDir()
			dir := filepath.Join(outside, "in")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			err := extract(bytes.NewReader(c.zip), int64(len(c.zip)), dir, 1000)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
			if all, err := os.ReadDir(outside); err != nil || len(all) != 1 {
				t.Errorf("outside there is %v, %v", all, err)
			}
		})
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(pack(f, entry{"a/b", "x", 0o644}, entry{"l", "a/b", fs.ModeSymlink | 0o777}, entry{"l/c", "x", 0o644}))
	f.Add(pack(f, entry{"../a", "x", 0o644}))
	f.Fuzz(func(t *testing.T, text []byte) {
		outside := t.TempDir()
		dir := filepath.Join(outside, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = extract(bytes.NewReader(text), int64(len(text)), dir, 1<<20)
		if all, err := os.ReadDir(outside); err != nil || len(all) != 1 {
			t.Errorf("outside there is %v, %v", all, err)
		}
	})
}
