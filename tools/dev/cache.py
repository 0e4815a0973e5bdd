"""`./bazelw run //tools/dev:cache`: a remote cache for a team or CI, served by bazel-remote.

Everyone who can reach it may read, only holders of a token may write. It listens on the loopback by default, and on other addresses only with TLS.
docs/how-to/remote-cache.md explains how to use it.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from tools.dev import tokens
from tools.dev.settings import Cache, check, joined


def _announce(cache: Cache) -> None:
    """Prints where the cache is, and what clients write into their settings."""
    names = tokens.writers(cache.writers_file)
    click.echo(
        f"cache {cache.address}, at most {cache.max_size_gib} GiB in {cache.folder}; HTTP (/status, /metrics) on {joined(cache.host, cache.http_port)}"
    )
    click.echo("everyone who reaches it may read; user.bazelrc of a reader:")
    _indented(cache.reader_lines())
    click.echo(
        f"may write: {', '.join(names)}"
        if names
        else "nobody may write yet; make a token: ./bazelw run //tools/dev:cache -- --add-writer NAME"
    )


def _indented(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"    {line}")


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangea" / "remote-cache"


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=__doc__)
@click.option("--program", type=click.Path(path_type=Path, exists=True), required=True, hidden=True)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_folder,
    help="Folder of blobs and writers.htpasswd.  [default: ~/.cache/pangea/remote-cache]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9092, show_default=True, help="Port that Bazel uses (gRPC)."
)
@click.option(
    "--http-port", type=click.IntRange(1, 65535), default=9093, show_default=True, help="Port of /status and /metrics."
)
@click.option(
    "--max-size",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="GiB on disk; the least recently used results are deleted first.",
)
@click.option(
    "--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Certificate chain (PEM)."
)
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its key (PEM).")
@click.option(
    "--add-writer",
    metavar="NAME",
    help="Make a token for NAME, print it once, and exit; a running cache accepts it at once.",
)
@click.option("--remove-writer", metavar="NAME", help="Revoke NAME's right to write, and exit.")
def main(
    program: Path,
    folder: Path,
    host: str,
    port: int,
    http_port: int,
    max_size: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    add_writer: str | None,
    remove_writer: str | None,
) -> None:
    """Changes the writers, or becomes bazel-remote."""
    program = program.absolute()
    # Paths are relative to the user's folder, not to the one in which Bazel starts its programs.
    if start := os.environ.get("BUILD_WORKING_DIRECTORY"):
        os.chdir(start)
    cache = Cache(folder.absolute(), host, port, http_port, max_size, tls_cert, tls_key)
    check(cache)
    try:
        if add_writer:
            token = tokens.add_writer(cache.writers_file, add_writer)
            click.echo(f"user.bazelrc of the writer {add_writer}; its last line is a secret and is not shown again:")
            _indented(cache.writer_lines(add_writer, token))
        if remove_writer:
            tokens.remove_writer(cache.writers_file, remove_writer)
            click.echo(f"{remove_writer} may no longer write")
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if add_writer or remove_writer:
        return
    tokens.ensure(cache.writers_file)
    _announce(cache)
    os.execv(program, cache.command(program))


if __name__ == "__main__":
    main()
