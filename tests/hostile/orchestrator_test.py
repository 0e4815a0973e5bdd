"""The orchestrator serves a worker, within its memory, whatever strangers send to its ports."""

from __future__ import annotations

import os
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from schemas import tensor_capnp
from tests.hostile.flood import connect, drain, flood, held
from tests.hostile.frames import NO_HASH, amplified_join, frame, heartbeat, join, padded
from tests.hostile.honest import Honest, receive
from tests.hostile.service import MIB, Service, started

MEMORY_BYTES = 256 * MIB
# Beside the budget: the program itself, its stacks and what the collector has not freed yet.
MOST_BYTES = MEMORY_BYTES * 6 // 5
# A step takes milliseconds. On a busy machine one of many may be late, not most.
USUAL_SECONDS, WORST_SECONDS = 1.0, 20.0
STEPS = 40


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[Service]:
    """An orchestrator of a run with one shard of one sample in each step."""
    command = [os.environ["ORCHESTRATOR"], f"--run-dir={tmp_path / 'run'}", f"--max-memory-bytes={MEMORY_BYTES}"]
    settings = ["--shards=1", "--batch-size=1", "--min-shard-samples=0", "--checkpoint-seconds=0"]
    with started(tmp_path, [*command, *settings]) as service:
        yield service
        service.assert_alive()


def ledger_bytes(service: Service) -> int:
    """The size of the ledger, with what it was grown ahead by."""
    return (service.folder / "run" / "ledger.jsonl").stat().st_size


def serve(service: Service, worker: Honest) -> None:
    """Makes steps, and asserts that they are served and that the service keeps within its memory."""
    worker.seconds.clear()
    worker.train(STEPS)
    service.note(worker.seconds)
    assert statistics.median(worker.seconds) < USUAL_SECONDS, worker.seconds
    assert max(worker.seconds) < WORST_SECONDS, worker.seconds
    assert service.peak_bytes() < MOST_BYTES, f"{service.peak_bytes() / MIB:.0f} MiB"


@pytest.mark.parametrize(("parameters", "name_bytes"), [(65536, 1000), (65536, 900_000), (20000, 5_000_000)])
def test_many_names_that_are_one_text(orchestrator: Service, parameters: int, name_bytes: int) -> None:
    worker = Honest(orchestrator.listen)
    hostile = amplified_join(parameters, name_bytes)

    def attack(connection: socket.socket) -> None:
        for _ in range(4):
            connection.sendall(hostile)
        drain(connection)

    with flood(orchestrator.listen, attack, connections=16):
        serve(orchestrator, worker)
    assert orchestrator.log_bytes() < MIB


@pytest.mark.parametrize("field", ["runId", "workerName", "software", "training", "arithmetic"])
def test_long_texts_are_not_repeated(orchestrator: Service, field: str) -> None:
    worker = Honest(orchestrator.listen)
    hostile = join("stranger", **{field: "é" * 7_000_000})
    answered: list[int] = []

    def attack(connection: socket.socket) -> None:
        connection.sendall(hostile)
        refusal = receive(connection)["errorReply"]
        answered.append(len(refusal["detail"]))

    with flood(orchestrator.listen, attack, connections=4):
        serve(orchestrator, worker)
    assert answered and max(answered) < 1000, answered
    assert orchestrator.log_bytes() < MIB


