"""Workers join and leave in the middle of a run; the bits stay those of an undisturbed run."""

import signal
from pathlib import Path

from pangea.rundir.layout import data_service_name
from tests.harness.cluster import OPTIONS, STEPS, Cluster, cluster
from tests.harness.pages import http_get
from tools.processes.waiting import eventually


def batches_served(run: Cluster) -> int:
    """How many batches the workers were sent."""
    page = http_get(run.addresses(data_service_name(1)).http, "/metrics")[1]
    counts = [line.split()[1] for line in page.splitlines() if line.startswith("pangea_compute_batches_total ")]
    return int(float(counts[0]))


def test_batches_that_are_requested_early_are_sent_once(tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("only")
        run.wait_exit("only")
        assert batches_served(run) == STEPS * OPTIONS.shards


def test_a_late_joiner_receives_the_state_of_the_run_and_takes_part(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("first", gate_step=3)
        run.wait_gate("first")
        run.start_worker("late", gate_step=4)
        run.wait_workers(2)
        run.open_gate("first")
        # The late joiner gets a batch of a later step only once it has the parameters.
        run.wait_gate("late")
        run.open_gate("late")
        run.wait_exit("first")
        run.wait_exit("late")
        # The batches of the step in which the lease became smaller were requested before it did.
        assert batches_served(run) <= (STEPS + 1) * OPTIONS.shards
    assert {line["workers"] for line in run.metrics()} == {1, 2}
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_another_worker_computes_the_shards_of_a_killed_one(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("survivor", gate_step=0)
        run.wait_gate("survivor")
        run.start_worker("victim", gate_step=2)
        run.wait_workers(2)
        run.open_gate("survivor")
        run.wait_gate("victim")
        run.workers["victim"].signal(signal.SIGKILL)
        run.wait_exit("survivor")
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()


def test_a_worker_that_is_asked_to_stop_hands_over_its_shards_and_exits_with_0(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("staying", gate_step=0)
        run.wait_gate("staying")
        run.start_worker("leaving", gate_step=2)
        run.wait_workers(2)
        run.open_gate("staying")
        run.wait_gate("leaving")
        run.workers["leaving"].signal(signal.SIGTERM)
        run.open_gate("leaving")
        run.wait_exit("leaving")
        run.wait_exit("staying")
    assert run.hashes() == alone.hashes()


def test_a_waiting_worker_stops_at_once(tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        run.start_worker("holding", gate_step=1)
        run.wait_gate("holding")
        run.start_worker("waiting")
        run.wait_workers(2)
        run.workers["waiting"].signal(signal.SIGTERM)
        run.wait_exit("waiting")
        eventually(lambda: len(run.status()["workers"]) == 1, "the worker has left the run")


def test_a_worker_with_a_different_model_is_refused_and_the_run_continues(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import torch, pangea\nmodel = torch.nn.Linear(64, 10)\npangea.join(model, torch.optim.SGD(model.parameters(),"
        " lr=1.0))\n"
    )
    with cluster(tmp_path / "cluster", epochs=1) as run:
        run.start_worker("good", gate_step=1)
        run.wait_gate("good")
        run.start_worker("stranger", script=other)
        run.wait_exit("stranger", code=1)
        assert "the worker's model is not that of the run" in run.workers["stranger"].log_tail()
        run.open_gate("good")
        run.wait_exit("good")
    assert len(run.hashes()) == 6
