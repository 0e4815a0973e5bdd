"""Both readers of the ledger make the same of what crashes leave, and of damage to it."""

from __future__ import annotations

import base64
import io
from typing import Any

from pangea.ledger.reader import LedgerDamaged, Reader
from tests.simulation.histories import images


def read(content: bytes) -> tuple[int, dict[str, int] | None, bool]:
    """The number of records, where it is damaged, and whether there was something to repair."""
    try:
        reader = Reader(io.BytesIO(content))
        records = len(list(reader))
    except LedgerDamaged as damage:
        return 0, {"record": damage.record, "offset": damage.offset}, False
    return records, None, bool(reader.trailing_bytes or reader.invalid_slots or records > reader.committed.records)


def test_they_agree_on_what_crashes_leave() -> None:
    damaged = repaired = ahead = 0
    for seed in range(0, 120):
        for number, image in enumerate(images(seed, 1)):
            content = base64.b64decode(image["content"] or "")
            records, damage, repairs = read(content)
            theirs: dict[str, Any] | None = image["damaged"]
            assert (records, damage) == (image["records"], theirs), f"seed {seed}, image {number}"
            damaged += damage is not None
            repaired += repairs
            ahead += content.endswith(b"\n\n")
    assert damaged > 100, "hardly any image is damaged"
    assert repaired > 100, "hardly any image shows a crash"
    assert ahead > 20, "in hardly any image was something written ahead"
