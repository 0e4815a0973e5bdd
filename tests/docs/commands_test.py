"""The commands of one page, run with the real programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.docs.console import follow, write_door


def linked(folder: Path, programs: dict[str, str]) -> dict[str, Path]:
    """Each program under a name of its own: beside its real place a Python program would look for its files, which in a test lie with the test's."""
    folder.mkdir()
    found = {}
    for number, (label, path) in enumerate(programs.items()):
        found[label] = folder / str(number)
        found[label].symlink_to(Path(path).absolute())
    return found


def test_the_page_is_right(tmp_path: Path) -> None:
    programs = linked(tmp_path / "programs", json.loads(os.environ["PROGRAMS"]))
    clone = tmp_path / "clone"
    clone.mkdir()
    write_door(clone, programs)
    environment = {"PATH": os.environ["PATH"], "RUNFILES_DIR": str(Path.cwd().parent)}
    assert follow(Path(os.environ["PAGE"]).read_text(), clone, environment) > 0
