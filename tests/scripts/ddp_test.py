"""A script for DistributedDataParallel and what becomes of it: both train, and the document shows their difference."""

from __future__ import annotations

import difflib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from pangea.places import data_file
from tests.harness.command import Ended, pangea, run_python
from tests.harness.run_files import RunFiles
from tools.processes.ports import free_address

SCRIPTS = Path(__file__).with_name("ddp")
PAGE = Path(__file__).parents[2] / "docs/from-ddp.md"
STEPS = 5 * 22


def test_the_script_trains_with_ddp(tmp_path: Path) -> None:
    # As torchrun starts them, which needs a build of torch with libuv.
    address, _, port = free_address().rpartition(":")
    together: dict[str, Any] = {"MASTER_ADDR": address, "MASTER_PORT": port, "WORLD_SIZE": "2"}
    together |= {"USE_LIBUV": "0", "OMP_NUM_THREADS": "1"}

    def start(rank: int) -> Ended:
        script, data = str(SCRIPTS / "before.py"), str(data_file("digits.csv.gz"))
        return run_python(tmp_path, script, data, **together, RANK=str(rank), LOCAL_RANK=str(rank))

    with ThreadPoolExecutor() as processes:
        first, second = processes.map(start, range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert float(first.stdout.split()[-1]) > 0.8
    assert second.stdout == ""
    assert len(torch.load(tmp_path / "model.pt", weights_only=True)) == 4


def test_the_converted_script_trains_to_the_same_bytes_with_one_worker_and_with_two(tmp_path: Path) -> None:
    runs = []
    for workers in ("1", "2"):
        ended = pangea(
            tmp_path,
            *("train", str(SCRIPTS / "after.py"), "--workers", workers, "--epochs", "5", "--run-dir", f"run-{workers}"),
            *("--", str(data_file("digits.csv.gz"))),
        )
        assert ended.returncode == 0, ended.stderr
        runs.append(RunFiles(tmp_path / f"run-{workers}"))
    one, two = runs
    assert len(one.hashes()) == STEPS
    assert two.final() == one.final()
    assert two.read("result.json") == one.read("result.json")
    assert one.read("result.json")["accuracy"] > 0.8
    assert two.figures() == one.figures()
    for run in runs:
        run.audit()


def test_the_document_shows_the_difference_of_the_scripts() -> None:
    before, after = ((SCRIPTS / name).read_text().splitlines() for name in ("before.py", "after.py"))
    difference = [line.rstrip() for line in difflib.unified_diff(before, after, "before.py", "after.py", lineterm="")]
    assert PAGE.read_text().split("```diff\n")[1].split("\n```")[0].splitlines() == difference
