package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"pangea.example/pangea/tools/images/layer"
)

// makeLayer writes a layer with one text, and its description.
func makeLayer(t *testing.T, text string) Layer {
	t.Helper()
	made := Layer{Blob: filepath.Join(t.TempDir(), "layer.tar.gz"), Description: filepath.Join(t.TempDir(), "layer.json")}
	description, err := layer.Write(layer.Spec{Texts: map[string]string{"/text": text}}, made.Blob, "text "+text)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(description)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(made.Description, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return made
}

func written(t *testing.T, spec Spec) (v1.Image, string) {
	t.Helper()
	image, err := Assemble(spec)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "layout")
	if err := Write(image, spec.Reference, folder); err != nil {
		t.Fatal(err)
	}
	opened, reference, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	if reference != spec.Reference {
		t.Errorf("the layout names %s", reference)
	}
	return opened, folder
}

func TestLayoutIsValidAndKeepsTheSettings(t *testing.T) {
	spec := Spec{
		Layers:    []Layer{makeLayer(t, "one"), makeLayer(t, "two")},
		Reference: "pangea/x:latest",
		Config: v1.Config{
			User: "65532:65532", Entrypoint: []string{"/x"}, Cmd: []string{"--y"}, Labels: map[string]string{"a": "b"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/x", "health"}},
		},
	}
	image, _ := written(t, spec)
	// Reads every blob again and compares it with every digest and size.
	if err := validate.Image(image); err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Healthcheck.Test, []string{"CMD", "/x", "health"}) || config.Config.Labels["a"] != "b" {
		t.Errorf("the settings are %+v", config.Config)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || config.Created.Unix() != 0 || len(config.History) != 2 {
		t.Errorf("the configuration is %+v", config)
	}
}

func TestChangeMovesOnlyItsLayer(t *testing.T) {
	base := makeLayer(t, "base")
	before, _ := written(t, Spec{Layers: []Layer{base, makeLayer(t, "code")}, Reference: "pangea/x:latest"})
	again, _ := written(t, Spec{Layers: []Layer{base, makeLayer(t, "code")}, Reference: "pangea/x:latest"})
	after, _ := written(t, Spec{Layers: []Layer{base, makeLayer(t, "changed")}, Reference: "pangea/x:latest"})
	digests := func(image v1.Image) (of v1.Hash, layers []v1.Hash) {
		of, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, described := range manifest.Layers {
			layers = append(layers, described.Digest)
		}
		return of, layers
	}
	beforeDigest, beforeLayers := digests(before)
	againDigest, _ := digests(again)
	afterDigest, afterLayers := digests(after)
	if beforeDigest != againDigest {
		t.Error("the same layers gave two digests")
	}
	if beforeDigest == afterDigest || beforeLayers[0] != afterLayers[0] || beforeLayers[1] == afterLayers[1] {
		t.Errorf("layers were %v and are %v", beforeLayers, afterLayers)
	}
}

func TestDescriptionOfAnotherLayerIsFound(t *testing.T) {
	mixed := makeLayer(t, "one")
	mixed.Description = makeLayer(t, "other").Description
	image, err := Assemble(Spec{Layers: []Layer{mixed}, Reference: "pangea/x:latest"})
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(image, "pangea/x:latest", filepath.Join(t.TempDir(), "layout")); err == nil {
		t.Error("a layer that is not the described one was taken")
	}
}
