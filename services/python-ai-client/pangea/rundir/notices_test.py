"""A notice is reported once, and its file never stops the training."""

import json
from pathlib import Path

from pangea.rundir.notices import Notices


def test_each_text_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    notices = Notices(tmp_path, "host/worker-1")
    for text in ("one", "two", "one"):
        notices.add(text)
    lines = [json.loads(line) for line in (tmp_path / "logs" / "host_worker-1.notices.jsonl").read_text().splitlines()]
    assert [(line["worker"], line["text"]) for line in lines] == [("host/worker-1", "one"), ("host/worker-1", "two")]


def test_without_a_folder_a_notice_is_only_logged(tmp_path: Path) -> None:
    Notices(tmp_path / "nowhere", "w").add("one")
    Notices(None, "w").add("one")
    assert list(tmp_path.iterdir()) == []
