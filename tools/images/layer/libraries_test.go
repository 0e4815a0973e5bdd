package layer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debian returns the folder of the locked distribution's libraries: real ones, that need each
// other.
func debian(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(os.Getenv("TEST_SRCDIR"), os.Getenv("LIBRARIES"))
	if _, err := os.Stat(filepath.Join(folder, "libc.so.6")); err != nil {
		t.Fatalf("LIBRARIES must name a folder of libraries: %v", err)
	}
	return folder
}

func TestLibrariesAreTakenWithWhatTheyNeed(t *testing.T) {
	folder := debian(t)
	spec := Spec{
		Files:     []Source{{Source: filepath.Join(folder, "libssl.so.3"), Path: "/opt/libssl.so.3"}},
		Libraries: []Source{{Source: folder, Path: "/usr/lib"}},
	}
	description, _ := pack(t, spec)
	for _, wanted := range []string{"/usr/lib/libcrypto.so.3", "/usr/lib/libz.so.1", "/usr/lib/libc.so.6", "/usr/lib/ld-linux-x86-64.so.2"} {
		if !slices.Contains(description.Paths, wanted) {
			t.Errorf("%s is not in the layer: %v", wanted, description.Paths)
		}
	}
	if slices.Contains(description.Paths, "/usr/lib/libssl.so.3") {
		t.Error("libssl.so.3 was taken a second time")
	}
}

func TestLibrariesBelowAreNotTakenAgain(t *testing.T) {
	folder := debian(t)
	below := filepath.Join(t.TempDir(), "below.json")
	if err := os.WriteFile(below, []byte(`{"paths": ["/lib/libc.so.6", "/lib/ld-linux-x86-64.so.2"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Files:     []Source{{Source: filepath.Join(folder, "libz.so.1"), Path: "/opt/libz.so.1"}},
		Libraries: []Source{{Source: folder, Path: "/usr/lib"}},
		Below:     []string{below},
	}
	description, _ := pack(t, spec)
	if got := strings.Join(description.Paths, " "); got != "/opt/libz.so.1" {
		t.Errorf("the layer holds %s", got)
	}
}

func TestLibraryThatNobodyHasIsRefused(t *testing.T) {
	folder := debian(t)
	spec := Spec{
		Files:     []Source{{Source: filepath.Join(folder, "libssl.so.3"), Path: "/opt/libssl.so.3"}},
		Libraries: []Source{{Source: t.TempDir(), Path: "/usr/lib"}},
	}
	_, err := Write(spec, filepath.Join(t.TempDir(), "layer"), "test")
	if err == nil || !strings.Contains(err.Error(), "/opt/libssl.so.3 needs lib") {
		t.Errorf("said %v", err)
	}
}
