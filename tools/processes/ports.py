"""Ports for processes that have to be told one, and cannot take a free one themselves (port 0)."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """So many different ports of the loopback that nobody uses now. Another process may take one before it is used; nothing reserves it."""
    with contextlib.ExitStack() as stack:
        # All are held until the last one is found, or the kernel may give one twice.
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_address() -> str:
    """host:port of one such port."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"
