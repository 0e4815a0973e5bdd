"""Records of events are read correctly, and a truncated one is not a success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.report.events import EventsError, read_record


def record_file(folder: Path, *further: object, **runners: int) -> Path:
    """A record of a build with these counts (underscores stand for spaces)."""
    counts = [{"name": name.replace("_", " "), "count": count} for name, count in runners.items()]
    metrics = {"actionSummary": {"runnerCount": counts}, "timingMetrics": {"wallTimeInMs": "1500"}}
    file = folder / "events.json"
    file.write_text("\n".join(map(json.dumps, [{"id": {"started": {}}}, *further, {"buildMetrics": metrics}])))
    return file


def test_cache_hits_are_a_share_of_what_could_be_cached(tmp_path: Path) -> None:
    record = read_record(
        record_file(tmp_path, total=14, disk_cache_hit=6, internal=4, linux_sandbox=2, remote_cache_hit=2)
    )
    assert record.actions == {"disk cache hit": 6, "linux sandbox": 2, "remote cache hit": 2}
    assert (record.cached, record.share, record.seconds) == (8, 0.8, 1.5)


def test_a_build_without_actions_has_no_share(tmp_path: Path) -> None:
    assert read_record(record_file(tmp_path, total=1, internal=1)).share is None


def test_only_what_passed_counts_as_passed(tmp_path: Path) -> None:
    summaries = [
        {"testSummary": {"overallStatus": status}} for status in ("PASSED", "FAILED", "TIMEOUT", "FLAKY", "PASSED")
    ]
    record = read_record(record_file(tmp_path, *summaries))
    assert (record.passed_tests, record.failed_tests) == (2, 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"id": {"started": {}}}\n', "no metrics"),
        ("", "no metrics"),
        ('{"id": {"started": {}}}\n{"buildMe', "line 2 of .* is not an event"),
    ],
)
def test_a_build_that_was_cut_off_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "events.json"
    file.write_text(text)
    with pytest.raises(EventsError, match=why):
        read_record(file)
