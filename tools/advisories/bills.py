"""Bills of materials in CycloneDX's format: which packages an image has, by the names that advisories use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tools.advisories.database import normalised

_ECOSYSTEMS = {"cargo": "crates.io", "golang": "Go", "pypi": "PyPI", "deb": "Debian"}
# Go's advisories call the standard library so.
_GO_NAMES = {"std": "stdlib"}


@dataclass(frozen=True, order=True)
class Package:
    """A package of an image."""

    ecosystem: str
    name: str
    version: str


def read_bill(file: Path) -> list[Package]:
    """The packages in a bill, each once; those of other ecosystems are left out."""
    found = set()
    for component in json.loads(file.read_text())["components"]:
        kind, _, rest = component["purl"].removeprefix("pkg:").partition("/")
        if (ecosystem := _ECOSYSTEMS.get(kind)) is None:
            continue
        name, _, version = rest.partition("?")[0].rpartition("@")
        name = unquote(name).removeprefix("debian/") if ecosystem == "Debian" else unquote(name)
        name = _GO_NAMES.get(name, name) if ecosystem == "Go" else name
        found.add(Package(ecosystem, normalised(ecosystem, name), unquote(version).removeprefix("v")))
    return sorted(found)
