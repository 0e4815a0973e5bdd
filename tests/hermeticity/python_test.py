"""The interpreter, its modules and the C library are those of the toolchain."""

import importlib
import pkgutil
import sys
from pathlib import Path

import pytest


def of_the_build(path: str) -> bool:
    """Whether the file is the build's: it lies in an output tree, a sandbox or the repositories."""
    return any(part in ("execroot", "external", "sandbox") or part.endswith(".runfiles") for part in Path(path).parts)


def test_the_interpreter_is_the_toolchains() -> None:
    assert sys.version_info[:2] == (3, 13)
    assert of_the_build(sys.executable)
    assert of_the_build(sys.prefix)


def test_every_import_path_is_the_builds() -> None:
    assert [entry for entry in sys.path if entry and not of_the_build(entry)] == []


@pytest.mark.parametrize("name", ["torch", "numpy", "pytest", "json", "ssl"])
def test_modules_come_from_the_build(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert of_the_build(file)


def test_no_module_of_the_machine_can_be_found() -> None:
    found = {module.name: module.module_finder.path for module in pkgutil.iter_modules()}  # type: ignore[union-attr]
    assert "torch" in found
    assert {name: place for name, place in found.items() if not of_the_build(place)} == {}


def test_no_library_of_the_machine_is_loaded() -> None:
    importlib.import_module("torch")
    mapped = {line.split(maxsplit=5)[5] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    assert mapped
    assert sorted(path.strip() for path in mapped if not of_the_build(path)) == []
