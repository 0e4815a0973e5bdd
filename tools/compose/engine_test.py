"""Which engine is taken, with programs that answer like the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.compose.engine import NoEngine, find_engine


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_docker_with_an_engine_and_compose_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "docker", "exit 0")
    program(tmp_path, "podman", "exit 0")
    assert find_engine() == "docker"


@pytest.mark.parametrize("missing", ["info", "compose"])
def test_a_docker_client_without_its_engine_or_compose_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "docker", f'[ "$1" != {missing} ]')
    program(tmp_path, "podman", "exit 0")
    assert find_engine() == "podman"


def test_without_any_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoEngine, match="apt-get install podman"):
        find_engine()
