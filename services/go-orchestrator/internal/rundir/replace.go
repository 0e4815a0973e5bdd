package rundir

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile replaces a file atomically: whoever reads it, even after a crash, sees the old bytes or
// the new ones.
func WriteFile(path string, data []byte) error {
	return replace(path, 0o644, func() {}, func(file *os.File) error {
		_, err := file.Write(data)
		return err
	})
}

// writePrivate is WriteFile for what only this user may read.
func writePrivate(path string, data []byte) error {
	return replace(path, 0o600, func() {}, func(file *os.File) error {
		_, err := file.Write(data)
		return err
	})
}

// replace writes a file under a temporary name, syncs it, and renames it; ready is called before
// the rename.
func replace(path string, mode os.FileMode, ready func(), write func(file *os.File) error) error {
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(write(temporary), temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err == nil {
		ready()
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	parent, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
