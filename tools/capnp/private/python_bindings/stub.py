"""Writes the typed stub (.pyi) of a schema."""

from __future__ import annotations

import textwrap
from typing import Any

from tools.capnp.private.python_bindings.request import Request

_SCALARS = {
    "void": "None",
    "bool": "builtins.bool",
    "int8": "builtins.int",
    "int16": "builtins.int",
    "int32": "builtins.int",
    "int64": "builtins.int",
    "uint8": "builtins.int",
    "uint16": "builtins.int",
    "uint32": "builtins.int",
    "uint64": "builtins.int",
    "float32": "builtins.float",
    "float64": "builtins.float",
    "text": "builtins.str",
    "data": "builtins.bytes",
}
_BYTES = "builtins.bytes | builtins.bytearray | builtins.memoryview"
_DICT = "builtins.dict[builtins.str, Any]"
# `discriminantValue` of a field that is not a union member.
_NO_DISCRIMINANT = 0xFFFF


class StubWriter:
    """Types for one file of a request."""

    def __init__(self, request: Request, name: str, modules: dict[int, str]) -> None:
        """Args:
        request: the compiled schema.
        name: of the schema file.
        modules: id of every importable file to the name of its Python module.
        """
        self._request = request
        self._file = request.files[name]
        self._modules = modules

    def text(self) -> str:
        """Returns the text of the stub."""
        body = self._declarations(self._file)
        imports = sorted(
            module for file, module in self._modules.items() if file != self._file and f"{module}." in body
        )
        header = [
            '"""Types of the generated bindings."""',
            "",
            # A field may be called `bytes`, which hides the type within its class.
            "import builtins",
            "from collections.abc import Sequence",
            "from contextlib import AbstractContextManager",
            "from typing import IO, Any, Literal",
            *(f"import {module}" for module in imports),
            "",
        ]
        return "\n".join(header) + "\n" + body

    def _declarations(self, scope: int) -> str:
        parts = []
        for name, node in self._request.children(scope):
            kind = node.which()
            if kind == "enum":
                parts.append(self._enum(name, node))
            elif kind == "struct":
                parts.append(self._struct(name, node))
            elif kind == "const":
                parts.append(f"{name}: {self._type(node.const.type, 'Reader')}\n")
        return "\n".join(parts)

    def _enum(self, name: str, node: Any) -> str:
        values = [str(value.name) for value in node.enum.enumerants]
        # A field holds a value that compares equal to its name; the class maps names to numbers.
        members = "\n".join(f"    {_safe(value)}: builtins.int" for value in values)
        return (
            f"{name}Name = Literal[{', '.join(repr(value) for value in values)}]\n\nclass"
            f" {name}:\n{members or '    ...'}\n"
        )

    def _reference(self, node_id: int) -> str:
        file = self._request.file_of(node_id)
        path = self._request.path_of(node_id)
        return path if file == self._file else f"{self._modules.get(file, '')}.{path}"

    def _type(self, kind: Any, view: str) -> str:
        """Python type of a schema type, as seen by a `view`: Reader or Builder."""
        which = str(kind.which())
        if which in _SCALARS:
            return _SCALARS[which]
        if which == "list":
            return f"Sequence[{self._type(kind.list.elementType, view)}]"
        if which == "enum":
            return self._reference(kind.enum.typeId) + "Name"
        if which == "struct":
            return f"{self._reference(kind.struct.typeId)}.{view}"
        return "Any"

    def _field_type(self, field: Any, view: str) -> str:
        if field.which() == "group":
            return f"{self._reference_group(field.group.typeId)}.{view}"
        return self._type(field.slot.type, view)

    def _reference_group(self, node_id: int) -> str:
        return self._reference(node_id)

    def _struct(self, name: str, node: Any) -> str:
        fields = list(node.struct.fields)
        union = [str(field.name) for field in fields if field.discriminantValue != _NO_DISCRIMINANT]
        groups = [
            self._struct(_group_name(self._request, field.group.typeId), self._request.nodes[field.group.typeId])
            for field in fields
            if field.which() == "group"
        ]
        which = f"    def which(self) -> Literal[{', '.join(repr(member) for member in union)}]: ...\n" if union else ""

        reader = "".join(
            f"    @builtins.property\n"
            f"    def {_safe(str(field.name))}(self) -> {self._field_type(field, 'Reader')}: ...\n"
            for field in fields
        )
        reader += (
            which
            + f"    def as_builder(self) -> {self._own(node)}.Builder: ...\n"
            + f"    def to_dict(self, verbose: builtins.bool = ...) -> {_DICT}: ...\n"
        )

        builder = ""
        for field in fields:
            safe, got = _safe(str(field.name)), self._field_type(field, "Builder")
            builder += f"    @builtins.property\n    def {safe}(self) -> {got}: ...\n"
            builder += f"    @{safe}.setter\n    def {safe}(self, value: {self._accepted(field)}) -> None: ...\n"
        names = ", ".join(repr(str(field.name)) for field in fields)
        init = f"    def init(self, field: Literal[{names}], size: builtins.int = ...) -> Any: ...\n" if fields else ""
        builder += which + init
        builder += (
            f"    def as_reader(self) -> {self._own(node)}.Reader: ...\n    def to_bytes(self) -> builtins.bytes: ...\n"
            f"    def to_dict(self, verbose: builtins.bool = ...) -> {_DICT}: ...\n"
        )
        builder += "    def write(self, file: IO[builtins.bytes]) -> None: ...\n"

        keywords = "".join(f", {_safe(str(field.name))}: {self._accepted(field)} = ..." for field in fields)
        star = ", *" if keywords else ""
        limits = "traversal_limit_in_words: builtins.int | None = ..., nesting_limit: builtins.int | None = ..."
        own = self._own(node)
        static = (
            f"@staticmethod\ndef new_message(num_first_segment_words: builtins.int | None = ...{star}{keywords}) ->"
            f" {own}.Builder: ...\n@staticmethod\ndef from_bytes(buf: {_BYTES}, {limits}) ->"
            f" AbstractContextManager[{own}.Reader]: ...\n@staticmethod\n"
            f"def read(file: IO[builtins.bytes], {limits}) -> {own}.Reader: ...\n"
        )
        inner = self._declarations(node.id)
        parts = [f"class Reader:\n{reader}", f"class Builder:\n{builder}", *groups, inner, static]
        return f"class {name}:\n" + textwrap.indent("\n".join(part for part in parts if part), "    ")

    def _own(self, node: Any) -> str:
        return self._request.path_of(node.id)

    def _accepted(self, field: Any) -> str:
        """What may be assigned: structs also from a reader, a dict; lists from any sequence of these."""
        if field.which() == "group":
            return _DICT
        kind = field.slot.type
        which = str(kind.which())
        if which == "struct":
            return f"{self._type(kind, 'Reader')} | {self._type(kind, 'Builder')} | {_DICT}"
        if which == "list":
            element = kind.list.elementType
            if str(element.which()) == "struct":
                return f"Sequence[{self._type(element, 'Reader')} | {self._type(element, 'Builder')} | {_DICT}]"
        if which == "data":
            return _BYTES
        return self._type(kind, "Reader")


def _group_name(request: Request, node_id: int) -> str:
    return request.path_of(node_id).rsplit(".", 1)[-1]


def _safe(name: str) -> str:
    """pycapnp keeps schema names; a Python keyword cannot be an attribute in source, but `getattr` reaches it."""
    import keyword

    return f"{name}_" if keyword.iskeyword(name) else name
