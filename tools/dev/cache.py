"""`./bazelw run //tools/dev:cache`: a remote cache for a team or CI, served by bazel-remote.

Everyone who reaches it may read, only holders of a token may write. It listens on the loopback unless told otherwise, and beyond it only with TLS.
docs/how-to/remote-cache.md tells how to use it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import click

from tools.dev import tokens


@dataclass(frozen=True)
class Cache:
    """Settings of one cache."""

    folder: Path
    host: str
    port: int
    http_port: int
    max_size_gib: int
    tls_certificate: Path | None
    tls_key: Path | None

    @property
    def writers_file(self) -> Path:
        return self.folder / "writers.htpasswd"

    @property
    def address(self) -> str:
        """What clients give as --remote_cache."""
        wildcard = self.host in ("0.0.0.0", "::")
        return f"{'grpcs' if self.tls_certificate else 'grpc'}://{_joined(socket.getfqdn() if wildcard else self.host, self.port)}"

    def command(self, program: Path) -> list[str]:
        """How bazel-remote is started with these settings."""
        command = [
            str(program),
            f"--dir={self.folder / 'blobs'}",
            f"--max_size={self.max_size_gib}",
            f"--grpc_address={_joined(self.host, self.port)}",
            f"--http_address={_joined(self.host, self.http_port)}",
            f"--htpasswd_file={self.writers_file}",
            "--allow_unauthenticated_reads",
            "--enable_endpoint_metrics",
            "--access_log_level=none",
        ]
        if self.tls_certificate:
            command += [f"--tls_cert_file={self.tls_certificate}", f"--tls_key_file={self.tls_key}", "--min_tls_version=1.2"]
        return command

    def reader_lines(self) -> list[str]:
        """Lines of a reader's user.bazelrc."""
        return ["build --config=remote-cache", f"build --remote_cache={self.address}"]

    def writer_lines(self, name: str, token: str) -> list[str]:
        """Lines of a writer's user.bazelrc; the last one is the secret."""
        return ["build --config=remote-cache-write", f"build --remote_cache={self.address}", f'build --remote_cache_header="authorization={tokens.authorization(name, token)}"']


def check(cache: Cache) -> None:
    """Refuses settings that would send tokens in the clear, or to nobody.

    Raises:
        click.UsageError: says what to do.
    """
    if (cache.tls_certificate is None) != (cache.tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both or none")
    if cache.port == cache.http_port:
        raise click.UsageError(f"--port and --http-port are both {cache.port}; Bazel's protocol and HTTP need one each")
    if cache.tls_certificate is None and not is_loopback(cache.host):
        raise click.UsageError(
            f"{cache.host} is not the loopback, and without TLS tokens and results would cross the network in the clear; give --tls-cert and --tls-key, "
            "or leave out --host and put a proxy that ends TLS before it"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _announce(cache: Cache) -> None:
    """Tells on stdout where the cache is and what clients write."""
    names = tokens.writers(cache.writers_file)
    click.echo(f"cache {cache.address}, at most {cache.max_size_gib} GiB in {cache.folder}; HTTP (/status, /metrics) on {_joined(cache.host, cache.http_port)}")
    click.echo("everyone who reaches it may read; user.bazelrc of a reader:")
    _indented(cache.reader_lines())
    click.echo(f"may write: {', '.join(names)}" if names else "nobody may write yet; make a token: ./bazelw run //tools/dev:cache -- --add-writer NAME")


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
    help="Where blobs and writers.htpasswd lie.  [default: ~/.cache/pangea/remote-cache]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9092, show_default=True, help="Port that Bazel uses (gRPC).")
@click.option("--http-port", type=click.IntRange(1, 65535), default=9093, show_default=True, help="Port of /status and /metrics.")
@click.option("--max-size", type=click.IntRange(1), default=20, show_default=True, help="GiB on disk; what was used longest ago goes first.")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its key (PEM).")
@click.option("--add-writer", metavar="NAME", help="Make a token for NAME, print it once, and end; a running cache takes it at once.")
@click.option("--remove-writer", metavar="NAME", help="End NAME's right to write, and end.")
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
    # Paths are meant from where the user stands, not from where Bazel starts its programs.
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
