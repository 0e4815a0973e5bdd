"""Rehearsals: a shard is computed a second time in a different order, and the results are compared.

The promise of the same bits requires that a result does not depend on what was computed before it. State that a script
carries from batch to batch, a random generator of its own, initialisation by the first batch: each silently makes a
result depend on the order, and so on the number of workers. A rehearsal detects it in the first steps.

It runs in a forked child process that continues in the script's own loop, gets one shard before all others, sends its
result through a pipe and exits. So the script's own state (lists, counters, files it appends to) does not see the shard
twice. A GPU cannot be used in such a child, so there the worker itself computes the shard twice. torch cannot compute
gradients in a child once its parent has; then only the losses are compared, in which all known causes show.
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
# A rehearsal that takes many times as long as the shards themselves is abandoned.
_MIN_TIMEOUT_SECONDS = 10.0
_TIMEOUT_FACTOR = 5.0
_PR_SET_PDEATHSIG = 1
# The shard number in the seed of the draw whether a lease is rehearsed; no shard has it.
_DRAW = 1 << 33
# Differing tensors that a message names.
_MAX_NAMED = 4

CAUSES = (
    "Known causes: state carried from batch to batch (a hidden state, a counter, a cache), the script's own random"
    " generator (use batch.torch_generator() or batch.numpy_generator() instead), initialisation by the first batch"
    " (use pangea.join(init=...)), and random numbers drawn for only some batches"
)


@dataclass
class Result:
    """The result of a shard.

    Attributes:
        loss: exact, as hexadecimal text.
        digests: of the contribution, tensor by tensor; None if it was not computed.
        outputs: of the modules, if they are traced.
    """

    loss: str
    digests: list[str] | None = None
    outputs: list[tuple[str, str, str]] = field(default_factory=list)


def digests(flat: torch.Tensor, sizes: list[int]) -> list[str]:
    """Returns a short hash of each part of a flat vector; the parts have `sizes` elements."""
    return [
        hashlib.blake2b(part.numpy().tobytes(), digest_size=8).hexdigest() for part in torch.split(flat.detach(), sizes)
    ]


class Plan:
    """Decides which leases are rehearsed: those of the first steps, then a fraction chosen by seed and step."""

    def __init__(self, seed: int, fraction: float) -> None:
        self._seed, self._fraction = seed, fraction
        self._leases = 0

    def should_rehearse(self, step: int, shards: int) -> bool:
        """Returns whether to rehearse a lease of `shards` non-empty shards. Call it exactly once for each lease."""
        if self._fraction <= 0 or shards == 0:
            return False
        decision = self.would_rehearse(step, shards)
        self._leases += 1
        return decision

    def would_rehearse(self, step: int, shards: int) -> bool:
        """Returns what `should_rehearse` will return for the next lease."""
        if self._fraction <= 0 or shards == 0:
            return False
        cost = (1 if shards > 1 else 2) / shards
        draw = shard_seed(self._seed, step, _DRAW) / float(1 << 63)
        return self._leases < FIRST_STEPS or draw * cost < self._fraction


class Rehearsal:
    """One shard of a lease, computed by a child process before all others, and by this process in order.

    Args:
        step, shard: the shard to compare.
        names: of the parts of a contribution.
        trace: records the modules' outputs, if they are to be compared.
    """

    def __init__(self, step: int, shard: int, names: list[str], trace: OutputTrace | None) -> None:
        self.step, self.shard = step, shard
        self._names, self._trace = names, trace
        self._expected: Result | None = None
        self._rehearsed: Result | None = None
        self._pid = 0
        self._read = -1
        self._write = -1
        self._started = 0.0

    def fork(self) -> bool:
        """Forks. Returns true in the child, which must end with `send_result` or `fail`, and false in the parent.

        Raises:
            OSError: the system refuses another process.
        """
        self._read, self._write = os.pipe()
        self._started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Python warns that other threads do not exist in the child. The child uses none of their connections.
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
        # The parent prints the script's output; the child must not print it again.
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        sys.excepthook = self._on_uncaught

    def _on_uncaught(
        self, _kind: type[BaseException], error: BaseException, _traceback: types.TracebackType | None
    ) -> None:
        self.fail(f"{type(error).__name__}: {error}")

    def send_result(self, result: Result) -> NoReturn:
        """Sends the child's result to the parent and exits the child."""
        self._send(vars(result))

    def fail(self, reason: str) -> NoReturn:
        """Exits the child without a result; the parent gets the reason."""
        self._send({"error": reason})

    def _send(self, content: dict[str, Any]) -> NoReturn:
        try:
            with open(self._write, "w") as stream:
                json.dump(content, stream)
        finally:
            os._exit(0)

    def set_expected(self, result: Result) -> None:
        """Sets the result that this process computed for the shard, in order."""
        self._expected = result

    def set_rehearsed(self, result: Result) -> None:
        """Sets the result of the rehearsal, if it was not computed by a child."""
        self._rehearsed = result

    def compare(self) -> str | None:
        """Waits for the child, with a timeout, if there is one, and compares the results.

        Returns:
            why the rehearsal was inconclusive, or None if the results are equal.
        Raises:
            BrokenPromise: naming what differs, and known causes.
        """
        if self._expected is None:
            self.abandon()
            return "the shard was not computed"
        if self._rehearsed is not None:
            self._raise_if_different(self._expected, self._rehearsed)
            return None
        timeout = max(_MIN_TIMEOUT_SECONDS, _TIMEOUT_FACTOR * (time.monotonic() - self._started))
        text = self._receive(time.monotonic() + timeout)
        self.abandon()
        try:
            content: dict[str, Any] = json.loads(text) if text else {"error": "no answer"}
        except ValueError:
            content = {"error": "incomplete answer"}
        if "error" in content:
            return str(content["error"])
        self._raise_if_different(
            self._expected, Result(content["loss"], content["digests"], [tuple(entry) for entry in content["outputs"]])
        )
        return None

    def _raise_if_different(self, expected: Result, rehearsed: Result) -> None:
        different = []
        if expected.digests is not None and rehearsed.digests is not None:
            different = [
                name
                for name, one, other in zip(self._names, expected.digests, rehearsed.digests, strict=True)
                if one != other
            ]
        if expected.loss == rehearsed.loss and not different:
            return
        what = "loss" if expected.loss != rehearsed.loss else "gradient"
        details = []
        if expected.loss != rehearsed.loss:
            details.append(
                f"after the shards before it the loss is {float.fromhex(expected.loss)!r}, before them it is"
                f" {float.fromhex(rehearsed.loss)!r}"
            )
        if different:
            more = f" and {len(different) - _MAX_NAMED} more" if len(different) > _MAX_NAMED else ""
            details.append(
                f"{len(different)} of {len(self._names)} tensors differ: {', '.join(different[:_MAX_NAMED])}{more}"
            )
        if self._trace is not None:
            details.append(first_difference(expected.outputs, rehearsed.outputs))
        raise BrokenPromise(
            f"the {what} of shard {self.shard} of step {self.step} depends on what was computed before it, so the"
            f" result would depend on the number of workers: {'; '.join(details)}. {CAUSES}. `pangea doctor SCRIPT`"
            " finds the module; `--allow-nondeterminism` continues without the promise of the same bits"
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
        """Kills the child, if it still exists, and releases its resources."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        if self._read >= 0:
            os.close(self._read)
            self._read = -1
