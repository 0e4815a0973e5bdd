"""A message that is spread over many segments is read like one in a single segment; too many segments are refused."""

from __future__ import annotations

import os
import struct

import pytest

from schemas import tensor_capnp
from tests.conformance.codecs import (
    CODECS,
    Unreadable,
    Update,
    as_text,
    capnp_tool,
    command,
    expected,
    read,
    run,
    tensor,
    write,
)
from tests.conformance.python_codec import pattern

MOST_SEGMENTS = 511
UPDATE: Update = {
    "requestId": 7,
    "step": 9,
    "final": True,
    "tensors": [
        tensor("weight", "float32", [3, 2], 1),
        tensor("scale", "bfloat16", [], 2),
        tensor("none", "uint8", [0], 3),
    ],
}


def segments_of(frame: bytes) -> int:
    """The number of segments in the table of a frame."""
    count: int = struct.unpack_from("<I", frame)[0]
    return count + 1


def scattered(writer: str, words: int) -> bytes:
    """UPDATE in segments of about `words` words, with far pointers between them."""
    if writer == "capnp":
        return capnp_tool(["encode", f"--segment-size={words}"], os.environ["SCHEMA"], as_text(UPDATE).encode())
    message = tensor_capnp.Message.new_message(
        num_first_segment_words=words, type="gradientUpdate", requestId=UPDATE["requestId"]
    )
    update = message.init("gradientUpdate")
    update.step, update.final = UPDATE["step"], UPDATE["final"]
    pieces = update.init("gradients", len(UPDATE["tensors"]))
    for piece, described in zip(pieces, UPDATE["tensors"], strict=True):
        piece.name, piece.dtype, piece.shape, piece.data = (
            described["name"],
            described["dtype"],
            described["shape"],
            pattern(described),
        )
    return message.to_bytes()


def with_empty_segments(frame: bytes, segments: int) -> bytes:
    """A frame of one segment, followed by empty ones up to `segments` in all."""
    assert segments_of(frame) == 1
    words = struct.unpack_from("<I", frame, 4)[0]
    table = struct.pack("<II", segments - 1, words) + bytes(4 * (segments - 1))
    return table + bytes(-len(table) % 8) + frame[8:]


@pytest.mark.parametrize("words", [1, 4, 16])
@pytest.mark.parametrize("writer", ["python", "capnp"])
def test_a_scattered_message_is_read_like_a_compact_one(writer: str, words: int) -> None:
    frame = scattered(writer, words)
    assert segments_of(frame) > 1
    assert [read(reader, frame) for reader in CODECS] == [expected([UPDATE])] * len(CODECS)


@pytest.mark.parametrize("reader", ["go", "rust", "python"])
def test_a_scattered_message_cut_at_any_byte_is_refused(reader: str) -> None:
    frame = scattered("capnp", 1)
    outcomes = run([*command(reader), "cut"], frame).decode().splitlines()
    assert len(outcomes) == len(frame)
    assert outcomes[0] == "end"
    assert [
        (length, outcome) for length, outcome in enumerate(outcomes) if length and not outcome.startswith("error: ")
    ] == []


@pytest.mark.parametrize("reader", CODECS)
def test_as_many_segments_as_the_schema_allows_are_read(reader: str) -> None:
    assert read(reader, with_empty_segments(write("python", [UPDATE]), MOST_SEGMENTS)) == expected([UPDATE])


@pytest.mark.parametrize("reader", ["go", "rust"])
def test_the_services_refuse_one_segment_more(reader: str) -> None:
    with pytest.raises(Unreadable, match="512.*511"):
        read(reader, with_empty_segments(write("python", [UPDATE]), MOST_SEGMENTS + 1))


def test_the_capnp_tool_refuses_too_many_as_well() -> None:
    # Its library allows one more than the schema; pycapnp's reader of bytes in memory has no such limit, and no service
    # reads with it.
    with pytest.raises(Unreadable, match="too many segments"):
        read("capnp", with_empty_segments(write("python", [UPDATE]), MOST_SEGMENTS + 2))
