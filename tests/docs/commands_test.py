"""The commands of one page, run with the real programs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from tests.docs.console import follow, write_command, write_door

ROOT = Path.cwd()
RUNFILES = {"RUNFILES_DIR": str(ROOT.parent)}


def commands(variable: str, folder: Path) -> dict[str, Path]:
    """What BUILD.bazel gives by name as command lines, as programs of a folder.

    Each is reached over a link: beside its real place a Python program would look for its files, which in a test lie
    with the test's.
    """
    found = dict[str, Path]()
    for name, line in json.loads(os.environ[variable]).items():
        program, *words = [str(ROOT / word) if word.startswith("./") else word for word in shlex.split(line)]
        link = folder / "links" / str(len(found)) / Path(program).name
        link.parent.mkdir(parents=True)
        link.symlink_to(program)
        found[name] = folder / name.rpartition("/")[2]
        write_command(found[name], [str(link), *words], RUNFILES)
    return found


def make_clone(clone: Path, built: dict[str, str]) -> None:
    """The files that the page needs, and in bazel-bin what it builds; beside a program its files, as Bazel does it."""
    for file in os.environ["FILES"].split():
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, clone / file)
    for files in built.values():
        for file in files.split():
            place = clone / "bazel-bin" / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(ROOT / file)
            place.with_name(place.name + ".runfiles").symlink_to(ROOT.parent)


def test_the_page_is_right(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    built = json.loads(os.environ["BUILT"])
    make_clone(clone, built)
    write_door(clone, commands("PROGRAMS", tmp_path / "programs"), built, ROOT)
    commands("TOOLS", tmp_path / "tools")
    environment = {"PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}"}
    assert follow(Path(os.environ["PAGE"]).read_text(), clone, environment) > 0
