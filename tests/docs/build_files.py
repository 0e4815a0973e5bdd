"""Which targets the BUILD files declare.

Starlark is a subset of Python where it matters here: a BUILD file is executed with rules that only note their names, so that targets of a
list comprehension are found as well. A macro counts as one target, under the name that it was given, but for those in `_MACROS`.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.docs import workspace

# Macro -> what its targets have after the name that it was given.
_MACROS = {"service_image": ("_image", "_load", "_push", "_sbom")}


class _Rule:
    """Stands for whatever a BUILD file loads: called as a rule it notes names, as a list it is empty."""

    def __init__(self, found: set[str], endings: tuple[str, ...] = ("",)) -> None:
        self._found, self._endings = found, endings

    def __call__(self, *values: Any, **attributes: Any) -> _Rule:
        outputs = attributes.get("outs", [])
        names = [attributes.get("name"), attributes.get("out"), *(outputs if isinstance(outputs, list) else [])]
        # exports_files(["..."])
        names += [name for value in values if isinstance(value, list) for name in value]
        self._found.update(name + ending for name in names if isinstance(name, str) for ending in self._endings)
        return self

    def __getattr__(self, name: str) -> _Rule:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__


class _Lists(ast.NodeTransformer):
    """Makes lists of a dictionary's keys, values and items, as Starlark has them."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "values", "items"):
            return ast.copy_location(ast.Call(ast.copy_location(ast.Name("list", ast.Load()), node), [node], []), node)
        return node


def declared(text: str) -> set[str]:
    """Names of the targets that a BUILD file declares."""
    found: set[str] = set()
    tree = _Lists().visit(ast.parse(text))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    silent = _Rule(set())
    known: dict[str, Any] = {
        name: _Rule(found, _MACROS.get(name, ("",))) for name in names if not hasattr(builtins, name)
    }
    exec(compile(tree, "BUILD", "exec"), {**known, "glob": silent, "load": silent, "select": silent, "package": silent})
    return found


@cache
def packages() -> dict[str, set[str]]:
    """Targets by package; the root's is called by an empty string."""
    build_files = [
        Path(file)
        for file in workspace.files()
        if Path(file).name in ("BUILD", "BUILD.bazel") and not file.startswith("tools/registry/stubs/")
    ]
    return {
        "" if file.parent == Path() else str(file.parent): declared(workspace.read(str(file))) for file in build_files
    }


def is_declared(label: str) -> bool:
    """Whether there is such a target of this workspace, or for a pattern (`//x:all`, `//x/...`) at least one package."""
    package, _, name = label.removeprefix("//").partition(":")
    if package == "..." or package.endswith("/..."):
        under = package.removesuffix("...")
        return any(f"{known}/".startswith(under) for known in packages())
    if package not in packages():
        return False
    if name == "all":
        return True
    name = name or package.rpartition("/")[2]
    return name in packages()[package] or f"{package}/{name}".lstrip("/") in workspace.files()
