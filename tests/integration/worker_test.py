"""`pangea worker` joins a run that runs elsewhere, and `health` of each program distinguishes up from down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pangea.places import program, python_environment
from pangea.services.child import Child
from tests.harness.cluster import OPTIONS, SCRIPT, Cluster, cluster, undisturbed
from tests.harness.command import pangea
from tests.harness.processes import wait_exit
from tools.processes.waiting import PATIENCE_SECONDS, eventually


def start(running: Cluster, name: str, *options: str, **environment: str) -> Child:
    """Starts a worker as a container does."""
    return running.start_python(name, ["-m", "pangea", "worker", *options], environment)


def test_workers_configured_by_options_and_by_environment_compute_the_bits_of_one(tmp_path: Path) -> None:
    with cluster(tmp_path / "two") as running:
        where = [
            "--orchestrator",
            running.orchestrator_address,
            "--data",
            running.data_addresses,
            "--run-dir",
            str(running.run_dir),
        ]
        start(running, "options", *where, "--seed", str(OPTIONS.seed), "--name", "options", str(SCRIPT))
        start(running, "environment", str(SCRIPT), **running.worker_environment("environment"))
        running.wait_exit("options")
        running.wait_exit("environment")
        assert running.hashes() == undisturbed(tmp_path / "one").hashes()
        assert running.final()


def test_the_error_without_a_run_to_join_names_what_is_missing(tmp_path: Path) -> None:
    result = pangea(tmp_path, "worker")
    assert result.returncode == 2
    assert "--orchestrator" in result.stderr
    assert "PANGEA_ORCHESTRATOR" in result.stderr


# Requests its own pages before it joins, during two runs, and after it has left.
SLOW = """
import json, urllib.error, urllib.request
import torch
import pangea
from pangea.worker.probes import serve_health

def show(place):
    pages = {}
    for page in ("healthz", "readyz", "metrics"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{serve_health().port}/{page}", timeout=60) as answer:
                pages[page] = answer.read().decode()
        except urllib.error.HTTPError as error:
            pages[page] = error.code
    joined = "pangea_worker_joined 1" in pages["metrics"]
    print(json.dumps([place, pages["healthz"], pages["readyz"], joined]), flush=True)

show("before")
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
for place in ("first", "second"):
    run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.01))
    show(place)
    run.close()
show("after")
"""


def test_a_worker_is_alive_before_it_joins_and_after_it_has_left(tmp_path: Path) -> None:
    # Otherwise a liveness probe would kill a script that takes minutes to load its model, or that works on after the
    # run.
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    with cluster(tmp_path / "cluster") as running:
        child = start(
            running,
            "slow",
            "--orchestrator",
            running.orchestrator_address,
            "--data",
            running.data_addresses,
            "--http",
            "127.0.0.1:0",
            str(script),
        )
        running.wait_exit("slow")
    assert [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("[")] == [
        ["before", "ok\n", 503, False],
        ["first", "ok\n", "ok\n", True],
        ["second", "ok\n", "ok\n", True],
        ["after", "ok\n", 503, False],
    ]


def test_a_taken_health_address_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        result = pangea(tmp_path, "worker", "--orchestrator", "localhost:1", "--data", "localhost:1", "--http", address)
    assert result.returncode == 1
    assert f"PANGEA_HTTP={address}" in result.stderr and "choose another port" in result.stderr


def test_sigterm_before_the_join_ends_it(tmp_path: Path) -> None:
    script = tmp_path / "waiting.py"
    script.write_text("import pathlib, signal, sys\npathlib.Path(sys.argv[1]).touch()\nsignal.pause()\n")
    words = [
        "worker",
        "--orchestrator",
        "localhost:1",
        "--data",
        "localhost:1",
        str(script),
        "--",
        str(tmp_path / "there"),
    ]
    child = Child("waiting", [sys.executable, "-m", "pangea", *words], tmp_path / "log", python_environment())
    eventually((tmp_path / "there").exists, "the script is running")
    child.signal(signal.SIGTERM)
    assert wait_exit(child) == 128 + signal.SIGTERM


def test_sigterm_while_it_connects_to_the_services_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        address = "{}:{}".format(*silent.getsockname())
        words = ["worker", "--orchestrator", address, "--data", address, str(SCRIPT)]
        child = Child("joining", [sys.executable, "-m", "pangea", *words], tmp_path / "log", python_environment())
        with silent.accept()[0]:
            child.signal(signal.SIGTERM)
            assert wait_exit(child) == 128 + signal.SIGTERM, child.log_tail()


def test_a_drained_worker_exits_with_an_error_and_its_replacements_finish_the_run(tmp_path: Path) -> None:
    # As in a Kubernetes Job after a drain: the exit code is not 0, so there is another pod, even if the run is over by
    # then.
    with cluster(tmp_path / "drained") as running:
        start(running, "drained", str(SCRIPT), **running.worker_environment("drained"), **running.gates.environment(2))
        running.wait_gate("drained")
        running.workers["drained"].signal(signal.SIGTERM)
        running.open_gate("drained")
        running.wait_exit("drained", 128 + signal.SIGTERM)
        for name in ("next", "late"):
            (running.run_dir / "final.safetensors").unlink(missing_ok=True)
            start(running, name, str(SCRIPT), **running.worker_environment(name))
            running.wait_exit(name)
            assert running.final()
        assert running.hashes() == undisturbed(tmp_path / "one").hashes()


@pytest.mark.parametrize("name", ["go-orchestrator", "rust-compute"])
def test_health_distinguishes_up_from_down(tmp_path: Path, name: str) -> None:
    def health(address: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program(name)), "health", address], env=os.environ, capture_output=True, text=True, check=False
        )

    with cluster(tmp_path) as running:
        address = running.addresses(name).http
        assert health(address).returncode == 0
    result = health(address)
    assert result.returncode == 1
    assert "no answer" in result.stderr
