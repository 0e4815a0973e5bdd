package shared

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener accepts Connections at a path.
type Listener struct {
	*net.UnixListener
	path string
	file os.FileInfo // of the socket, so that no other process's is removed
}

// Listen opens a socket that only this user's processes can connect to. A socket that a killed
// process has left there is replaced; one that somebody listens on, and a file of another kind,
// are not.
func Listen(path string) (*Listener, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open the folder of the socket: %w", err)
	}
	defer folder.Close()
	// An address has room for 107 bytes, and a path may have more: this one leads into the folder
	// whatever its length. Under another name at first, so that nobody finds the socket before it has
	// its permissions.
	name := "." + filepath.Base(path) + "." + strconv.Itoa(os.Getpid())
	temporary := filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), name)
	real := filepath.Join(filepath.Dir(path), name)
	// Left by a process of this number that was killed here: in a container, all have the same one.
	_ = os.Remove(real)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(real, 0o600)
	if err == nil {
		err = os.Rename(real, path)
	}
	var file os.FileInfo
	if err == nil {
		file, err = os.Lstat(path)
	}
	if err != nil {
		_ = os.Remove(real)
		_ = listener.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &Listener{listener, path, file}, nil
}

// vacant says why a socket cannot be made at the path.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s exists and is not a socket; move it, or choose another path", path)
	}
	connection, err := Dial(path)
	if err == nil {
		_ = connection.Close()
		return fmt.Errorf("another process listens on %s; stop it, or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see whether somebody listens on %s: %w", path, err)
	}
	return nil
}

// Dial connects to a path, of any length.
func Dial(path string) (*Connection, error) {
	folder, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(folder)
	address := filepath.Join("/proc/self/fd", strconv.Itoa(folder), filepath.Base(path))
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		return nil, err
	}
	return NewConnection(connection), nil
}

// Accept waits for a connection; it implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	connection, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return NewConnection(connection), nil
}

// Addr names the path that others connect to.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close ends listening and removes the socket, unless another process has put its own there.
func (l *Listener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}
