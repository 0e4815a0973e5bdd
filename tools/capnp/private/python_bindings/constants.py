"""Writes the constants and enums of a schema as a module that needs no pycapnp."""

from __future__ import annotations

import re
from typing import Any

from tools.capnp.private.python_bindings.request import Request

_HEADER = '''"""Constants and enums of {name}, without its messages: no pycapnp is needed."""

import enum
from typing import Final
'''
# The types of constants that have a literal in Python.
_TYPES = {
    "bool": "bool",
    **{f"{sign}int{bits}": "int" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "float",
    "float64": "float",
    "text": "str",
    "data": "bytes",
}


def constants_text(request: Request, name: str) -> str:
    """Python source of the module for one file of the request.

    Args:
        request: the compiled schema.
        name: of the schema file, relative to its package.
    Returns:
        the module's text: constants in the order of the schema, then enums. What stands inside a struct carries the
        struct's name, as in `SHAPE_MAX_POINTS` and `ShapeStyle`.
    """
    constants: list[str] = []
    enums: list[str] = []
    _collect(request, request.files[name], constants, enums)
    return "\n\n".join([_HEADER.format(name=name) + "\n" + "".join(constants), *enums]).rstrip("\n") + "\n"


def upper_snake(name: str) -> str:
    """`maxShards` as `MAX_SHARDS`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def _collect(request: Request, scope: int, constants: list[str], enums: list[str]) -> None:
    for _, node in request.children(scope):
        path = request.path_of(node.id)
        kind = node.which()
        if kind == "const":
            name = "_".join(upper_snake(part) for part in path.split("."))
            constants.append(f"{name}: Final = {_literal(path, node.const)}\n")
        elif kind == "enum":
            members = (
                f"    {upper_snake(str(member.name))} = {at}\n" for at, member in enumerate(node.enum.enumerants)
            )
            enums.append(f"class {path.replace('.', '')}(enum.IntEnum):\n" + "".join(members))
        elif kind == "struct":
            _collect(request, node.id, constants, enums)


def _literal(path: str, const: Any) -> str:
    which = str(const.type.which())
    if which not in _TYPES:
        raise SystemExit(
            f"constant {path} is of type {which}, which has no Python literal; use the bindings of py_capnp_library"
            " for it"
        )
    value = getattr(const.value, which)
    if _TYPES[which] == "float" and repr(float(value)) in ("inf", "-inf", "nan"):
        return f'float("{value}")'
    return repr(bytes(value) if which == "data" else value)
