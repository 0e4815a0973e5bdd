"""The options of a run and their defaults, for commands, scripts and the orchestrator."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

# Fraction of the shards that a worker computes a second time in a different order, to detect state that a script
# carries over from one shard to the next.
REHEARSE = 0.002


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that the orchestrator needs to know.

    Attributes:
        epochs: passes over the data; resuming may increase it.
        batch_size: samples of a step, over all workers; fixed for the run, like the four that follow.
        shards: micro-batches of a step; a power of two.
        seed: of the initial parameters, the sample order and all random numbers.
        min_shard_samples: a step with fewer samples per shard is cut into fewer shards.
        drop_last: whether an epoch ends with its last full step.
        checkpoint_steps, checkpoint_seconds: the interval between two checkpoints; 0 turns that trigger off.
        keep_checkpoints: how many of the newest checkpoints are kept.
        verify_fraction: fraction of the shards that two workers compute.
        straggler_k: a shard is late after median + k * MAD of the others.
        strict: whether unresolved different bits end the run, and operations without a deterministic implementation are
            refused.
        take_changes: whether a resumed run accepts a changed optimizer, learning rate or script; for this start only.
    """

    epochs: int = 10
    batch_size: int = 64
    shards: int = 8
    seed: int = 0
    min_shard_samples: int = 2
    drop_last: bool = False
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 30.0
    keep_checkpoints: int = 3
    verify_fraction: float = 0.0
    straggler_k: float = 5.0
    strict: bool = True
    take_changes: bool = False

    def flags(self) -> list[str]:
        """The command line flags of go-orchestrator.

        Those in `_OMITTED_DEFAULTS` are left out if they have their default, which is the orchestrator's as well: a
        test compares both.
        """
        fields = [(field, getattr(self, field.name)) for field in dataclasses.fields(RunOptions)]
        return [
            f"--{field.name.replace('_', '-')}={_flag(value)}"
            for field, value in fields
            if field.name not in _OMITTED_DEFAULTS or value != field.default
        ]


_OMITTED_DEFAULTS = ("min_shard_samples", "drop_last", "strict", "take_changes")


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
