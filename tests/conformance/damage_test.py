"""Truncated frames and unknown values of a newer schema are refused with a clear message; nothing crashes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.codecs import (
    CODECS,
    Unreadable,
    Update,
    as_text,
    capnp_tool,
    command,
    expected,
    read,
    report_of,
    run,
    tensor,
    write,
)

UPDATE: Update = {
    "requestId": 7,
    "step": 9,
    "final": True,
    "tensors": [tensor("weight", "float32", [3, 2], 1), tensor("bias", "int64", [2], 2)],
    "reports": [report_of(5, 8, 0.5, 7.25, True)],
}


@pytest.mark.parametrize("writer", CODECS)
@pytest.mark.parametrize("reader", ["go", "rust", "python"])
def test_a_frame_cut_at_any_byte_is_refused(writer: str, reader: str) -> None:
    frame = write(writer, [UPDATE])
    outcomes = run([*command(reader), "cut"], frame).decode().splitlines()
    assert len(outcomes) == len(frame)
    assert outcomes[0] == "end"
    assert [
        (length, outcome) for length, outcome in enumerate(outcomes) if length and not outcome.startswith("error: ")
    ] == []
    assert all(len(outcome) > len("error: ") for outcome in outcomes[1:])


@pytest.mark.parametrize("writer", ["go", "rust"])
def test_the_capnp_tool_refuses_a_frame_cut_at_any_byte(writer: str) -> None:
    frame = write(writer, [UPDATE])
    for length in range(len(frame)):
        with pytest.raises(Unreadable):
            capnp_tool(["convert", "binary:json"], os.environ["SCHEMA"], frame[:length])


@pytest.fixture(scope="module")
def future(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Today's schema with what a later version may add: fields, an enum member, a message."""
    text = Path(os.environ["SCHEMA"]).read_text()
    for old, new in [
        ("  int16 @10;", "  int16 @10;\n  float8 @11;\n"),
        ("# Where this piece starts, in bytes.", "\n  scale @5 :Float64;\n  note @6 :Text;\n"),
        ("  reports @5 :List(ShardReport);", "  deadline @7 :Float64;\n  reports @5 :List(ShardReport);"),
        ("  errorReply @16;", "  errorReply @16;\n  ping @19;"),
        ("    errorReply @18 :ErrorReply;", "    errorReply @18 :ErrorReply;\n    ping @21 :Text;"),
    ]:
        assert text.count(old) == 1, f"the schema has changed where this test adds to it: {old}"
        text = text.replace(old, new)
    file = tmp_path_factory.mktemp("future") / "tensor.capnp"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("reader", CODECS)
def test_an_old_reader_skips_new_fields(reader: str, future: str) -> None:
    text = (
        as_text(UPDATE)
        .replace("(name = ", '(scale = 0.5, note = "new", name = ')
        .replace("(step = ", "(deadline = 3.5, step = ")
    )
    assert text.count("scale = ") == 2
    assert read(reader, capnp_tool(["encode"], future, text.encode())) == expected([UPDATE])


@pytest.mark.parametrize("reader", ["go", "rust", "python"])
@pytest.mark.parametrize(
    "text", [as_text(UPDATE).replace("dtype = int64", "dtype = float8"), '(type = ping, requestId = 1, ping = "hello")']
)
def test_an_old_reader_reports_an_unknown_value(reader: str, text: str, future: str) -> None:
    with pytest.raises(Unreadable, match="unsupported"):
        read(reader, capnp_tool(["encode"], future, text.encode()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (as_text(UPDATE).replace("dtype = int64", "dtype = float8"), '"dtype": 11'),
        ('(type = ping, requestId = 1, ping = "hello")', '"type": 19'),
    ],
)
def test_the_capnp_tool_shows_a_new_value_as_its_number(text: str, shown: str, future: str) -> None:
    frame = capnp_tool(["encode"], future, text.encode())
    assert shown in capnp_tool(["convert", "binary:json"], os.environ["SCHEMA"], frame).decode()
