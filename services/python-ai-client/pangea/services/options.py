"""The options of a run and their defaults: the one place of these, for commands, scripts and the orchestrator."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

# Share of the shards that a worker computes a second time in another order, to find state that a script carries from
# one to the next.
REHEARSE = 0.002


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the orchestrator has to know of a run: the one place of these defaults, for commands, scripts and the orchestrator itself.

    Attributes:
        epochs: passes over the data; a resumed run may get more.
        batch_size, shards, seed, min_shard_samples, drop_last: fixed for the run. `min_shard_samples`: a step with fewer samples for each shard is cut into fewer
            shards. `drop_last`: an epoch ends with its last whole step.
        checkpoint_steps, checkpoint_seconds: between two checkpoints; 0 for none by that measure.
        keep_checkpoints: newest ones that are kept.
        verify_fraction: share of the shards that two workers compute.
        straggler_k: a shard is late after median + k * MAD of the others.
        strict: different bits that nobody can settle end the run, and operations without a deterministic form are refused.
        take_changes: a resumed run takes another optimizer, learning rate or script; for this start only.
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
        """Of go-orchestrator. A switch or a bound that is as the orchestrator has it by itself is left out; a test holds both defaults together."""
        fields = [(field, getattr(self, field.name)) for field in dataclasses.fields(RunOptions)]
        return [f"--{field.name.replace('_', '-')}={_flag(value)}" for field, value in fields if field.name not in _SWITCHES or value != field.default]


_SWITCHES = ("min_shard_samples", "drop_last", "strict", "take_changes")


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
