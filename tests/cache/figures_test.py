"""Only what the remote cache itself serves counts as its hits."""

from __future__ import annotations

from tests.cache.figures import Figures
from tools.report.events import BuildRecord


def figures(runners: dict[str, int]) -> Figures:
    return Figures.of(BuildRecord(runners, 1.5, 0, 0))


def test_hits_alone_are_a_full_share() -> None:
    alone = figures({"total": 12, "internal": 2, "remote cache hit": 10})
    assert (alone.hits, alone.run_here, alone.share, alone.seconds) == (10, 0, 1.0, 1.5)


def test_another_cache_counts_as_run_here() -> None:
    mixed = figures({"total": 8, "remote cache hit": 4, "disk cache hit": 1, "local": 3})
    assert mixed.local == {"disk cache hit": 1, "local": 3}
    assert mixed.share == 0.5


def test_a_build_without_actions_has_no_share() -> None:
    assert figures({"total": 1, "internal": 1}).share == 0.0
