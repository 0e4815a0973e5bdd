"""Any process of a run may be killed: `pangea train` starts it again, and the run ends with the bits of an undisturbed one."""

from pathlib import Path

import pytest

from tests.chaos.launched import alone, launched, new_run
from tests.integration.cluster import Cluster


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return alone(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("victim", ["go-orchestrator", "rust-compute", "worker-2"])
def test_a_killed_process_is_started_again_and_the_bits_hold(victim: str, undisturbed: Cluster, tmp_path: Path) -> None:
    with launched(tmp_path / "run", new_run(tmp_path / "run", "--workers", "2"), gate_step=3) as command:
        # The run is in the middle of a step.
        command.wait_mid_step(2)
        command.wait_restarted(victim, command.kill(victim))
        command.open_gates()
        said = command.wait_exit(0)
    assert f"{victim} was killed (signal 9); started again" in said
    assert command.hashes() == undisturbed.hashes()
    assert command.final() == undisturbed.final()
    assert not command.processes(), "a process outlived the run"


def test_with_two_data_services_one_is_killed_and_nobody_waits_for_it(undisturbed: Cluster, tmp_path: Path) -> None:
    with launched(tmp_path / "run", new_run(tmp_path / "run", "--workers", "1", "--data-replicas", "2"), gate_step=3) as command:
        command.wait_mid_step(1)
        assert len(command.processes("rust-compute")) == 2
        command.kill("rust-compute.ports.json")
        command.open_gates()
        command.wait_exit(0)
    assert command.hashes() == undisturbed.hashes()


def test_a_script_that_crashes_at_its_start_is_given_up_with_its_log(tmp_path: Path) -> None:
    crashing = tmp_path / "crashing.py"
    crashing.write_text("import os\nprint('no such instruction', flush=True)\nos.abort()\n")
    with launched(tmp_path / "run", ["train", str(crashing), "--workers", "1", "--run-dir", str(tmp_path / "run")]) as command:
        said = command.wait_exit(1)
    assert "worker-1 was killed (signal 6) 6 times" in said
    assert "no such instruction" in said
    assert not command.processes()
