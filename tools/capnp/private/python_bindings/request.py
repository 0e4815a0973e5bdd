"""Reads the compiler's CodeGeneratorRequest into plain values."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import capnp


@dataclasses.dataclass(frozen=True)
class Request:
    """A compiled set of schemas.

    Attributes:
        nodes: every declaration by its id.
        files: file name, as the compiler was given it, to the id of its node.
        imports: file name to the imports of that file: (name as written, id).
    """

    nodes: dict[int, Any]
    files: dict[str, int]
    imports: dict[str, list[tuple[str, int]]]

    def children(self, node_id: int) -> list[tuple[str, Any]]:
        """Named declarations inside a file or a struct, in the order of the schema."""
        return [
            (str(child.name), self.nodes[child.id])
            for child in self.nodes[node_id].nestedNodes
            if child.id in self.nodes
        ]

    def file_of(self, node_id: int) -> int:
        """Id of the file that a declaration stands in."""
        while self.nodes[node_id].which() != "file":
            node_id = self.nodes[node_id].scopeId
        return node_id

    def path_of(self, node_id: int) -> str:
        """Dotted name of a declaration inside its file, such as `Outer.Inner`."""
        node = self.nodes[node_id]
        names: list[str] = []
        while node.which() != "file":
            names.append(str(node.displayName)[node.displayNamePrefixLength :])
            node = self.nodes[node.scopeId]
        return ".".join(reversed(names))


def read_request(file: pathlib.Path) -> Request:
    """Reads what `capnp compile -o-` wrote.

    Args:
        file: the request.
    Returns:
        its declarations; the values stay readable as long as the result lives.
    """
    shipped = pathlib.Path(capnp.__file__).parent
    schema = capnp.load(str(shipped / "schema.capnp"), imports=[str(shipped.parent)])
    with file.open("rb") as stream:
        message = schema.CodeGeneratorRequest.read(stream, traversal_limit_in_words=2**32)
    return Request(
        nodes={node.id: node for node in message.nodes},
        files={str(requested.filename): requested.id for requested in message.requestedFiles},
        imports={
            str(requested.filename): [(str(item.name), item.id) for item in requested.imports]
            for requested in message.requestedFiles
        },
    )
