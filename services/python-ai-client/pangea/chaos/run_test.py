"""What is read from a run under faults, and compared with the reference run."""

import json
from pathlib import Path

from pangea.chaos.run import detection_seconds, first_difference


def test_the_log_has_the_times_at_which_the_orchestrator_detected_each_kill(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        {"time": "1970-01-01T00:00:10.25Z", "event": "worker_gone", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:20.5Z", "event": "worker_joined", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:31Z", "event": "worker_gone", "worker": "worker-2"},
        {"time": "1970-01-01T00:00:40.125Z", "event": "worker_gone", "worker": "worker-1"},
        {"time": "1970-01-01T00:00:55Z", "event": "worker_joined", "worker": "worker-2"},
        {"time": "1970-01-01T00:00:59Z", "event": "worker_gone", "worker": "worker-2"},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # The second kill of worker-1 and the last one of worker-2 came before the worker had joined again; the last event
    # of worker-2 belongs to its next process.
    kills = [("worker-1", 10.0), ("worker-1", 20.0), ("worker-2", 30.0), ("worker-1", 40.0), ("worker-2", 50.0)]
    assert detection_seconds(log, kills) == [0.25, 1.0, 0.125]


def test_the_first_difference_is_a_step_number() -> None:
    assert first_difference(["a", "b"], ["a", "b", "c"]) is None
    assert first_difference(["a", "b", "c"], ["a", "x", "y"]) == 1
