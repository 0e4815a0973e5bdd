// Package endpoint listens on addresses as people write them, and says at which address others
// reach the listener.
package endpoint

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen opens an address, host:port: without a host, or with 0.0.0.0 or [::], on all interfaces;
// port 0 takes a free one. The error names the option that the address is from.
func Listen(option, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
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

// Reachable gives an address at which a process of this machine reaches a listener.
func Reachable(listener net.Listener) string {
	address, is := listener.Addr().(*net.TCPAddr)
	if !is || !address.IP.IsUnspecified() {
		return listener.Addr().String()
	}
	// All interfaces: a listener on those of IPv6 accepts IPv4, too.
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: address.Port}).String()
}
