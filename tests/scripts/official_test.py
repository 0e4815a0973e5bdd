"""What people need beside the three lines has an official way: the same bytes with one worker, and with three that are interrupted and go on as two."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness.scripts import HERE, Ended, train

EPOCHS, STEPS, INTERRUPT_STEP = 4, 92, 30


def alone(folder: Path, script: str) -> Ended:
    ended = train(folder / "alone", str(HERE / "official" / script), "--workers", "1", "--epochs", str(EPOCHS), "--run-dir", str(folder / "alone"))
    assert ended.code == 0, ended.output
    return ended


def interrupted(folder: Path, script: str) -> Ended:
    run_dir = folder / "interrupted"
    first = train(run_dir, str(HERE / "official" / script), "--workers", "3", "--epochs", str(EPOCHS), "--run-dir", str(run_dir), INTERRUPT_STEP=str(INTERRUPT_STEP))
    assert first.code == 128 + signal.SIGTERM, first.output
    assert INTERRUPT_STEP <= len(first.hashes) < STEPS
    second = train(run_dir, "--resume", str(run_dir), "--workers", "2")
    assert second.code == 0, second.output
    return second


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
    assert several.hashes == one.hashes
    assert several.weights == one.weights
    assert several.result == one.result
    result = one.result
    assert {name: result[name] for name in FIGURES[script]} == FIGURES[script]
    assert result["incidents"] == 0
    assert (len(one.hashes) < STEPS) == ("stopped" in result)


def test_a_weight_makes_a_step_that_of_one_process_over_the_whole_batch(tmp_path: Path) -> None:
    one = alone(tmp_path, "padding.py")
    assert one.result["furthest"] < 1e-5, "92 steps with rate 0.5 by Pangea and by torch alone"
