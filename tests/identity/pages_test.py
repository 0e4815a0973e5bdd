"""Services that other machines can reach: not without an identity, and their pages only for members of the run."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pangea.places import data_folder, program
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR, data_service_name
from pangea.services.child import Child
from tests.harness.processes import kill
from tests.identity.people import People
from tools.processes.waiting import PATIENCE_SECONDS, eventually


def command(service: str, folder: Path) -> list[str]:
    """The service on all interfaces, on free ports."""
    flags = ["--listen", "0.0.0.0:0", "--http", "0.0.0.0:0", "--port-file", str(folder / "ports")]
    if service == ORCHESTRATOR:
        return [str(program(ORCHESTRATOR)), "--run-dir", str(folder / "run"), *flags]
    return [str(program(DATA_SERVICE)), "--dataset", "digits", "--data-dir", str(data_folder()), *flags]


@pytest.mark.parametrize("service", [ORCHESTRATOR, DATA_SERVICE])
def test_a_service_without_an_identity_listens_to_its_machine_only(service: str, tmp_path: Path) -> None:
    ended = subprocess.run(command(service, tmp_path), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 1
    assert "can be reached from other machines, and this process has no identity" in ended.stderr
    assert "`pangea certs`" in ended.stderr and "--insecure" in ended.stderr
    # Asked for explicitly, it does, and says so.
    explicit: list[tuple[dict[str, str], list[str]]] = [({"PANGEA_INSECURE": "1"}, []), ({}, ["--insecure"])]
    for environment, flags in explicit:
        with started(service, tmp_path, environment, *flags) as child:
            assert "insecure: whoever reaches a port" in "\n".join(child.output())


@pytest.mark.parametrize("service", [ORCHESTRATOR, DATA_SERVICE])
def test_an_empty_variable_is_as_good_as_none(service: str, tmp_path: Path) -> None:
    names = ("IDENTITY", "INSECURE", "DATA_DIR", "MAX_DATA_BYTES", "CRASH_AT", "BIN_DIR")
    empty = {**os.environ, **{f"PANGEA_{name}": "" for name in names}}
    there = ["127.0.0.1:0" if word == "0.0.0.0:0" else word for word in command(service, tmp_path)]
    child = Child(service, there, tmp_path / "log", empty)
    try:
        child.wait_ready(tmp_path / "ports", PATIENCE_SECONDS)
    finally:
        kill(child)
    # As without them, nobody else is let in, and what is neither yes nor no is refused.
    for environment, words in (({}, "has no identity"), ({"PANGEA_INSECURE": "perhaps"}, "must be 1 or 0")):
        ended = subprocess.run(
            command(service, tmp_path), capture_output=True, text=True, timeout=60, env={**empty, **environment}
        )
        assert ended.returncode in {1, 2} and words in ended.stderr, ended.stderr


@contextmanager
def started(service: str, folder: Path, environment: dict[str, str], *flags: str) -> Iterator[Child]:
    """The service, once it is ready."""
    (folder / "ports").unlink(missing_ok=True)
    child = Child(service, [*command(service, folder), *flags], folder / "log", {**os.environ, **environment})
    try:
        child.wait_ready(folder / "ports", PATIENCE_SECONDS)
        yield child
    finally:
        kill(child)


def get(folder: Path, path: str, people: People, who: str = "", token: str = "") -> int:
    """The status code of a page."""
    context = ssl.create_default_context(cafile=str(people.folder / "worker-1" / "authority.pem"))
    # The service is known by its role, which is also a name in its certificate; this test goes by the address.
    context.check_hostname = False
    if who:
        context.load_cert_chain(people.folder / who / "certificate.pem", people.folder / who / "key.pem")
    address = json.loads((folder / "ports").read_text())["http"]
    request = urllib.request.Request(f"https://{address}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_pages_are_encrypted_and_the_status_is_for_members(people: People, tmp_path: Path) -> None:
    people.issue("looks", "viewer")
    people.issue("leads", "admin")
    with started(ORCHESTRATOR, tmp_path, {"PANGEA_IDENTITY": str(people.folder / ORCHESTRATOR)}):
        for path in ("/healthz", "/metrics"):
            assert get(tmp_path, path, people) == 200
        found = {
            "stranger": get(tmp_path, "/status", people),
            "another token": get(tmp_path, "/status", people, token="x"),
            "token": get(tmp_path, "/status", people, token=people.token),
            "worker": get(tmp_path, "/status", people, "worker-1"),
            "viewer": get(tmp_path, "/status", people, "looks"),
            "admin": get(tmp_path, "/status", people, "leads"),
        }
    assert found == {"stranger": 401, "another token": 401, "token": 200, "worker": 401, "viewer": 200, "admin": 200}


@pytest.mark.parametrize(("service", "name"), [(ORCHESTRATOR, ORCHESTRATOR), (DATA_SERVICE, data_service_name(1))])
def test_probes_reach_encrypted_pages(people: People, service: str, name: str, tmp_path: Path) -> None:
    identity = {**os.environ, "PANGEA_IDENTITY": str(people.folder / name)}
    with started(service, tmp_path, identity):
        assert get(tmp_path, "/metrics", people) == 200
        address = json.loads((tmp_path / "ports").read_text())["http"]

        def alive() -> bool:
            return subprocess.run([str(program(service)), "health", address], env=identity).returncode == 0

        eventually(alive, "the probe succeeds")
