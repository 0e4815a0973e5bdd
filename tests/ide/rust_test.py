"""rust-project.json names sources that exist, and dependencies that are the crates which the sources use."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tools.ide.rust_project import project, read

_RUNFILES = Path.cwd().parent
_INCLUDES = re.compile(r'^\s*include!\(concat!\(env!\("OUT_DIR"\)', re.MULTILINE)


def in_runfiles(path: str) -> str:
    """Where a path of a description lies in the runfiles of this test."""
    inside = re.sub(r"^(__EXEC_ROOT__|\$\{pwd\})/", "", path)
    inside = re.sub(r"^bazel-out/[^/]+/bin/", "", inside)
    if inside.startswith("external/"):
        return str(_RUNFILES / inside.removeprefix("external/"))
    return str(_RUNFILES / "_main" / inside)


@pytest.fixture(scope="module")
def crates() -> list[dict[str, Any]]:
    """The crates of rust-project.json."""
    descriptions = read([Path(file) for file in os.environ["CRATES"].split()])
    found: list[dict[str, Any]] = project(descriptions, Path("/rust"), in_runfiles)["crates"]
    return found


def test_crates_of_every_kind_are_there(crates: list[dict[str, Any]]) -> None:
    members = {crate["display_name"] for crate in crates if crate["is_workspace_member"]}
    assert {"pangea_order", "pangea_wire", "tensor_rust_capnp"} <= members
    assert len(crates) > 15
    assert any(crate["is_proc_macro"] for crate in crates)


def test_all_sources_exist(crates: list[dict[str, Any]]) -> None:
    assert [crate["root_module"] for crate in crates if not Path(crate["root_module"]).is_file()] == []
    results = {crate["env"].get("OUT_DIR") for crate in crates}
    folders = {folder for crate in crates for folder in crate["source"]["include_dirs"]} - results
    assert [folder for folder in folders if not Path(folder).is_dir()] == []


def test_procedural_macros_are_built(crates: list[dict[str, Any]]) -> None:
    macros = [crate["proc_macro_dylib_path"] for crate in crates if crate["is_proc_macro"]]
    assert [macro for macro in macros if not Path(macro).is_file()] == []


def test_results_of_build_scripts_exist_where_sources_include_them(crates: list[dict[str, Any]]) -> None:
    # A sandbox leaves out empty folders, so a script that wrote nothing cannot be looked for.
    included = [
        crate["env"]["OUT_DIR"]
        for crate in crates
        if "OUT_DIR" in crate["env"]
        and any(_INCLUDES.search(file.read_text()) for file in Path(crate["root_module"]).parent.rglob("*.rs"))
    ]
    assert included
    assert [folder for folder in included if not Path(folder).is_dir()] == []


def test_dependencies_are_the_crates_that_the_sources_name(crates: list[dict[str, Any]]) -> None:
    for crate in crates:
        for dependency in crate["deps"]:
            assert 0 <= dependency["crate"] < len(crates)
    (wire,) = [crate for crate in crates if crate["display_name"] == "pangea_wire"]
    names = {dependency["name"]: crates[dependency["crate"]]["display_name"] for dependency in wire["deps"]}
    assert names["tensor_rust_capnp"] == "tensor_rust_capnp"
    sources = "".join(file.read_text() for file in Path(wire["root_module"]).parent.rglob("*.rs"))
    used = set(re.findall(r"^use (\w+)::", sources, re.MULTILINE)) - {"crate", "self", "super", "std", "core", "alloc"}
    assert used <= names.keys()
