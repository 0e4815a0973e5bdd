"""The data service serves a worker, within its memory, whatever strangers send to its ports."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import socket
import statistics
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.data_worker import WORST_SECONDS, DataWorker, batch_request
from tests.hostile.flood import drain, flood, held
from tests.hostile.frames import frame, padded
from tests.hostile.honest import receive
from tests.hostile.service import MIB, Service, started

MEMORY_BYTES = 128 * MIB
ROWS = 300_000
# What is served of a row: two float32, an int64, and its number in the split and in two orders.
DATA_BYTES = ROWS * (2 * 4 + 8 + 3 * 4)
# Beside the data and the budget: the program, its stacks, and what the allocator keeps.
MOST_BYTES = (DATA_BYTES + MEMORY_BYTES) * 6 // 5 + 32 * MIB
# A batch takes milliseconds. On a busy machine one of many may be late, not most.
USUAL_SECONDS = 1.0
BATCHES = 30


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with so many rows that the order of an epoch takes milliseconds."""
    file = tmp_path_factory.mktemp("data") / "rows.csv"
    file.write_text("".join(f"{row % 7},{row % 11},{row % 3}\n" for row in range(ROWS)))
    return file


@pytest.fixture
def data_service(tmp_path: Path, table: Path) -> Iterator[Service]:
    """A data service with little memory."""
    command = [os.environ["DATA_SERVICE"], f"--dataset=csv:{table},shape=2", f"--max-memory-bytes={MEMORY_BYTES}"]
    with started(tmp_path, command) as service:
        yield service
        service.assert_alive()


def serve(service: Service, worker: DataWorker) -> None:
    """Asks for batches, and asserts that they arrive and that the service keeps within its memory."""
    worker.seconds.clear()
    for _ in range(BATCHES):
        worker.ask()
    service.note(worker.seconds)
    assert statistics.median(worker.seconds) < USUAL_SECONDS, worker.seconds
    assert max(worker.seconds) < WORST_SECONDS, worker.seconds
    assert service.peak_bytes() < MOST_BYTES, f"{service.peak_bytes() / MIB:.0f} MiB"


def health(service: Service) -> None:
    """Asserts that a probe is answered."""
    host, port = service.http
    with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10) as answer:
        assert answer.read() == b"ok\n"


