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
_LABEL = re.compile(r"(?<![A-Za-z0-9_:/@])//(?:\.\.\.|[a-z][\w./-]*?(?:/\.\.\.)?(?=[^\w./-]|\.?(?:\s|$))|(?=:))(?::[\w.+/-]*\w)?")
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
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src") if child.type == "image" else None
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


def labels(text: str) -> set[str]:
    """Targets and patterns of this workspace that a text names."""
    return set(_LABEL.findall(text))


def paths(text: str) -> set[str]:
    """Paths below the root's folders that a text names."""
    return set(_PATH.findall(text))
