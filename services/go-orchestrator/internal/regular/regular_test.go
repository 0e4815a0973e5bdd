package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatHasNoEndIsNotRead(t *testing.T) {
	at := func(name string) string { return filepath.Join(t.TempDir(), name) }
	pipe, device, huge, folder := at("pipe"), at("device"), at("huge"), t.TempDir()
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("/dev/zero", device), os.WriteFile(huge, nil, 0o600),
		os.Truncate(huge, MaxBytes+1)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, device, huge, folder} {
		if _, err := Read(path); !errors.Is(err, ErrNot) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read(at("nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	// As Kubernetes puts the files of a Secret.
	file, link := at("file"), at("link")
	if err := errors.Join(os.WriteFile(file, []byte("key"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if content, err := Read(link); err != nil || string(content) != "key" {
		t.Errorf("%q %v", content, err)
	}
}
