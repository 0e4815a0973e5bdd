"""Batches have the same bits in whichever process and order they are loaded, and a killed process loses nothing."""

import os
import random
import re
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch.utils.data import Subset, TensorDataset, get_worker_info

from pangea.loading.canonical import UnhashableBatch
from pangea.loading.fetch import LoadingFailed
from pangea.loading.fixtures import SAMPLES, Augmented, Fails, KillsItself, Told, epoch, made, mixed
from pangea.loading.loader import Loader
from pangea.loading.requests import Plan, Request


def hashes(loader: Loader, requests: list[Request]) -> dict[Request, bytes]:
    loader.want(requests)
    try:
        return {request: loader.collect(request).hash for request in requests}
    finally:
        loader.close()


def load_all(loader: Loader) -> None:
    for request in epoch():
        loader.collect(request)


def test_augmented_batches_are_the_same_bits_in_every_process_and_order() -> None:
    requests = [*epoch(0), *epoch(1)]
    alone = hashes(made(Augmented(), collate=mixed), requests)
    # The last step of an epoch has two samples, all in its first shard.
    assert len(set(alone.values())) == 2 * 13 + 1
    for processes in (1, 2, 3):
        assert hashes(made(Augmented(), processes, collate=mixed), requests) == alone
    backwards = hashes(made(Augmented(), 2, collate=mixed, prefetch_factor=1), requests[::-1])
    assert backwards == alone


def test_an_epoch_draws_new_random_numbers_for_the_same_sample() -> None:
    loader = made(Augmented())
    first, second = (
        {int(index): noise for request in epoch(number) for index, noise in _noise(loader, request)}
        for number in (0, 1)
    )
    assert first.keys() == second.keys() == set(range(SAMPLES))
    assert all(first[index] != second[index] for index in first)


def _noise(loader: Loader, request: Request) -> list[tuple[int, float]]:
    loaded = loader.collect(request)
    return [] if loaded.data is None else list(zip(loaded.samples, loaded.data["python"].tolist(), strict=True))


def test_spawned_processes_load_the_same_bits() -> None:
    requests = epoch()[:4]
    spawned = made(Augmented(), 1, collate=mixed, multiprocessing_context="spawn")
    assert hashes(spawned, requests) == hashes(made(Augmented(), collate=mixed), requests)


def drawn_after(between: Callable[[], object]) -> tuple[float, ...]:
    torch.manual_seed(3)
    random.seed(3)
    numpy.random.seed(3)
    # An odd number of normals: the other one of a pair is kept in the generator.
    first = random.gauss(0, 1), numpy.random.normal()
    between()
    return *first, torch.rand(1).item(), random.gauss(0, 1), numpy.random.normal()


@pytest.mark.parametrize("processes", [0, 1])
def test_the_scripts_generators_are_left_alone(processes: int) -> None:
    def load() -> None:
        loader = made(Augmented(), processes, held_out=Augmented())
        loader.collect(Request("heldOut", 0, 0, 0, range(10)))
        loader.close()

    assert drawn_after(load) == drawn_after(lambda: None)


class Rounds(Augmented):
    """Computes with what the script's contexts and number of threads would change."""

    def __getitem__(self, index: int) -> Any:
        x = torch.linspace(0, 1 + index, 64 * 64).reshape(64, 64)
        return x @ x, torch.get_num_threads(), torch.is_grad_enabled()


