"""All texts of the workspace follow docs/style.md, as far as style.py can check it."""

from __future__ import annotations

from functools import cache

import pytest

from tests.docs import style, workspace


@cache
def findings() -> list[style.Finding]:
    """Every place of the workspace that breaks a rule."""
    return [finding for file in workspace.files() for finding in style.check(file, workspace.read(file))]


@pytest.mark.parametrize("rule", ["width", "docstring", "phrase"])
def test_no_text_breaks_a_rule(rule: str) -> None:
    assert [str(finding) for finding in findings() if finding.rule == rule] == []


def test_the_files_of_every_language_are_checked() -> None:
    for ending in (".md", ".py", ".go", ".rs", ".bzl", ".capnp", ".yaml"):
        assert any(file.endswith(ending) for file in workspace.files())
