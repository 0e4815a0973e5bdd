"""What the package `pangea` promises to its users, read from its sources without importing them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import griffe

# Modules that are imported by their own name, because they need a package of their own.
EXTRAS = ("lightning", "transformers")
# Classes that are not created by users: how an object is made is not described.
_NOT_CREATED = ("Run", "Batch", "Step", "DatasetFacts")
# Public as what something public returns.
_REACHABLE = {"DatasetFacts": "pangea.worker.dataset_facts.DatasetFacts"}
_SECTION = re.compile(r"\n+(?=(?:Args|Attributes|Raises|Returns|Yields):\n)")


@dataclass(frozen=True)
class Name:
    """A public name: how users write it, and what it is."""

    name: str
    what: griffe.Object

    @property
    def is_created(self) -> bool:
        """Whether users create objects of this class themselves."""
        return self.name.rpartition(".")[2] not in _NOT_CREATED


def load(sources: Path) -> griffe.Module:
    """Reads the package, whose folder is in `sources`."""
    # It warns of `a, b: ...`, which we write and it does not know.
    logging.getLogger("griffe").setLevel(logging.ERROR)
    loader = griffe.GriffeLoader(search_paths=[str(sources)], docstring_parser=griffe.Parser.google)
    package = loader.load("pangea", try_relative_path=False)
    assert isinstance(package, griffe.Module)
    loader.resolve_aliases(external=False, implicit=True)
    return package


def names(package: griffe.Module) -> Iterator[Name]:
    """Yields the public names in the order of `__all__`, then what they lead to, then those for other packages."""
    exported = package.exports or []
    for name in (str(export) for export in exported):
        yield Name(f"pangea.{name}", _resolved(package, name))
    for name, path in _REACHABLE.items():
        yield Name(f"pangea.{name}", _resolved(package, path.removeprefix("pangea.")))
    for extra in EXTRAS:
        if extra in package.modules:
            module = package.modules[extra]
            for name in (str(export) for export in module.exports or []):
                yield Name(f"pangea.{extra}.{name}", _resolved(module, name))


def _resolved(scope: griffe.Module, path: str) -> griffe.Object:
    found = scope[path]
    return found.final_target if isinstance(found, griffe.Alias) else found


def members(name: Name) -> Iterator[tuple[str, griffe.Object]]:
    """Yields the public methods and properties of a class, in the order of the source."""
    if not isinstance(name.what, griffe.Class):
        return
    for member, what in name.what.members.items():
        if member.startswith("_") or isinstance(what, griffe.Alias):
            continue
        # A class method of what users do not create is how Pangea creates it.
        if "classmethod" in what.labels and not name.is_created:
            continue
        if isinstance(what, griffe.Function) or (isinstance(what, griffe.Attribute) and "property" in what.labels):
            yield member, what


def sections(what: griffe.Object, kind: griffe.DocstringSectionKind) -> list[griffe.DocstringSection]:
    """The sections of a docstring of one kind."""
    return [part for part in parsed(what) if part.kind is kind]


def parsed(what: griffe.Object) -> list[griffe.DocstringSection]:
    """The sections of a docstring, which griffe wants to be separated by empty lines."""
    if what.docstring is None:
        return []
    text = _SECTION.sub("\n\n", what.docstring.value)
    found: list[griffe.DocstringSection] = griffe.Docstring(text, parent=what, parser=griffe.Parser.google).parsed
    return found


def described(what: griffe.Object, kind: griffe.DocstringSectionKind) -> set[str]:
    """The names that a section of a docstring describes; one line may describe several: `a, b: ...`."""
    return {name for section in sections(what, kind) for entry in section.value for name in entry_names(entry)}


def entry_names(entry: griffe.DocstringNamedElement) -> list[str]:
    """The names that an entry describes; of `a, b: ...`, griffe takes what follows the comma for a type."""
    text = f"{entry.name} {entry.annotation}" if entry.name.endswith(",") else entry.name
    return [name.strip(" *()") for name in text.split(",")]


def missing(name: Name) -> Iterator[str]:
    """Yields what the docstrings of a name lack."""
    yield from _missing(name.name, name.what)
    for member, what in members(name):
        yield from _missing(f"{name.name}.{member}", what)


def _missing(name: str, what: griffe.Object) -> Iterator[str]:
    if what.docstring is None or not what.docstring.value.strip():
        yield f"{name} has no docstring"
        return
    if isinstance(what, griffe.Function):
        arguments = {parameter.name.lstrip("*") for parameter in what.parameters} - {"self", "cls"}
        text = what.docstring.value
        for argument in sorted(arguments - described(what, griffe.DocstringSectionKind.parameters)):
            # A docstring of one sentence may name its arguments in it.
            if f"`{argument}`" not in text:
                yield f"{name} does not describe its argument {argument}"
    elif isinstance(what, griffe.Class):
        fields = {
            member
            for member, attribute in what.members.items()
            if isinstance(attribute, griffe.Attribute)
            and not member.startswith("_")
            and "property" not in attribute.labels
            and "dataclass" in what.labels
        }
        for field in sorted(fields - described(what, griffe.DocstringSectionKind.attributes)):
            yield f"{name} does not describe its attribute {field}"
