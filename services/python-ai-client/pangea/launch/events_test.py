"""What people should know of a run is told once, as it happens."""

import json
from pathlib import Path
from typing import Any

import pytest

from pangea.launch.events import RunEvents
from pangea.ledger.fixtures import incident, opening, step, written


class Watched:
    """A run directory, a status that the test sets, and a clock that stands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.status, self.now = folder, dict[str, Any](), 0.0
        (folder / "logs").mkdir()
        self.news = RunEvents(folder, lambda _folder: self.status, lambda: self.now)

    def notice(self, worker: str, text: str) -> None:
        with (self.folder / "logs" / f"{worker}.notices.jsonl").open("a") as stream:
            stream.write(json.dumps({"time": "now", "worker": worker, "text": text}) + "\n")


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_notice_is_told_once_whoever_has_it_and_not_again_after_a_new_start(watched: Watched) -> None:
    watched.notice("worker-1", "the loss is summed")
    watched.notice("worker-2", "the loss is summed")
    assert watched.news.poll(now=True) == ["worker-1: the loss is summed"]
    watched.notice("worker-2", "a buffer is not saved")
    assert watched.news.poll(now=True) == ["worker-2: a buffer is not saved"]
    assert watched.news.poll(now=True) == []
    assert RunEvents(watched.folder, lambda _folder: {}).poll(now=True) == []


def test_files_and_status_are_looked_at_now_and_then(watched: Watched) -> None:
    assert watched.news.poll() == []
    watched.notice("worker-1", "new")
    assert watched.news.poll() == [], "it has just looked"
    watched.now = 10.0
    assert watched.news.poll() == ["worker-1: new"]


def test_incidents_are_named_as_they_arrive(watched: Watched) -> None:
    watched.status = {"incidents": 1}
    ledger = watched.folder / "ledger.jsonl"
    ledger.write_bytes(written([*opening(), step(0), incident("replay", 1)]))
    assert watched.news.poll(now=True) == ["incident: replay at step 1: a replay"]
    assert watched.news.poll(now=True) == []
    watched.status = {"incidents": 8}
    ledger.write_bytes(written([*opening(), step(0), *[incident("replay", 1)] * 8]))
    assert watched.news.poll(now=True) == ["incident: replay at step 1: a replay"] * 4 + [f"there are more incidents; see pangea audit {watched.folder}"]
    (watched.folder / "run.json").write_text('{"incidents": 8}')
    assert RunEvents(watched.folder, lambda _folder: {"incidents": 8}).poll(now=True) == [], "those are of an earlier start"


def test_checkpoints_that_cannot_be_written_are_told_at_once_and_when_they_can_again(watched: Watched) -> None:
    watched.status = {"checkpoint_error": "no space left on device"}
    assert watched.news.poll(now=True) == ["warning: a checkpoint could not be written: no space left on device. The run goes on, and tries again with the next one"]
    assert watched.news.poll(now=True) == []
    watched.status = {"checkpoint_error": ""}
    assert watched.news.poll(now=True) == ["checkpoints are written again"]


def test_where_a_run_goes_on_and_what_that_costs_is_told_once(watched: Watched) -> None:
    watched.status = {"resumed_from": None}
    assert watched.news.poll(now=True) == []
    watched.status = {"resumed_from": {"step": 40, "file": "checkpoints/step-40.safetensors", "steps_again": 3}}
    assert watched.news.poll(now=True) == ["the run goes on from checkpoints/step-40.safetensors (step 40); 3 steps are computed again"]
    assert watched.news.poll(now=True) == []
