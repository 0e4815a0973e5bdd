"""Reads a run's ledger: another implementation than the orchestrator's, so that a mistake in one is found by the other.

docs/reference/ledger.md describes the format. A reader holds one record at a time, whatever the length of the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NewType

NAME = "ledger.jsonl"
FORMAT = 1
SLOT_BYTES = 512
RECORDS_FROM = 2 * SLOT_BYTES
# The line of the file that holds record 0, counted from 1 as editors do.
FIRST_LINE = 3
# A line longer than this is no record: the longest hold 65,536 parameters or 1,024 shards.
_MOST_LINE_BYTES = 64 << 20

_BEFORE_CHAIN = b'{"chain":"'
_BEFORE_RECORD = b'","record":'
_BODY_FROM = len(_BEFORE_CHAIN) + 64 + len(_BEFORE_RECORD)
_AFTER_BODY = b"}\n"

Hash = NewType("Hash", str)
"""A SHA-256 as 64 lower-case hexadecimal digits."""

NO_CHAIN = Hash("0" * 64)
"""The chain hash before the first record."""


class LedgerDamaged(ValueError):
    """The file is not what was committed.

    Attributes:
        record: number of the first record that is wrong, from 0.
        offset: byte of the file where it starts, or should.
        reason: what is wrong with it.
    """

    def __init__(self, record: int, offset: int, reason: str) -> None:
        super().__init__(f"the ledger is damaged at record {record} (line {record + FIRST_LINE}, byte {offset}): {reason}")
        self.record, self.offset, self.reason = record, offset, reason


@dataclass(frozen=True, slots=True)
class Settings:
    """The first record: what the run is."""

    format: int
    run_id: str
    seed: int
    shards: int
    batch_size: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Start:
    """The orchestrator was started. `step`: steps in the ledger then."""

    time: str
    step: int


@dataclass(frozen=True, slots=True)
class Spec:
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
    features: Spec
    labels: Spec


@dataclass(frozen=True, slots=True)
class Model:
    """What the first worker brought. `params_hash` is of the initial parameters."""

    software: str
    dataset: Dataset
    parameters: tuple[Spec, ...]
    params_hash: Hash
    epoch_steps: int
    total_steps: int


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
    """Of a step: the samples at the positions [start, end) of the epoch's order ("from" and "to" in the file)."""

    shard: int
    start: int
    end: int
    loss_sum: float
    batch_hash: Hash


@dataclass(frozen=True, slots=True)
class Contribution:
    """A gradient sum over the shards [first, first + count) that one worker sent."""

    first: int
    count: int
    worker: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A step's sum is complete. `params_hash` is of the parameters before it; `seconds` from its opening to its end."""

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
    """Something that ought not to happen, and what was done about it. `count` is 0 where it is about no shards."""

    kind: str
    step: int
    first: int
    count: int
    worker: int
    name: str
    detail: str
    time: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All steps are closed and applied."""

    steps: int
    params_hash: Hash


Record = Settings | Start | Model | Worker | Step | Checkpoint | Incident | Finished


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and where it stands. `committed` is false for a whole record behind what the commit slots name."""

    number: int
    offset: int
    chain: Hash
    committed: bool
    record: Record

    @property
    def line(self) -> int:
        """Of the file, counted from 1."""
        return self.number + FIRST_LINE


@dataclass(frozen=True, slots=True)
class Slot:
    """How much of the file is committed: so many records, up to this byte, the last with this chain hash."""

    records: int
    bytes: int
    chain: Hash


# ------------------------------------------------------------------------------------------------------------ from JSON

_OTHER_NAMES = {"start": "from", "end": "to"}


def _count(value: Any) -> int:
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


def _hash(value: Any) -> Hash:
    if type(value) is not str or len(value) != 64 or value.strip("0123456789abcdef"):
        raise ValueError(f"{value!r} is no SHA-256")
    return Hash(value)


