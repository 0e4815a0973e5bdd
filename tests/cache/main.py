"""`./bazelw run //tests/cache`: shows with real builds of real clones that the remote cache does what it is for.

1. A clean clone builds and uploads.
2. A second clean clone, in another directory, with its own output base and no disk cache, gets every result from the
   cache and runs nothing itself.
3. Nobody writes without a token: neither by HTTP, nor by a Bazel that is told to upload.

Only what is committed takes part. Targets that are named replace the default set; `-- //...` takes everything.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from pathlib import Path

import click

from tests.cache.clone import BuildError, Clone, new_folder
from tests.cache.figures import Figures
from tests.cache.server import Server, serving
from tools.dev.tokens import authorization

DEFAULT_TARGETS = ("//schemas/...", "//libraries/...", "//services/...")
_WRONG = authorization("ci", "wrong")
_NO_DISK_CACHE = "--disk_cache="
_UPLOAD = "--remote_upload_local_results=true"


class Report:
    """Prints each check as it is made, and counts failures."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, what: str, holds: bool, seen: str) -> None:
        self.failed += not holds
        click.echo(f"{'ok    ' if holds else 'FAILED'} {what}: {seen}")


def describe(figures: Figures) -> str:
    """The figures of a build in one line."""
    local = ", ".join(f"{count} {name}" for name, count in sorted(figures.local.items())) or "0"
    served = f"{figures.hits} remote cache hits, run here: {local} ({figures.share:.1%} from the cache)"
    return f"{served}, {figures.seconds:.0f} s"


def prove_hits(report: Report, server: Server, writer: Clone, reader: Clone, targets: tuple[str, ...]) -> None:
    """Shows that the second clone runs nothing."""
    writer.configure(server.writer_lines)
    before = server.entries()
    figures = writer.build(_NO_DISK_CACHE, "--", *targets)
    report.check(
        "the first clone builds and uploads",
        figures.run_here > 0 and server.entries() > before,
        f"{describe(figures)}, {server.entries()} entries in the cache",
    )
    writer.clean()
    reader.configure(server.reader_lines)
    figures = reader.build(_NO_DISK_CACHE, "--", *targets)
    report.check("the second clone runs nothing itself", figures.hits > 0 and figures.run_here == 0, describe(figures))
    warnings = [
        line for line in reader.log.read_text().splitlines() if line.startswith("WARNING: ") and "pload" in line
    ]
    report.check(
        "the second clone gets no warning about uploads",
        not warnings,
        f"{len(warnings)} warnings{': ' + warnings[0] if warnings else ''}",
    )


def prove_http_rights(report: Report, server: Server) -> None:
    """Shows that HTTP writes need a token, and, with a token, that nothing else was wrong with them."""
    for kind in ("cas", "ac"):
        for who, header in (("no token", None), ("a wrong token", _WRONG)):
            before = server.entries()
            status = server.put(kind, header)
            report.check(
                f"HTTP PUT to {kind} with {who} is refused",
                status in (401, 403) and server.entries() == before,
                str(status),
            )
    before = server.entries()
    status = server.put("cas", server.write_authorization)
    report.check("HTTP PUT with the token is accepted", status == 200 and server.entries() == before + 1, str(status))


def prove_bazel_rights(report: Report, server: Server, clone: Clone) -> None:
    """Shows that a new result is uploaded with the token only, even if Bazel is told to upload."""
    probe = clone.folder / "cache_probe"
    probe.mkdir()
    for who, lines, options, uploads in (
        ("a reader", server.reader_lines, [], False),
        ("a reader that tries to upload", server.reader_lines, [_UPLOAD], False),
        (
            "a wrong token that tries to upload",
            [*server.reader_lines, f'build --remote_cache_header="authorization={_WRONG}"'],
            [_UPLOAD],
            False,
        ),
        ("the writer", server.writer_lines, [], True),
    ):
        (probe / "BUILD.bazel").write_text(
            f'genrule(name = "probe", outs = ["out.txt"], cmd = "echo {uuid.uuid4()} > $@")\n'
        )
        clone.configure(lines)
        before = server.entries()
        figures = clone.build(_NO_DISK_CACHE, *options, "//cache_probe:probe")
        added = server.entries() - before
        seen = f"{figures.run_here} action run, {added} entries added"
        report.check(
            f"a build by {who} uploads {'its result' if uploads else 'nothing'}",
            figures.run_here == 1 and (added > 0) == uploads,
            seen,
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
@click.option("--program", type=click.Path(path_type=Path, exists=True), required=True, hidden=True)
@click.option("--keep", is_flag=True, help="Keep clones, logs and cache.")
@click.argument("targets", nargs=-1)
def main(program: Path, keep: bool, targets: tuple[str, ...]) -> None:
    """Runs all checks; exits with 1 if one failed."""
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        raise click.ClickException("start it with ./bazelw run //tests/cache, so that it knows the workspace")
    folder = new_folder("cache-")
    click.echo(f"in {folder}")
    report = Report()
    clones: tuple[Clone, ...] = ()
    try:
        with serving(program.absolute(), folder) as server:
            clones = first, second = (
                Clone.make(Path(workspace), folder / "first"),
                Clone.make(Path(workspace), folder / "elsewhere" / "second"),
            )
            prove_hits(report, server, first, second, targets or DEFAULT_TARGETS)
            prove_http_rights(report, server)
            prove_bazel_rights(report, server, second)
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    finally:
        for clone in clones:
            clone.clean()
        if not keep and not report.failed and sys.exc_info()[0] is None:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"{'FAILED' if report.failed else 'proved'}: {report.failed} checks failed")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
