"""Checks the style that docs/style.md sets out: line width, fragment docstrings, and phrases to avoid.

    python3 tests/docs/style.py            # every file that git knows
    python3 tests/docs/style.py FILES...   # these files, and the files below these folders

Prints one line a finding and exits with 1 if there is one. It needs nothing but the standard library (3.11), so that
it runs without the build.

Width:
    Markdown         100 columns; tables, code, headings, link definitions, URLs and single words are exempt
    Python           120 columns; lines with a URL are exempt, and multi-line strings that are not docstrings
    other sources    comments 100 columns, lines that end with a comment 120; lines with a URL are exempt

Docstrings (Python and Starlark: modules, public classes and functions; Go: exported declarations; Rust: `///`, `//!`):
    the first paragraph begins with a capital letter, a number, code or a known name, and ends as a sentence does; it is
    not only a verb with a pronoun ("Does it."), and a function's or class's has at least three words

Phrases: phrases.toml, beside this file.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

MARKDOWN_WIDTH = 100
COMMENT_WIDTH = 100
CODE_WIDTH = 120

TABLE = Path(__file__).with_name("phrases.toml")

# What opens a comment, by language.
COMMENT_MARKS = {
    **dict.fromkeys((".go", ".rs"), "//"),
    **dict.fromkeys((".bzl", ".bazel", ".BUILD", ".capnp", ".yaml", ".yml", ".sh", ".toml", ".tpl", ".service"), "#"),
    **dict.fromkeys(("BUILD", "Makefile", ".bazelrc", ".bazelignore", ".gitignore"), "#"),
}
# Texts of others, data whose bytes matter, and locks.
EXEMPT = re.compile(r"^tools/registry/(stubs|modules)/|/testdata/|\.lock$|^third_party/.*\.(toml|in|sum|mod)$")
# These quote the phrases that they are about.
QUOTES_PHRASES = {"docs/style.md", "tests/docs/phrases.toml", "tests/docs/style.py", "tests/docs/style_test.py"}

_SENTENCE_END = re.compile(r"[.:?!…][)\]\"'`*_]*$|`$|```")
_VERB_AND_PRONOUN = re.compile(r"^\w+ (it|them|so|this|that|one|these|those)[.!]?$", re.IGNORECASE)
_GAP = r"""(?:\s|["']\s*\+?\s*\n\s*[rfb]*["']|\n\s*(?://[/!]?|\#+)[ \t])+"""


@dataclass(frozen=True, order=True)
class Finding:
    """A place that breaks a rule, and what to do about it."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Phrase:
    """A row of phrases.toml, its patterns compiled."""

    avoid: str
    write: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None
    bad: str
    good: str

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Places of the phrase in a text that are not good English after all."""
        allowed = [match.span() for match in self.unless.finditer(text)] if self.unless else []
        for match in self.pattern.finditer(text):
            if not any(start <= match.start() and match.end() <= end for start, end in allowed):
                yield match


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", _GAP), re.IGNORECASE)


@cache
def phrases() -> list[Phrase]:
    """The phrases to avoid."""
    return [
        Phrase(
            avoid=row["not"],
            write=row["write"],
            pattern=_compiled(row["pattern"]),
            unless=_compiled(row["unless"]) if "unless" in row else None,
            bad=row["bad"],
            good=row["good"],
        )
        for row in tomllib.loads(TABLE.read_text())["phrase"]
    ]


@cache
def names() -> frozenset[str]:
    """Names that may begin a sentence in lower case."""
    return frozenset(tomllib.loads(TABLE.read_text())["names"])


def is_python(path: str, text: str) -> bool:
    """Whether a file is Python, by its name or its first line."""
    return path.endswith((".py", ".pyi")) or (text.startswith("#!") and "python3" in text.partition("\n")[0])


def comment_mark(path: str) -> str | None:
    """What opens a comment in a file that is neither Python nor Markdown; None where comments are not looked at."""
    file = Path(path)
    return COMMENT_MARKS.get(file.suffix) or COMMENT_MARKS.get(file.name)


# --------------------------------------------------------------------------------------------- width


def wide_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a document that are too wide."""
    fence, code, before = "", False, ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        # Four blanks after an empty line are a block of code, until a line has fewer.
        code = (line.startswith("    ") and (code or not before.strip())) or (code and not line.strip())
        before = line
        exempt = fence or mark or code or line.lstrip().startswith(("|", "#")) or "://" in line or _is_one_word(line)
        if not exempt and not re.match(r"\s*\[[^]]+\]: ", line) and len(line) > MARKDOWN_WIDTH:
            yield number, f"{len(line)} columns, at most {MARKDOWN_WIDTH} in Markdown"


def _is_one_word(line: str) -> bool:
    """Whether a line cannot be broken: a word or piece of code, perhaps behind the mark of a list."""
    return len(re.sub(r"`[^`]*`", "code", re.sub(r"^\s*([-*>]|\d+\.) ", "", line)).split()) == 1


def wide_python(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a Python file that are too wide."""
    data = _lines_of_data(text)
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > CODE_WIDTH and "://" not in line and number not in data:
            yield number, f"{len(line)} columns, at most {CODE_WIDTH} in Python"


def _lines_of_data(text: str) -> set[int]:
    """Lines inside of multi-line strings that are not docstrings; their content is not ours to break."""
    found = set[int]()
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.STRING and token.end[0] > token.start[0]:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (string := _docstring(node)) is not None and string.end_lineno is not None:
            found.difference_update(range(string.lineno, string.end_lineno + 1))
    return found


def wide_comments(text: str, mark: str) -> Iterator[tuple[int, str]]:
    """Comments that are too wide."""
    trailing = re.compile(rf"\S\s+{mark}[/!]? ")
    for number, line in enumerate(text.splitlines(), 1):
        if "://" in line:
            continue
        if line.lstrip().startswith(mark):
            if len(line) > COMMENT_WIDTH:
                yield number, f"{len(line)} columns, at most {COMMENT_WIDTH} in comments"
        elif len(line) > CODE_WIDTH and trailing.search(line):
            yield number, f"{len(line)} columns with the comment, at most {CODE_WIDTH}; put it above the line"


# ---------------------------------------------------------------------------------------- docstrings


def _docstring(node: ast.AST) -> ast.Constant | None:
    """The string that documents a module, class or function."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return None
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value
    return None


def fragment(documentation: str, at_least: int = 1) -> str | None:
    """Why the first paragraph of a documentation is a fragment; None if it is not.

    Args:
        documentation: the text, without comment marks.
        at_least: words that it needs.
    """
    summary = " ".join(re.split(r"\n\s*\n", documentation.strip(), maxsplit=1)[0].split())
    if not summary:
        return "it is empty"
    word = summary.split()[0].rstrip(",;:")
    if re.fullmatch(r"[a-z]+(-[a-z]+)*", word) and word not in names():
        return f"it begins in lower case: {word!r}"
    if not _SENTENCE_END.search(summary):
        return f"it does not end as a sentence does: {summary[-30:]!r}"
    if _VERB_AND_PRONOUN.match(summary):
        return f"{summary!r} does not say what"
    if len(summary.split()) < at_least:
        return f"{summary!r} is too short to say anything"
    return None


def python_fragments(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings of a Python or Starlark file that are fragments."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        string = _docstring(node)
        if string is None or getattr(node, "name", "").startswith("_"):
            continue
        reason = fragment(str(string.value), at_least=1 if isinstance(node, ast.Module) else 3)
        if reason is not None:
            yield string.lineno, f"the docstring of {getattr(node, 'name', 'the module')}: {reason}"


def comment_blocks(text: str, mark: str) -> Iterator[tuple[int, str, str]]:
    """Blocks of lines that begin with a mark: the first line's number, the text, and the line that follows."""
    lines, number = text.splitlines(), 0
    opened = re.compile(rf"\s*{re.escape(mark)}(?![/!])\s?(.*)")
    while number < len(lines):
        found, start = list[str](), number
        while number < len(lines) and (match := opened.fullmatch(lines[number])):
            found.append(match[1])
            number += 1
        if found:
            yield start + 1, "\n".join(found), lines[number] if number < len(lines) else ""
        number += 1


def go_fragments(text: str) -> Iterator[tuple[int, str]]:
    """Comments of exported declarations in a Go file that are fragments or do not begin with the name."""
    declaration = re.compile(r"(?:func(?: \([^)]*\))?|type|var|const) ([A-Z]\w*)")
    for number, documentation, below in comment_blocks(text, "//"):
        match = declaration.match(below)
        if not match or match[1].startswith(("Test", "Fuzz", "Benchmark")) or documentation.startswith("go:"):
            continue
        name = match[1]
        if not re.match(rf"(?:(?:A|An|The) )?{name}\b|Deprecated:", documentation):
            yield number, f"the comment of {name} has to begin with its name"
        elif (reason := fragment(documentation)) is not None:
            yield number, f"the comment of {name}: {reason}"


def rust_fragments(text: str) -> Iterator[tuple[int, str]]:
    """Documentation comments of a Rust file that are fragments."""
    for mark in ("///", "//!"):
        for number, documentation, below in comment_blocks(text, mark):
            # clap prints these as help, which has no full stop by convention.
            if below.strip().startswith(("#[arg", "#[command")):
                continue
            if (reason := fragment(documentation)) is not None:
                yield number, f"the documentation of `{below.strip() or 'the module'}`: {reason}"


# -------------------------------------------------------------------------------------------- a file


def check(path: str, text: str) -> list[Finding]:
    """All that is wrong with a file.

    Args:
        path: from the root of the workspace; says which rules hold.
        text: the file's content.
    """
    if EXEMPT.search(path):
        return []
    markdown, python, mark = path.endswith(".md"), is_python(path, text), comment_mark(path)
    if not (markdown or python or mark):
        return []
    found = list[tuple[int, str, str]]()
    if markdown:
        found += [(*place, "width") for place in wide_markdown(text)]
    elif python:
        found += [(*place, "width") for place in wide_python(text)]
        found += [(*place, "docstring") for place in python_fragments(text)]
    elif mark:
        found += [(*place, "width") for place in wide_comments(text, mark)]
        fragments = {".go": go_fragments, ".rs": rust_fragments, ".bzl": python_fragments}.get(Path(path).suffix)
        found += [(*place, "docstring") for place in fragments(text)] if fragments else []
    if path not in QUOTES_PHRASES:
        found += [
            (text.count("\n", 0, match.start()) + 1, f"{' '.join(match[0].split())!r}: write {phrase.write}", "phrase")
            for phrase in phrases()
            for match in phrase.matches(text)
        ]
    return sorted(Finding(path, line, rule, message) for line, message, rule in found)


def main(arguments: list[str]) -> int:
    """Checks files of the workspace that this was started in."""
    root = Path(__file__).resolve().parents[2]
    listing = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
    known = listing.stdout.splitlines()
    wanted = [Path(argument).resolve().relative_to(root).as_posix() for argument in arguments]
    if "." in wanted:
        wanted = []
    paths = [path for path in known if not wanted or any(f"{path}/".startswith(f"{name}/") for name in wanted)]
    paths += [name for name in wanted if name not in known and (root / name).is_file()]
    findings = [
        finding
        for path in paths
        if (root / path).is_file()
        for finding in check(path, (root / path).read_text(errors="replace"))
    ]
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings in {len(paths)} files", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