def test_each_request_costs_a_shuffle_of_the_dataset(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    worker.ask()

    def attack(connection: socket.socket) -> None:
        start = int.from_bytes(os.urandom(6), "little")
        connection.sendall(b"".join(batch_request(number, start + number) for number in range(16)))
        for _ in range(16):
            receive(connection)

    with flood(data_service.listen, attack, connections=30):
        serve(data_service, worker)
        # One that comes while the flood lasts is served before those that have asked for more.
        serve(data_service, DataWorker(data_service.listen))
        health(data_service)
    serve(data_service, worker)


def test_connections_that_say_nothing(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    with held(data_service.listen, 1100):
        serve(data_service, worker)
        serve(data_service, DataWorker(data_service.listen))
        health(data_service)


def test_connections_that_asked_once_and_then_say_nothing(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    with held(data_service.listen, 1100, frame("datasetRequest", 1)):
        serve(data_service, worker)
        serve(data_service, DataWorker(data_service.listen))


def test_requests_that_never_end(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    endless = padded(batch_request(1, 1), 32768)[:-8]
    with held(data_service.listen, 600, endless) as connections:
        serve(data_service, worker)
        serve(data_service, DataWorker(data_service.listen))
        # Each is cut off after the time that a request may take.
        assert drain_until_closed(connections[0])


def drain_until_closed(connection: socket.socket) -> bool:
    """Whether the service closes the connection within a minute."""
    connection.settimeout(60)
    with suppress(ConnectionError):
        while connection.recv(1 << 16):
            pass
    return True


def test_replies_that_nobody_reads(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    # 1.5 MB each, more than a socket takes.
    large = b"".join(batch_request(number, 1, step=0, batchSize=65536) for number in range(16))
    with held(data_service.listen, 4, large):
        serve(data_service, worker)


def test_refusals_do_not_fill_the_log(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    before = data_service.log_bytes()

    def attack(connection: socket.socket) -> None:
        connection.sendall(b"".join(batch_request(number, 1, shards=3) for number in range(200)))
        # The last one says that there were too many, and the connection ends.
        refusals = [receive(connection)["errorReply"]["action"]]
        with suppress(EOFError, OSError):
            while True:
                refusals.append(receive(connection)["errorReply"]["action"])
        assert len(refusals) < 200

    with flood(data_service.listen, attack) as attacks:
        serve(data_service, worker)
        while attacks() < 50:
            worker.ask()
    assert data_service.log_bytes() - before < 100_000


def test_pages_that_are_not_asked_for(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)
    with held(data_service.http, 600, b"GET /met"):
        serve(data_service, worker)
        for _ in range(20):
            health(data_service)


def test_rubbish(data_service: Service) -> None:
    worker = DataWorker(data_service.listen)

    def attack(connection: socket.socket) -> None:
        connection.sendall(os.urandom(4096))
        drain(connection)

    with flood(data_service.listen, attack):
        serve(data_service, worker)


def test_a_bomb_is_an_error(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.csv.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(120):
            file.write(b"1,2,0\n" * 100_000)
    spec = f"--dataset=csv:{bomb},shape=2"
    error, _ = refusal([spec, "--max-data-bytes=10000000"])
    assert "more than 10000000 bytes" in error
    # With so little memory that it does not fit: an error of the reader, not the end of the service by a signal.
    error, _ = refusal([spec], address_bytes=600 * MIB)
    assert "memory" in error


def test_an_endless_cell_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cell.csv"
    file.write_bytes(b"1," + b"x" * (30 * MIB) + b",0\n")
    error, peak = refusal([f"--dataset=csv:{file},shape=2"])
    assert "is not a number" in error
    assert len(error) < 1000
    assert peak < 200 * MIB


@pytest.mark.parametrize("file", ["/dev/zero", "/proc/self/environ", "/dev/stdin"])
def test_what_is_not_a_data_file_is_an_error(file: str) -> None:
    error, peak = refusal([f"--dataset=csv:{file},shape=2"])
    assert file in error
    assert peak < 200 * MIB


def refusal(flags: list[str], address_bytes: int | None = None) -> tuple[str, int]:
    """The error of a data service that does not start, and the most memory that it had."""

    def limit() -> None:
        if address_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_bytes, address_bytes))

    command = [os.environ["DATA_SERVICE"], "--listen=127.0.0.1:0", "--http=127.0.0.1:0", *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=limit)
    assert process.stderr is not None
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1, error
    return error, usage.ru_maxrss * 1024


def test_a_table_takes_at_most_three_times_the_memory_of_its_samples(tmp_path: Path) -> None:
    rows, features = 1_200_000, 8
    file = tmp_path / "wide.csv"
    line = ",".join(["0.125"] * features)
    with file.open("w") as table:
        for _ in range(rows // 1000):
            table.write(f"{line},0\n{line},1\n" * 500)
    samples = rows * (features * 4 + 8)
    peak = peak_of_reading(tmp_path, f"csv:{file},shape={features}")
    assert peak < 3 * samples + 40 * MIB, f"{peak / MIB:.0f} MiB for {samples / MIB:.0f} MiB"


def test_a_text_takes_at_most_three_times_the_memory_of_its_tokens(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_bytes(b"To be, or not to be. " * 300_000)
    tokens = file.stat().st_size * 8
    peak = peak_of_reading(tmp_path, f"text:{file}")
    assert peak < 3 * tokens + 40 * MIB, f"{peak / MIB:.0f} MiB for {tokens / MIB:.0f} MiB"


def peak_of_reading(folder: Path, spec: str) -> int:
    """The most memory of the service or the process that reads for it, until it is ready.

    At least that of this process, from which the system starts the service: the samples have to be larger.
    """
    with started(folder, [os.environ["DATA_SERVICE"], f"--dataset={spec}"]) as service:
        service.process.send_signal(signal.SIGTERM)
        # Of the process and of those that it has waited for.
        _, status, usage = os.wait4(service.process.pid, 0)
        service.process.returncode = os.waitstatus_to_exitcode(status)
    assert service.process.returncode == 0
    return usage.ru_maxrss * 1024
