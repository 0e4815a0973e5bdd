"""Decodes the records of a ledger from JSON, strictly: each field must exist and have the type of the dataclass.

Unknown fields are ignored, so that a later release may add some.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

from pangea.foreign import decode_json
from pangea.ledger.records import Change, Hash, Record, Shard
from pangea.printable import quoted

# Names in the file that are not the attribute's, because `from` is a keyword of Python.
_FILE_NAMES: dict[Any, dict[str, str]] = {Shard: {"start": "from", "end": "to"}, Change: {"old": "from", "new": "to"}}


def as_count(value: Any) -> int:
    """Converts a JSON number that is a uint64. Raises ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError(f"{quoted(value)} is not a count")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"{quoted(value)} is not a string")
    return value


def _number(value: Any) -> float:
    if value is None:
        # JSON has neither NaN nor Inf; the orchestrator writes null for both.
        return float("nan")
    if type(value) not in (int, float):
        raise ValueError(f"{quoted(value)} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{quoted(value)} is not a number of 64 bits") from None


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{quoted(value)} is neither true nor false")
    return value


def as_hash(value: Any) -> Hash:
    """Converts a JSON string that is a hash. Raises ValueError for anything else."""
    if type(value) is not str or len(value) != 64 or value.strip("0123456789abcdef"):
        raise ValueError(f"{quoted(value)} is not a hash of 64 lower-case digits")
    return Hash(value)


def _converter(kind: Any) -> Callable[[Any], Any]:
    """Returns the function that converts a JSON value to a field's type `kind`, and raises ValueError if it cannot."""
    simple: dict[Any, Callable[[Any], Any]] = {
        int: as_count,
        str: _text,
        float: _number,
        float | None: _number,
        bool: _flag,
        Hash: as_hash,
    }
    if kind in simple:
        return simple[kind]
    if typing.get_origin(kind) is tuple:
        return _sequence(_converter(typing.get_args(kind)[0]))
    if typing.get_origin(kind) is dict:
        return _mapping(_converter(typing.get_args(kind)[1]))
    return _structure(kind)


def _sequence(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> tuple[Any, ...]:
        if value is None:
            # Go encodes an empty list as null.
            return ()
        if type(value) is not list:
            raise ValueError(f"{quoted(value)} is not a list")
        return tuple([item(one) for one in value])

    return convert


def _mapping(item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError(f"{quoted(value)} is not an object")
        return {name: item(one) for name, one in value.items()}

    return convert


def _structure(kind: Any) -> Callable[[Any], Any]:
    hints, file_names = typing.get_type_hints(kind), _FILE_NAMES.get(kind, {})
    required: list[tuple[str, str, Callable[[Any], Any]]] = []
    # Writers omit these where they have their default, or are older than the field.
    optional: list[tuple[str, str, Callable[[Any], Any]]] = []
    for field in dataclasses.fields(kind):
        defaulted = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        (optional if defaulted else required).append(
            (file_names.get(field.name, field.name), field.name, _converter(hints[field.name]))
        )

    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{quoted(value)} is not an object with the fields of {kind.__name__}")
        given = {}
        for name, attribute, item in required:
            if name not in value:
                raise ValueError(f"the field {name!r} is missing")
            given[attribute] = _field(name, value[name], item)
        for name, attribute, item in optional:
            if name in value:
                given[attribute] = _field(name, value[name], item)
        return kind(**given)

    return convert


def _field(name: str, value: Any, item: Callable[[Any], Any]) -> Any:
    try:
        return item(value)
    except ValueError as error:
        raise ValueError(f"the field {name!r}: {error}") from None


_CONVERTERS = {kind.__name__.lower(): _converter(kind) for kind in typing.get_args(Record)}


def decode(body: bytes) -> Record:
    """Decodes the body of a record. Raises ValueError with the reason."""
    try:
        value = decode_json(body)
    except ValueError as error:
        raise ValueError(f"its record is not JSON: {error}") from error
    kind = value.get("type") if type(value) is dict else None
    if type(kind) is not str or kind not in _CONVERTERS:
        raise ValueError(f"the record type {quoted(kind)} is unknown; use the release that wrote this ledger")
    try:
        record: Record = _CONVERTERS[kind](value)
    except ValueError as error:
        raise ValueError(f"its {kind} record is malformed: {error}") from error
    return record
