"""A Go workspace, in which gopls and `go` find the generated binding.

The binding's import path lies inside of our own module, where no such folder exists. A second module with that path,
joined by go.work, provides it; go.mod and the build do not change.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path


class GoModError(Exception):
    """go.mod does not say what the workspace needs."""


def write(workspace: Path, folder: Path, import_path: str, sources: list[Path], requires: list[str]) -> list[Path]:
    """Writes go.work at the root, and the module of the binding into a folder below it.

    Args:
        workspace: its root, which has go.mod.
        folder: for the module; replaced as a whole.
        import_path: of the binding.
        sources: the generated files.
        requires: paths of the modules that they import, in the versions of go.mod.
    Returns:
        what was written.
    Raises:
        GoModError: go.mod has no version of Go, or not of a required module.
    """
    text = (workspace / "go.mod").read_text()
    go = re.search(r"^go (\S+)$", text, re.MULTILINE)
    if go is None:
        raise GoModError(f"{workspace / 'go.mod'} has no line `go VERSION`")
    versions = [(module, _version(text, module)) for module in requires]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = [
        f"module {import_path}",
        "",
        f"go {go[1]}",
        "",
        *(f"require {module} {found}" for module, found in versions),
    ]
    module_file = folder / "go.mod"
    module_file.write_text("\n".join(lines) + "\n")
    written = [module_file]
    for source in sources:
        written.append(folder / source.name)
        shutil.copyfile(source, written[-1])
    work = workspace / "go.work"
    work.write_text(
        f"// Written by ./bazelw run //tools/ide; the build does not read it.\ngo {go[1]}\n\nuse"
        f" (\n\t.\n\t./{folder.relative_to(workspace)}\n)\n"
    )
    return [*written, work]


def _version(text: str, module: str) -> str:
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise GoModError(f"go.mod does not require {module}, which the generated binding imports")
    return found[1]
