// Assemble makes layers and images, one a call, as actions of the rules in tools/images.
//
//	assemble layer TITLE SPEC OUTPUT DESCRIPTION
//	assemble image SPEC FOLDER
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"pangea.example/pangea/tools/images/layer"
	"pangea.example/pangea/tools/images/oci"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "assemble:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 5 && arguments[0] == "layer":
		return makeLayer(arguments[1], arguments[2], arguments[3], arguments[4])
	case len(arguments) == 3 && arguments[0] == "image":
		return makeImage(arguments[1], arguments[2])
	}
	return errors.New("call it with `layer TITLE SPEC OUTPUT DESCRIPTION` or `image SPEC FOLDER`")
}

func makeLayer(title, specFile, output, descriptionFile string) error {
	var spec layer.Spec
	if err := read(specFile, &spec); err != nil {
		return err
	}
	description, err := layer.Write(spec, output, title)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(description, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(descriptionFile, append(text, '\n'), 0o644)
}

func makeImage(specFile, folder string) error {
	var spec oci.Spec
	if err := read(specFile, &spec); err != nil {
		return err
	}
	image, err := oci.Assemble(spec)
	if err != nil {
		return err
	}
	return oci.Write(image, spec.Reference, folder)
}

// read decodes a spec; a field that is not known is an error, since it would be a promise that
// nobody keeps.
func read(file string, spec any) error {
	stream, err := os.Open(file)
	if err != nil {
		return err
	}
	defer stream.Close()
	decoder := json.NewDecoder(stream)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(spec); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
