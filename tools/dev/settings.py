"""Settings of a cache: which of them are refused, how bazel-remote is started with them, and what its clients need."""

from __future__ import annotations

import ipaddress
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
        """The value of --remote_cache for clients."""
        wildcard = self.host in ("0.0.0.0", "::")
        return f"{'grpcs' if self.tls_certificate else 'grpc'}://{joined(socket.getfqdn() if wildcard else self.host, self.port)}"

    def command(self, program: Path) -> list[str]:
        """How bazel-remote is started with these settings."""
        command = [
            str(program),
            f"--dir={self.folder / 'blobs'}",
            f"--max_size={self.max_size_gib}",
            f"--grpc_address={joined(self.host, self.port)}",
            f"--http_address={joined(self.host, self.http_port)}",
            f"--htpasswd_file={self.writers_file}",
            "--allow_unauthenticated_reads",
            "--enable_endpoint_metrics",
            "--access_log_level=none",
        ]
        if self.tls_certificate:
            command += [
                f"--tls_cert_file={self.tls_certificate}",
                f"--tls_key_file={self.tls_key}",
                "--min_tls_version=1.2",
            ]
        return command

    def reader_lines(self) -> list[str]:
        """Lines of a reader's user.bazelrc."""
        return ["build --config=remote-cache", f"build --remote_cache={self.address}"]

    def writer_lines(self, name: str, token: str) -> list[str]:
        """Lines of a writer's user.bazelrc; the last one is the secret."""
        return [
            "build --config=remote-cache-write",
            f"build --remote_cache={self.address}",
            f'build --remote_cache_header="authorization={tokens.authorization(name, token)}"',
        ]


def check(cache: Cache) -> None:
    """Refuses settings that would send tokens in the clear, or that cannot work.

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
            "or leave out --host and put a proxy that terminates TLS in front of it"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def joined(host: str, port: int) -> str:
    """host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
