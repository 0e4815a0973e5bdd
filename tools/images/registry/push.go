// Package registry sends images to registries.
package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push sends an image to REGISTRY/NAME[:TAG] and returns the name with which exactly this image can
// be pulled, REGISTRY/NAME@sha256:...
//
// Who we are comes from where `docker login` and `podman login` leave it. Layers that the registry
// has are not sent again.
func Push(ctx context.Context, image v1.Image, reference string, insecure bool) (string, error) {
	var options []name.Option
	if insecure {
		options = append(options, name.Insecure)
	}
	where, err := name.ParseReference(reference, options...)
	if err != nil {
		return "", fmt.Errorf("read where to push to: %w", err)
	}
	if err := remote.Write(where, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push to %s: %w", where, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	return where.Context().Digest(digest.String()).String(), nil
}
