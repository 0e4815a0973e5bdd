"""Addresses that a worker is given before the services have them.

A launcher starts workers beside the services, and gives them names instead of addresses: `announced:go-orchestrator`. A
worker looks up the name where the service of its run directory writes its addresses, once it needs them.
"""

from __future__ import annotations

import json
from pathlib import Path

from pangea.errors import PangeaError
from pangea.rundir.layout import Addresses, port_file, wanted_file
from pangea.services.child import wait_for

_PREFIX = "announced:"
# The launcher waits less long for a service, and then stops the workers.
_PATIENCE_SECONDS = 120.0


class NotAnnounced(PangeaError, RuntimeError):
    """A service of the run did not write its addresses; the message says where they were expected."""


def announced(service: str) -> str:
    """What stands for the address of the service with this name."""
    return _PREFIX + service


def want(addresses: str, run_dir: Path | None) -> None:
    """Asks the launcher to start the services that these addresses name, in case it has not yet."""
    for address in addresses.split(","):
        service = address.removeprefix(_PREFIX)
        if run_dir is not None and service != address and not port_file(run_dir, service).exists():
            wanted_file(run_dir, service).touch()


def resolve(addresses: str, run_dir: Path | None, patience: float = _PATIENCE_SECONDS) -> str:
    """Replaces names in a list of addresses, separated by commas, as soon as the services have written them.

    Args:
        run_dir: of the run; needed only if there are names.
        patience: seconds to wait for each.
    Raises:
        NotAnnounced: a service has not written its addresses, or there is no run directory.
    """
    return ",".join(
        _resolve(address.removeprefix(_PREFIX), run_dir, patience) if address.startswith(_PREFIX) else address
        for address in addresses.split(",")
    )


def _resolve(service: str, run_dir: Path | None, patience: float) -> str:
    if run_dir is None:
        raise NotAnnounced(f"{_PREFIX}{service} stands for an address in a run directory; set PANGEA_RUN_DIR")
    file = port_file(run_dir, service)
    found = wait_for(lambda: _read(file), patience)
    if found is None:
        raise NotAnnounced(
            f"{service} has not written its addresses to {file} for {patience:.0f} s; see its log, and whether the"
            " launcher still runs"
        )
    return found.for_workers


def _read(file: Path) -> Addresses | None:
    try:
        return Addresses(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