def _converter(kind: Any) -> Callable[[Any], Any]:
    """Gives what makes a value of a record's field from JSON; it raises ValueError."""
    simple: dict[Any, Callable[[Any], Any]] = {int: _count, str: _text, float: _number, Hash: _hash}
    if kind in simple:
        return simple[kind]
    if typing.get_origin(kind) is tuple:
        item = _converter(typing.get_args(kind)[0])

        def sequence(value: Any) -> tuple[Any, ...]:
            if value is None:
                return ()  # an empty list of Go
            if type(value) is not list:
                raise ValueError(f"{value!r} is no list")
            return tuple([item(one) for one in value])

        return sequence
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    fields = [(_OTHER_NAMES.get(name, name) if kind is Shard else name, _converter(hints[name])) for name in names]

    def structure(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{value!r} is no {kind.__name__.lower()}")
        given = []
        for name, convert in fields:
            try:
                given.append(convert(value[name]))
            except KeyError:
                raise ValueError(f"the field {name!r} is missing") from None
            except ValueError as error:
                raise ValueError(f"the field {name!r}: {error}") from None
        return kind(*given)

    return structure


_CONVERTERS = {kind.__name__.lower(): _converter(kind) for kind in typing.get_args(Record)}


def _decode(body: bytes) -> Record:
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


def slot_line(number: int, slot: Slot) -> bytes:
    """The one form that a slot with this content has."""
    check = hashlib.sha256(f"{slot.records} {slot.bytes} {slot.chain}".encode()).hexdigest()
    return f'{{"slot":{number},"records":{slot.records},"bytes":{slot.bytes},"chain":"{slot.chain}","check":"{check}"}}'.encode().ljust(SLOT_BYTES - 1) + b"\n"


def _read_slot(line: bytes, number: int) -> Slot | None:
    try:
        value = json.loads(line)
        slot = Slot(_count(value["records"]), _count(value["bytes"]), _hash(value["chain"]))
    except (ValueError, KeyError, TypeError):
        return None
    return slot if line == slot_line(number, slot) else None


class Reader:
    """The records of a ledger, in order: `for entry in reader`. Reading raises LedgerDamaged at the first thing that is wrong.

    Only bytes that are there when it is opened are read, so a ledger that an orchestrator is writing to can be read as well.

    Attributes:
        committed: what the newer valid slot says.
        spoilt: numbers of the slots (0, 1) that are not valid. A crash can leave one such; what it named may be behind `committed`.
        head: chain hash of the last record that was read.
        records: how many were read.
        rest: bytes behind the last whole record, known at the end: what a crash, or a write that goes on, has left.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0)
        start = stream.read(RECORDS_FROM)
        self._size = stream.seek(0, os.SEEK_END)
        self.head, self.records, self.rest = NO_CHAIN, 0, 0
        self.spoilt: tuple[int, ...] = ()
        empty = Slot(0, RECORDS_FROM, NO_CHAIN)
        if len(start) < RECORDS_FROM:
            # Nothing at all, or a part of two empty slots, is what a crash at the very start leaves.
            if not (slot_line(0, empty) + slot_line(1, empty)).startswith(start):
                raise LedgerDamaged(0, len(start), f"the file has only {len(start)} bytes: it was cut")
            self._slots, self.committed, self._size = [empty], empty, RECORDS_FROM
            return
        found = [_read_slot(start[:SLOT_BYTES], 0), _read_slot(start[SLOT_BYTES:], 1)]
        self.spoilt = tuple(number for number, slot in enumerate(found) if slot is None)
        self._slots = sorted((slot for slot in found if slot is not None), key=lambda slot: slot.records)
        if not self._slots:
            raise LedgerDamaged(0, 0, "neither of its first two lines is a valid commit slot")
        self.committed = self._slots[-1]
        if self.committed.bytes > self._size:
            raise LedgerDamaged(self.committed.records, self._size, f"{self.committed.bytes} bytes are committed, but the file has only {self._size}: it was cut")

    def __iter__(self) -> Iterator[Entry]:
        self.head, self.records = NO_CHAIN, 0
        offset = self._stream.seek(RECORDS_FROM)
        self._check_end(offset)
        while offset < self._size:
            line = self._stream.readline(min(self._size - offset, _MOST_LINE_BYTES))
            committed = offset < self.committed.bytes
            try:
                chain, record = _read_line(line, self.head)
            except ValueError as error:
                if committed:
                    raise LedgerDamaged(self.records, offset, str(error)) from error
                break
            entry = Entry(self.records, offset, chain, committed, record)
            offset += len(line)
            self.head, self.records = chain, self.records + 1
            self._check_end(offset)
            yield entry
        self.rest = self._size - offset
        if self.records < self.committed.records:
            raise LedgerDamaged(self.records, offset, f"{self.committed.records} records are committed, but only {self.records} can be read")

    def _check_end(self, offset: int) -> None:
        """Where a slot says that a record ends, the chain has to be what it says."""
        for slot in self._slots:
            if slot.bytes == offset and (slot.records, slot.chain) != (self.records, self.head):
                raise LedgerDamaged(max(0, self.records - 1), offset, "the last committed record is not the one that the commit slot names")
            if slot.records == self.records and slot.bytes != offset:
                raise LedgerDamaged(max(0, self.records - 1), offset, f"the commit slot says that {slot.records} records end at byte {slot.bytes}")


def _read_line(line: bytes, previous: Hash) -> tuple[Hash, Record]:
    """Takes a line apart and checks its chain. Raises ValueError with the reason."""
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end")
    separator = line[_BODY_FROM - len(_BEFORE_RECORD) : _BODY_FROM]
    if len(line) < _BODY_FROM + len(_AFTER_BODY) or not line.startswith(_BEFORE_CHAIN) or separator != _BEFORE_RECORD or not line.endswith(_AFTER_BODY):
        raise ValueError("the line is no record")
    body = line[_BODY_FROM : -len(_AFTER_BODY)]
    chain = link(previous, body)
    if line[len(_BEFORE_CHAIN) : len(_BEFORE_CHAIN) + 64] != chain.encode():
        raise ValueError("its bytes do not fit the chain of hashes")
    return chain, _decode(body)


def link(previous: Hash, body: bytes) -> Hash:
    """The chain hash of a record: SHA-256 over the 32 bytes of the chain hash before it, then its body."""
    return Hash(hashlib.sha256(bytes.fromhex(previous) + body).hexdigest())


def checkpoints(path: Path) -> list[Checkpoint]:
    """The checkpoints that a ledger names, in the order in which they were written.

    Raises:
        LedgerDamaged: wherever the ledger is damaged, since nothing in such a one is to be trusted.
        FileNotFoundError: there is no ledger.
    """
    with path.open("rb") as stream:
        return [entry.record for entry in Reader(stream) if isinstance(entry.record, Checkpoint)]
