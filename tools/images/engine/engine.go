// Package engine finds the container engine of this machine and hands it images.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Names are the engines that we know, in the order in which they are tried: that of tools/compose, so that images come to the engine that starts them.
var Names = []string{"podman", "docker"}

// ErrNone says that this machine has no engine that answers.
var ErrNone = errors.New("no container engine of this machine answers; install podman, or start docker's daemon")

// Find returns the first engine that answers, or the wanted one if it does.
//
// A client without its daemon is not an engine, so each is asked.
func Find(ctx context.Context, wanted string) (string, error) {
	names := Names
	if wanted != "" {
		names = []string{wanted}
	}
	reasons := []error{ErrNone}
	for _, engine := range names {
		reason := ask(ctx, engine)
		if reason == nil {
			return engine, nil
		}
		reasons = append(reasons, reason)
	}
	return "", errors.Join(reasons...)
}

func ask(ctx context.Context, engine string) error {
	program, err := exec.LookPath(engine)
	if err != nil {
		return fmt.Errorf("%s: not on PATH", engine)
	}
	output, err := exec.CommandContext(ctx, program, "info").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(output)), "\n")
		return fmt.Errorf("%s: `%s info`: %w: %s", engine, engine, err, lines[len(lines)-1])
	}
	return nil
}

// Load hands an image to an engine under a name such as localhost/pangea/go-orchestrator:latest.
//
// It travels as `docker save` would write it: both engines read that, and podman takes the health command from no other format.
func Load(ctx context.Context, engine string, image v1.Image, reference string, report io.Writer) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("name the image: %w", err)
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(tarball.Write(tag, image, writer)) }()
	command := exec.CommandContext(ctx, engine, "load")
	command.Stdin, command.Stdout, command.Stderr = reader, report, os.Stderr
	err = command.Run()
	// An engine that stops early leaves no writer waiting.
	reader.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return fmt.Errorf("load the image into %s: %w", engine, err)
	}
	return nil
}
