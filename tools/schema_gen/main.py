"""`./bazelw run //tools/schema_gen`: copies the generated bindings of schemas/ to generated/schemas/<language>/, to read them. Git ignores that folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

LANGUAGES = {".go": "go", ".rs": "rust", ".py": "python", ".pyi": "python"}


def write_bindings(files: list[Path], folder: Path) -> list[Path]:
    """Replaces `folder` by copies of the files, sorted by language; returns their paths.

    Raises:
        ValueError: a file is not a binding of a known language.
    """
    for file in files:
        if file.suffix not in LANGUAGES:
            raise ValueError(f"{file} is not a binding; expected files with {', '.join(LANGUAGES)}")
    shutil.rmtree(folder, ignore_errors=True)
    written = []
    for file in files:
        place = folder / LANGUAGES[file.suffix] / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        written.append(place)
    return written


def main(arguments: list[str]) -> None:
    """Writes the bindings into the workspace that this was started in."""
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        sys.exit("schema_gen: start it with ./bazelw run //tools/schema_gen, so that it knows the workspace")
    for place in write_bindings([Path(argument) for argument in arguments], Path(workspace) / "generated" / "schemas"):
        print(place.relative_to(workspace))


if __name__ == "__main__":
    main(sys.argv[1:])
