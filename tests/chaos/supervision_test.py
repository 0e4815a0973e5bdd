"""Any process of a run may be killed: `pangea train` restarts it, and the bits stay those of an undisturbed run."""

import signal
from pathlib import Path

import pytest

from tests.harness.cluster import SCRIPT, Cluster
from tests.harness.launched import launched, new_run


@pytest.mark.parametrize("victim", ["go-orchestrator", "rust-compute", "worker-2"])
def test_a_killed_process_is_restarted_and_the_bits_hold(victim: str, alone: Cluster, tmp_path: Path) -> None:
    with launched(tmp_path / "run", new_run(tmp_path / "run", "--workers", "2"), gate_step=3) as command:
        command.wait_mid_step(2)
        command.wait_restarted(victim, command.kill(victim))
        command.open_gates()
        said = command.wait_exit(0)
    assert f"{victim} was killed (signal 9); started again" in said
    assert command.hashes() == alone.hashes()
    assert command.final() == alone.final()
    assert not command.processes(), "a process outlived the run"


def test_nobody_waits_for_one_of_two_data_services_that_is_killed(alone: Cluster, tmp_path: Path) -> None:
    with launched(
        tmp_path / "run", new_run(tmp_path / "run", "--workers", "1", "--data-replicas", "2"), gate_step=3
    ) as command:
        command.wait_mid_step(1)
        assert len(command.processes("rust-compute")) == 2
        command.kill("rust-compute.ports.json")
        command.open_gates()
        command.wait_exit(0)
    assert command.hashes() == alone.hashes()


@pytest.mark.parametrize("victim", ["go-orchestrator", "rust-compute"])
def test_a_service_that_is_killed_repeatedly_is_restarted_at_once_while_the_run_makes_progress(
    victim: str, tmp_path: Path
) -> None:
    kills, run_dir = 8, tmp_path / "run"
    with launched(
        run_dir, ["train", str(SCRIPT), "--workers", "1", "--epochs", "400", "--run-dir", str(run_dir)]
    ) as command:
        for _ in range(kills):
            command.wait_steps(len(command.metrics()) + 2)
            command.wait_restarted(victim, command.kill(victim))
        command.wait_steps(len(command.metrics()) + 2)
        command.child.signal(signal.SIGTERM)
        said = command.wait_exit(143)
    assert said.count(f"{victim} was killed (signal 9); started again") == kills
    assert "starting it again in" not in said


def test_a_script_that_crashes_at_its_start_ends_the_run_with_its_log(tmp_path: Path) -> None:
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os\nprint('no such instruction', flush=True)\nos.abort()\n")
    with launched(
        tmp_path / "run", ["train", str(crashing), "--workers", "1", "--run-dir", str(tmp_path / "run")]
    ) as command:
        said = command.wait_exit(1)
    assert "worker-1 was killed (signal 6); crash loop: 5 restarts without progress" in said
    assert "no such instruction" in said
    assert not command.processes()


JOINED = """
import sys, torch, pangea
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""
JOIN = "run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))\n"
LOOP = """
for batch in run.batches():
    if batch.step == 3:
        break
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
"""


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "ended without pangea.join (and run.batches())"),
        (JOIN + "run.close()", "joined the run and ended without a step; it has to loop over run.batches()"),
        (JOIN + LOOP + "run.close()", "left the run after 3 of 230 steps"),
    ],
)
def test_a_script_that_ends_before_the_run_is_reported(rest: str, message: str, tmp_path: Path) -> None:
    script, run_dir = tmp_path / "script.py", tmp_path / "run"
    script.write_text(JOINED + rest)
    with launched(run_dir, ["train", str(script), "--workers", "1", "--run-dir", str(run_dir)]) as command:
        said = command.wait_exit(1)
    assert f"pangea: worker-1: {script} {message}" in said
    assert "Traceback" not in said
