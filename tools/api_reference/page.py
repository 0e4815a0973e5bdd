"""Writes the reference of what is public as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

import griffe

from tools.api_reference.public import EXTRAS, Name, entry_names, members, parsed

_WIDTH = 100
_HEAD = """# Reference of the package `pangea`

Made from the docstrings by `./bazelw run //tools/api_reference`; edit them, not this page. [How to
write a script](../how-to/scripts.md) says when to use what.
"""
# Headings, in order, with what is under each; errors are what is left.
_GROUPS = {
    "Training": ("join", "seed_everything", "Run", "Batch", "Step", "DatasetFacts"),
    "Other frameworks": EXTRAS,
}


def page(names: Iterable[Name]) -> str:
    """Returns the whole page."""
    left = list(names)
    parts = [_HEAD]
    for heading, members_of in _GROUPS.items():
        chosen = [name for key in members_of for name in left if name.name.split(".")[1] == key]
        if chosen:
            parts += [f"## {heading}\n", *(_described(name) for name in chosen)]
        left = [name for name in left if name not in chosen]
    rows = [f"| `{name.name}` | {_cell(name)} |" for name in left]
    parts.append("\n".join(["## Errors\n", "| error | when |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _cell(name: Name) -> str:
    text = " ".join((name.what.docstring.value if name.what.docstring else "").split())
    bases = ", ".join(f"`{base}`" for base in getattr(name.what, "bases", []))
    return f"{text}" + (f" A {bases}." if bases else "")


def _described(name: Name) -> str:
    lines = [f"### `{name.name}`", ""]
    if isinstance(name.what, griffe.Function):
        lines += _signature(name.name, name.what)
    elif isinstance(name.what, griffe.Class) and name.is_created and "__init__" in name.what.members:
        constructor = name.what.members["__init__"]
        if isinstance(constructor, griffe.Function):
            lines += _signature(name.name, constructor)
    lines += _docstring(name.what)
    for member, what in members(name):
        if isinstance(what, griffe.Function):
            lines += [f"#### `{name.name}.{member}`", "", *_signature(f"{member}", what)]
        else:
            lines += [f"#### `{name.name}.{member}` (property)", ""]
        lines += _docstring(what)
    return "\n".join(lines)


def _signature(name: str, function: griffe.Function) -> list[str]:
    """The call as it is written, one argument a line where it is long."""
    arguments = list(_arguments(function))
    returns = f" -> {function.returns}" if function.returns not in (None, "None") else ""
    call = f"{name}({', '.join(arguments)}){returns}"
    if len(call) > 88:
        call = "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"])
    return ["```python", call, "```", ""]


def _arguments(function: griffe.Function) -> Iterator[str]:
    keyword_only = positional_only = False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if positional_only and parameter.kind is not griffe.ParameterKind.positional_only:
            yield "/"
        positional_only = parameter.kind is griffe.ParameterKind.positional_only
        prefix = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(
            parameter.kind or griffe.ParameterKind.positional_or_keyword, ""
        )
        if parameter.kind is griffe.ParameterKind.keyword_only and not keyword_only:
            yield "*"
        # After *args there are only keywords anyway.
        keyword_only |= parameter.kind in (griffe.ParameterKind.keyword_only, griffe.ParameterKind.var_positional)
        text = f"{prefix}{parameter.name}"
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and not prefix:
            text += f" = {parameter.default}"
        yield text


def _docstring(what: griffe.Object) -> list[str]:
    lines: list[str] = []
    for section in parsed(what):
        if section.kind is griffe.DocstringSectionKind.text:
            lines += [_wrapped(section.value), ""]
        elif section.kind is griffe.DocstringSectionKind.returns:
            lines += [_wrapped("Returns " + " ".join(_returned(entry) for entry in section.value)), ""]
        elif section.kind is griffe.DocstringSectionKind.raises:
            lines += ["Raises:", "", *(_entry(str(entry.annotation), entry.description) for entry in section.value), ""]
        elif isinstance(section.value, list):
            lines += [*(_entry(", ".join(entry_names(entry)), entry.description) for entry in section.value), ""]
    return lines


def _returned(entry: griffe.DocstringReturn) -> str:
    # A sentence without a type, of which griffe takes what precedes a colon for one.
    return str(entry.description)


def _entry(name: str, description: str) -> str:
    quoted = ", ".join(f"`{one}`" for one in re.split(r",\s*", name.strip("()")))
    return textwrap.fill(
        f"- {quoted}: {' '.join(description.split())}",
        _WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> str:
    """The paragraphs of a docstring at the width of a document; code and lists keep their lines."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        if re.match(r"\s|[-*|] |>>>", paragraph):
            paragraphs.append(_list(paragraph))
        else:
            paragraphs.append(
                textwrap.fill(" ".join(paragraph.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)
            )
    return "\n\n".join(paragraphs)


def _list(text: str) -> str:
    if not text.startswith("- "):
        return text
    items = [" ".join(item.split()) for item in re.split(r"^- ", text, flags=re.MULTILINE) if item]
    return "\n".join(
        textwrap.fill(f"- {item}", _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for item in items
    )
