"""Attacks on many connections, for as long as a test lasts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Address = tuple[str, int]
Attack = Callable[[socket.socket], None]


def connect(address: Address) -> socket.socket:
    """A connection with a timeout, so that no attacker waits longer than its test."""
    return socket.create_connection(address, timeout=5)


@contextmanager
def flood(address: Address, attack: Attack, connections: int = 8) -> Iterator[Callable[[], int]]:
    """Runs `attack` on that many connections at a time, on a new one whenever it has ended.

    Gives a function that counts the attacks so far.
    """
    over = threading.Event()
    attacks = 0
    counting = threading.Lock()

    def attacker() -> None:
        nonlocal attacks
        while not over.is_set():
            # Whatever the service does to an attacker's connection is fine.
            with suppress(OSError), connect(address) as connection:
                attack(connection)
            with counting:
                attacks += 1

    threads = [threading.Thread(target=attacker, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: attacks
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def held(address: Address, count: int, first_bytes: bytes = b"") -> Iterator[list[socket.socket]]:
    """Opens that many connections, sends the same on each, and keeps them open in silence."""
    connections = []
    try:
        for _ in range(count):
            with suppress(OSError):
                connection = connect(address)
                connections.append(connection)
                connection.sendall(first_bytes)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def drain(connection: socket.socket) -> int:
    """Reads until the service closes the connection or is silent; gives how many bytes arrived."""
    total = 0
    with suppress(OSError):
        while data := connection.recv(1 << 16):
            total += len(data)
    return total
