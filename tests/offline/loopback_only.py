"""`python -m tests.offline.loopback_only COMMAND...` executes the command with nothing but the loopback."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

# linux/sockios.h and linux/if.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def isolate() -> None:
    """Moves this process into an empty network namespace; an ordinary user becomes root of a user namespace for it.

    Raises:
        OSError: this machine refuses namespaces.
    """
    user, group = os.geteuid(), os.getegid()
    os.unshare(os.CLONE_NEWNET | (os.CLONE_NEWUSER if user else 0))
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _raise_loopback()


def interfaces() -> list[str]:
    """The names of the network interfaces that this process sees."""
    return sorted(name for _, name in socket.if_nameindex())


def _raise_loopback() -> None:
    """Brings the loopback up: in a new namespace it is down, and Bazel's client talks to its server over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def main(command: list[str]) -> None:
    """Isolates this process, verifies that, and executes the command."""
    isolate()
    found = interfaces()
    if found != ["lo"]:
        sys.exit(f"expected only the loopback, but found the interfaces {', '.join(found)}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
