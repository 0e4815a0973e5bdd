// Deliver hands an image that the build has made to an engine of this machine or to a registry.
//
//	deliver load FOLDER [--engine podman|docker] [--name localhost/pangea/x:latest]
//	deliver push FOLDER REGISTRY/NAME[:TAG] [--insecure]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"pangea.example/pangea/tools/images/engine"
	"pangea.example/pangea/tools/images/oci"
	"pangea.example/pangea/tools/images/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "deliver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, output io.Writer) error {
	if len(arguments) < 2 {
		return errors.New("call it with `load FOLDER` or `push FOLDER REGISTRY/NAME[:TAG]`")
	}
	verb, folder, rest := arguments[0], arguments[1], arguments[2:]
	image, reference, err := oci.Open(folder)
	if err != nil {
		return err
	}
	switch verb {
	case "load":
		return load(ctx, image, reference, rest, output)
	case "push":
		return push(ctx, image, rest, output)
	}
	return fmt.Errorf("%q is neither load nor push", verb)
}

func load(ctx context.Context, image v1.Image, reference string, arguments []string, output io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	wanted := flags.String("engine", os.Getenv("PANGEA_ENGINE"), "podman or docker; the first that answers if empty")
	named := flags.String("name", reference, "name and tag that the engine gives the image")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not an option of load; use --engine or --name", flags.Arg(0))
	}
	found, err := engine.Find(ctx, *wanted)
	if err != nil {
		return err
	}
	if err := engine.Load(ctx, found, image, *named, output); err != nil {
		return err
	}
	id, err := image.ConfigName()
	if err != nil {
		return err
	}
	fmt.Fprintf(output, "%s has %s as %s\n", found, *named, id)
	return nil
}

func push(ctx context.Context, image v1.Image, arguments []string, output io.Writer) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	insecure := flags.Bool("insecure", false, "speak plain HTTP, for a registry on a trusted network")
	if len(arguments) == 0 {
		return errors.New("name where to, as REGISTRY/NAME[:TAG]: ./bazelw run //services/x:x_push -- REGISTRY/NAME:TAG")
	}
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; one call delivers an image to one place", flags.Arg(0))
	}
	pushed, err := registry.Push(ctx, image, arguments[0], *insecure)
	if err != nil {
		return err
	}
	fmt.Fprintln(output, pushed)
	return nil
}
