package layer

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"os"
	"slices"
)

// smallest is the size in bytes from which it pays to look for files with the same content.
const smallest = 64 << 10

// sameContent finds files with the content of one that sorts before them, and returns the path of
// that one. They become hard links: where a distribution links a library to its other names, it
// stays one file, which a loader takes for one library.
func sameContent(found entries) (map[string]string, error) {
	links, first := map[string]string{}, map[string]string{}
	for _, place := range slices.Sorted(maps.Keys(found)) {
		if found[place].source == "" {
			continue
		}
		content, err := hashOf(found[place].source)
		if err != nil {
			return nil, err
		}
		if content == "" {
			continue
		}
		if other, ok := first[content]; ok {
			links[place] = other
			continue
		}
		first[content] = place
	}
	return links, nil
}

// hashOf returns the SHA-256 of a file, or nothing for a small one.
func hashOf(source string) (string, error) {
	file, err := os.Open(source)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() < smallest {
		return "", err
	}
	content := sha256.New()
	if _, err := io.Copy(content, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(content.Sum(nil)), nil
}
