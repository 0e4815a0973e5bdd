"""An audit of whatever bytes somebody hands over ends with findings, or with a PangeaError: never with a traceback."""

from __future__ import annotations

import io
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangea.errors import PangeaError
from pangea.ledger import fixtures
from pangea.ledger.audit import Report, audit_ledger
from pangea.ledger.checkpoint_file import CheckpointDamaged, verify_checkpoint
from pangea.ledger.exportable import find_exportable
from pangea.ledger.other_files import audit_files
from pangea.ledger.reader import NAME, NO_CHAIN, RECORDS_FROM, Slot, chain_hash, slot_line
from pangea.ledger.records import Checkpoint, Hash

SEARCH = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
BIG = 1 << 64
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-BIG, BIG)
    | st.sampled_from([10**400, -1, BIG - 1, 1 << 63])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\ud800", "../x", "/etc/passwd", "9" * 5000, "\x1b[2J", NO_CHAIN])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The value with another one at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def crafted_records(draw: st.DrawFn) -> list[Any]:
    """The records of a run, of which some are changed, repeated or missing."""
    records: list[Any] = fixtures.run()
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(records) - 1))
        match draw(st.sampled_from(["change", "change", "change", "repeat", "drop"])):
            case "change":
                where = draw(st.sampled_from(places(records[number])))
                records[number] = replaced(records[number], where, draw(VALUES))
            case "repeat":
                records.insert(draw(st.integers(0, len(records))), records[number])
            case "drop" if len(records) > 1:
                del records[number]
    return records


def audit_folder(folder: Path, content: bytes) -> Report:
    """Audits a ledger with all files of its run directory, as the command does."""
    (folder / NAME).write_bytes(content)
    report = audit_ledger(io.BytesIO(content))
    audit_files(folder, report.audit)
    with suppress(PangeaError, FileNotFoundError):
        find_exportable(folder)
    return report


@SEARCH
@given(crafted_records())
def test_records_of_any_content_are_audited(records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        audit_folder(Path(folder), fixtures.written(records))


@SEARCH
@given(st.integers(0), st.binary(max_size=64), st.integers(0, 40))
def test_damaged_bytes_are_audited(position: int, inserted: bytes, deleted: int) -> None:
    content = fixtures.written(fixtures.run())
    position %= len(content)
    with tempfile.TemporaryDirectory() as folder:
        audit_folder(Path(folder), content[:position] + inserted + content[position + deleted :])


@SEARCH
@given(st.integers(0, BIG - 1), st.integers(0, BIG - 1))
def test_commit_slots_of_any_content_are_audited(records: int, size: int) -> None:
    content = fixtures.written(fixtures.run())
    slots = slot_line(0, Slot(records, size, NO_CHAIN)) + slot_line(1, Slot(size, records, NO_CHAIN))
    assert not audit_ledger(io.BytesIO(slots + content[RECORDS_FROM:])).holds


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"type":' * 100_000, b'{"type":"start","time":"\x00","step":NaN}'])
def test_a_record_that_is_nested_too_deeply_is_a_finding(body: bytes) -> None:
    chain = chain_hash(NO_CHAIN, body)
    line = b'{"chain":"%s","record":%s}\n' % (chain.encode(), body)
    slot = Slot(1, RECORDS_FROM + len(line), chain)
    assert not audit_ledger(io.BytesIO(slot_line(0, slot) + slot_line(1, slot) + line)).holds


@SEARCH
@given(st.sampled_from(["run.json", "result.json", "metrics.jsonl"]), VALUES, st.booleans())
def test_other_files_of_any_content_are_audited(name: str, value: Any, inside: bool) -> None:
    run = {"run_id": "r", "dataset": {"hash": "h"}, "steps": 3, "params_hash": "p", "state": "finished"}
    metrics = {"step": 0, "aggregate_hash": "a", "params_hash": "p"}
    valid = metrics if name == "metrics.jsonl" else run
    content = [{**valid, key: value} for key in valid] if inside else [value]
    with tempfile.TemporaryDirectory() as folder:
        for one in content:
            (Path(folder) / name).write_text(json.dumps(one) + "\n")
            audit_folder(Path(folder), fixtures.written(fixtures.run()))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{", b'{"step": ' + b"9" * 5000 + b"}\n"])
@pytest.mark.parametrize("name", ["run.json", "result.json", "metrics.jsonl"])
def test_a_file_that_is_not_json_is_a_finding(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content + b"\n")
    report = audit_ledger(io.BytesIO(fixtures.written(fixtures.run())))
    (finding,), _notes = audit_files(tmp_path, report.audit)
    assert not finding.holds


@pytest.mark.parametrize("name", ["run.json", "result.json", "metrics.jsonl"])
def test_a_pipe_in_place_of_a_file_does_not_block_the_audit(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    report = audit_ledger(io.BytesIO(fixtures.written(fixtures.run())))
    (finding,), _notes = audit_files(tmp_path, report.audit)
    assert "is not a regular file" in finding.rows[0].detail


NAMES = [
    "../victim.safetensors",
    "/etc/passwd",
    "checkpoints/../../victim.safetensors",
    "checkpoints/step-4.safetensors",
    "checkpoints/step-0000000005.safetensors",
    "checkpoints/step-0000000004.safetensors\0",
    "checkpoints/step-0000000004.json",
    "./checkpoints/step-0000000004.safetensors",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_has_one_valid_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamaged, match="whose file is checkpoints/step-0000000004.safetensors; it is not"):
        verify_checkpoint(tmp_path, Checkpoint(4, name, 0, Hash(NO_CHAIN), Hash(NO_CHAIN)))


def place_file(folder: Path, kind: str) -> None:
    """Puts something that is not a regular file where a checkpoint should be; `secret` is a file outside."""
    secret, checkpoints = folder / "secret", folder / "run" / "checkpoints"
    file = checkpoints / "step-0000000004.safetensors"
    if kind == "folder":
        (folder / "elsewhere").mkdir()
        (folder / "elsewhere" / file.name).write_text("secret")
        checkpoints.symlink_to(folder / "elsewhere")
        return
    checkpoints.mkdir()
    if kind == "link":
        file.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "directory"])
def test_neither_links_nor_pipes_are_opened_as_a_checkpoint(kind: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run").mkdir()
    place_file(tmp_path, kind)
    record = Checkpoint(
        4, "checkpoints/step-0000000004.safetensors", 6, Hash(fixtures.sha256(b"secret")), Hash(NO_CHAIN)
    )
    with pytest.raises(CheckpointDamaged, match="cannot be opened as a checkpoint"):
        verify_checkpoint(tmp_path / "run", record)
