package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Modes of what a run leaves: its owner writes, its group reads.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// WriteFile replaces a file atomically: whoever reads it, even after a crash, sees the old bytes or
// the new ones.
func WriteFile(file string, data []byte) error {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(writeFile(root, filepath.Base(file), data), root.Close())
}

func writeFile(root *os.Root, name string, data []byte) error {
	return writeAs(root, name, fileMode, data)
}

// writePrivate is writeFile for what only this user may read.
func writePrivate(root *os.Root, name string, data []byte) error {
	return writeAs(root, name, 0o600, data)
}

func writeAs(root *os.Root, name string, mode os.FileMode, data []byte) error {
	return replace(root, name, mode, func() {}, func(file *os.File) error {
		_, err := file.Write(data)
		return err
	})
}

// replace writes a file of a folder under a temporary name, syncs it, and renames it; ready is
// called before the rename. A link that has the file's name is replaced, and not followed.
func replace(root *os.Root, name string, mode os.FileMode, ready func(), write func(file *os.File) error) error {
	temporary := name + ".tmp"
	// One that a crash has left, or that somebody has put there.
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Sync(), file.Close())
	if err == nil {
		ready()
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	parent, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// openOwn opens a file of the folder itself. A symbolic link is refused: it could lead to a file
// that is not the run's, which would be written to.
func openOwn(root *os.Root, name string, flags int) (*os.File, error) {
	info, err := root.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s is a symbolic link; put the file itself there", filepath.Join(root.Name(), name))
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; remove it, or restore the one that was there",
			filepath.Join(root.Name(), name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return root.OpenFile(name, flags, fileMode)
}
