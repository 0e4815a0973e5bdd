"""The command audits the ledger and the other files of a run, and reports where they differ."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pangea.commands.main import main
from pangea.ledger.fixtures import EPOCHS, SAMPLES, TIME, digest, incident, parameters, run, without_weights, written


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run, with the bytes b"state" as its checkpoint."""
    (tmp_path / "ledger.jsonl").write_bytes(written(run()))
    lines = [
        {"step": n, "epoch": n // 3, "aggregate_hash": digest(f"aggregate {n}"), "params_hash": parameters(n + 1)}
        for n in range(6)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {
        "run_id": "sample",
        "seed": 7,
        "shards": 4,
        "batch_size": 10,
        "epochs": EPOCHS,
        "min_shard_samples": 0,
        "drop_last": False,
        "content_hash": "xxh3Tree",
    }
    begun = {"total_steps": 6, "dataset": {"hash": digest("data"), "train_samples": SAMPLES}}
    (tmp_path / "run.json").write_text(
        json.dumps({**settings, **begun, "state": "finished", "steps": 6, "params_hash": parameters(6)})
    )
    (tmp_path / "result.json").write_text(json.dumps({"steps": 6, "params_hash": parameters(6)}))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-0000000004.safetensors").write_bytes(b"state")
    return tmp_path


def audit(run_dir: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(main, ["audit", str(run_dir), "--json", *options])
    return result.exit_code, json.loads(result.stdout)


def test_the_promises_hold_for_a_run_and_its_files(run_dir: Path) -> None:
    code, found = audit(run_dir)
    assert (code, found["holds"], found["steps"], found["samples"], found["finished"]) == (0, True, 6, 50, True)
    assert [finding["promise"] for finding in found["files"]] == [
        "metrics.jsonl",
        "run.json",
        "result.json",
        "checkpoints",
    ]
    assert audit(run_dir, "--expect", found["head"])[0] == 0
    assert audit(run_dir, "--expect", "0" * 63 + "1")[0] == 1
    shown = CliRunner().invoke(main, ["audit", str(run_dir)])
    assert shown.exit_code == 0 and "all promises hold" in shown.stdout and found["head"] in shown.stdout


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_files_that_differ_from_the_ledger_are_refuted_by_line_or_name(run_dir: Path) -> None:
    change(run_dir / "metrics.jsonl", digest("aggregate 2"), digest("x"))
    change(run_dir / "metrics.jsonl", parameters(5), digest("y"))
    change(run_dir / "run.json", '"seed": 7', '"seed": 8')
    change(run_dir / "result.json", parameters(6), digest("z"))
    (run_dir / "checkpoints" / "step-0000000004.safetensors").write_bytes(b"stale")
    code, found = audit(run_dir)
    details = {finding["promise"]: [row["detail"] for row in finding["rows"]] for finding in found["files"]}
    assert code == 1 and all(finding["holds"] for finding in found["ledger"])
    assert (
        "line 3: the sum of step 2" in details["metrics.jsonl"][0]
        and "line 5: the parameters after step 4" in details["metrics.jsonl"][1]
    )
    assert details["run.json"] == ["seed is 8, in the ledger 7"]
    assert digest("z") in details["result.json"][0]
    assert "step-0000000004.safetensors is damaged" in details["checkpoints"][0]


def test_traces_of_a_crash_are_notes(run_dir: Path) -> None:
    metrics = run_dir / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-5])
    (run_dir / "checkpoints" / "step-0000000005.safetensors").write_bytes(b"unknown")
    code, found = audit(run_dir)
    assert code == 0
    assert any("line 6) is incomplete" in note for note in found["notes"])
    assert any("step-0000000005.safetensors is not in the ledger" in note for note in found["notes"])


def test_more_lines_than_steps_and_a_missing_checkpoint_are_refuted(run_dir: Path) -> None:
    metrics = run_dir / "metrics.jsonl"
    metrics.write_bytes(
        metrics.read_bytes() + json.dumps({"step": 6, "aggregate_hash": "", "params_hash": ""}).encode() + b"\n"
    )
    (run_dir / "checkpoints" / "step-0000000004.safetensors").unlink()
    code, found = audit(run_dir)
    text = json.dumps(found["files"])
    assert code == 1 and "line 7 is of step 6" in text and "the newest, is missing" in text


def edit_run_record(run_dir: Path, **fields: Any) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**record, **fields}))


def run_record_details(run_dir: Path) -> list[str]:
    found = {finding["promise"]: finding for finding in audit(run_dir)[1]["files"]}
    return [row["detail"] for row in found["run.json"]["rows"]]


def test_run_json_of_format_1_need_not_have_the_settings_of_the_cut(run_dir: Path) -> None:
    (run_dir / "ledger.jsonl").write_bytes(written([without_weights(record) for record in run()]))
    record = json.loads((run_dir / "run.json").read_text())
    del record["min_shard_samples"], record["drop_last"], record["content_hash"]
    (run_dir / "run.json").write_text(json.dumps(record))
    assert audit(run_dir)[0] == 0
    edit_run_record(run_dir, min_shard_samples=2)
    assert run_record_details(run_dir) == ["min_shard_samples is 2, in the ledger 0"]


