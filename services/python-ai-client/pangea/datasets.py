"""What a data service serves, as a dataset spec: `digits`, `stdlib`, `text:PATH[,context=N]`, `csv:PATH,shape=1x8x8[,label=first]`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from pangea.errors import PangeaError
from pangea.places import caller_folder, data_file

POSSIBLE = "digits; stdlib; text:PATH[,context=64][,held_out=0.1]; csv:PATH,shape=1x8x8[,label=last][,normalise=columns][,header=yes][,separator=comma][,held_out=0.2]"

Label = Literal["first", "last"]
Normalise = Literal["columns", "all", "none"]
Header = Literal["yes", "no"]
Separator = Literal["comma", "semicolon", "tab", "pipe", "space"]
_CSV_OPTIONS = ("shape", "label", "normalise", "header", "separator", "held_out")
_TEXT_OPTIONS = ("context", "held_out")
# What stands behind a path: words that the kind of the file knows. A comma in the path itself is no option.
_OPTION = re.compile(r",([a-z_]+)=([^,=]*)$")
_LONGEST_ROW = 1 << 20


# The dataset of whoever names none.
DEFAULT = "digits"


class UnknownDataset(PangeaError, ValueError):
    """Words that name no dataset; the message says which part of them, and what is possible."""


@dataclass(frozen=True)
class Csv:
    """A file of numbers, one sample a row.

    Attributes:
        shape: of one sample, without its label.
        label: the column that holds it.
        normalise: over what features get mean 0 and deviation 1.
        header: whether the first row holds names; None if the data service is to notice.
        separator: of the columns; None if the data service is to notice.
    """

    shape: tuple[int, ...]
    label: Label = "last"
    normalise: Normalise = "columns"
    header: Header | None = None
    separator: Separator | None = None

    def arguments(self, file: Path) -> list[str]:
        """The source as rust-compute wants it."""
        fixed = ["--csv", str(file), "--label-column", self.label, "--feature-shape", ",".join(map(str, self.shape)), "--normalise", self.normalise]
        return fixed + [word for name, value in self._said() for word in (f"--{name}", value)]

    def spec(self) -> str:
        """The options in words."""
        said = "".join(f",{name}={value}" for name, value in self._said())
        return f"shape={'x'.join(map(str, self.shape))},label={self.label},normalise={self.normalise}{said}"

    def _said(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in (("header", self.header), ("separator", self.separator)) if value is not None]


@dataclass(frozen=True)
class Text:
    """A file of characters. A sample has `context` of them, and its labels are the ones after each."""

    context: int = 64

    def arguments(self, file: Path) -> list[str]:
        """The source as rust-compute wants it."""
        return ["--text", str(file), "--context", str(self.context)]

    def spec(self) -> str:
        """The options in words."""
        return f"context={self.context}"


@dataclass(frozen=True)
class Dataset:
    """What a data service serves.

    Attributes:
        name: for people.
        file: absolute; or the name of a file that comes with the package.
        form: how the file is cut into samples.
        held_out: share of the samples kept aside for evaluation, from 0 to below 1.
    """

    name: str
    file: Path
    form: Csv | Text
    held_out: float

    def arguments(self) -> list[str]:
        """Name, source and held-out share as rust-compute wants them.

        Raises:
            MissingFile: if a file that comes with the package is not there.
        """
        file = self.file if self.file.is_absolute() else data_file(str(self.file))
        return ["--dataset-name", self.name, *self.form.arguments(file), "--held-out", repr(self.held_out)]

    def spec(self) -> str:
        """Words that `parse` makes this very dataset of, in any folder."""
        if self in _SHIPPED.values():
            return self.name
        kind = "csv" if isinstance(self.form, Csv) else "text"
        return f"{kind}:{self.file},{self.form.spec()},held_out={self.held_out!r}"


DIGITS = Dataset("digits", Path("digits.csv.gz"), Csv((1, 8, 8), normalise="all"), 0.2)
STDLIB = Dataset("stdlib", Path("stdlib.txt.gz"), Text(64), 0.1)
_SHIPPED = {dataset.name: dataset for dataset in (DIGITS, STDLIB)}


def parse(text: str) -> Dataset:
    """The dataset that the words of a command line name. A path is relative to the caller's folder.

    Raises:
        UnknownDataset: naming what is wrong and what is possible.
    """
    if text in _SHIPPED:
        return _SHIPPED[text]
    kind, colon, rest = text.partition(":")
    if kind not in ("csv", "text") or not colon:
        raise _refused(text, "there is no such dataset")
    path, options = _split_options(text, rest)
    # Not resolved: a link keeps its name.
    file = Path(os.path.abspath(caller_folder() / path))
    if not path or not file.is_file():
        raise _refused(text, f"there is no file {file}" if path else "the path is missing")
    known = _CSV_OPTIONS if kind == "csv" else _TEXT_OPTIONS
    for name in options:
        if name not in known:
            raise _refused(text, f"{kind} has no option {name}, only {', '.join(known)}")
    held_out = _held_out(text, options.get("held_out", "0.2" if kind == "csv" else "0.1"))
    if kind == "csv":
        return Dataset(file.name, file, _csv(text, options), held_out)
    return Dataset(file.name, file, Text(_positive(text, "context", options.get("context", "64"))), held_out)


def of_earlier_release(spec: str) -> str:
    """What a spec in the files of a run means: before `normalise` was written down, a table had one mean and one deviation."""
    if not spec.startswith("csv:") or "normalise" in _split_options(spec, spec)[1]:
        return spec
    form, comma, share = spec.rpartition(",held_out=")
    return f"{form},normalise=all{comma}{share}" if comma else f"{spec},normalise=all"


def _refused(text: str, reason: str) -> UnknownDataset:
    return UnknownDataset(f"{text!r}: {reason}. Possible: {POSSIBLE}")


def _split_options(text: str, rest: str) -> tuple[str, dict[str, str]]:
    options: dict[str, str] = {}
    while found := _OPTION.search(rest):
        name, value = found.groups()
        if name in options:
            raise _refused(text, f"{name} is given twice")
        options[name] = value
        rest = rest[: found.start()]
    return rest, options


def _positive(text: str, name: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", value) or not 1 <= int(value) <= _LONGEST_ROW:
        raise _refused(text, f"{name} has {value!r}; it must be a number from 1 to {_LONGEST_ROW}")
    return int(value)


def _shape(text: str, value: str | None) -> tuple[int, ...]:
    if value is None:
        raise _refused(text, "shape is missing: that of one sample, such as shape=1x8x8 for 64 columns beside the label")
    return tuple(_positive(text, "shape", part) for part in value.split("x"))


def _csv(text: str, options: dict[str, str]) -> Csv:
    return Csv(
        shape=_shape(text, options.get("shape")),
        label=cast(Label, _one_of(text, "label", options.get("label", "last"), get_args(Label))),
        normalise=cast(Normalise, _one_of(text, "normalise", options.get("normalise", "columns"), get_args(Normalise))),
        header=cast("Header | None", _one_of(text, "header", options.get("header"), get_args(Header))),
        separator=cast("Separator | None", _one_of(text, "separator", options.get("separator"), get_args(Separator))),
    )


def _one_of(text: str, name: str, value: str | None, possible: tuple[str, ...]) -> str | None:
    if value is not None and value not in possible:
        raise _refused(text, f"{name} is {value!r}; it must be {', '.join(possible[:-1])} or {possible[-1]}")
    return value


def _held_out(text: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise _refused(text, f"held_out is {value!r}; it must be a number from 0 to below 1")
    return share
