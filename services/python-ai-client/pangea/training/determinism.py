"""Deterministic computation: one torch configuration for all workers, and random numbers derived from the work."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy
import threadpoolctl
import torch

from pangea import _native, arithmetic
from pangea.errors import PangeaError, format_error, wants_traceback
from pangea.training.devices.device import Device
from pangea.training.devices.settings import configure_cuda, random_states, restore_random_states

_ALLOW = "PANGEA_ALLOW_NONDETERMINISM"
_HINT = (
    "Pangea promises the same bits for any number of workers, so it refuses operations that torch cannot compute the"
    " same way twice. Replace the operation, or give up that promise: `pangea train --allow-nondeterminism`, or"
    f" {_ALLOW}=1 in the environment of every worker."
)


class NondeterministicOperation(PangeaError, RuntimeError):
    """The model uses an operation without a deterministic form."""


def configure_torch(threads: int = 1) -> None:
    """Makes torch's results depend only on their inputs.

    Operations without a deterministic form raise an error; with PANGEA_ALLOW_NONDETERMINISM=1, a warning.

    Args:
        threads: of torch's own pool and of the BLAS below it; they affect the result, so they are equal for all workers
            of a run.
    """
    allowed = allows_nondeterminism()
    if allowed:
        warnings.warn(
            f"{_ALLOW}=1: operations without a deterministic form are allowed, and the promise of the same bits for any"
            " number of workers is given up",
            stacklevel=1,
        )
    # Before the first use of cuBLAS, which reads its setting only then.
    configure_cuda()
    torch.use_deterministic_algorithms(True, warn_only=allowed)
    torch.set_num_threads(threads)
    # A BLAS built with pthreads ignores torch's setting: it uses one thread per core, and the bits of a product depend
    # on their number.
    threadpoolctl.threadpool_limits(threads, user_api="blas")
    torch.backends.mkldnn.deterministic = True  # type: ignore[assignment]


def is_nondeterministic(error: BaseException | None) -> bool:
    """Returns whether torch refused an operation without a deterministic form; the message begins with its name."""
    return isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error)


def nondeterminism_error(error: RuntimeError) -> NondeterministicOperation:
    """Returns the error to raise for an operation that torch has refused; it names the operation."""
    return NondeterministicOperation(
        f"the model uses {str(error).split(' ', 1)[0]}, an operation without a deterministic form. {_HINT}"
    )


# Parts of error messages that torch raises in the script's own code, and Pangea's advice for them.
_ADVICE = {
    "Expected more than 1 value per channel when training": (
        "A shard has a single sample, which BatchNorm cannot normalise. Drop the incomplete last step of each epoch"
        " (--drop-last), or choose a --batch-size with which that step has more than one sample"
    ),
    "No module named 'setuptools": (
        "torch.compile with the backend inductor compiles C++ during training, and neither setuptools nor a compiler is"
        " installed; use torch.compile(model, backend='aot_eager'), or do not compile the model"
    ),
}


def _with_advice(error: BaseException) -> str | None:
    """Returns an error's message with advice; None if there is no advice for it."""
    for line in str(error).splitlines():
        for message, advice in _ADVICE.items():
            if message in line:
                return f"{line.strip()}. {advice}"
    return None


def add_advice(error: BaseException | None) -> None:
    """Adds advice to torch's refusal of an operation, if it is one; it was raised in the user's own code."""
    if error is not None and is_nondeterministic(error) and _HINT not in getattr(error, "__notes__", []):
        error.add_note(_HINT)


class UncaughtErrorHook:
    """Replaces `sys.excepthook`: prints errors of Pangea in one line, and known errors of torch with advice.

    Attributes:
        on_error: called with the error before it is printed.
    """

    def __init__(self) -> None:
        self.on_error: Callable[[BaseException], None] = lambda _: None
        self._previous = sys.excepthook
        sys.excepthook = self._hook

    def _hook(self, kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None) -> None:
        self.on_error(error)
        if is_nondeterministic(error):
            error = nondeterminism_error(RuntimeError(str(error)))
        elif (text := _with_advice(error)) is not None:
            error = PangeaError(text)
        if isinstance(error, PangeaError) and not wants_traceback():
            print(format_error(error, traceback), file=sys.stderr, flush=True)
        else:
            self._previous(kind, error, traceback)

    def remove(self) -> None:
        """Restores the previous hook, unless another one was set meanwhile."""
        if sys.excepthook == self._hook:
            sys.excepthook = self._previous


