"""A script's own dataset: the same bits for any number of workers and loader processes, whatever is killed; every
sample once; and workers whose data differ are refused."""

from __future__ import annotations

import os
import select
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pangea.ledger.reader import Step
from pangea.rundir.layout import ORCHESTRATOR
from pangea.services.child import Child
from tests.harness.cluster import Cluster, cluster
from tests.harness.command import pangea
from tests.harness.processes import find_processes, kill, parent_of
from tests.harness.run_files import RunFiles
from tools.processes.waiting import PATIENCE_SECONDS

SCRIPT = Path(__file__).with_name("training.py")
# 303 training samples in batches of 100 are 4 steps an epoch, the last of which has 3 samples, all in one shard.
EPOCHS, BATCH_SIZE, SAMPLES = 2, 100, 303
OPTIONS: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "replicas": 0}


def complete(folder: Path, workers: int, loaders: int, *, tcp: bool = False, **environment: str) -> Cluster:
    """A run of workers that all take part from its first step on."""
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    with cluster(folder, **OPTIONS) as run:
        address = run.addresses(ORCHESTRATOR).listen if tcp else run.orchestrator_address
        for name in names:
            run.start_worker(
                name, gate_step=0, script=SCRIPT, PANGEA_ORCHESTRATOR=address, LOADERS=str(loaders), **environment
            )
        run.wait_workers(workers)
        run.open_gate(*names)
        run.finish(*names)
    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """One worker that loads in its own process."""
    return complete(tmp_path_factory.mktemp("alone"), 1, 0)


def batch_hashes(run: RunFiles) -> list[list[tuple[int, str]]]:
    """Of each step, the hash of each shard's batch."""
    return [
        sorted((shard.shard, shard.batch_hash) for part in step.contributions for shard in part.shards)
        for step in run.records(Step)
    ]


def assert_same(run: RunFiles, alone: RunFiles) -> None:
    assert run.hashes() == alone.hashes()
    assert run.final() == alone.final()
    assert batch_hashes(run) == batch_hashes(alone)
    assert run.read("result.json") == alone.read("result.json")
    run.audit()


def test_a_run_needs_no_data_service_and_counts_every_sample_once(alone: Cluster) -> None:
    assert sorted(file.name for file in (alone.run_dir / "logs").glob("*.log")) == [
        "go-orchestrator.log",
        "worker-1.log",
    ]
    assert [line["samples"] for line in alone.metrics()] == [100, 100, 100, 3] * EPOCHS
    dataset = alone.read("run.json")["dataset"]
    assert (dataset["name"], dataset["train_samples"], dataset["held_out_samples"]) == ("Subset of Sequences", 303, 100)
    hashes = [hash for step in batch_hashes(alone) for _, hash in step]
    # All empty batches are the same.
    assert len(set(hashes)) == EPOCHS * (3 * 8 + 1) + 1
    alone.audit()


@pytest.mark.parametrize(("workers", "loaders", "tcp"), [(1, 2, False), (2, 0, True), (2, 1, False), (3, 2, False)])
def test_several_workers_and_loader_processes_have_the_bits_of_one(
    workers: int, loaders: int, tcp: bool, alone: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "loaded").mkdir()
    run = complete(tmp_path, workers, loaders, tcp=tcp, LOADED_DIR=str(tmp_path / "loaded"))
    assert_same(run, alone)
    assert max(line["workers"] for line in run.metrics()) == workers
    ids = Counter(int(id) for file in (tmp_path / "loaded").iterdir() for id in file.read_text().split())
    assert set(ids) == set(range(SAMPLES))
    # A rehearsal, and a second lease of a late shard, compute some of them once more.
    assert min(ids.values()) == EPOCHS


@pytest.mark.parametrize("loaders", [0, 2])
def test_evaluation_in_between_changes_nothing(loaders: int, alone: Cluster, tmp_path: Path) -> None:
    assert_same(complete(tmp_path, 2, loaders, EVALUATE_EVERY="2"), alone)


