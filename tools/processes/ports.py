"""Free ports for processes that cannot choose one themselves by listening on port 0."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Different loopback ports that are free now. They are not reserved: another process may take one first."""
    with contextlib.ExitStack() as stack:
        # All stay bound until the last one is found, or the kernel might give one twice.
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_address() -> str:
    """One such port as host:port."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"