# The shard number in the seed for what belongs to a whole step.
_NO_SHARD = 1 << 32


def shard_seed(seed: int, step: int, shard: int) -> int:
    """Returns the seed for all random numbers of a shard: SHA-256 over the three numbers, truncated to 63 bits."""
    digest = hashlib.sha256(
        b"pangea/shard/1" + b"".join(part.to_bytes(8, "little") for part in (seed, step, shard))
    ).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def allows_nondeterminism() -> bool:
    """Returns whether the run may continue without the promise of the same bits."""
    return os.environ.get(_ALLOW) == "1"


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restores the random state of torch, of its GPUs, numpy and `random` on exit."""
    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()
    of_devices = random_states()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        restore_random_states(of_devices)
        numpy.random.set_state(states[1])
        random.setstate(states[2])


@functools.cache
def _has_other_devices() -> bool:
    """Returns whether `torch.manual_seed` has more to seed than the generators of the CPU and of CUDA."""
    return (
        torch.xpu.device_count() > 0
        or torch.backends.mps.is_available()
        or hasattr(torch, torch._C._get_privateuse1_backend_name())
    )


@functools.cache
def _has_cuda() -> bool:
    """Returns whether there is a GPU.

    CUDA is asked for the number of its devices, which torch takes from NVML: `is_available` would initialise it, and
    make it unusable in the forked child of a rehearsal.
    """
    return torch.cuda.device_count() > 0


def _seed_torch(seed: int) -> None:
    """Seeds torch's generators as `torch.manual_seed` does, which takes 0.1 to 0.3 ms to find out which there are.

    For every device that could appear later it formats a stack trace: more than all else that a small shard costs.
    """
    unused = _has_cuda() and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if _has_other_devices() or unused:
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    for generator in torch.cuda.default_generators if _has_cuda() else ():
        generator.manual_seed(seed)


def seed_all(seed: int) -> None:
    """Seeds torch, numpy and `random` with the seed of one shard, which is that of its batch."""
    _seed_torch(seed)
    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)


def seed_shard(seed: int, step: int, shard: int) -> None:
    """Seeds torch, numpy and `random` for one shard."""
    seed_all(shard_seed(seed, step, shard))


def seed_after_step(seed: int, step: int) -> None:
    """Seeds torch, numpy and `random` for the functions that run once a step, identically on every worker."""
    seed_all(shard_seed(seed, step, _NO_SHARD))


def seed_held_out(seed: int, step: int, number: int) -> None:
    """Seeds torch, numpy and `random` for one batch of an evaluation, identically on every worker."""
    seed_all(shard_seed(seed, step, _NO_SHARD + 1 + number))


def seed_everything(seed: int | None = None) -> int:
    """Seeds torch, numpy and `random`. Call it before building the model, so that all workers build the same one.

    Args:
        seed: of the run; default: the launcher's (PANGEA_SEED), or 0.
    Returns:
        the seed used.
    """
    chosen = int(os.environ.get("PANGEA_SEED") or 0) if seed is None else seed
    arithmetic.ensure_pinned()
    configure_torch(int(os.environ.get("PANGEA_TORCH_THREADS") or 1))
    # Once a process, so that also a device that is found later starts from this seed.
    torch.manual_seed(chosen)
    seed_all(chosen)
    return chosen


def describe_software(device: Device | None = None) -> str:
    """Returns arithmetic level, torch build, detected processor, thread counts, and what the device says of itself.

    All workers should agree on them.
    """
    accelerator = device.describe() if device is not None else ""
    blas = sorted(
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture')} threads={pool['num_threads']}"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    )
    return (
        f"arithmetic {arithmetic.pinned_level() or 'not pinned'}, torch {torch.__version__}"
        f" {torch.backends.cpu.get_cpu_capability()} threads={torch.get_num_threads()} {' '.join(blas)}"
        # Set by torch.set_flush_denormal: the gradients differ, so it is named where it differs.
        f"{', denormals flushed' if _native.flushes_denormals() else ''}"
        f"{', ' + accelerator if accelerator else ''}"
    )
