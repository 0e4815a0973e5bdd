"""A snapshot of any content is loaded, or refused as BadSnapshot: it may come from a peer or from a file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangea.training import snapshot

SEARCH = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["tensor", "dict", "tuple", "counter"]), inner, max_size=3
        )
    ),
)


def parts() -> tuple[torch.nn.Linear, torch.optim.Adam]:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


VALID = snapshot.encode(*parts(), None, snapshot.Position(3, 0, 8, 64))
READERS: list[Callable[[bytes], Any]] = [
    snapshot.position_of,
    snapshot.training_of,
    snapshot.model_tensors,
    lambda data: snapshot.load_model(data, parts()[0]),
    lambda data: snapshot.decode_into(data, *parts()),
]


def header(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a snapshot, and the bytes of its tensors."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(changed: Any, memory: bytes) -> bytes:
    text = json.dumps(changed).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + memory


def read(data: bytes) -> None:
    for reader in READERS:
        with suppress(snapshot.BadSnapshot):
            reader(data)


@SEARCH
@given(st.data())
def test_metadata_of_any_content_is_read_or_refused(data: st.DataObject) -> None:
    found, memory = header(VALID)
    metadata = json.loads(found["__metadata__"]["pangea"])
    key, value = data.draw(st.sampled_from([*metadata, None])), data.draw(VALUES)
    found["__metadata__"]["pangea"] = json.dumps({**metadata, key: value} if key is not None else value)
    read(with_header(found, memory))


@SEARCH
@given(st.data())
def test_a_header_of_any_content_is_read_or_refused(data: st.DataObject) -> None:
    found, memory = header(VALID)
    key, value = data.draw(st.sampled_from([*found, None])), data.draw(VALUES)
    read(with_header({**found, key: value} if key is not None else value, memory))


@SEARCH
@given(st.integers(0), st.binary(max_size=32), st.integers(0, 40))
def test_damaged_bytes_are_read_or_refused(position: int, inserted: bytes, deleted: int) -> None:
    position %= len(VALID)
    read(VALID[:position] + inserted + VALID[position + deleted :])


def test_a_header_that_is_nested_too_deeply_is_refused() -> None:
    found, memory = header(VALID)
    found["__metadata__"]["pangea"] = "[" * 100_000
    for reader in READERS:
        with pytest.raises(snapshot.BadSnapshot):
            reader(with_header(found, memory))
