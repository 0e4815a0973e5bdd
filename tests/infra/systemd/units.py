"""The units of infra/systemd as systemd reads them: keys with their values, and commands with variables replaced."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from pathlib import Path

FOLDER = Path("infra/systemd")
UNITS = ("pangea-orchestrator.service", "pangea-data.service", "pangea-worker@.service")


def read(unit: str) -> dict[str, list[str]]:
    """Each key with its values in order, over all sections."""
    values: dict[str, list[str]] = defaultdict(list)
    for line in (FOLDER / unit).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            values[key].append(value)
    return dict(values)


def environment(unit: str) -> dict[str, str]:
    """The variables of `Environment=`, without the files that may override them."""
    pairs = [pair for line in read(unit)["Environment"] for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def command(unit: str, variables: dict[str, str], specifiers: dict[str, str]) -> list[str]:
    """ExecStart as systemd.service(5) expands it: ${NAME} in place, a word $NAME split into words, %X a specifier."""
    (line,) = read(unit)["ExecStart"]
    words: list[str] = []
    for word in line.split():
        if re.fullmatch(r"\$\w+", word):
            words += variables.get(word[1:], "").split()
        else:
            filled = re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word)
            words.append(re.sub(r"%(\w)", lambda found: specifiers[found[1]], filled))
    return words
