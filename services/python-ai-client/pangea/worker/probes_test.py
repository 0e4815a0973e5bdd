"""The probes of a worker cost the process that trains a bounded number of threads, whoever connects."""

from __future__ import annotations

import socket
import threading
import urllib.request

from pangea.worker.probes import HealthServer


def test_silent_connections_take_few_threads_and_keep_no_probe_out() -> None:
    before = threading.active_count()
    server = HealthServer("127.0.0.1:0")
    silent = []
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"GET /healthz HTT")
        silent.append(connection)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=20) as answer:
        assert answer.read() == b"ok\n"
    # The server's own thread, its handlers, and one that is about to end.
    assert threading.active_count() <= before + 1 + 8 + 1
    for connection in silent:
        connection.close()


def test_a_silent_connection_ends_by_itself() -> None:
    server = HealthServer("127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""
