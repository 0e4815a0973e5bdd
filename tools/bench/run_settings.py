"""What a run of Pangea was measured with: how its workers reach the orchestrator, and which hash its ledger names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tools.bench.programs import allocator

SHARED_MEMORY, TCP = "shared memory", "TCP over loopback"
# The default of `pangea train` comes first.
TRANSPORTS = (SHARED_MEMORY, TCP)


def orchestrator_address(ready: Mapping[str, str], run_dir: Path, transport: str) -> str:
    """The address that a worker is given so that it uses this transport.

    Args:
        ready: the addresses that the orchestrator has written.
        run_dir: of the run.
        transport: of `TRANSPORTS`.
    Raises:
        ValueError: there is no such transport.
    """
    if transport not in TRANSPORTS:
        raise ValueError(f"there is no transport {transport!r}; choose one of {', '.join(TRANSPORTS)}")
    return f"unix:{ready['socket']}" if transport == SHARED_MEMORY else ready["listen"]


def of_workers() -> dict[str, str]:
    """The allocator and the transport of the workers of a run on this machine."""
    return {"malloc": allocator.DEFAULT, "transport": TRANSPORTS[0]}


def of_ledger(run_dir: Path) -> dict[str, str]:
    """The content hash of the run, by name; a ledger that names none has SHA-256."""
    with (run_dir / "ledger.jsonl").open() as ledger:
        settings = json.loads(ledger.readline())
    return {"content hash": settings.get("content_hash", "SHA-256")}
