"""Reads the file of a ledger: its commit slots and its chain of records. docs/reference/ledger.md describes the format.

A reader holds only one record in memory, whatever the length of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pangea.errors import PangeaError
from pangea.foreign import decode_json
from pangea.ledger.decode import as_count, as_hash, decode
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
    "slot_line",
]

NAME = "ledger.jsonl"
SLOT_BYTES = 512
RECORDS_FROM = 2 * SLOT_BYTES
# The line number of record 0, counted from 1.
FIRST_LINE = 3
# A longer line is not a record: the longest records name `maxParameters` tensors or have `maxShards` shards
# (schemas/tensor.capnp).
_MAX_LINE_BYTES = 64 << 20
# Of what follows the last record, read at a time.
_PIECE_BYTES = 1 << 16

_BEFORE_CHAIN = b'{"chain":"'
_BEFORE_RECORD = b'","record":'
_BODY_FROM = len(_BEFORE_CHAIN) + 64 + len(_BEFORE_RECORD)
_AFTER_BODY = b"}\n"

NO_CHAIN = Hash("0" * 64)
"""The chain hash before the first record."""


class LedgerDamaged(PangeaError, ValueError):
    """The file differs from what was committed.

    Attributes:
        record: the number of the first damaged record, from 0.
        offset: the byte offset in the file where it starts, or should start.
        reason: what is wrong with it.
    """

    def __init__(self, record: int, offset: int, reason: str) -> None:
        super().__init__(
            f"the ledger is damaged at record {record} (line {record + FIRST_LINE}, byte {offset}): {reason}"
        )
        self.record, self.offset, self.reason = record, offset, reason


@dataclass(frozen=True, slots=True)
class Entry:
    """A record with its number, its byte offset and its chain hash.

    `committed` is false for a complete record that the commit slots do not name yet. It may have been acknowledged.
    """

    number: int
    offset: int
    chain: Hash
    committed: bool
    record: Record

    @property
    def line(self) -> int:
        """The line number in the file, counted from 1."""
        return self.number + FIRST_LINE


@dataclass(frozen=True, slots=True)
class Slot:
    """The content of a commit slot: number of records, byte offset of their end, and chain hash of the last one."""

    records: int
    bytes: int
    chain: Hash


def slot_line(number: int, slot: Slot) -> bytes:
    """The line of a slot with this content, which is the only valid encoding."""
    check = hashlib.sha256(f"{slot.records} {slot.bytes} {slot.chain}".encode()).hexdigest()
    content = f'"slot":{number},"records":{slot.records},"bytes":{slot.bytes},"chain":"{slot.chain}","check":"{check}"'
    return f"{{{content}}}".ljust(SLOT_BYTES - 1).encode() + b"\n"


def _read_slot(line: bytes, number: int) -> Slot | None:
    try:
        value = decode_json(line)
        slot = Slot(as_count(value["records"]), as_count(value["bytes"]), as_hash(value["chain"]))
    except (ValueError, KeyError, TypeError):
        return None
    return slot if line == slot_line(number, slot) else None


class Reader:
    """The records of a ledger, in order: `for entry in reader`. Iterating raises LedgerDamaged at the first damage.

    The file may be in use by an orchestrator: only bytes that exist when the reader is created are read.

    Attributes:
        committed: the newer one of the valid slots.
        invalid_slots: the numbers (0, 1) of the invalid slots. A crash can leave one; it may have covered more records
            than `committed`.
        head: the chain hash of the last record that was read.
        records: the number of records that were read.
        trailing_bytes: the number of bytes after the last complete record, known after the iteration: a write that is
            in progress or was cut off by a crash. Line feeds at the end do not count: they are written ahead of
            records.
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
            # A crash while the ledger is created leaves an empty file, or a part of two empty slots.
            if not (slot_line(0, empty) + slot_line(1, empty)).startswith(start):
                raise LedgerDamaged(0, len(start), f"the file has only {len(start)} bytes: it was truncated")
            self._slots, self.committed, self._size = [empty], empty, RECORDS_FROM
            return
        found = [_read_slot(start[:SLOT_BYTES], 0), _read_slot(start[SLOT_BYTES:], 1)]
        self.invalid_slots = tuple(number for number, slot in enumerate(found) if slot is None)
        self._slots = sorted((slot for slot in found if slot is not None), key=lambda slot: slot.records)
        if not self._slots:
            raise LedgerDamaged(0, 0, "neither of its first two lines is a valid commit slot")
        self.committed = self._slots[-1]
        if self.committed.bytes > self._size:
            raise LedgerDamaged(
                self.committed.records,
                self._size,
                f"{self.committed.bytes} bytes are committed, but the file has only {self._size}: it was truncated",
            )

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
        self.trailing_bytes = self._written(offset) - offset
        if self.records < self.committed.records:
            raise LedgerDamaged(
                self.records,
                offset,
                f"{self.committed.records} records are committed, but only {self.records} can be read",
            )

    def _written(self, offset: int) -> int:
        """Where the line feeds begin that end the file, from `offset` on."""
        written = at = self._stream.seek(offset)
        while at < self._size and (piece := self._stream.read(min(self._size - at, _PIECE_BYTES))):
            if content := piece.rstrip(b"\n"):
                written = at + len(content)
            at += len(piece)
        return written

    def _check_end(self, offset: int) -> None:
        """Compares the chain with each slot that covers exactly the records up to `offset`."""
        for slot in self._slots:
            if slot.bytes == offset and (slot.records, slot.chain) != (self.records, self.head):
                raise LedgerDamaged(
                    max(0, self.records - 1), offset, "the last committed record is not the one in the commit slot"
                )
            if slot.records == self.records and slot.bytes != offset:
                raise LedgerDamaged(
                    max(0, self.records - 1),
                    offset,
                    f"according to the commit slot, {slot.records} records end at byte {slot.bytes}",
                )


def _read_line(line: bytes, previous: Hash) -> tuple[Hash, Record]:
    """Parses a line and checks its chain hash. Raises ValueError with the reason."""
    if not line.endswith(b"\n"):
        raise ValueError("the line is incomplete")
    separator = line[_BODY_FROM - len(_BEFORE_RECORD) : _BODY_FROM]
    if (
        len(line) < _BODY_FROM + len(_AFTER_BODY)
        or not line.startswith(_BEFORE_CHAIN)
        or separator != _BEFORE_RECORD
        or not line.endswith(_AFTER_BODY)
    ):
        raise ValueError("the line is not a record")
    body = line[_BODY_FROM : -len(_AFTER_BODY)]
    chain = chain_hash(previous, body)
    if line[len(_BEFORE_CHAIN) : len(_BEFORE_CHAIN) + 64] != chain.encode():
        raise ValueError("its content does not match its chain hash")
    return chain, decode(body)


def chain_hash(previous: Hash, body: bytes) -> Hash:
    """The chain hash of a record: SHA-256 over the 32 bytes of the previous chain hash and the record's body."""
    return Hash(hashlib.sha256(bytes.fromhex(previous) + body).hexdigest())
