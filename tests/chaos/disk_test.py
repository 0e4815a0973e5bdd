"""Damage on the disk is detected, reported and never loaded; a full disk loses nothing that was committed."""

import resource
from pathlib import Path

from pangea.ledger import reader as ledger
from pangea.rundir.service_logs import CHECKPOINT_REFUSED, WORKER_GONE, WORKER_JOINED, log_entries
from tests.harness.cluster import Cluster, cluster
from tests.harness.processes import kill, wait_exit
from tools.processes.waiting import eventually

CHECKPOINT_STEPS = 2


def flip(file: Path, position: int) -> None:
    """Flips the lowest bit of one byte."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_full_disk_stops_the_run_which_resumes_once_there_is_room(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, errors=["cannot write the ledger"]) as run:
        run.start_worker("worker", gate_step=4)
        run.wait_gate("worker")
        # Without the line feeds that are written ahead of records.
        committed = len((run.run_dir / "ledger.jsonl").read_bytes().rstrip(b"\n")) + 1
        # The kernel refuses to let this process's files grow, as a full disk does.
        resource.prlimit(run.orchestrator.process.pid, resource.RLIMIT_FSIZE, (committed + 10, committed + 10))
        run.open_gate("worker")
        assert wait_exit(run.orchestrator) == 1
        assert "cannot write the ledger" in run.log("go-orchestrator")
        assert len(run.records(ledger.Step)) == 4
        run.start_orchestrator()
        run.finish("worker")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_damaged_ledger_is_refused_by_record_and_byte_and_an_intact_copy_resumes(
    alone: Cluster, tmp_path: Path
) -> None:
    with cluster(tmp_path, errors=["damaged at record 3", "it was truncated"]) as run:
        run.start_worker("worker", gate_step=5)
        run.wait_gate("worker")
        # So that a slot names the last step: until then, a cut record is taken for a write that was cut off.
        eventually(lambda: run.entries()[-1].committed, "the ledger is settled")
        kill(run.orchestrator)
        file = run.run_dir / "ledger.jsonl"
        intact = file.read_bytes()
        records = intact.rstrip(b"\n") + b"\n"
        entries = run.entries()
        flip(file, entries[3].offset + 200)
        refused = run.launch_orchestrator()
        assert wait_exit(refused) == 1
        assert f"damaged at record 3 (byte {entries[3].offset})" in refused.log_tail()
        file.write_bytes(records[:-20])
        truncated = run.launch_orchestrator()
        assert wait_exit(truncated) == 1
        assert "it was truncated" in truncated.log_tail()
        file.write_bytes(intact)
        run.start_orchestrator()
        run.open_gate("worker")
        run.finish("worker")
    assert run.hashes() == alone.hashes()


def test_an_older_checkpoint_is_loaded_instead_of_a_damaged_one(alone: Cluster, tmp_path: Path) -> None:
    with cluster(
        tmp_path, checkpoint_steps=CHECKPOINT_STEPS, errors=["a checkpoint cannot be used; an older one will be tried"]
    ) as run:
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
        assert newest.name in log
        assert "the run continues from a checkpoint" in log
    # By the names of events that programs read: `pangea chaos` does.
    events = {entry.get("event") for _, entry in log_entries(run.run_dir / "logs" / "go-orchestrator.log")}
    assert {WORKER_JOINED, WORKER_GONE, CHECKPOINT_REFUSED} <= events
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
