from pathlib import Path
from typing import Any

import pytest

from tools.bench.compare import changes, render
from tools.bench.report import as_json
from tools.bench.rounds import measure
from tools.bench.tallies import MACHINE, Tally, samples


def report(folder: Path, *ours: float, **others: float) -> dict[str, Any]:
    """Ours against peers that are steady, in as many rounds as ours has values."""
    given = {"ours": samples(*ours), **{peer: samples(*[value] * len(ours)) for peer, value in others.items()}}
    return as_json(MACHINE, [measure("train", Tally(given), len(ours), folder, lambda _turn: None)])


@pytest.mark.parametrize(
    ("ours", "verdict", "factor"),
    [
        ((21.0, 24.0, 27.0), "faster", 2.0),
        ((4.0, 6.0, 9.0), "slower", 0.5),
        ((14.0, 16.0, 18.0), "within the noise", 4 / 3),
        ((8.0, 9.0, 10.0), "within the noise", 0.75),
    ],
)
def test_only_ranges_that_do_not_overlap_are_a_change(
    tmp_path: Path, ours: tuple[float, ...], verdict: str, factor: float
) -> None:
    [change] = changes(report(tmp_path, 10.0, 12.0, 14.0, theirs=2.0), report(tmp_path, *ours, theirs=2.0))
    assert change.key == ("train", "tally", "ours", "theirs")
    assert change.verdict == verdict
    assert change.factor == pytest.approx(factor)


def test_a_slower_machine_is_no_change(tmp_path: Path) -> None:
    [change] = changes(report(tmp_path, 10.0, 12.0, theirs=2.0), report(tmp_path, 1.0, 1.2, theirs=0.2))
    assert change.factor == pytest.approx(1.0)


def test_what_only_one_report_has_is_named(tmp_path: Path) -> None:
    text = render(report(tmp_path, 10.0, theirs=2.0, gone=2.0), report(tmp_path, 30.0, theirs=2.0, new=2.0))
    assert (
        "| train | tally     | ours | theirs | 5 (5 to 5) | 15 (15 to 15) | 3         | faster  |" in text.splitlines()
    )
    assert "Only in the old report: train, tally, ours, gone" in text
    assert "Only in the new report: train, tally, ours, new" in text
    assert text.count("Some processor") == 2
