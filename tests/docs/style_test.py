"""The style checker finds what docs/style.md forbids, leaves good English alone, and knows the same phrases."""

from __future__ import annotations

import pytest

from tests.docs import style
from tests.docs.documents import table_rows

LONG = "A word " * 15 + "ends."


def rules(path: str, text: str) -> list[tuple[int, str]]:
    """Line and rule of each finding."""
    return [(finding.line, finding.rule) for finding in style.check(path, text)]


def test_the_document_has_the_phrases_of_the_checker() -> None:
    rows = [tuple(cells) for heading, cells in table_rows("docs/style.md") if heading == "Phrases"]
    known = [(phrase.avoid, phrase.write) for phrase in style.phrases()]
    assert rows == known, "change docs/style.md and tests/docs/phrases.toml together"


def test_the_glossary_has_each_term_once() -> None:
    terms = [cells[0] for heading, cells in table_rows("docs/style.md") if heading == "Glossary"]
    assert len(terms) > 20
    assert len(set(terms)) == len(terms)


@pytest.mark.parametrize("phrase", style.phrases(), ids=lambda phrase: phrase.avoid)
def test_a_phrase_is_noticed_and_its_replacement_is_not(phrase: style.Phrase) -> None:
    assert list(phrase.matches(phrase.bad))
    assert not [other.avoid for other in style.phrases() if list(other.matches(phrase.good))]


@pytest.mark.parametrize(
    "text",
    [
        "// The last shard has\n// come.\n",
        "/// The last shard has\n    /// come.\n",
        '    "the last shard has "\n    "come"\n',
        '\t"the last shard has " +\n\t\t"come"\n',
        "The last shard HAS\ncome.\n",
    ],
)
def test_a_phrase_is_noticed_across_lines(text: str) -> None:
    assert [finding.rule for finding in style.check("a.go", text)] == ["phrase"]


def test_the_files_about_phrases_may_quote_them() -> None:
    assert rules("docs/style.md", "The shard has come.\n") == []
    assert rules("docs/other.md", "The shard has come.\n") == [(1, "phrase")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{LONG}\n", [1]),
        (f"- {LONG}\n  {LONG}\n", [1, 2]),
        (f"> {LONG}\n", [1]),
        (f"| {LONG} |\n", []),
        (f"# {LONG}\n", []),
        (f"See https://example.com, {LONG}\n", []),
        (f"[name]: {LONG}\n", []),
        (f"```sh\n{LONG}\n```\n{LONG}\n", [4]),
        (f"````\n```\n{LONG}\n````\n{LONG}\n", [5]),
        (f"Code:\n\n    {LONG}\n\n    {LONG}\n\n{LONG}\n", [7]),
        (f"- list\n    {LONG}\n", [2]),
        (f"- `{LONG}`,\n- `{LONG}` too.\n", [2]),
    ],
)
def test_wide_markdown_is_noticed(text: str, lines: list[int]) -> None:
    assert rules("a.md", text) == [(line, "width") for line in lines]


def test_wide_python_is_noticed_but_not_data() -> None:
    wide = "x" * 121
    assert rules("a.py", f"# {wide}\n") == [(1, "width")]
    assert rules("a.py", f'a = "{wide}"\n') == [(1, "width")]
    assert rules("a.py", f'"""Sentence.\n\n{wide}\n"""\n') == [(3, "width")]
    assert rules("a.py", f'DATA = """\n{wide}\n"""\n') == []
    assert rules("a.py", f"# https://example.com/{wide}\n") == []
    assert rules("run", f"#!/usr/bin/env python3\n# {wide}\n") == [(2, "width")]


@pytest.mark.parametrize(
    ("path", "mark"), [("a.go", "//"), ("a.rs", "///"), ("BUILD.bazel", "#"), ("a.capnp", "#"), ("a.yaml", "#")]
)
def test_wide_comments_are_noticed_but_not_code(path: str, mark: str) -> None:
    assert rules(path, f"{mark} {LONG}\n") == [(1, "width")]
    assert rules(path, "a" * 130 + "\n") == []
    assert rules(path, f"a = 1 {mark} {LONG}\n") == []
    assert rules(path, f"{'a' * 60} {mark} {LONG}\n") == [(1, "width")]


@pytest.mark.parametrize(
    ("documentation", "reason"),
    [
        ("Names of the targets.", None),
        ("`close` releases the lease.", None),
        ("torch has its own threads.", None),
        ("pytest runs it all.", None),
        ("The reasons for it:\n\n- one", None),
        ("Whether it is open (see above).", None),
        ("names of the targets.", "lower case"),
        ("Names of the targets", "end as a sentence"),
        ("Names of the targets,\n\nand more.", "end as a sentence"),
        ("Does it.", "does not say what"),
        ("Writes them.", "does not say what"),
        ("The page.", "too short"),
        ("", "empty"),
    ],
)
def test_a_fragment_is_noticed(documentation: str, reason: str | None) -> None:
    found = style.fragment(documentation, at_least=3)
    assert found is None if reason is None else reason in (found or "")


def test_fragments_are_noticed_in_each_language() -> None:
    assert rules("a.py", 'def close() -> None:\n    """Does it."""\n') == [(2, "docstring")]
    assert rules("a.py", 'def _close() -> None:\n    """Does it."""\n') == []
    assert rules("a.bzl", 'def close():\n    """Does it."""\n') == [(2, "docstring")]
    assert rules("a.go", "// closes the lease.\nfunc Close() {}\n") == [(1, "docstring")]
    assert rules("a.go", "// Close releases the lease\nfunc (l *Lease) Close() {}\n") == [(1, "docstring")]
    assert (
        rules("a.go", "// Close releases the lease.\nfunc Close() {}\n\n// A Lease is open.\ntype Lease struct{}\n")
        == []
    )
    assert rules("a_test.go", "// Scenario: one worker.\nfunc TestClose(t *testing.T) {}\n") == []
    assert rules("a.rs", "/// releases the lease\npub fn close() {}\n") == [(1, "docstring")]
    assert rules("a.rs", "//! What leases are.\n\n/// Address to listen on\n#[arg(long)]\nlisten: String,\n") == []


def test_texts_of_others_are_left_alone() -> None:
    assert rules("third_party/rust/Cargo.toml", f"# {LONG}\n") == []
    assert rules("libraries/order/testdata/cuts.md", f"{LONG}\n") == []
    assert rules("picture.png", f"{LONG}\n") == []
