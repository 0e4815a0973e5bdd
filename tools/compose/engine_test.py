"""The choice of an engine, with programs that answer like the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.compose.engine import NoEngine, check_compose, check_names, find_engine


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that is on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_podman_comes_first_as_for_images(folder: Path) -> None:
    program(folder, "docker", "exit 0")
    program(folder, "podman", "exit 0")
    assert find_engine() == "podman"
    assert find_engine("docker") == "docker"


def test_docker_is_taken_where_podman_does_not_answer(folder: Path) -> None:
    program(folder, "docker", "exit 0")
    program(folder, "podman", "exit 125")
    assert find_engine() == "docker"


def test_the_wanted_engine_is_not_replaced_by_another(folder: Path) -> None:
    program(folder, "docker", "exit 0")
    with pytest.raises(NoEngine, match="PANGEA_ENGINE names podman"):
        find_engine("podman")


def test_docker_without_its_compose_plugin_is_told_from_no_docker(folder: Path) -> None:
    program(folder, "docker", '[ "$1" != compose ]')
    assert find_engine() == "docker"
    with pytest.raises(NoEngine, match="no compose plugin"):
        check_compose("docker")


def test_an_engine_with_a_compose_tool_is_taken(folder: Path) -> None:
    podman(folder, "netavark", "/usr/lib/podman/aardvark-dns")
    program(folder, "docker", "exit 0")
    check_compose("docker")
    check_compose("podman")


def podman(folder: Path, backend: str, dns: str) -> None:
    """One that has these networks, and says (newer ones) where its name service is; older ones do not know the question."""
    program(
        folder,
        "podman",
        f'case "$*" in *DNS.Path*) [ -n "{dns}" ] && echo {dns};; *NetworkBackend*) echo {backend};; esac',
    )


@pytest.mark.parametrize(
    ("backend", "helper", "package"),
    [
        ("netavark", "aardvark-dns", "aardvark-dns"),
        ("cni", "dnsname", "golang-github-containernetworking-plugin-dnsname"),
    ],
)
def test_a_podman_whose_containers_have_no_names_is_refused_with_what_to_install(
    folder: Path, backend: str, helper: str, package: str
) -> None:
    podman(folder, backend, "")
    with pytest.raises(NoEngine, match=f"need {helper}, .*apt-get install {package}"):
        check_names("podman", folder)
    there = folder / "usr/lib" / ("podman" if backend == "netavark" else "cni")
    there.mkdir(parents=True)
    (there / helper).touch()
    check_names("podman", folder)


def test_a_podman_that_says_where_its_name_service_is_is_believed(folder: Path) -> None:
    podman(folder, "netavark", "/opt/aardvark-dns")
    check_names("podman", folder)


def test_docker_and_networks_of_another_kind_are_not_judged(folder: Path) -> None:
    check_names("docker", folder)
    podman(folder, "other", "")
    check_names("podman", folder)


def test_without_any_the_user_is_told_what_to_install(folder: Path) -> None:
    program(folder, "docker", "exit 1")
    with pytest.raises(NoEngine, match="apt-get install podman"):
        find_engine()
