"""What a run of Pangea was measured with: how its workers reach the orchestrator, and which hash its ledger names."""

from __future__ import annotations

import json
from pathlib import Path

from pangea.rundir.layout import Addresses

SHARED_MEMORY, TCP = "shared memory", "TCP over loopback"
# The default of `pangea train` comes first.
TRANSPORTS = (SHARED_MEMORY, TCP)


def orchestrator_address(ready: Addresses, transport: str) -> str:
    """The address that a worker is given so that it uses this transport and no other.

    Args:
        ready: the addresses that the orchestrator has written.
        transport: of `TRANSPORTS`.
    Raises:
        ValueError: the orchestrator does not offer it.
    """
    if transport == TCP:
        return ready.listen
    if not ready.socket:
        raise ValueError("the orchestrator has no Unix socket, so its workers cannot share memory with it; see its log")
    return f"unix:{ready.socket}"


def of_ledger(run_dir: Path) -> dict[str, str]:
    """The content hash of the run, by name; a ledger that names none has SHA-256."""
    with (run_dir / "ledger.jsonl").open() as ledger:
        settings = json.loads(ledger.readline())
    return {"content hash": settings.get("content_hash", "sha256")}
