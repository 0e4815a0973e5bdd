"""A run that was stopped or killed resumes with other workers to the same bits, recomputing no more than it must."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from pangea.places import data_file
from pangea.rundir.status import read_status
from tests.harness.cluster import OPTIONS, SCRIPT, STEPS, Cluster, undisturbed
from tests.harness.launched import Launched, launched, new_run
from tools.processes.waiting import eventually


def resume(run_dir: Path, *options: str) -> list[str]:
    return ["train", "--resume", str(run_dir), *options]


def stop(command: Launched, number: signal.Signals = signal.SIGTERM) -> str:
    """Stops a run whose workers stand at a gate, with a last checkpoint; gives the output of the command."""
    command.child.signal(number)
    eventually(
        lambda: "waits for a last checkpoint" in command.log("go-orchestrator"),
        "the orchestrator asks for a checkpoint",
    )
    command.open_gates()
    said = command.wait_exit(128 + number)
    assert not command.processes(), "a process outlived the run"
    assert command.checkpoints(), "no last checkpoint"
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_in_mid_epoch_recomputes_nothing_with_another_number_of_workers(
    number: signal.Signals, alone: Cluster, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "2"), gate_step=4) as first:
        first.wait_mid_step(2)
        live = read_status(str(run_dir), tmp_path)
        assert (live["live"], live["state"], live["committed"], live["total_steps"]) == (True, "running", 4, STEPS)
        assert sorted(worker["name"] for worker in live["workers"]) == ["worker-1", "worker-2"]
        assert f"resume it with: pangea train --resume {run_dir}" in stop(first, number)
    stopped = read_status(str(run_dir), tmp_path)
    assert (stopped["live"], stopped["state"]) == (False, "stopped")
    assert 4 <= stopped["committed"] < 6, "it did not stop in mid-epoch"

    with launched(run_dir, resume(run_dir, "--workers", "3", "--json")) as second:
        said = second.wait_exit(0)
    assert "no steps are computed again" in said
    assert second.computed() == {*range(stopped["committed"], STEPS)}
    assert second.read("run.json")["resumed_from"]["steps_again"] == 0
    assert second.hashes() == alone.hashes()
    assert second.figures() == alone.figures()
    assert second.final() == alone.final()
    assert second.read("result.json") == alone.read("result.json")

    with launched(run_dir, resume(run_dir)) as third:
        assert "already finished" in third.wait_exit(0)


@pytest.mark.parametrize("killed", ["everything", "the launcher alone"])
def test_a_run_ends_with_its_killed_launcher_and_resumes_from_the_last_checkpoint(
    killed: str, alone: Cluster, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "2", "--checkpoint-steps", "2"), gate_step=5) as first:
        first.wait_mid_step(2)
        children = first.processes()
        first.child.process.kill()
        if killed == "everything":
            for pid in children:
                # It may have died with the launcher already.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        else:
            # A worker leaves at its next batch.
            first.open_gates()
            eventually(lambda: not first.processes(), "the children end with their parent")
    committed = len(first.metrics())
    with launched(run_dir, resume(run_dir, "--workers", "1")) as second:
        said = second.wait_exit(0)
    assert "computed again" in said
    # No more than one checkpoint interval is lost.
    assert min(second.computed()) >= committed - 2
    assert second.hashes() == alone.hashes()
    assert second.figures() == alone.figures()
    assert second.final() == alone.final()


def test_a_finished_run_can_be_given_more_epochs(alone: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "1")) as first:
        first.wait_exit(0)
    assert first.hashes() == alone.hashes()
    assert first.figures() == alone.figures()
    with launched(run_dir, resume(run_dir, "--epochs", str(OPTIONS.epochs + 1))) as second:
        assert "no steps are computed again" in second.wait_exit(0)
    assert second.computed() == {*range(STEPS, STEPS + STEPS // OPTIONS.epochs)}
    longer = undisturbed(tmp_path / "longer", epochs=OPTIONS.epochs + 1)
    assert second.hashes() == longer.hashes()
    assert second.figures() == longer.figures()
    assert second.final() == longer.final()


def test_data_and_script_may_move_and_the_error_for_a_missing_one_names_the_option(tmp_path: Path) -> None:
    run_dir, data, script = tmp_path / "run", tmp_path / "data.csv.gz", tmp_path / "train.py"
    shutil.copy(data_file("digits.csv.gz"), data)
    shutil.copy(SCRIPT, script)
    words = new_run(run_dir, "--workers", "1", "--dataset", f"csv:{data},shape=1x8x8")
    words[words.index(str(SCRIPT))] = str(script)
    with launched(run_dir, words, gate_step=4) as first:
        first.wait_mid_step(1)
        stop(first)
    moved, moved_script = data.rename(tmp_path / "moved.csv.gz"), script.rename(tmp_path / "moved.py")
    with launched(run_dir, resume(run_dir)) as without_script:
        assert f"the run's script {script} does not exist any more" in without_script.wait_exit(1)
    again = ["train", str(moved_script), *resume(run_dir)[1:]]
    with launched(run_dir, again) as without_data:
        said = without_data.wait_exit(1)
    assert f"there is no file {data}" in said and "--dataset" in said and "Traceback" not in said
    with launched(run_dir, [*again, "--dataset", f"csv:{moved},shape=1x8x8"]) as last:
        last.wait_exit(0)
    assert len(last.hashes()) == STEPS
    kept = last.read("launch.json")
    assert str(moved) in kept["dataset"] and kept["script"] == str(moved_script)


def test_data_with_different_content_is_refused(tmp_path: Path) -> None:
    run_dir, other = tmp_path / "run", tmp_path / "other.csv"
    other.write_text(
        "".join(",".join(str((row * column) % 17) for column in range(64)) + f",{row % 10}\n" for row in range(1797))
    )
    with launched(run_dir, new_run(run_dir, "--workers", "1"), gate_step=4) as first:
        first.wait_mid_step(1)
        stop(first)
    before = (run_dir / "launch.json").read_text()
    with launched(run_dir, resume(run_dir, "--dataset", f"csv:{other},shape=1x8x8")) as second:
        assert "other.csv" in second.wait_exit(1)
    assert (run_dir / "launch.json").read_text() == before, "launch.json has the refused dataset"


def test_a_changed_script_is_accepted_only_on_request(tmp_path: Path) -> None:
    run_dir, other = tmp_path / "run", tmp_path / "other.py"
    other.write_text("# A changed script.\n" + SCRIPT.read_text())
    with launched(run_dir, new_run(run_dir, "--workers", "1"), gate_step=4) as first:
        first.wait_mid_step(1)
        stop(first)
    words = ["train", str(other), "--resume", str(run_dir)]
    with launched(run_dir, words) as refused:
        assert "--take-changes" in refused.wait_exit(1)
    with launched(run_dir, [*words, "--take-changes"]) as taken:
        taken.wait_exit(0)
    assert taken.read("launch.json")["script"] == str(other)


def test_sigusr1_takes_a_checkpoint_and_the_run_continues(alone: Cluster, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with launched(run_dir, new_run(run_dir, "--workers", "2", "--checkpoint-seconds", "0"), gate_step=4) as command:
        command.wait_mid_step(2)
        before = command.checkpoints()
        # A cluster sends it to all processes of the run.
        for pid in [command.child.process.pid, *command.processes()]:
            os.kill(pid, signal.SIGUSR1)
        eventually(lambda: "SIGUSR1: a checkpoint is taken now" in command.output, "the command handles the signal")
        command.open_gates()
        command.wait_exit(0)
        later = command.checkpoints() - before
    assert any(int(file.stem.rpartition("-")[2]) < STEPS for file in later), sorted(later)
    assert command.hashes() == alone.hashes()
    assert command.figures() == alone.figures()
    assert "was killed" not in command.output
