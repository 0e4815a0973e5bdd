"""mypy finds the generated Python binding, with its types, by the generated configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.ide.main import BINDING_PACKAGE
from tools.ide.python_config import config, write_binding, write_config

_RIGHT = """
from schemas import tensor_capnp

limit: int = tensor_capnp.maxShards

def shape(tensor: tensor_capnp.Tensor.Reader) -> list[int]:
    return list(tensor.shape)
"""
_WRONG = """
from schemas import tensor_capnp

limit: str = tensor_capnp.maxShards
gone = tensor_capnp.Gone
"""


def mypy(file: Path, settings: Path) -> str:
    """What mypy says of a file, with the import paths of a pyrightconfig.json; empty if nothing."""
    paths = json.loads(settings.read_text())["extraPaths"]
    command = [os.environ.get("PANGEA_PYTHON", sys.executable), "-m", "mypy", "--strict", "--no-incremental"]
    command += ["--namespace-packages", "--explicit-package-bases", "--no-error-summary", str(file)]
    environment = {
        **os.environ,
        "MYPYPATH": os.pathsep.join(str(settings.parent / path) for path in paths),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    result = subprocess.run(
        command,
        cwd=settings.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.stdout


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A workspace with a folder `schemas` of its own, as ours has, and the binding beside it."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "tensor.capnp").touch()
    files = [Path(file) for file in os.environ["BINDING"].split()]
    write_binding(tmp_path / "generated" / "python", BINDING_PACKAGE, files)
    return write_config(tmp_path / "pyrightconfig.json", config("3.13", [".", "generated/python"], []))


def test_the_binding_is_found_with_its_types(settings: Path) -> None:
    (settings.parent / "right.py").write_text(_RIGHT)
    assert mypy(settings.parent / "right.py", settings) == ""


def test_a_wrong_use_of_the_binding_is_noticed(settings: Path) -> None:
    (settings.parent / "wrong.py").write_text(_WRONG)
    said = mypy(settings.parent / "wrong.py", settings)
    assert 'expression has type "int", variable has type "str"' in said
    assert 'has no attribute "Gone"' in said
