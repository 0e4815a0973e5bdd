"""Containers that a call leaves in the engine are found by the next one, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.setup.commands import Commands, StepFailed
from tools.setup.stack_containers import ContainerStack


def stack(folder: Path, monkeypatch: pytest.MonkeyPatch, containers: str) -> ContainerStack:
    """Over an engine that has these containers."""
    engine = folder / "podman"
    engine.write_text(f"#!/bin/sh\n[ \"$1\" = ps ] && printf '{containers}'\n")
    engine.chmod(0o755)
    made = ContainerStack(Commands(folder, folder / "logs"), folder, 1)
    monkeypatch.setattr(ContainerStack, "_engine", str(engine))
    return made


def test_containers_of_an_earlier_call_are_named_with_the_command_that_removes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        StepFailed,
        match=r"pangea-setup_rust-compute_1\); remove them: COMPOSE_PROJECT_NAME=pangea-setup ./bazelw run //tools/compose -- down -v",
    ):
        stack(tmp_path, monkeypatch, "pangea-setup_rust-compute_1\\n").validate()


def test_an_empty_engine_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack(tmp_path, monkeypatch, "").validate().endswith("podman")
