"""Incidents are read from a ledger, and resolved ones are distinguished from unresolved ones."""

from pathlib import Path

from pangea.launch.incidents import read_incidents
from pangea.ledger.fixtures import incident, opening, step, written


def test_incidents_are_read_in_order_and_resolved_as_in_the_audit(tmp_path: Path) -> None:
    assert read_incidents(tmp_path) == []
    (tmp_path / "ledger.jsonl").write_bytes(written([*opening(), step(0)]))
    assert read_incidents(tmp_path) == []
    conflict = incident("conflict", 1, worker=2, other=1, shards=(3, 1))
    records = [
        *opening(),
        step(0),
        conflict,
        incident("quarantine", 1, worker=2),
        step(1),
        incident("conflict", 2, worker=2, other=1),
        step(2),
        incident("replay", 3),
    ]
    # The last record is incomplete, as while it is being written.
    (tmp_path / "ledger.jsonl").write_bytes(written(records) + b'{"chain":"00","record":{"type":"incident"')
    found = read_incidents(tmp_path)
    assert [(one.kind, one.step, one.resolved) for one in found] == [
        ("conflict", 1, True),
        ("quarantine", 1, True),
        ("conflict", 2, False),
        ("replay", 3, False),
    ]
    assert [str(one) for one in found[2:]] == [
        "conflict at step 2 by worker-2: a conflict",
        "replay at step 3: a replay",
    ]


def test_incidents_before_the_damage_of_a_ledger_are_read(tmp_path: Path) -> None:
    content = bytearray(written([*opening(), step(0), incident("replay", 1), step(1)]))
    content[-20] ^= 1
    (tmp_path / "ledger.jsonl").write_bytes(content)
    assert [one.kind for one in read_incidents(tmp_path)] == ["replay"]
