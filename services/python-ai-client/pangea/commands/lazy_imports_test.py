"""Commands that do not compute do not import torch; the names of the training API are imported when they are used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import pangea
from pangea.places import python_environment

# Runs the command, and prints whether torch was imported.
_PROBE = """
import json, sys
from pangea.commands.main import main
try:
    main(json.loads(sys.argv[1]), prog_name="pangea")
except SystemExit as end:
    print(json.dumps({"exit_code": end.code, "torch": "torch" in sys.modules}))
"""


def run(*arguments: str) -> dict[str, object]:
    result = subprocess.run(
        [sys.executable, "-c", _PROBE, json.dumps(arguments)],
        env=python_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--help"], 0),
        (["train", "--shards", "6"], 2),
        (["train", "--resume", "/nowhere"], 1),
        (["status", "/nowhere"], 1),
        (["audit", "/nowhere"], 1),
        (["health", "nonsense:port"], 1),
        (["worker"], 2),
    ],
)
def test_a_command_that_does_not_compute_does_not_import_torch(arguments: list[str], exit_code: int) -> None:
    assert run(*arguments) == {"exit_code": exit_code, "torch": False}


def test_the_probe_detects_an_import_of_torch() -> None:
    assert run("export", "/nowhere", "-o", "/nowhere/weights") == {"exit_code": 1, "torch": True}


def test_every_public_name_comes_from_the_module_that_defines_it() -> None:
    for name in pangea.__all__:
        value = getattr(pangea, name)
        assert value is getattr(importlib.import_module(f"pangea.{pangea._MODULES[name]}"), name)
        assert name in dir(pangea)
    assert set(pangea._MODULES) == set(pangea.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'joint'"):
        pangea.joint  # noqa: B018