def test_what_surrounds_the_scripts_loop_changes_nothing() -> None:
    alone = hashes(made(Rounds(), 1), epoch()[:2])
    torch.set_num_threads(3)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            assert hashes(made(Rounds()), epoch()[:2]) == alone
            assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("dataset", "collate"),
    [
        (list(range(SAMPLES)), None),
        ([f"text {number}" for number in range(SAMPLES)], list),
        (TensorDataset(torch.arange(SAMPLES * 3.0).reshape(SAMPLES, 3), torch.arange(SAMPLES)), None),
        (Subset(TensorDataset(torch.arange(90.0)), range(0, 2 * SAMPLES - 20, 2)), None),
        ([{"x": torch.ones(3) * number, "n": number} for number in range(SAMPLES)], None),
        (
            [torch.ones(1 + number % 5) for number in range(SAMPLES)],
            lambda items: torch.nn.utils.rnn.pad_sequence(items, batch_first=True),
        ),
    ],
)
def test_every_kind_of_dataset_can_be_loaded(dataset: Any, collate: Any) -> None:
    requests = [request for request in epoch() if request.step < len(dataset) // 16]
    alone, pool = (hashes(made(dataset, processes, collate=collate), requests) for processes in (0, 2))
    assert alone == pool


def test_samples_of_different_shapes_without_a_collate_fn_are_explained() -> None:
    loader = made([torch.ones(1 + number % 5) for number in range(SAMPLES)])
    with pytest.raises(LoadingFailed, match=r"collate_fn could not make a batch of 4 samples.*pads them"):
        loader.collect(Request("train", 0, 0, 0))


def test_what_cannot_be_hashed_is_named_at_the_join() -> None:
    for processes in (0, 1):
        with pytest.raises(UnhashableBatch, match="batch.data is a set.*let collate_fn return"):
            made(list(range(SAMPLES)), processes, collate=set)


def test_an_error_names_the_sample_and_has_its_traceback() -> None:
    for processes in (0, 2):
        loader = made(Fails(), processes)
        with pytest.raises(LoadingFailed, match=re.escape("sample 13 of the dataset Fails")) as caught:
            load_all(loader)
        assert "ValueError: the file of sample 13 is truncated" in str(caught.value)
        assert re.search(r'fixtures.py", line .*, in __getitem__', "".join(traceback.format_exception(caught.value)))
        # Other batches can still be loaded.
        assert loader.collect(Request("train", 0, 0, 0, (1, 2))).data.tolist() == [1, 2]
        loader.close()


def failing_init(number: int) -> None:
    raise OSError(f"no file for {number}")


def test_an_error_in_worker_init_fn_is_reported() -> None:
    with pytest.raises(LoadingFailed, match="worker_init_fn failed in loader process .: OSError: no file for"):
        made(Augmented(), 2, worker_init_fn=failing_init)


def test_loader_processes_know_what_those_of_a_dataloader_know(tmp_path: Path) -> None:
    def init(number: int) -> None:
        info = get_worker_info()
        assert info is not None
        (tmp_path / str(number)).write_text(f"{info.id} of {info.num_workers}, {type(info.dataset).__name__}")

    loader = made(Told(), 2, worker_init_fn=init)
    told = loader.collect(Request("train", 0, 0, 0)).data
    loader.close()
    assert int(told[0][0]) in (0, 1)
    assert (int(told[1][0]), int(told[2][0])) == (2, SAMPLES)
    assert [(tmp_path / str(number)).read_text() for number in (0, 1)] == ["0 of 2, Told", "1 of 2, Told"]
    assert made(Told()).collect(Request("train", 0, 0, 0)).data[0][0] == -1


def test_a_killed_process_is_started_again_and_its_batches_are_loaded_again(tmp_path: Path) -> None:
    alone = hashes(made(Augmented()), epoch())
    dying = made(KillsItself(tmp_path, times=2), 2)
    # The identity has the name of the class, and the order has the identity.
    dying.plan = Plan(SAMPLES, made(Augmented()).info.hash, dying.plan.settings)
    assert dying._pool is not None
    dying._pool.plan(dying.plan)
    assert hashes(dying, epoch()) == alone
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_killed_while_they_are_idle_are_started_again() -> None:
    alone = hashes(made(Augmented()), epoch())
    loader = made(Augmented(), 2)
    for pid in loader.pids:
        os.kill(pid, signal.SIGKILL)
    assert hashes(loader, epoch()) == alone


def test_a_batch_that_kills_every_process_is_named(tmp_path: Path) -> None:
    loader = made(KillsItself(tmp_path, times=100), 2)
    with pytest.raises(LoadingFailed, match="3 loader processes died.*was killed by SIGKILL.*memory ran out"):
        load_all(loader)
    loader.close()
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_no_longer_wanted_is_dropped() -> None:
    loader = made(Augmented(), 1)
    requests = epoch()
    loader.want(requests[:4])
    loader.want(requests[8:12])
    alone = hashes(made(Augmented()), requests[8:12])
    assert {request: loader.collect(request).hash for request in requests[8:12]} == alone
    assert loader.wanted == []
    loader.close()


def test_a_forked_child_loads_by_itself() -> None:
    loader = made(Augmented(), 1)
    request = epoch()[0]
    expected = loader.collect(request).hash
    pid = os.fork()
    if pid == 0:
        os._exit(int(loader.collect(request).hash != expected))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert loader.collect(request).hash == expected
    loader.close()


_KILLED = """
import os, signal, sys
from pangea.loading.fixtures import Augmented, made
loader = made(Augmented(), 3)
print(*loader.pids, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_process_outlives_a_killed_script() -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 3
    for pid in pids:
        # Waits for the process, which is not a child of this one; it may be gone already.
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(descriptor) as process:
            assert select.select([process], [], [], 30.0)[0], f"{pid} still runs"
