"""Reads a run's ledger: another implementation than the orchestrator's, so that a mistake in one is found by the other.

docs/reference/ledger.md describes the format. A reader holds one record at a time, whatever the length of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pangea.errors import PangeaError
from pangea.ledger.records import (
    FORMAT,
    FORMATS,
    Change,
    Checkpoint,
    Contribution,
    Dataset,
    Finished,
    Hash,
    Incident,
    Model,
    Record,
    Settings,
    Shard,
    Start,
    Step,
    Stop,
    TensorSpec,
    Worker,
    as_count,
    as_hash,
    decode,
)

__all__ = [
    "FORMAT",
    "FORMATS",
    "NAME",
    "NO_CHAIN",
    "Change",
    "Checkpoint",
    "Contribution",
    "Dataset",
    "Entry",
    "Finished",
    "Hash",
    "Incident",
    "LedgerDamaged",
    "Model",
    "Reader",
    "Record",
    "Settings",
    "Shard",
    "Slot",
    "Start",
    "Step",
    "Stop",
    "TensorSpec",
    "Worker",
    "chain_hash",
    "checkpoints",
    "slot_line",
]

NAME = "ledger.jsonl"
SLOT_BYTES = 512
RECORDS_FROM = 2 * SLOT_BYTES
# The line of the file that holds record 0, counted from 1 as editors do.
FIRST_LINE = 3
# A line longer than this is no record: the longest hold 65,536 parameters or 1,024 shards.
_MAX_LINE_BYTES = 64 << 20

_BEFORE_CHAIN = b'{"chain":"'
_BEFORE_RECORD = b'","record":'
_BODY_FROM = len(_BEFORE_CHAIN) + 64 + len(_BEFORE_RECORD)
_AFTER_BODY = b"}\n"

NO_CHAIN = Hash("0" * 64)
"""The chain hash before the first record."""


class LedgerDamaged(PangeaError, ValueError):
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


def slot_line(number: int, slot: Slot) -> bytes:
    """The one form that a slot with this content has."""
    check = hashlib.sha256(f"{slot.records} {slot.bytes} {slot.chain}".encode()).hexdigest()
    return f'{{"slot":{number},"records":{slot.records},"bytes":{slot.bytes},"chain":"{slot.chain}","check":"{check}"}}'.encode().ljust(SLOT_BYTES - 1) + b"\n"


def _read_slot(line: bytes, number: int) -> Slot | None:
    try:
        value = json.loads(line)
        slot = Slot(as_count(value["records"]), as_count(value["bytes"]), as_hash(value["chain"]))
    except (ValueError, KeyError, TypeError):
        return None
    return slot if line == slot_line(number, slot) else None


class Reader:
    """The records of a ledger, in order: `for entry in reader`. Reading raises LedgerDamaged at the first thing that is wrong.

    Only bytes that are there when it is opened are read, so a ledger that an orchestrator is writing to can be read as well.

    Attributes:
        committed: what the newer valid slot says.
        invalid_slots: numbers of the slots (0, 1) that are not valid. A crash can leave one such; what it named may be behind `committed`.
        head: chain hash of the last record that was read.
        records: how many were read.
        rest: bytes behind the last whole record, known at the end: what a crash, or a write that goes on, has left.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0)
        start = stream.read(RECORDS_FROM)
        self._size = stream.seek(0, os.SEEK_END)
        self.head, self.records, self.trailing_bytes = NO_CHAIN, 0, 0
        self.invalid_slots: tuple[int, ...] = ()
        empty = Slot(0, RECORDS_FROM, NO_CHAIN)
        if len(start) < RECORDS_FROM:
            # Nothing at all, or a part of two empty slots, is what a crash at the very start leaves.
            if not (slot_line(0, empty) + slot_line(1, empty)).startswith(start):
                raise LedgerDamaged(0, len(start), f"the file has only {len(start)} bytes: it was cut")
            self._slots, self.committed, self._size = [empty], empty, RECORDS_FROM
            return
        found = [_read_slot(start[:SLOT_BYTES], 0), _read_slot(start[SLOT_BYTES:], 1)]
        self.invalid_slots = tuple(number for number, slot in enumerate(found) if slot is None)
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
            line = self._stream.readline(min(self._size - offset, _MAX_LINE_BYTES))
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
        self.trailing_bytes = self._size - offset
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
    chain = chain_hash(previous, body)
    if line[len(_BEFORE_CHAIN) : len(_BEFORE_CHAIN) + 64] != chain.encode():
        raise ValueError("its bytes do not fit the chain of hashes")
    return chain, decode(body)


def chain_hash(previous: Hash, body: bytes) -> Hash:
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
