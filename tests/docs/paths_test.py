"""docs/paths.md lists what is there, and whatever is important is in it."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from tests.docs import workspace
from tests.docs.build_files import is_declared, packages
from tests.docs.documents import table_rows

PAGE = "docs/paths.md"
# The section about results of commands, which are not in the tree.
MADE = "Made by commands, never committed"


def name(cell: str) -> str:
    """The path or target of a row."""
    code = re.fullmatch(r"`([^`]+)`", cell)
    assert code, f"the first cell of a row has to be one `path` or `//target`, not {cell!r}"
    return code[1]


LISTED = [name(cells[0]) for heading, cells in table_rows(PAGE) if heading != MADE]


def important() -> set[str]:
    """Files at the root, folders of the two upper levels, and targets of the menu."""
    folders = {folder for folder in workspace.folders() if folder != "." and folder.count("/") < 2}
    return (
        {file for file in workspace.files() if "/" not in file}
        | folders
        | {f"//:{target}" for target in packages()[""] if not workspace.is_there(target)}
    )


@pytest.mark.parametrize("listed", LISTED)
def test_what_is_listed_is_there(listed: str) -> None:
    assert is_declared(listed) if listed.startswith("//") else workspace.is_there(listed)


def test_what_is_important_is_listed() -> None:
    assert sorted(important() - set(LISTED)) == [], f"give each of these a line in {PAGE}"


def test_each_is_listed_once_with_a_description() -> None:
    assert [listed for listed, same in groupby(sorted(LISTED)) if len(list(same)) > 1] == []
    assert [cells for _, cells in table_rows(PAGE) if len(cells) != 2 or not cells[1].strip()] == []


def test_what_commands_make_is_not_in_the_tree() -> None:
    made = [name(cells[0]) for heading, cells in table_rows(PAGE) if heading == MADE]
    assert len(made) > 3
    assert [path for path in made if workspace.is_there(path)] == []


def test_what_is_gone_is_noticed() -> None:
    assert not workspace.is_there("docs/gone.md") and not workspace.is_there("tools/gone")
    assert (
        workspace.is_there("docs/paths.md") and workspace.is_there("tools/lint") and workspace.is_there("tools/lint/")
    )
