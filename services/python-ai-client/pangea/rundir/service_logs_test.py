"""Errors and repeated work are counted in the logs of all services of a run."""

import json
from pathlib import Path

from pangea.rundir.service_logs import ServiceLogs, read_service_logs


def test_errors_refused_checkpoints_and_repeated_steps_are_counted(tmp_path: Path) -> None:
    assert read_service_logs(tmp_path) == ServiceLogs()
    (tmp_path / "logs").mkdir()
    refused = {
        "level": "ERROR",
        "msg": "a checkpoint does not belong to this run; an older one will be tried",
        "event": "checkpoint_refused",
        "file": "f",
    }
    orchestrator = [
        {"level": "INFO", "msg": "ready"},
        {"level": "INFO", "msg": "the run continues from a checkpoint", "steps_again": 3},
        refused,
        {"level": "INFO", "msg": "the run continues from a checkpoint", "steps_again": 4},
    ]
    (tmp_path / "logs" / "go-orchestrator.log").write_text(
        "".join(json.dumps(line) + "\n" for line in orchestrator) + "panic: nil\n"
    )
    (tmp_path / "logs" / "rust-compute-2.log").write_text('{"level":"WARN"}\n{"level":"ERROR","error":"e"}\n')
    (tmp_path / "logs" / "worker-1.log").write_text("a worker may print anything\n")
    found = read_service_logs(tmp_path)
    assert (found.checkpoints_refused, found.steps_again) == (1, 7)
    assert found.errors == [
        f"go-orchestrator.log: {json.dumps(refused)}",
        "go-orchestrator.log: panic: nil",
        'rust-compute-2.log: {"level":"ERROR","error":"e"}',
    ]
