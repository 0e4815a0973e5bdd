"""The same bits whoever computes: one torch configuration for all workers, and random numbers that depend on the work alone."""

from __future__ import annotations

import hashlib
import os
import random

import numpy
import torch


class NondeterministicOperation(RuntimeError):
    """The model uses an operation that has no deterministic form."""


def configure_torch(threads: int = 1) -> None:
    """Makes torch's results depend on inputs only.

    Args:
        threads: of torch's own pool; part of the result, so equal for all workers of a run.
    """
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    torch.backends.mkldnn.deterministic = True  # type: ignore[assignment]


def shard_seed(seed: int, step: int, shard: int) -> int:
    """Seed of every random number drawn while shard `shard` of step `step` is computed: SHA-256 over the three, cut to 63 bits."""
    digest = hashlib.sha256(b"pangea/shard/1" + b"".join(part.to_bytes(8, "little") for part in (seed, step, shard))).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seeds torch, numpy and `random` for one shard."""
    _seed_all(shard_seed(seed, step, shard))


def seed_everything(seed: int | None = None) -> int:
    """Seeds torch, numpy and `random` so that every worker starts from the same parameters. Call it before the model is built.

    Args:
        seed: of the run; default is the launcher's (PANGEA_SEED), or 0.
    Returns:
        the seed that was used.
    """
    chosen = int(os.environ.get("PANGEA_SEED", "0")) if seed is None else seed
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS", "1")))
    _seed_all(chosen)
    return chosen


def describe_software() -> str:
    """Build of torch and kind of processor: workers of one run should agree on both."""
    return f"torch {torch.__version__} {torch.backends.cpu.get_cpu_capability()} threads={torch.get_num_threads()}"
