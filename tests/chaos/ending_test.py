"""`pangea train` reports on the terminal, and by its exit code, how a run ended."""

import json
import resource
from pathlib import Path

import pytest

from tests.harness.command import pangea
from tests.harness.launched import launched
from tools.processes.waiting import eventually

BEGIN = """
import os, torch, pangea
from torch import nn
from torch.nn import functional
from tests.harness.gates import pass_gate
pangea.seed_everything()
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1000), nn.BatchNorm1d(1000), nn.ReLU(), nn.Linear(1000, 10))
run = pangea.join(model, torch.optim.AdamW(model.parameters(), lr=0.01))
for batch in run.batches():
    pass_gate(batch.step)
"""
TRAIN = "    run.step(functional.cross_entropy(model(batch.x), batch.y))\n"
FINISH = "run.finish()\n"
# The gradients of worker-2 are wrong, as from a faulty processor.
LIE = """
    lie = 1.001 if os.environ["PANGEA_WORKER_NAME"] == "worker-2" and batch.step >= 2 else 1.0
    run.step(functional.cross_entropy(model(batch.x), batch.y) * lie)
"""
INCIDENTS = ["conflict", "script"]


def command(folder: Path, script: str, *options: str) -> list[str]:
    (folder / "script.py").write_text(script)
    return [
        "train",
        str(folder / "script.py"),
        "--epochs",
        "1",
        "--batch-size",
        "256",
        "--run-dir",
        str(folder / "run"),
        *options,
    ]


def test_a_run_that_its_script_stops_is_finished_and_its_weights_can_be_exported(tmp_path: Path) -> None:
    stops = "    if batch.step == 3:\n        run.stop('good enough')\n" + TRAIN
    with launched(tmp_path / "run", command(tmp_path, BEGIN + stops + FINISH, "--workers", "2")) as train:
        said = train.wait_exit(0)
    assert "pangea: the script stopped the run early, after 4 steps: good enough" in said
    shown = pangea(tmp_path, "status", "run", "--json")
    assert json.loads(shown.stdout)["stopped"] == "good enough"
    exported = pangea(tmp_path, "export", "run", "-o", "weights.safetensors")
    assert exported.returncode == 0 and "after 4 steps" in exported.stdout, exported.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 1, "the run was ended: "),
        (("--allow-nondeterminism",), 3, "of different bits: the promise of the same bits did not hold"),
    ],
)
def test_a_conflict_that_nobody_can_settle_ends_the_run_or_sets_the_exit_code(
    options: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    words = command(
        tmp_path, BEGIN + LIE + FINISH, "--workers", "2", "--verify-fraction", "1", "--rehearse", "0", *options
    )
    with launched(tmp_path / "run", words, gate_step=0, errors=INCIDENTS) as train:
        train.wait_mid_step(2)
        train.open_gates()
        said = train.wait_exit(code)
    assert message in said
    assert "incident: conflict at step" in said
    assert "Traceback" not in said


# A buffer that is moved by the mean of its shards' sums, which deserves a notice.
WATCHING = """
import torch
class Watching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(64))
    def forward(self, x):
        if self.training:
            self.seen.add_(x.detach().sum(0))
        return x
"""


def test_the_terminal_shows_a_notice_of_two_workers_once(tmp_path: Path) -> None:
    script = WATCHING + BEGIN.replace("nn.Flatten(), ", "nn.Flatten(), Watching(), ") + TRAIN + FINISH
    with launched(tmp_path / "run", command(tmp_path, script, "--workers", "2"), gate_step=0) as train:
        train.wait_mid_step(2)
        train.open_gates()
        said = train.wait_exit(0)
    assert len(list((tmp_path / "run" / "logs").glob("*.notices.jsonl"))) == 2
    assert said.count("a step changes these buffers by the mean") == 1


def test_checkpoints_that_do_not_fit_on_the_disk_are_reported_at_once_and_the_run_continues(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    words = command(tmp_path, BEGIN + TRAIN + FINISH, "--workers", "1", "--checkpoint-steps", "2")
    with launched(run_dir, words, gate_step=1, errors=["cannot write a checkpoint"]) as train:
        train.wait_mid_step(1)
        (orchestrator,) = train.processes("go-orchestrator")
        # The ledger still fits.
        resource.prlimit(orchestrator, resource.RLIMIT_FSIZE, (200_000, 200_000))
        train.open_gates()
        eventually(lambda: "warning: a checkpoint could not be written: " in train.output, "the error is reported")
        said = train.wait_exit(0)
    assert "pangea: the last checkpoint could not be written: " in said
    shown = pangea(tmp_path, "status", "run")
    assert "cannot be written" in shown.stdout, shown.stdout
