"""The commands, variables and probes of infra/kubernetes, tried on the real programs; and what Prometheus finds."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from pangea.places import program, python_environment
from pangea.services.child import Child
from pangea.services.programs import start_data_service
from tests.harness.pages import http_get
from tests.infra.defaults import differing_options
from tests.infra.kubernetes.manifests import Manifest, build, containers, pod_labels, pods
from tools.processes.ports import free_address
from tools.processes.waiting import PATIENCE_SECONDS, eventually

BUILT = build()
PODS = pods(BUILT)
ORCHESTRATOR, DATA, WORKER = PODS
(RUN,) = (manifest["data"] for manifest in BUILT if manifest["kind"] == "ConfigMap")


def filled(arguments: list[str], variables: dict[str, str]) -> list[str]:
    """The arguments with each $(NAME) replaced. An unknown name is an error here, which the kubelet does not report."""
    return [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], argument) for argument in arguments]


def variables(manifest: Manifest) -> dict[str, str]:
    """The environment of the container in a manifest."""
    (container,) = containers(manifest)
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        assert source == {"configMapRef": {"name": "run"}}
        given |= RUN
    for entry in container.get("env", []):
        value = entry.get("valueFrom", {})
        if "configMapKeyRef" in value:
            assert value["configMapKeyRef"]["name"] == "run"
            given[entry["name"]] = RUN[value["configMapKeyRef"]["key"]]
        elif "fieldRef" in value:
            assert value["fieldRef"] == {"fieldPath": "metadata.name"}
            given[entry["name"]] = "python-worker-0"
        else:
            given[entry["name"]] = entry["value"]
    return given


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Stops the process in the end, as a kubelet does."""
    try:
        yield child
    finally:
        child.signal(signal.SIGTERM)
        try:
            child.process.wait(PATIENCE_SECONDS)
        finally:
            child.process.kill()


def answers(manifest: Manifest, address: str) -> bool:
    """Whether all probes of the container succeed."""
    (container,) = containers(manifest)
    paths = {container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    return all(http_get(address, path)[0] == 200 for path in paths)


def test_a_run_of_the_manifests_starts_and_its_probes_succeed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "logs").mkdir(parents=True)
    (orchestrator,), (worker,) = containers(ORCHESTRATOR), containers(WORKER)
    assert orchestrator["command"] == ["/usr/bin/go-orchestrator"]
    ports = run_dir / "logs" / "ports.json"
    arguments = filled(orchestrator["args"], variables(ORCHESTRATOR))
    # The last value of a flag wins.
    elsewhere = ["--listen=127.0.0.1:0", "--http=127.0.0.1:0", f"--run-dir={run_dir}", f"--port-file={ports}"]
    served = Child(
        "orchestrator", [str(program("go-orchestrator")), *arguments, *elsewhere], run_dir / "logs" / "orchestrator.log"
    )
    with running(served), running(start_data_service(run_dir, "data", "digits")) as data:
        addresses = served.wait_ready(ports, PATIENCE_SECONDS)
        batches = data.wait_ready(run_dir / "logs" / "data.ports.json", PATIENCE_SECONDS)
        assert answers(ORCHESTRATOR, addresses["http"])
        eventually(lambda: answers(DATA, batches["http"]), "the data service is ready")
        http = free_address()
        # There is no identity here: everything is on the loopback.
        in_cluster = {name: value for name, value in variables(WORKER).items() if name != "PANGEA_IDENTITY"}
        given = in_cluster | {
            "PANGEA_ORCHESTRATOR": addresses["listen"],
            "PANGEA_DATA": batches["listen"],
            "PANGEA_HTTP": http,
            "PANGEA_RUN_DIR": str(run_dir),
        }
        joined = Child(
            "worker",
            [sys.executable, "-m", "pangea", *worker["args"]],
            run_dir / "logs" / "worker.log",
            {**python_environment(), **given},
        )
        with running(joined):
            eventually(lambda: answers(WORKER, http) or joined.exit_code() is not None, "the worker is ready")
            assert joined.exit_code() is None, joined.log_tail(30)
            assert '"name":"python-worker-0"' in http_get(addresses["http"], "/status")[1]
        # An error: a drained worker has not completed, and the Job has to replace it.
        assert joined.exit_code() == 128 + signal.SIGTERM, joined.log_tail(30)
    assert served.exit_code() == 0, served.log_tail()


def test_the_services_that_workers_connect_to_exist() -> None:
    services = {
        manifest["metadata"]["name"]: [port["port"] for port in manifest["spec"]["ports"]]
        for manifest in BUILT
        if manifest["kind"] == "Service"
    }
    given = variables(WORKER)
    for variable in ("PANGEA_ORCHESTRATOR", "PANGEA_DATA"):
        host, _, port = given[variable].rpartition(":")
        assert int(port) in services[host]
    assert {"PANGEA_RUN_DIR": "/results", "PANGEA_HTTP": "0.0.0.0:8082"}.items() <= given.items()


def test_the_flags_of_the_orchestrator_fit_its_container() -> None:
    (container,) = containers(ORCHESTRATOR)
    flags = dict(argument.removeprefix("--").split("=") for argument in container["args"])
    assert [flags["listen"], flags["http"]] == [f"0.0.0.0:{port['containerPort']}" for port in container["ports"]]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    assert int(flags["max-memory-bytes"]) * 6 // 5 <= limit
    assert os.path.dirname(flags["run-dir"]) == container["volumeMounts"][0]["mountPath"]


@pytest.mark.parametrize("manifest", PODS, ids=lambda manifest: manifest["kind"])
def test_prometheus_finds_the_pod_and_names_its_job_as_the_rules_do(manifest: Manifest) -> None:
    (scrape,) = yaml.safe_load(Path("infra/prometheus/prometheus-kubernetes.yaml").read_text())["scrape_configs"]
    keep, job, *_ = scrape["relabel_configs"]
    labels = {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', label)}": value
        for label, value in pod_labels(manifest).items()
    }
    found = []
    for port in containers(manifest)[0]["ports"]:
        known = {**labels, "__meta_kubernetes_pod_container_port_name": port["name"]}
        if keep["action"] == "keep" and re.fullmatch(
            keep["regex"], ";".join(known[label] for label in keep["source_labels"])
        ):
            found.append((port["containerPort"], job["replacement"].replace("$1", known[job["source_labels"][0]])))
    (target,) = found
    assert job["target_label"] == "job"
    assert (
        target
        == {
            "StatefulSet": (8081, "pangea-orchestrator"),
            "Deployment": (9091, "pangea-data"),
            "Job": (8082, "pangea-worker"),
        }[manifest["kind"]]
    )


def test_the_options_of_the_run_are_those_of_every_run() -> None:
    assert differing_options(filled(containers(ORCHESTRATOR)[0]["args"], variables(ORCHESTRATOR))) == {}
