"""Writes the bill of materials of one image or wheel; the action of the rule `bill_of_materials`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tools.images.sbom.bom import bill_of_materials
from tools.images.sbom.components import (
    Component,
    debian_components,
    go_components,
    named_components,
    rust_components,
    wheel_components,
)

_FILE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("spec", type=_FILE)
@click.argument("output", type=click.Path(path_type=Path))
def main(spec: Path, output: Path) -> None:
    """Write to OUTPUT what the image or wheel of SPEC is made of."""
    told = json.loads(spec.read_text())
    output.write_text(bill_of_materials(told["name"], told["version"], _components(told), told["kind"]) + "\n")


def _components(told: dict[str, Any]) -> list[Component]:
    paths = [path for description in told["layers"] for path in json.loads(Path(description).read_text())["paths"]]
    locks = {
        key: Path(told[key]) for key in ("debian_packages", "debian_lock", "go_mod", "go_toolchain_lock", "cargo_lock")
    }
    wheel_locks = [Path(lock) for lock in told["wheel_locks"]]
    return [
        *named_components(told["wheels"], told["debian"], wheel_locks, locks["debian_lock"]),
        *debian_components(paths, json.loads(locks["debian_packages"].read_text())),
        *wheel_components(paths, wheel_locks),
        *go_components(told["go_packages"], locks["go_mod"], locks["go_toolchain_lock"]),
        *rust_components(told["crates"], locks["cargo_lock"], locks["debian_lock"]),
    ]


if __name__ == "__main__":
    main()
