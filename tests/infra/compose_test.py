"""infra/docker-compose.yaml fits the programs: their flags, variables, ports and health checks are the real ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pangea.commands.main import main
from pangea.identity.authority import holder_of, read_certificate
from pangea.places import program
from tests.infra.defaults import differing_options

FILE = Path("infra/docker-compose.yaml")
WORKERS = ("python-worker-1", "python-worker-2")
SERVICES = ("go-orchestrator", "rust-compute", *WORKERS)


def filled(text: str) -> str:
    """The text with each ${NAME:-default} replaced by its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


STACK: dict[str, Any] = yaml.safe_load(filled(FILE.read_text()))
IDENTITY: dict[str, Any] = yaml.safe_load(filled(Path("infra/docker-compose.identity.yaml").read_text()))


def help_of(name: str) -> str:
    return subprocess.run([str(program(name)), "--help"], capture_output=True, text=True, check=True).stdout


def test_the_stack_is_an_orchestrator_the_data_service_and_two_workers() -> None:
    assert sorted(STACK["services"]) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_restarted_probed_limited_and_confined(name: str) -> None:
    service = STACK["services"][name]
    assert service["restart"] == "on-failure"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["pids_limit"] and service["logging"]["options"] == {"max-size": "20m", "max-file": "3"}
    assert service["image"] == f"localhost/pangea/{'python-ai-client' if name in WORKERS else name}:latest"


def test_the_orchestrator_has_the_flags_that_it_is_given() -> None:
    known = set(re.findall(r"^  -([\w-]+)", help_of("go-orchestrator"), re.MULTILINE))
    given = [re.fullmatch(r"--([\w-]+)=.+", word) for word in STACK["services"]["go-orchestrator"]["command"]]
    assert all(given)
    assert {flag[1] for flag in given if flag} <= known


def test_the_memory_of_the_orchestrator_fits_its_container() -> None:
    service = STACK["services"]["go-orchestrator"]
    flags = dict(word.removeprefix("--").split("=", 1) for word in service["command"])
    limit = int(service["deploy"]["resources"]["limits"]["memory"].removesuffix("G")) << 30
    assert int(flags["max-memory-bytes"]) * 6 // 5 <= limit


@pytest.mark.parametrize("name", SERVICES)
def test_logs_cannot_fill_the_disk(name: str) -> None:
    assert STACK["services"][name]["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize(("name", "ports"), [("go-orchestrator", ("8080", "8081")), ("rust-compute", ("9090", "9091"))])
def test_ports_are_published_on_the_loopback_only(name: str, ports: tuple[str, ...]) -> None:
    assert STACK["services"][name]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]


@pytest.mark.parametrize("name", WORKERS)
def test_a_workers_variables_are_options_of_pangea_worker(name: str) -> None:
    text = CliRunner().invoke(main, ["worker", "--help"]).output
    environment = STACK["services"][name]["environment"]
    assert environment["PANGEA_WORKER_NAME"] == name
    # PANGEA_IDENTITY is in the file that is put over this one.
    with_identity = IDENTITY["services"][name]["environment"]
    assert {*environment, *with_identity} == set(re.findall(r"PANGEA_\w+", text))
    addresses = [environment[variable].rpartition("|")[2] for variable in ("PANGEA_ORCHESTRATOR", "PANGEA_DATA")]
    hosts = [address.split(":")[0] for address in addresses]
    assert set(hosts) == set(STACK["services"][name]["depends_on"])


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_reaches_the_orchestrator_by_the_socket_in_the_volume(name: str) -> None:
    command = STACK["services"]["go-orchestrator"]["command"]
    (path,) = [word.removeprefix("--socket=") for word in command if word.startswith("--socket=")]
    assert path.startswith("/runs/")
    assert STACK["services"][name]["environment"]["PANGEA_ORCHESTRATOR"].startswith(f"unix:{path}|")


@pytest.mark.parametrize("name", SERVICES)
def test_the_run_outlives_its_containers(name: str) -> None:
    mounted = STACK["services"][name].get("volumes", [])
    assert mounted == ([] if name == "rust-compute" else ["runs:/runs"])
    assert "runs" in STACK["volumes"]


def test_the_options_of_the_run_are_those_of_every_run() -> None:
    assert differing_options(STACK["services"]["go-orchestrator"]["command"]) == {}


@pytest.mark.parametrize("name", SERVICES)
def test_without_certificates_everybody_in_the_network_is_let_in_explicitly(name: str) -> None:
    assert STACK["services"][name]["environment"]["PANGEA_INSECURE"] == "1"
    assert IDENTITY["services"][name]["environment"]["PANGEA_INSECURE"] == "0"


def test_each_container_gets_one_of_the_identities_that_are_made_before(tmp_path: Path) -> None:
    (_mount,) = IDENTITY["services"]["certificates"]["volumes"]
    verb, *words = IDENTITY["services"]["certificates"]["command"]
    made = CliRunner().invoke(main, [verb, *(word.replace("/runs", str(tmp_path)) for word in words)])
    assert made.exit_code == 0, made.output
    assert IDENTITY["services"].keys() == {*SERVICES, "certificates"}
    for name in SERVICES:
        service = IDENTITY["services"][name]
        folder = service["environment"]["PANGEA_IDENTITY"]
        certificate = read_certificate((tmp_path / folder.removeprefix("/runs/") / "certificate.pem").read_bytes())
        role = {"go-orchestrator": "orchestrator", "rust-compute": "data"}.get(name, "worker")
        assert str(holder_of(certificate).role) == role
        assert service["depends_on"]["certificates"] == {"condition": "service_completed_successfully"}
        assert [mount.split(":")[:2] for mount in service.get("volumes", STACK["services"][name].get("volumes"))] == [
            ["runs", "/runs"]
        ]


def test_the_memory_of_go_is_below_the_limit_of_its_container() -> None:
    service = STACK["services"]["go-orchestrator"]
    assert (service["environment"]["GOMEMLIMIT"], service["deploy"]["resources"]["limits"]["memory"]) == (
        "4608MiB",
        "5G",
    )
