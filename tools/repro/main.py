"""`./bazelw run //tools/repro`: checks that every output has the same bytes wherever it is built."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from tools.repro.builds import (
    HOST_NAME,
    LEFT_OUT,
    TIME_ZONE,
    Build,
    BuildError,
    first_build,
    make,
    outputs,
    second_build,
    targets,
)
from tools.repro.compare import Compared, compare

DEFAULT = ("//services/...", "//schemas/...", "//tools/...")


@click.command()
@click.argument("patterns", nargs=-1, metavar="[TARGETS]...")
@click.option(
    "--scratch",
    type=click.Path(path_type=Path),
    default=Path("/var/tmp"),
    show_default=True,
    help="Folder for the second build; several GB, not below /tmp.",
)
@click.option("--keep", is_flag=True, help="Keep the second build, to inspect what differs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all digests to this file.")
def main(patterns: tuple[str, ...], scratch: Path, keep: bool, json_file: Path | None) -> None:
    """Builds TARGETS twice and compares every output; all of services, schemas and tools by default.

    The second build uses a copy in another folder, with a different HOME, user, locale, time zone and host name, its own output base and no cached results.
    Exits with 1 if an output differs, with 2 if a build fails.
    """
    workspace = (
        Path(os.environ["BUILD_WORKSPACE_DIRECTORY"])
        if "BUILD_WORKSPACE_DIRECTORY" in os.environ
        else sys.exit("repro: start it with ./bazelw run //tools/repro")
    )
    # Relative to the caller's folder.
    json_file = Path(os.environ["BUILD_WORKING_DIRECTORY"]) / json_file if json_file else None
    try:
        results = _compare_builds(workspace, list(patterns or DEFAULT), scratch, keep)
    except (BuildError, ValueError) as error:
        print(f"repro: {error}", file=sys.stderr)
        sys.exit(2)
    if json_file:
        json_file.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(report(results))
    sys.exit(any(result.cause for result in results))


def _compare_builds(workspace: Path, patterns: list[str], scratch: Path, keep: bool) -> list[Compared]:
    first = first_build(workspace)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with _folder(scratch, keep) as folder:
        second = second_build(workspace, folder, cache)
        print(
            f"second build: {second.workspace}, HOME {second.environment['HOME']}, time zone {TIME_ZONE}, host name {HOST_NAME if second.prefix else 'the same (this machine does not permit changing it)'}"
        )
        labels = targets(first, patterns)
        try:
            for build in (first, second):
                make(build, labels, folder / "targets.txt")
            return compare(outputs(first, labels), first.workspace, second.workspace)
        finally:
            _stop(second)


def _stop(build: Build) -> None:
    """Stops the server of a build whose folder is deleted; a failure to do so must not hide an earlier error."""
    with contextlib.suppress(BuildError):
        Build(build.workspace, build.startup, [], build.prefix, build.environment).bazel("shutdown")


@contextlib.contextmanager
def _folder(scratch: Path, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pangea-repro.", dir=scratch))
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            # Bazel removes write permission from output folders.
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
            shutil.rmtree(folder, ignore_errors=True)


def report(results: list[Compared]) -> str:
    """The report: what differs and why, what was left out, images, and the percentage of identical files."""
    lines = [f"DIFFERS {result.target} {result.path}\n    {result.cause}" for result in results if result.cause]
    lines += [f"left out: {pattern.pattern} ({reason})" for pattern, reason in LEFT_OUT.items()]
    images = sorted({result.target for result in results if result.target.endswith("_image")})
    for image in images:
        differs = any(result.cause for result in results if result.target == image)
        lines.append(f"image {image}: {'differs' if differs else 'same digests'}")
    same = sum(not result.cause for result in results)
    return "\n".join([*lines, f"{same} of {len(results)} files reproducible ({100 * same / len(results):.1f} %)"])


if __name__ == "__main__":
    main()
