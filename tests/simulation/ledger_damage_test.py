"""No truncation and no flipped byte of a ledger goes unnoticed, at every position of one and at random ones of many."""

import io
import random

import pytest

from pangea.ledger import reader as ledger
from pangea.ledger.audit import audit_ledger
from pangea.ledger.reader import LedgerDamaged, Reader
from tests.simulation.histories import histories


def read(content: bytes) -> list[ledger.Entry]:
    return list(Reader(io.BytesIO(content)))


def flip_is_noticed(content: bytes, whole: list[ledger.Entry], at: int, bits: int) -> None:
    flipped = bytearray(content)
    flipped[at] ^= bits
    reader = Reader(io.BytesIO(bytes(flipped)))
    if at < ledger.RECORDS_FROM:
        # The other slot replaces it, and the audit reports it.
        assert [entry.record for entry in reader] == [entry.record for entry in whole]
        assert reader.invalid_slots == (at // ledger.SLOT_BYTES,)
        return
    hit = next(entry for entry in reversed(whole) if entry.offset <= at)
    with pytest.raises(LedgerDamaged) as damaged:
        list(reader)
    assert (damaged.value.record, damaged.value.offset) == (hit.number, hit.offset)


def test_every_byte_of_one_ledger() -> None:
    content = min((history["ledger"].encode() for history in histories(0, 30)), key=len)
    whole = read(content)
    for at in range(len(content)):
        flip_is_noticed(content, whole, at, 1 << at % 8)
    # A shorter prefix is also one of two empty slots, which a crash at the very start leaves.
    for size in range(21, len(content)):
        with pytest.raises(LedgerDamaged):
            read(content[:size])


def test_random_bytes_of_many_ledgers() -> None:
    dice = random.Random(4)
    for history in histories(100, 40):
        content = history["ledger"].encode()
        whole = read(content)
        assert whole[-1].committed
        for _ in range(10):
            flip_is_noticed(content, whole, dice.randrange(len(content)), dice.randrange(1, 256))
            with pytest.raises(LedgerDamaged):
                read(content[: dice.randrange(ledger.RECORDS_FROM, len(content))])


def test_an_audit_reports_a_spoilt_slot() -> None:
    (history,) = histories(1, 1)
    content = bytearray(history["ledger"].encode())
    content[20] ^= 1
    report = audit_ledger(io.BytesIO(bytes(content)))
    assert report.holds
    assert any("commit slot 0 is invalid" in note for note in report.notes)
