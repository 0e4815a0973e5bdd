"""Free ports are different, and can be listened on."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tools.processes.ports import free_address, free_ports


def test_ports_are_different_and_free() -> None:
    ports = free_ports(200)
    assert len(set(ports)) == 200
    with ExitStack() as listening:
        for port in ports:
            listening.enter_context(socket.create_server(("127.0.0.1", port)))


def test_an_address_can_be_listened_on() -> None:
    host, _, port = free_address().partition(":")
    socket.create_server((host, int(port))).close()
