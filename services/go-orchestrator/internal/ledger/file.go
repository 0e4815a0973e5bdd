package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Name of the ledger in a run directory.
const Name = "ledger.jsonl"

// Disk is a ledger's file in a run directory, held by this process alone.
type Disk struct{ *os.File }

// OpenDisk takes over the ledger's file, which is in that folder, and locks it. It is closed after
// an error.
func OpenDisk(file *os.File, folder string) (*Disk, error) {
	path := filepath.Join(folder, Name)
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another orchestrator has this run open; stop it first, or choose another --run-dir")
		}
		return nil, errors.Join(fmt.Errorf("cannot lock %s: %w", path, err), file.Close())
	}
	if err := syncFolder(folder); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make %s durable: %w", path, err), file.Close())
	}
	return &Disk{file}, nil
}

func syncFolder(folder string) error {
	opened, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}

// Sync makes the file's bytes durable, and of its metadata what is needed to read them: the times
// of the file would cost a write of their own.
func (d *Disk) Sync() error {
	for {
		err := syscall.Fdatasync(int(d.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// Size of the file.
func (d *Disk) Size() (int64, error) {
	info, err := d.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
