"""Dataset specs, which say what is trained on: `digits`, or `csv:points.csv,shape=2`.

Only rust-compute knows their grammar; all other programs pass them on unchanged.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pangea.errors import PangeaError
from pangea.places import caller_folder, program

# The dataset of whoever names none.
DEFAULT = "digits"
# Tells workers which one the user chose, if it is not the default.
VARIABLE = "PANGEA_DATASET"


class UnknownDataset(PangeaError, ValueError):
    """A text that is not a dataset spec; the message says which part of it is wrong, and how a spec is written."""


@dataclass(frozen=True)
class Dataset:
    """What a data service serves.

    Attributes:
        spec: with an absolute path and all options, so that it means the same in any folder and release.
        file: the path in it; None for a dataset that comes with Pangea.
    """

    spec: str
    file: Path | None

    def at(self, file: Path) -> str:
        """The spec of a copy of the file.

        Raises:
            ValueError: the dataset comes with Pangea.
        """
        if self.file is None:
            raise ValueError(f"{self.spec} has no file of the user's")
        # It stands directly behind the kind, which has no slash.
        return self.spec.replace(str(self.file), str(file), 1)


def parse(text: str) -> Dataset:
    """Asks the program of the data service what a spec means, which takes a few milliseconds.

    A path is relative to the caller's folder, and the file must exist.

    Raises:
        UnknownDataset: saying what is wrong, and how a spec is written.
        MissingFile: the program is not there.
    """
    command = [str(program("rust-compute")), "describe", text]
    described = subprocess.run(command, cwd=caller_folder(), capture_output=True, encoding="utf-8", check=False)
    if described.returncode != 0:
        raise UnknownDataset(described.stderr.strip().removeprefix("rust-compute: "))
    found = json.loads(described.stdout)
    return Dataset(found["spec"], Path(found["file"]) if found["file"] is not None else None)


def of_earlier_release(spec: str) -> str:
    """What a spec in the files of a run means.

    Before `normalise` existed, a table had one mean and one deviation. The options of a table that a release wrote down
    start with the shape and end with the held-out share.
    """
    _, shape, options = spec.rpartition(",shape=")
    if not spec.startswith("csv:") or not shape or ",normalise=" in options:
        return spec
    form, comma, share = spec.rpartition(",held_out=")
    return f"{form},normalise=all{comma}{share}" if comma else f"{spec},normalise=all"
