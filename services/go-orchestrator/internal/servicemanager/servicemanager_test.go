package servicemanager

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
)

const limit = 120 * time.Second

// manager is the socket of a service manager that restarts after limit.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "120000000")
	return socket
}

func wantTold(t *testing.T, socket *net.UnixConn, state string) {
	t.Helper()
	told := make([]byte, 100)
	n, err := socket.Read(told)
	if err != nil || string(told[:n]) != state {
		t.Fatalf("told %q (%v), wanted %s", told[:n], err, state)
	}
}

// hands wake only when they are moved, and say that somebody waits.
type hands struct {
	*clock.Manual
	waits chan struct{}
}

func (h hands) After(pause time.Duration) <-chan time.Time {
	wake := h.Manual.After(pause)
	h.waits <- struct{}{}
	return wake
}

func TestTheServiceManagerLearnsWhetherTheProcessIsAlive(t *testing.T) {
	socket := manager(t)
	var stuck atomic.Bool
	asked := make(chan struct{}, 100)
	alive := func() error {
		asked <- struct{}{}
		if stuck.Load() {
			return errors.New("the disk hangs")
		}
		return nil
	}
	h := hands{clock.NewManual(time.Unix(1000, 0)), make(chan struct{}, 100)}
	end := Report(t.Context(), h, alive, slog.New(slog.DiscardHandler))
	wantTold(t, socket, "READY=1")

	<-h.waits
	h.Advance(limit / checks)
	wantTold(t, socket, "WATCHDOG=1")

	// Nothing is said as long as it hangs: the next word is that of the end, or of the recovery.
	stuck.Store(true)
	<-asked
	for range 2 * checks {
		<-h.waits
		h.Advance(limit / checks)
		<-asked
	}
	<-h.waits
	stuck.Store(false)
	h.Advance(limit / checks)
	wantTold(t, socket, "WATCHDOG=1")

	stuck.Store(true)
	<-h.waits
	h.Advance(limit / checks)
	end()
	wantTold(t, socket, "STOPPING=1")
}

func TestASignalIsToldAtOnce(t *testing.T) {
	socket := manager(t)
	t.Setenv("WATCHDOG_USEC", "")
	ctx, stop := context.WithCancel(t.Context())
	end := Report(ctx, clock.System{}, func() error { return nil }, slog.New(slog.DiscardHandler))
	wantTold(t, socket, "READY=1")
	stop()
	wantTold(t, socket, "STOPPING=1")
	end()
}

func TestWithoutAServiceManagerNothingIsSaid(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	log := slog.New(slog.NewTextHandler(writer{t}, nil))
	Report(t.Context(), clock.System{}, func() error { return nil }, log)()
}

// writer fails a test that logs.
type writer struct{ t *testing.T }

func (w writer) Write(line []byte) (int, error) {
	w.t.Errorf("logged: %s", line)
	return len(line), nil
}
