"""What is damaged on the disk is noticed, named and never loaded; a disk that takes no more loses nothing that was committed."""

import resource
from pathlib import Path

from pangea.ledger import reader as ledger
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, wait_exit

CHECKPOINT_STEPS = 2


def flip(file: Path, position: int) -> None:
    """Changes one bit."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, errors=["cannot write the ledger"]) as run:
        run.start_worker("worker", gate_step=4)
        run.wait_gate("worker")
        committed = (run.run_dir / "ledger.jsonl").stat().st_size
        # The kernel refuses to let a file of this process grow any further, as a full disk does.
        resource.prlimit(run.orchestrator.process.pid, resource.RLIMIT_FSIZE, (committed + 10, committed + 10))
        run.open_gate("worker")
        assert wait_exit(run.orchestrator) == 1
        assert "cannot write the ledger" in run.log("go-orchestrator")
        assert len([step for step in run.records(ledger.Step)]) == 4
        run.start_orchestrator()
        run.finish("worker")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_damaged_ledger_is_refused_by_record_and_byte_and_a_good_copy_goes_on(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, errors=["damaged at record 3", "it was truncated"]) as run:
        run.start_worker("worker", gate_step=5)
        run.wait_gate("worker")
        kill(run.orchestrator)
        file = run.run_dir / "ledger.jsonl"
        good = file.read_bytes()
        entries = run.entries()
        flip(file, entries[3].offset + 200)
        refused = run.launch_orchestrator()
        assert wait_exit(refused) == 1
        assert f"damaged at record 3 (byte {entries[3].offset})" in refused.log_tail()
        file.write_bytes(good[:-20])
        cut = run.launch_orchestrator()
        assert wait_exit(cut) == 1
        assert "it was truncated" in cut.log_tail()
        file.write_bytes(good)
        run.start_orchestrator()
        run.open_gate("worker")
        run.finish("worker")
    assert run.hashes() == alone.hashes()


def test_a_damaged_checkpoint_is_not_loaded_and_an_older_one_is(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, checkpoint_steps=CHECKPOINT_STEPS, errors=["a checkpoint cannot be used; an older one will be tried"]) as run:
        run.start_worker("first", gate_step=9)
        run.wait_gate("first")
        kill(run.workers["first"])
        kill(run.orchestrator)
        newest = max((run.run_dir / "checkpoints").glob("*.safetensors"))
        flip(newest, newest.stat().st_size // 2)
        run.start_orchestrator()
        run.start_worker("second")
        run.finish("second")
        log = run.log("go-orchestrator")
        assert "a checkpoint cannot be used; an older one will be tried" in log
        assert newest.name in log
        assert "the run continues from a checkpoint" in log
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
