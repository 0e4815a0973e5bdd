"""What people need beside the three lines has an official way: the same bytes with one worker, and with three that are interrupted and go on as two."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

SCRIPTS = Path(__file__).with_name("official")
EPOCHS, STEPS, INTERRUPT_STEP = 4, 92, 30


def alone(folder: Path, script: str) -> RunFiles:
    ended = pangea(folder, "train", str(SCRIPTS / script), "--workers", "1", "--epochs", str(EPOCHS), "--run-dir", "alone")
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / "alone")


def interrupted(folder: Path, script: str) -> RunFiles:
    words = ["train", str(SCRIPTS / script), "--workers", "3", "--epochs", str(EPOCHS), "--run-dir", "interrupted"]
    first, run = pangea(folder, *words, INTERRUPT_STEP=str(INTERRUPT_STEP)), RunFiles(folder / "interrupted")
    assert first.returncode == 128 + signal.SIGTERM, first.stderr
    assert INTERRUPT_STEP <= len(run.hashes()) < STEPS
    second = pangea(folder, "train", "--resume", "interrupted", "--workers", "2")
    assert second.returncode == 0, second.stderr
    return run


FIGURES: dict[str, dict[str, Any]] = {
    "average.py": {"moved": STEPS, "steps_in_all": STEPS},
    "clip_weights.py": {"largest": pytest.approx(0.05)},
    "codebook.py": {"seen": 1438 * EPOCHS, "expected": 1438 * EPOCHS},
    "early_stop.py": {"reason": "good enough", "stopped": "good enough"},
    "epochs.py": {"last_epoch": EPOCHS - 1},
    "initialised_by_data.py": {"initialised": 1},
    "own_generators.py": {},
    "rate.py": {},
    "sum.py": {},
}


@pytest.mark.parametrize("script", FIGURES)
def test_the_same_bytes_with_one_worker_and_with_several_and_a_resume(script: str, tmp_path: Path) -> None:
    one, several = alone(tmp_path, script), interrupted(tmp_path, script)
    assert several.hashes() == one.hashes()
    assert several.final() == one.final()
    result = one.read("result.json")
    assert several.read("result.json") == result
    assert {name: result[name] for name in FIGURES[script]} == FIGURES[script]
    assert result["incidents"] == 0
    assert (len(one.hashes()) < STEPS) == ("stopped" in result)


def test_a_weight_makes_a_step_that_of_one_process_over_the_whole_batch(tmp_path: Path) -> None:
    one = alone(tmp_path, "padding.py")
    assert one.read("result.json")["furthest"] < 1e-5, "92 steps with rate 0.5 by Pangea and by torch alone"
