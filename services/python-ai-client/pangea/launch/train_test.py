"""A run that cannot start leaves no run directory behind."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pangea.launch.outcome import Listeners
from pangea.launch.settings import Settings
from pangea.launch.train import train
from pangea.services.child import ChildFailed
from pangea.services.stopping import StopRequest
from pangea.torch_version import MissingTorch


def start(folder: Path, **options: object) -> None:
    script = folder / "train.py"
    script.touch()
    settings = Settings(script, run_dir=str(folder / "run"), **options)  # type: ignore[arg-type]
    train(settings, Listeners(lambda line, total: None, lambda event: None), StopRequest())


def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingTorch, match="pip install torch"):
        start(tmp_path)
    assert not (tmp_path / "run").exists()


def test_on_a_machine_without_the_arithmetic_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ChildFailed, match="avx1024"):
        start(tmp_path, arithmetic="avx1024")
    assert not (tmp_path / "run").exists()
