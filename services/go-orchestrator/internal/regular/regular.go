// Package regular reads small files that somebody else may have put there.
package regular

import (
	"errors"
	"fmt"
	"os"
)

// MaxBytes is more than a key, a certificate or a list of revoked ones has.
const MaxBytes = 16 << 20

// ErrNot is the error for what cannot be read to its end: a pipe, a device, a huge file.
var ErrNot = errors.New("it is not a regular file of at most 16 MiB; put the file itself there")

// Read reads a file, also through links.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxBytes {
		return nil, fmt.Errorf("read %s: %w", path, ErrNot)
	}
	return os.ReadFile(path)
}
