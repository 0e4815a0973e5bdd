"""Rehearsals: a shard is computed a second time in another order, to see whether its result depends on what was computed before it.

The promise of the same bits needs that. A state that a script carries from batch to batch, a generator of its own, initialisation by the first batch: each makes
a result depend on the order, and so on the number of workers, without an error. A rehearsal finds it in the first steps.

It runs in a child process (fork) that goes on in the script's own loop, is given one shard before all others, sends its result through a pipe and ends. So the
script's own state (lists, counters, files it appends to) does not see the shard twice. torch cannot compute gradients in a child once its parent has; then
the losses are compared, which is where all that we know shows.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import select
import signal
import sys
import time
import types
import warnings
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from pangea.errors import BrokenPromise
from pangea.training.determinism import shard_seed
from pangea.training.trace import OutputTrace, first_difference

# The first steps, in which each lease is rehearsed.
FIRST_STEPS = 3
# A rehearsal that takes many times as long as the shards themselves is given up.
_MIN_TIMEOUT_SECONDS = 10.0
_TIMEOUT_FACTOR = 5.0
_PR_SET_PDEATHSIG = 1
_MAX_NAMED = 4

CAUSES = (
    "Causes that we know: a state carried from batch to batch (a hidden state, a counter, a cache), a random generator of the script's own (take batch.torch_generator() or "
    "batch.numpy_generator()), initialisation by the first batch (pangea.join(init=...)), and random numbers that are drawn for some batches only"
)


@dataclass
class Result:
    """What a shard came out as.

    Attributes:
        loss: exact, as hexadecimal text.
        digests: of the contribution, tensor by tensor; None where it was not computed.
        outputs: of the modules, where they are traced.
    """

    loss: str
    digests: list[str] | None = None
    outputs: list[tuple[str, str, str]] = field(default_factory=list)


def loss_text(loss: torch.Tensor) -> str:
    """Every bit of a scalar."""
    return float(loss.detach().double()).hex()


def digests(flat: torch.Tensor, sizes: list[int]) -> list[str]:
    """A short hash of each part of a flat vector, whose numbers of elements are `sizes`."""
    return [hashlib.blake2b(part.numpy().tobytes(), digest_size=8).hexdigest() for part in torch.split(flat.detach(), sizes)]


class Plan:
    """Says which leases are rehearsed: those of the first steps, and later a share of them that seed and step choose."""

    def __init__(self, seed: int, fraction: float) -> None:
        self._seed, self._fraction = seed, fraction
        self._leases = 0

    def wants(self, step: int, shards: int) -> bool:
        """Whether a lease of so many shards with samples is rehearsed; to be asked once for each."""
        if self._fraction <= 0 or shards == 0:
            return False
        self._leases += 1
        cost = (1 if shards > 1 else 2) / shards
        draw = shard_seed(self._seed, step, 1 << 33) / float(1 << 63)
        return self._leases <= FIRST_STEPS or draw * cost < self._fraction


class Rehearsal:
    """One shard of a lease, computed by a child before all others and by this process in its turn."""

    def __init__(self, step: int, shard: int, names: list[str], trace: OutputTrace | None) -> None:
        """Args:
        step, shard: which one.
        names: of the parts of a contribution.
        trace: of the modules' outputs, if they are to be compared.
        """
        self.step, self.shard = step, shard
        self._names, self._trace = names, trace
        self._expected: Result | None = None
        self._pid = 0
        self._read = -1
        self._write = -1
        self._started = 0.0

    def fork(self) -> bool:
        """Starts the child. True in the child, which ends with `send_result` or `fail`; false in the parent.

        Raises:
            OSError: the system refuses another process.
        """
        self._read, self._write = os.pipe()
        self._started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            # That other threads are not there in the child is taken into account: it uses none of their connections.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid:
            os.close(self._write)
            return False
        self._become_child(parent)
        return True

    def _become_child(self, parent: int) -> None:
        os.close(self._read)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # What the script prints has been or will be printed by the parent.
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        sys.excepthook = self._on_uncaught

    def _on_uncaught(self, _kind: type[BaseException], error: BaseException, _traceback: types.TracebackType | None) -> None:
        self.fail(f"{type(error).__name__}: {error}")

    def send_result(self, result: Result) -> NoReturn:
        """Sends the child's result and ends the child."""
        self._send(vars(result))

    def fail(self, reason: str) -> NoReturn:
        """Ends the child without a result."""
        self._send({"error": reason})

    def _send(self, content: dict[str, Any]) -> NoReturn:
        try:
            with open(self._write, "w") as stream:
                json.dump(content, stream)
        finally:
            os._exit(0)

    def set_expected(self, result: Result) -> None:
        """Notes what the shard came out as in this process, in its turn."""
        self._expected = result

    def compare(self) -> str | None:
        """Waits for the child, a bounded time, and compares.

        Returns:
            why nothing can be said, or None if the results are the same.
        Raises:
            BrokenPromise: naming what differs, and causes.
        """
        if self._expected is None:
            self.abandon()
            return "the shard was not computed"
        patience = max(_MIN_TIMEOUT_SECONDS, _TIMEOUT_FACTOR * (time.monotonic() - self._started))
        text = self._receive(time.monotonic() + patience)
        self.abandon()
        try:
            content: dict[str, Any] = json.loads(text) if text else {"error": "no answer"}
        except ValueError:
            content = {"error": "half an answer"}
        if "error" in content:
            return str(content["error"])
        self._raise_if_different(self._expected, Result(content["loss"], content["digests"], [tuple(entry) for entry in content["outputs"]]))
        return None

    def _raise_if_different(self, expected: Result, alone: Result) -> None:
        different = []
        if expected.digests is not None and alone.digests is not None:
            different = [name for name, one, other in zip(self._names, expected.digests, alone.digests, strict=True) if one != other]
        if expected.loss == alone.loss and not different:
            return
        what = "loss" if expected.loss != alone.loss else "gradient"
        details = []
        if expected.loss != alone.loss:
            details.append(f"after the shards before it the loss is {float.fromhex(expected.loss)!r}, computed before them {float.fromhex(alone.loss)!r}")
        if different:
            more = f" and {len(different) - _MAX_NAMED} more" if len(different) > _MAX_NAMED else ""
            details.append(f"{len(different)} of {len(self._names)} tensors differ: {', '.join(different[:_MAX_NAMED])}{more}")
        if self._trace is not None:
            details.append(first_difference(expected.outputs, alone.outputs))
        raise BrokenPromise(
            f"the {what} of shard {self.shard} of step {self.step} depends on what was computed before it, so the result would depend on the number of workers: "
            f"{'; '.join(details)}. {CAUSES}. `pangea doctor SCRIPT` looks for the module; `--allow-nondeterminism` goes on without the promise of the same bits"
        )

    def _receive(self, deadline: float) -> str:
        chunks: list[bytes] = []
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._read], [], [], left)
            if not ready:
                break
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                return b"".join(chunks).decode()
            chunks.append(chunk)
        return ""

    def abandon(self) -> None:
        """Ends the child, if it is still there, and gives up what belongs to it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
