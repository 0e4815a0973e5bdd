// Package oci puts layers and settings together to an image in the OCI's format, in a folder with
// the OCI's layout.
package oci

import (
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"pangea.example/pangea/tools/images/layer"
)

// Spec says what an image is.
type Spec struct {
	// Layers from the lowest to the highest.
	Layers []Layer `json:"layers"`
	// Config is the image's configuration: user, entry point, ports and so on, as the OCI and Docker
	// name them.
	Config v1.Config `json:"config"`
	// Reference is the name with tag that engines give the image.
	Reference string `json:"reference"`
}

// Layer is a file that layer.Write has made, with its description.
type Layer struct {
	Blob        string `json:"blob"`
	Description string `json:"description"`
}

// known is a layer whose hashes are known: nothing is read to learn them.
type known struct {
	file        string
	digest      v1.Hash
	diffID      v1.Hash
	description layer.Description
}

func (k known) Digest() (v1.Hash, error)            { return k.digest, nil }
func (k known) DiffID() (v1.Hash, error)            { return k.diffID, nil }
func (k known) Compressed() (io.ReadCloser, error)  { return os.Open(k.file) }
func (k known) Size() (int64, error)                { return k.description.Size, nil }
func (k known) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

func open(described Layer) (known, error) {
	description, err := layer.ReadDescription(described.Description)
	if err != nil {
		return known{}, err
	}
	digest, err := v1.NewHash(description.Digest)
	if err != nil {
		return known{}, fmt.Errorf("read the digest in %s: %w", described.Description, err)
	}
	diffID, err := v1.NewHash(description.DiffID)
	if err != nil {
		return known{}, fmt.Errorf("read the digest in %s: %w", described.Description, err)
	}
	return known{file: described.Blob, digest: digest, diffID: diffID, description: description}, nil
}

// Assemble returns the image. Its creation time is the epoch, so that the same content has the same
// digest.
func Assemble(spec Spec) (v1.Image, error) {
	epoch := v1.Time{Time: time.Unix(0, 0).UTC()}
	added := make([]mutate.Addendum, 0, len(spec.Layers))
	for _, described := range spec.Layers {
		opened, err := open(described)
		if err != nil {
			return nil, err
		}
		full, err := partial.CompressedToLayer(opened)
		if err != nil {
			return nil, err
		}
		added = append(added, mutate.Addendum{Layer: full, History: v1.History{Created: epoch, CreatedBy: "bazel", Comment: opened.description.Title}})
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, added...)
	if err != nil {
		return nil, fmt.Errorf("put the layers together: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created, config.Config = "amd64", "linux", epoch, spec.Config
	return mutate.ConfigFile(image, config)
}

// Write writes the image into the folder, which must not exist or be empty.
func Write(image v1.Image, reference, folder string) error {
	place, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("make an OCI layout in %s: %w", folder, err)
	}
	names := map[string]string{"org.opencontainers.image.ref.name": reference}
	if err := place.AppendImage(image, layout.WithAnnotations(names), layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"})); err != nil {
		return fmt.Errorf("write the image to %s: %w", folder, err)
	}
	return nil
}

// Open returns the one image of a layout, with its name.
func Open(folder string) (image v1.Image, reference string, err error) {
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, "", fmt.Errorf("read the OCI layout %s: %w", folder, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, "", fmt.Errorf("read the index of %s: %w", folder, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, "", fmt.Errorf("%s holds %d images instead of one", folder, len(manifest.Manifests))
	}
	only := manifest.Manifests[0]
	image, err = index.Image(only.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("read the image of %s: %w", folder, err)
	}
	return image, only.Annotations["org.opencontainers.image.ref.name"], nil
}
