"""Compares the other files of a run with its ledger: metrics.jsonl, run.json, result.json and the checkpoints.

The promises are proven from the ledger alone; these files are for users and for resuming the run. Therefore their
findings are reported separately.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pangea.foreign import UnreadableFile, decode_object, open_regular, read_object
from pangea.ledger.audit_finding import Finding
from pangea.ledger.audit_records import Audit
from pangea.ledger.checkpoint_file import CheckpointDamaged, verify_checkpoint
from pangea.printable import quoted

# A longer line is not one of metrics.
_MAX_LINE_BYTES = 1 << 20


def audit_files(run_dir: Path, audit: Audit) -> tuple[list[Finding], list[str]]:
    """Audits the files of a run other than the ledger, as far as they exist.

    Args:
        run_dir: the run directory.
        audit: the audit of its ledger.
    Returns:
        a finding for each file or group of files, and notes for the user.
    """
    notes: list[str] = []
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("metrics.jsonl", lambda: _metrics(run_dir / "metrics.jsonl", audit, notes)),
        ("run.json", lambda: _run_record(run_dir / "run.json", audit)),
        ("result.json", lambda: _result(run_dir / "result.json", audit)),
        ("checkpoints", lambda: _checkpoints(run_dir, audit, notes)),
    ]
    return [check() for name, check in checks if (run_dir / name).exists()], notes


def _metrics(file: Path, audit: Audit, notes: list[str]) -> Finding:
    finding = Finding("metrics.jsonl", "its lines are the steps of the ledger, with the same hashes")
    try:
        stream = open_regular(file)
    except (UnreadableFile, OSError) as error:
        finding.refute(str(error))
        return finding
    number = 0
    with stream:
        while text := stream.readline(_MAX_LINE_BYTES):
            if not text.endswith(b"\n"):
                if len(text) == _MAX_LINE_BYTES:
                    finding.refute(f"line {number + 1} has more than {_MAX_LINE_BYTES} bytes; the rest is not read")
                    return finding
                notes.append(
                    f"the last line of metrics.jsonl (line {number + 1}) is incomplete because of a crash; the next"
                    " start rewrites it from the ledger"
                )
                break
            _metrics_line(finding, number, text, audit)
            number += 1
    if number < audit.steps:
        notes.append(
            f"metrics.jsonl has {number} lines, the ledger {audit.steps} steps: the line of the last step is written"
            " once the workers have applied it; further ones were lost in a crash"
        )
    return finding


def _metrics_line(finding: Finding, number: int, text: bytes, audit: Audit) -> None:
    where = f"line {number + 1}"
    try:
        line = decode_object(text, where)
        step, aggregate, parameters = (line[name] for name in ("step", "aggregate_hash", "params_hash"))
        if type(step) is not int:
            raise UnreadableFile(f"its step is {quoted(step)}")
    except (UnreadableFile, KeyError) as error:
        finding.refute(f"{where} is not a line of metrics: {error}")
        return
    if step != number:
        finding.refute(f"{where} is of step {step} instead of step {number}")
    elif step >= audit.steps:
        finding.refute(f"{where} is of step {step}, but the ledger has only {audit.steps} steps")
    elif aggregate != audit.aggregates[step]:
        finding.refute(
            f"{where}: the sum of step {step} has hash {quoted(aggregate)}, in the ledger {audit.aggregates[step]}"
        )
    elif (known := audit.parameters_after(step + 1)) is not None and parameters != known:
        finding.refute(
            f"{where}: the parameters after step {step} have hash {quoted(parameters)}, in the ledger {known}"
        )


def _load(finding: Finding, file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except (UnreadableFile, OSError) as error:
        finding.refute(str(error))
        return {}


def _run_record(file: Path, audit: Audit) -> Finding:
    finding = Finding("run.json", "it describes the run of the ledger")
    record = _load(finding, file)
    settings, model = audit.settings, audit.model
    if not record or settings is None:
        return finding
    wanted: dict[str, Any] = {
        name: getattr(settings, name) for name in ("run_id", "seed", "shards", "batch_size", "epochs")
    }
    # A release does not write to run.json what its format of the ledger does not have.
    wanted |= {
        name: getattr(settings, name)
        for name, since in (("min_shard_samples", 2), ("drop_last", 2), ("content_hash", 3))
        if settings.format >= since or name in record
    }
    if model is not None and record.get("dataset") is not None:
        wanted |= {"epochs": audit.end.epochs, "total_steps": audit.end.steps}
        dataset = record["dataset"]
        found = dataset.get("hash") if isinstance(dataset, dict) else dataset
        if found != model.dataset.hash:
            finding.refute(f"its dataset has hash {quoted(found)}, the ledger's {model.dataset.hash}")
    for name, value in wanted.items():
        if record.get(name) != value:
            finding.refute(f"{name} is {quoted(record.get(name))}, in the ledger {quoted(value)}")
    steps = record.get("steps")
    if type(steps) is not int or not 0 <= steps <= audit.steps:
        finding.refute(f"it has {quoted(steps)} steps, but the ledger has {audit.steps}")
    elif (
        record.get("dataset") is not None
        and (known := audit.parameters_after(steps)) is not None
        and record.get("params_hash") != known
    ):
        finding.refute(
            f"the parameters after {steps} steps have hash {quoted(record.get('params_hash'))}, in the ledger {known}"
        )
    if record.get("state") == "finished":
        _check_finished(finding, record, audit)
    return finding


def _check_finished(finding: Finding, record: dict[str, Any], audit: Audit) -> None:
    if audit.finished is None:
        finding.refute("it says that the run is finished, but the ledger does not")
    stop = audit.end.stop
    if bool(record.get("stopped", "")) != (stop is not None):
        recorded = f"was stopped: {stop.reason}" if stop is not None else "was not stopped"
        finding.refute(
            f"its reason for a stop is {quoted(record.get('stopped', ''))}; in the ledger the run {recorded}"
        )


def _result(file: Path, audit: Audit) -> Finding:
    finding = Finding("result.json", "the trained weights are those with which the run finished")
    result = _load(finding, file)
    if not result:
        return finding
    if audit.finished is None:
        finding.refute("it has the result of a finished run, but the ledger has no end")
    elif (result.get("steps"), result.get("params_hash")) != (audit.finished.steps, audit.finished.params_hash):
        finding.refute(
            f"it has {quoted(result.get('steps'))} steps and parameters {quoted(result.get('params_hash'))}, the ledger"
            f" {audit.finished.steps} and {audit.finished.params_hash}"
        )
    return finding


def _checkpoints(run_dir: Path, audit: Audit, notes: list[str]) -> Finding:
    finding = Finding(
        "checkpoints", "the existing ones have the content that the ledger recorded, and the newest one exists"
    )
    newest = audit.checkpoints[-1] if audit.checkpoints else None
    # A checkpoint may be written again under the same name; the last record is that of the file.
    named = {checkpoint.file: checkpoint for checkpoint in audit.checkpoints}
    for checkpoint in named.values():
        try:
            verify_checkpoint(run_dir, checkpoint)
        except CheckpointDamaged as error:
            finding.refute(str(error))
        except FileNotFoundError:
            if checkpoint is newest:
                finding.refute(f"{run_dir / checkpoint.file}, the newest, is missing")
    for file in sorted((run_dir / "checkpoints").glob("*.safetensors")):
        if str(file.relative_to(run_dir)) not in named:
            notes.append(
                f"{file} is not in the ledger: the orchestrator may have died before it recorded it; it is not used"
            )
    return finding
