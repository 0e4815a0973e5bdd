"""Strangers who begin a TLS handshake, or what looks like one: whoever has a certificate is served meanwhile."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from tests.hostile.authority import Run, anybody
from tests.hostile.data_worker import DataWorker
from tests.hostile.flood import Attack, drain, flood, held
from tests.hostile.frames import heartbeat
from tests.hostile.honest import Honest
from tests.hostile.service import MIB, Service, started

MEMORY_BYTES = 256 * MIB
# Beside the budget: the program itself, its stacks and what is not freed yet.
MOST_BYTES = MEMORY_BYTES * 6 // 5
# A step takes milliseconds. On a busy machine one of many may be late, not most.
USUAL_SECONDS, WORST_SECONDS = 1.0, 20.0
STEPS = 30
# Of processor time: a few signatures.
MOST_SECONDS_OF_AN_ATTACK = 0.05
SERVICES = ("orchestrator", "data")


class Worker(Protocol):
    """Who has to be served."""

    seconds: list[float]

    def train(self, steps: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The certificates of a run."""
    return Run(tmp_path_factory.mktemp("identities"))


@contextmanager
def serving(
    kind: str, run: Run, folder: Path, http: str = "127.0.0.1:0"
) -> Iterator[tuple[Service, Callable[[], Worker]]]:
    """A service that has an identity, and a function that makes a worker, who has one as well."""
    memory = f"--max-memory-bytes={MEMORY_BYTES}"
    if kind == "orchestrator":
        settings = ["--shards=1", "--batch-size=1", "--min-shard-samples=0", "--checkpoint-seconds=0"]
        command = [os.environ["ORCHESTRATOR"], f"--run-dir={folder / 'run'}", memory, *settings]
    else:
        (folder / "rows.csv").write_text("1,2,0\n3,4,1\n" * 5000)
        command = [os.environ["DATA_SERVICE"], f"--dataset=csv:{folder / 'rows.csv'},shape=2", memory]
    identity = run.folder / {"orchestrator": "leads", "data": "serves"}[kind]
    context = run.client("honest")
    with started(folder, [*command, f"--identity={identity}"], http) as service:

        def worker() -> Worker:
            return (Honest if kind == "orchestrator" else DataWorker)(service.listen, secure=context)

        yield service, worker
        service.assert_alive()


def serve(service: Service, worker: Worker) -> None:
    """Asserts that a worker is served and that the service keeps within its memory."""
    worker.seconds.clear()
    worker.train(STEPS)
    service.note(worker.seconds)
    assert statistics.median(worker.seconds) < USUAL_SECONDS, worker.seconds
    assert max(worker.seconds) < WORST_SECONDS, worker.seconds
    assert service.peak_bytes() < MOST_BYTES, f"{service.peak_bytes() / MIB:.0f} MiB"


def join(worker: Callable[[], Worker]) -> None:
    """Asserts that one is served that connects now."""
    began = time.monotonic()
    worker().close()
    assert time.monotonic() - began < WORST_SECONDS


def hello(length: int) -> bytes:
    """The beginning of a ClientHello that promises to be that long."""
    handshake = b"\x01" + struct.pack(">I", length)[1:]
    return b"\x16\x03\x01" + struct.pack(">H", 16384) + handshake + bytes(1000)


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize(
    "first",
    [b"", b"\x16", hello(16000), hello(0xFFFFFF), heartbeat()],
    ids=["nothing", "a byte", "half a hello", "an endless hello", "a frame"],
)
def test_handshakes_that_do_not_end(kind: str, first: bytes, run: Run, tmp_path: Path) -> None:
    with serving(kind, run, tmp_path) as (service, worker):
        known = worker()
        with held(service.listen, 1100, first):
            serve(service, known)
            join(worker)
        assert service.log_bytes() < MIB


def handshake(context: ssl.SSLContext) -> Attack:
    """Connects with TLS, and says what no stranger may."""

    def attack(connection: socket.socket) -> None:
        with context.wrap_socket(connection) as secured:
            with suppress(OSError):
                secured.sendall(heartbeat())
            drain(secured)

    return attack


def scan(_connection: socket.socket) -> None:
    """Connects, and leaves."""


ATTACKS: dict[str, Callable[[Run, Path], Attack]] = {
    "connect and leave": lambda _run, _folder: scan,
    "no certificate": lambda _run, _folder: handshake(anybody()),
    "a certificate of nobody": lambda run, folder: handshake(run.stranger(folder / "x", 1)),
    "three issuers": lambda run, folder: handshake(run.stranger(folder / "x", 4, 521)),
    "99 issuers": lambda run, folder: handshake(run.stranger(folder / "x", 100, 521)),
    "the certificate of a viewer": lambda run, _folder: handshake(run.client("looks")),
    "the certificate of a service": lambda run, _folder: handshake(run.client("serves")),
}


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_handshakes_of_strangers(kind: str, attack: str, run: Run, tmp_path: Path) -> None:
    with serving(kind, run, tmp_path) as (service, worker):
        known = worker()
        before = service.processor_seconds()
        with flood(service.listen, ATTACKS[attack](run, tmp_path), connections=6) as attacks:
            serve(service, known)
            join(worker)
            while attacks() < 30:
                known.train(1)
            spent, attacked = service.processor_seconds() - before, attacks()
        assert spent / attacked < MOST_SECONDS_OF_AN_ATTACK, f"{spent} s for {attacked} handshakes"
        assert service.log_bytes() < MIB


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("attack", ["connect and leave", "no certificate", "99 issuers"])
def test_probes_are_answered_while_strangers_ask_for_encrypted_pages(
    kind: str, attack: str, run: Run, tmp_path: Path
) -> None:
    with serving(kind, run, tmp_path, "0.0.0.0:0") as (service, worker):
        known = worker()
        pages = ("127.0.0.1", service.http[1])
        with flood(pages, ATTACKS[attack](run, tmp_path), connections=6), held(pages, 200, hello(16000)):
            for _ in range(5):
                assert page(pages, "/healthz") == b"HTTP/1.1 200 OK"
            serve(service, known)


def page(address: tuple[str, int], path: str) -> bytes:
    """The first line of the answer for somebody without a certificate, who is not one of the crowd."""
    request = f"GET {path} HTTP/1.1\r\nHost: pages\r\nConnection: close\r\n\r\n".encode()
    elsewhere = ("127.0.0.2", 0)
    plain = socket.create_connection(address, timeout=WORST_SECONDS, source_address=elsewhere)
    with plain, anybody().wrap_socket(plain) as secured:
        secured.sendall(request)
        return secured.recv(1000).partition(b"\r\n")[0]
