"""docs/reference/environment.md has every variable that the sources name, and no other."""

from __future__ import annotations

import re

import pytest

from tests.docs import workspace
from tests.docs.documents import table_rows

PAGE = "docs/reference/environment.md"
_NAME = re.compile(r"PANGEA_[A-Z][A-Z_]*[A-Z]")


def read_in() -> dict[str, list[str]]:
    """Where the page says that a variable is read, by the variable."""
    return {_code(cells[0])[0]: _code(cells[1]) for _, cells in table_rows(PAGE) if _NAME.search(cells[0])}


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def in_sources() -> set[str]:
    """Variables that the sources name; these tests and the documents do not count."""
    sources = [file for file in workspace.files() if not file.endswith(".md") and not file.startswith("tests/docs/")]
    return {name for source in sources for name in _NAME.findall(workspace.read(source))}


def test_the_page_has_every_variable() -> None:
    assert len(in_sources()) > 10
    assert sorted(in_sources() - read_in().keys()) == [], f"describe each of these in {PAGE}"


def test_the_page_has_no_variable_that_is_gone() -> None:
    assert sorted(read_in().keys() - in_sources()) == []


@pytest.mark.parametrize(("variable", "files"), read_in().items())
def test_each_is_read_where_the_page_says(variable: str, files: list[str]) -> None:
    assert files
    assert [file for file in files if variable not in _NAME.findall(workspace.read(file))] == []
