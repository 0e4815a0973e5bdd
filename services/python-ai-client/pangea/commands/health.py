"""`pangea health`: the health check of a worker's container."""

from __future__ import annotations

import http.client
import os

import click

from pangea.errors import PangeaError
from pangea.identity.directory import configured
from pangea.identity.holder import Role
from pangea.identity.pages import access
from pangea.rundir.http_get import OPEN, get

_TIMEOUT_SECONDS = 2.0


@click.command("health")
@click.argument("address", default="127.0.0.1:8082", metavar="[HOST:PORT]")
def health_command(address: str) -> None:
    """Check that the worker at HOST:PORT (its PANGEA_HTTP, default 127.0.0.1:8082) is alive; exit with 1 if not.

    With PANGEA_IDENTITY it asks over TLS where the worker speaks it.
    """
    try:
        identity = configured(os.environ)
        get(address, "/healthz", _TIMEOUT_SECONDS, OPEN if identity is None else access(identity, Role.WORKER))
        print(f"{address} is alive")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PangeaError(f"no answer from {address}/healthz: {error}") from error
