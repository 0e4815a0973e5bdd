"""The content hash of trained parameters, as a person without our code computes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import safetensors.numpy
import xxhash

from pangea.ledger.reader import Model

_BLOCK_BYTES = 4 << 20


def content_hash(tensors: Iterable[bytes]) -> str:
    """The recipe of docs/reference/ledger.md."""
    root = hashlib.sha256(b"pangea/content/1\0")
    for data in tensors:
        root.update(len(data).to_bytes(8, "little"))
        for start in range(0, len(data), _BLOCK_BYTES):
            root.update(xxhash.xxh3_128_digest(data[start : start + _BLOCK_BYTES]))
    return root.hexdigest()


def trained_tensors(weights: Path, model: Model) -> list[bytes]:
    """The tensors of a safetensors file that the run trained, in the order in which it hashes them."""
    tensors = safetensors.numpy.load_file(weights)
    return [tensors[spec.name].tobytes() for spec in model.parameters if spec.name != "pangea.used"]
