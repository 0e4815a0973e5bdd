"""`pangea worker` joins a run that is somewhere else, and the `health` of each program tells up from down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pangea.children import Child
from pangea.places import program, python_environment
from tests.integration.cluster import SCRIPT, Cluster, cluster, undisturbed
from tests.integration.command import pangea
from tools.processes.waiting import eventually


def start(running: Cluster, name: str, *options: str, **environment: str) -> Child:
    """A worker as a container would start it."""
    child = Child(
        name, [sys.executable, "-m", "pangea", "worker", *options], running.run_dir / f"{name}.log", {**python_environment(), "GATE_STEP": "-1", "GATE_DIR": "/", **environment}
    )
    running.workers[name] = child
    return child


def test_workers_by_options_and_by_environment_come_to_the_bits_of_one(tmp_path: Path) -> None:
    with cluster(tmp_path / "two") as running:
        services = running.services
        start(
            running,
            "options",
            "--orchestrator",
            services.orchestrator,
            "--data",
            services.data,
            "--run-dir",
            str(services.run_dir),
            "--seed",
            "5",
            "--name",
            "options",
            str(SCRIPT),
        )
        start(
            running,
            "environment",
            str(SCRIPT),
            PANGEA_ORCHESTRATOR=services.orchestrator,
            PANGEA_DATA=services.data,
            PANGEA_RUN_DIR=str(services.run_dir),
            PANGEA_SEED="5",
            PANGEA_WORKER_NAME="environment",
        )
        running.wait_exit("options")
        running.wait_exit("environment")
        assert running.hashes() == undisturbed(tmp_path / "one").hashes()
        assert running.final()


def test_without_a_run_to_join_it_says_what_is_missing(tmp_path: Path) -> None:
    result = pangea(tmp_path, "worker")
    assert result.returncode == 2
    assert "--orchestrator" in result.stderr
    assert "PANGEA_ORCHESTRATOR" in result.stderr


def test_sigterm_before_there_is_a_run_ends_it(tmp_path: Path) -> None:
    script = tmp_path / "waiting.py"
    script.write_text("import pathlib, signal, sys\npathlib.Path(sys.argv[1]).touch()\nsignal.pause()\n")
    words = ["worker", "--orchestrator", "localhost:1", "--data", "localhost:1", str(script), "--", str(tmp_path / "there")]
    child = Child("waiting", [sys.executable, "-m", "pangea", *words], tmp_path / "log", python_environment())
    eventually((tmp_path / "there").exists, "the script runs")
    child.signal(signal.SIGTERM)
    ended = eventually(lambda: (child.exit_code(),) if child.exit_code() is not None else None, "it ends")
    assert ended[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("name", ["go-orchestrator", "rust-compute"])
def test_health_tells_up_from_down(tmp_path: Path, name: str) -> None:
    def health(address: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(program(name)), "health", address], env=os.environ, capture_output=True, text=True, check=False)

    with cluster(tmp_path) as running:
        address = json.loads((running.run_dir / "logs" / f"{name}.ports.json").read_text())["http"]
        assert health(address).returncode == 0
    result = health(address)
    assert result.returncode == 1
    assert "no answer" in result.stderr
