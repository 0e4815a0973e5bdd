"""A run in one pod: Kubernetes accepts the manifest, its pod is confined, and its programs train through the sockets of
the volume."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from pangea.places import data_folder, program, python_environment
from pangea.services.child import Child, wait_for
from tests.infra.kubernetes.manifests import FOLDER, VERSIONS, Manifest, build, containers, pod, pods, read
from tools.processes.waiting import PATIENCE_SECONDS, eventually

JOB, CLAIM = read(FOLDER / "one-pod.yaml")
POD = pod(JOB) or {}
SERVICES = list(POD["initContainers"])
WORKERS = containers(JOB)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [JOB, CLAIM], ids=["job", "claim"])
def test_kubernetes_accepts_it(manifest: Manifest, version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_pod_is_as_confined_as_those_of_the_other_manifests() -> None:
    orchestrator = pods(build())[0]
    assert POD["securityContext"] == (pod(orchestrator) or {})["securityContext"]
    assert {next(kind for kind in volume if kind != "name") for volume in POD["volumes"]} == {
        "persistentVolumeClaim",
        "emptyDir",
    }
    for container in [*SERVICES, *WORKERS]:
        assert container["securityContext"] == containers(orchestrator)[0]["securityContext"]
        assert container["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}
        assert "ports" not in container, "without certificates, nothing may listen beyond the loopback"
        assert {"name": "sockets", "mountPath": "/sockets"} in container["volumeMounts"]


def test_services_run_until_the_workers_have_ended() -> None:
    assert [service["name"] for service in SERVICES] == ["go-orchestrator", "rust-compute"]
    for service in SERVICES:
        assert service["restartPolicy"] == "Always" and "startupProbe" in service
    assert len({worker["name"] for worker in WORKERS}) == len(WORKERS) >= 2


@pytest.fixture
def volumes() -> Iterator[Path]:
    """A folder for the volumes. The path of a socket is short, which that of a test's own folder is not."""
    with tempfile.TemporaryDirectory(prefix="pod") as folder:
        for name in ("runs", "sockets"):
            (Path(folder) / name).mkdir()
        yield Path(folder)


def at(volumes: Path, text: str) -> str:
    """An argument or a variable, with the volumes mounted elsewhere, free ports, and one epoch."""
    for name in ("runs", "sockets"):
        text = text.replace(f"/{name}/", f"{volumes}/{name}/")
    for port in ("8080", "8081", "9090", "9091"):
        text = text.replace(f"127.0.0.1:{port}", "127.0.0.1:0")
    return text.replace("--epochs=10", "--epochs=1")


def test_its_programs_train_through_the_sockets(volumes: Path) -> None:
    started: list[Child] = []
    try:
        for service in SERVICES:
            arguments = [at(volumes, argument) for argument in service["args"]]
            command = [str(program(service["name"])), *arguments]
            # The images have the digits where the program looks for them.
            data = {"PANGEA_DATA_DIR": str(data_folder())}
            started.append(Child(service["name"], command, volumes / f"{service['name']}.log", {**os.environ, **data}))
        sockets = [volumes / "sockets" / f"{name}.sock" for name in ("orchestrator", "rust-compute")]
        eventually(
            lambda: all(socket.is_socket() for socket in sockets) or any(child.exit_code() for child in started),
            "both sockets are there",
        )
        assert all(socket.is_socket() for socket in sockets), [child.log_tail() for child in started]
        for worker in WORKERS:
            given = {entry["name"]: at(volumes, entry["value"]) for entry in worker["env"]}
            # Without the address after the socket's: TCP must not be needed.
            given |= {name: given[name].split("|")[0] for name in ("PANGEA_ORCHESTRATOR", "PANGEA_DATA")}
            command = [sys.executable, "-m", "pangea", *worker["args"]]
            started.append(
                Child(worker["name"], command, volumes / f"{worker['name']}.log", {**python_environment(), **given})
            )
        workers = started[len(SERVICES) :]
        wait_for(lambda: all(child.exit_code() is not None for child in workers) or None, PATIENCE_SECONDS)
        for child in workers:
            assert child.exit_code() == 0, child.log_tail(30)
        assert (volumes / "runs" / "run" / "final.safetensors").is_file()
    finally:
        for child in started:
            child.stop()
