"""The data for measurements: generated once, with the same bytes each time."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy

from pangea.places import data_file

CLASSES = 10


def pixels_csv(file: Path, rows: int, columns: int) -> None:
    """Rows of whole numbers from 0 to 255 and a label. A class brightens its own part of the columns, so that there is something to learn."""
    random = numpy.random.default_rng(0)
    labels = random.integers(0, CLASSES, rows)
    values = random.integers(0, 200, (rows, columns))
    values[numpy.arange(columns) * CLASSES // columns == labels[:, None]] += 55
    _write(file, [",".join(map(str, row)) for row in numpy.column_stack([values, labels])])


def decimals_csv(file: Path, rows: int, columns: int) -> None:
    """Rows of numbers from 0 to 1 with four decimals, and a label."""
    random = numpy.random.default_rng(0)
    values, labels = random.random((rows, columns)), random.integers(0, CLASSES, rows)
    _write(
        file,
        [",".join([*(f"{value:.4f}" for value in row), str(label)]) for row, label in zip(values, labels, strict=True)],
    )


def text(file: Path, characters: int) -> None:
    """The beginning of the corpus that comes with the package."""
    with gzip.open(data_file("stdlib.txt.gz")) as corpus:
        file.write_bytes(corpus.read(characters))


def _write(file: Path, lines: list[str]) -> None:
    file.write_text("\n".join(lines) + "\n")
