package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"pangea.example/pangea/tools/images/oci"
)

// layout makes an image without layers. Handing images over is tried by //tests/images and by tools/images/registry.
func layout(t *testing.T) string {
	t.Helper()
	image, err := oci.Assemble(oci.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "image")
	if err := oci.Write(image, "localhost/pangea/x:latest", folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestWordsThatMeanNothingAreRefused(t *testing.T) {
	folder := layout(t)
	// An engine that answers on no account: what is wrong is told before it is asked.
	t.Setenv("PATH", t.TempDir())
	for said, arguments := range map[string][]string{
		"call it with":             {"load"},
		"neither load nor push":    {"pull", folder},
		"read the OCI layout":      {"load", folder + "x"},
		`"podman" is not an option`:    {"load", folder, "podman"},
		"podman: not on PATH":      {"load", folder, "--engine=podman"},
		"name where to":            {"push", folder},
		`"second" is one word too`: {"push", folder, "registry.example/x", "second"},
	} {
		t.Run(said, func(t *testing.T) {
			if err := run(t.Context(), arguments, io.Discard); err == nil || !strings.Contains(err.Error(), said) {
				t.Errorf("%v gave %v", arguments, err)
			}
		})
	}
}
