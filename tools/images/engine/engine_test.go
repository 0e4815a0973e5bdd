package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// install puts a program of this name on a PATH that holds nothing else. Loading into real engines
// is tried by //tests/images.
func install(t *testing.T, folder, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
}

func TestFirstEngineThatAnswersIsTaken(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "podman", "echo 'cannot set up namespaces' >&2; exit 125")
	install(t, folder, "docker", "exit 0")
	if found, err := Find(t.Context(), ""); err != nil || found != "docker" {
		t.Errorf("found %q, %v", found, err)
	}
}

func TestWantedEngineIsNotReplacedByAnother(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "docker", "exit 0")
	if found, err := Find(t.Context(), "podman"); !errors.Is(err, ErrNone) {
		t.Errorf("found %q, %v", found, err)
	}
}

func TestReasonsOfAllAreTold(t *testing.T) {
	folder := t.TempDir()
	install(t, folder, "docker", "echo 'Cannot connect to the daemon' >&2; exit 1")
	_, err := Find(t.Context(), "")
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "podman: not on PATH") || !strings.Contains(err.Error(), "Cannot connect to the daemon") {
		t.Errorf("said %v", err)
	}
}
