"""Random numbers depend on the work, not on the worker; nondeterministic operations are refused with advice."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator

import numpy
import pytest
import torch
from torch import nn

from pangea.training import determinism
from pangea.training.determinism import (
    add_advice,
    configure_torch,
    describe_software,
    is_nondeterministic,
    nondeterminism_error,
    seed_everything,
    seed_shard,
    shard_seed,
)


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), float(numpy.random.rand())


def test_a_shard_draws_the_same_numbers_regardless_of_earlier_draws() -> None:
    seed_shard(7, 3, 2)
    first = draws()
    draws()
    seed_shard(7, 3, 2)
    assert draws() == first


@pytest.mark.parametrize("seed", [0, 1, shard_seed(7, 3, 2), (1 << 63) - 1])
def test_torch_draws_the_numbers_of_manual_seed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> torch.Tensor:
        mask = nn.functional.dropout(torch.ones(300), 0.5)
        return torch.cat([torch.rand(300), torch.randn(301), torch.randperm(50).float(), mask])

    torch.manual_seed(seed)
    expected, state, initial = drawn(), torch.get_rng_state(), torch.initial_seed()
    for has_devices in (False, True):
        torch.randn(3)  # leaves a normal number cached in the generator
        monkeypatch.setattr(determinism, "_has_other_devices", lambda found=has_devices: found)
        determinism._seed_torch(seed)
        assert torch.equal(drawn(), expected)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.initial_seed() == initial


@pytest.mark.parametrize("is_used", [False, True])
def test_gpus_are_seeded_where_there_are_any(monkeypatch: pytest.MonkeyPatch, is_used: bool) -> None:
    class Generator:
        def manual_seed(self, seed: int) -> None:
            seeded.append(seed)

    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "default_generators", (Generator(),))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_used)
    monkeypatch.setattr(determinism, "_has_cuda", lambda: True)
    determinism._seed_torch(7)
    assert seeded == [7]


def test_seeds_of_different_work_differ() -> None:
    seeds = {shard_seed(seed, step, shard) for seed in range(5) for step in range(50) for shard in range(8)}
    assert len(seeds) == 5 * 50 * 8
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_the_seed_function_never_changes() -> None:
    assert (
        shard_seed(0, 0, 0) == int.from_bytes(hashlib.sha256(b"pangea/shard/1" + bytes(24)).digest()[:8], "little") >> 1
    )


def test_everything_is_seeded_by_the_launchers_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_SEED", "41")
    assert seed_everything() == 41
    first = draws()
    seed_everything(41)
    assert draws() == first


def test_a_script_that_flushes_denormal_numbers_is_named() -> None:
    before = describe_software()
    assert torch.set_flush_denormal(True)
    try:
        assert describe_software() == f"{before}, denormals flushed"
    finally:
        torch.set_flush_denormal(False)
    assert describe_software() == before


@pytest.fixture
def restored_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def unpool() -> torch.Tensor:
    """Calls an operation for which torch has no deterministic form, not even on the CPU."""
    values, indices = nn.MaxPool2d(2, return_indices=True)(torch.ones(1, 1, 4, 4))
    return torch.as_tensor(nn.MaxUnpool2d(2)(values, indices))


@pytest.mark.usefixtures("restored_torch")
def test_an_operation_without_a_deterministic_form_is_refused_by_name_with_advice() -> None:
    configure_torch()
    with pytest.raises(RuntimeError) as raised:
        unpool()
    assert is_nondeterministic(raised.value)
    assert "max_unpooling2d" in str(nondeterminism_error(raised.value))
    assert "--allow-nondeterminism" in str(nondeterminism_error(raised.value))
    add_advice(raised.value)
    add_advice(raised.value)
    assert len(raised.value.__notes__) == 1


@pytest.mark.usefixtures("restored_torch")
def test_it_is_allowed_without_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_ALLOW_NONDETERMINISM", "1")
    with pytest.warns(UserWarning, match="the promise of the same bits for any number of workers is given up"):
        configure_torch()
    with pytest.warns(UserWarning, match="max_unpooling2d"):
        assert unpool().shape == (1, 1, 4, 4)


def test_a_refusal_in_the_scripts_own_code_is_printed_with_advice() -> None:
    script = """
import torch
from pangea.training.determinism import UncaughtErrorHook, configure_torch
configure_torch()
before = UncaughtErrorHook()
before.remove()
hook = UncaughtErrorHook()
torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert ended.returncode == 1
    assert "the model uses put_, an operation without a deterministic form" in ended.stderr
    assert ended.stderr.count("--allow-nondeterminism") == 1


@pytest.mark.parametrize(
    "error", [None, RuntimeError("out of memory"), ValueError("does not have a deterministic implementation")]
)
def test_other_errors_are_left_alone(error: BaseException | None) -> None:
    add_advice(error)
    assert not getattr(error, "__notes__", [])


PRODUCTS = """
import hashlib, torch
from pangea.training.determinism import configure_torch, describe_software
configure_torch()
torch.manual_seed(3)
digest = hashlib.sha256()
for rows, inner, columns in [(64, 64, 64), (512, 64, 256), (33, 700, 129), (256, 1024, 10)]:
    digest.update((torch.rand(rows, inner) @ torch.rand(inner, columns)).numpy().tobytes())
print(digest.hexdigest(), describe_software())
"""


def test_products_have_the_same_bits_for_any_number_of_cores() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRODUCTS],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert "openblas" in printed.pop()
