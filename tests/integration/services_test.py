"""The services as operators meet them: health, taken ports, missing files, graceful stop."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from pangea.places import data_folder, program
from pangea.rundir.layout import DATA_SERVICE
from tests.harness.cluster import cluster
from tests.harness.pages import http_get
from tools.processes.ports import free_address


def test_services_answer_health_readiness_and_metrics(tmp_path: Path) -> None:
    with cluster(tmp_path) as run:
        for address in (run.status_address, run.addresses(DATA_SERVICE).http):
            assert http_get(address, "/healthz")[0] == 200
            assert http_get(address, "/readyz")[0] == 200
            code, text = http_get(address, "/metrics")
            assert code == 200
            assert "# TYPE" in text
        assert run.status()["state"] == "waiting"


def test_a_worker_answers_health_and_readiness(tmp_path: Path) -> None:
    address = free_address()
    with cluster(tmp_path) as run:
        run.start_worker("worker", gate_step=1, PANGEA_HTTP=address)
        run.wait_gate("worker")
        assert http_get(address, "/healthz")[0] == 200
        assert http_get(address, "/readyz")[0] == 200
        figures = http_get(address, "/metrics")[1].splitlines()
        assert {
            "pangea_worker_step 1",
            "pangea_worker_joined 1",
            "pangea_worker_data_replicas 1",
            "pangea_worker_connected_data_replicas 1",
        } <= set(figures)


@pytest.mark.parametrize("name", ["go-orchestrator", "rust-compute"])
def test_a_taken_port_is_named(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [str(program(name)), "--listen", address, "--http", "127.0.0.1:0"]
        if name == "rust-compute":
            command += ["--dataset", "digits", "--data-dir", str(data_folder())]
        else:
            command += ["--run-dir", str(tmp_path / "run"), "--run-id", "r", "--seed", "0", "--epochs", "1"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert address in ended.stderr


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nothing.csv"
    spec = f"csv:{missing},shape=4"
    command = [str(program("rust-compute")), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dataset", spec]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert str(missing) in ended.stderr


def test_services_stop_on_sigterm_with_exit_code_0_while_workers_are_connected(tmp_path: Path) -> None:
    with cluster(tmp_path, epochs=50) as run:
        run.start_worker("worker", gate_step=3, PANGEA_RECONNECT_SECONDS="1")
        run.wait_gate("worker")
        services = run.orchestrator, *run.replicas
        for service in services:
            service.signal(signal.SIGTERM)
        for service in services:
            assert service.process.wait(10) == 0, service.log_tail()
        assert run.read("run.json")["state"] == "stopped"
        run.open_gate("worker")
        # The worker reports that its peers are gone; it does not hang.
        run.wait_exit("worker", code=1)
        assert "has been unreachable since" in run.workers["worker"].log_tail()


def test_a_worker_without_an_orchestrator_names_the_address_that_it_tried(tmp_path: Path) -> None:
    address = free_address()
    script = tmp_path / "impatient.py"
    script.write_text(
        "import torch, pangea\nmodel = torch.nn.Linear(64, 10)\npangea.join(model, torch.optim.SGD(model.parameters(),"
        " lr=1.0), timeout=1.0)\n"
    )
    with cluster(tmp_path / "cluster") as run:
        run.start_worker("lost", script=script, PANGEA_ORCHESTRATOR=address)
        run.wait_exit("lost", code=1)
        assert address in run.workers["lost"].log_tail()
