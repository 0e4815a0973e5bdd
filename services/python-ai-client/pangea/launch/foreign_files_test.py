"""launch.json, run.json and the status of a peer are read as they should be, or refused with a PangeaError."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangea.errors import PangeaError
from pangea.launch.events import RunEvents
from pangea.launch.resume import is_complete, merge, open_run
from pangea.launch.settings import Launch, Settings, UnusableLaunchFile, write_launch
from pangea.rundir.status import read_status

SEARCH = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\ud800", "/etc/passwd", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)
RUN = {
    "run_id": "r",
    "state": "stopped",
    "total_steps": 20,
    "params_hash": "",
    "incidents": 0,
    "stopped": "",
    "checkpoint_error": "",
    "resumed_from": {"step": 1, "steps_again": 0, "file": "f"},
}
METRICS = {"step": 0, "epoch": 0, "loss": 1.0, "params_hash": "p"}


def launch_content(folder: Path) -> dict[str, Any]:
    write_launch(folder, Launch(Settings(folder / "script.py", ("--lr", "1")), "run", "0" * 64))
    return dict(json.loads((folder / "launch.json").read_text()))


@SEARCH
@given(st.data())
def test_a_launch_file_of_any_content_is_read_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = launch_content(folder)
        key = data.draw(st.sampled_from([*content, "further", None]))
        value = data.draw(VALUES)
        changed = {**content, key: value} if key is not None else value
        (folder / "launch.json").write_text(json.dumps(changed))
        try:
            launch = open_run(folder)
            assert isinstance(launch.settings.workers, int) and isinstance(launch.settings.dataset, str)
            merge(launch, {})
        except PangeaError:
            pass


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b'{"format": ' + b"9" * 5000 + b"}", b'{"format": []}'])
def test_a_launch_file_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "launch.json").write_bytes(content)
    with pytest.raises(UnusableLaunchFile):
        open_run(tmp_path)


@SEARCH
@given(st.sampled_from([*RUN, "further", None]), VALUES, st.sampled_from([*METRICS, None]), VALUES)
def test_the_files_of_a_run_are_shown_or_refused(key: str | None, value: Any, metric: str | None, other: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.json").write_text(json.dumps({**RUN, key: value} if key is not None else value))
        line = {**METRICS, metric: other} if metric is not None else other
        (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        (folder / "result.json").write_text(json.dumps(value))
        (folder / "logs").mkdir()
        (folder / "logs" / "w.notices.jsonl").write_text(json.dumps(value) + "\n")
        (folder / "logs" / "go-orchestrator.ports.json").write_text(json.dumps({"http": value}))
        for read in (
            lambda: read_status(str(folder), folder),
            lambda: RunEvents(folder).poll(now=True),
            lambda: is_complete(folder, Settings(Path("s")), Settings(Path("s"))),
        ):
            with suppress(PangeaError):
                read()
