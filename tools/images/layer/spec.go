// Package layer writes one layer of a container image: a compressed tar archive whose bytes depend
// on nothing but what is in it.
//
// Times are zero, owners are numbers, entries are sorted, and a file's mode follows from its
// content, so that it does not matter which machine, user or cache the files came from. Shared
// libraries that programs of the layer need can be taken out of folders of libraries, and only
// those.
package layer

import (
	"encoding/json"
	"fmt"
	"os"
)

// Spec says what is in a layer. Paths in the image are absolute and clean.
type Spec struct {
	// Files are single files and whole folders.
	Files []Source `json:"files"`
	// Texts are small files by path, with their content.
	Texts map[string]string `json:"texts"`
	// Links are symbolic links by path, with their target.
	Links map[string]string `json:"links"`
	// Folders are made even if they are empty.
	Folders []Folder `json:"folders"`
	// Libraries are shared libraries and folders of them; what programs of the layer need is taken
	// from the first that has it.
	Libraries []Source `json:"libraries"`
	// Keep and Leave are patterns over paths in the image that select from Files: only what Keep names
	// (all, if it is empty), without what Leave names.
	Keep  []string `json:"keep"`
	Leave []string `json:"leave"`
	// Below are descriptions of the layers below this one: libraries that they hold are not taken
	// again.
	Below []string `json:"below"`
}

// Source is a file or folder of this machine and its place in the image.
type Source struct {
	Source string `json:"source"`
	Path   string `json:"path"`
}

// Folder is a folder with an owner of its own; the group has the owner's number.
type Folder struct {
	Path  string `json:"path"`
	Mode  int64  `json:"mode"`
	Owner int    `json:"owner"`
}

// Description is what others need to know of a layer without reading it.
type Description struct {
	// Digest is the SHA-256 of the compressed archive, DiffID that of the archive itself, both as
	// `sha256:` and hexadecimal digits.
	Digest string `json:"digest"`
	DiffID string `json:"diff_id"`
	// Size and Unpacked are the bytes of the compressed archive and of all files in it.
	Size     int64 `json:"size"`
	Unpacked int64 `json:"unpacked"`
	// Title says what the layer is for.
	Title string `json:"title"`
	// Paths are all files and links, sorted.
	Paths []string `json:"paths"`
}

// ReadDescription reads a description that Write has made.
func ReadDescription(file string) (Description, error) {
	var description Description
	text, err := os.ReadFile(file)
	if err != nil {
		return description, fmt.Errorf("read the description of a layer: %w", err)
	}
	if err := json.Unmarshal(text, &description); err != nil {
		return description, fmt.Errorf("read the description of a layer in %s: %w", file, err)
	}
	return description, nil
}
