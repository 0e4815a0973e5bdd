"""A run that was stopped, or killed with all its processes, goes on with other workers to the bits of an undisturbed one."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from pangea.status import read_status
from tests.chaos.launched import STEPS, alone, launched, new_run
from tests.integration.cluster import Cluster
from tools.processes.waiting import eventually


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return alone(tmp_path_factory.mktemp("alone"))


def resume(run_dir: Path, *options: str) -> list[str]:
    return ["train", "--resume", str(run_dir), *options]


def test_a_run_that_is_stopped_in_mid_epoch_goes_on_with_another_number_of_workers(undisturbed: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "2"), gate_step=4) as first:
        first.wait_mid_step(2)
        live = read_status(str(run_dir), tmp_path)
        assert (live["live"], live["state"], live["committed"], live["total_steps"]) == (True, "running", 4, STEPS)
        assert sorted(worker["name"] for worker in live["workers"]) == ["worker-1", "worker-2"]
        first.child.signal(signal.SIGTERM)
        eventually(lambda: "waits for a last checkpoint" in (run_dir / "logs" / "go-orchestrator.log").read_text(), "the orchestrator wants a checkpoint")
        first.open_gates()
        assert f"go on with: pangea train --resume {run_dir}" in first.wait_exit(128 + signal.SIGTERM)
    assert not first.processes(), "a process outlived the run"
    assert list((run_dir / "checkpoints").glob("*.safetensors")), "no last checkpoint"
    stopped = read_status(str(run_dir), tmp_path)
    assert (stopped["live"], stopped["state"]) == (False, "stopped")
    assert 4 <= stopped["committed"] < 6, "it did not stop in mid-epoch"

    with launched(run_dir, resume(run_dir, "--workers", "3", "--json")) as second:
        second.wait_exit(0)
    assert second.hashes() == undisturbed.hashes()
    assert second.final() == undisturbed.final()
    assert json.loads((run_dir / "result.json").read_text()) == json.loads((undisturbed.run_dir / "result.json").read_text())

    with launched(run_dir, resume(run_dir)) as third:
        assert "finished already" in third.wait_exit(0)


@pytest.mark.parametrize("killed", ["everything", "the launcher alone"])
def test_a_run_whose_launcher_is_killed_ends_with_it_and_goes_on(killed: str, undisturbed: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "2", "--checkpoint-steps", "2"), gate_step=5) as first:
        first.wait_mid_step(2)
        children = first.processes()
        first.child.process.kill()
        if killed == "everything":
            for pid in children:
                # The launcher's death may have been faster.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            # A worker leaves at its next batch.
            first.open_gates()
            eventually(lambda: not first.processes(), "the children end with their parent")
    with launched(run_dir, resume(run_dir, "--workers", "1")) as second:
        second.wait_exit(0)
    assert second.hashes() == undisturbed.hashes()
    assert second.final() == undisturbed.final()
