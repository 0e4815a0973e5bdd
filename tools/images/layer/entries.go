package layer

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// entry is one path of the image: a file of this machine, a text, a link or a folder.
type entry struct {
	source string
	text   string
	link   string
	folder *Folder
}

// String tells an entry in an error.
func (e entry) String() string {
	switch {
	case e.source != "":
		return "the file " + e.source
	case e.link != "":
		return "a link to " + e.link
	case e.folder != nil:
		return "a folder"
	}
	return "a text"
}

// entries are those of one layer by path.
type entries map[string]entry

// isPlace tells whether a path can be one of an image.
func isPlace(place string) error {
	if !strings.HasPrefix(place, "/") || path.Clean(place) != place || place == "/" {
		return fmt.Errorf("%q is not a place in an image; it must be an absolute, clean path", place)
	}
	return nil
}

func (e entries) add(place string, added entry) error {
	if err := isPlace(place); err != nil {
		return err
	}
	if old, ok := e[place]; ok {
		return fmt.Errorf("%s would be made twice, as %s and as %s; leave one out", place, old, added)
	}
	e[place] = added
	return nil
}

// gather collects what the spec names, without libraries.
func gather(spec Spec) (entries, error) {
	found := entries{}
	if err := gatherFiles(spec, found); err != nil {
		return nil, err
	}
	for place, text := range spec.Texts {
		if err := found.add(place, entry{text: text}); err != nil {
			return nil, err
		}
	}
	for place, target := range spec.Links {
		if target == "" {
			return nil, fmt.Errorf("the link %s leads nowhere", place)
		}
		if err := found.add(place, entry{link: target}); err != nil {
			return nil, err
		}
	}
	for _, folder := range spec.Folders {
		if err := found.add(folder.Path, entry{folder: &folder}); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func gatherFiles(spec Spec, found entries) error {
	keep, err := newPatterns(spec.Keep)
	if err != nil {
		return err
	}
	leave, err := newPatterns(spec.Leave)
	if err != nil {
		return err
	}
	for _, source := range spec.Files {
		if err := isPlace(source.Path); err != nil {
			return err
		}
		err := eachFile(source, func(file, place string) error {
			wanted := len(spec.Keep) == 0 || keep.match(place)
			if !wanted || leave.match(place) {
				return nil
			}
			return found.add(place, entry{source: file})
		})
		if err != nil {
			return err
		}
	}
	if unused := append(keep.unused(), leave.unused()...); len(unused) > 0 {
		return fmt.Errorf("these patterns match no file; fix or remove them: %s", strings.Join(unused, ", "))
	}
	return nil
}

// eachFile calls visit for the source, or for every file below it if it is a folder. Links are followed: whether a file was a link depends on
// how a build brings its inputs, not on what they are.
func eachFile(source Source, visit func(file, place string) error) error {
	root, err := filepath.EvalSymlinks(source.Source)
	if err != nil {
		return fmt.Errorf("find %s: %w", source.Source, err)
	}
	return filepath.WalkDir(root, func(file string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if item.IsDir() {
			return nil
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a link to one; an image holds only those", file)
		}
		below, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		return visit(file, path.Join(source.Path, filepath.ToSlash(below)))
	})
}
