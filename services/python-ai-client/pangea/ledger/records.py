"""The records of a ledger, and how they are read from JSON. docs/reference/ledger.md describes them."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NewType

# Of new ledgers. Those of format 1 have no weights and merge no shards; all of these are read.
FORMAT = 2
FORMATS = (1, 2)

Hash = NewType("Hash", str)
"""A SHA-256 as 64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The first record: what the run is. The last two came with format 2."""

    format: int
    run_id: str
    seed: int
    shards: int
    batch_size: int
    epochs: int
    min_shard_samples: int = 0
    drop_last: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """The orchestrator was started. `step`: steps in the ledger then."""

    time: str
    step: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Of a tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is trained on."""

    name: str
    hash: Hash
    train_samples: int
    held_out_samples: int
    classes: int
    features: TensorSpec
    labels: TensorSpec


@dataclass(frozen=True, slots=True)
class Model:
    """What the first worker brought.

    Attributes:
        params_hash: of the initial parameters.
        training: how a step changes the parameters, as JSON; empty where the worker did not say.
        arithmetic: the level that its arithmetic is pinned to; empty where it is not.
        fingerprints: of a reference computation, by operator.
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
    """A worker has joined. `step`: steps that its parameters had applied."""

    id: int
    name: str
    pid: int
    software: str
    step: int
    time: str


@dataclass(frozen=True, slots=True)
class Shard:
    """Of a step: the samples at the positions [start, end) of the epoch's order ("from" and "to" in the file).

    Attributes:
        weight: what its gradient was multiplied with; None in format 1, where it is the number of samples.
        summed: whether the loss is a sum, not a mean.
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
    """A gradient sum over the shards [first, first + count) that one worker sent."""

    first: int
    count: int
    worker: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A step's sum is complete.

    Attributes:
        params_hash: of the parameters before it.
        seconds: from its opening to its end.
        divisor: of gradient and loss_sum; None in format 1, where it is the number of samples.
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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint is complete on the disk. `file` is relative to the run directory; `params_hash` is of the parameters after `step` steps."""

    step: int
    file: str
    bytes: int
    sha256: Hash
    params_hash: Hash


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that ought not to happen, and what was done about it.

    Attributes:
        count: of shards from `first` on; 0 where it is about none.
        other: of a conflict that a third worker may settle: whose result was there first. 0 for nobody.
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
    """A worker's script ended the run: after `steps` steps, before its last one."""

    steps: int
    reason: str
    worker: int
    name: str
    time: str


@dataclass(frozen=True, slots=True)
class Change:
    """The run got another setting when it was resumed; `step` is the first one that it is for."""

    what: str
    # "from" and "to" in the file.
    old: str
    new: str
    step: int
    time: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All steps up to the run's end are closed and applied."""

    steps: int
    params_hash: Hash


Record = Settings | Start | Model | Worker | Step | Checkpoint | Incident | Stop | Change | Finished


_OTHER_NAMES: dict[Any, dict[str, str]] = {Shard: {"start": "from", "end": "to"}, Change: {"old": "from", "new": "to"}}


def as_count(value: Any) -> int:
    """A number of JSON that is a uint64. Raises ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{value!r} is no text")
    return value


def _number(value: Any) -> float:
    if value is None:
        return float("nan")  # JSON has neither NaN nor Inf
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def as_hash(value: Any) -> Hash:
    """A text of JSON that is a SHA-256. Raises ValueError for anything else."""
    if type(value) is not str or len(value) != 64 or value.strip("0123456789abcdef"):
        raise ValueError(f"{value!r} is no SHA-256")
    return Hash(value)


def _converter(kind: Any) -> Callable[[Any], Any]:
    """Gives what makes a value of a record's field from JSON; it raises ValueError."""
    simple: dict[Any, Callable[[Any], Any]] = {int: as_count, str: _text, float: _number, float | None: _number, bool: _flag, Hash: as_hash}
    if kind in simple:
        return simple[kind]
    if typing.get_origin(kind) is tuple:
        return _sequence(_converter(typing.get_args(kind)[0]))
    if typing.get_origin(kind) is dict:
        return _mapping(_converter(typing.get_args(kind)[1]))
    return _structure(kind)


def _sequence(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> tuple[Any, ...]:
        if value is None:
            return ()  # an empty list of Go
        if type(value) is not list:
            raise ValueError(f"{value!r} is no list")
        return tuple([item(one) for one in value])

    return convert


def _mapping(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError(f"{value!r} is no object")
        return {name: item(one) for name, one in value.items()}

    return convert


def _structure(kind: Any) -> Callable[[Any], Any]:
    hints, others = typing.get_type_hints(kind), _OTHER_NAMES.get(kind, {})
    required: list[tuple[str, str, Callable[[Any], Any]]] = []
    optional: list[tuple[str, str, Callable[[Any], Any]]] = []  # a writer leaves them out where they say nothing, or is older than they
    for field in dataclasses.fields(kind):
        defaulted = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        (optional if defaulted else required).append((others.get(field.name, field.name), field.name, _converter(hints[field.name])))

    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{value!r} is no {kind.__name__.lower()}")
        given = {}
        for name, attribute, item in required:
            if name not in value:
                raise ValueError(f"the field {name!r} is missing")
            given[attribute] = _field(name, value[name], item)
        for name, attribute, item in optional:
            if name in value:
                given[attribute] = _field(name, value[name], item)
        return kind(**given)

    return convert


def _field(name: str, value: Any, item: Callable[[Any], Any]) -> Any:
    try:
        return item(value)
    except ValueError as error:
        raise ValueError(f"the field {name!r}: {error}") from None


_CONVERTERS = {kind.__name__.lower(): _converter(kind) for kind in typing.get_args(Record)}


def decode(body: bytes) -> Record:
    """Reads the body of a record. Raises ValueError with the reason."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ValueError(f"its record is no JSON: {error}") from error
    kind = value.get("type") if type(value) is dict else None
    if kind not in _CONVERTERS:
        raise ValueError(f"the record type {kind!r} is not known here; use the release that wrote this ledger")
    try:
        record: Record = _CONVERTERS[kind](value)
    except ValueError as error:
        raise ValueError(f"its {kind} record is not as it has to be: {error}") from error
    return record
