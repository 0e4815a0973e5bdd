"""Links of the documents lead somewhere, and the targets and paths that they name are there."""

from __future__ import annotations

import os
import posixpath

import pytest

from tests.docs.build_files import declared, is_declared
from tests.docs.documents import anchors, consoles, documents, labels, links, paths
from tests.docs.workspace import is_there


def broken(document: str, link: str) -> str | None:
    """What is wrong with a link; None if nothing is."""
    if ":" in link.split("/")[0]:
        return None
    path, _, anchor = link.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(document), path)) if path else document
    if not is_there(target):
        return f"{link}: there is no {target}"
    if anchor and anchor not in anchors(target):
        return f"{link}: {target} has no heading for #{anchor}, only {sorted(anchors(target))}"
    return None


def test_there_are_documents_and_links() -> None:
    assert "README.md" in documents()
    assert len([link for document in documents() for link in links(document)]) >= 15


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document: str) -> None:
    assert [found for link in links(document) if (found := broken(document, link)) is not None] == []


@pytest.mark.parametrize("document", documents())
def test_targets_that_are_named_exist(document: str, text: str) -> None:
    assert [label for label in sorted(labels(text)) if not is_declared(label)] == []


@pytest.mark.parametrize("document", documents())
def test_paths_that_are_named_exist(document: str, text: str) -> None:
    assert [path for path in sorted(paths(text)) if not is_there(path)] == []


def test_every_page_with_commands_is_run() -> None:
    run = {f"docs/{page}" for page in os.environ["PAGES"].split()}
    assert {document for document in documents() if consoles(document)} == run, (
        "PAGES in tests/docs/BUILD.bazel names the pages whose commands are run"
    )


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("README.md", None),
        ("../README.md#start", None),
        ("https://example.com/gone", None),
        ("gone.md", "gone.md: there is no docs/gone.md"),
        ("../README.md#gone", "has no heading for #gone"),
    ],
)
def test_a_broken_link_is_noticed(link: str, wrong: str | None) -> None:
    found = broken("docs/README.md", link)
    assert found is None if wrong is None else wrong in (found or "")


def test_labels_are_found_in_a_text() -> None:
    text = "`//:demo`, //a/b:c_test. See //tools/lint, //a/...; ./bazelw test //... and //x:all; https://host//d @other//:e //tests/docs."
    assert labels(text) == {"//:demo", "//a/b:c_test", "//tools/lint", "//a/...", "//...", "//x:all", "//tests/docs"}


def test_paths_are_found_in_a_text() -> None:
    text = "`docs/README.md`, tests/gone_test.py. See tools/lint/, https://host/docs/x, bazel-bin/tests/y, ./docs/z, tests/<name>_test.py"
    assert paths(text) == {"docs/README.md", "tests/gone_test.py", "tools/lint/"}


def test_a_target_that_is_gone_is_noticed() -> None:
    assert (
        is_declared("//:demo")
        and is_declared("//tests/docs:links_test")
        and is_declared("//tests/...")
        and is_declared("//tests/docs:all")
    )
    assert not any(
        is_declared(label)
        for label in ["//:gone", "//tests/docs:gone_test", "//gone:all", "//gone/...", "//gone", "//tests/docs:gone.py"]
    )


def test_targets_of_a_build_file_are_found() -> None:
    text = """
load("//x:defs.bzl", "macro", "NAMES")
package(default_visibility = ["//visibility:private"])
exports_files(["file.txt"])
[macro(name = test + "_test", srcs = glob(["*.py"]) + select({"//a": []})) for test in {"a": 1, "b": 2}.keys() + NAMES]
macro(name = "{}_c".format("x"), outs = ["made.txt"])
"""
    assert declared(text) == {"file.txt", "a_test", "b_test", "x_c", "made.txt"}