def test_a_killed_worker_leaves_no_loader_process_and_others_compute_its_shards(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, **OPTIONS) as run:
        for name, step in (("survivor", 0), ("victim", 2)):
            run.start_worker(name, gate_step=step, script=SCRIPT, LOADERS="2")
        run.wait_workers(2)
        run.open_gate("survivor")
        run.wait_gate("victim")
        loaders = children_of(run.workers["victim"])
        assert len(loaders) >= 2
        descriptors = [os.pidfd_open(pid) for pid in loaders]
        kill(run.workers["victim"])
        wait_gone(descriptors)
        run.finish("survivor")
    assert_same(run, alone)


def children_of(worker: Child) -> list[int]:
    """Its loader processes, and for a while the fork that rehearses a shard."""
    return [pid for pid in find_processes(lambda *_: True) if parent_of(pid) == worker.process.pid]


def wait_gone(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        try:
            assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], "a loader process outlived its worker"
        finally:
            os.close(descriptor)


def test_killed_loader_processes_are_started_again(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, **OPTIONS) as run:
        run.start_worker("worker-1", script=SCRIPT, LOADERS="2", KILL_LOADER_STEP="3")
        run.finish("worker-1")
    assert run.log("worker-1").count("it is started again") == 2
    assert_same(run, alone)


def test_the_orchestrator_is_killed_and_the_workers_continue(alone: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path, **OPTIONS) as run:
        for name in ("first", "second"):
            run.start_worker(name, gate_step=3, script=SCRIPT, LOADERS="1")
        run.wait_gate("first")
        kill(run.orchestrator)
        run.start_orchestrator()
        run.open_gate("first", "second")
        run.finish("first", "second")
    assert_same(run, alone)


def test_the_command_trains_without_a_data_service_and_resumes_with_other_workers(
    alone: Cluster, tmp_path: Path
) -> None:
    first = [
        "train",
        str(SCRIPT),
        "--workers=2",
        f"--batch-size={BATCH_SIZE}",
        f"--seed={alone.options.seed}",
        "--run-dir=run",
    ]
    ended = pangea(tmp_path, *first, "--epochs=1", LOADERS="1")
    assert ended.returncode == 0, ended.stderr
    run = RunFiles(tmp_path / "run")
    assert not list((run.run_dir / "logs").glob("rust-compute*"))
    ended = pangea(tmp_path, "train", "--resume", "run", "--epochs", str(EPOCHS), "--workers", "3", LOADERS="0")
    assert ended.returncode == 0, ended.stderr
    assert_same(run, alone)
    audited = pangea(tmp_path, "audit", "run")
    assert audited.returncode == 0, audited.stdout
    assert f"{SAMPLES * EPOCHS:,}" in audited.stdout or f"{SAMPLES * EPOCHS}" in audited.stdout


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SAMPLES": "404"}, "Subset of Sequences with 304 training samples"),
        ({"CHANGED": "0"}, "Subset of Sequences with 303 training samples"),
        ({"CLASS": "Waves"}, "give the class its old __qualname__"),
    ],
)
def test_workers_whose_data_differ_are_refused(variables: dict[str, Any], message: str, tmp_path: Path) -> None:
    with cluster(tmp_path, **OPTIONS) as run:
        run.start_worker("right", gate_step=0, script=SCRIPT)
        run.wait_gate("right")
        run.start_worker("wrong", script=SCRIPT, **variables)
        run.wait_exit("wrong", 1)
        assert message in run.log("wrong")
        assert "the worker's data is not that of the run" in run.log("wrong")
        run.open_gate("right")
        run.finish("right")


def test_a_worker_with_a_data_service_is_refused_in_a_run_with_a_dataset_and_the_other_way_around(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path, **{**OPTIONS, "replicas": 1}) as run:
        run.start_worker("own", gate_step=0, script=SCRIPT)
        run.wait_gate("own")
        (tmp_path / "service.py").write_text(SERVICE)
        run.start_worker("service", script=tmp_path / "service.py")
        run.wait_exit("service", 1)
        assert "digits with 1438 training samples" in run.log("service")
        assert "but the run has Subset of Sequences with 303" in run.log("service")
        run.open_gate("own")
        run.finish("own")


