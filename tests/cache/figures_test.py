"""Build event files are read right, and one that was cut off is no success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cache.figures import read_figures


def events(folder: Path, **runners: int) -> Path:
    """A build event file with these counts (underscores for blanks)."""
    counts = [{"name": name.replace("_", " "), "count": count} for name, count in runners.items()]
    metrics = {"actionSummary": {"runnerCount": counts}, "timingMetrics": {"wallTimeInMs": "1500"}}
    file = folder / "events.json"
    file.write_text(f"{json.dumps({'id': {'started': {}}})}\n{json.dumps({'id': {'buildMetrics': {}}, 'buildMetrics': metrics})}\n")
    return file


def test_hits_alone_are_a_full_share(tmp_path: Path) -> None:
    figures = read_figures(events(tmp_path, total=12, internal=2, remote_cache_hit=10))
    assert (figures.hits, figures.run_here, figures.share, figures.seconds) == (10, 0, 1.0, 1.5)


def test_another_cache_counts_as_run_here(tmp_path: Path) -> None:
    figures = read_figures(events(tmp_path, total=8, remote_cache_hit=4, disk_cache_hit=1, local=3))
    assert figures.local == {"disk cache hit": 1, "local": 3}
    assert figures.share == 0.5


def test_a_build_without_actions_has_no_share(tmp_path: Path) -> None:
    assert read_figures(events(tmp_path, total=1, internal=1)).share == 0.0


def test_a_build_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_text('{"id": {"started": {}}}\n')
    with pytest.raises(ValueError, match="did not come to its end"):
        read_figures(file)
