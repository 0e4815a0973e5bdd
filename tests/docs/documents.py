"""What the Markdown documents of the workspace say: links, headings, names of paths and targets."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs import workspace

# What a release brought is history: it may name what has gone since.
_HISTORY = ("CHANGELOG.md",)
_LABEL = re.compile(
    r"(?<![A-Za-z0-9_:/@])//(?:\.\.\.|[a-z][\w./-]*?(?:/\.\.\.)?(?=[^\w./-]|\.?(?:\s|$))|(?=:))(?::[\w.+/-]*\w)?"
)
_TOP_FOLDERS = "|".join(sorted({file.split("/")[0] for file in workspace.files() if "/" in file}))
_PATH = re.compile(rf"(?<![\w./:@<-])(?:{_TOP_FOLDERS})/[\w./@-]*[\w/](?![\w*<{{])")


@cache
def documents() -> list[str]:
    """Paths of all Markdown documents that speak of the present."""
    return [file for file in workspace.files() if file.endswith(".md") and file not in _HISTORY]


@cache
def tokens(document: str) -> list[Token]:
    """The document, parsed; tables as GitHub has them."""
    return MarkdownIt("commonmark").enable("table").parse(workspace.read(document))


def links(document: str) -> list[str]:
    """Where links and images point to."""
    found = []
    for token in tokens(document):
        for child in token.children or []:
            target = (
                child.attrGet("href")
                if child.type == "link_open"
                else child.attrGet("src")
                if child.type == "image"
                else None
            )
            if target is not None:
                found.append(str(target))
    return found


def anchors(document: str) -> set[str]:
    """What `#...` may stand behind the document's name, as GitHub makes it from the headings."""
    parsed, found, times = tokens(document), set(), Counter[str]()
    for heading, text in pairwise(parsed):
        if heading.type == "heading_open":
            words = "".join(child.content for child in text.children or [] if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found.add(f"{name}-{times[name]}" if times[name] else name)
            times[name] += 1
    return found


def table_rows(document: str) -> list[tuple[str, list[str]]]:
    """The rows of the document's tables: the heading that they stand under, and their cells."""
    found, heading, cells = list[tuple[str, list[str]]](), "", list[str]()
    for token, following in pairwise(tokens(document)):
        if token.type == "heading_open":
            heading = following.content
        elif token.type == "td_open":
            cells.append(following.content)
        elif token.type == "tr_close" and cells:
            found.append((heading, cells))
            cells = []
    return found


def commands(document: str) -> list[str]:
    """Lines of its blocks of code, and of what stands in a line between backquotes; commands are among them."""
    blocks = [token.content for token in tokens(document) if token.type in ("fence", "code_block")]
    inline = [
        child.content for token in tokens(document) for child in token.children or [] if child.type == "code_inline"
    ]
    return [line for text in [*blocks, *inline] for line in text.splitlines()]


def consoles(document: str) -> list[str]:
    """Its blocks of commands that a test runs."""
    return [
        token.content for token in tokens(document) if token.type == "fence" and token.info.split()[:1] == ["console"]
    ]


def labels(text: str) -> set[str]:
    """Targets and patterns of this workspace that a text names."""
    return set(_LABEL.findall(text))


def paths(text: str) -> set[str]:
    """Paths below the root's folders that a text names."""
    return set(_PATH.findall(text))
