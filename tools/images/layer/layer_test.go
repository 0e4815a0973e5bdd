package layer

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeFile writes a file below a folder of the test and returns its path.
func makeFile(t *testing.T, folder, name, content string) string {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pack writes a layer and returns its description and its bytes.
func pack(t *testing.T, spec Spec) (Description, []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layer.tar.gz")
	description, err := Write(spec, file, "test")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return description, data
}

// headers reads the layer back with Go's own libraries.
func headers(t *testing.T, data []byte) map[string]*tar.Header {
	t.Helper()
	plain, err := gzip.NewReader(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = header
	}
}

func TestSameContentFromOtherPlacesIsTheSameLayer(t *testing.T) {
	var layers [2][]byte
	for i := range layers {
		folder := t.TempDir()
		makeFile(t, folder, "b/two", "2")
		one := makeFile(t, folder, "b/one", "1")
		if i == 1 {
			// Another mode, and a link as a sandbox would make it.
			if err := os.Rename(one, filepath.Join(folder, "elsewhere")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(folder, "elsewhere"), one); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(folder, "elsewhere"), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		_, layers[i] = pack(t, Spec{Files: []Source{{Source: filepath.Join(folder, "b"), Path: "/opt/b"}}})
	}
	if string(layers[0]) != string(layers[1]) {
		t.Fatal("the same files gave two layers")
	}
}

func TestEntriesHaveNeitherTimeNorOwnerNorMode(t *testing.T) {
	folder := t.TempDir()
	_, data := pack(t, Spec{
		Files: []Source{
			{Source: makeFile(t, folder, "program", "\x7fELF"), Path: "/usr/bin/program"},
			{Source: makeFile(t, folder, "text", "words"), Path: "/usr/share/text"},
		},
		Texts:   map[string]string{"/usr/bin/script": "#!/usr/bin/x\n"},
		Links:   map[string]string{"/lib": "usr/lib"},
		Folders: []Folder{{Path: "/runs", Mode: 0o750, Owner: 65532}},
	})
	found := headers(t, data)
	for name, mode := range map[string]int64{"usr/": 0o755, "usr/bin/program": 0o755, "usr/bin/script": 0o755, "usr/share/text": 0o644, "runs/": 0o750, "lib": 0o777} {
		header, ok := found[name]
		if !ok {
			t.Fatalf("%s is not in the layer: %v", name, found)
		}
		if header.Mode != mode || header.ModTime.Unix() != 0 {
			t.Errorf("%s has mode %o and time %v, wanted %o and the epoch", name, header.Mode, header.ModTime, mode)
		}
	}
	if found["runs/"].Uid != 65532 || found["runs/"].Gid != 65532 || found["usr/"].Uid != 0 {
		t.Errorf("owners are %d and %d, wanted 65532 and 0", found["runs/"].Uid, found["usr/"].Uid)
	}
	if found["lib"].Linkname != "usr/lib" {
		t.Errorf("/lib leads to %s", found["lib"].Linkname)
	}
}

func TestDescriptionTellsDigestsAndPaths(t *testing.T) {
	folder := t.TempDir()
	description, data := pack(t, Spec{Files: []Source{{Source: makeFile(t, folder, "text", "words"), Path: "/usr/share/text"}}})
	if description.Size != int64(len(data)) || description.Unpacked != 5 || strings.Join(description.Paths, " ") != "/usr/share/text" {
		t.Errorf("described as %+v", description)
	}
	if !strings.HasPrefix(description.Digest, "sha256:") || description.Digest == description.DiffID {
		t.Errorf("digests are %s and %s", description.Digest, description.DiffID)
	}
}

func TestKeepAndLeaveSelect(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a/one.py", "a/test/t.py", "b/two.py", "c.py"} {
		makeFile(t, folder, name, name)
	}
	description, _ := pack(t, Spec{Files: []Source{{Source: folder, Path: "/x"}}, Keep: []string{"/x/a", "/x/*.py"}, Leave: []string{"/x/*/test"}})
	if got := strings.Join(description.Paths, " "); got != "/x/a/one.py /x/c.py" {
		t.Errorf("the layer holds %s", got)
	}
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	folder := t.TempDir()
	file := makeFile(t, folder, "f/one", "1")
	for name, wrong := range map[string]struct {
		spec Spec
		says string
	}{
		"pattern without effect": {Spec{Files: []Source{{Source: file, Path: "/one"}}, Leave: []string{"/two"}}, "match no file"},
		"relative pattern":       {Spec{Keep: []string{"two"}}, "is not a pattern"},
		"relative place":         {Spec{Files: []Source{{Source: file, Path: "one"}}}, "is not a place in an image"},
		"place outside":          {Spec{Files: []Source{{Source: file, Path: "/../one"}}}, "is not a place in an image"},
		"same place twice":       {Spec{Files: []Source{{Source: file, Path: "/one"}}, Texts: map[string]string{"/one": "2"}}, "made twice"},
		"missing file":           {Spec{Files: []Source{{Source: file + "x", Path: "/one"}}}, "no such file"},
		"link to nowhere":        {Spec{Links: map[string]string{"/l": ""}}, "leads nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Write(wrong.spec, filepath.Join(t.TempDir(), "layer"), "test")
			if err == nil || !strings.Contains(err.Error(), wrong.says) {
				t.Errorf("said %v, wanted %q", err, wrong.says)
			}
		})
	}
}

func TestSameContentIsOneFile(t *testing.T) {
	folder := t.TempDir()
	large := "\x7fELF" + strings.Repeat("x", smallest)
	makeFile(t, folder, "b/library.so", large)
	makeFile(t, folder, "a/library.so.1", large)
	makeFile(t, folder, "c/other", large+"y")
	makeFile(t, folder, "c/small", "s")
	makeFile(t, folder, "c/small too", "s")
	description, data := pack(t, Spec{Files: []Source{{Source: folder, Path: "/x"}}})
	found := headers(t, data)
	if link := found["x/b/library.so"]; link.Typeflag != tar.TypeLink || link.Linkname != "x/a/library.so.1" || link.Mode != 0o755 {
		t.Errorf("/x/b/library.so is %+v", link)
	}
	for _, name := range []string{"x/a/library.so.1", "x/c/other", "x/c/small", "x/c/small too"} {
		if found[name].Typeflag != tar.TypeReg {
			t.Errorf("%s is not a file", name)
		}
	}
	if description.Unpacked != int64(2*len(large)+3) || len(description.Paths) != 5 {
		t.Errorf("described as %+v", description)
	}
}