def stop(run_dir: Path) -> None:
    """Turns the run into one that was stopped after 4 steps."""
    records = [
        *run()[:9],
        {
            "type": "stop",
            "steps": 4,
            "reason": "the loss no longer falls",
            "worker": 1,
            "name": "worker-1",
            "time": TIME,
        },
    ]
    (run_dir / "ledger.jsonl").write_bytes(
        written([*records, {"type": "finished", "steps": 4, "params_hash": parameters(4)}])
    )
    lines = (run_dir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run_dir / "metrics.jsonl").write_text("".join(lines[:4]))
    (run_dir / "result.json").write_text(json.dumps({"steps": 4, "params_hash": parameters(4)}))
    edit_run_record(run_dir, total_steps=4, steps=4, params_hash=parameters(4), stopped="the loss no longer falls")


def test_a_run_stopped_by_its_script(run_dir: Path) -> None:
    stop(run_dir)
    code, found = audit(run_dir)
    assert (code, found["steps"], found["total_steps"], found["finished"], found["stopped"]["name"]) == (
        0,
        4,
        6,
        True,
        "worker-1",
    )
    shown = CliRunner().invoke(main, ["audit", str(run_dir)])
    assert (
        "complete up to step 4 of 6, stopped by worker-1: the loss no longer falls\n" in shown.stdout
        and "all promises hold" in shown.stdout
    )
    edit_run_record(run_dir, stopped="")
    assert run_record_details(run_dir) == [
        "its reason for a stop is ''; in the ledger the run was stopped: the loss no longer falls"
    ]
    (run_dir / "ledger.jsonl").write_bytes(written(run()))
    edit_run_record(run_dir, stopped="something", total_steps=6)
    assert "its reason for a stop is 'something'; in the ledger the run was not stopped" in run_record_details(run_dir)


def test_changed_settings_are_shown(run_dir: Path) -> None:
    records = run()
    change = {"type": "change", "what": "epochs", "from": "2", "to": "3", "step": 6, "time": TIME}
    (run_dir / "ledger.jsonl").write_bytes(written([*records, change]))
    edit_run_record(run_dir, epochs=3, total_steps=9, state="running")
    (run_dir / "result.json").unlink()
    code, found = audit(run_dir)
    assert (code, found["total_steps"], found["finished"], found["changes"][0]["new"]) == (0, 9, False, "3")
    shown = CliRunner().invoke(main, ["audit", str(run_dir)])
    assert "changed before step 6: epochs from 2 to 3\n" in shown.stdout and "6 of 9 steps, 50 samples" in shown.stdout


def test_resolved_incidents_are_shown_and_all_promises_hold(run_dir: Path) -> None:
    shown = CliRunner().invoke(main, ["audit", str(run_dir)])
    assert shown.exit_code == 0
    assert "1 divergence, resolved: a worker's parameters differed from those of the run" in shown.stdout
    assert "  resolved, record 12 (line 15), step 4, worker-2: a divergence\n" in shown.stdout


def test_unresolved_incidents_decide_the_verdict(run_dir: Path) -> None:
    records = run()
    records[12:12] = [incident("conflict", 4, 2, 1, (shard, 1)) for shard in range(4)] + [incident("script", 4, 1)]
    (run_dir / "ledger.jsonl").write_bytes(written(records))
    code, found = audit(run_dir)
    assert (code, found["holds"], found["sound"], found["incidents"], found["unresolved_incidents"]) == (
        3,
        False,
        True,
        6,
        1,
    )
    records[16:18] = [records[16]]
    (run_dir / "ledger.jsonl").write_bytes(written(records))
    code, found = audit(run_dir)
    assert (code, found["incidents"], found["unresolved_incidents"]) == (3, 5, 5)
    kinds = {kind["kind"]: kind for kind in found["incident_kinds"]}
    assert [row["first"] for row in kinds["conflict"]["rows"]] == [0, 1, 2, 3] and kinds["script"]["rows"][0][
        "record"
    ] == 16
    shown = CliRunner().invoke(main, ["audit", str(run_dir)])
    assert shown.exit_code == 3
    assert "4 conflicts: two workers computed different bits" in shown.stdout and "  and 1 more\n" in shown.stdout
    assert "  record 12 (line 15), step 4, shard 0, worker-2: a conflict\n" in shown.stdout
    assert shown.stdout.endswith(
        "the ledger is sound, but 5 incidents of different bits: the promise of the same bits did not hold\n"
    )
    # A refuted promise takes precedence.
    change(run_dir / "run.json", '"seed": 7', '"seed": 8')
    assert audit(run_dir)[0] == 1


def test_a_refuted_ledger_is_shown_with_its_line(run_dir: Path) -> None:
    records = run()
    records.pop(6)
    (run_dir / "ledger.jsonl").write_bytes(written(records))
    shown = CliRunner().invoke(main, ["audit", str(run_dir)], env={"COLUMNS": "200"})
    assert shown.exit_code == 1
    assert (
        "REFUTED" in shown.stdout and "record 6 (line 9): step 2 is recorded where step 1 is expected" in shown.stdout
    )


def test_a_folder_without_a_ledger_is_an_error_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["audit", str(tmp_path)])
    assert result.exit_code == 1 and "cannot read the ledger of the run" in result.output
    assert CliRunner().invoke(main, ["audit", str(tmp_path), "--expect", "abc"]).exit_code == 2


def test_who_signed_the_ledger_is_said_and_can_be_required(run_dir: Path) -> None:
    code, found = audit(run_dir)
    assert (code, found["signed"]) == (0, "not signed: anybody could have written it")
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    (run_dir / "kept.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert audit(run_dir, "--key", str(run_dir / "kept.pub"))[0] == 1
    (run_dir / "ledger.signature").write_text("not a signature")
    code, found = audit(run_dir)
    assert code == 1 and "ledger.signature" in found["files"][-1]["rows"][0]["detail"]
