"""The reference has every public name, each docstring is complete, and the page is what they say now."""

from __future__ import annotations

import os
from pathlib import Path

import griffe
import pytest

from tests.docs import workspace
from tools.api_reference.page import page
from tools.api_reference.public import Name, load, missing, names

TREE = Path(os.environ["WORKSPACE_PATHS"]).parent / "tree"
PAGE = "docs/reference/api.md"


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    return load(TREE / "services/python-ai-client")


def test_every_public_name_has_a_complete_docstring(package: griffe.Module) -> None:
    assert [lack for name in names(package) for lack in missing(name)] == []


def test_the_page_is_made_from_the_docstrings(package: griffe.Module) -> None:
    assert workspace.read(PAGE) == page(names(package)), "run ./bazelw run //tools/api_reference"


def test_the_page_has_every_name_that_the_package_exports(package: griffe.Module) -> None:
    exported = {str(name) for name in package.exports or []}
    assert "join" in exported and "Run" in exported
    assert [name for name in sorted(exported) if f"`pangea.{name}`" not in workspace.read(PAGE)] == []


@pytest.mark.parametrize(
    ("source", "lack"),
    [
        ("def f(): pass", "has no docstring"),
        ('def f(a, b):\n    """Adds.\n\n    Args:\n        a: one.\n    """', "does not describe its argument b"),
        ('def f(a, b):\n    """Adds.\n\n    Args:\n        a, b: both.\n    """', None),
        ('def f(a):\n    """Doubles `a`."""', None),
        (
            "from dataclasses import dataclass\n@dataclass\nclass f:\n"
            '    """A pair.\n\n    Attributes:\n        a: one.\n    """\n    a: int\n    b: int',
            "does not describe its attribute b",
        ),
    ],
)
def test_a_docstring_that_leaves_something_out_is_found(source: str, lack: str | None) -> None:
    with griffe.temporary_visited_module(source, docstring_parser=griffe.Parser.google) as module:
        what = module["f"]
        found = [*missing(Name("pangea.f", what))]
    assert [f"pangea.f {lack}"] == found if lack else found == []
