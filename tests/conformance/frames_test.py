"""A frame that any implementation writes is read the same by every other one."""

from __future__ import annotations

import struct

import pytest

from schemas import tensor_capnp
from tests.conformance.codecs import (
    CODECS,
    ITEM_BYTES,
    Update,
    capnp_tool,
    every_dtype,
    expected,
    read,
    report_of,
    tensor,
    write,
)

CHUNK = tensor_capnp.maxChunkBytes
LARGE = 72 << 20


def small_updates() -> list[Update]:
    """Every dtype as a scalar, an empty tensor, a vector that ends inside a word, and a matrix; and all of them in one
    frame."""
    shapes: list[list[int]] = [[], [3, 0, 2], [5], [2, 3]]
    tensors = [
        tensor(f"layer.{dtype}.{len(shape)}", dtype, shape, number)
        for number, dtype in enumerate(every_dtype())
        for shape in shapes
    ]
    single = [
        {"requestId": number, "step": 2**40 + number, "final": False, "tensors": [one]}
        for number, one in enumerate(tensors)
    ]
    return [
        *single,
        {"requestId": 2**63, "step": 0, "final": True, "tensors": tensors},
        {"requestId": 0, "step": 1, "final": True, "tensors": []},
    ]


def test_the_tests_know_every_dtype() -> None:
    assert set(every_dtype()) == set(ITEM_BYTES)


@pytest.mark.parametrize("writer", CODECS)
@pytest.mark.parametrize("reader", CODECS)
def test_every_dtype_and_shape(writer: str, reader: str) -> None:
    updates = small_updates()
    assert read(reader, write(writer, updates)) == expected(updates)


def reported_updates() -> list[Update]:
    """Every kind of weight of a loss: none, of samples, of tokens, the smallest and the largest number, with 0 to 4
    figures; and as many reports as a step can have shards."""
    weights = [0.0, 8.0, 1 / 3, 5e-324, 1.7976931348623157e308]
    few = [
        report_of(
            shard,
            8,
            0.5 - weight,
            weight,
            summed=shard % 2 == 1,
            stop="the loss is lów enough" if shard == 3 else "",
            figures=[(f"válue/{number}", number - weight) for number in range(shard)],
        )
        for shard, weight in enumerate(weights)
    ]
    many = [report_of(shard, 1, 0.1 * shard, 0.7 * shard) for shard in range(tensor_capnp.maxShards)]
    return [
        {"requestId": 3, "step": 9, "final": True, "tensors": [tensor("weight", "float32", [2], 1)], "reports": reports}
        for reports in (few, many)
    ]


@pytest.mark.parametrize("writer", CODECS)
@pytest.mark.parametrize("reader", CODECS)
def test_shard_reports(writer: str, reader: str) -> None:
    updates = reported_updates()
    assert read(reader, write(writer, updates)) == expected(updates)


def large_updates() -> list[Update]:
    """A tensor of 72 MiB in pieces of 4 MiB."""
    shape = [LARGE // 4]
    pieces = [
        tensor("large", "float32", shape, start // CHUNK, offset=start, length=CHUNK)
        for start in range(0, LARGE, CHUNK)
    ]
    return [{"requestId": 1, "step": 1, "final": piece is pieces[-1], "tensors": [piece]} for piece in pieces]


@pytest.mark.parametrize("writer", ["go", "rust", "python"])
def test_a_tensor_of_72_mib(writer: str) -> None:
    updates = large_updates()
    frames = write(writer, updates)
    for reader in ["go", "rust", "python"]:
        assert read(reader, frames) == expected(updates)


def test_the_capnp_tool_reads_and_writes_72_mib() -> None:
    import os

    updates = large_updates()
    rewritten = capnp_tool(["convert", "binary:binary"], os.environ["SCHEMA"], write("rust", updates))
    assert read("go", rewritten) == expected(updates)


@pytest.mark.parametrize("writer", ["go", "rust"])
def test_each_tensor_has_its_own_segment(writer: str) -> None:
    tensors = [tensor(name, "uint8", [9], 1) for name in "abc"]
    frame = write(writer, [{"requestId": 1, "step": 1, "final": True, "tensors": tensors}])
    segments, first = struct.unpack_from("<II", frame)
    assert segments + 1 == 4
    assert struct.unpack_from("<III", frame, 8) == (2, 2, 2)
    assert first > 0
