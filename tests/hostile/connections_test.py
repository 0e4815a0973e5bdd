"""What both services do with connections of strangers: descriptors, probes of TCP, floods of requests, pages."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.data_worker import DataWorker, batch_request
from tests.hostile.flood import drain, flood, held
from tests.hostile.frames import NO_HASH, frame, heartbeat, join
from tests.hostile.honest import Honest, receive
from tests.hostile.service import MIB, Service, started
from tools.processes.waiting import eventually

MEMORY_BYTES = 256 * MIB
MOST_BYTES = MEMORY_BYTES * 6 // 5
# A step takes milliseconds. On a busy machine one of many may be late, not most.
USUAL_SECONDS, WORST_SECONDS = 1.0, 20.0
STEPS = 40
SERVICES = ("orchestrator", "data")
# In /proc/net/tcp: a connection, and the timer of keepalive.
ESTABLISHED, KEEPALIVE = "01", "02"

Worker = Honest | DataWorker


@contextmanager
def serving(kind: str, folder: Path, descriptors: int | None = None) -> Iterator[tuple[Service, Callable[[], Worker]]]:
    """A service, which may have that many descriptors, and a function that makes a worker of it."""
    memory = f"--max-memory-bytes={MEMORY_BYTES}"
    if kind == "orchestrator":
        settings = ["--shards=1", "--batch-size=1", "--min-shard-samples=0", "--checkpoint-seconds=0"]
        command = [os.environ["ORCHESTRATOR"], f"--run-dir={folder / 'run'}", memory, *settings]
    else:
        (folder / "rows.csv").write_text("1,2,0\n3,4,1\n" * 5000)
        command = [os.environ["DATA_SERVICE"], f"--dataset=csv:{folder / 'rows.csv'},shape=2", memory]
    if descriptors is not None:
        command.append("--max-connections=64")

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    with started(folder, command, before=limit) as service:
        yield service, lambda: (Honest if kind == "orchestrator" else DataWorker)(service.listen)
        service.assert_alive()


def serve(service: Service, worker: Worker) -> None:
    """Asserts that a worker is served and that the service keeps within its memory."""
    worker.seconds.clear()
    worker.train(STEPS)
    service.note(worker.seconds)
    assert statistics.median(worker.seconds) < USUAL_SECONDS, worker.seconds
    assert max(worker.seconds) < WORST_SECONDS, worker.seconds
    assert service.peak_bytes() < MOST_BYTES, f"{service.peak_bytes() / MIB:.0f} MiB"


@pytest.mark.parametrize("kind", SERVICES)
def test_few_descriptors_are_shared_out(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path, descriptors=300) as (service, worker):
        known = worker()
        with held(service.listen, 400, heartbeat()[:8]), held(service.http, 400, b"GET /"):
            serve(service, known)
            began = time.monotonic()
            worker().close()
            assert time.monotonic() - began < WORST_SECONDS
            host, port = service.http
            with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=WORST_SECONDS) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("kind", SERVICES)
def test_machines_that_vanish_are_noticed(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (service, worker):
        known = worker()
        known.train(1)
        host = bytes(int(part) for part in service.listen[0].split("."))
        address = f"{host[::-1].hex().upper()}:{service.listen[1]:04X}"

        def timers() -> list[str]:
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
            return [line[5].partition(":")[0] for line in lines if line[1] == address and line[3] == ESTABLISHED]

        # Once everything that was sent is acknowledged.
        eventually(lambda: timers() == [KEEPALIVE], "the connection is probed")


@pytest.mark.parametrize("kind", ["orchestrator"])
def test_endless_heartbeats(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (service, worker):
        known, many = worker(), heartbeat() * 1000
        joined = join("stranger")

        def attack(connection: socket.socket) -> None:
            connection.sendall(joined)
            for _ in range(50):
                connection.sendall(many)
            drain(connection)

        before = service.processor_seconds()
        with flood(service.listen, attack, connections=4) as attacks:
            serve(service, known)
            while attacks() < 4:
                known.train(1)
            spent = (service.processor_seconds() - before) / attacks()
        # It is cut off after some of the 50,000.
        assert spent < 0.2
        assert service.log_bytes() < MIB


def wrong(kind: str, number: int) -> bytes:
    """A request that is refused."""
    if kind == "data":
        return batch_request(number, 1, shards=3)
    return frame("workRequest", number, step=0, parametersHash=NO_HASH)


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("joins", [False, True], ids=["a stranger", "a worker"])
def test_endless_wrong_requests(kind: str, joins: bool, tmp_path: Path) -> None:
    if joins and kind == "data":
        pytest.skip("nobody joins a data service")
    with serving(kind, tmp_path) as (service, worker):
        known = worker()
        answers: list[int] = []

        def attack(connection: socket.socket) -> None:
            # Of one that has joined: it asks to join again.
            name = f"stranger {time.monotonic_ns()}"
            requests = [join(name)] * 301 if joins else [wrong(kind, number) for number in range(300)]
            connection.sendall(b"".join(requests))
            refusals: list[dict[str, Any]] = []
            with suppress(EOFError, OSError):
                while len(refusals) < 301:
                    message = receive(connection)
                    if message["type"] == "errorReply":
                        refusals.append(message["errorReply"])
            answers.append(len(refusals))

        with flood(service.listen, attack, connections=4) as attacks:
            serve(service, known)
            while attacks() < 20:
                known.train(1)
        # Those at once, and a few a second; the connection ends with the last one.
        assert answers and max(answers) < 200, answers
        assert service.log_bytes() < MIB


@pytest.mark.parametrize("kind", SERVICES)
def test_pages_have_nothing_else(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (service, worker):
        known = worker()
        assert page(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == 200
        for path in (b"/", b"/debug/pprof/", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"//etc/passwd"):
            assert page(service, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n") in {301, 307, 400, 404}
        for method in (b"POST", b"PUT", b"DELETE", b"CONNECT", b"TRACE"):
            assert page(service, method + b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n") in {400, 404, 405}
        # A header that does not end is cut off; whether there is time for an answer is all the same.
        assert page(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (8 << 20)) in {0, 400, 431}
        serve(service, known)


def page(service: Service, request: bytes) -> int:
    """The status of the answer to a request; 0 if the connection was closed instead."""
    with socket.create_connection(service.http, timeout=WORST_SECONDS) as connection:
        try:
            connection.sendall(request)
            status = connection.recv(1000).split(b" ")
        except ConnectionError:
            return 0
        return int(status[1]) if len(status) > 1 else 0
