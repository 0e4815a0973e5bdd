// Package endpoint listens on addresses as people write them, and says at which address others
// reach the listener.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens an address, host:port: without a host, or with 0.0.0.0 or [::], on all interfaces;
// port 0 takes a free one. The error names the option that the address is from.
func Listen(option, address string) (net.Listener, error) {
	listener, err := listening.Listen(context.Background(), "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf(
			"cannot listen on %s: another process does already; stop it, or choose another %s (port 0 takes a free one)",
			address, option)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another %s", address, err, option)
	}
	return listener, nil
}

// A machine that vanishes sends nothing, not even the end of its connections: they are closed once
// it has not answered for unanswered, whether this side was silent or sending.
const (
	unanswered        = 60 * time.Second
	keepaliveIdle     = 20 * time.Second
	keepaliveInterval = 10 * time.Second
)

var listening = net.ListenConfig{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepaliveIdle, Interval: keepaliveInterval,
		Count: int((unanswered - keepaliveIdle) / keepaliveInterval)},
	// Accepted connections inherit it.
	Control: func(_, _ string, connection syscall.RawConn) error {
		var failed error
		err := connection.Control(func(socket uintptr) {
			failed = unix.SetsockoptInt(int(socket), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
				int(unanswered/time.Millisecond))
		})
		return errors.Join(err, failed)
	},
}

// Exposed reports whether other machines can reach a listener.
func Exposed(listener net.Listener) bool {
	address, is := listener.Addr().(*net.TCPAddr)
	return is && !address.IP.IsLoopback()
}

// Private refuses a listener that other machines can reach, for a process that cannot know who they
// are.
func Private(option string, listener net.Listener) error {
	if !Exposed(listener) {
		return nil
	}
	return fmt.Errorf("%s %s can be reached from other machines, and this process has no identity: "+
		"make one with `pangea certs` and name it with --identity DIR, listen on 127.0.0.1, "+
		"or let everybody in who reaches the port with --insecure", option, listener.Addr())
}

// Reachable returns an address at which a process of this machine reaches a listener.
func Reachable(listener net.Listener) string {
	address, is := listener.Addr().(*net.TCPAddr)
	if !is || !address.IP.IsUnspecified() {
		return listener.Addr().String()
	}
	// All interfaces: a listener on those of IPv6 accepts IPv4, too.
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: address.Port}).String()
}
