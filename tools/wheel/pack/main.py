"""Packs one wheel; the action of the rule `python_wheel`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tools.wheel.pack.archive import write_archive
from tools.wheel.pack.metadata import metadata_files

_FILE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("spec", type=_FILE)
@click.argument("output", type=click.Path(path_type=Path))
def main(spec: Path, output: Path) -> None:
    """Write to OUTPUT the wheel of SPEC."""
    told = json.loads(spec.read_text())
    project = Path(told["project"]).read_text()
    files = metadata_files(
        project, told["version"], told["tag"], Path(told["readme"]).read_text(), told["licenses"].keys()
    )
    dist_info = output.name.removesuffix(f"-{told['tag']}.whl") + ".dist-info"
    members = {path: Path(source).read_bytes() for path, source in told["members"].items()}
    members |= {f"{dist_info}/{name}": content for name, content in files.items()}
    for folder in ("licenses", "sboms"):
        for name, source in told[folder].items():
            members[f"{dist_info}/{folder}/{name}"] = Path(source).read_bytes()
    write_archive(output, dist_info, members, told["programs"])


if __name__ == "__main__":
    main()