def test_peers_that_do_not_read(orchestrator: Service) -> None:
    worker = Honest(orchestrator.listen)
    hostile = join("stranger", runId="x" * 200) * 100

    def attack(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(1000):
            connection.sendall(hostile)

    with flood(orchestrator.listen, attack):
        serve(orchestrator, worker)
    assert orchestrator.log_bytes() < MIB


@pytest.mark.parametrize("first", [b"", heartbeat(), heartbeat()[:5]], ids=["nothing", "a heartbeat", "half a frame"])
def test_silent_connections_leave_places_to_workers(orchestrator: Service, first: bytes) -> None:
    worker = Honest(orchestrator.listen)
    with held(orchestrator.listen, 1100, first):
        serve(orchestrator, worker)
        # One that lost its connection comes back.
        worker.close()
        began = time.monotonic()
        Honest(orchestrator.listen).close()
        assert time.monotonic() - began < WORST_SECONDS


@pytest.mark.parametrize(
    "hostile",
    [
        heartbeat(padding=15 * MIB),
        padded(frame("gradientUpdate", 1, shardCount=1), 15 * MIB),
        padded(frame("snapshot", 1, parametersHash=NO_HASH, totalBytes=1 << 30, data=b"x"), 15 * MIB),
    ],
    ids=["heartbeat", "gradientUpdate", "snapshot"],
)
def test_strangers_cannot_hold_the_memory(orchestrator: Service, hostile: bytes) -> None:
    worker = Honest(orchestrator.listen)
    # All of the frame but its last bytes, so that it is held until it is complete.
    with held(orchestrator.listen, 100, hostile[:-8]):
        serve(orchestrator, worker)


def test_frames_of_connections_that_close(orchestrator: Service) -> None:
    worker = Honest(orchestrator.listen)
    hostile = heartbeat(padding=15 * MIB)
    with flood(orchestrator.listen, lambda connection: connection.sendall(hostile), connections=16):
        serve(orchestrator, worker)


def test_workers_that_join_and_leave(orchestrator: Service) -> None:
    worker = Honest(orchestrator.listen)
    worker.train(1)
    before = ledger_bytes(orchestrator)
    leave = frame("leave", 2, reason="x" * 1000)

    def attack(connection: socket.socket) -> None:
        connection.sendall(join(f"stranger {id(connection)} {time.monotonic_ns()}"))
        with suppress(EOFError):
            receive(connection)
            connection.sendall(leave)
            receive(connection)

    with flood(orchestrator.listen, attack, connections=4) as attacks:
        serve(orchestrator, worker)
        while attacks() < 3000:
            worker.train(1)
    assert max(worker.seconds) < WORST_SECONDS
    # 1,024 join at once, each with a record; then a few a second.
    assert ledger_bytes(orchestrator) - before < 2 * MIB
    assert orchestrator.log_bytes() < MIB


def test_contradictions_of_a_closed_step(orchestrator: Service) -> None:
    worker = Honest(orchestrator.listen)
    worker.train(2)
    before = ledger_bytes(orchestrator)
    stranger = Honest(orchestrator.listen, "stranger")
    for number in range(2000):
        assert stranger.submit(1, 2.0 + number)["verdict"] == "conflict"
    serve(orchestrator, worker)
    assert ledger_bytes(orchestrator) - before < MIB
    assert orchestrator.log_bytes() < MIB


def test_a_stranger_cannot_end_the_run(orchestrator: Service) -> None:
    worker = Honest(orchestrator.listen)
    with connect(orchestrator.listen) as connection:
        connection.sendall(frame("leave", 1, broken="it is not deterministic"))
        assert receive(connection)["type"] == "leave"
    serve(orchestrator, worker)


def test_names_with_control_characters_are_refused(orchestrator: Service) -> None:
    with connect(orchestrator.listen) as connection:
        connection.sendall(join("\x1b]0;owned\x07"))
        refusal = receive(connection)["errorReply"]
    assert refusal["action"] == "fixRequest" and "control characters" in refusal["detail"], refusal
    assert "\x1b" not in refusal["detail"]
    assert tensor_capnp.maxWorkerNameBytes == 128


@pytest.mark.parametrize("first", [b"", b"GET /status HTTP/1.1\r\nX: "], ids=["silent", "slow"])
def test_clients_of_the_pages_leave_room_for_probes(orchestrator: Service, first: bytes) -> None:
    worker = Honest(orchestrator.listen)
    host, port = orchestrator.http
    with held(orchestrator.http, 500, first):
        for page in ("healthz", "readyz", "status", "metrics"):
            with urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=WORST_SECONDS) as answer:
                assert answer.status == 200
        serve(orchestrator, worker)