SERVICE = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import torch, pangea
from training import Classifier
pangea.seed_everything()
model = Classifier()
pangea.join(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
"""


FAILING = """
import torch, pangea
class Truncated(torch.utils.data.Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, index):
        if index == 37:
            raise OSError("image 37 is truncated")
        return torch.ones(2), 0
pangea.seed_everything()
model = torch.nn.Linear(2, 2)
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1), dataset=Truncated(), loader_processes=LOADERS)
for batch in run.batches():
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
run.finish()
"""


@pytest.mark.parametrize("loaders", [0, 2])
def test_an_error_of_the_dataset_ends_the_run_with_the_sample_and_its_traceback(loaders: int, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FAILING.replace("LOADERS", str(loaders)))
    ended = pangea(tmp_path, "train", "train.py", "--workers", "1", "--run-dir", "run")
    assert ended.returncode == 1
    log = RunFiles(tmp_path / "run").log("worker-1")
    assert "sample 37 of the dataset Truncated could not be loaded in epoch 0: OSError: image 37 is truncated" in log
    assert 'train.py", line 8, in __getitem__' in log


COUNTER = FAILING.replace('raise OSError("image 37 is truncated")', "pass").replace(
    "return torch.ones(2), 0", "self.calls = getattr(self, 'calls', 0) + 1; return torch.ones(2) * self.calls, 0"
)


@pytest.mark.parametrize("loaders", [0, 2])
def test_a_dataset_that_depends_on_what_was_loaded_before_is_refused(loaders: int, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(COUNTER.replace("LOADERS", str(loaders)))
    ended = pangea(tmp_path, "train", "train.py", "--workers", "1", "--run-dir", "run")
    assert ended.returncode == 1
    assert (
        "batch.data[0] of shard 0 of step 0 has different bits when its samples are loaded a second time"
        in ended.stderr
    )


INDIRECT = """
import torch, pangea
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1), dataset=None)
for batch in run.batches():
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
run.finish()
"""


def test_a_data_service_is_started_when_a_script_turns_out_to_have_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(INDIRECT)
    ended = pangea(tmp_path, "train", "train.py", "--epochs", "1", "--run-dir", "run", "--data-replicas", "2")
    assert ended.returncode == 0, ended.stderr
    assert RunFiles(tmp_path / "run").read("run.json")["dataset"]["name"] == "digits"
    ended = pangea(tmp_path, "train", "--resume", "run", "--epochs", "2")
    assert ended.returncode == 0, ended.stderr


def test_a_dataset_of_the_command_beside_that_of_the_script_is_refused(tmp_path: Path) -> None:
    ended = pangea(tmp_path, "train", str(SCRIPT), "--dataset", "stdlib", "--run-dir", "run", LOADERS="0")
    assert ended.returncode == 1
    assert "started with --dataset stdlib" in ended.stderr and "leave out one of them" in ended.stderr


def test_signals_to_a_whole_group_stop_a_worker_in_order_and_its_loader_processes(
    alone: Cluster, tmp_path: Path
) -> None:
    with cluster(tmp_path, **OPTIONS) as run:
        run.start_worker("first", gate_step=2, script=SCRIPT, LOADERS="2")
        run.wait_gate("first")
        loaders = children_of(run.workers["first"])
        descriptors = [os.pidfd_open(pid) for pid in loaders]
        for pid in loaders:
            os.kill(pid, signal.SIGINT)
        run.workers["first"].process.send_signal(signal.SIGTERM)
        run.start_worker("second", script=SCRIPT)
        run.open_gate("first")
        wait_gone(descriptors)
        run.finish("first", "second")
    assert_same(run, alone)
