"""What has changed from one report to another: only ratios to the peer are compared, which are more comparable between machines and loads than times are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.bench.figures import Spread
from tools.bench.markdown import number, table, where

# suite, benchmark, ours, peer
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Change:
    """How many times as fast as the peer ours was in the old report, and is in the new one."""

    key: Key
    old: Spread
    new: Spread

    @property
    def factor(self) -> float:
        """The quotient of both ratios; above 1, ours has become faster relative to the peer."""
        return self.new.median / self.old.median

    @property
    def verdict(self) -> str:
        """The verdict; it is a change only if the rounds of the two reports do not overlap."""
        return (
            "faster"
            if self.new.low > self.old.high
            else "slower"
            if self.new.high < self.old.low
            else "within the noise"
        )


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The changes of all pairs that both reports have, in the order of the new one."""
    before, now = _speedups(old), _speedups(new)
    return [Change(key, before[key], spread) for key, spread in now.items() if key in before]


def render(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The comparison as Markdown: both machines, the changes, and the pairs that only one report has."""
    rows = [
        [*change.key, _told(change.old), _told(change.new), number(change.factor), change.verdict]
        for change in changes(old, new)
    ]
    parts = [
        f"Old: {where(old['machine'])}",
        f"New: {where(new['machine'])}",
        table(["suite", "benchmark", "ours", "peer", "old ratio", "new ratio", "new / old", "ours is"], rows),
    ]
    before, now = _speedups(old), _speedups(new)
    for which, only in (("old", before.keys() - now.keys()), ("new", now.keys() - before.keys())):
        parts += [f"Only in the {which} report: {', '.join(key)}" for key in sorted(only)]
    return "\n\n".join(parts) + "\n"


def _told(spread: Spread) -> str:
    return f"{number(spread.median)} ({number(spread.low)} to {number(spread.high)})"


def _speedups(report: dict[str, Any]) -> dict[Key, Spread]:
    return {
        (result["suite"], result["benchmark"], pair["ours"], pair["peer"]): Spread(
            pair["median"], pair["mad"], pair["low"], pair["high"]
        )
        for result in report["results"]
        for pair in result["speedups"]
    }
