"""The records of a ledger. docs/reference/ledger.md describes them; `decode.py` reads them from JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NewType

# The format of new ledgers. Format 1 has no weights and no merged shards; before format 3, all hashes are SHA-256.
FORMAT = 3
# The formats that can be read.
FORMATS = (1, 2, 3)

Hash = NewType("Hash", str)
"""A SHA-256, or a content hash, as 64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The first record: the settings that are fixed for the run.

    Attributes:
        min_shard_samples, drop_last: new in format 2.
        content_hash: what aggregate_hash, params_hash and batch_hash are; new in format 3.
        public_key: with which the head is signed, 64 hexadecimal digits; "" in ledgers without a signature.
    """

    format: int
    run_id: str
    seed: int
    shards: int
    batch_size: int
    epochs: int
    min_shard_samples: int = 0
    drop_last: bool = False
    content_hash: str = "sha256"
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """The orchestrator was started, with `step` steps in the ledger."""

    time: str
    step: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The name, type and shape of a tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The dataset of the run."""

    name: str
    hash: Hash
    train_samples: int
    held_out_samples: int
    classes: int
    features: TensorSpec
    labels: TensorSpec


@dataclass(frozen=True, slots=True)
class Model:
    """The model and the dataset, as the first worker reported them.

    Attributes:
        params_hash: of the initial parameters.
        training: optimizer, schedule and clipping as JSON; "" if the worker did not report them.
        arithmetic: the level to which the worker's arithmetic is pinned; "" if it is not.
        fingerprints: hashes of a reference computation, by operator.
    """

    software: str
    dataset: Dataset
    parameters: tuple[TensorSpec, ...]
    params_hash: Hash
    epoch_steps: int
    total_steps: int
    training: str = ""
    arithmetic: str = ""
    fingerprints: dict[str, Hash] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker has joined, whose parameters had applied `step` steps."""

    id: int
    name: str
    pid: int
    software: str
    step: int
    time: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of a step: the samples at the positions [start, end) of the epoch's order ("from" and "to" in the file).

    Attributes:
        weight: the factor of its gradient; None in format 1, where it is the number of samples.
        summed: whether the loss is a sum instead of a mean.
    """

    shard: int
    start: int
    end: int
    loss_sum: float
    batch_hash: Hash
    weight: float | None = None
    summed: bool = False


@dataclass(frozen=True, slots=True)
class Contribution:
    """A worker's gradient sum over the shards [first, first + count)."""

    first: int
    count: int
    worker: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A step is committed: its aggregate is complete.

    Attributes:
        params_hash: of the parameters before the step.
        seconds: from the opening of the step to its commit.
        divisor: of the gradient and of loss_sum; None in format 1, where it is the number of samples.
        figures: what scripts logged about the shards of the step, for people.
        figures_before: what scripts logged when the step before was applied.
    """

    step: int
    epoch: int
    epoch_step: int
    samples: int
    loss_sum: float
    aggregate_hash: Hash
    params_hash: Hash
    seconds: float
    workers: int
    time: str
    contributions: tuple[Contribution, ...]
    divisor: float | None = None
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    figures_before: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint has been written: the state after `step` steps, in `file`, relative to the run directory."""

    step: int
    file: str
    bytes: int
    sha256: Hash
    params_hash: Hash


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident: something that should not happen, and what was done about it.

    Attributes:
        first, count: the shards [first, first + count) that it affects; `count` is 0 if it is not about shards.
        worker, name: the worker that it is about; 0 and "" if there is none.
        other: in a conflict that a third worker may settle, the worker whose result arrived first; else 0.
    """

    kind: str
    step: int
    first: int
    count: int
    worker: int
    name: str
    detail: str
    time: str
    other: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """The script of a worker stopped the run after `steps` steps, before its last one."""

    steps: int
    reason: str
    worker: int
    name: str
    time: str


@dataclass(frozen=True, slots=True)
class Change:
    """A setting was changed when the run was resumed, from step `step` on."""

    what: str
    # "from" and "to" in the file.
    old: str
    new: str
    step: int
    time: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run has finished: all its steps are committed and applied.

    Attributes:
        figures: what scripts logged when the last step was applied.
    """

    steps: int
    params_hash: Hash
    figures: dict[str, float] = dataclasses.field(default_factory=dict)


Record = Settings | Start | Model | Worker | Step | Checkpoint | Incident | Stop | Change | Finished
