"""Frames as bytes: those of workers, and some that no worker sends."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from schemas import tensor_capnp

NO_HASH = bytes(32)


def frame(kind: str, request: int, **fields: Any) -> bytes:
    """A message of one frame."""
    message = tensor_capnp.Message.new_message(type=kind, requestId=request)
    message.init(kind).from_dict(fields)
    return bytes(message.to_bytes())


def join(name: str, **changes: Any) -> bytes:
    """A JoinRequest of a worker whose model has one parameter of four elements."""
    given = {
        "protocolVersion": tensor_capnp.protocolVersion,
        "workerName": name,
        "software": "test",
        "parameters": [{"name": "weight", "dtype": "float32", "shape": [4]}],
        "parametersHash": NO_HASH,
        "parametersContentHash": NO_HASH,
        "dataset": {"name": "test", "hash": NO_HASH, "trainSamples": 1 << 30},
    }
    return frame("joinRequest", 1, **{**given, **changes})


def heartbeat(padding: int = 0) -> bytes:
    """A Heartbeat, with that many bytes behind it in the same frame."""
    return padded(frame("heartbeat", 0), padding)


def padded(one: bytes, padding: int) -> bytes:
    """The same message with one more segment, which nothing points to."""
    segments = struct.unpack_from("<I", one)[0] + 1
    sizes = struct.unpack_from(f"<{segments}I", one, 4)
    body = one[(segments // 2 + 1) * 8 :]
    if padding == 0:
        return one
    table = struct.pack(f"<{segments + 2}I", segments, *sizes, -(-padding // 8))
    return table + bytes(-len(table) % 8) + body + bytes(-(-padding // 8) * 8)


def amplified_join(parameters: int, name_bytes: int) -> bytes:
    """A JoinRequest whose parameters all have the same name: as many pointers to one text."""
    one = join("stranger", parameters=[{"dtype": "float32"}] * parameters)
    segments = struct.unpack_from("<I", one)[0] + 1
    sizes = struct.unpack_from(f"<{segments}I", one, 4)
    body = bytearray(one[(segments // 2 + 1) * 8 :])
    # Before the elements of a list of structs there is a word with their number and size.
    tag = struct.pack("<IHH", parameters << 2, 1, 2)
    first = body.index(tag) + len(tag)
    far = struct.pack("<II", 2, segments)  # to the first word of the segment that is added
    for index in range(parameters):
        at = first + index * 24 + 8
        body[at : at + 8] = far
    text = b"x" * name_bytes + b"\0"
    added = struct.pack("<II", 1, len(text) << 3 | 2) + text + bytes(-len(text) % 8)
    table = struct.pack(f"<{segments + 2}I", segments, *sizes, len(added) // 8)
    return table + bytes(-len(table) % 8) + bytes(body) + added


def hash_at(step: int) -> bytes:
    """The hash of the honest worker's parameters after that many steps."""
    return hashlib.sha256(struct.pack("<Q", step)).digest() if step else NO_HASH
