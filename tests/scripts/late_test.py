"""A device that computes while the CPU does something else: the bits are those of the CPU, and nothing is read early.

What it copies is not a number until somebody waits for it. No GPU is needed; see docs/how-to/gpu.md for one.
"""

from pathlib import Path

from tests.harness.cluster import cluster

SCRIPT = Path(__file__).with_name("late") / "train.py"


def test_the_bits_are_those_of_the_cpu_and_a_copy_is_in_flight_while_the_next_shard_is_computed(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path / "one", epochs=1, batch_size=256) as one:
        one.start_worker("worker-1", script=SCRIPT)
        one.finish("worker-1")
    with cluster(tmp_path / "two", epochs=1, batch_size=256) as two:
        workers = [two.start_worker(f"worker-{number}", script=SCRIPT, DEVICE="delayed") for number in (1, 2)]
        two.finish("worker-1", "worker-2")
    assert two.hashes() == one.hashes()
    assert two.final() == one.final()
    # One of them may have joined too late for more than a shard.
    assert "at most 2 copies in flight" in "\n".join(line for worker in workers for line in worker.output())


def test_a_state_that_is_carried_on_is_found_without_a_child_process(tmp_path: Path) -> None:
    message = "depends on what was computed before it"
    with cluster(tmp_path, epochs=1, batch_size=256, errors=[message]) as run:
        worker = run.start_worker("worker-1", script=SCRIPT, DEVICE="delayed", REMEMBERS="1")
        run.wait_exit("worker-1", code=1)
    assert message in "\n".join(worker.output())


def test_a_loss_that_is_not_a_number_is_named_with_its_step(tmp_path: Path) -> None:
    message = "of step 2 is nan, after 2 complete steps"
    with cluster(tmp_path, epochs=1, batch_size=256, errors=[message]) as run:
        worker = run.start_worker("worker-1", script=SCRIPT, DEVICE="delayed", BREAKS_AT="2")
        run.wait_exit("worker-1", code=1)
    assert message in "\n".join(worker.output())
