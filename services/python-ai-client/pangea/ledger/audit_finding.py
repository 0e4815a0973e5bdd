"""Findings of an audit: promises, and the records that refute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pangea.ledger.reader import Entry
from pangea.ledger.records import Hash

# How many rows are kept for each promise; further ones are only counted.
MAX_ROWS = 100


@dataclass(frozen=True)
class Row:
    """A refutation of a promise. `record` and `line` are its place in the ledger; None if it is not about a record."""

    detail: str
    record: int | None = None
    line: int | None = None


@dataclass
class Finding:
    """The finding for one promise.

    Attributes:
        promise: its short name.
        sentence: the promise.
        rows: the first refutations.
        refutations: the number of all refutations.
    """

    promise: str
    sentence: str
    rows: list[Row] = field(default_factory=list)
    refutations: int = 0

    @property
    def holds(self) -> bool:
        """Whether the promise is not refuted."""
        return self.refutations == 0

    def refute(self, detail: str, entry: Entry | None = None) -> None:
        """Adds a refutation."""
        self.refutations += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(Row(detail, entry.number if entry else None, entry.line if entry else None))


class Hashes:
    """A list of SHA-256 hashes in 32 bytes each, because a long run has many."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, one: Hash) -> None:
        """Appends a hash."""
        self._bytes += bytes.fromhex(one)

    def __len__(self) -> int:
        return len(self._bytes) // 32

    def __getitem__(self, number: int) -> Hash:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Hash(self._bytes[32 * number : 32 * number + 32].hex())


def tree_sum(values: Sequence[float]) -> float:
    """The sum of float64 values in the fixed binary tree; their number is a power of two."""
    level = list(values)
    while len(level) > 1:
        level = [level[i] + level[i + 1] for i in range(0, len(level), 2)]
    return level[0]
