"""`pangea chaos`: a short seeded run in which everything that can be killed is killed ends with the same bits."""

import json
from pathlib import Path

import pytest

from tests.harness.cluster import SCRIPT
from tests.harness.command import pangea


def test_a_run_under_faults_has_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    words = [
        "chaos",
        str(SCRIPT),
        "--mtbf",
        "1.5",
        "--duration",
        "20",
        "--workers",
        "2",
        "--data-replicas",
        "2",
        "--seed",
        "4",
        "--batch-size",
        "256",
    ]
    ended = pangea(tmp_path, *words, "--run-dir", "run", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["bits_held"] and figures["recovered"]
    assert figures["compared_steps"] == figures["steps"] > 0
    assert figures["failed_workers"] == []
    assert figures["refuted_by_audit"] == []
    assert sum(kind["faults"] for kind in figures["faults"].values()) >= 5
    assert figures["restarts"], "nothing was killed"
    assert figures["service_errors"] == []
    assert figures["checkpoints_refused"] == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["chaos", "reference"]


@pytest.mark.parametrize("name", ["chaos", "reference"])
def test_a_folder_that_holds_a_run_is_refused_before_anything_is_started(tmp_path: Path, name: str) -> None:
    old = tmp_path / "run" / name
    old.mkdir(parents=True)
    (old / "run.json").write_text("{}")
    ended = pangea(tmp_path, "chaos", str(SCRIPT), "--run-dir", "run")
    assert ended.returncode == 1
    assert f"{old} holds a run already; choose another --run-dir" in ended.stderr
    assert not list(tmp_path.rglob("*.log"))
