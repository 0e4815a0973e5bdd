"""Which engine is taken, with programs that answer like the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.compose.engine import NoEngine, check_compose, find_engine


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
    program(folder, "docker", "exit 0")
    check_compose("docker")
    check_compose("podman")


def test_without_any_the_user_is_told_what_to_install(folder: Path) -> None:
    program(folder, "docker", "exit 1")
    with pytest.raises(NoEngine, match="apt-get install podman"):
        find_engine()
