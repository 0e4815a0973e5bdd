"""Events of a run are reported once, as they happen."""

import json
from pathlib import Path
from typing import Any

import pytest

from pangea.launch.events import RunEvents
from pangea.ledger.fixtures import incident, opening, step, written


class Watched:
    """A run directory, a status that the test sets, and a clock that only the test advances."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.status, self.now = folder, dict[str, Any](), 0.0
        (folder / "logs").mkdir()
        self.events = RunEvents(folder, lambda _folder: self.status, lambda: self.now)

    def notice(self, worker: str, text: str) -> None:
        with (self.folder / "logs" / f"{worker}.notices.jsonl").open("a") as stream:
            stream.write(json.dumps({"time": "now", "worker": worker, "text": text}) + "\n")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_notice_is_reported_once_for_all_workers_and_not_again_after_a_restart(watched: Watched) -> None:
    watched.notice("worker-1", "the loss is summed")
    watched.notice("worker-2", "the loss is summed")
    assert watched.events.poll(now=True) == ["worker-1: the loss is summed"]
    watched.notice("worker-2", "a buffer is not saved")
    assert watched.events.poll(now=True) == ["worker-2: a buffer is not saved"]
    assert watched.events.poll(now=True) == []
    assert RunEvents(watched.folder, lambda _folder: {}).poll(now=True) == []


def test_files_and_status_are_read_at_an_interval(watched: Watched) -> None:
    assert watched.events.poll() == []
    watched.notice("worker-1", "new")
    assert watched.events.poll() == [], "it was polled just before"
    watched.now = 10.0
    assert watched.events.poll() == ["worker-1: new"]


def test_incidents_are_reported_as_they_happen(watched: Watched) -> None:
    watched.status = {"incidents": 1}
    ledger = watched.folder / "ledger.jsonl"
    ledger.write_bytes(written([*opening(), step(0), incident("replay", 1)]))
    assert watched.events.poll(now=True) == ["incident: replay at step 1: a replay"]
    assert watched.events.poll(now=True) == []
    watched.status = {"incidents": 8}
    ledger.write_bytes(written([*opening(), step(0), *[incident("replay", 1)] * 8]))
    assert watched.events.poll(now=True) == ["incident: replay at step 1: a replay"] * 4 + [
        f"there are more incidents; see pangea audit {watched.folder}"
    ]
    (watched.folder / "run.json").write_text('{"incidents": 8}')
    assert RunEvents(watched.folder, lambda _folder: {"incidents": 8}).poll(now=True) == [], (
        "incidents of an earlier start"
    )


def test_a_failed_checkpoint_is_reported_and_so_is_the_recovery(watched: Watched) -> None:
    watched.status = {"checkpoint_error": "no space left on device"}
    assert watched.events.poll(now=True) == [
        "warning: a checkpoint could not be written: no space left on device. The run continues, and tries again with"
        " the next one"
    ]
    assert watched.events.poll(now=True) == []
    watched.status = {"checkpoint_error": ""}
    assert watched.events.poll(now=True) == ["checkpoints are written again"]


def test_the_point_from_which_a_run_resumes_is_reported_once(watched: Watched) -> None:
    watched.status = {"resumed_from": None}
    assert watched.events.poll(now=True) == []
    watched.status = {"resumed_from": {"step": 40, "file": "checkpoints/step-40.safetensors", "steps_again": 3}}
    assert watched.events.poll(now=True) == [
        "the run resumes from checkpoints/step-40.safetensors (step 40); 3 steps are computed again"
    ]
    assert watched.events.poll(now=True) == []
