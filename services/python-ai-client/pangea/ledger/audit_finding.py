"""What an audit finds: promises, and the records that refute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pangea.ledger.reader import Entry, Hash

# So many rows of one promise are kept; the rest is counted.
MAX_ROWS = 100


@dataclass(frozen=True)
class Row:
    """What refutes a promise. `record` and `line` are its place in the ledger, None where it is about no record."""

    detail: str
    record: int | None = None
    line: int | None = None


@dataclass
class Finding:
    """One promise, and what refutes it: nothing if it holds."""

    promise: str
    sentence: str
    rows: list[Row] = field(default_factory=list)
    refutations: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing refutes it."""
        return self.refutations == 0

    def refute(self, detail: str, entry: Entry | None = None) -> None:
        """Adds a row."""
        self.refutations += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(Row(detail, entry.number if entry else None, entry.line if entry else None))


class Hashes:
    """A growing list of SHA-256, 32 bytes each, because a long run has many."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def append(self, one: Hash) -> None:
        """Adds one behind the last."""
        self._bytes += bytes.fromhex(one)

    def __len__(self) -> int:
        return len(self._bytes) // 32

    def __getitem__(self, number: int) -> Hash:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Hash(self._bytes[32 * number : 32 * number + 32].hex())


def tree_sum(values: Sequence[float]) -> float:
    """Adds a power of two of float64 in the fixed binary tree, left operand first."""
    level = list(values)
    while len(level) > 1:
        level = [level[i] + level[i + 1] for i in range(0, len(level), 2)]
    return level[0]
