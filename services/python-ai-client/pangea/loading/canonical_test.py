"""Two batches have the same hash only if a script cannot distinguish them."""

import collections
import dataclasses
import enum
import fractions
from typing import Any, NamedTuple

import numpy
import pytest
import torch

from pangea.loading.canonical import Canonical, UnhashableBatch, batch_hash
from pangea.loading.difference import first_difference


class Pair(NamedTuple):
    x: Any
    y: Any


class Other(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Sample:
    x: Any
    y: Any


class Color(enum.IntEnum):
    RED = 1


DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.bool, torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip
ZERO = torch.zeros(2, 3)
DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 2**70, 0.0, -0.0, 1.0, float("nan"), 1j, "", "1", "a", b"", b"a", "\udc80",
    [], (), {}, [0], (0,), [[0]], [0, 0], [[0], 0], {"a": 0}, {"a": 1}, {"b": 0}, {0: "a"}, {"a": 0, "b": 0},
    {"b": 0, "a": 0}, ["a", "b"], ["ab"], ["a", "b", ""],
    *(torch.zeros(2, 3, dtype=dtype) for dtype in DTYPES),
    ZERO.reshape(3, 2), ZERO.reshape(6), ZERO[:, :0], ZERO[:0], torch.tensor(0.0), torch.ones(2, 3), -ZERO,
    torch.zeros(2, 3).to_sparse(), torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr(), torch.eye(3),
    numpy.zeros((2, 3), dtype=numpy.float32), numpy.zeros((2, 3)), numpy.float32(0), numpy.int64(0), numpy.bool_(False),
    numpy.array(["a", "bc"]), numpy.array(["a", "b"]), numpy.array(["a", 1], dtype=object),
    numpy.array("2026-01-01", dtype="M8[D]"),
    Pair(0, 1), Other(0, 1), Sample(0, 1), Sample(1, 0), (0, 1), [ZERO, ZERO], [torch.cat([ZERO, ZERO])],
]  # fmt: skip


def hashed(value: Any, ids: tuple[int, ...] = (1, 2)) -> bytes:
    return batch_hash(value, ids, "xxh3Tree")


def test_different_values_have_different_hashes() -> None:
    by_hash: dict[bytes, list[Any]] = {}
    for value in DIFFERENT:
        by_hash.setdefault(hashed(value), []).append(value)
    assert [values for values in by_hash.values() if len(values) > 1] == []
    assert hashed(0, (1, 2)) != hashed(0, (2, 1))
    assert batch_hash(0, (1,), "sha256") != batch_hash(0, (1,), "xxh3Tree")


def test_equal_values_have_equal_hashes_however_they_are_in_memory() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert hashed(x.transpose(0, 2).contiguous()) == hashed(x.transpose(0, 2))
    assert hashed(x[:, 1]) == hashed(x[:, 1].clone())
    assert hashed(torch.ones(1).expand(5)) == hashed(torch.ones(5))
    assert hashed(x.clone().requires_grad_()) == hashed(x)
    assert hashed(torch.tensor([1 + 1j]).conj()) == hashed(torch.tensor([1 - 1j]))
    array = numpy.arange(6, dtype="<i4").reshape(2, 3)
    assert hashed(array.astype(">i4")) == hashed(array) == hashed(numpy.asfortranarray(array))
    assert hashed(collections.OrderedDict(a=1)) == hashed({"a": 1})
    assert hashed(Color.RED) == hashed(1)
    assert hashed(bytearray(b"a")) == hashed(b"a")


def test_the_hash_of_a_batch_never_changes() -> None:
    # Changing it would make a batch of an old ledger look different.
    data = {"x": torch.arange(6, dtype=torch.int16).reshape(2, 3), "names": ["a", "é"], "n": None}
    assert Canonical(data).structure == GOLDEN
    assert [bytes(part) for part in Canonical(data).elements] == [bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])]


def length(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


GOLDEN = b"".join([
    b"D", length(b"3"),
    b"S", length(b"x"), b"t", length(b""), length(b"torch.int16"), length(b"2,3"), length(b"2,3"),
    b"S", length(b"names"), b"L", length(b"2"), b"S", length(b"a"), b"S", length("é".encode()),
    b"S", length(b"n"), b"N",
])  # fmt: skip


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, r"batch.data\['a'\]\[0\] is a object"),
        (Pair(0, {1, 2}), r"batch.data.y is a set"),
        (Sample(fractions.Fraction(1, 2), 0), r"batch.data.x is a fractions.Fraction"),
        ({object(): 1}, "a key of batch.data is a object"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantized tensor"),
        ([torch.ones(2, device="meta")], r"batch.data\[0\] is on the device meta.*batch.to\(device\)"),
        (numpy.zeros(2, dtype=[("a", "i4"), ("b", "f4")]), "one array for each of its fields"),
        (numpy.array([1, object()], dtype=object), r"batch.data.flat\[1\] is a object"),
    ],
)
def test_what_has_no_canonical_bytes_is_named(value: Any, message: str) -> None:
    with pytest.raises(UnhashableBatch, match=message):
        hashed(value)


def test_the_first_difference_is_named() -> None:
    one = {"image": torch.zeros(2), "boxes": [Pair(0, Sample("a", 1.0)), 3]}
    assert first_difference(one, {"image": torch.zeros(2), "boxes": [Pair(0, Sample("a", 1.0)), 3]}) == ""
    assert first_difference(one, {**one, "image": torch.tensor([0.0, -0.0])}) == "batch.data['image']"
    changed = {**one, "boxes": [Pair(0, Sample("b", 1.0)), 3]}
    assert first_difference(one, changed) == "batch.data['boxes'][0].y.x"
    assert first_difference(one, {**one, "boxes": []}) == "batch.data['boxes']"
    assert first_difference(one, [1]) == "batch.data"
