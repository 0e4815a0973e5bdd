package endpoint

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAListenerCanBeReached(t *testing.T) {
	for address, host := range map[string]string{
		":0": "127.0.0.1", "0.0.0.0:0": "127.0.0.1", "[::]:0": "127.0.0.1", "127.0.0.1:0": "127.0.0.1", "localhost:0": "",
		"[::1]:0": "::1",
	} {
		t.Run(address, func(t *testing.T) {
			listener, err := Listen("--listen", address)
			if err != nil && strings.HasPrefix(address, "[::") {
				t.Skipf("this machine has no IPv6: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			reached := Reachable(listener)
			if found, port, err := net.SplitHostPort(reached); err != nil || port == "0" || host != "" && found != host {
				t.Fatalf("%s is to be reached at %s", address, reached)
			}
			connection, err := net.Dial("tcp", reached)
			if err != nil {
				t.Fatal(err)
			}
			_ = connection.Close()
		})
	}
}

func TestAnAddressThatCannotBeUsedIsRefusedByItsOption(t *testing.T) {
	listener, err := Listen("--http", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for address, reason := range map[string]string{
		listener.Addr().String(): "another process does already; stop it, or choose another --http",
		"8081":                   "missing port in address; choose another --http",
	} {
		if _, err := Listen("--http", address); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAcceptedConnectionsNoticeThatTheirPeerIsGone(t *testing.T) {
	listener, err := Listen("--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	raw, err := ours.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(socket uintptr) {
		for option, want := range map[[2]int]int{
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}: 60_000, {unix.SOL_SOCKET, unix.SO_KEEPALIVE}: 1,
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}: 20, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: 10,
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}: 4,
		} {
			if got, err := unix.GetsockoptInt(int(socket), option[0], option[1]); err != nil || got != want {
				t.Errorf("option %v is %d, not %d: %v", option, got, want, err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
