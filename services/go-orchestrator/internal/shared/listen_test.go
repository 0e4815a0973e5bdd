package shared

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyTheUserCanConnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Fatalf("left behind: %v %v", entries, err)
	}
}

func TestPathsLongerThanAnAddress(t *testing.T) {
	folder := filepath.Join(t.TempDir(), strings.Repeat("long/", 60))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "socket")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
}

func TestAProcessOfTheSameNumberThatWasKilledWhileItBegan(t *testing.T) {
	folder := t.TempDir()
	hidden := filepath.Join(folder, ".socket."+strconv.Itoa(os.Getpid()))
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	listener, err := Listen(filepath.Join(folder, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 0 {
		t.Fatalf("left behind: %v %v", entries, err)
	}
}

func TestASocketOfAKilledProcessIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
}

func TestWhatIsInUseIsNotReplaced(t *testing.T) {
	t.Run("a socket that somebody listens on", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "socket")
		first, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another process listens on "+path) {
			t.Fatal(err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "notes")
		if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(path); err != nil || string(content) != "kept" {
			t.Fatal(content, err)
		}
	})
	t.Run("the socket of a successor", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "socket")
		first, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		second, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		_ = first.Close()
		if connection, err := Dial(path); err != nil {
			t.Fatal(err)
		} else {
			_ = connection.Close()
		}
	})
}
