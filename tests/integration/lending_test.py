"""Batches in shared memory: the bits are those of TCP, whatever scripts, kills and restarts do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
import torch

from pangea import _native
from pangea.places import python_command, python_environment
from pangea.rundir.layout import Addresses, port_file
from pangea.services.child import Child
from pangea.services.programs import start_data_service
from pangea.worker.batches import as_tensor
from tests.harness.pages import http_get
from tools.processes.waiting import eventually

_ROWS, _COLUMNS, _BATCH = 1024, 784, 64
_STEPS = _ROWS // _BATCH
_READY_SECONDS = 60.0
# A worker that has received batches, keeps them, and waits to be killed.
_KEEPER = """
import sys
from pangea import _native
client = _native.DataClient(sys.argv[1])
kept = [client.batch("train", 0, 0, step, 64, 0, 1) for step in range(16)]
print(client.replicas()[0][0], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A table of 1024 rows of 784 columns, so that a batch of 64 is worth a region."""
    values = numpy.random.default_rng(0).integers(0, 255, (_ROWS, _COLUMNS + 1))
    values[:, -1] %= 10
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(",".join(map(str, row)) for row in values) + "\n")
    return f"csv:{file},shape={_COLUMNS},normalise=all,held_out=0"


@contextmanager
def _service(
    folder: Path, spec: str, name: str = "data", at: Addresses | None = None
) -> Iterator[tuple[Child, Addresses]]:
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    child = start_data_service(folder, name, spec, at or Addresses())
    try:
        yield child, Addresses(**child.wait_ready(port_file(folder, name), _READY_SECONDS))
    finally:
        child.stop()


def _batch(client: _native.DataClient, epoch: int, step: int) -> _native.Batch:
    return client.batch("train", 0, epoch, step, _BATCH, 0, 1)


def _tensors(batch: _native.Batch) -> list[torch.Tensor]:
    return [as_tensor(view) for view in (batch.sample_ids, batch.features, batch.labels)]


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _memories(process: str) -> int:
    """The mappings of regions that batches are lent in; the dataset itself is in "pangea-data"."""
    return sum("/memfd:pangea " in line for line in Path(f"/proc/{process}/maps").read_text().splitlines())


def _memory_bytes(addresses: Addresses) -> float:
    lines = http_get(addresses.http, "/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("pangea_compute_memory_bytes "))


def test_both_ways_serve_the_same_bits(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (_, addresses):
        local, remote = _native.DataClient(addresses.for_workers), _native.DataClient(addresses.listen)
        assert local.replicas() == [(f"unix:{addresses.socket}", True)]
        assert remote.replicas() == [(addresses.listen, True)]
        for epoch in range(2):
            for step in range(_STEPS):
                one, other = _batch(local, epoch, step), _batch(remote, epoch, step)
                assert one.hash == other.hash
                assert _same(_tensors(one), _tensors(other))
        assert _memories("self") > 0
        local.close()
        remote.close()


def test_a_script_may_write_to_batches_and_keep_them(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (_, addresses):
        local, remote = _native.DataClient(addresses.for_workers), _native.DataClient(addresses.listen)
        written, kept = _tensors(_batch(local, 0, 0)), _tensors(_batch(local, 0, 1))
        written[1].fill_(-1.0)
        # Regions are used again many times, each time after a script has written to all of its pages.
        for epoch in range(3):
            for step in range(_STEPS):
                tensors = _tensors(_batch(local, epoch, step))
                assert _same(tensors, _tensors(_batch(remote, epoch, step)))
                for tensor in tensors:
                    tensor.fill_(3)
        assert bool((written[1] == -1).all())
        assert _same(kept, _tensors(_batch(remote, 0, 1)))
        assert _memories("self") <= 8, "regions are used again"
        # They outlive the connection and the service.
        local.close()
        remote.close()
    assert kept[1].shape == (_BATCH, _COLUMNS)
    assert bool((written[1] == -1).all())


def test_a_worker_that_keeps_everything_gets_the_rest_through_the_socket(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (_, addresses):
        local, remote = _native.DataClient(addresses.for_workers), _native.DataClient(addresses.listen)
        wanted = [(epoch, step) for epoch in range(8) for step in range(_STEPS)]
        kept = [_tensors(_batch(local, *key)) for key in wanted]
        regions = _memories("self")
        assert 0 < regions < len(kept)
        assert all(_same(tensors, _tensors(_batch(remote, *key))) for tensors, key in zip(kept, wanted, strict=True))
        # What is released is lent again, and nothing new is made.
        del kept
        for step in range(_STEPS):
            _batch(local, 9, step)
        assert _memories("self") == regions
        local.close()
        remote.close()


def test_a_forked_child_keeps_its_batch_when_its_parent_releases_it(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (_, addresses):
        client = _native.DataClient(addresses.for_workers)
        kept = _tensors(_batch(client, 0, 0))
        copies = [tensor.clone() for tensor in kept]
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            # Until the parent has used the region for other batches. Without torch, whose threads no child has.
            os.read(read, 1)
            equal = all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(kept, copies, strict=True))
            os._exit(0 if equal else 1)
        del kept
        for epoch in range(1, 4):
            for step in range(_STEPS):
                _batch(client, epoch, step)
        assert _memories("self") <= 4, "the region of the child's batch is used again"
        os.write(write, b"x")
        assert os.waitpid(pid, 0)[1] == 0
        client.close()


def test_a_killed_service_leaves_batches_and_no_memory(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (child, addresses):
        client = _native.DataClient(addresses.for_workers)
        for step in range(_STEPS):
            client.prefetch("train", 0, 0, step, _BATCH, 0, 1)
        kept = _tensors(_batch(client, 0, 0))
        copies = [tensor.clone() for tensor in kept]
        child.signal(signal.SIGKILL)
        eventually(lambda: child.exit_code() is not None, "the service to be killed")
        assert _same(kept, copies)
    with _service(tmp_path, spec, at=addresses) as (_, again):
        assert again == addresses
        # Regions are announced again, with the same numbers as those of the batches that are kept.
        for step in range(_STEPS):
            _batch(client, 0, step)
        assert _same(_tensors(_batch(client, 0, 0)), copies)
        assert client.replicas() == [(f"unix:{addresses.socket}", True)]
        assert _same(kept, copies)
        client.close()
        del kept
        eventually(lambda: _memories("self") == 0, "all memory to be unmapped")


def test_a_killed_worker_leaves_no_memory_in_the_service(tmp_path: Path, spec: str) -> None:
    script = tmp_path / "keeper.py"
    script.write_text(_KEEPER)
    with _service(tmp_path, spec) as (child, addresses):
        for _ in range(3):
            command = [*python_command(script), addresses.for_workers]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=python_environment()
            ) as worker:
                assert worker.stdout is not None
                assert worker.stdout.readline().startswith("unix:")
                assert _memories(str(child.process.pid)) >= 16
                assert _memory_bytes(addresses) > 0
                worker.kill()
            eventually(lambda: _memories(str(child.process.pid)) == 0, "the regions of the worker to be unmapped")
            descriptors = Path(f"/proc/{child.process.pid}/fd")
            assert not [link for link in descriptors.iterdir() if "memfd" in str(link.readlink())]
            eventually(lambda: _memory_bytes(addresses) == 0, "the memory of the worker to be given back")


def test_replicas_may_be_reached_in_different_ways(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec, "one") as (first, one), _service(tmp_path, spec, "two") as (_, two):
        client, remote = _native.DataClient(f"{one.for_workers},{two.listen}"), _native.DataClient(two.listen)
        eventually(lambda: all(connected for _, connected in client.replicas()), "both replicas")
        for epoch in range(2):
            for step in range(_STEPS):
                client.prefetch("train", 0, epoch, step, _BATCH, 0, 1)
            for step in range(_STEPS):
                assert _same(_tensors(_batch(client, epoch, step)), _tensors(_batch(remote, epoch, step)))
            first.signal(signal.SIGKILL)
        client.close()
        remote.close()


def test_without_the_socket_batches_come_over_tcp(tmp_path: Path, spec: str) -> None:
    with _service(tmp_path, spec) as (_, addresses):
        client = _native.DataClient(f"unix:{tmp_path}/nothing.sock|{addresses.listen}")
        assert client.replicas() == [(addresses.listen, True)]
        assert _batch(client, 0, 0).features.shape == (_BATCH, _COLUMNS)
        client.close()
    assert not Path(addresses.socket).exists()
