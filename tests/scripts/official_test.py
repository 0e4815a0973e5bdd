"""What people need beyond the basic three lines has a supported way, with the same bytes for any number of workers.

Three workers are interrupted and replaced by two.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import OPTIONS, cluster
from tests.harness.command import pangea
from tests.harness.processes import kill, wait_exit
from tests.harness.run_files import RunFiles

SCRIPTS = Path(__file__).with_name("official")
EPOCHS, BATCH_SIZE = 4, 64
# 1,438 training samples are 23 batches an epoch.
STEPS, INTERRUPT_STEP = 92, 30


def alone(folder: Path, script: str) -> RunFiles:
    with cluster(folder / "alone", epochs=EPOCHS, batch_size=BATCH_SIZE) as run:
        run.start_worker("worker-1", script=SCRIPTS / script)
        run.finish("worker-1")
    return run


def interrupted(folder: Path, script: str) -> RunFiles:
    """Three workers until the orchestrator is stopped in mid-run; two new ones continue from its last checkpoint."""
    with cluster(folder / "interrupted", epochs=EPOCHS, batch_size=BATCH_SIZE) as run:
        step, pid = str(INTERRUPT_STEP), str(run.orchestrator.process.pid)
        first = [
            run.start_worker(name, script=SCRIPTS / script, INTERRUPT_STEP=step, INTERRUPT_PID=pid)
            for name in ("worker-1", "worker-2", "worker-3")
        ]
        assert wait_exit(run.orchestrator) == 0
        assert INTERRUPT_STEP <= len(run.hashes()) < STEPS
        for worker in first:
            kill(worker)
        run.start_orchestrator()
        for name in ("worker-4", "worker-5"):
            run.start_worker(name, script=SCRIPTS / script)
        run.finish("worker-4", "worker-5")
    return run


def resumed_by_the_command(folder: Path, script: str) -> RunFiles:
    """The same by `pangea train`, which is interrupted, and `pangea train --resume`."""
    words = [
        "train",
        str(SCRIPTS / script),
        "--workers",
        "3",
        "--epochs",
        str(EPOCHS),
        "--seed",
        str(OPTIONS.seed),
        "--run-dir",
        "interrupted",
    ]
    first, run = pangea(folder, *words, INTERRUPT_STEP=str(INTERRUPT_STEP)), RunFiles(folder / "interrupted")
    assert first.returncode == 128 + signal.SIGTERM, first.stderr
    assert INTERRUPT_STEP <= len(run.hashes()) < STEPS
    second = pangea(folder, "train", "--resume", "interrupted", "--workers", "2")
    assert second.returncode == 0, second.stderr
    return run


FIGURES: dict[str, dict[str, Any]] = {
    "adversaries.py": {"critic_steps": STEPS, "generator_steps": STEPS // 2},
    "average.py": {"moved": STEPS, "steps_in_all": STEPS},
    "clip_weights.py": {"largest": pytest.approx(0.05)},
    "codebook.py": {"seen": 1438 * EPOCHS, "expected": 1438 * EPOCHS},
    "early_stop.py": {"reason": "good enough", "stopped": "good enough"},
    "epochs.py": {"last_epoch": EPOCHS - 1},
    "initialised_by_data.py": {"initialised": 1},
    # Of the 1,438 samples of an epoch, the last 30 are in shards of 3 and 4.
    "key_queue.py": {"norms": pytest.approx(1.0, abs=1e-5)},
    "logged.py": {"steps_applied": STEPS},
    "one_cycle.py": {},
    "own_generators.py": {},
    "plateau.py": {},
    "precision.py": {},
    # 640 weights, of which four fifths are left four times.
    "pruned.py": {"left": 262},
    "rate.py": {},
    "sharpness.py": {},
    "sum.py": {},
    "teacher.py": {"averaged": STEPS},
}


@pytest.mark.parametrize(
    ("script", "several_workers"),
    [*((script, interrupted) for script in FIGURES), ("average.py", resumed_by_the_command)],
)
def test_the_same_bytes_with_one_worker_and_with_several_and_a_resume(
    script: str, several_workers: Callable[[Path, str], RunFiles], tmp_path: Path
) -> None:
    one, several = alone(tmp_path, script), several_workers(tmp_path, script)
    assert several.hashes() == one.hashes()
    assert several.final() == one.final()
    assert several.figures() == one.figures()
    result = one.read("result.json")
    assert several.read("result.json") == result
    assert {name: result[name] for name in FIGURES[script]} == FIGURES[script]
    assert result["incidents"] == 0
    assert (len(one.hashes()) < STEPS) == ("stopped" in result)


def test_a_figure_is_written_to_the_step_that_it_is_about(tmp_path: Path) -> None:
    run = alone(tmp_path, "logged.py")
    lines, of_epoch = run.metrics(), STEPS // EPOCHS
    for number, figures in enumerate(line["figures"] for line in lines):
        assert figures["step"] == figures["step_of_batch"] == number
        assert figures["replaced"] == 1.5
        assert 0 <= figures["accuracy"] <= 1
        begins_epoch = number % of_epoch == 0
        assert figures.get("epoch") == (number // of_epoch if begins_epoch else None)
        assert figures.get("steps_applied") == (number if begins_epoch and number > 0 else None)
        assert ("held_out_accuracy" in figures) == (begins_epoch and number > 0)
        assert ("only_in_step_0" in figures) == (number == 0)
    accuracies = [line["figures"]["accuracy"] for line in lines]
    assert sum(accuracies[-10:]) > sum(accuracies[:10])
    assert run.read("result.json")["held_out_accuracy"] > 0.8
    run.audit()


def test_with_weights_a_step_equals_that_of_one_process_over_the_whole_batch(tmp_path: Path) -> None:
    one = alone(tmp_path, "padding.py")
    assert one.read("result.json")["furthest"] < 1e-5, (
        "92 steps with a learning rate of 0.5 by Pangea and by torch alone differ"
    )
