"""`./bazelw run //tools/report`: figures of this workspace as Markdown and JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from tools.report.events import BuildRecord, EventsError, read_record
from tools.report.figures import Counts, FigureError, count_results, images, versions


@click.command()
@click.option(
    "--events", type=click.Path(path_type=Path), help="Record of a build or test: what --build_event_json_file wrote."
)
def main(events: Path | None) -> None:
    """Writes generated/report/report.md and report.json, and prints the first.

    Images and tests are those that lie in the workspace's bazel-bin and bazel-testlogs; each part that is not there says how to get it.
    """
    if "BUILD_WORKSPACE_DIRECTORY" not in os.environ:
        sys.exit("report: start it with ./bazelw run //tools/report, so that it knows the workspace")
    workspace = Path(os.environ["BUILD_WORKSPACE_DIRECTORY"])
    try:
        # Relative to where the caller stands.
        record = read_record(Path(os.environ["BUILD_WORKING_DIRECTORY"]) / events) if events else None
        figures = (
            versions(workspace),
            images(workspace / "bazel-bin"),
            count_results(workspace / "bazel-testlogs"),
            record,
        )
    except (EventsError, FigureError, OSError, ValueError) as error:
        sys.exit(f"report: {error}")
    folder = workspace / "generated/report"
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(*figures)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(as_json(*figures))
    print(text + f"\nwritten to {folder.relative_to(workspace)}")


def as_json(locked: dict[str, str], built: dict[str, str], results: Counts, record: BuildRecord | None) -> str:
    """The figures for a program; `build` is null where no record was given."""
    build = None if record is None else {**asdict(record), "cached": record.cached, "share": record.share}
    return json.dumps({"versions": locked, "images": built, "tests": asdict(results), "build": build}, indent=2) + "\n"


def markdown(locked: dict[str, str], built: dict[str, str], results: Counts, record: BuildRecord | None) -> str:
    """The figures for people."""
    lines = [
        "# Figures",
        "",
        "## Locked versions",
        "",
        "| what | version |",
        "|---|---|",
        *(f"| {name} | {version} |" for name, version in locked.items()),
    ]
    lines += ["", "## Images", ""]
    lines += [f"- {name}: `{digest}`" for name, digest in built.items()] or [
        "None is built; `./bazelw build //services/...` makes them."
    ]
    lines += ["", "## Tests", ""]
    if results.targets:
        lines.append(
            f"{results.targets} targets have results, with {results.cases} cases: {results.cases - results.failed - results.skipped} passed, {results.failed} failed, {results.skipped} skipped."
        )
    else:
        lines.append("No results; run `./bazelw test //...` first.")
    lines += ["", "## Build", ""]
    if record is None:
        lines.append("Not recorded; pass `--events` with what `--build_event_json_file` wrote.")
    else:
        share = (
            "nothing had to be done"
            if record.share is None
            else f"{record.cached} results from a cache ({100 * record.share:.1f} % of what could be)"
        )
        lines.append(f"{share}; tests: {record.passed_tests} passed, {record.failed_tests} failed.")
        lines += [
            "",
            "| run by | actions |",
            "|---|---|",
            *(f"| {name} | {count} |" for name, count in record.runners.items()),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
