"""The canonical bytes of a collated batch, which its hash in the ledger covers.

A batch is a tree: dicts, lists, tuples, named tuples and dataclasses, with tensors, arrays, numbers and texts as
leaves. Its structure, with every dtype, shape and small value, is written as one text of tagged, length-prefixed parts;
the elements of tensors and arrays follow as they are in memory, in row-major order. So two batches have the same bytes
only if a script cannot distinguish them by value.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
import torch

from pangea import _native
from pangea.errors import PangeaError

# Kinds of arrays whose elements are their bytes: bool, integers, floats, complex, texts of fixed width, times.
_PLAIN_KINDS = "biufcSUMm"


class UnhashableBatch(PangeaError, TypeError):
    """A batch contains something without canonical bytes; the message names it and says what to return instead."""


class Canonical:
    """The canonical bytes of one value.

    Attributes:
        structure: the bytes of everything but the elements of tensors and arrays.
        elements: contiguous bytes of each tensor and array, in the order in which they occur.
    """

    def __init__(self, value: Any, name: str = "batch.data") -> None:
        """Args:
        value: the batch.
        name: how messages refer to it.
        Raises:
            UnhashableBatch: naming what cannot be hashed.
        """
        self._parts: list[bytes] = []
        self.elements: list[numpy.ndarray[Any, Any]] = []
        self._add(value, name)
        self.structure = b"".join(self._parts)

    def _tag(self, kind: bytes, *texts: bytes) -> None:
        self._parts.append(kind)
        for text in texts:
            self._parts.append(struct.pack("<Q", len(text)))
            self._parts.append(text)

    def _add(self, value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            self._add_tensor(value, name)
        # Before numbers and texts: some of numpy's scalars are also those of Python.
        elif isinstance(value, (numpy.ndarray, numpy.generic)):
            self._add_array(numpy.asarray(value), name)
        elif not self._add_scalar(value):
            self._add_container(value, name)

    def _add_scalar(self, value: Any) -> bool:
        """Adds a scalar of Python; returns whether the value is one."""
        if value is None or isinstance(value, bool):
            self._tag({None: b"N", True: b"T", False: b"f"}[value])
        elif isinstance(value, int):
            self._tag(b"I", str(int(value)).encode())
        elif isinstance(value, float):
            self._tag(b"F", struct.pack("<d", value))
        elif isinstance(value, complex):
            self._tag(b"C", struct.pack("<dd", value.real, value.imag))
        elif isinstance(value, str):
            self._tag(b"S", value.encode(errors="surrogatepass"))
        elif isinstance(value, (bytes, bytearray)):
            self._tag(b"B", bytes(value))
        else:
            return False
        return True

    def _add_container(self, value: Any, name: str) -> None:
        if isinstance(value, Mapping):
            self._tag(b"D", str(len(value)).encode())
            for key, item in value.items():
                self._add(key, f"a key of {name}")
                self._add(item, f"{name}[{key!r}]")
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self._add_fields(value, [field.name for field in dataclasses.fields(value)], name)
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            self._add_fields(value, list(value._fields), name)
        elif isinstance(value, (list, tuple)):
            self._tag(b"L" if isinstance(value, list) else b"U", str(len(value)).encode())
            for index, item in enumerate(value):
                self._add(item, f"{name}[{index}]")
        else:
            raise UnhashableBatch(
                f"{name} is a {_type_name(type(value))}, which has no canonical bytes for the batch's hash in the"
                " ledger; let collate_fn return tensors, arrays, numbers, texts, None, and dicts, lists, tuples, named"
                " tuples or dataclasses of them"
            )

    def _add_fields(self, value: Any, fields: Sequence[str], name: str) -> None:
        self._tag(b"O", type(value).__qualname__.encode(), str(len(fields)).encode())
        for field in fields:
            self._tag(b"S", field.encode())
            self._add(getattr(value, field), f"{name}.{field}")

    def _add_tensor(self, tensor: torch.Tensor, name: str) -> None:
        for part, plain in _strided_parts(tensor.detach(), name):
            plain = plain.resolve_conj().resolve_neg().contiguous()
            self._tag(b"t", part.encode(), str(plain.dtype).encode(), _shape(plain.shape), _shape(tensor.shape))
            # A view as bytes needs at least one dimension.
            flat = plain.reshape(-1)
            if flat.numel():
                self.elements.append(flat.view(torch.uint8).numpy())

    def _add_array(self, array: numpy.ndarray[Any, Any], name: str) -> None:
        if array.dtype.kind == "O":
            self._tag(b"o", _shape(array.shape))
            for index, item in enumerate(array.reshape(-1).tolist()):
                self._add(item, f"{name}.flat[{index}]")
        elif array.dtype.kind in _PLAIN_KINDS and array.dtype.names is None:
            self._tag(b"a", array.dtype.newbyteorder("<").str.encode(), _shape(array.shape))
            if array.size:
                ordered = array.astype(array.dtype.newbyteorder("<"), copy=False)
                self.elements.append(numpy.frombuffer(ordered.tobytes(), dtype=numpy.uint8))
        else:
            raise UnhashableBatch(
                f"{name} is an array with the dtype {array.dtype}, which has no canonical bytes; let collate_fn return"
                " one array for each of its fields"
            )


def _shape(shape: Sequence[int]) -> bytes:
    return ",".join(map(str, shape)).encode()


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _strided_parts(tensor: torch.Tensor, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the parts of a tensor that are plain memory, by name: itself, or indices and values of a sparse one."""
    if tensor.is_quantized or tensor.is_nested or tensor.layout not in _PARTS:
        what = "quantized" if tensor.is_quantized else "nested" if tensor.is_nested else str(tensor.layout)
        raise UnhashableBatch(
            f"{name} is a {what} tensor, which has no canonical bytes; let collate_fn return its parts as plain tensors"
        )
    if tensor.device.type != "cpu":
        raise UnhashableBatch(
            f"{name} is on the device {tensor.device}; let the dataset and collate_fn return tensors on the CPU, and"
            " move them in the loop: batch.to(device)"
        )
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
    for part in _PARTS[tensor.layout]:
        yield part, getattr(tensor, part)() if part else tensor


_PARTS: dict[torch.layout, tuple[str, ...]] = {
    torch.strided: ("",),
    torch.sparse_coo: ("indices", "values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
}


def batch_hash(value: Any, sample_ids: Sequence[int], method: _native.ContentHash) -> bytes:
    """Returns the content hash of a batch: over the indices of its samples (int64), its structure and its elements.

    Raises:
        UnhashableBatch: naming what cannot be hashed.
    """
    canonical = Canonical(value)
    ids = numpy.asarray(sample_ids, dtype="<i8").tobytes()
    return _native.content_hash([ids, canonical.structure, *canonical.elements], method)
