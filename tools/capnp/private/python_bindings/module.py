"""Writes the importable module of a schema."""

from __future__ import annotations

from tools.capnp.private.python_bindings.request import Request

_TEMPLATE = '''"""Bindings of {source}, loaded through pycapnp."""

import pathlib as _pathlib

import capnp as _capnp

# The schema and what it imports lie beside this module, at their places in the workspace.
_workspace = _pathlib.Path(__file__).parents[{depth}]
_schema = _capnp.load(str(_workspace / {source!r}), imports=[str(_workspace / path) for path in {import_paths!r}])

{names}
'''


def module_text(request: Request, name: str, package: str, import_paths: list[str]) -> str:
    """Python source of the module for one file of the request.

    Args:
        request: the compiled schema.
        name: of the schema file, relative to its package.
        package: folder of the package from the workspace's root.
        import_paths: folders, from the workspace's root, that absolute imports start at.
    Returns:
        the module's text; its names are the structs, enums and constants of the file.
    """
    source = f"{package}/{name}" if package else name
    names = [
        child for child, node in request.children(request.files[name]) if node.which() in ("struct", "enum", "const")
    ]
    return _TEMPLATE.format(
        source=source,
        depth=source.count("/"),
        import_paths=import_paths,
        names="\n".join(f"{child} = _schema.{child}" for child in names),
    )
