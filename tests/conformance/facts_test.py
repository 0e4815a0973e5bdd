"""The numbers of the contract and the names of its enum members are those of the schema in every language."""

from __future__ import annotations

import enum
import json
import re
from typing import Any

import pytest

from schemas import tensor_capnp, tensor_constants
from tests.conformance.codecs import command, run

Facts = dict[str, dict[str, Any]]


def schema_facts() -> Facts:
    """As the schema has them: constants by name, and the members of each enum in the order of their numbers."""
    declared = {name: getattr(tensor_capnp, name) for name in dir(tensor_capnp) if not name.startswith("_")}
    constants = {name: value for name, value in declared.items() if isinstance(value, int)}
    enums: dict[str, list[str]] = {}
    for name, value in declared.items():
        if (members := getattr(getattr(value, "schema", None), "enumerants", None)) is not None:
            enums[name] = sorted(members, key=members.__getitem__)
            assert sorted(members.values()) == list(range(len(members)))
    return {"constants": constants, "enums": enums}


def python_facts() -> Facts:
    """As programs have them that read no messages, in the spelling of the schema."""
    constants = {
        camel(name): value
        for name, value in vars(tensor_constants).items()
        if isinstance(value, int) and name.isupper()
    }
    enums = [
        value
        for value in vars(tensor_constants).values()
        if isinstance(value, type) and issubclass(value, enum.IntEnum) and value is not enum.IntEnum
    ]
    return {
        "constants": constants,
        "enums": {kind.__name__: [camel(member.name) for member in sorted(kind)] for kind in enums},
    }


def camel(name: str) -> str:
    """`MAX_SHARDS` as `maxShards`."""
    return re.sub(r"_(.)", lambda found: found[1].upper(), name.lower())


def test_the_schema_has_what_the_tests_compare() -> None:
    facts = schema_facts()
    assert facts["constants"]["maxShards"] == 1024
    assert facts["enums"]["Split"] == ["train", "heldOut"]


@pytest.mark.parametrize("codec", ["go", "rust"])
def test_services_have_the_facts_of_the_schema(codec: str) -> None:
    assert json.loads(run([*command(codec), "facts"], b"")) == schema_facts()


def test_python_has_the_facts_of_the_schema() -> None:
    assert python_facts() == schema_facts()
