"""rust-project.json, from which rust-analyzer learns of crates that no Cargo.toml describes.

rules_rust writes a description of each crate; its own program that joins them needs crates that no registry of ours has,
so that is done here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_EXECROOT = "__EXEC_ROOT__/"
_PWD = "${pwd}/"
_OUTPUT_BASE = "__OUTPUT_BASE__/"


def real_path(workspace: Path, execroot: Path) -> Callable[[str], str]:
    """A function that turns a path of a description into one of this machine.

    Args:
        workspace: its root; paths without a placeholder are sources of ours.
        execroot: Bazel's execution root, such as <output base>/execroot/_main.
    """
    output_base = execroot.parents[1]

    def real(path: str) -> str:
        if path.startswith(_OUTPUT_BASE):
            return str(output_base / path.removeprefix(_OUTPUT_BASE))
        if path.startswith((_EXECROOT, _PWD)):
            inside = path.removeprefix(_EXECROOT).removeprefix(_PWD)
            # The execution root links only the repositories of the last build; the output base has them all.
            return str((output_base if inside.startswith("external/") else execroot) / inside)
        return str(workspace / path)

    return real


def merged(descriptions: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One description for each crate, by its id.

    A library and its unit test share a root file, and a crate is described once for each configuration that it is built
    in: dependencies, features and folders of all of them count.
    """
    found: dict[str, dict[str, Any]] = {}
    # Sorted, so that the file does not depend on the order of Bazel's events. A test comes behind its library.
    for description in sorted(
        descriptions, key=lambda each: (each["crate_id"], each["crate_type"] == "bin", str(each))
    ):
        known = found.setdefault(description["crate_id"], description)
        for field in ("deps", "cfg"):
            known[field] = list(dict.fromkeys([*known[field], *description[field]]))
        for field in ("include_dirs", "exclude_dirs"):
            folders = [*known["source"][field], *description["source"][field]]
            known["source"] = {**known["source"], field: list(dict.fromkeys(folders))}
        for field in ("aliases", "env"):
            known[field] = {**description[field], **known[field]}
        if "proc_macro_dylib_path" in description:
            known.setdefault("proc_macro_dylib_path", description["proc_macro_dylib_path"])
    return found


def project(descriptions: Iterable[dict[str, Any]], sysroot: Path, real: Callable[[str], str]) -> dict[str, Any]:
    """The content of rust-project.json.

    Args:
        descriptions: of the crates, as rules_rust writes them.
        sysroot: folder of the compiler, whose `lib/rustlib` has the standard library.
        real: as `real_path` gives it.
    """
    crates = merged(descriptions)
    numbers = {crate_id: number for number, crate_id in enumerate(crates)}
    return {
        "sysroot": str(sysroot),
        "crates": [
            {
                "display_name": crate["display_name"],
                "root_module": real(crate["root_module"]),
                "edition": crate["edition"],
                "deps": [
                    {"crate": numbers[dep], "name": crate["aliases"].get(dep, crates[dep]["display_name"])}
                    for dep in crate["deps"]
                    if dep in numbers
                ],
                "is_workspace_member": crate["is_workspace_member"],
                "source": {
                    "include_dirs": sorted({str(Path(real(crate["root_module"])).parent), *_folders(crate, real)}),
                    "exclude_dirs": [real(folder) for folder in crate["source"]["exclude_dirs"]],
                },
                "cfg": crate["cfg"],
                "target": crate["target"],
                "env": {name: _with_real_paths(value, real) for name, value in crate["env"].items()},
                "is_proc_macro": crate["crate_type"] == "proc-macro",
                **(
                    {"proc_macro_dylib_path": real(crate["proc_macro_dylib_path"])}
                    if "proc_macro_dylib_path" in crate
                    else {}
                ),
            }
            for crate in crates.values()
        ],
    }


def _folders(crate: dict[str, Any], real: Callable[[str], str]) -> list[str]:
    return [real(folder) for folder in crate["source"]["include_dirs"]]


def _with_real_paths(value: str, real: Callable[[str], str]) -> str:
    return real(value) if value.startswith((_EXECROOT, _PWD, _OUTPUT_BASE)) else value


def read(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The descriptions in files of rules_rust's."""
    return [json.loads(file.read_text()) for file in files]
