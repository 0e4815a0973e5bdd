"""A page that says which test holds a promise names tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.docs import workspace
from tests.docs.documents import table_rows

PAGE = "docs/reference/hostile-inputs.md"
# A file and a test in it, one after the other.
_NAMED = re.compile(r"`([\w./-]+\.(?:go|rs|py))` `(\w+)`")


def named() -> list[tuple[str, str]]:
    """Each file and test that the page names."""
    return [match for _, cells in table_rows(PAGE) for match in _NAMED.findall(cells[-1])]


def is_defined(file: str, test: str) -> bool:
    """Whether the file is there and defines the test."""
    return workspace.is_there(file) and bool(re.search(rf"\b(?:def|func|fn) {test}\(", workspace.read(file)))


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_a_named_test_exists(file: str, test: str) -> None:
    assert is_defined(file, test), f"{PAGE} names {test} in {file}; name the test that holds the promise now"


def test_each_kind_has_an_answer_and_a_test() -> None:
    rows = [cells for heading, cells in table_rows(PAGE) if heading != "Figures"]
    assert len(rows) > 60
    assert [cells for cells in rows if len(cells) != 3 or not cells[1] or not _NAMED.search(cells[2])] == []


def test_what_is_gone_is_noticed() -> None:
    assert not is_defined("tests/docs/named_tests_test.py", "test_gone")
    assert not is_defined("tests/docs/gone_test.py", "test_a_named_test_exists")
