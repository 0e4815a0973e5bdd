package layer

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// addLibraries adds the shared libraries that the programs and libraries of the layer need, and
// what those need in turn. A library has the name by which it is asked for: the other names that a
// distribution links to it serve compilers.
func addLibraries(spec Spec, found entries) error {
	if len(spec.Libraries) == 0 {
		return nil
	}
	present, err := namesBelow(spec.Below)
	if err != nil {
		return err
	}
	queue := make([]string, 0, len(found))
	for place, item := range found {
		present[path.Base(place)] = true
		if item.source != "" {
			queue = append(queue, place)
		}
	}
	sort.Strings(queue)
	for len(queue) > 0 {
		place := queue[0]
		queue = queue[1:]
		names, err := needed(found[place].source)
		if err != nil {
			return fmt.Errorf("read the libraries that %s needs: %w", place, err)
		}
		for _, name := range names {
			if present[name] {
				continue
			}
			library, ok := lookUp(spec.Libraries, name)
			if !ok {
				return fmt.Errorf("%s needs %s, which none of the libraries is; name a folder that has it, or leave the file out", place, name)
			}
			if err := found.add(library.Path, entry{source: library.Source}); err != nil {
				return err
			}
			present[name] = true
			queue = append(queue, library.Path)
		}
	}
	return nil
}

// namesBelow returns the names, without folders, of all files of the layers below.
func namesBelow(descriptions []string) (map[string]bool, error) {
	names := map[string]bool{}
	for _, file := range descriptions {
		description, err := ReadDescription(file)
		if err != nil {
			return nil, err
		}
		for _, place := range description.Paths {
			names[path.Base(place)] = true
		}
	}
	return names, nil
}

// needed returns the libraries that an ELF file names, with the loader that a program names;
// nothing for any other file.
func needed(file string) ([]string, error) {
	object, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) || isShort(file) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer object.Close()
	names, err := object.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, part := range object.Progs {
		if part.Type == elf.PT_INTERP {
			text := make([]byte, part.Filesz)
			if _, err := part.ReadAt(text, 0); err != nil {
				return nil, err
			}
			names = append(names, path.Base(strings.TrimRight(string(text), "\x00")))
		}
	}
	return names, nil
}

// isShort tells whether a file is too short to be an ELF file.
func isShort(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Size() < 64
}

// lookUp returns the first library of this name. A source is a library itself, or a folder of them.
func lookUp(sources []Source, name string) (Source, bool) {
	for _, source := range sources {
		if path.Base(source.Path) == name {
			return source, true
		}
		file := filepath.Join(source.Source, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return Source{Source: file, Path: path.Join(source.Path, name)}, true
		}
	}
	return Source{}, false
}
